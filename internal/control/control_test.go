package control_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/control"
	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/internal/tasks"
	"hefring/internal/testpg"
	"hefring/models"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Printf(_ models.Level, format string, args ...any) {
	l.t.Helper()
	l.t.Logf(format, args...)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newPlane is a control plane that nobody has started yet, with a database of a
// kind.
func newPlane(t *testing.T, engine string) control.Plane {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "data", "control")
	p := control.Plane{
		Database: "sqlite:" + filepath.Join(folder, "hefring.db"), Folder: folder, SecretKey: filepath.Join(folder, "secret.key"),
		Version: "1.2.3", Log: testLog{t},
	}
	if engine == "postgres" {
		p.Database = testpg.Empty(t)
	}
	return p
}

func queue(ctx context.Context, access store.Access) (store.Enqueuer, error) {
	return tasks.New(ctx, nil, tasks.Access(access), tasks.Config{ID: "restore", Logger: discard()})
}

// running is a control plane at work.
type running struct {
	*store.Store

	runner *tasks.Runner
}

// start works on the plane; handle does the tasks, nil leaves them in the queue.
func start(t *testing.T, p control.Plane, handle fleet.Handler) running {
	t.Helper()
	s, err := store.Open(t.Context(), p.Database, discard())
	ok(t, err)
	config := tasks.Config{ID: "test", Beat: 50 * time.Millisecond, Lease: time.Second, Logger: discard()}
	if handle != nil {
		config.Workers = tasks.Workers()
	}
	r, err := tasks.New(t.Context(), s, tasks.Access(s.Access()), config)
	ok(t, err)
	s.SetEnqueuer(r)
	r.Handle(models.TaskVerify, handle)
	ok(t, r.Start(t.Context()))
	return running{s, r}
}

func (r running) stop(t *testing.T) {
	t.Helper()
	ok(t, errors.Join(r.runner.Stop(context.WithoutCancel(t.Context())), r.Close()))
}

func (r running) task(ctx context.Context, subject int64) (models.Task, error) {
	task := models.Task{Kind: models.TaskVerify, Subject: models.Subject{Kind: models.SubjectPlatform, ID: subject}, Title: "Verify", Actor: "ada"}
	return task, r.CreateTask(ctx, &task)
}

// write writes until the context ends: in each transaction two events and a task,
// which makes a third event. It gives the number of transactions.
// They go on at a pace at which what was written can be worked off.
func (r running) write(ctx context.Context, writer int64) (n int64, err error) {
	pace := time.NewTicker(40 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return n, nil
		case <-pace.C:
		}
		n++
		err := r.InTx(context.WithoutCancel(ctx), func(tx fleet.Tx) error {
			for _, verb := range []string{"first", "second"} {
				if err := tx.RecordEvent(ctx, models.Event{Actor: strconv.FormatInt(writer, 10), Verb: verb, Subject: models.Subject{ID: n}}); err != nil {
					return err
				}
			}
			task := models.Task{Kind: models.TaskVerify, Subject: models.Subject{Kind: models.SubjectPlatform, ID: writer<<32 + n}, Title: "Verify", Actor: strconv.FormatInt(writer, 10)}
			return tx.CreateTask(context.WithoutCancel(ctx), &task)
		})
		if err != nil && ctx.Err() == nil {
			return n, err
		}
	}
	return n, nil
}

// whole gives the number of transactions of the writers, after it was found that
// they are there from the first on, without a gap, with all their rows.
func whole(t *testing.T, s *store.Store) (all int64) {
	t.Helper()
	for writer := range int64(4) {
		var each []int64
		for _, from := range []string{"events WHERE verb = 'first'", "events WHERE verb = 'second'", "events WHERE verb = 'verify'", "tasks WHERE kind = 'verify'"} {
			query := fmt.Sprintf("SELECT COUNT(*), COUNT(DISTINCT subject_id), COALESCE(MAX(subject_id), 0) FROM %s AND actor = '%d'", from, writer+1)
			var rows, distinct, highest int64
			ok(t, s.Access().SQL.QueryRowContext(t.Context(), query).Scan(&rows, &distinct, &highest))
			if highest &= 1<<32 - 1; rows != distinct || rows != highest {
				t.Errorf("%s gives %d rows, %d distinct, up to %d", query, rows, distinct, highest)
			}
			each = append(each, rows)
		}
		if slices.Min(each) != slices.Max(each) {
			t.Errorf("writer %d has %d rows of each sort", writer, each)
		}
		all += each[0]
	}
	return all
}

