package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"hefring/internal/webhook"
	"hefring/models"
)

// ActorWebhook is the actor of checks that a webhook asked for.
const ActorWebhook = "webhook"

// hookDelay is when the source is looked at after a webhook that sends more than
// it may.
const hookDelay = time.Minute

// Hooks is what happens to webhooks inside a transaction.
type Hooks interface {
	CreateWebhook(ctx context.Context, h *models.Webhook) error
	Webhook(ctx context.Context, id int64) (models.Webhook, error)
	WebhookAt(ctx context.Context, address string) (models.Webhook, error)
	WebhooksOf(ctx context.Context, distributionID int64) ([]models.Webhook, error) // oldest first
	// LockWebhook makes others that lock a webhook wait until the transaction ends.
	LockWebhook(ctx context.Context, id int64) error
	DeleteWebhook(ctx context.Context, id int64) error                       // with secrets and deliveries
	MarkWebhook(ctx context.Context, id, secretID int64, at time.Time) error // a delivery was proven
	AddWebhookSecret(ctx context.Context, secret *models.WebhookSecret) error
	WebhookSecrets(ctx context.Context, id int64) ([]models.WebhookSecret, error) // oldest first
	DropWebhookSecret(ctx context.Context, id int64) error
	// RecordDelivery stores a proven delivery. When one with its key is there
	// already, fresh is false; unless that came before the time forget, which may
	// be zero for never.
	RecordDelivery(ctx context.Context, d models.Delivery, forget time.Time) (fresh bool, err error)
	// RecordUnproven stores a delivery that proved nothing; only the newest stay.
	RecordUnproven(ctx context.Context, d models.Delivery) error
	CountDeliveries(ctx context.Context, id int64, since time.Time) (int, error)    // proven ones
	Deliveries(ctx context.Context, id int64, limit int) ([]models.Delivery, error) // newest first
}

// NewWebhook is what a person types for a webhook.
type NewWebhook struct {
	Provider models.Provider
	Branch   string
	Once     string // token of the form
}

// WebhookRow is a webhook with what its line and page show beside it.
type WebhookRow struct {
	models.Webhook
	Distribution models.Distribution
	Secrets      []models.WebhookSecret // oldest first, without what they hold
	Deliveries   []models.Delivery      // newest first
}

// Incoming is a delivery as it came over the network.
type Incoming struct {
	Header http.Header
	Body   []byte
	Sender string // network address
}

func webhookContext(h models.Webhook) string { return "webhook " + h.Address }

// CreateWebhook makes a webhook for a distribution and gives its secret, which
// is never shown again. A form that is posted twice makes one, whose secret the
// second answer does not have.
func (f *Fleet) CreateWebhook(ctx context.Context, by string, distributionID int64, in NewWebhook) (models.Webhook, string, error) {
	d, err := f.store.Distribution(ctx, distributionID)
	if err != nil {
		return models.Webhook{}, "", err
	}
	if d.UpstreamID == nil {
		return models.Webhook{}, "", models.Errorf(models.Invalid, "%s has no source to look at, so a webhook has nothing to do. Register platforms by hand.", d.Name)
	}
	h := models.Webhook{DistributionID: d.ID, Address: webhook.NewAddress(), Provider: in.Provider, Branch: in.Branch}
	if wrong := h.Validate(); len(wrong) > 0 {
		return models.Webhook{}, "", models.InvalidFields(wrong)
	}
	var secret string
	var first int64
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, sent{in.Once, "webhook", []any{d.ID, in}}, &first); err != nil {
			return err
		}
		if _, err := tx.LockDistribution(ctx, d.ID); err != nil {
			return err // it was deleted meanwhile
		}
		others, err := tx.WebhooksOf(ctx, d.ID)
		if err != nil {
			return err
		}
		if len(others) >= models.MaxWebhooks {
			return models.Errorf(models.Conflict, "%s has %d webhooks already. Delete one that is not used any more.", d.Name, len(others))
		}
		if err := tx.CreateWebhook(ctx, &h); err != nil {
			return err
		}
		if secret, err = f.addSecret(ctx, tx, h); err != nil {
			return err
		}
		if err := useForm(ctx, tx, in.Once, h.ID); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "webhook create", distributionSubject(d.ID),
			fmt.Sprintf("Added webhook %d of %s for %s.", h.ID, d.Name, h.Provider)).With(nil, h))
	})
	if errors.Is(err, errTwin) {
		h, err = f.store.Webhook(ctx, first)
		return h, "", err
	}
	return h, secret, err
}

