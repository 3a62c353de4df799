package fleet_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/internal/fleet"
	"hefring/internal/notify"
	"hefring/internal/store"
	"hefring/internal/webhook"
	"hefring/models"
)

// post takes letters as the world would.
type post struct {
	mu      sync.Mutex
	letters []models.Letter
	outlets []models.Outlet
	fail    error
	before  func(ctx context.Context) // an answer is given
}

func (p *post) Send(ctx context.Context, to models.Outlet, l models.Letter) (models.Answer, error) {
	if p.before != nil {
		p.before(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letters, p.outlets = append(p.letters, l), append(p.outlets, to)
	if p.fail != nil {
		return models.Answer{Recipient: "example.org", Status: 503, Text: "later"}, p.fail
	}
	return models.Answer{Recipient: "example.org", Status: 200, Text: "ok"}, ctx.Err()
}

// titles are the letters' titles since the last call.
func (p *post) titles() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, l := range p.letters {
		list = append(list, l.Title())
	}
	p.letters = nil
	return strings.Join(list, "; ")
}

// words puts values side by side.
func words(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }

func (w *world) channel(change func(*models.Channel)) models.Channel {
	w.Helper()
	c := models.Channel{Name: "Ops", Kind: models.ChannelEmail, Target: "ops@example.org", Causes: models.Causes()}
	if change != nil {
		change(&c)
	}
	c, _, err := w.fleet.SaveChannel(w.ctx, "ada", c, "")
	ok(w.T, err)
	return c
}

// later lets time pass and has notices dispatched; it gives what was told.
func (w *world) later(d time.Duration, via *post) string {
	w.Helper()
	w.clock.pass(d)
	ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
	return via.titles()
}

// ailing lets the source of a distribution fail.
func (w *world) ailing(d models.Distribution, why string) {
	w.Helper()
	w.sources.at(address).breaks(models.Errorf(models.Unavailable, "%s", why).Because(models.ReasonUnreachable))
	w.check(d)
}

func TestFleet_DispatchNotices_OneCauseOneMessage(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		via := &post{}
		w.channel(nil)
		want(w.T, "nothing waits", w.later(0, via), "")
		w.ailing(d, "example.org answered 503.")
		want(w.T, "begins", w.later(time.Minute, via), "Source needs attention: Thunder")
		for i := range 12 { // it fails every 5 minutes
			w.ailing(d, fmt.Sprintf("example.org answered %d.", 500+i%4))
			want(w.T, "fails on", w.later(5*time.Minute, via), "")
		}
		source.breaks(nil)
		w.check(d)
		want(w.T, "well for a moment", w.later(5*time.Minute, via), "")
		w.ailing(d, "example.org answered 503.")
		want(w.T, "back soon", w.later(5*time.Minute, via), "")
		source.breaks(nil)
		w.check(d)
		w.later(time.Minute, via)
		want(w.T, "well again", w.later(models.Settle, via), "Source is well again: Thunder")
		want(w.T, "and told once", w.later(models.Settle, via), "")
		w.ailing(d, "example.org answered 503.")
		want(w.T, "a later one is a new episode", w.later(time.Hour, via), "Source needs attention: Thunder")
	})
}

func TestFleet_DispatchNotices_TwentySitesOneMessage(t *testing.T) {
	each(t, func(w *world) {
		var uris []string
		for i := range 20 {
			uris = append(uris, fmt.Sprintf("site%d.example.org", i))
		}
		_, target, sites := w.behind(uris...)
		via := &post{}
		w.channel(nil)
		want(w.T, "the update", w.later(0, via), "Update waiting: Thunder")
		var told []string
		for i, s := range sites { // one after the other, each with its own words
			w.hosting.upgrade = fail(models.UpgradeRecovered, models.StepUpdate, fmt.Sprintf("The module views of %s is at 80%02d, see /srv/sites/%d.", s.URI, i, s.ID))
			_, err := w.fleet.UpgradeSite(w.ctx, "ada", s.ID, target.ID)
			ok(w.T, err)
			w.work()
			if text := w.later(time.Minute, via); text != "" {
				told = append(told, text)
			}
		}
		want(w.T, "told", strings.Join(told, "; "), "Upgrade put back: site0.example.org")
		open, err := w.OpenNotices(w.ctx, 1)
		ok(w.T, err)
		found := false
		for _, n := range open {
			if n.Cause == models.CauseRecovered {
				found = n.Sites == 20 && strings.HasSuffix(n.Title, " and 19 more")
			}
		}
		if !found {
			w.Errorf("open notices %+v", open)
		}
		w.hosting.upgrade = fail(models.UpgradeFatal, models.StepSwitch, "The disk is full.")
		_, err = w.fleet.UpgradeSite(w.ctx, "ada", sites[3].ID, target.ID)
		ok(w.T, err)
		w.work()
		want(w.T, "another reason", w.later(time.Minute, via), "Site broken: site3.example.org")
	})
}

