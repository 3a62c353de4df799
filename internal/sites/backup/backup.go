// Package backup writes the content of one site into one archive file, and reads
// it again.
//
// The archive is a gzipped tar that any tar program can open:
//
//	database/000000 …   the engine's dump, cut into pieces of at most 4 MiB
//	files/ private/ config/   the folders that the site writes to
//	site/hash_salt  site/local.settings.php
//	manifest.json       what is in it, always the last entry
//
// It is written in one pass with little memory, under a name that ends in .part,
// and gets its own name once it is complete and on the disk. The files are read
// after the database: what is uploaded meanwhile may be in the archive without
// its row in the database, never the other way round, unless somebody deletes a
// file while it is being read.
package backup

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"hefring/models"
)

// FormatVersion is the version of the archive's format that this package writes.
const FormatVersion = 1

// Parts of an archive.
const (
	PartDatabase = "database"
	PartFiles    = "files"
	PartPrivate  = "private"
	PartConfig   = "config"
	PartSite     = "site"
)

// Names of single files in an archive.
const (
	manifestName = "manifest.json"
	saltName     = PartSite + "/hash_salt"
	localName    = PartSite + "/local.settings.php"
)

// Partial ends the name of an archive that is not complete.
const Partial = ".part"

const (
	suffix        = ".tar.gz"
	pieceBytes    = 4 << 20 // of the dump in one entry
	manifestBytes = 1 << 20 // longest manifest that is read
	smallBytes    = 1 << 20 // longest hash_salt or local.settings.php
)

// Manifest says what an archive holds.
type Manifest struct {
	Format        int             `json:"format"`
	URI           string          `json:"uri"`
	Platform      string          `json:"platform"` // its name
	DrupalVersion string          `json:"drupal_version"`
	Profile       string          `json:"profile"`
	Language      string          `json:"language"`
	Title         string          `json:"title"`
	Engine        string          `json:"engine"` // of the dump; "" when there is none
	Prefix        string          `json:"prefix"` // of the tables
	Tables        int             `json:"tables"`
	MadeAt        time.Time       `json:"made_at"`
	Parts         map[string]Part `json:"parts"`
}

// Part is one part of an archive.
type Part struct {
	Entries int    `json:"entries"` // files, folders and links; pieces of the dump
	Bytes   int64  `json:"bytes"`   // of all files together
	Disk    int64  `json:"disk"`    // that they took up; less than Bytes when files have holes
	SHA256  string `json:"sha256"`  // over each entry's name and content, in their order
	LeftOut int    `json:"left_out,omitempty"`
}

// Files counts what is in the folders of the site.
func (m Manifest) Files() int {
	return m.Parts[PartFiles].Entries + m.Parts[PartPrivate].Entries + m.Parts[PartConfig].Entries
}

// Disk is how many bytes the site's folders take up once they are unpacked.
func (m Manifest) Disk() int64 {
	return m.Parts[PartFiles].Disk + m.Parts[PartPrivate].Disk + m.Parts[PartConfig].Disk
}

// Name is the file name of a backup: the site, the time and the backup's number.
// It is the same for every attempt at one backup.
func Name(b models.Backup) string {
	uri := b.URI
	if len(uri) > 180 { // file systems take names of 255 bytes
		uri = uri[:180]
	}
	return fmt.Sprintf("%s-%s-%d%s", strings.ReplaceAll(uri, "/", "_"), b.CreatedAt.UTC().Format("20060102T150405Z"), b.ID, suffix)
}

// folders are the parts that are folders, in the order of the archive.
func folders() []string { return []string{PartFiles, PartPrivate, PartConfig} }

// Log is told what a person should know.
type Log interface {
	Printf(level models.Level, format string, args ...any)
}

func damaged(path string, cause error, format string, args ...any) error {
	return models.Wrapf(models.Invalid, cause, "The backup %s cannot be used: %s", filepath.Base(path), fmt.Sprintf(format, args...))
}
