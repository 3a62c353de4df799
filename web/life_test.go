package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/webtest"
)

func TestSitePage_Actions_FitItsState(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for path, want := range map[string]map[string]bool{
		"/sites/32": {"login": true, "backup": true, "cron": true, "disable": true, "enable": false, "rollback": true, "delete": true, "verify": true},
		"/sites/40": {"login": false, "backup": true, "cron": false, "disable": false, "enable": true, "rollback": false, "delete": true, "verify": true},
		"/sites/36": {"login": false, "backup": true, "cron": false, "disable": false, "enable": false, "rollback": false, "delete": true},
		"/sites/35": {"login": false, "backup": false, "delete": false},
		"/sites/33": {"rollback": false}, // its last upgrade was put back by itself
	} {
		page := b.get(path).body
		for id, there := range want {
			if got := strings.Contains(page, `id="`+id+`"`); got != there {
				t.Errorf("%s has %s: %t, want %t", path, id, got, there)
			}
		}
	}
	b.get("/sites/32").has(t, "www.gallery.example.org", "sent to gallery.example.org", "on Main database", `href="/databases/1"`, "Norwegian Bokmål", "every hour",
		"required; HTTP is sent to HTTPS", "Every day; the newest 14 of the schedule stay.")
	b.get("/sites/34").has(t, "Held until ")
	b.get("/sites/40").has(t, "Disabled.", "No backup yet.")
	b.get("/sites/38").has(t, "Rollback ", "taken back")
}

func TestSitePage_Deleted_ShowsItsBackups(t *testing.T) {
	f := webtest.Sample()
	f.Sits[1].State = models.SiteDeleted
	page := signedIn(t, f).get("/sites/32")
	page.has(t, "Deleted.", "/sites/clone?backup=51")
	page.hasNot(t, `id="restore-51"`, `id="backup"`, `id="login"`, `id="delete"`)
}

func TestSitePage_DeletionFailed_CanBeRepeated(t *testing.T) {
	f := webtest.Sample()
	f.Sits[1].State = models.SiteDeleting
	page := signedIn(t, f).get("/sites/32")
	page.has(t, "Its deletion did not end.", `id="delete"`)
	page.hasNot(t, `id="backup"`, `id="login"`)
}

// TestLogin_Pressed_LeadsThereOnce checks that the link stands in the one answer
// to the button, and that browsers let the button lead there.
func TestLogin_Pressed_LeadsThereOnce(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	page := b.get("/sites/31")
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' http://archive.example.org:* https://archive.example.org:*;") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("policy %q", csp)
	}
	if csp := b.get("/sites").header.Get("Content-Security-Policy"); csp != policy {
		t.Errorf("another page has the policy %q", csp)
	}
	got := b.post("/sites/31/login", nil)
	if got.status != http.StatusSeeOther || got.location() != webtest.LoginLink || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d to %q, %q", got.status, got.location(), got.header.Get("Cache-Control"))
	}
	b.get("/sites/31").hasNot(t, "s3cr3t")
	if strings.Contains(b.logs.String(), "s3cr3t") {
		t.Error("the link stands in the log")
	}
	if got := b.get("/sites/31/login"); got.status != http.StatusMethodNotAllowed {
		t.Errorf("without a form: status %d", got.status)
	}
	f.Fail["LoginToSite"] = models.Errorf(models.Unavailable, "Drush did not answer within 60 s.")
	if got := b.post("/sites/31/login", nil); got.location() != "/sites/31" {
		t.Errorf("refused: to %q", got.location())
	}
	b.get("/sites/31").has(t, "Drush did not answer within 60 s.")
}

func TestSitePage_OddAddress_KeepsThePolicy(t *testing.T) {
	f := webtest.Sample()
	f.Sits[0].URI = "evil.example.org; script-src *"
	if csp := signedIn(t, f).get("/sites/31").header.Get("Content-Security-Policy"); csp != policy {
		t.Errorf("policy %q", csp)
	}
}

