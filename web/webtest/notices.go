package webtest

import (
	"context"

	"hefring/internal/fleet"
	"hefring/models"
)

// The sample fleet has no channels.

// Channels lists none.
func (f *Fleet) Channels(context.Context) ([]fleet.ChannelRow, error) {
	return nil, f.failing("Channels")
}

// Channel finds none.
func (f *Fleet) Channel(_ context.Context, id int64, _ int) (fleet.ChannelRow, []fleet.NoticeMessageRow, error) {
	return fleet.ChannelRow{}, nil, noChannel(id)
}

// SaveChannel gives the channel the number 1.
func (f *Fleet) SaveChannel(_ context.Context, c models.Channel, _ string) (models.Channel, string, error) {
	c.ID = 1
	return c, "", f.called("SaveChannel")
}

// RotateChannelSecret finds none.
func (f *Fleet) RotateChannelSecret(_ context.Context, id int64, _ string) (string, error) {
	return "", noChannel(id)
}

// PauseChannel finds none.
func (f *Fleet) PauseChannel(_ context.Context, id int64, _ bool) error { return noChannel(id) }

// DeleteChannel finds none.
func (f *Fleet) DeleteChannel(_ context.Context, id int64) (models.Channel, error) {
	return models.Channel{}, noChannel(id)
}

// TestChannel finds none.
func (f *Fleet) TestChannel(_ context.Context, id int64) (models.NoticeAttempt, error) {
	return models.NoticeAttempt{}, noChannel(id)
}

// ResendMessage finds none.
func (f *Fleet) ResendMessage(_ context.Context, id int64) (models.NoticeMessage, error) {
	return models.NoticeMessage{}, models.Errorf(models.NotFound, "There is no message %d.", id)
}

func noChannel(id int64) error {
	return models.Errorf(models.NotFound, "There is no channel %d.", id)
}
