package tasks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"hefring/models"
)

// How lines are gathered before they are stored.
const (
	flushLines = 100
	flushEvery = 100 * time.Millisecond
	flushTime  = 10 * time.Second // that storing may take
	// lineLimit is a little more than the store keeps of a line, so that the
	// store sees that it is too long and says so.
	lineLimit = 9 * 1024
	// maxPending is how many lines wait while the database does not answer; the
	// rest is dropped, and the log says how many.
	maxPending = 5000
)

// taskLog is a task's live log. Lines are stored in the order in which they
// were written, whatever wrote them; who writes faster than the database stores
// has to wait.
type taskLog struct {
	keep   func([]models.TaskLine) error // stores lines
	taskID int64

	mu       sync.Mutex
	span     Span
	step     string
	pending  []models.TaskLine
	dropped  int
	out, err *lineWriter

	stop    chan struct{}
	stopped sync.WaitGroup
}

// newLog opens the log of a task. It stores also after ctx has ended: what is
// said while a task stops matters most.
func newLog(ctx context.Context, store Store, taskID int64, logger *slog.Logger) *taskLog {
	lasting := context.WithoutCancel(ctx)
	l := &taskLog{taskID: taskID, span: untraced{}, stop: make(chan struct{})}
	l.keep = func(lines []models.TaskLine) error {
		limited, done := context.WithTimeout(lasting, flushTime)
		defer done()
		err := store.AppendLines(limited, lines)
		if err != nil && models.CodeOf(err) == "" {
			logger.WarnContext(lasting, "store log of task", slog.Int64("task", taskID), slog.Any("error", err))
		}
		return err
	}
	l.out = &lineWriter{log: l, level: models.LevelOut}
	l.err = &lineWriter{log: l, level: models.LevelErr}
	l.stopped.Go(l.flushUntilStop)
	return l
}

// Printf writes one or more lines.
func (l *taskLog) Printf(level models.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		l.add(level, strings.TrimRight(line, "\r\n"))
	}
}

// Step says which step the following lines belong to.
func (l *taskLog) Step(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out.finish() // what came before belongs to the step before
	l.err.finish()
	l.step = name
	l.span.Step(name)
}

// Out takes a program's standard output.
func (l *taskLog) Out() io.Writer { return l.out }

// Err takes a program's standard error.
func (l *taskLog) Err() io.Writer { return l.err }

// close stores what is left.
func (l *taskLog) close() {
	close(l.stop)
	l.stopped.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out.finish()
	l.err.finish()
	l.flush()
}

func (l *taskLog) flushUntilStop() {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			l.mu.Lock()
			l.flush()
			l.mu.Unlock()
		}
	}
}

// add takes one line. The caller holds the lock.
func (l *taskLog) add(level models.Level, text string) {
	if len(l.pending) >= maxPending {
		l.dropped++
		return
	}
	l.pending = append(l.pending, models.TaskLine{
		TaskID: l.taskID, At: time.Now().UTC().Truncate(time.Microsecond), Step: l.step, Level: level, Text: models.Blot(text),
	})
	if len(l.pending)%flushLines != 0 {
		return
	}
	// A program that writes without end must leave the database half of its
	// time for others: SQLite has one writer at a time and no queue for them.
	began := time.Now()
	l.flush()
	time.Sleep(min(time.Since(began), flushEvery))
}

// flush stores what is pending, and keeps it when that fails. The caller holds
// the lock, which keeps the order.
func (l *taskLog) flush() {
	if len(l.pending) == 0 {
		return
	}
	if l.dropped > 0 && len(l.pending) == maxPending {
		l.pending = append(l.pending, models.TaskLine{
			TaskID: l.taskID, At: time.Now().UTC(), Step: l.step, Level: models.LevelWarn,
			Text: fmt.Sprintf("%d lines were lost while the database did not answer.", l.dropped),
		})
	}
	err := l.keep(l.pending)
	if err != nil && models.CodeOf(err) == "" {
		l.pending = l.pending[:min(len(l.pending), maxPending)]
		return
	}
	l.pending, l.dropped = nil, 0
}

// lineWriter makes lines out of what a program writes.
type lineWriter struct {
	log   *taskLog
	level models.Level
	rest  []byte // of a line that has not ended yet
	anew  bool   // a carriage return came: what follows replaces rest
}

// escapes are a terminal's colours and cursor movements.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))`)

// Write takes a piece of output of any length. It never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	n := len(p)
	for {
		line, after, ended := bytes.Cut(p, []byte{'\n'})
		w.take(line)
		if !ended {
			return n, nil
		}
		w.end()
		p = after
	}
}

// take adds to the unfinished line. After a carriage return it is written anew,
// as progress bars do; what a too long line has more is dropped.
func (w *lineWriter) take(p []byte) {
	for _, b := range p {
		if b == '\r' {
			w.anew = true
			continue
		}
		if w.anew {
			w.rest, w.anew = w.rest[:0], false
		}
		if len(w.rest) < lineLimit {
			w.rest = append(w.rest, b)
		}
	}
}

func (w *lineWriter) end() {
	text := escapes.ReplaceAllString(string(w.rest), "")
	w.rest, w.anew = w.rest[:0], false
	w.log.add(w.level, text)
}

// finish ends a line that its program left open. The caller holds the lock.
func (w *lineWriter) finish() {
	if len(w.rest) > 0 {
		w.end()
	}
}