func TestHold_WithADay_EndsByItself(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	day := now().AddDate(0, 0, 10).Format(time.DateOnly)
	b.post("/sites/31/hold", url.Values{"reason": {" Exhibition "}, "until": {day}})
	if !slices.Equal(f.Said, []string{"Exhibition", day + "T00:00:00Z"}) {
		t.Errorf("the fleet was told %q", f.Said)
	}
	b.post("/sites/31/hold", url.Values{"reason": {"x"}})
	if !slices.Equal(f.Said, []string{"x", "never"}) {
		t.Errorf("the fleet was told %q", f.Said)
	}
	for _, wrong := range []string{"2020-01-01", "soon", "2026-13-40", "9999999-01-01"} {
		b.post("/sites/31/hold", url.Values{"reason": {"x"}, "until": {wrong}})
		if page := b.get("/sites/31").body; !strings.Contains(page, "Choose a day to come") && !strings.Contains(page, "Use a day such as") {
			t.Errorf("%s is not refused", wrong)
		}
	}
	if n := f.Called("HoldSite"); n != 2 {
		t.Errorf("held %d times", n)
	}
}

// TestQuestions_AsPageAndDialog checks that every question is a page of its own
// and a dialog for htmx.
func TestQuestions_AsPageAndDialog(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for path, parts := range map[string][]string{
		"/sites/32/backup":     {"Back up gallery.example.org?", `name="note"`, `name="keep"`, `action="/sites/32/backup"`},
		"/sites/32/disable":    {"Disable gallery.example.org?", `action="/sites/32/disable"`},
		"/sites/32/delete":     {"Delete gallery.example.org?", `name="confirm"`, `id="ask-backup" name="backup" value="1" checked`},
		"/sites/32/rollback":   {"Going back loses what was written since", "51 rows in 3 tables", "Of 1 table not all can be told.", "webform_submission", "it has no column that grows", `name="upgrade" value="203"`, "Possible until", "Roll back to 10.5.8"},
		"/backups/51/restore":  {"Restore gallery.example.org from the backup of", `<option value="11" selected>The present one: agency-base-10.6.2-4f2a91c`, `action="/backups/51/restore"`},
		"/backups/54/restore":  {`<option value="12">The backup’s own: agency-base-10.5.8-c07d1e2, Drupal 10.5.8`},
		"/backups/51/delete":   {"Its archive of 61 MB is removed.", `action="/backups/51/delete"`},
		"/platforms/13/delete": {"Delete agency-base-d91c07e?", `action="/platforms/13/delete"`},
		"/databases/1/delete":  {"Delete Main database?", `action="/databases/1/delete"`},
	} {
		page := b.get(path)
		page.has(t, append(parts, "<html", "<h1>")...)
		part := b.get(path, "HX-Request", "true", "HX-Target", "dialog")
		part.has(t, append(parts, "<dialog", "data-close", `name="_csrf"`)...)
		part.hasNot(t, "<html", "<main")
	}
	b.get("/backups/51/restore").hasNot(t, "The backup’s own")
}

func TestRollback_CodeMode_LosesNothing(t *testing.T) {
	f := webtest.Sample()
	plan := f.Backwards[32]
	plan.Loss = models.Loss{None: true}
	f.Backwards[32] = plan
	b := signedIn(t, f)
	page := b.get("/sites/32/rollback")
	page.has(t, "Nothing is lost: both versions use the same database.")
	page.hasNot(t, "<table", "kept as a backup")
	if got := b.post("/sites/32/rollback", url.Values{"upgrade": {"203"}}); got.location() != "/tasks/121" || !slices.Equal(f.Said, []string{"32", "203"}) {
		t.Errorf("led to %q, told %q", got.location(), f.Said)
	}
	f.Fail["RollbackSite"] = models.Errorf(models.Conflict, "A task works on it.")
	if got := b.post("/sites/32/rollback", url.Values{"upgrade": {"203"}}); got.location() != "/sites/32" {
		t.Errorf("refused: to %q", got.location())
	}
	b.get("/sites/32").has(t, "A task works on it.")
}

func TestRollback_NothingToGoBackTo_IsSaid(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	if got := b.get("/sites/31/rollback"); got.location() != "/sites/31" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	b.get("/sites/31").has(t, "There is nothing to go back to")
	if got := b.get("/sites/9999/rollback"); got.status != http.StatusNotFound {
		t.Errorf("no such site: %d", got.status)
	}
}

func TestRollback_OfARestore_HasItsOwnWords(t *testing.T) {
	f := webtest.Sample()
	plan := f.Backwards[32]
	plan.Upgrade.Kind, plan.From = models.KindRestore, plan.To
	f.Backwards[32] = plan
	signedIn(t, f).get("/sites/32/rollback").has(t, "Take the restore of gallery.example.org back?", "Take the restore back</button>", "restored ")
}

