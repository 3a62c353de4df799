package main

import (
	"context"
	"os"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

type overviewCmd struct {
	act
	Limit int `default:"50" help:"At most so many lines of each kind."`
}

// Run prints what the first page shows.
func (c *overviewCmd) Run(ctx context.Context) error {
	return c.do(ctx, func(f *fleet.Desk) error {
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
		view := overviewJSON{
			Sites:     map[string]int{"current": counts.Current, "behind": counts.Behind, "held": counts.Held, "broken": counts.Broken, "disabled": counts.Disabled, "busy": counts.Busy},
			Decisions: []decisionJSON{}, Running: []taskJSON{}, Recent: []taskJSON{},
		}
		for _, d := range waits {
			view.Decisions = append(view.Decisions, decisionJSON{d.Kind, d.Title, d.Why, d.Sites, d.PlatformName, d.TaskID, d.At})
		}
		for _, t := range running {
			view.Running = append(view.Running, asJSON(t))
		}
		for _, t := range recent {
			view.Recent = append(view.Recent, asJSON(t))
		}
		return c.print(view)
	})
}

// overviewJSON is the first page as scripts read it.
type overviewJSON struct {
	Sites     map[string]int `json:"sites"`
	Decisions []decisionJSON `json:"decisions"`
	Running   []taskJSON     `json:"running"`
	Recent    []taskJSON     `json:"recent"`
}

type decisionJSON struct {
	Kind     fleet.DecisionKind `json:"kind"`
	Title    string             `json:"title"`
	Why      string             `json:"why"`
	Sites    int                `json:"sites,omitempty"`
	Platform string             `json:"upgrade_target,omitempty"`
	Task     int64              `json:"task,omitempty"`
	At       time.Time          `json:"at"`
}

func (c *overviewCmd) print(view overviewJSON) error {
	err := c.facts(view, []fact{
		{"current sites", view.Sites["current"]},
		{"behind", view.Sites["behind"]},
		{"held", view.Sites["held"]},
		{"broken", view.Sites["broken"]},
		{"disabled", view.Sites["disabled"]},
		{"busy", view.Sites["busy"]},
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
		view := siteJSON{
			URI: row.URI, URL: f.SiteURL(row.Site), Title: row.Title, State: row.State, Reason: row.Reason, Distribution: row.DistributionName,
			Platform: row.Platform.Name, Drupal: row.Platform.DrupalVersion, Profile: row.Profile, Language: row.Language, Engine: row.Database.Engine,
			Aliases: row.Aliases, HTTPS: row.HTTPS, Held: row.Held, HeldReason: row.HeldReason, HeldUntil: row.HeldUntil,
			Cron: row.CronEvery.Seconds(), Backup: row.BackupEvery.Seconds(), Task: row.RunningTaskID,
		}
		if row.Behind() {
			view.Target = row.Target.Name
		}
		return c.facts(view, view.facts())
	})
}

// siteJSON is a site as scripts read it.
type siteJSON struct {
	URI          string           `json:"uri"`
	URL          string           `json:"url"`
	Title        string           `json:"title"`
	State        models.SiteState `json:"state"`
	Reason       string           `json:"reason,omitempty"`
	Distribution string           `json:"distribution,omitempty"`
	Platform     string           `json:"platform"`
	Drupal       string           `json:"drupal_version"`
	Target       string           `json:"upgrade_target,omitempty"`
	Profile      string           `json:"profile"`
	Language     string           `json:"language,omitempty"`
	Engine       string           `json:"database"`
	Aliases      []string         `json:"aliases,omitempty"`
	HTTPS        models.HTTPS     `json:"https,omitempty"`
	Held         bool             `json:"held"`
	HeldReason   string           `json:"held_reason,omitempty"`
	HeldUntil    *time.Time       `json:"held_until,omitempty"`
	Cron         float64          `json:"cron_seconds,omitempty"`
	Backup       float64          `json:"backup_every_seconds,omitempty"`
	Task         int64            `json:"running_task,omitempty"`
}

func (s siteJSON) facts() []fact {
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
		{"Drupal", s.Drupal},
		{"upgrade to", s.Target},
		{"profile", s.Profile},
		{"language", s.Language},
		{"database", s.Engine},
		{"aliases", strings.Join(s.Aliases, " ")},
		{"https", s.HTTPS},
		{"cron", every(s.Cron)},
		{"backups", every(s.Backup)},
		{"running task", nonzero(int(s.Task))},
	}
}

