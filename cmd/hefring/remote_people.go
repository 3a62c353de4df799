package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

func (r *farDoor) userFrom(u api.User) fleet.UserRow {
	row := fleet.UserRow{User: models.User{ID: r.number(models.SubjectUser, u.Name), Name: u.Name, Role: u.Role, CreatedAt: u.Created}, ClientName: u.Client}
	if u.Client != "" {
		row.ClientID = new(r.number(models.SubjectClient, u.Client))
	}
	if u.Disabled {
		row.DisabledAt = new(time.Time) // since when is not known here
	}
	return row
}

// UserRows lists who may sign in.
func (r *farDoor) UserRows(ctx context.Context, f fleet.Filter) ([]fleet.UserRow, int, error) {
	list, total, err := listed[api.User](ctx, r, "/users", filterQuery(f), f.Limit)
	return each(list, r.userFrom), total, err
}

func userPath(name string) string { return "/users/" + url.PathEscape(name) }

// UserNamed finds a user by its name.
func (r *farDoor) UserNamed(ctx context.Context, name string) (models.User, error) {
	var u api.User
	if err := r.get(ctx, userPath(name), nil, &u); err != nil {
		return models.User{}, err
	}
	return r.userFrom(u).User, nil
}

// AddUser adds a user.
func (r *farDoor) AddUser(ctx context.Context, in fleet.NewUser) (models.User, error) {
	var u api.User
	err := r.post(ctx, "/users", map[string]any{"name": in.Name, "role": in.Role, "client": r.name(in.ClientID), "password": in.Password}, &u)
	return r.userFrom(u).User, err
}

// ChangeUser changes what a user may do.
func (r *farDoor) ChangeUser(ctx context.Context, id int64, in fleet.NewUser) error {
	body := map[string]any{"role": in.Role, "client": r.name(in.ClientID), "disabled": in.Disabled}
	return r.ask(ctx, http.MethodPut, r.path(id), nil, body, nil)
}

// SetPassword gives a user a new password.
func (r *farDoor) SetPassword(ctx context.Context, name, password string) error {
	return r.ask(ctx, http.MethodPut, userPath(name)+"/password", nil, map[string]string{"password": password}, nil)
}

// LoginLink makes a one-time link and gives its token.
func (r *farDoor) LoginLink(ctx context.Context, name string) (string, error) {
	var made struct {
		Path string `json:"path"`
	}
	if err := r.post(ctx, userPath(name)+"/login-link", nil, &made); err != nil {
		return "", err
	}
	token, is := strings.CutPrefix(made.Path, api.LoginLinkPath)
	if !is || url.PathEscape(token) != token {
		return "", models.Errorf(models.Unavailable, "What came from %s is no one-time link. Look whether a Hefring of the same version answers there.", r.base)
	}
	return token, nil
}

// DropSecondFactor takes a user's second factor away.
func (r *farDoor) DropSecondFactor(ctx context.Context, id int64) error {
	return r.ask(ctx, http.MethodDelete, r.path(id, "second-factor"), nil, nil, nil)
}

func (r *farDoor) clientFrom(c api.Client) fleet.ClientRow {
	return fleet.ClientRow{Client: models.Client{ID: r.number(models.SubjectClient, c.Name), Name: c.Name, Note: c.Note, CreatedAt: c.Created}, Sites: c.Sites, Users: c.Users}
}

// Clients lists clients.
func (r *farDoor) Clients(ctx context.Context) ([]fleet.ClientRow, error) {
	list, _, err := listed[api.Client](ctx, r, "/clients", url.Values{}, maxClients)
	return each(list, r.clientFrom), err
}

// ClientNamed finds a client by its name.
func (r *farDoor) ClientNamed(ctx context.Context, name string) (models.Client, error) {
	list, _, err := listed[api.Client](ctx, r, "/clients", url.Values{"query": {name}}, maxClients)
	if err != nil {
		return models.Client{}, err
	}
	for _, c := range list {
		if strings.EqualFold(c.Name, name) {
			return r.clientFrom(c).Client, nil
		}
	}
	return models.Client{}, models.Errorf(models.NotFound, "There is no client %s. It may have been removed; go back to the list.", name)
}

// Client loads one.
func (r *farDoor) Client(ctx context.Context, id int64) (models.Client, error) {
	return r.ClientNamed(ctx, r.name(id))
}

// SaveClient makes a client or changes it.
func (r *farDoor) SaveClient(ctx context.Context, c models.Client) (models.Client, error) {
	body := map[string]string{"name": c.Name, "note": c.Note}
	if c.ID == 0 {
		return c, r.post(ctx, "/clients", body, nil)
	}
	return c, r.ask(ctx, http.MethodPut, r.path(c.ID), nil, body, nil)
}

