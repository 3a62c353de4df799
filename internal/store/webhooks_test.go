package store_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// hook makes a webhook with one secret.
func (w *world) hook(t *testing.T) models.Webhook {
	t.Helper()
	h := models.Webhook{DistributionID: w.d.ID, Address: fmt.Sprintf("%032x", time.Now().UnixNano()), Provider: models.ProviderGitHub}
	ok(t, w.CreateWebhook(w.ctx, &h))
	ok(t, w.AddWebhookSecret(w.ctx, &models.WebhookSecret{WebhookID: h.ID, Sealed: []byte{0, 1, 255}}))
	return h
}

// eachDatabase runs a test on both databases.
func eachDatabase(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, database(t)))
		})
	}
}

func TestStore_Webhook_KeepsEverything(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		h := w.hook(t)
		got, err := w.WebhookAt(w.ctx, h.Address)
		ok(t, err)
		want(t, "id", got.ID, h.ID)
		for _, unknown := range []string{"", "x", h.Address + "0", strings.ToUpper(h.Address) + "A", strings.Repeat("0", 32), "\xff\x00", strings.Repeat("é", 9999)} {
			_, err = w.WebhookAt(w.ctx, unknown)
			wantCode(t, err, models.NotFound)
		}
		secrets, err := w.WebhookSecrets(w.ctx, h.ID)
		ok(t, err)
		want(t, "secrets", len(secrets), 1)
		want(t, "sealed", string(secrets[0].Sealed), "\x00\x01\xff")
		want(t, "used", secrets[0].UsedAt == nil, true)

		at := time.Now().UTC().Truncate(time.Microsecond)
		ok(t, w.MarkWebhook(w.ctx, h.ID, secrets[0].ID, at))
		got, err = w.Webhook(w.ctx, h.ID)
		ok(t, err)
		want(t, "proven", got.HookAt.Equal(at), true)
		secrets, err = w.WebhookSecrets(w.ctx, h.ID)
		ok(t, err)
		want(t, "used", secrets[0].UsedAt.Equal(at), true)

		other := w.hook(t)
		list, err := w.WebhooksOf(w.ctx, w.d.ID)
		ok(t, err)
		want(t, "webhooks", len(list), 2)
		want(t, "oldest", list[0].ID, h.ID)
		wantCode(t, w.CreateWebhook(w.ctx, &models.Webhook{DistributionID: w.d.ID, Address: other.Address, Provider: models.ProviderGitHub}), models.Conflict)
		wantCode(t, w.CreateWebhook(w.ctx, &models.Webhook{DistributionID: 999, Address: "x", Provider: models.ProviderGitHub}), models.NotFound)
		wantCode(t, w.LockWebhook(w.ctx, 999), models.NotFound)
		wantCode(t, w.DeleteWebhook(w.ctx, 999), models.NotFound)
	})
}

func TestStore_DeleteWebhook_TakesAllWithIt(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		h, other := w.hook(t), w.hook(t)
		for _, one := range []models.Webhook{h, other} {
			_, err := w.RecordDelivery(w.ctx, models.Delivery{WebhookID: one.ID, Key: "k", Outcome: models.DeliveryAccepted, At: time.Now()}, time.Time{})
			ok(t, err)
		}
		ok(t, w.DeleteWebhook(w.ctx, h.ID))
		_, err := w.WebhookAt(w.ctx, h.Address)
		wantCode(t, err, models.NotFound)
		for id, left := range map[int64]int{h.ID: 0, other.ID: 1} {
			secrets, err := w.WebhookSecrets(w.ctx, id)
			ok(t, err)
			want(t, "secrets", len(secrets), left)
			deliveries, err := w.Deliveries(w.ctx, id, 10)
			ok(t, err)
			want(t, "deliveries", len(deliveries), left)
		}
	})
}

