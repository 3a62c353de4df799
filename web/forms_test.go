package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/web/webtest"
)

var onceField = regexp.MustCompile(`name="_once" value="([^"]+)"`)

func TestDistributionForm_New_ComesFromTheUpdateTypes(t *testing.T) {
	f := webtest.Sample()
	f.Types = append(f.Types, webtest.Type{
		About:    plugins.Info{ID: "sixth", Name: "Sixth type", Summary: "Added by its own folder.", Icon: "package"},
		Settings: []plugins.Field{{Name: "where", Label: "Where it is", Kind: plugins.FieldText, Required: true, Default: "here"}},
	})
	got := signedIn(t, f).get("/distributions/new")
	got.has(t, `name="type" value="git" checked`, `name="type" value="sixth"`, `name="git.url"`, `name="sixth.where" value="here"`,
		`type="checkbox" id="git-composer" name="git.composer" value="1" checked`, `<option value="branch" selected>`, "Added by its own folder.")
}

func TestDistributionForm_Wrong_KeepsWhatWasTyped(t *testing.T) {
	f := webtest.Sample()
	f.Fail["CreateDistribution"] = &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: map[string]string{
		"url": "This mixes an https address with an ssh path.", "slug": "Use lower-case letters.",
	}}
	b := signedIn(t, f)
	got := b.post("/distributions", url.Values{
		"name": {"Faculty sites"}, "slug": {"Faculty Sites"}, "type": {"git"}, "git.url": {"https://git@code.example.org:faculty/sites.git"},
		"git.branch": {"main"}, "manual.docroot": {"web"}, "_once": {"tok"},
	})
	if got.status != http.StatusUnprocessableEntity {
		t.Fatalf("status %d", got.status)
	}
	got.has(t, `value="Faculty sites"`, `value="Faculty Sites"`, `value="https://git@code.example.org:faculty/sites.git"`, `value="main"`,
		`name="manual.docroot" value="web"`, `name="_once" value="tok"`, "Please check the marked fields.",
		`aria-describedby="git-url-e git-url-h"`, `id="git-url-e"`, "This mixes an https address with an ssh path.", `aria-describedby="slug-e slug-h"`)
	if n := strings.Count(got.body, "autofocus"); n != 1 {
		t.Errorf("%d fields take the focus", n)
	}
	if !regexp.MustCompile(`id="slug"[^>]*autofocus`).MatchString(got.body) {
		t.Error("the first wrong field does not take the focus")
	}
	got.hasNot(t, `id="git-composer" name="git.composer" value="1" checked`)
}

