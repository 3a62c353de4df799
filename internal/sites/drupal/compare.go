package drupal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// Compared is what moving a site means.
type Compared struct {
	Updates []models.PendingUpdate // that the target would run
	// Blockers say in sentences why the site cannot go there; while there are any,
	// Updates may be incomplete.
	Blockers    []string
	Maintenance bool // the site is in maintenance mode as it serves
}

// Compare asks what moving a site means: from speaks with the site as it
// serves, to with the target's code on a copy of its database (a Release with
// Aside), which it may change. It starts Drush three times, so few that a site of
// any size is answered within seconds. An error means that the question could not
// be answered.
func Compare(ctx context.Context, from, to *Drush) (Compared, error) {
	return (&comparison{from: from, to: to}).run(ctx)
}

// CompareBack is Compare for going back to an older version with content that no
// newer version has updated; that it is older blocks nothing.
func CompareBack(ctx context.Context, from, to *Drush) (Compared, error) {
	return (&comparison{from: from, to: to, back: true}).run(ctx)
}

// Examine is Compare for content that no site serves, such as that of a backup,
// which ran on the Drupal version given.
func Examine(ctx context.Context, to *Drush, version string) (Compared, error) {
	c := comparison{to: to, status: Status{DrupalVersion: version}}
	return c.run(ctx)
}

func (c *comparison) run(ctx context.Context) (Compared, error) {
	steps := []func(context.Context) error{c.now, c.version, c.then, c.profile, c.modules, c.schemas, c.requirements, c.pending}
	for _, step := range steps {
		err := step(ctx)
		switch {
		case errors.Is(err, errSettled):
			return Compared{Blockers: c.blockers, Maintenance: c.maintenance}, nil
		case err != nil:
			return Compared{}, err
		}
	}
	return Compared{Updates: c.updates, Blockers: c.blockers, Maintenance: c.maintenance}, nil
}

// errSettled ends a comparison early: asking the target more would be dangerous
// or senseless.
var errSettled = errors.New("settled")

type comparison struct {
	from, to    *Drush // from is nil when nothing serves the content
	back        bool
	status      Status // of the site as it serves
	maintenance bool
	has         map[string]Module          // in the serving code
	answers     map[string]json.RawMessage // of the target
	missing     bool                       // a module is missing: further failures of the target follow from that
	blockers    []string
	updates     []models.PendingUpdate
}

func (c *comparison) block(format string, args ...any) {
	c.blockers = append(c.blockers, fmt.Sprintf(format, args...))
}

// failed turns a failure of the target's own code into a blocker; what stands
// outside of it stays an error.
func (c *comparison) failed(ctx context.Context, err error) error {
	_, ownFault := errors.AsType[*run.ExitError](err)
	if _, thrown := errors.AsType[thrownError](err); thrown {
		ownFault = true
	}
	if ctx.Err() != nil || !ownFault {
		return err
	}
	if !c.missing {
		c.block("The target's code does not run with this site's content: %s", models.Explain(err))
	}
	return errSettled
}

// now asks the site as it serves.
func (c *comparison) now(ctx context.Context) error {
	if c.from == nil {
		return nil
	}
	answers, err := c.from.askAll(ctx, statusQuestion(), maintenanceQuestion(), modulesQuestion())
	if err == nil {
		err = c.from.part(answers, askStatus, &c.status)
	}
	if err == nil {
		err = c.from.boots(ctx, c.status)
	}
	if err == nil {
		c.maintenance, err = c.from.maintenanceIn(answers)
	}
	if err == nil {
		err = c.from.part(answers, askModules, &c.has)
	}
	if err != nil {
		return fmt.Errorf("look at the site as it serves: %w", c.from.diagnose(ctx, err))
	}
	return nil
}

// diagnose finds better words for a site that does not start.
func (d *Drush) diagnose(ctx context.Context, err error) error {
	if _, exited := errors.AsType[*run.ExitError](err); !exited || ctx.Err() != nil {
		return err
	}
	if _, status := d.Status(ctx); status != nil {
		return status
	}
	return err
}

// version refuses to go back: Drupal itself would not complain, and run with a
// database that its code does not understand.
func (c *comparison) version(context.Context) error {
	now, then := c.status.DrupalVersion, c.to.release.Platform.DrupalVersion
	order, err := compareVersions(then, now)
	if err != nil {
		c.block("The Drupal versions %q and %q cannot be compared, so it is not known whether this would be a step back.", now, then)
		return errSettled
	}
	if was, is := generation(now), generation(then); (was == 7) != (is == 7) && order > 0 {
		c.block("The target has Drupal %s. The content of Drupal %d cannot be updated to it; it has to be migrated into a new site.", then, was)
		return errSettled
	}
	if order < 0 && !c.back {
		c.block("The target has Drupal %s, older than the site's %s. Drupal cannot go back to an older version.", then, now)
		return errSettled
	}
	return nil
}

