package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// The update type manual: platforms are registered from folders and the target is
// chosen by hand; locking and buttons are the same.
func TestManual(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	b, v, p := h.browser(), h.visitor(), h.person("second")
	code := filepath.Join(h.dir, "code")
	for _, version := range []string{tidepool.V1058, tidepool.V1062} {
		if err := tidepool.Write(filepath.Join(code, version), version); err != nil {
			t.Fatal(err)
		}
	}
	b.signIn(h)
	b.visit("/distributions/new")
	b.fill("name", "By hand")
	b.click("the type manual", `document.querySelector('input[value=manual]').closest('label')`)
	b.examine("manual")
	b.fill("manual.docroot", "../web")
	b.press("Add and check now")
	b.until(10*time.Second, "the docroot is refused", `document.getElementById('manual-docroot-e')`)
	b.fill("manual.docroot", "")
	b.press("Add and check now")
	b.lands(`^/distributions/1$`)
	b.examine("empty")

	register := func(path string) {
		t.Helper()
		b.visit("/distributions/1")
		b.press("Register a platform")
		b.lands(`/platforms/new$`)
		b.fill("path", path)
		b.press("Register platform")
	}
	for _, path := range []string{"../etc", "/srv/../etc"} {
		register(path)
		b.until(10*time.Second, path+" is refused", `document.getElementById('path-e')`)
		if got := b.value("path"); got != path {
			t.Errorf("%q is typed, after the error it is %q", path, got)
		}
	}
	b.examine("refused")
	register(filepath.Join(code, tidepool.V1058))
	b.lands(`^/platforms/1$`)
	b.seesWithin(30*time.Second, "Make it the upgrade target")
	b.examine("registered")
	if _, err := os.Stat(filepath.Join(code, tidepool.V1058, "web", "index.php")); err != nil {
		t.Errorf("the registered folder was not left alone: %v", err)
	}
	b.press("Make it the upgrade target")
	b.sees("This is the upgrade target now")
	sites := p.install(1, "standard", harbour, lagoon)
	v.comment(harbour, "Moored by hand")

	register(filepath.Join(code, tidepool.V1062))
	b.lands(`^/platforms/2$`)
	b.seesWithin(30*time.Second, "Make it the upgrade target")
	if p.site(sites[0]) != "current" {
		t.Error("a site is behind before anybody chose the new target")
	}
	b.press("Make it the upgrade target")
	b.sees("This is the upgrade target now")
	p.quiet()
	lines := p.platforms(1)
	if len(lines) != 2 || !lines[0].target || lines[0].locked || lines[1].target || !lines[1].locked {
		t.Errorf("the second platform should be the target and the first be locked: %+v", lines)
	}
	m := &mainJob{t: t, h: h, b: b, p: p, v: v, j: h.journal()}
	m.buttons(map[string]bool{"/platforms/1/upgrade": true, "/sites/1/upgrade": true, "/sites/2/upgrade": true})
	m.lockedPlatform()
	b.visit("/platforms/1")
	b.press("Upgrade 2 sites to 10.6.2")
	b.sees("Packages changed")
	b.pressOn("#confirm")
	b.lands(`^/tasks/\d+$`)
	b.until(time.Minute, "the batch has succeeded", `document.querySelector('#state .badge').dataset.s === 'succeeded'`)
	v.serves(harbour, "tidepool 10.6.2", "Moored by hand")
	v.serves(lagoon, "tidepool 10.6.2")
	m.buttons(nil)
	b.open("/queues")
	if !strings.Contains(b.text(`document.querySelector('main').innerText`), "by hand") {
		t.Error("the Queues page does not say that this type has no checks")
	}
}
