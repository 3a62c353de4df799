package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"hefring/internal/httpcode"
	"hefring/models"
	"hefring/templates/components"
	"hefring/templates/layouts"
	"hefring/templates/pages"
)

// stream sends a task's log as it grows, as server-sent events:
//
//	line   one line; its id is the line's, so that a browser that lost the
//	       connection says where to go on
//	state  the headline, when it changed
//	steps  the steps or the children, when they changed
//	end    the task is over and everything was sent
func (s *server) stream(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	wake, stop := s.fleet.Follow(id) // before the first look, or a line could slip between
	defer stop()
	ctx, cancel := context.WithTimeout(c.Request().Context(), httpcode.AnswerTime)
	defer cancel()
	if _, err := s.fleet.Task(ctx, id); err != nil {
		return err
	}
	out := &eventStream{server: s, response: c.Response(), page: s.frame(c, "tasks", ""), session: s.ownSession(c), task: id, after: resumeAt(c)}
	if err := out.open(); err != nil {
		return err
	}
	err = out.run(c.Request().Context(), wake)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.logger.DebugContext(c.Request().Context(), "stream ended", slog.Int64("task", id), slog.Any("error", err))
	}
	return nil // the answer has begun; there is nobody to tell
}

// resumeAt is the last line that the browser has: what it says after a lost
// connection, or what the page was drawn with.
func resumeAt(c echo.Context) int64 {
	if last := number(c.Request().Header.Get("Last-Event-ID")); last != 0 {
		return last
	}
	return number(c.QueryParam("after"))
}

// eventStream is one browser that follows one task.
type eventStream struct {
	server   *server
	response *echo.Response
	page     layouts.Page
	session  string
	task     int64
	after    int64  // last line that was sent
	state    string // what state and steps were sent last
	steps    string
}

func (e *eventStream) open() error {
	h := e.response.Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would collect the lines
	// The server's limit for writing an answer is for pages.
	if err := http.NewResponseController(e.response).SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("lift write deadline: %w", err)
	}
	e.response.WriteHeader(http.StatusOK)
	return e.write("retry: 1000\n\n")
}

func (e *eventStream) run(ctx context.Context, wake <-chan struct{}) error {
	look, beat, soon := time.NewTicker(e.server.poll), time.NewTicker(e.server.beat), time.NewTimer(e.server.poll)
	defer look.Stop()
	defer beat.Stop()
	defer soon.Stop()
	soon.Stop() // until something wakes us
	expected := false
	over, err := e.send(ctx)
	for err == nil && !over {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case _, open := <-wake:
			if !open {
				wake = nil
			}
			if !expected { // the steps may have changed, too; a chatty log must not have them drawn all the time
				soon.Reset(stepsRest)
				expected = true
			}
			err = e.sendLines(ctx)
		case <-soon.C:
			expected = false
			over, err = e.send(ctx)
		case <-look.C:
			if err = e.allowed(ctx); err == nil {
				over, err = e.send(ctx)
			}
		case <-beat.C:
			err = e.write(": still here\n\n")
		}
	}
	return err
}

// errOther ends a stream whose person may do something else by now.
var errOther = errors.New("what the person may do has changed")

// allowed fails when the session has ended or its user may do something else by now.
// The browser asks anew then, and is answered as any other request.
func (e *eventStream) allowed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, httpcode.AnswerTime)
	defer cancel()
	user, err := e.server.front.SessionUser(ctx, e.session, false)
	if err != nil {
		return err
	}
	actor := user.Actor()
	actor.Entrance = e.server.actor.Entrance
	if actor != e.server.actor {
		return errOther
	}
	return nil
}

// send sends what is new. The task is read before its lines: when it was over by
// then, no line can come after those.
func (e *eventStream) send(ctx context.Context) (over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, httpcode.AnswerTime)
	defer cancel()
	view, err := e.server.taskView(ctx, e.task)
	if err != nil {
		return false, err
	}
	view.Page = e.page
	if err := e.sendLines(ctx); err != nil {
		return false, err
	}
	if key := stepsKey(view); key != e.steps {
		e.steps = key
		if err := e.event(ctx, "steps", pages.TaskSteps(view)); err != nil {
			return false, err
		}
	}
	if key := stateKey(view); key != e.state {
		e.state = key
		if err := e.event(ctx, "state", pages.TaskState(view)); err != nil {
			return false, err
		}
	}
	if !view.Task.State.Over() {
		return false, nil
	}
	return true, e.write("event: end\ndata: over\n\n")
}

func (e *eventStream) sendLines(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, httpcode.AnswerTime)
	defer cancel()
	for {
		lines, err := e.server.fleet.Lines(ctx, e.task, e.after, lineBatch)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if len(lines) == 0 {
			return nil
		}
		var text bytes.Buffer
		for _, line := range lines {
			fmt.Fprintf(&text, "id: %d\n", line.ID)
			if err := encode(ctx, &text, "line", components.Line(line)); err != nil {
				return err
			}
		}
		if err := e.write(text.String()); err != nil {
			return err
		}
		e.after = lines[len(lines)-1].ID
	}
}

func (e *eventStream) event(ctx context.Context, name string, part templ.Component) error {
	var text bytes.Buffer
	if err := encode(ctx, &text, name, part); err != nil {
		return err
	}
	return e.write(text.String())
}

// encode writes one event. Each line of its data has a field of its own.
func encode(ctx context.Context, text *bytes.Buffer, name string, part templ.Component) error {
	var data bytes.Buffer
	if err := part.Render(ctx, &data); err != nil {
		return fmt.Errorf("draw event %s: %w", name, err)
	}
	fmt.Fprintf(text, "event: %s\n", name)
	for line := range strings.FieldsFuncSeq(data.String(), func(r rune) bool { return r == '\n' || r == '\r' }) {
		fmt.Fprintf(text, "data: %s\n", line)
	}
	text.WriteByte('\n')
	return nil
}

func (e *eventStream) write(text string) error {
	if _, err := e.response.Write([]byte(text)); err != nil {
		return err
	}
	return http.NewResponseController(e.response).Flush()
}

// stateKey is everything that the headline shows, without the clock.
func stateKey(v pages.Task) string {
	key := fmt.Sprint(v.Task.State, v.Task.Cancel, v.Task.Attempt, v.Task.Message, v.Task.StartedAt != nil)
	if v.Upgrade != nil {
		key += fmt.Sprint(v.Upgrade.State, v.Upgrade.Mode, v.Upgrade.FailedStep)
	}
	return key
}

// stepsKey is everything that the steps or children show, without the clock.
func stepsKey(v pages.Task) string {
	var key strings.Builder
	for _, step := range v.Steps {
		fmt.Fprintf(&key, "%s %s %s %t;", step.Name, step.State, step.Message, v.Task.State == models.TaskRunning)
	}
	for _, child := range v.Children {
		fmt.Fprintf(&key, "%d %s %s;", child.ID, child.State, child.Message)
	}
	return key.String()
}
