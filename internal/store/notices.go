package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"hefring/internal/fleet"
	"hefring/models"
)

func channelSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectChannel, ID: id}
}

// SaveChannel stores a new channel or changes one: what a person types. The secret is
// SealChannel's. Conflict: the name is taken. NotFound: what it is about is gone.
func (s *Store) SaveChannel(ctx context.Context, by string, c *models.Channel) error {
	taken := fmt.Sprintf("There is a channel with the name %s already. Choose another.", c.Name)
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.holdScope(ctx, c.DistributionID, c.ClientID); err != nil {
			return err
		}
		if c.ID == 0 {
			if err := beside("name", create(ctx, tx, "channel", c, taken)); err != nil {
				return err
			}
			e := models.Event{Actor: by, Verb: "channel create", Subject: channelSubject(c.ID), Text: fmt.Sprintf("Added channel %s (%s).", c.Name, c.Kind)}
			return tx.RecordEvent(ctx, e.With(nil, *c))
		}
		old, err := tx.LockChannel(ctx, c.ID)
		if err != nil {
			return err
		}
		c.UpdatedAt, c.Paused, c.Secret = now(), old.Paused, old.Secret
		done := tx.with(ctx).Model(&models.Channel{}).Where("id = ?", c.ID).
			Select("name", "target", "distribution_id", "client_id", "causes", "every", "hour", "look_at", "digest_at", "updated_at").Updates(c)
		if err := beside("name", saved(done, "channel", c.ID, taken)); err != nil {
			return err
		}
		e := models.Event{Actor: by, Verb: "channel edit", Subject: channelSubject(c.ID), Text: fmt.Sprintf("Changed channel %s.", c.Name)}
		return tx.RecordEdit(ctx, e.With(old, *c))
	})
}

// LockChannel makes others that change a channel wait for this transaction, and gives
// it as it is then.
func (s *Store) LockChannel(ctx context.Context, id int64) (models.Channel, error) {
	return locked[models.Channel](ctx, s, "channel", id)
}

// holdScope makes whoever deletes or tells of a distribution or a client wait for
// this transaction. NotFound: it is gone.
func (s *Store) holdScope(ctx context.Context, distributionID, clientID *int64) error {
	if distributionID != nil {
		if _, err := s.LockDistribution(ctx, *distributionID); err != nil {
			return err
		}
	}
	if clientID == nil {
		return nil
	}
	held := s.with(ctx).Model(&models.Client{}).Where("id = ?", *clientID).UpdateColumn("id", *clientID)
	return saved(held, "client", *clientID, "")
}

// SealChannel stores the secret of a channel.
func (s *Store) SealChannel(ctx context.Context, id int64, secret []byte) error {
	return s.setChannel(ctx, id, map[string]any{"secret": secret, "updated_at": now()})
}

// PauseChannel stops or resumes a channel. One that is as wanted stays as it is, and
// the record says nothing of it.
func (s *Store) PauseChannel(ctx context.Context, by string, id int64, paused bool) error {
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Channel{}).Where("id = ? AND paused <> ?", id, paused).
			UpdateColumns(map[string]any{"paused": paused, "updated_at": now()})
		if done.Error != nil {
			return fmt.Errorf("pause channel %d: %w", id, done.Error)
		}
		if done.RowsAffected == 0 {
			_, err := tx.Channel(ctx, id)
			return err
		}
		verb := map[bool]string{true: "pause", false: "resume"}[paused]
		e := models.Event{Actor: by, Verb: "channel " + verb, Subject: channelSubject(id), Text: fmt.Sprintf("Channel %d: %sd.", id, verb)}
		return tx.RecordEvent(ctx, e.With(models.Channel{Paused: !paused}, models.Channel{Paused: paused}))
	})
}

// MarkChannel stores how the last delivery of a channel went; sent is nil when it
// failed.
func (s *Store) MarkChannel(ctx context.Context, id int64, reason string, sent *time.Time) error {
	set := map[string]any{"reason": reason}
	if sent != nil {
		set["sent_at"] = *sent
	}
	return s.setChannel(ctx, id, set)
}

func (s *Store) setChannel(ctx context.Context, id int64, set map[string]any) error {
	done := s.with(ctx).Model(&models.Channel{}).Where("id = ?", id).UpdateColumns(set)
	return saved(done, "channel", id, "")
}

// DeleteChannelsOf removes the channels that are about one distribution alone, with
// their messages.
func (s *Store) DeleteChannelsOf(ctx context.Context, by string, distributionID int64) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.holdScope(ctx, &distributionID, nil); err != nil {
			return err
		}
		return tx.deleteChannels(ctx, by, "distribution_id", distributionID)
	})
}

