package api

import (
	"context"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Channel is one way in which people are told of what needs them.
type Channel struct {
	Name         string             `json:"name"`
	Kind         models.ChannelKind `json:"kind" enum:"email,slack,webhook"`
	Target       string             `json:"target" doc:"Of a URL what is no secret"`
	Distribution string             `json:"distribution,omitempty" doc:"Short name of the only one that it tells of"`
	Client       string             `json:"client,omitempty" doc:"Name of the only one that it tells of"`
	Causes       []models.Cause     `json:"causes"`
	EverySeconds int64              `json:"every_seconds" doc:"Between digests; 0: each cause at once"`
	Hour         int                `json:"hour" doc:"UTC, of a digest that comes once a day"`
	Paused       bool               `json:"paused"`
	Problem      string             `json:"problem,omitempty"`
	SentAt       *time.Time         `json:"sent_at,omitempty"`
	Waiting      int                `json:"waiting"`
	Queued       int                `json:"queued"`
	Secret       string             `json:"secret,omitempty" doc:"That signs, of a new webhook channel; shown this once"`
}

// ChannelView gives a channel as programs read it.
func ChannelView(r fleet.ChannelRow) Channel {
	return Channel{
		Name: r.Name, Kind: r.Kind, Target: r.Target, Distribution: r.DistributionSlug, Client: r.ClientName, Causes: r.Causes,
		EverySeconds: int64(r.Every / time.Second), Hour: r.Hour, Paused: r.Paused, Problem: r.Reason, SentAt: r.SentAt, Waiting: r.Waiting, Queued: r.Queued,
	}
}

// NoticeMessage is one message of a channel.
type NoticeMessage struct {
	ID       int64               `json:"id"`
	State    models.MessageState `json:"state"`
	Attempts int                 `json:"attempts"`
	Lines    []string            `json:"lines" doc:"What it tells of"`
	Problem  string              `json:"problem,omitempty" doc:"Of the last attempt"`
	Created  time.Time           `json:"created_at"`
}

// MessageView gives a message as programs read it.
func MessageView(m fleet.NoticeMessageRow) NoticeMessage {
	v := NoticeMessage{ID: m.ID, State: m.State, Attempts: m.Attempts, Created: m.CreatedAt, Lines: []string{}}
	for _, line := range m.Letter.Lines {
		v.Lines = append(v.Lines, line.Title)
	}
	if n := len(m.Tries); n > 0 {
		v.Problem = m.Tries[n-1].Problem
	}
	return v
}

// ChannelIn names a channel.
type ChannelIn struct {
	Caller

	Key  string `header:"Idempotency-Key" hidden:"true"`
	Name string `path:"channel" doc:"The channel's name"`
}

// onChannel is an operation on a channel.
func onChannel[T any](s *server, o operation, do func(ctx context.Context, f Fleet, id int64, in ChannelIn) (T, error)) {
	about(s, o, func(ctx context.Context, f Fleet, in ChannelIn) (fleet.ChannelRow, error) {
		return f.ChannelNamed(ctx, in.Name)
	},
		func(ctx context.Context, f Fleet, row fleet.ChannelRow, in ChannelIn) (T, error) {
			return do(ctx, f, row.ID, in)
		})
}

// ChannelBody is a channel as it is sent.
type ChannelBody struct {
	Name         string         `json:"name"`
	Target       string         `json:"target,omitempty" doc:"Of an email channel: addresses, separated by commas"`
	URL          string         `json:"url,omitempty" doc:"Of the others; none keeps the stored one"`
	Distribution string         `json:"distribution,omitempty" doc:"Short name of the only one to tell of"`
	Client       string         `json:"client,omitempty" doc:"Name of the only one to tell of"`
	Causes       []models.Cause `json:"causes,omitempty" doc:"What to tell of; none is all"`
	EverySeconds int64          `json:"every_seconds,omitempty" minimum:"0" maximum:"31622400"`
	Hour         int            `json:"hour,omitempty" minimum:"0" maximum:"23"`
}

// channel puts what was sent into a channel.
func (b ChannelBody) channel(ctx context.Context, f Fleet, c models.Channel) (models.Channel, error) {
	c.Name, c.Target, c.URL, c.Hour = b.Name, b.Target, b.URL, b.Hour
	c.Every, c.Causes, c.DistributionID, c.ClientID = time.Duration(b.EverySeconds)*time.Second, b.Causes, nil, nil
	if len(c.Causes) == 0 {
		c.Causes = models.Causes()
	}
	if b.Distribution != "" {
		d, err := f.DistributionNamed(ctx, b.Distribution)
		if err != nil {
			return c, unknown(err, "distribution")
		}
		c.DistributionID = &d.ID
	}
	if b.Client != "" {
		client, err := f.ClientNamed(ctx, b.Client)
		if err != nil {
			return c, unknown(err, "client")
		}
		c.ClientID = &client.ID
	}
	return c, nil
}

// unknown says of what is not there that it is the request's fault.
func unknown(err error, field string) error {
	if models.CodeOf(err) == models.NotFound {
		return models.InvalidField(field, "There is none of this name.")
	}
	return err
}

func (s *server) channels() {
	register(s, operation{get, "/notices", "list-channels", "List the channels by which people are told of what needs them"}, func(ctx context.Context, f Fleet, in Steps) (Page[Channel], error) {
		rows, err := f.Channels(ctx)
		return whole(in, rows, err, ChannelView, func(r fleet.ChannelRow) fleet.Position { return fleet.Position{Name: strings.ToLower(r.Name)} })
	})
	register(s, operation{post, "/notices", "add-channel", "Add a channel"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Key  string `header:"Idempotency-Key" hidden:"true"`
		Body struct {
			ChannelBody

			Kind models.ChannelKind `json:"kind" enum:"email,slack,webhook"`
		}
	},
	) (Channel, error) {
		if err := f.Actor().Needs(models.MayChangeSettings); err != nil {
			return Channel{}, err
		}
		c, err := in.Body.channel(ctx, f, models.Channel{Kind: in.Body.Kind})
		if err != nil {
			return Channel{}, err
		}
		saved, secret, err := f.SaveChannel(ctx, c, once(f, in.Key))
		if err != nil {
			return Channel{}, err
		}
		row, _, err := f.Channel(ctx, saved.ID, 0)
		v := ChannelView(row)
		v.Secret = secret
		return v, err
	})
	onChannel(s, operation{get, "/notices/{channel}", "get-channel", "One channel"}, func(ctx context.Context, f Fleet, id int64, _ ChannelIn) (Channel, error) {
		row, _, err := f.Channel(ctx, id, 0)
		return ChannelView(row), err
	})
	type change struct {
		ChannelIn

		Body ChannelBody
	}
	about(s, operation{put, "/notices/{channel}", "change-channel", "Replace what a channel tells, and where"},
		func(ctx context.Context, f Fleet, in change) (fleet.ChannelRow, error) {
			return f.ChannelNamed(ctx, in.Name)
		},
		func(ctx context.Context, f Fleet, row fleet.ChannelRow, in change) (Channel, error) {
			c, err := in.Body.channel(ctx, f, row.Channel)
			if err != nil {
				return Channel{}, err
			}
			if _, _, err := f.SaveChannel(ctx, c, ""); err != nil {
				return Channel{}, err
			}
			row, _, err = f.Channel(ctx, row.ID, 0)
			return ChannelView(row), err
		})
	s.oneChannel()
}

