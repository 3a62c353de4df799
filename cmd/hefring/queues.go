package main

import (
	"context"
	"os"
	"slices"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type queueCmd struct {
	List    queueListCmd   `cmd:"" help:"List the queues of checks, one for each update type."`
	Run     queueRunCmd    `cmd:"" help:"Look at every source of a type now."`
	Pause   queuePauseCmd  `cmd:"" help:"Stop the checks that a queue makes by itself."`
	Resume  queueResumeCmd `cmd:"" help:"Let a queue make its checks again."`
	Set     queueSetCmd    `cmd:"" help:"Change how often a queue looks, and how many checks run at once. What is not named stays."`
	Hosts   hostListCmd    `cmd:"" help:"List the hosts that sources are asked at."`
	SetHost hostSetCmd     `cmd:"" help:"Change how much is asked of a host. What is not named stays."`
}

type queueListCmd struct{ act }

// Run prints the list.
func (c *queueListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, err := f.QueueRows(ctx, time.Now().UTC())
		if err != nil {
			return err
		}
		return c.table(each(rows, api.QueueView), []string{"QUEUE", "EVERY", "AT ONCE", "PAUSED", "SOURCES", "WAITING", "RUNNING", "NEXT"}, func(line func(...any)) {
			for _, q := range rows {
				line(q.UpdateType, q.Every, q.AtOnce, yes(q.Paused), q.Sources, q.Waiting, q.Running, stamp(q.NextRunAt))
			}
		})
	})
}

// queueArg names the queue of a command.
type queueArg struct {
	Type string `arg:"" name:"queue" help:"The update type: git, makefile, stock or composer."`
}

type queueRunCmd struct {
	act
	queueArg
}

// Run has the sources looked at.
func (c *queueRunCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		started, err := f.RunQueueNow(ctx, c.Type)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(os.Stdout, map[string]int{"started": started})
		}
		printTo(os.Stdout, "%d checks were started", started)
		return nil
	})
}

type queuePauseCmd struct {
	act
	queueArg
}

// Run pauses it.
func (c *queuePauseCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error { return f.PauseQueue(ctx, c.Type, true) })
}

type queueResumeCmd struct {
	act
	queueArg
}

// Run resumes it.
func (c *queueResumeCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error { return f.PauseQueue(ctx, c.Type, false) })
}

type queueSetCmd struct {
	act
	queueArg
	Every  *time.Duration `help:"How often each source is looked at, such as 5m."`
	AtOnce *int           `help:"How many checks of this queue run at once."`
}

// Run changes it.
func (c *queueSetCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayChangeSettings); err != nil {
			return err
		}
		rows, err := f.QueueRows(ctx, time.Now().UTC())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(q fleet.QueueRow) bool { return q.UpdateType == c.Type })
		if i < 0 {
			return models.Errorf(models.NotFound, "There is no queue %s; see hefring queue list.", c.Type)
		}
		q := rows[i].Queue
		replace(&q.Every, c.Every)
		replace(&q.AtOnce, c.AtOnce)
		return f.SaveQueue(ctx, q)
	})
}

type hostListCmd struct{ act }

// Run prints the list.
func (c *hostListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, err := f.HostRows(ctx, time.Now().UTC())
		if err != nil {
			return err
		}
		list := each(rows, api.HostView)
		return c.table(list, []string{"HOST", "AT ONCE", "A MINUTE", "SOURCES", "FAILING", "STALLED", "BLOCKED UNTIL"}, func(line func(...any)) {
			for _, h := range list {
				line(h.Name, h.AtOnce, h.PerMinute, h.Sources, h.Failing, h.Stalled, stamp(h.BlockedUntil))
			}
		})
	})
}

type hostSetCmd struct {
	act
	Name      string `arg:"" name:"host" help:"The host's name."`
	AtOnce    *int   `help:"How many checks ask it at a time."`
	PerMinute *int   `help:"How many checks may begin in a minute."`
}

// Run changes it.
func (c *hostSetCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayChangeSettings); err != nil {
			return err
		}
		rows, err := f.HostRows(ctx, time.Now().UTC())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(h fleet.HostRow) bool { return h.Name == c.Name })
		if i < 0 {
			return models.Errorf(models.NotFound, "No source is asked at %s; see hefring queue hosts.", c.Name)
		}
		h := rows[i].Host
		replace(&h.AtOnce, c.AtOnce)
		replace(&h.PerMinute, c.PerMinute)
		return f.SaveHost(ctx, h)
	})
}