func TestLoss_Quote_TellsWhatItKnows(t *testing.T) {
	for want, tables := range map[string][]models.TableLoss{
		"so nothing is lost":           nil,
		"Of 2 tables it cannot be":     {{Table: "a", Unknown: true}, {Table: "b", Unknown: true}},
		"1 row in 1 table.":            {{Table: "a", Removed: 1}},
		"3 rows in 1 table. Of 1 tabl": {{Table: "a", Added: 1, Changed: 2, Unknown: true}},
	} {
		f := webtest.Sample()
		plan := f.Backwards[32]
		plan.Loss.Tables = tables
		f.Backwards[32] = plan
		signedIn(t, f).get("/sites/32/rollback").has(t, want)
	}
}

func TestDeleteSite_Confirm_MustBeTheAddress(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	got := b.post("/sites/32/delete", url.Values{"confirm": {"gallery"}})
	if got.status != http.StatusUnprocessableEntity || f.Called("DeleteSite") != 0 {
		t.Fatalf("status %d", got.status)
	}
	got.has(t, `value="gallery"`, "Type gallery.example.org to say that you mean this site.", `aria-describedby="ask-confirm-e"`, "<h1>")
	got.hasNot(t, `name="backup" value="1" checked`)
	if got := b.post("/sites/32/delete", url.Values{"confirm": {" Gallery.example.org "}, "backup": {"1"}}); got.location() != "/tasks/124" || !slices.Equal(f.Said, []string{"gallery.example.org", "true"}) {
		t.Errorf("led to %q, told %q", got.location(), f.Said)
	}
	f.Fail["DeleteSite"] = models.Errorf(models.Conflict, "It is being upgraded.")
	if got := b.post("/sites/32/delete", url.Values{"confirm": {"gallery.example.org"}}); got.location() != "/sites/32" {
		t.Errorf("refused: to %q", got.location())
	}
}

func TestBackups_Buttons_SayWhatIsMeant(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	for _, c := range []struct {
		path, method, back string
		form               url.Values
		said               []string
	}{
		{"/sites/32/backup", "BackupSite", "/sites/32", url.Values{"note": {" Before "}, "keep": {"1"}}, []string{"Before", "true"}},
		{"/backups/51/keep", "KeepBackup", "/sites/32", url.Values{"keep": {"1"}}, []string{"true"}},
		{"/backups/52/keep", "KeepBackup", "/sites/32", url.Values{"keep": {"0"}}, []string{"false"}},
		{"/backups/51/delete", "DeleteBackup", "/sites/32", nil, nil},
		{"/backups/54/restore", "RestoreSite", "/tasks/122", url.Values{"platform": {"12"}}, []string{"54", "12"}},
	} {
		before := f.Called(c.method)
		got := b.post(c.path, c.form)
		if got.status != http.StatusSeeOther || got.location() != c.back || f.Called(c.method) != before+1 {
			t.Errorf("%s: status %d to %q", c.path, got.status, got.location())
		}
		if c.said != nil && !slices.Equal(f.Said, c.said) {
			t.Errorf("%s: the fleet was told %q", c.path, f.Said)
		}
		f.Fail[c.method] = models.Errorf(models.Conflict, "Something works on it.")
		if got := b.post(c.path, c.form); got.location() != "/sites/32" {
			t.Errorf("%s refused: to %q", c.path, got.location())
		}
		b.get("/sites/32").has(t, "Something works on it.")
		delete(f.Fail, c.method)
	}
	page := b.get("/sites/32")
	page.has(t, "Before the new design", "by schedule", "what a rollback dropped", "The disk of the backups is full", "61 MB", `id="restore-51"`, "Being made")
	page.hasNot(t, `id="restore-53"`, `id="keep-53"`, `id="drop-55"`)
	if got := b.get("/backups/51"); got.location() != "/sites/32#backup-51" {
		t.Errorf("a backup leads to %q", got.location())
	}
	if got := b.post("/backups/999/delete", nil); got.status != http.StatusNotFound {
		t.Errorf("no such backup: %d", got.status)
	}
}