// deleteChannels removes the channels about what the caller holds. One that is
// being given to something else is waited for, and left alone.
func (s *Store) deleteChannels(ctx context.Context, by, column string, about int64) error {
	mine := func() *gorm.DB { return s.with(ctx).Model(&models.Channel{}).Where(column+" = ?", about) }
	if err := mine().UpdateColumn(column, about).Error; err != nil {
		return fmt.Errorf("lock channels with %s %d: %w", column, about, err)
	}
	var ids []int64
	if err := mine().Order("id").Pluck("id", &ids).Error; err != nil {
		return fmt.Errorf("list channels with %s %d: %w", column, about, err)
	}
	for _, id := range ids {
		if err := s.DeleteChannel(ctx, by, id); err != nil {
			return err
		}
	}
	return nil
}

// DeleteChannel removes a channel with its messages.
func (s *Store) DeleteChannel(ctx context.Context, by string, id int64) error {
	return s.atomic(ctx, func(tx *Store) error {
		c, err := tx.LockChannel(ctx, id)
		if err != nil {
			return err
		}
		if err := tx.with(ctx).Delete(&models.Channel{}, id).Error; err != nil {
			return fmt.Errorf("delete channel %d: %w", id, err)
		}
		e := models.Event{Actor: by, Verb: "channel delete", Subject: channelSubject(id), Text: fmt.Sprintf("Deleted channel %s.", c.Name)}
		return tx.RecordEvent(ctx, e.With(c, nil))
	})
}

// Channel loads one.
func (s *Store) Channel(ctx context.Context, id int64) (models.Channel, error) {
	return get[models.Channel](ctx, s, "channel", id)
}

// channelRows adds to channels what their line shows beside them.
func (s *Store) channelRows(ctx context.Context) *gorm.DB {
	return s.with(ctx).Model(&models.Channel{}).
		Joins("LEFT JOIN distributions d ON d.id = channels.distribution_id").Joins("LEFT JOIN clients c ON c.id = channels.client_id").
		Select("channels.*, COALESCE(d.name, '') AS distribution_name, COALESCE(d.slug, '') AS distribution_slug, COALESCE(c.name, '') AS client_name, "+
			"(SELECT COUNT(*) FROM notices n WHERE n.channel_id = channels.id AND n.over_at IS NULL) AS waiting, "+
			"(SELECT COUNT(*) FROM notice_messages m WHERE m.channel_id = channels.id AND m.state IN ?) AS queued",
			[]models.MessageState{models.MessageQueued, models.MessageSending})
}

// ChannelRows lists the channels by name.
func (s *Store) ChannelRows(ctx context.Context) ([]fleet.ChannelRow, error) {
	var rows []fleet.ChannelRow
	if err := s.channelRows(ctx).Order("LOWER(channels.name), channels.id").Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	return rows, nil
}

// ChannelRow loads one with what its page shows beside it.
func (s *Store) ChannelRow(ctx context.Context, id int64) (fleet.ChannelRow, error) {
	return first[fleet.ChannelRow](s.channelRows(ctx).Where("channels.id = ?", id), "channel", id)
}

// DueChannels lists channels that are to be compared with what waits.
func (s *Store) DueChannels(ctx context.Context, now time.Time, limit int) ([]models.Channel, error) {
	var list []models.Channel
	err := s.with(ctx).Where("NOT paused AND look_at <= ?", now).Order("look_at, id").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list due channels: %w", err)
	}
	return list, nil
}

// ClaimChannel moves the times at which a channel is looked at, and at which its
// digest is due, on from those of c; false when another replica was quicker or
// somebody changed it.
func (s *Store) ClaimChannel(ctx context.Context, c models.Channel, look time.Time, digest *time.Time) (bool, error) {
	done := s.with(ctx).Model(&models.Channel{}).Where("id = ? AND look_at = ? AND updated_at = ? AND NOT paused", c.ID, c.LookAt, c.UpdatedAt).
		UpdateColumns(map[string]any{"look_at": look, "digest_at": digest})
	if done.Error != nil {
		return false, fmt.Errorf("claim channel %d: %w", c.ID, done.Error)
	}
	return done.RowsAffected == 1, nil
}

// OpenNotices lists a channel's notices that are not over, or whose end is still
// to be told, oldest first.
func (s *Store) OpenNotices(ctx context.Context, channelID int64) ([]models.Notice, error) {
	var list []models.Notice
	err := s.with(ctx).Where("channel_id = ? AND (over_at IS NULL OR owed)", channelID).Order("id").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list notices of channel %d: %w", channelID, err)
	}
	return list, nil
}

// SaveNotice stores a new notice or changes one.
func (s *Store) SaveNotice(ctx context.Context, n *models.Notice) error {
	if err := s.with(ctx).Save(n).Error; err != nil {
		return fmt.Errorf("save notice %s: %w", n.Key, err)
	}
	return nil
}

