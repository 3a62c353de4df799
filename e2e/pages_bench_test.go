//go:build bench

package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"hefring/internal/testpg"
)

// The goals.
const (
	pageGoal    = 50 * time.Millisecond // p99 of a page
	queriesGoal = 12                    // of a page
	memoryGoal  = 80 << 20              // idle, in bytes
	startGoal   = time.Second
)

// Of the measurement.
const (
	readers       = 20
	usualRequests = 15 // of each reader and page
)

// fleetSize is what dev seed is told.
type fleetSize struct{ distributions, platforms, sites, tasks, events int }

// TestBenchPages measures every page of the real program on a large fleet, with
// 20 readers at once who share this machine with it: on PostgreSQL with 100,000
// sites, and on SQLite with 10,000. Each page is asked for in two ways: by readers
// who look at what they got for a moment before they ask again, which is what the
// goal speaks of, and by readers who never pause, which is what the machine can
// do at all. The rivals are the bare question to the database for the rows that a
// page shows, by the same number of readers, and the smallest answer of the same
// program. HEFRING_BENCH_ONLY is a pattern of pages, HEFRING_BENCH_DATABASE is one of
// the databases, HEFRING_BENCH_REQUESTS how often each reader asks. HEFRING_BENCH_PART
// is queries, to count what the pages ask and no more, or times.
func TestBenchPages(t *testing.T) {
	for _, one := range []struct {
		name string
		size fleetSize
		open func(t *testing.T) (database, driver, dsn string)
	}{
		{"PostgreSQL", fleetSize{10_000, 2_000, 100_000, 400_000, 1_000_000}, benchPostgres},
		{"SQLite", fleetSize{1_000, 200, 10_000, 40_000, 100_000}, benchSQLite},
	} {
		t.Run(one.name, func(t *testing.T) {
			if only := os.Getenv("HEFRING_BENCH_DATABASE"); only != "" && only != one.name {
				return
			}
			database, driver, dsn := one.open(t)
			b := newPageBench(t, one.name, one.size, database, driver, dsn)
			b.start()
			b.all()
		})
	}
}

func benchPostgres(t *testing.T) (database, driver, dsn string) {
	t.Helper()
	// What a small server of its own would be given; the last one counts queries.
	server := testpg.Start(t, "-c", "shared_buffers=512MB", "-c", "autovacuum=on", "-c", "random_page_cost=1.1", "-c", "max_wal_size=4GB",
		"-c", "shared_preload_libraries=pg_stat_statements", "-c", "pg_stat_statements.track_utility=off")
	dsn = server.DSN("postgres")
	return dsn, "pgx", dsn
}

func benchSQLite(t *testing.T) (database, driver, dsn string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hefring.db")
	return "sqlite:" + path, "sqlite", "file:" + path + "?mode=ro&_pragma=busy_timeout(5000)"
}

// pageBench is a Hefring with a large fleet.
type pageBench struct {
	t      *testing.T
	name   string
	size   fleetSize
	driver string
	db     *sql.DB
	h      *hefring
	p      *person
	each   int // requests of each reader and page
	only   *regexp.Regexp
	part   string // queries or times; "" is both
}

func newPageBench(t *testing.T, name string, size fleetSize, database, driver, dsn string) *pageBench {
	t.Helper()
	b := &pageBench{t: t, name: name, size: size, driver: driver, only: regexp.MustCompile(os.Getenv("HEFRING_BENCH_ONLY")), part: os.Getenv("HEFRING_BENCH_PART"), each: usualRequests}
	if text := os.Getenv("HEFRING_BENCH_REQUESTS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatal("HEFRING_BENCH_REQUESTS must be a number")
		}
		b.each = n
	}
	b.seed(database)
	b.h = newHefring(t, database)
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	b.db = db
	if driver == "pgx" {
		b.exec("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
	}
	b.p = b.h.person("admin")
	return b
}

func (b *pageBench) seed(database string) {
	b.t.Helper()
	began := time.Now()
	cmd := exec.Command(shared.binary, "dev", "seed", "--data="+b.t.TempDir(), "--database="+database,
		"--distributions="+strconv.Itoa(b.size.distributions), "--platforms="+strconv.Itoa(b.size.platforms), "--sites="+strconv.Itoa(b.size.sites),
		"--tasks="+strconv.Itoa(b.size.tasks), "--events="+strconv.Itoa(b.size.events))
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("seed: %v\n%s", err, out)
	}
	_, _ = fmt.Fprintf(os.Stdout, "\n== %s: %d cores, load average %s==\n%sseeded in %.1f s\n", b.name, runtime.NumCPU(), loadAverage(b.t), out, time.Since(began).Seconds())
}

