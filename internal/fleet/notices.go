package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"hefring/internal/webhook"
	"hefring/models"
)

// Notifier hands letters over to the world. internal/notify is one.
type Notifier interface {
	// Send makes one attempt. The answer says what the other side said, also when
	// the error says that it did not take the letter; that is a models.Error.
	Send(ctx context.Context, to models.Outlet, l models.Letter) (models.Answer, error)
}

// Notices is what happens to notices inside a transaction.
type Notices interface {
	SaveChannel(ctx context.Context, by string, c *models.Channel) error // Conflict: name taken; NotFound: what it is about is gone
	SealChannel(ctx context.Context, id int64, secret []byte) error
	PauseChannel(ctx context.Context, by string, id int64, paused bool) error
	MarkChannel(ctx context.Context, id int64, reason string, sent *time.Time) error // how the last delivery went
	DeleteChannel(ctx context.Context, by string, id int64) error
	DeleteChannelsOf(ctx context.Context, by string, distributionID int64) error
	Channel(ctx context.Context, id int64) (models.Channel, error)
	LockChannel(ctx context.Context, id int64) (models.Channel, error) // others that change it wait
	ChannelRow(ctx context.Context, id int64) (ChannelRow, error)
	ChannelRows(ctx context.Context) ([]ChannelRow, error) // by name
	DueChannels(ctx context.Context, now time.Time, limit int) ([]models.Channel, error)
	// ClaimChannel moves look_at and digest_at on from c's; false when another
	// replica was quicker or somebody changed the channel.
	ClaimChannel(ctx context.Context, c models.Channel, look time.Time, digest *time.Time) (bool, error)

	OpenNotices(ctx context.Context, channelID int64) ([]models.Notice, error) // and those whose end is still to be told
	SaveNotice(ctx context.Context, n *models.Notice) error
	ForgetNotices(ctx context.Context, channelID int64) error
	ThreadOf(ctx context.Context, messages []int64) (map[int64]string, error) // the messages' keys

	CreateNoticeMessage(ctx context.Context, m *models.NoticeMessage) error
	NoticeMessage(ctx context.Context, id int64) (models.NoticeMessage, error)
	QueuedMessages(ctx context.Context, channelID int64) ([]models.NoticeMessage, error)
	DueMessages(ctx context.Context, now time.Time, limit int) ([]models.NoticeMessage, error)
	// MoveNoticeMessage changes state, attempts, next attempt and end if the row is
	// still as m; else it gives false.
	MoveNoticeMessage(ctx context.Context, m, to models.NoticeMessage) (bool, error)
	RecordAttempt(ctx context.Context, a *models.NoticeAttempt) error
	NoticeMessages(ctx context.Context, channelID int64, limit int) ([]NoticeMessageRow, error) // newest first
	PruneNotices(ctx context.Context, before time.Time) error

	Places(ctx context.Context, subjects []models.Subject) (map[models.Subject]Place, error)
	BusyDistributions(ctx context.Context) ([]int64, error) // that build, or upgrade all sites of a platform
}

// Place is where in the fleet something is.
type Place struct {
	Distributions []int64 // of a database server all that have sites on it
	PlatformID    int64   // of a site or platform; 0 for others
}

// ChannelRow is a channel with what its line and page show beside it.
type ChannelRow struct {
	models.Channel
	DistributionName string
	DistributionSlug string
	ClientName       string
	Waiting          int // causes that are not over
	Queued           int // messages that are not delivered yet
}

// NoticeMessageRow is a message with the attempts to deliver it, oldest first.
type NoticeMessageRow struct {
	models.NoticeMessage
	Tries []models.NoticeAttempt `gorm:"-"`
}

// How notices are dispatched.
const (
	lookEvery    = 15 * time.Second // how often a channel is compared with what waits
	sendLimit    = 30 * time.Second // of one attempt
	sendLease    = 2 * time.Minute  // after which an attempt that left no word counts as lost
	sendAtOnce   = 4
	noticeBatch  = 100  // channels or messages of one round
	maxWaiting   = 2000 // decisions that are looked at
	maxOutletURL = 2048
	scopeGone    = "It is gone. Choose another."
)

func channelContext(id int64) string { return fmt.Sprintf("notice channel %d", id) }

