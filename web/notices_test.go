package web

import (
	"context"
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

// sample is all that a Fleet has; its name leaves room for the method Fleet.
type sample interface{ Fleet }

// telling is the sample fleet with channels.
type telling struct {
	sample
	rows     []fleet.ChannelRow
	messages map[int64][]fleet.NoticeMessageRow
	clients  []models.Client
	said     []string
	saved    models.Channel
	onces    map[string]bool
	attempt  models.NoticeAttempt
	fail     error
}

func (f *telling) Channels(context.Context) ([]fleet.ChannelRow, error) { return f.rows, nil }

func (f *telling) ClientNames(context.Context) ([]models.Client, error) { return f.clients, nil }

func (f *telling) Channel(_ context.Context, id int64, _ int) (fleet.ChannelRow, []fleet.NoticeMessageRow, error) {
	i := slices.IndexFunc(f.rows, func(r fleet.ChannelRow) bool { return r.ID == id })
	if i < 0 {
		return fleet.ChannelRow{}, nil, models.Errorf(models.NotFound, "There is no channel %d.", id)
	}
	return f.rows[i], f.messages[id], nil
}

func (f *telling) SaveChannel(_ context.Context, c models.Channel, once string) (models.Channel, string, error) {
	if f.fail != nil {
		return c, "", f.fail
	}
	if wrong := c.Validate(); len(wrong) > 0 {
		return c, "", &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: wrong}
	}
	f.saved = c
	if c.ID != 0 {
		return c, "", nil
	}
	c.ID = 9
	if f.onces[once] {
		return c, "", nil
	}
	f.onces = map[string]bool{once: true}
	f.rows = append(f.rows, fleet.ChannelRow{Channel: c})
	if c.Kind == models.ChannelWebhook {
		return c, "whsec_shown0nce", nil
	}
	return c, "", nil
}

func (f *telling) say(what string) error {
	f.said = append(f.said, what)
	return f.fail
}

func (f *telling) RotateChannelSecret(_ context.Context, _ int64, once string) (string, error) {
	if f.onces[once] {
		return "", nil
	}
	f.onces = map[string]bool{once: true}
	return "whsec_freshly", f.say("rotate")
}

func (f *telling) PauseChannel(_ context.Context, id int64, paused bool) error {
	for i := range f.rows {
		if f.rows[i].ID == id {
			f.rows[i].Paused = paused
		}
	}
	return f.say("pause")
}

func (f *telling) DeleteChannel(_ context.Context, id int64) (models.Channel, error) {
	row, _, err := f.Channel(context.Background(), id, 0)
	f.rows = slices.DeleteFunc(f.rows, func(r fleet.ChannelRow) bool { return r.ID == id })
	return row.Channel, err
}

func (f *telling) TestChannel(context.Context, int64) (models.NoticeAttempt, error) {
	return f.attempt, f.say("test")
}

func (f *telling) ResendMessage(_ context.Context, id int64) (models.NoticeMessage, error) {
	return models.NoticeMessage{ID: id, ChannelID: 1}, f.say("resend")
}

// told opens a browser on the sample fleet with three channels.
func told(t *testing.T) (*browser, *telling) {
	t.Helper()
	at := time.Now().Add(-time.Hour)
	letter := models.Letter{Channel: "Ops", At: at, Lines: []models.LetterLine{{
		Cause: models.CauseBuild, Title: "Agency <base>", Subject: models.LetterSubject{Kind: models.SubjectDistribution, ID: 1}, Since: at,
	}}}
	f := &telling{
		clients: []models.Client{{ID: 4, Name: "Museums & Co"}},
		rows: []fleet.ChannelRow{
			{Channel: models.Channel{ID: 1, Name: "Ops <chat>", Kind: models.ChannelSlack, Target: "https://hooks.example.org/…", Causes: models.Causes(), Reason: "hooks.example.org did not take the message (503)."}, Waiting: 3, Queued: 1},
			{Channel: models.Channel{ID: 2, Name: "Museums", Kind: models.ChannelEmail, Target: "ada@example.org", ClientID: new(int64(4)), Causes: []models.Cause{models.CauseBroken}, Every: models.Daily, Hour: 7, SentAt: &at}, ClientName: "Museums & Co"},
			{Channel: models.Channel{ID: 3, Name: "Pager", Kind: models.ChannelWebhook, Target: "https://pager.example.org/…", Causes: models.Causes(), Paused: true}},
		},
		messages: map[int64][]fleet.NoticeMessageRow{1: {
			{NoticeMessage: models.NoticeMessage{ID: 21, ChannelID: 1, Letter: letter, State: models.MessageFailed, Attempts: 8, CreatedAt: at}, Tries: []models.NoticeAttempt{
				{At: at, Recipient: "hooks.example.org", Status: 503, Answer: "<b>later</b>", Problem: "hooks.example.org did not take the message (503).", Took: 1200 * time.Millisecond},
			}},
			{NoticeMessage: models.NoticeMessage{ID: 20, ChannelID: 1, Letter: models.Letter{Channel: "Ops", Test: true}, State: models.MessageSent, CreatedAt: at}, Tries: []models.NoticeAttempt{{At: at, Status: 200, Answer: "ok", Delivered: true}}},
		}},
	}
	b := signedIn(t, webtest.Sample(), func(c *Config, _ *server) {
		if c == nil {
			return
		}
		inner := c.As
		c.As = func(by models.Actor) Fleet {
			f.sample = inner(by)
			return f
		}
	})
	return b, f
}