// addSecret makes a secret for a webhook and gives it.
func (f *Fleet) addSecret(ctx context.Context, tx Tx, h models.Webhook) (string, error) {
	secret := webhook.NewSecret(h.Provider)
	sealed, err := f.cfg.Secrets.Seal(webhookContext(h), []byte(secret))
	if err != nil {
		return "", fmt.Errorf("seal secret of webhook %d: %w", h.ID, err)
	}
	return secret, tx.AddWebhookSecret(ctx, &models.WebhookSecret{WebhookID: h.ID, Sealed: sealed})
}

// RotateWebhook makes a second secret for a webhook and gives it. Both are good
// until one is retired.
func (f *Fleet) RotateWebhook(ctx context.Context, by string, id int64, once string) (string, error) {
	h, err := f.store.Webhook(ctx, id)
	if err != nil {
		return "", err
	}
	var secret string
	var first int64
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, sent{once, "webhook", []any{"secret", id}}, &first); err != nil {
			return err
		}
		live, err := lockSecrets(ctx, tx, id)
		if err != nil {
			return err
		}
		if len(live) >= models.MaxWebhookSecrets {
			return models.Errorf(models.Conflict, "This webhook has two secrets already. Retire one before you make another.")
		}
		if secret, err = f.addSecret(ctx, tx, h); err != nil {
			return err
		}
		if err := useForm(ctx, tx, once, id); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "webhook rotate", distributionSubject(h.DistributionID),
			fmt.Sprintf("Made a new secret for webhook %d.", id)).Replaced("secret"))
	})
	if errors.Is(err, errTwin) {
		return "", nil
	}
	return secret, err
}

func lockSecrets(ctx context.Context, tx Tx, id int64) ([]models.WebhookSecret, error) {
	if err := tx.LockWebhook(ctx, id); err != nil {
		return nil, err
	}
	return tx.WebhookSecrets(ctx, id)
}

// RetireWebhookSecret makes one of a webhook's two secrets worthless.
func (f *Fleet) RetireWebhookSecret(ctx context.Context, by string, id, secretID int64) error {
	h, err := f.store.Webhook(ctx, id)
	if err != nil {
		return err
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		live, err := lockSecrets(ctx, tx, id)
		if err != nil {
			return err
		}
		known := false
		for _, secret := range live {
			known = known || secret.ID == secretID
		}
		if !known {
			return models.Errorf(models.Conflict, "This secret was retired already. Reload the page and look again.")
		}
		if len(live) == 1 {
			return models.Errorf(models.Conflict, "This is the webhook's only secret. Make a new one first, or delete the webhook.")
		}
		if err := tx.DropWebhookSecret(ctx, secretID); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "webhook retire", distributionSubject(h.DistributionID),
			fmt.Sprintf("Retired a secret of webhook %d.", id)).Replaced("secret"))
	})
}

// DeleteWebhook removes a webhook, whose address then answers as if it had never
// been. It gives what it was.
func (f *Fleet) DeleteWebhook(ctx context.Context, by string, id int64) (models.Webhook, error) {
	h, err := f.store.Webhook(ctx, id)
	if err != nil {
		return models.Webhook{}, err
	}
	return h, f.store.InTx(ctx, func(tx Tx) error {
		return f.dropWebhook(ctx, tx, by, h)
	})
}

func (f *Fleet) dropWebhook(ctx context.Context, tx Tx, by string, h models.Webhook) error {
	if err := tx.DeleteWebhook(ctx, h.ID); err != nil {
		return err
	}
	return tx.RecordEvent(ctx, f.event(by, "webhook delete", distributionSubject(h.DistributionID),
		fmt.Sprintf("Deleted webhook %d for %s.", h.ID, h.Provider)).With(h, nil))
}