// Channels lists the ways in which people are told.
func (f *Fleet) Channels(ctx context.Context) ([]ChannelRow, error) { return f.store.ChannelRows(ctx) }

// Channel gives one channel with its last messages, newest first.
func (f *Fleet) Channel(ctx context.Context, id int64, messages int) (ChannelRow, []NoticeMessageRow, error) {
	row, err := f.store.ChannelRow(ctx, id)
	if err != nil || messages <= 0 {
		return row, nil, err
	}
	list, err := f.store.NoticeMessages(ctx, id, messages)
	return row, list, err
}

// SaveChannel adds a channel, or changes one; ID 0 makes a new one, whose kind
// stays as it is. once is the form's token. For a new webhook it gives the secret
// that signs, which is never shown again; a form that is posted twice makes one
// channel, and the second answer does not have the secret.
func (f *Fleet) SaveChannel(ctx context.Context, by string, in models.Channel, once string) (models.Channel, string, error) {
	var outlet models.Outlet
	if in.ID != 0 {
		old, err := f.store.Channel(ctx, in.ID)
		if err != nil {
			return in, "", err
		}
		in.Kind, in.Secret, in.CreatedAt = old.Kind, old.Secret, old.CreatedAt
		if outlet, err = f.outlet(old); err != nil && in.URL == "" {
			return in, "", err
		}
	}
	if err := f.checkChannel(ctx, &in, &outlet); err != nil {
		return in, "", err
	}
	if in.ID != 0 {
		return in, "", f.changeChannel(ctx, by, &in)
	}
	return f.createChannel(ctx, by, in, outlet, once)
}

// checkChannel looks at what was typed, and puts a new URL into the outlet.
func (f *Fleet) checkChannel(ctx context.Context, c *models.Channel, outlet *models.Outlet) error {
	wrong := c.Validate()
	if err := f.checkScope(ctx, c); models.CodeOf(err) == models.NotFound {
		wrong["scope"] = scopeGone
	} else if err != nil {
		return err
	}
	if c.Kind != models.ChannelEmail {
		c.URL = strings.TrimSpace(c.URL)
		if c.URL != "" {
			outlet.URL = c.URL
		}
		shown, err := f.checkOutlet(outlet.URL)
		if err != nil {
			wrong["url"] = models.Explain(err)
		}
		c.Target = shown
	}
	if len(wrong) > 0 {
		return models.InvalidFields(wrong)
	}
	return nil
}

// checkScope is NotFound when what a channel is about is not there.
func (f *Fleet) checkScope(ctx context.Context, c *models.Channel) (err error) {
	if c.DistributionID != nil {
		_, err = f.store.Distribution(ctx, *c.DistributionID)
	}
	if c.ClientID != nil && err == nil {
		_, err = f.store.Client(ctx, *c.ClientID)
	}
	return err
}

// checkOutlet refuses a URL that could not be reached, and gives what of it may
// be shown: the path and the query of many are their only secret.
func (f *Fleet) checkOutlet(rawURL string) (string, error) {
	wrong := models.Errorf(models.Invalid, "Paste the whole address, which begins with https://.")
	if rawURL == "" || len(rawURL) > maxOutletURL {
		return "", wrong
	}
	if f.cfg.Egress != nil {
		if _, err := f.cfg.Egress.CheckURL(rawURL, "https", "http"); err != nil {
			return "", err
		}
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", wrong
	}
	return u.Scheme + "://" + u.Host + "/…", nil
}

func (f *Fleet) createChannel(ctx context.Context, by string, c models.Channel, outlet models.Outlet, once string) (models.Channel, string, error) {
	form := sent{once, "channel", []any{c, outlet}}
	secret := ""
	if c.Kind == models.ChannelWebhook {
		secret = webhook.NewSecret(models.ProviderStandard)
		outlet.Keys = []string{secret}
	}
	c.LookAt = f.cfg.Now()
	c.DigestAt = c.NextDigest(c.LookAt)
	var first int64
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, form, &first); err != nil {
			return err
		}
		all, err := tx.ChannelRows(ctx)
		if err != nil {
			return err
		}
		if len(all) >= models.MaxChannels {
			return models.Errorf(models.Conflict, "There are %d channels already. Delete one that is not used any more.", len(all))
		}
		if err := f.keepChannel(ctx, tx, by, &c); err != nil {
			return err
		}
		if err := f.sealChannel(ctx, tx, &c, outlet); err != nil {
			return err
		}
		return useForm(ctx, tx, once, c.ID)
	})
	if errors.Is(err, errTwin) {
		c, err = f.store.Channel(ctx, first)
		return c, "", err
	}
	return c, secret, err
}