func (b *pageBench) exec(statement string) {
	b.t.Helper()
	if _, err := b.db.Exec(statement); err != nil {
		b.t.Fatal(err)
	}
}

func loadAverage(t *testing.T) string {
	t.Helper()
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return string(load[:strings.LastIndex(string(load), " ")+1])
}

// start restarts the program and measures how long that takes and how large the
// process is when it rests.
func (b *pageBench) start() {
	b.t.Helper()
	var times []time.Duration
	for range 5 {
		b.h.stop()
		began := time.Now()
		b.h.start() // looks every 50 ms
		times = append(times, time.Since(began))
	}
	// A minute's worth of ticks, in short: what start allocated is given back.
	<-time.After(20 * time.Second)
	idle := b.status("VmRSS")
	_, _ = fmt.Fprintf(os.Stdout, "%-10s  start p50 %4d ms  max %4d ms (goal %d ms)   idle memory %.1f MiB (goal %d MiB)   load %s\n", b.name,
		percentile(times, 50).Milliseconds(), percentile(times, 100).Milliseconds(), startGoal.Milliseconds(), float64(idle)/(1<<20), memoryGoal>>20, loadAverage(b.t))
	if got := percentile(times, 50); got > startGoal {
		b.t.Errorf("the program starts in %s, the goal is %s", got, startGoal)
	}
	if idle > memoryGoal {
		b.t.Errorf("the idle program takes %d MiB, the goal is %d MiB", idle>>20, memoryGoal>>20)
	}
}

