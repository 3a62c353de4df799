package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/testpg"
	"hefring/models"
)

// releasedSchema is the newest schema that people out there may have. Raise it with
// each migration that reaches the main branch, and run
//
//	go test ./internal/store -run 'TestDumps|TestMigrations' -make-dumps
//
// which keeps dumps of the schemas up to there and the sums of their migrations.
// What is kept already stays as it is.
const releasedSchema = 19

// makeDumps is the flag for that.
var makeDumps = flag.Bool("make-dumps", false, "write the missing dumps of released schemas to testdata")

func keptDump(schema int64) string { return fmt.Sprintf("testdata/schema-%04d.jsonl", schema) }

func newest(t *testing.T) int64 {
	t.Helper()
	known, err := Schema()
	must(t, err)
	return known
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// emptyDSNs gives one database without tables of each kind.
func emptyDSNs(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "x.db"), "postgres": testpg.Empty(t)}
}

// fakeQueue is a queue that remembers what it was given.
type fakeQueue struct {
	tables bool // whether its tables were asked for
	tasks  []models.Task
}

func (c *fakeQueue) Enqueue(_ context.Context, tx any, t models.Task) error {
	c.tasks = append(c.tasks, t)
	switch tx.(type) {
	case *sql.Tx, pgx.Tx:
		return nil
	}
	return fmt.Errorf("a %T is no transaction", tx)
}

func (c *fakeQueue) open(ctx context.Context, access Access) (Enqueuer, error) {
	return c, access.Exclusive(ctx, func(context.Context) error { c.tables = true; return nil })
}

// content is a dump as table -> key -> column -> JSON.
type content map[string]map[string]map[string]string

// read takes a dump apart.
func contentOf(t *testing.T, text []byte) content {
	t.Helper()
	all, table, columns := content{}, "", []string(nil)
	for line := range bytes.Lines(text) {
		if line[0] == '{' {
			var mark dumpLine
			must(t, json.Unmarshal(line, &mark))
			if table, columns = mark.Table, mark.Columns; table != "" {
				all[table] = map[string]map[string]string{}
			}
			continue
		}
		var values []json.RawMessage
		must(t, json.Unmarshal(line, &values))
		row := map[string]string{}
		for i, name := range columns {
			row[name] = string(values[i])
		}
		all[table][string(values[0])+string(values[min(1, len(values)-1)])] = row
	}
	return all
}

// dumped is all that a database holds.
func dumped(t *testing.T, dsn string, everything bool) []byte {
	t.Helper()
	e, err := connect(t.Context(), dsn)
	must(t, err)
	var text bytes.Buffer
	_, err = dump(t.Context(), e, &text, everything)
	must(t, errors.Join(err, e.Close()))
	return text.Bytes()
}

// steps has what stepped made, by schema: under the race detector that takes ten seconds.
var steps struct {
	once  sync.Once
	dumps map[int64][]byte
}

// stepped dumps a database of each schema. It was made step by step, as by a Hefring
// that was upgraded again and again, and has rows in all that each step added.
func stepped(t *testing.T) map[int64][]byte {
	t.Helper()
	steps.once.Do(func() { steps.dumps = makeSteps(t) })
	if steps.dumps == nil {
		t.Fatal("the first test that needed a database of each schema could not make it")
	}
	return steps.dumps
}

func makeSteps(t *testing.T) map[int64][]byte {
	t.Helper()
	e, err := connect(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	must(t, err)
	p, err := e.provider()
	must(t, err)
	dumps := map[int64][]byte{}
	for _, step := range p.ListSources() {
		_, err := p.UpTo(t.Context(), step.Version)
		must(t, err)
		rows, err := os.ReadFile(fmt.Sprintf("testdata/rows-%04d.sql", step.Version))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // it may add no table
			t.Fatal(err)
		}
		if _, err := e.sql().ExecContext(t.Context(), string(rows)); err != nil {
			t.Fatalf("rows of schema %d: %v", step.Version, err)
		}
		var text bytes.Buffer
		_, err = dump(t.Context(), e, &text, true)
		must(t, err)
		dumps[step.Version] = text.Bytes()
	}
	must(t, e.Close())
	return dumps
}

// lostOnPurpose says what a migration takes away or changes, and which one; a
// star stands for every row.
func lostOnPurpose() map[string]int64 {
	return map[string]int64{
		"distributions.*.next_check_at": 2, // checks are of upstreams
		"tasks.7.state":                 2, // so is the task that waited
		"tasks.7.message":               2,
		"tasks.7.ended_at":              2,
	}
}