func engines() []string { return []string{"sqlite", "postgres"} }

// TestPlane_Restore_WhileWriting backs up while others write, restores into both
// kinds of databases, and lets the restored one do all that was queued.
func TestPlane_Restore_WhileWriting(t *testing.T) {
	for _, engine := range engines() {
		source := newPlane(t, engine)
		live := start(t, source, nil)
		taken, err := live.task(t.Context(), 1)
		ok(t, err)
		_, err = live.TakeTask(t.Context(), taken.ID) // a worker of before is at it
		ok(t, err)
		writing, end := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for writer := range int64(4) {
			writers.Go(func() {
				if _, err := live.write(writing, writer+1); err != nil {
					t.Errorf("writer %d: %v", writer, err)
				}
			})
		}
		busy(t, live, 20)
		file := filepath.Join(t.TempDir(), "backup.tar.gz")
		made, err := source.Backup(t.Context(), file, false)
		ok(t, err)
		busy(t, live, made.Tables["tasks"]+8) // they went on
		end()
		writers.Wait()
		live.stop(t)
		if made.Engine != engine || made.Hefring != "1.2.3" || made.Tables["tasks"] < 20 {
			t.Errorf("the backup is %+v", made)
		}
		for _, to := range engines() {
			t.Run(engine+" to "+to, func(t *testing.T) { restoreAndWork(t, newPlane(t, to), file, made, taken.ID) })
		}
	}
}