// status reads a size of the process.
func (b *pageBench) status(field string) int64 {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.h.cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	match := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(text)
	if match == nil {
		b.t.Fatalf("the process has no %s", field)
	}
	kb, err := strconv.ParseInt(string(match[1]), 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return kb << 10
}

// measured is one page: the route that it shows, and addresses of it.
type measured struct {
	name, route string
	path        func(r *rand.Rand) string
}

// pages lists every page that is measured.
func (b *pageBench) pages() []measured {
	site := func(r *rand.Rand) int { return 1 + r.IntN(b.size.sites) }
	found := b.samples()
	sample := func(what string) func(r *rand.Rand) string {
		return func(r *rand.Rand) string { return found[what][r.IntN(len(found[what]))] }
	}
	fixed := func(paths ...string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return paths[r.IntN(len(paths))] }
	}
	with := func(before string, id func(r *rand.Rand) string, after string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return before + id(r) + after }
	}
	below := func(n int) func(r *rand.Rand) string {
		return func(r *rand.Rand) string { return strconv.Itoa(1 + r.IntN(n)) }
	}
	enabled, behind, platform, distribution, task := sample("enabled"), sample("behind"), sample("platform"), sample("distribution"), below(b.size.tasks)
	deep := strconv.Itoa(b.size.sites / 50 / 2)
	return []measured{
		{"first page", "/", fixed("/")},

		{"sites", "/sites", fixed("/sites")},
		{"sites, page 2-20", "/sites", func(r *rand.Rand) string { return "/sites?page=" + strconv.Itoa(2+r.IntN(19)) }},
		{"sites, page in the middle", "/sites", fixed("/sites?page=" + deep)},
		{"sites, behind", "/sites", fixed("/sites?behind=1")},
		{"sites, behind, page 5", "/sites", fixed("/sites?behind=1&page=5")},
		{"sites, broken", "/sites", fixed("/sites?state=broken")},
		{"sites, disabled", "/sites", fixed("/sites?state=disabled")},
		{"sites, upgrading", "/sites", fixed("/sites?state=upgrading")},
		{"sites, enabled", "/sites", fixed("/sites?state=enabled")},
		{"sites, of a distribution", "/sites", with("/sites?distribution=", distribution, "")},
		{"sites, of a platform", "/sites", with("/sites?platform=", platform, "")},
		{"sites, search one", "/sites", func(r *rand.Rand) string { return "/sites?q=-" + strconv.Itoa(site(r)) + ".ex" }},
		{"sites, search some", "/sites", fixed("/sites?q=museum-market", "/sites?q=library-gall", "/sites?q=orchard")},
		{"sites, search many", "/sites", fixed("/sites?q=e", "/sites?q=example", "/sites?q=The", "/sites?q=.org")},
		{"sites, search none", "/sites", fixed("/sites?q=zebra", "/sites?q=no-such-site")},
		{"sites, search behind", "/sites", fixed("/sites?q=garden&behind=1", "/sites?q=zebra&behind=1")},
		{"site", "/sites/:id", with("/sites/", enabled, "")},
		{"site, behind", "/sites/:id", with("/sites/", behind, "")},
		{"site, to install", "/sites/new", fixed("/sites/new")},
		{"site, to upgrade", "/sites/:id/upgrade", with("/sites/", behind, "/upgrade")},
		{"site, settings", "/sites/:id/settings", with("/sites/", enabled, "/settings")},
		{"site, to back up", "/sites/:id/backup", with("/sites/", enabled, "/backup")},
		{"site, to disable", "/sites/:id/disable", with("/sites/", enabled, "/disable")},
		{"site, to delete", "/sites/:id/delete", with("/sites/", enabled, "/delete")},
		{"site, to clone", "/sites/clone", with("/sites/clone?site=", enabled, "")},

		{"distributions", "/distributions", fixed("/distributions")},
		{"distributions, last page", "/distributions", fixed("/distributions?page=" + strconv.Itoa(b.size.distributions/50))},
		{"distributions, failing", "/distributions", fixed("/distributions?state=failing")},
		{"distributions, search", "/distributions", fixed("/distributions?q=harbour", "/distributions?q=77", "/distributions?q=zebra")},
		{"distribution", "/distributions/:id", with("/distributions/", distribution, "")},
		{"distribution, new", "/distributions/new", fixed("/distributions/new", "/distributions/new?type=git")},
		{"distribution, to edit", "/distributions/:id/edit", with("/distributions/", distribution, "/edit")},
		{"distribution, to delete", "/distributions/:id/delete", with("/distributions/", distribution, "/delete")},
		{"distribution, to register", "/distributions/:id/platforms/new", fixed("/distributions/25/platforms/new", "/distributions/75/platforms/new")},
		{"distribution, webhooks", "/distributions/:id/webhooks", fixed("/distributions/1/webhooks", "/distributions/21/webhooks")},
		{"webhook", "/webhooks/:id", with("/webhooks/", below(b.size.distributions/20), "")},

		{"platforms", "/platforms", fixed("/platforms")},
		{"platforms, last page", "/platforms", fixed("/platforms?page=" + strconv.Itoa(b.size.platforms/55))},
		{"platforms, failed", "/platforms", fixed("/platforms?state=failed")},
		{"platforms, search", "/platforms", fixed("/platforms?q=platform-1", "/platforms?q=10.4.3", "/platforms?q=zebra")},
		{"platform", "/platforms/:id", with("/platforms/", platform, "")},
		{"platform, largest", "/platforms/:id", sample("largest")},
		{"platform, to upgrade", "/platforms/:id/upgrade", with("/platforms/", sample("outdated"), "/upgrade")},
		{"platform, compared", "/platforms/:id/compare", with("/platforms/", sample("outdated"), "/compare")},
		{"platform, to delete", "/platforms/:id/delete", with("/platforms/", platform, "/delete")},

		{"tasks", "/tasks", fixed("/tasks")},
		{"tasks, page 2-20", "/tasks", func(r *rand.Rand) string { return "/tasks?page=" + strconv.Itoa(2+r.IntN(19)) }},
		{"tasks, failed", "/tasks", fixed("/tasks?state=failed")},
		{"tasks, running", "/tasks", fixed("/tasks?state=running")},
		{"tasks, succeeded", "/tasks", fixed("/tasks?state=succeeded")},
		{"tasks, search some", "/tasks", func(r *rand.Rand) string { return "/tasks?q=-" + strconv.Itoa(site(r)) + ".ex" }},
		{"tasks, search many", "/tasks", fixed("/tasks?q=upgrade", "/tasks?q=museum")},
		{"tasks, search none", "/tasks", fixed("/tasks?q=zebra")},
		{"task", "/tasks/:id", with("/tasks/", task, "")},
		{"task, with a log", "/tasks/:id", with("/tasks/", sample("logged"), "")},
		{"task, log", "/tasks/:id/log", with("/tasks/", sample("logged"), "/log")},

		{"backup, to restore", "/backups/:id/restore", with("/backups/", sample("backup"), "/restore")},
		{"backup, to delete", "/backups/:id/delete", with("/backups/", sample("backup"), "/delete")},
		{"import", "/import", fixed("/import")},
		{"databases", "/databases", fixed("/databases")},
		{"database, new", "/databases/new", fixed("/databases/new")},
		{"database", "/databases/:id", fixed("/databases/1", "/databases/2")},
		{"database, to delete", "/databases/:id/delete", fixed("/databases/1/delete")},
		{"queues", "/queues", fixed("/queues")},

		{"clients", "/clients", fixed("/clients")},
		{"clients, search", "/clients", fixed("/clients?q=museum", "/clients?q=zebra")},
		{"client", "/clients/:id", with("/clients/", below(b.size.sites/400), "")},
		{"client, to delete", "/clients/:id/delete", with("/clients/", below(b.size.sites/400), "/delete")},
		{"client, new", "/clients/new", fixed("/clients/new")},
		{"record", "/audit", fixed("/audit")},
		{"record, anywhere", "/audit", with("/audit?before=", below(b.size.events), "")},
		{"record, of a person", "/audit", fixed("/audit?actor=ada", "/audit?actor=operator", "/audit?actor=nobody")},
		{"record, by verb", "/audit", fixed("/audit?verb=unlock", "/audit?verb=no+such+verb")},
		{"record, by door", "/audit", fixed("/audit?door=api", "/audit?door=webhook")},
		{"record, from an address", "/audit", fixed("/audit?address=192.0.2.7", "/audit?address=198.51.100.1")},
		{"record, of platforms", "/audit", fixed("/audit?kind=platform", "/audit?kind=user")},
		{"record, of a site", "/audit", with("/audit?kind=site&id=", enabled, "")},
		{"record, of a name", "/audit", with("/audit?name=", sample("name"), "")},
		{"record, of two things", "/audit", fixed("/audit?actor=ada&verb=unlock&door=api", "/audit?actor=ada&verb=no+such+verb", "/audit?actor=operator&kind=user", "/audit?kind=platform&verb=backup+ready")},
		{"record, of a month", "/audit", func(*rand.Rand) string {
			return "/audit?since=" + time.Now().AddDate(0, -2, 0).Format(time.DateOnly) + "&until=" + time.Now().AddDate(0, -1, 0).Format(time.DateOnly)
		}},
		{"record, search many", "/audit", fixed("/audit?q=target", "/audit?q=locked")},
		{"record, search none", "/audit", fixed("/audit?q=zebra")},
		{"record, search in a month", "/audit", func(*rand.Rand) string {
			return "/audit?q=zebra&until=" + time.Now().AddDate(0, -1, 0).Format(time.DateOnly)
		}},
		{"settings", "/settings", fixed("/settings")},
		{"API", "/api/docs", fixed("/api/docs")},
		{"servers", "/servers", fixed("/servers")},
		{"servers, new", "/servers/new", fixed("/servers/new")},
		{"users", "/users", fixed("/users")},
		{"user", "/users/:id", fixed("/users/1", "/users/2")},
		{"user, new", "/users/new", fixed("/users/new")},
		{"notices", "/notices", fixed("/notices")},
		{"notices, new", "/notices/new", fixed("/notices/new")},
		{"account", "/account", fixed("/account")},
	}
}

