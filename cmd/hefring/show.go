package main

import (
	"context"
	"os"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type overviewCmd struct {
	act
	Limit int `default:"50" help:"At most so many lines of each kind."`
}

// overview is the first page as scripts read it: each part as the API has it.
type overview struct {
	Fleet     api.Counts     `json:"fleet"`
	Decisions []api.Decision `json:"decisions"`
	Running   []api.Task     `json:"running"`
	Recent    []api.Task     `json:"recent"`
}

// Run prints what the first page shows.
func (c *overviewCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		filter := fleet.Filter{Limit: c.Limit}
		counts, err := f.Fleet(ctx, filter)
		if err != nil {
			return err
		}
		waits, err := f.Decisions(ctx, filter)
		if err != nil {
			return err
		}
		running, err := f.RunningTasks(ctx, filter)
		if err != nil {
			return err
		}
		recent, err := f.RecentTasks(ctx, filter)
		if err != nil {
			return err
		}
		return c.print(overview{api.CountsView(counts), each(waits, api.DecisionView), each(running, api.TaskView), each(recent, api.TaskView)})
	})
}

func (c *overviewCmd) print(view overview) error {
	err := c.facts(view, []fact{
		{"current sites", view.Fleet.Current},
		{"behind", view.Fleet.Behind},
		{"held", view.Fleet.Held},
		{"broken", view.Fleet.Broken},
		{"disabled", view.Fleet.Disabled},
		{"busy", view.Fleet.Busy},
	})
	if err != nil || c.JSON {
		return err
	}
	err = c.table(nil, []string{"\nDECISION", "ABOUT", "WHY"}, func(line func(...any)) {
		for _, d := range view.Decisions {
			line(d.Kind, d.Title, d.Why)
		}
	})
	if err != nil {
		return err
	}
	return c.table(nil, []string{"\nTASK", "STATE", "TITLE", "RESULT"}, func(line func(...any)) {
		for _, t := range append(view.Running, view.Recent...) {
			line(t.ID, t.State, t.Title, t.Message)
		}
	})
}

// withSite does something with a site by its address that needs no task.
func (c *act) withSite(ctx context.Context, uri string, work func(f door, site models.Site) error) error {
	return c.reach(ctx, func(f door) error {
		site, err := f.SiteNamed(ctx, uri)
		if err != nil {
			return err
		}
		return work(f, site)
	})
}

type siteShowCmd struct {
	act
	siteArg
}

// Run prints the site.
func (c *siteShowCmd) Run(ctx context.Context) error {
	return c.withSite(ctx, c.URI, func(f door, site models.Site) error {
		row, err := f.SiteRow(ctx, site.ID)
		if err != nil {
			return err
		}
		view := api.SiteView(f)(row)
		return c.facts(view, siteFacts(view))
	})
}

func siteFacts(s api.Site) []fact {
	held := ""
	if s.Held {
		held = strings.TrimSpace(s.HeldReason + " " + stamp(s.HeldUntil))
	}
	return []fact{
		{"site", s.URI},
		{"address", s.URL},
		{"title", s.Title},
		{"state", s.State},
		{"reason", s.Reason},
		{"held", held},
		{"distribution", s.Distribution},
		{"platform", s.Platform},
		{"Drupal", s.DrupalVersion},
		{"upgrade to", s.UpgradeTarget},
		{"profile", s.Profile},
		{"language", s.Language},
		{"database", s.Database},
		{"aliases", strings.Join(s.Settings.Aliases, " ")},
		{"https", s.Settings.HTTPS},
		{"cron", every(s.Settings.CronSeconds)},
		{"backups", every(s.Settings.BackupEverySeconds)},
		{"running task", nonzero(int(s.RunningTask))},
	}
}

func every(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return "every " + (time.Duration(seconds) * time.Second).String()
}

func (c *act) changes(list []models.PackageChange) error {
	return c.table(nil, []string{"\nPACKAGE", "TYPE", "FROM", "TO"}, func(line func(...any)) {
		for _, p := range list {
			line(p.Name, p.Type, p.From, p.To)
		}
	})
}

type sitePlanCmd struct {
	act
	siteArg
}

// Run prints what the upgrade would change.
func (c *sitePlanCmd) Run(ctx context.Context) error {
	return c.withSite(ctx, c.URI, func(f door, site models.Site) error {
		plan, err := f.UpgradePlan(ctx, site.ID)
		if err != nil {
			return err
		}
		view := api.PlanView(plan)
		asked := "not yet; hefring site compare asks"
		if view.Asked {
			asked = stamp(view.AskedAt)
		}
		err = c.facts(view, []fact{
			{"site", c.URI},
			{"from", view.From},
			{"to", view.To},
			{"Drush was asked", asked},
			{"database updates", nonzero(len(view.Updates))},
			{"cannot go because", strings.Join(view.Blockers, " ")},
			{"running task", nonzero(int(view.RunningTask))},
		})
		if err != nil || c.JSON {
			return err
		}
		return c.changes(view.Changes)
	})
}

type siteCompareCmd struct {
	waiting
	siteArg
}

// Run queues the comparison.
func (c *siteCompareCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) { return f.CompareNow(ctx, s.ID) })
}

type siteRetryCmd struct {
	waiting
	siteArg
}

// Run queues the installation.
func (c *siteRetryCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) { return f.RetryInstall(ctx, s.ID) })
}

type siteMovesCmd struct {
	act
	siteArg
	Limit int `default:"50" help:"At most so many."`
}

