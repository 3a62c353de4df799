package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
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
	SaveChannel(ctx context.Context, by string, c *models.Channel) error // Conflict: name taken
	SealChannel(ctx context.Context, id int64, secret []byte) error
	PauseChannel(ctx context.Context, by string, id int64, paused bool) error
	MarkChannel(ctx context.Context, id int64, reason string, sent *time.Time) error // how the last delivery went
	DeleteChannel(ctx context.Context, by string, id int64) error
	Channel(ctx context.Context, id int64) (models.Channel, error)
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
		return in, "", f.changeChannel(ctx, by, &in, outlet)
	}
	return f.createChannel(ctx, by, in, outlet, once)
}

// checkChannel looks at what was typed, and puts a new URL into the outlet.
func (f *Fleet) checkChannel(ctx context.Context, c *models.Channel, outlet *models.Outlet) error {
	wrong := c.Validate()
	if err := f.checkScope(ctx, c); models.CodeOf(err) == models.NotFound {
		wrong["scope"] = "It is gone. Choose another."
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
		return invalid(wrong)
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
	secret := ""
	if c.Kind == models.ChannelWebhook {
		secret = webhook.NewSecret(models.ProviderStandard)
		outlet.Keys = []string{secret}
	}
	c.LookAt = f.cfg.Now()
	c.DigestAt = c.NextDigest(c.LookAt)
	var first int64
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, once, &first); err != nil {
			return err
		}
		all, err := tx.ChannelRows(ctx)
		if err != nil {
			return err
		}
		if len(all) >= models.MaxChannels {
			return models.Errorf(models.Conflict, "There are %d channels already. Delete one that is not used any more.", len(all))
		}
		if err := tx.SaveChannel(ctx, by, &c); err != nil {
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
func (f *Fleet) changeChannel(ctx context.Context, by string, c *models.Channel, outlet models.Outlet) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		old, err := tx.Channel(ctx, c.ID)
		if err != nil {
			return err
		}
		c.LookAt, c.DigestAt, c.Paused = f.cfg.Now(), old.DigestAt, old.Paused
		if old.Every != c.Every || old.Hour != c.Hour {
			c.DigestAt = c.NextDigest(c.LookAt)
		}
		if err := tx.SaveChannel(ctx, by, c); err != nil {
			return err
		}
		if err := f.sealChannel(ctx, tx, c, outlet); err != nil {
			return err
		}
		if same(old.DistributionID, c.DistributionID) && same(old.ClientID, c.ClientID) {
			return nil
		}
		return tx.ForgetNotices(ctx, c.ID)
	})
}

func same(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

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
		if err := f.refuseTwin(ctx, tx, once, &first); err != nil {
			return err
		}
		c, err := tx.Channel(ctx, id)
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
			fmt.Sprintf("Made a new secret for channel %s.", c.Name)))
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
			"Sent again: "+m.Letter.Title()+"."))
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

// DispatchNotices compares every channel with what waits, makes messages of what
// is new, and delivers those that are due. Any number of replicas may call it at
// once: a cause is told once, however many look. A message whose delivery is cut
// off by a crash is delivered again under the same id.
func (f *Fleet) DispatchNotices(ctx context.Context, via Notifier) error {
	due, err := f.store.DueChannels(ctx, f.cfg.Now(), noticeBatch)
	if err != nil {
		return err
	}
	views := map[int64]view{} // by client
	var failed []error
	for _, c := range due {
		if err := f.watch(ctx, c, views); err != nil {
			failed = append(failed, fmt.Errorf("look what to tell %s: %w", c.Name, err))
		}
	}
	failed = append(failed, f.deliver(ctx, via), f.store.PruneNotices(ctx, f.cfg.Now().Add(-models.KeepMessages)))
	return errors.Join(failed...)
}

// view is what waits, for all or for one client.
type view struct {
	decisions []Decision
	places    map[models.Subject]Place
	busy      map[string]bool // distributions of which something is under way
	complete  bool            // nothing was left out
}

// watch compares a channel with what waits, and makes a message of what is new.
// c was read before what waits was: who is late with an old view has lost c.
func (f *Fleet) watch(ctx context.Context, c models.Channel, views map[int64]view) error {
	v, err := f.view(ctx, c, views)
	if err != nil {
		return err
	}
	now := f.cfg.Now()
	digest, due := c.DigestAt, c.DigestAt == nil || !c.DigestAt.After(now)
	if due {
		digest = c.NextDigest(now)
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		claimed, err := tx.ClaimChannel(ctx, c, now.Add(lookEvery), digest)
		if err != nil || !claimed {
			return err
		}
		open, err := tx.OpenNotices(ctx, c.ID)
		if err != nil {
			return err
		}
		all, err := f.keepUp(ctx, tx, c, v, open)
		if err != nil || !due {
			return err
		}
		return f.tell(ctx, tx, c, all)
	})
}