func TestNotices_List_SaysHowTheyAre(t *testing.T) {
	b, f := told(t)
	b.get("/notices").has(t, "Ops &lt;chat&gt;", "Not delivered", "did not take the message (503)", "Works", "Museums &amp; Co", "a digest at 07:00 UTC", "Paused", "at once", `href="/notices/new"`)
	f.rows = nil
	b.get("/notices").has(t, "Nobody is told of anything")
}

func TestNotices_Channel_ShowsTheRealAnswers(t *testing.T) {
	b, _ := told(t)
	got := b.get("/notices/1")
	got.has(t, "Build failed: Agency &lt;base&gt;", `href="/distributions/1"`, "Given up", "503 &lt;b&gt;later&lt;/b&gt;", "took 1.2 s", "Test of Ops", "200 ok", "3 causes wait", "everything",
		`action="/notices/messages/21/resend"`, `action="/notices/1/test"`, `action="/notices/1/pause"`)
	got.hasNot(t, `action="/notices/messages/20/resend"`, `action="/notices/1/secret"`)
	b.get("/notices/2").has(t, "about Museums &amp; Co", "Nothing was sent yet", "Tells of site broken.")
	b.get("/notices/3").has(t, `action="/notices/3/resume"`, `action="/notices/3/secret"`, "standardwebhooks.com")
	for _, id := range []string{"99", "0", "x", "99999999999999999999"} {
		if got := b.get("/notices/" + id); got.status != http.StatusNotFound {
			t.Errorf("%s: status %d", id, got.status)
		}
	}
}

func TestNotices_Add_ReadsTheForm(t *testing.T) {
	b, f := told(t)
	form := b.get("/notices/new")
	form.has(t, `name="kind"`, `name="target"`, `name="url"`, `type="password"`, "the client Museums &amp; Co", "the distribution Agency base (D10)", `value="d1"`, `name="cause-well"`, `name="every"`, "07:00 UTC", `name="_once"`)
	token := onceField.FindStringSubmatch(form.body)[1]
	in := url.Values{
		"name": {" Night watch "}, "kind": {"email"}, "target": {"b@example.org; ada@example.org"}, "scope": {"c4"}, "every": {"24"}, "hour": {"6"},
		"cause-broken": {"1"}, "cause-well": {"1"}, "_once": {token},
	}
	got := b.post("/notices", in)
	if got.status != http.StatusSeeOther || got.location() != "/notices/9" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	c := f.saved
	if c.Name != "Night watch" || c.Target != "b@example.org, ada@example.org" || *c.ClientID != 4 || c.DistributionID != nil || c.Every != 24*time.Hour || c.Hour != 6 ||
		!slices.Equal(c.Causes, []models.Cause{models.CauseBroken, models.CauseWell}) {
		t.Errorf("saved %+v", c)
	}
	b.get("/notices/9").has(t, "Saved. Test shows")
}

