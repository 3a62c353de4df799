// Package dbtest is what every database.Engine must pass, on a real database.
package dbtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/models"
)

// Subject is an engine that is tested, and how a test talks to its databases.
type Subject struct {
	Engine database.Engine
	Layout sites.Layout
	Server *int64 // of the sites; nil for files
	// Open connects as the site itself does.
	Open func(tb testing.TB, db models.Database) *sql.DB
	// Foreign makes a database outside of Hefring, and connects to it.
	Foreign func(tb testing.TB) (database.Foreign, *sql.DB)

	Blob   string // the type of bytes
	Serial string // the type of a primary key that counts by itself
	// Bytes writes bytes as a literal.
	Bytes func(data []byte) string
	// Reads tells that a connection for each read is what PHP does; a file is
	// kept open.
	Reads func(ctx context.Context, db models.Database) error
	// Objects are further statements that make what a copy must keep (views,
	// triggers, functions), and queries that show them with what they give.
	Objects []string
	Show    map[string]string
}

// Site is a site on the subject's server.
func (s Subject) Site(id int64) models.Site {
	return models.Site{ID: id, URI: fmt.Sprintf("museum%d.example.org", id), DatabaseServerID: s.Server}
}

// Nasty is what content may hold.
const Nasty = "emoji 🦊 ' \" \\ \r\n\t -- ; /* */ \\! touch \u2028 DEFINER=`x`@`y` $$ ` end"

func nastyBytes() []byte {
	data := make([]byte, 512)
	for i := range data {
		data[i] = byte(i)
	}
	return data
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"Life", life},
		{"Refuses", refuses},
		{"Copy_WhileRead", copyWhileRead},
		{"Copy_WhileWritten", copyWhileWritten},
		{"Copy_OtherSite", copyOtherSite},
		{"Copy_Objects", copyObjects},
		{"Dump_RoundTrip", dumpRoundTrip},
		{"Load_CutShort", loadCutShort},
		{"Adopt", adopt},
		{"Databases_Remove", databasesRemove},
		{"Marks_Loss", marksLoss},
		{"Cancelled", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// Create makes a database and removes the site's at the end.
func (s Subject) Create(tb testing.TB, site int64, label string) models.Database {
	tb.Helper()
	db, err := s.Engine.Create(tb.Context(), s.Site(site), label)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Engine.Remove(context.Background(), s.Site(site)); err != nil {
			tb.Errorf("remove the databases of site %d: %v", site, err)
		}
	})
	return db
}

// Exec runs statements as the site.
func (s Subject) Exec(tb testing.TB, db models.Database, statements ...string) {
	tb.Helper()
	conn := s.Open(tb, db)
	defer conn.Close() //nolint:errcheck // a test
	for _, statement := range statements {
		if _, err := conn.Exec(statement); err != nil { //nolint:noctx // a test
			tb.Fatalf("%.200s: %v", statement, err)
		}
	}
}

// Ask gives one value as text.
func (s Subject) Ask(tb testing.TB, db models.Database, query string) string {
	tb.Helper()
	conn := s.Open(tb, db)
	defer conn.Close() //nolint:errcheck // a test
	var value sql.NullString
	if err := conn.QueryRow(query).Scan(&value); err != nil { //nolint:noctx // a test
		tb.Fatalf("%s: %v", query, err)
	}
	return value.String
}

// Fill makes tables like Drupal's with some rows of 1 kB.
func (s Subject) Fill(tb testing.TB, db models.Database, rows int) {
	tb.Helper()
	statements := []string{
		"CREATE TABLE node (nid " + s.Serial + ", title VARCHAR(255) NOT NULL, changed INT NOT NULL)",
		"CREATE TABLE bodies (entity_id INT NOT NULL, langcode VARCHAR(12) NOT NULL, body TEXT, PRIMARY KEY (entity_id, langcode))",
		"CREATE TABLE files (fid " + s.Serial + ", data " + s.Blob + ")",
		"CREATE TABLE cache_default (cid VARCHAR(100) PRIMARY KEY, data " + s.Blob + ")",
		"CREATE TABLE users (uid INT NOT NULL PRIMARY KEY, name VARCHAR(60))",
		"INSERT INTO users VALUES (0, ''), (1, 'admin')",
		"CREATE INDEX node_title ON node (title)",
	}
	for start := 1; start <= rows; start += 500 {
		var nodes, bodies []string
		for i := start; i < min(start+500, rows+1); i++ {
			nodes = append(nodes, fmt.Sprintf("('Node %d', 1000)", i))
			bodies = append(bodies, fmt.Sprintf("(%d, 'en', '%s')", i, strings.Repeat(fmt.Sprint("x", i), 1000/len(fmt.Sprint("x", i)))))
		}
		statements = append(statements, "INSERT INTO node (title, changed) VALUES "+strings.Join(nodes, ", "), "INSERT INTO bodies VALUES "+strings.Join(bodies, ", "))
	}
	s.Exec(tb, db, statements...)
}

