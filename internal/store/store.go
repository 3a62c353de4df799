// Package store is the database: everything that Hefring remembers, in SQLite
// or PostgreSQL, behind the interfaces of package fleet. It is the only package
// that knows GORM.
//
// Every method is atomic by itself. Inside InTx the same methods work on the
// transaction, each under a savepoint, so one that answers Conflict undoes only
// itself. State changes go through one guarded update that checks the
// transition tables of package models.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

// Store is a database. It is safe for concurrent use.
type Store struct {
	db       *gorm.DB
	engine   engine
	enqueuer Enqueuer
	hub      *hub
	log      *slog.Logger
	close    func()
	memory   *memory         // of what is dear to count; nil on a Store that is bound to a transaction
	entrance models.Entrance // where its changes come from

	// Set only on a Store that is bound to a transaction.
	native any     // *sql.Tx or pgx.Tx
	woken  []int64 // tasks whose followers wake after the commit
}

var _ fleet.Store = (*Store)(nil)

// Enqueuer hands tasks to the queue.
type Enqueuer interface {
	// Enqueue stores the job for t inside the transaction: a *sql.Tx on SQLite, a
	// pgx.Tx on PostgreSQL.
	Enqueue(ctx context.Context, tx any, t models.Task) error
}

// Access is what the queue, which keeps its own tables, needs of the database.
type Access struct {
	SQL  *sql.DB
	Pool *pgxpool.Pool // nil on SQLite
	// Exclusive runs fn while no other process on this database is inside
	// Exclusive. It is for changing the schema.
	Exclusive func(ctx context.Context, fn func(ctx context.Context) error) error
	// InTx runs fn in one transaction, a *sql.Tx on SQLite and a pgx.Tx on
	// PostgreSQL.
	InTx func(ctx context.Context, fn func(tx any) error) error
}

// Open opens the database and brings its schema up to date. dsn is
// sqlite:/path/to/file.db or postgres://user:password@host/database. Several
// processes may open the same database at once.
func Open(ctx context.Context, dsn string, log *slog.Logger) (*Store, error) {
	e, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	db, err := openGORM(e, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), e.Close())
	}
	if err := migrate(ctx, e); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return listening(ctx, e, db, log), nil
}

// OpenJoined opens a PostgreSQL database for a worker, that may not change the
// schema. Conflict: that is not the one which this program knows. Unavailable: the
// worker's rights are not what this program needs; see RenewRights.
func OpenJoined(ctx context.Context, dsn string, log *slog.Logger) (*Store, error) {
	e, err := openPostgres(ctx, dsn)
	if err != nil {
		return nil, err
	}
	db, err := openGORM(e, log)
	if err == nil {
		err = matches(ctx, e)
	}
	if err == nil {
		err = (&Store{db: db, engine: e}).hasRights(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), e.Close())
	}
	return listening(ctx, e, db, log), nil
}

// matches fails unless the database has the newest schema that this program knows.
func matches(ctx context.Context, e engine) error {
	known, err := Schema()
	if err != nil {
		return err
	}
	var version int64
	err = e.sql().QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&version)
	if err != nil {
		return fmt.Errorf("read version of database: %w", err)
	}
	if version != known {
		return models.Errorf(models.Conflict, "The database has the schema %d, and this worker knows %d. Install the same Hefring here as on the control plane's host.", version, known)
	}
	return nil
}

// listening gives the store of an open database.
func listening(ctx context.Context, e engine, db *gorm.DB, log *slog.Logger) *Store {
	s := &Store{db: db, engine: e, hub: newHub(), log: log, memory: &memory{}}
	// The listener lives until Close, longer than the context that opened us.
	open, stop := context.WithCancel(context.WithoutCancel(ctx))
	wait := s.listen(open)
	s.close = func() { stop(); wait() }
	return s
}

// Close ends all connections.
func (s *Store) Close() error {
	s.close()
	return s.engine.Close()
}

// SetEnqueuer says who takes the tasks. It is called once, before the first
// task is created.
func (s *Store) SetEnqueuer(e Enqueuer) { s.enqueuer = e }

// Access gives the queue its way to the database.
func (s *Store) Access() Access {
	return Access{
		SQL: s.engine.sql(), Pool: s.engine.pool(), Exclusive: s.engine.exclusive,
		InTx: func(ctx context.Context, fn func(tx any) error) error {
			return s.transaction(ctx, func(tx *Store) error { return fn(tx.native) })
		},
	}
}

// InTx runs fn in one transaction: all of it or nothing. fn must use only tx
// and do no work outside of the database.
func (s *Store) InTx(ctx context.Context, fn func(tx fleet.Tx) error) error {
	return s.atomic(ctx, func(tx *Store) error { return fn(tx) })
}

// atomic runs fn as a transaction, or under a savepoint of the transaction that
// s is bound to.
func (s *Store) atomic(ctx context.Context, fn func(tx *Store) error) error {
	if s.native == nil {
		return s.transaction(ctx, fn)
	}
	return s.savepoint(ctx, fn)
}

