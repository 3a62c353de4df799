package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"hefring/internal/sites/backup"
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
	// undoPatience is how long undoing waits for a database server that does not
	// answer.
	undoPatience = 15 * time.Second
)

// mover carries out one move.
type mover struct {
	host    *Host
	move    *upgrade.Move
	journal upgrade.Journal
	log     upgrade.Log
	gate    *webserver.Gate
	release func() // ends the renewal of the gate's lease

	before      expected        // what the site answered before anything was done
	after       *expected       // what it should answer then; nil: the same
	sick        bool            // it was not well even then
	maintenance bool            // somebody put it into maintenance mode
	trialLeft   bool            // a comparison may have left something
	restored    *backup.Archive // what a restore brings back, once it is open
}

// Upgrade moves a site, or puts everything back.
func (h *Host) Upgrade(ctx context.Context, move upgrade.Move, journal upgrade.Journal, log upgrade.Log) upgrade.Outcome {
	unlock, err := h.lock(ctx, move.Site)
	if err != nil {
		return upgrade.Outcome{Upgrade: move.Upgrade, Err: err}
	}
	defer unlock()
	m := &mover{
		host: h, move: &move, journal: journal, log: log, gate: &webserver.Gate{Run: h.Layout.Run(move.Site.ID)},
		release: func() {}, before: unknownOf(move.Site),
	}
	defer func() { m.release() }()
	defer m.closeArchive()
	m.adopt(ctx)
	return upgrade.Run(ctx, m.move, m.plan(), journal, log)
}

// What ends preflight's line in the journal when the site was sick even then, or
// did not show its text.
const (
	notWell = "the site was not well"
	noText  = "its text was not on the page"
)

