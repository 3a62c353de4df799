//go:build bench

package engines

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database/mysql"
	"hefring/internal/sites/database/postgres"
	"hefring/internal/sites/database/sqlite"
	"hefring/internal/testmysql"
	"hefring/internal/testpg"
	"hefring/models"
)

// rounds is how often each way is measured; the median counts.
const rounds = 3

// way is one way to clone a database.
type way struct {
	name  string
	clone func() error
}

// TestBenchClones measures Hefring's way to clone a database against the usual
// tools. Every server runs with its own defaults for durability, on this machine.
func TestBenchClones(t *testing.T) {
	_, _ = fmt.Fprintf(os.Stdout, "%-12s %8s  %-40s %10s %10s %8s\n", "engine", "size", "way", "least", "median", "ratio")
	for _, megabytes := range []int{8, 200} {
		for name, bench := range map[string]func(*testing.T, int) []way{"sqlite": benchSQLite, "mysql": benchMySQL, "postgres": benchPostgres} {
			t.Run(fmt.Sprint(name, megabytes), func(t *testing.T) { report(t, megabytes, bench(t, megabytes)) })
		}
	}
}

// report measures the ways in turn, so that what else the machine does is spread
// over all of them.
func report(t *testing.T, megabytes int, ways []way) {
	t.Helper()
	took := make([][]time.Duration, len(ways))
	for range rounds {
		for i, w := range ways {
			start := time.Now()
			if err := w.clone(); err != nil {
				t.Fatalf("%s: %v", w.name, err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i := range ways {
		slices.Sort(took[i])
	}
	for i, w := range ways {
		engine, name, _ := strings.Cut(w.name, ": ")
		median, first := took[i][rounds/2].Seconds(), took[0][rounds/2].Seconds()
		_, _ = fmt.Fprintf(os.Stdout, "%-12s %5d MB  %-40s %8.3f s %8.3f s %7.2fx\n", engine, megabytes, name, took[i][0].Seconds(), median, median/first)
	}
}

// fill makes tables like those of Drupal's nodes: a quarter in a table with
// indexes, the rest texts of 4 kB.
func fill(t *testing.T, db *sql.DB, megabytes int) {
	t.Helper()
	db.SetMaxOpenConns(1)
	exec := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%.100s: %v", statement, err)
		}
	}
	exec("CREATE TABLE node_field_data (nid INT NOT NULL, langcode VARCHAR(12) NOT NULL, title VARCHAR(255) NOT NULL, changed INT NOT NULL, PRIMARY KEY (nid, langcode))")
	exec("CREATE INDEX node_title ON node_field_data (title)")
	exec("CREATE INDEX node_changed ON node_field_data (changed)")
	exec("CREATE TABLE node__body (entity_id INT NOT NULL, langcode VARCHAR(12) NOT NULL, body_value TEXT, PRIMARY KEY (entity_id, langcode))")
	rows := megabytes * 220
	exec("BEGIN")
	for start := 0; start < rows; start += 200 {
		var nodes, bodies []string
		for nid := start; nid < min(start+200, rows); nid++ {
			nodes = append(nodes, fmt.Sprintf("(%d, 'en', 'The title of node %d', %d)", nid, nid, 1700000000+nid))
			var body strings.Builder
			for body.Len() < 4000 {
				fmt.Fprintf(&body, "<p>Paragraph %d of node %d.</p>", body.Len(), nid)
			}
			bodies = append(bodies, fmt.Sprintf("(%d, 'en', '%s')", nid, body.String()))
		}
		exec("INSERT INTO node_field_data VALUES " + strings.Join(nodes, ", "))
		exec("INSERT INTO node__body VALUES " + strings.Join(bodies, ", "))
	}
	exec("COMMIT")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func shell(env []string, script string, args ...string) error {
	cmd := exec.Command("/bin/bash", append([]string{"-ec", "set -o pipefail; " + script, "bench"}, args...)...)
	cmd.Env = append([]string{"PATH=" + run.DefaultPath, "LC_ALL=C.UTF-8"}, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func pair(t *testing.T, create func(site models.Site, label string) (models.Database, error), server *int64) (from, to models.Database) {
	t.Helper()
	site := models.Site{ID: 7, URI: "museum.example.org", DatabaseServerID: server}
	from, errFrom := create(site, "site")
	to, errTo := create(site, "clone")
	if errFrom != nil || errTo != nil {
		t.Fatal(errFrom, errTo)
	}
	return from, to
}

func benchSQLite(t *testing.T, megabytes int) []way {
	t.Helper()
	e := sqlite.New(sites.Layout{Root: t.TempDir()}, run.New(run.Config{}))
	from, to := pair(t, func(s models.Site, label string) (models.Database, error) { return e.Create(t.Context(), s, label) }, nil)
	db, err := sql.Open("sqlite", "file:"+from.Name+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, megabytes)
	return []way{
		{"SQLite: Hefring (online backup, fsync)", func() error { _, err := e.Copy(t.Context(), from, to); return err }},
		{"SQLite: cp (nobody may write)", func() error { return copyFile(from.Name, to.Name+".cp") }},
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

func one(server models.DatabaseServer) func(context.Context, int64) (models.DatabaseServer, error) {
	return func(context.Context, int64) (models.DatabaseServer, error) { return server, nil }
}

func benchMySQL(t *testing.T, megabytes int) []way {
	t.Helper()
	s := testmysql.Start(t, "--innodb-flush-log-at-trx-commit=1")
	server := s.Socket()
	e := mysql.New(sites.Layout{Root: t.TempDir()}, run.New(run.Config{}), one(server))
	from, to := pair(t, func(s models.Site, label string) (models.Database, error) { return e.Create(t.Context(), s, label) }, &server.ID)
	fill(t, s.DB(t, from.Name), megabytes)
	env := []string{"MYSQL_PWD=" + server.Password}
	const script = `c="--no-defaults -S$1 -u$2"
mysql $c -e "DROP DATABASE IF EXISTS $4; CREATE DATABASE $4"
mysqldump $c --single-transaction --quick "$3" | mysql $c "$4"`
	return []way{
		{"MariaDB: Hefring (inside, proven by sums)", func() error { _, err := e.Copy(t.Context(), from, to); return err }},
		{"MariaDB: mysqldump | mysql", func() error { return shell(env, script, server.Host, server.User, from.Name, "bench_clone") }},
	}
}

func benchPostgres(t *testing.T, megabytes int) []way {
	t.Helper()
	s := testpg.Start(t, "-c", "fsync=on", "-c", "full_page_writes=on")
	server := s.Socket()
	e := postgres.New(sites.Layout{Root: t.TempDir()}, run.New(run.Config{}), one(server))
	from, to := pair(t, func(s models.Site, label string) (models.Database, error) { return e.Create(t.Context(), s, label) }, &server.ID)
	db, err := sql.Open("pgx", s.DSN(from.Name))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, megabytes)
	// At the socket everybody is trusted; the tables are the superuser's.
	env := []string{"PGHOST=" + server.Host, fmt.Sprint("PGPORT=", server.Port), "PGUSER=hefring", "PGDATABASE=postgres"}
	template := func(strategy string) func() error {
		return func() error {
			return shell(env, `psql -qc "DROP DATABASE IF EXISTS bench_clone" -c "CREATE DATABASE bench_clone TEMPLATE $1 STRATEGY $2"`, from.Name, strategy)
		}
	}
	return []way{
		{"PostgreSQL: Hefring (template)", func() error { _, err := e.Copy(t.Context(), from, to); return err }},
		{"PostgreSQL: template, wal_log", template("wal_log")},
		{"PostgreSQL: template, file_copy", template("file_copy")},
		{"PostgreSQL: pg_dump | psql", func() error {
			return shell(env, `psql -qc "DROP DATABASE IF EXISTS bench_clone" -c "CREATE DATABASE bench_clone"; pg_dump "$1" | psql -q -d bench_clone -v ON_ERROR_STOP=1`, from.Name)
		}},
	}
}
