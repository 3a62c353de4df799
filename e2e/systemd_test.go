//go:build systemd

package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"hefring/internal/release"
	"hefring/internal/tidepool"
)

// fleetHost is a machine on which the Debian package is installed.
type fleetHost struct {
	*machine

	all *hosts
}

// packages makes two Debian packages that differ in their version alone.
func packages(t *testing.T, dir string) (older, newer []byte) {
	t.Helper()
	env, err := exec.Command("go", "env", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	folders := strings.Fields(string(env))
	made := make([][]byte, 2)
	for i := range made {
		one := release.Release{
			Version: fmt.Sprintf("9.9.%d", i), Time: time.Unix(1767225600, 0), Binaries: []string{shared.binary},
			Source: "..", Modules: folders[0], GoRoot: folders[1], Out: filepath.Join(dir, "release"),
		}
		if _, err := one.Make(); err != nil {
			t.Fatal(err)
		}
		if made[i], err = os.ReadFile(filepath.Join(one.Out, "hefring_"+one.Version+"_"+runtime.GOARCH+".deb")); err != nil {
			t.Fatal(err)
		}
	}
	return made[0], made[1]
}

// install installs a package, or upgrades to it.
func (f fleetHost) install(deb []byte) {
	f.all.t.Helper()
	f.put("/root/hefring.deb", string(deb))
	f.do("dpkg", "-i", "/root/hefring.deb")
	f.is("hefring", "active")
}

// set adds lines to the settings.
func (f fleetHost) set(lines string) {
	f.all.t.Helper()
	f.do("sh", "-ec", `printf '%s\n' "$0" >>/etc/hefring/hefring.yaml`, lines)
	f.hefring("config", "check")
}

// target waits until what was pushed last is what sites upgrade to.
func (f fleetHost) target(r *repo) string {
	f.all.t.Helper()
	name := "tidepool-" + git(f.all.t, r.work, "rev-parse", "HEAD")[:7]
	eventually(f.all.t, time.Minute, name+" is the upgrade target", func() bool {
		list, _ := f.try("runuser", "-u", "hefring", "--", "hefring", "platform", "list")
		for line := range strings.Lines(list) {
			if strings.HasPrefix(line, name) && strings.Contains(line, "upgrade target") {
				return true
			}
		}
		return false
	})
	return name
}

// updating starts the upgrade of a site and waits until its database updates run.
func (f fleetHost) updating(uri string) {
	f.all.t.Helper()
	f.hefring("site", "upgrade", uri)
	eventually(f.all.t, time.Minute, "the updates of "+uri+" run", func() bool {
		_, err := f.try("pgrep", "-f", "drush updatedb --root")
		return err == nil
	})
}

// recovered waits for the end of an upgrade that was broken off.
func (f fleetHost) recovered(uri string) {
	f.all.t.Helper()
	f.is("hefring", "active")
	eventually(f.all.t, time.Minute, "the upgrade of "+uri+" has ended", func() bool {
		var tasks []struct{ Title, State string }
		text, err := f.try("runuser", "-u", "hefring", "--", "hefring", "task", "list", "--json")
		if err != nil || json.Unmarshal([]byte(text), &tasks) != nil {
			return false
		}
		for _, task := range tasks { // the newest is the first
			if strings.HasPrefix(task.Title, "Upgrade "+uri) {
				return task.State == "recovered"
			}
		}
		return false
	})
}

// The Debian package under a live systemd, as an administrator meets it: installed,
// set up by the documents, killed, stopped, upgraded in the middle of a task, moved to
// PostgreSQL, with one more dashboard and a web host of its own, removed and purged.
// Builds, installations and upgrades run under the units' restrictions.
func TestSystemd(t *testing.T) {
	n := newNetwork(t)
	older, newer := packages(t, n.dir)
	h := &hosts{network: n, db: n.host("d", 4)}
	t.Cleanup(h.db.tell)
	control := fleetHost{machine: boot(t, n, "control", 1), all: h}
	h.control = control.netHost

	control.install(older)
	eventually(t, 30*time.Second, "the dashboard answers", func() bool { return control.ready(8080) })
	control.owned(map[string]string{
		"/etc/hefring": "root:hefring 750", "/etc/hefring/hefring.yaml": "root:hefring 640",
		"/var/lib/hefring": "hefring:hefring 711", "/var/lib/hefring/control": "hefring:hefring 700",
		"/var/lib/hefring/control/secret.key": "hefring:hefring 600", "/var/lib/hefring/backups": "hefring:hefring 700",
	})
	control.hefring("doctor")
	control.sh("echo '" + password + "' | runuser -u hefring -- hefring user add admin")
	control.set("listen: 0.0.0.0:8080\nurl: http://" + h.control.ip + ":8080\nsites-listen: 0.0.0.0\negress-allow: [" + subnet + "0/24]")
	control.do("systemctl", "restart", "hefring")
	control.is("hefring", "active")

	// A build with git and composer, an installation and an upgrade.
	repo := h.forge().repo("tidepool")
	repo.push(tidepool.V1058)
	eventually(t, 30*time.Second, "the dashboard answers", func() bool { return control.ready(8080) })
	control.hefring("distribution", "add", "Tidepool", "--type", "git", "--set", "url="+repo.url, "--set", "composer=1")
	control.hefring("site", "install", "museum.localhost", "--platform", control.target(repo), "--wait")
	h.serves(h.control, "museum.localhost", "10.5.8")
	control.next(repo, tidepool.V1062)
	control.hefring("site", "upgrade", "museum.localhost", "--wait")
	h.serves(h.control, "museum.localhost", "10.6.2")
	control.owned(map[string]string{
		"/var/lib/hefring/sites/1/db": "hefring:hefring 750", "/var/lib/hefring/sites/1/hash_salt": "hefring:hefring 640", "/var/lib/hefring/sites/1/files": "hefring:hefring 755",
	})

	// Stopped, it stops no site; killed, it is started again; upgraded, it goes on.
	control.do("systemctl", "stop", "hefring")
	control.is("hefring", "inactive")
	h.serves(h.control, "museum.localhost", "10.6.2")
	control.do("systemctl", "start", "hefring")
	control.next(repo, tidepool.SlowUpdate)
	control.updating("museum.localhost")
	control.do("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "hefring")
	eventually(t, 30*time.Second, "systemd has started it again", func() bool { return control.property("hefring", "NRestarts") == "1" })
	control.recovered("museum.localhost")
	h.serves(h.control, "museum.localhost", "10.6.2")
	control.updating("museum.localhost")
	control.install(newer)
	control.recovered("museum.localhost")
	h.serves(h.control, "museum.localhost", "10.6.2")

	control.toPostgres()
	control.replica()
	control.webHost(boot(t, n, "web2", 2), repo, older, newer)
}

// ready tells whether a dashboard answers and all that it needs, too.
func (f fleetHost) ready(port int) bool {
	_, err := f.try("curl", "--silent", "--fail", "--output", "/dev/null", fmt.Sprintf("http://127.0.0.1:%d/readyz", port))
	return err == nil
}

// next pushes a version and waits until it is what sites upgrade to.
func (f fleetHost) next(r *repo, version string) {
	f.all.t.Helper()
	r.push(version)
	f.hefring("distribution", "check", "tidepool", "--wait")
	f.target(r)
}

// toPostgres moves the control plane, as docs/backup.md and docs/servers-many.md say.
func (f fleetHost) toPostgres() {
	f.all.t.Helper()
	f.all.startPostgres()
	f.sh(`echo '` + hostsDatabase + `' >/etc/hefring/database
chown root:hefring /etc/hefring/database
chmod 0640 /etc/hefring/database
systemctl stop hefring
cd /tmp
runuser -u hefring -- hefring backup move.tar.gz
runuser -u hefring -- hefring restore move.tar.gz --database-file /etc/hefring/database`)
	f.set("database-file: /etc/hefring/database")
	f.do("systemctl", "start", "hefring")
	eventually(f.all.t, 30*time.Second, "the dashboard answers from PostgreSQL", func() bool { return f.ready(8080) })
	if n := f.all.number("SELECT COUNT(*) FROM sites WHERE uri = 'museum.localhost'"); n != 1 {
		f.all.t.Errorf("PostgreSQL knows %d sites", n)
	}
	if list := f.hefring("site", "list"); !strings.Contains(list, "museum.localhost") {
		f.all.t.Errorf("a command asks another database:\n%s", list)
	}
}

// replica starts one more dashboard beside hefring serve.
func (f fleetHost) replica() {
	f.all.t.Helper()
	f.put("/etc/hefring/web-environment", "HEFRING_LISTEN=0.0.0.0:8090\n")
	f.do("systemctl", "enable", "--now", "hefring-web")
	eventually(f.all.t, 30*time.Second, "the other dashboard answers", func() bool { return f.ready(8090) })
	f.do("systemctl", "kill", "--signal=KILL", "hefring-web")
	eventually(f.all.t, 30*time.Second, "systemd has started it again", func() bool {
		return f.property("hefring-web", "NRestarts") == "1" && f.ready(8090)
	})
	f.do("systemctl", "restart", "hefring-web")
	eventually(f.all.t, 30*time.Second, "it answers again", func() bool { return f.ready(8090) })
}

// webHost makes a machine a web host by as-worker.conf, and takes the package away
// from it in the end.
func (f fleetHost) webHost(m *machine, r *repo, older, newer []byte) {
	t := f.all.t
	t.Helper()
	f.all.web2 = m.netHost
	web := fleetHost{machine: m, all: f.all}
	web.install(older)
	web.set("sites-listen: 0.0.0.0")
	var invited struct{ Token string }
	if err := json.Unmarshal([]byte(f.hefring("server", "add", "web2", "--address", m.ip, "--json")), &invited); err != nil {
		t.Fatal(err)
	}
	m.do("systemctl", "stop", "hefring")
	web.join("--server", "web2", "--join", invited.Token, "--url", "http://"+f.ip+":8080", "--plain-http")
	m.sh(`mkdir -p /etc/systemd/system/hefring.service.d
sed s/NAME/web2/ /usr/share/doc/hefring/examples/as-worker.conf >/etc/systemd/system/hefring.service.d/as-worker.conf
runuser -u hefring -- sh -c 'kill $(cat /var/lib/hefring/web/run/*.pid)'
systemctl daemon-reload && systemctl start hefring`)
	m.is("hefring", "active")
	f.all.alive("web2")
	m.owned(map[string]string{"/var/lib/hefring/control/worker.json": "hefring:hefring 600"})

	r.push(tidepool.V1062)
	f.hefring("distribution", "check", "tidepool", "--wait")
	f.hefring("site", "install", "far.localhost", "--platform", f.target(r), "--server", "web2", "--wait")
	f.all.serves(m.netHost, "far.localhost", "10.6.2")
	m.do("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "hefring")
	eventually(t, 30*time.Second, "systemd has started the worker again", func() bool { return m.property("hefring", "NRestarts") == "1" })
	web.install(newer)
	f.all.alive("web2")
	f.next(r, tidepool.V1063)
	f.hefring("site", "upgrade", "far.localhost", "--wait")
	f.all.serves(m.netHost, "far.localhost", "10.6.3")

	// Removed, nothing of it runs; purged, the site's files are there still.
	m.do("dpkg", "--remove", "hefring")
	if left, err := m.try("pgrep", "-a", "-u", "hefring"); err == nil {
		t.Errorf("the package is gone, and these run on:\n%s", left)
	}
	m.owned(map[string]string{"/etc/hefring/hefring.yaml": "root:hefring 640", "/var/lib/hefring/sites/2/hash_salt": "hefring:hefring 640"})
	if out := m.do("dpkg", "--purge", "hefring"); !strings.Contains(out, "rm -r /var/lib/hefring") {
		t.Errorf("it does not say how to delete the sites:\n%s", out)
	}
	m.owned(map[string]string{"/var/lib/hefring/sites/2/hash_salt": "hefring:hefring 640"})
	if left, err := m.try("sh", "-c", "ls -d /etc/hefring /etc/systemd/system/hefring* /etc/systemd/system/*.wants/hefring* 2>/dev/null"); err == nil || left != "" {
		t.Errorf("the purged package left %s", left)
	}

	// Installed anew without sites, nothing stays but the user.
	m.do("rm", "-r", "/var/lib/hefring")
	web.install(older)
	m.do("dpkg", "--purge", "hefring")
	if left, err := m.try("sh", "-c", "ls -d /var/lib/hefring /etc/hefring 2>/dev/null"); err == nil || left != "" {
		t.Errorf("the purged package left %s", left)
	}
	m.do("id", "hefring")
}

// join runs the worker in a terminal until it takes its queue.
func (f fleetHost) join(args ...string) {
	t := f.all.t
	t.Helper()
	cmd := f.inside(t.Context(), append([]string{"runuser", "-u", "hefring", "--", "hefring", "worker"}, args...)...)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, seen := bufio.NewScanner(said), []string{}
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if strings.Contains(lines.Text(), "the worker takes its queue") {
			f.do("pkill", "-INT", "-f", "^hefring worker") // Ctrl-C, on that machine alone
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the worker does not join: %v\n%s", err, strings.Join(seen, "\n"))
	}
}
