package config_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
	"hefring/models"
)

// program is a command line with one command that takes all settings, one that
// takes a few by flags of its own, and one that takes none.
type program struct {
	Serve struct {
		config.Config
	} `cmd:"" default:"withargs"`
	Look struct {
		Allow []string `env:"HEFRING_EGRESS_ALLOW" sep:","`
	} `cmd:""`
	Version struct {
		Other string `env:"HEFRING_OTHER"`
	} `cmd:""`
}

// load parses a command line with a settings file of that text ("" for none)
// and an environment.
func load(t *testing.T, file string, environ []string, args ...string) (program, *config.Report, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hefring.yaml")
	if file != "" {
		write(t, path, file)
	}
	return parse(t, &config.Loader{Environ: environ, File: path}, args...)
}

func parse(t *testing.T, loader *config.Loader, args ...string) (program, *config.Report, error) {
	t.Helper()
	for _, pair := range loader.Environ { // kong looks there too
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "HEFRING_") {
			t.Setenv(name, value)
		}
	}
	var p program
	parser, err := kong.New(&p, kong.WithBeforeReset(loader.Load), kong.BindTo(context.Background(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(args)
	if err != nil {
		return p, nil, loader.Explain(err)
	}
	var report *config.Report
	_, _ = command.Call(func(r *config.Report) { report = r })
	return p, report, nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func from(t *testing.T, report *config.Report, name string) config.Effective {
	t.Helper()
	for _, one := range report.Settings {
		if one.Name == name {
			return one
		}
	}
	t.Fatalf("nothing is told about %s", name)
	return config.Effective{}
}

func TestLoader_Load_Precedence(t *testing.T) {
	file := "listen: 127.0.0.1:1001\nsites-port: 1002\nprobe-port: 1003\nweb-user: web\n"
	p, report, err := load(t, file, []string{"HEFRING_SITES_PORT=2002", "HEFRING_PROBE_PORT=2003"}, "serve", "--probe-port=3003")
	if err != nil {
		t.Fatal(err)
	}
	c := p.Serve
	if c.Listen != "127.0.0.1:1001" || c.SitesPort != 2002 || c.ProbePort != 3003 || c.WebUser != "web" || c.BuildUser != "nobody" {
		t.Errorf("got %+v", c)
	}
	for name, place := range map[string]string{
		"listen": report.File + ":1", "sites-port": "$HEFRING_SITES_PORT", "probe-port": "--probe-port", "build-user": "default", "url": "default",
	} {
		if got := from(t, report, name); got.From != place {
			t.Errorf("%s comes from %s, want %s", name, got.From, place)
		}
	}
	if got := from(t, report, "url").Value; got != "http://127.0.0.1:1001" {
		t.Errorf("url is %s", got)
	}
}

func TestLoader_Load_EveryKind(t *testing.T) {
	file := `# as YAML has them
pool-per-site: yes
"update-limit": 90m
sites-port: 0x1f91
site-users: 200000
drush8: '/opt/drush 8/drush'   # a comment
egress-allow: [10.0.0.0/8, "192.168.0.0/16"]
log-level: "debug"
`
	p, report, err := load(t, file, nil, "serve")
	if err != nil {
		t.Fatal(err)
	}
	c := p.Serve
	if !c.PoolPerSite || c.UpdateLimit != 90*time.Minute || c.SitesPort != 0x1f91 || c.SiteUsers != 200000 || c.Drush8 != "/opt/drush 8/drush" ||
		strings.Join(c.EgressAllow, " ") != "10.0.0.0/8 192.168.0.0/16" || c.LogLevel != "debug" {
		t.Errorf("got %+v", c)
	}
	if got := from(t, report, "update-limit").Value; got != "1h30m" {
		t.Errorf("update-limit is told as %s", got)
	}
	p, _, err = load(t, "egress-allow:\n  - 10.0.0.0/8\n  - 172.16.0.0/12\n", nil, "look")
	if err != nil || len(p.Look.Allow) != 2 {
		t.Errorf("a command with a flag of its own got %v, %v", p.Look.Allow, err)
	}
}

func TestLoader_Load_EveryProblemAtOnce(t *testing.T) {
	file := `sites-prot: 80
sites-port: many
listen: 127.0.0.1:8080
listen: 127.0.0.1:8081
update-limit: 30
web-user: [a, b]
ca-file: ca.pem
config: other.yaml
nginx-test:
pool-per-site: {a: b}
build-user: www-data
xyzzy: 1
`
	environ := []string{"HEFRING_PROBE_PORT=99999", "HEFRING_LISTN=1", "HEFRING_SITE_USERS=few", "HEFRING_LOG_LEVEL=loud", "HEFRING_OTHER=x"}
	_, _, err := load(t, file, environ, "serve", "--url=hefring.example.org", "--oidc-issuer=https://id.example.org")
	if models.CodeOf(err) != models.Invalid {
		t.Fatalf("got %v", err)
	}
	want := []string{
		".yaml:1: sites-prot: There is no such setting. Perhaps it is sites-port",
		`.yaml:2: sites-port: It is "many". Use a whole number`,
		".yaml:4: listen: It stands at ", ".yaml:3 already",
		`.yaml:5: update-limit: It is "30". Use a time such as 90s`,
		".yaml:6: web-user: It takes one value",
		".yaml:7: ca-file: Use an absolute path",
		".yaml:8: config: ",
		".yaml:9: nginx-test: It has no value",
		".yaml:10: pool-per-site: It takes a plain value",
		".yaml:11: build-user: Use another user",
		".yaml:12: xyzzy: There is no such setting. Remove",
		"$HEFRING_PROBE_PORT: probe-port: Use a port from 1 to 65535",
		"$HEFRING_LISTN: Hefring has no such variable. Perhaps it is HEFRING_LISTEN",
		`$HEFRING_SITE_USERS: site-users: It is "few"`,
		`$HEFRING_LOG_LEVEL: log-level: It is "loud". Use debug or info or warn or error`,
		"--url: Use the address that people type",
		"  --oidc-client-id: Say what Hefring is called",
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("nothing of %q in:\n%v", text, err)
		}
	}
	if strings.Contains(err.Error(), "HEFRING_OTHER") {
		t.Error("a variable of another command was taken for a slip")
	}
}

func TestLoader_Explain_AddsToAFlagThatDoesNotFit(t *testing.T) {
	_, _, err := load(t, "site-users: few\n", nil, "serve", "--sites-port=many")
	if err == nil || !strings.Contains(err.Error(), "site-users") || !strings.Contains(err.Error(), "--sites-port") {
		t.Errorf("got %v", err)
	}
	_, _, err = load(t, "", nil, "serve", "--sites-port=many")
	if err == nil || models.CodeOf(err) == models.Invalid {
		t.Errorf("an error of kong's alone became %v", err)
	}
}

func TestLoader_Load_FileByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.yaml")
	write(t, path, "web-user: other\n")
	for _, c := range []struct{ environ, args []string }{
		{nil, []string{"serve", "--config=" + path}},
		{[]string{"HEFRING_CONFIG=" + path}, []string{"serve"}},
		{[]string{"HEFRING_CONFIG=/nonexistent"}, []string{"serve", "--config", path}},
	} {
		p, report, err := load(t, "web-user: usual\n", c.environ, c.args...)
		if err != nil || p.Serve.WebUser != "other" || report.File != path {
			t.Errorf("%v: got %q, %v", c, p.Serve.WebUser, err)
		}
	}
	_, _, err := load(t, "", nil, "serve", "--config=/nonexistent/hefring.yaml")
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/hefring.yaml: It cannot be read: no such file or directory. Make it") {
		t.Errorf("a file that is not there: %v", err)
	}
	_, _, err = load(t, "", nil, "serve", "--config="+t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a folder: %v", err)
	}
}