func TestDistributionForm_Right_PassesOnlyTheChosenType(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	got := b.post("/distributions", url.Values{
		"name": {"  Faculty  "}, "type": {"git"}, "git.url": {" https://code.example.org/a.git "}, "git.branch": {""}, "git.composer": {"1"},
		"manual.docroot": {"web"}, "git.unknown": {"x"}, "_once": {"tok"},
	})
	if got.status != http.StatusSeeOther || !strings.HasPrefix(got.location(), "/distributions/") {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	in := f.Distribution1
	want := models.Settings{"url": "https://code.example.org/a.git", "composer": "1"}
	if in.Name != "Faculty" || in.UpdateType != "git" || in.Once != "tok" || len(in.Settings) != len(want) || in.Settings["url"] != want["url"] || in.Settings["composer"] != "1" {
		t.Errorf("the fleet got %+v", in)
	}
	b.get(got.location()).has(t, "Added Faculty. Its source is being looked at.")
	b.get(got.location()).hasNot(t, "Added Faculty.")
}

func TestDistributionForm_PostedTwice_MakesOne(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	first := onceField.FindStringSubmatch(b.get("/distributions/new").body)[1]
	second := onceField.FindStringSubmatch(b.get("/distributions/new").body)[1]
	if first == second || len(first) < 20 {
		t.Fatalf("tokens %q and %q", first, second)
	}
	form := url.Values{"name": {"Twice"}, "type": {"git"}, "git.url": {"https://a.example/b.git"}, "_once": {first}}
	one, two := b.post("/distributions", form), b.post("/distributions", form)
	if one.location() == "" || one.location() != two.location() {
		t.Errorf("led to %q and %q", one.location(), two.location())
	}
	site := url.Values{"uri": {"a.example.org"}, "profile": {"standard"}, "platform": {"11"}, "_once": {second}}
	if one, two := b.post("/sites", site), b.post("/sites", site); one.location() == "" || one.location() != two.location() {
		t.Errorf("sites: led to %q and %q", one.location(), two.location())
	}
}

func TestForms_SentAgainWithOtherContent_SayWhatWasMade(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	for kind, page := range map[string]string{"distribution": "/distributions/7", "site": "/sites/7", "platform": "/platforms/7", "channel": "/notices/7", "webhook": "/webhooks/7"} {
		err := models.Wrapf(models.Conflict, &fleet.SentBeforeError{Kind: kind, ID: 7}, "This form was sent before with something else in it.")
		for path, called := range map[string]string{
			"/sites": "CreateSite", "/sites/clone": "CloneSite", "/distributions": "CreateDistribution", "/notices": "SaveChannel",
			"/distributions/1/webhooks": "CreateWebhook", "/distributions/2/platforms": "RegisterPlatform",
		} {
			f.Fail[called] = err
			got := b.post(path, url.Values{"uri": {"a.example.org"}, "type": {"git"}, "site": {"31"}, "kind": {"email"}, "provider": {"gitlab"}, "_once": {"tok"}})
			if got.status != http.StatusConflict {
				t.Errorf("%s: status %d", path, got.status)
			}
			got.has(t, "<h1>This form was sent before</h1>", "with something else in it.", `href="`+page+`"`)
		}
	}
}

func TestDistributionForm_Edit_HoldsTypeAndSlug(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	page := b.get("/distributions/1/edit")
	page.has(t, `value="https://code.example.org/agency/base.git"`, "agency-base", "Save and check now")
	page.hasNot(t, `name="slug"`, `value="manual"`)
	got := b.post("/distributions/1", url.Values{"name": {"New name"}, "slug": {"other"}, "type": {"manual"}, "git.url": {"https://a.example/b.git"}})
	if got.location() != "/distributions/1" || f.Distribution1.UpdateType != "git" || f.Distribution1.Slug != "agency-base" || f.Distribution1.Settings["url"] != "https://a.example/b.git" {
		t.Errorf("led to %q with %+v", got.location(), f.Distribution1)
	}
	f.Fail["UpdateDistribution"] = models.InvalidField("url", "No such host.")
	if got := b.post("/distributions/1", url.Values{"name": {"New name"}, "git.url": {"https://nowhere/"}}); got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	} else {
		got.has(t, "No such host.", `value="https://nowhere/"`, `action="/distributions/1"`)
	}
}

