package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/sites/database"
	"hefring/models"
)

// Marks notes how each table is now.
func (e *Engine) Marks(ctx context.Context, db models.Database) (marks []models.TableMark, err error) {
	err = e.look(ctx, db, func(t tables) error {
		marks, err = database.MarkAll(t, time.Now().Unix())
		return err
	})
	return marks, err
}

// Loss tells what was written since the marks were taken.
func (e *Engine) Loss(ctx context.Context, db models.Database, marks []models.TableMark) (losses []models.TableLoss, err error) {
	err = e.look(ctx, db, func(t tables) error {
		losses, err = database.LossOf(t, marks)
		return err
	})
	return losses, err
}

// look opens the database for reading, at one moment.
func (e *Engine) look(ctx context.Context, db models.Database, fn func(tables) error) error {
	path, err := e.file(db)
	if err != nil {
		return err
	}
	err = asOwner(filepath.Dir(path), func() error {
		if err := regular(path); err != nil {
			return err
		}
		c, err := open(path, "ro")
		if err != nil {
			return err
		}
		if err = c.exec(ctx, "BEGIN"); err == nil {
			err = fn(tables{ctx: ctx, conn: c})
		}
		return errors.Join(err, c.Close())
	})
	if err != nil {
		return explain("read", path, err)
	}
	return nil
}

// tables is the database.Tables of one connection. NOT INDEXED keeps SQLite away
// from indexes with Drupal's own collation.
type tables struct {
	ctx  context.Context //nolint:containedctx // it lives for one call
	conn conn
}

func (t tables) Names() ([]string, error) {
	var names []string
	err := t.conn.rows(t.ctx, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name",
		func(row []driver.Value) error {
			names = append(names, text(row[0]))
			return nil
		})
	return names, err
}

func (t tables) Mark(table string, at int64) (models.TableMark, error) {
	mark := models.TableMark{Table: table, At: at}
	var integers, keys []string
	err := t.conn.rows(t.ctx, "PRAGMA table_info("+quote(table)+")", func(row []driver.Value) error {
		name, isInt := text(row[1]), strings.Contains(strings.ToUpper(text(row[2])), "INT")
		if isInt {
			integers = append(integers, name)
		}
		if row[5] != int64(0) {
			if !isInt {
				name = ""
			}
			keys = append(keys, name)
		}
		return nil
	})
	if err != nil {
		return mark, err
	}
	if len(keys) == 1 {
		mark.Key = keys[0]
	}
	mark.Changed = database.ChangedColumn(integers)
	if mark.Rows, err = t.count(table, ""); err != nil {
		return mark, err
	}
	if mark.Key != "" {
		if mark.MaxKey, err = t.largest(table, mark.Key); err != nil {
			return mark, err
		}
	}
	if mark.Changed != "" {
		last, err := t.largest(table, mark.Changed)
		if err != nil {
			return mark, err
		}
		if last > at { // times in the future tell nothing
			mark.Changed = ""
		}
	}
	if mark.Rows <= database.SumRows {
		mark.Sum, err = t.sum(table)
	}
	return mark, err
}

func (t tables) Now(mark models.TableMark) (now database.Now, err error) {
	if now.Rows, err = t.count(mark.Table, ""); err != nil {
		return now, err
	}
	if mark.Sum != "" && now.Rows == mark.Rows {
		if now.Sum, err = t.sum(mark.Table); err != nil || now.Sum == mark.Sum {
			return now, err
		}
	}
	old := ""
	if mark.Key != "" {
		if now.Added, err = t.count(mark.Table, fmt.Sprintf("%s > %d", quote(mark.Key), mark.MaxKey)); err != nil {
			return now, err
		}
		old = fmt.Sprintf(" AND %s <= %d", quote(mark.Key), mark.MaxKey)
	}
	if mark.Changed != "" {
		now.Touched, err = t.count(mark.Table, fmt.Sprintf("%s >= %d%s", quote(mark.Changed), mark.At, old))
	}
	return now, err
}

func (t tables) count(table, where string) (int64, error) {
	query := "SELECT count(*) FROM " + quote(table) + " NOT INDEXED"
	if where != "" {
		query += " WHERE " + where
	}
	return t.conn.number(t.ctx, query)
}

func (t tables) largest(table, column string) (int64, error) {
	return t.conn.number(t.ctx, "SELECT CAST(coalesce(max("+quote(column)+"), 0) AS INTEGER) FROM "+quote(table)+" NOT INDEXED")
}

// sum hashes all rows.
func (t tables) sum(table string) (string, error) {
	hash := sha256.New()
	err := t.conn.rows(t.ctx, "SELECT * FROM "+quote(table)+" NOT INDEXED", func(row []driver.Value) error {
		for _, value := range row {
			data := fmt.Sprint(value)
			if b, ok := value.([]byte); ok {
				data = string(b)
			}
			if _, err := fmt.Fprintf(hash, "%T %d %s", value, len(data), data); err != nil {
				return err
			}
		}
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil)[:16]), err
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func text(value driver.Value) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// rows calls each with every row; the row is valid during the call.
func (c conn) rows(ctx context.Context, query string, each func([]driver.Value) error) error {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, query, nil) //nolint:forcetypeassert // the driver's own
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(rows.Columns()))
	for err == nil {
		if err = rows.Next(row); err == nil {
			err = each(row)
		}
	}
	if closing := rows.Close(); errors.Is(err, io.EOF) {
		err = closing
	}
	return err
}