func TestFleet_DispatchNotices_OneMessageOfARound(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		for i := range 3 {
			ok(w.T, w.SaveDatabaseServer(w.ctx, "ada", &models.DatabaseServer{Name: fmt.Sprintf("db%d", i), Engine: models.EngineMySQL, TLS: models.TLSOff, Reason: "It refuses connections."}))
		}
		w.ailing(d, "It does not answer.")
		via := &post{}
		w.channel(nil)
		ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
		want(w.T, "letters", len(via.letters), 1)
		want(w.T, "lines", len(via.letters[0].Lines), 4)
		want(w.T, "most urgent first", via.letters[0].Lines[0].Cause, models.CauseSource)
		want(w.T, "title", via.titles(), "4 things need a decision")
	})
}

func TestFleet_DispatchNotices_Replicas(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		w.ailing(d, "It does not answer.")
		for i := range 5 {
			w.channel(func(c *models.Channel) { c.Name = fmt.Sprintf("Channel %d", i) })
		}
		via := &post{}
		var replicas sync.WaitGroup
		for range 8 {
			f := w.replica(w.Store)
			replicas.Go(func() {
				for range 3 {
					if err := f.DispatchNotices(w.ctx, via); err != nil {
						w.Error(err)
					}
				}
			})
		}
		replicas.Wait()
		want(w.T, "letters for five channels", len(via.letters), 5)
	})
}

func TestFleet_DispatchNotices_Digest(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		w.clock.pass(time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(30 * time.Hour))) // six in the morning
		w.channel(func(c *models.Channel) { c.Every, c.Hour = models.Daily, 7 })
		via := &post{}
		w.ailing(d, "It does not answer.")
		want(w.T, "before its hour", w.later(30*time.Minute, via), "")
		ok(w.T, w.SaveDatabaseServer(w.ctx, "ada", &models.DatabaseServer{Name: "db", Engine: models.EngineMySQL, TLS: models.TLSOff, Reason: "It refuses connections."}))
		want(w.T, "at its hour", w.later(31*time.Minute, via), "Digest: 2 things need a decision")
		want(w.T, "not again", w.later(time.Hour, via), "")
		want(w.T, "nothing new next day", w.later(23*time.Hour, via), "")
		source.breaks(nil)
		w.check(d)
		w.later(time.Minute, via)
		want(w.T, "over, but not told yet", w.later(models.Settle, via), "")
		w.clock.pass(24 * time.Hour)
		ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
		want(w.T, "letters", len(via.letters), 1)
		want(w.T, "still", via.letters[0].Still, 1)
		if via.letters[0].Lines[0].Thread == "" {
			w.Error("it does not say which letter told of its begin")
		}
		want(w.T, "good news", via.titles(), "Digest: Source is well again: Thunder")
	})
}