// view gives what waits for a channel, each client's once in a round.
func (f *Fleet) view(ctx context.Context, c models.Channel, views map[int64]view) (v view, err error) {
	filter := Filter{Limit: maxWaiting}
	if c.ClientID != nil {
		filter.ClientID = *c.ClientID
	}
	if known, is := views[filter.ClientID]; is {
		return known, nil
	}
	if v.decisions, err = f.store.Decisions(ctx, filter); err != nil {
		return v, err
	}
	v.complete = len(v.decisions) < maxWaiting
	subjects := make([]models.Subject, 0, len(v.decisions))
	for _, d := range v.decisions {
		subjects = append(subjects, d.Subject)
	}
	if v.places, err = f.store.Places(ctx, subjects); err != nil {
		return v, err
	}
	busy, err := f.store.BusyDistributions(ctx)
	if err != nil {
		return v, err
	}
	v.busy = map[string]bool{}
	for _, id := range busy {
		v.busy[name(distributionSubject(id))] = true
	}
	views[filter.ClientID] = v
	return v, nil
}

// causes lists what of a view a channel tells of.
func (v view) causes(c models.Channel) []models.Notice {
	var seen []models.CauseSeen
	for _, d := range v.decisions {
		place, cause := v.places[d.Subject], models.Cause(d.Kind)
		if !c.Wants(cause) || c.DistributionID != nil && !slices.Contains(place.Distributions, *c.DistributionID) {
			continue
		}
		seen = append(seen, models.CauseSeen{
			Cause: cause, Subject: subjectOf(d, place), Title: d.Title, Why: d.Why, Sites: d.Sites, Group: groupOf(d, place),
		})
	}
	return models.Gather(seen)
}

// name is a subject as part of a key.
func name(s models.Subject) string { return fmt.Sprintf("%s %d", s.Kind, s.ID) }

// subjectOf is what a notice leads to: of a build the distribution, because the
// next try is another platform.
func subjectOf(d Decision, place Place) models.Subject {
	if d.Kind == DecideBuild && len(place.Distributions) > 0 {
		return models.Subject{Kind: models.SubjectDistribution, ID: place.Distributions[0]}
	}
	return d.Subject
}

// groupOf is what a decision shares with those that have the same cause.
func groupOf(d Decision, place Place) string {
	switch d.Kind {
	case DecideUpgrade: // another target is another update
		return fmt.Sprintf("%s target %d", name(d.Subject), d.PlatformID)
	case DecideBuild:
		return name(subjectOf(d, place))
	case DecideRecovered, DecideBroken:
		if d.PlatformID != 0 {
			return fmt.Sprintf("platform %d", d.PlatformID)
		}
		return fmt.Sprintf("platform %d", place.PlatformID)
	case DecideBackup: // a full disk has no platform
		return "backups"
	default: // sources, servers, platforms
		return name(d.Subject)
	}
}

// keepUp brings a channel's notices to what waits, and gives those that may be
// told.
func (f *Fleet) keepUp(ctx context.Context, tx Tx, c models.Channel, v view, open []models.Notice) ([]models.Notice, error) {
	now := f.cfg.Now()
	known := map[string]int{}
	for i, n := range open {
		if n.OverAt == nil {
			known[n.Key] = i
		}
	}
	present := map[string]bool{}
	for _, seen := range v.causes(c) {
		present[seen.Key] = true
		i, is := known[seen.Key]
		if !is {
			seen.ChannelID, seen.BeganAt = c.ID, now
			if err := tx.SaveNotice(ctx, &seen); err != nil {
				return nil, err
			}
			open = append(open, seen)
			continue
		}
		was := open[i]
		n := &open[i]
		n.GoneAt, n.Subject, n.Title, n.Why, n.Sites = nil, seen.Subject, seen.Title, seen.Why, seen.Sites
		if was.GoneAt == nil && was.Subject == n.Subject && was.Title == n.Title && was.Why == n.Why && was.Sites == n.Sites {
			continue
		}
		if err := tx.SaveNotice(ctx, n); err != nil {
			return nil, err
		}
	}
	for i := range open {
		n := &open[i]
		if n.OverAt != nil || present[n.Key] || !gone(c, v, open, n, now) {
			continue
		}
		if err := tx.SaveNotice(ctx, n); err != nil {
			return nil, err
		}
	}
	return open, nil
}