func TestSettings_Form_IsFilledAndRead(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/sites/32/settings").has(t, "www.gallery.example.org\ngallery.example.com", `id="redirect" name="redirect" value="1" checked`, `<option value="required" selected>`,
		`value="/etc/ssl/gallery.pem"`, "/\n/collection", `value="Gallery"`, `name="cron_every" value="1"`, `name="backup_every" value="1"`, `<option value="d" selected>`, `name="backup_keep" value="14"`)
	got := b.post("/sites/32/settings", url.Values{
		"aliases": {" WWW.gallery.example.org \r\n\r\nart.example.org"}, "redirect": {"1"}, "https": {"on"}, "certificate": {"/a.pem"}, "certificate_key": {"/a.key"},
		"probes": {"/\r\n/news"}, "probe_text": {" Art "}, "cron_every": {"15"}, "cron_unit": {"m"}, "backup_every": {""}, "backup_unit": {"d"}, "backup_keep": {"3"},
	})
	if got.location() != "/sites/32" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	in := f.Settings1
	if !slices.Equal(in.Aliases, []string{"www.gallery.example.org", "art.example.org"}) || !in.Redirect || in.HTTPS != models.HTTPSOn || in.Certificate != "/a.pem" || in.CertificateKey != "/a.key" ||
		!slices.Equal(in.Probes, []string{"/", "/news"}) || in.ProbeText != "Art" || in.CronEvery != 15*time.Minute || in.BackupEvery != 0 || in.BackupKeep != 3 {
		t.Errorf("the fleet got %+v", in)
	}
	b.get("/sites/32").has(t, "Saved.")
}

func TestSettings_NoNumber_IsPassedOnAsWrong(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	for _, form := range []url.Values{
		{"cron_every": {"often"}, "cron_unit": {"m"}},
		{"cron_every": {"5"}, "cron_unit": {"years"}},
		{"cron_every": {"-5"}, "cron_unit": {"m"}},
		{"backup_every": {"99999999999999999999"}, "backup_unit": {"d"}},
		{"backup_every": {"100000"}, "backup_unit": {"d"}},
		{"backup_keep": {"many"}},
		{"backup_keep": {"0"}},
	} {
		b.post("/sites/32/settings", form)
		if in := f.Settings1; min(in.CronEvery, in.BackupEvery, time.Duration(in.BackupKeep)) >= 0 {
			t.Errorf("%v: the fleet got %+v", form, in)
		}
	}
}

func TestSettings_Wrong_KeepsWhatWasTyped(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	f.Fail["ConfigureSite"] = models.InvalidField("aliases", "art.example.org is another site already.")
	got := b.post("/sites/32/settings", url.Values{"aliases": {"art.example.org"}, "probe_text": {"Typed"}})
	got.has(t, "art.example.org is another site already.", `value="Typed"`, `aria-describedby="aliases-e aliases-h"`)
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	if got := b.post("/sites/999/settings", nil); got.status != http.StatusNotFound {
		t.Errorf("no such site: %d", got.status)
	}
}

