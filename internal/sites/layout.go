// Package sites knows what a site is on a server: where its parts lie on the
// disk, and through its sub-packages how Drupal, its database and the web server
// are handled, and how a site is moved from one platform to another.
package sites

import (
	"path/filepath"
	"strconv"

	"hefring/internal/run"
)

// Layout says where the parts of every site lie. One site's folder:
//
//	<root>/<site>/
//	    current -> docroot of the platform that serves (the switch renames this link)
//	    next    -> docroot of the platform that an upgrade prepares
//	    hash_salt
//	    password              of the site's user on its database server
//	    config/               Drupal's config sync directory
//	    db/                   SQLite databases, one file for each copy
//	    files/ private/ tmp/  shared by all releases
//	    run/                  read-only flag and write lock
//	    kept/<move>/          files, private and config of a content that does not serve:
//	                          what a restore brings, and afterwards what it left
//	    releases/<platform>/  settings.php, files -> ../../files, php/ (compiled templates)
//
// A platform's docroot holds only a link: sites/<uri> -> releases/<platform>. A
// release folder is the same for every attempt at the same platform, because
// PHP caches resolved paths.
type Layout struct {
	Root string // absolute
	// FirstUser is the uid and gid of the site with the number 0; every other
	// site's own user is its number more. 0: all sites are the web user's.
	FirstUser int
}

// User is the uid and gid that the site's PHP and its files belong to; 0 is the
// web user.
func (l Layout) User(siteID int64) int {
	if l.FirstUser <= 0 {
		return 0
	}
	return l.FirstUser + int(siteID)
}

// Owner is who the site's PHP and its files belong to: the site's own user, or
// else the web user.
func (l Layout) Owner(siteID int64, web *run.Identity) *run.Identity {
	user := l.User(siteID)
	if user == 0 {
		return web
	}
	return &run.Identity{UID: uint32(user), GID: uint32(user)} //nolint:gosec // the operator's range
}

// Dir is the site's own folder.
func (l Layout) Dir(siteID int64) string {
	return filepath.Join(l.Root, strconv.FormatInt(siteID, 10))
}

// Release is the folder that docroot/sites/<uri> of a platform points to.
func (l Layout) Release(siteID, platformID int64) string {
	return filepath.Join(l.Dir(siteID), "releases", strconv.FormatInt(platformID, 10))
}

// Current is the link to the docroot that serves.
func (l Layout) Current(siteID int64) string { return filepath.Join(l.Dir(siteID), "current") }

// Next is the link to the docroot that an upgrade prepares.
func (l Layout) Next(siteID int64) string { return filepath.Join(l.Dir(siteID), "next") }

// Files is the folder of public files.
func (l Layout) Files(siteID int64) string { return filepath.Join(l.Dir(siteID), "files") }

// Private is the folder of private files.
func (l Layout) Private(siteID int64) string { return filepath.Join(l.Dir(siteID), "private") }

// Temp is the site's folder for temporary files.
func (l Layout) Temp(siteID int64) string { return filepath.Join(l.Dir(siteID), "tmp") }

// Config is Drupal's config sync directory.
func (l Layout) Config(siteID int64) string { return filepath.Join(l.Dir(siteID), "config") }

// Databases is the folder of the site's SQLite files.
func (l Layout) Databases(siteID int64) string { return filepath.Join(l.Dir(siteID), "db") }

// Salt is the file that holds Drupal's hash salt.
func (l Layout) Salt(siteID int64) string { return filepath.Join(l.Dir(siteID), "hash_salt") }

// Password is the file that holds the password of the site's user on its database
// server. It belongs to Hefring alone: the site has it from its settings.
func (l Layout) Password(siteID int64) string { return filepath.Join(l.Dir(siteID), "password") }

// ReadOnly is the flag that is there while writes are refused; webserver.Gate and
// gate.php know its name, too.
func (l Layout) ReadOnly(siteID int64) string { return filepath.Join(l.Run(siteID), "read-only") }

// Run is the folder of the read-only flag and the write lock; the web user owns it.
func (l Layout) Run(siteID int64) string { return filepath.Join(l.Dir(siteID), "run") }