// ForgetNotices drops all that a channel remembers of what waits, so that it is
// told anew.
func (s *Store) ForgetNotices(ctx context.Context, channelID int64) error {
	if err := s.with(ctx).Where("channel_id = ?", channelID).Delete(&models.Notice{}).Error; err != nil {
		return fmt.Errorf("forget notices of channel %d: %w", channelID, err)
	}
	return nil
}

// ThreadOf gives the ids of the letters that told of notices, by notice.
func (s *Store) ThreadOf(ctx context.Context, messages []int64) (map[int64]string, error) {
	var list []models.NoticeMessage
	err := s.with(ctx).Select("id", "key").Where("id IN ?", append(messages, 0)).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("find letters: %w", err)
	}
	keys := make(map[int64]string, len(list))
	for _, m := range list {
		keys[m.ID] = m.Key
	}
	return keys, nil
}

// CreateNoticeMessage stores a message.
func (s *Store) CreateNoticeMessage(ctx context.Context, m *models.NoticeMessage) error {
	return create(ctx, s, "message", m, "This message is stored already.")
}

// NoticeMessage loads one.
func (s *Store) NoticeMessage(ctx context.Context, id int64) (models.NoticeMessage, error) {
	return get[models.NoticeMessage](ctx, s, "message", id)
}

// QueuedMessages lists a channel's messages that wait for an attempt, oldest
// first.
func (s *Store) QueuedMessages(ctx context.Context, channelID int64) ([]models.NoticeMessage, error) {
	var list []models.NoticeMessage
	err := s.with(ctx).Where("channel_id = ? AND state = ?", channelID, models.MessageQueued).Order("id").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list messages of channel %d: %w", channelID, err)
	}
	return list, nil
}

// DueMessages lists messages of channels that are not paused whose next attempt
// is due, the most overdue first. A message whose attempt was cut short is one.
func (s *Store) DueMessages(ctx context.Context, now time.Time, limit int) ([]models.NoticeMessage, error) {
	var list []models.NoticeMessage
	err := s.with(ctx).Joins("JOIN channels c ON c.id = notice_messages.channel_id AND NOT c.paused").
		Where("notice_messages.state IN ('queued', 'sending') AND notice_messages.next_at <= ?", now).
		Order("notice_messages.next_at, notice_messages.id").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list due messages: %w", err)
	}
	return list, nil
}

// MoveNoticeMessage brings a message from the state and attempt of m to another,
// with to's attempts, next attempt and end; false when another replica was
// quicker.
func (s *Store) MoveNoticeMessage(ctx context.Context, m, to models.NoticeMessage) (bool, error) {
	if !models.MessageTransitions().Allows(m.State, to.State) {
		return false, models.Errorf(models.Conflict, "The message is %s and cannot become %s from there.", m.State, to.State)
	}
	done := s.with(ctx).Model(&models.NoticeMessage{}).Where("id = ? AND state = ? AND attempts = ? AND next_at = ?", m.ID, m.State, m.Attempts, m.NextAt).
		UpdateColumns(map[string]any{"state": to.State, "attempts": to.Attempts, "next_at": to.NextAt, "ended_at": to.EndedAt})
	if done.Error != nil {
		return false, fmt.Errorf("move message %d to %s: %w", m.ID, to.State, done.Error)
	}
	return done.RowsAffected == 1, nil
}

// RecordAttempt stores an attempt to deliver a message.
func (s *Store) RecordAttempt(ctx context.Context, a *models.NoticeAttempt) error {
	return create(ctx, s, "attempt", a, "This attempt is stored already.")
}

// NoticeMessages lists a channel's last messages, newest first, each with its
// attempts, oldest first.
func (s *Store) NoticeMessages(ctx context.Context, channelID int64, limit int) ([]fleet.NoticeMessageRow, error) {
	var list []models.NoticeMessage
	if err := s.with(ctx).Where("channel_id = ?", channelID).Order("id DESC").Limit(limit).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list messages of channel %d: %w", channelID, err)
	}
	return s.withTries(ctx, list)
}

// MessageRows is NoticeMessages in parts.
func (s *Store) MessageRows(ctx context.Context, channelID int64, f fleet.Filter) ([]fleet.NoticeMessageRow, int, error) {
	query := s.with(ctx).Model(&models.NoticeMessage{}).Where("channel_id = ?", channelID)
	list, total, err := page[models.NoticeMessage](query, f, "id DESC")
	if err != nil {
		return nil, 0, fmt.Errorf("list messages of channel %d: %w", channelID, err)
	}
	rows, err := s.withTries(ctx, list)
	return rows, total, err
}

