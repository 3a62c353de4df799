package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hefring/internal/sites/backup"
	"hefring/internal/sites/database"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/tree"
	"hefring/models"
)

// origin is where the content of a new site comes from. It is never changed.
type origin interface {
	// open makes the content ready to be read, and says what it is; close ends
	// that.
	open(ctx context.Context) (content, error)
	close() error
	// database fills a database that is there and empty.
	database(ctx context.Context, db models.Database) (database.CopyInfo, error)
	// files makes the folders files, private and config in dir.
	files(ctx context.Context, dir string) error
}

// content says what an origin holds.
type content struct {
	name    string // for people
	version string // of Drupal
	engine  string
	bytes   int64 // of its files
	local   []byte
}

// Clone makes the site to, on its platform, with the content of another site, of
// a backup, or of a site outside of Hefring. The new site has a database, a user
// and a salt of its own. An attempt before it that was cut short is replaced; the
// origin goes on as it is, serving and taking writes.
func (h *Host) Clone(ctx context.Context, from models.Origin, to models.Site, platform models.Platform, log upgrade.Log) (models.Database, error) {
	if to.State != models.SiteInstalling {
		return models.Database{}, models.Errorf(models.Conflict, "%s is %s. Only a site that is being made can be filled.", to.URI, to.State)
	}
	if err := h.ownFolder(to); err != nil {
		return models.Database{}, err
	}
	o, err := h.origin(from, to, log)
	if err != nil {
		return models.Database{}, err
	}
	unlock, err := h.lock(ctx, to)
	if err != nil {
		return models.Database{}, err
	}
	defer unlock()
	c := cloning{host: h, release: drupal.Release{Site: to, Platform: platform}, log: log}
	if err := c.copy(ctx, o); err != nil {
		return models.Database{}, err
	}
	want, err := c.settle(ctx)
	if err != nil {
		return models.Database{}, err
	}
	return c.release.Database, h.open(ctx, c.release, want, log)
}

func (h *Host) origin(from models.Origin, to models.Site, log upgrade.Log) (origin, error) {
	switch {
	case from.Site != nil && from.Backup == nil && from.Found == nil:
		if from.Site.ID == to.ID {
			return nil, models.Errorf(models.Invalid, "A site cannot be made from itself.")
		}
		return &siteOrigin{host: h, site: *from.Site, log: log}, nil
	case from.Backup != nil && from.Site == nil && from.Found == nil:
		return &backupOrigin{host: h, backup: *from.Backup, to: to}, nil
	case from.Found != nil && from.Site == nil && from.Backup == nil:
		return &foundOrigin{host: h, found: *from.Found, log: log}, nil
	}
	return nil, models.Errorf(models.Invalid, "Say which one site, backup or found site the new site is made from.")
}

// cloning makes one site from an origin.
type cloning struct {
	host    *Host
	release drupal.Release
	log     upgrade.Log
	content content
}

// copy brings the content over. When it fails, or is killed, the next attempt
// begins with nothing again.
func (c *cloning) copy(ctx context.Context, o origin) (err error) {
	c.log.Step("copy")
	if c.content, err = o.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if err := c.fits(); err != nil {
		return err
	}
	id := c.release.Site.ID
	for _, dir := range []string{c.host.Layout.Files(id), c.host.Layout.Private(id), c.host.Layout.Config(id)} {
		if err := removeTree(dir); err != nil {
			return fmt.Errorf("clear what an earlier attempt left: %w", err)
		}
	}
	if err := c.database(ctx, o); err != nil {
		return err
	}
	if err := backup.Room(c.host.Layout.Dir(id), c.content.bytes); err != nil {
		return err
	}
	c.log.Printf(models.LevelInfo, "Copying %s of files", tree.Size(c.content.bytes))
	if err := o.files(ctx, c.host.Layout.Dir(id)); err != nil {
		return err
	}
	return c.give(ctx)
}

// fits refuses content that the platform's Drupal cannot run.
func (c *cloning) fits() error {
	p := c.release.Platform
	older, err := drupal.Older(p.DrupalVersion, c.content.version)
	switch {
	case err != nil:
		return models.Wrapf(models.Invalid, err, "%s has Drupal %q and the platform %s has %q, which cannot be compared.", c.content.name, c.content.version, p.Name, p.DrupalVersion)
	case older:
		return models.Errorf(models.Invalid, "The platform %s has Drupal %s, older than the %s of %s. Choose a platform with that version or a newer one.",
			p.Name, p.DrupalVersion, c.content.version, c.content.name)
	case strings.HasPrefix(c.content.version, "7.") && !strings.HasPrefix(p.DrupalVersion, "7."):
		return models.Errorf(models.Invalid, "%s is Drupal %s. Its content cannot be updated to Drupal %s; it has to be migrated. Choose a platform with Drupal 7.",
			c.content.name, c.content.version, p.DrupalVersion)
	}
	return nil
}

