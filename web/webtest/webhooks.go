package webtest

import (
	"context"
	"slices"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/webhook"
	"hefring/models"
)

// Webhooks of the sample fleet.
const (
	GitHubHook  = 1 // with two secrets and deliveries of all kinds
	ScriptHook  = 2 // to which nothing was delivered
	HookSecret  = "the old secret of the sample webhook"
	HookAddress = "0123456789abcdef0123456789abcdef"
)

func sampleHooks(f *Fleet, back func(time.Duration) time.Time) {
	at := func(minutes int) time.Time { return back(time.Duration(minutes) * time.Minute) }
	f.HookSecrets = map[int64][]string{GitHubHook: {HookSecret, "the younger secret of the sample"}, ScriptHook: {"another"}}
	f.Hooks = []fleet.WebhookRow{
		{
			Webhook: models.Webhook{ID: GitHubHook, DistributionID: GitDistribution, Address: HookAddress, Provider: models.ProviderGitHub, Branch: "main", HookAt: new(at(41)), CreatedAt: at(9000)},
			Secrets: []models.WebhookSecret{{ID: 1, WebhookID: GitHubHook, CreatedAt: at(9000), UsedAt: new(at(41))}, {ID: 2, WebhookID: GitHubHook, CreatedAt: at(5)}},
			Deliveries: []models.Delivery{
				{ID: 6, Outcome: models.DeliveryRefused, Reason: "It does not fit the secret: another secret was used, or the body was changed on its way. Make a new secret and paste it at the sender.", Event: "push", Key: "0b989ba4-242f-11e5-81e1-c7b6966d2516", Sender: "198.51.100.23", Times: 1210, At: at(3)},
				{ID: 5, Outcome: models.DeliveryAccepted, Event: "push", Ref: "main", Key: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Fresh: true, Sender: "192.0.2.44", Times: 1, At: at(41)},
				{ID: 4, Outcome: models.DeliveryDuplicate, Event: "push", Ref: "main", Key: "61d3162e-cc78-11e3-81ab-4c9367dc0958", Sender: "192.0.2.44", Times: 2, At: at(60)},
				{ID: 3, Outcome: models.DeliveryIgnored, Reason: "It speaks of feature/menu; this webhook listens to the branch main.", Event: "push", Ref: "feature/menu", Key: "50d3162e-cc78-11e3-81ab-4c9367dc0958", Fresh: true, Sender: "192.0.2.44", Times: 1, At: at(90)},
				{ID: 2, Outcome: models.DeliveryPing, Event: "ping", Key: "40d3162e-cc78-11e3-81ab-4c9367dc0958", Fresh: true, Sender: "2001:db8:85a3::/64", Times: 1, At: at(8999)},
			},
		},
		{
			Webhook: models.Webhook{ID: ScriptHook, DistributionID: GitDistribution, Address: "fedcba9876543210fedcba9876543210", Provider: models.ProviderSignature, CreatedAt: at(50)},
			Secrets: []models.WebhookSecret{{ID: 3, WebhookID: ScriptHook, CreatedAt: at(50)}},
		},
	}
}

// Webhooks lists a distribution's webhooks.
func (f *Fleet) Webhooks(_ context.Context, distributionID int64) ([]fleet.WebhookRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []fleet.WebhookRow
	for _, h := range f.Hooks {
		if h.DistributionID == distributionID {
			list = append(list, h)
		}
	}
	return list, f.Fail["Webhooks"]
}

// Webhook gives one webhook.
func (f *Fleet) Webhook(ctx context.Context, id int64, deliveries int) (fleet.WebhookRow, error) {
	row, err := get(f, &f.Hooks, "webhook", func(h fleet.WebhookRow) bool { return h.ID == id })
	if err != nil {
		return row, err
	}
	row.Deliveries = row.Deliveries[:min(len(row.Deliveries), deliveries)]
	row.Distribution, err = f.Distribution(ctx, row.DistributionID)
	return row, err
}

