package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// The whole life of a site by the command line, on each kind of database: the
// exit codes are what scripts go by.
func TestCommands_Life_SQLite(t *testing.T)   { t.Parallel(); commandedLife(t, sqliteSites) }
func TestCommands_Life_MariaDB(t *testing.T)  { t.Parallel(); commandedLife(t, mariadbSites) }
func TestCommands_Life_Postgres(t *testing.T) { t.Parallel(); commandedLife(t, postgresSites) }

// commanded runs commands of one fleet.
type commanded struct {
	t      *testing.T
	h      *hefring
	v      *visitor
	server string // of new sites; "" is SQLite
}

// code runs a command and gives its exit code and what it printed.
func (c *commanded) code(args ...string) (code int, out, errout string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, shared.binary, append(args, c.h.flags...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode(), stdout.String(), stderr.String()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return 0, stdout.String(), stderr.String()
}

// must runs a command that has to succeed.
func (c *commanded) must(args ...string) string {
	c.t.Helper()
	code, out, errout := c.code(args...)
	if code != 0 {
		c.t.Fatalf("hefring %s: exit code %d\n%s\n%s", strings.Join(args, " "), code, out, errout)
	}
	return out
}

// refused runs a command that does not fit, and has to say why.
func (c *commanded) refused(why string, args ...string) {
	c.t.Helper()
	code, out, errout := c.code(args...)
	if code != 2 || !strings.Contains(errout, why) {
		c.t.Fatalf("hefring %s: exit code %d, want 2 and %q\n%s\n%s", strings.Join(args, " "), code, why, out, errout)
	}
}

func (c *commanded) install(uri, platform string) {
	c.t.Helper()
	args := []string{"site", "install", uri, "--platform", platform, "--wait"}
	if c.server != "" {
		args = append(args, "--database-server", c.server)
	}
	c.must(args...)
}

func commandedLife(t *testing.T, kind string) {
	t.Helper()
	server := newSiteServer(t, kind)
	h := newHefring(t, "")
	c := &commanded{t: t, h: h, v: h.visitor()}
	p := h.person("admin")
	if server != nil {
		c.server = "sites"
		h.run(server.password+"\n", "database", "add", c.server, "--engine="+server.engine(), "--host=127.0.0.1", "--port="+strconv.Itoa(server.port), "--user="+administrator)
	}
	repo := newForge(t).repo("life")
	repo.push(tidepool.V1058)
	d := p.addGit("Life", repo.url, nil).id()
	old := p.awaitTarget(d, "10.5.8").name

	c.install("museum.localhost", old)
	c.v.comment("museum.localhost", "before the upgrade")
	c.must("site", "backup", "museum.localhost", "--note", "fair", "--wait")
	target := p.update(repo, d, tidepool.V1062, "10.6.2").name
	if out := c.must("site", "list", "--behind"); !strings.Contains(out, target) {
		t.Fatalf("the list of sites that are behind does not name %s:\n%s", target, out)
	}
	if out := c.must("platform", "diff", old, target); !strings.Contains(out, "upgrade") {
		t.Errorf("the two platforms do not differ:\n%s", out)
	}
	c.must("site", "hold", "museum.localhost", "--reason", "fair", "--until", time.Now().AddDate(1, 0, 0).Format(time.DateOnly))
	c.refused("held", "site", "upgrade", "museum.localhost", "--wait")
	c.must("site", "release", "museum.localhost")
	c.must("site", "upgrade", "museum.localhost", "--wait")
	c.v.serves("museum.localhost", "10.6.2", "before the upgrade")

	// Going back says what it loses, keeps it, and is quick.
	c.v.comment("museum.localhost", "after the upgrade")
	quote := c.must("site", "rollback", "museum.localhost")
	if !regexp.MustCompile(`(?m)^guestbook_entry +1 +0 +0 `).MatchString(quote) {
		t.Errorf("the quote does not tell of the one comment:\n%s", quote)
	}
	c.v.serves("museum.localhost", "10.6.2")
	c.must("site", "rollback", "museum.localhost", "--yes", "--wait")
	c.v.serves("museum.localhost", "10.5.8", "before the upgrade")
	if got := c.v.get("museum.localhost", "/node/1?x=1").body; strings.Contains(got, "after the upgrade") {
		t.Error("a comment of the newer version is there after the rollback")
	}
	var backups []struct {
		ID      int64
		Purpose string
		State   string
	}
	if err := json.Unmarshal([]byte(c.must("site", "backups", "museum.localhost", "--json")), &backups); err != nil || len(backups) != 2 {
		t.Fatalf("backups: %v %+v", err, backups)
	}
	if backups[0].Purpose != "rollback" || backups[0].State != "ready" {
		t.Errorf("what the rollback left is not in a backup: %+v", backups[0])
	}
	manual := strconv.FormatInt(backups[1].ID, 10)
	left := strconv.FormatInt(backups[0].ID, 10)

	c.must("site", "upgrade", "museum.localhost", "--wait")
	c.v.comment("museum.localhost", "to be replaced")
	c.must("site", "restore", "museum.localhost", manual, "--wait") // from 10.5.8, so updates run
	c.v.serves("museum.localhost", "10.6.2", "before the upgrade")
	c.must("site", "restore", "museum.localhost", left, "--wait")
	c.v.serves("museum.localhost", "10.6.2", "after the upgrade")
	c.must("site", "restore", "museum.localhost", manual, "--own-platform", "--wait")
	c.v.serves("museum.localhost", "10.5.8", "before the upgrade")
	c.must("site", "upgrade", "museum.localhost", "--wait")

	clone := []string{"site", "clone", "museum.localhost", "copy.localhost", "--platform", target, "--wait"}
	if c.server != "" {
		clone = append(clone, "--database-server", c.server)
	}
	c.must(clone...)
	c.v.comment("copy.localhost", "only in the copy")
	c.v.serves("copy.localhost", "10.6.2", "before the upgrade", "only in the copy")
	if strings.Contains(c.v.get("museum.localhost", "/node/1?x=2").body, "only in the copy") {
		t.Error("the copy writes into its origin")
	}

	c.must("site", "configure", "museum.localhost", "--alias=www.museum.localhost", "--redirect", "--wait")
	got, err := c.v.try(http.MethodGet, "www.museum.localhost", "/node/1", nil)
	if err != nil || got.status != http.StatusMovedPermanently {
		t.Errorf("the alias answers %d, %v", got.status, err)
	}
	c.refused("www.museum.localhost", "site", "configure", "copy.localhost", "--alias=www.museum.localhost")
	c.must("site", "disable", "museum.localhost", "--wait")
	if got, err := c.v.try(http.MethodGet, "museum.localhost", "/", nil); err != nil || got.status != http.StatusServiceUnavailable {
		t.Errorf("a disabled site answers %d, %v", got.status, err)
	}
	c.must("site", "enable", "museum.localhost", "--wait")
	c.must("site", "cron", "museum.localhost", "--wait")
	c.must("site", "verify", "museum.localhost", "--wait")
	link := strings.TrimSpace(c.must("site", "login", "museum.localhost"))
	if path, found := strings.CutPrefix(link, "http://museum.localhost:"+strconv.Itoa(h.sitesPort)); !found || !strings.HasPrefix(path, "/user/reset/") {
		t.Errorf("the login link is %q", link)
	}

	c.refused("upgrade target", "platform", "delete", target)
	c.refused("rolled back", "platform", "delete", old)
	c.refused("Type", "site", "delete", "copy.localhost", "--confirm", "museum.localhost")
	c.must("site", "delete", "copy.localhost", "--confirm", "copy.localhost", "--wait")
	c.must("platform", "verify", target, "--wait")
	c.must("site", "delete", "museum.localhost", "--confirm", "museum.localhost", "--no-backup", "--wait")
	if server != nil {
		databases, err := server.databases()
		if err != nil || len(databases) > 0 {
			t.Errorf("the server still has the databases %v, %v", databases, err)
		}
		users, err := server.users()
		if err != nil || len(users) > 0 {
			t.Errorf("the server still has the users %v, %v", users, err)
		}
		c.must("database", "delete", c.server)
	}
	c.must("platform", "delete", old, "--wait")
	if out := c.must("site", "list"); strings.Contains(out, "localhost") {
		t.Errorf("sites are left:\n%s", out)
	}
}

// A program with a token does what a person can, and nobody without one.
func TestAPI_MainJob(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	p, v := h.person("admin"), h.visitor()
	repo := newForge(t).repo("api")
	repo.push(tidepool.V1058)
	d := p.addGit("API", repo.url, nil).id()
	old := p.awaitTarget(d, "10.5.8").name
	a := &program{t: t, url: h.url + "/api/v1", token: h.run("", "token", "add", "admin", "Deploy", "--life", "1h")}

	if code := a.status(http.MethodGet, "/sites", "", "wrong"); code != http.StatusUnauthorized {
		t.Errorf("a wrong token is answered %d", code)
	}
	a.task(http.MethodPost, "/sites", `{"uri":"museum.localhost","platform":"`+old+`"}`)
	v.comment("museum.localhost", "written before")
	a.task(http.MethodPost, "/sites/museum.localhost/backups", `{"note":"fair"}`)
	p.update(repo, d, tidepool.V1062, "10.6.2")
	var site struct {
		State  string `json:"state"`
		Target string `json:"upgrade_target"`
	}
	a.ask(http.MethodGet, "/sites/museum.localhost", "", &site)
	if site.State != "enabled" || site.Target == "" {
		t.Fatalf("the site is %+v", site)
	}
	a.task(http.MethodPost, "/sites/museum.localhost/upgrade", "")
	v.serves("museum.localhost", "10.6.2", "written before")
	var quote struct {
		Upgrade int64  `json:"upgrade"`
		To      string `json:"to"`
	}
	a.ask(http.MethodGet, "/sites/museum.localhost/rollback", "", &quote)
	if quote.To != old {
		t.Fatalf("it would go back to %q", quote.To)
	}
	a.task(http.MethodPost, "/sites/museum.localhost/rollback", `{"upgrade":`+strconv.FormatInt(quote.Upgrade, 10)+`}`)
	v.serves("museum.localhost", "10.5.8", "written before")
	a.task(http.MethodDelete, "/sites/museum.localhost?confirm=museum.localhost&backup=false", "")
	var list struct{ Total int }
	a.ask(http.MethodGet, "/sites", "", &list)
	if list.Total != 0 {
		t.Errorf("%d sites are left", list.Total)
	}
	h.run("", "token", "revoke", "admin", "Deploy")
	if code := a.status(http.MethodGet, "/sites", "", a.token); code != http.StatusUnauthorized {
		t.Errorf("a revoked token is answered %d", code)
	}
}

// program uses the API.
type program struct {
	t          *testing.T
	url, token string
}

func (a *program) send(method, path, body, token string) (int, []byte) {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return response.StatusCode, answer
}

func (a *program) status(method, path, body, token string) int {
	a.t.Helper()
	code, _ := a.send(method, path, body, token)
	return code
}

func (a *program) ask(method, path, body string, into any) {
	a.t.Helper()
	code, answer := a.send(method, path, body, a.token)
	if code >= 300 {
		a.t.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// task starts work and waits until it has succeeded.
func (a *program) task(method, path, body string) {
	a.t.Helper()
	var started struct {
		Task struct {
			ID             int64
			State, Message string
		}
	}
	a.ask(method, path, body, &started)
	task := "/tasks/" + strconv.FormatInt(started.Task.ID, 10)
	eventually(a.t, 2*time.Minute, "the task of "+method+" "+path+" has ended", func() bool {
		a.ask(http.MethodGet, task, "", &started.Task)
		return started.Task.State != "queued" && started.Task.State != "running"
	})
	if started.Task.State != "succeeded" {
		a.t.Fatalf("%s %s: %s %s", method, path, started.Task.State, started.Task.Message)
	}
}
