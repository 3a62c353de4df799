package drupal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/tree"
)

// stagedSettings is the settings.php of a release that is prepared for another
// database while the release serves.
const stagedSettings = "settings.next.php"

// showStaged begins every settings.php: what is prepared beside it is shown to
// Hefring's own probes of the next release, and to nobody else. Both values come
// from the web server; a visitor's request has no HEFRING_PROBE.
const showStaged = `if (basename(__FILE__) === 'settings.php' && !empty($_SERVER['HEFRING_PROBE']) && isset($_SERVER['HTTP_X_HEFRING_RELEASE'])
    && $_SERVER['HTTP_X_HEFRING_RELEASE'] === 'next' && is_file(__DIR__ . '/` + stagedSettings + `')) {
  include __DIR__ . '/` + stagedSettings + `';
  return;
}
`

func (r Release) staged(d *Drupal) string { return filepath.Join(r.dir(d.layout), stagedSettings) }

// Stage prepares a release that serves for another database: probes of the next
// release see it, visitors do not until UseStaged. now is the release as it
// serves; its settings are written anew, because those of an earlier Hefring do
// not know of a stage.
func (d *Drupal) Stage(ctx context.Context, now, next Release) error {
	if err := d.WriteRelease(ctx, now); err != nil {
		return err
	}
	text, err := d.settingsPHP(ctx, next)
	if err == nil {
		err = d.replace(next.staged(d), next, text, 0o440)
	}
	if err != nil {
		return fmt.Errorf("prepare settings of %s: %w", next.URI(), err)
	}
	return nil
}

// UseStaged puts what was staged in the place of the release's settings, by one
// rename. Every request that begins afterwards is on the other database: compiled
// code is compared with its file's time at each request, so the file gets a new
// one.
func (d *Drupal) UseStaged(next Release) error {
	now := time.Now()
	if err := os.Chtimes(next.staged(d), now, now); err != nil {
		return fmt.Errorf("touch staged settings: %w", err)
	}
	dir := next.dir(d.layout)
	if err := os.Rename(next.staged(d), filepath.Join(dir, "settings.php")); err != nil {
		return fmt.Errorf("use staged settings: %w", err)
	}
	return tree.SyncDir(dir)
}

// Unstage removes what was staged, also what is half of it. What is not there is
// no error.
func (d *Drupal) Unstage(next Release) error {
	err := os.Remove(next.staged(d))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, sweep(next.dir(d.layout))); err != nil {
		return fmt.Errorf("remove staged settings: %w", err)
	}
	return nil
}

// Uses tells whether the settings of a release, as they are on the disk, name its
// database.
func (d *Drupal) Uses(ctx context.Context, r Release) (bool, error) {
	text, err := os.ReadFile(filepath.Join(r.dir(d.layout), "settings.php"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read settings: %w", err)
	}
	connection, err := d.engine.PHP(ctx, r.Database)
	if err != nil {
		return false, err
	}
	name, _ := connection.Get("database").(string)
	return strings.Contains(string(text), "'database' => "+quote(name)+","), nil
}

// HasRelease tells whether the site has a release on the platform.
func (d *Drupal) HasRelease(r Release) bool { return there(r.dir(d.layout)) }
