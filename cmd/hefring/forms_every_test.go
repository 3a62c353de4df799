//go:build !race

// With the race detector it would take a quarter of an hour: make unit runs it without.

package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/net/html"

	"hefring/internal/config"
	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/internal/testpg"
	"hefring/models"
)

// What is typed into a form, which a page that refuses it must show again, and what
// it must not.
const (
	typed       = "Typed 4711"
	typedSecret = "kept from all pages 4711"
)

// field is one control of a form with what it holds when nobody touches it.
type field struct {
	name, kind, value string
	off               bool     // a box that is not ticked
	choices           []string // of a select, or of buttons and radios of one name
}

// form is one that a page shows to somebody.
type form struct {
	route  string // pattern of where it is sent
	action string
	page   string // that shows it
	who    *visitor
	fields []field
}

// visitor is somebody with a browser.
type visitor struct {
	h    *house
	http *http.Client
	user string // "" for nobody
	csrf string // what its forms carried last
}

// reply is what a form's answer says to whoever sent it.
type reply struct {
	status   int
	location string
	body     string
	notice   string // what the page after it says
	warned   bool   // that it was not done
}

func (r reply) refused() bool { return r.status >= 400 || r.warned }

func (h *house) visitor(name string) *visitor {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	h.must(err)
	v := &visitor{h: h, user: name, http: &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	h.t.Cleanup(v.http.CloseIdleConnections)
	v.signIn()
	return v
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (v *visitor) signIn() {
	v.h.t.Helper()
	v.csrf = ""
	if v.user == "" { // whoever was signed in by a form is nobody again
		jar, err := cookiejar.New(nil)
		v.h.must(err)
		v.http.Jar = jar
		return
	}
	link, err := v.h.app.loginLink(v.h.t.Context(), v.user)
	v.h.must(err)
	path := strings.TrimPrefix(link, v.h.url)
	if got := v.send(path, url.Values{"_csrf": {v.token(path)}}.Encode(), nil); got.status != http.StatusSeeOther {
		v.h.t.Fatalf("sign %s in: %d", v.user, got.status)
	}
}

func (v *visitor) get(path string) (int, string, http.Header) {
	v.h.t.Helper()
	resp, err := v.http.Get(v.h.url + path)
	v.h.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	v.h.must(err)
	return resp.StatusCode, string(text), resp.Header
}

var csrfField = regexp.MustCompile(`name="_csrf" value="([^"]+)"`)

// token is what forms carry. A session that ended meanwhile is begun anew.
func (v *visitor) token(path string) string {
	v.h.t.Helper()
	for range 2 {
		_, body, _ := v.get(path)
		if m := csrfField.FindStringSubmatch(body); m != nil {
			return m[1]
		}
		v.signIn()
	}
	v.h.t.Fatalf("%s has no form", path)
	return ""
}

func (v *visitor) home() string {
	if v.user == "" {
		return "/login"
	}
	return "/account"
}

// send posts a body as it is.
func (v *visitor) send(path, body string, header map[string]string) reply {
	r, err := v.try(path, body, header)
	v.h.must(err)
	return r
}

func (v *visitor) try(path, body string, header map[string]string) (reply, error) {
	req, err := http.NewRequestWithContext(v.h.t.Context(), http.MethodPost, v.h.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := v.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, location: resp.Header.Get("Location"), body: string(text)}, err
}

var noticeBar = regexp.MustCompile(`(?s)<div class="note slim" data-s="([a-z]*)" role="status">.*?<p>(.*?)</p>`)

// post sends a form and looks at what the next page says of it.
func (v *visitor) post(path string, values url.Values) reply {
	v.h.t.Helper()
	if v.csrf == "" {
		v.csrf = v.token(v.home())
	}
	values.Set("_csrf", v.csrf)
	r := v.send(path, values.Encode(), nil)
	if strings.HasPrefix(r.location, "/login") && v.user != "" {
		v.signIn()
	}
	if r.status == http.StatusSeeOther && strings.HasPrefix(r.location, "/") {
		_, body, _ := v.get(r.location)
		if m := noticeBar.FindStringSubmatch(body); m != nil {
			r.notice, r.warned = m[2], m[1] == "warning"
		}
	}
	return r
}

// postRoutes reads the routes that forms are sent to out of the source of package web.
func postRoutes(t *testing.T) []string {
	t.Helper()
	var routes []string
	files, err := filepath.Glob("../../web/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := goparser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			row, ok := node.(*ast.CompositeLit)
			if !ok || len(row.Elts) != 4 {
				return true
			}
			method, ok := row.Elts[0].(*ast.Ident)
			address, isText := row.Elts[1].(*ast.BasicLit)
			if ok && isText && method.Name == "post" {
				text, err := strconv.Unquote(address.Value)
				if err != nil {
					t.Fatal(err)
				}
				routes = append(routes, text)
			}
			return true
		})
	}
	if len(routes) < 70 {
		t.Fatalf("%d routes are known", len(routes))
	}
	return routes
}

// routeOf finds the route that answers at an address: fixed parts go first.
func routeOf(routes []string, path string) string {
	path, _, _ = strings.Cut(path, "?")
	best, score := "", -1
	for _, route := range routes {
		want, got := strings.Split(route, "/"), strings.Split(path, "/")
		fixed := 0
		matches := len(want) == len(got)
		for i := 0; matches && i < len(want); i++ {
			switch {
			case want[i] == got[i]:
				fixed++
			case !strings.HasPrefix(want[i], ":"):
				matches = false
			}
		}
		if matches && fixed > score {
			best, score = route, fixed
		}
	}
	return best
}

