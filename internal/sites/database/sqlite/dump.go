package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hefring/internal/sites/database"
	"hefring/internal/tree"
	"hefring/models"
)

// magic begins every SQLite database; see https://sqlite.org/fileformat2.html.
const magic = "SQLite format 3\x00"

// dumping is the name of a snapshot on its way out.
func dumping(path string) string {
	return filepath.Join(filepath.Dir(path), ".dumping-"+filepath.Base(path))
}

// Dump writes an SQLite file with all that the database held at one moment.
func (e *Engine) Dump(ctx context.Context, db models.Database, w io.Writer) (info database.CopyInfo, err error) {
	path, err := e.file(db)
	if err != nil {
		return info, err
	}
	file, info, err := e.snapshot(ctx, path)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(w, tree.UntilDone(ctx, file)); err != nil {
		return info, fmt.Errorf("dump database %s: %w", path, err)
	}
	return info, nil
}

// Load takes an SQLite file.
func (e *Engine) Load(ctx context.Context, db models.Database, r io.Reader) (database.CopyInfo, error) {
	path, err := e.file(db)
	if err != nil {
		return database.CopyInfo{}, err
	}
	return e.fill(ctx, path, r)
}

// snapshot copies a database beside and gives the copy, which has no name any
// more: it is gone when it is closed, also by a kill.
func (e *Engine) snapshot(ctx context.Context, path string) (file *os.File, info database.CopyInfo, err error) {
	err = asOwner(filepath.Dir(path), func() error {
		if err := regular(path); err != nil {
			return err
		}
		temp := dumping(path)
		if err := removeFiles(temp); err != nil {
			return err
		}
		file, info, err = snapshotTo(ctx, path, temp)
		return errors.Join(err, removeFiles(temp))
	})
	if err != nil {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return nil, database.CopyInfo{}, explain("dump", path, err)
	}
	return file, info, nil
}

func snapshotTo(ctx context.Context, path, temp string) (file *os.File, info database.CopyInfo, err error) {
	if info.Tables, err = backup(ctx, path, temp); err != nil {
		return nil, info, err
	}
	if info.Bytes, err = settle(temp); err != nil {
		return nil, info, err
	}
	file, err = os.OpenFile(temp, os.O_RDONLY|syscall.O_NOFOLLOW, 0) //nolint:gosec // our own copy
	return file, info, err
}

// fill puts the SQLite file that r gives in the place of a database, once it is
// there as a whole and opens.
func (e *Engine) fill(ctx context.Context, path string, r io.Reader) (info database.CopyInfo, err error) {
	dir, temp := filepath.Dir(path), copying(path)
	// Only the files are handled as the web user; r may read what only we may.
	var file *os.File
	err = asOwner(dir, func() error {
		if err := removeFiles(temp); err != nil {
			return err
		}
		file, err = os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode) //nolint:gosec // a file of the site
		return err
	})
	if err != nil {
		return info, explain("load", path, err)
	}
	_, err = io.Copy(file, tree.UntilDone(ctx, r))
	err = errors.Join(err, file.Close())
	cleanup := asOwner(dir, func() error {
		if err == nil {
			info, err = install(ctx, temp, path)
		}
		if err != nil {
			return removeFiles(temp)
		}
		return nil
	})
	if err = errors.Join(err, cleanup); err != nil {
		return database.CopyInfo{}, explain("load", path, err)
	}
	return info, nil
}

// install checks a file and renames it over the database.
func install(ctx context.Context, temp, path string) (info database.CopyInfo, err error) {
	if info.Tables, err = inspect(ctx, temp); err != nil {
		return info, models.Wrapf(models.Invalid, err,
			"What was to be loaded is not a whole SQLite database. The backup is damaged or was cut short; choose another.")
	}
	if info.Bytes, err = settle(temp); err != nil {
		return info, err
	}
	if err := removeJournals(path); err != nil {
		return info, err
	}
	if err := os.Rename(temp, path); err != nil {
		return info, err
	}
	return info, tree.SyncDir(filepath.Dir(path))
}

// inspect opens a file that nobody else has open, makes no journal beside it, and
// counts its tables. SQLite itself refuses one with fewer pages than its header
// says.
func inspect(ctx context.Context, path string) (tables int, err error) {
	head, err := header(path)
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(head, []byte(magic)) || len(head) < 100 {
		return 0, errors.New("it does not begin like an SQLite database")
	}
	c, err := openImmutable(path)
	if err != nil {
		return 0, err
	}
	got, err := c.measure(ctx)
	if err := errors.Join(err, c.Close()); err != nil {
		return 0, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	// SQLite takes a part of the last page for a page.
	if got.pages == 0 || info.Size()%got.pages != 0 || info.Size()/got.pages < 512 {
		return 0, fmt.Errorf("%d bytes are not %d pages", info.Size(), got.pages)
	}
	return int(got.tables), nil
}

// header gives the first bytes, fewer when there are not so many.
func header(path string) (head []byte, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // the caller decides
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(io.LimitReader(file, 100))
}

// attempts is how often a foreign file is copied that changes meanwhile.
const attempts = 5

// Adopt copies a foreign SQLite file. It is read with our own rights, since it may
// belong to any web user, and neither it nor its folder is changed.
func (e *Engine) Adopt(ctx context.Context, from database.Foreign, to models.Database) (info database.CopyInfo, err error) {
	path, err := e.file(to)
	if err != nil {
		return info, err
	}
	source, err := e.foreign(from)
	if err != nil {
		return info, err
	}
	// The folder of the site, not that of its databases: it is ours alone.
	dir := adopting(path)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return info, explain("adopt", source, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	temp := filepath.Join(dir, "adopted"+suffix)
	if err := copyForeign(ctx, source, temp); err != nil {
		return info, explainForeign(source, err)
	}
	file, err := os.Open(temp) //nolint:gosec // our own copy
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return e.fill(ctx, path, file)
}

func adopting(path string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(path)), ".adopting")
}

