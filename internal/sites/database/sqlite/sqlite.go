// Package sqlite keeps each database of a site in a file of its own below the
// site's folder. The web user owns folder and files, because SQLite writes its
// journals beside the file.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/internal/tree"
	"hefring/models"
)

// Name is what models.Database calls this engine.
const Name = models.EngineSQLite

const (
	suffix   = ".sqlite"
	dirMode  = 0o750
	fileMode = 0o640
)

var labelPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$`)

// Owner gives files to the web user.
type Owner interface {
	// Chown gives path and what is in it to the web user; it does nothing when
	// that is ourselves.
	Chown(path string) error
}

// Engine is the database.Engine for SQLite files.
type Engine struct {
	layout sites.Layout
	owner  Owner
}

var _ database.Engine = (*Engine)(nil)

// New makes the engine for the sites of a layout.
func New(layout sites.Layout, owner Owner) *Engine {
	return &Engine{layout: layout, owner: owner}
}

// Create makes an empty file <label>.sqlite in the site's database folder.
func (e *Engine) Create(_ context.Context, site models.Site, label string) (models.Database, error) {
	if site.ID <= 0 || !labelPattern.MatchString(label) {
		return models.Database{}, models.Errorf(models.Invalid,
			"%q cannot name a database. Use lower-case letters, digits and hyphens.", label)
	}
	dir := e.layout.Databases(site.ID)
	if err := e.folder(dir); err != nil {
		return models.Database{}, fmt.Errorf("create database folder: %w", err)
	}
	db := models.Database{Engine: Name, Name: filepath.Join(dir, label+suffix)}
	if err := asOwner(dir, func() error { return createFile(db.Name) }); err != nil {
		return models.Database{}, explain("create", db.Name, err)
	}
	return db, nil
}

func (e *Engine) folder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // PHP is another user
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var stat syscall.Stat_t
	if err := syscall.Lstat(dir, &stat); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	// Only as long as it is still ours: Chown walks the folder, in which a site
	// that serves makes and removes journals.
	if int(stat.Uid) != os.Geteuid() {
		return nil
	}
	// The name of a site's folder is its number.
	id, err := strconv.ParseInt(filepath.Base(filepath.Dir(dir)), 10, 64)
	if err != nil || e.layout.User(id) == 0 {
		return e.owner.Chown(dir)
	}
	return run.Chown(dir, e.layout.Owner(id, nil))
}

func createFile(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode) //nolint:gosec // a file of the site
	if errors.Is(err, fs.ErrExist) {
		return regular(path)
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close(), tree.SyncDir(filepath.Dir(path)))
}

func regular(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return models.Errorf(models.Conflict, "%s is not a plain file. Look what it is, and move it away.", path)
	}
	return nil
}

// Copy copies a file with SQLite's online backup, which sees what other
// connections have committed to the write-ahead log. The sites of the two may
// differ, and with them the users that own them.
func (e *Engine) Copy(ctx context.Context, from, to models.Database) (database.CopyInfo, error) {
	source, target, err := e.pair(from, to)
	if err != nil {
		return database.CopyInfo{}, err
	}
	if filepath.Dir(source) != filepath.Dir(target) {
		return e.clone(ctx, source, target)
	}
	var info database.CopyInfo
	err = asOwner(filepath.Dir(target), func() error {
		info, err = copyFile(ctx, source, target)
		return err
	})
	if err != nil {
		return database.CopyInfo{}, explain("copy", source, err)
	}
	return info, nil
}

// clone copies to a folder that another user may own: each is handled with its
// own owner's rights.
func (e *Engine) clone(ctx context.Context, source, target string) (info database.CopyInfo, err error) {
	file, _, err := e.snapshot(ctx, source)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return e.fill(ctx, target, file)
}

func (e *Engine) pair(from, to models.Database) (source, target string, err error) {
	if source, err = e.file(from); err != nil {
		return "", "", err
	}
	if target, err = e.file(to); err != nil {
		return "", "", err
	}
	if source == target {
		return "", "", models.Errorf(models.Invalid, "The database %s cannot be copied onto itself.", source)
	}
	return source, target, nil
}

// Drop removes the file with its journals and an unfinished copy.
func (e *Engine) Drop(_ context.Context, db models.Database) error {
	path, err := e.file(db)
	if err != nil {
		return err
	}
	err = asOwner(filepath.Dir(path), func() error {
		return errors.Join(removeFiles(copying(path)), removeFiles(dumping(path)), removeFiles(path), tree.SyncDir(filepath.Dir(path)))
	})
	if errors.Is(err, fs.ErrNotExist) { // the whole folder is gone
		return nil
	}
	if err != nil {
		return explain("remove", path, err)
	}
	return nil
}

// Check opens the database and looks whether the web user may write the file
// and make journals beside it.
func (e *Engine) Check(ctx context.Context, db models.Database) error {
	path, err := e.file(db)
	if err != nil {
		return err
	}
	err = asOwner(filepath.Dir(path), func() error {
		if err := writable(path); err != nil {
			return err
		}
		return readable(ctx, path)
	})
	if err != nil {
		return explain("check", path, err)
	}
	return nil
}

func writable(path string) error {
	if err := regular(path); err != nil {
		return err
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if dir.Mode().Perm()&0o300 != 0o300 {
		return fmt.Errorf("write in %s: %w", filepath.Dir(path), fs.ErrPermission)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // a file of the site
	if err != nil {
		return err
	}
	return file.Close()
}

// PHP names Drupal's SQLite driver and the file. The path is absolute: a
// relative one would be looked for inside the code base.
func (e *Engine) PHP(_ context.Context, db models.Database) (database.Settings, error) {
	path, err := e.file(db)
	if err != nil {
		return nil, err
	}
	return database.Settings{
		{Key: "driver", Value: "sqlite"},
		{Key: "database", Value: path},
		{Key: "prefix", Value: ""},
		{Key: "namespace", Value: `Drupal\sqlite\Driver\Database\sqlite`},
		{Key: "autoload", Value: "core/modules/sqlite/src/Driver/Database/sqlite/"},
	}, nil
}

// file gives the path of a database if it is one that Create could have made.
func (e *Engine) file(db models.Database) (string, error) {
	site, rest, _ := strings.Cut(strings.TrimPrefix(db.Name, e.layout.Root+"/"), "/")
	id, err := strconv.ParseInt(site, 10, 64)
	label := strings.TrimSuffix(strings.TrimPrefix(rest, "db/"), suffix)
	switch {
	case db.Engine != Name:
		return "", models.Errorf(models.Invalid, "A database of the kind %q is not an SQLite file.", db.Engine)
	case err != nil || id <= 0 || !labelPattern.MatchString(label) || db.Name != filepath.Join(e.layout.Databases(id), label+suffix):
		return "", models.Errorf(models.Invalid, "%q is not a database in a site's own folder.", db.Name)
	}
	return db.Name, nil
}