func TestSiteForm_Wrong_KeepsWhatWasTyped(t *testing.T) {
	f := webtest.Sample()
	f.Fail["CreateSite"] = models.InvalidField("uri", "Use a host name such as museum.example.org.")
	got := signedIn(t, f).post("/sites", url.Values{"uri": {"../../etc"}, "title": {"T"}, "profile": {"minimal"}, "platform": {"11"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Fatalf("status %d", got.status)
	}
	got.has(t, `value="../../etc"`, `value="T"`, `<option value="minimal" selected>`, `aria-describedby="uri-e uri-h"`, "Use a host name such as")
}

func TestSiteForm_LockedPlatforms_AreNotOffered(t *testing.T) {
	got := signedIn(t, webtest.Sample()).get("/sites/new")
	got.has(t, `<option value="11"`)
	got.hasNot(t, `<option value="12"`, `<option value="13"`, `<option value="14"`, `<option value="21"`)
}

func TestSiteForm_NameTaken_IsSaid(t *testing.T) {
	f := webtest.Sample()
	f.Fail["CreateSite"] = models.Errorf(models.Conflict, "There is a site of this name already.")
	got := signedIn(t, f).post("/sites", url.Values{"uri": {"archive.example.org"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "There is a site of this name already.", `value="archive.example.org"`)
}

func TestRegisterPlatform_Wrong_KeepsThePath(t *testing.T) {
	f := webtest.Sample()
	f.Fail["RegisterPlatform"] = models.InvalidField("path", "There is no folder /srv/../etc.")
	b := signedIn(t, f)
	got := b.post("/distributions/2/platforms", url.Values{"path": {"/srv/../etc"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Fatalf("status %d", got.status)
	}
	got.has(t, `value="/srv/../etc"`, "There is no folder", `aria-describedby="path-e path-h"`)
	delete(f.Fail, "RegisterPlatform")
	if got := b.post("/distributions/2/platforms", url.Values{"path": {"/srv/x"}}); got.location() != "/platforms/21" {
		t.Errorf("led to %q", got.location())
	}
	if got := b.get("/distributions/1/platforms/new"); got.status != http.StatusNotFound {
		t.Errorf("a type that is checked: %d", got.status)
	}
}

func TestQueueForm_Saves_AndRefuses(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	if got := b.post("/queues/git", url.Values{"every": {"10"}, "unit": {"s"}, "at_once": {"3"}}); got.location() != "/queues" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	if q := f.QueueList[0]; q.Every != 10*time.Second || q.AtOnce != 3 {
		t.Errorf("the queue is %+v", q.Queue)
	}
	for _, every := range []string{"", "0", "-5", "NaN", "Inf", "1e300", "99999999", "x"} {
		got := b.post("/queues/git", url.Values{"every": {every}, "unit": {"d"}, "at_once": {"3"}})
		if got.status != http.StatusUnprocessableEntity {
			t.Errorf("every %q: status %d", every, got.status)
		}
		got.has(t, "Choose between 5 seconds and 7 days.", `aria-describedby="git-every-e"`)
	}
	got := b.post("/queues/git", url.Values{"every": {"7"}, "unit": {"m"}, "at_once": {"999"}})
	got.has(t, `value="999"`, `value="7"`, "Choose between 1 and 64.")
	if q := f.QueueList[0]; q.Every != 10*time.Second {
		t.Error("a refused form changed the queue")
	}
}

func TestButtons_Each_CallsItsUseCaseAndComesBack(t *testing.T) {
	for _, c := range []struct{ path, method, back string }{
		{"/distributions/1/check", "CheckNow", "/distributions/1"},
		{"/platforms/12/lock", "LockPlatform", "/platforms/12"},
		{"/platforms/12/unlock", "UnlockPlatform", "/platforms/12"},
		{"/platforms/12/verify", "VerifyPlatform", "/platforms/12"},
		{"/platforms/21/target", "SetTarget", "/platforms/21"},
		{"/platforms/13/build", "RetryBuild", "/platforms/13"},
		{"/sites/32/hold", "HoldSite", "/sites/32"},
		{"/sites/34/release", "ReleaseSite", "/sites/34"},
		{"/sites/36/install", "RetryInstall", "/sites/36"},
		{"/sites/36/verify", "VerifySite", "/sites/36"},
		{"/sites/32/backup", "BackupSite", "/sites/32"},
		{"/sites/32/cron", "RunCron", "/sites/32"},
		{"/sites/32/disable", "DisableSite", "/sites/32"},
		{"/sites/40/enable", "EnableSite", "/sites/40"},
		{"/backups/51/keep", "KeepBackup", "/sites/32"},
		{"/databases/1/test", "TestDatabaseServer", "/databases/1"},
		{"/tasks/101/cancel", "CancelTask", "/tasks/101"},
		{"/queues/git/run", "RunQueueNow", "/queues"},
		{"/queues/git/pause", "PauseQueue", "/queues"},
		{"/queues/git/resume", "PauseQueue", "/queues"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			f := webtest.Sample()
			b := signedIn(t, f)
			got := b.post(c.path, url.Values{"reason": {"because"}})
			if got.status != http.StatusSeeOther || got.location() != c.back || f.Called(c.method) != 1 {
				t.Errorf("status %d to %q, called %d times", got.status, got.location(), f.Called(c.method))
			}
			if last := f.Calls[len(f.Calls)-1]; last != c.method+" admin" {
				t.Errorf("the fleet was told %q", last)
			}
			f.Fail[c.method] = models.Errorf(models.Conflict, "It is in another state by now.")
			b.post(c.path, nil)
			b.get(c.back).has(t, "It is in another state by now.")
			f.Fail[c.method] = models.InvalidField("reason", "Say why.")
			b.post(c.path, nil)
			b.get(c.back).has(t, "Say why.")
		})
	}
}

func TestButtons_WithHtmx_StayOnThePageOrGo(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	here := b.post("/platforms/12/lock", nil, "HX-Request", "true", "HX-Current-URL", b.base+"/platforms/12?x=1")
	if here.status != http.StatusSeeOther || here.location() != "/platforms/12" {
		t.Errorf("on its page: %d %q", here.status, here.location())
	}
	there := b.post("/platforms/12/lock", nil, "HX-Request", "true", "HX-Current-URL", b.base+"/")
	if there.status != http.StatusOK || there.header.Get("HX-Redirect") != "/platforms/12" {
		t.Errorf("elsewhere: %d %q", there.status, there.header.Get("HX-Redirect"))
	}
	out := visit(t, webtest.Sample()).get("/sites", "HX-Request", "true", "HX-Current-URL", "http://x/sites?q=a")
	if out.status != http.StatusUnauthorized || out.header.Get("HX-Redirect") != "/login?next=%2Fsites%3Fq%3Da" {
		t.Errorf("signed out: %d %q", out.status, out.header.Get("HX-Redirect"))
	}
}
