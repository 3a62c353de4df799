package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hefring/models"
)

// CloneSite makes a site with the content of another one, of a backup, or of a
// site outside of Hefring. Its origin stays as it is.
func (f *Fleet) CloneSite(ctx context.Context, by string, in NewClone) (models.Site, error) {
	args := models.Settings{}
	origin, err := f.originOf(ctx, in, args)
	if err != nil {
		return models.Site{}, err
	}
	to, err := f.cloneOf(ctx, origin, in)
	if err != nil {
		return models.Site{}, err
	}
	destination, err := f.destinationOf(ctx, to, in.ServerID)
	if err != nil {
		return models.Site{}, err
	}
	var first int64
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, sent{in.Once, "site", in}, &first); err != nil {
			return err
		}
		if err := tx.CreateSite(ctx, &to); err != nil {
			return err
		}
		if err := useForm(ctx, tx, in.Once, to.ID); err != nil {
			return err
		}
		task := models.Task{
			Kind: models.TaskClone, Subject: siteSubject(to.ID), Actor: by, Args: args, Title: "Make " + to.URI + " from " + originName(origin),
		}
		_, err := queueMaking(ctx, tx, task, destination)
		return err
	})
	if errors.Is(err, errTwin) {
		return f.store.Site(ctx, first)
	}
	if err == nil && to.ServerID != nil {
		f.shareNow(ctx)
	}
	return to, err
}

// originOf finds what a clone is made from, and notes it for the task.
func (f *Fleet) originOf(ctx context.Context, in NewClone, args models.Settings) (models.Origin, error) {
	switch {
	case in.FromSite != 0:
		args["site"] = strconv.FormatInt(in.FromSite, 10)
	case in.FromBackup != 0:
		args["backup"] = strconv.FormatInt(in.FromBackup, 10)
	case in.FromFound != 0:
		args["found"], args["folder"] = strconv.FormatInt(in.FromFound, 10), in.Folder
	default:
		return models.Origin{}, models.InvalidField("origin", "Say which site, backup or found site it is made from.")
	}
	return f.origin(ctx, args)
}

// origin reads a task's arguments.
func (f *Fleet) origin(ctx context.Context, args models.Settings) (models.Origin, error) {
	id := func(name string) int64 {
		n, _ := strconv.ParseInt(args[name], 10, 64)
		return n
	}
	switch {
	case args["site"] != "":
		site, err := f.installed(ctx, id("site"))
		return models.Origin{Site: &site}, err
	case args["backup"] != "":
		b, err := f.readyBackup(ctx, id("backup"))
		return models.Origin{Backup: &b}, err
	}
	all, err := f.FoundSites(ctx, id("found"))
	if err != nil {
		return models.Origin{}, err
	}
	for _, found := range all {
		if found.Folder != args["folder"] {
			continue
		}
		if found.Problem != "" {
			return models.Origin{}, models.Errorf(models.Conflict, "%s cannot be adopted: %s", found.URI, found.Problem)
		}
		return models.Origin{Found: &found}, nil
	}
	return models.Origin{}, models.Errorf(models.NotFound, "No site was found in sites/%s. Look for sites again.", args["folder"])
}

func (f *Fleet) readyBackup(ctx context.Context, id int64) (models.Backup, error) {
	b, err := f.store.Backup(ctx, id)
	if err == nil && b.State != models.BackupReady {
		err = models.Errorf(models.Conflict, "The backup is %s. Choose one that is ready.", b.State)
	}
	return b, err
}

func originName(o models.Origin) string {
	switch {
	case o.Site != nil:
		return o.Site.URI
	case o.Backup != nil:
		return "a backup of " + o.Backup.URI
	}
	return o.Found.URI
}

// cloneOf fills the row of the new site.
func (f *Fleet) cloneOf(ctx context.Context, o models.Origin, in NewClone) (models.Site, error) {
	to := models.Site{
		URI: strings.ToLower(strings.TrimSpace(in.URI)), Title: strings.TrimSpace(in.Title), PlatformID: in.PlatformID,
		Server: LocalServer, State: models.SiteInstalling,
	}
	var title, engine string
	var platform int64
	switch {
	case o.Site != nil:
		to.Profile, to.Language, title, engine, platform = o.Site.Profile, o.Site.Language, o.Site.Title, o.Site.Database.Engine, o.Site.PlatformID
	case o.Backup != nil:
		to.Profile, title, engine, platform = o.Backup.Profile, o.Backup.URI, o.Backup.Engine, o.Backup.PlatformID
	default:
		to.Profile, title, engine = o.Found.Profile, o.Found.Title, o.Found.Engine
	}
	if to.Title == "" {
		to.Title = title
	}
	if to.Title == "" {
		to.Title = to.URI
	}
	if to.PlatformID == 0 {
		to.PlatformID = platform
	}
	wrong := to.Validate()
	from, err := f.siteOf(ctx, o)
	if err != nil {
		return to, err
	}
	if from.ServerID != nil { // its content lies there; a site from outside is found on the control plane's host
		if why := f.placeOn(ctx, &to, *from.ServerID); why != "" {
			wrong["origin"] = why
		}
	}
	if why := f.placeDatabase(ctx, &to, cmp.Or(in.DatabaseServerID, from.Database.Server), engine); why != "" {
		wrong["database"] = why
	}
	p, err := f.store.Platform(ctx, to.PlatformID)
	switch {
	case models.CodeOf(err) == models.NotFound:
		wrong["platform"] = "Choose a platform."
	case err != nil:
		return to, err
	case refusesSites(p) != "":
		wrong["platform"] = refusesSites(p)
	case to.Profile != "" && !slices.Contains(p.Profiles, to.Profile):
		wrong["platform"] = p.Name + " has no profile " + to.Profile + ". Choose a platform that has it."
	}
	if len(wrong) > 0 {
		return to, models.InvalidFields(wrong)
	}
	return to, nil
}