// leftOut are routes that are not measured.
func leftOut() map[string]string {
	return map[string]string{
		"/healthz":                        "is the rival: the smallest answer",
		"/login":                          "reads nothing of the fleet, and a person who is signed in is sent on",
		"/login/link/:token":              "a link is used up by its first visit",
		"/login/code":                     "asks for the second half of signing in",
		"/login/oidc":                     "leads to another server",
		"/notices/:id":                    "an invented fleet has no channels",
		"/notices/:id/edit":               "an invented fleet has no channels",
		"/notices/:id/delete":             "an invented fleet has no channels",
		"/servers/:name":                  "an invented fleet has one server, of which there is no page",
		"/servers/:name/remove":           "an invented fleet has one server, of which there is no page",
		"/sites/:id/move":                 "an invented fleet has one server, so that no site can move",
		"/audit/export.csv":               "is as long as the record",
		"/audit/export.jsonl":             "is as long as the record",
		"/tasks/:id/stream":               "goes on for as long as somebody looks",
		"/account/second-factor":          "makes a secret anew and keeps it with the session",
		"/account/second-factor/code.png": "is a picture of that secret",
		"/backups/:id":                    "leads on to the page of its site",
		"/sites/:id/rollback":             "asks the site's own databases, which an invented fleet does not have",
	}
}

