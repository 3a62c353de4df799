package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// channel makes a channel that tells of everything at once.
func (w *world) channel(t *testing.T, name string) models.Channel {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Microsecond)
	c := models.Channel{Name: name, Kind: models.ChannelEmail, Target: "ops@example.org", Causes: models.Causes(), LookAt: at}
	ok(t, w.SaveChannel(w.ctx, "ada", &c))
	return c
}

func (w *world) noticeMessage(t *testing.T, c models.Channel, key string) models.NoticeMessage {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Microsecond)
	m := models.NoticeMessage{ChannelID: c.ID, Key: key, State: models.MessageQueued, NextAt: at, CreatedAt: at}
	m.Letter = models.Letter{ID: key, Channel: c.Name, At: at, Lines: []models.LetterLine{{Cause: models.CauseBuild, Key: "k", Title: "Ünïcode <&>", Since: at}}}
	ok(t, w.CreateNoticeMessage(w.ctx, &m))
	return m
}

func TestStore_Channel_KeepsEverything(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		at := time.Now().UTC().Truncate(time.Microsecond)
		c := models.Channel{
			Name: "Ops", Kind: models.ChannelWebhook, Target: "https://example.org/…", DistributionID: &w.d.ID, Causes: []models.Cause{models.CauseBuild, models.CauseWell},
			Every: 24 * time.Hour, Hour: 7, LookAt: at, DigestAt: &at,
		}
		ok(t, w.SaveChannel(w.ctx, "ada", &c))
		ok(t, w.SealChannel(w.ctx, c.ID, []byte{0, 255}))
		row, err := w.ChannelRow(w.ctx, c.ID)
		ok(t, err)
		got := row.Channel
		want(t, "channel", fmt.Sprint(got.Name, got.Kind, got.Target, *got.DistributionID, got.ClientID == nil, got.Causes, got.Every, got.Hour, got.LookAt.Equal(at), got.DigestAt.Equal(at), string(got.Secret)),
			fmt.Sprint("Ops", models.ChannelWebhook, "https://example.org/…", w.d.ID, true, c.Causes, c.Every, 7, true, true, "\x00\xff"))
		want(t, "distribution", row.DistributionName, "Thunder")

		other := w.channel(t, "Alerts")
		got.Name = "ALERTS"
		wantCode(t, w.SaveChannel(w.ctx, "ada", &got), models.Conflict)
		wantCode(t, w.SaveChannel(w.ctx, "ada", &models.Channel{Name: "ops", Kind: models.ChannelSlack}), models.Conflict)
		got.Name, got.DistributionID, got.Causes = "Operators", nil, nil
		ok(t, w.SaveChannel(w.ctx, "ada", &got))
		ok(t, w.PauseChannel(w.ctx, "ada", got.ID, true))
		ok(t, w.PauseChannel(w.ctx, "ada", got.ID, true)) // pressed twice
		page, err := w.Events(w.ctx, fleet.EventFilter{Verb: "channel pause", Limit: 10})
		ok(t, err)
		want(t, "pauses in the record", len(page.Rows), 1)
		ok(t, w.MarkChannel(w.ctx, got.ID, "no answer", nil))
		ok(t, w.MarkChannel(w.ctx, other.ID, "", &at))
		rows, err := w.ChannelRows(w.ctx)
		ok(t, err)
		want(t, "channels", fmt.Sprint(rows[0].Name, rows[0].SentAt.Equal(at), rows[1].Name, rows[1].Paused, rows[1].Reason, rows[1].SentAt == nil, rows[1].DistributionID == nil, len(rows)),
			fmt.Sprint("Alerts", true, "Operators", true, "no answer", true, true, 2))

		due, err := w.DueChannels(w.ctx, at.Add(time.Hour), 10)
		ok(t, err)
		want(t, "due channels without paused ones", len(due), 1)
		ok(t, w.DeleteChannel(w.ctx, "ada", other.ID))
		for _, err := range []error{
			w.DeleteChannel(w.ctx, "ada", other.ID), w.PauseChannel(w.ctx, "ada", other.ID, true), w.MarkChannel(w.ctx, other.ID, "", nil), w.SaveChannel(w.ctx, "ada", &other),
		} {
			wantCode(t, err, models.NotFound)
		}
	})
}

// The database takes every kind and state that there is, and no other.
func TestStore_Notices_ChecksMirrorModels(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		for _, kind := range models.ChannelKinds() {
			ok(t, w.SaveChannel(w.ctx, "ada", &models.Channel{Name: string(kind), Kind: kind}))
		}
		if w.SaveChannel(w.ctx, "ada", &models.Channel{Name: "x", Kind: "pigeon"}) == nil {
			t.Error("a channel of an unknown kind was stored")
		}
		c := w.channel(t, "Ops")
		for state := range models.MessageTransitions() {
			ok(t, w.CreateNoticeMessage(w.ctx, &models.NoticeMessage{ChannelID: c.ID, Key: string(state), State: state}))
		}
		if w.CreateNoticeMessage(w.ctx, &models.NoticeMessage{ChannelID: c.ID, Key: "x", State: "lost"}) == nil {
			t.Error("a message of an unknown state was stored")
		}
	})
}

