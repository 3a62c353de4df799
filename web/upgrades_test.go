package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hefring/models"
	"hefring/web/webtest"
)

func TestUpgradeButton_OnlyWhereSomethingIsBehind(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for path, want := range map[string]bool{
		"/sites/31": false, // a task waits on it already
		"/sites/38": true, "/sites/33": true, "/sites/32": false, "/sites/34": false, "/sites/35": false, "/sites/36": false, "/sites/37": false,
		"/platforms/12": true, "/platforms/11": false, "/platforms/13": false, "/platforms/14": false, "/platforms/21": false,
	} {
		head, _, _ := strings.Cut(b.get(path).body, `id="facts"`)
		if got := strings.Contains(head, `id="upgrade"`); got != want {
			t.Errorf("%s has an Upgrade button: %t, want %t", path, got, want)
		}
	}
	b.get("/sites/38").has(t, "Upgrade to 10.6.2")
	b.get("/platforms/12").has(t, "Upgrade 3 sites to 10.6.2")
}

func TestPlan_Page_SaysWhatChanges(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	page := b.get("/sites/31/upgrade")
	page.has(t, "10.5.8 · c07d1e2", "10.6.2 · 4f2a91c", "drupal/webform", "museum_events_update_10003", `name="target" value="11"`, "Upgrade to 10.6.2", "<html")
	part := b.get("/sites/31/upgrade", "HX-Request", "true", "HX-Target", "dialog")
	part.has(t, "<dialog", `name="target" value="11"`)
	part.hasNot(t, "<html", "<main")
	b.get("/sites/33/upgrade").has(t, "not asked yet", "Ask Drush first")
	b.get("/sites/34/upgrade").has(t, "This site is held.")
	b.get("/sites/34/upgrade").hasNot(t, `name="target"`)
	b.get("/platforms/12/upgrade").has(t, "Upgrade 3 sites to 10.6.2", "museum.example.org", `name="target" value="11"`)
}

func TestPlan_Blocked_HasNoButton(t *testing.T) {
	f := webtest.Sample()
	f.Comparisons[31] = models.Comparison{SiteID: 31, FromPlatformID: 12, PlatformID: 11, Blockers: []string{"The module rdf is on, and the target has none."}}
	got := signedIn(t, f).get("/sites/31/upgrade")
	got.has(t, "The module rdf is on", "It cannot go as it is.")
	got.hasNot(t, `name="target"`)
}

func TestPlan_OldComparison_IsNotShown(t *testing.T) {
	f := webtest.Sample()
	f.Comparisons[31] = models.Comparison{SiteID: 31, FromPlatformID: 12, PlatformID: 99, Updates: []models.PendingUpdate{{Name: "stale_update_1"}}}
	got := signedIn(t, f).get("/sites/31/upgrade")
	got.has(t, "not asked yet")
	got.hasNot(t, "stale_update_1")
}

func TestCompare_Asked_IsFollowed(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	got := b.post("/sites/33/compare", nil)
	if got.status != http.StatusSeeOther || got.location() != "/sites/33/upgrade?compare=106" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	b.get(got.location()).has(t, "Drush is being asked", `hx-get="/sites/33/upgrade?compare=106"`, `hx-trigger="every 2s"`)
	f.Finish(webtest.CompareTask, models.TaskFailed, "PHP is missing.")
	after := b.get(got.location())
	after.has(t, "Drush could not be asked: PHP is missing.")
	after.hasNot(t, "every 2s\"\n")
}

func TestUpgrade_Confirmed_LeadsToItsTask(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	if got := b.post("/sites/31/upgrade", url.Values{"target": {"11"}}); got.location() != "/tasks/103" {
		t.Errorf("site: %d to %q", got.status, got.location())
	}
	if got := b.post("/platforms/12/upgrade", url.Values{"target": {"11"}}); got.location() != "/tasks/104" {
		t.Errorf("platform: %d to %q", got.status, got.location())
	}
}