func TestFleet_DispatchNotices_ScopeAndCauses(t *testing.T) {
	each(t, func(w *world) {
		_, target, sites := w.behind(museum)
		other, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Other", UpdateType: "scripted", Settings: models.Settings{"url": "https://example.org/other.git"}})
		ok(w.T, err)
		w.work()
		client := models.Client{Name: "Museums"}
		ok(w.T, w.SaveClient(w.ctx, &client))
		ok(w.T, w.SetClient(w.ctx, sites[0].ID, &client.ID))
		stranger := models.Client{Name: "Strangers"}
		ok(w.T, w.SaveClient(w.ctx, &stranger))
		w.hosting.upgrade = fail(models.UpgradeRecovered, models.StepUpdate, "No.")
		_, err = w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, target.ID)
		ok(w.T, err)
		w.work()
		for name, c := range map[string]struct {
			change func(*models.Channel)
			told   string
		}{
			"other distribution": {func(c *models.Channel) { c.DistributionID = &other.ID }, ""},
			"its distribution":   {func(c *models.Channel) { c.DistributionID = &target.DistributionID }, "2 things need a decision"},
			"its client":         {func(c *models.Channel) { c.ClientID = &client.ID }, "2 things need a decision"},
			"another client":     {func(c *models.Channel) { c.ClientID = &stranger.ID }, ""},
			"one cause":          {func(c *models.Channel) { c.Causes = []models.Cause{models.CauseRecovered} }, "Upgrade put back: " + museum},
		} {
			made := w.channel(c.change)
			via := &post{}
			want(w.T, name, w.later(0, via), c.told)
			_, err := w.fleet.DeleteChannel(w.ctx, "ada", made.ID)
			ok(w.T, err)
		}
	})
}

// A batch under way hides what waits; that is no good news.
func TestFleet_DispatchNotices_BatchIsNoGoodNews(t *testing.T) {
	each(t, func(w *world) {
		old, target, _ := w.behind(museum, "two.example.org")
		via := &post{}
		w.channel(nil)
		want(w.T, "waits", w.later(0, via), "Update waiting: Thunder")
		batch, err := w.fleet.UpgradePlatform(w.ctx, "ada", old.ID, target.ID)
		ok(w.T, err)
		for range 5 {
			want(w.T, "meanwhile", w.later(time.Hour, via), "")
		}
		w.hosting.upgrade = succeed
		for list := w.queued(); len(list) > 0; list = w.queued() {
			for _, t := range list {
				w.run(t.ID)
			}
		}
		if t, err := w.Task(w.ctx, batch.ID); err == nil && !t.State.Over() {
			w.run(batch.ID)
		}
		w.later(time.Minute, via)
		want(w.T, "all moved", w.later(models.Settle, via), "Up to date: Thunder")
	})
}

// onlyUpdate gives the one update that a letter tells of.
func (w *world) onlyUpdate(via *post) string {
	w.Helper()
	want(w.T, "letters", len(via.letters), 1)
	var told []string
	for _, line := range via.letters[0].Lines {
		if line.Cause == models.CauseUpgrade {
			told = append(told, line.Why)
		}
	}
	return strings.Join(told, " ")
}

// A digest tells of the target that there is when it goes out, also while the next
// build runs.
func TestFleet_DispatchNotices_DigestKnowsOneTarget(t *testing.T) {
	each(t, func(w *world) {
		w.clock.pass(time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(30 * time.Hour))) // six in the morning
		w.channel(func(c *models.Channel) { c.Every, c.Hour = models.Daily, 7 })
		via := &post{}
		_, target, _ := w.behind(museum)
		want(w.T, "before its hour", w.later(time.Minute, via), "")
		d := models.Distribution{ID: target.DistributionID}
		w.moves(d, "c3")
		w.sources.at(address).says("d4")
		w.check(d) // its build waits
		w.clock.pass(time.Hour)
		ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
		want(w.T, "told", w.onlyUpdate(via), "1 site is behind thunder-c3.")
		w.work()
		via.letters = nil
		w.clock.pass(24 * time.Hour)
		ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
		want(w.T, "next day", w.onlyUpdate(via), "1 site is behind thunder-d4.")
		want(w.T, "of older ones that still wait", via.letters[0].Still, 0)
	})
}

// What could not be delivered is not taken along when it is no longer true.
func TestFleet_DispatchNotices_UndeliveredKnowsOneTarget(t *testing.T) {
	each(t, func(w *world) {
		via := &post{fail: models.Errorf(models.Unavailable, "No.")}
		w.channel(nil)
		_, target, _ := w.behind(museum)
		w.later(time.Minute, via)
		w.moves(models.Distribution{ID: target.DistributionID}, "c3")
		via.fail = nil
		w.clock.pass(20 * time.Second)
		ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
		want(w.T, "told", w.onlyUpdate(via), "1 site is behind thunder-c3.")
	})
}