// The server's settings file may be closed to others. They can do what takes a
// few settings only; the rest says what to do.
func TestLoader_Load_FileOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hefring.yaml")
	write(t, path, "egress-allow: 10.0.0.0/8\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // root may read everything, unless it looks at files as another user
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	if p, _, err := parse(t, &config.Loader{File: path}, "look"); err != nil || p.Look.Allow != nil {
		t.Errorf("few settings: %v, %v", p.Look.Allow, err)
	}
	_, _, err := parse(t, &config.Loader{File: path}, "serve")
	if err == nil || !strings.Contains(err.Error(), "permission denied. Run Hefring as a user who may read it") {
		t.Errorf("all settings: %v", err)
	}
}

func TestLoader_Load_NothingForCommandsWithoutSettings(t *testing.T) {
	if _, report, err := load(t, "[", []string{"HEFRING_SITES_PORT=many"}, "version"); err != nil || report != nil {
		t.Errorf("got %v, %v", report, err)
	}
}

func TestLoader_Load_EmptyCountsAsNone(t *testing.T) {
	environ := []string{"HEFRING_SITES_PORT=", "HEFRING_CA_FILE=", "HEFRING_EGRESS_ALLOW=", "HEFRING_LISTEN=", "HEFRING_POOL_PER_SITE="}
	p, _, err := load(t, "web-user: ''\nca-file: ''\n", environ, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Serve; c.SitesPort != 8081 || c.CAFile != "" || len(c.EgressAllow) != 0 || c.Listen != "127.0.0.1:8080" || c.WebUser != "www-data" {
		t.Errorf("got %+v", c)
	}
}

func TestLoader_Load_SecretsFromFiles(t *testing.T) {
	const address = "postgres://hefring:geheim@db.example.org/hefring"
	dir := t.TempDir()
	secret := filepath.Join(dir, "hefring.database")
	write(t, secret, address+"\n")
	for name, c := range map[string]struct {
		file          string
		environ, args []string
	}{
		"flag":        {"database: sqlite:/x.db\n", nil, []string{"serve", "--database-file", secret}},
		"environment": {"database: sqlite:/x.db\n", []string{"HEFRING_DATABASE_FILE=" + secret}, []string{"serve"}},
		"credential":  {"database: sqlite:/x.db\n", []string{"CREDENTIALS_DIRECTORY=" + dir}, []string{"serve"}},
		"file":        {"database-file: " + secret + "\n", nil, []string{"serve"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, report, err := load(t, c.file, c.environ, c.args...)
			if err != nil || p.Serve.Database != address {
				t.Fatalf("got %q, %v", p.Serve.Database, err)
			}
			if got := from(t, report, "database"); got.Value != "postgres://hefring:xxxxx@db.example.org/hefring" || got.From == "default" {
				t.Errorf("told as %+v", got)
			}
		})
	}
	_, _, err := load(t, "database-file: "+secret+"\ndatabase: sqlite:/x.db\n", nil, "serve")
	if err == nil || !strings.Contains(err.Error(), "Remove one of them") {
		t.Errorf("both: %v", err)
	}
	write(t, secret, "one\ntwo\n")
	_, _, err = load(t, "database-file: "+secret+"\n", nil, "serve")
	if err == nil || strings.Contains(err.Error(), "two") || !strings.Contains(err.Error(), "does not hold one line") {
		t.Errorf("two lines: %v", err)
	}
	_, _, err = load(t, "", []string{"HEFRING_DATABASE=mysql://root:geheim@db"}, "serve")
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a refused secret: %v", err)
	}
}

