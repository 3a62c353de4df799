// Package migrations holds the database's schema as numbered steps, once for
// SQLite and once for PostgreSQL. Both folders have the same numbers and names.
// A step that was released is never edited; a change is a new step in both.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SQLite gives the steps for SQLite.
func SQLite() (fs.FS, error) { return fs.Sub(files, "sqlite") }

// Postgres gives the steps for PostgreSQL.
func Postgres() (fs.FS, error) { return fs.Sub(files, "postgres") }
