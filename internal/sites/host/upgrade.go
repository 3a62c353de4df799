package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/models"
)

const (
	// gateLease is how long writes stay refused after an upgrade's worker died.
	gateLease   = 30 * time.Second
	gateRenewal = 5 * time.Second
	// drainLimit is how long an upgrade waits for writes that have begun.
	drainLimit = 30 * time.Second
)

// mover carries out one upgrade.
type mover struct {
	host    *Host
	move    *upgrade.Move
	journal upgrade.Journal
	log     upgrade.Log
	gate    *webserver.Gate
	release func() // ends the renewal of the gate's lease

	before expected // what the site answered before anything was done
	sick   bool     // it was not well even then
}

// Upgrade moves a site, or puts everything back.
func (h *Host) Upgrade(ctx context.Context, move upgrade.Move, journal upgrade.Journal, log upgrade.Log) upgrade.Outcome {
	unlock, err := h.lock(ctx, move.Site)
	if err != nil {
		return upgrade.Outcome{Upgrade: move.Upgrade, Err: err}
	}
	defer unlock()
	m := &mover{host: h, move: &move, journal: journal, log: log, gate: &webserver.Gate{Run: h.Layout.Run(move.Site.ID)}, release: func() {}, before: unknown()}
	defer func() { m.release() }()
	m.adopt(ctx)
	return upgrade.Run(ctx, m.move, m.plan(), journal, log)
}

// notWell ends preflight's line in the journal when the site was sick even then.
const notWell = "the site was not well"

// adopt goes on where a killed worker was: with what it knew of the site, and with
// the gate that it closed. Whether that lapsed meanwhile is asked when it matters.
func (m *mover) adopt(ctx context.Context) {
	preflight := m.move.Steps[0]
	if preflight.State == models.StepPending {
		return
	}
	m.sick = strings.HasSuffix(preflight.Message, notWell)
	if on, err := m.maintenance(context.WithoutCancel(ctx)); err == nil && on {
		m.before = closed()
	}
	for _, s := range m.move.Steps {
		if s.Name == models.StepReadOnly && s.State != models.StepPending && s.State != models.StepSkipped {
			if err := m.gate.Adopt(); err == nil {
				m.keepClosed()
			}
		}
	}
}

func (m *mover) keepClosed() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := m.gate.KeepClosed(ctx, gateRenewal)
	m.release = func() {
		cancel()
		for range ended { // a lapse is noticed by Seal, where it matters
		}
	}
}

func (m *mover) plan() upgrade.Plan {
	database := func() bool { return m.move.Upgrade.Mode == models.ModeDatabase }
	return upgrade.Plan{
		Steps: []upgrade.Step{
			{Name: models.StepPreflight, Do: m.preflight, Undo: m.dropTrial},
			{Name: models.StepReadOnly, Do: m.readOnly, Undo: m.open, Needed: database},
			{Name: models.StepCopy, Do: m.copyDatabase, Undo: m.dropCopy},
			{Name: models.StepDeploy, Do: m.deploy, Undo: m.withdraw},
			{Name: models.StepUpdate, Do: m.updateDatabase, Needed: database},
			{Name: models.StepRebuild, Do: m.rebuild},
			{Name: models.StepProbe, Do: m.probeNext},
			{Name: models.StepSwitch, Do: m.switchOver},
			{Name: models.StepConfirm, Do: m.confirm},
			{Name: models.StepReopen, Do: m.reopen, Needed: database},
			{Name: models.StepRetire, Do: m.retire},
		},
		Switched:  m.switched,
		Return:    m.goBack,
		Abandoned: m.host.Abandoned,
		Cancelled: m.host.Cancelled,
	}
}

func (m *mover) old() drupal.Release {
	return drupal.Release{Site: m.move.Site, Platform: m.move.From, Database: m.move.Upgrade.OldDatabase}
}

// next is the site on the target, with the database given.
func (m *mover) next(db models.Database) drupal.Release {
	return drupal.Release{Site: m.move.Site, Platform: m.move.To, Database: db}
}

// copied is the database that the target is prepared on. In code mode it only
// proves the target and is dropped after the switch.
func (m *mover) copied(ctx context.Context) (models.Database, error) {
	return m.host.Databases.Create(ctx, m.move.Site, fmt.Sprintf("upgrade-%d", m.move.Upgrade.ID))
}

func (m *mover) drush(r drupal.Release) (*drupal.Drush, error) {
	return m.host.Drupal.Drush(r, m.log.Out(), m.log.Err())
}

