package e2e_test

import (
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// Everything can be done without JavaScript: forms with errors and without, the
// question before an upgrade, and logs that grow on reload.
func TestNoJavaScript(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	b, v, p, repo := h.browser(), h.visitor(), h.person("second"), newForge(t).repo("tidepool")
	repo.push(tidepool.V1058, talkative)
	b.scripting(false)
	b.signIn(h)
	if b.text(`typeof window.htmx`) != "undefined" {
		t.Fatal("JavaScript runs")
	}
	b.examine("empty")
	b.press("Add a distribution")
	b.lands(`^/distributions/new$`)
	b.fill("name", "Tidepool")
	b.fill("git.url", "-u evil")
	b.fill("git.subdirectory", "../..")
	b.press("Add and check now")
	b.until(10*time.Second, "the address is refused", `document.getElementById('git-url-e')`)
	if b.value("git.url") != "-u evil" || b.value("git.subdirectory") != "../.." || b.wrong("git-subdirectory") == "" {
		t.Error("an error is missing, or what was typed is lost")
	}
	b.examine("refused")
	b.fill("git.url", repo.url)
	b.fill("git.subdirectory", "")
	b.pressOn(`[name="git.composer"]`)
	b.press("Add and check now")
	b.lands(`^/distributions/1$`)

	b.reloads(30*time.Second, "/distributions/1", "Compiling part 1 of 16")
	if strings.Contains(b.text(`document.body.innerText`), "Compiling part 16 of 16") {
		t.Error("the log was not seen while it grew")
	}
	b.examine("building")
	b.reloads(time.Minute, "/distributions/1", "Ready")
	b.examine("ready")

	b.visit("/sites/new?platform=1")
	b.fill("uri", "Not A Host")
	b.press("Install site")
	b.until(10*time.Second, "the name is refused", `document.getElementById('uri-e')`)
	b.fill("uri", harbour)
	b.choose("profile", "standard")
	b.press("Install site")
	b.lands(`^/sites/1$`)
	b.reloads(time.Minute, "/sites/1", "Current")
	b.examine("installed")
	v.comment(harbour, "Without any script")

	b.visit("/queues")
	b.fill("#git-every", "0")
	b.press("Save Git repository")
	b.sees("Choose between 5 seconds and 7 days")
	b.press("Pause Git repository")
	b.sees("Paused")
	b.press("Resume Git repository")
	b.sees("Resumed")
	p.update(repo, 1, tidepool.V1062, "10.6.2")
	p.quiet()
	b.visit("/sites/1")
	b.press("Hold")
	b.fill("reason", "The exhibition opens on Friday")
	b.press("Hold this site")
	b.sees("The exhibition opens on Friday")
	b.press("Release")
	b.sees("Released")
	b.press("Upgrade to 10.6.2")
	b.lands(`^/sites/1/upgrade$`)
	b.sees("10.5.8")
	b.sees("system_update_10600")
	b.examine("")
	b.pressOn("#confirm")
	task := b.lands(`^/tasks/\d+$`)
	b.reloads(time.Minute, task, "Succeeded: "+harbour)
	b.examine("succeeded")
	if lines := b.text(`document.querySelectorAll('#steps .ln').length`); lines == "0" {
		t.Error("the task's page has no log")
	}
	v.serves(harbour, "tidepool 10.6.2", "Without any script")
	for _, path := range []string{"/", "/distributions", "/distributions/1", "/distributions/1/edit", "/platforms", "/platforms/1", "/sites", "/sites/1", "/tasks", "/queues"} {
		b.open(path)
	}
	b.press("Dark")
	b.until(5*time.Second, "the theme is dark", `document.documentElement.dataset.theme === 'dark'`)
}

// reloads opens a page again and again until it says something.
func (b *browser) reloads(limit time.Duration, path, text string) {
	b.t.Helper()
	eventually(b.t, limit, path+" says "+text, func() bool {
		b.visit(path)
		return strings.Contains(b.text(`document.body.innerText`), text)
	})
}
