package store_test

import (
	"cmp"
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

func TestStore_Seed_FillsOnlyAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			size := store.SeedSize{Distributions: 40, Platforms: 30, Sites: 900, Tasks: 5000, Events: 500, Random: 7}
			ok(t, s.Seed(t.Context(), size))
			wantCode(t, s.Seed(t.Context(), size), models.Conflict)

			counts, err := s.Fleet(t.Context(), fleet.Filter{})
			ok(t, err)
			want(t, "distributions", counts.Distributions, 40)
			for what, n := range map[string]int{
				"current": counts.Current, "behind": counts.Behind, "held": counts.Held, "disabled": counts.Disabled, "platforms": counts.Platforms,
			} {
				if n == 0 {
					t.Errorf("no site is %s: %+v", what, counts)
				}
			}
			_, total, err := s.Sites(t.Context(), fleet.Filter{ClientID: 1})
			ok(t, err)
			want(t, "some sites have a client", total > 0, true)
			distributions, _, err := s.Distributions(t.Context(), fleet.Filter{})
			ok(t, err)
			want(t, "rows", len(distributions), 40)
			aliased, err := s.SiteNamed(t.Context(), "www.market-garden-5.example.net")
			ok(t, err)
			want(t, "site of an alias", aliased.ID, 5)

			// Numbers go on after those that are taken.
			task := models.Task{Kind: models.TaskCron, Subject: models.Subject{Kind: models.SubjectSite, ID: 450}, Actor: "ada"}
			ok(t, s.CreateTask(t.Context(), &task))
			want(t, "number of the next task", task.ID, 5001)
		})
	}
}