func TestFleet_DispatchNotices_RetriesAndGivesUp(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		w.ailing(d, "It does not answer.")
		c := w.channel(nil)
		via := &post{fail: models.Errorf(models.Unavailable, "example.org did not take the message (503).")}
		pauses := []time.Duration{0, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour}
		ids := map[string]bool{}
		for i, pause := range pauses {
			if i > 0 {
				want(w.T, "too early", w.later(pause-time.Second, via), "")
			}
			w.clock.pass(time.Second)
			ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
			want(w.T, fmt.Sprintf("attempt %d", i+1), len(via.letters), 1)
			ids[via.letters[0].ID] = true
			via.titles()
		}
		want(w.T, "given up", w.later(48*time.Hour, via), "")
		want(w.T, "ids of one message", len(ids), 1)
		row, messages, err := w.fleet.Channel(w.ctx, c.ID, 10)
		ok(w.T, err)
		want(w.T, "reason", row.Reason, "example.org did not take the message (503).")
		m := messages[0]
		want(w.T, "state", m.State, models.MessageFailed)
		want(w.T, "attempts", len(m.Tries), models.MaxAttempts)
		want(w.T, "attempt", words(m.Tries[0].Status, m.Tries[0].Answer, m.Tries[0].Recipient, m.Tries[0].Delivered), "503 later example.org false")

		via.fail = nil
		_, err = w.fleet.ResendMessage(w.ctx, "ada", m.ID)
		ok(w.T, err)
		w.recorded("channel resend")
		_, err = w.fleet.ResendMessage(w.ctx, "ada", m.ID)
		wantCode(w.T, err, models.Conflict)
		want(w.T, "sent again", w.later(0, via), "Source needs attention: Thunder")
		row, _, err = w.fleet.Channel(w.ctx, c.ID, 0)
		ok(w.T, err)
		want(w.T, "no reason any more", fmt.Sprint(row.Reason, row.SentAt != nil, row.Queued), "true 0")
	})
}

// What could not be delivered goes out with what is new: one message, not many.
func TestFleet_DispatchNotices_UndeliveredIsTakenAlong(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		via := &post{fail: models.Errorf(models.Unavailable, "No.")}
		c := w.channel(nil)
		w.ailing(d, "It does not answer.")
		w.later(0, via)
		for i := range 3 {
			ok(w.T, w.SaveDatabaseServer(w.ctx, "ada", &models.DatabaseServer{Name: fmt.Sprintf("db%d", i), Engine: models.EngineMySQL, TLS: models.TLSOff, Reason: "It refuses connections."}))
			w.later(30*time.Second, via)
		}
		via.fail = nil
		want(w.T, "all in one", w.later(time.Hour, via), "4 things need a decision")
		want(w.T, "no more", w.later(48*time.Hour, via), "")
		_, messages, err := w.fleet.Channel(w.ctx, c.ID, 10)
		ok(w.T, err)
		want(w.T, "messages", len(messages), 4)
		want(w.T, "the first", messages[3].State, models.MessageReplaced)
	})
}

// A process that dies between sending and recording has the message sent again,
// under the same id.
func TestFleet_DispatchNotices_KilledWhileSending(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		w.ailing(d, "It does not answer.")
		w.channel(nil)
		dying, die := context.WithCancel(w.ctx)
		via := &post{before: func(context.Context) { die() }}
		if err := w.fleet.DispatchNotices(dying, via); err == nil {
			w.Fatal("it did not say that it was stopped")
		}
		first := via.letters[0]
		via.titles()
		via.before = nil
		want(w.T, "while the claim stands", w.later(time.Minute, via), "")
		w.clock.pass(2 * time.Minute)
		ok(w.T, w.fleet.DispatchNotices(w.ctx, via))
		want(w.T, "letters", len(via.letters), 1)
		want(w.T, "id", via.letters[0].ID, first.ID)
		want(w.T, "then it is over", w.later(time.Hour, &post{}), "")
	})
}

