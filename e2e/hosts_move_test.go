//go:build hosts

package e2e_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/testcert"
	"hefring/internal/tidepool"
)

// joinAt is join for a server whose address visitors are told.
func (h *hosts) joinAt(host *netHost, name string) {
	h.t.Helper()
	var invited struct{ Token string }
	if err := json.Unmarshal([]byte(h.hefring("", "server", "add", name, "--address="+host.ip, "--json")), &invited); err != nil {
		h.t.Fatal(err)
	}
	args := []string{shared.binary, "worker", "--server=" + name, "--plain-http", "--data=" + filepath.Join(host.dir, "data"), "--sites-listen=0.0.0.0"}
	host.start(append(args, "--join="+invited.Token, "--url=http://"+h.control.ip+":8080")...)
	host.args = args
	h.alive(name)
}

// visitorOf is a visitor who comes to a host, whatever the site's name.
func (h *hosts) visitorOf(host *netHost) *visitor {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &visitor{t: h.t, port: 8081, client: &http.Client{
		Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, host.ip+":8081")
		}},
	}}
}

// taken ends a writer and gives what was taken of it, whatever it was answered else.
func (w *writer) taken() []string {
	w.stop()
	w.ended.Wait()
	return w.accepted
}

// has fails unless every line that was taken stands on the site's page.
func (h *hosts) has(host *netHost, uri string, lines []string) {
	h.t.Helper()
	got := h.visitorOf(host).get(uri, fmt.Sprintf("/node/1?x=%d", time.Now().UnixNano()))
	for _, line := range lines {
		if !strings.Contains(got.body, line) {
			h.t.Errorf("%s lost %q, of %d lines that it took", uri, line, len(lines))
			return
		}
	}
}

// home is the server that a site is on.
func (h *hosts) home(uri string) string {
	h.t.Helper()
	for _, name := range []string{"web1", "web2", "local"} {
		if h.number("SELECT COUNT(*) FROM sites WHERE uri = $1 AND server = $2", uri, name) == 1 {
			return name
		}
	}
	return ""
}

// reaches waits until the newest way of a site to another server is in one of the states.
func (h *hosts) reaches(uri string, states ...string) string {
	h.t.Helper()
	reached := ""
	eventually(h.t, 3*time.Minute, fmt.Sprintf("the move of %s is %v", uri, states), func() bool {
		for _, state := range states {
			if h.number(`SELECT COUNT(*) FROM relocations WHERE state = $2 AND id =
				(SELECT MAX(r.id) FROM relocations r JOIN sites s ON s.id = r.site_id WHERE s.uri = $1)`, uri, state) == 1 {
				reached = state
				return true
			}
		}
		return false
	})
	return reached
}

// settled waits until nothing is worked on any more.
func (h *hosts) settled() {
	h.t.Helper()
	eventually(h.t, 3*time.Minute, "all tasks have ended", func() bool {
		return h.number("SELECT COUNT(*) FROM tasks WHERE state IN ('queued', 'running')") == 0
	})
}

