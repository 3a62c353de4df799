package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestRemembered_Get_Ages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r remembered[int]
		var found atomic.Int64
		var broken error
		ask := func() (int, error) {
			return r.get(t.Context(), question[int]{find: func(context.Context) (int, error) {
				time.Sleep(100 * time.Millisecond) // of the test's own clock
				return int(found.Add(1)), broken
			}, worth: func(n int) bool { return n > 1 }})
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

func TestRemembered_Get_QuietRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r remembered[int]
		var found, line atomic.Int64
		line.Store(7)
		ask := func() int {
			got, err := r.get(t.Context(), question[int]{
				find:  func(context.Context) (int, error) { return int(found.Add(1)), nil },
				worth: func(int) bool { return true },
				line:  func(context.Context) (int64, error) { return line.Load(), nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // for what is found behind it
			return got
		}
		expect := func(what string, want int) {
			t.Helper()
			if got := ask(); got != want {
				t.Fatalf("%s: got %d, want %d", what, got, want)
			}
		}
		expect("it is found", 1)
		time.Sleep(staleFor + time.Millisecond)
		expect("and once more, with the record's newest line", 2)
		for range 4 {
			time.Sleep(staleFor + time.Millisecond)
			expect("nothing was recorded since", 2)
		}
		line.Add(1)
		time.Sleep(freshFor + time.Millisecond)
		expect("it may be as old as this", 2)
		expect("it was found anew behind the last look", 3)
		time.Sleep(quietFor)
		expect("not everything is recorded", 4)
	})
}
