package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hefring/models"
	"hefring/web/webtest"
)

func TestServers_List_SaysHowTheyAre(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/servers").has(t, "web1", "192.0.2.11", "Works", "Not heard of", "Has not joined", `href="/servers/new"`, `aria-current="page"`)
	f.WebHosts = nil
	b.get("/servers").has(t, "All sites are on this host.", `href="/servers/new"`)
	// Where it can only fail, adding one is not offered, and why is said.
	f.Fail["CanAddServers"] = models.Errorf(models.Unavailable, "Several servers need PostgreSQL.")
	for _, page := range []string{"/servers", "/servers/new"} {
		got := b.get(page)
		got.has(t, "Several servers need PostgreSQL.")
		got.hasNot(t, `href="/servers/new"`)
		got.hasNot(t, `name="address"`)
	}
	b.get("/settings").has(t, `href="/servers"`)
}

func TestServer_Page(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	f.Sits[1].ServerID = new(int64(1))
	b.get("/servers/web1").has(t, f.Sits[1].URI, "Is there", "0123456789ab", "/servers/web1/remove", `action="/servers/web1/invite"`)
	b.get("/servers/web2").has(t, "Its worker is not heard of.", "certificate is not trusted", "No site is on it.")
	b.get("/servers/web3").has(t, "Its worker has not joined yet.")
	if got := b.get("/servers/nothing"); got.status != http.StatusNotFound {
		t.Errorf("status %d", got.status)
	}
}

// The token is in the answer to the form that made it, and nowhere else.
func TestServers_AddAndInvite_ShowTheTokenOnce(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/servers/new").has(t, `name="name"`, `name="address"`)
	got := b.post("/servers", url.Values{"name": {"web 4"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "lower-case letters", `value="web 4"`)
	got = b.post("/servers", url.Values{"name": {"web4"}, "address": {"192.0.2.14"}})
	got.has(t, "hefring worker --server web4 --join "+webtest.JoinToken, "never shown again")
	b.get("/servers/web4").hasNot(t, webtest.JoinToken)
	b.post("/servers/web1/invite", nil).has(t, "--join "+webtest.JoinToken)
	b.get("/servers/web4/remove").has(t, "Remove web4?", `action="/servers/web4/remove"`)
	if got := b.post("/servers/web4/remove", nil); got.location() != "/servers" {
		t.Errorf("to %q", got.location())
	}
	f.Fail["RemoveServer"] = models.Errorf(models.Conflict, "There are sites on web1.")
	b.post("/servers/web1/remove", nil)
	b.get("/servers/web1").has(t, "There are sites on web1.")
}

func TestSite_Move(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/sites/32").has(t, "/sites/32/move")
	b.get("/sites/32/move").has(t, "to another server?", `action="/sites/32/move"`, "web1", "web2 (not heard of lately)")
	b.get("/sites/32/move").has(t, "Its certificate goes along. Where /etc/ssl/gallery.pem is not on the new server")
	b.get("/sites/32/move").hasNot(t, "kept for a rollback") // it is on a database server
	got := b.post("/sites/32/move", url.Values{"server": {"1"}})
	if !strings.HasPrefix(got.location(), "/tasks/") || !slices.Contains(f.Said, "32 1") && !strings.Contains(strings.Join(f.Said, "|"), "32") {
		t.Errorf("to %q, said %v", got.location(), f.Said)
	}
	f.WebHosts = nil
	f.Sits[1].Server = models.LocalServer
	b.get("/sites/32").hasNot(t, "/sites/32/move")
	b.get("/sites/32/move").has(t, "There is no other server.")
}

// A site is cloned onto a server that one chooses, where there is a choice.
func TestClone_Server(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/sites/clone?site=32").has(t, `name="server"`, "this host, as its origin", "web1", "web2 (not heard of lately)")
	form := url.Values{"site": {"32"}, "uri": {"copy.example.org"}, "server": {"1"}}
	if got := b.post("/sites/clone", form); !strings.HasPrefix(got.location(), "/sites/") {
		t.Errorf("to %q", got.location())
	}
	if f.Clone1.ServerID == nil || *f.Clone1.ServerID != 1 {
		t.Errorf("the fleet got %+v", f.Clone1)
	}
	b.get("/sites/32").has(t, "Once it answers, it is moved to its server.")
	f.Fail["CloneSite"] = &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: map[string]string{"server": "Choose one of the servers."}}
	b.post("/sites/clone", form).has(t, "Choose one of the servers.", `<option value="1" selected`)
	f.Sits[1].ServerID = new(int64(1))
	b.get("/sites/clone?site=32").has(t, "web1, as its origin", `<option value="1" selected`)
	delete(f.Fail, "CloneSite")
	f.WebHosts = nil
	b.get("/sites/clone?site=32").hasNot(t, `name="server"`)
	form.Del("server")
	b.post("/sites/clone", form)
	if f.Clone1.ServerID != nil {
		t.Errorf("the fleet got %+v", f.Clone1)
	}
}

func TestSiteForm_Server(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/sites/new").has(t, `name="server"`, "this host", "web1")
	b.post("/sites", url.Values{"uri": {"new.example.org"}, "platform": {"12"}, "profile": {"standard"}, "server": {"1"}})
	if f.Site1.ServerID != 1 {
		t.Errorf("the fleet got %+v", f.Site1)
	}
	f.WebHosts = nil
	b.get("/sites/new").hasNot(t, `name="server"`)
}

func TestPlatform_Servers(t *testing.T) {
	f := webtest.Sample()
	for _, d := range f.Brought {
		signedIn(t, f).get("/platforms/"+strconv.FormatInt(d.PlatformID, 10)).has(t, "that it was brought to", `href="/servers/web1"`)
	}
}
