package drupal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// Compare asks what moving a site means: from speaks with the site as it
// serves, to with the target's code on a copy of its database (a Release with
// Aside), which it may change.
//
// updates are the database updates that the target would run. blockers say in
// sentences why the site cannot go there; while there are any, updates may be
// incomplete. An error means that the question could not be answered.
func Compare(ctx context.Context, from, to *Drush) (updates []models.PendingUpdate, blockers []string, err error) {
	c := comparison{from: from, to: to}
	for _, step := range []func(context.Context) error{c.now, c.version, c.profile, c.starts, c.modules, c.schemas, c.requirements, c.pending} {
		err := step(ctx)
		switch {
		case errors.Is(err, errSettled):
			return nil, c.blockers, nil
		case err != nil:
			return nil, nil, err
		}
	}
	return c.updates, c.blockers, nil
}

// errSettled ends a comparison early: asking the target more would be dangerous
// or senseless.
var errSettled = errors.New("settled")

type comparison struct {
	from, to *Drush
	status   Status // of the site as it serves
	missing  bool   // a module is missing: further failures of the target follow from that
	blockers []string
	updates  []models.PendingUpdate
}

func (c *comparison) block(format string, args ...any) {
	c.blockers = append(c.blockers, fmt.Sprintf(format, args...))
}

// failed turns a failure of the target's own code into a blocker; what stands
// outside of it stays an error.
func (c *comparison) failed(ctx context.Context, err error) error {
	_, ownFault := errors.AsType[*run.ExitError](err)
	if ctx.Err() != nil || !ownFault {
		return err
	}
	if !c.missing {
		c.block("The target's code does not run with this site's content: %s", models.Explain(err))
	}
	return errSettled
}

func (c *comparison) now(ctx context.Context) (err error) {
	c.status, err = c.from.Status(ctx)
	if err != nil {
		return fmt.Errorf("look at the site as it serves: %w", err)
	}
	return nil
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
	if order < 0 {
		c.block("The target has Drupal %s, older than the site's %s. Drupal cannot go back to an older version.", then, now)
		return errSettled
	}
	return nil
}

func (c *comparison) profile(context.Context) error {
	if has := c.to.release.Platform.Profiles; c.status.Profile != "" && !slices.Contains(has, c.status.Profile) {
		c.block("The site was installed with the profile %s, which the target does not have.", c.status.Profile)
	}
	return nil
}

func (c *comparison) starts(ctx context.Context) error {
	status, err := c.to.Status(ctx)
	if err != nil {
		return c.failed(ctx, err)
	}
	// The platform's record decided above; the code itself has the last word.
	if order, err := compareVersions(status.DrupalVersion, c.status.DrupalVersion); err != nil || order < 0 {
		c.block("The target's code says that it is Drupal %s, older than the site's %s. Drupal cannot go back to an older version.",
			status.DrupalVersion, c.status.DrupalVersion)
		return errSettled
	}
	return nil
}

func (c *comparison) modules(ctx context.Context) error {
	now, err := c.from.Modules(ctx)
	if err != nil {
		return fmt.Errorf("list the site's modules: %w", err)
	}
	if err := c.to.forgetLists(ctx); err != nil {
		return c.failed(ctx, err)
	}
	then, err := c.to.Modules(ctx)
	if err != nil {
		return c.failed(ctx, err)
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, there := then[name]; now[name].Enabled && !there {
			c.missing = true
			c.block("The %s %s is enabled on the site, but the target does not have it. Add it to the target, or uninstall it on the site first.", now[name].Type, name)
		}
	}
	return nil
}

func (c *comparison) schemas(ctx context.Context) error {
	has, err := c.from.Schemas(ctx)
	if err != nil {
		return fmt.Errorf("ask the site's schema versions: %w", err)
	}
	knows, err := c.to.TargetSchemas(ctx)
	if err != nil {
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
	reasons, err := c.to.Requirements(ctx)
	if err != nil {
		return c.failed(ctx, err)
	}
	for _, reason := range reasons {
		c.block("Drupal on the target refuses to update this site: %s", strings.TrimSpace(reason))
	}
	return nil
}

func (c *comparison) pending(ctx context.Context) (err error) {
	if c.updates, err = c.to.PendingUpdates(ctx); err != nil {
		return c.failed(ctx, err)
	}
	return nil
}
