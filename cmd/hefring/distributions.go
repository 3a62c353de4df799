package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/web/api"
)

type distributionCmd struct {
	List     distributionListCmd     `cmd:"" help:"List distributions."`
	Show     distributionShowCmd     `cmd:"" help:"Print what is known of a distribution, with its platforms."`
	Add      distributionAddCmd      `cmd:"" help:"Add a distribution; its source is looked at at once."`
	Change   distributionChangeCmd   `cmd:"" help:"Change a distribution. What is not named stays."`
	Check    distributionCheckCmd    `cmd:"" help:"Look at a distribution's source now."`
	Checks   distributionChecksCmd   `cmd:"" help:"List what the last looks at a source found."`
	Retry    distributionRetryCmd    `cmd:"" help:"Let checks of a source that waits for a person go on."`
	Approve  distributionApproveCmd  `cmd:"" help:"Build the version that is held back. Without --yes, say what that is."`
	Register distributionRegisterCmd `cmd:"" help:"Make a platform of a distribution that is kept by hand from a folder on the server."`
	Delete   distributionDeleteCmd   `cmd:"" help:"Delete a distribution that no site comes from, with its platforms. Without --yes, say what goes."`
	Types    distributionTypesCmd    `cmd:"" help:"List the update types with their settings."`
}

type distributionListCmd struct {
	act
	Query string `help:"Part of the name."`
	State string `enum:",new,current,changed,failing,held" default:"" help:"Only distributions in this condition: new, current, changed, failing or held."`
	Limit int    `default:"1000" help:"At most so many."`
}

// Run prints the list.
func (c *distributionListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, _, err := f.Distributions(ctx, fleet.Filter{Query: c.Query, State: c.State, Limit: c.Limit})
		if err != nil {
			return err
		}
		list := each(rows, api.DistributionView(f))
		return c.table(list, []string{"DISTRIBUTION", "NAME", "TYPE", "CONDITION", "UPGRADE TARGET", "SITES", "BEHIND"}, func(line func(...any)) {
			for _, d := range list {
				line(d.Slug, d.Name, d.Type, d.Condition, d.UpgradeTarget, d.Sites, d.Behind)
			}
		})
	})
}

// distributionArg names the distribution of a command.
type distributionArg struct {
	Slug string `arg:"" name:"distribution" help:"The distribution's short name."`
}

// managed is the distribution, for those who may manage it: who may not does not even
// learn whether it is there.
func (a distributionArg) managed(ctx context.Context, f door) (models.Distribution, error) {
	if err := f.Actor().Needs(models.MayManageDistributions); err != nil {
		return models.Distribution{}, err
	}
	return f.DistributionNamed(ctx, a.Slug)
}

type distributionShowCmd struct {
	act
	distributionArg
}

// Run prints it.
func (c *distributionShowCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		d, err := f.DistributionNamed(ctx, c.Slug)
		if err != nil {
			return err
		}
		rows, _, err := f.Distributions(ctx, fleet.Filter{DistributionID: d.ID, Limit: 1})
		if err != nil || len(rows) == 0 {
			return errors.Join(err, models.Errorf(models.NotFound, "There is no distribution %s.", c.Slug))
		}
		platforms, err := f.DistributionPlatforms(ctx, d.ID)
		if err != nil {
			return err
		}
		view := distributionDetails{api.DistributionView(f)(rows[0]), each(platforms, func(p fleet.PlatformRow) string { return p.Name })}
		return c.facts(view, view.facts(everyText(d.CheckEvery)))
	})
}

// distributionDetails is a distribution as the API has it, with the names of its
// platforms.
type distributionDetails struct {
	api.Distribution

	Built []string `json:"built"` // newest first
}

