package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// preparing goes to content that is there already: what an upgrade left, or what
// a backup brings. All of it happens beside the site, which is read and written
// meanwhile; writes are refused for the moment of the switch alone.
func (m *mover) preparing() []upgrade.Step {
	restore := func() bool { return m.move.Upgrade.Kind == models.KindRestore }
	pending := func() bool { return len(m.move.Upgrade.Updates) > 0 }
	preflight := m.preflightRollback
	if restore() {
		preflight = m.preflightRestore
	}
	return []upgrade.Step{
		{Name: models.StepPreflight, Do: preflight},
		{Name: models.StepCopy, Do: m.bring, Undo: m.dropBrought, Needed: restore},
		{Name: models.StepDeploy, Do: m.stage, Undo: m.unstage},
		{Name: models.StepUpdate, Do: m.updateDatabase, Needed: pending},
		{Name: models.StepRebuild, Do: m.rebuild, Needed: restore},
		{Name: models.StepProbe, Do: m.probePrepared},
		{Name: models.StepReadOnly, Do: m.readOnly, Undo: m.open},
	}
}

// samePlatform tells whether only the content changes. Then the pointer is the
// release's settings and not the link to the docroot.
func (m *mover) samePlatform() bool { return m.prepared() && m.move.From.ID == m.move.To.ID }

// onTarget is the release that Drush is asked about while it does not serve. On
// the platform that serves it lies aside.
func (m *mover) onTarget() drupal.Release {
	r := m.next(m.move.Upgrade.NewDatabase)
	if m.samePlatform() {
		r.Aside = m.label()
	}
	return r
}

// preflightRollback makes sure that what the upgrade left is whole.
func (m *mover) preflightRollback(ctx context.Context) (string, error) {
	u := &m.move.Upgrade
	kept := m.move.Undoes.OldDatabase
	if m.move.Undoes.DroppedOldAt != nil {
		return "", models.Errorf(models.Conflict, "What the upgrade left is not kept any more, so the site cannot go back. Restore a backup instead.")
	}
	if u.OldDatabase != m.move.Undoes.NewDatabase {
		return "", models.Errorf(models.Conflict, "The site moved on since that upgrade. Roll back what came last first.")
	}
	if err := m.host.Databases.Check(ctx, kept); err != nil {
		return "", fmt.Errorf("look at the database that was kept: %w", err)
	}
	u.Mode, u.NewDatabase = models.ModeDatabase, kept
	if err := m.journal.Save(ctx, *u); err != nil {
		return "", err
	}
	if m.move.Undoes.Kind == models.KindRestore {
		if c, err := m.content(); err != nil || c == nil {
			return "", errors.Join(models.Errorf(models.Conflict, "The files that the restore left are not kept any more. Restore a backup instead."), err)
		}
	}
	m.look(ctx)
	return "the old version is whole" + m.health(), nil
}

// stage prepares the release for the probes.
func (m *mover) stage(ctx context.Context) (string, error) {
	next := m.next(m.move.Upgrade.NewDatabase)
	if m.samePlatform() {
		if err := m.host.Drupal.Stage(ctx, m.old(), next); err != nil {
			return "", err
		}
	}
	if err := m.host.Drupal.WriteRelease(ctx, m.onTarget()); err != nil {
		return "", err
	}
	if err := point(m.host.Layout.Next(m.move.Site.ID), next.Docroot()); err != nil {
		return "", err
	}
	if m.move.Upgrade.Kind == models.KindRestore {
		return m.examine(ctx)
	}
	return m.move.To.Name, nil
}

// unstage undoes stage. What an upgrade left stays as it was left.
func (m *mover) unstage(ctx context.Context) error {
	if err := m.dropNext(); err != nil {
		return err
	}
	if err := m.host.Drupal.Unstage(m.next(m.move.Upgrade.NewDatabase)); err != nil {
		return err
	}
	if m.samePlatform() {
		return m.host.Drupal.RemoveRelease(ctx, m.onTarget())
	}
	c, err := m.content()
	if err != nil || c == nil || !c.record.Fresh || m.move.Upgrade.Kind == models.KindRollback {
		return err
	}
	return m.host.Drupal.RemoveRelease(ctx, m.onTarget())
}

// probePrepared looks at content of another time: its pages need not answer as
// those of now do, but they must not be broken.
func (m *mover) probePrepared(ctx context.Context) (string, error) {
	on, err := m.inMaintenance(ctx, m.onTarget())
	if err != nil {
		return "", err
	}
	after := unknownOf(m.move.Site)
	after.text = m.before.text
	if on {
		m.log.Printf(models.LevelInfo, "The content was in maintenance mode and is so again")
		after = closed(m.move.Site)
	}
	m.maintenance, m.after = on, &after
	return m.probeNext(ctx)
}

// keepLeft tidies up after the switch, and has what was left written into a
// backup.
func (m *mover) keepLeft(ctx context.Context) (string, error) {
	if m.samePlatform() {
		if err := m.host.Drupal.RemoveRelease(ctx, m.onTarget()); err != nil {
			return "", err
		}
	}
	if m.move.Keep == nil {
		return "what was left is kept for a week", nil
	}
	err := m.move.Keep(ctx, func(b models.Backup) (models.Backup, error) { return m.writeLeft(ctx, b) })
	if err != nil {
		return "", fmt.Errorf("back up what was left: %w", err)
	}
	return "what was left is in a backup, and kept for a week beside it", nil
}

// inUse tells whether a release serves its site, and whether its database does.
func (h *Host) inUse(ctx context.Context, r drupal.Release) (serves, uses bool, err error) {
	target, err := os.Readlink(h.Layout.Current(r.Site.ID))
	if errors.Is(err, os.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("read current link: %w", err)
	}
	serves = target == r.Docroot()
	if r.Database == (models.Database{}) {
		return serves, false, nil
	}
	if r.Database == r.Site.Database {
		return serves, true, nil
	}
	if serves {
		uses, err = h.Drupal.Uses(ctx, r)
	}
	return serves, uses, err
}
