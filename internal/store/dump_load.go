package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"

	"hefring/models"
)

// Load fills the empty database of the DSN with a dump, hands the tasks that were
// queued or running to the queue, and goes to the newest schema. The rows and the
// jobs come in one transaction: a Load that is broken off leaves empty tables, and
// can be made again. queue makes the queue's tables and gives the queue. Conflict:
// the database is not empty, or the dump is newer than this Hefring.
func Load(ctx context.Context, dsn string, r io.Reader, queue func(ctx context.Context, access Access) (Enqueuer, error)) (c Contents, err error) {
	d, err := readDump(ctx, r)
	if err != nil {
		return c, err
	}
	e, err := connect(ctx, dsn)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	err = e.exclusive(ctx, func(ctx context.Context) error {
		return load(ctx, e, d, queue)
	})
	return d.contents, err
}

// Vacant answers Conflict when the database of the DSN holds anything. It changes
// nothing, and a file that is not there stays so.
func Vacant(ctx context.Context, dsn string) (err error) {
	if models.CodeOf(existing(dsn)) == models.NotFound {
		return nil
	}
	e, err := connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return vacant(ctx, e)
}

const (
	sqliteTables   = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`
	postgresTables = `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')`
)

// vacant allows empty tables, as a Load leaves them that was broken off. What
// River keeps of its processes does not count, its jobs do.
func vacant(ctx context.Context, e engine) error {
	query := sqliteTables
	if e.pool() != nil {
		query = postgresTables
	}
	names, err := list(ctx, e.sql(), query)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, name := range names {
		if name == "goose_db_version" || strings.HasPrefix(name, "river_") && name != "river_job" {
			continue
		}
		var filled bool
		if err := e.sql().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+quote(name)+")").Scan(&filled); err != nil {
			return fmt.Errorf("look into table %s: %w", name, err)
		}
		if filled {
			return models.Errorf(models.Conflict, "The database is not empty: its table %s has rows. Nothing was changed. A backup is restored into an empty database only; name another one with --database, or another data folder with --data.", name)
		}
	}
	return nil
}

// list reads a column of texts.
func list(ctx context.Context, db *sql.DB, query string) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what Close would
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func load(ctx context.Context, e engine, d *dumpReader, queue func(ctx context.Context, access Access) (Enqueuer, error)) error {
	if err := vacant(ctx, e); err != nil {
		return err
	}
	p, err := e.provider()
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	there, err := current(ctx, p)
	if err != nil {
		return err
	}
	if there > d.contents.Schema {
		return models.Errorf(models.Conflict, "The database has no rows, but the tables of schema %d already, and the backup has schema %d. Give a database without tables.", there, d.contents.Schema)
	}
	if _, err := p.UpTo(ctx, d.contents.Schema); err != nil {
		return fmt.Errorf("migrate database to schema %d: %w", d.contents.Schema, err)
	}
	enqueuer, err := queue(ctx, Access{
		SQL: e.sql(), Pool: e.pool(),
		Exclusive: func(ctx context.Context, fn func(ctx context.Context) error) error { return fn(ctx) }, // we are inside already
		InTx:      func(context.Context, func(any) error) error { return errors.New("the queue does not work yet") },
	})
	if err != nil {
		return err
	}
	if err := loadRows(ctx, e, d, enqueuer); err != nil {
		return err
	}
	return up(ctx, p)
}

// loadRows is the one transaction.
func loadRows(ctx context.Context, e engine, d *dumpReader, enqueuer Enqueuer) error {
	t, err := e.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer t.end()
	l, err := newLoader(t.native)
	if err != nil {
		return err
	}
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("prepare tables: %w", err)
	}
	for {
		from, err := d.next()
		if err != nil {
			return err
		}
		if from == nil {
			break
		}
		if err := fill(ctx, l, from); err != nil {
			return err
		}
	}
	unfinished, err := l.end(ctx, d.contents.Schema)
	if err != nil {
		return fmt.Errorf("check rows: %w", err)
	}
	for _, task := range unfinished {
		if err := enqueuer.Enqueue(ctx, t.native, task); err != nil {
			return err
		}
	}
	if err := t.commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

func fill(ctx context.Context, l loader, from *dumpTable) error {
	if err := l.rows(ctx, from); err != nil {
		return fmt.Errorf("fill table %s: %w", from.table.name, err)
	}
	if !from.table.numbered() {
		return nil
	}
	if err := l.count(ctx, from.table.name, from.lastID); err != nil {
		return fmt.Errorf("set next id of table %s: %w", from.table.name, err)
	}
	return nil
}

// loader fills tables in a transaction.
type loader interface {
	begin(ctx context.Context) error // puts off the look at foreign keys: tables refer to each other in circles
	rows(ctx context.Context, from *dumpTable) error
	count(ctx context.Context, table string, lastID int64) error // goes on after lastID
	end(ctx context.Context, schema int64) (unfinished []models.Task, err error)
}

