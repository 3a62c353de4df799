package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

func TestTaskLog_Write_SplitsAndKeepsOrder(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			task := f.create(t, models.TaskVerify, 1)
			log := newLog(t.Context(), f.Store, task.ID, slog.New(slog.DiscardHandler))
			write := func(text string) {
				if n, err := fmt.Fprint(log.Out(), text); err != nil || n != len(text) {
					t.Errorf("wrote %d of %d: %v", n, len(text), err)
				}
			}
			log.Printf(models.LevelInfo, "first\nsecond")
			log.Step("copy")
			write("one\r\ntw")
			write("o\n\x1b[31mred\x1b[0m\n10%\r50%\r")
			write("100%\n")
			write("Fetching https://example.org/a.make?private_token=s3cr3t&ref=main\n")
			write("open")
			log.Step("deploy")
			_, err := fmt.Fprint(log.Err(), "late "+strings.Repeat("x", 20_000))
			ok(t, err)
			log.close()
			lines := strings.Split(f.log(t, task.ID), "\n")
			for i, wanted := range []string{"|info|first", "|info|second", "copy|out|one", "copy|out|two", "copy|out|red", "copy|out|100%", "copy|out|Fetching https://example.org/a.make?private_token=…&ref=main", "copy|out|open"} {
				want(t, fmt.Sprint("line ", i), lines[i], wanted)
			}
			want(t, "the long line is cut", strings.HasPrefix(lines[8], "deploy|err|late xx") && strings.HasSuffix(lines[8], "(line cut)"), true)
		})
	}
}

func TestTaskLog_Write_CutsLongLogs(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			f.r.Handle(models.TaskVerify, func(_ context.Context, _ models.Task, log fleet.Log) (string, models.TaskState, error) {
				for n := range store.MaxLines + 500 {
					if _, err := fmt.Fprintln(log.Out(), n); err != nil {
						return "", "", err
					}
				}
				return "all said", "", nil
			})
			f.start(t)
			task := f.create(t, models.TaskVerify, 1)
			want(t, "message", f.ended(t, task.ID).Message, "all said")
			lines, err := f.Lines(f.ctx, task.ID, 0, store.MaxLines*2)
			ok(t, err)
			want(t, "lines", len(lines), store.MaxLines+1)
			for n, line := range lines[:store.MaxLines] {
				want(t, "line", line.Text, strconv.Itoa(n))
			}
		})
	}
}

// flaky is a store whose log is down for some time.
type flaky struct {
	Store

	down  atomic.Bool
	lines []models.TaskLine
}

func (f *flaky) AppendLines(_ context.Context, lines []models.TaskLine) error {
	if f.down.Load() {
		return errors.New("the database does not answer")
	}
	f.lines = append(f.lines, lines...)
	return nil
}

func TestTaskLog_Flush_KeepsLinesWhileTheDatabaseIsDown(t *testing.T) {
	f := &flaky{}
	f.down.Store(true)
	log := newLog(t.Context(), f, 1, slog.New(slog.DiscardHandler))
	for n := range maxPending + 10 {
		log.Printf(models.LevelOut, "%d", n)
	}
	f.down.Store(false)
	log.close()
	want(t, "lines", len(f.lines), maxPending+1)
	want(t, "first", f.lines[0].Text, "0")
	want(t, "last", f.lines[maxPending].Text, "10 lines were lost while the database did not answer.")
}