func (c *cloning) database(ctx context.Context, o origin) (err error) {
	if c.release.Database, err = c.host.freshDatabase(ctx, c.release.Site); err != nil {
		return err
	}
	if have := c.release.Database.Engine; have != c.content.engine {
		return errors.Join(models.Errorf(models.Invalid,
			"The content of %s is in a database of the kind %s, and the new site's would be of the kind %s. Choose a database server of the same kind.",
			c.content.name, engineName(c.content.engine), engineName(have)), c.host.Databases.Drop(ctx, c.release.Database))
	}
	info, err := o.database(ctx, c.release.Database)
	if err != nil {
		return err
	}
	c.log.Printf(models.LevelInfo, "Copied %d tables, %s", info.Tables, tree.Size(info.Bytes))
	return nil
}

func engineName(engine string) string {
	switch engine {
	case models.EngineSQLite:
		return "SQLite"
	case models.EngineMySQL:
		return "MariaDB or MySQL"
	case models.EnginePostgres:
		return "PostgreSQL"
	}
	return engine
}

// give hands the copied files to the site's user, and writes the settings.
func (c *cloning) give(ctx context.Context) error {
	site := c.release.Site
	l := c.host.Layout
	for _, dir := range []string{l.Files(site.ID), l.Private(site.ID), l.Config(site.ID)} {
		if err := c.host.Drupal.Give(site, dir); err != nil {
			return err
		}
	}
	if err := os.Remove(drupal.LocalSettings(l, site.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear the site's own settings: %w", err)
	}
	if len(c.content.local) > 0 {
		c.log.Printf(models.LevelInfo, "Its own settings are taken over as well; look through them, they may name the old site")
		if err := c.host.Drupal.WriteLocalSettings(site, c.content.local); err != nil {
			return err
		}
	}
	return c.host.Drupal.WriteRelease(ctx, c.release)
}

// settle makes the content that of the new site: updates that the platform has
// and the origin had not, its name, its caches. It gives what the site should
// answer.
func (c *cloning) settle(ctx context.Context) (expected, error) {
	c.log.Step("update")
	drush, err := c.host.Drupal.Drush(c.release, c.log.Out(), c.log.Err())
	if err != nil {
		return expected{}, err
	}
	compared, err := drupal.Examine(ctx, drush, c.content.version)
	if err != nil {
		return expected{}, err
	}
	if len(compared.Blockers) > 0 {
		return expected{}, models.Errorf(models.Invalid, "The platform %s cannot run the content of %s: %s",
			c.release.Platform.Name, c.content.name, strings.Join(compared.Blockers, " "))
	}
	maintenance, err := drush.Maintenance(ctx)
	if err != nil {
		return expected{}, err
	}
	if err := c.update(ctx, drush, len(compared.Updates), maintenance); err != nil {
		return expected{}, err
	}
	if title := c.release.Site.Title; title != "" {
		if err := drush.SetTitle(ctx, title); err != nil {
			return expected{}, err
		}
	}
	if err := drush.Rebuild(ctx); err != nil {
		return expected{}, err
	}
	if maintenance {
		return closed(c.release.Site), nil
	}
	return unknownOf(c.release.Site).of(c.release.Platform), nil
}

func (c *cloning) update(ctx context.Context, drush *drupal.Drush, updates int, maintenance bool) error {
	if updates == 0 {
		return nil
	}
	c.log.Printf(models.LevelInfo, "%d database updates, from Drupal %s to %s", updates, c.content.version, c.release.Platform.DrupalVersion)
	if err := drush.UpdateDatabase(ctx); err != nil {
		return err
	}
	_, err := drush.Settle(ctx, maintenance)
	return err
}

// copied says what copyFolders copies.
type copied struct {
	folders map[string]string      // by the names of backup's parts; "" for none
	skip    func(path string) bool // below the public files
	inside  string                 // as in backup.Copier
}

// copyFolders copies folders to those of a new site in dir.
func copyFolders(ctx context.Context, dir string, f copied, log upgrade.Log) error {
	for _, name := range []string{backup.PartFiles, backup.PartPrivate, backup.PartConfig} {
		to := filepath.Join(dir, name)
		if err := os.Mkdir(to, 0o700); err != nil {
			return fmt.Errorf("make folder %s: %w", name, err)
		}
		if f.folders[name] == "" {
			continue
		}
		copier := backup.Copier{Name: name, Log: log, Inside: f.inside}
		if name == backup.PartFiles {
			copier.Skip = f.skip
		}
		done, err := copier.Copy(ctx, f.folders[name], to)
		if err != nil {
			return err
		}
		log.Printf(models.LevelInfo, "%s: %d files and folders, %s, %d of them without using space", name, done.Entries, tree.Size(done.Bytes), done.Shared)
	}
	return nil
}

// siteOrigin is another site of this server. It is locked while it is copied, so
// that no upgrade moves it away meanwhile; visitors notice nothing.
type siteOrigin struct {
	host   *Host
	site   models.Site
	log    upgrade.Log
	unlock func()
}

func (o *siteOrigin) open(ctx context.Context) (c content, err error) {
	if o.unlock, err = o.host.lock(ctx, o.site); err != nil {
		return c, err
	}
	c, err = o.look(ctx)
	if err != nil {
		o.unlock()
	}
	return c, err
}

func (o *siteOrigin) look(ctx context.Context) (c content, err error) {
	l, id := o.host.Layout, o.site.ID
	serving, err := o.host.Drupal.Serving(o.site)
	if err != nil {
		return c, err
	}
	c = content{name: o.site.URI, version: serving.DrupalVersion, engine: o.site.Database.Engine}
	for _, dir := range []string{l.Files(id), l.Private(id), l.Config(id)} {
		n, err := backup.Measure(ctx, dir, backup.Compiled)
		if err != nil {
			return c, err
		}
		c.bytes += n
	}
	c.local, err = os.ReadFile(drupal.LocalSettings(l, id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("read the origin's own settings: %w", err)
	}
	return c, nil
}

func (o *siteOrigin) close() error {
	o.unlock()
	return nil
}

// database copies the way that the engine knows best, or, between two servers,
// pours a dump from one into the other.
func (o *siteOrigin) database(ctx context.Context, db models.Database) (database.CopyInfo, error) {
	if o.site.Database.Server == db.Server {
		return o.host.Databases.Copy(ctx, o.site.Database, db)
	}
	r, w := io.Pipe()
	go func() {
		_, err := o.host.Databases.Dump(ctx, o.site.Database, w)
		_ = w.CloseWithError(err)
	}()
	info, err := o.host.Databases.Load(ctx, db, r)
	_ = r.Close()
	return info, err
}

func (o *siteOrigin) files(ctx context.Context, dir string) error {
	l, id := o.host.Layout, o.site.ID
	return copyFolders(ctx, dir, copied{skip: backup.Compiled, folders: map[string]string{
		backup.PartFiles: l.Files(id), backup.PartPrivate: l.Private(id), backup.PartConfig: l.Config(id),
	}}, o.log)
}

// backupOrigin is the archive of a site.
type backupOrigin struct {
	host    *Host
	backup  models.Backup
	to      models.Site
	archive *backup.Archive
}

func (o *backupOrigin) open(ctx context.Context) (c content, err error) {
	if err := o.host.ownBackup(o.backup); err != nil {
		return c, err
	}
	if o.archive, err = backup.Open(ctx, o.backup.Path, o.backup.Digest); err != nil {
		return c, err
	}
	m := o.archive.Manifest
	return content{name: "the backup of " + m.URI, version: m.DrupalVersion, engine: m.Engine, bytes: m.Disk(), local: o.archive.LocalSettings}, nil
}

func (o *backupOrigin) close() error { return o.archive.Close() }

func (o *backupOrigin) database(ctx context.Context, db models.Database) (info database.CopyInfo, err error) {
	err = o.archive.LoadDatabase(ctx, func(r io.Reader) error {
		info, err = o.host.Databases.Load(ctx, db, r)
		return err
	})
	return info, err
}

func (o *backupOrigin) files(ctx context.Context, dir string) error {
	return o.archive.ExtractFiles(ctx, dir, owner{o.host.Drupal, o.to})
}

// owner gives files to the user of one site.
type owner struct {
	drupal *drupal.Drupal
	site   models.Site
}

func (o owner) Chown(path string) error { return o.drupal.Give(o.site, path) }

// foundOrigin is a site outside of Hefring. Its settings are read again: nobody
// kept its password.
type foundOrigin struct {
	host    *Host
	found   models.FoundSite
	log     upgrade.Log
	outside drupal.Outside
}

func (o *foundOrigin) open(ctx context.Context) (c content, err error) {
	root, err := o.host.foreignRoot(o.found.Root)
	if err != nil {
		return c, err
	}
	o.found.Root = root
	c.name = filepath.Join(root, o.found.Docroot, "sites", o.found.Folder)
	if c.version, err = drupal.CodeVersion(filepath.Join(root, o.found.Docroot)); err != nil {
		return c, err
	}
	if o.outside, err = o.host.outside(ctx, o.found); err != nil {
		return c, err
	}
	if err := o.host.bounded(o.found, &o.outside); err != nil {
		return c, err
	}
	c.engine = o.outside.Database.Engine
	for dir, skip := range map[string]func(string) bool{o.outside.Public: notContent(o.outside), o.outside.Private: nil, o.outside.Config: nil} {
		n, err := backup.Measure(ctx, dir, skip)
		if err != nil {
			return c, err
		}
		c.bytes += n
	}
	o.log.Printf(models.LevelWarn, "Of its settings.php only the database and the folders are taken over. Put what else the site needs into local.settings.php in its folder.")
	return c, nil
}

func (o *foundOrigin) close() error { return nil }

func (o *foundOrigin) database(ctx context.Context, db models.Database) (database.CopyInfo, error) {
	return o.host.Databases.Adopt(ctx, o.outside.Database, db)
}

func (o *foundOrigin) files(ctx context.Context, dir string) error {
	return copyFolders(ctx, dir, copied{skip: notContent(o.outside), inside: o.found.Root, folders: map[string]string{
		backup.PartFiles: o.outside.Public, backup.PartPrivate: o.outside.Private, backup.PartConfig: o.outside.Config,
	}}, o.log)
}
