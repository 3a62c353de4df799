package e2e_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"hefring/internal/testpg"
	"hefring/internal/tidepool"
)

// replica starts a hefring web beside h, with a data folder of its own.
func (h *hefring) replica(name string) *hefring {
	h.t.Helper()
	dir := filepath.Join(h.dir, name)
	if err := os.Mkdir(dir, 0o711); err != nil {
		h.t.Fatal(err)
	}
	port := freePorts(h.t, 1)[0]
	r := &hefring{t: h.t, dir: dir, url: fmt.Sprintf("http://127.0.0.1:%d", port), sitesPort: h.sitesPort}
	flags := slices.DeleteFunc(slices.Clone(h.flags), func(flag string) bool {
		return strings.HasPrefix(flag, "--data=") || strings.HasPrefix(flag, "--listen=")
	})
	flags = append(flags, "--data="+r.data(), fmt.Sprintf("--listen=127.0.0.1:%d", port), "--secret-key-file="+h.path("control", "secret.key"))
	r.flags = flags
	h.t.Cleanup(r.tell)
	r.command = "web"
	r.start()
	return r
}

// at is the same person at another replica, with the same cookies.
func (p *person) at(h *hefring) *person {
	other := *p
	other.base = h.url
	return &other
}

// follow reads a task's live log from after an event on, until a line has the text. It
// gives the event's number.
func (p *person) follow(task int64, after, text string) string {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.t.Context(), time.Minute)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/tasks/%d/stream", p.base, task), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if after != "" {
		request.Header.Set("Last-Event-ID", after)
	}
	client := *p.client
	client.Timeout = 0
	response, err := client.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	id, seen := after, 0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); seen++ {
		if number, is := strings.CutPrefix(lines.Text(), "id: "); is {
			id = number
		}
		if strings.Contains(lines.Text(), text) {
			return id
		}
	}
	p.t.Fatalf("the log of task %d ended at %s after %d lines without %q (status %d)", task, p.base, seen, text, response.StatusCode)
	return ""
}

// Three processes on one PostgreSQL, of which one does the work, behave as one.
func TestReplicas(t *testing.T) {
	t.Parallel()
	dsn := testpg.Empty(t)
	h := newHefring(t, dsn)
	one, two := h.replica("one"), h.replica("two")
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	number := func(query string, args ...any) (n int64) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return n
	}

	// A session begins at one and goes on at the other; so does a form.
	p := one.person("admin")
	repo := newForge(t).repo("tidepool")
	repo.push(tidepool.V1058, talkative)
	form := p.fill("/distributions/new", url.Values{"name": {"Tidepool"}, "type": {"git"}, "git.url": {repo.url}, "git.composer": {"1"}})
	if got := p.at(two).send("/distributions", form); got.url != "/distributions/1" {
		t.Fatalf("a form of another replica: status %d at %s\n%s", got.status, got.url, got.text())
	}
	if got := p.send("/distributions", form); got.url != "/distributions/1" {
		t.Errorf("the same form at the first replica: status %d at %s", got.status, got.url)
	}

	// A live log of what the serving process does, begun at one and gone on with at the
	// other, while it runs.
	var build int64
	eventually(t, time.Minute, "the build runs", func() bool {
		build = number("SELECT COALESCE(MAX(id), 0) FROM tasks WHERE kind = 'build' AND state = 'running'")
		return build != 0
	})
	last := p.follow(build, "", "Compiling part 3 of 16")
	if state := p.task(build); state != "running" {
		t.Errorf("the log came when the build was %s", state)
	}
	p.at(two).follow(build, last, "Compiling part 9 of 16")
	if state := p.at(two).task(build); state != "running" {
		t.Errorf("the log came when the build was %s", state)
	}
	target := p.at(two).awaitTarget(1, "10.5.8")
	site := p.install(target.id, "standard", harbour)[0]

	// What only the serving process's host can do is asked of it.
	client := *p.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	path := fmt.Sprintf("/sites/%d", site)
	response, err := client.PostForm(p.base+path+"/login", p.fill(path, nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if link := response.Header.Get("Location"); !strings.Contains(link, harbour) || !strings.Contains(link, "/user/reset/1/") {
		t.Errorf("the Log in button leads to %q (status %d)", link, response.StatusCode)
	}
	if n := number("SELECT COUNT(*) FROM tasks WHERE kind = 'login' AND state = 'succeeded'"); n != 1 {
		t.Errorf("the serving process was asked %d times", n)
	}

	// The schedule of three processes fires once.
	h.run("", "queue", "set", "git", "--every=5s")
	before := number("SELECT COALESCE(MAX(id), 0) FROM tasks")
	checks := func() int64 {
		return number("SELECT COUNT(*) FROM tasks WHERE kind = 'check' AND actor = 'queue' AND id > $1", before)
	}
	eventually(t, time.Minute, "the queue looked some times", func() bool { return checks() >= 5 })
	if n := number(`SELECT COUNT(*) FROM (SELECT created_at - LAG(created_at) OVER (ORDER BY id) AS gap FROM tasks
		WHERE kind = 'check' AND actor = 'queue' AND id > $1) AS g WHERE gap < interval '3 seconds'`, before); n != 0 {
		t.Errorf("%d checks came twice in one turn", n)
	}

	// One replica is lost and another one stopped; the third goes on. A session that is
	// ended at one is ended everywhere.
	one.kill()
	p.at(two).get("/sites")
	if got := p.at(two).submit("/", "/logout", nil); got.status != http.StatusOK {
		t.Errorf("sign out: status %d", got.status)
	}
	if got := p.at(h).get("/sites"); !strings.HasPrefix(got.url, "/login") {
		t.Errorf("after signing out at another replica, %s answers %d", got.url, got.status)
	}
	two.stop()
	h.person("admin").get("/sites")
}