// CreateWebhook makes one; the same token again gives the first without secret.
func (f *Fleet) CreateWebhook(_ context.Context, distributionID int64, in fleet.NewWebhook) (models.Webhook, string, error) {
	if err := f.called("CreateWebhook"); err != nil {
		return models.Webhook{}, "", err
	}
	h := models.Webhook{DistributionID: distributionID, Address: webhook.NewAddress(), Provider: in.Provider, Branch: in.Branch, CreatedAt: time.Now()}
	if wrong := h.Validate(); len(wrong) > 0 {
		return h, "", &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: wrong}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if first, twin := f.onces[in.Once]; twin && in.Once != "" {
		h.ID = first
		return h, "", nil
	}
	h.ID = f.nextID()
	f.remember(in.Once, h.ID)
	secret := webhook.NewSecret(in.Provider)
	f.Hooks = append(f.Hooks, fleet.WebhookRow{Webhook: h, Secrets: []models.WebhookSecret{{ID: f.nextID(), WebhookID: h.ID, CreatedAt: h.CreatedAt}}})
	f.HookSecrets[h.ID] = []string{secret}
	return h, secret, nil
}

// RotateWebhook makes a second secret.
func (f *Fleet) RotateWebhook(_ context.Context, id int64, once string) (string, error) {
	if err := f.called("RotateWebhook"); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, twin := f.onces[once]; twin && once != "" {
		return "", nil
	}
	f.remember(once, id)
	for i := range f.Hooks {
		if f.Hooks[i].ID == id {
			secret := webhook.NewSecret(f.Hooks[i].Provider)
			f.Hooks[i].Secrets = append(f.Hooks[i].Secrets, models.WebhookSecret{ID: f.nextID(), WebhookID: id, CreatedAt: time.Now()})
			f.HookSecrets[id] = append(f.HookSecrets[id], secret)
			return secret, nil
		}
	}
	return "", missing("webhook")
}

// RetireWebhookSecret is only noted.
func (f *Fleet) RetireWebhookSecret(_ context.Context, _, _ int64) error {
	return f.called("RetireWebhookSecret")
}

// DeleteWebhook removes one.
func (f *Fleet) DeleteWebhook(ctx context.Context, id int64) (models.Webhook, error) {
	row, err := f.Webhook(ctx, id, 0)
	if err != nil {
		return models.Webhook{}, err
	}
	if err := f.called("DeleteWebhook"); err != nil {
		return row.Webhook, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Hooks = slices.DeleteFunc(f.Hooks, func(h fleet.WebhookRow) bool { return h.ID == id })
	return row.Webhook, nil
}

// WebhookAt finds one by its address.
func (f *Fleet) WebhookAt(_ context.Context, address string) (models.Webhook, error) {
	if err := f.called("WebhookAt"); err != nil {
		return models.Webhook{}, err
	}
	row, err := get(f, &f.Hooks, "webhook", func(h fleet.WebhookRow) bool { return h.Address == address })
	return row.Webhook, err
}

// ReceiveHook proves a delivery; the one with the id seen is a duplicate.
func (f *Fleet) ReceiveHook(_ context.Context, h models.Webhook, in fleet.Incoming) (models.Delivery, error) {
	d := models.Delivery{WebhookID: h.ID, Sender: in.Sender, Outcome: models.DeliveryRefused}
	if err := f.called("ReceiveHook"); err != nil {
		d.Reason = models.Explain(err)
		return d, err
	}
	if webhook.IsUnsignedPing(h.Provider, in.Header) {
		d.Outcome, d.Reason = models.DeliveryPing, "Nothing was proven."
		return d, nil
	}
	_, err := webhook.Verify(h.Provider, f.HookSecrets[h.ID], in.Header, in.Body, time.Now())
	if err != nil {
		d.Reason = models.Explain(err)
		return d, err
	}
	m, err := webhook.Parse(h.Provider, in.Header, in.Body)
	switch {
	case err != nil:
		d.Reason = models.Explain(err)
		return d, err
	case m.ID == "seen":
		d.Outcome = models.DeliveryDuplicate
	case m.Kind == webhook.Ping:
		d.Outcome = models.DeliveryPing
	case m.Kind == webhook.Other || !m.Concerns(h.Branch):
		d.Outcome, d.Reason = models.DeliveryIgnored, "It says nothing about the source."
	default:
		d.Outcome = models.DeliveryAccepted
	}
	return d, nil
}

// NoteDelivery keeps a delivery.
func (f *Fleet) NoteDelivery(_ context.Context, d models.Delivery) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Noted = append(f.Noted, d)
	return f.Fail["NoteDelivery"]
}

// Notes are the deliveries that were noted.
func (f *Fleet) Notes() []models.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Noted)
}