func TestFleet_DispatchNotices_PausedAndResumed(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		via := &post{}
		c := w.channel(nil)
		ok(w.T, w.fleet.PauseChannel(w.ctx, "ada", c.ID, true))
		w.ailing(d, "It does not answer.")
		want(w.T, "paused", w.later(time.Hour, via), "")
		ok(w.T, w.fleet.PauseChannel(w.ctx, "ada", c.ID, false))
		want(w.T, "resumed", w.later(time.Minute, via), "Source needs attention: Thunder")
		c.Causes = []models.Cause{models.CauseBuild, models.CauseWell}
		_, _, err := w.fleet.SaveChannel(w.ctx, "ada", c, "")
		ok(w.T, err)
		want(w.T, "no longer asked for", w.later(time.Hour, via), "")
		c.Causes = models.Causes()
		_, _, err = w.fleet.SaveChannel(w.ctx, "ada", c, "")
		ok(w.T, err)
		want(w.T, "asked for again", w.later(time.Minute, via), "Source needs attention: Thunder")
	})
}

func TestFleet_TestChannel_ShowsTheRealAnswer(t *testing.T) {
	each(t, func(w *world) {
		via := &post{}
		c := w.channel(nil)
		a, err := w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		want(w.T, "attempt", words(a.Delivered, a.Status, a.Answer, a.Problem), "true 200 ok ")
		want(w.T, "letter", via.titles(), "Test of Ops")
		via.fail = models.Errorf(models.Unavailable, "example.org did not take the message (503).")
		a, err = w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		want(w.T, "attempt", words(a.Delivered, a.Status, a.Answer, a.Problem), "false 503 later example.org did not take the message (503).")
		via.titles()
		row, messages, err := w.fleet.Channel(w.ctx, c.ID, 10)
		ok(w.T, err)
		want(w.T, "reason", row.Reason, a.Problem)
		want(w.T, "messages", words(len(messages), messages[0].State, messages[1].State), "2 failed sent")
		want(w.T, "never again", w.later(48*time.Hour, via), "")
		_, err = w.fleet.ResendMessage(w.ctx, "ada", messages[0].ID)
		wantCode(w.T, err, models.Conflict)
		_, err = w.fleet.TestChannel(w.ctx, "ada", 999, via)
		wantCode(w.T, err, models.NotFound)
	})
}

func TestFleet_TestChannel_KilledWhileSending(t *testing.T) {
	each(t, func(w *world) {
		c := w.channel(nil)
		dying, die := context.WithCancel(w.ctx)
		via := &post{before: func(context.Context) { die() }}
		if _, err := w.fleet.TestChannel(dying, "ada", c.ID, via); err == nil {
			w.Fatal("it did not say that it was stopped")
		}
		via.before = nil
		via.titles()
		want(w.T, "not sent again", w.later(time.Hour, via), "")
		row, messages, err := w.fleet.Channel(w.ctx, c.ID, 10)
		ok(w.T, err)
		want(w.T, "state", messages[0].State, models.MessageFailed)
		want(w.T, "reason", row.Reason, "Hefring was stopped in the middle of the last attempt. It may have arrived.")
	})
}

// When the key file is lost, the channel says so, and a new address and a new
// secret mend it.
func TestFleet_SaveChannel_LostKey(t *testing.T) {
	each(t, func(w *world) {
		c, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "Hook", Kind: models.ChannelWebhook, URL: "https://example.org/a", Causes: models.Causes()}, "")
		ok(w.T, err)
		ok(w.T, w.SealChannel(w.ctx, c.ID, []byte("sealed with another key")))
		via := &post{}
		a, err := w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		if a.Delivered || a.Problem == "" {
			w.Errorf("attempt %+v", a)
		}
		if _, _, err := w.fleet.SaveChannel(w.ctx, "ada", c, ""); err == nil {
			w.Error("saved without an address")
		}
		c.URL = "https://example.org/b"
		_, _, err = w.fleet.SaveChannel(w.ctx, "ada", c, "")
		ok(w.T, err)
		secret, err := w.fleet.RotateChannelSecret(w.ctx, "ada", c.ID, "")
		ok(w.T, err)
		_, err = w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		want(w.T, "outlet", words(via.outlets[0].URL, via.outlets[0].Keys), words(c.URL, []string{secret}))
	})
}

