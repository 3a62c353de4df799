package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hefring/internal/sites/backup"
	"hefring/internal/sites/drupal"
	"hefring/internal/tree"
	"hefring/models"
)

// openArchive opens the backup that is brought back, once.
func (m *mover) openArchive(ctx context.Context) (*backup.Archive, error) {
	if m.restored != nil {
		return m.restored, nil
	}
	if err := m.host.ownBackup(*m.move.Backup); err != nil {
		return nil, err
	}
	var err error
	m.restored, err = backup.Open(ctx, m.move.Backup.Path, m.move.Backup.Digest)
	return m.restored, err
}

func (m *mover) closeArchive() {
	if m.restored != nil {
		_ = m.restored.Close()
	}
}

// preflightRestore refuses a backup that is damaged or does not fit the target.
func (m *mover) preflightRestore(ctx context.Context) (string, error) {
	if m.move.Backup == nil {
		return "", models.Errorf(models.Invalid, "No backup is named.")
	}
	a, err := m.openArchive(ctx)
	if err != nil {
		return "", err
	}
	held, to := a.Manifest, m.move.To
	if engine := m.move.Upgrade.OldDatabase.Engine; held.Engine != engine {
		return "", models.Errorf(models.Conflict, "The backup is of a %s database, and the site has %s. Make a new site from the backup instead.", held.Engine, engine)
	}
	older, err := drupal.Older(to.DrupalVersion, held.DrupalVersion)
	if err != nil {
		return "", err
	}
	if older {
		return "", models.Errorf(models.Conflict, "The backup is of Drupal %s, newer than the %s of %s. Drupal cannot go back to an older version. Restore it to its own platform.",
			held.DrupalVersion, to.DrupalVersion, to.Name)
	}
	if held.Profile != "" && !slices.Contains(to.Profiles, held.Profile) {
		return "", models.Errorf(models.Conflict, "The backup's site was installed with the profile %s, which %s does not have. Restore it to its own platform.", held.Profile, to.Name)
	}
	m.look(ctx)
	m.move.Upgrade.Mode = models.ModeDatabase
	return fmt.Sprintf("%s of %s", tree.Size(m.move.Backup.Bytes), held.MadeAt.Format("2 January 2006 15:04 MST")) + m.health(), m.journal.Save(ctx, m.move.Upgrade)
}