// read takes the links and the forms of a page out of it.
func read(page, text string, who *visitor, routes []string) (links []string, forms []form) {
	node, err := html.Parse(strings.NewReader(text))
	if err != nil {
		return nil, nil
	}
	for n := range node.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "a" && strings.HasPrefix(attr(n, "href"), "/"):
			links = append(links, attr(n, "href"))
		case n.Data == "form" && attr(n, "method") == "post":
			action := cmp.Or(attr(n, "action"), page)
			forms = append(forms, form{route: routeOf(routes, action), action: action, page: page, who: who, fields: controls(n)})
		}
	}
	return links, forms
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// controls are those of a form in their order.
func controls(n *html.Node) []field {
	var list []field
	for c := range n.Descendants() {
		name := attr(c, "name")
		if c.Type != html.ElementNode || name == "" {
			continue
		}
		f := field{name: name, kind: c.Data, value: attr(c, "value")}
		switch c.Data {
		case "input":
			f.kind = cmp.Or(attr(c, "type"), "text")
			f.off = (f.kind == "checkbox" || f.kind == "radio") && !has(c, "checked")
		case "textarea":
			f.value = inner(c)
		case "select":
			f.value = chosenOf(c, &f.choices)
		case "button":
		default:
			continue
		}
		list = append(list, f)
	}
	return list
}

func inner(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

func chosenOf(n *html.Node, choices *[]string) string {
	value := ""
	for c := range n.Descendants() {
		if c.Type != html.ElementNode || c.Data != "option" {
			continue
		}
		if *choices = append(*choices, attr(c, "value")); len(*choices) == 1 || has(c, "selected") {
			value = attr(c, "value")
		}
	}
	return value
}

var number = regexp.MustCompile(`/\d+`)

// crawl goes through the pages that lead on from some, and gives their forms. Of pages
// that are alike it sees the first ones.
func (v *visitor) crawl(routes []string, from ...string) []form {
	v.h.t.Helper()
	seen, alike := map[string]bool{}, map[string]int{}
	var forms []form
	for todo := from; len(todo) > 0; {
		path, _, _ := strings.Cut(todo[0], "#")
		todo = todo[1:]
		kind, query, _ := strings.Cut(number.ReplaceAllString(path, "/:id"), "?")
		if seen[path] || strings.HasPrefix(path, "/static/") || strings.HasPrefix(path, "/api") || kind == "/login/oidc" || strings.HasSuffix(kind, "/log") || strings.Contains(query, "page=") {
			continue
		}
		if seen[path] = true; !slices.Contains(from, path) {
			if alike[kind]++; alike[kind] > 12 {
				continue
			}
		}
		status, text, header := v.get(path)
		if status >= 500 {
			v.h.t.Errorf("GET %s: %d", path, status)
		}
		if !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			continue
		}
		links, found := read(path, text, v, routes)
		todo = append(todo, links...)
		forms = append(forms, found...)
	}
	return forms
}

// rows is what the database holds, table by table.
type rows map[string][]string

// passing are tables of what lasts for minutes, and of what nothing here writes.
var passing = regexp.MustCompile(`^(sessions|login_links|form_tokens|replies|worker_beats|task_lines|upgrade_steps|deliveries|goose_.*|river_.*|sqlite_.*|.*_fts.*)$`)

// rows reads the database behind the program's back.
func (h *house) rows() rows {
	h.t.Helper()
	ctx := h.t.Context()
	all := rows{}
	if h.tables == nil {
		h.tables = h.columns(ctx)
	}
	for table, columns := range h.tables {
		if list := h.rowsOf(ctx, table, columns); list != nil {
			all[table] = list
		}
	}
	return all
}

// rowsOf reads one table, in an order that is always the same.
func (h *house) rowsOf(ctx context.Context, table string, columns []string) []string {
	h.t.Helper()
	found, err := h.db.QueryContext(ctx, `SELECT "`+strings.Join(columns, `", "`)+`" FROM "`+table+`"`)
	h.must(err)
	defer func() { h.must(found.Close()) }()
	var list []string
	for found.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(any)
		}
		h.must(found.Scan(row...))
		var line strings.Builder
		for i, value := range row {
			if v := *value.(*any); v != nil {
				fmt.Fprintf(&line, "%s: %v\t", columns[i], v)
			}
		}
		list = append(list, line.String())
	}
	h.must(found.Err())
	slices.Sort(list)
	return list
}

// columns are those of each table that are compared. Packages never change, and are most
// of what there is; when somebody was seen last changes by itself.
func (h *house) columns(ctx context.Context) map[string][]string {
	query := "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
	if strings.HasPrefix(h.app.cfg.Database, "postgres") {
		query = "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
	}
	found, err := h.db.QueryContext(ctx, query)
	h.must(err)
	defer func() { h.must(found.Close()) }()
	all := map[string][]string{}
	for found.Next() {
		var table, column string
		h.must(found.Scan(&table, &column))
		if !passing.MatchString(table) && !slices.Contains([]string{"packages", "last_used_at", "seen_at"}, column) {
			all[table] = append(all[table], column)
		}
	}
	h.must(found.Err())
	return all
}

// peek opens the database a second time.
func (h *house) peek() {
	driver, address := "pgx", h.app.cfg.Database
	if path, file := strings.CutPrefix(address, "sqlite:"); file {
		driver, address = "sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)"
	}
	var err error
	h.db, err = sql.Open(driver, address)
	h.must(err)
	h.t.Cleanup(func() { h.must(h.db.Close()) })
}

// differs names the tables that are not as before.
func (r rows) differs(now rows) []string {
	var list []string
	for _, table := range slices.Sorted(maps.Keys(now)) {
		if !slices.Equal(r[table], now[table]) {
			list = append(list, table)
		}
	}
	for table := range r {
		if now[table] == nil {
			list = append(list, table)
		}
	}
	return list
}