func TestFleet_SaveChannel_SecretsAreSealedAndShownOnce(t *testing.T) {
	each(t, func(w *world) {
		in := models.Channel{Name: "Hook", Kind: models.ChannelWebhook, URL: "https://example.org/hooks/s3cret?token=t0ken", Causes: models.Causes()}
		c, secret, err := w.fleet.SaveChannel(w.ctx, "ada", in, "form-1")
		ok(w.T, err)
		if !strings.HasPrefix(secret, "whsec_") {
			w.Fatalf("secret %q", secret)
		}
		again, none, err := w.fleet.SaveChannel(w.ctx, "ada", in, "form-1")
		ok(w.T, err)
		want(w.T, "the same form", fmt.Sprint(again.ID, none), fmt.Sprint(c.ID, ""))
		stored, err := w.Channel(w.ctx, c.ID)
		ok(w.T, err)
		want(w.T, "shown", stored.Target, "https://example.org/…")
		if !strings.HasPrefix(string(stored.Secret), fmt.Sprintf("notice channel %d|", c.ID)) {
			w.Errorf("not sealed: %s", stored.Secret)
		}
		via := &post{}
		_, err = w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		want(w.T, "outlet", fmt.Sprint(via.outlets[0].URL, via.outlets[0].Keys), fmt.Sprint(in.URL, []string{secret}))

		stored.Name, stored.URL = "Renamed", "" // the address stays
		_, none, err = w.fleet.SaveChannel(w.ctx, "ada", stored, "")
		ok(w.T, err)
		fresh, err := w.fleet.RotateChannelSecret(w.ctx, "ada", c.ID, "form-2")
		ok(w.T, err)
		twin, err := w.fleet.RotateChannelSecret(w.ctx, "ada", c.ID, "form-2")
		ok(w.T, err)
		want(w.T, "secrets of edits and twins", none+twin, "")
		_, err = w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		want(w.T, "both sign", fmt.Sprint(via.outlets[1].URL, via.outlets[1].Keys), fmt.Sprint(in.URL, []string{fresh, secret}))
		w.clock.pass(models.KeyChangeover)
		_, err = w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		want(w.T, "the new one signs", fmt.Sprint(via.outlets[2].Keys), fmt.Sprint([]string{fresh}))
		mail := w.channel(nil)
		_, err = w.fleet.RotateChannelSecret(w.ctx, "ada", mail.ID, "")
		wantCode(w.T, err, models.Conflict)
		_, _, err = w.fleet.SaveChannel(w.ctx, "ada", models.Channel{ID: 999, Name: "x"}, "")
		wantCode(w.T, err, models.NotFound)
	})
}

func TestFleet_SaveChannel_SaysWhatIsWrong(t *testing.T) {
	w := newWorld(t, onSQLite(t))
	_, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Kind: "pigeon", Every: time.Minute, Hour: 24}, "")
	wantFields(t, err, "name", "kind", "causes", "every", "hour", "url")
	for _, target := range []string{"", "nobody", "a@b\r\nBcc: x@y", `"a b"@example.org`, strings.Repeat("a", 300) + "@example.org"} {
		_, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "x", Kind: models.ChannelEmail, Target: target, Causes: models.Causes()}, "")
		wantFields(t, err, "target")
	}
	for _, address := range []string{"", "example.org", "ftp://example.org/", "https://" + strings.Repeat("a", 3000), "https://"} {
		_, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "x", Kind: models.ChannelSlack, URL: address, Causes: models.Causes()}, "")
		wantFields(t, err, "url")
	}
	for _, scope := range []models.Channel{{DistributionID: new(int64(0))}, {ClientID: new(int64(99))}} {
		scope.Name, scope.Kind, scope.Target, scope.Causes = "x", models.ChannelEmail, "ops@example.org", models.Causes()
		_, _, err := w.fleet.SaveChannel(w.ctx, "ada", scope, "")
		wantFields(t, err, "scope")
	}
	w.channel(nil)
	_, _, err = w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "ops", Kind: models.ChannelEmail, Target: "a@example.org; b@example.org\nc@example.org", Causes: models.Causes()}, "")
	wantCode(t, err, models.Conflict, "name ops already")
}

// slowReader lets something happen after it looked at what a channel is about.
type slowReader struct {
	*store.Store
	then func()
}

func (s slowReader) Distribution(ctx context.Context, id int64) (models.Distribution, error) {
	defer s.then()
	return s.Store.Distribution(ctx, id)
}