func (d distributionDetails) facts(every string) []fact {
	list := []fact{
		{"distribution", d.Slug},
		{"name", d.Name},
		{"type", d.Type},
		{"condition", d.Condition},
		{"reason", d.Reason},
		{"upgrade target", d.UpgradeTarget},
		{"Drupal", d.DrupalVersion},
		{"revision", d.Revision},
		{"observed", d.Observed},
		{"checked", stamp(d.CheckedAt)},
		{"check every", every},
		{"rebuild", days(d.Source.RebuildDays)},
		{"keep platforms", nonzero(d.Source.KeepPlatforms)},
		{"sites", d.Sites},
		{"behind", d.Behind},
	}
	for _, name := range slices.Sorted(maps.Keys(d.Source.Settings)) {
		list = append(list, fact{"setting " + name, strings.ReplaceAll(d.Source.Settings[name], "\n", " ⏎ ")})
	}
	for _, name := range d.Source.Secrets {
		list = append(list, fact{"setting " + name, "set, not shown"})
	}
	for _, name := range d.Built {
		list = append(list, fact{"platform", name})
	}
	return list
}

func everyText(every *time.Duration) string {
	switch {
	case every == nil:
		return "queue"
	case *every == 0:
		return "by hand"
	}
	return every.String()
}

// rhythm is how a distribution's source is watched.
type rhythm struct {
	CheckEvery *string  `placeholder:"TIME" help:"How often its source is looked at, such as 1h; 0s only by hand or webhook; queue as often as the queue of its type."`
	Rebuild    *int     `name:"rebuild-days" help:"Build the same revision again when the newest platform is that many days old; 0 never."`
	Keep       *int     `name:"keep-platforms" help:"How many platforms stay beside the upgrade target; older ones without sites are deleted. 0 keeps all."`
	Set        []string `sep:"none" placeholder:"KEY=VALUE" help:"A setting of the update type, see hefring distribution types. KEY=@FILE takes the value from a file (@- from standard input), KEY=env:NAME from the environment; secrets are given in these two ways only."`
}

func (r *rhythm) into(in *fleet.NewDistribution, plugin plugins.Plugin) error {
	settings, err := readSettings(plugin, r.Set)
	if err != nil {
		return err
	}
	maps.Copy(in.Settings, settings)
	replace(&in.RebuildDays, r.Rebuild)
	replace(&in.KeepPlatforms, r.Keep)
	if r.CheckEvery == nil {
		return nil
	}
	in.CheckEvery = nil
	if *r.CheckEvery == "queue" {
		return nil
	}
	every, err := time.ParseDuration(*r.CheckEvery)
	if err != nil {
		return models.InvalidField("check-every", "Use a time such as 1h, 0s for by hand, or queue.")
	}
	in.CheckEvery = &every
	return nil
}

// updateTypes lists the update types by name, as they are where the work is done.
func updateTypes(ctx context.Context, from door) (list []plugins.Plugin, err error) {
	switch f := from.(type) {
	case *farDoor:
		list, err = f.updateTypes(ctx)
	case *fleet.Desk:
		list, err = f.UpdateTypes(), f.Actor().Needs(models.MaySeeFleet)
	}
	slices.SortFunc(list, func(a, b plugins.Plugin) int { return cmp.Compare(a.Info().ID, b.Info().ID) })
	return list, err
}

// typeNamed finds an update type.
func typeNamed(ctx context.Context, f door, id string) (plugins.Plugin, error) {
	types, err := updateTypes(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, plugin := range types {
		if plugin.Info().ID == id {
			return plugin, nil
		}
	}
	return nil, models.InvalidField("type", "There is no update type "+id+"; see hefring distribution types.")
}

type distributionAddCmd struct {
	waiting
	rhythm
	Name string `arg:"" help:"What people call it."`
	Type string `required:"" help:"Update type: git, makefile, stock, composer or manual."`
	Slug string `help:"Its short name, which begins the names of its platforms and never changes (default: made from the name)."`
}

// Run adds it; --wait follows the first look at its source.
func (c *distributionAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageDistributions); err != nil {
			return err // before a secret is read
		}
		plugin, err := typeNamed(ctx, f, c.Type)
		if err != nil {
			return err
		}
		in := fleet.NewDistribution{Name: c.Name, Slug: c.Slug, UpdateType: c.Type, Settings: models.Settings{}}
		if err := c.into(&in, plugin); err != nil {
			return err
		}
		d, err := f.CreateDistribution(ctx, in)
		if err != nil {
			return err
		}
		return c.looked(ctx, f, d)
	})
}