// failures are what the program logged as its own fault since an offset.
func (h *house) failures(since int64) (found []string, end int64) {
	h.t.Helper()
	file, err := os.Open(h.log)
	h.must(err)
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, since, 1<<30))
	h.must(err)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "panic") {
			found = append(found, line)
		}
	}
	return found, since + int64(len(text))
}

// furnished is a house with something of every kind that forms are about. It does no
// tasks: they stay in the queue, and what they would need is nowhere.
func furnished(t *testing.T, database string) *house {
	t.Helper()
	nowhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nowhere.Close)
	h := newHouse(t, func(c *config.Config) {
		c.Database, c.LogLevel = database, "info"
		c.OIDCIssuer, c.OIDCClient, c.OIDCSecret, c.OIDCName = nowhere.URL, "hefring", "canary", "The provider"
	})
	size := store.SeedSize{Distributions: 60, Platforms: seededPlatforms, Sites: seededSites, Tasks: seededTasks, Events: 50, Random: 1}
	h.peek()
	h.must(h.app.store.Seed(t.Context(), size))
	h.answers()
	h.people()
	h.outlets(nowhere.URL)
	h.sources()
	h.hosts()
	h.troubles()
	h.sitesBefore()
	return h
}

// How much there is at the begin; begun are sites whose installation was cut short.
const seededSites, seededTasks, seededPlatforms, begun = 120, 160, 120, 8

// Who may do nothing, and who has a second factor.
const weak, cautious = "eva", "grace"

// people are an administrator, one with a second factor, and one that may do nothing.
func (h *house) people() {
	ctx, f := h.t.Context(), h.app.fleet
	_, err := f.CreateUser(ctx, "admin", "")
	h.must(err)
	client, err := f.SaveClient(ctx, "admin", models.Client{Name: "Museum"})
	h.must(err)
	for _, u := range []fleet.NewUser{
		{Name: weak, Role: models.RoleViewer, ClientID: client.ID},
		{Name: cautious, Role: models.RoleAdministrator, Password: typedSecret},
		{Name: "nina", Role: models.RoleViewer, Password: typedSecret},
		{Name: "paul", Role: models.RoleViewer, Password: typedSecret},
		{Name: "ida", Role: models.RoleAdministrator},
		{Name: "omar", Role: models.RoleOperator},
	} {
		made, err := f.AddUser(ctx, "admin", u)
		h.must(err)
		h.must(f.LinkIdentity(ctx, made.ID, fleet.External{Issuer: "https://id.example.org", Subject: u.Name, Name: u.Name}))
		for _, name := range []string{"One", "Two"} {
			_, err = f.CreateToken(ctx, "admin", fleet.NewToken{User: u.Name, Name: name, Life: time.Hour})
			h.must(err)
		}
	}
	for range 3 {
		_, err := f.SaveClient(ctx, "admin", models.Client{Name: fmt.Sprint("Client ", time.Now().UnixNano())})
		h.must(err)
	}
}

// outlets are channels of each kind, with messages that were given up, and database
// servers that answer nothing at once.
func (h *house) outlets(address string) {
	ctx, f := h.t.Context(), h.app.fleet
	list := []models.Channel{
		{Name: "Mail", Kind: models.ChannelEmail, Target: "ada@example.org", Causes: models.Causes()},
		{Name: "Chat", Kind: models.ChannelSlack, URL: address + "/chat", Causes: models.Causes()},
		{Name: "Hook", Kind: models.ChannelWebhook, URL: address + "/hook", Causes: models.Causes()},
		{Name: "Hook 2", Kind: models.ChannelWebhook, URL: address + "/hook2", Causes: models.Causes()},
	}
	for i, c := range list {
		c, _, err := f.SaveChannel(ctx, "admin", c, "")
		h.must(err)
		if i%2 == 1 {
			h.must(f.PauseChannel(ctx, "admin", c.ID, true))
		}
		for n := range 2 {
			ended := time.Now()
			m := models.NoticeMessage{ChannelID: c.ID, Key: fmt.Sprint("letter ", c.ID, n), State: models.MessageFailed, Attempts: 9, NextAt: ended, CreatedAt: ended, EndedAt: &ended, Letter: models.Letter{ID: fmt.Sprint(c.ID, n), Channel: c.Name, At: ended}}
			h.must(h.app.store.CreateNoticeMessage(ctx, &m))
		}
	}
	servers, err := h.app.store.DatabaseServers(ctx)
	h.must(err)
	for _, row := range servers {
		s := row.DatabaseServer
		s.Host, s.Port = "127.0.0.1", 1
		h.must(h.app.store.SaveDatabaseServer(ctx, "admin", &s))
	}
	for n := range 2 {
		s := models.DatabaseServer{Name: fmt.Sprint("spare", n), Engine: models.EngineMySQL, Host: "127.0.0.1", Port: 1, User: "nobody", Clients: "%", Prefix: "hefring", TLS: models.TLSOff}
		h.must(h.app.store.SaveDatabaseServer(ctx, "admin", &s))
	}
}