func (s *Store) transaction(ctx context.Context, fn func(tx *Store) error) error {
	t, err := s.engine.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer t.end()
	bound := &Store{
		db: s.db.Session(&gorm.Session{NewDB: true, Context: ctx}), engine: s.engine, enqueuer: s.enqueuer, hub: s.hub,
		log: s.log, native: t.native, entrance: s.entrance,
	}
	bound.db.Statement.ConnPool = tidy{t.conn}
	if err := fn(bound); err != nil {
		return err
	}
	if err := t.commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	s.hub.wake(bound.woken...)
	return nil
}

func (s *Store) savepoint(ctx context.Context, fn func(tx *Store) error) error {
	exec := func(sql string) error { return s.with(ctx).Exec(sql).Error }
	if err := exec("SAVEPOINT part"); err != nil {
		return fmt.Errorf("set savepoint: %w", err)
	}
	if err := fn(s); err != nil {
		return errors.Join(err, exec("ROLLBACK TO SAVEPOINT part"), exec("RELEASE SAVEPOINT part"))
	}
	if err := exec("RELEASE SAVEPOINT part"); err != nil {
		return fmt.Errorf("release savepoint: %w", err)
	}
	return nil
}

func (s *Store) with(ctx context.Context) *gorm.DB { return s.db.WithContext(ctx) }

// wake wakes those who follow the task once the transaction that s is bound to
// is committed, in every process.
func (s *Store) wake(ctx context.Context, taskID int64) error {
	s.woken = append(s.woken, taskID)
	if s.engine.pool() == nil {
		return nil
	}
	if err := s.with(ctx).Exec("SELECT pg_notify(?, ?)", channel, strconv.FormatInt(taskID, 10)).Error; err != nil {
		return fmt.Errorf("notify followers of task %d: %w", taskID, err)
	}
	return nil
}

// now is the time as both databases can keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// get loads the row with this id; what names it in the answer NotFound.
func get[T any](ctx context.Context, s *Store, what string, id int64) (T, error) {
	return first[T](s.with(ctx).Where("id = ?", id), what, id)
}

// locked is get of a row that nobody else changes until the transaction ends: two who
// change the same at once change it one after the other, and the record has what each
// found. SQLite lets one write at a time in any case.
func locked[T any](ctx context.Context, tx *Store, what string, id int64) (T, error) {
	return first[T](tx.with(ctx).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).Where("id = ?", id), what, id)
}

// first loads the first row of the query, NotFound when there is none.
func first[T any](query *gorm.DB, what string, key any) (T, error) {
	var row T
	err := query.Take(&row).Error
	switch {
	case err == nil:
		return row, nil
	case errors.Is(err, gorm.ErrRecordNotFound):
		return row, missing(what, key)
	}
	return row, fmt.Errorf("load %s %v: %w", what, key, err)
}

func missing(what string, key any) error {
	return models.Errorf(models.NotFound, "There is no %s %v. It may have been removed; go back to the list.", what, key)
}

// create stores a row. taken is the answer when a unique value is in use.
func create(ctx context.Context, s *Store, what string, row any, taken string) error {
	err := s.with(ctx).Create(row).Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gorm.ErrDuplicatedKey):
		return models.Wrapf(models.Conflict, err, "%s", taken)
	case errors.Is(err, gorm.ErrForeignKeyViolated):
		return models.Wrapf(models.NotFound, err, "The %s belongs to something that is gone. Reload the page and look again.", what)
	}
	return fmt.Errorf("create %s: %w", what, err)
}

// beside puts the answer about a value in use beside the field that holds it.
func beside(field string, err error) error {
	if taken, ok := errors.AsType[*models.Error](err); ok && errors.Is(err, gorm.ErrDuplicatedKey) {
		taken.Fields = map[string]string{field: taken.Message}
	}
	return err
}

// move is one step from state to state of the row with this id.
type move[S ~string] struct {
	allowed  models.Transitions[S]
	model    any
	what     string // platform
	name     string
	id       int64
	from, to S
	set      map[string]any // other columns
}

// apply writes the step if the row is still in state from.
func (m move[S]) apply(ctx context.Context, s *Store) error {
	if !m.allowed.Allows(m.from, m.to) {
		return models.Errorf(models.Conflict, "The %s %s is %s and cannot become %s from there.", m.what, m.name, m.from, m.to)
	}
	set := map[string]any{"state": m.to}
	maps.Copy(set, m.set)
	done := s.with(ctx).Model(m.model).Where("id = ? AND state = ?", m.id, m.from).Updates(set)
	if done.Error != nil {
		return fmt.Errorf("move %s %d to %s: %w", m.what, m.id, m.to, done.Error)
	}
	if done.RowsAffected == 1 {
		return nil
	}
	return m.lost(ctx, s)
}

// lost says why no row was in state from.
func (m move[S]) lost(ctx context.Context, s *Store) error {
	var states []S
	if err := s.with(ctx).Model(m.model).Where("id = ?", m.id).Pluck("state", &states).Error; err != nil {
		return fmt.Errorf("load %s %d: %w", m.what, m.id, err)
	}
	if len(states) == 0 {
		return missing(m.what, m.id)
	}
	return models.Errorf(models.Conflict,
		"The %s %s is %s by now, not %s: somebody else or a task was quicker. Reload the page and look again.",
		m.what, m.name, states[0], m.from)
}

// contains makes a pattern that finds the text anywhere, for LOWER(…) LIKE … ESCAPE '\'.
func contains(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text)) + "%"
}
