package fleet_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// hook is a webhook with its secret.
type hook struct {
	models.Webhook

	secret string
}

func (w *world) hook(d models.Distribution, branch string) hook {
	w.Helper()
	h, secret, err := w.fleet.CreateWebhook(w.ctx, "ada", d.ID, fleet.NewWebhook{Provider: models.ProviderGitHub, Branch: branch})
	ok(w.T, err)
	return hook{h, secret}
}

func push(branch string) string { return `{"ref":"refs/heads/` + branch + `"}` }

// send delivers what GitHub would.
func (w *world) send(h hook, event, id, body string) (models.Delivery, error) {
	w.Helper()
	mac := hmac.New(sha256.New, []byte(h.secret))
	mac.Write([]byte(body))
	header := http.Header{}
	header.Set("X-Github-Event", event)
	header.Set("X-Github-Delivery", id)
	header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return w.fleet.ReceiveHook(w.ctx, h.Webhook, fleet.Incoming{Header: header, Body: []byte(body), Sender: "192.0.2.7"})
}

// outcome delivers and gives what became of it.
func (w *world) outcome(h hook, event, id, body string) models.DeliveryOutcome {
	w.Helper()
	d, err := w.send(h, event, id, body)
	ok(w.T, err)
	return d.Outcome
}

func (w *world) deliveries(h hook) []models.Delivery {
	w.Helper()
	row, err := w.fleet.Webhook(w.ctx, h.ID, 100)
	ok(w.T, err)
	return row.Deliveries
}

func TestFleet_ReceiveHook_Push_LeadsToBuild(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		source.says("b2")
		want(w.T, "outcome", w.outcome(h, "push", "1", push("main")), models.DeliveryAccepted)
		task := w.pending(models.TaskCheck)
		want(w.T, "actor", task.Actor, fleet.ActorWebhook)
		want(w.T, "trigger", task.Args["trigger"], string(models.TriggerWebhook))
		w.work()
		want(w.T, "platform", w.named("thunder-b2").State, models.PlatformReady)
		want(w.T, "trigger of the check", w.checks(d)[0].Trigger, models.TriggerWebhook)
		list := w.deliveries(h)
		want(w.T, "deliveries", len(list), 1)
		want(w.T, "id", list[0].Key, "1")
		want(w.T, "event", list[0].Event, "push")
		want(w.T, "ref", list[0].Ref, "main")
		want(w.T, "sender", list[0].Sender, "192.0.2.7")
		row, err := w.fleet.Webhook(w.ctx, h.ID, 1)
		ok(w.T, err)
		want(w.T, "hook_at", row.HookAt.Equal(w.clock.time()), true)
		want(w.T, "secret used", row.Secrets[0].UsedAt.Equal(w.clock.time()), true)
		want(w.T, "sealed", row.Secrets[0].Sealed == nil, true)
		want(w.T, "hook_at of the upstream", w.upstream(d).HookAt.Equal(w.clock.time()), true)
	})
}

// A payload may say what it likes: nothing of it reaches the check.
func TestFleet_ReceiveHook_Payload_SuppliesNothing(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		source.says("b2")
		body := `{"ref":"refs/heads/main","after":"` + strings.Repeat("e", 40) + `","repository":{"clone_url":"https://evil.example/x.git"},"url":"https://evil.example"}`
		want(w.T, "outcome", w.outcome(h, "push", "1", body), models.DeliveryAccepted)
		task := w.pending(models.TaskCheck)
		if text := fmt.Sprintf("%+v", task); contains(text, "evil") || contains(text, "eeee") {
			w.Errorf("the task holds the payload: %s", text)
		}
		w.work()
		want(w.T, "revision", w.named("thunder-b2").Revision, "scripted:b2")
		want(w.T, "settings", w.reload(d).Settings["url"], address)
	})
}

func TestFleet_ReceiveHook_Duplicate_NoSecondCheck(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		want(w.T, "first", w.outcome(h, "push", "1", push("main")), models.DeliveryAccepted)
		w.work()
		checks := source.checks
		want(w.T, "second", w.outcome(h, "push", "1", push("main")), models.DeliveryDuplicate)
		w.nothingQueued()
		want(w.T, "another", w.outcome(h, "push", "2", push("main")), models.DeliveryAccepted)
		w.work()
		want(w.T, "checks", source.checks, checks+1)
		want(w.T, "at another webhook", w.outcome(w.hook(d, ""), "push", "1", push("main")), models.DeliveryAccepted)
	})
}