func (s slowReader) Client(ctx context.Context, id int64) (models.Client, error) {
	defer s.then()
	return s.Store.Client(ctx, id)
}

// What a channel is about may go between the look at it and the write.
func TestFleet_SaveChannel_ScopeGoesMeanwhile(t *testing.T) {
	each(t, func(w *world) {
		client := models.Client{Name: "Museums"}
		ok(w.T, w.SaveClient(w.ctx, &client))
		d, _ := w.thunder()
		stays := w.channel(nil)
		for _, one := range []struct {
			about models.Channel
			end   func() error
		}{
			{models.Channel{DistributionID: &d.ID}, func() error { return w.fleet.DeleteDistribution(w.ctx, "ada", d.ID) }},
			{models.Channel{ClientID: &client.ID}, func() error { return w.fleet.DeleteClient(w.ctx, "ada", client.ID) }},
		} {
			var once sync.Once
			slow := w.replica(slowReader{w.Store, func() { once.Do(func() { ok(w.T, one.end()) }) }})
			c := one.about
			c.Name, c.Kind, c.Target, c.Causes = "Team", models.ChannelEmail, "ada@example.org", models.Causes()
			_, _, err := slow.SaveChannel(w.ctx, "ada", c, "")
			wantFields(w.T, err, "scope")
			c.ID, c.Name = stays.ID, stays.Name
			err = w.SaveChannel(w.ctx, "ada", &c)
			wantCode(w.T, err, models.NotFound)
			rows, err := w.fleet.Channels(w.ctx)
			ok(w.T, err)
			if len(rows) != 1 || rows[0].DistributionID != nil || rows[0].ClientID != nil {
				w.Errorf("channels about what is gone: %+v", rows)
			}
		}
	})
}

