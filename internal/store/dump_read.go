package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"hefring/models"
)

// CheckDump reads a dump from its head to its end without a database. What is
// wrong with it is a models.Error: Conflict when this Hefring is too old for it,
// else Invalid.
func CheckDump(ctx context.Context, r io.Reader) (Contents, error) {
	d, err := readDump(ctx, r)
	if err != nil {
		return Contents{}, err
	}
	for {
		t, err := d.next()
		if err != nil || t == nil {
			return d.contents, err
		}
		for row, err := t.row(); row != nil || err != nil; row, err = t.row() {
			if err != nil {
				return d.contents, err
			}
		}
	}
}

// dumpReader reads a dump line by line. Whatever it gives fits the schema that
// the dump names.
type dumpReader struct {
	ctx      context.Context //nolint:containedctx // lives for one dump
	lines    *bufio.Scanner
	number   int    // of the line in hand
	line     []byte // in hand; nil: the next one is wanted
	layout   []table
	missing  map[string]bool // lasting tables that did not come yet
	contents Contents
}

// dumpTable is a table whose rows are read.
type dumpTable struct {
	reader *dumpReader
	table  table // its columns in the order of the rows
	lastID int64
}

func readDump(ctx context.Context, r io.Reader) (*dumpReader, error) {
	d := &dumpReader{ctx: ctx, lines: bufio.NewScanner(r), missing: map[string]bool{}, contents: Contents{Tables: map[string]int64{}}}
	d.lines.Buffer(make([]byte, 0, 64<<10), maxRow)
	head, err := d.mark()
	if err != nil {
		return nil, err
	}
	switch {
	case head.Dump == 0:
		return nil, d.bad("it does not begin with a dump's head")
	case head.Dump > dumpFormat:
		return nil, models.Errorf(models.Conflict, "The dump has the format %d, and this Hefring reads the format %d. Use the Hefring that made it, or a newer one.", head.Dump, dumpFormat)
	}
	if d.layout, err = knownLayout(ctx, head.Schema); err != nil {
		return nil, err
	}
	for _, t := range d.layout {
		if !t.passing {
			d.missing[t.name] = true
		}
	}
	d.contents.Schema, d.contents.Engine = head.Schema, head.Engine
	return d, nil
}

func (d *dumpReader) bad(format string, args ...any) error {
	return models.Errorf(models.Invalid, "The dump cannot be used: in line %d %s.", d.number, fmt.Sprintf(format, args...))
}

// peek gives the line in hand, io.ErrUnexpectedEOF after the last one: a dump ends
// with a mark.
func (d *dumpReader) peek() ([]byte, error) {
	if d.line != nil {
		return d.line, nil
	}
	if d.number%1000 == 0 && d.ctx.Err() != nil {
		return nil, context.Cause(d.ctx)
	}
	if !d.lines.Scan() {
		err := d.lines.Err()
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, d.bad("a row is longer than any can be")
		case err != nil:
			return nil, fmt.Errorf("read dump: %w", err)
		}
		return nil, models.Wrapf(models.Invalid, io.ErrUnexpectedEOF, "The dump cannot be used: it ends too early, after line %d.", d.number)
	}
	d.number++
	d.line = d.lines.Bytes()
	return d.line, nil
}

// mark reads a line that is no row.
func (d *dumpReader) mark() (m dumpLine, err error) {
	line, err := d.peek()
	if err != nil {
		return m, err
	}
	d.line = nil
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if !bytes.HasPrefix(line, []byte("{")) || decoder.Decode(&m) != nil || decoder.More() {
		return m, d.bad("something else stands than was to come")
	}
	return m, nil
}

// next gives the next table, nil after the last.
func (d *dumpReader) next() (*dumpTable, error) {
	m, err := d.mark()
	if err != nil {
		return nil, err
	}
	if m.End {
		return nil, d.end(m)
	}
	i := slices.IndexFunc(d.layout, func(t table) bool { return t.name == m.Table })
	_, twice := d.contents.Tables[m.Table]
	if i < 0 || twice || m.LastID < 0 {
		return nil, d.bad("the table %.60q begins, which is not in schema %d or was there before", m.Table, d.contents.Schema)
	}
	columns, err := d.arrange(d.layout[i], m.Columns)
	if err != nil {
		return nil, err
	}
	d.contents.Tables[m.Table] = 0
	delete(d.missing, m.Table)
	return &dumpTable{d, table{name: m.Table, columns: columns}, m.LastID}, nil
}

func (d *dumpReader) end(m dumpLine) error {
	if m.Rows != d.contents.Rows {
		return d.bad("%d rows are claimed, and %d were there", m.Rows, d.contents.Rows)
	}
	if missing := slices.Sorted(maps.Keys(d.missing)); len(missing) > 0 {
		return d.bad("the dump ends without the table %s", missing[0])
	}
	for d.lines.Scan() {
		if len(d.lines.Bytes()) > 0 {
			return d.bad("the dump ends, but something follows")
		}
	}
	if err := d.lines.Err(); err != nil {
		return fmt.Errorf("read dump: %w", err)
	}
	return nil
}

// arrange gives the table's columns in the order of the dump.
func (d *dumpReader) arrange(t table, names []string) ([]column, error) {
	left := slices.Clone(t.columns)
	columns := make([]column, 0, len(left))
	for _, name := range names {
		i := slices.IndexFunc(left, func(c column) bool { return c.name == name })
		if i < 0 {
			return nil, d.bad("the table %s has a column %.60q, which is not in schema %d", t.name, name, d.contents.Schema)
		}
		columns = append(columns, left[i])
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		return nil, d.bad("the table %s lacks the column %s", t.name, left[0].name)
	}
	return columns, nil
}

// row gives the next row's values, nil after the last: int64, bool, string,
// time.Time, []byte or nil.
func (t *dumpTable) row() ([]any, error) {
	line, err := t.reader.peek()
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(line, []byte("[")) {
		return nil, nil
	}
	t.reader.line = nil
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var row []any
	if err := decoder.Decode(&row); err != nil || decoder.More() || len(row) != len(t.table.columns) {
		return nil, t.reader.bad("no row of the table %s stands", t.table.name)
	}
	for i, c := range t.table.columns {
		if row[i], err = c.value(row[i]); err != nil {
			return nil, t.reader.bad("%s.%s is no %s", t.table.name, c.name, c.kind)
		}
	}
	t.reader.contents.Tables[t.table.name]++
	t.reader.contents.Rows++
	return row, nil
}

var errKind = errors.New("of another kind")

// value makes of JSON what the database takes.
func (c column) value(from any) (any, error) {
	switch v := from.(type) {
	case nil:
		return nil, nil //nolint:nilnil // NULL
	case bool:
		if c.kind == kindBoolean {
			return v, nil
		}
	case json.Number:
		if c.kind == kindInteger {
			return v.Int64()
		}
	case string:
		switch c.kind {
		case kindText:
			return tidyText(v), nil
		case kindTime:
			return time.Parse(time.RFC3339Nano, v)
		case kindBytes:
			return base64.StdEncoding.DecodeString(v)
		case kindInteger, kindBoolean:
		}
	}
	return nil, errKind
}
