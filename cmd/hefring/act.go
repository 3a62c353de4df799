package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"hefring/internal/config"
	"hefring/models"
	"hefring/web/api"
)

// Exit codes of commands that wait for a task.
const (
	exitFailed    = 1 // it failed; what it worked on may need a person
	exitRecovered = 4 // it failed and put everything back
	exitCancelled = 5
	exitForbidden = 6 // the user who acts may not do that
)

// act is what every command that does something has in common. It works on the
// data folder, where the program that serves takes up what it queues; with a token
// it works on the Hefring at --url.
type act struct {
	config.Config
	JSON bool   `name:"json" help:"Print JSON."`
	As   string `placeholder:"USER" help:"Act as this user, with what that user may do."`

	TokenFile string `name:"token-file" placeholder:"FILE" env:"HEFRING_TOKEN_FILE" type:"path" help:"Work on the Hefring at --url, with the token in this file or in the variable HEFRING_TOKEN, instead of on the data folder here."`

	open func(ctx context.Context, cfg *config.Config, use func(*app) error) error // nil: withApp
}

// waiting is act for commands that queue a task.
type waiting struct {
	act
	Wait bool `short:"w" help:"Follow the task's log until it ends. Exit codes: 0 it succeeded, 1 it failed, 4 it failed and everything was put back, 5 it was cancelled."`
}

// queue asks for a task, and waits for its end if that is wished. A task that
// works on the same thing already is no success: it may do something else.
func (w *waiting) queue(ctx context.Context, ask func(f door) (models.Task, error)) error {
	return w.reach(ctx, func(f door) error {
		task, err := ask(f)
		if err != nil {
			return err
		}
		return w.follow(ctx, f, task)
	})
}

// onSite is queue for a site by its address.
func (w *waiting) onSite(ctx context.Context, uri string, ask func(f door, site models.Site) (models.Task, error)) error {
	return w.queue(ctx, func(f door) (models.Task, error) {
		site, err := f.SiteNamed(ctx, uri)
		if err != nil {
			return models.Task{}, err
		}
		return ask(f, site)
	})
}

// onPlatform is queue for a platform by its name.
func (w *waiting) onPlatform(ctx context.Context, name string, ask func(f door, p models.Platform) (models.Task, error)) error {
	return w.queue(ctx, func(f door) (models.Task, error) {
		p, err := f.PlatformNamed(ctx, name)
		if err != nil {
			return models.Task{}, err
		}
		return ask(f, p)
	})
}

// reach is for what can be done here, and with a token elsewhere.
func (c *act) reach(ctx context.Context, work func(f door) error) error {
	token, err := c.remoteToken()
	if err != nil {
		return commandError(err)
	}
	if token == "" {
		return c.here(ctx, work)
	}
	if c.As != "" {
		return &exitError{exitSettings, "A token acts for its user; --as is for the data folder. Leave one of them out."}
	}
	r, err := newRemote(c.URL, token, c.CAFile)
	if err != nil {
		return commandError(err)
	}
	defer r.client.CloseIdleConnections()
	return commandError(work(r))
}

// here is for the data folder of this host.
func (c *act) here(ctx context.Context, work func(f door) error) error {
	open := withApp
	if c.open != nil {
		open = c.open
	}
	return open(ctx, &c.Config, func(a *app) error {
		by, err := c.actor(ctx, a)
		if err != nil {
			return commandError(err)
		}
		return commandError(work(a.fleet.For(by)))
	})
}

// actor is who acts. Whoever can read the data folder may do everything.
func (c *act) actor(ctx context.Context, a *app) (models.Actor, error) {
	typed := models.Entrance{Door: models.DoorCommand}
	if c.As == "" {
		return models.Actor{Name: actor(), Role: models.RoleAdministrator, Entrance: typed}, nil
	}
	u, err := a.fleet.UserNamed(ctx, c.As)
	by := u.Actor()
	by.Entrance = typed
	return by, err
}

// actor is how the record of changes names who typed the command.
func actor() string {
	if u, err := user.Current(); err == nil {
		return u.Username + " (command line)"
	}
	return "command line"
}

