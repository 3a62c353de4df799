package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	driversqlite "modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"hefring/internal/sites/database"
	"hefring/internal/tree"
	"hefring/models"
)

// stepPages is how many pages are copied between two looks at the context.
const stepPages = 4096

// copying is the name under which a copy grows before it is complete.
func copying(path string) string {
	return filepath.Join(filepath.Dir(path), ".copying-"+filepath.Base(path))
}

// copyFile copies beside the target and renames only what is complete and on
// the disk.
func copyFile(ctx context.Context, source, target string) (info database.CopyInfo, err error) {
	if err := regular(source); err != nil {
		return info, err
	}
	temp := copying(target)
	if err := removeFiles(temp); err != nil {
		return info, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFiles(temp))
		}
	}()
	if info.Tables, err = backup(ctx, source, temp); err != nil {
		return info, err
	}
	if info.Bytes, err = settle(temp); err != nil {
		return info, err
	}
	// A journal of the old target would be played into the new file.
	if err := removeJournals(target); err != nil {
		return info, err
	}
	if err := os.Rename(temp, target); err != nil {
		return info, err
	}
	return info, tree.SyncDir(filepath.Dir(target))
}

// settle brings a closed database to the disk and gives its size.
func settle(path string) (int64, error) {
	for _, journal := range journals(path) {
		if _, err := os.Lstat(journal); !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("the copy still has a journal %s", filepath.Base(journal))
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // a file of the site
	if err != nil {
		return 0, err
	}
	info, err := file.Stat()
	return info.Size(), errors.Join(err, file.Chmod(fileMode), file.Sync(), file.Close())
}

// backup copies all pages of one moment and gives the number of tables. It
// holds one read transaction from the first to the last page: writers in WAL
// mode go on, and what they commit meanwhile is not in the copy.
//
// integrity_check is not asked: Drupal's tables use the collation NOCASE_UTF8,
// which only Drupal's own PHP defines.
func backup(ctx context.Context, source, target string) (tables int, err error) {
	src, err := open(source, "ro")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if err := src.exec(ctx, "BEGIN"); err != nil {
		return 0, err
	}
	want, err := src.measure(ctx)
	if err != nil {
		return 0, err
	}
	dst, err := src.copyTo(ctx, target)
	if err != nil {
		return 0, err
	}
	got, err := dst.measure(ctx)
	if err := errors.Join(err, dst.Close()); err != nil {
		return 0, err
	}
	want.pages = max(want.pages, 1) // an empty file becomes an empty database
	if got != want {
		return 0, fmt.Errorf("the copy has %d pages and %d parts, its source %d and %d", got.pages, got.parts, want.pages, want.parts)
	}
	return int(got.tables), nil
}

// readable opens the database and reads its schema.
func readable(ctx context.Context, path string) error {
	c, err := open(path, "ro")
	if err != nil {
		return err
	}
	_, err = c.measure(ctx)
	return errors.Join(err, c.Close())
}

// conn is one connection, used by the goroutine that opened it: database/sql
// might move to another thread, and with it to another identity.
type conn struct{ driver.Conn }

// open opens a file. A connection with mode ro neither changes the file nor
// folds the write-ahead log into it when it closes.
func open(path, mode string) (conn, error) {
	c, err := (&driversqlite.Driver{}).Open(address(path, mode))
	if err != nil {
		return conn{}, err
	}
	return conn{c}, nil
}

// openImmutable opens a file that nobody else has open, without its journals.
func openImmutable(path string) (conn, error) {
	c, err := (&driversqlite.Driver{}).Open(address(path, "ro") + "&immutable=1")
	if err != nil {
		return conn{}, err
	}
	return conn{c}, nil
}

func address(path, mode string) string {
	query := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(10000)"}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
}

func (c conn) exec(ctx context.Context, statement string) error {
	_, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, statement, nil) //nolint:forcetypeassert // the driver's own
	return err
}

func (c conn) number(ctx context.Context, query string) (int64, error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, query, nil) //nolint:forcetypeassert // the driver's own
	if err != nil {
		return 0, err
	}
	row := make([]driver.Value, 1)
	err = rows.Next(row)
	if closing := rows.Close(); err == nil {
		err = closing
	}
	if errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%s gave no row", query)
	}
	number, ok := row[0].(int64)
	if err == nil && !ok {
		err = fmt.Errorf("%s gave %T", query, row[0])
	}
	return number, err
}

// size is what a copy must have in common with its source.
type size struct{ pages, parts, tables int64 }

func (c conn) measure(ctx context.Context) (s size, err error) {
	for _, ask := range []struct {
		into  *int64
		query string
	}{
		{&s.parts, "SELECT count(*) FROM sqlite_master"},
		{&s.tables, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"},
		{&s.pages, "PRAGMA page_count"},
	} {
		if *ask.into, err = c.number(ctx, ask.query); err != nil {
			return size{}, err
		}
	}
	return s, nil
}

// copyTo copies all pages into a new file and gives the connection to it.
func (c conn) copyTo(ctx context.Context, target string) (conn, error) {
	b, err := c.Conn.(interface { //nolint:forcetypeassert // the driver's own
		NewBackup(target string) (*driversqlite.Backup, error)
	}).NewBackup(address(target, "rwc"))
	if err != nil {
		return conn{}, err
	}
	for more := true; more && err == nil; {
		if more, err = b.Step(stepPages); err == nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return conn{}, errors.Join(err, b.Finish())
	}
	dst, err := b.Commit()
	if err != nil {
		return conn{}, err
	}
	return conn{dst}, nil
}

func journals(path string) []string {
	return []string{path + "-wal", path + "-shm", path + "-journal"}
}

func removeJournals(path string) error {
	var errs []error
	for _, file := range journals(path) {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// removeFiles removes a database and its journals, the database last: a kill in
// between leaves a file that Drop removes next time.
func removeFiles(path string) error {
	if err := removeJournals(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// explain says what a failure means where a person can act on it.
func explain(verb, path string, err error) error {
	dir := filepath.Dir(path)
	var code int
	if e, ok := errors.AsType[*driversqlite.Error](err); ok {
		code = e.Code() & 0xff // the rest is detail
	}
	switch {
	case models.CodeOf(err) != "":
		return err
	case code == sqlitelib.SQLITE_FULL, errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return models.Wrapf(models.Unavailable, err,
			"The disk that holds %s is full: could not %s the database. Free some space there, then try again.", dir, verb)
	case code == sqlitelib.SQLITE_NOTADB, code == sqlitelib.SQLITE_CORRUPT:
		return models.Wrapf(models.Unavailable, err,
			"%s is damaged or not an SQLite database. Restore it from a backup.", path)
	case code == sqlitelib.SQLITE_BUSY, code == sqlitelib.SQLITE_LOCKED:
		return models.Wrapf(models.Unavailable, err,
			"The database %s stayed locked by another program. Try again when it has finished.", path)
	case errors.Is(err, fs.ErrNotExist):
		return models.Wrapf(models.NotFound, err, "The database %s is not there. Restore it from a backup.", path)
	case code == sqlitelib.SQLITE_READONLY, code == sqlitelib.SQLITE_PERM, code == sqlitelib.SQLITE_CANTOPEN, errors.Is(err, fs.ErrPermission):
		return models.Wrapf(models.Unavailable, err,
			"The web user may not write the database %s. Make it the owner of %s and of what is in it, with the right to write.", path, dir)
	default:
		return fmt.Errorf("%s database %s: %w", verb, path, err)
	}
}