func lost(schema int64, path ...string) bool {
	for name, by := range lostOnPurpose() {
		if schema < by && (name == strings.Join(path, ".") || len(path) > 1 && name == strings.Join(slices.Concat(path[:1], []string{"*"}, path[2:]), ".")) {
			return true
		}
	}
	return false
}

// compare finds every row of before in after.
func compare(t *testing.T, schema int64, before, after content) {
	t.Helper()
	n := 0
	for table, rows := range before {
		for key, row := range rows {
			id := strings.Trim(row["id"], `"`)
			if lost(schema, table, id) {
				continue
			}
			if after[table][key] == nil {
				t.Errorf("%s: the row %s is gone", table, key)
				continue
			}
			for column, value := range row {
				now, there := after[table][key][column]
				if n++; (!there || now != value) && !lost(schema, table, id, column) {
					t.Errorf("%s.%s of row %s was %s and is %q", table, column, key, value, now)
				}
			}
		}
	}
	if n < 500 {
		t.Errorf("only %d values were compared", n)
	}
}

// TestDumps_Kept opens a database of every released schema, as it is kept in
// testdata. With a new migration, write rows for what it adds to
// testdata/rows-NNNN.sql.
func TestDumps_Kept(t *testing.T) {
	if *makeDumps {
		for schema, text := range stepped(t) {
			if _, err := os.Stat(keptDump(schema)); err != nil && schema <= releasedSchema {
				must(t, os.WriteFile(keptDump(schema), text, 0o644))
			}
		}
	}
	kept, err := filepath.Glob("testdata/schema-*.jsonl")
	if err != nil || len(kept) == 0 {
		t.Fatal("no dump is kept", err)
	}
	for _, file := range kept {
		for engine, dsn := range emptyDSNs(t) {
			t.Run(filepath.Base(file)+" "+engine, func(t *testing.T) {
				t.Parallel()
				keptDumpWorks(t, file, dsn)
			})
		}
	}
}

func keptDumpWorks(t *testing.T, file, dsn string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	jobs := &fakeQueue{}
	c, err := Load(t.Context(), dsn, bytes.NewReader(text), jobs.open)
	must(t, err)
	tables, err := layout(t.Context(), c.Schema)
	must(t, err)
	for _, one := range tables {
		if c.Tables[one.name] == 0 {
			t.Errorf("no row of the table %s is kept", one.name)
		}
	}
	if !jobs.tables || len(jobs.tasks) < 5 {
		t.Errorf("the queue got %v", jobs.tasks)
	}
	compare(t, c.Schema, contentOf(t, text), contentOf(t, dumped(t, dsn, true)))
	isUsable(t, dsn, c.Schema)
}