// changeChannel stores a channel. Whom it tells of what may have changed, so
// where its scope did, it begins anew.
func (f *Fleet) changeChannel(ctx context.Context, by string, c *models.Channel) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		old, err := tx.Channel(ctx, c.ID)
		if err != nil {
			return err
		}
		c.LookAt, c.DigestAt, c.Paused = f.cfg.Now(), old.DigestAt, old.Paused
		if old.Every != c.Every || old.Hour != c.Hour {
			c.DigestAt = c.NextDigest(c.LookAt)
		}
		if err := f.keepChannel(ctx, tx, by, c); err != nil {
			return err
		}
		if c.URL != "" {
			if err := f.redirect(ctx, tx, c); err != nil {
				return err
			}
		}
		if same(old.DistributionID, c.DistributionID) && same(old.ClientID, c.ClientID) {
			return nil
		}
		return tx.ForgetNotices(ctx, c.ID)
	})
}

func same(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// redirect puts the URL that was typed into what a stored channel keeps secret. Keys
// that were made since somebody looked at it stay.
func (f *Fleet) redirect(ctx context.Context, tx Tx, c *models.Channel) error {
	stored, err := tx.LockChannel(ctx, c.ID)
	if err != nil {
		return err
	}
	outlet, err := f.outlet(stored)
	if err != nil { // the key file is another one
		outlet = models.Outlet{ChannelID: c.ID, Kind: c.Kind}
	}
	outlet.URL = c.URL
	return f.sealChannel(ctx, tx, c, outlet)
}

// keepChannel stores a channel without what it keeps secret. Invalid: what it is about
// was deleted since it was looked at.
func (f *Fleet) keepChannel(ctx context.Context, tx Tx, by string, c *models.Channel) error {
	err := tx.SaveChannel(ctx, by, c)
	if models.CodeOf(err) == models.NotFound {
		return models.InvalidFields(map[string]string{"scope": scopeGone})
	}
	return err
}

// sealChannel stores what a channel keeps secret, if it keeps anything.
func (f *Fleet) sealChannel(ctx context.Context, tx Tx, c *models.Channel, outlet models.Outlet) error {
	if c.Kind == models.ChannelEmail {
		return nil
	}
	text, err := json.Marshal(outlet)
	if err != nil {
		return fmt.Errorf("write outlet of channel %d: %w", c.ID, err)
	}
	if c.Secret, err = f.cfg.Secrets.Seal(channelContext(c.ID), text); err != nil {
		return fmt.Errorf("seal outlet of channel %d: %w", c.ID, err)
	}
	c.URL = ""
	return tx.SealChannel(ctx, c.ID, c.Secret)
}

// outlet opens where a channel's messages go.
func (f *Fleet) outlet(c models.Channel) (models.Outlet, error) {
	outlet := models.Outlet{ChannelID: c.ID, Kind: c.Kind}
	if c.Kind == models.ChannelEmail {
		outlet.Addresses = c.Addresses()
		return outlet, nil
	}
	text, err := f.cfg.Secrets.Open(channelContext(c.ID), c.Secret)
	if err != nil {
		return outlet, fmt.Errorf("open outlet of channel %d: %w", c.ID, err)
	}
	if err := json.Unmarshal(text, &outlet); err != nil {
		return outlet, fmt.Errorf("read outlet of channel %d: %w", c.ID, err)
	}
	if len(outlet.Keys) > 1 && !f.cfg.Now().Before(outlet.Until) {
		outlet.Keys = outlet.Keys[:1]
	}
	return outlet, nil
}

// RotateChannelSecret makes a new secret for a webhook and gives it. For a day,
// messages are signed with the old one, too. A form that is posted twice makes
// one, which the second answer does not have.
func (f *Fleet) RotateChannelSecret(ctx context.Context, by string, id int64, once string) (string, error) {
	secret := webhook.NewSecret(models.ProviderStandard)
	err := f.store.InTx(ctx, func(tx Tx) error {
		var first int64
		if err := f.refuseTwin(ctx, tx, sent{once, "channel", []any{"secret", id}}, &first); err != nil {
			return err
		}
		c, err := tx.LockChannel(ctx, id) // of two who press at once, the second keeps the first's secret good
		if err != nil {
			return err
		}
		if c.Kind != models.ChannelWebhook {
			return models.Errorf(models.Conflict, "Only webhooks are signed with a secret.")
		}
		outlet, err := f.outlet(c)
		if err != nil {
			return err
		}
		outlet.Keys = append([]string{secret}, outlet.Keys[:min(len(outlet.Keys), 1)]...)
		outlet.Until = f.cfg.Now().Add(models.KeyChangeover)
		if err := f.sealChannel(ctx, tx, &c, outlet); err != nil {
			return err
		}
		if err := useForm(ctx, tx, once, id); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "channel rotate", models.Subject{Kind: models.SubjectChannel, ID: id},
			fmt.Sprintf("Made a new secret for channel %s.", c.Name)).Replaced("secret"))
	})
	if errors.Is(err, errTwin) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return secret, nil
}

