//go:build hosts || systemd

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/gitserver"
	"hefring/internal/tidepool"
)

// network is four hosts of their own, each a network namespace, on one switch. The
// test itself sits on the switch, too.
type network struct {
	t      *testing.T
	bridge string
	dir    string
}

// subnet is where the hosts are; nothing outside of this machine is reached by it.
const subnet = "10.213.77."

// netHost is one host.
type netHost struct {
	net  *network
	name string // of its namespace
	ip   string
	dir  string
	args []string // of the program that it runs again after a crash
	cmd  *exec.Cmd
	end  chan struct{}
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("hosts of their own are made by root alone")
	}
	dir, err := os.MkdirTemp("/tmp", "hefring-hosts-") //nolint:usetesting // the web user enters it
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	release, err := guard(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, bridge: fmt.Sprintf("hf%d", os.Getpid()), dir: dir}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	n.ip("link", "add", n.bridge, "type", "bridge")
	t.Cleanup(func() { n.ip("link", "del", n.bridge) })
	n.ip("addr", "add", subnet+"254/24", "dev", n.bridge)
	n.ip("link", "set", n.bridge, "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// host adds one with the last number of its address.
func (n *network) host(name string, number int) *netHost {
	n.t.Helper()
	h := &netHost{net: n, name: fmt.Sprintf("%s-%s", n.bridge, name), ip: subnet + strconv.Itoa(number), dir: filepath.Join(n.dir, name)}
	if err := os.Mkdir(h.dir, 0o711); err != nil {
		n.t.Fatal(err)
	}
	n.ip("netns", "add", h.name)
	n.t.Cleanup(func() {
		h.crash()
		n.ip("netns", "del", h.name)
	})
	port := fmt.Sprintf("%sp%d", n.bridge, number)
	n.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", h.name)
	n.t.Cleanup(func() { n.ip("link", "del", port) }) // a sandbox of somebody else may hold the namespace for a while
	n.ip("link", "set", port, "master", n.bridge, "up")
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", h.ip + "/24", "dev", "eth0"}, {"link", "set", "eth0", "up"}} {
		n.ip(append([]string{"-n", h.name}, args...)...)
	}
	return h
}

// cut takes the host off the network, or brings it back.
func (h *netHost) cut(off bool) {
	state := map[bool]string{true: "down", false: "up"}[off]
	h.net.ip("-n", h.name, "link", "set", "eth0", state)
}

// start runs a command on the host until it crashes or the test ends.
func (h *netHost) start(args ...string) {
	h.net.t.Helper()
	h.args = args
	log, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.net.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	h.cmd = exec.Command("ip", append([]string{"netns", "exec", h.name}, args...)...)
	h.cmd.Dir, h.cmd.Stdout, h.cmd.Stderr = "/", log, log
	if err := h.cmd.Start(); err != nil {
		h.net.t.Fatal(err)
	}
	end, cmd := make(chan struct{}), h.cmd
	h.end = end
	go func() { _ = cmd.Wait(); close(end) }()
}

// crash ends everything on the host at once, as a power cut would.
func (h *netHost) crash() {
	for {
		out, err := exec.Command("ip", "netns", "pids", h.name).Output()
		if err != nil || len(strings.TrimSpace(string(out))) == 0 {
			return
		}
		for _, field := range strings.Fields(string(out)) {
			if pid, err := strconv.Atoi(field); err == nil {
				if p, err := os.FindProcess(pid); err == nil {
					_ = p.Kill() // it may have ended
				}
			}
		}
		<-time.After(20 * time.Millisecond)
	}
}

// run runs a command on the host and gives what it prints.
func (h *netHost) run(input string, args ...string) string {
	h.net.t.Helper()
	ctx, stop := context.WithTimeout(h.net.t.Context(), 3*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.name}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var errout strings.Builder
	cmd.Stderr = &errout
	out, err := cmd.Output()
	if err != nil {
		h.net.t.Fatalf("%s: %v: %v\n%s%s", h.name, args, err, out, errout.String())
	}
	return strings.TrimSpace(string(out))
}

// tell shows the end of the host's log when the test failed.
func (h *netHost) tell() {
	if !h.net.t.Failed() {
		return
	}
	text, _ := os.ReadFile(filepath.Join(h.dir, "log"))
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool { return strings.Contains(line, "msg=request") })
	h.net.t.Logf("%s's log ends with:\n%s", h.name, strings.Join(lines[max(0, len(lines)-25):], "\n"))
}

// hosts is a control plane with two web hosts and a database host.
type hosts struct {
	*network
	control, web1, web2, db *netHost
	flags                   []string // of commands on the control host
	postgres                string   // folder of PostgreSQL's programs
}

