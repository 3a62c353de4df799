package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Queue is one update type's schedule of checks.
type Queue struct {
	Type         string     `json:"type"`
	EverySeconds int64      `json:"every_seconds"`
	AtOnce       int        `json:"at_once"`
	Paused       bool       `json:"paused"`
	Sources      int        `json:"sources"`
	Waiting      int        `json:"waiting"`
	Running      int        `json:"running"`
	NextAt       *time.Time `json:"next_at,omitempty"`
	LagSeconds   float64    `json:"lag_seconds" doc:"How long the oldest due check waits"`
}

// QueueView gives a queue as programs read it.
func QueueView(r fleet.QueueRow) Queue {
	return Queue{r.UpdateType, int64(r.Every / time.Second), r.AtOnce, r.Paused, r.Sources, r.Waiting, r.Running, r.NextRunAt, r.Lag.Seconds()}
}

// Host is a host that sources are asked at.
type Host struct {
	Name         string     `json:"name"`
	AtOnce       int        `json:"at_once" doc:"Checks at a time"`
	PerMinute    int        `json:"per_minute" doc:"Checks that begin in a minute"`
	Sources      int        `json:"sources"`
	Failing      int        `json:"failing"`
	Stalled      int        `json:"stalled"`
	BlockedUntil *time.Time `json:"blocked_until,omitempty"`
	Requests     int64      `json:"requests_today"`
}

// HostView gives a host as programs read it.
func HostView(r fleet.HostRow) Host {
	return Host{r.Name, r.AtOnce, r.PerMinute, r.Upstreams, r.Failing, r.Stalled, r.BlockedUntil, r.Requests}
}

// QueueIn names a queue.
type QueueIn struct {
	Caller

	Type string `path:"queue" doc:"The update type"`
}

func (s *server) queues() {
	register(s, operation{get, "/queues", "list-queues", "List the queues of checks, one for each update type"}, func(ctx context.Context, f Fleet, in Steps) (Page[Queue], error) {
		rows, err := f.QueueRows(ctx, time.Now())
		return whole(in, rows, err, QueueView, func(r fleet.QueueRow) fleet.Position { return fleet.Position{Name: r.UpdateType} })
	})
	type run struct {
		Started int `json:"started" doc:"How many checks began"`
	}
	register(s, operation{post, "/queues/{queue}/run", "run-queue", "Look at every source of a type now"}, func(ctx context.Context, f Fleet, in QueueIn) (run, error) {
		n, err := f.RunQueueNow(ctx, in.Type)
		return run{n}, err
	})
	register(s, operation{post, "/queues/{queue}/pause", "pause-queue", "Stop the checks that a queue makes by itself"}, func(ctx context.Context, f Fleet, in QueueIn) (done, error) {
		return done{true}, f.PauseQueue(ctx, in.Type, true)
	})
	register(s, operation{post, "/queues/{queue}/resume", "resume-queue", "Let a queue make its checks again"}, func(ctx context.Context, f Fleet, in QueueIn) (done, error) {
		return done{true}, f.PauseQueue(ctx, in.Type, false)
	})
	register(s, operation{put, "/queues/{queue}", "set-queue", "Change how often a queue looks, and how many checks run at once"}, func(ctx context.Context, f Fleet, in struct {
		QueueIn

		Body struct {
			EverySeconds int64 `json:"every_seconds" minimum:"1" maximum:"31622400"`
			AtOnce       int   `json:"at_once"`
		}
	},
	) (done, error) {
		return done{true}, f.SaveQueue(ctx, models.Queue{UpdateType: in.Type, Every: time.Duration(in.Body.EverySeconds) * time.Second, AtOnce: in.Body.AtOnce})
	})
	s.hosts()
}

func (s *server) hosts() {
	register(s, operation{get, "/hosts", "list-hosts", "List the hosts that sources are asked at"}, func(ctx context.Context, f Fleet, in Steps) (Page[Host], error) {
		rows, err := f.HostRows(ctx, time.Now())
		return whole(in, rows, err, HostView, func(r fleet.HostRow) fleet.Position { return fleet.Position{Name: r.Name} })
	})
	register(s, operation{put, "/hosts/{host}", "set-host", "Change how much is asked of a host"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Name string `path:"host"`
		Body struct {
			AtOnce    int `json:"at_once"`
			PerMinute int `json:"per_minute"`
		}
	},
	) (done, error) {
		return done{true}, f.SaveHost(ctx, models.Host{Name: in.Name, AtOnce: in.Body.AtOnce, PerMinute: in.Body.PerMinute})
	})
}