// Of a large fleet some totals are remembered; they must be what a count gives.
func TestStore_Pages_TotalsOfALargeFleet(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			ok(t, s.Seed(t.Context(), store.SeedSize{Distributions: 30, Platforms: 60, Sites: 2600, Tasks: 3000, Random: 3}))
			count := func(where string) int {
				var n int
				ok(t, s.Access().SQL.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sites s JOIN platforms p ON p.id = s.platform_id"+
					" JOIN distributions d ON d.id = p.distribution_id WHERE s.state <> 'deleted' AND "+where).Scan(&n))
				return n
			}
			addresses := func(where string, limit, offset int) string {
				rows, err := s.Access().SQL.QueryContext(t.Context(), "SELECT s.uri FROM sites s JOIN platforms p ON p.id = s.platform_id"+
					" JOIN distributions d ON d.id = p.distribution_id WHERE s.state <> 'deleted' AND "+where+fmt.Sprintf(" ORDER BY s.uri LIMIT %d OFFSET %d", limit, offset))
				ok(t, err)
				defer func() { ok(t, rows.Close()) }()
				var list []string
				for rows.Next() {
					var uri string
					ok(t, rows.Scan(&uri))
					list = append(list, uri)
				}
				ok(t, rows.Err())
				return strings.Join(list, " ")
			}
			const behind = "s.state = 'enabled' AND NOT s.held AND d.target_id <> p.id"
			for f, where := range map[fleet.Filter]string{
				{}:                                 "true",
				{Behind: true}:                     behind,
				{State: "enabled"}:                 "s.state = 'enabled'",
				{State: "enabled", Behind: true}:   behind,
				{State: "broken"}:                  "s.state = 'broken'",
				{State: "broken", Behind: true}:    "false",
				{State: "disabled"}:                "s.state = 'disabled'",
				{State: "upgrading"}:               "s.state = 'upgrading'",
				{State: "deleted"}:                 "false",
				{PlatformID: 1}:                    "p.id = 1",
				{DistributionID: 1, Behind: true}:  "d.id = 1 AND " + behind,
				{ClientID: 1, Behind: true}:        "s.client_id = 1 AND " + behind,
				{Query: "orchard-g"}:               "s.uri LIKE '%orchard-g%'",
				{Query: "orchard-g", Behind: true}: "s.uri LIKE '%orchard-g%' AND " + behind,
				{Query: "orchard-g", State: "enabled", Limit: 3}: "s.uri LIKE '%orchard-g%' AND s.state = 'enabled'",
				{Query: "no such site"}:                          "false",
				{Query: "orchard-", Behind: true, ClientID: 1}:   "s.uri LIKE '%orchard-%' AND s.client_id = 1 AND " + behind,
				{Query: "n.example.org The"}:                     "s.uri LIKE '%n.example.org' AND s.title LIKE 'The%'",
				{Query: "-7.e"}:                                  "s.uri LIKE '%-7.e%'",
				{Query: "-.e"}:                                   "false",
				{Query: "orchardXg"}:                             "false", // as the database keeps a hyphen
				{Query: "The G"}:                                 "LOWER(s.title) LIKE '%the g%'",
			} {
				for range 2 {
					for _, offset := range []int{0, 20, 600} {
						f.Offset = offset
						rows, total, err := s.Sites(t.Context(), f)
						ok(t, err)
						want(t, fmt.Sprintf("total of %+v", f), total, count(where))
						want(t, fmt.Sprintf("rows of %+v", f), uris(rows), addresses(where, cmp.Or(f.Limit, 50), offset))
					}
				}
			}
			for _, offset := range []int{0, 30, 950, 951, 952, 1001, 2000} {
				rows, total, err := s.Sites(t.Context(), fleet.Filter{Query: "EXAMPLE", Offset: offset})
				ok(t, err)
				want(t, "more than are counted", total, 1001)
				want(t, fmt.Sprint("rows from ", offset), uris(rows), addresses("s.uri LIKE '%example%'", 50, offset))
			}
			_, total, err := s.Sites(t.Context(), fleet.Filter{Query: "EXAMPLE", State: "disabled"})
			ok(t, err)
			want(t, "few of many", total, count("s.state = 'disabled' AND s.uri LIKE '%example%'"))
			rows, total, err := s.Sites(t.Context(), fleet.Filter{DistributionID: 1, NoTotal: true, Limit: 2})
			ok(t, err)
			want(t, "rows alone", [2]int{len(rows), total}, [2]int{2, 0})
			_, total, err = s.Tasks(t.Context(), fleet.Filter{})
			ok(t, err)
			want(t, "more tasks than are counted", total, 1001)
			upgrades, total, err := s.Tasks(t.Context(), fleet.Filter{Query: rows[0].URI})
			ok(t, err)
			want(t, "tasks that name a site", len(upgrades), min(total, 50))

			counts, err := s.Fleet(t.Context(), fleet.Filter{})
			ok(t, err)
			want(t, "behind", counts.Behind, count(behind))
			want(t, "all", counts.Current+counts.Behind+counts.Held+counts.Broken+counts.Disabled+counts.Busy, count("true"))
			platforms, _, err := s.Platforms(t.Context(), fleet.Filter{Limit: 100})
			ok(t, err)
			for _, p := range platforms {
				row, err := s.PlatformRow(t.Context(), p.ID)
				ok(t, err)
				want(t, "sites of "+p.Name, [2]int{p.Sites, p.Upgradable}, [2]int{row.Sites, row.Upgradable})
				want(t, "target of "+p.Name, p.TargetName, row.TargetName)
			}
		})
	}
}