// commandError gives errors the exit codes of the source commands.
func commandError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	code := exitFailed
	switch models.CodeOf(err) {
	case models.Invalid, models.NotFound, models.Conflict:
		code = exitSettings
	case models.Unavailable:
		code = exitUnavailable
	case models.Forbidden:
		code = exitForbidden
	default:
	}
	lines := []string{err.Error()}
	if e, ok := errors.AsType[*models.Error](err); ok {
		lines = []string{e.Message}
		for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
			lines = append(lines, "  "+field+": "+e.Fields[field])
		}
	}
	return &exitError{code, strings.Join(lines, "\n")}
}

// follow prints a task's log as it grows. Without --wait it only names the task.
func (w *waiting) follow(ctx context.Context, f door, t models.Task) error {
	if !w.Wait {
		if w.JSON {
			return printJSON(os.Stdout, api.TaskView(t))
		}
		printTo(os.Stdout, "task %d: %s", t.ID, t.Title)
		return nil
	}
	out := io.Writer(os.Stdout)
	if w.JSON {
		out = os.Stderr // the answer alone stands on standard output
	}
	last, err := tail(ctx, f, t.ID, out)
	if err != nil {
		return err
	}
	if w.JSON {
		if err := printJSON(os.Stdout, api.TaskView(last)); err != nil {
			return err
		}
	}
	return taskEnd(last)
}

// taskEnd turns a task's end into the exit code.
func taskEnd(t models.Task) error {
	switch t.State {
	case models.TaskSucceeded, models.TaskWarning:
		return nil
	case models.TaskRecovered:
		return &exitError{exitRecovered, t.Message}
	case models.TaskCancelled:
		return &exitError{exitCancelled, t.Message}
	default:
		return &exitError{exitFailed, t.Message}
	}
}

const (
	// tailEvery is how often the log is looked at; the one who writes it may be
	// another process.
	tailEvery = 300 * time.Millisecond
	tailLines = 500
	// farEvery is how often a Hefring elsewhere is asked, and farPatience how long
	// it may be silent meanwhile: it may be started anew, or the network be gone.
	farEvery    = time.Second
	farPatience = 2 * time.Minute
	// idleHint is after how long a task that nobody takes up is wondered at.
	idleHint = 10 * time.Second
)

// tail prints the lines of a task until it has ended.
func tail(ctx context.Context, f door, id int64, out io.Writer) (models.Task, error) {
	every := tailEvery
	if _, far := f.(*farDoor); far {
		every = farEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	log := &tailed{task: id, out: out}
	begun, hinted := time.Now(), false
	heard := begun
	for {
		t, err := log.look(ctx, f)
		if err != nil && (models.CodeOf(err) != models.Unavailable || time.Since(heard) > farPatience) {
			return t, err
		}
		if err == nil {
			heard = time.Now()
			if t.State.Over() {
				printTo(out, "%s: %s", t.State, t.Message)
				return t, nil
			}
		}
		if t.State == models.TaskQueued && !hinted && time.Since(begun) > idleHint {
			printTo(os.Stderr, "nobody has taken this task up yet; is hefring serve running?")
			hinted = true
		}
		select {
		case <-ctx.Done():
			return t, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// tailed is how far a log was printed.
type tailed struct {
	task, after int64
	out         io.Writer
}

// look prints what is new. The task is asked for before its log, so that nothing of
// one that is over is missing.
func (l *tailed) look(ctx context.Context, f door) (models.Task, error) {
	t, err := f.Task(ctx, l.task)
	if err != nil {
		return models.Task{}, err
	}
	for {
		lines, err := f.Lines(ctx, l.task, l.after, tailLines)
		if err != nil {
			return models.Task{}, err
		}
		for _, line := range lines {
			printTo(l.out, "%s", line.Text)
			l.after = line.ID
		}
		if len(lines) < tailLines {
			return t, nil
		}
	}
}

func printTo(out io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(out, format+"\n", args...)
}

// table prints rows under a head, or as JSON.
func (c *act) table(rows any, head []string, cells func(line func(cells ...any))) error {
	if c.JSON {
		return printJSON(os.Stdout, rows)
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	printTo(out, "%s", strings.Join(head, "\t"))
	cells(func(values ...any) {
		text := make([]string, len(values))
		for i, v := range values {
			text[i] = fmt.Sprint(v)
		}
		printTo(out, "%s", strings.Join(text, "\t"))
	})
	return out.Flush()
}
