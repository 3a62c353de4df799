package e2e_test

import (
	"testing"
	"time"

	"hefring/internal/testpg"
	"hefring/internal/tidepool"
)

// The short main job with the control plane on PostgreSQL.
func TestPostgres(t *testing.T) {
	t.Parallel()
	h := newHefring(t, testpg.Empty(t))
	b, v, p, repo := h.browser(), h.visitor(), h.person("second"), newForge(t).repo("tidepool")
	repo.push(tidepool.V1058, talkative)
	b.signIn(h)
	b.press("Add a distribution")
	b.lands(`^/distributions/new$`)
	b.fill("name", "Tidepool")
	b.fill("git.url", repo.url)
	b.pressOn(`[name="git.composer"]`)
	b.press("Add and check now")
	b.lands(`^/distributions/1$`)
	b.seesWithin(30*time.Second, "Compiling part 3 of 16")
	b.seesWithin(time.Minute, "Ready")
	if lines := b.added("line"); len(lines) < 8 {
		t.Errorf("only %d lines of the build arrived live", len(lines))
	}
	target := p.awaitTarget(1, "10.5.8")
	sites := p.install(target.id, "standard", harbour, lagoon)
	v.comment(harbour, "Moored safely")

	b.visit("/queues")
	b.fill("#git-every", "5")
	b.choose("#git-unit", b.texts(`[...` + field("#git-unit") + `.options].map((o) => o.value)`)[0])
	b.press("Save Git repository")
	b.sees("is looked at every 5 s")
	repo.push(tidepool.V1062)
	p.awaitTarget(1, "10.6.2") // by itself
	p.quiet()
	b.visit("/sites/1")
	b.press("Upgrade to 10.6.2")
	b.sees("system_update_10600")
	reader := v.read(harbour, "Moored safely", "10.5.8", "10.6.2")
	b.pressOn("#confirm")
	b.lands(`^/tasks/\d+$`)
	b.seesWithin(time.Minute, "Succeeded: "+harbour)
	reader.finish(t)
	if changes := b.added("step"); len(changes) < 5 {
		t.Errorf("only %d changes of steps arrived live: %v", len(changes), changes)
	}
	v.serves(harbour, "tidepool 10.6.2", "Moored safely")
	v.comment(harbour, "After the upgrade")

	// A worker that is lost during an upgrade of the other site.
	task := p.upgrade(sites[1]).id()
	eventually(t, 30*time.Second, "the upgrade runs", func() bool { return p.task(task) == "running" })
	h.kill()
	h.start()
	if got := p.awaitTask(task, time.Minute); got != "recovered" && got != "succeeded" {
		t.Errorf("after a kill the upgrade ended %s", got)
	}
	v.serves(lagoon, "tidepool 10.")
	v.comment(lagoon, "After the kill")
	for _, path := range []string{"/", "/distributions", "/distributions/1", "/platforms", "/platforms/1", "/sites", "/sites/1", "/tasks", "/tasks/1", "/queues"} {
		b.open(path)
	}
}
