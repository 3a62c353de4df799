package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/models"
)

var site = models.Site{ID: 7, URI: "museum.example.org"}

// newEngine makes an engine in a folder of its own, with another web user than
// ourselves when that is possible.
func newEngine(t *testing.T) (*Engine, sites.Layout) {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // the web user must get through
		t.Fatal(err)
	}
	layout := sites.Layout{Root: filepath.Join(root, "sites")}
	return New(layout, owner(t)), layout
}

func owner(t *testing.T) *run.Runner {
	t.Helper()
	if os.Geteuid() != 0 {
		return run.New(run.Config{})
	}
	id, err := run.LookupIdentity("www-data")
	if err != nil {
		t.Fatal(err)
	}
	return run.New(run.Config{Identity: id})
}

func create(t *testing.T, e *Engine, label string) models.Database {
	t.Helper()
	db, err := e.Create(t.Context(), site, label)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// php runs PHP with the database as $db; Drupal's collation is defined.
func php(t *testing.T, path, code string) string {
	t.Helper()
	prelude := `$db = new PDO("sqlite:" . $argv[1], NULL, NULL, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$db->sqliteCreateCollation("NOCASE_UTF8", fn ($a, $b) => strcmp(mb_strtolower($a), mb_strtolower($b)));`
	cmd := exec.Command("php", "-r", prelude+code, "--", path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("php: %v\n%s%s", err, out, stderr.String())
	}
	return string(out)
}

// fill makes a table like Drupal's, in WAL mode, with rows of 1 kB.
func fill(t *testing.T, path string, rows int) {
	t.Helper()
	php(t, path, fmt.Sprintf(`
$db->exec("PRAGMA journal_mode = WAL");
$db->exec("CREATE TABLE users (uid INTEGER PRIMARY KEY, name VARCHAR(60) COLLATE NOCASE_UTF8 NOT NULL, data TEXT)");
$db->exec("CREATE UNIQUE INDEX users_name ON users (name)");
$db->beginTransaction();
for ($i = 1; $i <= %d; $i++) { $db->exec("INSERT INTO users VALUES ($i, 'Äsa$i', '" . str_repeat("x", 1000) . "')"); }
$db->commit();`, rows))
	chownLike(t, path)
}

// chownLike gives what PHP made as ourselves to the folder's owner.
func chownLike(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	for _, file := range append(journals(path), path) {
		if err := os.Lchown(file, int(stat.Uid), int(stat.Gid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func count(t *testing.T, path string) int {
	t.Helper()
	db, err := sql.Open("sqlite", address(path, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM users NOT INDEXED").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func bytesOf(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func noLeftovers(t *testing.T, dir string, allowed ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+e.Name()+" ") {
			t.Errorf("%s was left in %s", e.Name(), dir)
		}
	}
}

func TestEngine_Create_Repeated(t *testing.T) {
	e, layout := newEngine(t)
	db := create(t, e, "site")
	if db.Engine != "sqlite" || db.Name != filepath.Join(layout.Databases(7), "site.sqlite") {
		t.Errorf("created %+v", db)
	}
	fill(t, db.Name, 3)
	if again := create(t, e, "site"); again != db || count(t, db.Name) != 3 {
		t.Errorf("a second call gave %+v", again)
	}
}

func TestEngine_Create_RefusesLabels(t *testing.T) {
	e, _ := newEngine(t)
	for _, label := range []string{"", "..", "../x", "a/b", "A", "-x", "x-", "a.b", "a\x00", "a b", strings.Repeat("x", 61)} {
		if _, err := e.Create(t.Context(), site, label); models.CodeOf(err) != models.Invalid {
			t.Errorf("%q: %v", label, err)
		}
	}
	if _, err := e.Create(t.Context(), models.Site{}, "site"); models.CodeOf(err) != models.Invalid {
		t.Errorf("a site without id: %v", err)
	}
}

func TestEngine_Create_Links(t *testing.T) {
	e, layout := newEngine(t)
	create(t, e, "other")
	if err := os.Symlink("/etc/hostname", filepath.Join(layout.Databases(7), "site.sqlite")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Create(t.Context(), site, "site"); models.CodeOf(err) != models.Conflict {
		t.Errorf("got %v", err)
	}
}

func TestEngine_RefusesForeignPaths(t *testing.T) {
	e, layout := newEngine(t)
	good := create(t, e, "site")
	outside := filepath.Join(filepath.Dir(layout.Root), "x.sqlite")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"", "/etc/passwd", outside, "site.sqlite", layout.Root + "/7/db/../../../x.sqlite", layout.Root + "/7/db/a/b.sqlite",
		layout.Root + "/7/files/site.sqlite", layout.Root + "/07/db/site.sqlite", layout.Root + "/-7/db/site.sqlite",
		layout.Root + "/7/db/.sqlite", layout.Root + "/7/db/site", layout.Root + "//7/db/site.sqlite", layout.Root + "/7/db/site.sqlite\x00",
	} {
		bad := models.Database{Engine: "sqlite", Name: name}
		_, copyTo := e.Copy(t.Context(), good, bad)
		_, copyFrom := e.Copy(t.Context(), bad, good)
		_, php := e.PHP(t.Context(), bad)
		for i, err := range []error{copyTo, copyFrom, php, e.Drop(t.Context(), bad), e.Check(t.Context(), bad)} {
			if models.CodeOf(err) != models.Invalid {
				t.Errorf("%q, method %d: %v", name, i, err)
			}
		}
	}
	for _, to := range []models.Database{good, {Engine: "mysql", Name: good.Name}} {
		if _, err := e.Copy(t.Context(), good, to); models.CodeOf(err) != models.Invalid {
			t.Errorf("copy to %+v: %v", to, err)
		}
	}
	if string(bytesOf(t, outside)) != "precious" {
		t.Error("a file outside was changed")
	}
}

// Pitfall 10: what is committed may be in the write-ahead log only. A writer in
// another process goes on while the copy is made.
func TestEngine_Copy_Pitfall10_WhileWriting(t *testing.T) {
	e, _ := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-17")
	fill(t, from.Name, 5000)
	writer, err := sql.Open("sqlite", address(from.Name, "rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	writer.SetMaxOpenConns(1)
	if _, err := writer.Exec("CREATE TABLE visits (id INTEGER PRIMARY KEY, data TEXT)"); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Exec("PRAGMA wal_autocheckpoint = 50"); err != nil { // pages move while they are copied
		t.Fatal(err)
	}
	chownLike(t, from.Name)
	var committed atomic.Int64
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := writer.Exec("INSERT INTO visits (data) VALUES (?)", strings.Repeat("y", 2000)); err != nil {
				done <- err
				return
			}
			committed.Add(1)
		}
	}()
	for range 5 {
		for start := committed.Load(); committed.Load() < start+20; {
			runtime.Gosched()
		}
		before := committed.Load()
		info, err := e.Copy(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		after := committed.Load()
		got := visits(t, to.Name)
		// One row may be committed whose count is not there yet.
		if got < before || got > after+1 || info.Tables != 2 || count(t, to.Name) != 5000 {
			t.Errorf("the copy has %d visits, committed were %d to %d; %+v", got, before, after, info)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatalf("the writer was disturbed: %v", err)
	}
}

func visits(t *testing.T, path string) int64 {
	t.Helper()
	db, err := sql.Open("sqlite", address(path, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int64
	// The rows are without gap: nothing in the middle is missing.
	if err := db.QueryRow("SELECT count(*) FROM visits WHERE id <= (SELECT count(*) FROM visits)").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEngine_Copy_SourceUnchanged(t *testing.T) {
	e, layout := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 100)
	// A worker that died leaves rows in the log that nobody has folded in.
	holder, err := sql.Open("sqlite", address(from.Name, "rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	holder.SetMaxOpenConns(1)
	if _, err := holder.Exec("CREATE TABLE visits (id INTEGER PRIMARY KEY); INSERT INTO visits VALUES (1), (2), (3)"); err != nil {
		t.Fatal(err)
	}
	main, log := bytesOf(t, from.Name), bytesOf(t, from.Name+"-wal")
	saved := filepath.Join(t.TempDir(), "crashed")
	for name, data := range map[string][]byte{saved: main, saved + "-wal": log} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied := func(label string) {
		t.Helper()
		if info, err := e.Copy(t.Context(), from, to); err != nil || info.Tables != 2 || info.Bytes != int64(len(bytesOf(t, to.Name))) {
			t.Fatalf("%s: %+v, %v", label, info, err)
		}
		if !bytes.Equal(bytesOf(t, from.Name), main) || !bytes.Equal(bytesOf(t, from.Name+"-wal"), log) {
			t.Errorf("%s: the source was changed", label)
		}
		if got := visits(t, to.Name); got != 3 || count(t, to.Name) != 100 {
			t.Errorf("%s: %d visits, want 3", label, got)
		}
	}
	copied("open elsewhere")
	holder.Close()
	if err := errors.Join(removeFiles(from.Name), os.WriteFile(from.Name, main, 0o640), os.WriteFile(from.Name+"-wal", log, 0o640)); err != nil {
		t.Fatal(err)
	}
	chownLike(t, from.Name)
	copied("left behind")
	noLeftovers(t, layout.Databases(7), "site.sqlite", "site.sqlite-wal", "site.sqlite-shm", "upgrade-1.sqlite", "upgrade-1.sqlite-shm", "upgrade-1.sqlite-wal")
}

// Pitfall 9: tables with Drupal's own collation are copied whole, and Drupal can
// go on with them.
func TestEngine_Copy_Pitfall09_Collation(t *testing.T) {
	e, layout := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 2000)
	if _, err := e.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	noLeftovers(t, layout.Databases(7), "site.sqlite", "site.sqlite-shm", "site.sqlite-wal", "upgrade-1.sqlite")
	got := php(t, to.Name, `
echo $db->query("SELECT uid FROM users WHERE name = 'äSA1999'")->fetchColumn(), " ",
  $db->query("PRAGMA integrity_check")->fetchColumn(), " ", $db->query("PRAGMA journal_mode")->fetchColumn(), " ",
  $db->exec("INSERT INTO users VALUES (2001, 'new', '')");`)
	if got != "1999 ok wal 1" {
		t.Errorf("PHP found %q", got)
	}
}

func TestEngine_Copy_Replaces(t *testing.T) {
	e, _ := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 10)
	fill(t, to.Name, 500)
	// Journals of a killed attempt would be played into the new file, and an
	// unfinished copy is in the way.
	for _, file := range append(journals(to.Name), copying(to.Name), copying(to.Name)+"-journal") {
		if err := os.WriteFile(file, []byte("left behind"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	chownLike(t, to.Name)
	for range 2 {
		if _, err := e.Copy(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		if got := count(t, to.Name); got != 10 {
			t.Errorf("%d rows, want 10", got)
		}
	}
}

func TestEngine_Copy_HostileRoot(t *testing.T) {
	_, layout := newEngine(t)
	layout.Root = filepath.Join(filepath.Dir(layout.Root), `a?mode=memory&b#c%41 'd"`, "sites")
	e := New(layout, owner(t))
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 10)
	if _, err := e.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if got := count(t, to.Name); got != 10 {
		t.Errorf("%d rows, want 10", got)
	}
}

func TestEngine_Copy_Empty(t *testing.T) {
	e, _ := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	if info, err := e.Copy(t.Context(), from, to); err != nil || info.Tables != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestEngine_Copy_Failing(t *testing.T) {
	e, layout := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, to.Name, 5)
	if err := e.Drop(t.Context(), from); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Copy(t.Context(), from, to); models.CodeOf(err) != models.NotFound {
		t.Errorf("missing source: %v", err)
	}
	create(t, e, "site")
	if err := os.WriteFile(from.Name, bytes.Repeat([]byte("no database "), 1000), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Copy(t.Context(), from, to); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "damaged") {
		t.Errorf("damaged source: %v", err)
	}
	if err := errors.Join(os.Remove(from.Name), os.Symlink(to.Name, from.Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Copy(t.Context(), from, to); models.CodeOf(err) != models.Conflict {
		t.Errorf("linked source: %v", err)
	}
	if got := count(t, to.Name); got != 5 {
		t.Errorf("the target has %d rows after failed copies, want 5", got)
	}
	noLeftovers(t, layout.Databases(7), "site.sqlite", "upgrade-1.sqlite", "upgrade-1.sqlite-shm", "upgrade-1.sqlite-wal")
}

func TestEngine_Copy_Cancelled(t *testing.T) {
	e, layout := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 10)
	stop := errors.New("taken over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := e.Copy(ctx, from, to); err == nil {
		t.Error("a cancelled copy succeeded")
	}
	if info, err := os.Stat(to.Name); err != nil || info.Size() != 0 {
		t.Errorf("the target was changed: %v, %v", info, err)
	}
	noLeftovers(t, layout.Databases(7), "site.sqlite", "site.sqlite-shm", "site.sqlite-wal", "upgrade-1.sqlite")
}

// A disk full: the test runs itself on a file system of 1 MB.
func TestEngine_Copy_DiskFull(t *testing.T) {
	const inside = "HEFRING_TEST_SMALL_DISK"
	dir := os.Getenv(inside)
	if dir == "" {
		dir = t.TempDir()
		cmd := exec.Command("bwrap", "--dev-bind", "/", "/", "--size", "1048576", "--tmpfs", dir, "--setenv", inside, dir, "--",
			os.Args[0], "-test.run=^TestEngine_Copy_DiskFull$", "-test.v")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Fatalf("on the small disk: %v\n%s", err, out)
		}
		return
	}
	e := New(sites.Layout{Root: dir}, run.New(run.Config{}))
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 600)
	main := bytesOf(t, from.Name)
	_, err := e.Copy(t.Context(), from, to)
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "is full") {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(bytesOf(t, from.Name), main) {
		t.Error("the source was changed")
	}
	if info, err := os.Stat(to.Name); err != nil || info.Size() != 0 {
		t.Errorf("the target: %v, %v", info, err)
	}
	noLeftovers(t, filepath.Dir(to.Name), "site.sqlite", "site.sqlite-shm", "site.sqlite-wal", "upgrade-1.sqlite")
}

func TestEngine_Drop_Repeated(t *testing.T) {
	e, layout := newEngine(t)
	keep, db := create(t, e, "site"), create(t, e, "upgrade-1")
	for _, file := range append(journals(db.Name), copying(db.Name), copying(db.Name)+"-journal") {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := e.Drop(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	noLeftovers(t, layout.Databases(7), filepath.Base(keep.Name))
	if err := os.RemoveAll(layout.Dir(7)); err != nil {
		t.Fatal(err)
	}
	if err := e.Drop(t.Context(), db); err != nil {
		t.Errorf("without its folder: %v", err)
	}
}

// Pitfall 11: file and folder must be the web user's, and so must the copies.
func TestEngine_Pitfall11_Owner(t *testing.T) {
	e, layout := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 10)
	if _, err := e.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	want := os.Geteuid()
	if id := owner(t).Identity(); id != nil {
		want = int(id.UID)
	}
	entries, err := os.ReadDir(layout.Databases(7))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != want || info.Mode().Perm()&0o007 != 0 && strings.HasPrefix(e.Name(), "upgrade") {
			t.Errorf("%s belongs to %d with mode %v", e.Name(), stat.Uid, info.Mode())
		}
	}
	for _, db := range []models.Database{from, to} {
		if err := e.Check(t.Context(), db); err != nil {
			t.Error(err)
		}
	}
}

func TestEngine_Check_Pitfall11_NotWritable(t *testing.T) {
	e, layout := newEngine(t)
	db := create(t, e, "site")
	fill(t, db.Name, 1)
	if err := os.Chmod(layout.Databases(7), 0o550); err != nil {
		t.Fatal(err)
	}
	if err := e.Check(t.Context(), db); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "may not write") {
		t.Errorf("folder: %v", err)
	}
	if err := errors.Join(os.Chmod(layout.Databases(7), 0o750), e.Drop(t.Context(), db)); err != nil {
		t.Fatal(err)
	}
	if err := e.Check(t.Context(), db); models.CodeOf(err) != models.NotFound {
		t.Errorf("missing: %v", err)
	}
	if os.Geteuid() == 0 { // an ordinary user has no file of somebody else to look at
		if err := os.WriteFile(db.Name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := e.Check(t.Context(), db); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "may not write") {
			t.Errorf("file: %v", err)
		}
	}
}

// As root we work in a folder where a site's PHP may plant links: they lead no
// further than the web user himself gets.
func TestEngine_Copy_PlantedLinks(t *testing.T) {
	e, layout := newEngine(t)
	from, to := create(t, e, "site"), create(t, e, "upgrade-1")
	fill(t, from.Name, 10)
	private := filepath.Join(filepath.Dir(layout.Root), "private")
	if err := os.WriteFile(private, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{from.Name + "-shm", from.Name + "-wal", copying(to.Name), copying(to.Name) + "-journal", to.Name} {
		_ = os.Remove(planted)
		if err := os.Symlink(private, planted); err != nil {
			t.Fatal(err)
		}
		_, _ = e.Copy(t.Context(), from, to) // may fail, must do no harm
		_ = os.Remove(planted)
		after, err := os.Stat(private)
		if err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() || string(bytesOf(t, private)) != "precious" {
			t.Fatalf("a link at %s was followed (%v)", planted, err)
		}
	}
}

func TestAsOwner_EndsItsThread(t *testing.T) {
	_, layout := newEngine(t)
	create(t, New(layout, owner(t)), "site")
	private := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(private, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(200 * time.Millisecond)
	for time.Now().Before(deadline) {
		if err := asOwner(layout.Databases(7), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		for range 4 { // on whatever threads there are
			read := make(chan error)
			go func() { _, err := os.ReadFile(private); read <- err }()
			if err := <-read; err != nil {
				t.Fatalf("a thread kept the web user's rights: %v", err)
			}
		}
	}
}

func TestEngine_PHP(t *testing.T) {
	e, _ := newEngine(t)
	db := create(t, e, "site")
	got, err := e.PHP(t.Context(), db)
	if err != nil || got.Get("database") != db.Name || got.Get("driver") != "sqlite" || got.Get("nothing") != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if len(got.Without("namespace", "autoload")) != len(got)-2 {
		t.Error("Without kept what it should not")
	}
}