func newLoader(tx any) (loader, error) {
	switch tx := tx.(type) {
	case *sql.Tx:
		return &sqliteLoader{tx}, nil
	case pgx.Tx:
		return &postgresLoader{tx: tx}, nil
	}
	return nil, fmt.Errorf("load dump: the transaction is a %T", tx)
}

// unfinishedTasks asks for the tasks that are queued again: what says in which queue
// they wait.
func unfinishedTasks(schema int64) string {
	server := "server_id"
	if schema < 11 { // there was one host
		server = "NULL"
	}
	return "SELECT id, kind, " + server + " FROM tasks WHERE state IN ('queued', 'running') ORDER BY id"
}

type sqliteLoader struct{ tx *sql.Tx }

func (l *sqliteLoader) begin(ctx context.Context) error {
	_, err := l.tx.ExecContext(ctx, "PRAGMA defer_foreign_keys = ON") // until the commit
	return err
}

func (l *sqliteLoader) rows(ctx context.Context, from *dumpTable) (err error) {
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(from.table.columns)), ", ")
	insert, err := l.tx.PrepareContext(ctx, "INSERT INTO "+quote(from.table.name)+" ("+quote(from.table.names()...)+") VALUES ("+marks+")") //nolint:gosec // our own names, quoted
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	for {
		row, err := from.row()
		if err != nil || row == nil {
			return err
		}
		if _, err := insert.ExecContext(ctx, row...); err != nil {
			return fmt.Errorf("line %d: %w", from.reader.number, err)
		}
	}
}

func (l *sqliteLoader) count(ctx context.Context, table string, lastID int64) error {
	if lastID == 0 {
		return nil // it counts by itself
	}
	done, err := l.tx.ExecContext(ctx, "UPDATE sqlite_sequence SET seq = MAX(seq, ?) WHERE name = ?", lastID, table)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		return err
	}
	_, err = l.tx.ExecContext(ctx, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, lastID)
	return err
}

func (l *sqliteLoader) end(ctx context.Context, schema int64) (unfinished []models.Task, err error) {
	var table, parent string
	err = l.tx.QueryRowContext(ctx, `SELECT "table", parent FROM pragma_foreign_key_check LIMIT 1`).Scan(&table, &parent)
	if err == nil {
		return nil, models.Errorf(models.Invalid, "The dump cannot be used: a row of the table %s belongs to one of %s that is not in it.", table, parent)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	rows, err := l.tx.QueryContext(ctx, unfinishedTasks(schema))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what Close would
	for rows.Next() {
		var t models.Task
		if err := rows.Scan(&t.ID, &t.Kind, &t.ServerID); err != nil {
			return nil, err
		}
		unfinished = append(unfinished, t)
	}
	return unfinished, rows.Err()
}

// postgresLoader takes the foreign keys away while it fills the tables: they
// cannot be put off, and checking them at once for all rows is quicker.
type postgresLoader struct {
	tx   pgx.Tx
	keys []string // statements that make the foreign keys again
}

const foreignKeys = `SELECT 'ALTER TABLE ' || conrelid::regclass || ' DROP CONSTRAINT ' || quote_ident(conname),
	'ALTER TABLE ' || conrelid::regclass || ' ADD CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(k.oid)
	FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
	WHERE contype = 'f' AND conparentid = 0 AND n.nspname = current_schema() ORDER BY k.oid`

func (l *postgresLoader) begin(ctx context.Context) error {
	rows, err := l.tx.Query(ctx, foreignKeys)
	if err != nil {
		return err
	}
	type key struct{ Drop, Add string }
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[key])
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := l.tx.Exec(ctx, k.Drop); err != nil {
			return err
		}
		l.keys = append(l.keys, k.Add)
	}
	return nil
}

func (l *postgresLoader) rows(ctx context.Context, from *dumpTable) error {
	var failed error // which CopyFrom only tells of
	_, err := l.tx.CopyFrom(ctx, pgx.Identifier{from.table.name}, from.table.names(), pgx.CopyFromFunc(func() (row []any, err error) {
		row, failed = from.row()
		return row, failed
	}))
	if failed != nil {
		return failed
	}
	return err
}

func (l *postgresLoader) count(ctx context.Context, table string, lastID int64) error {
	// setval takes no 0, and NULL changes nothing.
	_, err := l.tx.Exec(ctx, `SELECT setval(pg_get_serial_sequence($1, 'id'), NULLIF(GREATEST($2, (SELECT MAX(id) FROM `+quote(table)+`)), 0))`, quote(table), lastID)
	return err
}

func (l *postgresLoader) end(ctx context.Context, schema int64) ([]models.Task, error) {
	for _, add := range l.keys {
		if _, err := l.tx.Exec(ctx, add); err != nil {
			return nil, models.Wrapf(models.Invalid, err, "The dump cannot be used: a row belongs to one that is not in it (%s).", add)
		}
	}
	rows, err := l.tx.Query(ctx, unfinishedTasks(schema))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t models.Task, err error) {
		return t, row.Scan(&t.ID, &t.Kind, &t.ServerID)
	})
}