// gone notes that a notice is not seen any more; it tells whether that changed it.
func gone(c models.Channel, v view, open []models.Notice, n *models.Notice, now time.Time) bool {
	switch {
	case !c.Wants(n.Cause): // nobody asks any more
		n.OverAt = &now
		return true
	case !v.complete, v.busy[name(n.Subject)] && (n.Cause == models.CauseUpgrade || n.Cause == models.CauseBuild):
		return false // it may only be out of sight
	case n.GoneAt == nil:
		n.GoneAt = &now
		return true
	case now.Sub(*n.GoneAt) < models.Settle:
		return false
	}
	n.OverAt = &now
	again := slices.ContainsFunc(open, func(other models.Notice) bool {
		return other.OverAt == nil && other.Cause == n.Cause && other.Subject == n.Subject
	})
	n.Owed = n.ToldAt != nil && c.Wants(models.CauseWell) && !again
	return true
}

// tell makes one message of all that is to be told, if there is anything. What
// a message says that could not be delivered yet goes into the new one.
func (f *Fleet) tell(ctx context.Context, tx Tx, c models.Channel, all []models.Notice) error {
	now := f.cfg.Now()
	m := models.NoticeMessage{ChannelID: c.ID, Key: newLetterID(), State: models.MessageQueued, NextAt: now, CreatedAt: now}
	m.Letter = models.Letter{ID: m.Key, Channel: c.Name, At: now, Digest: c.Every > 0}
	var told []models.Notice
	for _, n := range all {
		switch {
		case n.Owed, n.OverAt == nil && n.GoneAt == nil && n.ToldAt == nil:
			told = append(told, n)
		case n.OverAt == nil && n.ToldAt != nil && m.Letter.Digest:
			m.Letter.Still++
		}
	}
	if len(told) == 0 {
		return nil
	}
	if err := f.takeOver(ctx, tx, c.ID, &m.Letter); err != nil {
		return err
	}
	if err := addLines(ctx, tx, &m.Letter, told); err != nil {
		return err
	}
	if err := tx.CreateNoticeMessage(ctx, &m); err != nil {
		return err
	}
	for _, n := range told {
		if n.Owed {
			n.Owed = false
		} else {
			n.ToldAt, n.MessageID = &now, &m.ID
		}
		if err := tx.SaveNotice(ctx, &n); err != nil {
			return err
		}
	}
	return nil
}

// addLines writes notices into a letter: first what is urgent, last what is over.
func addLines(ctx context.Context, tx Tx, l *models.Letter, told []models.Notice) error {
	var messages []int64
	for _, n := range told {
		if n.Owed && n.MessageID != nil {
			messages = append(messages, *n.MessageID)
		}
	}
	threads, err := tx.ThreadOf(ctx, messages)
	if err != nil {
		return err
	}
	rank := func(n models.Notice) int {
		if n.Owed {
			return len(models.Causes())
		}
		return slices.Index(models.Causes(), n.Cause)
	}
	slices.SortStableFunc(told, func(a, b models.Notice) int { return rank(a) - rank(b) })
	for _, n := range told {
		line := n.Line()
		if n.Owed && n.MessageID != nil {
			line.Thread = threads[*n.MessageID]
		}
		l.Add(line)
	}
	return nil
}

// takeOver takes over what a channel's undelivered messages say. One that is
// being sent at this moment is left alone.
func (f *Fleet) takeOver(ctx context.Context, tx Tx, channelID int64, l *models.Letter) error {
	queued, err := tx.QueuedMessages(ctx, channelID)
	if err != nil {
		return err
	}
	now := f.cfg.Now()
	for _, old := range queued {
		to := old
		to.State, to.EndedAt = models.MessageReplaced, &now
		moved, err := tx.MoveNoticeMessage(ctx, old, to)
		if err != nil {
			return err
		}
		if moved {
			l.Add(old.Letter.Lines...)
			l.More += old.Letter.More
		}
	}
	return nil
}