func TestStore_RecordDelivery_SecondIsDuplicate(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		h, other := w.hook(t), w.hook(t)
		at := time.Now().UTC().Truncate(time.Microsecond)
		record := func(hook models.Webhook, key string, forget time.Time) bool {
			at = at.Add(time.Second)
			fresh, err := w.RecordDelivery(w.ctx, models.Delivery{WebhookID: hook.ID, Key: key, Event: "push", Ref: "main", Outcome: models.DeliveryAccepted, Sender: "192.0.2.1", At: at}, forget)
			ok(t, err)
			return fresh
		}
		want(t, "first", record(h, "a", time.Time{}), true)
		want(t, "again", record(h, "a", time.Time{}), false)
		want(t, "and again", record(h, "a", time.Time{}), false)
		want(t, "another", record(h, "b", time.Time{}), true)
		want(t, "at another webhook", record(other, "a", time.Time{}), true)
		want(t, "soon again", record(h, "b", at.Add(-time.Hour)), false)
		want(t, "long after", record(h, "b", at.Add(time.Hour)), true)
		want(t, "soon after that", record(h, "b", at.Add(-time.Second)), false)

		list, err := w.Deliveries(w.ctx, h.ID, 10)
		ok(t, err)
		var text []string
		for _, d := range list {
			text = append(text, fmt.Sprintf("%s %s %d %v", d.Key, d.Outcome, d.Times, d.Fresh))
		}
		want(t, "deliveries", strings.Join(text, ", "), "b duplicate 2 false, b accepted 2 true, a duplicate 2 false, a accepted 1 true")
		n, err := w.CountDeliveries(w.ctx, h.ID, at.Add(-time.Hour))
		ok(t, err)
		want(t, "proven", n, 2)
		n, err = w.CountDeliveries(w.ctx, h.ID, at.Add(time.Hour))
		ok(t, err)
		want(t, "proven later", n, 0)
	})
}

func TestStore_RecordDelivery_OneWinner(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		h := w.hook(t)
		var winners atomic.Int32
		var senders sync.WaitGroup
		for range 20 {
			senders.Go(func() {
				err := w.InTx(w.ctx, func(tx fleet.Tx) error {
					fresh, err := tx.RecordDelivery(w.ctx, models.Delivery{WebhookID: h.ID, Key: "same", Outcome: models.DeliveryAccepted, At: time.Now()}, time.Time{})
					if fresh {
						winners.Add(1)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		senders.Wait()
		want(t, "winners", winners.Load(), 1)
		list, err := w.Deliveries(w.ctx, h.ID, 100)
		ok(t, err)
		want(t, "rows", len(list), 2)
		want(t, "deliveries", list[0].Times+list[1].Times, 20)
	})
}

// Somebody without a secret cannot fill the disk, nor keep a proven delivery out
// by sending its id first.
func TestStore_RecordUnproven_Bounded(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		h := w.hook(t)
		at := time.Now().UTC().Truncate(time.Microsecond)
		refuse := func(key, reason, sender string) {
			at = at.Add(time.Second)
			ok(t, w.RecordUnproven(w.ctx, models.Delivery{WebhookID: h.ID, Key: key, Outcome: models.DeliveryRefused, Reason: reason, Sender: sender, At: at}))
		}
		for range 30 {
			refuse("k", "No secret fits.", "192.0.2.1")
		}
		list, err := w.Deliveries(w.ctx, h.ID, 1000)
		ok(t, err)
		want(t, "rows", len(list), 1)
		want(t, "times", list[0].Times, 30)
		want(t, "at", list[0].At.Equal(at), true)

		fresh, err := w.RecordDelivery(w.ctx, models.Delivery{WebhookID: h.ID, Key: "k", Outcome: models.DeliveryAccepted, At: at}, time.Time{})
		ok(t, err)
		want(t, "proven after forgeries", fresh, true)

		for i := range 3 * models.KeepRefused {
			refuse("k", "No secret fits.", fmt.Sprintf("2001:db8::%x", i))
		}
		list, err = w.Deliveries(w.ctx, h.ID, 1000)
		ok(t, err)
		want(t, "rows", len(list), models.KeepRefused+1)
		want(t, "newest", list[0].Sender, fmt.Sprintf("2001:db8::%x", 3*models.KeepRefused-1))
		want(t, "the proven one stays", list[len(list)-1].Outcome, models.DeliveryAccepted)
		list, err = w.Deliveries(w.ctx, h.ID, 5)
		ok(t, err)
		want(t, "limit", len(list), 5)
	})
}

func TestStore_Prune_ForgetsOldDeliveries(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		h := w.hook(t)
		now := time.Now()
		for i, age := range []time.Duration{0, 6 * 24 * time.Hour, 8 * 24 * time.Hour} {
			_, err := w.RecordDelivery(w.ctx, models.Delivery{WebhookID: h.ID, Key: strconv.Itoa(i), Outcome: models.DeliveryPing, At: now.Add(-age)}, time.Time{})
			ok(t, err)
		}
		ok(t, w.Prune(w.ctx, now))
		list, err := w.Deliveries(w.ctx, h.ID, 10)
		ok(t, err)
		want(t, "left", len(list), 2)
	})
}
