package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hefring/models"
)

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
	case n.GoneAt == nil && replaced(open, n.Cause, n.Subject, n.Key):
		n.GoneAt = &now
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

// replaced tells whether an update of the same distribution that is newer than the one
// with this key waits.
func replaced(all []models.Notice, cause models.Cause, subject models.Subject, key string) bool {
	return cause == models.CauseUpgrade && slices.ContainsFunc(all, func(n models.Notice) bool {
		return n.Cause == cause && n.Subject == subject && n.Key != key && n.OverAt == nil && n.GoneAt == nil
	})
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
		case n.OverAt == nil && n.GoneAt == nil && n.ToldAt != nil && m.Letter.Digest:
			m.Letter.Still++
		}
	}
	if len(told) == 0 {
		return nil
	}
	if err := f.takeOver(ctx, tx, c.ID, all, &m.Letter); err != nil {
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

// takeOver takes over what a channel's undelivered messages say, but not of updates
// that a newer one replaced. One that is being sent at this moment is left alone.
func (f *Fleet) takeOver(ctx context.Context, tx Tx, channelID int64, all []models.Notice, l *models.Letter) error {
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
			l.Add(slices.DeleteFunc(old.Letter.Lines, func(line models.LetterLine) bool {
				return replaced(all, line.Cause, models.Subject(line.Subject), line.Key)
			})...)
			l.More += old.Letter.More
		}
	}
	return nil
}