// TestHosts_Move moves sites between two web hosts while visitors read and write, and
// kills the workers of both in the middle.
func TestHosts_Move(t *testing.T) {
	h := newHosts(t)
	h.asPostgres("psql", "-h", h.db.dir, "-d", "postgres", "-qc", "CREATE ROLE sites LOGIN CREATEDB CREATEROLE PASSWORD 'secret'")
	repo := h.forge().repo("tidepool")
	repo.push(tidepool.V1058)
	p := (&hefring{t: t, url: "http://" + h.control.ip + ":8080", dir: h.control.dir}).person("admin")
	p.addGit("Tidepool", repo.url, nil)
	platform := p.awaitTarget(1, "10.5.8")
	h.joinAt(h.web1, "web1")
	h.joinAt(h.web2, "web2")
	h.hefring("secret\n", "database", "add", "Main", "--engine=postgres", "--host="+h.db.ip, "--user=sites")
	h.startMariaDB()
	h.hefring("secret\n", "database", "add", "Maria", "--engine=mysql", "--host="+h.db.ip, "--user=sites")
	hosts := map[string]*netHost{"web1": h.web1, "web2": h.web2}

	where := map[string][]string{"file.localhost": nil, "server.localhost": {"--database-server=Main"}, "maria.localhost": {"--database-server=Maria"}}
	for uri, more := range where {
		h.hefring("", append([]string{"site", "install", uri, "--platform=" + platform.name, "--server=web1", "--wait"}, more...)...)
		h.serves(h.web1, uri, "10.5.8")
		h.hefring("", "site", "backup", uri, "--wait")
		picture := filepath.Join(h.web1.dir, "data", "sites", fmt.Sprint(h.number("SELECT id FROM sites WHERE uri = $1", uri)), "files", "early", "ship.txt")
		if err := os.MkdirAll(filepath.Dir(picture), 0o755); err != nil { //nolint:gosec // the web server reads it
			t.Fatal(err)
		}
		if err := os.WriteFile(picture, []byte("a ship"), 0o644); err != nil { //nolint:gosec // the web server reads it
			t.Fatal(err)
		}
	}
	secured := h.secure(h.web1, "file.localhost")
	for uri := range where {
		reader, writer := h.visitorOf(h.web1).read(uri, "tidepool", "10.5.8"), h.visitorOf(h.web1).write(uri)
		if uri == "file.localhost" {
			secured.moves("web2")
		} else {
			h.hefring("", "site", "move", uri, "--server=web2", "--wait")
		}
		reader.finish(t) // also those who still come to the old server
		writer.finish(t, http.StatusServiceUnavailable)
		lines := writer.accepted
		if home := h.home(uri); home != "web2" {
			t.Fatalf("%s is on %s", uri, home)
		}
		h.settled()
		h.has(h.web2, uri, lines)
		h.has(h.web1, uri, lines)
		h.visitorOf(h.web1).comment(uri, "by the old address")
		h.has(h.web2, uri, []string{"by the old address"})
		got := h.visitorOf(h.web2).get(uri, "/sites/"+uri+"/files/early/ship.txt")
		if got.body != "a ship" {
			t.Errorf("%s lacks a file: %q", uri, got.body)
		}
		t.Logf("%s: %d lines taken, refused meanwhile %v; %s", uri, len(lines), writer.refused, h.message(uri))
		h.hefring("", "site", "verify", uri, "--wait")
		h.hefring("", "site", "backup", uri, "--wait")
	}
	if n := h.number("SELECT COUNT(*) FROM backups b JOIN sites s ON s.id = b.site_id WHERE b.state = 'ready' AND b.path NOT LIKE '%/w2/%'"); n != 0 {
		t.Errorf("%d backups did not come along", n)
	}

	secured.onTheNew(h.web2)

	// The workers of either server die in the middle of a way back.
	for _, fault := range []struct {
		uri    string
		host   *netHost
		states []string
	}{
		{"file.localhost", h.web1, []string{"placing"}},
		{"server.localhost", h.web1, []string{"closed", "proven"}},
		{"file.localhost", h.web2, []string{"closed", "proven"}},
	} {
		from := h.home(fault.uri)
		to := map[string]string{"web1": "web2", "web2": "web1"}[from]
		writer := h.visitorOf(hosts[from]).write(fault.uri)
		h.hefring("", "site", "move", fault.uri, "--server="+to)
		at := h.reaches(fault.uri, append(fault.states, "done", "failed")...)
		fault.host.crash()
		<-fault.host.end
		fault.host.start(fault.host.args...)
		end := h.reaches(fault.uri, "done", "failed")
		h.settled()
		lines := writer.taken()
		home := h.home(fault.uri)
		t.Logf("%s, killed when it was %s: %s, on %s, %d lines", fault.uri, at, end, home, len(lines))
		if want := map[string]string{"done": to, "failed": from}[end]; home != want {
			t.Errorf("%s is on %s, and its move from %s to %s is %s", fault.uri, home, from, to, end)
		}
		h.serves(hosts[home], fault.uri, "10.5.8")
		h.visitorOf(hosts[home]).comment(fault.uri, "after-"+at)
		h.has(hosts[home], fault.uri, append(lines, "after-"+at))
		for name, host := range hosts {
			h.alive(name)
			dir := filepath.Join(host.dir, "data", "sites", fmt.Sprint(h.number("SELECT id FROM sites WHERE uri = $1", fault.uri)))
			if _, err := os.Stat(filepath.Join(dir, "cargo")); err == nil {
				t.Errorf("a copy of %s is left on %s", fault.uri, name)
			}
		}
	}
	// What was given up is done at the next try.
	to := map[string]string{"web1": "web2", "web2": "web1"}[h.home("server.localhost")]
	h.hefring("", "site", "move", "server.localhost", "--server="+to, "--wait")
	h.settled()
	h.serves(hosts[to], "server.localhost", "10.5.8")
	h.looks()
	from := h.home("file.localhost")
	to = map[string]string{"web1": "web2", "web2": "web1"}[from]
	h.hefring("", "site", "clone", "file.localhost", "copy.localhost", "--server="+to, "--wait")
	h.settled()
	h.serves(hosts[to], "copy.localhost", "10.5.8")
	h.serves(hosts[from], "file.localhost", "10.5.8")
	// What a site was on its old server it can be on its new one, where its older content
	// is on a database server. The older version is brought there.
	repo.push(tidepool.V1062)
	p.check(1)
	p.awaitTarget(1, "10.6.2")
	for _, uri := range []string{"server.localhost", "maria.localhost"} {
		from := h.home(uri)
		to := map[string]string{"web1": "web2", "web2": "web1"}[from]
		h.hefring("", "site", "upgrade", uri, "--wait")
		h.serves(hosts[from], uri, "10.6.2")
		h.hefring("", "site", "move", uri, "--server="+to, "--wait")
		h.settled()
		h.serves(hosts[to], uri, "10.6.2")
		h.visitorOf(hosts[to]).comment(uri, "of the newer version")
		h.hefring("", "site", "rollback", uri, "--yes", "--wait")
		h.serves(hosts[to], uri, "10.5.8")
		if body, err := h.visit(hosts[to], uri); err != nil || strings.Contains(body, "of the newer version") {
			t.Errorf("%s was rolled back and has what was written since: %v", uri, err)
		}
		h.hefring("", "site", "verify", uri, "--wait")
	}
	// The control plane's host is one like others.
	h.hefring("", "site", "move", "file.localhost", "--server=local", "--wait")
	h.settled()
	h.serves(h.control, "file.localhost", "10.5.8")
	h.hefring("", "site", "move", "file.localhost", "--server=web2", "--wait")
	h.settled()
	h.serves(h.web2, "file.localhost", "10.5.8")
	if n := h.number("SELECT COUNT(*) FROM sites WHERE state <> 'enabled'"); n != 0 {
		t.Errorf("%d sites are not enabled", n)
	}
	if left, err := os.ReadDir(filepath.Join(h.control.dir, "data", "control", "relay")); err == nil && len(left) > 0 {
		t.Errorf("%d sites' archives are left on the control plane's host", len(left))
	}
}