// Run prints the list.
func (c *siteMovesCmd) Run(ctx context.Context) error {
	return c.withSite(ctx, c.URI, func(f door, site models.Site) error {
		list, err := f.SiteUpgrades(ctx, site.ID, c.Limit)
		if err != nil {
			return err
		}
		moves := each(list, func(u models.Upgrade) api.Upgrade { return api.UpgradeView(u, nil) })
		return c.table(moves, []string{"MOVE", "KIND", "STATE", "MODE", "TASK", "STARTED", "READ-ONLY", "WHY"}, func(line func(...any)) {
			for _, m := range moves {
				line(m.ID, m.Kind, m.State, m.Mode, m.Task, stamp(m.Started), m.ReadOnlySeconds, m.Reason)
			}
		})
	})
}

// backupArg names the backup of a command.
type backupArg struct {
	ID int64 `arg:"" name:"backup" help:"The backup's number; see hefring site backups."`
}

type siteKeepCmd struct {
	act
	backupArg
	Keep bool `default:"true" negatable:"" help:"Keep it; --no-keep lets it go with the others."`
}

// Run says whether it stays.
func (c *siteKeepCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error { return f.KeepBackup(ctx, c.ID, c.Keep) })
}

type siteDropCmd struct {
	act
	backupArg
}

// Run deletes it.
func (c *siteDropCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error { return f.DeleteBackup(ctx, c.ID) })
}

type platformShowCmd struct {
	act
	platformArg
}

// Run prints the platform.
func (c *platformShowCmd) Run(ctx context.Context) error {
	return c.at(ctx, c.Name, func(f door, id int64) error {
		row, err := f.PlatformRow(ctx, id)
		if err != nil {
			return err
		}
		p, err := f.Platform(ctx, id)
		if err != nil {
			return err
		}
		view := api.PlatformDetailsView(row, p)
		return c.facts(view, []fact{
			{"platform", view.Name},
			{"distribution", view.Distribution},
			{"state", view.State},
			{"reason", view.Reason},
			{"locked", yes(view.Locked)},
			{"upgrade target", yes(view.UpgradeTarget)},
			{"sites", view.Sites},
			{"Drupal", view.DrupalVersion},
			{"PHP", view.PHPVersion},
			{"revision", view.Revision},
			{"note", view.Note},
			{"build key", view.BuildKey},
			{"folder", view.Folder},
			{"manifest", view.Digest},
			{"files", view.Files},
			{"built", stamp(view.Built)},
			{"profiles", strings.Join(view.Profiles, " ")},
			{"packages", len(view.Packages)},
			{"findings", len(view.Findings)},
		})
	})
}

type platformPlanCmd struct {
	act
	platformArg
}

// Run prints what upgrading its sites would change.
func (c *platformPlanCmd) Run(ctx context.Context) error {
	return c.at(ctx, c.Name, func(f door, id int64) error {
		plan, err := f.PlatformPlan(ctx, id)
		if err != nil {
			return err
		}
		view := api.PlatformPlanView(plan)
		err = c.facts(view, []fact{
			{"from", view.From},
			{"to", view.To},
			{"sites", view.Sites},
			{"compared", view.Compared},
			{"with database updates", view.Updates},
			{"blocked", view.Blocked},
			{"running task", nonzero(int(view.RunningTask))},
		})
		if err != nil || c.JSON {
			return err
		}
		return c.changes(view.Changes)
	})
}

type databaseShowCmd struct {
	act
	Name string `arg:"" help:"The server's name."`
}

// Run prints the server, without its password.
func (c *databaseShowCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		row, err := f.DatabaseServerRow(ctx, c.Name)
		if err != nil {
			return err
		}
		view := api.DatabaseView(row)
		return c.facts(view, []fact{
			{"server", view.Name},
			{"kind", view.Engine},
			{"host", view.Host},
			{"port", view.Port},
			{"user", view.User},
			{"tls", view.TLS},
			{"clients", view.Clients},
			{"prefix", view.Prefix},
			{"default", yes(view.Default)},
			{"sites", view.Sites},
			{"version", view.Version},
			{"problem", view.Problem},
			{"tested", stamp(view.Tested)},
		})
	})
}

type taskShowCmd struct {
	act
	taskArg
}

// Run prints the task.
func (c *taskShowCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		t, err := f.Task(ctx, c.ID)
		if err != nil {
			return err
		}
		children, err := f.Children(ctx, c.ID)
		if err != nil {
			return err
		}
		view := taskDetails{Task: api.TaskView(t), Children: each(children, api.TaskView)}
		u, err := f.UpgradeOfTask(ctx, c.ID)
		switch {
		case err == nil:
			steps, err := f.UpgradeSteps(ctx, u.ID)
			if err != nil {
				return err
			}
			move := api.UpgradeView(u, steps)
			view.Move = &move
		case models.CodeOf(err) != models.NotFound:
			return err
		}
		return c.print(view)
	})
}

// taskDetails is a task with its move and the tasks that it started, each as the API
// has it.
type taskDetails struct {
	api.Task

	Move     *api.Upgrade `json:"upgrade,omitempty"`
	Children []api.Task   `json:"children"`
}

func (c *taskShowCmd) print(view taskDetails) error {
	if c.JSON {
		return printJSON(os.Stdout, view)
	}
	list := []fact{
		{"task", view.ID},
		{"title", view.Title},
		{"state", view.State},
		{"result", view.Message},
		{"asked for by", view.Actor},
		{"attempt", nonzero(view.Attempt)},
		{"queued", stamp(&view.Created)},
		{"started", stamp(view.Started)},
		{"ended", stamp(view.Ended)},
	}
	if view.Move != nil {
		for _, s := range view.Move.Steps {
			list = append(list, fact{"step " + string(s.Name), strings.TrimSpace(string(s.State) + " " + s.Message)})
		}
	}
	for _, child := range view.Children {
		list = append(list, fact{"started", strings.Join([]string{nonzero(int(child.ID)), string(child.State), child.Title}, " ")})
	}
	return c.facts(nil, list)
}
