//go:build drupal

package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"hefring/models"
)

// imports makes a code base outside of Hefring with one site for each database,
// and adopts them.
func (d *drupal) imports() {
	d.t.Helper()
	root := d.outside()
	docroot := filepath.Join(root, d.j.text(`SELECT docroot FROM platforms WHERE id = ?`, d.old.id))
	folders := map[string]*drupalSite{}
	for _, s := range d.sites {
		folder := "old-" + s.engine + ".example.org"
		d.foreign(docroot, root, folder, s)
		folders[folder] = s
	}
	before := listing(d, root)
	task := d.landed(d.p.submit("/import", "/import", url.Values{"root": {root}}))
	d.ends(task, "succeeded")
	for folder, s := range folders {
		d.adopt(task, folder, s)
	}
	if after := listing(d, root); after != before {
		d.t.Errorf("the code base outside was changed:\nbefore\n%s\nafter\n%s", before, after)
	}
}

// outside copies a platform to where somebody else could have it, without the
// sites that are on it.
func (d *drupal) outside() string {
	d.t.Helper()
	root := filepath.Join(d.h.dir, "outside")
	for _, command := range [][]string{
		{"cp", "-a", d.root(d.old.id), root},
		{"chmod", "-R", "u+w", root},
		{"find", root, "-path", "*/sites/*", "-type", "l", "-delete"},
	} {
		if out, err := exec.CommandContext(d.t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			d.t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	return root
}

// foreign installs a site in the code base outside, with Drush and without
// Hefring.
func (d *drupal) foreign(docroot, root, folder string, like *drupalSite) {
	d.t.Helper()
	dir := filepath.Join(docroot, "sites", folder)
	for _, name := range []string{"files", "private", "config", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o777); err != nil {
			d.t.Fatal(err)
		}
	}
	text := "<?php\n$databases['default']['default'] = " + d.foreignDatabase(dir, like) + ";\n" + d.speech.settings("sites/"+folder)
	if err := os.WriteFile(filepath.Join(dir, "settings.php"), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
	if out, err := exec.CommandContext(d.t.Context(), "chown", "-R", webOwner(d.t), dir).CombinedOutput(); err != nil {
		d.t.Fatalf("chown: %v\n%s", err, out)
	}
	// Drush before 13 does not find a folder whose name has a dot by itself.
	d.drush(root, docroot, folder, d.speech.install(), d.profile, "--sites-subdir="+folder, "--site-name=Outside", "--account-name=admin", "--yes")
	d.drush(root, docroot, folder, d.speech.eval(),
		d.speech.node("Moored outside")+d.speech.public("harbour.txt", "A public harbour")+d.speech.private("secret.txt", "A private harbour"))
}

// foreignDatabase is the PHP array that names a database of the site's own.
func (d *drupal) foreignDatabase(dir string, like *drupalSite) string {
	d.t.Helper()
	switch like.engine {
	case models.EngineMySQL:
		server := d.mysql.TCP()
		if _, err := d.mysql.DB(d.t, "").ExecContext(d.t.Context(), "CREATE DATABASE outside"); err != nil {
			d.t.Fatal(err)
		}
		return fmt.Sprintf("['driver' => 'mysql', 'database' => 'outside', 'username' => %s, 'password' => %s, 'host' => %s, 'port' => %d, 'prefix' => '']",
			phpString(server.User), phpString(server.Password), phpString(server.Host), server.Port)
	case models.EnginePostgres:
		server := d.postgres.TCP()
		d.onPostgres("postgres", "CREATE ROLE outside LOGIN PASSWORD 'outside'", "CREATE DATABASE outside OWNER outside")
		d.onPostgres("outside", "CREATE EXTENSION IF NOT EXISTS pg_trgm") // Drupal 10 wants it
		return fmt.Sprintf("['driver' => 'pgsql', 'database' => 'outside', 'username' => 'outside', 'password' => 'outside', 'host' => %s, 'port' => %d, 'prefix' => '']",
			phpString(server.Host), server.Port)
	default:
		return "['driver' => 'sqlite', 'database' => " + phpString(filepath.Join(dir, "data", "site.sqlite")) + ", 'prefix' => '']"
	}
}

// onPostgres runs statements as the server's superuser.
func (d *drupal) onPostgres(name string, statements ...string) {
	d.t.Helper()
	connection, err := pgx.Connect(d.t.Context(), d.postgres.DSN(name))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, statement := range statements {
		_, failed := connection.Exec(d.t.Context(), statement)
		err = errors.Join(err, failed)
	}
	if err = errors.Join(err, connection.Close(d.t.Context())); err != nil {
		d.t.Fatal(err)
	}
}

// adopt makes a site of Hefring's of one that was found, and looks whether it is
// whole.
func (d *drupal) adopt(task int64, folder string, like *drupalSite) {
	d.t.Helper()
	s := &drupalSite{engine: like.engine, server: like.server, uri: "adopted-" + like.engine + ".localhost"}
	query := url.Values{"task": {strconv.FormatInt(task, 10)}, "folder": {folder}}
	values := url.Values{"uri": {s.uri}, "title": {""}, "platform": {strconv.FormatInt(d.old.id, 10)}, "database": {strconv.FormatInt(s.server, 10)}}
	maps.Copy(values, query)
	got := d.p.submit("/sites/clone?"+query.Encode(), "/sites/clone", values)
	if s.id = got.id(); s.id == 0 {
		d.t.Fatalf("adopt %s: status %d\n%s\n%s", folder, got.status, got.text(), d.p.get(fmt.Sprintf("/tasks/%d", task)).text())
	}
	d.succeeds("clone", s.id)
	d.runs(s, d.old)
	d.whole(s, "Moored outside")
	if title := d.j.text(`SELECT title FROM sites WHERE id = ?`, s.id); title != "Outside" {
		d.t.Errorf("its title became %q", title)
	}
	d.pressOn(s.id, "verify")
	d.p.quiet()
	d.step(like.engine + ": adopted")
	d.remove(s)
}

// listing is all that is in a folder, with sizes and times of change.
func listing(d *drupal, root string) string {
	d.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && strings.Contains(path, "/sites/old-") {
			fmt.Fprintf(&b, "%s %s %d %s\n", path, info.Mode(), info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return b.String()
}