// PostgreSQL's search index knows which words stand side by side, also in the locale C,
// where it takes no letters for such but those of ASCII.
func TestStore_Search_IndexKnowsWhatIsBetweenWords(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Open(t))
	ok(t, s.Seed(t.Context(), store.SeedSize{Distributions: 30, Platforms: 60, Sites: 2600, Tasks: 30, Random: 3}))
	db := s.Access().SQL
	var locale string
	ok(t, db.QueryRowContext(t.Context(), "SELECT datctype FROM pg_database WHERE datname = current_database()").Scan(&locale))
	want(t, "locale", locale, "C")
	count := func(where string) string {
		var n string
		ok(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sites WHERE "+where).Scan(&n))
		return n
	}
	together, both := count("uri LIKE '%orchard-gall%'"), count("uri LIKE '%orchard%' AND uri LIKE '%gall%'")
	if together == "0" || together == both {
		t.Fatalf("%s sites have the words side by side and %s have both", together, both)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	ok(t, err)
	defer func() { ok(t, tx.Rollback()) }()
	for _, way := range []string{"seqscan", "indexscan", "indexonlyscan"} {
		_, err = tx.ExecContext(t.Context(), "SET LOCAL enable_"+way+" = off")
		ok(t, err)
	}
	plan := explained(t, tx, "postgres", "(ANALYZE) SELECT id FROM sites WHERE found_by LIKE translate('%orchard-gall%', ' -.', 'QXZ')")
	others := 0
	if removed := regexp.MustCompile(`Removed by Index Recheck: (\d+)`).FindStringSubmatch(plan); removed != nil {
		others, err = strconv.Atoi(removed[1])
		ok(t, err)
	}
	// It would be 69 others if it did not know what is between the words.
	if !strings.Contains(plan, "Bitmap Index Scan on sites_text") || !strings.Contains(plan, " rows="+together+" loops") || others > 2 {
		t.Errorf("%s sites are found, by way of %d others:\n%s", together, others, plan)
	}
}

// SQLite knows how its indexes divide the sites: those of a platform are found by that,
// and not by going through all that are enabled.
func TestStore_Prune_SQLiteKnowsWhatIsRare(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hefring.db")
	s := open(t, sqlite.Open(t, path))
	ok(t, s.Seed(t.Context(), store.SeedSize{Distributions: 30, Platforms: 60, Sites: 2600, Tasks: 30, Random: 3}))
	byPlatform := func() bool { // a connection knows what was known when it was made
		db, err := sql.Open("sqlite", path)
		ok(t, err)
		defer func() { ok(t, db.Close()) }()
		return strings.Contains(explained(t, db, "sqlite", "SELECT title FROM sites WHERE state <> 'deleted' AND platform_id = ? AND (state = 'enabled' AND NOT held"+
			" AND platform_id IN (SELECT o.id FROM platforms o JOIN distributions d ON d.id = o.distribution_id WHERE d.target_id <> o.id)) ORDER BY uri LIMIT 100", 7), "sites_platform")
	}
	want(t, "after it was filled", byPlatform(), true)
	_, err := s.Access().SQL.ExecContext(t.Context(), "DROP TABLE sqlite_stat1; DROP TABLE IF EXISTS sqlite_stat4")
	ok(t, err)
	want(t, "without knowing", byPlatform(), false)
	ok(t, open(t, "sqlite:"+path).Prune(t.Context(), time.Now()))
	want(t, "after it was tended", byPlatform(), true)
}

// What the Queues page counts of many sources is remembered for a moment, and is the
// same to who asks first and who asks next.
func TestStore_QueueRows_ManySources(t *testing.T) {
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			ok(t, s.Seed(t.Context(), store.SeedSize{Distributions: 2400, Platforms: 10, Sites: 10, Random: 3}))
			var sources int
			ok(t, s.Access().SQL.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM upstreams u WHERE EXISTS (SELECT 1 FROM distributions d WHERE d.upstream_id = u.id)").Scan(&sources))
			if sources < 2001 {
				t.Fatalf("%d sources are not many", sources)
			}
			for range 2 {
				hosts, err := s.HostRows(t.Context(), time.Now())
				ok(t, err)
				n := 0
				for _, row := range hosts {
					n += row.Upstreams
				}
				want(t, "sources by host", n, sources)
				queues, err := s.QueueRows(t.Context(), time.Now())
				ok(t, err)
				n = 0
				for _, row := range queues {
					n += row.Sources
				}
				var looked int
				ok(t, s.Access().SQL.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM upstreams u WHERE next_check_at IS NOT NULL AND NOT stalled AND EXISTS (SELECT 1 FROM distributions d WHERE d.upstream_id = u.id)").Scan(&looked))
				want(t, "sources by queue", n, looked)
			}
		})
	}
}