// securedSite is one with HTTPS whose certificate is in files that the test takes away.
type securedSite struct {
	*hosts

	uri, chain, key string
}

// secure switches HTTPS of a site on.
func (h *hosts) secure(host *netHost, uri string) securedSite {
	h.t.Helper()
	s := securedSite{h, uri, filepath.Join(h.dir, "site.crt"), filepath.Join(h.dir, "site.key")}
	testcert.Write(h.t, s.chain, s.key)
	h.hefring("", "site", "configure", uri, "--https=on", "--certificate="+s.chain, "--key="+s.key, "--wait")
	s.answers(host)
	return s
}

// answers fails unless the site is served with the certificate.
func (s securedSite) answers(host *netHost) {
	s.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: s.uri, InsecureSkipVerify: true}}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://"+host.ip+":8443/node/1", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Host = s.uri
	response, err := transport.RoundTrip(request)
	if err != nil {
		s.t.Fatalf("%s is not served with HTTPS: %v", s.uri, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	names := response.TLS.PeerCertificates[0].DNSNames
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), "tidepool") || !slices.Contains(names, "example.com") {
		s.t.Errorf("by HTTPS %s answers %d with a certificate for %v: %v", s.uri, response.StatusCode, names, err)
	}
}

// moves moves the site to a server where the files of the certificate are not there
// before it is.
func (s securedSite) moves(to string) {
	s.t.Helper()
	if err := errors.Join(os.Remove(s.chain), os.Remove(s.key)); err != nil {
		s.t.Fatal(err)
	}
	s.hefring("", "site", "move", s.uri, "--server="+to)
	s.reaches(s.uri, "ready", "handing", "closed", "proven", "sealed", "switched", "open", "done", "failed")
	testcert.Write(s.t, s.chain, s.key) // all hosts share one disk, and the old one goes on
	s.reaches(s.uri, "done", "failed")
	if n := s.number("SELECT COUNT(*) FROM task_lines l JOIN tasks t ON t.id = l.task_id WHERE t.kind = 'receive' AND l.level = 'warn' AND l.text LIKE '%certificate that came along%'"); n != 1 {
		s.t.Errorf("it was said %d times that the certificate came along", n)
	}
}