// Saves and deletions at the same moment, many times: whichever is first, no channel
// is left about what is gone, and every answer is one that a person understands.
func TestFleet_SaveChannel_RacesDeletion(t *testing.T) {
	each(t, func(w *world) {
		for round := range 12 {
			d := models.Distribution{Slug: fmt.Sprintf("race-%d", round), Name: fmt.Sprintf("Race %d", round), UpdateType: "scripted", Condition: models.ConditionCurrent}
			ok(w.T, w.CreateDistribution(w.ctx, &d))
			client := models.Client{Name: fmt.Sprintf("Client %d", round)}
			ok(w.T, w.SaveClient(w.ctx, &client))
			moving := w.channel(func(c *models.Channel) { c.Name, c.ClientID = fmt.Sprintf("Moving %d", round), &client.ID })
			var all sync.WaitGroup
			save := func(c models.Channel) {
				all.Go(func() {
					_, _, err := w.fleet.SaveChannel(w.ctx, "ada", c, "")
					if code := models.CodeOf(err); err != nil && code != models.Invalid && code != models.NotFound {
						w.Errorf("save %s: %v", c.Name, err)
					}
				})
			}
			for i := range 3 {
				c := models.Channel{Name: fmt.Sprintf("New %d %d", round, i), Kind: models.ChannelEmail, Target: "ada@example.org", Causes: models.Causes(), DistributionID: &d.ID}
				if i == 2 {
					c.DistributionID, c.ClientID = nil, &client.ID
				}
				save(c)
			}
			moving.ClientID, moving.DistributionID = nil, &d.ID
			save(moving)
			all.Go(func() { ok(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", d.ID)) })
			all.Go(func() { ok(w.T, w.fleet.DeleteClient(w.ctx, "ada", client.ID)) })
			all.Wait()
			rows, err := w.fleet.Channels(w.ctx)
			ok(w.T, err)
			want(w.T, fmt.Sprintf("channels after round %d", round), len(rows), 0)
		}
	})
}

// The record says which channels went with a client.
func TestFleet_DeleteClient_TakesChannelsAlong(t *testing.T) {
	each(t, func(w *world) {
		client := models.Client{Name: "Museums"}
		ok(w.T, w.SaveClient(w.ctx, &client))
		c := w.channel(func(c *models.Channel) { c.ClientID = &client.ID })
		ok(w.T, w.fleet.DeleteClient(w.ctx, "ada", client.ID))
		_, err := w.Channel(w.ctx, c.ID)
		wantCode(w.T, err, models.NotFound)
		w.recorded("channel delete")
		w.recorded("delete client")
	})
}

// receiver takes webhooks on this machine, and a sender that may reach it.
func receiver(t *testing.T, take http.HandlerFunc) (address string, via *notify.Sender) {
	t.Helper()
	server := httptest.NewServer(take)
	t.Cleanup(server.Close)
	return server.URL + "/hooks/1", realSender(t)
}

func realSender(t *testing.T) *notify.Sender {
	t.Helper()
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(guard.Close)
	via, err := notify.New(notify.Config{Egress: guard})
	ok(t, err)
	return via
}

func TestFleet_TestChannel_RealReceiver(t *testing.T) {
	each(t, func(w *world) {
		var secret string
		address, via := receiver(w.T, func(out http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if _, err := webhook.Verify(models.ProviderStandard, []string{secret}, r.Header, body, time.Now()); err != nil {
				http.Error(out, err.Error(), http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(out, "proven")
		})
		c, made, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "Hook", Kind: models.ChannelWebhook, URL: address, Causes: models.Causes()}, "")
		ok(w.T, err)
		secret = made
		a, err := w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		want(w.T, "attempt", words(a.Delivered, a.Status, a.Answer), "true 200 proven")
		secret = webhook.NewSecret(models.ProviderStandard)
		a, err = w.fleet.TestChannel(w.ctx, "ada", c.ID, via)
		ok(w.T, err)
		if a.Delivered || a.Status != http.StatusForbidden || !strings.Contains(a.Answer, "does not fit the secret") {
			w.Errorf("attempt %+v", a)
		}
	})
}

// dyingDSN is set in the process that TestFleet_DispatchNotices_Killed kills.
const dyingDSN = "HEFRING_TEST_DYING_DSN"

// A process that is killed while the other side has taken the message and not
// answered yet: the message comes once more, under the same id, and not again.
func TestFleet_DispatchNotices_Killed(t *testing.T) {
	if dsn := os.Getenv(dyingDSN); dsn != "" {
		w := newWorld(t, dsn)
		ok(t, w.fleet.DispatchNotices(w.ctx, realSender(t)))
		return
	}
	dsn := onSQLite(t)
	w := newWorld(t, dsn)
	d, _ := w.thunder()
	w.ailing(d, "It does not answer.")
	ids, killed := make(chan string, 10), make(chan struct{})
	address, via := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		ids <- r.Header.Get("Webhook-Id")
		<-killed
	})
	_, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "Hook", Kind: models.ChannelWebhook, URL: address, Causes: models.Causes()}, "")
	ok(t, err)
	program, err := os.Executable()
	ok(t, err)
	dying := exec.CommandContext(t.Context(), program, "-test.run=^TestFleet_DispatchNotices_Killed$")
	dying.Env = append(os.Environ(), dyingDSN+"="+dsn, "TMPDIR="+t.TempDir())
	ok(t, dying.Start())
	var first string
	select {
	case first = <-ids:
	case <-time.After(time.Minute):
	}
	ok(t, dying.Process.Kill())
	_ = dying.Wait() // it was killed
	close(killed)
	if first == "" {
		t.Fatal("the other process sent nothing")
	}
	w.clock.pass(time.Hour)
	for range 3 {
		ok(t, w.fleet.DispatchNotices(w.ctx, via))
		w.clock.pass(time.Hour)
	}
	want(t, "id of the second", <-ids, first)
	want(t, "more", len(ids), 0)
}

// Two processes on one SQLite file, as a command beside the running server.
func TestFleet_DispatchNotices_TwoProcesses(t *testing.T) {
	dsn := onSQLite(t)
	w := newWorld(t, dsn)
	d, _ := w.thunder()
	w.ailing(d, "It does not answer.")
	w.channel(nil)
	second, err := store.Open(w.ctx, dsn, slog.New(slog.DiscardHandler))
	ok(t, err)
	defer func() { ok(t, second.Close()) }()
	second.SetEnqueuer(w.queue)
	via := &post{}
	ok(t, w.replica(second).DispatchNotices(w.ctx, via))
	ok(t, w.fleet.DispatchNotices(w.ctx, via))
	want(t, "told", via.titles(), "Source needs attention: Thunder")
}
