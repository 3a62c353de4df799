// Package control backs up the control plane while it runs, and restores it into
// an empty place: its database, of either kind, and the small files that belong to
// it. It keeps nothing of sites and platforms but their rows.
//
// The archive is a gzipped tar that any tar program can open:
//
//	hefring.json        format and version, always the first entry
//	database/000000 …   the dump (see store.Dump), cut into pieces of at most 4 MiB
//	files/…             what lies in the control folder beside the database
//	secret.key          the key file, only when it was asked for
//	manifest.json       what is in it, always the last entry
//
// It is written in one pass with little memory. Reading believes nothing: the
// whole archive is read and compared with its manifest before anything is made.
package control

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hefring/models"
)

// FormatVersion is the version of the archive's format that this package writes.
const FormatVersion = 1

// Names in an archive.
const (
	headName     = "hefring.json"
	manifestName = "manifest.json"
	keyName      = "secret.key"
	filesFolder  = "files/"
	piecePattern = "database/%06d"
)

// Parts of an archive.
const (
	PartDatabase = "database"
	PartFiles    = "files"
	PartKey      = "secret-key"
)

const (
	pieceBytes    = 4 << 20  // of the dump in one entry
	headBytes     = 4 << 10  // longest head
	manifestBytes = 1 << 20  // longest manifest
	filesBytes    = 64 << 20 // of all files of the control folder together
	maxFiles      = 10_000
	maxPath       = 1024
)

// Head says how an archive is to be read.
type Head struct {
	Format  int    `json:"format"`
	Hefring string `json:"hefring"` // version of the program that made it
}

// Manifest says what an archive holds.
type Manifest struct {
	Head

	Schema int64            `json:"schema"`
	Engine string           `json:"engine"` // sqlite or postgres; both read it
	MadeAt time.Time        `json:"made_at"`
	Tables map[string]int64 `json:"tables"` // rows of each
	Rows   int64            `json:"rows"`
	Parts  map[string]Part  `json:"parts"`
}

// Part is one part of an archive.
type Part struct {
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // over each entry's name, size and content, in their order
}

// HasKey tells whether the key file is in the archive.
func (m Manifest) HasKey() bool { return m.Parts[PartKey].Entries > 0 }

// Plane is a control plane: where it keeps what, and which program works on it.
type Plane struct {
	Database  string // DSN
	Folder    string // absolute; what the control plane keeps on disk
	SecretKey string // absolute; the key file, in that folder or elsewhere
	Version   string // of this program
	Log       Log
}

// Log is told what a person should know.
type Log interface {
	Printf(level models.Level, format string, args ...any)
}

// ours tells whether a file of the control folder is a database's, the key, or
// half written. Those are not copied as they are. An SQLite database of before may
// lie beside PostgreSQL.
func (p Plane) ours(path string) bool {
	if path == p.SecretKey || strings.HasPrefix(filepath.Base(path), ".") {
		return true
	}
	for _, database := range []string{strings.TrimPrefix(p.Database, "sqlite:"), filepath.Join(p.Folder, "hefring.db")} {
		end, found := strings.CutPrefix(path, database)
		if found && slices.Contains([]string{"", "-wal", "-shm", "-journal", ".lock"}, end) {
			return true
		}
	}
	return false
}

// private tells whether a file is as secret as the key file, and goes with it.
func private(path string) bool { return filepath.Ext(path) == ".key" }

func unusable(file string, cause error, format string, args ...any) error {
	return models.Wrapf(models.Invalid, cause, "The backup %s cannot be used: %s. Nothing was changed. Use another backup.", filepath.Base(file), fmt.Sprintf(format, args...))
}