// maintenance tells whether somebody put the site into maintenance mode.
func (m *mover) maintenance(ctx context.Context) (bool, error) {
	now, err := m.drush(m.old())
	if err != nil {
		return false, err
	}
	return now.Maintenance(ctx)
}

// look finds out what the site answers before anything is done.
func (m *mover) look(ctx context.Context) error {
	on, err := m.maintenance(ctx)
	if err != nil {
		return err
	}
	if on {
		m.log.Printf(models.LevelInfo, "The site is in maintenance mode and stays so")
		m.before = closed()
		return nil
	}
	seen, err := m.host.remember(ctx, m.move.Site)
	if err != nil {
		m.sick = true
		m.log.Printf(models.LevelWarn, "The site is not well before the upgrade: %s", err)
		return nil
	}
	m.before = seen
	return nil
}

func (m *mover) preflight(ctx context.Context) (string, error) {
	site := m.move.Site
	if err := m.look(ctx); err != nil {
		return "", err
	}
	comparison, err := m.host.compare(ctx, site, m.move.From, m.move.To, m.log)
	if err != nil {
		return "", err
	}
	if len(comparison.Blockers) > 0 {
		return "", models.Errorf(models.Conflict, "%s", strings.Join(comparison.Blockers, " "))
	}
	u := &m.move.Upgrade
	u.Mode, u.Updates = models.ModeDatabase, comparison.Updates
	fact := fmt.Sprintf("%d database updates", len(comparison.Updates))
	if len(comparison.Updates) == 0 {
		u.Mode, u.NewDatabase = models.ModeCode, u.OldDatabase
		fact = "no database updates, so no write is refused"
	}
	if m.sick {
		fact += "; " + notWell
	}
	for _, update := range comparison.Updates {
		m.log.Printf(models.LevelInfo, "Pending: %s %s", update.Name, update.Description)
	}
	return fact, m.journal.Save(ctx, *u)
}

// dropTrial removes what a comparison leaves that was killed.
func (m *mover) dropTrial(ctx context.Context) error {
	trial, err := m.host.trial(ctx, m.move.Site, m.move.To)
	if err != nil {
		return err
	}
	return m.host.dropTrial(ctx, trial)
}

func (m *mover) readOnly(ctx context.Context) (string, error) {
	if err := m.gate.Close(gateLease); err != nil {
		return "", err
	}
	m.keepClosed()
	if err := m.gate.Drain(ctx, drainLimit); err != nil {
		return "", err
	}
	return "writes are answered with 503, reads go on", nil
}

// open undoes readOnly.
func (m *mover) open(context.Context) error {
	m.release()
	m.release = func() {}
	if err := m.gate.Open(); err != nil {
		return err
	}
	m.measure()
	return nil
}

// measure notes how long writes were refused.
func (m *mover) measure() {
	for _, s := range m.move.Steps {
		if s.Name == models.StepReadOnly && s.StartedAt != nil {
			m.move.Upgrade.ReadOnly = time.Since(*s.StartedAt)
		}
	}
}

func (m *mover) copyDatabase(ctx context.Context) (string, error) {
	db, err := m.copied(ctx)
	if err != nil {
		return "", err
	}
	if m.move.Upgrade.Mode == models.ModeDatabase {
		m.move.Upgrade.NewDatabase = db
		if err := m.journal.Save(ctx, m.move.Upgrade); err != nil {
			return "", err
		}
	}
	info, err := m.host.Databases.Copy(ctx, m.move.Upgrade.OldDatabase, db)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.1f MB, %d tables", float64(info.Bytes)/1e6, info.Tables), nil
}

func (m *mover) dropCopy(ctx context.Context) error {
	db, err := m.copied(ctx)
	if err != nil {
		return err
	}
	return m.host.Databases.Drop(ctx, db)
}

func (m *mover) deploy(ctx context.Context) (string, error) {
	db, err := m.copied(ctx)
	if err != nil {
		return "", err
	}
	r := m.next(db)
	if err := m.host.Drupal.WriteRelease(ctx, r); err != nil {
		return "", err
	}
	return m.move.To.Name, point(m.host.Layout.Next(m.move.Site.ID), r.Docroot())
}

// withdraw undoes deploy.
func (m *mover) withdraw(ctx context.Context) error {
	if err := m.dropNext(); err != nil {
		return err
	}
	return m.host.Drupal.RemoveRelease(ctx, m.next(models.Database{}))
}

// dropNext removes the link to what was prepared, and the half-made one that a
// kill leaves.
func (m *mover) dropNext() error {
	next := m.host.Layout.Next(m.move.Site.ID)
	for _, link := range []string{next, next + halfMade} {
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove next link: %w", err)
		}
	}
	return nil
}