// looked follows the look at the source of a distribution that was just saved,
// where there is one.
func (w *waiting) looked(ctx context.Context, f door, d models.Distribution) error {
	if d.UpstreamID != nil && (w.Wait || w.JSON) {
		task, err := newestTask(ctx, f, models.Subject{Kind: models.SubjectUpstream, ID: *d.UpstreamID})
		if err != nil {
			return err
		}
		return w.follow(ctx, f, task)
	}
	if w.JSON {
		return printJSON(os.Stdout, api.DistributionView(f)(fleet.DistributionRow{Distribution: d}))
	}
	printTo(os.Stdout, "%s", d.Slug)
	return nil
}

type distributionChangeCmd struct {
	waiting
	distributionArg
	rhythm
	Name *string `help:"What people call it."`
}

// Run changes it; --wait follows the look at its source.
func (c *distributionChangeCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		row, err := c.managed(ctx, f)
		if err != nil {
			return err
		}
		plugin, err := typeNamed(ctx, f, row.UpdateType)
		if err != nil {
			return err
		}
		in := fleet.NewDistribution{
			Name: row.Name, Settings: models.Settings{}, CheckEvery: row.CheckEvery, RebuildDays: row.RebuildDays, KeepPlatforms: row.KeepPlatforms,
		}
		maps.Copy(in.Settings, row.Settings)
		replace(&in.Name, c.Name)
		if err := c.into(&in, plugin); err != nil {
			return err
		}
		d, err := f.UpdateDistribution(ctx, row.ID, in)
		if err != nil {
			return err
		}
		return c.looked(ctx, f, d)
	})
}

// onDistribution is queue for a distribution by its short name.
func (w *waiting) onDistribution(ctx context.Context, slug string, p models.Permission, ask func(f door, d models.Distribution) (models.Task, error)) error {
	return w.queue(ctx, func(f door) (models.Task, error) {
		if err := f.Actor().Needs(p); err != nil {
			return models.Task{}, err
		}
		d, err := f.DistributionNamed(ctx, slug)
		if err != nil {
			return models.Task{}, err
		}
		return ask(f, d)
	})
}

type distributionCheckCmd struct {
	waiting
	distributionArg
}

// Run queues the look.
func (c *distributionCheckCmd) Run(ctx context.Context) error {
	return c.onDistribution(ctx, c.Slug, models.MayCheck, func(f door, d models.Distribution) (models.Task, error) { return f.CheckNow(ctx, d.ID) })
}

type distributionRetryCmd struct {
	waiting
	distributionArg
}

// Run queues the look.
func (c *distributionRetryCmd) Run(ctx context.Context) error {
	return c.onDistribution(ctx, c.Slug, models.MayCheck, func(f door, d models.Distribution) (models.Task, error) { return f.TryAgain(ctx, d.ID) })
}

type distributionChecksCmd struct {
	act
	distributionArg
	Limit int `default:"50" help:"At most so many."`
}

// Run prints the list.
func (c *distributionChecksCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		d, err := f.DistributionNamed(ctx, c.Slug)
		if err != nil {
			return err
		}
		list, err := f.DistributionChecks(ctx, d.ID, c.Limit)
		if err != nil {
			return err
		}
		rows := each(list, api.CheckView)
		return c.table(rows, []string{"AT", "BY", "OUTCOME", "TIMES", "REVISION", "MESSAGE"}, func(line func(...any)) {
			for _, k := range rows {
				line(stamp(&k.Ended), k.Trigger, k.Outcome, k.Times, k.NewRevision, k.Message)
			}
		})
	})
}

type distributionApproveCmd struct {
	waiting
	distributionArg
	Yes      bool   `short:"y" help:"Build it."`
	Revision string `help:"Only if this is what is held back (default: whatever is)."`
}