// siteOf gives the site that an origin is, or is a backup of; none for one outside.
func (f *Fleet) siteOf(ctx context.Context, o models.Origin) (models.Site, error) {
	switch {
	case o.Site != nil:
		return *o.Site, nil
	case o.Backup != nil:
		return f.store.Site(ctx, o.Backup.SiteID)
	}
	return models.Site{}, nil
}

// placeDatabase says where a site's databases go, and why not; engine is what
// its content needs, "" is any.
func (f *Fleet) placeDatabase(ctx context.Context, s *models.Site, serverID int64, engine string) string {
	chosen := models.EngineSQLite
	if serverID != 0 {
		server, err := f.store.DatabaseServer(ctx, serverID)
		if err != nil {
			return "Choose SQLite or one of the database servers."
		}
		if server.Reason != "" {
			return server.Name + " cannot be used: " + server.Reason
		}
		chosen, s.DatabaseServerID = server.Engine, &serverID
	}
	if engine != "" && chosen != engine {
		return fmt.Sprintf("Its content comes from %s and cannot go to %s. Choose a database server of the same kind.", engine, chosen)
	}
	return ""
}

// runClone is the task that makes a site from what is there already.
func (f *Fleet) runClone(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	return f.make(ctx, t, log, func(s models.Site, p models.Platform) (models.Database, error) {
		origin, err := f.origin(ctx, t.Args)
		if err != nil {
			return models.Database{}, err
		}
		from, err := f.siteOf(ctx, origin)
		if err != nil {
			return models.Database{}, err
		}
		if !f.here(from) {
			return models.Database{}, models.Errorf(models.Conflict, "%s is not on the server of %s any more. Clone it anew.", originName(origin), s.URI)
		}
		return f.cfg.Hosting.Clone(ctx, origin, s, p, log)
	})
}

func importSubject() models.Subject { return models.Subject{Kind: models.SubjectImport, ID: 1} }

// FindSites looks for the sites of a code base that Hefring does not own. It
// changes nothing there.
func (f *Fleet) FindSites(ctx context.Context, by, root string) (models.Task, error) {
	root = strings.TrimSpace(root)
	if !filepath.IsAbs(root) || len(root) > 1000 || strings.ContainsAny(root, "\x00\r\n") {
		return models.Task{}, models.InvalidField("root", "Give the absolute path of the code base on this server, such as /var/www/drupal.")
	}
	root = filepath.Clean(root)
	for _, own := range f.cfg.Forbidden {
		if root == own || strings.HasPrefix(root, own+"/") {
			return models.Task{}, models.InvalidField("root", "This is Hefring's own folder. Its sites are in the list already.")
		}
	}
	return f.start(ctx, models.Task{
		Kind: models.TaskImport, Subject: importSubject(), Title: "Look for sites in " + root, Actor: by, Args: models.Settings{"root": root},
	})
}

func (f *Fleet) runImport(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	found, err := f.cfg.Hosting.Find(ctx, t.Args["root"], log)
	if err != nil {
		return "", "", err
	}
	result, err := json.Marshal(found)
	if err != nil {
		return "", "", fmt.Errorf("write what was found: %w", err)
	}
	t.Result = string(result)
	if err := f.store.SaveTaskResult(ctx, t); err != nil {
		return "", "", err
	}
	good := 0
	for _, one := range found {
		if one.Problem == "" {
			good++
		}
	}
	return fmt.Sprintf("%d sites found, %d can be adopted", len(found), good), "", nil
}

// FoundSites gives what a task that looked for sites found.
func (f *Fleet) FoundSites(ctx context.Context, taskID int64) ([]models.FoundSite, error) {
	t, err := f.store.Task(ctx, taskID)
	if err != nil {
		return nil, err
	}
	if t.Kind != models.TaskImport {
		return nil, models.Errorf(models.NotFound, "The task %q did not look for sites.", t.Title)
	}
	if t.Result == "" {
		return nil, nil
	}
	var found []models.FoundSite
	if err := json.Unmarshal([]byte(t.Result), &found); err != nil {
		return nil, fmt.Errorf("read what task %d found: %w", taskID, err)
	}
	return found, nil
}