func TestNotices_AddWrong_KeepsWhatWasTypedButTheAddress(t *testing.T) {
	b, f := told(t)
	got := b.post("/notices", url.Values{"name": {"x"}, "kind": {"email"}, "target": {"no<body>"}, "url": {"https://example.org/s3cret"}, "scope": {"d1"}, "every": {"99999999999"}, "hour": {"-1"}, "cause-build": {"1"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Fatalf("status %d", got.status)
	}
	got.has(t, `id="target-e"`, "no&lt;body&gt;", `id="every-e"`, `id="hour-e"`, `<option value="d1" selected`, "autofocus")
	got.hasNot(t, "s3cret")
	got = b.post("/notices", url.Values{"name": {"x"}, "kind": {"email"}, "target": {"ada@example.org"}, "cause-well": {"1"}})
	got.has(t, "Choose at least one thing to tell of")
	f.fail = models.InvalidField("url", "127.0.0.1 is an address of this machine.")
	b.post("/notices", url.Values{"name": {"x"}, "kind": {"slack"}, "url": {"http://127.0.0.1/"}}).has(t, `id="url-e"`, "address of this machine")
}

func TestNotices_AddWebhook_ShowsTheSecretOnce(t *testing.T) {
	b, f := told(t)
	in := url.Values{"name": {"Pager"}, "kind": {"webhook"}, "url": {"https://example.org/s3cret"}, "cause-build": {"1"}, "_once": {"token"}}
	got := b.post("/notices", in)
	if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, cache control %q", got.status, got.header.Get("Cache-Control"))
	}
	got.has(t, `value="whsec_shown0nce"`, "never shown again")
	got.hasNot(t, "s3cret")
	if f.saved.URL != "https://example.org/s3cret" {
		t.Errorf("saved %+v", f.saved)
	}
	again := b.post("/notices", in)
	if again.status != http.StatusSeeOther || strings.Contains(b.get(again.location()).body, "whsec_") {
		t.Errorf("the same form again: %d", again.status)
	}
	if strings.Contains(b.logs.String(), "whsec_") || strings.Contains(b.logs.String(), "s3cret") {
		t.Error("a secret is in the log")
	}
	fresh := b.post("/notices/3/secret", url.Values{"_once": {"other"}})
	fresh.has(t, `value="whsec_freshly"`)
	twin := b.post("/notices/3/secret", url.Values{"_once": {"other"}})
	b.get(twin.location()).has(t, "shown only once")
}

func TestNotices_Edit_KeepsTheAddressAndKind(t *testing.T) {
	b, f := told(t)
	form := b.get("/notices/1/edit")
	form.has(t, "kept as it is; type to replace it", `value="Ops &lt;chat&gt;"`)
	form.hasNot(t, `name="kind"`, `name="target"`)
	b.get("/notices/2/edit").has(t, `value="ada@example.org"`, `<option value="c4" selected`, `<option value="24" selected`)
	got := b.post("/notices/1/edit", url.Values{"name": {"Renamed"}, "kind": {"email"}, "cause-build": {"1"}})
	if got.status != http.StatusSeeOther || f.saved.ID != 1 || f.saved.Kind != models.ChannelSlack || f.saved.URL != "" {
		t.Errorf("status %d, saved %+v", got.status, f.saved)
	}
	if got := b.post("/notices/99/edit", url.Values{"name": {"x"}}); got.status != http.StatusNotFound {
		t.Errorf("status %d", got.status)
	}
}

func TestNotices_Test_ShowsTheRealAnswer(t *testing.T) {
	b, f := told(t)
	f.attempt = models.NoticeAttempt{Delivered: true, Recipient: "hooks.example.org", Status: 200, Answer: "ok <3", Took: 340 * time.Millisecond}
	got := b.post("/notices/1/test", nil)
	if got.status != http.StatusSeeOther || got.location() != "/notices/1" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	b.get("/notices/1").has(t, "Delivered. hooks.example.org answered 200 after 0.3 s: ok &lt;3")
	f.attempt = models.NoticeAttempt{Recipient: "hooks.example.org", Status: 404, Answer: "no_team", Problem: "hooks.example.org did not take the message (404).", Took: time.Second}
	b.post("/notices/1/test", nil)
	b.get("/notices/1").has(t, "Not delivered. hooks.example.org did not take the message (404). hooks.example.org answered 404 after 1.0 s: no_team", `data-s="failed"`)
	f.attempt = models.NoticeAttempt{Problem: "The mail server mail.example.org did not answer in time.", Took: 15 * time.Second}
	b.post("/notices/2/test", nil)
	b.get("/notices/2").has(t, "did not answer in time. There was no answer; it took 15 s.")
}

func TestNotices_Buttons_SayWhatHappened(t *testing.T) {
	b, f := told(t)
	b.post("/notices/1/pause", nil)
	b.get("/notices/1").has(t, "Paused. What begins meanwhile", "Resume")
	b.post("/notices/1/resume", nil)
	b.get("/notices/1").has(t, "Resumed.")
	b.post("/notices/messages/21/resend", nil)
	b.get("/notices/1").has(t, "sent again within half a minute")
	b.get("/notices/1/delete").has(t, "Delete Ops &lt;chat&gt;?", "Pausing keeps them", `action="/notices/1/delete"`)
	if got := b.post("/notices/1/delete", nil); got.location() != "/notices" {
		t.Errorf("to %q", got.location())
	}
	b.get("/notices").has(t, "Deleted Ops &lt;chat&gt;.")
	if got := b.post("/notices/1/delete", nil); got.status != http.StatusNotFound {
		t.Errorf("deleted twice: %d", got.status)
	}
	if !slices.Equal(f.said, []string{"pause", "pause", "resend"}) {
		t.Errorf("said %v", f.said)
	}
}

func TestNotices_Pages_HoldThePolicy(t *testing.T) {
	b, _ := told(t)
	for _, path := range []string{"/notices", "/notices/new", "/notices/1", "/notices/2/edit", "/notices/3", "/notices/3/delete"} {
		got := b.get(path)
		if got.status != http.StatusOK || inline.MatchString(got.body) {
			t.Errorf("%s: status %d, or something inline", path, got.status)
		}
	}
}
