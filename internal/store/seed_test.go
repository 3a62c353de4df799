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
