// Package drupal handles the Drupal side of a site: the folder that a platform
// sees as sites/<uri>, with its settings.php, and Drush, asked about one site on
// one platform.
package drupal

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/models"
)

// Programs starts programs as the web user; *run.Runner does.
type Programs interface {
	Run(ctx context.Context, c run.Cmd) (run.Result, error)
	// Identity is the web user; nil when that is ourselves.
	Identity() *run.Identity
	// Chown gives path and what is in it to the web user.
	Chown(path string) error
}

// Drupal places sites on platforms and speaks with them.
type Drupal struct {
	// Drush8 is the absolute path of the Drush for Drupal 7 platforms that have
	// none of their own; "" when this server has none.
	Drush8 string
	// Times are the limits of Drush's commands; New sets the default ones.
	Times Times

	layout   sites.Layout
	programs Programs
	engine   database.Engine
}

// New makes the Drupal side of the sites of a layout.
func New(layout sites.Layout, programs Programs, engine database.Engine) *Drupal {
	return &Drupal{Times: DefaultTimes(), layout: layout, programs: programs, engine: engine}
}

// Release is one site on one platform with one database.
type Release struct {
	Site     models.Site
	Platform models.Platform
	Database models.Database
	// Aside names a trial beside the site, such as compare-17: it has a folder
	// and an address of its own that no web server answers, so that it may run
	// on the platform that serves the site or is about to. "" is the site
	// itself.
	Aside string
}

var asidePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$`)

// Docroot is the folder that holds index.php.
func (r Release) Docroot() string { return filepath.Join(r.Platform.Root, r.Platform.Docroot) }

// URI is the name of the folder below the platform's sites/, and the address
// that Drush is given.
func (r Release) URI() string {
	if r.Aside == "" {
		return r.Site.URI
	}
	// No site can have a name that begins with an underscore.
	return "_" + r.Aside + ".site" + strconv.FormatInt(r.Site.ID, 10)
}

// names are all host names of the release; a trial has but one.
func (r Release) names() []string {
	if r.Aside != "" {
		return []string{r.URI()}
	}
	return r.Site.Names()
}

func (r Release) link() string { return r.linkOf(r.URI()) }

func (r Release) linkOf(name string) string { return filepath.Join(r.Docroot(), "sites", name) }

// publicFiles is where Drupal finds the site's public files, from the docroot.
func (r Release) publicFiles() string { return "sites/" + r.URI() + "/files" }

// dir is the folder that the link points to.
func (r Release) dir(layout sites.Layout) string {
	dir := layout.Release(r.Site.ID, r.Platform.ID)
	if r.Aside == "" {
		return dir
	}
	return dir + "-" + r.Aside
}

func (r Release) compiled(layout sites.Layout) string { return filepath.Join(r.dir(layout), "php") }

// check refuses what would lead out of the site's or the platform's folder.
func (r Release) check() error {
	switch {
	case r.Site.ID <= 0 || r.Platform.ID <= 0:
		return models.Errorf(models.Invalid, "The site or the platform is not stored yet.")
	case r.Site.Validate()["uri"] != "":
		return models.Errorf(models.Invalid, "%q is not a site's name. %s", r.Site.URI, r.Site.Validate()["uri"])
	case r.Aside != "" && !asidePattern.MatchString(r.Aside):
		return models.Errorf(models.Invalid, "%q cannot name a trial.", r.Aside)
	case slices.ContainsFunc(r.Site.Aliases, func(alias string) bool { return (&models.Site{URI: alias}).Validate()["uri"] != "" }):
		return models.Errorf(models.Invalid, "One of the other names of %s is not a host name. Correct its aliases.", r.Site.URI)
	case !filepath.IsAbs(r.Platform.Root) || r.Platform.Docroot != "" && !filepath.IsLocal(r.Platform.Docroot):
		return models.Errorf(models.Invalid, "The platform %s has no code on this server. Build it again.", r.Platform.Name)
	}
	return nil
}
