package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hefring/models"
)

// kind is what a column holds, in words that both databases share.
type kind string

const (
	kindInteger kind = "integer" // 64 bits
	kindBoolean kind = "boolean"
	kindText    kind = "text"
	kindTime    kind = "time"
	kindBytes   kind = "bytes"
)

// column is one column of a table.
type column struct {
	name string
	kind kind
}

// table is one table of a schema.
type table struct {
	name    string
	columns []column
	key     []string // names of the primary key's columns
	passing bool
}

// numbered tells whether the database counts the table's ids.
func (t table) numbered() bool { return slices.Contains(t.columns, column{"id", kindInteger}) }

func (t table) names() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return names
}

// passingTables names the tables that hold only what lasts for minutes, or belongs
// to running processes and to browsers. A backup leaves them out, and with them
// the tables that refer to them: a session that was ended and a link that was used
// must not come back to life.
func passingTables() []string {
	return []string{"sessions", "login_links", "form_tokens", "replies", "worker_beats"}
}

// Columns that are made of others are not among them: each database makes them itself.
const tablesQuery = `SELECT m.name, c.name, c.type, c.pk FROM sqlite_master m, pragma_table_info(m.name) c
	WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND m.name <> 'goose_db_version' ORDER BY m.name, c.cid`

const parentsQuery = `SELECT m.name, f."table" FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'`

// layout gives the tables of one version of the schema, by their names. They are
// read from a database in memory that the migrations make, so that neither the
// tables of others in a database nor the names in a dump have a say.
func layout(ctx context.Context, schema int64) (tables []table, err error) {
	db, err := sql.Open("sqlite", "file::memory:?"+sqliteOptions)
	if err != nil {
		return nil, fmt.Errorf("open database in memory: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // each connection would have a database of its own
	p, err := (&sqliteEngine{db: db}).provider()
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.UpTo(ctx, schema); err != nil {
		return nil, fmt.Errorf("make schema %d in memory: %w", schema, err)
	}
	if tables, err = readTables(ctx, db); err == nil {
		err = markPassing(ctx, db, tables)
	}
	if err != nil {
		return nil, fmt.Errorf("read schema %d: %w", schema, err)
	}
	return tables, nil
}

func readTables(ctx context.Context, db *sql.DB) (tables []table, err error) {
	rows, err := db.QueryContext(ctx, tablesQuery)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what Close would
	for rows.Next() {
		if tables, err = scanColumn(rows, tables); err != nil {
			return nil, err
		}
	}
	return tables, rows.Err()
}

// markPassing marks the passing tables and all that refer to one of them.
func markPassing(ctx context.Context, db *sql.DB, tables []table) error {
	children := map[string][]string{}
	rows, err := db.QueryContext(ctx, parentsQuery)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err says what Close would
	for rows.Next() {
		var child, parent string
		if err := rows.Scan(&child, &parent); err != nil {
			return err
		}
		children[parent] = append(children[parent], child)
	}
	marked := passingTables()
	for i := 0; i < len(marked); i++ {
		for _, child := range children[marked[i]] {
			if !slices.Contains(marked, child) {
				marked = append(marked, child)
			}
		}
	}
	for i := range tables {
		tables[i].passing = slices.Contains(marked, tables[i].name)
	}
	return rows.Err()
}

// scanColumn adds the column in this row to the last table, or to a new one.
func scanColumn(rows *sql.Rows, tables []table) ([]table, error) {
	var name, declared string
	var c column
	var key int
	if err := rows.Scan(&name, &c.name, &declared, &key); err != nil {
		return nil, err
	}
	var err error
	if c.kind, err = kindOf(declared); err != nil {
		return nil, fmt.Errorf("%s.%s: %w", name, c.name, err)
	}
	if len(tables) == 0 || tables[len(tables)-1].name != name {
		tables = append(tables, table{name: name})
	}
	last := &tables[len(tables)-1]
	last.columns = append(last.columns, c)
	if key > 0 {
		last.key = append(last.key, c.name)
	}
	return tables, nil
}

func kindOf(declared string) (kind, error) {
	switch strings.ToLower(declared) {
	case "integer":
		return kindInteger, nil
	case "numeric":
		return kindBoolean, nil
	case "text":
		return kindText, nil
	case "datetime":
		return kindTime, nil
	case "blob":
		return kindBytes, nil
	}
	return "", fmt.Errorf("dumps have no word for the type %q yet", declared)
}

// quote makes a name safe in a statement of either database.
func quote(names ...string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ", ")
}

// knownLayout is layout for a version that somebody else names.
func knownLayout(ctx context.Context, schema int64) ([]table, error) {
	known, err := Schema()
	if err != nil {
		return nil, err
	}
	if schema > known {
		return nil, models.Errorf(models.Conflict,
			"The backup has the schema %d, and this Hefring knows schemas up to %d. Use the Hefring that made it, or a newer one.", schema, known)
	}
	if schema < 1 {
		return nil, models.Errorf(models.Invalid, "The backup cannot be used: it names the schema %d, which there never was.", schema)
	}
	return layout(ctx, schema)
}