const hostsDatabase = "postgres://hefring:secret@" + subnet + "4/hefring"

func newHosts(t *testing.T) *hosts {
	t.Helper()
	n := newNetwork(t)
	h := &hosts{network: n, control: n.host("c", 1), web1: n.host("w1", 2), web2: n.host("w2", 3), db: n.host("d", 4)}
	for _, one := range []*netHost{h.control, h.web1, h.web2, h.db} {
		t.Cleanup(one.tell)
	}
	h.startPostgres()
	h.flags = []string{
		"--data=" + filepath.Join(h.control.dir, "data"), "--database=" + hostsDatabase, "--listen=" + h.control.ip + ":8080",
		"--url=http://" + h.control.ip + ":8080", "--sites-listen=0.0.0.0", "--egress-allow=" + subnet + "0/24",
	}
	h.control.start(append([]string{shared.binary, "serve"}, h.flags...)...)
	eventually(t, time.Minute, "the control plane answers", func() bool {
		response, err := http.Get("http://" + h.control.ip + ":8080/healthz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	h.hefring(password+"\n", "user", "add", "admin")
	return h
}

// hefring runs a command on the control host.
func (h *hosts) hefring(input string, args ...string) string {
	h.t.Helper()
	return h.control.run(input, append(append([]string{shared.binary}, args...), h.flags...)...)
}

func (h *hosts) startPostgres() {
	h.t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		h.t.Fatal("there is no PostgreSQL on this machine; install the package postgresql")
	}
	h.postgres = found[len(found)-1]
	h.db.run("", "chown", "postgres", h.db.dir)
	data := filepath.Join(h.db.dir, "pg")
	h.asPostgres("initdb", "-D", data, "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	hba := "local all all trust\nhost all all " + subnet + "0/24 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o644); err != nil { //nolint:gosec // a test's
		h.t.Fatal(err)
	}
	h.pg("start")
	for _, statement := range []string{
		"CREATE ROLE hefring LOGIN CREATEROLE PASSWORD 'secret'", "CREATE DATABASE hefring OWNER hefring", "CREATE ROLE looker LOGIN SUPERUSER PASSWORD 'secret'",
	} {
		h.asPostgres("psql", "-h", h.db.dir, "-d", "postgres", "-qc", statement)
	}
}

func (h *hosts) asPostgres(program string, args ...string) {
	h.t.Helper()
	h.db.run("", append([]string{"runuser", "-u", "postgres", "--", filepath.Join(h.postgres, program)}, args...)...)
}

// startMariaDB starts one more database server on the database host, for sites.
func (h *hosts) startMariaDB() {
	h.t.Helper()
	dir := filepath.Join(h.db.dir, "maria")
	h.db.run("", "install", "-d", "-o", "mysql", "-g", "mysql", dir)
	data := "--datadir=" + filepath.Join(dir, "data")
	small := "--innodb-log-file-size=48M"
	h.db.run("", "runuser", "-u", "mysql", "--", "mariadb-install-db", "--no-defaults", data, small, "--auth-root-authentication-method=normal", "--skip-test-db")
	grant := "CREATE USER 'sites'@'%' IDENTIFIED BY 'secret';\nGRANT ALL PRIVILEGES ON *.* TO 'sites'@'%' WITH GRANT OPTION;\n"
	h.db.run(grant, "runuser", "-u", "mysql", "--", "sh", "-c", `cat >"$0"`, filepath.Join(dir, "init"))
	h.db.start("runuser", "-u", "mysql", "--", "mariadbd", "--no-defaults", data, small, "--socket="+filepath.Join(dir, "s"), "--pid-file="+filepath.Join(dir, "pid"),
		"--init-file="+filepath.Join(dir, "init"), "--bind-address=0.0.0.0", "--skip-name-resolve", "--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M",
		"--innodb-flush-log-at-trx-commit=2", "--performance-schema=off")
	eventually(h.t, time.Minute, "MariaDB answers", func() bool {
		conn, err := net.DialTimeout("tcp", h.db.ip+":3306", time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	})
}

// pg starts, stops or restarts the database server.
func (h *hosts) pg(action string) {
	h.t.Helper()
	h.asPostgres("pg_ctl", action, "-D", filepath.Join(h.db.dir, "pg"), "-w", "-m", "immediate", "-l", filepath.Join(h.db.dir, "log"),
		"-o", "-c listen_addresses=* -c fsync=off -c max_connections=200 -k "+h.db.dir)
}

// number asks the database.
func (h *hosts) number(query string, args ...any) (n int) {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), "postgres://looker:secret@"+subnet+"4/hefring")
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(h.t.Context(), query, args...).Scan(&n); err != nil {
		h.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// join adds a server and starts its worker.
func (h *hosts) join(host *netHost, name string) {
	h.t.Helper()
	var invited struct{ Token string }
	if err := json.Unmarshal([]byte(h.hefring("", "server", "add", name, "--json")), &invited); err != nil {
		h.t.Fatal(err)
	}
	args := []string{
		shared.binary, "worker", "--server=" + name, "--plain-http", "--data=" + filepath.Join(host.dir, "data"), "--sites-listen=0.0.0.0",
	}
	host.start(append(args, "--join="+invited.Token, "--url=http://"+h.control.ip+":8080")...)
	host.args = args // later starts need no token
	h.alive(name)
}

func (h *hosts) alive(name string) {
	h.t.Helper()
	eventually(h.t, time.Minute, name+" lives", func() bool {
		return h.number("SELECT COUNT(*) FROM servers WHERE name = $1 AND state = 'joined' AND seen_at > now() - interval '15 seconds'", name) == 1
	})
}

// visit reads a page of a site on a host.
func (h *hosts) visit(host *netHost, uri string) (string, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, host.ip+":8081")
		}}}
	v := &visitor{t: h.t, port: 8081, client: &client}
	got, err := v.try(http.MethodGet, uri, fmt.Sprintf("/node/1?x=%d", time.Now().UnixNano()), nil)
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("status %d", got.status)
	}
	return got.body, err
}

