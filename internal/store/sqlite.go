package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	moderncsqlite "modernc.org/sqlite"

	"hefring/migrations"
)

// Without _txlock=immediate most concurrent transactions fail; without
// _timezone times of different zones do not compare.
const sqliteOptions = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)" +
	"&_pragma=foreign_keys(1)&_txlock=immediate&_timezone=UTC&_texttotime=1&_time_format=string_no_monotonic"

// sqliteConns is how many connections one process keeps. Writers take turns
// anyway; the others let pages read meanwhile.
const sqliteConns = 8

// sqliteConnLife is how long a connection is used: it knows of how much there is, see
// weigh, what was known when it was made.
const sqliteConnLife = time.Hour

type sqliteEngine struct {
	db   *sql.DB
	path string
}

func openSQLite(ctx context.Context, path string) (engine, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create the database's folder: %w", err)
	}
	// Nobody else may read it; SQLite gives its side files the same mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator chose the path
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: sqliteOptions}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	db.SetMaxOpenConns(sqliteConns)
	db.SetMaxIdleConns(sqliteConns)
	db.SetConnMaxLifetime(sqliteConnLife)
	if err := reach(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return &sqliteEngine{db: db, path: path}, nil
}

// reach makes the first connection. While another process makes the new file one with a
// write-ahead log, SQLite refuses that at once, however long it was told to wait.
func reach(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	for {
		err := translated(db.PingContext(ctx))
		if _, locked := errors.AsType[busy](err); !locked {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (e *sqliteEngine) sql() *sql.DB        { return e.db }
func (e *sqliteEngine) pool() *pgxpool.Pool { return nil }

// Close ends all connections.
func (e *sqliteEngine) Close() error { return e.db.Close() }

func (e *sqliteEngine) dialector() gorm.Dialector {
	return translating{sqlite.New(sqlite.Config{DriverName: "sqlite", Conn: e.db})}
}

func (e *sqliteEngine) provider() (*goose.Provider, error) {
	steps, err := migrations.SQLite()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, e.db, steps)
}

func (e *sqliteEngine) begin(ctx context.Context) (*txn, error) {
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, translated(err)
	}
	return &txn{
		conn: tx, native: tx, commit: func() error { return translated(tx.Commit()) },
		end: func() { _ = tx.Rollback() }, // after a commit it only says so
	}, nil
}

// exclusive takes a lock on a file beside the database: SQLite has no advisory
// locks, and two processes that migrate at once fail.
func (e *sqliteEngine) exclusive(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	file, err := os.OpenFile(e.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock database: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }() // which unlocks
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return fn(ctx)
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock database: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another process that changes the database: %w", context.Cause(ctx))
		case <-retry.C:
		}
	}
}

// SQLite's extended result codes that have a meaning to us, and the one whose extended
// codes all mean the same.
const (
	sqliteBusy       = 5
	sqliteUnique     = 2067
	sqlitePrimaryKey = 1555
	sqliteForeignKey = 787
	sqliteCheck      = 275
)

// translating gives GORM's names to the driver's errors; GORM itself knows only
// another driver's.
type translating struct{ gorm.Dialector }

// Translate maps the driver's error codes.
func (d translating) Translate(err error) error { return translated(err) }

func translated(err error) error {
	failure, ok := errors.AsType[*moderncsqlite.Error](err)
	if !ok {
		return err
	}
	switch failure.Code() {
	case sqliteUnique, sqlitePrimaryKey:
		return gorm.ErrDuplicatedKey
	case sqliteForeignKey:
		return gorm.ErrForeignKeyViolated
	case sqliteCheck:
		return gorm.ErrCheckConstraintViolated
	}
	if failure.Code()&0xff == sqliteBusy {
		return busy{err}
	}
	return err
}

// busy is that others wrote for as long as we would wait. It is a net.Error, as is what
// PostgreSQL's connections fail with when that does not answer.
type busy struct{ error }

// Unwrap gives the driver's error.
func (b busy) Unwrap() error { return b.error }

// Timeout tells that it was waited in vain.
func (busy) Timeout() bool { return true }

// Temporary tells that it may be better next time.
func (busy) Temporary() bool { return true }