// samples are numbers of rows, by what they are good for.
func (b *pageBench) samples() map[string][]string {
	b.t.Helper()
	const joined = " FROM sites s JOIN platforms p ON p.id = s.platform_id JOIN distributions d ON d.id = p.distribution_id "
	found := map[string][]string{}
	for what, query := range map[string]string{
		"enabled":      "SELECT id FROM sites WHERE state = 'enabled' AND id % 97 = 0 LIMIT 500",
		"behind":       "SELECT s.id" + joined + "WHERE s.state = 'enabled' AND NOT s.held AND d.target_id <> p.id AND s.id % 3 = 0 LIMIT 500",
		"name":         "SELECT uri FROM sites WHERE id % 97 = 0 LIMIT 500",
		"platform":     "SELECT id FROM platforms WHERE state = 'ready' AND id % 5 = 0 LIMIT 200",
		"outdated":     "SELECT p.id FROM platforms p JOIN distributions d ON d.id = p.distribution_id WHERE p.state = 'ready' AND d.target_id <> p.id AND EXISTS (SELECT 1 FROM sites s WHERE s.platform_id = p.id AND s.state = 'enabled' AND NOT s.held) LIMIT 200",
		"largest":      "SELECT platform_id FROM sites GROUP BY platform_id ORDER BY COUNT(*) DESC LIMIT 3",
		"distribution": "SELECT id FROM distributions WHERE target_id IS NOT NULL AND id % 3 = 0 AND update_type <> 'manual' LIMIT 200",
		"logged":       "SELECT id FROM tasks ORDER BY id DESC LIMIT 500",
		"backup":       "SELECT id FROM backups WHERE state = 'ready' AND id % 7 = 0 LIMIT 500",
	} {
		found[what] = b.column(query)
		if len(found[what]) == 0 {
			b.t.Fatalf("there are no samples of %s", what)
		}
	}
	for i, id := range found["largest"] {
		found["largest"][i] = "/platforms/" + id
	}
	return found
}

// column is the first column of what a query finds.
func (b *pageBench) column(query string) []string {
	b.t.Helper()
	rows, err := b.db.Query(query)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			b.t.Fatal(err)
		}
		list = append(list, one)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return list
}

// all measures every page and its rivals.
func (b *pageBench) all() {
	pages := b.pages()
	b.complete(pages)
	_, _ = fmt.Fprintf(os.Stdout, "%-10s  %-28s %22s   %30s  %7s\n", "", "page", "20 readers who read", "20 who never pause", "queries")
	line := func(name string, paced, closed []time.Duration, perSecond float64, queries string) {
		ms := func(list []time.Duration, p int) float64 { return float64(percentile(list, p).Microseconds()) / 1000 }
		_, _ = fmt.Fprintf(os.Stdout, "%-10s  %-28s p50 %6.1f p99 %6.1f ms   p50 %6.1f p99 %6.1f ms %5.0f/s  %7s\n",
			b.name, name, ms(paced, 50), ms(paced, 99), ms(closed, 50), ms(closed, 99), perSecond, queries)
	}
	rivals := b.rivals()
	if b.part == "queries" {
		rivals = nil
	}
	for _, rival := range rivals {
		paced, _ := b.read(true, rival.ask)
		closed, rate := b.read(false, rival.ask)
		line("("+rival.name+")", paced, closed, rate, "")
	}
	worst := map[string]time.Duration{}
	for _, page := range pages {
		if !b.only.MatchString(page.name) {
			continue
		}
		counted := "-"
		if b.part != "times" {
			counted = b.count(page)
		}
		if b.part == "queries" {
			_, _ = fmt.Fprintf(os.Stdout, "%-10s  %-28s %7s\n", b.name, page.name, counted)
			continue
		}
		ask := func(client *http.Client, r *rand.Rand) error { return b.fetch(client, page.path(r)) }
		closed, rate := b.read(false, ask) // and warms what a database that just started has not read yet
		paced, _ := b.read(true, ask)
		line(page.name, paced, closed, rate, counted)
		worst[page.name] = percentile(paced, 99)
		if worst[page.name] > pageGoal {
			b.t.Errorf("%s: p99 of %q is %s, the goal is %s", b.name, page.name, worst[page.name], pageGoal)
		}
	}
	slowest := slices.SortedFunc(maps.Keys(worst), func(x, y string) int { return int(worst[y] - worst[x]) })
	_, _ = fmt.Fprintf(os.Stdout, "%-10s  %d pages; slowest p99: %s; memory after all %.1f MiB; load average %s\n", b.name, len(worst),
		slowest[:min(3, len(slowest))], float64(b.status("VmRSS"))/(1<<20), loadAverage(b.t))
}