// PauseChannel stops what a channel tells, or lets it go on. What began and is
// not over when it goes on is told then.
func (f *Fleet) PauseChannel(ctx context.Context, by string, id int64, paused bool) error {
	return f.store.PauseChannel(ctx, by, id, paused)
}

// DeleteChannel removes a channel with all its messages. It gives what it was.
func (f *Fleet) DeleteChannel(ctx context.Context, by string, id int64) (models.Channel, error) {
	c, err := f.store.Channel(ctx, id)
	if err != nil {
		return c, err
	}
	return c, f.store.DeleteChannel(ctx, by, id)
}

// ResendMessage has a message that was given up delivered after all. It gives
// the message.
func (f *Fleet) ResendMessage(ctx context.Context, by string, id int64) (models.NoticeMessage, error) {
	m, err := f.store.NoticeMessage(ctx, id)
	if err != nil {
		return m, err
	}
	if m.State != models.MessageFailed || m.Letter.Test {
		return m, models.Errorf(models.Conflict, "Only a message that was given up can be sent again; this one is %s.", m.State)
	}
	to := m
	to.State, to.Attempts, to.NextAt, to.EndedAt = models.MessageQueued, 0, f.cfg.Now(), nil
	return m, f.store.InTx(ctx, func(tx Tx) error {
		moved, err := tx.MoveNoticeMessage(ctx, m, to)
		if err != nil {
			return err
		}
		if !moved {
			return models.Errorf(models.Conflict, "Somebody else was quicker. Reload the page and look again.")
		}
		return tx.RecordEvent(ctx, f.event(by, "channel resend", models.Subject{Kind: models.SubjectChannel, ID: m.ChannelID},
			"Sent again: "+m.Letter.Title()+".").Moved(string(m.State), string(to.State)))
	})
}

// TestChannel sends a message to a channel now and gives what came of it: the
// real answer, or why there was none. That it could not be delivered is no error.
func (f *Fleet) TestChannel(ctx context.Context, by string, id int64, via Notifier) (models.NoticeAttempt, error) {
	c, err := f.store.Channel(ctx, id)
	if err != nil {
		return models.NoticeAttempt{}, err
	}
	now := f.cfg.Now()
	m := models.NoticeMessage{
		ChannelID: id, Key: newLetterID(), State: models.MessageSending, Attempts: models.MaxAttempts, NextAt: now.Add(sendLease), CreatedAt: now,
	}
	m.Letter = models.Letter{ID: m.Key, Channel: c.Name, At: now, Test: true}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.CreateNoticeMessage(ctx, &m); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "channel test", models.Subject{Kind: models.SubjectChannel, ID: id}, "Tested channel "+c.Name+"."))
	})
	if err != nil {
		return models.NoticeAttempt{}, err
	}
	return f.attempt(ctx, c, m, via)
}

func newLetterID() string { return "msg_" + strings.ToLower(rand.Text()) }
