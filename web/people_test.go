package web

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/webtest"
)

// Every address answers every role as the table of permissions says: 403, or
// something else.
func TestRoutes_EveryRole_GetsWhatTheTableSays(t *testing.T) {
	asked := 0
	for _, role := range append(models.Roles(), "") {
		f := webtest.Sample()
		f.Roles = map[string]models.Role{"admin": role}
		var s *server
		b := signedIn(t, f, func(_ *Config, server *server) { s = server })
		for _, r := range s.routes() {
			if r.needs == open || r.path == "/logout" {
				continue
			}
			asked++
			path := strings.NewReplacer(":id", "1", ":type", "git", ":name", "web1").Replace(r.path)
			a := b.get(path)
			if r.method == http.MethodPost {
				a = b.post(path, url.Values{})
			}
			who := models.Actor{Name: "admin", Role: role}
			if got, want := a.status == http.StatusForbidden, r.needs != anybody && !who.May(r.needs); got != want {
				t.Errorf("%s %s by %q: %d; it takes %q", r.method, r.path, role, a.status, r.needs)
			}
		}
	}
	t.Logf("%d routes × roles", asked)
}

// A page shows a person no button that would be refused.
func TestSite_Viewer_SeesNoButtons(t *testing.T) {
	f := webtest.Sample()
	f.Roles = map[string]models.Role{"admin": models.RoleViewer}
	b := signedIn(t, f)
	for _, path := range []string{"/", "/sites", "/sites/31", "/platforms", "/platforms/12", "/distributions", "/distributions/1"} {
		a := b.get(path)
		wantPage(t, path, a, http.StatusOK)
		for line := range strings.SplitSeq(a.body, "<form") {
			if strings.Contains(line, `method="post"`) && !strings.Contains(line, `action="/logout"`) && !strings.Contains(line, `action="/theme"`) {
				t.Errorf("%s has a form: %.200s", path, line)
			}
		}
		for _, gone := range []string{`href="/users"`, "/sites/new", "/distributions/new", `/delete"`, `/upgrade"`} {
			if strings.Contains(a.body, gone) {
				t.Errorf("%s shows %s", path, gone)
			}
		}
	}
}

// The first page shows a viewer what waits, and no way to start it.
func TestDashboard_Viewer_IsNotAskedToUpgrade(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/").has(t, ">Upgrade 14 sites<")
	f.Roles = map[string]models.Role{"admin": models.RoleViewer}
	page := b.get("/")
	page.hasNot(t, ">Upgrade 14 sites<")
	page.has(t, `href="/sites?behind=1&amp;distribution=1">See 14 sites<`)
}

// A client's user sees no distribution, and is not asked to add the first.
func TestDashboard_ClientsUser_HasNothingToSetUp(t *testing.T) {
	f := webtest.Sample()
	f.Counts.Distributions, f.Counts.Platforms = 0, 0
	b := signedIn(t, f)
	b.get("/").has(t, "Nothing to keep up to date yet")
	f.Roles, f.OfClient = map[string]models.Role{"admin": models.RoleOperator}, 3
	page := b.get("/")
	page.hasNot(t, "Nothing to keep up to date yet", "0</dd>")
	page.has(t, "things need a decision")
	f.Counts, f.Waiting = fleet.Counts{}, nil
	b.get("/").has(t, "gives it to you")
}

// A page shows a person no link to a page that would be refused.
func TestPages_EveryRole_LinksLeadSomewhere(t *testing.T) {
	followed := 0
	for _, role := range models.Roles() {
		for _, client := range []int64{0, 3} {
			if client != 0 && role == models.RoleAdministrator {
				continue // there is none of a client
			}
			f := webtest.Sample()
			f.Roles, f.OfClient = map[string]models.Role{"admin": role}, client
			followed += refusedLinks(t, signedIn(t, f), models.Actor{Role: role, ClientID: client})
		}
	}
	t.Logf("%d links", followed)
}

// refusedLinks follows every link once, from the first page on, and gives how many
// there were.
func refusedLinks(t *testing.T, b *browser, who models.Actor) int {
	t.Helper()
	seen, pages := map[string]bool{}, []string{"/"}
	for len(pages) > 0 {
		page := pages[0]
		pages = pages[1:]
		for _, found := range pageLink.FindAllStringSubmatch(b.get(page).body, -1) {
			to := html.UnescapeString(found[1])
			if seen[to] {
				continue
			}
			seen[to] = true
			if got := b.get(to); got.status == http.StatusForbidden {
				t.Errorf("%s shows a %s of client %d a link to %s", page, who.Role, who.ClientID, to)
			}
			pages = append(pages, to)
		}
	}
	return len(seen)
}

var pageLink = regexp.MustCompile(`<a [^>]*href="(/(?:[a-z][^"#]*)?)`)

func TestUsers_SecondFactor_OfferedToThoseWhoHaveOne(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	const offer = "Remove the second factor"
	if page := b.get("/users/1"); strings.Contains(page.body, offer) {
		t.Error("it is offered for a user without one")
	}
	f.Factor.On = true
	wantPage(t, "with one", b.get("/users/1"), http.StatusOK, offer)
	if page := b.get("/users/new"); strings.Contains(page.body, offer) {
		t.Error("it is offered for a user that there is not yet")
	}
}

func TestUsers_AddAndChange(t *testing.T) {
	f := webtest.Sample()
	f.Listed = []fleet.UserRow{{User: models.User{ID: 1, Name: "ada", Role: models.RoleOperator}, ClientName: "Museum"}}
	f.ClientList = []fleet.ClientRow{{Client: models.Client{ID: 3, Name: "Museum"}, Sites: 2, Users: 1}}
	b := signedIn(t, f)
	wantPage(t, "list", b.get("/users"), http.StatusOK, "ada", "Operator", "sites of Museum")
	wantPage(t, "form", b.get("/users/new"), http.StatusOK, "Add the user", "sites of Museum", "every site")
	wantPage(t, "wrong", b.post("/users", url.Values{"name": {"eva"}, "role": {"king"}}), http.StatusUnprocessableEntity, "Choose a role.", `value="eva"`)
	wantPage(t, "add", b.post("/users", url.Values{"name": {"eva"}, "role": {"viewer"}, "client": {"3"}}), http.StatusSeeOther)
	if want := (fleet.NewUser{Name: "eva", Role: models.RoleViewer, ClientID: 3}); f.User1 != want {
		t.Errorf("added %+v", f.User1)
	}
	wantPage(t, "clients", b.get("/clients"), http.StatusOK, "Museum", "/sites?client=3")
	wantPage(t, "no name", b.post("/clients", url.Values{}), http.StatusUnprocessableEntity, "Give a name.")
	wantPage(t, "client", b.get("/clients/3"), http.StatusOK, "Museum", "/clients/3/delete")
	wantPage(t, "give", b.post("/sites/31/client", url.Values{"client": {"3"}}), http.StatusSeeOther)
	if f.Called("GiveSite") != 1 || f.Called("SaveClient") != 0 {
		t.Errorf("calls %v", f.Calls)
	}
}

// wantPage fails unless an answer has that status and those texts.
func wantPage(t *testing.T, what string, a answer, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d: %.300s", what, a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%s does not show %q", what, text)
		}
	}
}
