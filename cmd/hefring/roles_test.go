package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

// staffed is the program on an empty data folder with a user for each role, of the
// host and of a client.
func staffed(t *testing.T) (*app, []models.User) {
	t.Helper()
	cfg := config.Config{
		Data: t.TempDir(), Listen: "127.0.0.1:0", SitesListen: "127.0.0.1", SitesPort: 1, ProbePort: 2,
		WebUser: "www-data", BuildUser: "nobody", LogLevel: "error",
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(cfg.Validate())
	a, err := newApp(t.Context(), cfg)
	must(err)
	t.Cleanup(a.close)
	client, err := a.fleet.SaveClient(t.Context(), "test", models.Client{Name: "Museum"})
	must(err)
	var users []models.User
	for _, role := range models.Roles() {
		for _, of := range []int64{0, client.ID} {
			if of != 0 && role == models.RoleAdministrator {
				continue // there is none of a client
			}
			u, err := a.fleet.AddUser(t.Context(), "test", fleet.NewUser{Name: fmt.Sprintf("%s-%d", role, of), Role: role, ClientID: of})
			must(err)
			users = append(users, u)
		}
	}
	return a, users
}

// operations is what each operation of the API takes.
var operations = map[models.Permission][]string{
	models.MaySeeAudit:            {"list-audit"},
	models.MaySeeSites:            {"list-sites", "get-site", "quote-rollback", "list-backups", "get-backup", "list-tasks", "get-task", "get-task-log", "list-task-children", "list-running-tasks", "list-recent-tasks", "quote-upgrade", "list-upgrades", "get-upgrade", "get-fleet", "list-decisions"},
	models.MaySeeFleet:            {"list-platforms", "get-platform", "diff-platforms", "list-databases", "get-database", "quote-platform-upgrade", "list-distributions", "get-distribution", "list-checks", "get-held-version", "list-update-types", "list-queues", "list-hosts", "list-clients", "list-servers", "get-server", "list-server-sites", "list-platform-servers"},
	models.MayUpgrade:             {"upgrade-site", "rollback-site", "compare-site"},
	models.MayOperateSites:        {"verify-site", "run-cron", "hold-site", "release-site", "retry-install"},
	models.MaySignInToSites:       {"login-to-site"},
	models.MayBackUp:              {"backup-site"},
	models.MayRestore:             {"restore-site"},
	models.MayConfigureSites:      {"disable-site", "enable-site", "configure-site", "keep-backup", "delete-backup"},
	models.MayDeleteSites:         {"delete-site"},
	models.MayRelocateSites:       {"move-site"},
	models.MayCreateSites:         {"install-site", "clone-site", "find-sites", "found-sites"},
	models.MayBuild:               {"build-platform", "approve-version"},
	models.MayVerifyPlatforms:     {"verify-platform"},
	models.MayUpgradePlatforms:    {"upgrade-platform"},
	models.MayManagePlatforms:     {"delete-platform", "lock-platform", "unlock-platform", "set-target"},
	models.MayManageServers:       {"add-database", "change-database", "test-database", "delete-database", "add-server", "invite-server", "remove-server"},
	models.MayCancelTasks:         {"cancel-task", "retry-task"},
	models.MayCheck:               {"check-distribution", "retry-distribution"},
	models.MayManageDistributions: {"add-distribution", "change-distribution", "delete-distribution", "register-platform", "list-webhooks", "get-webhook", "add-webhook", "rotate-webhook", "retire-webhook-secret", "delete-webhook"},
	models.MayRunQueues:           {"run-queue", "pause-queue", "resume-queue"},
	models.MayChangeSettings:      {"set-queue", "set-host", "list-channels", "get-channel", "add-channel", "change-channel", "pause-channel", "resume-channel", "test-channel", "rotate-channel", "delete-channel", "list-messages", "resend-message"},
	models.MayManageClients:       {"add-client", "change-client", "delete-client", "give-site"},
	models.MayManageUsers:         {"list-users", "get-user", "add-user", "change-user", "set-password", "make-login-link", "drop-second-factor", "list-tokens", "add-token", "revoke-token"},
}

// bodies are what operations need so that they come as far as the use case.
var bodies = map[string]string{
	"install-site": `{"uri":"x.example.org","platform":"thunder-1"}`, "clone-site": `{"uri":"x.example.org"}`, "rollback-site": `{"upgrade":1}`,
	"hold-site": `{"reason":"x"}`, "configure-site": `{}`, "backup-site": `{}`, "restore-site": `{"platform":"thunder-1"}`, "keep-backup": `{"keep":true}`,
	"add-distribution": `{"name":"","type":"manual","settings":{}}`, "change-distribution": `{"name":"","settings":{}}`, "approve-version": `{"revision":"x"}`,
	"register-platform": `{"folder":"/nowhere"}`, "add-webhook": `{"provider":"github"}`, "set-queue": `{"every_seconds":60,"at_once":1}`,
	"set-host": `{"at_once":1,"per_minute":1}`, "add-channel": `{"name":"","kind":"email"}`, "change-channel": `{"name":""}`,
	"add-client": `{"name":""}`, "change-client": `{"name":""}`, "give-site": `{}`, "add-user": `{"name":"","role":"viewer"}`, "change-user": `{"role":"viewer"}`,
	"set-password": `{"password":"x"}`, "add-token": `{"name":""}`,
	"move-site": `{"server":"local"}`, "add-server": `{"name":""}`,
	"find-sites": `{"root":"/nowhere"}`, "add-database": `{"name":"x","engine":"mysql","host":"127.0.0.1","user":"x"}`,
	"change-database": `{"engine":"mysql","host":"127.0.0.1","user":"x"}`,
}

// Every operation of the API answers every role as the table of permissions says.
func TestAPI_EveryRole_GetsWhatTheTableSays(t *testing.T) {
	a, users := staffed(t)
	site := seedSite(t, a)
	handler := api.New(a.fleet, func(by models.Actor) api.Fleet { return a.fleet.For(by) }, nil, "test")
	described := description(t, handler)
	needs := map[string]models.Permission{}
	for p, ids := range operations {
		for _, id := range ids {
			needs[id] = p
		}
	}
	asked := 0
	for _, u := range users {
		token, err := a.fleet.CreateToken(t.Context(), u.Name, fleet.NewToken{User: u.Name, Name: "walk", Life: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for path, item := range described.Paths {
			for method, o := range item {
				p, known := needs[o.ID]
				if !known {
					t.Errorf("nobody said what %s takes", o.ID)
					continue
				}
				asked++
				names := strings.NewReplacer("{site}", site, "{platform}", "thunder-1", "{other}", "thunder-1", "{database}", "main", "{backup}", "99", "{task}", "99", "{distribution}", "thunder",
					"{queue}", "git", "{host}", "example.org", "{webhook}", "99", "{secret}", "99", "{channel}", "all", "{message}", "99",
					"{user}", "nobody", "{client}", "Museum", "{token}", "none", "{event}", "99", "{name}", "web9")
				r := httptest.NewRequestWithContext(t.Context(), strings.ToUpper(method), api.Prefix+names.Replace(path)+o.query(), strings.NewReader(bodies[o.ID]))
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				want := !u.Actor().May(p)
				// The site is not the client's, so whoever may see sites at all finds none.
				got := w.Code == http.StatusForbidden || u.ClientID != nil && w.Code == http.StatusNotFound && want
				if got != want {
					t.Errorf("%s by %s: %d %.200s; it takes %q", o.ID, u.Name, w.Code, w.Body, p)
				}
				if u.ClientID != nil && strings.Contains(path, "{site}") && w.Code < 300 {
					t.Errorf("%s by %s: %d of somebody else's site", o.ID, u.Name, w.Code)
				}
			}
		}
	}
	t.Logf("%d operations × roles", asked)
}

// seedSite makes a site that belongs to nobody, as far as the database knows.
func seedSite(t *testing.T, a *app) string {
	t.Helper()
	ctx := t.Context()
	d := models.Distribution{Slug: "thunder", Name: "Thunder", UpdateType: "manual", Settings: models.Settings{}}
	if err := a.store.CreateDistribution(ctx, &d); err != nil {
		t.Fatal(err)
	}
	p := models.Platform{DistributionID: d.ID, Name: "thunder-1", Server: fleet.LocalServer, State: models.PlatformReady}
	if err := a.store.CreatePlatform(ctx, &p); err != nil {
		t.Fatal(err)
	}
	s := models.Site{URI: "nobodys.example.org", PlatformID: p.ID, Server: fleet.LocalServer, State: models.SiteInstalling, Profile: "standard"}
	if err := a.store.CreateSite(ctx, &s); err != nil {
		t.Fatal(err)
	}
	db := models.DatabaseServer{Name: "main", Engine: models.EngineMySQL, Host: "127.0.0.1", Port: 1, User: "nobody", Clients: "%", Prefix: "hefring", TLS: models.TLSOff}
	if err := a.store.SaveDatabaseServer(ctx, "test", &db); err != nil {
		t.Fatal(err)
	}
	return s.URI
}

// document is what the test reads of the API's description.
type document struct {
	Paths map[string]map[string]described `json:"paths"`
}

type described struct {
	ID         string `json:"operationId"`
	Parameters []struct {
		Name, In string
		Required bool
	} `json:"parameters"`
}

// query gives what an operation needs in the query.
func (o described) query() string {
	query := url.Values{}
	for _, p := range o.Parameters {
		if p.In == "query" && p.Required {
			query.Set(p.Name, "x")
		}
	}
	return "?" + query.Encode()
}

func description(t *testing.T, handler http.Handler) document {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/openapi.json", nil))
	var d document
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || len(d.Paths) == 0 {
		t.Fatalf("read the description: %v", err)
	}
	return d
}

// commands is what each command takes. The others work on the machine itself and
// have no user.
var commands = map[models.Permission][]string{
	models.MaySeeSites: {"overview", "site list", "site show", "site plan", "site moves", "site backups", "task list", "task show", "task log"},
	models.MaySeeFleet: {
		"platform list", "platform show", "platform plan", "platform diff", "database list", "database show", "client list",
		"distribution list", "distribution show", "distribution checks", "distribution types", "queue list", "queue hosts", "server list", "server show", "server sites", "platform servers",
	},
	models.MayUpgrade:          {"site upgrade", "site rollback", "site compare"},
	models.MayOperateSites:     {"site verify", "site retry", "site hold", "site release", "site cron"},
	models.MaySignInToSites:    {"site login"},
	models.MayBackUp:           {"site backup"},
	models.MayRestore:          {"site restore"},
	models.MayConfigureSites:   {"site disable", "site enable", "site configure", "site keep", "site drop"},
	models.MayDeleteSites:      {"site delete"},
	models.MayRelocateSites:    {"site move"},
	models.MayCreateSites:      {"site install", "site clone", "site find", "site adopt"},
	models.MayBuild:            {"platform build", "distribution approve"},
	models.MayCheck:            {"distribution check", "distribution retry"},
	models.MayRunQueues:        {"queue run", "queue pause", "queue resume"},
	models.MayVerifyPlatforms:  {"platform verify"},
	models.MayUpgradePlatforms: {"platform upgrade"},
	models.MayManagePlatforms:  {"platform lock", "platform unlock", "platform target", "platform delete"},
	models.MayManageDistributions: {
		"distribution add", "distribution change", "distribution delete", "distribution register",
		"webhook list", "webhook show", "webhook add", "webhook rotate", "webhook retire", "webhook delete",
	},
	models.MayChangeSettings: {
		"queue set", "queue set-host", "notice list", "notice show", "notice add", "notice change", "notice pause", "notice resume", "notice test",
		"notice rotate", "notice resend", "notice delete",
	},
	models.MaySeeAudit:      {"audit"},
	models.MayManageServers: {"database add", "database change", "database test", "database delete", "server add", "server invite", "server remove"},
	models.MayCancelTasks:   {"task cancel", "task retry"},
	models.MayManageClients: {"client add", "client change", "client delete", "site give"},
	models.MayManageUsers:   {"user add", "user list", "user change", "user password", "user drop-second-factor", "login-link", "token add", "token list", "token revoke"},
}

// Every command answers every role as the table of permissions says.
func TestCLI_EveryRole_GetsWhatTheTableSays(t *testing.T) {
	a, users := staffed(t)
	seedSite(t, a)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	stdin, stdout := os.Stdin, os.Stdout
	sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdin, os.Stdout = null, sink
	defer func() { os.Stdin, os.Stdout = stdin, stdout }()
	needs := map[string]models.Permission{}
	for p, names := range commands {
		for _, name := range names {
			needs[name] = p
		}
	}
	asked := 0
	for _, leaf := range leaves(t) {
		name := strings.TrimPrefix(leaf.Path(), "hefring ")
		p, known := needs[name]
		if !slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "as" }) {
			if known {
				t.Errorf("%s has no --as", name)
			}
			continue
		}
		if !known {
			t.Errorf("nobody said what %s takes", name)
			continue
		}
		command, as := parsed(t, a, leaf)
		for _, u := range users {
			asked++
			*as = u.Name
			err := command.Run()
			e, _ := errors.AsType[*exitError](err)
			hidden := u.ClientID != nil && e != nil // what is not a client's may as well not be there
			if got, want := e != nil && e.code == exitForbidden, !u.Actor().May(p); got != want && (!want || !hidden) {
				t.Errorf("%s by %s: %v; it takes %q", name, u.Name, err, p)
			}
		}
	}
	t.Logf("%d commands × roles", asked)
}

func leaves(t *testing.T) []*kong.Node {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.BindTo(context.Background(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Leaves(false)
}

// parsed is a command with the least that it asks for, and as whom it is run. It is
// parsed once: that takes longer than most commands do.
func parsed(t *testing.T, a *app, leaf *kong.Node) (command *kong.Context, as *string) {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.BindTo(t.Context(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Fields(strings.TrimPrefix(leaf.Path(), "hefring "))
	for _, arg := range leaf.Positional {
		line = append(line, sample(leaf, arg))
	}
	for _, flag := range leaf.Flags {
		if flag.Name == "yes" {
			line = append(line, "--yes")
		}
		if flag.Required {
			line = append(line, "--"+flag.Name+"="+sample(leaf, flag.Value))
		}
	}
	if command, err = parser.Parse(line); err != nil {
		t.Fatalf("%v: %v", line, err)
	}
	field := command.Selected().Target
	for field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	shared := (*act)(field.FieldByName("act").Addr().UnsafePointer()) // it has --as
	shared.open = func(_ context.Context, _ *config.Config, use func(*app) error) error { return use(a) }
	return command, &shared.As
}

// sample is a value that leads somewhere, where there is anything to lead to.
func sample(leaf *kong.Node, v *kong.Value) string {
	switch {
	case v.Enum != "":
		return strings.Split(v.Enum, ",")[0]
	case v.Target.Kind() == reflect.Int64 || v.Target.Kind() == reflect.Int:
		return "99"
	case v.Name == "root":
		return "/nowhere"
	case v.Name == "platform" || strings.Contains(leaf.Path(), "platform "):
		return "thunder-1"
	case strings.Contains(leaf.Path(), "database "):
		return "main"
	case v.Name == "name" && strings.Contains(leaf.Path(), "client "):
		return "Museum"
	}
	return "nobodys.example.org"
}
