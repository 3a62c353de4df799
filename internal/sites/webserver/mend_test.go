package webserver

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hefring/models"
)

func (f *fixture) mend() bool {
	f.Helper()
	mended, err := f.server.Mend(f.Context())
	f.must(err)
	return mended
}

func TestServer_Mend_BringsBackWhatWasKilled(t *testing.T) {
	f := serve(t)
	if f.mend() {
		t.Error("there was nothing to mend")
	}
	for _, victims := range [][]bool{{true, false}, {false, true}, {true, true}} {
		before := f.status()
		f.send("GET", "/", "")
		if victims[0] {
			f.must(syscall.Kill(before.Nginx.PID, syscall.SIGKILL))
		}
		if victims[1] {
			f.must(syscall.Kill(before.PHP.PID, syscall.SIGKILL))
		}
		f.eventually("the master is gone", func() bool {
			now := f.status()
			return (!victims[0] || now.Nginx.PID == 0) && (!victims[1] || now.PHP.PID == 0)
		})
		start := time.Now()
		if !f.mend() {
			t.Error("nothing was mended")
		}
		if took := time.Since(start); took > patience {
			t.Errorf("it took %s", took)
		}
		if a := f.send("POST", "/", "x"); a.status != 200 || !f.status().Healthy() {
			t.Errorf("got %d, status %+v", a.status, f.status())
		}
	}
	if f.mend() {
		t.Error("there was nothing to mend any more")
	}
}

func TestServer_Mend_LeavesAlone(t *testing.T) {
	f := prepare(t)
	if f.mend() || f.status().Nginx.PID != 0 {
		t.Error("it started what was never started")
	}
	f.must(f.server.AddSite(t.Context(), f.vhost()))
	f.must(f.server.Stop(t.Context()))
	if f.mend() || f.status().Nginx.PID != 0 {
		t.Error("it started what was stopped on purpose")
	}
	f.must(f.server.Start(t.Context()))
	f.must(syscall.Kill(f.status().Nginx.PID, syscall.SIGKILL))
	f.eventually("nginx is gone", func() bool { return f.status().Nginx.PID == 0 })
	if !f.mend() {
		t.Error("it does not mend what was started again")
	}
}

// Killed at any point of writing, the sites before go on, and the next change
// leaves nothing of it behind.
func TestServer_AddSite_KilledWhileWriting(t *testing.T) {
	f := serve(t)
	other := Vhost{SiteID: 8, URI: "other.example.org", Dir: f.site}
	for _, d := range []*daemon{f.server.nginx(), f.server.php()} {
		version, err := d.tree.current()
		f.must(err)
		// Half written; complete but not in force; its link not yet in place.
		f.write(filepath.Join(d.tree.folder("1111111111111111")+".new", commonFile), "half of")
		f.write(filepath.Join(d.tree.folder("2222222222222222"), commonFile), "nonsense;")
		f.must(os.Symlink("nowhere", d.tree.link+".new"))
		if a := f.send("GET", "/", ""); a.status != 200 || !f.status().Healthy() {
			t.Errorf("%s: got %d", d.name, a.status)
		}
		if f.mend() {
			t.Errorf("%s: nothing that runs was hurt", d.name)
		}
		if now, err := d.tree.current(); err != nil || now != version {
			t.Errorf("%s: got %s, %v", d.name, now, err)
		}
	}
	f.write(f.server.path("gate", "0000.php.new"), "<?php")
	f.must(f.server.AddSite(t.Context(), other))
	f.must(f.server.RemoveSite(t.Context(), 8))
	for _, d := range []*daemon{f.server.nginx(), f.server.php()} {
		if left, _ := filepath.Glob(d.tree.link + "*"); len(left) != 2 {
			t.Errorf("left over: %v", left)
		}
	}
	if left, _ := filepath.Glob(f.server.path("gate", "*")); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

// Killed after the swap and before the reload: what runs goes on, and Mend makes
// it what the disk says.
func TestServer_Mend_KilledBeforeReload(t *testing.T) {
	f := serve(t)
	account, err := f.server.account()
	f.must(err)
	both := siteList{7: f.vhost(), 8: {SiteID: 8, URI: "other.example.org", Dir: f.site}}
	content, err := f.server.nginxFiles(account, both)
	f.must(err)
	version, text, err := content.versioned()
	f.must(err)
	f.must(f.server.nginx().tree.write(version, text))
	f.must(f.server.nginx().tree.use(version))
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if !f.mend() || !f.status().Healthy() || f.status().Sites != 2 {
		t.Errorf("status %+v", f.status())
	}
	if a, err := f.try("GET", "other.example.org", "/", ""); err != nil || a.status != 200 {
		t.Errorf("got %d, %v", a.status, err)
	}
}

func TestServer_AddSite_BadPool(t *testing.T) {
	f := serve(t)
	before := f.status()
	account, err := f.server.account()
	f.must(err)
	ours, err := f.server.phpFiles(account, siteList{7: f.vhost()})
	f.must(err)
	err = f.server.php().apply(t.Context(), func(version string) (files, error) {
		content, err := ours(version)
		if err == nil {
			content[commonFile] += "\n[site8]\nlisten = " + f.server.path("run", "php-8.sock") + "\npm = whatever\n"
		}
		return content, err
	})
	if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), "pm") {
		t.Errorf("got %v", err)
	}
	if after := f.status(); after != before {
		t.Errorf("status was %+v, is %+v", before, after)
	}
	if a := f.send("POST", "/", "x"); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
}