func (s Subject) rows(tb testing.TB, db models.Database, table string) string {
	tb.Helper()
	return s.Ask(tb, db, "SELECT count(*) FROM "+table)
}

func life(t *testing.T, s Subject) {
	t.Helper()
	db := s.Create(t, 7, "site")
	s.Fill(t, db, 3)
	again, err := s.Engine.Create(t.Context(), s.Site(7), "site")
	if err != nil || again != db || s.rows(t, db, "node") != "3" {
		t.Fatalf("created again: %+v, %v", again, err)
	}
	if err := s.Engine.Check(t.Context(), db); err != nil {
		t.Error(err)
	}
	settings, err := s.Engine.PHP(t.Context(), db)
	if err != nil || settings.Get("database") != db.Name || settings.Get("prefix") != "" {
		t.Errorf("PHP: %+v, %v", settings.Without("password"), err)
	}
	for range 2 {
		if err := s.Engine.Drop(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Engine.Check(t.Context(), db); models.CodeOf(err) != models.NotFound && models.CodeOf(err) != models.Unavailable {
		t.Errorf("check of what is gone: %v", err)
	}
	if _, err := s.Engine.Dump(t.Context(), db, io.Discard); models.CodeOf(err) == "" {
		t.Errorf("dump of what is gone: %v", err)
	}
	if db = s.Create(t, 7, "site"); s.Engine.Check(t.Context(), db) != nil {
		t.Error("it cannot be made again")
	}
}

func refuses(t *testing.T, s Subject) {
	t.Helper()
	good := s.Create(t, 7, "site")
	for _, label := range []string{"", "A", "a_b", "a b", "a;b", "a`b", `a"b`, "a'b", "../x", "-a", strings.Repeat("x", 61)} {
		if _, err := s.Engine.Create(t.Context(), s.Site(7), label); models.CodeOf(err) != models.Invalid {
			t.Errorf("label %q: %v", label, err)
		}
	}
	if _, err := s.Engine.Create(t.Context(), s.Site(0), "site"); models.CodeOf(err) != models.Invalid {
		t.Errorf("a site without number: %v", err)
	}
	var bad []models.Database
	for _, name := range []string{"", "mysql", "postgres", "template1", good.Name + "`", good.Name + "\x00", good.Name + ".new", "/etc/passwd", strings.Replace(good.Name, "7", "07", 1)} {
		db := good
		db.Name = name
		bad = append(bad, db)
	}
	other := good
	other.Engine = "other"
	bad = append(bad, other)
	if good.User != "" {
		other = good
		other.User = "root"
		bad = append(bad, other)
	}
	for _, db := range bad {
		_, copyTo := s.Engine.Copy(t.Context(), good, db)
		_, copyFrom := s.Engine.Copy(t.Context(), db, good)
		_, php := s.Engine.PHP(t.Context(), db)
		_, dump := s.Engine.Dump(t.Context(), db, io.Discard)
		_, load := s.Engine.Load(t.Context(), db, strings.NewReader(""))
		_, marks := s.Engine.Marks(t.Context(), db)
		for i, err := range []error{copyTo, copyFrom, php, dump, load, marks, s.Engine.Drop(t.Context(), db), s.Engine.Check(t.Context(), db)} {
			if models.CodeOf(err) != models.Invalid {
				t.Errorf("%+v, method %d: %v", db, i, err)
			}
		}
	}
	if _, err := s.Engine.Copy(t.Context(), good, good); models.CodeOf(err) != models.Invalid {
		t.Errorf("copied onto itself: %v", err)
	}
}

// Reads go on without one failure while a database is copied again and again.
func copyWhileRead(t *testing.T, s Subject) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 7, "upgrade-1")
	s.Fill(t, from, 2000)
	var reads, slowest atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			start := time.Now()
			if err := s.Reads(t.Context(), from); err != nil {
				failed <- err
				return
			}
			reads.Add(1)
			slowest.Store(max(slowest.Load(), time.Since(start).Milliseconds()))
		}
	}()
	for range 2 {
		info, err := s.Engine.Copy(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		if info.Tables != 5 || info.Bytes == 0 || s.rows(t, to, "bodies") != "2000" || s.rows(t, to, "users") != "2" {
			t.Errorf("copied %+v", info)
		}
	}
	stop()
	if err := <-failed; err != nil {
		t.Errorf("a read failed after %d good ones: %v", reads.Load(), err)
	}
	if reads.Load() == 0 {
		t.Error("nothing was read")
	}
	t.Logf("%d reads, the slowest took %d ms", reads.Load(), slowest.Load())
	if err := s.Engine.Check(t.Context(), to); err != nil {
		t.Error(err)
	}
	// Numbers go on where they were.
	s.Exec(t, to, "INSERT INTO node (title, changed) VALUES ('new', 1)")
	if got := s.Ask(t, to, "SELECT max(nid) FROM node"); got != "2001" {
		t.Errorf("the next number is %s", got)
	}
}