// then asks all of the target at once.
func (c *comparison) then(ctx context.Context) (err error) {
	c.answers, err = c.to.askAll(ctx, statusQuestion(), forgetQuestion(), modulesQuestion(), schemasQuestion(), targetQuestion(), requirementsQuestion())
	var status Status
	if err == nil {
		err = c.to.part(c.answers, askStatus, &status)
	}
	if err != nil {
		c.lost(ctx)
		return c.failed(ctx, c.to.diagnose(ctx, err))
	}
	if err := c.to.boots(ctx, status); err != nil {
		return err
	}
	if c.from == nil {
		c.status.Profile = status.Profile
	}
	// The platform's record decided above; the code itself has the last word.
	order, err := compareVersions(status.DrupalVersion, c.status.DrupalVersion)
	if err != nil || order < 0 && !c.back {
		c.block("The target's code says that it is Drupal %s, older than the site's %s. Drupal cannot go back to an older version.",
			status.DrupalVersion, c.status.DrupalVersion)
		return errSettled
	}
	return nil
}

// lost names the modules that the target lacks when its code does not survive
// being asked more than that.
func (c *comparison) lost(ctx context.Context) {
	var err error
	if c.answers, err = c.to.askAll(ctx, forgetQuestion(), modulesQuestion()); err == nil {
		_ = c.modules(ctx)
	}
}

func (c *comparison) profile(context.Context) error {
	if has := c.to.release.Platform.Profiles; c.status.Profile != "" && !slices.Contains(has, c.status.Profile) {
		c.block("The site was installed with the profile %s, which the target does not have.", c.status.Profile)
	}
	return nil
}

func (c *comparison) modules(ctx context.Context) error {
	if c.from == nil {
		return c.absent(ctx)
	}
	var then map[string]Module
	if err := c.to.part(c.answers, askModules, &then); err != nil {
		return c.failed(ctx, err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.has)) {
		if _, there := then[name]; c.has[name].Enabled && !there {
			c.missing = true
			c.block("The %s %s is enabled on the site, but the target does not have it. Add it to the target, or uninstall it on the site first.", c.has[name].Type, name)
		}
	}
	return nil
}

// absent is modules for content that nothing serves: what is enabled in it must be
// in the target's code.
func (c *comparison) absent(ctx context.Context) error {
	names, err := c.to.missing(ctx)
	if err != nil {
		return c.failed(ctx, err)
	}
	for _, name := range names {
		c.missing = true
		c.block("%s is enabled in the content, but the platform %s does not have it. Choose the platform that the content comes from.", name, c.to.release.Platform.Name)
	}
	return nil
}

// schemas compares what the copied content has with what the target knows.
func (c *comparison) schemas(ctx context.Context) error {
	var has map[string]int
	var knows map[string]Schema
	if c.answers == nil {
		var err error
		if c.answers, err = c.to.askAll(ctx, schemasQuestion(), targetQuestion()); err != nil {
			return c.failed(ctx, err)
		}
	}
	if err := c.to.part(c.answers, askSchemas, &has); err != nil {
		return c.failed(ctx, err)
	}
	if err := c.to.part(c.answers, askTarget, &knows); err != nil {
		return c.failed(ctx, err)
	}
	for _, module := range slices.Sorted(maps.Keys(has)) {
		target, known := knows[module]
		switch {
		case !known: // missing from the target, and named as such
		case has[module] > target.Newest:
			c.block("The site's database has update %d of %s, but the target's code knows only updates up to %d. Its %s is older than the site's.",
				has[module], module, target.Newest, module)
		case has[module] < target.Removed:
			c.block("The site's database is at update %d of %s, and the target no longer has the updates up to %d. Upgrade the site to a version in between first.",
				has[module], module, target.Removed)
		}
	}
	return nil
}

func (c *comparison) requirements(ctx context.Context) error {
	var answer struct{ Errors []string }
	if err := c.to.part(c.answers, askRequirements, &answer); err != nil {
		return c.failed(ctx, err)
	}
	for _, reason := range answer.Errors {
		c.block("Drupal on the target refuses to update this site: %s", strings.TrimSpace(run.Clean(reason)))
	}
	return nil
}

func (c *comparison) pending(ctx context.Context) (err error) {
	if c.updates, err = c.to.PendingUpdates(ctx); err != nil {
		return c.failed(ctx, err)
	}
	return nil
}