// Run says what is held back, or has it built.
func (c *distributionApproveCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayBuild); c.Yes && err != nil {
			return err
		}
		d, err := f.DistributionNamed(ctx, c.Slug)
		if err != nil {
			return err
		}
		held, waits, err := f.Pending(ctx, d.ID)
		if err != nil {
			return err
		}
		if !waits {
			return models.Errorf(models.Conflict, "%s holds no version back.", d.Name)
		}
		if !c.Yes {
			return c.quote(d, held)
		}
		if c.Revision == "" {
			c.Revision = held.Revision
		}
		p, err := f.Approve(ctx, d.ID, c.Revision)
		if err != nil {
			return err
		}
		return c.built(ctx, f, p)
	})
}

func (c *distributionApproveCmd) quote(d models.Distribution, held plugins.Version) error {
	if c.JSON {
		return printJSON(os.Stdout, api.HeldView(d, held))
	}
	printTo(os.Stdout, "%s holds %s back (%s). %s Use --yes to build it.", d.Name, held.Label, held.Revision, d.Reason)
	return nil
}

// built follows the task that makes a platform.
func (w *waiting) built(ctx context.Context, f door, p models.Platform) error {
	task, err := newestTask(ctx, f, models.Subject{Kind: models.SubjectPlatform, ID: p.ID})
	if err != nil {
		return err
	}
	return w.follow(ctx, f, task)
}

type distributionRegisterCmd struct {
	waiting
	distributionArg
	Folder string `arg:"" type:"path" help:"Absolute path of the code on the server; it is copied."`
}

// Run queues the copying.
func (c *distributionRegisterCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		d, err := c.managed(ctx, f)
		if err != nil {
			return err
		}
		p, err := f.RegisterPlatform(ctx, d.ID, c.Folder, "")
		if err != nil {
			return err
		}
		return c.built(ctx, f, p)
	})
}

type distributionDeleteCmd struct {
	act
	distributionArg
	Yes bool `short:"y" help:"Delete it."`
}

// distributionEnd is what goes with a distribution.
type distributionEnd struct {
	Distribution string   `json:"distribution"`
	Platforms    []string `json:"platforms"`
	Deleted      bool     `json:"deleted"`
}

func (e distributionEnd) String() string {
	gone := e.Distribution
	if len(e.Platforms) > 0 {
		gone += " with its platforms " + strings.Join(e.Platforms, ", ")
	}
	if e.Deleted {
		return "Deleted " + gone + "."
	}
	return "This deletes " + gone + ", and its webhooks and credentials. Use --yes to do it."
}

// Run says what would go, or deletes the distribution.
func (c *distributionDeleteCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		d, err := c.managed(ctx, f)
		if err != nil {
			return err
		}
		platforms, err := f.DistributionPlatforms(ctx, d.ID)
		if err != nil {
			return err
		}
		end := distributionEnd{d.Slug, each(platforms, func(p fleet.PlatformRow) string { return p.Name }), c.Yes}
		if c.Yes {
			if err := f.DeleteDistribution(ctx, d.ID); err != nil {
				return err
			}
		}
		if c.JSON {
			return printJSON(os.Stdout, end)
		}
		printTo(os.Stdout, "%s", end)
		return nil
	})
}

type distributionTypesCmd struct {
	act
	Type string `arg:"" optional:"" help:"Only this one."`
}

// Run prints the list.
func (c *distributionTypesCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		types, err := updateTypes(ctx, f)
		if err != nil {
			return err
		}
		types = slices.DeleteFunc(types, func(p plugins.Plugin) bool { return c.Type != "" && c.Type != p.Info().ID })
		list := each(types, api.UpdateTypeView)
		return c.table(list, []string{"TYPE", "KEY", "KIND", "REQUIRED", "DEFAULT", "WHAT IT IS", "CHOICES"}, func(line func(...any)) {
			for _, t := range list {
				for _, s := range t.Settings {
					line(t.Type, s.Key, s.Kind, yes(s.Required), strconv.Quote(s.Default), s.Label, strings.Join(s.Choices, " "))
				}
			}
		})
	})
}