func TestClone_Form_FitsItsOrigin(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	site := b.get("/sites/clone?site=32")
	site.has(t, "<h1>Clone gallery.example.org</h1>", `name="site" value="32"`, `<option value="0" selected>The same: agency-base-10.6.2-4f2a91c`, `<option value="1" selected>Main database`, `placeholder="copy.gallery.example.org"`)
	site.hasNot(t, "SQLite, a file", ">Reports")
	locked := b.get("/sites/clone?site=31")
	locked.has(t, `<option value="0" selected>SQLite, a file of the site`, `<option value="11">agency-base-10.6.2-4f2a91c, Drupal 10.6.2`)
	locked.hasNot(t, "The same:")
	b.get("/sites/clone?backup=51").has(t, "<h1>Make a site from a backup</h1>", `name="backup" value="51"`, "The same: agency-base-10.6.2-4f2a91c", `<option value="1" selected>Main database`)
	b.get("/sites/clone?backup=54").hasNot(t, "The same:") // it is locked
	found := b.get("/sites/clone?task=123&folder=default")
	found.has(t, "<h1>Adopt a site</h1>", `name="task" value="123"`, `name="folder" value="default"`, "Nothing outside is changed.", `value="Town hall"`, "Drupal 10.6.2")
	found.hasNot(t, "The same:")
	bad := b.get("/sites/clone?task=123&folder=market.example.org")
	bad.has(t, "It cannot be adopted.", "have the prefix old_")
	bad.hasNot(t, `action="/sites/clone"`)
	for _, path := range []string{"/sites/clone", "/sites/clone?site=999", "/sites/clone?backup=999", "/sites/clone?task=123&folder=..", "/sites/clone?site=x"} {
		if got := b.get(path); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func TestClone_NoServerOfTheKind_IsSaid(t *testing.T) {
	f := webtest.Sample()
	f.Databases = nil
	got := signedIn(t, f).get("/sites/clone?site=32")
	got.has(t, "no server of that kind is registered", "/databases/new")
	got.hasNot(t, `action="/sites/clone"`)
}

func TestClone_Posted_MakesOne(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	form := url.Values{"task": {"123"}, "folder": {"default"}, "uri": {" Town-Hall.example.org "}, "title": {"Town hall"}, "platform": {"11"}, "database": {"1"}, "_once": {"tok"}}
	one, two := b.post("/sites/clone", form), b.post("/sites/clone", form)
	if one.location() == "" || one.location() != two.location() {
		t.Errorf("led to %q and %q", one.location(), two.location())
	}
	want := fleet.NewClone{FromFound: 123, Folder: "default", URI: "town-hall.example.org", Title: "Town hall", PlatformID: 11, DatabaseServerID: 1, Once: "tok"}
	if f.Clone1 != want {
		t.Errorf("the fleet got %+v", f.Clone1)
	}
	b.get(one.location()).has(t, "is being made from /srv/old/drupal. Nothing is changed there.")
	f.Fail["CloneSite"] = models.InvalidField("uri", "There is a site of this name already.")
	got := b.post("/sites/clone", url.Values{"site": {"32"}, "uri": {"gallery.example.org"}, "title": {"T"}, "platform": {"0"}, "_once": {"tok2"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "There is a site of this name already.", `value="gallery.example.org"`, `value="T"`, `<option value="0" selected>`, `name="_once" value="tok2"`, `name="site" value="32"`)
}

func TestImport_Form_FindsAndLists(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/import").has(t, "Nothing in it is changed,", `name="root"`)
	got := b.post("/import", url.Values{"root": {"old/drupal"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	got.has(t, `value="old/drupal"`, "Give the absolute path", `aria-describedby="root-e root-h"`)
	if got := b.post("/import", url.Values{"root": {" /srv/old/drupal "}}); got.location() != "/tasks/123" || !slices.Equal(f.Said, []string{"/srv/old/drupal"}) {
		t.Errorf("led to %q, told %q", got.location(), f.Said)
	}
	page := b.get("/tasks/123")
	page.has(t, "town-hall.example.org", "10.4.9", "MariaDB or MySQL", "town_hall", "4.8 GB", "/sites/clone?task=123&amp;folder=pool.example.org", "Its tables have the prefix old_.", "To adopt is to copy.")
	page.hasNot(t, "folder=market.example.org")
	f.Found = nil
	b.get("/tasks/123").has(t, "No site was found there.")
	f.Finish(webtest.ImportTask, models.TaskFailed, "There is no such folder.")
	b.get("/tasks/123").hasNot(t, "No site was found there.")
}

func TestCompare_Page_WorstFirstAndOnlyDifferences(t *testing.T) {
	f := webtest.Sample()
	f.Plats[1].Packages = append(f.Plats[1].Packages, models.Package{Name: "drupal/token", Type: "module", Version: "1.15.0"})
	f.Plats[2].Packages = append(f.Plats[2].Packages, models.Package{Name: "drupal/token", Type: "module", Version: "1.15.0"}, models.Package{Name: "drupal/older", Type: "module", Version: "2.0.0", Schema: 8002})
	f.Plats[1].Packages = append(f.Plats[1].Packages, models.Package{Name: "drupal/older", Type: "module", Version: "1.0.0", Schema: 8001})
	b := signedIn(t, f)
	page := b.get("/platforms/12/compare?with=11")
	page.has(t, "10.5.8 · c07d1e2", "10.6.2 · 4f2a91c", "Missing", "Upgrade", "Added", "Error", "<code>8001</code>", "other platform’s schema is older", "3<", "node_update_10201", "Not asked yet", "Can go", "only what differs")
	page.hasNot(t, "drupal/token")
	b.get("/platforms/12/compare?with=11&all=1").has(t, "drupal/token", "Same", "checked")
	b.get("/platforms/12/compare").has(t, `<option value="11" selected>`) // its target
	b.get("/platforms/11/compare").has(t, "Choose another platform.")
	f.Plats[1].State = models.PlatformDeleting // which is none of the choices
	b.get("/platforms/12/compare?with=11").has(t, `<option value="11" selected>`)
	f.Plats[1].State = models.PlatformReady
	f.Comparisons[38] = models.Comparison{SiteID: 38, FromPlatformID: 12, PlatformID: 11, Blockers: []string{"The module rdf is on, and the target has none."}}
	for range 300 {
		f.Sits = append(f.Sits, models.Site{ID: 31, URI: "many.example.org", PlatformID: 12})
	}
	many := b.get("/platforms/12/compare?with=11")
	many.has(t, "Cannot go", "The module rdf is on", "and 206 more")
	if strings.Index(many.body, "a-rather-long-name") > strings.Index(many.body, "archive.example.org") {
		t.Error("the site that cannot go is not the first one")
	}
	for path, status := range map[string]int{"/platforms/999/compare": 404, "/platforms/12/compare?with=999": 404, "/platforms/12/compare?with=x": 200} {
		if got := b.get(path); got.status != status {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func TestDeletePlatform_SitesLiveThere_SaysWhich(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	page := b.get("/platforms/12/delete")
	page.has(t, "Sites live here", "archive.example.org", "museum.example.org")
	page.hasNot(t, `action="/platforms/12/delete"`)
	b.get("/platforms/12").has(t, `href="/platforms/12/delete"`)
	b.get("/platforms/11").hasNot(t, `href="/platforms/11/delete"`)
	f.Sits = nil
	target := b.get("/platforms/11/delete")
	target.has(t, "It is the upgrade target of Agency base (D10)")
	target.hasNot(t, `action="/platforms/11/delete"`)
	if got := b.post("/platforms/13/delete", nil); got.location() != "/tasks/124" {
		t.Errorf("status %d to %q", got.status, got.location())
	}
	f.Fail["DeletePlatform"] = models.Errorf(models.Conflict, "archive.example.org lives here.")
	if got := b.post("/platforms/13/delete", nil); got.location() != "/platforms/13" {
		t.Errorf("refused: to %q", got.location())
	}
	b.get("/platforms/13").has(t, "archive.example.org lives here.")
}

func TestDeleteDistribution_SitesLiveThere_SaysWhich(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/distributions/1").has(t, `href="/distributions/1/delete"`)
	page := b.get("/distributions/1/delete")
	page.has(t, "Sites live on its platforms", "archive.example.org", "clone them")
	page.hasNot(t, `action="/distributions/1/delete"`)
	f.Sits = nil
	b.get("/distributions/1/delete").has(t, `action="/distributions/1/delete"`, "platforms and their files are removed", "webhooks")
	if got := b.get("/distributions/999/delete"); got.status != 404 {
		t.Errorf("status %d of one that is not there", got.status)
	}
	if got := b.post("/distributions/1/delete", nil); got.location() != "/distributions" {
		t.Errorf("status %d to %q", got.status, got.location())
	}
	b.get("/distributions").has(t, "Deleted Agency base (D10).")
	f.Fail["DeleteDistribution"] = models.Errorf(models.Conflict, "archive.example.org lives here.")
	if got := b.post("/distributions/1/delete", nil); got.location() != "/distributions/1" {
		t.Errorf("refused: to %q", got.location())
	}
	b.get("/distributions/1").has(t, "archive.example.org lives here.")
}

func TestTask_Failed_CanBeRetried(t *testing.T) {
	f := webtest.Sample()
	f.Jobs = append(f.Jobs, models.Task{
		ID: 900, Kind: models.TaskCloneTo, Subject: models.Subject{Kind: models.SubjectNewcomer, ID: 31}, State: models.TaskFailed, Title: "Make a copy on web2",
	})
	copied := func(id, parent int64, kind models.TaskKind) models.Task {
		return models.Task{ID: id, ParentID: &parent, Kind: kind, Subject: models.Subject{Kind: models.SubjectSite, ID: 31}, State: models.TaskWarning}
	}
	whole := models.Task{Kind: models.TaskCloneTo, Subject: models.Subject{Kind: models.SubjectNewcomer, ID: 31}, State: models.TaskWarning}
	stayed, moved := whole, whole
	stayed.ID, moved.ID = 910, 920
	f.Jobs = append(f.Jobs, stayed, copied(911, 910, models.TaskClone), moved, copied(921, 920, models.TaskClone), copied(922, 920, models.TaskRelocate))
	b := signedIn(t, f)
	for path, want := range map[string]bool{"/tasks/910": true, "/tasks/920": false, "/tasks/922": false, "/tasks/900": true, "/tasks/124": true, "/tasks/102": true, "/tasks/111": true, "/tasks/101": false, "/tasks/107": false, "/tasks/104": false} {
		if got := strings.Contains(b.get(path).body, `action="`+path+`/retry"`); got != want {
			t.Errorf("%s can be retried: %t, want %t", path, got, want)
		}
	}
	if got := b.post("/tasks/124/retry", nil); got.location() != "/tasks/124" || f.Called("RetryTask") != 1 {
		t.Errorf("status %d to %q", got.status, got.location())
	}
	f.Fail["RetryTask"] = models.Errorf(models.Conflict, "The site is deleted by now.")
	b.post("/tasks/124/retry", nil)
	b.get("/tasks/124").has(t, "The site is deleted by now.")
}

func TestTask_Moves_UseTheSamePage(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	b.get("/tasks/121").has(t, "Roll back a site to 10.5.8", `id="step-switch"`, "Succeeded: ", "Rollback", "0.9 s", "10.5.8 · c07d1e2")
	b.get("/tasks/122").has(t, `id="step-copy"`, "a backup</a>", `href="/backups/54"`)
	b.get("/tasks/110").has(t, "What differs", "web/modules/evil.php: not in the manifest")
}

func TestSiteForm_LanguageAndDatabase_ArePassedOn(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/sites/new").has(t, `<option value="" selected>English</option>`, `<option value="1" selected>Main database, MariaDB or MySQL</option>`, "SQLite, a file of the site", "Reports, PostgreSQL (cannot be used now)", `<option value="de">German</option>`)
	b.post("/sites", url.Values{"uri": {"a.example.org"}, "profile": {"standard"}, "platform": {"11"}, "language": {"de"}, "database": {"2"}})
	if f.Site1.Language != "de" || f.Site1.DatabaseServerID != 2 {
		t.Errorf("the fleet got %+v", f.Site1)
	}
	f.Fail["CreateSite"] = models.InvalidField("database", "Reports cannot be used.")
	got := b.post("/sites", url.Values{"uri": {"b.example.org"}, "language": {"fr"}, "database": {"0"}})
	got.has(t, "Reports cannot be used.", `<option value="fr" selected>`, `<option value="0" selected>SQLite`, `aria-describedby="database-e"`)
	f.Databases[0].Default = false
	b.get("/sites/new").has(t, `<option value="0" selected>SQLite`)
}

func TestDistributionForm_KeepPlatforms_IsPassedOn(t *testing.T) {
	f := webtest.Sample()
	f.Dists[0].KeepPlatforms = 4
	b := signedIn(t, f)
	b.get("/distributions/1/edit").has(t, `name="keep_platforms" value="4"`)
	for typed, want := range map[string]int{"7": 7, "": 0, "x": -1, "0": -1} {
		b.post("/distributions/1", url.Values{"name": {"N"}, "git.url": {"https://a.example/b.git"}, "keep_platforms": {typed}})
		if f.Distribution1.KeepPlatforms != want {
			t.Errorf("%q is %d", typed, f.Distribution1.KeepPlatforms)
		}
	}
}

func TestDashboard_BackupAndServer_AreDecisions(t *testing.T) {
	f := webtest.Sample()
	f.Waiting = []fleet.Decision{
		{Kind: fleet.DecideBackup, Subject: models.Subject{Kind: models.SubjectSite, ID: 32}, Title: "gallery.example.org", Why: "Its last backup failed.", TaskID: 107},
		{Kind: fleet.DecideServer, Subject: models.Subject{Kind: models.SubjectServer, ID: 2}, Title: "Reports", Why: "It does not let hefring create databases."},
	}
	signedIn(t, f).get("/").has(t, "Backup failed", `href="/sites/32#backups"`, `href="/tasks/107"`, "Server cannot be used", `action="/databases/2/test"`, `href="/databases/2"`)
}
