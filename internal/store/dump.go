package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"hefring/models"
)

// A dump is text that both databases read and write. Every line is JSON:
//
//	{"dump":1,"schema":5,"engine":"sqlite"}             the head, once
//	{"table":"tasks","columns":["id",…],"last_id":17}   begins a table
//	[1,"upgrade",true,null,"2027-01-31T08:00:00.5Z",…]  a row, in the order of the columns
//	{"end":true,"rows":4711}                            the last line
//
// Times are RFC 3339 in UTC, bytes are in base64. last_id is the highest id that
// was ever given out, which may be that of a deleted row: ids are not used again.
// River's tables are not in it, since its jobs are made again from the tasks.
const dumpFormat = 1

// maxRow is the longest line of a dump, in bytes.
const maxRow = 64 << 20

// dumpLine is every line that is no row.
type dumpLine struct {
	Dump    int      `json:"dump,omitempty"`
	Schema  int64    `json:"schema,omitempty"`
	Engine  string   `json:"engine,omitempty"`
	Table   string   `json:"table,omitempty"`
	Columns []string `json:"columns,omitempty"`
	LastID  int64    `json:"last_id,omitempty"`
	End     bool     `json:"end,omitempty"`
	Rows    int64    `json:"rows,omitempty"`
}

// Contents says what a dump holds.
type Contents struct {
	Schema int64            // number of the last migration
	Engine string           // sqlite or postgres
	Tables map[string]int64 // rows of each table
	Rows   int64            // of all tables
}

// Dump writes everything lasting that the database of the DSN holds, as it was at
// one moment, while others go on writing. It changes nothing, also when the
// schema is an older one. NotFound: there is no database of Hefring.
func Dump(ctx context.Context, dsn string, w io.Writer) (c Contents, err error) {
	if err := existing(dsn); err != nil {
		return c, err
	}
	e, err := connect(ctx, dsn)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return dump(ctx, e, w, false)
}

// existing answers NotFound for a file that connect would make.
func existing(dsn string) error {
	path, isFile := strings.CutPrefix(dsn, "sqlite:")
	if !isFile {
		return nil
	}
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return models.Errorf(models.NotFound, "There is no database %s. Name the data folder with --data, or the database with --database.", path)
	}
	return err
}

// dump writes all tables, also the passing ones if everything is wanted.
func dump(ctx context.Context, e engine, w io.Writer, everything bool) (c Contents, err error) {
	if c.Schema, err = appliedSchema(ctx, e.sql()); err != nil {
		return c, err
	}
	tables, err := knownLayout(ctx, c.Schema)
	if err != nil {
		return c, tooNewToDump(err, c.Schema)
	}
	// SQLite begins a transaction that only reads without taking the writers'
	// lock, and gives it one unchanging view all the same.
	tx, err := e.sql().BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return c, fmt.Errorf("begin to read database: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to commit
	d := &dumper{ctx: ctx, tx: tx, out: bufio.NewWriterSize(w, 64<<10), postgres: e.pool() != nil}
	c.Tables, c.Engine = map[string]int64{}, d.engine()
	if err := d.settle(tables, c.Schema); err != nil {
		return c, err
	}
	if err := d.write(dumpLine{Dump: dumpFormat, Schema: c.Schema, Engine: c.Engine}); err != nil {
		return c, err
	}
	for _, t := range tables {
		if t.passing && !everything {
			continue
		}
		rows, err := d.table(t)
		if err != nil {
			return c, fmt.Errorf("dump table %s: %w", t.name, err)
		}
		c.Tables[t.name] = rows
		c.Rows += rows
	}
	return c, errors.Join(d.write(dumpLine{End: true, Rows: c.Rows}), d.out.Flush())
}

func tooNewToDump(err error, schema int64) error {
	known, _ := Schema()
	if schema > known {
		return tooNew(schema, known)
	}
	return err
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// appliedSchema reads the version of the schema and changes nothing, unlike goose,
// which makes its table where it is missing.
func appliedSchema(ctx context.Context, q querier) (version int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&version)
	if err != nil && (strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), "42P01")) || err == nil && version == 0 {
		return 0, models.Wrapf(models.NotFound, err, "The database holds nothing of Hefring. Name the data folder with --data, or the database with --database.")
	}
	if err != nil {
		return 0, fmt.Errorf("read version of database: %w", err)
	}
	return version, nil
}

// dumper writes a dump from one transaction.
type dumper struct {
	ctx      context.Context //nolint:containedctx // lives for one dump
	tx       *sql.Tx
	out      *bufio.Writer
	postgres bool
}