func every(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return "every " + (time.Duration(seconds) * time.Second).String()
}

// changeJSON is a package that an upgrade changes.
type changeJSON struct {
	Name string `json:"name"`
	Type string `json:"type"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

func changesView(list []models.PackageChange) []changeJSON {
	view := make([]changeJSON, 0, len(list))
	for _, p := range list {
		view = append(view, changeJSON(p))
	}
	return view
}

func (c *act) changes(list []changeJSON) error {
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
		view := planJSON{From: plan.From.Name, To: plan.To.Name, Changes: changesView(plan.Changes), Task: plan.RunningTask}
		asked := "not yet; hefring site compare asks"
		if k := plan.Comparison; k != nil {
			view.Asked, view.Updates, view.Blockers = true, k.Updates, k.Blockers
			asked = stamp(&k.MadeAt)
		}
		err = c.facts(view, []fact{
			{"site", c.URI},
			{"from", view.From},
			{"to", view.To},
			{"Drush was asked", asked},
			{"database updates", nonzero(len(view.Updates))},
			{"cannot go because", strings.Join(view.Blockers, " ")},
			{"running task", nonzero(int(view.Task))},
		})
		if err != nil || c.JSON {
			return err
		}
		return c.changes(view.Changes)
	})
}

// planJSON is what an upgrade would change, as scripts read it.
type planJSON struct {
	From     string                 `json:"from"`
	To       string                 `json:"to"`
	Changes  []changeJSON           `json:"changes"`
	Asked    bool                   `json:"asked"` // Drush was
	Updates  []models.PendingUpdate `json:"database_updates,omitempty"`
	Blockers []string               `json:"blockers,omitempty"`
	Task     int64                  `json:"running_task,omitempty"`
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
		moves := make([]moveJSON, 0, len(list))
		for _, u := range list {
			moves = append(moves, moveView(u, nil))
		}
		return c.table(moves, []string{"MOVE", "KIND", "STATE", "MODE", "TASK", "STARTED", "READ-ONLY", "WHY"}, func(line func(...any)) {
			for _, m := range moves {
				line(m.ID, m.Kind, m.State, m.Mode, m.Task, stamp(m.Started), m.ReadOnly, m.Reason)
			}
		})
	})
}

// moveJSON is a site's move as scripts read it.
type moveJSON struct {
	ID       int64               `json:"id"`
	Kind     models.UpgradeKind  `json:"kind"`
	State    models.UpgradeState `json:"state"`
	Mode     models.Mode         `json:"mode,omitempty"`
	Task     int64               `json:"task"`
	Started  *time.Time          `json:"started_at,omitempty"`
	ReadOnly float64             `json:"read_only_seconds"`
	Reason   string              `json:"reason,omitempty"`
	Steps    []stepJSON          `json:"steps,omitempty"`
}

type stepJSON struct {
	Name    models.StepName  `json:"name"`
	State   models.StepState `json:"state"`
	Message string           `json:"message,omitempty"`
	Started *time.Time       `json:"started_at,omitempty"`
	Ended   *time.Time       `json:"ended_at,omitempty"`
}

func moveView(u models.Upgrade, steps []models.UpgradeStep) moveJSON {
	view := moveJSON{ID: u.ID, Kind: u.Kind, State: u.State, Mode: u.Mode, Task: u.TaskID, Started: u.StartedAt, ReadOnly: u.ReadOnly.Seconds(), Reason: u.Reason}
	for _, s := range steps {
		view.Steps = append(view.Steps, stepJSON{s.Name, s.State, s.Message, s.StartedAt, s.EndedAt})
	}
	return view
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

// withPlatform does something with a platform by its name that needs no task.
func (c *act) withPlatform(ctx context.Context, name string, work func(f *fleet.Desk, p models.Platform) error) error {
	return c.do(ctx, func(f *fleet.Desk) error {
		p, err := f.PlatformNamed(ctx, name)
		if err != nil {
			return err
		}
		return work(f, p)
	})
}

type platformShowCmd struct {
	act
	platformArg
}

// Run prints the platform.
func (c *platformShowCmd) Run(ctx context.Context) error {
	return c.withPlatform(ctx, c.Name, func(f *fleet.Desk, p models.Platform) error {
		row, err := f.PlatformRow(ctx, p.ID)
		if err != nil {
			return err
		}
		if p, err = f.Platform(ctx, p.ID); err != nil {
			return err
		}
		view := platformDetails{
			row.Name, row.DistributionName, row.State, row.Reason, row.Locked, row.IsTarget(), row.Sites, p.DrupalVersion, p.PHPVersion,
			p.Revision, p.BuildKey, p.Note, p.Root, p.ManifestDigest, p.Files, p.Bytes, p.BuiltAt, p.Profiles, p.Packages, p.Findings(),
		}
		return c.facts(view, []fact{
			{"platform", view.Name},
			{"distribution", view.Distribution},
			{"state", view.State},
			{"reason", view.Reason},
			{"locked", yes(view.Locked)},
			{"upgrade target", yes(view.Target)},
			{"sites", view.Sites},
			{"Drupal", view.Drupal},
			{"PHP", view.PHP},
			{"revision", view.Revision},
			{"note", view.Note},
			{"build key", view.BuildKey},
			{"folder", view.Root},
			{"manifest", view.Digest},
			{"files", view.Files},
			{"built", stamp(view.Built)},
			{"profiles", strings.Join(view.Profiles, " ")},
			{"packages", len(view.Packages)},
			{"findings", len(view.Findings)},
		})
	})
}

// platformDetails is all that is known of a platform.
type platformDetails struct {
	Name         string               `json:"name"`
	Distribution string               `json:"distribution"`
	State        models.PlatformState `json:"state"`
	Reason       string               `json:"reason,omitempty"`
	Locked       bool                 `json:"locked"`
	Target       bool                 `json:"upgrade_target"`
	Sites        int                  `json:"sites"`
	Drupal       string               `json:"drupal_version"`
	PHP          string               `json:"php_version"`
	Revision     string               `json:"revision"`
	BuildKey     string               `json:"build_key"`
	Note         string               `json:"note,omitempty"`
	Root         string               `json:"folder,omitempty"`
	Digest       string               `json:"manifest_sha256,omitempty"`
	Files        int64                `json:"files"`
	Bytes        int64                `json:"bytes"`
	Built        *time.Time           `json:"built_at,omitempty"`
	Profiles     []string             `json:"profiles,omitempty"`
	Packages     []models.Package     `json:"packages"`
	Findings     []models.Finding     `json:"findings"`
}

type platformPlanCmd struct {
	act
	platformArg
}

// Run prints what upgrading its sites would change.
func (c *platformPlanCmd) Run(ctx context.Context) error {
	return c.withPlatform(ctx, c.Name, func(f *fleet.Desk, p models.Platform) error {
		plan, err := f.PlatformPlan(ctx, p.ID)
		if err != nil {
			return err
		}
		uris := make([]string, 0, len(plan.Sites))
		for _, s := range plan.Sites {
			uris = append(uris, s.URI)
		}
		changes := changesView(plan.Changes)
		err = c.facts(struct {
			From     string       `json:"from"`
			To       string       `json:"to"`
			Changes  []changeJSON `json:"changes"`
			Sites    []string     `json:"sites"`
			Compared int          `json:"compared"`
			Updates  int          `json:"with_database_updates"`
			Blocked  int          `json:"blocked"`
			Task     int64        `json:"running_task,omitempty"`
		}{plan.From.Name, plan.To.Name, changes, uris, plan.Compared, plan.Updates, plan.Blocked, plan.RunningTask}, []fact{
			{"from", plan.From.Name},
			{"to", plan.To.Name},
			{"sites", len(uris)},
			{"compared", plan.Compared},
			{"with database updates", plan.Updates},
			{"blocked", plan.Blocked},
			{"running task", nonzero(int(plan.RunningTask))},
		})
		if err != nil || c.JSON {
			return err
		}
		return c.changes(changes)
	})
}

type databaseShowCmd struct {
	act
	Name string `arg:"" help:"The server's name."`
}

// Run prints the server, without its password.
func (c *databaseShowCmd) Run(ctx context.Context) error {
	return c.do(ctx, func(f *fleet.Desk) error {
		id, err := f.DatabaseServerNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		s, err := f.DatabaseServer(ctx, id)
		if err != nil {
			return err
		}
		return c.facts(struct {
			Name    string         `json:"name"`
			Engine  string         `json:"engine"`
			Host    string         `json:"host"`
			Port    int            `json:"port"`
			User    string         `json:"user"`
			TLS     models.TLSMode `json:"tls"`
			Clients string         `json:"clients"`
			Prefix  string         `json:"prefix"`
			Default bool           `json:"default"`
			Version string         `json:"version"`
			Problem string         `json:"problem,omitempty"`
			Tested  *time.Time     `json:"tested_at,omitempty"`
		}{s.Name, s.Engine, s.Host, s.Port, s.User, s.TLS, s.Clients, s.Prefix, s.Default, s.Version, s.Reason, s.TestedAt}, []fact{
			{"server", s.Name},
			{"kind", s.Engine},
			{"host", s.Host},
			{"port", s.Port},
			{"user", s.User},
			{"tls", s.TLS},
			{"clients", s.Clients},
			{"prefix", s.Prefix},
			{"default", yes(s.Default)},
			{"version", s.Version},
			{"problem", s.Reason},
			{"tested", stamp(s.TestedAt)},
		})
	})
}

type taskShowCmd struct {
	act
	taskArg
}

// Run prints the task.
func (c *taskShowCmd) Run(ctx context.Context) error {
	return c.do(ctx, func(f *fleet.Desk) error {
		t, err := f.Task(ctx, c.ID)
		if err != nil {
			return err
		}
		children, err := f.Children(ctx, c.ID)
		if err != nil {
			return err
		}
		view := taskDetails{taskJSON: asJSON(t), Actor: t.Actor, Attempt: t.Attempt, Created: t.CreatedAt, Started: t.StartedAt, Ended: t.EndedAt, Children: []taskJSON{}}
		for _, child := range children {
			view.Children = append(view.Children, asJSON(child))
		}
		u, err := f.UpgradeOfTask(ctx, c.ID)
		switch {
		case err == nil:
			steps, err := f.UpgradeSteps(ctx, u.ID)
			if err != nil {
				return err
			}
			move := moveView(u, steps)
			view.Move = &move
		case models.CodeOf(err) != models.NotFound:
			return err
		}
		return c.print(view)
	})
}

// taskDetails is all that is known of a task.
type taskDetails struct {
	taskJSON

	Actor    string     `json:"actor"`
	Attempt  int        `json:"attempt"`
	Created  time.Time  `json:"created_at"`
	Started  *time.Time `json:"started_at,omitempty"`
	Ended    *time.Time `json:"ended_at,omitempty"`
	Move     *moveJSON  `json:"move,omitempty"`
	Children []taskJSON `json:"children"`
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
