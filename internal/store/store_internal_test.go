package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"hefring/internal/testpg"
)

// A statement whose context has ended makes database/sql give up the connection,
// and PostgreSQL's pool closes it: the transaction must leave it alone from there.
// The race detector tells; the pool closes it beside us, so once may look right by
// chance.
func TestStore_Transaction_ContextEndsBeforeAStatement(t *testing.T) {
	t.Parallel()
	s := openBoth(t)["postgres"]
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		err := s.transaction(ctx, func(tx *Store) error {
			cancel()
			return tx.with(ctx).Exec("SELECT 1").Error
		})
		if err == nil {
			t.Fatal("the statement ran")
		}
		var one int
		if err := s.with(t.Context()).Raw("SELECT 1").Scan(&one).Error; err != nil {
			t.Fatalf("the next one does not get a connection: %v", err)
		}
	}
}

// A server that keeps its connections and says nothing is given up, in whatever is going
// on: what waits does not gather, and all goes on when the server does.
func TestStore_PostgresFrozen(t *testing.T) {
	t.Parallel()
	server := testpg.Start(t)
	s, err := Open(t.Context(), server.DSN("postgres"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.engine.(*postgresEngine).endTime = 200 * time.Millisecond
	soon := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 200*time.Millisecond)
	}
	ask := func(ctx context.Context, s *Store) error {
		var one int
		return s.with(ctx).Raw("SELECT 1").Scan(&one).Error
	}
	refused := errors.New("it is refused")
	cases := map[string]func() error{
		"statement": func() error {
			server.Freeze(t)
			ctx, cancel := soon()
			defer cancel()
			return ask(ctx, s)
		},
		"begin": func() error {
			server.Freeze(t)
			ctx, cancel := soon()
			defer cancel()
			return s.transaction(ctx, func(*Store) error { return nil })
		},
		"statement of a transaction": func() error {
			return s.transaction(t.Context(), func(tx *Store) error {
				server.Freeze(t)
				ctx, cancel := soon()
				defer cancel()
				return ask(ctx, tx)
			})
		},
		"commit": func() error {
			return s.transaction(t.Context(), func(*Store) error {
				server.Freeze(t)
				return nil
			})
		},
		"rollback": func() error {
			return s.transaction(t.Context(), func(*Store) error {
				server.Freeze(t)
				return refused
			})
		},
		"many": func() error {
			server.Freeze(t)
			ctx, cancel := soon()
			defer cancel()
			const all = 200
			ended := make(chan error, all)
			for range all {
				go func() { ended <- ask(ctx, s) }()
			}
			var err error
			for range all {
				err = <-ended
			}
			if n := s.engine.pool().Stat().TotalConns(); n > postgresConns {
				t.Errorf("there are %d connections", n)
			}
			return err
		},
	}
	for name, frozen := range cases {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			go func() { ended <- frozen() }()
			select {
			case err := <-ended:
				timeout, waited := errors.AsType[net.Error](err)
				if !errors.Is(err, refused) && (!waited || !timeout.Timeout()) {
					t.Errorf("the error is %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it still waits")
			}
			server.Thaw(t)
			if err := ask(t.Context(), s); err != nil {
				t.Errorf("after the thaw: %v", err)
			}
		})
	}
}

// Who waits in vain for a turn to write has met a database that is too busy, which is
// said as of one that is away.
func TestStore_SQLiteBusy(t *testing.T) {
	t.Parallel()
	s := openBoth(t)["sqlite"]
	s.engine.sql().SetMaxOpenConns(2)
	hasten(t, s.engine.sql(), 2)
	err := s.transaction(t.Context(), func(*Store) error {
		for what, do := range map[string]func() error{
			"transaction": func() error { return s.transaction(t.Context(), func(*Store) error { return nil }) },
			"statement":   func() error { return s.with(t.Context()).Exec("DELETE FROM sessions").Error },
		} {
			err := do()
			if timeout, waited := errors.AsType[net.Error](err); !waited || !timeout.Timeout() {
				t.Errorf("%s: the error is %v", what, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hasten makes all connections of a database wait for 50 ms only.
func hasten(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	for range n {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() // it goes back to the pool
		if _, err := conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 50"); err != nil {
			t.Fatal(err)
		}
	}
}
