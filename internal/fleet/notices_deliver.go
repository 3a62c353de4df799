package fleet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"hefring/models"
)

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