// OpenTelemetry has names of its own for where traces go.
func TestLoader_Load_VariablesOfOthers(t *testing.T) {
	const theirs, ours = "OTEL_EXPORTER_OTLP_ENDPOINT=http://theirs:4318", "HEFRING_OTLP_ENDPOINT=http://ours:4318"
	for name, c := range map[string]struct {
		environ    []string
		want, from string
	}{
		"theirs": {[]string{theirs}, "http://theirs:4318", "$OTEL_EXPORTER_OTLP_ENDPOINT"},
		"both":   {[]string{theirs, ours}, "http://ours:4318", "$HEFRING_OTLP_ENDPOINT"},
		"empty":  {[]string{theirs, "HEFRING_OTLP_ENDPOINT="}, "http://theirs:4318", "$OTEL_EXPORTER_OTLP_ENDPOINT"},
	} {
		p, report, err := load(t, "otlp-endpoint: http://file:4318\n", append(c.environ, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20geheim,x=1"), "serve")
		if err != nil {
			t.Fatal(err)
		}
		if got := from(t, report, "otlp-endpoint"); p.Serve.OTLPEndpoint != c.want || got.From != c.from {
			t.Errorf("%s: got %q from %s", name, p.Serve.OTLPEndpoint, got.From)
		}
		if got := from(t, report, "otlp-headers"); strings.Contains(got.Value, "geheim") {
			t.Errorf("told as %+v", got)
		}
		headers, err := p.Serve.Collector()
		if err != nil || headers.Get("Authorization") != "Bearer geheim" || headers.Get("X") != "1" {
			t.Errorf("got %v, %v", headers, err)
		}
	}
	for _, wrong := range []string{"geheim", "a b=geheim", "=geheim", "a=geheim%0Ab", "a=geheim%zz", "a=1,,b=geheim"} {
		_, _, err := load(t, "", []string{"HEFRING_OTLP_HEADERS=" + wrong}, "serve")
		if err == nil || strings.Contains(err.Error(), "geheim") || !strings.Contains(err.Error(), "otlp-headers: Use name=value") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if _, _, err := load(t, "", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317"}, "serve"); err == nil || !strings.Contains(err.Error(), "otlp-endpoint: Use the collector's address") {
		t.Errorf("got %v", err)
	}
}

func TestLoader_Load_HostileFiles(t *testing.T) {
	for name, text := range map[string]string{
		"too large":     "# " + strings.Repeat("x", 64<<10),
		"brackets":      strings.Repeat("[", 60_000),
		"maps":          strings.Repeat("{a: ", 15_000),
		"dashes":        strings.Repeat("- ", 2000),
		"list":          "- listen: x\n",
		"scalar":        "listen",
		"two documents": "listen: 127.0.0.1:1\n---\nurl: http://a\n",
		"anchor":        "web-user: &a web\nbuild-user: *a\n",
		"merge":         "<<: {listen: a}\n",
		"tag":           "listen: !!binary aGVs\n",
		"map key":       "? [a]\n: b\n",
		"not text":      "\x00\x01\xff\xfe",
		"unterminated":  "listen: \"127",
		"tab":           "listen:\n\t- a",
		"many lines":    "web-user: |\n  a\n  b\n",
		"control":       `web-user: "a\u0000b"`,
		"endless":       "sites-port: " + strings.Repeat("9", 5000),
		"long key":      strings.Repeat("k", 5000) + ": 1",
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, _, err := load(t, text, nil, "serve")
			if models.CodeOf(err) != models.Invalid {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if err != nil && len(err.Error()) > 12_000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
	for name, text := range map[string]string{"empty": "\n", "comment": "# nothing\n", "null": "~\n", "marks": "---\nlisten: 127.0.0.1:1\n"} {
		if _, _, err := load(t, text, nil, "serve"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLoader_File(f *testing.F) {
	for _, text := range []string{"listen: a:1\n", "a: [b, c]\n", "a: |\n  b\n", "? a\n: b", "a: &x 1\nb: *x", "{a: b}", "\"a\\x00\": 'b'"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return
		}
		_, _, err := load(t, text, nil, "serve")
		if err != nil && models.CodeOf(err) != models.Invalid {
			t.Errorf("got %v", err)
		}
	})
}

func TestSettings_AreDescribed(t *testing.T) {
	names, variables := map[string]bool{}, map[string]bool{}
	for _, s := range config.Settings() {
		if s.Help == "" || s.Takes == "" || !strings.HasPrefix(s.Env, "HEFRING_") || names[s.Name] || variables[s.Env] {
			t.Errorf("%+v lacks something, or its name is taken", s)
		}
		if want := "HEFRING_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")); s.Env != want {
			t.Errorf("the variable of %s is %s, want %s", s.Name, s.Env, want)
		}
		names[s.Name], variables[s.Env] = true, true
	}
	for _, s := range config.Settings() {
		if s.Holds != "" && !names[s.Holds] {
			t.Errorf("%s holds %s, which is no setting", s.Name, s.Holds)
		}
	}
	if len(names) < 25 || !names["database"] {
		t.Errorf("%d settings are known", len(names))
	}
}

func TestMask_HidesPasswords(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"geheim":                         "xxxxx",
		"sqlite:/var/lib/hefring/x.db":   "sqlite:/var/lib/hefring/x.db",
		"postgres://a:geheim@h/db":       "postgres://a:xxxxx@h/db",
		"postgres://h/db?password=gehei": "postgres://h/db?password=xxxxx",
		"postgres://a:ge%heim@h/db":      "xxxxx",
		"postgres:///db?host=/run":       "xxxxx",
	} {
		if got := config.Mask(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
