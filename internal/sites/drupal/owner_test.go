package drupal

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"hefring/internal/sites/database/sqlite"
)

// A site that was installed as the web user's gets a user of its own, keeps
// working, and can be given back.
func TestDrupal_WriteRelease_UserPerSite_Adopts(t *testing.T) {
	b := newBench(t)
	if os.Geteuid() != 0 {
		return // nobody can be switched to
	}
	r := b.simple()
	b.write(r)
	drush, err := b.drupal.Drush(r, io.Discard, io.Discard)
	if err == nil {
		err = drush.Install(testContext(t), "standard", "Museum", "admin")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range []int{200000, 0} {
		b.layout.FirstUser = first
		b.engine = sqlite.New(b.layout, b.runner)
		b.drupal = New(b.layout, b.runner, b.engine)
		b.write(r)
		want := uint32(first + 7)
		if first == 0 {
			want = b.runner.Identity().UID
		}
		b.belongs(r, want)
		if drush, err = b.drupal.Drush(r, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		var said struct{ User uint32 }
		if err := drush.eval(testContext(t), `\Drupal::state()->set('tested', 1); echo json_encode(["user" => posix_geteuid()]);`, &said); err != nil || said.User != want {
			t.Errorf("first user %d: Drush runs as %d, %v", first, said.User, err)
		}
		if err := b.engine.Check(t.Context(), r.Database); err != nil {
			t.Errorf("first user %d: %v", first, err)
		}
	}
}

// belongs checks the owners of what PHP writes, and of what it only reads.
func (b *bench) belongs(r Release, want uint32) {
	b.t.Helper()
	for _, dir := range []string{b.layout.Files(7), b.layout.Private(7), b.layout.Temp(7), b.layout.Config(7), b.layout.Databases(7), b.layout.Run(7), r.compiled(b.layout)} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if stat := info.Sys().(*syscall.Stat_t); stat.Uid != want || stat.Gid != want {
				b.t.Errorf("%s belongs to %d:%d, not to %d", path, stat.Uid, stat.Gid, want)
			}
			return nil
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	for _, path := range []string{settingsFile(b, r), b.layout.Salt(7)} {
		info, err := os.Lstat(path)
		if err != nil {
			b.t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 0 || stat.Gid != want || info.Mode().Perm()&0o007 != 0 {
			b.t.Errorf("%s belongs to %d:%d with mode %v", path, stat.Uid, stat.Gid, info.Mode())
		}
	}
}
