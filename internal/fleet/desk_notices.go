package fleet

import (
	"context"

	"hefring/models"
)

// Channels lists the channels by which people are told.
func (d *Desk) Channels(ctx context.Context) ([]ChannelRow, error) {
	return guarded(d, models.MayChangeSettings, func() ([]ChannelRow, error) { return d.fleet.Channels(ctx) })
}

// ChannelNamed finds one by its name.
func (d *Desk) ChannelNamed(ctx context.Context, name string) (ChannelRow, error) {
	return guarded(d, models.MayChangeSettings, func() (ChannelRow, error) { return d.fleet.ChannelNamed(ctx, name) })
}

// Channel loads one with its last messages.
func (d *Desk) Channel(ctx context.Context, id int64, messages int) (ChannelRow, []NoticeMessageRow, error) {
	if err := d.may(models.MayChangeSettings); err != nil {
		return ChannelRow{}, nil, err
	}
	return d.fleet.Channel(ctx, id, messages)
}

// MessageRows lists a channel's messages, newest first, in parts.
func (d *Desk) MessageRows(ctx context.Context, channelID int64, f Filter) ([]NoticeMessageRow, int, error) {
	if err := d.may(models.MayChangeSettings); err != nil {
		return nil, 0, err
	}
	return d.fleet.store.MessageRows(ctx, channelID, f)
}

// SaveChannel is Fleet.SaveChannel for those who may.
func (d *Desk) SaveChannel(ctx context.Context, c models.Channel, once string) (models.Channel, string, error) {
	if err := d.may(models.MayChangeSettings); err != nil {
		return models.Channel{}, "", err
	}
	return d.fleet.SaveChannel(ctx, d.by.Name, c, once)
}

// RotateChannelSecret is Fleet.RotateChannelSecret for those who may.
func (d *Desk) RotateChannelSecret(ctx context.Context, id int64, once string) (string, error) {
	return guarded(d, models.MayChangeSettings, func() (string, error) { return d.fleet.RotateChannelSecret(ctx, d.by.Name, id, once) })
}

// PauseChannel is Fleet.PauseChannel for those who may.
func (d *Desk) PauseChannel(ctx context.Context, id int64, paused bool) error {
	if err := d.may(models.MayChangeSettings); err != nil {
		return err
	}
	return d.fleet.PauseChannel(ctx, d.by.Name, id, paused)
}

// DeleteChannel is Fleet.DeleteChannel for those who may.
func (d *Desk) DeleteChannel(ctx context.Context, id int64) (models.Channel, error) {
	return guarded(d, models.MayChangeSettings, func() (models.Channel, error) { return d.fleet.DeleteChannel(ctx, d.by.Name, id) })
}

// TestChannel is Fleet.TestChannel for those who may.
func (d *Desk) TestChannel(ctx context.Context, id int64) (models.NoticeAttempt, error) {
	return guarded(d, models.MayChangeSettings, func() (models.NoticeAttempt, error) {
		return d.fleet.TestChannel(ctx, d.by.Name, id, d.fleet.cfg.Notifier)
	})
}

// ResendMessage is Fleet.ResendMessage for those who may.
func (d *Desk) ResendMessage(ctx context.Context, id int64) (models.NoticeMessage, error) {
	return guarded(d, models.MayChangeSettings, func() (models.NoticeMessage, error) { return d.fleet.ResendMessage(ctx, d.by.Name, id) })
}