// onTheNew has the site served with what came along.
func (s securedSite) onTheNew(host *netHost) {
	s.t.Helper()
	s.answers(host)
	if err := errors.Join(os.Remove(s.chain), os.Remove(s.key)); err != nil {
		s.t.Fatal(err)
	}
	s.hefring("", "site", "verify", s.uri, "--wait")
	s.answers(host)
	testcert.Write(s.t, s.chain, s.key)
}

// message is how the newest move of a site to another server ended.
func (h *hosts) message(uri string) (text string) {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), "postgres://looker:secret@"+subnet+"4/hefring")
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	err = conn.QueryRow(h.t.Context(), "SELECT message FROM tasks WHERE kind = 'relocate' AND title LIKE '%' || $1 || '%' ORDER BY id DESC LIMIT 1", uri).Scan(&text)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// looks has a browser look at the pages of servers, and asks for a move on one.
func (h *hosts) looks() {
	h.t.Helper()
	instance := &hefring{t: h.t, url: "http://" + h.control.ip + ":8080", dir: h.control.dir}
	b := instance.browser()
	defer func() { // these hosts have plain HTTP, of which the browser thinks little
		b.mu.Lock()
		defer b.mu.Unlock()
		b.noise = slices.DeleteFunc(b.noise, func(said string) bool { return strings.Contains(said, "Cross-Origin-Opener-Policy") })
	}()
	b.visit(h.hefring("", "login-link", "admin"))
	b.press("Sign in")
	b.lands("^/$")
	b.visit("/servers")
	b.sees("web2")
	b.examine("several")
	b.visit("/servers/" + h.home("server.localhost"))
	b.sees("server.localhost")
	b.examine("sites")
	b.visit("/servers/new")
	b.fill("name", "Web 3")
	b.press("Add this server")
	b.sees("lower-case letters")
	b.examine("refused")
	b.fill("name", "web3")
	b.press("Add this server")
	b.sees("hefring worker --server web3 --join hefring_join_")
	b.examine("invited")
	b.press("I have it")
	b.lands("^/servers/web3$")
	b.sees("has not joined yet")
	b.examine("invited server")
	b.press("Remove…")
	b.press("Remove this server")
	b.lands("^/servers$")
	b.sees("is removed from the fleet")
	b.visit("/sites/new")
	b.examine("with servers")
	b.visit("/platforms/1")
	b.sees("that it was brought to")
	b.examine("with servers")
	id := h.number("SELECT id FROM sites WHERE uri = 'file.localhost'")
	from := h.home("file.localhost")
	to := map[string]string{"web1": "web2", "web2": "web1"}[from]
	b.visit(fmt.Sprintf("/sites/clone?site=%d", id))
	b.sees("as its origin")
	b.examine("clone with servers")
	b.visit(fmt.Sprintf("/sites/%d", id))
	b.press("Move…")
	b.sees("to another server?")
	b.examine("move")
	b.choose("server", fmt.Sprint(h.number("SELECT id FROM servers WHERE name = $1", to)))
	b.press("Move this site")
	b.lands("^/tasks/")
	b.seesWithin(2*time.Minute, "is on "+to)
	b.examine("moved")
	h.settled()
	if home := h.home("file.localhost"); home != to {
		h.t.Errorf("file.localhost is on %s, not on %s", home, to)
	}
}