// The disk is full while a site is added: the others go on, also after a restart
// of the daemons, and with room again all is as it should be.
func TestServer_AddSite_DiskFull(t *testing.T) {
	f := prepare(t)
	fill, free := f.smallDisk(f.config.Dir)
	f.must(f.server.AddSite(t.Context(), f.vhost()))
	version, err := f.server.nginx().tree.current()
	f.must(err)
	fill()
	other := Vhost{SiteID: 8, URI: "other.example.org", Dir: f.site}
	if err := f.server.AddSite(t.Context(), other); err == nil {
		t.Error("a full disk is no obstacle")
	}
	if now, err := f.server.nginx().tree.current(); err != nil || now != version {
		t.Errorf("version %s, %v", now, err)
	}
	if status := f.status(); !status.Healthy() || status.Sites != 1 {
		t.Errorf("status %+v", status)
	}
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	free()
	f.must(f.server.AddSite(t.Context(), other))
	if left, _ := filepath.Glob(f.server.nginx().tree.link + "*"); len(left) != 2 {
		t.Errorf("left over: %v", left)
	}
}

// smallDisk puts a small disk at dir. Who may not mount gets a limit on the size
// of files, which makes the same writes fail.
func (f *fixture) smallDisk(dir string) (fill, free func()) {
	f.Helper()
	f.must(os.MkdirAll(dir, 0o755))
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0755")
	if errors.Is(err, syscall.EPERM) {
		var limit syscall.Rlimit
		f.must(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
		free = func() { f.must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)) }
		f.Cleanup(free)
		return func() {
			signal.Ignore(syscall.SIGXFSZ)
			f.must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 0, Max: limit.Max}))
		}, free
	}
	f.must(err)
	f.Cleanup(func() {
		for _, d := range []*daemon{f.server.nginx(), f.server.php()} {
			_ = d.stop(f.Context())
		}
		f.must(syscall.Unmount(dir, syscall.MNT_DETACH))
	})
	big := filepath.Join(dir, "big")
	return func() {
			output, err := exec.Command("dd", "if=/dev/zero", "of="+big, "bs=4096").CombinedOutput()
			if err == nil {
				f.Fatalf("the disk does not fill: %s", output)
			}
		}, func() {
			f.must(os.Remove(big))
		}
}

// Uploads are files, whatever they are called, and what is private is asked of
// Drupal alone.
func TestVhost_Files(t *testing.T) {
	f := serve(t)
	base := "/sites/" + host + "/files"
	for _, name := range []string{"evil.php", "evil.PHP", "evil.phtml", "evil.php.jpg", "deep/evil.php7", "evil.phar"} {
		f.write(filepath.Join(f.docroot("v1"), base, name), `<?php echo "EXEC" . "UTED";`)
		if a := f.send("GET", base+"/"+name, ""); strings.Contains(a.body, "EXECUTED") || a.status != 404 {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	for _, name := range []string{".htaccess", ".htpasswd", "deep/.htaccess"} {
		f.write(filepath.Join(f.docroot("v1"), base, name), "SECRET")
		if a := f.send("GET", base+"/"+name, ""); a.status != 404 {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	f.write(filepath.Join(f.docroot("v1"), "system/files/letter.pdf"), "SECRET")
	for _, path := range []string{
		base + "/styles/large/public/2026-11/a.jpg.webp?itok=abc", base + "/css/css_abc.css", "/system/files/letter.pdf", "/system/files/dump.sql",
		"/system/files/notes.txt", "/de/system/files/a.php", "/pt-br/system/files/styles/thumbnail/private/a.jpg",
	} {
		a := f.send("GET", path, "")
		if a.status != 200 || !strings.Contains(a.body, "release=v1") {
			t.Errorf("%s: Drupal is not asked: %d %s", path, a.status, a.body)
		}
	}
	f.write(filepath.Join(f.site, "private", "letter.pdf"), "SECRET")
	for _, path := range []string{"/private/letter.pdf", "/../private/letter.pdf", base + "/../../../private/letter.pdf", base + "%2f..%2f..%2fprivate/letter.pdf"} {
		if a := f.send("GET", path, ""); strings.Contains(a.body, "SECRET") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	if a := f.send("GET", base+"/missing.txt", ""); !strings.Contains(a.body, "release=v1") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}