// sources are webhooks with two secrets, and versions that wait for a person.
func (h *house) sources() {
	ctx, f := h.t.Context(), h.app.fleet
	for id := range int64(4) {
		hook, _, err := f.CreateWebhook(ctx, "admin", id+1, fleet.NewWebhook{Provider: models.ProviderGitHub})
		h.must(err)
		_, err = f.RotateWebhook(ctx, "admin", hook.ID, "")
		h.must(err)
		h.must(h.app.store.SetCondition(ctx, id+1, models.ConditionHeld, models.ReasonTagMoved, "The tag was moved at the source."))
		h.must(h.app.store.SaveSourceState(ctx, models.SourceState{DistributionID: id + 1, Pending: fmt.Sprintf(`{"Revision":"git:refs/heads/main@sha1:%040x","Content":"tree:9","Label":"999","Hold":{"Reason":"TagMoved","Message":"It was moved."}}`, 900+id)}))
		stalled, err := h.app.store.Upstream(ctx, id+4)
		h.must(err)
		stalled.Stalled, stalled.Reason, stalled.Message = true, models.ReasonAuthentication, "The source refuses the credential."
		h.must(h.app.store.RecordUpstream(ctx, stalled))
	}
}

// hosts are web servers in each state, where there can be any.
func (h *house) hosts() {
	ctx := h.t.Context()
	if h.app.fleet.CanAddServers(ctx) != nil {
		return
	}
	for i := range 4 {
		name := fmt.Sprint("web", i+1)
		s := models.Server{Name: name, Address: "192.0.2." + strconv.Itoa(i+11)}
		h.must(h.app.store.InviteServer(ctx, "admin", &s, "hash of "+name, time.Now().Add(time.Hour)))
		if i == 0 {
			continue
		}
		joined, err := h.app.store.JoinServer(ctx, fleet.Joining{Name: name, TokenHash: "hash of " + name, Recipient: "age1", Password: "a password", KeyHash: "key of " + name, Now: time.Now()})
		h.must(err)
		h.must(h.app.store.BeatServer(ctx, joined.ID, "test"))
		h.t.Cleanup(func() { // roles belong to the whole PostgreSQL
			ctx := context.Background()
			if now, err := h.app.store.Server(ctx, joined.ID); err == nil && now.State != models.ServerRemoved {
				if err := h.app.store.RemoveServer(ctx, "admin", now); err != nil {
					h.t.Error(err)
				}
			}
		})
	}
}

// troubles are sites that stand as they do when somebody must look.
func (h *house) troubles() {
	ctx := h.t.Context()
	for i, state := range []models.SiteState{models.SiteDisabled, models.SiteDisabled, models.SiteDisabled, models.SiteBroken, models.SiteBroken} {
		site, err := h.app.store.Site(ctx, int64(10+i))
		h.must(err)
		if site.State == models.SiteEnabled {
			h.must(h.app.store.MoveSite(ctx, "admin", site, state, "It answers with status 500."))
		}
	}
	for id := range int64(4) {
		h.must(h.app.store.SetHeld(ctx, "admin", 20+id, true, "A fair is on.", nil))
	}
	ready, err := h.app.store.PlatformsIn(ctx, models.PlatformReady)
	h.must(err)
	for i, p := range ready {
		if p.Locked && i%3 == 0 {
			h.must(h.app.store.SetLocked(ctx, "admin", p.ID, false))
		}
	}
	h.must(h.app.fleet.PauseQueue(ctx, "admin", "git", false))
	ready, err = h.app.store.PlatformsIn(ctx, models.PlatformReady)
	h.must(err)
	p := ready[slices.IndexFunc(ready, func(p models.Platform) bool { return !p.Locked })]
	for id := range begun {
		s := models.Site{URI: fmt.Sprintf("begun%d.example.org", id), PlatformID: p.ID, Server: models.LocalServer, State: models.SiteInstalling, Profile: "standard"}
		h.must(h.app.store.CreateSite(ctx, &s))
		h.must(h.app.store.MoveSite(ctx, "admin", s, models.SiteBroken, "The installation was cut short."))
	}
}

// each gives the pages of some of each kind, in whatever state they are.
func (h *house) each() []string {
	ctx := h.t.Context()
	var list []string
	seen := map[string]int{}
	add := func(path string, id int64, state string) {
		if seen[path+state]++; seen[path+state] <= 4 {
			list = append(list, fmt.Sprintf("%s%d", path, id))
		}
	}
	for id := range int64(begun) {
		list = append(list, fmt.Sprint("/sites/", seededSites+1+id))
	}
	for id := range int64(seededSites) {
		s, err := h.app.store.Site(ctx, id+1)
		h.must(err)
		add("/sites/", s.ID, fmt.Sprint(s.State, s.Held))
	}
	for id := range int64(seededPlatforms) {
		p, err := h.app.store.Platform(ctx, id+1)
		h.must(err)
		add("/platforms/", p.ID, fmt.Sprint(p.State, p.Locked))
	}
	byHand, err := h.app.store.PlatformsOf(ctx, 25)
	h.must(err)
	for _, p := range byHand {
		list = append(list, fmt.Sprint("/platforms/", p.ID))
	}
	for id := range int64(seededTasks) {
		t, err := h.app.store.Task(ctx, id+1)
		h.must(err)
		add("/tasks/", t.ID, fmt.Sprint(t.State, t.Kind))
	}
	return list
}

// sitesBefore lets some sites have what they were before their last upgrade.
func (h *house) sitesBefore() {
	ctx := h.t.Context()
	for id := range int64(seededSites) {
		site, err := h.app.store.Site(ctx, id+1)
		h.must(err)
		u, err := h.app.store.LatestUpgrade(ctx, site.ID)
		if err != nil || u.State != models.UpgradeSucceeded || u.ToID != site.PlatformID || u.FromID == u.ToID {
			continue
		}
		ended := time.Now().Add(-time.Minute)
		u.DroppedOldAt, u.EndedAt = nil, &ended
		h.must(h.app.store.SaveUpgrade(ctx, u))
	}
}