// busy waits until there are so many tasks.
func busy(t *testing.T, r running, tasks int64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for n := int64(0); n < tasks; time.Sleep(time.Millisecond) {
		ok(t, r.Access().SQL.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tasks").Scan(&n))
		if time.Now().After(deadline) {
			t.Fatalf("there are %d tasks", n)
		}
	}
}

func restoreAndWork(t *testing.T, p control.Plane, file string, made control.Result, taken int64) {
	t.Helper()
	done, err := p.Restore(t.Context(), file, strings.ToUpper(made.SHA256), queue)
	ok(t, err)
	if done.Rows != made.Rows || !done.KeyMissing {
		t.Errorf("restored %+v of %+v", done, made)
	}
	var mu sync.Mutex
	attempts := map[int64]int{}
	r := start(t, p, func(_ context.Context, task models.Task, _ fleet.Log) (string, models.TaskState, error) {
		mu.Lock()
		defer mu.Unlock()
		attempts[task.ID] = task.Attempt
		return "done", "", nil
	})
	defer r.stop(t)
	if n := whole(t, r.Store); n+1 != made.Tables["tasks"] {
		t.Errorf("%d transactions and one task make %d tasks", n, made.Tables["tasks"])
	}
	var last int64
	ok(t, r.Access().SQL.QueryRowContext(t.Context(), "SELECT MAX(id) FROM tasks").Scan(&last))
	next, err := r.task(t.Context(), 1<<60)
	ok(t, err)
	// PostgreSQL counts on where a transaction was rolled back or not yet seen.
	if next.ID <= last || next.ID > last+10 && made.Engine == "sqlite" {
		t.Errorf("after %d came the task %d", last, next.ID)
	}
	deadline := time.Now().Add(patience)
	for unfinished := int64(1); unfinished > 0; time.Sleep(10 * time.Millisecond) {
		ok(t, r.Access().SQL.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tasks WHERE state <> 'succeeded'").Scan(&unfinished))
		if time.Now().After(deadline) {
			t.Fatalf("%d tasks were not done", unfinished)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if int64(len(attempts)) != made.Tables["tasks"]+1 || attempts[taken] != 2 || attempts[next.ID] != 1 {
		t.Errorf("%d tasks were done; the one that was running at attempt %d, the new one at %d", len(attempts), attempts[taken], attempts[next.ID])
	}
}

// quietPlane has a few rows and nobody who works on it.
func quietPlane(t *testing.T, engine string) control.Plane {
	t.Helper()
	p := newPlane(t, engine)
	ok(t, os.MkdirAll(p.Folder, 0o700))
	r := start(t, p, nil)
	for subject := range int64(3) {
		_, err := r.task(t.Context(), subject+1)
		ok(t, err)
	}
	ok(t, r.CreateUser(t.Context(), &models.User{Name: "ada", PasswordHash: "naïve \u2028 <hash>"}))
	r.stop(t)
	return p
}

func backup(t *testing.T, p control.Plane, withKey bool) (string, control.Result) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup.tar.gz")
	made, err := p.Backup(t.Context(), file, withKey)
	ok(t, err)
	return file, made
}

func put(t *testing.T, path, text string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(path), 0o700))
	ok(t, os.WriteFile(path, []byte(text), 0o600))
}

func refused(t *testing.T, err error, code models.Code, says string) {
	t.Helper()
	if models.CodeOf(err) != code || !strings.Contains(models.Explain(err), says) {
		t.Errorf("want %s and %q: %v", code, says, err)
	}
}

func TestPlane_Restore_Files(t *testing.T) {
	source := quietPlane(t, "sqlite")
	put(t, source.SecretKey, "the key")
	put(t, filepath.Join(source.Folder, "ca", "ca.pem"), "certificate")
	put(t, filepath.Join(source.Folder, "ca", "ca.key"), "private")
	put(t, filepath.Join(source.Folder, ".half"), "written")
	ok(t, os.Symlink("/etc/passwd", filepath.Join(source.Folder, "link")))
	for name, c := range map[string]struct {
		withKey bool
		want    map[string]string
	}{
		"without keys": {false, map[string]string{"ca/ca.pem": "certificate"}},
		"with keys":    {true, map[string]string{"ca/ca.pem": "certificate", "ca/ca.key": "private", "secret.key": "the key"}},
	} {
		t.Run(name, func(t *testing.T) {
			file, made := backup(t, source, c.withKey)
			if made.HasKey() != c.withKey {
				t.Errorf("the backup is %+v", made)
			}
			target := newPlane(t, "sqlite")
			done, err := target.Restore(t.Context(), file, "", queue)
			ok(t, err)
			if done.KeyMissing == c.withKey {
				t.Errorf("restored %+v", done)
			}
			got := map[string]string{}
			ok(t, filepath.WalkDir(target.Folder, func(path string, entry os.DirEntry, err error) error {
				if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), "hefring.db") {
					return err
				}
				info, err := entry.Info()
				ok(t, err)
				if info.Mode().Perm() != 0o600 {
					t.Errorf("%s has the mode %v", path, info.Mode())
				}
				text, err := os.ReadFile(path)
				rel, _ := filepath.Rel(target.Folder, path)
				got[rel] = string(text)
				return err
			}))
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("restored %v, want %v", got, c.want)
			}
		})
	}
}

