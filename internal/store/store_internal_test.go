package store

import (
	"context"
	"testing"
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