// deliver makes one attempt at every message that is due, a few at a time.
func (f *Fleet) deliver(ctx context.Context, via Notifier) error {
	due, err := f.store.DueMessages(ctx, f.cfg.Now(), noticeBatch)
	if err != nil {
		return err
	}
	var senders sync.WaitGroup
	turns := make(chan struct{}, sendAtOnce)
	for _, m := range due {
		turns <- struct{}{}
		senders.Go(func() {
			defer func() { <-turns }()
			if err := f.deliverOne(ctx, m, via); err != nil && ctx.Err() == nil {
				f.logger.ErrorContext(ctx, "deliver notice", slog.Int64("message", m.ID), slog.Any("error", err))
			}
		})
	}
	senders.Wait()
	return ctx.Err()
}

func (f *Fleet) deliverOne(ctx context.Context, m models.NoticeMessage, via Notifier) error {
	c, err := f.store.Channel(ctx, m.ChannelID)
	if err != nil {
		return err
	}
	if m.Attempts >= models.MaxAttempts { // the last attempt was cut off by a crash
		return f.giveUp(ctx, m, c, "Hefring was stopped in the middle of the last attempt. It may have arrived.")
	}
	to := m
	to.State, to.Attempts, to.NextAt = models.MessageSending, m.Attempts+1, f.cfg.Now().Add(sendLease)
	claimed, err := f.store.MoveNoticeMessage(ctx, m, to)
	if err != nil || !claimed {
		return err
	}
	_, err = f.attempt(ctx, c, to, via)
	return err
}

func (f *Fleet) giveUp(ctx context.Context, m models.NoticeMessage, c models.Channel, why string) error {
	now := f.cfg.Now()
	to := m
	to.State, to.EndedAt = models.MessageFailed, &now
	return f.store.InTx(ctx, func(tx Tx) error {
		moved, err := tx.MoveNoticeMessage(ctx, m, to)
		if err != nil || !moved {
			return err
		}
		return tx.MarkChannel(ctx, c.ID, why, nil)
	})
}

// attempt sends a message that is claimed, and records what came of it. When the
// process is stopped meanwhile, nothing is recorded: the claim runs out, and the
// message is sent again.
func (f *Fleet) attempt(ctx context.Context, c models.Channel, m models.NoticeMessage, via Notifier) (models.NoticeAttempt, error) {
	a := models.NoticeAttempt{MessageID: m.ID, At: f.cfg.Now(), Recipient: c.Target}
	began := time.Now()
	answer, failed := f.send(ctx, c, m.Letter, via)
	a.Took = time.Since(began)
	if ctx.Err() != nil && failed != nil {
		return a, context.Cause(ctx)
	}
	if answer.Recipient != "" {
		a.Recipient = answer.Recipient
	}
	a.Status, a.Answer, a.Delivered = answer.Status, answer.Text, failed == nil
	if failed != nil {
		a.Problem = models.Explain(failed)
		f.logger.WarnContext(ctx, "notice was not delivered", slog.String("channel", c.Name), slog.Int64("message", m.ID), slog.Any("error", failed))
	}
	return a, f.settleMessage(context.WithoutCancel(ctx), c, m, &a, models.RetryAfterOf(failed))
}

func (f *Fleet) send(ctx context.Context, c models.Channel, l models.Letter, via Notifier) (models.Answer, error) {
	outlet, err := f.outlet(c)
	if err != nil {
		return models.Answer{}, err
	}
	ctx, stop := context.WithTimeout(ctx, sendLimit)
	defer stop()
	return via.Send(ctx, outlet, l)
}

// settleMessage records an attempt and what follows on it.
func (f *Fleet) settleMessage(ctx context.Context, c models.Channel, m models.NoticeMessage, a *models.NoticeAttempt, asked time.Duration) error {
	now := f.cfg.Now()
	to := m
	to.EndedAt = &now
	switch {
	case a.Delivered:
		to.State = models.MessageSent
	case m.Attempts >= models.MaxAttempts:
		to.State = models.MessageFailed
	default:
		to.State, to.EndedAt, to.NextAt = models.MessageQueued, nil, now.Add(models.RetryAfter(m.Attempts, asked))
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.RecordAttempt(ctx, a); err != nil {
			return err
		}
		// Not moved: the claim ran out, and another attempt is under way.
		if _, err := tx.MoveNoticeMessage(ctx, m, to); err != nil {
			return err
		}
		if a.Delivered {
			return tx.MarkChannel(ctx, c.ID, "", &now)
		}
		return tx.MarkChannel(ctx, c.ID, a.Problem, nil)
	})
}
