package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type webhookCmd struct {
	List   webhookListCmd   `cmd:"" help:"List a distribution's webhooks."`
	Show   webhookShowCmd   `cmd:"" help:"Print a webhook with its last deliveries."`
	Add    webhookAddCmd    `cmd:"" help:"Make a webhook and print its address and its secret, once."`
	Rotate webhookRotateCmd `cmd:"" help:"Make a second secret and print it, once. Both are good until one is retired."`
	Retire webhookRetireCmd `cmd:"" help:"Make one of a webhook's two secrets worthless."`
	Delete webhookDeleteCmd `cmd:"" help:"Delete a webhook; its address answers no more."`
}

// webhook is a webhook as the API has it, with its whole address.
type webhook struct {
	api.Webhook

	URL    string `json:"url"`
	Secret string `json:"secret,omitempty"` // of a new one
}

func (c *act) webhookView(row fleet.WebhookRow) webhook {
	view := api.WebhookView(row)
	return webhook{Webhook: view, URL: strings.TrimRight(c.URL, "/") + view.Path}
}

type webhookListCmd struct {
	act
	distributionArg
}

// Run prints the list.
func (c *webhookListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		d, err := c.managed(ctx, f)
		if err != nil {
			return err
		}
		rows, err := f.Webhooks(ctx, d.ID)
		if err != nil {
			return err
		}
		list := each(rows, c.webhookView)
		return c.table(list, []string{"WEBHOOK", "SENDER", "BRANCH", "ADDRESS", "LAST DELIVERY"}, func(line func(...any)) {
			for _, h := range list {
				line(h.ID, h.Provider, h.Branch, h.URL, stamp(h.DeliveredAt))
			}
		})
	})
}

// webhookArg names the webhook of a command.
type webhookArg struct {
	ID int64 `arg:"" name:"webhook" help:"The webhook's number; see hefring webhook list."`
}

type webhookShowCmd struct {
	act
	webhookArg
	Limit int `default:"50" help:"At most so many deliveries."`
}

// Run prints it.
func (c *webhookShowCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		row, err := f.Webhook(ctx, c.ID, c.Limit)
		if err != nil {
			return err
		}
		view := c.webhookView(row)
		if c.JSON {
			return printJSON(os.Stdout, view)
		}
		facts := []fact{{"distribution", view.Distribution}, {"sender", view.Provider}, {"branch", view.Branch}, {"address", view.URL}}
		for _, s := range view.Secrets {
			facts = append(facts, fact{"secret", fmt.Sprintf("%d, made %s, last used %s", s.ID, stamp(&s.Created), cmp.Or(stamp(s.UsedAt), "never"))})
		}
		if err := c.facts(nil, facts); err != nil {
			return err
		}
		return c.table(nil, []string{"AT", "EVENT", "REF", "OUTCOME", "TIMES", "FROM", "WHY"}, func(line func(...any)) {
			for _, d := range view.Deliveries {
				line(stamp(&d.At), d.Event, d.Ref, d.Outcome, d.Times, d.Sender, d.Reason)
			}
		})
	})
}

type webhookAddCmd struct {
	act
	distributionArg
	Provider string `required:"" placeholder:"SENDER" help:"Who sends: github, gitlab, gitlab-token, gitea, bitbucket, bitbucket-server, standard or signature."`
	Branch   string `help:"Listen to this branch only."`
}

// Run makes it.
func (c *webhookAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		d, err := c.managed(ctx, f)
		if err != nil {
			return err
		}
		h, secret, err := f.CreateWebhook(ctx, d.ID, fleet.NewWebhook{Provider: models.Provider(c.Provider), Branch: c.Branch})
		if err != nil {
			return err
		}
		view := c.webhookView(fleet.WebhookRow{Webhook: h, Distribution: d})
		view.Secret = secret
		return c.facts(view, []fact{{"webhook", h.ID}, {"address", view.URL}, {"secret", secret}})
	})
}

type webhookRotateCmd struct {
	act
	webhookArg
}

// Run makes the secret.
func (c *webhookRotateCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		secret, err := f.RotateWebhook(ctx, c.ID, "")
		if err != nil {
			return err
		}
		return c.single("secret", secret)
	})
}

type webhookRetireCmd struct {
	act
	webhookArg
	Secret int64 `arg:"" help:"The secret's number; see hefring webhook show."`
}

// Run retires it.
func (c *webhookRetireCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error { return f.RetireWebhookSecret(ctx, c.ID, c.Secret) })
}

type webhookDeleteCmd struct {
	act
	webhookArg
}

// Run deletes it.
func (c *webhookDeleteCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		_, err := f.DeleteWebhook(ctx, c.ID)
		return err
	})
}
