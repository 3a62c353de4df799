//go:build torture

package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Every step × victim × database × mode. HEFRING_TORTURE_ONLY is a pattern of runs
// (engine/mode/move/victim/step-moment), HEFRING_TORTURE_SEED another seed,
// HEFRING_TORTURE_FOR a time after which no run begins, such as 30m.
func TestTorture_Kills(t *testing.T) { allLanes(t, ordeals, 4) }

// Every step × fault × database × mode.
func TestTorture_Faults(t *testing.T) { allLanes(t, faultyOrdeals, 2) }

func allLanes(t *testing.T, ordeals func(engine, mode string) []ordeal, batch int) {
	t.Helper()
	only := regexp.MustCompile(os.Getenv("HEFRING_TORTURE_ONLY"))
	seed, _ := strconv.ParseUint(os.Getenv("HEFRING_TORTURE_SEED"), 10, 64)
	end := time.Now().Add(24 * time.Hour)
	if limit, err := time.ParseDuration(os.Getenv("HEFRING_TORTURE_FOR")); err == nil {
		end = time.Now().Add(limit)
	}
	b := &book{from: time.Now()}
	t.Run("lanes", func(t *testing.T) {
		for _, engine := range []string{sqliteSites, mariadbSites, postgresSites} {
			for _, mode := range []string{databaseMode, codeMode} {
				var list []ordeal
				for _, o := range ordeals(engine, mode) {
					if only.MatchString(o.String()) {
						list = append(list, o)
					}
				}
				if len(list) == 0 {
					continue
				}
				t.Run(engine+"-"+mode, func(t *testing.T) {
					t.Parallel()
					l := newLane(t, engine, mode, batch)
					if slices.ContainsFunc(list, func(o ordeal) bool { return o.victim == faultDisk }) {
						l.onSmallDisk()
					}
					b.add(l.torture(t, list, seed, end))
				})
			}
		}
	})
	_, _ = fmt.Fprint(os.Stdout, b.table())
}

// Versions that no site must be left on, on every database.
func TestTorture_BadVersions(t *testing.T) {
	for _, engine := range []string{sqliteSites, mariadbSites, postgresSites} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			l, repo, site := badLane(t, engine)
			for _, b := range badVersions() {
				t.Run(b.version, func(t *testing.T) {
					l.in(t)
					defer l.in(l.owner)
					l.badVersion(t, repo, site, b)
				})
			}
		})
	}
}

// Code that changes after it was proven, in both modes.
func TestTorture_Tampered(t *testing.T) {
	for _, engine := range []string{sqliteSites, mariadbSites, postgresSites} {
		for _, mode := range []string{databaseMode, codeMode} {
			t.Run(engine+"-"+mode, func(t *testing.T) {
				t.Parallel()
				l := newLane(t, engine, mode, 1)
				for what, tamper := range tamperings() {
					t.Run(what, func(t *testing.T) {
						l.in(t)
						defer l.in(l.owner)
						l.tampered(t, what, tamper)
					})
				}
			})
		}
	}
}