func (m *mover) updateDatabase(ctx context.Context) (string, error) {
	maintenance, err := m.maintenance(ctx)
	if err != nil {
		return "", err
	}
	then, err := m.drush(m.next(m.move.Upgrade.NewDatabase))
	if err != nil {
		return "", err
	}
	if err := then.UpdateDatabase(ctx, maintenance); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d updates", len(m.move.Upgrade.Updates)), nil
}

func (m *mover) rebuild(ctx context.Context) (string, error) {
	db, err := m.copied(ctx)
	if err != nil {
		return "", err
	}
	then, err := m.drush(m.next(db))
	if err != nil {
		return "", err
	}
	return "", then.Rebuild(ctx)
}

func (m *mover) probeNext(ctx context.Context) (string, error) {
	return m.host.probe(ctx, m.move.Site, "next", m.next(models.Database{}).Docroot(), m.before)
}

// switchOver is the point of no return: one rename.
func (m *mover) switchOver(ctx context.Context) (string, error) {
	docroot := m.next(models.Database{}).Docroot()
	if m.move.Upgrade.Mode == models.ModeCode {
		// Proven on a copy; now on the database that serves.
		if err := m.host.Drupal.WriteRelease(ctx, m.next(m.move.Upgrade.OldDatabase)); err != nil {
			return "", err
		}
		return "", point(m.host.Layout.Current(m.move.Site.ID), docroot)
	}
	unseal, err := m.gate.Seal()
	if err != nil {
		return "", err
	}
	defer unseal()
	return "", point(m.host.Layout.Current(m.move.Site.ID), docroot)
}

func (m *mover) switched() (bool, error) {
	target, err := os.Readlink(m.host.Layout.Current(m.move.Site.ID))
	if err != nil {
		return false, fmt.Errorf("read current link: %w", err)
	}
	return target == m.next(models.Database{}).Docroot(), nil
}

func (m *mover) confirm(ctx context.Context) (string, error) {
	r := m.next(m.move.Upgrade.NewDatabase)
	if m.move.Upgrade.Mode == models.ModeCode {
		// What the old code cached in the shared database is stale now.
		then, err := m.drush(r)
		if err != nil {
			return "", err
		}
		if err := then.Rebuild(ctx); err != nil {
			return "", err
		}
	}
	fact, err := m.host.probe(ctx, m.move.Site, "current", r.Docroot(), m.before)
	if err != nil {
		return fact, err
	}
	return fact, m.host.probePublic(ctx, m.move.Site, m.before)
}

// goBack puts the site back onto the old platform. With a database of its own
// for the new version that is right only if nobody can have written there.
func (m *mover) goBack(ctx context.Context) error {
	current := m.host.Layout.Current(m.move.Site.ID)
	if m.move.Upgrade.Mode == models.ModeDatabase {
		switched, err := m.switched()
		if err != nil {
			return err
		}
		if switched {
			unseal, err := m.gate.Seal()
			if err != nil {
				return fmt.Errorf("make sure that nobody wrote to the new version: %w", err)
			}
			defer unseal()
		}
		if err := point(current, m.old().Docroot()); err != nil {
			return err
		}
		return m.wellAgain(ctx)
	}
	if err := point(current, m.old().Docroot()); err != nil {
		return err
	}
	now, err := m.drush(m.old())
	if err != nil {
		return err
	}
	if err := now.Rebuild(ctx); err != nil {
		return err
	}
	return m.wellAgain(ctx)
}

// wellAgain fails when the old version does not serve, unless it did not before.
func (m *mover) wellAgain(ctx context.Context) error {
	if m.sick {
		return nil
	}
	_, err := m.host.probe(ctx, m.move.Site, "current", m.old().Docroot(), m.before)
	return err
}

func (m *mover) reopen(context.Context) (string, error) {
	m.release()
	m.release = func() {}
	if err := m.gate.Open(); err != nil {
		return "", err
	}
	m.measure()
	return fmt.Sprintf("writes were paused for %.1f s", m.move.Upgrade.ReadOnly.Seconds()), nil
}

// retire tidies up. The old release and database are kept for a while.
func (m *mover) retire(ctx context.Context) (string, error) {
	if err := m.dropNext(); err != nil {
		return "", err
	}
	if m.move.Upgrade.Mode == models.ModeCode {
		return "the old release is kept for a week", m.dropCopy(ctx)
	}
	return "the old database is kept for a week", nil
}
