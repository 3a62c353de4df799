package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

// elsewhere serves an app's API; wrap, which may be nil, stands before it.
func elsewhere(t *testing.T, a *app, wrap func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	var handler http.Handler = api.New(a.fleet, func(by models.Actor) api.Fleet { return a.fleet.For(by) }, nil, "test")
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func tokenOf(t *testing.T, a *app, user string) string {
	t.Helper()
	token, err := a.fleet.For(models.Actor{Name: "test", Role: models.RoleAdministrator}).CreateToken(t.Context(), fleet.NewToken{User: user, Name: "remote", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// from is the program with a token for a Hefring at an address.
func from(t *testing.T, address, token string) program {
	t.Helper()
	p := newProgram(t)
	p.env = []string{"HEFRING_URL=" + address, "HEFRING_TOKEN=" + token}
	return p
}

// What is shown once is JSON, too, where that is asked for.
func TestCLI_JSON_OfWhatIsShownOnce(t *testing.T) {
	a, _ := staffed(t)
	here := newProgram(t)
	here.env = []string{"HEFRING_DATA=" + a.cfg.Data, fmt.Sprintf("HEFRING_SITES_PORT=%d", a.cfg.SitesPort)}
	for command, field := range map[string]string{"token add viewer-0 more --json": "token", "login-link viewer-0 --json": "url"} {
		end := here.run(t, strings.Fields(command)...)
		var said map[string]string
		if err := json.Unmarshal([]byte(end.out), &said); err != nil || end.code != 0 || said[field] == "" {
			t.Errorf("%s: exit %d, %v\n%s%s", command, end.code, err, end.out, end.err)
		}
	}
}

// The same command says the same and ends with the same code, here and elsewhere.
func TestRemote_Commands_AnswerAsHere(t *testing.T) {
	a, _ := staffed(t)
	seedSite(t, a)
	if _, _, err := a.fleet.SaveChannel(t.Context(), "test", models.Channel{Name: "All", Kind: models.ChannelEmail, Target: "ada@example.org", Causes: models.Causes()}, ""); err != nil {
		t.Fatal(err)
	}
	far := from(t, elsewhere(t, a, nil).URL, tokenOf(t, a, "administrator-0"))
	here := newProgram(t)
	here.env = []string{"HEFRING_DATA=" + a.cfg.Data, fmt.Sprintf("HEFRING_SITES_PORT=%d", a.cfg.SitesPort)}
	for line, code := range map[string]int{
		"site list":                                                     0,
		"site list --json":                                              0,
		"site backups nobodys.example.org":                              0,
		"platform list --json":                                          0,
		"platform list --state failed":                                  0,
		"task list":                                                     0,
		"site upgrade none.example.org":                                 exitSettings,
		"site rollback nobodys.example.org":                             exitSettings,
		"site upgrade nobodys.example.org -w":                           exitSettings,
		"site configure nobodys.example.org --alias=a/b":                exitSettings,
		"site install x.example.org --platform none":                    exitSettings,
		"site install x --platform thunder-1 --server none":             exitSettings,
		"platform verify none --json":                                   exitSettings,
		"task log 99":                                                   exitSettings,
		"task cancel 99":                                                exitSettings,
		"site moves nobodys.example.org":                                0,
		"site plan nobodys.example.org":                                 exitSettings,
		"distribution list":                                             0,
		"distribution list --json":                                      0,
		"distribution checks thunder":                                   0,
		"distribution check thunder":                                    exitSettings,
		"distribution check none":                                       exitSettings,
		"distribution approve thunder":                                  exitSettings,
		"distribution delete thunder":                                   0,
		"distribution delete thunder --json":                            0,
		"distribution delete thunder --yes":                             exitSettings,
		"distribution delete none":                                      exitSettings,
		"queue list --json":                                             0,
		"queue hosts":                                                   0,
		"queue pause none":                                              exitSettings,
		"user list":                                                     0,
		"user list --json":                                              0,
		"client delete none":                                            exitSettings,
		"webhook list thunder --json":                                   0,
		"webhook show 99":                                               exitSettings,
		"webhook add none --provider github":                            exitSettings,
		"token list viewer-0":                                           0,
		"token revoke viewer-0 none":                                    exitSettings,
		"overview":                                                      0,
		"overview --json":                                               0,
		"site show nobodys.example.org":                                 0,
		"site show nobodys.example.org --json":                          0,
		"site moves nobodys.example.org --json":                         0,
		"site backups nobodys.example.org --json":                       0,
		"site upgrade nobodys.example.org --to none":                    exitSettings,
		"site rollback nobodys.example.org --json":                      exitSettings,
		"platform list":                                                 0,
		"platform show thunder-1":                                       0,
		"platform show thunder-1 --json":                                0,
		"platform show none":                                            exitSettings,
		"platform plan thunder-1":                                       exitSettings,
		"platform diff thunder-1 thunder-1 --all":                       0,
		"platform diff thunder-1 thunder-1 --json":                      0,
		"platform diff thunder-1 none":                                  exitSettings,
		"platform upgrade thunder-1 --to thunder-1":                     exitSettings,
		"platform upgrade thunder-1 --to none":                          exitSettings,
		"distribution show thunder":                                     0,
		"distribution show thunder --json":                              0,
		"distribution show none":                                        exitSettings,
		"distribution types":                                            0,
		"distribution types git --json":                                 0,
		"distribution add Thunder --type manual":                        exitSettings,
		"distribution add X --type none":                                exitSettings,
		"distribution add X --type git --set url=x":                     exitSettings,
		"distribution change thunder --set nothing=1":                   exitSettings,
		"distribution change none":                                      exitSettings,
		"distribution change thunder --name Thunder":                    0,
		"distribution change thunder --json":                            0,
		"distribution checks thunder --json":                            0,
		"database list":                                                 0,
		"database list --json":                                          0,
		"database show main":                                            0,
		"database show main --json":                                     0,
		"database show none":                                            exitSettings,
		"database add Main --engine mysql --host / --user x":            exitUnavailable,
		"database change main --tls none":                               exitSettings,
		"database change none":                                          exitSettings,
		"notice list":                                                   0,
		"notice list --json":                                            0,
		"notice show All":                                               0,
		"notice show all --json":                                        0,
		"notice show none":                                              exitSettings,
		"notice add All --kind email --to=ada@example.org":              exitSettings,
		"notice add X --kind email --distribution=none":                 exitSettings,
		"notice change All --hour 8":                                    0,
		"notice change All --every 30m":                                 exitSettings,
		"notice pause All":                                              0,
		"notice resume All":                                             0,
		"notice rotate All":                                             exitSettings,
		"notice add Chat --kind slack":                                  exitSettings,
		"notice resend 99":                                              exitSettings,
		"notice delete none":                                            exitSettings,
		"audit --verb create":                                           0,
		"audit --verb create --limit 1":                                 0,
		"audit --verb create --json --limit 3":                          0,
		"audit --name none":                                             exitSettings,
		"audit --name thunder --json":                                   0,
		"task show 99":                                                  exitSettings,
		"task list --json":                                              0,
		"client list":                                                   0,
		"client list --json":                                            0,
		"queue hosts --json":                                            0,
		"server list":                                                   0,
		"server list --json":                                            0,
		"server show none":                                              exitSettings,
		"server sites none":                                             exitSettings,
		"server add Web_2":                                              exitSettings,
		"server add web2 --address 192.0.2.12":                          exitUnavailable, // SQLite
		"server invite none":                                            exitSettings,
		"server remove none":                                            exitSettings,
		"platform servers thunder-1":                                    0,
		"platform servers thunder-1 --json":                             0,
		"platform servers none":                                         exitSettings,
		"site clone nobodys.example.org copy.example.org --server none": exitSettings,
		"site move nobodys.example.org --server none":                   exitSettings,
	} {
		args := strings.Fields(line)
		want, got := here.run(t, args...), far.run(t, args...)
		if want.code != code || got != want {
			t.Errorf("%s: here %d %q %q, elsewhere %d %q %q; the code is to be %d", line, want.code, want.out, want.err, got.code, got.out, got.err, code)
		}
	}
}

// What is done elsewhere is done.
func TestRemote_Commands_Act(t *testing.T) {
	a, _ := staffed(t)
	uri := seedSite(t, a)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(tokenOf(t, a, "manager-0")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	far := newProgram(t)
	for _, line := range []string{
		"site hold " + uri + " --reason fair", "platform lock thunder-1", "client add Library --note=books", "site give " + uri + " Library",
		"site show " + uri, "client list",
	} {
		args := append(strings.Fields(line), "--url="+elsewhere(t, a, nil).URL, "--token-file="+file)
		if got := far.run(t, args...); got.code != 0 {
			t.Errorf("%s: %d %s", line, got.code, got.err)
		}
	}
	site, err := a.store.SiteNamed(t.Context(), uri)
	if err != nil || !site.Held || site.HeldReason != "fair" {
		t.Errorf("the site is held: %v, because of %q; %v", site.Held, site.HeldReason, err)
	}
	p, err := a.store.PlatformNamed(t.Context(), "thunder-1")
	client, missing := a.store.ClientNamed(t.Context(), "Library")
	if missing != nil || client.Note != "books" || site.ClientID == nil || *site.ClientID != client.ID {
		t.Errorf("the site is of %v, the client %+v; %v", site.ClientID, client, missing)
	}
	if err != nil || !p.Locked {
		t.Errorf("the platform is locked: %v, %v", p.Locked, err)
	}
}

// A one-time link can be had from elsewhere by an administrator's token; it leads to
// the dashboard that made it, and is in the record.
func TestRemote_LoginLink_SignsIn(t *testing.T) {
	a, _ := staffed(t)
	server := elsewhere(t, a, nil)
	got := from(t, server.URL, tokenOf(t, a, "administrator-0")).run(t, "login-link", "viewer-0")
	token, is := strings.CutPrefix(strings.TrimSpace(got.out), server.URL+api.LoginLinkPath)
	if got.code != 0 || !is {
		t.Fatalf("%d %q %q", got.code, got.out, got.err)
	}
	u, err := a.fleet.UseLoginLink(t.Context(), token)
	if err != nil || u.Name != "viewer-0" {
		t.Errorf("it signs in %q, %v", u.Name, err)
	}
	told, err := a.store.Events(t.Context(), fleet.EventFilter{Verb: "make login link", Limit: 1})
	if err != nil || len(told.Rows) != 1 || told.Rows[0].Actor != "administrator-0" || told.Rows[0].Door != models.DoorAPI {
		t.Errorf("the record says %+v, %v", told.Rows, err)
	}
	other := from(t, server.URL, tokenOf(t, a, "manager-0")).run(t, "login-link", "administrator-0", "--json")
	if other.code != exitForbidden || other.out != "" {
		t.Errorf("a manager's token: %d %q", other.code, other.out)
	}
}

// The server that a site is to be made on is said to the other side.
func TestRemote_Install_NamesTheServer(t *testing.T) {
	a, _ := staffed(t)
	seedSite(t, a)
	var body atomic.Value
	server := elsewhere(t, a, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				text, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				body.Store(string(text))
				r.Body = io.NopCloser(bytes.NewReader(text))
			}
			next.ServeHTTP(w, r)
		})
	})
	got := from(t, server.URL, tokenOf(t, a, "manager-0")).run(t, "site", "install", "x.example.org", "--platform=thunder-1", "--server=web2")
	if sent, _ := body.Load().(string); !strings.Contains(sent, `"server":"web2"`) {
		t.Errorf("what was sent: %s", sent)
	}
	if got.code != exitSettings || !strings.Contains(got.err, "web2") {
		t.Errorf("of a server that is not there: %d %s", got.code, got.err)
	}
}

// A wait outlives that the other side is away for a moment.
func TestRemote_Wait_EndsWithTheTask(t *testing.T) {
	a, _ := staffed(t)
	if err := a.tasks.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.tasks.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var polls atomic.Int32
	server := elsewhere(t, a, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := polls.Load(); strings.Contains(r.URL.Path, "/tasks/") && n < 2 {
				polls.Add(1)
				http.Error(w, "restarting", http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	got := from(t, server.URL, tokenOf(t, a, "administrator-0")).run(t, "site", "find", t.TempDir(), "--wait", "--json")
	var answer api.Task
	if err := json.NewDecoder(strings.NewReader(got.out)).Decode(&answer); err != nil {
		t.Fatalf("%d %q %q: %v", got.code, got.out, got.err, err)
	}
	task, err := a.store.Task(t.Context(), answer.ID)
	if err != nil || !task.State.Over() || answer.State != task.State {
		t.Errorf("the task is %s, said is %s; %v", task.State, answer.State, err)
	}
	code := 0
	if e, ok := errors.AsType[*exitError](taskEnd(task)); ok {
		code = e.code
	}
	if got.code != code || !strings.Contains(got.err, string(task.State)+": ") || polls.Load() != 2 {
		t.Errorf("exit code %d, not %d, after %d bad answers: %s", got.code, code, polls.Load(), got.err)
	}
}

// Nothing but a Hefring that may have it gets the token, and what is no answer of
// one is told from what is.
func TestRemote_Strangers_GetNothing(t *testing.T) {
	a, _ := staffed(t)
	seedSite(t, a)
	token := tokenOf(t, a, "viewer-0")
	good := elsewhere(t, a, nil)
	asked := &atomic.Int32{}
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer thief.Close()
	answering := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", thief.URL)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	// Nobody listens at this address, whatever port others get meanwhile.
	const silent = "http://127.9.9.9:9"
	trusted := httptest.NewTLSServer(good.Config.Handler)
	defer trusted.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url, token, line, says string
		code                   int
	}{
		{good.URL, token, "site list", "SITE", 0},
		{good.URL, token, "platform lock thunder-1", "", exitForbidden},
		{good.URL, "hefring_wrong", "site list", "token", exitForbidden},
		{good.URL, token, "site list --as ada", "--as", exitSettings},
		{good.URL, token, "login-link viewer-0", "", exitForbidden},
		{answering(http.StatusOK, `{"path":"//elsewhere.example.org/login"}`), token, "login-link viewer-0", "no one-time link", exitUnavailable},
		{good.URL, token, "site list --token-file=/nowhere", "cannot be read", exitSettings},
		{"http://hefring.example.org", token, "site list", "https://", exitSettings},
		{answering(http.StatusTemporaryRedirect, ""), token, "site list", "is elsewhere", exitSettings},
		{answering(http.StatusOK, "<html>"), token, "site list", "API", exitUnavailable},
		{answering(http.StatusOK, `{"items":"`+strings.Repeat("x", maxAnswer)+`"}`), token, "site list", "more than", exitUnavailable},
		{answering(http.StatusBadGateway, "<html>"), token, "site list", "502", exitUnavailable},
		{answering(http.StatusInternalServerError, `{"detail":"Something failed."}`), token, "site list", "Something failed.", exitFailed},
		{silent, token, "site list", "does not answer", exitUnavailable},
		{trusted.URL, token, "site list", "not trusted", exitUnavailable},
		{trusted.URL, token, "site list --ca-file=" + ca, "SITE", 0},
	} {
		got := from(t, c.url, c.token).run(t, strings.Fields(c.line)...)
		if got.code != c.code || !strings.Contains(got.out+got.err, c.says) {
			t.Errorf("%s at %s: %d %.300s%.300s; it is to be %d and to say %q", c.line, c.url, got.code, got.out, got.err, c.code, c.says)
		}
		if strings.Contains(got.out+got.err, c.token) {
			t.Errorf("%s tells the token", c.line)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("somebody else was asked %d times", n)
	}
}