// bring unpacks the backup beside the site: its database and its folders.
func (m *mover) bring(ctx context.Context) (string, error) {
	a, err := m.openArchive(ctx)
	if err != nil {
		return "", err
	}
	db, err := m.copied(ctx)
	if err != nil {
		return "", err
	}
	u := &m.move.Upgrade
	u.NewDatabase = db
	if err := m.journal.Save(ctx, *u); err != nil {
		return "", err
	}
	if err := m.unpack(ctx, a); err != nil {
		return "", err
	}
	tables := 0
	err = a.LoadDatabase(ctx, func(dump io.Reader) error {
		info, err := m.host.Databases.Load(ctx, db, dump)
		tables = info.Tables
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d tables, %d files", tables, a.Manifest.Files()), nil
}

// unpack puts the backup's folders where placeContent finds them.
func (m *mover) unpack(ctx context.Context, a *backup.Archive) error {
	dir := m.host.keptDir(m.move.Site.ID, m.move.Upgrade.ID)
	if err := removeTree(dir); err != nil {
		return fmt.Errorf("clear folder of restored files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder for restored files: %w", err)
	}
	if err := a.ExtractFiles(ctx, dir, owner{m.host.Drupal, m.move.Site}); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(dir, backup.PartFiles), 0o755); err != nil { //nolint:gosec // the web server reads them, too
		return fmt.Errorf("open restored files: %w", err)
	}
	c := asideFolders{dir: dir, live: m.host.liveFolders(m.move.Site.ID)}
	c.record = contentRecord{
		Restored: m.move.Upgrade.NewDatabase, Left: m.move.Upgrade.OldDatabase, Inodes: map[string]uint64{},
		Fresh: !m.samePlatform() && !m.host.Drupal.HasRelease(m.next(models.Database{})),
	}
	return c.write()
}

// dropBrought undoes bring.
func (m *mover) dropBrought(ctx context.Context) error {
	if err := m.placeContent(false); err != nil {
		return err
	}
	if err := removeTree(m.host.keptDir(m.move.Site.ID, m.move.Upgrade.ID)); err != nil {
		return fmt.Errorf("remove restored files: %w", err)
	}
	_ = os.Remove(filepath.Dir(m.host.keptDir(m.move.Site.ID, m.move.Upgrade.ID))) // unless other restores keep something
	return m.dropCopy(ctx)
}

// examine asks whether the target's code can run what was brought.
func (m *mover) examine(ctx context.Context) (string, error) {
	a, err := m.openArchive(ctx)
	if err != nil {
		return "", err
	}
	then, err := m.drush(m.onTarget())
	if err != nil {
		return "", err
	}
	compared, err := drupal.Examine(ctx, then, a.Manifest.DrupalVersion)
	if err != nil {
		return "", err
	}
	if len(compared.Blockers) > 0 {
		return "", models.Errorf(models.Conflict, "%s", strings.Join(compared.Blockers, " "))
	}
	m.move.Upgrade.Updates = compared.Updates
	return fmt.Sprintf("%s, %d database updates", m.move.To.Name, len(compared.Updates)), m.journal.Save(ctx, m.move.Upgrade)
}

// writeLeft writes what the move left into a backup: its database, and the files
// that belong to it.
func (m *mover) writeLeft(ctx context.Context, b models.Backup) (models.Backup, error) {
	folders := m.host.liveFolders(m.move.Site.ID)
	c, err := m.content()
	if err != nil {
		return b, err
	}
	if c != nil {
		for part := range folders {
			folders[part] = filepath.Join(c.dir, part)
		}
	}
	return m.host.keepFolders(ctx, m.old(), b, folders, m.log)
}

// liveFolders are the folders that a site's content has beside its database.
func (h *Host) liveFolders(siteID int64) map[string]string {
	return map[string]string{
		backup.PartFiles: h.Layout.Files(siteID), backup.PartPrivate: h.Layout.Private(siteID), backup.PartConfig: h.Layout.Config(siteID),
	}
}

// keptDir holds the folders of a content that does not serve: before a restore is
// switched, what it brings; afterwards, what it left.
func (h *Host) keptDir(siteID, upgradeID int64) string {
	return filepath.Join(h.Layout.Dir(siteID), keptFolder, strconv.FormatInt(upgradeID, 10))
}

const (
	keptFolder = "kept"
	recordFile = "content.json"
	recordMax  = 64 << 10
)

// asideFolders is the folders of two contents of a site: one serves, and the other
// lies in dir. Each folder changes places by one exchange of two names, so that
// its path, which PHP remembers, always leads to the one that serves.
type asideFolders struct {
	dir    string
	live   map[string]string // folders that serve, by their name in dir
	record contentRecord
}

// contentRecord says which folders are which. Folders are told apart by their
// inodes: the site's user may write anything into them.
type contentRecord struct {
	Restored models.Database   `json:"restored"` // whose folders were brought
	Left     models.Database   `json:"left"`     // whose folders were there
	Inodes   map[string]uint64 `json:"inodes"`   // of the brought folders, by name
	Fresh    bool              `json:"fresh"`    // the target had no release of the site
}

// write notes what lies in dir. It ends the unpacking.
func (c *asideFolders) write() error {
	for name := range c.live {
		inode, err := inodeOf(filepath.Join(c.dir, name))
		if err != nil {
			return err
		}
		c.record.Inodes[name] = inode
	}
	text, err := json.Marshal(c.record)
	if err != nil {
		return fmt.Errorf("note restored files: %w", err)
	}
	if err := tree.Replace(filepath.Join(c.dir, recordFile), text, 0o600); err != nil {
		return fmt.Errorf("note restored files: %w", err)
	}
	return nil
}

// openContent reads what lies in a folder of kept content; nil when it is not
// complete.
func (h *Host) openContent(siteID int64, dir string) (*asideFolders, error) {
	file, err := os.Open(filepath.Join(dir, recordFile)) //nolint:gosec // our own folder
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing there is a fact, not a failure
	}
	if err != nil {
		return nil, fmt.Errorf("open note of kept files: %w", err)
	}
	defer func() { _ = file.Close() }()
	c := &asideFolders{dir: dir, live: h.liveFolders(siteID)}
	if err := json.NewDecoder(io.LimitReader(file, recordMax)).Decode(&c.record); err != nil {
		return nil, fmt.Errorf("read note of kept files in %s: %w", dir, err)
	}
	return c, nil
}

