package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/pages"
)

// notices is what the pages need of the use cases about notices.
type notices interface {
	Channels(ctx context.Context) ([]fleet.ChannelRow, error)
	Channel(ctx context.Context, id int64, messages int) (fleet.ChannelRow, []fleet.NoticeMessageRow, error)
	// SaveChannel and RotateChannelSecret give a secret that is never shown again;
	// "" when there is none, or the form was posted before.
	SaveChannel(ctx context.Context, c models.Channel, once string) (models.Channel, string, error)
	RotateChannelSecret(ctx context.Context, id int64, once string) (string, error)
	PauseChannel(ctx context.Context, id int64, paused bool) error
	DeleteChannel(ctx context.Context, id int64) (models.Channel, error)
	// TestChannel sends a message now. That it could not be delivered is no error.
	TestChannel(ctx context.Context, id int64) (models.NoticeAttempt, error)
	ResendMessage(ctx context.Context, id int64) (models.NoticeMessage, error)
}

// Limits of the pages about notices.
const (
	shownMessages = 50
	shownScopes   = 1000 // distributions that the form offers
)

func (s *server) noticeRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/notices", (*server).channels, models.MayChangeSettings},
		{post, "/notices", (*server).createChannel, models.MayChangeSettings},
		{get, "/notices/new", (*server).newChannel, models.MayChangeSettings},
		{get, "/notices/:id", (*server).channel, models.MayChangeSettings},
		{get, "/notices/:id/edit", (*server).editChannel, models.MayChangeSettings},
		{post, "/notices/:id/edit", (*server).updateChannel, models.MayChangeSettings},
		{post, "/notices/:id/test", (*server).testChannel, models.MayChangeSettings},
		{post, "/notices/:id/pause", (*server).pauseChannel, models.MayChangeSettings},
		{post, "/notices/:id/resume", (*server).resumeChannel, models.MayChangeSettings},
		{post, "/notices/:id/secret", (*server).rotateChannel, models.MayChangeSettings},
		{get, "/notices/:id/delete", (*server).askDeleteChannel, models.MayChangeSettings},
		{post, "/notices/:id/delete", (*server).deleteChannel, models.MayChangeSettings},
		{post, "/notices/messages/:id/resend", (*server).resendMessage, models.MayChangeSettings},
	}
}

func channelPath(id int64) string { return fmt.Sprintf("/notices/%d", id) }

func (s *server) channels(c echo.Context) error {
	rows, err := s.fleet.Channels(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list channels: %w", err)
	}
	return render(c, http.StatusOK, pages.ChannelsPage(pages.Channels{Page: s.page(c, "notices", "Notices"), Rows: rows}))
}

func (s *server) newChannel(c echo.Context) error {
	in := models.Channel{Kind: models.ChannelEmail, Causes: models.Causes(), Hour: 7}
	return s.channelForm(c, http.StatusOK, pages.ChannelForm{Channel: in, Once: newOnce()})
}

func (s *server) editChannel(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	row, _, err := s.fleet.Channel(c.Request().Context(), id, 0)
	if err != nil {
		return err
	}
	return s.channelForm(c, http.StatusOK, pages.ChannelForm{Channel: row.Channel, Stored: row.Channel, Scope: scopeOf(row.Channel)})
}

func (s *server) channelForm(c echo.Context, status int, view pages.ChannelForm) (err error) {
	view.First = firstOf(view.Errors, "name", "kind", "target", "url", "scope", "every", "hour")
	if view.Scopes, err = s.scopes(c.Request().Context(), view.Channel); err != nil {
		return err
	}
	view.Page = s.page(c, "notices", "Settings of "+view.Stored.Name)
	if view.Stored.ID == 0 {
		view.Title = "Add a channel"
	}
	return render(c, status, pages.ChannelFormPage(view))
}

// scopes lists what a channel may be about: all, one distribution, one client.
func (s *server) scopes(ctx context.Context, in models.Channel) ([]plugins.Option, error) {
	list := []plugins.Option{{Value: "", Label: "all distributions and sites"}}
	distributions, err := s.fleet.DistributionNames(ctx, shownScopes)
	if err != nil {
		return nil, fmt.Errorf("list distributions: %w", err)
	}
	known := in.DistributionID == nil
	for _, d := range distributions {
		list = append(list, plugins.Option{Value: "d" + strconv.FormatInt(d.ID, 10), Label: "the distribution " + d.Name})
		known = known || d.ID == *in.DistributionID
	}
	if !known { // it must stay chosen, also beyond the end of the list
		list = append(list, plugins.Option{Value: scopeOf(in), Label: fmt.Sprintf("the distribution %d", *in.DistributionID)})
	}
	clients, err := s.fleet.ClientNames(ctx)
	if err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	for _, client := range clients {
		list = append(list, plugins.Option{Value: "c" + strconv.FormatInt(client.ID, 10), Label: "the client " + client.Name})
	}
	return list, nil
}

// scopeOf is what a channel is about, as the form writes it.
func scopeOf(c models.Channel) string {
	switch {
	case c.DistributionID != nil:
		return "d" + strconv.FormatInt(*c.DistributionID, 10)
	case c.ClientID != nil:
		return "c" + strconv.FormatInt(*c.ClientID, 10)
	}
	return ""
}