func TestUpgrade_SomebodyWasQuicker_LeadsToTheirTask(t *testing.T) {
	f := webtest.Sample()
	f.Fail["UpgradeSite"] = models.Errorf(models.Conflict, "A task works on this site.")
	f.Fail["UpgradePlatform"] = f.Fail["UpgradeSite"]
	f.RunningOnSite[31], f.RunningOnPlats[12] = 112, 104
	b := signedIn(t, f)
	if got := b.post("/sites/31/upgrade", url.Values{"target": {"11"}}); got.location() != "/tasks/112" {
		t.Fatalf("site: %d to %q", got.status, got.location())
	}
	b.get("/tasks/112").has(t, "Nothing was started a second time.")
	if got := b.post("/platforms/12/upgrade", url.Values{"target": {"11"}}); got.location() != "/tasks/104" {
		t.Errorf("platform: %d to %q", got.status, got.location())
	}
}

func TestUpgrade_TargetMovedOn_AsksAgain(t *testing.T) {
	f := webtest.Sample()
	f.Fail["UpgradeSite"] = models.Errorf(models.Conflict, "The target is 10.6.3 by now. Look at what changes, then press again.")
	b := signedIn(t, f)
	if got := b.post("/sites/31/upgrade", url.Values{"target": {"10"}}); got.location() != "/sites/31/upgrade" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	b.get("/sites/31/upgrade").has(t, "The target is 10.6.3 by now.")
}

func TestDashboard_Empty_SaysWhatToDo(t *testing.T) {
	f := &webtest.Fleet{Types: webtest.Types(), Users: map[string]string{"admin": "correct horse"}}
	b := signedIn(t, f)
	b.get("/").has(t, "Nothing to keep up to date yet", "Add a distribution", "Let the first platform build", "Install a site")
	for _, path := range []string{"/distributions", "/platforms", "/sites", "/tasks", "/queues", "/sites/new", "/distributions/new"} {
		if got := b.get(path); got.status != http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	b.get("/sites/new").has(t, "No platform can take a new site.")
}

func TestDashboard_Decisions_ComeWithTheirButtons(t *testing.T) {
	got := signedIn(t, webtest.Sample()).get("/")
	got.has(t, "5 things need a decision", "Upgrade 14 sites", "Open build log", "Build again", "See what failed", "Source needs you", `href="/tasks/102"`,
		"5<span class=\"vh\"> waiting", "28 min ago", "<time datetime=", `hx-trigger="every 2s, refresh"`)
}

func TestPages_EveryState_IsDrawn(t *testing.T) {
	for state := range models.SiteTransitions() {
		f := webtest.Sample()
		f.Sits[0].State, f.Sits[0].Reason = state, "Because."
		b := signedIn(t, f)
		for _, path := range []string{"/sites/31", "/sites", "/sites/31/upgrade"} {
			if got := b.get(path); got.status != http.StatusOK {
				t.Errorf("site %s: %s gives %d", state, path, got.status)
			}
		}
	}
	for state := range models.PlatformTransitions() {
		f := webtest.Sample()
		f.Plats[2].State, f.Plats[2].Reason = state, "Because."
		b := signedIn(t, f)
		for _, path := range []string{"/platforms/12", "/platforms", "/distributions/1"} {
			if got := b.get(path); got.status != http.StatusOK {
				t.Errorf("platform %s: %s gives %d", state, path, got.status)
			}
		}
	}
	for state := range models.TaskTransitions() {
		f := webtest.Sample()
		for i := range f.Jobs {
			f.Jobs[i].State = state
		}
		for i, upgrade := range []models.UpgradeState{models.UpgradeFatal, models.UpgradeCancelled, models.UpgradeQueued} {
			f.Moves[i].State = upgrade
		}
		b := signedIn(t, f)
		for _, path := range []string{"/tasks/101", "/tasks/102", "/tasks/103", "/tasks/104", "/tasks/113", "/tasks", "/"} {
			if got := b.get(path); got.status != http.StatusOK {
				t.Errorf("task %s: %s gives %d", state, path, got.status)
			}
		}
	}
}
