package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/pages"
)

// webhooks is what the pages and the receiver need of the use cases about
// webhooks.
type webhooks interface {
	Webhooks(ctx context.Context, distributionID int64) ([]fleet.WebhookRow, error)
	Webhook(ctx context.Context, id int64, deliveries int) (fleet.WebhookRow, error)
	// CreateWebhook and RotateWebhook give a secret that is never shown again; ""
	// when the form was posted before.
	CreateWebhook(ctx context.Context, distributionID int64, in fleet.NewWebhook) (models.Webhook, string, error)
	RotateWebhook(ctx context.Context, id int64, once string) (string, error)
	RetireWebhookSecret(ctx context.Context, id, secretID int64) error
	DeleteWebhook(ctx context.Context, id int64) (models.Webhook, error)
}

// hooks is what deliveries need.
type hooks interface {
	WebhookAt(ctx context.Context, address string) (models.Webhook, error)
	ReceiveHook(ctx context.Context, h models.Webhook, in fleet.Incoming) (models.Delivery, error)
	NoteDelivery(ctx context.Context, d models.Delivery) error
}

// shownDeliveries bounds what a webhook's page lists.
const shownDeliveries = 50

func (s *server) webhooks(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	return s.webhooksPage(c, http.StatusOK, id, pages.Webhooks{Once: newOnce(), Provider: models.ProviderGitHub})
}

func (s *server) webhooksPage(c echo.Context, status int, id int64, view pages.Webhooks) (err error) {
	ctx := c.Request().Context()
	if view.Distribution, err = s.fleet.Distribution(ctx, id); err != nil {
		return err
	}
	if view.Rows, err = s.fleet.Webhooks(ctx, id); err != nil {
		return fmt.Errorf("list webhooks: %w", err)
	}
	view.Info = s.info(view.Distribution.UpdateType)
	view.Page = s.page(c, "distributions", "Webhooks of "+view.Distribution.Name)
	return render(c, status, pages.WebhooksPage(view))
}

func (s *server) createWebhook(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	in := fleet.NewWebhook{
		Provider: models.Provider(c.FormValue("provider")), Branch: strings.TrimSpace(c.FormValue("branch")), Once: once(c),
	}
	h, secret, err := s.fleet.CreateWebhook(c.Request().Context(), id, in)
	if refused(err) {
		view := pages.Webhooks{Once: in.Once, Provider: in.Provider, Branch: in.Branch}
		view.Error, view.Errors = formErrors(err)
		return s.webhooksPage(c, http.StatusUnprocessableEntity, id, view)
	}
	if err != nil {
		return err
	}
	return s.secretPage(c, h.ID, secret)
}

// secretPage shows a secret in the very answer to the form that made it, so that
// it is kept nowhere. A form that was sent before leads to the page without it.
func (s *server) secretPage(c echo.Context, id int64, secret string) error {
	if secret == "" {
		s.say(c, "warning", "This form was sent before, and a secret is shown only once. If you did not note it, make a new one.")
		return redirect(c, fmt.Sprintf("/webhooks/%d", id))
	}
	return s.webhookPage(c, id, secret)
}

func (s *server) webhook(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	return s.webhookPage(c, id, "")
}

func (s *server) webhookPage(c echo.Context, id int64, secret string) error {
	row, err := s.fleet.Webhook(c.Request().Context(), id, shownDeliveries)
	if err != nil {
		return err
	}
	view := pages.Webhook{
		Page: s.page(c, "distributions", "Webhook of "+row.Distribution.Name), Row: row, Once: newOnce(),
		Secret: secret, Address: s.baseOf(c) + hookPath + row.Address,
	}
	return render(c, http.StatusOK, pages.WebhookPage(view))
}

// baseOf is where Hefring is found from outside, as far as it knows.
func (s *server) baseOf(c echo.Context) string {
	if s.base != "" {
		return s.base
	}
	return c.Scheme() + "://" + c.Request().Host
}

func (s *server) rotateWebhook(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	secret, err := s.fleet.RotateWebhook(c.Request().Context(), id, once(c))
	if err != nil {
		return s.acted(c, fmt.Sprintf("/webhooks/%d", id), err, "")
	}
	return s.secretPage(c, id, secret)
}

func (s *server) retireWebhook(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.RetireWebhookSecret(c.Request().Context(), id, chosen(c.FormValue("secret")))
	return s.acted(c, fmt.Sprintf("/webhooks/%d", id), err, "Retired. What is signed with that secret is refused from now on.")
}

func (s *server) deleteWebhook(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	h, err := s.fleet.DeleteWebhook(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/distributions/%d/webhooks", h.DistributionID), err, "Deleted. Remove it at the sender too: its address answers no more.")
}