// keptContent lists the kept contents of a site.
func (h *Host) keptContent(siteID int64) ([]*asideFolders, error) {
	dir := filepath.Join(h.Layout.Dir(siteID), keptFolder)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list kept files: %w", err)
	}
	var list []*asideFolders
	for _, e := range entries {
		c, err := h.openContent(siteID, filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if c != nil {
			list = append(list, c)
		}
	}
	return list, nil
}

// content is the folders that change places when the move is switched; nil when
// both versions share them.
func (m *mover) content() (*asideFolders, error) {
	u := m.move.Upgrade
	if !m.prepared() {
		return nil, nil //nolint:nilnil // see openContent
	}
	kept, err := m.host.keptContent(m.move.Site.ID)
	if err != nil {
		return nil, err
	}
	for _, c := range kept {
		r := c.record
		if r.Restored == u.NewDatabase && r.Left == u.OldDatabase || r.Restored == u.OldDatabase && r.Left == u.NewDatabase {
			return c, nil
		}
	}
	return nil, nil //nolint:nilnil // see openContent
}

// placeContent puts the folders of the new version, or of the old one, where they
// serve.
func (m *mover) placeContent(newer bool) error {
	c, err := m.content()
	if err != nil || c == nil {
		return err
	}
	db := m.move.Upgrade.OldDatabase
	if newer {
		db = m.move.Upgrade.NewDatabase
	}
	return c.place(db == c.record.Restored)
}

// place exchanges every folder that is not where it should be.
func (c *asideFolders) place(restored bool) error {
	for name, live := range c.live {
		inode, err := inodeOf(live)
		if err != nil {
			return err
		}
		if (inode == c.record.Inodes[name]) == restored {
			continue
		}
		if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(c.dir, name), unix.AT_FDCWD, live, unix.RENAME_EXCHANGE); err != nil {
			return fmt.Errorf("exchange %s with what is kept: %w", live, err)
		}
	}
	for _, live := range c.live {
		if err := tree.SyncDir(filepath.Dir(live)); err != nil {
			return err
		}
	}
	return tree.SyncDir(c.dir)
}

// holds is the database whose folders lie in dir.
func (c *asideFolders) holds() (models.Database, error) {
	inode, err := inodeOf(c.live[backup.PartFiles])
	if err != nil {
		return models.Database{}, err
	}
	if inode == c.record.Inodes[backup.PartFiles] {
		return c.record.Left, nil
	}
	return c.record.Restored, nil
}

func inodeOf(dir string) (uint64, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return 0, fmt.Errorf("look at folder: %w", err)
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known || !info.IsDir() {
		return 0, models.Errorf(models.Conflict, "%s is not a folder. Look what it is, and move it away.", dir)
	}
	return stat.Ino, nil
}

// dropContent removes the folders that were kept for a database.
func (h *Host) dropContent(site models.Site, db models.Database) error {
	kept, err := h.keptContent(site.ID)
	if err != nil {
		return err
	}
	for _, c := range kept {
		holds, err := c.holds()
		if err != nil {
			return err
		}
		if holds != db {
			continue
		}
		if err := removeTree(c.dir); err != nil {
			return fmt.Errorf("remove kept files: %w", err)
		}
		_ = os.Remove(filepath.Dir(c.dir)) // unless more is kept
	}
	return nil
}
