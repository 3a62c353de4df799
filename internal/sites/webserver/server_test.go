package webserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"hefring/models"
)

func TestServer_Start_Serves(t *testing.T) {
	f := serve(t)
	a := f.send("GET", "/node/1?x=y", "")
	if a.status != 200 || !strings.Contains(a.body, "release=v1 query=x=y") {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	for _, name := range []string{"Server", "X-Powered-By"} {
		if value := a.header.Get(name); strings.ContainsAny(value, "0123456789") {
			t.Errorf("%s gives a version away: %s", name, value)
		}
	}
	if status := f.status(); !status.Healthy() || status.Sites != 1 {
		t.Errorf("status %+v", status)
	}
	if want := fmt.Sprintf("http://%s:%d/", host, f.config.Port); f.server.URL(models.Site{URI: host}) != want {
		t.Errorf("URL is %s, want %s", f.server.URL(models.Site{URI: host}), want)
	}
}

func TestServer_Start_SettingsOfPHP(t *testing.T) {
	t.Setenv("HEFRING_SECRET", "must not be seen by a site")
	f := serve(t)
	a := f.send("GET", "/env", "")
	uid := os.Geteuid()
	if uid == 0 {
		uid = int(runner().Identity().UID)
	}
	want := fmt.Sprintf(`{"display":"0","environment":false,"root":%q,"user":%d}`, f.docroot("v1"), uid)
	if got := strings.ReplaceAll(a.body, `\/`, "/"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if a := f.send("GET", "/globals", ""); a.body != "[]" {
		t.Errorf("the gate leaks variables: %s", a.body)
	}
	if a := f.send("GET", "/bigheader", ""); a.status != 200 {
		t.Errorf("a page with big headers gave %d", a.status)
	}
}

func TestServer_Start_ErrorsGoToTheLog(t *testing.T) {
	f := serve(t)
	a := f.send("GET", "/throw", "")
	if a.status != 500 || strings.Contains(a.body, "database") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	log, err := os.ReadFile(filepath.Join(f.config.Dir, "log", "php-error.log"))
	f.must(err)
	if !bytes.Contains(log, []byte("the database is not there")) {
		t.Errorf("log holds %q", log)
	}
}

// Pitfall: a restart of Hefring must not interrupt a site.
func TestServer_Start_AdoptsWhatRuns(t *testing.T) {
	f := serve(t)
	before := f.status()
	for range 2 {
		f.must(New(f.config, runner()).Start(t.Context()))
	}
	if after := f.status(); after != before {
		t.Errorf("status was %+v, is %+v", before, after)
	}
}

func TestServer_Start_DaemonsAreNotOurs(t *testing.T) {
	f := serve(t)
	us, found := readProcess(os.Getpid())
	if !found {
		t.Fatal("no process of ours")
	}
	for _, pid := range []int{f.status().Nginx.PID, f.status().PHP.PID} {
		p, found := readProcess(pid)
		if !found || p.parent == us.pid || p.session == us.session || p.session != pid {
			t.Errorf("process %+v of %+v would end with us", p, us)
		}
	}
}

// Hefring is killed: its daemons go on, and the next Hefring adopts them.
func TestServer_Start_OutlivesItsStarter(t *testing.T) {
	f := prepare(t)
	config, err := json.Marshal(f.config)
	f.must(err)
	starter := exec.Command("/proc/self/exe")
	starter.Env = append(os.Environ(), starterMark+"="+string(config))
	output, err := starter.StdoutPipe()
	f.must(err)
	f.must(starter.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil || line != "started\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	f.must(starter.Process.Kill())
	if err := starter.Wait(); err == nil {
		t.Error("was not killed")
	}
	before := f.status()
	if !before.Healthy() {
		t.Errorf("status %+v", before)
	}
	f.must(f.server.Start(t.Context()))
	if after := f.status(); after != before {
		t.Errorf("status was %+v, is %+v", before, after)
	}
}

func TestServer_Start_StrictUmask(t *testing.T) {
	f := prepare(t)
	before := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(before) })
	f.must(f.server.AddSite(t.Context(), f.vhost()))
	if a := f.send("POST", "/", "x"); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	f.must(f.gate().Close(lease))
	if a := f.send("POST", "/", "x"); a.status != 503 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestServer_Start_PutsLongLogsAside(t *testing.T) {
	f := serve(t)
	for _, name := range []string{"nginx.log", "php-fpm.log", "php-error.log"} {
		f.must(os.Truncate(filepath.Join(f.config.Dir, "log", name), largestLog))
	}
	f.must(f.server.Start(t.Context()))
	if a := f.send("GET", "/throw", ""); a.status != 500 {
		t.Errorf("got %d", a.status)
	}
	for _, name := range []string{"nginx.log", "php-fpm.log", "php-error.log"} {
		path := filepath.Join(f.config.Dir, "log", name)
		if info, err := os.Stat(path + ".1"); err != nil || info.Size() < largestLog {
			t.Errorf("%s: %v", name, err)
		}
		f.eventually(name+" is there again", func() bool {
			info, err := os.Stat(path)
			return err == nil && info.Size() < largestLog
		})
	}
	log, err := os.ReadFile(filepath.Join(f.config.Dir, "log", "php-error.log"))
	f.must(err)
	if !bytes.Contains(log, []byte("the database is not there")) {
		t.Errorf("log holds %q", log)
	}
}

func TestServer_Start_AfterKill(t *testing.T) {
	f := serve(t)
	before := f.status()
	// A worker of PHP is there to be orphaned.
	f.send("GET", "/", "")
	f.must(syscall.Kill(before.Nginx.PID, syscall.SIGKILL))
	f.must(syscall.Kill(before.PHP.PID, syscall.SIGKILL))
	f.eventually("masters are gone", func() bool {
		status := f.status()
		return status.Nginx.PID == 0 && status.PHP.PID == 0
	})
	f.must(f.server.Start(t.Context()))
	after := f.status()
	if !after.Healthy() || after.Nginx.PID == before.Nginx.PID || after.PHP.PID == before.PHP.PID {
		t.Errorf("status was %+v, is %+v", before, after)
	}
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	list, err := processes()
	f.must(err)
	for _, p := range list {
		if p.title != "" && (p.session == before.Nginx.PID || p.session == before.PHP.PID) {
			t.Errorf("left over: %+v", p)
		}
	}
}

func TestServer_Start_RecycledPID(t *testing.T) {
	f := prepare(t)
	stranger := exec.Command("sleep", "600")
	f.must(stranger.Start())
	ended := make(chan struct{})
	go func() { _ = stranger.Wait(); close(ended) }()
	t.Cleanup(func() { _ = stranger.Process.Kill(); <-ended })
	for _, name := range []string{"nginx.pid", "php-fpm.pid"} {
		f.write(filepath.Join(f.config.Dir, "run", name), fmt.Sprintln(stranger.Process.Pid))
	}
	f.must(f.server.Stop(t.Context()))
	f.must(f.server.Start(t.Context()))
	if status := f.status(); !status.Healthy() || status.Nginx.PID == stranger.Process.Pid {
		t.Errorf("status %+v", status)
	}
	f.must(f.server.Stop(t.Context()))
	select {
	case <-ended:
		t.Error("a process that is not ours was signalled")
	default:
	}
}

func TestServer_Start_PIDFileGone(t *testing.T) {
	f := serve(t)
	before := f.status()
	f.must(os.Remove(filepath.Join(f.config.Dir, "run", "nginx.pid")))
	f.must(os.Remove(filepath.Join(f.config.Dir, "run", "php-fpm.pid")))
	f.must(f.server.Start(t.Context()))
	if after := f.status(); after != before {
		t.Errorf("status was %+v, is %+v", before, after)
	}
}

func TestServer_Start_OtherPorts(t *testing.T) {
	f := serve(t)
	before := f.status()
	f.config.Port, f.config.ProbePort = freePort(t), freePort(t)
	f.server = New(f.config, runner())
	f.prober = f.server.Prober()
	f.must(f.server.Start(t.Context()))
	if after := f.status(); after != before {
		t.Errorf("status was %+v, is %+v", before, after)
	}
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// Of one port nginx cannot have all addresses while it has one of them, and it lets
// go of nothing before a reload has worked.
func TestServer_Start_OtherAddress(t *testing.T) {
	f := serve(t)
	for _, address := range []string{"0.0.0.0", loopback, "::"} {
		f.config.Listen = address
		f.server = New(f.config, runner())
		f.must(f.server.Start(t.Context()))
		if status := f.status(); !status.Healthy() {
			t.Errorf("on %s status is %+v", address, status)
		}
		if a := f.send("GET", "/", ""); a.status != 200 {
			t.Errorf("on %s got %d %s", address, a.status, a.body)
		}
	}
}

func TestServer_Start_PHPConfigurationOfAnotherVersion(t *testing.T) {
	f := serve(t)
	account, err := f.server.account()
	f.must(err)
	ours, err := f.server.phpFiles(account, siteList{7: f.vhost()})
	f.must(err)
	older := func(version string) (files, error) {
		content, err := ours(version)
		if err == nil {
			content["php.ini"] += "memory_limit = 128M\n"
		}
		return content, err
	}
	f.must(f.server.php().apply(t.Context(), older))
	before, err := f.server.php().answers(t.Context())
	f.must(err)
	f.must(f.server.Start(t.Context()))
	after, err := f.server.php().answers(t.Context())
	f.must(err)
	if status := f.status(); after == before || !status.Healthy() {
		t.Errorf("version %s after %s, status %+v", after, before, status)
	}
}

func TestServer_Start_PortTaken(t *testing.T) {
	f := prepare(t)
	listener, err := net.Listen("tcp", f.server.publicAddress())
	f.must(err)
	err = f.server.Start(t.Context())
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "already uses "+f.server.publicAddress()) {
		t.Errorf("got %v", err)
	}
	f.must(listener.Close())
	f.must(f.server.Start(t.Context()))
}

func TestServer_Start_BadConfig(t *testing.T) {
	f := prepare(t)
	for name, change := range map[string]func(*Config){
		"relative folder":                       func(c *Config) { c.Dir = "web" },
		"folder that no configuration can name": func(c *Config) { c.Dir = f.base + "/a;b" },
		"folder with a variable":                func(c *Config) { c.Dir = f.base + "/$host" },
		"folder too long for a socket":          func(c *Config) { c.Dir = f.base + strings.Repeat("/long", 20) },
		"no port":                               func(c *Config) { c.Port = 0 },
		"the same port twice":                   func(c *Config) { c.ProbePort = c.Port },
		"no address":                            func(c *Config) { c.Listen = "localhost; deny all" },
	} {
		config := f.config
		change(&config)
		if err := New(config, runner()).Start(t.Context()); models.CodeOf(err) != models.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestServer_Start_FolderClosedToSites(t *testing.T) {
	if os.Geteuid() != 0 {
		return // then sites run as ourselves
	}
	f := prepare(t)
	f.must(os.Chmod(f.base, 0o700))
	err := f.server.Start(t.Context())
	if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), "chmod o+x "+f.base) {
		t.Errorf("got %v", err)
	}
}

func TestServer_Start_DamagedConfigurationIsWrittenAgain(t *testing.T) {
	f := serve(t)
	f.must(f.server.Stop(t.Context()))
	f.write(filepath.Join(f.config.Dir, "nginx", "conf.d", "7.conf"), "")
	f.must(f.server.Start(t.Context()))
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestServer_Start_LostListOfSitesIsAnError(t *testing.T) {
	f := serve(t)
	f.write(filepath.Join(f.config.Dir, "nginx", sitesFile), "")
	if err := f.server.Start(t.Context()); models.CodeOf(err) != models.Unavailable {
		t.Errorf("got %v", err)
	}
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestServer_Stop_Ends(t *testing.T) {
	f := serve(t)
	f.send("GET", "/", "")
	before := f.status()
	f.must(f.server.Stop(t.Context()))
	if status := f.status(); status.Nginx.PID != 0 || status.PHP.PID != 0 || status.Healthy() {
		t.Errorf("status %+v", status)
	}
	list, err := processes()
	f.must(err)
	for _, p := range list {
		if p.title != "" && (p.session == before.Nginx.PID || p.session == before.PHP.PID) {
			t.Errorf("left over: %+v", p)
		}
	}
	f.must(f.server.Stop(t.Context()))
}

func TestServer_AddSite_RefusedByNginx(t *testing.T) {
	f := serve(t)
	before := f.status()
	version, err := f.server.nginx().tree.current()
	f.must(err)
	// Our own checks let nothing like it through; nginx is the second line.
	err = f.server.change(t.Context(), func(sites siteList) error {
		sites[8] = Vhost{SiteID: 8, URI: "broken; nonsense", Dir: f.site}
		return nil
	})
	if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), "nonsense") {
		t.Errorf("got %v", err)
	}
	after, err := f.server.nginx().tree.current()
	f.must(err)
	if status := f.status(); status != before || after != version {
		t.Errorf("status was %+v, is %+v; version was %s, is %s", before, status, version, after)
	}
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestServer_AddSite_RefusedByReload(t *testing.T) {
	f := serve(t)
	listener, err := net.Listen("tcp", loopback+":0")
	f.must(err)
	defer func() { _ = listener.Close() }()
	// nginx -t does not mind a port that is taken, a reload does.
	config := f.config
	config.Port = listener.Addr().(*net.TCPAddr).Port
	err = New(config, runner()).AddSite(t.Context(), Vhost{SiteID: 8, URI: "other.example.org", Dir: f.site})
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "in use") {
		t.Errorf("got %v", err)
	}
	if status := f.status(); !status.Healthy() || status.Sites != 1 {
		t.Errorf("status %+v", status)
	}
}

func TestServer_AddSite_Invalid(t *testing.T) {
	f := serve(t)
	for name, site := range map[string]Vhost{
		"no number":          {URI: "a.example.org", Dir: f.site},
		"no host name":       {SiteID: 8, Dir: f.site},
		"host with a port":   {SiteID: 8, URI: "a.example.org:80", Dir: f.site},
		"host with nginx":    {SiteID: 8, URI: "a.example.org; root /", Dir: f.site},
		"wildcard":           {SiteID: 8, URI: "*.example.org", Dir: f.site},
		"regular expression": {SiteID: 8, URI: "~.*", Dir: f.site},
		"long host":          {SiteID: 8, URI: strings.Repeat("a.", 127) + "org", Dir: f.site},
		"relative folder":    {SiteID: 8, URI: "a.example.org", Dir: "sites/8"},
		"climbing folder":    {SiteID: 8, URI: "a.example.org", Dir: f.site + "/../.."},
		"quoted folder":      {SiteID: 8, URI: "a.example.org", Dir: f.site + `"; root "/`},
		"name is taken":      {SiteID: 8, URI: host, Dir: f.site},
	} {
		if err := f.server.AddSite(t.Context(), site); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
	if status := f.status(); !status.Healthy() || status.Sites != 1 {
		t.Errorf("status %+v", status)
	}
}

func TestServer_AddSite_LongName(t *testing.T) {
	f := serve(t)
	label := strings.Repeat("a", 63)
	name := strings.Join([]string{label, label, label, strings.Repeat("b", 61)}, ".")
	f.must(f.server.AddSite(t.Context(), Vhost{SiteID: 8, URI: name, Dir: f.site}))
	a, err := f.try("GET", name, "/", "")
	f.must(err)
	if a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestServer_AddSite_ManyAtOnce(t *testing.T) {
	f := serve(t)
	var group sync.WaitGroup
	failures := make([]error, 6)
	for i := range failures {
		group.Go(func() {
			site := Vhost{SiteID: int64(10 + i), URI: fmt.Sprintf("site%d.example.org", i), Dir: f.site}
			failures[i] = New(f.config, runner()).AddSite(t.Context(), site)
		})
	}
	group.Wait()
	f.must(errors.Join(failures...))
	for i := range failures {
		a, err := f.try("GET", fmt.Sprintf("site%d.example.org", i), "/", "")
		f.must(err)
		if a.status != 200 {
			t.Errorf("site %d: got %d %s", i, a.status, a.body)
		}
	}
}

func TestServer_AddSite_StartsWhatWasKilled(t *testing.T) {
	f := serve(t)
	f.must(syscall.Kill(f.status().Nginx.PID, syscall.SIGKILL))
	f.eventually("nginx is gone", func() bool { return f.status().Nginx.PID == 0 })
	f.must(f.server.AddSite(t.Context(), Vhost{SiteID: 8, URI: "other.example.org", Dir: f.site}))
	if status := f.status(); !status.Healthy() || status.Sites != 2 {
		t.Errorf("status %+v", status)
	}
}

func TestServer_RemoveSite_IsUnknownThen(t *testing.T) {
	f := serve(t)
	for range 2 {
		f.must(f.server.RemoveSite(t.Context(), 7))
	}
	if a := f.send("GET", "/", ""); a.status != 404 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// Pitfall: Drupal sends unknown hosts to its installer.
func TestServer_UnknownHost(t *testing.T) {
	f := serve(t)
	for _, address := range []string{f.prober.PublicAddr, f.prober.ProbeAddr} {
		for _, name := range []string{"unknown.example.org", "127.0.0.1", "_", ""} {
			for _, path := range []string{"/", "/index.php", "/core/install.php", "/core/misc/release.css"} {
				a, err := f.sendTo(address, "GET", name, path, "", nil)
				f.must(err)
				if a.status != 404 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
					t.Errorf("%q%s: got %d %s", name, path, a.status, a.body)
				}
			}
		}
	}
}

// The same again without being root: nobody may switch users, yet all works.
func TestServer_AsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // it is what all tests here are then
	}
	base, err := os.MkdirTemp("", "u") //nolint:usetesting // short: a socket's path has to fit
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	must(os.Chmod(base, 0o755))
	program, err := os.ReadFile("/proc/self/exe")
	must(err)
	must(os.WriteFile(filepath.Join(base, "tests"), program, 0o755))
	must(os.CopyFS(filepath.Join(base, "testdata"), os.DirFS("testdata")))
	temp := filepath.Join(base, "t")
	must(os.Mkdir(temp, 0o700))
	const nobody = 65534
	must(os.Chown(temp, nobody, nobody))

	cmd := exec.Command(filepath.Join(base, "tests"), "-test.run", "^(TestServer_Start_|TestServer_Stop_|TestGate_)", "-test.count=1", "-test.timeout=5m")
	cmd.Dir = base
	cmd.Env = []string{"TMPDIR=" + temp, "PATH=" + os.Getenv("PATH"), "HOME=" + temp}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}