// Without an id the body is the id, but only for a while: the same push may come
// again after a forced one.
func TestFleet_ReceiveHook_NoID_SameBodyLater(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "")
		want(w.T, "first", w.outcome(h, "push", "", push("main")), models.DeliveryAccepted)
		w.work()
		want(w.T, "retry", w.outcome(h, "push", "", push("main")), models.DeliveryDuplicate)
		want(w.T, "another body", w.outcome(h, "push", "", push("next")), models.DeliveryAccepted)
		w.work()
		w.clock.pass(models.RepeatWindow + time.Second)
		want(w.T, "later", w.outcome(h, "push", "", push("main")), models.DeliveryAccepted)
		w.pending(models.TaskCheck)
	})
}

func TestFleet_ReceiveHook_NotProven_ChecksNothing(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "")
		for name, change := range map[string]func(h *hook){
			"wrong secret": func(h *hook) { h.secret = "wrong" },
			"no secret":    func(h *hook) { h.secret = "" },
			"the secret of another webhook": func(h *hook) {
				h.secret = w.hook(d, "").secret
			},
		} {
			forged := h
			change(&forged)
			got, err := w.send(forged, "push", "1", push("main"))
			wantCode(w.T, err, models.Forbidden)
			want(w.T, name, got.Outcome, models.DeliveryRefused)
			ok(w.T, w.fleet.NoteDelivery(w.ctx, got))
		}
		w.nothingQueued()
		list := w.deliveries(h)
		want(w.T, "refusals", len(list), 1)
		want(w.T, "times", list[0].Times, 3)
		if !contains(list[0].Reason, "does not fit the secret") {
			w.Errorf("reason %q", list[0].Reason)
		}
		if w.upstream(d).HookAt != nil {
			w.Error("a forgery counts as a webhook that works")
		}
		want(w.T, "the real one after forgeries of its id", w.outcome(h, "push", "1", push("main")), models.DeliveryAccepted)
	})
}

func TestFleet_ReceiveHook_NotJSON_Refused(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "")
		for _, body := range []string{"", "[]", "{", "x", "null", "ref=main"} {
			_, err := w.send(h, "push", "1", body)
			wantCode(w.T, err, models.Invalid)
		}
		w.nothingQueued()
	})
}

func TestFleet_ReceiveHook_WhatItMeans(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "main")
		for i, c := range []struct {
			event, body string
			outcome     models.DeliveryOutcome
			why         string
		}{
			{"ping", `{"zen":"x"}`, models.DeliveryPing, ""},
			{"issues", `{}`, models.DeliveryIgnored, "issues"},
			{"push", push("next"), models.DeliveryIgnored, "branch main"},
			{"push", `{"ref":"refs/tags/v1"}`, models.DeliveryIgnored, "refs/tags/v1"},
			{"push", push("main"), models.DeliveryAccepted, ""},
			{"push", `{"ref":"refs/heads/main","deleted":true,"after":null}`, models.DeliveryAccepted, ""},
			{"push", `{"ref":"refs/changes/1"}`, models.DeliveryAccepted, ""}, // not understood: check anyway
			{"push", `{"ref":7}`, models.DeliveryAccepted, ""},
			{"push", `{}`, models.DeliveryAccepted, ""},
		} {
			got, err := w.send(h, c.event, strconv.Itoa(i), c.body)
			ok(w.T, err)
			want(w.T, c.event+" "+c.body, got.Outcome, c.outcome)
			if !contains(got.Reason, c.why) {
				w.Errorf("%s %s: %q", c.event, c.body, got.Reason)
			}
			if queued := len(w.queued()) > 0; queued != (c.outcome == models.DeliveryAccepted) {
				w.Errorf("%s %s: a check is queued: %v", c.event, c.body, queued)
			}
			w.work()
		}
	})
}