// adopt goes on where a killed worker was: with what it knew of the site, and with
// the gate that it closed. Whether that lapsed meanwhile is asked when it matters.
func (m *mover) adopt(ctx context.Context) {
	preflight := m.move.Steps[0]
	if preflight.State == models.StepPending {
		return
	}
	m.trialLeft = true
	m.sick = strings.Contains(preflight.Message, notWell)
	if m.sick || strings.Contains(preflight.Message, noText) {
		m.before.text = ""
	}
	asked := m.old()
	if m.prepared() {
		asked = m.onTarget()
	}
	if on, err := m.inMaintenance(context.WithoutCancel(ctx), asked); err == nil && on {
		m.maintenance, m.before = true, closed(m.move.Site)
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

// plan is the way of the move. All end alike; what comes before the switch is
// each kind's own.
func (m *mover) plan() upgrade.Plan {
	steps := m.copying()
	if m.prepared() {
		steps = m.preparing()
	}
	return upgrade.Plan{
		Steps: append(steps,
			upgrade.Step{Name: models.StepSwitch, Do: m.switchOver},
			upgrade.Step{Name: models.StepConfirm, Do: m.confirm},
			upgrade.Step{Name: models.StepReopen, Do: m.reopen, Needed: m.database},
			upgrade.Step{Name: models.StepRetire, Do: m.retire},
		),
		Switched:  m.switched,
		Return:    m.goBack,
		Patience:  m.host.Patience,
		Abandoned: m.host.Abandoned,
		Cancelled: m.host.Cancelled,
	}
}

// database tells whether the new version has a database of its own.
func (m *mover) database() bool { return m.move.Upgrade.Mode == models.ModeDatabase }

// prepared tells whether the move goes to content that is there already, so that
// nothing has to be copied while writes are refused.
func (m *mover) prepared() bool {
	switch m.move.Upgrade.Kind {
	case models.KindRestore:
		return true
	case models.KindRollback:
		return m.move.Undoes != nil && m.move.Undoes.OldDatabase != m.move.Undoes.NewDatabase
	default:
		return false
	}
}

// copying moves the site with a copy of its content. The release is written before
// writes are refused: it does not depend on what is copied.
func (m *mover) copying() []upgrade.Step {
	return []upgrade.Step{
		{Name: models.StepPreflight, Do: m.preflight, Undo: m.dropTrial},
		{Name: models.StepDeploy, Do: m.deploy, Undo: m.withdraw},
		{Name: models.StepReadOnly, Do: m.readOnly, Undo: m.open, Needed: m.database},
		{Name: models.StepCopy, Do: m.copyDatabase, Undo: m.dropCopy},
		{Name: models.StepUpdate, Do: m.updateDatabase, Needed: m.database},
		{Name: models.StepRebuild, Do: m.rebuild},
		{Name: models.StepProbe, Do: m.probeNext},
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
	if u := m.move.Upgrade; m.database() && u.NewDatabase != (models.Database{}) {
		return u.NewDatabase, nil
	}
	return m.host.Databases.Create(ctx, m.move.Site, m.copyLabel())
}

// copyLabel tells the database that the move makes from others of the site.
func (m *mover) copyLabel() string { return fmt.Sprintf("%s-%d", m.label(), m.move.Upgrade.ID) }

// label begins the name of a database that the move makes.
func (m *mover) label() string {
	if kind := m.move.Upgrade.Kind; kind != "" {
		return string(kind)
	}
	return string(models.KindUpgrade)
}

func (m *mover) drush(r drupal.Release) (*drupal.Drush, error) {
	d, err := m.host.Drupal.Drush(r, m.log.Out(), m.log.Err())
	if err == nil && m.host.Times != (drupal.Times{}) {
		d.Times = m.host.Times
	}
	return d, err
}

// inMaintenance tells whether somebody put the site into maintenance mode.
func (m *mover) inMaintenance(ctx context.Context, r drupal.Release) (bool, error) {
	d, err := m.drush(r)
	if err != nil {
		return false, err
	}
	return d.Maintenance(ctx)
}

// want is what the new version should answer.
func (m *mover) want() expected {
	if m.after != nil {
		return m.after.of(m.move.To)
	}
	return m.before.of(m.move.To)
}

// look finds out what the site answers before anything is done, unless it is in
// maintenance mode.
func (m *mover) look(ctx context.Context) {
	if m.maintenance {
		m.log.Printf(models.LevelInfo, "The site is in maintenance mode and stays so")
		m.before = m.host.closedNow(ctx, m.move.Site)
		return
	}
	seen, textMissing, err := m.host.remember(ctx, m.move.Site)
	if err != nil {
		m.sick, m.before.text = true, ""
		m.log.Printf(models.LevelWarn, "The site is not well before the %s: %s", m.label(), models.Explain(err))
		return
	}
	m.before = seen
	if textMissing {
		m.log.Printf(models.LevelWarn, "The text %q is not on %s even now, so it is not looked for afterwards", m.move.Site.ProbeText, seen.paths[0])
	}
}

// health is what the journal should know of the site as it was.
func (m *mover) health() string {
	switch {
	case m.sick:
		return "; " + notWell
	case m.move.Site.ProbeText != "" && m.before.text == "":
		return "; " + noText
	}
	return ""
}

func (m *mover) preflight(ctx context.Context) (string, error) {
	if err := m.host.Databases.Check(ctx, m.move.Upgrade.OldDatabase); err != nil {
		return "", err
	}
	compared, err := m.compared(ctx)
	if err != nil {
		return "", err
	}
	if len(compared.Blockers) > 0 {
		return "", models.Errorf(models.Conflict, "%s", strings.Join(compared.Blockers, " "))
	}
	m.maintenance = compared.Maintenance
	m.look(ctx)
	u := &m.move.Upgrade
	u.Mode, u.Updates = models.ModeDatabase, compared.Updates
	fact := fmt.Sprintf("%d database updates", len(compared.Updates))
	if len(compared.Updates) == 0 {
		u.Mode, u.NewDatabase = models.ModeCode, u.OldDatabase
		fact = "no database updates, so no write is refused"
	}
	for _, update := range compared.Updates {
		m.log.Printf(models.LevelInfo, "Pending: %s %s", update.Name, update.Description)
	}
	return fact + m.health(), m.journal.Save(ctx, *u)
}

// compared asks what the move means. To go back without a database of its own, the
// older code must be content with what the newer one wrote.
func (m *mover) compared(ctx context.Context) (drupal.Compared, error) {
	ask := drupal.Compare
	if m.move.Upgrade.Kind == models.KindRollback {
		ask = drupal.CompareBack
	}
	m.trialLeft = true
	compared, err := m.host.onTrial(ctx, m.move.Site, m.move.From, m.move.To, m.log, ask)
	m.trialLeft = err != nil
	if err == nil && m.move.Upgrade.Kind == models.KindRollback && len(compared.Updates) > 0 {
		return compared, models.Errorf(models.Conflict,
			"Going back would run %d database updates on what the newer version wrote, the first is %s. Upgrade to a platform in between instead.", len(compared.Updates), compared.Updates[0].Name)
	}
	return compared, err
}

// compare asks Drush what moving the site would do.
func (h *Host) compare(ctx context.Context, site models.Site, from, to models.Platform, log upgrade.Log) (models.Comparison, error) {
	begin := time.Now()
	compared, err := h.onTrial(ctx, site, from, to, log, drupal.Compare)
	return models.Comparison{
		SiteID: site.ID, FromPlatformID: from.ID, PlatformID: to.ID,
		Updates: compared.Updates, Blockers: compared.Blockers, Took: time.Since(begin),
	}, err
}

// onTrial asks with the target's code on a copy of the site's database.
func (h *Host) onTrial(ctx context.Context, site models.Site, from, to models.Platform, log upgrade.Log, ask func(ctx context.Context, from, to *drupal.Drush) (drupal.Compared, error)) (result drupal.Compared, err error) {
	trial, err := h.trial(ctx, site, to)
	if err != nil {
		return result, err
	}
	defer func() {
		err = errors.Join(err, h.dropTrial(context.WithoutCancel(ctx), trial))
	}()
	if _, err := h.Databases.Copy(ctx, site.Database, trial.Database); err != nil {
		return result, err
	}
	if err := h.Drupal.WriteRelease(ctx, trial); err != nil {
		return result, err
	}
	now, err := h.Drupal.Drush(drupal.Release{Site: site, Platform: from, Database: site.Database}, log.Out(), log.Err())
	if err != nil {
		return result, err
	}
	then, err := h.Drupal.Drush(trial, log.Out(), log.Err())
	if err != nil {
		return result, err
	}
	return ask(ctx, now, then)
}

// trial is the site on the target, beside the site itself, with a database of
// its own.
func (h *Host) trial(ctx context.Context, site models.Site, to models.Platform) (drupal.Release, error) {
	db, err := h.Databases.Create(ctx, site, "compare")
	return drupal.Release{Site: site, Platform: to, Database: db, Aside: "compare"}, err
}

func (h *Host) dropTrial(ctx context.Context, trial drupal.Release) error {
	return errors.Join(h.Drupal.RemoveRelease(ctx, trial), h.Databases.Drop(ctx, trial.Database))
}

// dropTrial removes what a comparison leaves that was killed.
func (m *mover) dropTrial(ctx context.Context) error {
	if !m.trialLeft {
		return nil
	}
	return insist(ctx, func() error {
		trial, err := m.host.trial(ctx, m.move.Site, m.move.To)
		if err != nil {
			return err
		}
		return m.host.dropTrial(ctx, trial)
	})
}

// insist repeats what undoes a step while something that it needs is out of reach:
// a database server that was restarted comes back.
func insist(ctx context.Context, undo func() error) error {
	ctx, stop := context.WithTimeout(ctx, undoPatience)
	defer stop()
	for {
		err := undo()
		if err == nil || models.CodeOf(err) != models.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
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
	info, err := m.host.Databases.Copy(ctx, m.move.Upgrade.OldDatabase, db)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.1f MB, %d tables", float64(info.Bytes)/1e6, info.Tables), nil
}

func (m *mover) dropCopy(ctx context.Context) error {
	return insist(ctx, func() error {
		db, err := m.copied(ctx)
		if err != nil {
			return err
		}
		return m.host.Databases.Drop(ctx, db)
	})
}

// deploy writes the release, for a database that is empty yet.
func (m *mover) deploy(ctx context.Context) (string, error) {
	db, err := m.copied(ctx)
	if err != nil {
		return "", err
	}
	if u := &m.move.Upgrade; m.database() && u.NewDatabase != db {
		u.NewDatabase = db
		if err := m.journal.Save(ctx, *u); err != nil {
			return "", err
		}
	}
	r := m.next(db)
	if err := m.host.Drupal.WriteRelease(ctx, r); err != nil {
		return "", err
	}
	if err := point(m.host.Layout.Next(m.move.Site.ID), r.Docroot()); err != nil {
		return "", err
	}
	if m.database() {
		if err := m.warm(ctx, db); err != nil {
			return "", err
		}
	}
	return m.move.To.Name, context.Cause(ctx)
}

// warm has PHP compile the target's code as long as writes are let through: the
// pages that are probed later are asked for now, of a copy that the next step
// replaces. What they answer does not matter yet, the database updates did not
// run. That a copy cannot be made is better known now than when writes are refused.
func (m *mover) warm(ctx context.Context, db models.Database) error {
	if _, err := m.host.Databases.Copy(ctx, m.move.Upgrade.OldDatabase, db); err != nil {
		return err
	}
	_, _ = m.host.ask(ctx, requestsOf(m.move.Site, webserver.ReleaseNext, probedPaths(m.move.Site)))
	// To replace an empty database takes less time than to replace a full one.
	if err := m.host.Databases.Drop(ctx, db); err != nil {
		return err
	}
	_, err := m.host.Databases.Create(ctx, m.move.Site, m.copyLabel())
	return err
}

// withdraw undoes deploy. The release folder of a version that is kept for a
// rollback stays.
func (m *mover) withdraw(ctx context.Context) error {
	if err := m.dropNext(); err != nil {
		return err
	}
	remove := m.host.Drupal.RemoveRelease
	if m.move.Upgrade.Kind == models.KindRollback {
		remove = func(_ context.Context, r drupal.Release) error { return m.host.Drupal.Unstage(r) }
	}
	if err := remove(ctx, m.next(models.Database{})); err != nil {
		return err
	}
	return m.dropCopy(ctx)
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
	then, err := m.drush(m.onTarget())
	if err != nil {
		return "", err
	}
	if err := then.UpdateDatabase(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d updates", len(m.move.Upgrade.Updates)), nil
}

// rebuild makes the target's code look at everything anew.
func (m *mover) rebuild(ctx context.Context) (string, error) {
	if len(m.move.Upgrade.Updates) > 0 {
		return "done with the updates", nil
	}
	db, err := m.copied(ctx)
	if err != nil {
		return "", err
	}
	r := m.onTarget()
	r.Database = db
	then, err := m.drush(r)
	if err != nil {
		return "", err
	}
	return "", then.Rebuild(ctx)
}

// probeNext looks at the new version. Drush says meanwhile whether all updates were
// run and puts maintenance mode to what it was.
func (m *mover) probeNext(ctx context.Context) (string, error) {
	look := func() (string, error) {
		return m.host.probe(ctx, m.move.Site, webserver.ReleaseNext, m.next(models.Database{}).Docroot(), m.want())
	}
	if len(m.move.Upgrade.Updates) == 0 {
		return look()
	}
	then, err := m.drush(m.onTarget())
	if err != nil {
		return "", err
	}
	type answer struct {
		changed bool
		err     error
	}
	settled := make(chan answer, 1)
	go func() {
		changed, err := then.Settle(ctx, m.maintenance)
		settled <- answer{changed, err}
	}()
	fact, err := look()
	a := <-settled
	switch {
	case a.err != nil:
		return "", a.err
	case a.changed:
		return look()
	}
	return fact, err
}

// switchOver is the point of no return: one rename.
func (m *mover) switchOver(ctx context.Context) (string, error) {
	if !m.database() {
		// Proven on a copy; now on the database that serves.
		if err := m.host.Drupal.WriteRelease(ctx, m.next(m.move.Upgrade.OldDatabase)); err != nil {
			return "", err
		}
		return "", point(m.host.Layout.Current(m.move.Site.ID), m.next(models.Database{}).Docroot())
	}
	unseal, err := m.gate.Seal()
	if err != nil {
		return "", err
	}
	defer unseal()
	if err := m.placeContent(true); err != nil {
		return "", err
	}
	if m.samePlatform() {
		return "", m.host.Drupal.UseStaged(m.next(m.move.Upgrade.NewDatabase))
	}
	return "", point(m.host.Layout.Current(m.move.Site.ID), m.next(models.Database{}).Docroot())
}

func (m *mover) switched() (bool, error) {
	if m.samePlatform() {
		if m.move.Upgrade.NewDatabase == (models.Database{}) {
			return false, nil
		}
		return m.host.Drupal.Uses(context.Background(), m.next(m.move.Upgrade.NewDatabase))
	}
	target, err := os.Readlink(m.host.Layout.Current(m.move.Site.ID))
	if err != nil {
		return false, fmt.Errorf("read current link: %w", err)
	}
	return target == m.next(models.Database{}).Docroot(), nil
}

func (m *mover) confirm(ctx context.Context) (string, error) {
	if there, err := m.switched(); err != nil || !there {
		return "", errors.Join(errors.New("the site is not on the new version any more"), err)
	}
	r := m.next(m.move.Upgrade.NewDatabase)
	if !m.database() {
		// What the old code cached in the shared database is stale now.
		then, err := m.drush(r)
		if err != nil {
			return "", err
		}
		if err := then.Rebuild(ctx); err != nil {
			return "", err
		}
	}
	marked := m.mark(ctx)
	outside := make(chan error, 1)
	go func() { outside <- m.host.probePublic(ctx, m.move.Site, m.want()) }()
	fact, err := m.host.probe(ctx, m.move.Site, webserver.ReleaseCurrent, r.Docroot(), m.want())
	err = errors.Join(err, <-outside)
	m.move.Upgrade.Marks = <-marked
	if err != nil {
		return fact, err
	}
	return fact, m.journal.Save(ctx, m.move.Upgrade)
}

// mark notes how the new database is before anybody can write to it, for the day
// when somebody asks what a rollback would lose.
func (m *mover) mark(ctx context.Context) <-chan []models.TableMark {
	marked := make(chan []models.TableMark, 1)
	if !m.database() {
		marked <- nil
		return marked
	}
	go func() {
		marks, err := m.host.Databases.Marks(ctx, m.move.Upgrade.NewDatabase)
		if err != nil {
			m.log.Printf(models.LevelWarn, "It could not be noted how the database is now, so a rollback will not be able to tell what it loses: %s", models.Explain(err))
			marks = nil
		}
		marked <- marks
	}()
	return marked
}

// goBack puts the site back onto the old version. With a database of its own for
// the new version that is right only if nobody can have written there.
func (m *mover) goBack(ctx context.Context) error {
	if m.database() {
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
	}
	if err := m.pointBack(ctx); err != nil {
		return err
	}
	if err := m.placeContent(false); err != nil {
		return err
	}
	m.move.Upgrade.Marks = nil
	if !m.database() {
		now, err := m.drush(m.old())
		if err != nil {
			return err
		}
		if err := now.Rebuild(ctx); err != nil {
			return err
		}
	}
	if err := m.wellAgain(ctx); err != nil {
		return err
	}
	// Pages that began on the new version end there, before it is removed.
	if err := m.gate.DrainReads(ctx, drainLimit); models.CodeOf(err) == models.Unavailable {
		m.log.Printf(models.LevelWarn, "%s It is not waited for any longer", models.Explain(err))
	} else if err != nil {
		return err
	}
	return nil
}

func (m *mover) pointBack(ctx context.Context) error {
	if m.samePlatform() {
		return m.host.Drupal.WriteRelease(ctx, m.old())
	}
	return point(m.host.Layout.Current(m.move.Site.ID), m.old().Docroot())
}

// wellAgain fails when the old version does not serve, unless it did not before.
func (m *mover) wellAgain(ctx context.Context) error {
	if m.sick {
		return nil
	}
	_, err := m.host.probe(ctx, m.move.Site, webserver.ReleaseCurrent, m.old().Docroot(), m.before)
	return err
}

func (m *mover) reopen(context.Context) (string, error) {
	m.release()
	m.release = func() {}
	if err := m.gate.Open(); err != nil {
		return "", err
	}
	m.measure()
	return "writes were paused for " + m.move.Upgrade.ReadOnly.Round(time.Millisecond).String(), nil
}

// retire tidies up. The old release and database are kept for a while.
func (m *mover) retire(ctx context.Context) (string, error) {
	if err := m.dropNext(); err != nil {
		return "", err
	}
	if m.prepared() {
		return m.keepLeft(ctx)
	}
	if !m.database() {
		return "the old release is kept for a week", m.dropCopy(ctx)
	}
	return "the old database is kept for a week", nil
}

// Loss tells what a rollback of the upgrade would lose.
func (h *Host) Loss(ctx context.Context, u models.Upgrade) (models.Loss, error) {
	var loss models.Loss
	if u.EndedAt != nil {
		loss.Since = *u.EndedAt
	}
	if u.OldDatabase == u.NewDatabase {
		loss.None = true
		return loss, nil
	}
	if len(u.Marks) == 0 {
		loss.Tables = []models.TableLoss{{Table: "all tables", Unknown: true, Why: "It was not noted how the database was when this version opened."}}
		return loss, nil
	}
	var err error
	loss.Tables, err = h.Databases.Loss(ctx, u.NewDatabase, u.Marks)
	return loss, err
}
