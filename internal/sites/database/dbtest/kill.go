package dbtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/models"
)

// childEnv tells a test process that it is the one to be killed.
const childEnv = "HEFRING_DBTEST_CHILD"

// Child is what the process that is killed does.
type Child struct {
	Server   models.DatabaseServer
	Layout   sites.Layout
	From, To models.Database
	Dump     string // a file to load into To; "" copies From
}

// RunChild does the child's work in a test of that name and tells whether this
// process is the child.
func RunChild(t *testing.T, engine func(Child) database.Engine) bool {
	t.Helper()
	text := os.Getenv(childEnv)
	if text == "" {
		return false
	}
	var c Child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	e := engine(c)
	_, _ = os.Stdout.WriteString("begin\n")
	if c.Dump == "" {
		_, _ = e.Copy(context.Background(), c.From, c.To)
		return true
	}
	file, err := os.Open(c.Dump)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	_, _ = e.Load(context.Background(), c.To, file)
	return true
}

// moments are when a process or server is killed, after it began.
func moments() []time.Duration {
	return []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 120 * time.Millisecond, 300 * time.Millisecond}
}

// Killed kills a process in the middle of Copy and Load, which the test of the
// given name does with RunChild. What is there then is whole or says that it is
// not, the source is as it was, and the next attempt succeeds.
func Killed(t *testing.T, s Subject, server models.DatabaseServer, test string) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 7, "upgrade-1")
	s.Fill(t, from, 4000)
	var dump bytes.Buffer
	if _, err := s.Engine.Dump(t.Context(), from, &dump); err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/dump"
	if err := os.WriteFile(file, dump.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, moment := range moments() {
		child := Child{Server: server, Layout: s.Layout, From: from, To: to}
		if i%2 == 1 {
			child.Dump = file
		}
		killAt(t, child, test, moment)
		whole(t, s, to, moment)
		if got := s.rows(t, from, "bodies"); got != "4000" {
			t.Errorf("after a kill at %v the source has %s rows", moment, got)
		}
		if got, err := s.Engine.Databases(t.Context(), s.Site(7)); err != nil || len(got) > 2 {
			t.Errorf("after a kill at %v: %+v, %v", moment, got, err)
		}
		if s.Engine.Check(t.Context(), to) != nil {
			s.Create(t, 7, "upgrade-1")
		}
		if _, err := s.Engine.Copy(t.Context(), from, to); err != nil || s.rows(t, to, "bodies") != "4000" {
			t.Fatalf("after a kill at %v: %v", moment, err)
		}
		if err := s.Engine.Drop(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		s.Create(t, 7, "upgrade-1")
	}
}

// whole fails when half of a database is taken for the whole one.
func whole(t *testing.T, s Subject, db models.Database, moment time.Duration) {
	t.Helper()
	if err := s.Engine.Check(t.Context(), db); err != nil {
		return
	}
	marks, err := s.Engine.Marks(t.Context(), db)
	if models.CodeOf(err) == models.NotFound { // the server has just finished removing it
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(marks) == 0 { // as it was before
		return
	}
	if rows := s.rows(t, db, "bodies"); len(marks) != 4 || rows != "4000" {
		t.Errorf("after a kill at %v a database with %d tables and %s rows passes for whole", moment, len(marks), rows)
	}
}

func killAt(t *testing.T, child Child, test string, moment time.Duration) {
	t.Helper()
	text, err := json.Marshal(child)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v") //nolint:gosec,noctx // this very test binary
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasSuffix(lines.Text(), "begin") {
		continue
	}
	<-time.After(moment) // the moment is what is tested
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// ServerKilled kills the server in the middle of Copy and Load.
func ServerKilled(t *testing.T, s Subject, kill, restart func(tb testing.TB)) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 7, "upgrade-1")
	s.Fill(t, from, 4000)
	var dump bytes.Buffer
	if _, err := s.Engine.Dump(t.Context(), from, &dump); err != nil {
		t.Fatal(err)
	}
	for i, moment := range moments()[1:] {
		done := make(chan error, 1)
		go func() {
			var err error
			if i%2 == 0 {
				_, err = s.Engine.Copy(t.Context(), from, to)
			} else {
				_, err = s.Engine.Load(t.Context(), to, bytes.NewReader(dump.Bytes()))
			}
			done <- err
		}()
		<-time.After(moment) // the moment is what is tested
		kill(t)
		if err := <-done; err != nil && models.CodeOf(err) != models.Unavailable {
			t.Errorf("killed at %v: %v", moment, err)
		}
		if err := s.Engine.Check(t.Context(), to); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "SQL") && !strings.Contains(models.Explain(err), "MariaDB") {
			t.Errorf("without server: %v", err)
		}
		restart(t)
		whole(t, s, to, moment)
		if s.Engine.Check(t.Context(), to) != nil {
			s.Create(t, 7, "upgrade-1")
		}
		if _, err := s.Engine.Copy(t.Context(), from, to); err != nil || s.rows(t, to, "bodies") != "4000" || s.rows(t, from, "bodies") != "4000" {
			t.Fatalf("after a kill at %v: %v", moment, err)
		}
	}
}

// DiskFull runs a test of the given name again with a small disk for temporary
// files, and fill there.
func DiskFull(t *testing.T, test string, megabytes int, inside func(t *testing.T)) {
	t.Helper()
	const small = "HEFRING_TEST_SMALL_DISK"
	if os.Getenv(small) != "" {
		inside(t)
		return
	}
	dir := t.TempDir()
	for _, folder := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // a server runs there as another user
			t.Fatal(err)
		}
	}
	cmd := exec.Command("bwrap", "--dev-bind", "/", "/", "--proc", "/proc", "--perms", "1777", "--size", strconv.Itoa(megabytes<<20), "--tmpfs", dir, "--setenv", small, "1", "--setenv", "TMPDIR", dir, "--", //nolint:gosec,noctx // this very test binary
		os.Args[0], "-test.run=^"+test+"$", "-test.v")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Fatalf("on the small disk: %v\n%s", err, out)
	}
}

// FillsUp loads and copies until the disk is full, which must be said, and the
// source stays whole.
func FillsUp(t *testing.T, s Subject, rows int) {
	t.Helper()
	from := s.Create(t, 7, "site")
	s.Fill(t, from, rows)
	for i := range 50 {
		to := s.Create(t, 7, fmt.Sprintf("upgrade-%d", i))
		_, err := s.Engine.Copy(t.Context(), from, to)
		if err == nil {
			continue
		}
		if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "is full") {
			t.Fatalf("copy %d: %v", i, err)
		}
		unusable := s.Engine.Check(t.Context(), to)
		if unusable == nil && s.tables(t, to) != 0 {
			t.Error("half a copy passes for whole")
		}
		if err := s.Engine.Drop(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		if got := s.rows(t, from, "bodies"); got != strconv.Itoa(rows) {
			t.Errorf("the source has %s rows", got)
		}
		return
	}
	t.Error("the disk was never full")
}

func (s Subject) tables(t *testing.T, db models.Database) int {
	t.Helper()
	marks, err := s.Engine.Marks(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return len(marks)
}