func TestFleet_ReceiveHook_QueuedCheck_IsEnough(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		_, err := w.fleet.CheckNow(w.ctx, "ada", d.ID)
		ok(w.T, err)
		before := source.checks
		for i := range 20 {
			want(w.T, "outcome", w.outcome(h, "push", strconv.Itoa(i), push("main")), models.DeliveryAccepted)
		}
		w.pending(models.TaskCheck)
		w.work()
		w.clock.pass(time.Second)
		want(w.T, "more checks", w.dispatch(), 0)
		want(w.T, "checks", source.checks, before+1)
	})
}

// What is pushed while a check runs may come after its look: another follows.
func TestFleet_ReceiveHook_DuringCheck_AnotherFollows(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		for name, late := range map[string]time.Duration{"in time": 0, "overdue": time.Hour} {
			// A check that is overdue, as under a host's limits, must not hide the
			// wish for another.
			w.clock.pass(late)
			task, err := w.fleet.CheckNow(w.ctx, "ada", d.ID)
			ok(w.T, err)
			sent := false
			source.during = func() { // the look is over, its result not yet recorded
				if !sent {
					sent = true
					go source.says("new " + name)
					want(w.T, "outcome", w.outcome(h, "push", name, push("main")), models.DeliveryAccepted)
				}
			}
			w.run(task.ID)
			source.during = nil
			w.nothingQueued()
			source.says("new " + name)
			w.clock.pass(time.Second)
			want(w.T, name+": checks that follow", w.dispatch(), 1)
			w.work()
			want(w.T, "platform", w.named("thunder-"+models.Slugify("new "+name)).State, models.PlatformReady)
			w.clock.pass(time.Second)
			want(w.T, name+": and no more", w.dispatch(), 0)
		}
	})
}

// A webhook makes polling rarer only for whom it tells of every push.
func TestFleet_ReceiveHook_Trust_OnlyWhatCoversAll(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		all, one := w.hook(d, ""), w.hook(d, "main")
		trusted := func() bool {
			u := w.upstream(d)
			return u.HookAt != nil && u.HookAt.Equal(w.clock.time())
		}
		pass := func() { w.work(); w.clock.pass(time.Minute) }
		w.outcome(all, "ping", "1", `{}`)
		w.outcome(all, "issues", "2", `{}`)
		w.outcome(one, "push", "3", push("next"))
		want(w.T, "after a ping and what is not needed", trusted(), false)
		w.outcome(one, "push", "4", push("main"))
		want(w.T, "the only subscriber's branch", trusted(), true)
		pass()
		_, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Next", UpdateType: "scripted", Settings: models.Settings{"url": address, "docroot": "web"}})
		ok(w.T, err)
		pass()
		w.outcome(one, "push", "5", push("main"))
		want(w.T, "one branch of several subscribers", trusted(), false)
		pass()
		w.outcome(all, "push", "6", push("main"))
		want(w.T, "all branches", trusted(), true)
	})
}

// A mirror may lag: a push that was not to be seen is looked for once more.
func TestFleet_ReceiveHook_Unchanged_LooksOnceMore(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		want(w.T, "outcome", w.outcome(h, "push", "1", push("main")), models.DeliveryAccepted)
		w.work()
		w.clock.pass(20 * time.Second)
		want(w.T, "after 20 s", w.dispatch(), 0)
		source.says("b2")
		w.clock.pass(15 * time.Second)
		want(w.T, "after 35 s", w.dispatch(), 1)
		w.work()
		want(w.T, "platform", w.named("thunder-b2").State, models.PlatformReady)
		source.says("c3")
		want(w.T, "outcome", w.outcome(h, "push", "2", push("main")), models.DeliveryAccepted)
		w.work()
		w.clock.pass(40 * time.Second)
		want(w.T, "after one that was seen at once", w.dispatch(), 0)
		want(w.T, "outcome", w.outcome(h, "push", "3", push("main")), models.DeliveryAccepted)
		w.work()
		w.clock.pass(40 * time.Second)
		want(w.T, "after one that was not seen", w.dispatch(), 1)
		w.work()
		w.clock.pass(40 * time.Second)
		want(w.T, "it is once", w.dispatch(), 0)
	})
}