// isUsable works with what is there.
func isUsable(t *testing.T, dsn string, schema int64) {
	t.Helper()
	ctx := t.Context()
	s, err := Open(ctx, dsn, slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { must(t, s.Close()) }()
	jobs := &fakeQueue{}
	s.SetEnqueuer(jobs)

	d, err := s.Distribution(ctx, 1)
	must(t, err)
	if d.Name != "Thunder" || d.TargetID == nil || *d.TargetID != 2 || d.Settings["branch"] != "main" || *d.CheckEvery != 15*time.Minute {
		t.Errorf("the distribution is %+v", d)
	}
	site, err := s.Site(ctx, 1)
	must(t, err)
	if site.URI != "museum.example.org" || site.Database.Engine != "sqlite" || !site.CreatedAt.Equal(time.Date(2026, 1, 8, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("the site is %+v", site)
	}
	user, err := s.UserByName(ctx, "ADA")
	must(t, err)
	if schema < 5 && user.Role != models.RoleAdministrator {
		t.Errorf("who could do everything is %q now", user.Role)
	}
	held, err := s.Site(ctx, 2)
	must(t, err)
	if !held.Held || held.HeldReason != "until the fair is over" {
		t.Errorf("the held site is %+v", held)
	}

	// What was running can be taken over, ended and followed by something new.
	running, err := s.TakeTask(ctx, 3)
	must(t, err)
	if running.Attempt != 3 || *running.ParentID != 2 {
		t.Errorf("the task is %+v", running)
	}
	must(t, s.FinishTask(ctx, running, models.TaskRecovered, "It was put back."))
	must(t, s.MoveSite(ctx, "ada", models.Site{ID: 3, URI: "moving.example.org", State: models.SiteUpgrading}, models.SiteEnabled, ""))
	task := models.Task{Kind: models.TaskVerify, Subject: models.Subject{Kind: models.SubjectPlatform, ID: 2}, Title: "Verify", Actor: "ada"}
	must(t, s.CreateTask(ctx, &task))
	if last := map[int64]int64{1: 9, 2: 10, 3: 10}[schema]; last > 0 && task.ID != last+1 || task.ID < 10 || len(jobs.tasks) != 1 {
		t.Errorf("the next task got the id %d", task.ID)
	}
	if schema >= 4 {
		must(t, s.RecordEvent(ctx, models.Event{Actor: "ada", Verb: "look"}))
		var id int64
		must(t, s.db.Raw("SELECT MAX(id) FROM events").Scan(&id).Error)
		if id < 100 {
			t.Errorf("the id %d of a deleted event was used again", id)
		}
	}
	again := models.Task{Kind: models.TaskUpgrade, Subject: models.Subject{Kind: models.SubjectSite, ID: 1}, Title: "Upgrade", Actor: "ada"}
	if err := s.CreateTask(ctx, &again); models.CodeOf(err) != models.Conflict {
		t.Errorf("a second task for one site: %v", err)
	}
}

// TestDumps_CoverEverySchema fails when a schema was released without keeping a
// dump of it.
func TestDumps_CoverEverySchema(t *testing.T) {
	for schema := int64(1); schema <= releasedSchema; schema++ {
		if _, err := os.Stat(keptDump(schema)); err != nil {
			t.Errorf("no dump of schema %d is kept; see releasedSchema", schema)
		}
	}
}

// TestMigrations_Released holds the migrations with a kept dump to what they were
// when it was made: databases out there have them behind them.
func TestMigrations_Released(t *testing.T) {
	text, err := os.ReadFile("testdata/migrations.sha256")
	must(t, err)
	sums := string(text)
	if *makeDumps {
		for _, file := range released(t) {
			if !strings.Contains(sums, file) {
				sums += sumOf(t, file) + "  " + file + "\n"
			}
		}
		must(t, os.WriteFile("testdata/migrations.sha256", []byte(sums), 0o644))
	}
	for _, file := range released(t) {
		if !strings.Contains(sums, sumOf(t, file)+"  "+file) {
			t.Errorf("%s was released and is never edited; a change is a new migration", file)
		}
	}
}

// released lists the migrations of which dumps are kept, seen from the top.
func released(t *testing.T) []string {
	t.Helper()
	kept, err := filepath.Glob("testdata/schema-*.jsonl")
	must(t, err)
	var files []string
	for _, file := range kept {
		number := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "schema-"), ".jsonl")
		found, err := filepath.Glob("../../migrations/*/" + number + "_*.sql")
		must(t, err)
		if len(found) != 2 {
			t.Fatalf("migration %s is %v", number, found)
		}
		for _, one := range found {
			files = append(files, strings.TrimPrefix(one, "../../"))
		}
	}
	return files
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	must(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// filled is a database of the newest schema with rows in all of its tables.
func filled(t *testing.T, dsn string) {
	t.Helper()
	_, err := Load(t.Context(), dsn, bytes.NewReader(stepped(t)[newest(t)]), (&fakeQueue{}).open)
	must(t, err)
}

// giveTask makes a task that of a server's worker.
func giveTask(t *testing.T, dsn string, id int64) {
	t.Helper()
	s, err := Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { must(t, s.Close()) }()
	must(t, s.db.Exec("UPDATE tasks SET server_id = (SELECT MIN(id) FROM servers) WHERE id = ?", id).Error)
}

func TestDump_Load_AcrossEngines(t *testing.T) {
	t.Parallel()
	for from, source := range emptyDSNs(t) {
		filled(t, source)
		giveTask(t, source, 9)
		var text bytes.Buffer
		c, err := Dump(t.Context(), source, &text)
		must(t, err)
		if c.Engine != from || c.Schema != newest(t) || c.Tables["tasks"] < 13 {
			t.Errorf("the dump holds %+v", c)
		}
		if checked, err := CheckDump(t.Context(), bytes.NewReader(text.Bytes())); err != nil || !maps.Equal(checked.Tables, c.Tables) || checked.Rows != c.Rows {
			t.Errorf("the check found %+v, %v", checked, err)
		}
		for to, target := range emptyDSNs(t) {
			t.Run(from+" to "+to, func(t *testing.T) {
				jobs := &fakeQueue{}
				loaded, err := Load(t.Context(), target, bytes.NewReader(text.Bytes()), jobs.open)
				must(t, err)
				if loaded.Rows != c.Rows {
					t.Errorf("%d rows of %d", loaded.Rows, c.Rows)
				}
				var ids []int64
				for _, task := range jobs.tasks {
					ids = append(ids, task.ID)
					if (task.ServerID != nil) != (task.ID == 9) {
						t.Errorf("task %d waits for the server %v", task.ID, task.ServerID)
					}
				}
				if !slices.Equal(ids, []int64{2, 3, 4, 9, 10}) {
					t.Errorf("jobs for the tasks %v", ids)
				}
				if !sameRows(text.Bytes(), dumped(t, target, false)) {
					t.Error("the rows differ")
				}
				for table, rows := range c.Tables {
					if rows == 0 {
						t.Errorf("no rows in %s: write some for what a migration adds to testdata/rows-NNNN.sql", table)
					}
				}
				isUsable(t, target, newest(t))
			})
		}
	}
}

// TestDump_LeavesOut lists what no backup has. A table that refers to one of them
// goes with it; think before adding it here.
func TestDump_LeavesOut(t *testing.T) {
	tables, err := layout(t.Context(), newest(t))
	must(t, err)
	var left []string
	for _, one := range tables {
		if one.passing {
			left = append(left, one.name)
		}
	}
	if want := []string{"form_tokens", "login_links", "replies", "sessions", "sign_ins", "worker_beats"}; !slices.Equal(left, want) {
		t.Errorf("%v are left out, want %v", left, want)
	}
}

// sameRows compares all lines of two dumps but the heads, which name the engine.
func sameRows(a, b []byte) bool {
	_, a, _ = bytes.Cut(a, []byte("\n"))
	_, b, _ = bytes.Cut(b, []byte("\n"))
	return bytes.Equal(a, b)
}

// TestDump_KeepsForms holds SQLite's own forms of the values, which its
// comparisons depend on.
func TestDump_KeepsForms(t *testing.T) {
	t.Parallel()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	filled(t, dsn)
	e, err := connect(t.Context(), dsn)
	must(t, err)
	defer func() { must(t, e.Close()) }()
	tables, err := layout(t.Context(), newest(t))
	must(t, err)
	forms := map[kind][]string{kindInteger: {"integer"}, kindBoolean: {"integer"}, kindText: {"text"}, kindTime: {"text"}, kindBytes: {"blob"}}
	for _, one := range tables {
		for _, c := range one.columns {
			found, err := list(t.Context(), e.sql(), "SELECT DISTINCT typeof("+quote(c.name)+") FROM "+quote(one.name))
			must(t, err)
			for _, form := range found {
				if form != "null" && !slices.Contains(forms[c.kind], form) {
					t.Errorf("%s.%s holds a %s", one.name, c.name, form)
				}
			}
		}
	}
}

// TestDump_KeepsTimes holds the form of times to the one that GORM writes, or they
// would not compare.
func TestDump_KeepsTimes(t *testing.T) {
	t.Parallel()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	filled(t, dsn)
	s, err := Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { must(t, s.Close()) }()
	must(t, s.RecordEvent(t.Context(), models.Event{Actor: "ada", Verb: "look"}))
	// A column without a type, or the driver would read a time.
	forms, err := list(t.Context(), s.engine.sql(), `SELECT DISTINCT CASE WHEN at LIKE '____-__-__ __:__:__% +0000 UTC' THEN 'usual' ELSE 'at ' || at END FROM events`)
	must(t, err)
	if !slices.Equal(forms, []string{"usual"}) {
		t.Errorf("times are kept as %q", forms)
	}
}

func TestLoad_Refuses(t *testing.T) {
	t.Parallel()
	sqlite := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	filled(t, sqlite)
	var buffer bytes.Buffer
	_, err := Dump(t.Context(), sqlite, &buffer)
	must(t, err)
	good := buffer.String()
	line := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	lines := strings.SplitAfter(good, "\n")
	cases := map[string]struct {
		text string
		code models.Code
		says string
	}{
		"nothing":           {"", models.Invalid, "ends too early"},
		"noise":             {"hello\n", models.Invalid, "line 1"},
		"cut":               {good[:len(good)/2], models.Invalid, ""},
		"cut between lines": {strings.Join(lines[:len(lines)-2], ""), models.Invalid, "ends too early"},
		"newer format":      {line(`{"dump":1,`, `{"dump":2,`), models.Conflict, "newer one"},
		"newer schema":      {line(fmt.Sprintf(`"schema":%d`, newest(t)), `"schema":4711`), models.Conflict, "schema 4711"},
		"no schema":         {line(fmt.Sprintf(`"schema":%d`, newest(t)), `"schema":-1`), models.Invalid, "never was"},
		"foreign table":     {line(`{"table":"tasks"`, `{"table":"tasks; DROP TABLE users"`), models.Invalid, "begins"},
		"River's table":     {line(`{"table":"tasks"`, `{"table":"river_job"`), models.Invalid, "begins"},
		"foreign column":    {line(`"columns":["id","name"`, `"columns":["id","nam"`), models.Invalid, "nam"},
		"missing column":    {line(`"columns":["id","name",`, `"columns":["id",`), models.Invalid, "lacks"},
		"no tables":         {lines[0] + `{"end":true,"rows":0}` + "\n", models.Invalid, "without the table backups"},
		"row after the end": {good + "[1]\n", models.Invalid, "follows"},
		"count":             {line(`{"end":true,"rows":`, `{"end":true,"rows":1`), models.Invalid, "claimed"},
		"other kind":        {line(`[1,"git",`, `["1","git",`), models.Invalid, "no integer"},
		"short row":         {line(`[1,"git",`, `["git",`), models.Invalid, "no row"},
		"no parent":         {line(`["shop.example.org",6]`, `["shop.example.org",66]`), models.Invalid, "belongs to"},
	}
	for engine, dsn := range emptyDSNs(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for name, c := range cases {
				if c.text == good {
					t.Fatalf("%s: nothing was changed", name)
				}
				_, err := Load(t.Context(), dsn, strings.NewReader(c.text), (&fakeQueue{}).open)
				if models.CodeOf(err) != c.code || !strings.Contains(models.Explain(err), c.says) {
					t.Errorf("%s: %v", name, err)
				}
				if err := Vacant(t.Context(), dsn); err != nil {
					t.Errorf("%s left something: %v", name, err)
				}
			}
			// After all that was broken off it goes all the same.
			_, err := Load(t.Context(), dsn, strings.NewReader(good), (&fakeQueue{}).open)
			must(t, err)
			before := dumped(t, dsn, true)
			_, err = Load(t.Context(), dsn, strings.NewReader(good), (&fakeQueue{}).open)
			if models.CodeOf(err) != models.Conflict || !strings.Contains(models.Explain(err), "not empty") {
				t.Errorf("a full database: %v", err)
			}
			if !bytes.Equal(before, dumped(t, dsn, true)) {
				t.Error("the full database changed")
			}
		})
	}
}

