package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// engine is one of the two kinds of databases.
type engine interface {
	sql() *sql.DB
	pool() *pgxpool.Pool // nil on SQLite
	dialector() gorm.Dialector
	begin(ctx context.Context) (*txn, error)
	exclusive(ctx context.Context, fn func(ctx context.Context) error) error
	provider() (*goose.Provider, error)
	Close() error
}

// txn is a transaction that GORM and the queue share.
type txn struct {
	conn   gorm.ConnPool // GORM's side
	native any           // the queue's side: *sql.Tx or pgx.Tx
	commit func() error
	end    func() // rolls back what is not committed
}

func connect(ctx context.Context, dsn string) (engine, error) {
	switch {
	case strings.HasPrefix(dsn, "sqlite:"):
		return openSQLite(ctx, strings.TrimPrefix(dsn, "sqlite:"))
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		return openPostgres(ctx, dsn)
	}
	return nil, errors.New("the database must be given as sqlite:/path/to/file.db or postgres://user:password@host/database")
}

// openGORM makes GORM work on an open database. Transactions are ours, because
// the queue writes in them too.
func openGORM(e engine, log *slog.Logger) (*gorm.DB, error) {
	db, err := gorm.Open(e.dialector(), &gorm.Config{
		Logger: slowLog{logger.Discard, log}, TranslateError: true, NowFunc: now, SkipDefaultTransaction: true,
	})
	if err != nil {
		return nil, err
	}
	db.Statement.ConnPool = tidy{db.Statement.ConnPool}
	return db, nil
}

// tidy takes out of every text what PostgreSQL refuses: bytes that are not
// UTF-8, and NUL. Output of programs and repositories may hold both.
type tidy struct{ gorm.ConnPool }

// ExecContext runs a statement.
func (t tidy) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.ConnPool.ExecContext(ctx, query, tidied(args)...)
}

// QueryContext runs a query.
func (t tidy) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.ConnPool.QueryContext(ctx, query, tidied(args)...)
}

// QueryRowContext runs a query for one row.
func (t tidy) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return t.ConnPool.QueryRowContext(ctx, query, tidied(args)...)
}

// tidied works in place: GORM builds the arguments for each statement.
func tidied(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = tidyText(text)
		}
	}
	return args
}

func tidyText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// anew is with for questions whose best way depends on the values in them, as lists
// that may be narrowed to what is rare or to what is everywhere: PostgreSQL then looks
// for a way for these values each time. By itself it takes one way for all values
// after a few times, and read the whole index for a search that everything fits.
func (s *Store) anew(ctx context.Context) *gorm.DB {
	db := s.with(ctx)
	if s.engine.pool() != nil {
		db.Statement.ConnPool = planned{db.Statement.ConnPool}
	}
	return db
}

// planned asks each question of PostgreSQL as if it was new there.
type planned struct{ gorm.ConnPool }

// QueryContext runs a query.
func (p planned) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return p.ConnPool.QueryContext(ctx, query, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
}

// QueryRowContext runs a query for one row.
func (p planned) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return p.ConnPool.QueryRowContext(ctx, query, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
}

// slowQuery is how long a query may take before it is worth a line in the log.
const slowQuery = 500 * time.Millisecond

// slowLog logs slow queries and nothing else: errors are logged where they end
// up, and values may be secret.
type slowLog struct {
	logger.Interface
	log *slog.Logger
}

// LogMode keeps the one mode there is.
func (l slowLog) LogMode(logger.LogLevel) logger.Interface { return l }

// ParamsFilter keeps values out of the log.
func (l slowLog) ParamsFilter(_ context.Context, query string, _ ...any) (string, []any) {
	return query, nil
}

// Trace is called after every query.
func (l slowLog) Trace(ctx context.Context, begin time.Time, query func() (string, int64), _ error) {
	if took := time.Since(begin); took > slowQuery {
		text, rows := query()
		l.log.WarnContext(ctx, "slow query", slog.String("query", text), slog.Int64("rows", rows), slog.Duration("took", took))
	}
}