func TestFleet_ReceiveHook_Stalled_IsLeftAlone(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		source.breaks(models.Errorf(models.Unavailable, "The token was refused.").Because(models.ReasonAuthentication))
		for range models.MaxAuthFailed {
			w.check(d)
		}
		got, err := w.send(h, "push", "1", push("main"))
		ok(w.T, err)
		want(w.T, "outcome", got.Outcome, models.DeliveryIgnored)
		if !contains(got.Reason, "The token was refused.") {
			w.Errorf("reason %q", got.Reason)
		}
		w.nothingQueued()
	})
}

func TestFleet_ReceiveHook_TooMany_PutOffAndNotLost(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		for i := range models.MaxDeliveriesHourly {
			_, err := w.RecordDelivery(w.ctx, models.Delivery{WebhookID: h.ID, Key: strconv.Itoa(i), Outcome: models.DeliveryPing, At: w.clock.time()}, time.Time{})
			ok(w.T, err)
		}
		source.says("b2")
		got, err := w.send(h, "push", "x", push("main"))
		wantCode(w.T, err, models.Unavailable)
		want(w.T, "outcome", got.Outcome, models.DeliveryRefused)
		w.nothingQueued()
		w.clock.pass(61 * time.Second)
		want(w.T, "checks after a minute", w.dispatch(), 1)
		w.work()
		want(w.T, "platform", w.named("thunder-b2").State, models.PlatformReady)
		w.clock.pass(time.Hour)
		want(w.T, "after an hour", w.outcome(h, "push", "x", push("main")), models.DeliveryAccepted)
	})
}

func TestFleet_ReceiveHook_ManyAtOnce_OneCheck(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h := w.hook(d, "")
		before := source.checks
		var senders sync.WaitGroup
		for i := range 30 {
			senders.Go(func() {
				got, err := w.send(h, "push", strconv.Itoa(i%10), push("main"))
				if err != nil || got.Outcome != models.DeliveryAccepted && got.Outcome != models.DeliveryDuplicate {
					w.Errorf("%+v %v", got, err)
				}
			})
		}
		senders.Wait()
		w.pending(models.TaskCheck)
		w.work()
		want(w.T, "checks", source.checks, before+1)
		accepted := 0
		for _, one := range w.deliveries(h) {
			if one.Outcome == models.DeliveryAccepted {
				accepted++
			}
		}
		want(w.T, "accepted", accepted, 10)
	})
}

// Nothing is taken when the check cannot be queued, so that the provider's next
// try is not a duplicate.
func TestFleet_ReceiveHook_QueueFails_TakesNothing(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "")
		w.SetEnqueuer(broken{})
		if _, err := w.send(h, "push", "1", push("main")); err == nil || models.CodeOf(err) != "" {
			w.Errorf("error %v", err)
		}
		w.SetEnqueuer(w.queue)
		want(w.T, "deliveries", len(w.deliveries(h)), 0)
		want(w.T, "the next try", w.outcome(h, "push", "1", push("main")), models.DeliveryAccepted)
		w.pending(models.TaskCheck)
	})
}

func TestFleet_ReceiveHook_BitbucketServerTest_ProvesNothing(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h, _, err := w.fleet.CreateWebhook(w.ctx, "ada", d.ID, fleet.NewWebhook{Provider: models.ProviderBitbucketServer})
		ok(w.T, err)
		got, err := w.fleet.ReceiveHook(w.ctx, h, fleet.Incoming{Header: http.Header{"X-Event-Key": {"diagnostics:ping"}}, Body: []byte(`{"test":true}`)})
		ok(w.T, err)
		want(w.T, "outcome", got.Outcome, models.DeliveryPing)
		ok(w.T, w.fleet.NoteDelivery(w.ctx, got))
		row, err := w.fleet.Webhook(w.ctx, h.ID, 10)
		ok(w.T, err)
		want(w.T, "deliveries", len(row.Deliveries), 1)
		want(w.T, "proven", row.HookAt == nil, true)
		w.nothingQueued()
	})
}