// withTries adds the attempts to messages.
func (s *Store) withTries(ctx context.Context, list []models.NoticeMessage) ([]fleet.NoticeMessageRow, error) {
	rows := make([]fleet.NoticeMessageRow, len(list))
	index, ids := make(map[int64]int, len(list)), make([]int64, 0, len(list))
	for i, m := range list {
		rows[i].NoticeMessage, index[m.ID], ids = m, i, append(ids, m.ID)
	}
	var attempts []models.NoticeAttempt
	if err := s.with(ctx).Where("message_id IN ?", append(ids, 0)).Order("id").Find(&attempts).Error; err != nil {
		return nil, fmt.Errorf("list attempts of %d messages: %w", len(list), err)
	}
	for _, a := range attempts {
		row := &rows[index[a.MessageID]]
		row.Tries = append(row.Tries, a)
	}
	return rows, nil
}

// PruneNotices drops messages and notices that ended before a time.
func (s *Store) PruneNotices(ctx context.Context, before time.Time) error {
	ended := []models.MessageState{models.MessageSent, models.MessageFailed, models.MessageReplaced}
	if err := s.with(ctx).Where("created_at < ? AND state IN ?", before, ended).Delete(&models.NoticeMessage{}).Error; err != nil {
		return fmt.Errorf("prune messages: %w", err)
	}
	if err := s.with(ctx).Where("over_at < ? AND NOT owed", before).Delete(&models.Notice{}).Error; err != nil {
		return fmt.Errorf("prune notices: %w", err)
	}
	return nil
}

// Places tells where in the fleet subjects of decisions are: the distributions
// that they belong to, and the platform of a site.
func (s *Store) Places(ctx context.Context, subjects []models.Subject) (map[models.Subject]fleet.Place, error) {
	ids := map[models.SubjectKind][]int64{}
	places := make(map[models.Subject]fleet.Place, len(subjects))
	for _, subject := range subjects {
		ids[subject.Kind] = append(ids[subject.Kind], subject.ID)
		if subject.Kind == models.SubjectDistribution {
			places[subject] = fleet.Place{Distributions: []int64{subject.ID}}
		}
	}
	for kind, query := range map[models.SubjectKind]*gorm.DB{
		models.SubjectSite: s.with(ctx).Table("sites").Joins("JOIN platforms p ON p.id = sites.platform_id").
			Select("sites.id, p.id AS platform_id, p.distribution_id").Where("sites.id IN ?", ids[models.SubjectSite]),
		models.SubjectPlatform: s.with(ctx).Table("platforms").
			Select("id, id AS platform_id, distribution_id").Where("id IN ?", ids[models.SubjectPlatform]),
		models.SubjectServer: s.with(ctx).Table("sites").Joins("JOIN platforms p ON p.id = sites.platform_id").
			Select("DISTINCT sites.database_server_id AS id, 0 AS platform_id, p.distribution_id").
			Where("sites.database_server_id IN ? AND sites.state <> ?", ids[models.SubjectServer], models.SiteDeleted),
	} {
		if len(ids[kind]) == 0 {
			continue
		}
		var found []struct{ ID, PlatformID, DistributionID int64 }
		if err := query.Find(&found).Error; err != nil {
			return nil, fmt.Errorf("find places of %ss: %w", kind, err)
		}
		for _, one := range found {
			subject := models.Subject{Kind: kind, ID: one.ID}
			place := places[subject]
			place.PlatformID, place.Distributions = one.PlatformID, append(place.Distributions, one.DistributionID)
			places[subject] = place
		}
	}
	return places, nil
}

// BusyDistributions lists distributions of which something is under way that may
// end what waits, or bring it back: a build, or an upgrade of all sites.
func (s *Store) BusyDistributions(ctx context.Context) ([]int64, error) {
	var ids []int64
	err := s.with(ctx).Raw("SELECT distribution_id FROM platforms WHERE state IN ? UNION "+
		"SELECT p.distribution_id FROM tasks t JOIN platforms p ON p.id = t.subject_id WHERE t.kind = ? AND t.subject_kind = ? AND t.state IN ?",
		[]models.PlatformState{models.PlatformQueued, models.PlatformBuilding},
		models.TaskUpgradePlatform, models.SubjectPlatform, unfinished()).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("list busy distributions: %w", err)
	}
	return ids, nil
}

// saved tells what came of changing the row with this id. taken is the answer
// when a unique value is in use.
func saved(done *gorm.DB, what string, id int64, taken string) error {
	switch {
	case errors.Is(done.Error, gorm.ErrDuplicatedKey):
		return models.Wrapf(models.Conflict, done.Error, "%s", taken)
	case done.Error != nil:
		return fmt.Errorf("save %s %d: %w", what, id, done.Error)
	case done.RowsAffected == 0:
		return missing(what, id)
	}
	return nil
}