// Lines of sites show little of their platforms; what they show must be there.
func TestStore_Sites_LinesKnowTheirPlatforms(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			ok(t, s.Seed(t.Context(), store.SeedSize{Distributions: 10, Platforms: 20, Sites: 200, Random: 3}))
			_, err := s.Access().SQL.ExecContext(t.Context(), "UPDATE platforms SET at_risk = TRUE")
			ok(t, err)
			rows, _, err := s.Sites(t.Context(), fleet.Filter{})
			ok(t, err)
			short, _, err := s.Sites(t.Context(), fleet.Filter{Brief: true})
			ok(t, err)
			for i, row := range rows {
				whole, err := s.SiteRow(t.Context(), row.ID)
				ok(t, err)
				want(t, "line", line(short[i]), line(whole))
				want(t, "line of a whole row", line(row), line(whole))
				want(t, "at risk", row.Platform.AtRisk, true)
				want(t, "platform", brief(row.Platform), brief(whole.Platform))
				want(t, "has a target", row.Target != nil, whole.Target != nil)
				if row.Target != nil {
					want(t, "target", brief(*row.Target), brief(*whole.Target))
				}
				want(t, "distribution", row.DistributionName, whole.DistributionName)
			}
		})
	}
}

// line is what a list shows of a site.
func line(row fleet.SiteRow) string {
	upgraded := "never"
	if u := row.LastUpgrade; u != nil {
		upgraded = fmt.Sprint(u.State, u.ToID, u.TaskID, u.CreatedAt.UTC())
	}
	return fmt.Sprint(row.ID, row.URI, row.Title, row.State, row.Held, row.PlatformID, row.RunningTaskID, brief(row.Platform), upgraded, row.Behind())
}

func uris(rows []fleet.SiteRow) string {
	var list []string
	for _, row := range rows {
		list = append(list, row.URI)
	}
	return strings.Join(list, " ")
}

func brief(p models.Platform) string {
	return fmt.Sprint(p.ID, p.DistributionID, p.Name, p.Label, p.DrupalVersion, p.Security, p.Locked, p.State)
}

func TestStore_PlatformChoices_OwnFirst(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			ok(t, s.Seed(t.Context(), store.SeedSize{Distributions: 4, Platforms: 40, Sites: 10, Random: 3}))
			all, err := s.PlatformChoices(t.Context(), 0, 100)
			ok(t, err)
			own, others := map[int64]bool{}, 0
			for _, p := range all {
				if whole, err := s.Platform(t.Context(), p.ID); err == nil && whole.DistributionID == 1 {
					own[p.ID] = true
				}
			}
			for i := 1; i < len(all); i++ {
				want(t, "the newest first", all[i-1].ID > all[i].ID, true)
			}
			if len(own) < 2 || len(own) == len(all) {
				t.Fatalf("%d of %d platforms are the distribution's", len(own), len(all))
			}
			list, err := s.PlatformChoices(t.Context(), 1, len(own)+1)
			ok(t, err)
			want(t, "choices", len(list), len(own)+1)
			for _, p := range list {
				if !own[p.ID] {
					others++
				}
			}
			want(t, "of others", others, 1)
			want(t, "other at the end", own[list[len(own)].ID], false)
		})
	}
}