func TestPlane_Restore_OnlyIntoNothing(t *testing.T) {
	source := quietPlane(t, "sqlite")
	put(t, source.SecretKey, "the key")
	put(t, filepath.Join(source.Folder, "note"), "text")
	file, _ := backup(t, source, true)
	for _, engine := range engines() {
		full := quietPlane(t, engine)
		_, err := full.Restore(t.Context(), file, "", queue)
		refused(t, err, models.Conflict, "not empty")
		if _, err := os.Stat(full.SecretKey); err == nil {
			t.Error("a key was placed beside a full database")
		}
	}
	other := newPlane(t, "sqlite")
	put(t, filepath.Join(other.Folder, "note"), "another text")
	_, err := other.Restore(t.Context(), file, "", queue)
	refused(t, err, models.Conflict, "note")

	strange := newPlane(t, "sqlite")
	put(t, filepath.Join(strange.Folder, "deep", "other"), "text")
	_, err = strange.Restore(t.Context(), file, "", queue)
	refused(t, err, models.Conflict, "deep/other")

	keyed := newPlane(t, "sqlite")
	put(t, keyed.SecretKey, "another key")
	_, err = keyed.Restore(t.Context(), file, "", queue)
	refused(t, err, models.Conflict, "not the one in the backup")
	for _, p := range []control.Plane{other, strange, keyed} {
		if found, err := filepath.Glob(filepath.Join(p.Folder, "hefring*")); err != nil || len(found) > 0 {
			t.Errorf("%v was made: %v", found, err)
		}
	}

	// From SQLite to PostgreSQL in one data folder: the old database stays.
	moved := source
	moved.Database = testpg.Empty(t)
	_, err = moved.Restore(t.Context(), file, "", queue)
	ok(t, err)
	if again, err := moved.Backup(t.Context(), filepath.Join(t.TempDir(), "again.tar.gz"), false); err != nil || again.Parts[control.PartFiles].Entries != 1 {
		t.Errorf("the next backup is %+v: %v", again, err)
	}

	// A copy of the key that an operator put there before is welcome.
	ready := newPlane(t, "sqlite")
	put(t, ready.SecretKey, "the key")
	_, err = ready.Restore(t.Context(), file, "", queue)
	ok(t, err)
}

// TestPlane_Restore_BrokenOff ends a restore in its middle, and does it again.
func TestPlane_Restore_BrokenOff(t *testing.T) {
	source := quietPlane(t, "sqlite")
	put(t, filepath.Join(source.Folder, "note"), "text")
	file, made := backup(t, source, false)
	for _, engine := range engines() {
		target := newPlane(t, engine)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the machine went down")
		_, err := target.Restore(ctx, file, "", func(qctx context.Context, access store.Access) (store.Enqueuer, error) {
			q, err := queue(qctx, access)
			cancel(why) // the tables are there, the rows are not
			return q, err
		})
		if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", engine, err)
		}
		_, err = target.Restore(t.Context(), file, "", queueOf(errors.New("no queue")))
		if err == nil || err.Error() == "" {
			t.Errorf("%s: a queue that fails did not matter", engine)
		}
		done, err := target.Restore(t.Context(), file, "", queue)
		ok(t, err)
		if done.Rows != made.Rows {
			t.Errorf("%s: restored %+v", engine, done)
		}
	}
}

func queueOf(err error) control.Queue {
	return func(context.Context, store.Access) (store.Enqueuer, error) { return nil, err }
}

func TestPlane_Backup_Atomic(t *testing.T) {
	p := quietPlane(t, "sqlite")
	dir := t.TempDir()
	put(t, filepath.Join(dir, "there"), "precious")
	_, err := p.Backup(t.Context(), filepath.Join(dir, "there"), false)
	refused(t, err, models.Conflict, "never replaces")
	_, err = p.Backup(t.Context(), filepath.Join(dir, "no", "folder"), false)
	refused(t, err, models.Invalid, "Choose another")
	_, err = p.Backup(t.Context(), filepath.Join(dir, "keyed"), true)
	refused(t, err, models.NotFound, "key file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = p.Backup(ctx, filepath.Join(dir, "cancelled"), false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, err = newPlane(t, "sqlite").Backup(t.Context(), filepath.Join(dir, "nothing"), false)
	refused(t, err, models.NotFound, "--data")
	left, err := os.ReadDir(dir)
	ok(t, err)
	if text, err := os.ReadFile(filepath.Join(dir, "there")); len(left) != 1 || string(text) != "precious" {
		t.Errorf("the folder holds %v, the file %q (%v)", left, text, err)
	}
	var gone brokenPipe
	if _, err := p.Write(t.Context(), &gone, false); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader that is gone: %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestPlane_Backup_OneWins writes the same file from several at once.
func TestPlane_Backup_OneWins(t *testing.T) {
	p := quietPlane(t, "sqlite")
	file := filepath.Join(t.TempDir(), "backup.tar.gz")
	var together sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		together.Go(func() { _, errs[i] = p.Backup(t.Context(), file, false) })
	}
	together.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			refused(t, err, models.Conflict, "never replaces")
		}
	}
	if left, err := os.ReadDir(filepath.Dir(file)); won != 1 || len(left) != 1 {
		t.Errorf("%d won, and %v is left (%v)", won, left, err)
	}
}