func TestDump_NoDatabase(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.db")
	if _, err := Dump(t.Context(), "sqlite:"+missing, new(bytes.Buffer)); models.CodeOf(err) != models.NotFound {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("it was made")
	}
	for engine, dsn := range emptyDSNs(t) {
		e, err := connect(t.Context(), dsn)
		must(t, err)
		must(t, e.Close())
		if _, err := Dump(t.Context(), dsn, new(bytes.Buffer)); models.CodeOf(err) != models.NotFound {
			t.Errorf("%s: nothing of Hefring: %v", engine, err)
		}
	}
}

// TestOpen_NewerSchema proves that nothing goes backwards by itself.
func TestOpen_NewerSchema(t *testing.T) {
	t.Parallel()
	for engine, dsn := range emptyDSNs(t) {
		filled(t, dsn)
		e, err := connect(t.Context(), dsn)
		must(t, err)
		before := newest(t)
		_, err = e.sql().ExecContext(t.Context(), fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, %s)", before+2, "true"))
		must(t, err)
		for what, act := range map[string]func() error{
			"open": func() error {
				s, err := Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
				if err == nil {
					err = s.Close()
				}
				return err
			},
			"dump": func() error { _, err := Dump(t.Context(), dsn, new(bytes.Buffer)); return err },
		} {
			err := act()
			if models.CodeOf(err) != models.Conflict || !strings.Contains(models.Explain(err), fmt.Sprintf("schema %d", before+2)) || !strings.Contains(models.Explain(err), "Install") {
				t.Errorf("%s %s: %v", what, engine, err)
			}
		}
		if now, err := appliedSchema(t.Context(), e.sql()); err != nil || now != before+2 {
			t.Errorf("%s: the schema is %d, %v", engine, now, err)
		}
		var users int
		must(t, e.sql().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM users").Scan(&users))
		if users == 0 {
			t.Errorf("%s: the rows are gone", engine)
		}
		must(t, e.Close())
	}
}