// An invented fleet shows only what a real one can: whoever looks at a page of it must
// not wonder. Each question finds what cannot be.
func TestStore_Seed_StatesArePossible(t *testing.T) {
	t.Parallel()
	const sites = " FROM sites s JOIN platforms p ON p.id = s.platform_id JOIN distributions d ON d.id = p.distribution_id "
	const moves = " FROM upgrades u JOIN sites s ON s.id = u.site_id JOIN platforms h ON h.id = s.platform_id" +
		" JOIN platforms a ON a.id = u.from_id JOIN platforms b ON b.id = u.to_id JOIN tasks t ON t.id = u.task_id "
	impossible := map[string]string{
		"a target that is not the newest platform that was built": "SELECT d.id FROM distributions d WHERE target_id <> (SELECT MAX(id) FROM platforms p WHERE p.distribution_id = d.id AND state = 'ready')",
		"ready platforms without a target":                        "SELECT p.id FROM platforms p JOIN distributions d ON d.id = p.distribution_id WHERE p.state = 'ready' AND d.target_id IS NULL",
		"a locked target, or another platform that is open":       "SELECT p.id FROM platforms p JOIN distributions d ON d.id = p.distribution_id WHERE p.locked = (p.id = COALESCE(d.target_id, 0))",
		"a target that its distribution does not know":            "SELECT d.id FROM distributions d JOIN platforms p ON p.id = d.target_id WHERE d.signature <> p.revision OR d.upstream_id IS NOT NULL AND d.condition = 'current' AND d.observed <> p.revision",
		"a platform with an older Drupal than the one before it":  "SELECT a.id FROM platforms a JOIN platforms b ON b.distribution_id = a.distribution_id AND b.id > a.id WHERE " + minorAndPatch("b") + " < " + minorAndPatch("a"),
		"a platform that was built before the one before it":      "SELECT a.id FROM platforms a JOIN platforms b ON b.distribution_id = a.distribution_id AND b.id > a.id WHERE b.created_at <= a.created_at",
		"a failed platform that was built, or one that was not":   "SELECT id FROM platforms WHERE (state = 'failed') <> (built_at IS NULL) OR (state = 'failed') <> (reason <> '')",
		"a platform out of order":                                 "SELECT p.id FROM platforms p JOIN distributions d ON d.id = p.distribution_id WHERE p.created_at < d.created_at OR p.built_at < p.created_at OR p.updated_at < p.created_at",
		"a site on a platform that is not there":                  "SELECT s.id" + sites + "WHERE p.state <> 'ready'",
		"a site behind that is not on an older platform":          "SELECT s.id" + sites + "WHERE p.id <> d.target_id AND p.id > d.target_id",
		"a site older than its first platform":                    "SELECT s.id" + sites + "WHERE s.created_at < p.built_at AND NOT EXISTS (SELECT 1 FROM upgrades u WHERE u.site_id = s.id AND u.to_id = p.id)",
		"a site out of order":                                     "SELECT id FROM sites WHERE updated_at < created_at",
		"a site at work without a task":                           "SELECT id FROM sites s WHERE state IN ('installing', 'upgrading') AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.subject_kind = 'site' AND t.subject_id = s.id AND t.state IN ('queued', 'running'))",
		"a broken site without a reason":                          "SELECT id FROM sites WHERE (state = 'broken') <> (reason <> '') OR held <> (held_reason <> '')",
		"a task of a site before the site":                        "SELECT t.id FROM tasks t JOIN sites s ON s.id = t.subject_id WHERE t.subject_kind = 'site' AND t.created_at < s.created_at",
		"a task out of order":                                     "SELECT id FROM tasks WHERE started_at < created_at OR ended_at < started_at",
		"a task that ended and did not":                           "SELECT id FROM tasks WHERE (state IN ('queued', 'running')) <> (ended_at IS NULL) OR (state = 'queued') <> (started_at IS NULL)",
		"a task that ended without a word":                        "SELECT id FROM tasks WHERE (message = '') <> (state IN ('queued', 'running')) OR state <> 'succeeded' AND message IN ('Done.', 'Nothing changed.') AND state <> 'warning'",
		"two tasks at work on one thing":                          "SELECT MIN(id) FROM tasks WHERE state IN ('queued', 'running') GROUP BY subject_kind, subject_id HAVING COUNT(*) > 1",
		"a build that its platform does not know":                 "SELECT t.id FROM tasks t JOIN platforms p ON p.id = t.subject_id WHERE t.kind = 'build' AND ((t.state = 'failed') <> (p.state = 'failed') OR p.created_at <> t.created_at OR p.built_at <> t.ended_at)",
		"a second build of a platform":                            "SELECT MIN(id) FROM tasks WHERE kind = 'build' GROUP BY subject_id HAVING COUNT(*) > 1",
		"a look at a platform that is not there yet":              "SELECT t.id FROM tasks t JOIN platforms p ON p.id = t.subject_id WHERE t.kind = 'verify' AND (p.built_at IS NULL OR p.built_at > t.created_at)",
		"an upgrade to another distribution's platform":           "SELECT u.id" + moves + "WHERE a.distribution_id <> b.distribution_id OR b.distribution_id <> h.distribution_id",
		"an upgrade that does not lead on":                        "SELECT u.id" + moves + "WHERE u.to_id <= u.from_id OR b.state <> 'ready'",
		"an upgrade to what was not built":                        "SELECT u.id" + moves + "WHERE b.built_at > u.created_at",
		"an upgrade that its task does not know":                  "SELECT u.id" + moves + "WHERE t.subject_id <> u.site_id OR t.kind <> 'upgrade' OR (u.state = 'succeeded') <> (t.state IN ('succeeded', 'warning')) OR (u.state = 'recovered') <> (t.state = 'recovered') OR (u.state = 'running') <> (t.state = 'running')",
		"an upgrade without its task, or the other way round":     "SELECT t.id FROM tasks t LEFT JOIN upgrades u ON u.task_id = t.id WHERE (t.kind = 'upgrade') <> (u.id IS NOT NULL)",
		"an upgrade that went where its site is not":              "SELECT u.id" + moves + "WHERE u.state = 'succeeded' AND u.to_id <> s.platform_id AND NOT EXISTS (SELECT 1 FROM upgrades n WHERE n.site_id = u.site_id AND n.id > u.id AND n.state = 'succeeded')",
		"an upgrade from where the one before did not go":         "SELECT u.id" + moves + "WHERE u.from_id <> (SELECT n.to_id FROM upgrades n WHERE n.site_id = u.site_id AND n.id < u.id AND n.state = 'succeeded' ORDER BY n.id DESC LIMIT 1)",
		"an upgrade that failed and does not say at what":         "SELECT id FROM upgrades WHERE (state = 'recovered') <> (failed_step <> '') OR (state IN ('recovered', 'cancelled')) <> (reason <> '') OR (state = 'succeeded') <> switched",
		"an upgrade out of order":                                 "SELECT u.id" + moves + "WHERE u.started_at < u.created_at OR u.ended_at < u.started_at OR u.ended_at > t.ended_at OR (u.state = 'running') <> (u.ended_at IS NULL)",
		"a running upgrade of a site that is not upgraded":        "SELECT u.id" + moves + "WHERE (u.state = 'running') <> (s.state = 'upgrading') AND u.state = 'running'",
		"a step out of order":                                     "SELECT x.id FROM upgrade_steps x JOIN upgrades u ON u.id = x.upgrade_id WHERE x.started_at < u.started_at OR x.ended_at < x.started_at OR x.ended_at > u.ended_at OR (x.state = 'pending') <> (x.started_at IS NULL)",
		"steps that end otherwise than their upgrade":             "SELECT u.id FROM upgrades u WHERE EXISTS (SELECT 1 FROM upgrade_steps x WHERE x.upgrade_id = u.id) AND ((u.state = 'recovered') <> EXISTS (SELECT 1 FROM upgrade_steps x WHERE x.upgrade_id = u.id AND x.state = 'failed') OR (u.state = 'succeeded') <> NOT EXISTS (SELECT 1 FROM upgrade_steps x WHERE x.upgrade_id = u.id AND x.state <> 'done'))",
		"a backup of a platform that the site cannot have had":    "SELECT b.id FROM backups b JOIN sites s ON s.id = b.site_id JOIN platforms h ON h.id = s.platform_id JOIN platforms p ON p.id = b.platform_id WHERE p.distribution_id <> h.distribution_id OR p.id > h.id OR p.built_at > b.created_at OR p.drupal_version <> b.drupal_version",
		"a backup without its task, or the other way round":       "SELECT t.id FROM tasks t LEFT JOIN backups b ON b.task_id = t.id WHERE (t.kind = 'backup') <> (b.id IS NOT NULL)",
		"a backup that is there although it failed":               "SELECT b.id FROM backups b JOIN tasks t ON t.id = b.task_id WHERE (b.state = 'ready') <> (t.state IN ('succeeded', 'warning')) OR (b.state = 'ready') <> (b.digest <> '') OR b.ended_at < b.created_at",
		"a check out of order":                                    "SELECT id FROM checks WHERE ended_at < started_at",
		"a record of what was not there yet":                      "SELECT e.id FROM events e JOIN platforms p ON p.id = e.subject_id WHERE e.subject_kind = 'platform' AND e.at < p.built_at",
		"a record of a site before the site":                      "SELECT e.id FROM events e JOIN sites s ON s.id = e.subject_id WHERE e.subject_kind = 'site' AND e.at < s.created_at",
	}
	for table, columns := range map[string][]string{
		"upstreams": {"last_check_at", "last_change_at", "created_at"}, "distributions": {"last_check_at", "updated_at"}, "platforms": {"built_at", "updated_at"},
		"sites": {"created_at", "updated_at"}, "tasks": {"created_at", "started_at", "ended_at"}, "task_lines": {"at"}, "upgrades": {"ended_at", "dropped_old_at"},
		"upgrade_steps": {"ended_at", "undone_at"}, "backups": {"ended_at"}, "checks": {"ended_at"}, "events": {"at"}, "deliveries": {"at"}, "webhooks": {"hook_at"},
	} {
		for _, column := range columns {
			impossible["a future "+column+" of "+table] = "SELECT MAX(" + column + ") FROM " + table + " HAVING MAX(" + column + ") > ?"
		}
	}
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			ok(t, s.Seed(t.Context(), store.SeedSize{Distributions: 60, Platforms: 120, Sites: 1000, Tasks: 6000, Events: 500, Random: 5}))
			for what, query := range impossible {
				var args []any
				if strings.HasSuffix(query, "?") {
					args = []any{time.Now().UTC()}
					if name != "sqlite" {
						query = strings.TrimSuffix(query, "?") + "$1"
					}
				}
				found := found(t, s, query, args...)
				if len(found) != 0 {
					t.Errorf("there are %d of %s, such as %s", len(found), what, found[0])
				}
			}
			// Each of them must be there to be looked at.
			for what, query := range map[string]string{
				"sites behind": "SELECT COUNT(*)" + sites + "WHERE p.id <> d.target_id", "builds": "SELECT COUNT(*) FROM tasks WHERE kind = 'build'",
				"sites with two upgrades": "SELECT COUNT(*) FROM (SELECT site_id FROM upgrades WHERE state = 'succeeded' GROUP BY site_id HAVING COUNT(*) > 1) x",
				"recovered upgrades":      "SELECT COUNT(*) FROM upgrades WHERE state = 'recovered'", "cancelled upgrades": "SELECT COUNT(*) FROM upgrades WHERE state = 'cancelled'",
				"sites upgrading": "SELECT COUNT(*) FROM sites WHERE state = 'upgrading'", "sites installing": "SELECT COUNT(*) FROM sites WHERE state = 'installing'",
				"queued tasks": "SELECT COUNT(*) FROM tasks WHERE state = 'queued'", "failed platforms": "SELECT COUNT(*) FROM platforms WHERE state = 'failed'",
			} {
				var n int
				ok(t, s.Access().SQL.QueryRowContext(t.Context(), query).Scan(&n))
				if n == 0 {
					t.Errorf("there are no %s", what)
				}
			}
		})
	}
}

// found is the first column of what a query finds.
func found(t *testing.T, s *store.Store, query string, args ...any) []string {
	t.Helper()
	rows, err := s.Access().SQL.QueryContext(t.Context(), query, args...)
	ok(t, err)
	defer func() { ok(t, rows.Close()) }()
	var list []string
	for rows.Next() {
		var one any
		ok(t, rows.Scan(&one))
		list = append(list, fmt.Sprint(one))
	}
	ok(t, rows.Err())
	return list
}

// minorAndPatch is an expression for the version of Drupal that grows with it.
func minorAndPatch(table string) string {
	v := table + ".drupal_version"
	return "(100 * CAST(SUBSTR(" + v + ", 4, 1) AS INTEGER) + CAST(SUBSTR(" + v + ", 6) AS INTEGER))"
}