func TestFleet_RotateWebhook_TwoThenOne(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		old := w.hook(d, "")
		secret, err := w.fleet.RotateWebhook(w.ctx, "ada", old.ID, "")
		ok(w.T, err)
		young := hook{old.Webhook, secret}
		want(w.T, "with the old secret", w.outcome(old, "push", "1", push("main")), models.DeliveryAccepted)
		want(w.T, "with the new secret", w.outcome(young, "push", "2", push("main")), models.DeliveryAccepted)
		_, err = w.fleet.RotateWebhook(w.ctx, "ada", old.ID, "")
		wantCode(w.T, err, models.Conflict, "two secrets")
		row, err := w.fleet.Webhook(w.ctx, old.ID, 0)
		ok(w.T, err)
		ok(w.T, w.fleet.RetireWebhookSecret(w.ctx, "ada", old.ID, row.Secrets[0].ID))
		_, err = w.send(old, "push", "3", push("main"))
		wantCode(w.T, err, models.Forbidden)
		want(w.T, "with the new secret", w.outcome(young, "push", "3", push("main")), models.DeliveryAccepted)
		wantCode(w.T, w.fleet.RetireWebhookSecret(w.ctx, "ada", old.ID, row.Secrets[0].ID), models.Conflict)
		wantCode(w.T, w.fleet.RetireWebhookSecret(w.ctx, "ada", old.ID, row.Secrets[1].ID), models.Conflict, "only secret")
		wantCode(w.T, w.fleet.RetireWebhookSecret(w.ctx, "ada", 999, 1), models.NotFound)
	})
}

func TestFleet_RotateWebhook_AtOnce_TwoAtMost(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "")
		var people sync.WaitGroup
		for range 8 {
			people.Go(func() {
				if _, err := w.fleet.RotateWebhook(w.ctx, "ada", h.ID, ""); err != nil && models.CodeOf(err) != models.Conflict {
					w.Error(err)
				}
			})
		}
		people.Wait()
		row, err := w.fleet.Webhook(w.ctx, h.ID, 0)
		ok(w.T, err)
		want(w.T, "secrets", len(row.Secrets), models.MaxWebhookSecrets)
		for _, secret := range row.Secrets {
			people.Go(func() {
				if err := w.fleet.RetireWebhookSecret(w.ctx, "ada", h.ID, secret.ID); err != nil && models.CodeOf(err) != models.Conflict {
					w.Error(err)
				}
			})
		}
		people.Wait()
		row, err = w.fleet.Webhook(w.ctx, h.ID, 0)
		ok(w.T, err)
		want(w.T, "secrets left", len(row.Secrets), 1)
	})
}

func TestFleet_CreateWebhook_Refusals(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		create := func(in fleet.NewWebhook) error {
			_, _, err := w.fleet.CreateWebhook(w.ctx, "ada", d.ID, in)
			return err
		}
		wantFields(w.T, create(fleet.NewWebhook{}), "provider")
		wantFields(w.T, create(fleet.NewWebhook{Provider: "gogs", Branch: "a b"}), "provider", "branch")
		for _, branch := range []string{"refs/heads/main", "a..b", "-x", "/x", "x/", "a\x00b", "a~b", strings.Repeat("x", 300)} {
			wantFields(w.T, create(fleet.NewWebhook{Provider: models.ProviderGitHub, Branch: branch}), "branch")
		}
		_, _, err := w.fleet.CreateWebhook(w.ctx, "ada", 999, fleet.NewWebhook{Provider: models.ProviderGitHub})
		wantCode(w.T, err, models.NotFound)
		for range models.MaxWebhooks {
			ok(w.T, create(fleet.NewWebhook{Provider: models.ProviderGitea, Branch: "feature/ü"}))
		}
		wantCode(w.T, create(fleet.NewWebhook{Provider: models.ProviderGitHub}), models.Conflict, "10 webhooks")
		byHand, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Kept", UpdateType: "byhand"})
		ok(w.T, err)
		_, _, err = w.fleet.CreateWebhook(w.ctx, "ada", byHand.ID, fleet.NewWebhook{Provider: models.ProviderGitHub})
		wantCode(w.T, err, models.Invalid, "no source")
	})
}