// Webhooks lists a distribution's webhooks, oldest first, without deliveries.
func (f *Fleet) Webhooks(ctx context.Context, distributionID int64) ([]WebhookRow, error) {
	list, err := f.store.WebhooksOf(ctx, distributionID)
	if err != nil {
		return nil, err
	}
	rows := make([]WebhookRow, 0, len(list)) // at most models.MaxWebhooks
	for _, h := range list {
		row, err := f.webhookRow(ctx, h, 0)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Webhook gives one webhook with its last deliveries.
func (f *Fleet) Webhook(ctx context.Context, id int64, deliveries int) (WebhookRow, error) {
	h, err := f.store.Webhook(ctx, id)
	if err != nil {
		return WebhookRow{}, err
	}
	return f.webhookRow(ctx, h, deliveries)
}

func (f *Fleet) webhookRow(ctx context.Context, h models.Webhook, deliveries int) (row WebhookRow, err error) {
	row.Webhook = h
	if row.Distribution, err = f.store.Distribution(ctx, h.DistributionID); err != nil {
		return row, err
	}
	if row.Secrets, err = f.store.WebhookSecrets(ctx, h.ID); err != nil {
		return row, err
	}
	for i := range row.Secrets {
		row.Secrets[i].Sealed = nil
	}
	if deliveries > 0 {
		row.Deliveries, err = f.store.Deliveries(ctx, h.ID, deliveries)
	}
	return row, err
}

// WebhookAt finds the webhook of a public address. NotFound: there is none.
func (f *Fleet) WebhookAt(ctx context.Context, address string) (models.Webhook, error) {
	return f.store.WebhookAt(ctx, address)
}

// ReceiveHook takes a delivery. When it is proven, it is recorded, and when it
// may concern the source, a look at that is on its way once this returns. What
// is refused comes back with a models.Error that says why: Forbidden when it is
// not proven, Invalid when it makes no sense, Unavailable when there were too
// many. It is not recorded; NoteDelivery does that, if the caller wants it to.
func (f *Fleet) ReceiveHook(ctx context.Context, h models.Webhook, in Incoming) (models.Delivery, error) {
	f = f.Through(models.Entrance{Door: models.DoorWebhook, Address: in.Sender})
	d := models.Delivery{WebhookID: h.ID, Sender: in.Sender, At: f.cfg.Now()}
	d.Event, d.Key = webhook.Claims(h.Provider, in.Header)
	if webhook.IsUnsignedPing(h.Provider, in.Header) {
		d.Outcome = models.DeliveryPing
		d.Reason = "Bitbucket does not sign its test, so it shows only that the address is reached."
		return d, nil
	}
	secret, err := f.prove(ctx, h, in, d.At)
	if err != nil {
		return refuse(d, err)
	}
	m, err := webhook.Parse(h.Provider, in.Header, in.Body)
	if err != nil {
		return refuse(d, err)
	}
	d.Key, d.Event = m.ID, m.Event
	if len(m.Refs) > 0 {
		d.Ref = m.Refs[0].Text
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		n, err := tx.CountDeliveries(ctx, h.ID, d.At.Add(-time.Hour))
		if err != nil {
			return err
		}
		if n >= models.MaxDeliveriesHourly {
			d.Outcome = models.DeliveryRefused
			return nil
		}
		if err := f.take(ctx, tx, h, m, &d); err != nil {
			return err
		}
		return tx.MarkWebhook(ctx, h.ID, secret, d.At)
	})
	if err == nil && d.Outcome == models.DeliveryRefused {
		return f.putOff(ctx, h, d)
	}
	return d, err
}

// refuse notes why a delivery is refused, if that is the sender's doing.
func refuse(d models.Delivery, err error) (models.Delivery, error) {
	d.Outcome, d.Reason = models.DeliveryRefused, models.Explain(err)
	return d, err
}

// NoteDelivery records a delivery that proved nothing.
func (f *Fleet) NoteDelivery(ctx context.Context, d models.Delivery) error {
	if d.At.IsZero() {
		d.At = f.cfg.Now()
	}
	return f.store.RecordUnproven(ctx, d)
}

// prove finds the secret that proves a delivery.
func (f *Fleet) prove(ctx context.Context, h models.Webhook, in Incoming, now time.Time) (int64, error) {
	live, err := f.store.WebhookSecrets(ctx, h.ID)
	if err != nil {
		return 0, err
	}
	var secrets []string
	var ids []int64
	for _, secret := range live {
		plain, err := f.cfg.Secrets.Open(webhookContext(h), secret.Sealed)
		if err != nil {
			// The other one may still do.
			f.logger.ErrorContext(ctx, "open secret of webhook", slog.Int64("webhook", h.ID), slog.Any("error", err))
			continue
		}
		secrets, ids = append(secrets, string(plain)), append(ids, secret.ID)
	}
	if len(secrets) == 0 && len(live) > 0 {
		return 0, models.Errorf(models.Forbidden, "The webhook's secret cannot be read here, so nothing can be proven. Put the key file back, or make a new secret.")
	}
	index, err := webhook.Verify(h.Provider, secrets, in.Header, in.Body, now)
	if err != nil {
		return 0, err
	}
	return ids[index], nil
}

// take records a proven delivery and asks for a look at the source, if it may
// concern that.
func (f *Fleet) take(ctx context.Context, tx Tx, h models.Webhook, m webhook.Message, d *models.Delivery) error {
	distribution, err := tx.Distribution(ctx, h.DistributionID)
	if err != nil {
		return err
	}
	d.Outcome, d.Reason, err = f.means(ctx, tx, h, distribution, m)
	if err != nil {
		return err
	}
	var forget time.Time
	if !m.Named {
		forget = d.At.Add(-models.RepeatWindow)
	}
	fresh, err := tx.RecordDelivery(ctx, *d, forget)
	if err != nil {
		return err
	}
	if !fresh {
		d.Outcome, d.Reason = models.DeliveryDuplicate, ""
		return nil
	}
	if d.Outcome != models.DeliveryAccepted {
		return nil
	}
	if err := trust(ctx, tx, h, *distribution.UpstreamID, d.At); err != nil {
		return err
	}
	_, _, err = f.requestCheck(ctx, tx, ActorWebhook, distribution, models.TriggerWebhook)
	if models.CodeOf(err) == models.Conflict {
		// Somebody else's look began in this very moment, perhaps too early.
		return f.lookAgain(ctx, tx, *distribution.UpstreamID)
	}
	return err
}

// trust notes that an upstream has a webhook that works, so that it is asked
// less often. One that listens to a branch is no news for others who follow
// another branch of the same upstream.
func trust(ctx context.Context, tx Tx, h models.Webhook, upstreamID int64, at time.Time) error {
	if h.Branch != "" {
		subscribers, err := tx.Subscribers(ctx, upstreamID)
		if err != nil || len(subscribers) > 1 {
			return err
		}
	}
	return tx.MarkHook(ctx, upstreamID, at)
}

// means says what a proven message leads to, and why not to a look.
func (f *Fleet) means(ctx context.Context, tx Tx, h models.Webhook, d models.Distribution, m webhook.Message) (models.DeliveryOutcome, string, error) {
	switch {
	case m.Kind == webhook.Ping:
		return models.DeliveryPing, "", nil
	case m.Kind == webhook.Other:
		return models.DeliveryIgnored, fmt.Sprintf("The event %s says nothing about the source. Send pushes and tags only.", m.Event), nil
	case !m.Concerns(h.Branch):
		return models.DeliveryIgnored, fmt.Sprintf("It speaks of %s; this webhook listens to the branch %s.", m.Refs[0].Text, h.Branch), nil
	case d.UpstreamID == nil:
		return models.DeliveryIgnored, d.Name + " has no source to look at.", nil
	}
	u, err := tx.Upstream(ctx, *d.UpstreamID)
	if err != nil {
		return "", "", err
	}
	if u.Stalled { // one more refusal might lock us out for long
		return models.DeliveryIgnored, "The source is not asked before somebody acts: " + u.Message, nil
	}
	return models.DeliveryAccepted, "", nil
}

// putOff answers a sender that sends too much: one look after a while stands for
// all that it says meanwhile, so that nothing is missed.
func (f *Fleet) putOff(ctx context.Context, h models.Webhook, d models.Delivery) (models.Delivery, error) {
	distribution, err := f.store.Distribution(ctx, h.DistributionID)
	if err != nil {
		return d, err
	}
	if distribution.UpstreamID != nil {
		if err := f.store.ScheduleUpstream(ctx, *distribution.UpstreamID, d.At.Add(hookDelay)); err != nil {
			return d, err
		}
	}
	return refuse(d, models.Errorf(models.Unavailable,
		"There were more than %d deliveries within an hour. The source is looked at within a minute; send pushes and tags only.", models.MaxDeliveriesHourly).After(hookDelay))
}