// serves fails unless the site answers with one of the versions.
func (h *hosts) serves(host *netHost, uri string, versions ...string) {
	h.t.Helper()
	body, err := h.visit(host, uri)
	for _, version := range versions {
		if err == nil && strings.Contains(body, "tidepool "+version) {
			return
		}
	}
	h.t.Fatalf("%s serves none of %v: %v\n%s", uri, versions, err, textOf(body))
}

func (h *hosts) forge() *forge {
	h.t.Helper()
	server, err := gitserver.New(h.t.TempDir())
	if err != nil {
		h.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", subnet+"254:0")
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
	return &forge{t: h.t, server: server, url: "http://" + listener.Addr().String()}
}

// state is how the task of a site's newest move stands.
func (h *hosts) state(uri string) string {
	h.t.Helper()
	for _, state := range []string{"queued", "running", "succeeded", "warning", "recovered", "failed", "cancelled"} {
		if h.number(`SELECT COUNT(*) FROM tasks WHERE state = $2 AND id = (SELECT MAX(t.id) FROM tasks t JOIN sites s ON s.id = t.subject_id
			AND t.subject_kind = 'site' WHERE s.uri = $1 AND t.kind = 'upgrade')`, uri, state) == 1 {
			return state
		}
	}
	return ""
}

// updating waits until the site's database updates run.
func (h *hosts) updating(uri string) {
	h.t.Helper()
	eventually(h.t, 2*time.Minute, uri+" runs its updates", func() bool {
		if state := h.state(uri); state != "queued" && state != "running" {
			h.t.Fatalf("the upgrade of %s is %s before anything happened to it", uri, state)
		}
		return h.number(`SELECT COUNT(*) FROM upgrade_steps p JOIN upgrades u ON u.id = p.upgrade_id JOIN sites s ON s.id = u.site_id
			WHERE s.uri = $1 AND p.name = 'updatedb' AND p.state = 'running'`, uri) == 1
	})
}

// ended waits for the end of a move that a fault hit.
func (h *hosts) ended(uri string) {
	h.t.Helper()
	eventually(h.t, 4*time.Minute, "the upgrade of "+uri+" ends", func() bool {
		state := h.state(uri)
		return state != "queued" && state != "running"
	})
	h.t.Logf("%s: %s", uri, h.state(uri))
	if state := h.state(uri); state != "recovered" && state != "succeeded" {
		h.t.Errorf("the upgrade of %s ended %s", uri, state)
	}
}

// Four hosts: platforms are built on one and delivered to those that need them, sites
// live and move on two others, the database is on the fourth; and each of them fails
// in the middle of an upgrade.
func TestHosts(t *testing.T) {
	h := newHosts(t)
	repo := h.forge().repo("tidepool")
	repo.push(tidepool.V1058)
	p := (&hefring{t: t, url: "http://" + h.control.ip + ":8080", dir: h.control.dir}).person("admin")
	p.addGit("Tidepool", repo.url, nil)
	first := p.awaitTarget(1, "10.5.8")
	h.join(h.web1, "web1")
	h.join(h.web2, "web2")

	// The content of one site is on the database host, as that of large sites is.
	h.hefring("secret\n", "database", "add", "sites", "--engine=postgres", "--host="+h.db.ip, "--user=looker")
	databases := map[string]string{"stored.localhost": "--database-server=sites"}
	homes := map[string]*netHost{
		"plain.localhost": h.web1, "killed.localhost": h.web2, "cut.localhost": h.web2, "restarted.localhost": h.web1, "stored.localhost": h.web2,
	}
	servers := map[*netHost]string{h.web1: "web1", h.web2: "web2"}
	for uri, host := range homes {
		args := []string{"site", "install", uri, "--platform=" + first.name, "--server=" + servers[host], "--wait"}
		if server := databases[uri]; server != "" {
			args = append(args, server)
		}
		h.hefring("", args...)
		h.serves(host, uri, "10.5.8")
	}
	if n := h.number("SELECT COUNT(*) FROM server_platforms WHERE state = 'ready' AND digest <> ''"); n != 2 {
		t.Errorf("the platform was delivered %d times to two servers", n)
	}
	if _, err := os.Stat(filepath.Join(h.control.dir, "data", "sites", "1")); err == nil {
		t.Error("a site's folder is on the control host")
	}

	repo.push(tidepool.V1062)
	p.check(1)
	p.awaitTarget(1, "10.6.2")
	eventually(t, 3*time.Minute, "the web hosts have compared their sites with the target", func() bool {
		return h.number("SELECT COUNT(*) FROM comparisons WHERE platform_id = 2") == len(homes)
	})
	for _, uri := range []string{"plain.localhost", "stored.localhost"} {
		h.hefring("", "site", "upgrade", uri, "--wait")
		h.serves(homes[uri], uri, "10.6.2")
	}

	// What only a web host can do, asked from the control host.
	if link := h.hefring("", "site", "login", "stored.localhost"); !strings.Contains(link, "stored.localhost") || !strings.Contains(link, "/user/reset/1/") {
		t.Errorf("the login link is %q", link)
	}
	h.hefring("", "site", "clone", "plain.localhost", "copy.localhost", "--wait")
	homes["copy.localhost"] = h.web1
	h.serves(h.web1, "copy.localhost", "10.6.2")

	repo.push(tidepool.SlowUpdate)
	p.check(1)
	eventually(t, 2*time.Minute, "the slow version is the target", func() bool {
		return h.number("SELECT COUNT(*) FROM distributions d JOIN platforms p ON p.id = d.target_id WHERE p.id = 3") == 1
	})
	upgrade := func(uri string) {
		t.Helper()
		h.hefring("", "site", "upgrade", uri)
		h.updating(uri)
	}

	// A web host loses its power.
	upgrade("killed.localhost")
	h.web2.crash()
	<-h.web2.end
	h.web2.start(h.web2.args...)
	h.ended("killed.localhost")
	h.served(homes)

	// The network between a web host and everything else is gone for a minute.
	upgrade("cut.localhost")
	h.web2.cut(true)
	<-time.After(time.Minute)
	h.web2.cut(false)
	h.ended("cut.localhost")
	h.served(homes)

	// The database server is restarted without a warning.
	upgrade("restarted.localhost")
	h.pg("restart")
	h.ended("restarted.localhost")
	h.served(homes)

	for _, name := range []string{"web1", "web2"} {
		h.alive(name)
	}
	eventually(t, 3*time.Minute, "all tasks have ended", func() bool {
		return h.number("SELECT COUNT(*) FROM tasks WHERE state IN ('queued', 'running')") == 0
	})
	// Every task ended once, and nothing ended that was no task. The end of a move is
	// in the record twice: its own and its task's.
	if n := h.number(`SELECT COUNT(*) FROM
		(SELECT kind, subject_kind, subject_id, COUNT(*) AS n FROM tasks WHERE kind NOT IN ('check', 'cron', 'login') GROUP BY 1, 2, 3) AS asked
		FULL JOIN (SELECT split_part(verb, ' ', 1) AS kind, subject_kind, subject_id, COUNT(*) AS n FROM events
			WHERE verb ~ '^[a-z-]+ (succeeded|warning|recovered|failed|cancelled)$' AND verb !~ '^(check|cron) ' GROUP BY 1, 2, 3) AS ended
		USING (kind, subject_kind, subject_id) WHERE asked.n * CASE WHEN kind = 'upgrade' THEN 2 ELSE 1 END IS DISTINCT FROM ended.n`); n != 0 {
		t.Errorf("%d tasks did not end once", n)
	}
	if n := h.number("SELECT COUNT(*) FROM sites WHERE state <> 'enabled'"); n != 0 {
		t.Errorf("%d sites are not enabled", n)
	}
}

// served fails unless every site answers where it is.
func (h *hosts) served(homes map[string]*netHost) {
	h.t.Helper()
	for uri, host := range homes {
		h.serves(host, uri, "10.5.8", "10.6.2", "10.6")
	}
}