func TestFleet_CreateWebhook_PostedTwice_MakesOne(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		in := fleet.NewWebhook{Provider: models.ProviderGitLab, Once: "token"}
		first, secret, err := w.fleet.CreateWebhook(w.ctx, "ada", d.ID, in)
		ok(w.T, err)
		again, none, err := w.fleet.CreateWebhook(w.ctx, "ada", d.ID, in)
		ok(w.T, err)
		want(w.T, "the same", again.ID, first.ID)
		want(w.T, "shown once", none, "")
		want(w.T, "form", strings.HasPrefix(secret, "whsec_"), true)
		secret, err = w.fleet.RotateWebhook(w.ctx, "ada", first.ID, "other token")
		ok(w.T, err)
		want(w.T, "made", secret != "", true)
		none, err = w.fleet.RotateWebhook(w.ctx, "ada", first.ID, "other token")
		ok(w.T, err)
		want(w.T, "shown once", none, "")
	})
}

func TestFleet_DeleteWebhook_AddressIsGone(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "")
		found, err := w.fleet.WebhookAt(w.ctx, h.Address)
		ok(w.T, err)
		want(w.T, "found", found.ID, h.ID)
		was, err := w.fleet.DeleteWebhook(w.ctx, "ada", h.ID)
		ok(w.T, err)
		want(w.T, "was", was.ID, h.ID)
		_, err = w.fleet.WebhookAt(w.ctx, h.Address)
		wantCode(w.T, err, models.NotFound)
		_, err = w.send(h, "push", "1", push("main"))
		if err == nil {
			w.Error("a deleted webhook takes deliveries")
		}
		_, err = w.fleet.DeleteWebhook(w.ctx, "ada", h.ID)
		wantCode(w.T, err, models.NotFound)
		rows, err := w.fleet.Webhooks(w.ctx, d.ID)
		ok(w.T, err)
		want(w.T, "webhooks", len(rows), 0)
	})
}

// A secret is in the database only as the sealer made it, and moving it to
// another webhook makes it worthless.
func TestFleet_Webhook_SecretIsSealed(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		h := w.hook(d, "")
		list, err := w.WebhookSecrets(w.ctx, h.ID)
		ok(w.T, err)
		if contains(string(list[0].Sealed), h.secret) {
			w.Error("the secret is stored in the clear")
		}
		other := w.hook(d, "")
		ok(w.T, w.AddWebhookSecret(w.ctx, &models.WebhookSecret{WebhookID: other.ID, Sealed: list[0].Sealed}))
		_, err = w.send(hook{other.Webhook, h.secret}, "push", "1", push("main"))
		wantCode(w.T, err, models.Forbidden)
		want(w.T, "its own secret", w.outcome(other, "push", "1", push("main")), models.DeliveryAccepted)
	})
}

// https://gitlab.com/gitlab-org/gitlab/-/work_items/19367: who sees one delivery
// with GitLab's token can send it for ever. It stays a duplicate; even with
// another id it only has the source looked at; and the signed kind is refused
// after five minutes.
func TestFailureMode28_ReplayableToken(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		h, secret, err := w.fleet.CreateWebhook(w.ctx, "ada", d.ID, fleet.NewWebhook{Provider: models.ProviderGitLabToken})
		ok(w.T, err)
		captured := fleet.Incoming{Body: []byte(push("main")), Header: http.Header{
			"X-Gitlab-Token": {secret}, "X-Gitlab-Event": {"Push Hook"}, "Idempotency-Key": {"f5e5f430-f57b-4e6e-9fac-d9128cd7232f"},
		}}
		send := func() models.DeliveryOutcome {
			got, err := w.fleet.ReceiveHook(w.ctx, h, captured)
			ok(w.T, err)
			return got.Outcome
		}
		want(w.T, "first", send(), models.DeliveryAccepted)
		w.work()
		w.clock.pass(models.KeepDeliveries - time.Hour)
		ok(w.T, w.Prune(w.ctx, w.clock.time()))
		want(w.T, "replayed", send(), models.DeliveryDuplicate)
		w.nothingQueued()
		builds := source.builds
		captured.Header.Set("Idempotency-Key", "forged")
		want(w.T, "replayed with another id", send(), models.DeliveryAccepted)
		w.pending(models.TaskCheck)
		w.work()
		want(w.T, "builds", source.builds, builds)
	})
}
