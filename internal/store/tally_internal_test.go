package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hefring/models"
)

func TestRemembered_Get_Ages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r remembered[int]
		var found atomic.Int64
		var broken error
		ask := func() (int, error) {
			return r.get(t.Context(), func(_ context.Context, before int) (int, error) {
				if before > 0 && int64(before) != found.Load() {
					t.Errorf("the answer before is %d", before)
				}
				time.Sleep(100 * time.Millisecond) // of the test's own clock
				return int(found.Add(1)), broken
			}, func(n int) bool { return n > 1 })
		}
		expect := func(what string, want int) {
			t.Helper()
			if got, err := ask(); err != nil || got != want {
				t.Fatalf("%s: got %d, %v; want %d", what, got, err, want)
			}
		}
		expect("the first is not worth it", 1)
		expect("so it is found anew", 2)
		expect("and that is remembered", 2)
		time.Sleep(freshFor + 10*time.Millisecond)
		expect("what is not fresh is taken while it is found anew", 2)
		expect("and nobody else looks for it", 2)
		time.Sleep(200 * time.Millisecond)
		expect("then the new one is there", 3)
		time.Sleep(staleFor + 10*time.Millisecond)
		expect("what is stale is not taken", 4)

		broken = errors.New("the database is away")
		time.Sleep(staleFor + 10*time.Millisecond)
		if _, err := ask(); !errors.Is(err, broken) {
			t.Fatalf("the failure is not told: %v", err)
		}
		broken = nil
		expect("a failure is not remembered", 6)
	})
}

// A large fleet is counted anew once something is recorded, and every quietFor.
func TestStore_CountSites_QuietRecord(t *testing.T) {
	t.Parallel()
	for name, s := range openBoth(t) {
		t.Run(name, func(t *testing.T) {
			count := func(before tally) tally {
				t.Helper()
				got, err := s.countSites(t.Context(), before)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			first := count(tally{})
			if first.line != 0 || first.counted.IsZero() {
				t.Errorf("of an empty record: line %d, counted %s", first.line, first.counted)
			}
			if again := count(first); !again.counted.Equal(first.counted) {
				t.Error("it was counted again though nothing was recorded")
			}
			if err := s.RecordEvent(t.Context(), models.Event{Actor: "ada", Verb: "site.held", Subject: models.Subject{Kind: models.SubjectSite, ID: 1}, Text: "Held it."}); err != nil {
				t.Fatal(err)
			}
			second := count(first)
			if second.line == 0 || second.counted.Equal(first.counted) {
				t.Errorf("it was not counted again: line %d", second.line)
			}
			second.counted = second.counted.Add(-quietFor)
			if third := count(second); third.counted.Equal(second.counted) {
				t.Error("not everything is recorded, and it was not counted again")
			}
		})
	}
}