// DeleteClient deletes a client.
func (r *farDoor) DeleteClient(ctx context.Context, id int64) error {
	return r.ask(ctx, http.MethodDelete, r.path(id), nil, nil, nil)
}

// GiveSite says whose a site is.
func (r *farDoor) GiveSite(ctx context.Context, siteID, clientID int64) error {
	return r.ask(ctx, http.MethodPut, r.path(siteID, "client"), nil, map[string]string{"client": r.name(clientID)}, nil)
}

// CreateToken makes a token.
func (r *farDoor) CreateToken(ctx context.Context, in fleet.NewToken) (string, error) {
	var made struct {
		Token string `json:"token"`
	}
	body := map[string]any{"name": in.Name, "life_seconds": int64(in.Life / time.Second), "role": in.Role, "client": r.name(in.ClientID)}
	err := r.post(ctx, userPath(in.User)+"/tokens", body, &made)
	return made.Token, err
}

// Tokens lists a user's tokens.
func (r *farDoor) Tokens(ctx context.Context, user string) ([]models.Token, error) {
	list, _, err := listed[api.Token](ctx, r, userPath(user)+"/tokens", url.Values{}, remotePage)
	return each(list, func(t api.Token) models.Token {
		return models.Token{Name: t.Name, Role: t.Role, Client: t.Client, ExpiresAt: t.Expires, UsedAt: t.UsedAt, CreatedAt: t.Created}
	}), err
}

// RevokeToken ends a token.
func (r *farDoor) RevokeToken(ctx context.Context, user, name string) error {
	return r.ask(ctx, http.MethodDelete, userPath(user)+"/tokens/"+url.PathEscape(name), nil, nil, nil)
}

func webhookFrom(h api.Webhook) fleet.WebhookRow {
	row := fleet.WebhookRow{Webhook: models.Webhook{
		ID: h.ID, Provider: h.Provider, Branch: h.Branch, Address: strings.TrimPrefix(h.Path, "/hooks/"), HookAt: h.DeliveredAt, CreatedAt: h.Created,
	}}
	row.Distribution.Slug = h.Distribution
	for _, s := range h.Secrets {
		row.Secrets = append(row.Secrets, models.WebhookSecret{ID: s.ID, CreatedAt: s.Created, UsedAt: s.UsedAt})
	}
	for _, d := range h.Deliveries {
		row.Deliveries = append(row.Deliveries, models.Delivery{At: d.At, Event: d.Event, Ref: d.Ref, Outcome: d.Outcome, Reason: d.Reason, Sender: d.Sender, Times: d.Times})
	}
	return row
}

// Webhooks lists a distribution's webhooks.
func (r *farDoor) Webhooks(ctx context.Context, distributionID int64) ([]fleet.WebhookRow, error) {
	list, _, err := listed[api.Webhook](ctx, r, r.path(distributionID, "webhooks"), url.Values{}, remotePage)
	return each(list, webhookFrom), err
}

func webhookPath(id int64) string { return "/webhooks/" + strconv.FormatInt(id, 10) }

// Webhook loads one with its last deliveries.
func (r *farDoor) Webhook(ctx context.Context, id int64, deliveries int) (fleet.WebhookRow, error) {
	var h api.Webhook
	err := r.get(ctx, webhookPath(id), nil, &h)
	row := webhookFrom(h)
	row.Deliveries = row.Deliveries[:min(max(0, deliveries), len(row.Deliveries))]
	return row, err
}

// CreateWebhook makes a webhook and gives its secret.
func (r *farDoor) CreateWebhook(ctx context.Context, distributionID int64, in fleet.NewWebhook) (models.Webhook, string, error) {
	var made struct {
		api.Webhook

		Secret string `json:"secret"`
	}
	err := r.post(ctx, r.path(distributionID, "webhooks"), map[string]any{"provider": in.Provider, "branch": in.Branch}, &made)
	return webhookFrom(made.Webhook).Webhook, made.Secret, err
}

// RotateWebhook makes a second secret.
func (r *farDoor) RotateWebhook(ctx context.Context, id int64, _ string) (string, error) {
	var made api.Secret
	err := r.post(ctx, webhookPath(id)+"/rotate", nil, &made)
	return made.Secret, err
}

// RetireWebhookSecret makes a secret worthless.
func (r *farDoor) RetireWebhookSecret(ctx context.Context, id, secretID int64) error {
	return r.ask(ctx, http.MethodDelete, webhookPath(id)+"/secrets/"+strconv.FormatInt(secretID, 10), nil, nil, nil)
}

// DeleteWebhook deletes a webhook.
func (r *farDoor) DeleteWebhook(ctx context.Context, id int64) (models.Webhook, error) {
	return models.Webhook{ID: id}, r.ask(ctx, http.MethodDelete, webhookPath(id), nil, nil, nil)
}