// foreign gives the real path of a foreign file.
func (e *Engine) foreign(from database.Foreign) (string, error) {
	if from.Engine != Name || !filepath.IsAbs(from.File) || strings.Contains(from.File, "\x00") {
		return "", models.Errorf(models.Invalid, "%q is not the absolute path of an SQLite file.", from.File)
	}
	if from.Prefix != "" {
		return "", models.Errorf(models.Invalid,
			"The tables of %s begin with the prefix %q. Hefring cannot adopt a database that is shared by prefixes; move the site to a database of its own first.", from.File, from.Prefix)
	}
	path, err := filepath.EvalSymlinks(from.File)
	if err != nil {
		return "", explainForeign(from.File, err)
	}
	root, err := filepath.EvalSymlinks(e.layout.Root)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(path, root+"/") {
		return "", models.Errorf(models.Invalid, "%s belongs to a site of Hefring already. Clone that site instead.", from.File)
	}
	return path, regular(path)
}

func explainForeign(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return models.Wrapf(models.Unavailable, err, "Hefring may not read %s. Let its user read the file and enter the folders above it.", path)
	}
	return explain("adopt", path, err)
}

// copyForeign copies a file of which nothing is known: it may be in use, and a
// crash may have left a journal that is not yet played in.
//
// Opening a database in WAL mode makes journals beside it, and one with a hot
// journal would be mended: such a file is copied together with its journal
// instead, and opened there.
func copyForeign(ctx context.Context, source, target string) error {
	head, err := header(source)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte(magic)) || len(head) < 100 {
		return models.Errorf(models.Invalid, "%s is not an SQLite database.", source)
	}
	wal := head[18] == 2 || head[19] == 2
	if wal && exists(source+"-shm") && exists(source+"-wal") || !wal && !exists(source+"-journal") {
		_, err := backup(ctx, source, target)
		return err
	}
	for range attempts {
		before, err := state(source)
		if err != nil {
			return err
		}
		if err := copyRaw(ctx, source, target); err != nil {
			return err
		}
		after, err := state(source)
		if err != nil {
			return err
		}
		if before == after {
			return playJournal(ctx, target)
		}
	}
	return models.Errorf(models.Unavailable, "%s is being written all the time. Put the site into maintenance mode, then try again.", source)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// state describes a file and its journals, so that a change shows.
func state(path string) (string, error) {
	var all strings.Builder
	for _, name := range append(journals(path), path) {
		var stat syscall.Stat_t
		err := syscall.Lstat(name, &stat)
		if err != nil && (name == path || !errors.Is(err, fs.ErrNotExist)) {
			return "", &os.PathError{Op: "lstat", Path: name, Err: err}
		}
		fmt.Fprintln(&all, stat.Ino, stat.Size, stat.Mtim, stat.Ctim)
	}
	return all.String(), nil
}

func copyRaw(ctx context.Context, source, target string) error {
	if err := removeFiles(target); err != nil {
		return err
	}
	for _, end := range []string{"", "-wal", "-journal"} {
		if err := copyOne(ctx, source+end, target+end); err != nil && (end == "" || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func copyOne(ctx context.Context, source, target string) (err error) {
	in, err := os.OpenFile(source, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // what a person chose to adopt
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // our own
	if err != nil {
		return err
	}
	_, err = io.Copy(out, tree.UntilDone(ctx, in))
	return errors.Join(err, out.Close())
}

// playJournal plays the journal into our own copy.
func playJournal(ctx context.Context, path string) error {
	c, err := open(path, "rw")
	if err != nil {
		return err
	}
	_, err = c.measure(ctx)
	return errors.Join(err, c.Close())
}

// Databases lists the files of a site.
func (e *Engine) Databases(_ context.Context, site models.Site) ([]models.Database, error) {
	dir := e.layout.Databases(site.ID)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	var dbs []models.Database
	for _, entry := range entries {
		db := models.Database{Engine: Name, Name: filepath.Join(dir, entry.Name())}
		if _, err := e.file(db); err == nil && entry.Type().IsRegular() {
			dbs = append(dbs, db)
		}
	}
	return dbs, nil
}

// Remove removes all databases of a site, what is left of copies, and the folder.
func (e *Engine) Remove(_ context.Context, site models.Site) error {
	if site.ID <= 0 {
		return models.Errorf(models.Invalid, "There is no site %d.", site.ID)
	}
	dir := e.layout.Databases(site.ID)
	err := asOwner(dir, func() error {
		entries, err := os.ReadDir(dir)
		errs := []error{err}
		for _, entry := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
		return errors.Join(errs...)
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = os.Remove(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, os.RemoveAll(adopting(filepath.Join(dir, "x")))); err != nil {
		return explain("remove", dir, err)
	}
	return nil
}