// readChannel reads the form of a channel. What is no number is -1, which the
// channel's own rule refuses; so it does with a scope that there is not.
func readChannel(c echo.Context) (in models.Channel, scope string) {
	in = models.Channel{
		Name: strings.TrimSpace(c.FormValue("name")), Kind: models.ChannelKind(c.FormValue("kind")),
		Target: strings.TrimSpace(c.FormValue("target")), URL: strings.TrimSpace(c.FormValue("url")),
		Every: time.Duration(small(c.FormValue("every"))) * time.Hour, Hour: small(c.FormValue("hour")),
	}
	for _, cause := range models.Causes() {
		if c.FormValue("cause-"+string(cause)) == "1" {
			in.Causes = append(in.Causes, cause)
		}
	}
	scope = c.FormValue("scope")
	if id, is := strings.CutPrefix(scope, "d"); is {
		in.DistributionID = new(chosen(id))
	} else if id, is := strings.CutPrefix(scope, "c"); is {
		in.ClientID = new(chosen(id))
	} else if scope != "" {
		in.ClientID = new(int64(-1))
	}
	return in, scope
}

// small reads a number below 100; 0 where there is none, -1 for anything else.
func small(text string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 99 {
		return -1
	}
	return n
}

func (s *server) createChannel(c echo.Context) error {
	return s.saveChannel(c, models.Channel{})
}

func (s *server) updateChannel(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	row, _, err := s.fleet.Channel(c.Request().Context(), id, 0)
	if err != nil {
		return err
	}
	return s.saveChannel(c, row.Channel)
}

func (s *server) saveChannel(c echo.Context, stored models.Channel) error {
	in, scope := readChannel(c)
	if in.ID = stored.ID; in.ID != 0 {
		in.Kind = stored.Kind
	}
	saved, secret, err := s.fleet.SaveChannel(c.Request().Context(), in, once(c))
	if refused(err) {
		in.URL = ""
		view := pages.ChannelForm{Channel: in, Stored: stored, Scope: scope, Once: once(c)}
		view.Error, view.Errors = formErrors(err)
		return s.channelForm(c, http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	if secret != "" {
		return s.channelPage(c, saved.ID, secret)
	}
	return s.acted(c, channelPath(saved.ID), nil, "Saved. Test shows whether messages arrive.")
}

func (s *server) channel(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	return s.channelPage(c, id, "")
}

func (s *server) channelPage(c echo.Context, id int64, secret string) error {
	row, messages, err := s.fleet.Channel(c.Request().Context(), id, shownMessages)
	if err != nil {
		return err
	}
	view := pages.Channel{Page: s.page(c, "notices", row.Name), Row: row, Messages: messages, Secret: secret, Once: newOnce()}
	return render(c, http.StatusOK, pages.ChannelPage(view))
}

func (s *server) testChannel(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	a, err := s.fleet.TestChannel(c.Request().Context(), id)
	if err == nil && !a.Delivered {
		s.say(c, "failed", "Not delivered. %s%s", a.Problem, answered(a))
		return redirect(c, channelPath(id))
	}
	return s.acted(c, channelPath(id), err, "Delivered."+answered(a))
}

// answered is the real answer to a test, as far as there was one.
func answered(a models.NoticeAttempt) string {
	if a.Status == 0 {
		return " There was no answer; it took " + components.Took(a.Took) + "."
	}
	text := fmt.Sprintf(" %s answered %d after %s", a.Recipient, a.Status, components.Took(a.Took))
	if a.Answer == "" {
		return text + ", and nothing more."
	}
	return text + ": " + a.Answer
}

func (s *server) pauseChannel(c echo.Context) error {
	return s.turnChannel(c, true, "Paused. What begins meanwhile and is not over is told when you resume.")
}

func (s *server) resumeChannel(c echo.Context) error { return s.turnChannel(c, false, "Resumed.") }

func (s *server) turnChannel(c echo.Context, paused bool, done string) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	return s.acted(c, channelPath(id), s.fleet.PauseChannel(c.Request().Context(), id, paused), done)
}

func (s *server) rotateChannel(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	secret, err := s.fleet.RotateChannelSecret(c.Request().Context(), id, once(c))
	if err != nil {
		return s.acted(c, channelPath(id), err, "")
	}
	if secret == "" {
		s.say(c, "warning", "This form was sent before, and a secret is shown only once. If you did not note it, make a new one.")
		return redirect(c, channelPath(id))
	}
	return s.channelPage(c, id, secret)
}

func (s *server) askDeleteChannel(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	row, _, err := s.fleet.Channel(c.Request().Context(), id, 0)
	if err != nil {
		return err
	}
	return s.ask(c, "notices", pages.Ask{
		Back: channelPath(id), Crumbs: crumbs("Notices", "/notices", row.Name, channelPath(id), "Delete"),
		Title: "Delete " + row.Name + "?", URL: channelPath(id) + "/delete", Label: "Delete this channel", Style: "stop",
		Text: "Nobody is told through it any more, and its messages and answers are forgotten. Pausing keeps them.",
	})
}

func (s *server) deleteChannel(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	deleted, err := s.fleet.DeleteChannel(c.Request().Context(), id)
	return s.acted(c, "/notices", err, "Deleted "+deleted.Name+".")
}

func (s *server) resendMessage(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	m, err := s.fleet.ResendMessage(c.Request().Context(), id)
	return s.acted(c, channelPath(m.ChannelID), err, "It is sent again within half a minute.")
}