// entry is one file of an archive.
type entry struct {
	tar.Header

	content []byte
}

func entries(t *testing.T, file string) (list []entry) {
	t.Helper()
	text, err := os.ReadFile(file)
	ok(t, err)
	unzip, err := gzip.NewReader(bytes.NewReader(text))
	ok(t, err)
	for from := tar.NewReader(unzip); ; {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		ok(t, err)
		content, err := io.ReadAll(from)
		ok(t, err)
		list = append(list, entry{*h, content})
	}
}

func pack(t *testing.T, list []entry) string {
	t.Helper()
	var text bytes.Buffer
	zip := gzip.NewWriter(&text)
	to := tar.NewWriter(zip)
	for _, e := range list {
		h := e.Header
		h.Size = int64(len(e.content))
		ok(t, to.WriteHeader(&h))
		_, err := to.Write(e.content)
		ok(t, err)
	}
	ok(t, errors.Join(to.Close(), zip.Close()))
	file := filepath.Join(t.TempDir(), "hostile.tar.gz")
	ok(t, os.WriteFile(file, text.Bytes(), 0o600))
	return file
}

func plain(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600}, []byte(content)}
}

func TestPlane_Restore_Hostile(t *testing.T) {
	source := quietPlane(t, "sqlite")
	file, _ := backup(t, source, false)
	good := entries(t, file) // head, one piece, manifest
	if len(good) != 3 {
		t.Fatalf("the archive holds %d entries", len(good))
	}
	head, dump, manifest := good[0], good[1], good[2]
	with := func(e entry) []entry { return []entry{head, dump, e, manifest} }
	altered := func(e entry, from, to string) entry {
		e.content = bytes.Replace(e.content, []byte(from), []byte(to), 1)
		return e
	}
	link := entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "files/a", Linkname: "/etc/passwd"}, nil}
	cases := map[string]struct {
		list []entry
		code models.Code
		says string
	}{
		"a way out":           {with(plain("files/../../evil", "x")), models.Invalid, "leads out"},
		"an absolute way out": {with(plain("files//etc/evil", "x")), models.Invalid, "leads out"},
		"a way up":            {with(plain("../evil", "x")), models.Invalid, "does not belong"},
		"a link":              {with(link), models.Invalid, "not a plain file"},
		"a folder":            {with(entry{tar.Header{Typeflag: tar.TypeDir, Name: "files/a/"}, nil}), models.Invalid, "not a plain file"},
		"a stranger":          {with(plain("sites/1/settings.php", "x")), models.Invalid, "does not belong"},
		"what is not listed":  {with(plain("files/a", "x")), models.Invalid, "manifest says"},
		"a key not listed":    {with(plain("secret.key", "x")), models.Invalid, "manifest says"},
		"a file twice":        {[]entry{head, dump, plain("files/a", "x"), plain("files/a", "x"), manifest}, models.Invalid, "twice"},
		"too large":           {with(plain("files/a", strings.Repeat("x", 65<<20))), models.Invalid, "too much"},
		"no manifest":         {[]entry{head, dump}, models.Invalid, "no manifest"},
		"more after it":       {append(slices.Clone(good), plain("files/a", "x")), models.Invalid, "follows"},
		"another row":         {[]entry{head, altered(dump, `"ada"`, `"bob"`), manifest}, models.Invalid, "manifest says"},
		"another count":       {[]entry{head, dump, altered(manifest, `"rows": `, `"rows": 1`)}, models.Invalid, "manifest says"},
		"no head":             {[]entry{dump, manifest}, models.Invalid, "no backup"},
		"no database":         {[]entry{head, manifest}, models.Invalid, ""},
		"a newer format":      {[]entry{plain("hefring.json", `{"format":2,"hefring":"9.9"}`), plain("new", "x")}, models.Conflict, "Hefring 9.9"},
		"a newer schema":      {[]entry{head, altered(dump, `"schema":`, `"schema":9`), manifest}, models.Conflict, "newer"},
		"a heavy row":         {[]entry{head, plain("database/000000", `{"dump":1,"schema":1,"engine":"sqlite"}`+"\n"), piece(1), piece(2)}, models.Invalid, ""},
		"an empty piece":      {[]entry{head, plain("database/000000", "")}, models.Invalid, "sensible size"},
	}
	target := newPlane(t, "sqlite")
	for name, c := range cases {
		_, err := target.Restore(t.Context(), pack(t, c.list), "", queue)
		if models.CodeOf(err) != c.code || !strings.Contains(models.Explain(err), c.says) {
			t.Errorf("%s: want %s and %q: %v", name, c.code, c.says, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(filepath.Dir(target.Folder))); err != nil || len(left) > 0 {
		t.Errorf("%v was made (%v)", left, err)
	}
}

// piece is 4 MiB of one row.
func piece(n int) entry {
	return plain(fmt.Sprintf("database/%06d", n), "["+strings.Repeat(" ", 4<<20-1))
}

// TestOpen_Damaged cuts the file and turns its bits at every place.
func TestOpen_Damaged(t *testing.T) {
	source := quietPlane(t, "sqlite")
	put(t, filepath.Join(source.Folder, "note"), "text")
	file, made := backup(t, source, false)
	text, err := os.ReadFile(file)
	ok(t, err)
	bent := filepath.Join(t.TempDir(), "bent.tar.gz")
	try := func(what string, content []byte) {
		ok(t, os.WriteFile(bent, content, 0o600))
		a, err := control.Open(t.Context(), bent, "")
		if err == nil {
			// Some bits of gzip's own head mean nothing.
			if !reflect.DeepEqual(a.Manifest, made.Manifest) || !strings.HasPrefix(what, "bit") {
				t.Errorf("%s was not noticed", what)
			}
			ok(t, a.Close())
			return
		}
		if code := models.CodeOf(err); code != models.Invalid && code != models.Conflict {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := control.Open(t.Context(), bent, made.SHA256); models.CodeOf(err) != models.Invalid { // at once
			t.Errorf("%s has the right SHA-256: %v", what, err)
		}
	}
	for n := 0; n < len(text); n += 97 {
		try(fmt.Sprintf("cut after %d of %d bytes", n, len(text)), text[:n])
		other := slices.Clone(text)
		other[n] ^= 1 << (n % 8)
		try(fmt.Sprintf("bit turned in byte %d", n), other)
	}
	_, err = control.Open(t.Context(), file, strings.Repeat("0", 64))
	refused(t, err, models.Invalid, "SHA-256")
	_, err = control.Open(t.Context(), t.TempDir(), "")
	refused(t, err, models.Invalid, "plain file")
	_, err = control.Open(t.Context(), filepath.Join(t.TempDir(), "none"), "")
	refused(t, err, models.NotFound, "no file")
}

// FuzzOpen feeds what is no backup, behind a head and inside of a sound gzip.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"dump":1,"schema":5,"engine":"sqlite"}` + "\n" + `{"end":true}` + "\n"))
	f.Add([]byte(`{"dump":1,"schema":1}` + "\n" + `{"table":"users","columns":["id","name","password_hash","created_at"]}` + "\n" + `[1,"a","b","2026-01-01T00:00:00Z"]`))
	f.Fuzz(func(t *testing.T, dump []byte) {
		a, err := control.Open(t.Context(), pack(t, []entry{plain("hefring.json", `{"format":1}`), plain("database/000000", string(dump))}), "")
		if err == nil {
			ok(t, a.Close())
			t.Error("it was taken for a backup")
		}
		if code := models.CodeOf(err); code != models.Invalid && code != models.Conflict {
			t.Errorf("%v", err)
		}
	})
}