// Attempt is one attempt to deliver a message.
type Attempt struct {
	Delivered bool    `json:"delivered"`
	Recipient string  `json:"recipient"`
	Status    int     `json:"status" doc:"Of HTTP or SMTP; 0 when there was no answer"`
	Answer    string  `json:"answer"`
	Problem   string  `json:"problem,omitempty"`
	Seconds   float64 `json:"seconds" doc:"How long it took"`
}

// AttemptView gives an attempt as programs read it.
func AttemptView(a models.NoticeAttempt) Attempt {
	return Attempt{a.Delivered, a.Recipient, a.Status, a.Answer, a.Problem, a.Took.Seconds()}
}

func (s *server) oneChannel() {
	register(s, operation{get, "/notices/{channel}/messages", "list-messages", "The messages of a channel, newest first"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		Name string `path:"channel" doc:"The channel's name"`
	},
	) (Page[NoticeMessage], error) {
		row, err := f.ChannelNamed(ctx, in.Name)
		if err != nil {
			return Page[NoticeMessage]{}, err
		}
		return listed(in.Steps, MessageView, func(m fleet.NoticeMessageRow) fleet.Position { return fleet.Position{ID: m.ID} }, func(filter fleet.Filter) ([]fleet.NoticeMessageRow, int, error) {
			return f.MessageRows(ctx, row.ID, filter)
		})
	})
	onChannel(s, operation{post, "/notices/{channel}/pause", "pause-channel", "Stop what a channel tells"}, func(ctx context.Context, f Fleet, id int64, _ ChannelIn) (done, error) {
		return done{true}, f.PauseChannel(ctx, id, true)
	})
	onChannel(s, operation{post, "/notices/{channel}/resume", "resume-channel", "Let a channel go on"}, func(ctx context.Context, f Fleet, id int64, _ ChannelIn) (done, error) {
		return done{true}, f.PauseChannel(ctx, id, false)
	})
	onChannel(s, operation{post, "/notices/{channel}/test", "test-channel", "Send a message now and give the real answer"}, func(ctx context.Context, f Fleet, id int64, _ ChannelIn) (Attempt, error) {
		a, err := f.TestChannel(ctx, id)
		return AttemptView(a), err
	})
	onChannel(s, operation{post, "/notices/{channel}/rotate", "rotate-channel", "Make a new secret for a webhook channel"}, func(ctx context.Context, f Fleet, id int64, in ChannelIn) (Secret, error) {
		secret, err := f.RotateChannelSecret(ctx, id, once(f, in.Key))
		return Secret{secret}, err
	})
	onChannel(s, operation{del, "/notices/{channel}", "delete-channel", "Delete a channel with its messages"}, func(ctx context.Context, f Fleet, id int64, _ ChannelIn) (done, error) {
		_, err := f.DeleteChannel(ctx, id)
		return done{true}, err
	})
	register(s, operation{post, "/messages/{message}/resend", "resend-message", "Deliver a message after all that was given up"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		ID int64 `path:"message"`
	},
	) (done, error) {
		_, err := f.ResendMessage(ctx, in.ID)
		return done{true}, err
	})
}
