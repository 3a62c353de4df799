package tidepool_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"hefring/internal/testmysql"
	"hefring/internal/testpg"
	"hefring/internal/tidepool"
)

// onServer gives the line of settings.php for a new database on a server.
func onServer(t *testing.T, driver string) string {
	t.Helper()
	if driver == "pgsql" {
		dsn, err := url.Parse(testpg.Empty(t))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`$databases['default']['default'] = ['driver' => 'pgsql', 'host' => '%s', 'port' => '%s', 'database' => '%s', 'username' => '%s', 'password' => '', 'prefix' => ''];`,
			dsn.Query().Get("host"), dsn.Query().Get("port"), strings.TrimPrefix(dsn.Path, "/"), dsn.Query().Get("user"))
	}
	server := testmysql.Running(t)
	name := "tidepool_" + strings.ToLower(rand.Text())
	admin := server.DB(t, "")
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.DB(t, "").Exec("DROP DATABASE " + name); err != nil { // the test's context is over
			t.Error(err)
		}
	})
	at := server.TCP()
	quote := func(text string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'" }
	return fmt.Sprintf(`$databases['default']['default'] = ['driver' => 'mysql', 'host' => %s, 'port' => %d, 'database' => %s, 'username' => %s, 'password' => %s, 'prefix' => '',
  'init_commands' => ['isolation_level' => 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED']];`, quote(at.Host), at.Port, quote(name), quote(at.User), quote(at.Password))
}

// The whole life of a site with its content on a server: install, pages, writes,
// two rounds of updates, every command that Hefring calls.
func TestServers_Life(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"mysql", "pgsql"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			settings := onServer(t, driver)
			s := newSite(t, tidepool.V1058, "none", settings)
			for range 2 { // over the first one, too
				s.must(t, "site:install", "standard", "--yes", "--site-name=Alpha Harbour", "--account-pass=secret")
			}
			if status := s.status(t); status["db-driver"] != driver || status["bootstrap"] != "Successful" {
				t.Errorf("status %v", status)
			}
			w := s.serve(t)
			for _, want := range []string{"MISS", "HIT"} {
				if got := w.statusOf(t, "/", 200).header.Get("X-Drupal-Cache"); got != want {
					t.Errorf("X-Drupal-Cache is %q, want %q", got, want)
				}
			}
			if r := w.ask(t, http.MethodPost, host, "/node/1/comment", "name=Ann&body=Moored+safely+%E2%9A%93"); r.status != 303 {
				t.Errorf("POST: status %d\n%s", r.status, r.body)
			}
			contains(t, w.statusOf(t, "/node/1", 200).body, "Moored safely ⚓")
			s.must(t, "config:set", "-y", "system.site", "name", "Beta Quay")
			s.must(t, "core:cron")
			s.must(t, "state:set", "system.maintenance_mode", "1", "--input-format=integer")
			w.statusOf(t, "/?x=1", 503)
			s.must(t, "state:set", "system.maintenance_mode", "0", "--input-format=integer")
			contains(t, s.must(t, "user:login", "--no-browser"), "/user/reset/1/")

			next := newSite(t, tidepool.V1062, "none", settings)
			contains(t, next.must(t, "updatedb:status", "--format=json"), "system_update_10600", "tidepool_tides_update_10101")
			next.must(t, "updatedb", "--no-cache-clear", "-y")
			next.must(t, "cache:rebuild")
			if r := next.drush(t, "updatedb:status", "--format=json"); r.out != "" {
				t.Errorf("updates are pending: %s", r.out)
			}
			contains(t, next.serve(t).statusOf(t, "/?x=1", 200).body, "tidepool 10.6.2", "Range", "Beta Quay", "The harbour office is open every day from the first high water until dusk.")
			throws := newSite(t, tidepool.Throws, "none", settings)
			if r := throws.drush(t, "updatedb", "-y"); r.code != 1 {
				t.Errorf("an update that throws: exit code %d", r.code)
			}
			if n := asText(throws.query(t, "SELECT COUNT(*) FROM {tide_reading} WHERE station <> ''")); n != "2" {
				t.Errorf("the failing update left %s rows, want 2", n)
			}
		})
	}
}

// Visitors who read, write and clear caches at once get in nobody's way.
func TestServers_ManyAtOnce_NoPageFails(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"mysql", "pgsql"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tidepool.V1058, "none", onServer(t, driver))
			s.must(t, "site:install", "standard", "--yes")
			var all sync.WaitGroup
			for n := range 4 { // each server answers one request at a time
				w := s.serve(t)
				all.Go(func() {
					for i := range 25 {
						if r := w.ask(t, http.MethodGet, host, fmt.Sprintf("/?x=%d", i%3), ""); r.status != 200 {
							t.Errorf("GET: status %d", r.status)
						}
						if r := w.ask(t, http.MethodPost, host, "/node/1/comment", fmt.Sprintf("body=entry-%d-%d-end", n, i)); r.status != 303 {
							t.Errorf("POST: status %d", r.status)
						}
					}
				})
			}
			all.Wait()
			if n := asText(s.query(t, "SELECT COUNT(*) FROM {guestbook_entry}")); n != "100" {
				t.Errorf("%s entries, want 100", n)
			}
		})
	}
}

// As of real Drupal: a server that is gone is an error page, and no bootstrap.
func TestServers_Gone_500(t *testing.T) {
	t.Parallel()
	for _, connection := range []string{
		`['driver' => 'mysql', 'host' => '127.0.0.1', 'port' => 1, 'database' => 'x', 'username' => 'x', 'password' => 'x']`,
		`['driver' => 'pgsql', 'host' => '127.0.0.1', 'port' => 1, 'database' => 'x', 'username' => 'x', 'password' => 'x']`,
	} {
		s := newSite(t, tidepool.V1058, "none", "$databases['default']['default'] = "+connection+";")
		s.serve(t).statusOf(t, "/", 500)
		if status := s.status(t); status["bootstrap"] != nil {
			t.Errorf("status %v", status)
		}
	}
}
