// Package database says what Hefring asks of the place that holds a site's
// content. Each kind of database has a sub-package: sqlite keeps a file for each
// database; servers keep one database with one user for each.
package database

import (
	"context"
	"io"
	"slices"

	"hefring/models"
)

// Engine handles the databases of one kind. All its methods may be repeated
// after a kill at any point. A path or name that is not a site's own is refused
// with models.Invalid.
type Engine interface {
	// Create makes an empty database for the site, named after label, and gives
	// it to the web user. A database that is there already is kept.
	Create(ctx context.Context, site models.Site, label string) (models.Database, error)
	// Copy makes to an exact copy of from at one moment, while from goes on
	// being read and written; from is not changed by a byte. (Of a table that is
	// Volatile the moment may be a little later.) What to held before is replaced.
	// Cut short, to holds what it held, or it is incomplete, which Check tells,
	// and Copy may be called on it again. Both may belong to different sites.
	Copy(ctx context.Context, from, to models.Database) (CopyInfo, error)
	// Drop removes a database and all that belongs to it. One that is not there
	// is no error.
	Drop(ctx context.Context, db models.Database) error
	// Check tells why the site could not use the database; nil means that it can
	// be read, and written by the web user.
	Check(ctx context.Context, db models.Database) error
	// PHP is the array that settings.php assigns to
	// $databases['default']['default'].
	PHP(ctx context.Context, db models.Database) (Settings, error)

	// Dump writes all that the database held at one moment, while it goes on
	// being read and written, as Load of the same engine takes it.
	Dump(ctx context.Context, db models.Database, w io.Writer) (CopyInfo, error)
	// Load puts a dump in the place of what a database that Create made holds.
	// Cut short, it leaves something that Load may be called on again.
	Load(ctx context.Context, db models.Database, r io.Reader) (CopyInfo, error)
	// Adopt is Load from a database that Hefring does not own and never changes.
	Adopt(ctx context.Context, from Foreign, to models.Database) (CopyInfo, error)
	// Databases lists what there is of a site, also what no record knows of.
	Databases(ctx context.Context, site models.Site) ([]models.Database, error)
	// Remove drops all databases of a site, and its user. What is not there is no
	// error.
	Remove(ctx context.Context, site models.Site) error

	// Marks notes how each table is now, cheaply, so that Loss can tell later
	// what was written since. Caches and other tables that Drupal fills again by
	// itself are left out.
	Marks(ctx context.Context, db models.Database) ([]models.TableMark, error)
	// Loss tells what was written since the marks were taken.
	Loss(ctx context.Context, db models.Database, marks []models.TableMark) ([]models.TableLoss, error)
}

// Foreign is the database of a site that Hefring does not own, as its
// settings.php names it.
type Foreign struct {
	Engine   string // models.EngineSQLite …
	File     string // SQLite
	Host     string // or the absolute path of a socket
	Port     int    // 0: the usual one
	Name     string
	User     string
	Password string
	Prefix   string // of its tables; one that is not empty cannot be adopted
}

// CopyInfo says what was copied.
type CopyInfo struct {
	Bytes  int64 // size of the copy
	Tables int
}

// Settings is a PHP array with string keys, in order.
type Settings []Setting

// Setting is one entry of Settings. Its value is a string, a bool, an int, a
// []string or Settings.
type Setting struct {
	Key   string
	Value any
}

// Get finds the value of a key; nil when there is none.
func (s Settings) Get(key string) any {
	for _, entry := range s {
		if entry.Key == key {
			return entry.Value
		}
	}
	return nil
}

// Without gives the settings without some keys.
func (s Settings) Without(keys ...string) Settings {
	var rest Settings
	for _, entry := range s {
		if !slices.Contains(keys, entry.Key) {
			rest = append(rest, entry)
		}
	}
	return rest
}
