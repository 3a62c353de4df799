package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"hefring/internal/sites/database"
	"hefring/models"
)

// Marks notes how each table is now.
func (e *Engine) Marks(ctx context.Context, db models.Database) (marks []models.TableMark, err error) {
	err = e.look(ctx, db, func(t *tables) error {
		marks, err = database.MarkAll(t, time.Now().Unix())
		return err
	})
	return marks, err
}

// Loss tells what was written since the marks were taken.
func (e *Engine) Loss(ctx context.Context, db models.Database, marks []models.TableMark) (losses []models.TableLoss, err error) {
	err = e.look(ctx, db, func(t *tables) error {
		losses, err = database.LossOf(t, marks)
		return err
	})
	return losses, err
}

// look reads the database as the site's user, at one moment.
func (e *Engine) look(ctx context.Context, db models.Database, fn func(*tables) error) error {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return err
	}
	err = within(ctx, server, place.Name, longTime, func(ctx context.Context, db *sql.DB) (err error) {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		if err := statements(ctx, conn, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
			return err
		}
		return fn(&tables{ctx: ctx, conn: conn, database: place.Name})
	})
	if err != nil {
		return explain("read", place.Server, place.Name, err)
	}
	return nil
}

// tables is the database.Tables of one connection.
type tables struct {
	ctx      context.Context //nolint:containedctx // it lives for one call
	conn     *sql.Conn
	database string
	integers map[string][]string
	keys     map[string][]string // columns of the primary key; "" for one that is no integer
}

func (t *tables) Names() ([]string, error) {
	rows, err := t.conn.QueryContext(t.ctx, `SELECT c.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE IN ('tinyint', 'smallint', 'mediumint', 'int', 'bigint'), c.COLUMN_KEY = 'PRI'
		FROM information_schema.COLUMNS c JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
		WHERE c.TABLE_SCHEMA = ? AND t.TABLE_TYPE <> 'VIEW' AND t.TABLE_TYPE <> 'SEQUENCE' ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION`, t.database)
	if err != nil {
		return nil, err
	}
	t.integers, t.keys = map[string][]string{}, map[string][]string{}
	var names []string
	for rows.Next() {
		var table, name string
		var isInt, isKey bool
		if err := rows.Scan(&table, &name, &isInt, &isKey); err != nil {
			return nil, errors.Join(err, rows.Close()) //nolint:sqlclosecheck // the connection is asked again afterwards
		}
		if len(names) == 0 || names[len(names)-1] != table {
			names = append(names, table)
		}
		if isInt {
			t.integers[table] = append(t.integers[table], name)
		}
		if isKey && !isInt {
			name = ""
		}
		if isKey {
			t.keys[table] = append(t.keys[table], name)
		}
	}
	return names, errors.Join(rows.Err(), rows.Close())
}

func (t *tables) Mark(table string, at int64) (models.TableMark, error) {
	mark := models.TableMark{Table: table, At: at, Changed: database.ChangedColumn(t.integers[table])}
	if keys := t.keys[table]; len(keys) == 1 {
		mark.Key = keys[0]
	}
	var last int64
	row := t.conn.QueryRowContext(t.ctx, fmt.Sprintf("SELECT count(*), %s, %s FROM %s", largest(mark.Key), largest(mark.Changed), ident(table)))
	if err := row.Scan(&mark.Rows, &mark.MaxKey, &last); err != nil {
		return mark, err
	}
	if last > at { // times in the future tell nothing
		mark.Changed = ""
	}
	var err error
	if mark.Rows <= database.SumRows {
		mark.Sum, err = checksum(t.ctx, t.conn, t.database, table)
	}
	return mark, err
}

func (t *tables) Now(mark models.TableMark) (now database.Now, err error) {
	added, touched := "0", "0"
	old := ""
	if mark.Key != "" {
		added = fmt.Sprintf("coalesce(sum(%s > %d), 0)", ident(mark.Key), mark.MaxKey)
		old = fmt.Sprintf(" AND %s <= %d", ident(mark.Key), mark.MaxKey)
	}
	if mark.Changed != "" {
		touched = fmt.Sprintf("coalesce(sum(%s >= %d%s), 0)", ident(mark.Changed), mark.At, old)
	}
	row := t.conn.QueryRowContext(t.ctx, fmt.Sprintf("SELECT count(*), CAST(%s AS SIGNED), CAST(%s AS SIGNED) FROM %s", added, touched, ident(mark.Table)))
	if err := row.Scan(&now.Rows, &now.Added, &now.Touched); err != nil {
		return now, err
	}
	if mark.Sum != "" && now.Rows == mark.Rows {
		now.Sum, err = checksum(t.ctx, t.conn, t.database, mark.Table)
	}
	return now, err
}

func largest(column string) string {
	if column == "" {
		return "0"
	}
	return "CAST(coalesce(max(" + ident(column) + "), 0) AS SIGNED)"
}
