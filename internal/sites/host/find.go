package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"hefring/internal/sites/backup"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// Find lists the sites of a code base that Hefring does not own, Drupal 7 or
// later. Their settings are programs of strangers: they run where they can change
// and reach nothing. What keeps a site from being adopted is its Problem.
func (h *Host) Find(ctx context.Context, root string, log upgrade.Log) ([]models.FoundSite, error) {
	root, err := h.foreignRoot(root)
	if err != nil {
		return nil, err
	}
	log.Step("find")
	docroots, err := drupal.Docroots(ctx, root)
	if err != nil {
		return nil, err
	}
	if len(docroots) == 0 {
		return nil, models.Errorf(models.NotFound,
			"There is no Drupal 7 or later in %s, nor two folders below it. Name the folder that holds the docroot.", root)
	}
	var found []models.FoundSite
	for _, docroot := range docroots {
		folders, err := drupal.SiteFolders(filepath.Join(root, docroot))
		if err != nil {
			return nil, err
		}
		log.Printf(models.LevelInfo, "%s: %d sites", filepath.Join(root, docroot), len(folders))
		for _, folder := range folders {
			site := models.FoundSite{Root: root, Docroot: docroot, Folder: folder}
			if err := h.examine(ctx, &site); err != nil {
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				site.Problem = models.Explain(err)
				log.Printf(models.LevelWarn, "%s: %s", filepath.Join("sites", folder), site.Problem)
			}
			found = append(found, site)
		}
	}
	return found, nil
}

// foreignRoot refuses what is Hefring's own, and the whole machine.
func (h *Host) foreignRoot(root string) (string, error) {
	if !filepath.IsAbs(root) {
		return "", models.InvalidField("root", "Use the absolute path of a folder on this server.")
	}
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", models.Wrapf(models.NotFound, err, "There is no folder %s on this server.", root)
	}
	data, err := h.data()
	if err != nil {
		return "", err
	}
	if resolved == "/" || within(data, resolved) || within(resolved, data) {
		return "", models.Errorf(models.Invalid, "%s holds Hefring's own data. Name the folder of one code base.", root)
	}
	return resolved, nil
}

// data is the folder that holds all of Hefring's own.
func (h *Host) data() (string, error) {
	data, err := filepath.EvalSymlinks(filepath.Dir(h.Layout.Root))
	if err != nil {
		return "", models.Wrapf(models.Unavailable, err, "Hefring's data folder cannot be found.")
	}
	return data, nil
}

// within tells whether path is dir or lies in it; both are clean and absolute.
func within(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// examine fills in what is known of a found site. An error says why it cannot be
// adopted.
func (h *Host) examine(ctx context.Context, site *models.FoundSite) error {
	var err error
	if strings.Contains(site.Folder, ".") {
		site.URI = strings.ToLower(site.Folder)
	}
	if site.DrupalVersion, err = drupal.CodeVersion(filepath.Join(site.Root, site.Docroot)); err != nil {
		return err
	}
	outside, err := h.outside(ctx, *site)
	if err != nil {
		return err
	}
	site.URI = ""
	if len(outside.Hosts) > 0 {
		site.URI = outside.Hosts[0]
	}
	site.Engine, site.Database = outside.Database.Engine, outside.Database.Name
	if site.Engine == models.EngineSQLite {
		site.Database = outside.Database.File
	}
	if err := h.bounded(*site, &outside); err != nil {
		return err
	}
	for dir, skip := range map[string]func(string) bool{outside.Public: notContent(outside), outside.Private: nil} {
		bytes, err := backup.Measure(ctx, dir, skip)
		if err != nil {
			return err
		}
		site.Bytes += bytes
	}
	peeked, err := h.Drupal.Peek(ctx, outside.Database)
	if err != nil {
		return err
	}
	site.Profile, site.Title = peeked.Profile, peeked.Title
	if site.Profile == "" && !peeked.Skipped {
		return models.Errorf(models.Invalid, "Its database holds no installed Drupal.")
	}
	return nil
}

// outside reads the settings of a found site. What they hold leaves this package
// only without the password.
func (h *Host) outside(ctx context.Context, site models.FoundSite) (drupal.Outside, error) {
	if !filepath.IsLocal(site.Folder) || strings.ContainsRune(site.Folder, '/') || site.Docroot != "" && !filepath.IsLocal(site.Docroot) {
		return drupal.Outside{}, models.Errorf(models.Invalid, "%q is not a folder of a code base.", site.Folder)
	}
	return h.Drupal.ReadSettings(ctx, site)
}

// bounded makes sure that the settings lead to nothing outside of the code base:
// we may read all of the machine, and what a stranger's settings name would become
// part of a site. The folders are given as they are without links.
func (h *Host) bounded(site models.FoundSite, o *drupal.Outside) error {
	const database = "database"
	for _, part := range []struct {
		what string
		path *string
	}{{database, &o.Database.File}, {"public files", &o.Public}, {"private files", &o.Private}, {"exported configuration", &o.Config}} {
		what, path := part.what, part.path
		if *path == "" {
			continue
		}
		resolved, err := filepath.EvalSymlinks(*path)
		if os.IsNotExist(err) && what != database {
			*path = ""
			continue
		}
		if err != nil {
			return models.Wrapf(models.Invalid, err, "Its %s, %s, cannot be found.", what, *path)
		}
		if resolved == site.Root || !within(site.Root, resolved) {
			return models.Errorf(models.Invalid,
				"Its %s is not in %s, but outside of it, in %s. Search from the folder that holds both, or move it.", what, site.Root, resolved)
		}
		*path = resolved
	}
	return nil
}

// notContent tells which paths below the public files are not copied with them:
// compiled code, the database, and other folders that are copied by themselves.
func notContent(o drupal.Outside) func(path string) bool {
	skip := map[string]bool{}
	for _, path := range []string{o.Private, o.Config, o.Database.File} {
		if rel, err := filepath.Rel(o.Public, path); err == nil && path != "" && filepath.IsLocal(rel) {
			for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
				skip[filepath.ToSlash(rel)+suffix] = true
			}
		}
	}
	return func(path string) bool { return backup.Compiled(path) || skip[path] }
}