// What is copied while it is written is of one moment: each transaction moves
// something from one table to another.
func copyWhileWritten(t *testing.T, s Subject) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 7, "upgrade-1")
	s.Fill(t, from, 500)
	s.Exec(t, from, "CREATE TABLE a_left (n INT NOT NULL PRIMARY KEY, v INT)", "CREATE TABLE z_right (n INT NOT NULL PRIMARY KEY, v INT)", "INSERT INTO a_left VALUES (1, 1000000)", "INSERT INTO z_right VALUES (1, 0)")
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	var moved atomic.Int64
	conn := s.Open(t, from)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			if err := move(conn); err != nil {
				failed <- err
				return
			}
			moved.Add(1)
		}
	}()
	for range 2 {
		before := moved.Load()
		if _, err := s.Engine.Copy(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		sum := s.Ask(t, to, "SELECT (SELECT v FROM a_left) + (SELECT v FROM z_right)")
		if sum != "1000000" {
			t.Errorf("the copy has %s in both tables, want 1000000", sum)
		}
		var right int64
		if _, err := fmt.Sscan(s.Ask(t, to, "SELECT v FROM z_right"), &right); err != nil || right < before {
			t.Errorf("%d moves were made before the copy, it has %d (%v)", before, right, err)
		}
	}
	stop()
	if err := errors.Join(<-failed, conn.Close()); err != nil {
		t.Errorf("a write failed: %v", err)
	}
}

func move(db *sql.DB) error {
	tx, err := db.Begin() //nolint:noctx // a test
	if err != nil {
		return err
	}
	for _, statement := range []string{"UPDATE a_left SET v = v - 1", "UPDATE z_right SET v = v + 1"} {
		if _, err := tx.Exec(statement); err != nil { //nolint:noctx // a test
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func copyOtherSite(t *testing.T, s Subject) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 70, "site")
	s.Fill(t, from, 100)
	if _, err := s.Engine.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, to, "INSERT INTO node (title, changed) VALUES ('new', 1)", "ALTER TABLE node ADD extra INT", "DROP TABLE bodies")
	if got := s.rows(t, from, "bodies"); got != "100" {
		t.Errorf("the source has %s rows", got)
	}
	if err := s.Engine.Check(t.Context(), to); err != nil {
		t.Error(err)
	}
}

func copyObjects(t *testing.T, s Subject) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 7, "upgrade-1")
	s.Fill(t, from, 10)
	s.Exec(t, from, s.Objects...)
	check := func(how string, db models.Database) {
		t.Helper()
		for query, want := range s.Show {
			if got := s.Ask(t, db, query); got != want {
				t.Errorf("%s: %s gave %q, want %q", how, query, got, want)
			}
		}
	}
	check("source", from)
	if _, err := s.Engine.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	check("copy", to)
	other := s.Create(t, 70, "site")
	if _, err := s.Engine.Copy(t.Context(), from, other); err != nil {
		t.Fatal(err)
	}
	check("copy for another site", other)
	var dump bytes.Buffer
	if _, err := s.Engine.Dump(t.Context(), from, &dump); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Engine.Load(t.Context(), other, bytes.NewReader(dump.Bytes())); err != nil {
			t.Fatal(err)
		}
		check("loaded", other)
	}
}

