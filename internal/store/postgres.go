package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"hefring/migrations"
)

// postgresConns is how many connections one process keeps at least.
const postgresConns = 16

// schemaLock is the number of the advisory lock that a process holds while it
// changes the schema: "hefring" on a telephone's keys.
const schemaLock = 4333746

// endTime is how long the end of a transaction may take, whatever its context says.
const endTime = 15 * time.Second

type postgresEngine struct {
	db      *sql.DB
	pgx     *pgxpool.Pool
	conf    *pgxpool.Config
	endTime time.Duration
}

func openPostgres(ctx context.Context, dsn string) (engine, error) {
	conf, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the database's address: %w", err)
	}
	conf.ConnConfig.DialFunc = dialer().DialContext
	if conf.ConnConfig.ConnectTimeout == 0 {
		conf.ConnConfig.ConnectTimeout = dialTime // also of a server that takes the connection and says nothing
	}
	conf.MaxConns = max(conf.MaxConns, postgresConns)
	pool, err := pgxpool.NewWithConfig(ctx, conf)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &postgresEngine{db: stdlib.OpenDBFromPool(pool), pgx: pool, conf: conf, endTime: endTime}, nil
}

func (e *postgresEngine) sql() *sql.DB        { return e.db }
func (e *postgresEngine) pool() *pgxpool.Pool { return e.pgx }

// Close ends all connections.
func (e *postgresEngine) Close() error {
	err := e.db.Close()
	e.pgx.Close()
	return err
}

func (e *postgresEngine) dialector() gorm.Dialector {
	return postgres.New(postgres.Config{Conn: e.db})
}

func (e *postgresEngine) provider() (*goose.Provider, error) {
	steps, err := migrations.Postgres()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, e.db, steps)
}

// begin pins one connection, begins the queue's kind of transaction on it, and
// lets GORM work on the same connection.
func (e *postgresEngine) begin(ctx context.Context) (*txn, error) {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := beginOn(ctx, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// A statement that ctx ended has broken the connection, and the pool is
	// closing it: Raw tells whether it is still ours.
	ours := func(do func(context.Context) error) error {
		// Whether fn's work is committed must not depend on when ctx ends.
		lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.endTime)
		defer cancel()
		return conn.Raw(func(any) error { return do(lasting) })
	}
	return &txn{
		conn: conn, native: tx,
		commit: func() error { return ours(tx.Commit) },
		end: func() {
			_ = ours(tx.Rollback) // after a commit it only says so
			_ = conn.Close()      // gives it back to the pool
		},
	}, nil
}

func beginOn(ctx context.Context, conn *sql.Conn) (tx pgx.Tx, err error) {
	return tx, conn.Raw(func(driverConn any) error {
		c, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("connection is a %T, not pgx's", driverConn)
		}
		tx, err = c.Conn().Begin(ctx)
		return err
	})
}

// exclusive holds a session's advisory lock; it falls with the connection.
func (e *postgresEngine) exclusive(ctx context.Context, fn func(ctx context.Context) error) error {
	conn, err := pgx.ConnectConfig(ctx, e.conf.ConnConfig.Copy())
	if err != nil {
		return fmt.Errorf("lock database: %w", err)
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", schemaLock); err != nil {
		err = fmt.Errorf("wait for another process that changes the database: %w", err)
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return errors.Join(fn(ctx), conn.Close(context.WithoutCancel(ctx)))
}