// count gives how many queries a page asks, and shows them when they are too many.
func (b *pageBench) count(page measured) string {
	b.t.Helper()
	queries := b.queries(page)
	if queries == nil {
		return "-"
	}
	n := sum(queries)
	if n > queriesGoal {
		b.t.Errorf("%s: %q asks %d queries, the goal is %d", b.name, page.name, n, queriesGoal)
		show(queries)
	}
	return strconv.Itoa(n)
}

// complete fails the test when a GET route is neither measured nor left out.
func (b *pageBench) complete(pages []measured) {
	b.t.Helper()
	known := leftOut()
	for _, page := range pages {
		known[page.route] = "measured"
	}
	for _, route := range getRoutes(b.t) {
		if known[route] == "" {
			b.t.Errorf("the route %s is neither measured nor left out for a reason", route)
		}
	}
}

// getRoutes reads the GET routes with a fixed path out of the source of package
// web: the first two values of each route in its tables.
func getRoutes(t *testing.T) []string {
	t.Helper()
	var routes []string
	err := filepath.WalkDir("../web", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Dir(path) != "../web" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			row, ok := node.(*ast.CompositeLit)
			if !ok || len(row.Elts) < 3 {
				return true
			}
			address, isText := row.Elts[1].(*ast.BasicLit)
			if isText && isGet(row.Elts[0]) {
				if text, err := strconv.Unquote(address.Value); err == nil {
					routes = append(routes, text)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || len(routes) < 20 {
		t.Fatalf("read the routes: %v, %d found", err, len(routes))
	}
	return routes
}

// isGet tells whether a method is GET, which some tables call by its full name.
func isGet(method ast.Expr) bool {
	switch of := method.(type) {
	case *ast.Ident:
		return of.Name == "get"
	case *ast.SelectorExpr:
		return of.Sel.Name == "MethodGet"
	}
	return false
}

// fetch takes an answer as it comes, compressed, as any browser's is: to unpack it is the
// work of the reader's machine.
func (b *pageBench) fetch(client *http.Client, path string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, b.h.url+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept-Encoding", "gzip")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d", path, response.StatusCode)
	}
	return err
}

// reading is how long a reader looks at a page before asking for the next one, on
// average.
const reading = 250 * time.Millisecond

// read lets 20 readers ask at once and gives how long each answer took, and how
// many there were in a second.
func (b *pageBench) read(pause bool, ask func(client *http.Client, r *rand.Rand) error) ([]time.Duration, float64) {
	b.t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var group sync.WaitGroup
	began := time.Now()
	for i := range readers {
		group.Go(func() {
			client := &http.Client{Jar: b.p.client.Jar, Timeout: time.Minute, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range b.each {
				if pause {
					<-time.After(rand.N(2 * reading))
				}
				asked := time.Now()
				err := ask(client, r)
				took := time.Since(asked)
				mu.Lock()
				all = append(all, took)
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failed != nil {
		b.t.Error(failed)
	}
	return all, float64(len(all)) / time.Since(began).Seconds()
}

type rival struct {
	name string
	ask  func(client *http.Client, r *rand.Rand) error
}

// rivals are the least that an answer can cost.
func (b *pageBench) rivals() []rival {
	bare := func(query string, args func(r *rand.Rand) []any) func(*http.Client, *rand.Rand) error {
		return func(_ *http.Client, r *rand.Rand) error {
			rows, err := b.db.Query(query, args(r)...)
			if err != nil {
				return err
			}
			defer func() { _ = rows.Close() }()
			for rows.Next() {
			}
			return rows.Err()
		}
	}
	mark := "$1"
	if b.driver == "sqlite" {
		mark = "?"
	}
	none := func(*rand.Rand) []any { return nil }
	return []rival{
		{"smallest answer: /healthz", func(client *http.Client, _ *rand.Rand) error { return b.fetch(client, "/healthz") }},
		{"bare SQL: 50 sites", bare("SELECT * FROM sites WHERE state <> 'deleted' ORDER BY uri LIMIT 50", none)},
		{"bare SQL: 50 sites, page 2-20", bare("SELECT * FROM sites WHERE state <> 'deleted' ORDER BY uri LIMIT 50 OFFSET "+mark,
			func(r *rand.Rand) []any { return []any{50 * (1 + r.IntN(19))} })},
		{"bare SQL: count of sites", bare("SELECT COUNT(*) FROM sites WHERE state <> 'deleted'", none)},
		{"bare SQL: search of sites", bare("SELECT * FROM sites WHERE uri LIKE "+mark+" ORDER BY uri LIMIT 50",
			func(r *rand.Rand) []any { return []any{"%-" + strconv.Itoa(1+r.IntN(b.size.sites)) + ".ex%"} })},
		{"bare SQL: 50 tasks", bare("SELECT * FROM tasks ORDER BY id DESC LIMIT 50", none)},
	}
}

// queries are what a page asks of PostgreSQL, by the server's own count, also what
// it has counted anew behind it; nil elsewhere, where the same code asks the same
// questions. What the program asks for its own sake meanwhile is none of the page:
// River's tables are left out, which pages never ask, and of the rest only what comes
// with each of three looks at the same page counts.
func (b *pageBench) queries(page measured) map[string]int {
	b.t.Helper()
	if b.driver != "pgx" {
		return nil
	}
	path := page.path(rand.New(rand.NewPCG(1, 2)))
	var least map[string]int
	for range 3 {
		<-time.After(1100 * time.Millisecond) // lets go what is remembered for a second, as long as nothing is recorded
		b.exec("INSERT INTO events (at, actor, verb, subject_kind, subject_id, text) SELECT now(), actor, verb, subject_kind, subject_id, text FROM events WHERE id = 1")
		before := b.calls()
		if err := b.fetch(b.p.client, path); err != nil {
			b.t.Error(err)
		}
		<-time.After(300 * time.Millisecond)
		asked := b.since(before)
		if least == nil {
			least = asked
		}
		for query := range least {
			least[query] = min(least[query], asked[query])
		}
	}
	maps.DeleteFunc(least, func(_ string, calls int) bool { return calls == 0 })
	return least
}

// sum is how many questions these are.
func sum(queries map[string]int) int {
	n := 0
	for _, calls := range queries {
		n += calls
	}
	return n
}

// show prints each of a page's questions, for who has to find one too many.
func show(queries map[string]int) {
	for _, query := range slices.Sorted(maps.Keys(queries)) {
		_, _ = fmt.Fprintf(os.Stdout, "%20d × %s\n", queries[query], strings.Join(strings.Fields(query), " "))
	}
}

// calls gives how often each statement ran, but for those of the queue.
func (b *pageBench) calls() map[string]int {
	b.t.Helper()
	rows, err := b.db.QueryContext(context.Background(),
		`SELECT query, calls FROM pg_stat_statements WHERE query NOT LIKE '%pg\_stat\_statements%' AND query NOT LIKE '%river\_%' AND query NOT LIKE '%pg\_notify%'`)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	counts := map[string]int{}
	for rows.Next() {
		var query string
		var n int
		if err := rows.Scan(&query, &n); err != nil {
			b.t.Fatal(err)
		}
		counts[query] += n
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return counts
}

// since gives the calls that came after before.
func (b *pageBench) since(before map[string]int) map[string]int {
	b.t.Helper()
	more := map[string]int{}
	for query, n := range b.calls() {
		if d := n - before[query]; d > 0 {
			more[query] = d
		}
	}
	return more
}
