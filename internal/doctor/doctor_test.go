package doctor_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/doctor"
	"hefring/internal/run"
	"hefring/internal/secret"
)

// machine is one whose programs are scripts of ours.
type machine struct {
	t   *testing.T
	bin string
	cfg doctor.Config
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	bin, err := os.MkdirTemp("", "doctor-test-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(bin) })
	if err := os.Chmod(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	m := &machine{t: t, bin: bin, cfg: doctor.Config{
		Programs: run.New(run.Config{Path: bin, Uncontained: true}), Sandbox: run.New(run.Config{}),
		Data: filepath.Join(base, "data"), Control: filepath.Join(base, "data", "control"),
		KeyFile: filepath.Join(base, "data", "control", "secret.key"),
		Proc:    filepath.Join(base, "proc"),
	}}
	for _, name := range []string{"setpriv", "prlimit"} {
		for _, dir := range []string{"/usr/bin", "/bin"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				if err := os.Symlink(filepath.Join(dir, name), filepath.Join(bin, name)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	m.says("git", "git version 2.50.1")
	m.says("php", "8.3.9\nCore\ndate\nfilter\nhash\njson\npcre\nsession\ntokenizer\nctype\nPDO\nopenssl\nPhar\niconv\ndom\nSimpleXML\nxml\ngd\nmbstring\npdo_sqlite\ncurl\nzip\nintl\nZend OPcache")
	m.says("composer", "Composer version 2.10.2 2026-05-01 10:00:00")
	for _, name := range []string{"nginx", "php-fpm", "patch", "unzip", "ssh"} {
		m.says(name, "")
	}
	return m
}

// says makes a program that prints text.
func (m *machine) says(name, text string) {
	m.t.Helper()
	m.script(name, "cat <<'END'\n"+text+"\nEND")
}

func (m *machine) script(name, script string) {
	m.t.Helper()
	m.remove(name)
	script = strings.ReplaceAll(script, "cat <<", "/bin/cat <<")
	if err := os.WriteFile(filepath.Join(m.bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) remove(name string) {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.bin, name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) examine() []doctor.Finding {
	m.t.Helper()
	return doctor.Examine(m.t.Context(), m.cfg)
}

func (m *machine) want(name string, state doctor.State, parts ...string) {
	m.t.Helper()
	for _, f := range m.examine() {
		text := f.Message + " | " + f.Fix
		if f.Name != name || f.State != state {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(text, part) {
				m.t.Errorf("%s: %q does not say %q", name, text, part)
			}
		}
		if state != doctor.OK && f.Message == "" {
			m.t.Errorf("%s: no words", name)
		}
		return
	}
	m.t.Errorf("no finding %s %s in %+v", state, name, m.examine())
}

func TestExamine_Healthy(t *testing.T) {
	m := newMachine(t)
	list := m.examine()
	for _, f := range list {
		if f.State == doctor.Fail || f.State == doctor.Warn && f.Name != "disk" {
			t.Errorf("%+v", f)
		}
	}
	if !doctor.Healthy(list) || doctor.Healthy([]doctor.Finding{{State: doctor.Warn}, {State: doctor.Fail}}) {
		t.Error("it tells healthy from ill the wrong way round")
	}
	if _, err := os.Stat(m.cfg.Data); err == nil {
		t.Error("the examination made the data folder")
	}
}

func TestExamine_Sandbox(t *testing.T) {
	m := newMachine(t)
	m.want("sandbox", doctor.OK)
	m.cfg.Sandbox = run.New(run.Config{Path: m.bin})
	m.want("sandbox", doctor.Fail, "bwrap is missing", "Hefring does not start", "apt-get install bubblewrap")
	m.want("git", doctor.OK) // the others are told all the same
	m.cfg.Unsandboxed = true
	m.want("sandbox", doctor.Warn, "without a sandbox", "apt-get install bubblewrap")
	m.cfg.Unsandboxed = false

	m.script("bwrap", "/bin/cat <&4 >/dev/null; echo \"bwrap: Can't mount proc on /newroot/proc: Operation not permitted\" >&2; exit 1")
	m.want("sandbox", doctor.Fail, "Parts of /proc are covered", "unmask=ALL", "systempaths=unconfined", "Hefring does not start")
	m.script("bwrap", "/bin/cat <&4 >/dev/null; echo 'bwrap: No permissions to create a new namespace' >&2; exit 1")
	if os.Geteuid() == 0 {
		m.want("sandbox", doctor.Fail, "container", "SYS_ADMIN")
		return
	}
	m.want("sandbox", doctor.Fail, "namespaces", "as root")
	for file, want := range map[string][2]string{
		"kernel/unprivileged_userns_clone":             {"0", "kernel.unprivileged_userns_clone=1"},
		"user/max_user_namespaces":                     {"0", "user.max_user_namespaces=15000"},
		"kernel/apparmor_restrict_unprivileged_userns": {"1", "kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		path := filepath.Join(m.cfg.Proc, "sys", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want[0]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		m.want("sandbox", doctor.Fail, "sysctl -w "+want[1])
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExamine_Git(t *testing.T) {
	m := newMachine(t)
	for says, state := range map[string]doctor.State{
		"git version 2.50.1": doctor.OK, "git version 2.43.7": doctor.OK, "git version 2.51.0.windows.1": doctor.OK, "git version 3.0": doctor.OK,
		"git version 2.50.0": doctor.Warn, "git version 2.43.6": doctor.Warn, "git version 2.39.5": doctor.Warn, "nonsense": doctor.Warn,
		"git version 2.20.1": doctor.Fail,
	} {
		m.says("git", says)
		m.want("git", state)
	}
	m.script("git", "echo broken >&2; exit 1")
	m.want("git", doctor.Fail, "does not work", "broken")
	m.remove("git")
	m.want("git", doctor.Fail, "missing", "apt-get install git")
}

func TestExamine_PHP(t *testing.T) {
	m := newMachine(t)
	m.says("php", "8.3.9\nCore\ndate")
	m.want("php", doctor.Fail, "dom", "gd", "mbstring", "pdo_sqlite", "apt-get install php-cli php-curl php-gd php-intl php-mbstring php-sqlite3 php-xml php-zip")
	m.says("php", "7.4.33\nCore")
	m.want("php", doctor.Fail, "too old")
	m.remove("php")
	m.want("php", doctor.Fail, "missing", "apt-get install php-cli")
}

func TestExamine_Composer(t *testing.T) {
	m := newMachine(t)
	for says, state := range map[string]doctor.State{
		"Composer version 2.10.2 2026": doctor.OK, "Composer version 2.11.0-RC1": doctor.OK,
		"Composer version 2.5.5 2023-03-21": doctor.Warn, "?": doctor.Warn, "Composer version 1.10.27": doctor.Fail,
	} {
		m.says("composer", says)
		m.want("composer", state)
	}
	m.remove("composer")
	m.want("composer", doctor.Fail, "apt-get install composer")
}

func TestExamine_Helpers(t *testing.T) {
	m := newMachine(t)
	for name, state := range map[string]doctor.State{"nginx": doctor.Fail, "php-fpm": doctor.Fail, "patch": doctor.Fail, "unzip": doctor.Warn, "ssh": doctor.Warn} {
		m.remove(name)
		m.want(name, state, "missing", "apt-get install")
	}
}

func TestExamine_Users(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root switches users")
		return
	}
	m := newMachine(t)
	m.cfg.Users = []string{"nobody", "no-such-user"}
	m.want("users", doctor.Fail, "no-such-user", "useradd")
	m.cfg.Users = []string{"root"}
	m.want("users", doctor.Fail, "root")
}

func TestExamine_Folders(t *testing.T) {
	m := newMachine(t)
	m.want("data folder", doctor.OK, "first start")
	if err := os.MkdirAll(m.cfg.Control, 0o700); err != nil {
		t.Fatal(err)
	}
	chmod := func(path string, mode os.FileMode) {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(m.cfg.Data, 0o711)
	m.want("data folder", doctor.OK)
	chmod(m.cfg.Control, 0o755)
	m.want("data folder", doctor.Warn, "chmod 700 "+m.cfg.Control)
	chmod(m.cfg.Control, 0o700)
	chmod(m.cfg.Data, 0o733)
	m.want("data folder", doctor.Fail, "chmod 711 "+m.cfg.Data)
	chmod(m.cfg.Data, 0o711)
	if os.Geteuid() == 0 {
		if err := os.Chown(m.cfg.Data, 12345, -1); err != nil {
			t.Fatal(err)
		}
		m.want("data folder", doctor.Fail, "chown 0 "+m.cfg.Data)
	}
	m.cfg.Data = filepath.Join(m.bin, "git")
	m.want("data folder", doctor.Fail, "not a folder")
	if os.Geteuid() != 0 { // who may write everywhere
		m.cfg.Data = "/usr/none/data"
		m.want("data folder", doctor.Fail, "cannot be made")
	}
}

func TestExamine_Key(t *testing.T) {
	m := newMachine(t)
	m.want("secret key", doctor.OK, "first start")
	m.cfg.KeyFile = filepath.Join(t.TempDir(), "secret.key")
	if _, err := secret.Load(m.cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	m.want("secret key", doctor.OK, "holds 1")
	if err := os.Chmod(m.cfg.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	m.want("secret key", doctor.Fail, "chmod 600 "+m.cfg.KeyFile)
}

func TestExamine_Egress(t *testing.T) {
	m := newMachine(t)
	m.want("egress", doctor.OK, "public addresses only")
	m.cfg.Allow = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	m.want("egress", doctor.OK, "10.1.0.0/16")
	for _, risky := range []string{"127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/0"} {
		m.cfg.Allow = []netip.Prefix{netip.MustParsePrefix(risky)}
		m.want("egress", doctor.Warn, risky)
	}
}

func TestExamine_Database(t *testing.T) {
	m := newMachine(t)
	now := time.Now()
	m.cfg.Now = func() time.Time { return now }
	answer := func(db doctor.Database, err error) {
		m.cfg.Database = func(context.Context) (doctor.Database, error) { return db, err }
	}
	answer(doctor.Database{Name: "PostgreSQL 17.2", Time: now.Add(time.Second)}, nil)
	m.want("database", doctor.OK, "PostgreSQL 17.2")
	for _, f := range m.examine() {
		if f.Name == "clock" {
			t.Errorf("got %+v", f)
		}
	}
	answer(doctor.Database{Name: "PostgreSQL 17.2", Time: now.Add(-10 * time.Minute)}, nil)
	m.want("clock", doctor.Warn, "10m0s apart")
	answer(doctor.Database{}, errors.New("connection refused"))
	m.want("database", doctor.Fail, "connection refused")
}