// second lets somebody who is signed in have a second factor, and gives its secret.
func (h *house) second(name string) string {
	ctx, f := h.t.Context(), h.app.fleet
	u, err := h.app.store.UserByName(ctx, name)
	h.must(err)
	h.must(f.SetUpSecondFactor(ctx, u.ID))
	state, err := f.SecondFactor(ctx, u.ID)
	h.must(err)
	code, err := totp.GenerateCode(strings.ReplaceAll(state.Secret, " ", ""), time.Now())
	h.must(err)
	_, err = f.ConfirmSecondFactor(ctx, u.ID, code)
	h.must(err)
	return state.Secret
}

// prove fills in what proves that it is oneself, and forgets who guessed before.
func (w *walk) prove(f form, values url.Values) {
	for _, line := range w.rows()["throttles"] {
		key := regexp.MustCompile(`(?:^|\t)key: (.*?)\t`).FindStringSubmatch(line)[1]
		w.must(w.app.store.SaveThrottle(w.t.Context(), models.Throttle{Key: key, CountedAt: time.Now(), OpenAt: time.Now().Add(-time.Hour)}))
	}
	switch f.route {
	case "/account/password":
		values.Set("present", typedSecret)
		values.Set("password", typedSecret)
		values.Set("again", typedSecret)
	case "/account/second-factor/recovery":
		values.Set("code", w.code(cautious))
	case "/account/second-factor/remove":
		values.Set("proof", typedSecret)
	case "/account/second-factor/confirm":
		values.Set("code", w.code("ida"))
	case "/login":
		values.Set("name", "paul")
		values.Set("password", typedSecret)
	case "/login/code":
		values.Set("code", w.code("nina"))
	}
}

// right is a form as it is sent by somebody who knows what it asks for.
func (w *walk) right(f form) url.Values {
	values := f.values(!strings.Contains(f.route, "/:"))
	if f.route == "/sites/:id/move" {
		servers, err := w.app.store.JoinedServers(w.t.Context())
		w.must(err)
		for _, s := range servers {
			w.must(w.app.store.BeatServer(w.t.Context(), s.ID, "test"))
		}
	}
	if f.route == "/distributions/:id/platforms" {
		values.Set("path", w.codebase())
	}
	if f.route == "/sites/:id/delete" {
		_, page, _ := f.who.get(strings.TrimSuffix(f.action, "/delete"))
		values.Set("confirm", html.UnescapeString(regexp.MustCompile(`<h1[^>]*>\s*(.*?)\s*<`).FindStringSubmatch(page)[1]))
	}
	return values
}

