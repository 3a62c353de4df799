package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Webhook is an address at which a source says that it changed.
type Webhook struct {
	ID           int64           `json:"id"`
	Distribution string          `json:"distribution" doc:"Its short name"`
	Provider     models.Provider `json:"provider" enum:"github,gitlab,gitlab-token,gitea,bitbucket,bitbucket-server,standard,signature"`
	Branch       string          `json:"branch,omitempty"`
	Path         string          `json:"path" doc:"Of its address; half a secret"`
	DeliveredAt  *time.Time      `json:"delivered_at,omitempty"`
	Created      time.Time       `json:"created_at"`
	Secrets      []WebhookSecret `json:"secrets,omitempty"`
	Deliveries   []Delivery      `json:"deliveries,omitempty"`
}

// WebhookSecret is one without what it holds.
type WebhookSecret struct {
	ID      int64      `json:"id"`
	Created time.Time  `json:"created_at"`
	UsedAt  *time.Time `json:"used_at,omitempty"`
}

// Delivery is what somebody sent to a webhook.
type Delivery struct {
	At      time.Time              `json:"at"`
	Event   string                 `json:"event"`
	Ref     string                 `json:"ref,omitempty"`
	Outcome models.DeliveryOutcome `json:"outcome"`
	Reason  string                 `json:"reason,omitempty"`
	Sender  string                 `json:"sender"`
	Times   int                    `json:"times"`
}

// webhookPath is below what addresses of webhooks are.
const webhookPath = "/hooks/"

// WebhookView gives a webhook as programs read it.
func WebhookView(r fleet.WebhookRow) Webhook {
	v := Webhook{ID: r.ID, Distribution: r.Distribution.Slug, Provider: r.Provider, Branch: r.Branch, Path: webhookPath + r.Address, DeliveredAt: r.HookAt, Created: r.CreatedAt}
	for _, one := range r.Secrets {
		v.Secrets = append(v.Secrets, WebhookSecret{one.ID, one.CreatedAt, one.UsedAt})
	}
	for _, one := range r.Deliveries {
		v.Deliveries = append(v.Deliveries, Delivery{one.At, one.Event, one.Ref, one.Outcome, one.Reason, one.Sender, one.Times})
	}
	return v
}

// WebhookIn names a webhook.
type WebhookIn struct {
	Caller

	Key string `header:"Idempotency-Key" hidden:"true"`
	ID  int64  `path:"webhook"`
}

// Secret is a secret that is shown this once.
type Secret struct {
	Secret string `json:"secret" doc:"Shown this once"`
}

func (s *server) webhooks() {
	type list struct {
		Steps

		Slug string `path:"distribution" doc:"The distribution's short name"`
	}
	register(s, operation{get, "/distributions/{distribution}/webhooks", "list-webhooks", "List a distribution's webhooks"}, func(ctx context.Context, f Fleet, in list) (Page[Webhook], error) {
		d, err := f.DistributionNamed(ctx, in.Slug)
		if err != nil {
			return Page[Webhook]{}, err
		}
		rows, err := f.Webhooks(ctx, d.ID)
		return whole(in.Steps, rows, err, WebhookView, func(r fleet.WebhookRow) fleet.Position { return fleet.Position{ID: r.ID} })
	})
	type order struct {
		DistributionIn

		Key  string `header:"Idempotency-Key" hidden:"true"`
		Body struct {
			Provider models.Provider `json:"provider" enum:"github,gitlab,gitlab-token,gitea,bitbucket,bitbucket-server,standard,signature"`
			Branch   string          `json:"branch,omitempty" doc:"What is said of others counts for nothing"`
		}
	}
	type newWebhook struct {
		Webhook

		Secret string `json:"secret" doc:"Shown this once"`
	}
	about(s, operation{post, "/distributions/{distribution}/webhooks", "add-webhook", "Make a webhook"},
		func(ctx context.Context, f Fleet, in order) (models.Distribution, error) {
			return named(ctx, f, in.DistributionIn)
		},
		func(ctx context.Context, f Fleet, d models.Distribution, in order) (newWebhook, error) {
			h, secret, err := f.CreateWebhook(ctx, d.ID, fleet.NewWebhook{Provider: in.Body.Provider, Branch: in.Body.Branch, Once: once(f, in.Key)})
			return newWebhook{WebhookView(fleet.WebhookRow{Webhook: h, Distribution: d}), secret}, err
		})
	s.oneWebhook()
}

func (s *server) oneWebhook() {
	register(s, operation{get, "/webhooks/{webhook}", "get-webhook", "A webhook with its last deliveries"}, func(ctx context.Context, f Fleet, in WebhookIn) (Webhook, error) {
		row, err := f.Webhook(ctx, in.ID, 50)
		return WebhookView(row), err
	})
	register(s, operation{post, "/webhooks/{webhook}/rotate", "rotate-webhook", "Make a second secret; both are good until one is retired"}, func(ctx context.Context, f Fleet, in WebhookIn) (Secret, error) {
		secret, err := f.RotateWebhook(ctx, in.ID, once(f, in.Key))
		return Secret{secret}, err
	})
	register(s, operation{del, "/webhooks/{webhook}/secrets/{secret}", "retire-webhook-secret", "Make one of a webhook's two secrets worthless"}, func(ctx context.Context, f Fleet, in struct {
		WebhookIn

		Secret int64 `path:"secret"`
	},
	) (done, error) {
		return done{true}, f.RetireWebhookSecret(ctx, in.ID, in.Secret)
	})
	register(s, operation{del, "/webhooks/{webhook}", "delete-webhook", "Delete a webhook; its address answers no more"}, func(ctx context.Context, f Fleet, in WebhookIn) (done, error) {
		_, err := f.DeleteWebhook(ctx, in.ID)
		return done{true}, err
	})
}
