package database

import (
	"testing"

	"hefring/models"
)

func TestCompare(t *testing.T) {
	counts := func(ins, upd, del int64) *[3]int64 { return &[3]int64{ins, upd, del} }
	for name, c := range map[string]struct {
		mark    models.TableMark
		now     Now
		want    [3]int64 // added, changed, removed
		unknown bool
	}{
		"same sum":                  {models.TableMark{Rows: 3, Sum: "a"}, Now{Rows: 3, Sum: "a"}, [3]int64{}, false},
		"other sum":                 {models.TableMark{Rows: 3, Sum: "a"}, Now{Rows: 3, Sum: "b"}, [3]int64{}, true},
		"key and time":              {models.TableMark{Rows: 10, Key: "id", MaxKey: 12, Changed: "changed"}, Now{Rows: 9, Added: 2, Touched: 4}, [3]int64{2, 4, 3}, false},
		"key alone":                 {models.TableMark{Rows: 10, Key: "id", MaxKey: 12}, Now{Rows: 11, Added: 1}, [3]int64{1, 0, 0}, true},
		"old numbers used again":    {models.TableMark{Rows: 10, Key: "id", MaxKey: 12, Changed: "changed"}, Now{Rows: 12, Added: 1}, [3]int64{2, 0, 0}, true},
		"nothing to go by":          {models.TableMark{Rows: 10}, Now{Rows: 7}, [3]int64{0, 0, 3}, true},
		"counted, nothing":          {models.TableMark{Rows: 10, Counts: counts(5, 5, 5)}, Now{Rows: 10, Counts: counts(5, 5, 5)}, [3]int64{}, false},
		"counted, added":            {models.TableMark{Rows: 10, Counts: counts(5, 5, 5)}, Now{Rows: 12, Counts: counts(7, 5, 5)}, [3]int64{2, 0, 0}, false},
		"counted, one update":       {models.TableMark{Rows: 10, Counts: counts(5, 5, 5)}, Now{Rows: 10, Counts: counts(5, 6, 5)}, [3]int64{0, 1, 0}, false},
		"counted, many updates":     {models.TableMark{Rows: 10, Counts: counts(5, 5, 5)}, Now{Rows: 10, Counts: counts(5, 55, 5)}, [3]int64{0, 10, 0}, true},
		"counts lost":               {models.TableMark{Rows: 10, Counts: counts(5, 5, 5)}, Now{Rows: 10, Counts: counts(0, 0, 0)}, [3]int64{}, true},
		"counts that do not add up": {models.TableMark{Rows: 10, Counts: counts(5, 5, 5)}, Now{Rows: 12, Counts: counts(5, 5, 5)}, [3]int64{2, 0, 0}, true},
	} {
		got := Compare(c.mark, c.now)
		if [3]int64{got.Added, got.Changed, got.Removed} != c.want || got.Unknown != c.unknown || got.Unknown != (got.Why != "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestVolatile(t *testing.T) {
	for table, want := range map[string]bool{
		"cache": true, "cache_page": true, "cachetags": true, "semaphore": true, "router": true, "cached_things": false, "sessions": false, "watchdog": false, "queue": false, "node": false,
	} {
		if Volatile(table) != want {
			t.Errorf("%s: want %v", table, want)
		}
	}
}

func TestParsePlace(t *testing.T) {
	server := models.DatabaseServer{ID: 3, Engine: models.EngineMySQL, Prefix: "hefring"}
	place, err := NewPlace(server, 12, "upgrade-17")
	if err != nil || place.Name != "hefring_12_upgrade_17" || place.User != "hefring_12" {
		t.Fatalf("%+v, %v", place, err)
	}
	if got, err := ParsePlace(server, place.Database()); err != nil || got.Name != place.Name || got.SiteID != 12 || got.Label != "upgrade-17" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range []string{"", "hefring", "hefring_12", "hefring_12_", "hefring_012_site", "hefring_-1_site", "hefring_0_test", "other_12_site", "hefring_12_a__", "hefring_12_A", "hefring_12_a-b", "hefring_12_a.new"} {
		db := models.Database{Engine: models.EngineMySQL, Name: name, Server: 3, User: "hefring_12"}
		if _, err := ParsePlace(server, db); models.CodeOf(err) != models.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}