func dumpRoundTrip(t *testing.T, s Subject) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 70, "site")
	s.Fill(t, from, 10)
	large := make([]byte, 8<<20)
	if _, err := io.ReadFull(rand.Reader, large[:1<<20]); err != nil {
		t.Fatal(err)
	}
	quote := strings.NewReplacer("'", "''").Replace(Nasty)
	if s.Bytes([]byte("\\")) == "0x5c" { // MySQL
		quote = strings.NewReplacer("'", "''", `\`, `\\`).Replace(Nasty)
	}
	s.Exec(t, from, "INSERT INTO node (title, changed) VALUES ('"+quote+"', 5)",
		"INSERT INTO files (data) VALUES ("+s.Bytes(nastyBytes())+")", "INSERT INTO files (data) VALUES (NULL)", "INSERT INTO files (data) VALUES ("+s.Bytes(large)+")")
	var dump bytes.Buffer
	info, err := s.Engine.Dump(t.Context(), from, &dump)
	if err != nil || info.Tables != 5 || info.Bytes != int64(dump.Len()) {
		t.Fatalf("%+v of %d bytes, %v", info, dump.Len(), err)
	}
	s.Exec(t, to, "CREATE TABLE leftover (id INT)")
	if info, err = s.Engine.Load(t.Context(), to, bytes.NewReader(dump.Bytes())); err != nil || info.Tables != 5 {
		t.Fatalf("%+v, %v", info, err)
	}
	if got := s.Ask(t, to, "SELECT title FROM node WHERE changed = 5"); got != Nasty {
		t.Errorf("text came back as %q", got)
	}
	conn := s.Open(t, to)
	defer conn.Close() //nolint:errcheck // a test
	for fid, want := range map[int][]byte{1: nastyBytes(), 2: nil, 3: large} {
		var got []byte
		if err := conn.QueryRow(fmt.Sprintf("SELECT data FROM files WHERE fid = %d", fid)).Scan(&got); err != nil || !bytes.Equal(got, want) { //nolint:noctx // a test
			t.Errorf("bytes %d came back as %d bytes, %v", fid, len(got), err)
		}
	}
	if got := s.Ask(t, to, "SELECT name FROM users WHERE uid = 0"); got != "" {
		t.Errorf("user 0 is %q", got)
	}
}

func loadCutShort(t *testing.T, s Subject) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 7, "restore-1")
	s.Fill(t, from, 300)
	var dump bytes.Buffer
	if _, err := s.Engine.Dump(t.Context(), from, &dump); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, dump.Len() / 3, dump.Len() - 20} {
		if _, err := s.Engine.Load(t.Context(), to, bytes.NewReader(dump.Bytes()[:size])); models.CodeOf(err) != models.Invalid {
			t.Errorf("%d of %d bytes: %v", size, dump.Len(), err)
		}
	}
	broken := errors.New("the disk with the backup is gone")
	if _, err := s.Engine.Load(t.Context(), to, io.MultiReader(bytes.NewReader(dump.Bytes()[:dump.Len()/2]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("reading failed: %v", err)
	}
	if _, err := s.Engine.Load(t.Context(), to, strings.NewReader("\\! touch /hostile\nthis is no dump\n")); err == nil {
		t.Error("nonsense was loaded")
	}
	if _, err := s.Engine.Load(t.Context(), to, bytes.NewReader(dump.Bytes())); err != nil || s.rows(t, to, "bodies") != "300" {
		t.Errorf("loaded at last: %v", err)
	}
	full := errors.New("the disk for the backup is full")
	if _, err := s.Engine.Dump(t.Context(), from, failing{full}); !errors.Is(err, full) {
		t.Errorf("writing failed: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func adopt(t *testing.T, s Subject) {
	t.Helper()
	foreign, conn := s.Foreign(t)
	for _, statement := range []string{"CREATE TABLE things (id INT NOT NULL PRIMARY KEY, name VARCHAR(50))", "INSERT INTO things VALUES (1, 'one'), (2, 'two')"} {
		if _, err := conn.Exec(statement); err != nil { //nolint:noctx // a test
			t.Fatal(err)
		}
	}
	db := s.Create(t, 7, "site")
	for range 2 {
		info, err := s.Engine.Adopt(t.Context(), foreign, db)
		if err != nil || info.Tables != 1 || s.rows(t, db, "things") != "2" {
			t.Fatalf("%+v, %v", info, err)
		}
	}
	s.Exec(t, db, "INSERT INTO things VALUES (3, 'three')")
	var n int
	if err := conn.QueryRow("SELECT count(*) FROM things").Scan(&n); err != nil || n != 2 { //nolint:noctx // a test
		t.Errorf("the foreign one has %d rows, %v", n, err)
	}
	prefixed := foreign
	prefixed.Prefix = "p_"
	wrong := foreign
	wrong.File, wrong.Name, wrong.User, wrong.Password = "/nowhere/at/all.sqlite", "nowhere", "nobody", "wrong"
	if _, err := s.Engine.Adopt(t.Context(), prefixed, db); models.CodeOf(err) != models.Invalid {
		t.Errorf("with a prefix: %v", err)
	}
	if _, err := s.Engine.Adopt(t.Context(), wrong, db); models.CodeOf(err) == "" {
		t.Errorf("what is not there: %v", err)
	}
	if got := s.rows(t, db, "things"); got != "3" {
		t.Errorf("after failures there are %s rows", got)
	}
}

func databasesRemove(t *testing.T, s Subject) {
	t.Helper()
	want := []models.Database{s.Create(t, 7, "site"), s.Create(t, 7, "upgrade-1")}
	other := s.Create(t, 70, "site")
	got, err := s.Engine.Databases(t.Context(), s.Site(7))
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		if err := s.Engine.Remove(t.Context(), s.Site(7)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err = s.Engine.Databases(t.Context(), s.Site(7)); err != nil || len(got) != 0 {
		t.Errorf("left: %+v, %v", got, err)
	}
	if _, err := os.Lstat(s.Layout.Password(7)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the password is left: %v", err)
	}
	if err := s.Engine.Check(t.Context(), other); err != nil {
		t.Error(err)
	}
}

func marksLoss(t *testing.T, s Subject) {
	t.Helper()
	db := s.Create(t, 7, "site")
	s.Fill(t, db, 6000)
	s.Exec(t, db, "INSERT INTO cache_default VALUES ('a', NULL)", "CREATE TABLE old (id INT)")
	marks, err := s.Engine.Marks(t.Context(), db)
	if err != nil || len(marks) != 5 {
		t.Fatalf("%+v, %v", marks, err)
	}
	for _, mark := range marks {
		if mark.Table == "node" && (mark.Rows != 6000 || mark.Key != "nid" || mark.MaxKey != 6000 || mark.Changed != "changed") {
			t.Errorf("%+v", mark)
		}
	}
	losses, err := s.Engine.Loss(t.Context(), db, marks)
	if err != nil {
		t.Fatal(err)
	}
	for _, loss := range losses {
		if !loss.Unknown || loss.Added+loss.Changed+loss.Removed > 0 || loss.Table == "users" || loss.Why == "" {
			t.Errorf("nothing was done, and it says %+v", loss)
		}
	}
	now := time.Now().Unix() + 1
	s.Exec(t, db,
		"INSERT INTO node (title, changed) VALUES ('new', "+strconv.FormatInt(now, 10)+"), ('newer', "+strconv.FormatInt(now, 10)+")",
		"DELETE FROM node WHERE nid IN (1, 2, 3)",
		"UPDATE node SET title = 'other', changed = "+strconv.FormatInt(now, 10)+" WHERE nid = 10",
		"UPDATE users SET name = 'root' WHERE uid = 1",
		"DELETE FROM cache_default", "DROP TABLE old", "CREATE TABLE fresh (id INT)", "INSERT INTO fresh VALUES (1)")
	if losses, err = s.Engine.Loss(t.Context(), db, marks); err != nil {
		t.Fatal(err)
	}
	found := map[string]models.TableLoss{}
	for _, loss := range losses {
		found[loss.Table] = loss
	}
	if got := found["node"]; got != (models.TableLoss{Table: "node", Added: 2, Changed: 1, Removed: 3}) {
		t.Errorf("node: %+v", got)
	}
	if got := found["users"]; got.Added+got.Removed != 0 || !got.Unknown && got.Changed != 1 {
		t.Errorf("users: %+v", got)
	}
	if got := found["old"]; !got.Unknown || got.Removed != 0 {
		t.Errorf("old: %+v", got)
	}
	if got := found["fresh"]; !got.Unknown || got.Added != 1 {
		t.Errorf("fresh: %+v", got)
	}
	if _, ok := found["cache_default"]; ok {
		t.Error("a cache is counted")
	}
}

func cancelled(t *testing.T, s Subject) {
	t.Helper()
	from, to := s.Create(t, 7, "site"), s.Create(t, 7, "upgrade-1")
	s.Fill(t, from, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Engine.Copy(ctx, from, to); err == nil {
		t.Error("a cancelled copy succeeded")
	}
	if _, err := s.Engine.Copy(t.Context(), from, to); err != nil || s.rows(t, to, "node") != "10" {
		t.Errorf("again: %v", err)
	}
}

// Hex writes bytes in hexadecimal digits.
func Hex(data []byte) string { return hex.EncodeToString(data) }