func (d *dumper) engine() string {
	if d.postgres {
		return "postgres"
	}
	return "sqlite"
}

// settle makes sure that nobody changes the schema meanwhile. PostgreSQL takes
// its view of the rows with the first query, after the locks.
func (d *dumper) settle(tables []table, schema int64) error {
	if d.postgres {
		var names []string
		for _, t := range tables {
			names = append(names, t.name)
		}
		if _, err := d.tx.ExecContext(d.ctx, "LOCK TABLE "+quote(names...)+" IN ACCESS SHARE MODE"); err != nil {
			return fmt.Errorf("begin to read database: %w", err)
		}
	}
	now, err := appliedSchema(d.ctx, d.tx)
	if err == nil && now != schema {
		err = models.Errorf(models.Unavailable, "Another Hefring upgraded the database at this moment. Try again with that one.")
	}
	return err
}

func (d *dumper) write(value any) error {
	line := json.NewEncoder(d.out)
	line.SetEscapeHTML(false)
	return line.Encode(value)
}

func (d *dumper) table(t table) (n int64, err error) {
	last, err := d.lastID(t)
	if err != nil {
		return 0, err
	}
	if err := d.write(dumpLine{Table: t.name, Columns: t.names(), LastID: last}); err != nil {
		return 0, err
	}
	rows, err := d.tx.QueryContext(d.ctx, "SELECT "+quote(t.names()...)+" FROM "+quote(t.name)+" ORDER BY "+quote(t.key...)) //nolint:gosec // our own names, quoted
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }() // Err says what Close would
	into := t.scanners()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		row, err := values(into)
		if err != nil {
			return n, err
		}
		if err := d.row(row); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

// row writes a row, if Load will be able to read it.
func (d *dumper) row(row []any) error {
	var line strings.Builder
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(row); err != nil {
		return err
	}
	if line.Len() >= maxRow {
		return fmt.Errorf("the row %.60s… takes up %d bytes, and a dump's may take up %d", line.String(), line.Len(), maxRow)
	}
	_, err := d.out.WriteString(line.String())
	return err
}

// scanners are the places that a row of the table is read into.
func (t table) scanners() []any {
	into := make([]any, len(t.columns))
	for i, c := range t.columns {
		switch c.kind {
		case kindInteger:
			into[i] = new(sql.NullInt64)
		case kindBoolean:
			into[i] = new(sql.NullBool)
		case kindTime:
			into[i] = new(sql.NullTime)
		case kindBytes:
			into[i] = new(any) // SQLite's driver gives a nil slice for no bytes
		case kindText:
			into[i] = new(sql.NullString)
		}
	}
	return into
}

// values takes out what was read, in the forms that a dump has.
func values(from []any) ([]any, error) {
	row := make([]any, len(from))
	for i, value := range from {
		switch v := value.(type) {
		case *sql.NullInt64:
			row[i] = orNull(v.Int64, v.Valid)
		case *sql.NullBool:
			row[i] = orNull(v.Bool, v.Valid)
		case *sql.NullTime:
			row[i] = orNull(v.Time.UTC().Format(time.RFC3339Nano), v.Valid)
		case *any:
			bytes, there := (*v).([]byte)
			row[i] = orNull(append([]byte{}, bytes...), there) // JSON has base64 for it
		case *sql.NullString:
			row[i] = orNull(tidyText(v.String), v.Valid)
		default:
			return nil, fmt.Errorf("a %T was read", value)
		}
	}
	return row, nil
}

func orNull(value any, valid bool) any {
	if valid {
		return value
	}
	return nil
}

// lastID gives the highest id that the table ever gave out; 0 for none.
func (d *dumper) lastID(t table) (last int64, err error) {
	if !t.numbered() {
		return 0, nil
	}
	if d.postgres {
		return d.sequence(t)
	}
	err = d.tx.QueryRowContext(d.ctx, "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = ?", t.name).Scan(&last)
	return last, err
}

func (d *dumper) sequence(t table) (last int64, err error) {
	var name sql.NullString
	if err := d.tx.QueryRowContext(d.ctx, "SELECT pg_get_serial_sequence($1, 'id')", quote(t.name)).Scan(&name); err != nil || !name.Valid {
		return 0, err
	}
	var used bool
	if err := d.tx.QueryRowContext(d.ctx, "SELECT last_value, is_called FROM "+name.String).Scan(&last, &used); err != nil {
		return 0, err
	}
	if !used {
		last = 0
	}
	return last, nil
}
