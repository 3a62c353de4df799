package e2e_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// clean fails if an upgrade left anything of a site that nothing stands for.
func clean(t *testing.T, h *hefring, j *journal, site int64) {
	t.Helper()
	dir := h.path("sites", strconv.FormatInt(site, 10))
	for _, name := range []string{"next", "next.new", "current.new", filepath.Join("run", "read-only")} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("site %d: %s was left", site, name)
		}
	}
	wanted := map[string]bool{}
	for _, name := range j.list(`SELECT json_extract("database", '$.name') FROM sites WHERE id = ?
		UNION SELECT json_extract(old_database, '$.name') FROM upgrades WHERE site_id = ? AND state = 'succeeded' AND dropped_old_at IS NULL`, site, site) {
		wanted[name] = true
	}
	found, err := filepath.Glob(filepath.Join(dir, "db", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		base := name
		for _, suffix := range []string{"-wal", "-shm", "-journal"} {
			if cut := len(name) - len(suffix); cut > 0 && name[cut:] == suffix {
				base = name[:cut]
			}
		}
		if !wanted[base] {
			t.Errorf("site %d: the database %s was left; wanted are %v", site, name, wanted)
		}
	}
	if extra, _ := filepath.Glob(filepath.Join(dir, "releases", "*compare*")); len(extra) > 0 {
		t.Errorf("site %d: %v was left", site, extra)
	}
}

// staged lists what is in the folder where platforms are built.
func staged(h *hefring) []string {
	found, err := filepath.Glob(h.path("platforms", ".staging", "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}