// codebase is a folder that can be registered as a platform.
func (w *walk) codebase() string {
	dir := filepath.Join(filepath.Dir(w.data), "code")
	for name, text := range map[string]string{"web/index.php": "<?php\n", "web/core/lib/Drupal.php": "<?php\nclass Drupal {\n  const VERSION = '11.1.0';\n}\n"} {
		w.must(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		w.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// code is what somebody's telephone shows next.
func (w *walk) code(name string) string {
	secret, known := w.secrets[name]
	if !known {
		u, err := w.app.store.UserByName(w.t.Context(), name)
		w.must(err)
		state, err := w.app.fleet.SecondFactor(w.t.Context(), u.ID)
		w.must(err)
		secret = state.Secret
	}
	code, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), time.Now().Add(30*time.Second))
	w.must(err)
	return code
}

// walk sends every form everything.
type walk struct {
	*house
	routes  []string
	forms   map[string][]form // by route
	weak    *visitor
	logged  int64
	was     rows
	asked   int
	secrets map[string]string // of second factors
	since   []string          // what was refused since the database was looked at
}

func TestForms_Every_StandsWhatIsSent(t *testing.T) {
	for name, database := range map[string]func(t *testing.T) string{
		"sqlite": func(*testing.T) string { return "" }, "postgres": func(t *testing.T) string { t.Helper(); return testpg.Empty(t) },
	} {
		t.Run(name, func(t *testing.T) {
			h := furnished(t, database(t))
			w := &walk{house: h, routes: postRoutes(t), forms: map[string][]form{}, secrets: map[string]string{}}
			w.find()
			for _, route := range w.order() {
				if len(w.forms[route]) == 0 {
					if name == "postgres" || !elsewhereOnly(route) {
						t.Errorf("no page shows a form for %s", route)
					}
					continue
				}
				began := time.Now()
				asked := w.asked
				w.hostile(route)
				w.strangers(route)
				w.twice(route)
				t.Logf("%-40s %4d requests in %s", route, w.asked-asked, time.Since(began).Round(time.Millisecond))
			}
			t.Logf("%d routes, %d requests", len(w.routes), w.asked)
		})
	}
}

// elsewhereOnly are routes whose forms need a second server, which needs PostgreSQL.
func elsewhereOnly(route string) bool {
	return strings.HasPrefix(route, "/servers") || route == "/sites/:id/move"
}

// order has what takes away come last.
func (w *walk) order() []string {
	late := func(route string) int {
		return slices.IndexFunc([]string{"/delete", "/remove", "/second-factor", "/logout"}, func(end string) bool { return strings.HasSuffix(route, end) })
	}
	return slices.SortedFunc(slices.Values(w.routes), func(a, b string) int {
		return cmp.Or(late(a)-late(b), strings.Compare(a, b))
	})
}

// find has several people look at all pages that they come to.
func (w *walk) find() {
	admin, guarded, setting, nobody := w.visitor("admin"), w.visitor(cautious), w.visitor("ida"), w.visitor("")
	w.weak = w.visitor(weak)
	w.visitor("admin") // a second browser
	for _, name := range []string{cautious, "nina"} {
		w.secrets[name] = w.second(name)
	}
	u, err := w.app.store.UserByName(w.t.Context(), "ida")
	w.must(err)
	w.must(w.app.fleet.SetUpSecondFactor(w.t.Context(), u.ID))
	link, err := w.app.loginLink(w.t.Context(), "omar")
	w.must(err)
	half := w.visitor("")
	half.post("/login", url.Values{"name": {"nina"}, "password": {typedSecret}})

	all := slices.Concat(
		admin.crawl(w.routes, append(w.each(), "/", "/account", "/settings", "/users", "/users/new", "/clients", "/clients/new", "/notices", "/notices/new", "/distributions", "/distributions/new", "/distributions/25", "/distributions/25/platforms/new", "/distributions/58/delete", "/distributions/59/delete",
			"/sites", "/sites/new", "/sites?state=installing", "/sites?state=disabled", "/sites?state=broken", "/import", "/databases", "/databases/new", "/servers", "/servers/new", "/queues",
			"/tasks", "/tasks?state=failed", "/tasks?state=queued", "/platforms", "/platforms?state=failed", "/audit")...),
		guarded.crawl(w.routes, "/account"), setting.crawl(w.routes, "/account", "/account/second-factor"),
		nobody.crawl(w.routes, "/login", strings.TrimPrefix(link, w.url)), half.crawl(w.routes, "/login/code"),
	)
	for _, f := range all {
		if f.route == "" {
			w.t.Errorf("%s has a form that leads to %s, where nothing is", f.page, f.action)
		}
		if !slices.ContainsFunc(w.forms[f.route], func(g form) bool {
			return g.action == f.action && g.who.user == f.who.user && len(g.fields) == len(f.fields)
		}) {
			w.forms[f.route] = append(w.forms[f.route], f)
		}
	}
	w.was = w.rows()
	_, w.logged = w.failures(0)
}

// hostile is what nobody types by mistake, and what somebody does.
func hostile() map[string]string {
	return map[string]string{
		"NUL": "a\x00b", "no text": "\xff\xfe\xc3(", "long": strings.Repeat("y", 70_000), "marks": "\u202eabc\u200b\u2066x", "lines": "a\r\nSet-Cookie: x=y",
		"negative": "-1", "huge": "99999999999999999999999", "highest": "9223372036854775807", "fraction": "1e308", "somebody's": "424242",
		"markup": "%s%n{{7*7}}<script>alert(1)</script>'; drop table users;--", "path": "../../../../etc/passwd", "inside": "http://169.254.169.254/latest/meta-data/",
		"script": "javascript:alert(1)", "blank": "   ", "nothing": "",
	}
}

// chosen are what forms need beside what they hold to be taken.
func chosen(n int64) map[string]url.Values {
	name := fmt.Sprint("new", n)
	return map[string]url.Values{
		"/users": {"name": {name}, "password": {""}}, "/clients": {"name": {name}}, "/account/tokens": {"name": {name}},
		"/notices":   {"name": {name}, "kind": {"email"}, "target": {"a@example.org"}, "cause-build": {"1"}},
		"/databases": {"name": {name}, "engine": {"mysql"}, "host": {"127.0.0.1"}, "port": {"1"}, "user": {"nobody"}, "clients": {"%"}, "prefix": {"hefring"}},
		"/sites":     {"uri": {name + ".example.org"}, "profile": {"standard"}, "aliases": {""}, "language": {""}}, "/sites/clone": {"uri": {name + ".example.org"}},
		"/distributions":              {"name": {name}, "slug": {name}, "type": {"git"}, "git.url": {"https://git1.example.org/" + name + ".git"}, "git.branch": {"main"}},
		"/distributions/:id":          {"git.url": {"https://git1.example.org/" + name + ".git"}},
		"/sites/:id/hold":             {"reason": {"A fair is on."}},
		"/notices/:id/edit":           {"cause-build": {"1"}},
		"/distributions/:id/webhooks": {"branch": {""}}, "/import": {"root": {"/srv/other"}}, "/servers": {"name": {name}, "address": {"192.0.2.44"}},
	}
}

// values is a form as it is sent, by somebody who fills in what is empty or not.
func (f form) values(fill bool) url.Values {
	values := url.Values{}
	for _, c := range f.fields {
		value := c.value
		switch {
		case c.name == "_csrf" || c.off && c.kind == "checkbox" || c.kind == "button" && values.Has(c.name):
			continue
		case c.kind == "radio" && c.off && (values.Has(c.name) || slices.ContainsFunc(f.fields, func(o field) bool { return o.name == c.name && !o.off })):
			continue
		case c.kind == "checkbox":
			value = cmp.Or(value, "on")
		case !fill:
		case value == "" && c.kind == "password":
			value = typedSecret
		case value == "" && (c.kind == "text" || c.kind == "textarea" || c.kind == "search"):
			value = typed
		}
		values.Set(c.name, value)
	}
	maps.Copy(values, chosen(time.Now().UnixNano())[f.route])
	return values
}

// again reads the form anew from its page; false when it is not there any more.
func (f form) again(routes []string) (form, bool) {
	_, text, _ := f.who.get(f.page)
	_, list := read(f.page, text, f.who, routes)
	i := slices.IndexFunc(list, func(g form) bool { return g.action == f.action && len(g.fields) == len(f.fields) })
	if i < 0 {
		return f, false
	}
	return list[i], true
}

// pick gives a form of the route that a page shows now.
func (w *walk) pick(route string) (form, bool) {
	for list := w.forms[route]; len(list) > 0; list = w.forms[route] {
		if f, there := list[0].again(w.routes); there {
			return f, true
		}
		w.forms[route] = list[1:]
	}
	return form{}, false
}

// post sends a form and holds its answer to what every answer must be.
func (w *walk) post(f form, what string, values url.Values) reply {
	w.asked++
	r := f.who.post(f.action, values)
	w.look(f, what, r)
	if r.status == http.StatusUnprocessableEntity {
		if !strings.Contains(r.body, `role="alert"`) && !strings.Contains(r.body, `-e"`) && !strings.Contains(r.body, "note") {
			w.t.Errorf("%s with %s: the page does not say what is wrong", f.action, what)
		}
		for name, list := range values {
			if list[0] == typed && name != "code" && name != "proof" && !strings.Contains(r.body, typed) {
				w.t.Errorf("%s with %s: what was typed into %s is gone", f.action, what, name)
			}
		}
	}
	if strings.Contains(r.body, typedSecret) {
		w.t.Errorf("%s with %s: the answer has the password", f.action, what)
	}
	return r
}

// look fails for what is the program's own fault, and for what was refused and yet
// changed something.
func (w *walk) look(f form, what string, r reply) {
	w.t.Helper()
	found, end := w.failures(w.logged)
	w.logged = end
	if r.status >= 500 || r.status == 0 || len(found) > 0 {
		w.t.Errorf("%s (of %s) with %s: %d %s", f.action, f.page, what, r.status, strings.Join(found, ""))
	}
	w.since = append(w.since, what)
	if r.refused() {
		return
	}
	w.free()
	w.was, w.since = w.rows(), nil
}

// free ends what was begun, so that nothing is busy.
func (w *walk) free() {
	tasks, err := w.app.store.RunningTasks(w.t.Context(), fleet.Filter{Limit: 100})
	w.must(err)
	for _, t := range tasks {
		if t.ID > seededTasks { // none of those that were there
			w.must(w.app.store.CancelTask(w.t.Context(), "admin", t.ID))
		}
	}
}

// onTheWay tells whether a table has what is noted of whoever tries: failed attempts
// to sign in, and when a token was used.
func onTheWay(f form, table string) bool {
	proves := strings.HasPrefix(f.route, "/login") || f.route == "/account/password" || strings.HasPrefix(f.route, "/account/second-factor/")
	return proves && table == "events" || table == "throttles"
}

// unchanged fails if what was refused changed something.
func (w *walk) unchanged(f form) {
	w.t.Helper()
	now := w.rows()
	for _, table := range w.was.differs(now) {
		if onTheWay(f, table) {
			continue
		}
		w.t.Errorf("%s: %s is not as before; refused were %s: %s", f.action, table, strings.Join(w.since, ", "), differing(w.was[table], now[table]))
	}
	w.was, w.since = now, nil
}

// differing are the first rows that only one of two lists has.
func differing(a, b []string) string {
	var out strings.Builder
	for i, pair := range [][2][]string{{a, b}, {b, a}} {
		for _, line := range pair[0] {
			if !slices.Contains(pair[1], line) {
				fmt.Fprintf(&out, "%s %.300s", []string{"-", "+"}[i], line)
				break
			}
		}
	}
	return out.String()
}

// share is how many of the hostile values each of so many fields is sent; the next
// field gets the next ones. With as many as there are it takes ten minutes.
func share(fields int) int {
	if fields > 40 {
		return 2
	}
	return 5
}

// hostile sends a form with each of its fields being what it should not be.
func (w *walk) hostile(route string) {
	if strings.HasPrefix(route, "/account/sessions") {
		w.visitor("admin") // in another browser
		w.was = w.rows()
	}
	f, there := w.pick(route)
	kinds := slices.Sorted(maps.Keys(hostile()))
	done := map[string]bool{}
	for there {
		next := ""
		for i, c := range f.fields {
			for k := range share(len(f.fields)) {
				key := c.name + " " + kinds[(share(len(f.fields))*i+k)%len(kinds)]
				if c.name != "_csrf" && c.name != "_once" && !done[key] {
					next = key
				}
			}
		}
		if next == "" {
			break
		}
		done[next] = true
		name, kind, _ := strings.Cut(next, " ")
		values := f.values(true)
		if kind == "nothing" {
			values.Del(name)
		} else {
			values[name] = []string{hostile()[kind], "second"}
		}
		if r := w.post(f, next, values); !r.refused() {
			f, there = w.pick(route)
		}
	}
	if there {
		w.unchanged(f)
	}
}

// strangers sends a form as other sites, other people and programs would, and to what
// is not there.
func (w *walk) strangers(route string) {
	f, there := w.pick(route)
	if !there {
		return
	}
	values := f.values(true)
	values.Set("_csrf", f.who.token(f.who.home()))
	body := values.Encode()
	values.Del("_csrf")
	bare := values.Encode()
	for what, c := range map[string]struct {
		body   string
		header map[string]string
		want   int
	}{
		"no token":       {bare, nil, http.StatusForbidden},
		"another's page": {body, map[string]string{"Origin": "https://evil.example"}, http.StatusForbidden},
		"null origin":    {body, map[string]string{"Origin": "null"}, http.StatusForbidden},
		"same site":      {body, map[string]string{"Sec-Fetch-Site": "same-site"}, http.StatusForbidden},
		"JSON":           {`{"_csrf":"x"}`, map[string]string{"Content-Type": "application/json"}, http.StatusForbidden},
		"text":           {body, map[string]string{"Content-Type": "text/plain"}, http.StatusForbidden},
		"broken parts":   {"--x\r\n\r\nb", map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, 0},
		"two megabytes":  {body + "&a=" + strings.Repeat("x", 2<<20), nil, 0},
		"broken percent": {bare + "&_csrf=%zz&%=%", nil, http.StatusForbidden},
	} {
		w.asked++
		r, err := f.who.try(f.action, c.body, c.header)
		if err != nil {
			w.t.Errorf("%s with %s: %v", f.action, what, err)
			continue
		}
		w.look(f, what, r)
		if c.want != 0 && r.status != c.want || c.want == 0 && (r.status < 400 || r.status >= 500) {
			w.t.Errorf("%s with %s: %d %s", f.action, what, r.status, r.location)
		}
	}
	w.unchanged(f)
	if status, _, _ := f.who.get(f.action); status >= 500 {
		w.t.Errorf("GET %s: %d", f.action, status)
	}
	if strings.Contains(route, "/:") && !strings.HasPrefix(route, "/login") {
		for _, id := range []string{"0", "-1", "99999999999999999999", "535353", "abc", "%00", "%ff", "1%2f2", "..%2f1", "1 or 1=1"} {
			gone := f
			at := slices.IndexFunc(strings.Split(route, "/"), func(part string) bool { return strings.HasPrefix(part, ":") })
			parts := strings.Split(f.action, "/")
			parts[at] = strings.ReplaceAll(id, " ", "%20")
			gone.action = strings.Join(parts, "/")
			if r := w.post(gone, "the id "+id, f.values(true)); r.status != http.StatusNotFound {
				w.t.Errorf("%s: %d %s %s", gone.action, r.status, r.location, r.notice)
			}
		}
		w.unchanged(f)
	}
	if !strings.HasPrefix(route, "/account") && !strings.HasPrefix(route, "/log") && route != "/theme" {
		theirs := f
		theirs.who = w.weak
		if r := w.post(theirs, "another's hands", f.values(true)); r.status != http.StatusForbidden && r.status != http.StatusNotFound {
			w.t.Errorf("%s by %s: %d %s", f.action, weak, r.status, r.location)
		}
		w.unchanged(f)
	}
}

// single are the tables in which one press makes one row.
var single = []string{"sites", "users", "clients", "channels", "webhooks", "webhook_secrets", "tokens", "distributions", "platforms", "database_servers", "servers", "tasks", "backups", "notice_messages", "identities"}

// many are routes that make more than one row in a table, and which.
var many = map[string]string{
	"/queues/:type/run":      "tasks",           // one for each of its sources
	"/platforms/:id/upgrade": "tasks",           // one for each of its sites
	"/notices/:id/test":      "notice_messages", // it is tried as often as one asks
}

// asItStands is why the record has nothing of an edit that is sent as it was shown.
// TestFleet_PressedAtOnce_IsRecordedOnce presses edits that change something.
const asItStands = "it changes nothing"

// silent are routes whose forms do nothing here that the record has, and why.
var silent = map[string]string{
	"/theme": "it is kept in the browser", "/logout": "the session is just gone",
	"/account/identities/link": "the provider does not answer",
	"/account/second-factor":   "it is recorded when it is confirmed",
	"/databases":               "there is no database server", "/databases/:id": "there is no database server",
	"/sites/:id/login": "there is no site on the disk", "/backups/:id/delete": "there is no backup on the disk",
	"/clients/:id": asItStands, "/notices/:id/edit": asItStands, "/queues/:type": asItStands, "/queues/hosts": asItStands,
	"/sites/:id/client": asItStands, "/users/:id": asItStands,
}

// twice presses a form's button in two windows at the same moment, and once more when
// that is done. Where that does nothing the next form of the kind is tried.
func (w *walk) twice(route string) {
	said := "there is none left to press"
	for f, there := w.pick(route); there; f, there = w.pick(route) {
		var done bool
		if done, said = w.press(f); done == (silent[route] == "") {
			return
		}
		w.forms[route] = w.forms[route][1:]
	}
	w.t.Errorf("%s pressed twice (%q): %s", route, silent[route], said)
}

// press is twice of one form; true when the record has something of it.
func (w *walk) press(f form) (done bool, said string) {
	values := w.right(f)
	w.prove(f, values)
	values.Set("_csrf", f.who.token(f.who.home()))
	body := values.Encode()
	before := w.rows()
	var both sync.WaitGroup
	var answers [2]reply
	var errs [2]error
	for i := range answers {
		both.Go(func() { answers[i], errs[i] = f.who.try(f.action, body, nil) })
	}
	both.Wait()
	w.asked += len(answers)
	after := w.rows()
	for i, r := range answers {
		w.must(errs[i])
		w.look(f, "a press twice", r)
	}
	for _, table := range single {
		if n := len(after[table]) - len(before[table]); n > 1 && many[f.route] != table {
			w.t.Errorf("%s pressed twice made %d rows in %s", f.action, n, table)
		}
	}
	said = w.about(f, answers[0]) + w.about(f, answers[1])
	w.post(f, "a press too late", w.right(f))
	w.free()
	w.was, w.since = w.rows(), nil
	return !slices.Equal(before["events"], after["events"]), said
}

var alert = regexp.MustCompile(`(?s)role="alert".*?<p>(.*?)</p>|<p class="err"[^>]*>(.*?)</p>|id="[a-z0-9_.-]+-e"[^>]*>(.*?)</`)

// about is what an answer says.
func (w *walk) about(f form, r reply) string {
	var said []string
	if strings.HasPrefix(r.location, "/") {
		_, r.body, _ = f.who.get(r.location)
	}
	for _, m := range append(alert.FindAllStringSubmatch(r.body, -1), noticeBar.FindAllStringSubmatch(r.body, -1)...) {
		said = append(said, strings.Join(m[1:], ""))
	}
	return fmt.Sprintf("%d %s %.400q", r.status, r.location, said)
}