func TestStore_ClaimChannel_OneWinner(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		w.channel(t, "Ops")
		due, err := w.DueChannels(w.ctx, time.Now(), 10)
		ok(t, err)
		want(t, "due", len(due), 1)
		next := due[0].LookAt.Add(time.Minute)
		var winners atomic.Int32
		var replicas sync.WaitGroup
		for range 20 {
			replicas.Go(func() {
				err := w.InTx(w.ctx, func(tx fleet.Tx) error {
					claimed, err := tx.ClaimChannel(w.ctx, due[0], next, nil)
					if claimed {
						winners.Add(1)
						return tx.SaveNotice(w.ctx, &models.Notice{ChannelID: due[0].ID, Cause: models.CauseBuild, Key: "k", BeganAt: next})
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		replicas.Wait()
		want(t, "winners", winners.Load(), 1)
		if w.SaveNotice(w.ctx, &models.Notice{ChannelID: due[0].ID, Cause: models.CauseBuild, Key: "k", BeganAt: next}) == nil {
			t.Error("a cause has two open episodes")
		}
		c, err := w.Channel(w.ctx, due[0].ID)
		ok(t, err)
		ok(t, w.SaveChannel(w.ctx, "ada", &c)) // somebody changes it
		stale := due[0]
		stale.LookAt = next
		claimed, err := w.ClaimChannel(w.ctx, stale, next.Add(time.Minute), nil)
		ok(t, err)
		want(t, "claimed as it was before the change", claimed, false)
	})
}

func TestStore_NoticeMessages_MoveOnceAndKeepTries(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		c := w.channel(t, "Ops")
		m := w.noticeMessage(t, c, "msg_1")
		w.noticeMessage(t, c, "msg_2")
		due, err := w.DueMessages(w.ctx, time.Now(), 10)
		ok(t, err)
		want(t, "due", len(due), 2)
		want(t, "letter", due[0].Letter.Lines[0].Title, "Ünïcode <&>")
		sending := m
		sending.State, sending.Attempts, sending.NextAt = models.MessageSending, 1, m.NextAt.Add(time.Hour)
		for i := range 2 {
			moved, err := w.MoveNoticeMessage(w.ctx, m, sending)
			ok(t, err)
			want(t, "moved", moved, i == 0)
		}
		sent := sending
		sent.State, sent.EndedAt = models.MessageSent, &m.CreatedAt
		_, err = w.MoveNoticeMessage(w.ctx, sent, sending)
		wantCode(t, err, models.Conflict)
		for i := range 2 {
			ok(t, w.RecordAttempt(w.ctx, &models.NoticeAttempt{MessageID: m.ID, At: m.CreatedAt, Status: 500 + i, Answer: "oops", Took: time.Second}))
		}
		rows, err := w.NoticeMessages(w.ctx, c.ID, 10)
		ok(t, err)
		want(t, "rows", fmt.Sprint(len(rows), rows[0].Key, len(rows[0].Tries), rows[1].Key, len(rows[1].Tries), rows[1].Tries[1].Status, rows[1].State), fmt.Sprint(2, "msg_2", 0, "msg_1", 2, 501, models.MessageSending))

		ok(t, w.PauseChannel(w.ctx, "ada", c.ID, true))
		due, err = w.DueMessages(w.ctx, time.Now().Add(2*time.Hour), 10)
		ok(t, err)
		want(t, "due of a paused channel", len(due), 0)
		_, err = w.MoveNoticeMessage(w.ctx, sending, sent)
		ok(t, err)
		told := m.CreatedAt
		n := models.Notice{ChannelID: c.ID, Cause: models.CauseBuild, Key: "k", BeganAt: told, ToldAt: &told, MessageID: &m.ID}
		ok(t, w.SaveNotice(w.ctx, &n))
		threads, err := w.ThreadOf(w.ctx, []int64{m.ID})
		ok(t, err)
		want(t, "thread", threads[m.ID], "msg_1")
		ok(t, w.PruneNotices(w.ctx, time.Now().Add(time.Hour)))
		rows, err = w.NoticeMessages(w.ctx, c.ID, 10)
		ok(t, err)
		want(t, "what is left", fmt.Sprint(len(rows), rows[0].Key), "1msg_2")
		open, err := w.OpenNotices(w.ctx, c.ID)
		ok(t, err)
		want(t, "the notice is still told", fmt.Sprint(len(open), open[0].ToldAt != nil, open[0].MessageID == nil), "1 true true")
		ok(t, w.ForgetNotices(w.ctx, c.ID))
		open, err = w.OpenNotices(w.ctx, c.ID)
		ok(t, err)
		want(t, "forgotten", len(open), 0)
		ok(t, w.DeleteChannel(w.ctx, "ada", c.ID))
		_, err = w.NoticeMessage(w.ctx, m.ID)
		wantCode(t, err, models.NotFound)
	})
}

func TestStore_Places_FindDistributions(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		site := w.site(t, "museum.example.org")
		subjects := []models.Subject{
			{Kind: models.SubjectSite, ID: site.ID}, {Kind: models.SubjectPlatform, ID: w.new.ID}, {Kind: models.SubjectDistribution, ID: w.d.ID}, {Kind: models.SubjectServer, ID: 99}, {Kind: models.SubjectSite, ID: 9999},
		}
		places, err := w.Places(w.ctx, subjects)
		ok(t, err)
		for _, s := range subjects[:3] {
			want(t, "distribution of "+string(s.Kind), fmt.Sprint(places[s].Distributions), fmt.Sprint([]int64{w.d.ID}))
		}
		want(t, "platform of the site", places[subjects[0]].PlatformID, w.old.ID)
		want(t, "no more", len(places), 3)
		_, err = w.Places(w.ctx, nil)
		ok(t, err)
		busy, err := w.BusyDistributions(w.ctx)
		ok(t, err)
		want(t, "busy", len(busy), 0)
		ok(t, w.CreateTask(w.ctx, &models.Task{Kind: models.TaskUpgradePlatform, Subject: models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID}, Title: "x"}))
		busy, err = w.BusyDistributions(w.ctx)
		ok(t, err)
		want(t, "busy with a batch", fmt.Sprint(busy), fmt.Sprint([]int64{w.d.ID}))
	})
}
