package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hefring/models"
)

// plannedSites is how many of the sites that would move a PlatformPlan names.
const plannedSites = 20

// PlatformPlan says what upgrading every site of a platform would do.
func (f *Fleet) PlatformPlan(ctx context.Context, platformID int64) (PlatformPlan, error) {
	row, err := f.store.PlatformRow(ctx, platformID)
	if err != nil {
		return PlatformPlan{}, err
	}
	if row.TargetID == nil || row.IsTarget() {
		return PlatformPlan{}, models.Errorf(models.Conflict, "%s is not behind. There is nothing to upgrade.", row.Name)
	}
	plan := PlatformPlan{Platform: row, From: row.Platform}
	if plan.To, err = f.store.Platform(ctx, *row.TargetID); err != nil {
		return PlatformPlan{}, err
	}
	plan.Changes = models.ComparePackages(plan.From.Packages, plan.To.Packages)
	if plan.Sites, _, err = f.store.Sites(ctx, Filter{PlatformID: platformID, Behind: true, Brief: true, Limit: plannedSites, NoTotal: true}); err != nil {
		return PlatformPlan{}, err
	}
	if running, err := f.store.RunningTask(ctx, platformSubject(platformID)); err == nil {
		plan.RunningTask = running.ID
	}
	comparisons, err := f.store.ComparisonsOn(ctx, platformID, plan.To.ID)
	if err != nil {
		return PlatformPlan{}, err
	}
	for _, c := range comparisons {
		plan.Compared++
		if len(c.Updates) > 0 {
			plan.Updates++
		}
		if len(c.Blockers) > 0 {
			plan.Blocked++
		}
	}
	return plan, nil
}

// UpgradePlatform queues the upgrade of every site of a platform that an Upgrade
// button would move: one task each under a parent. target is the platform that
// the person saw in the dialog.
func (f *Fleet) UpgradePlatform(ctx context.Context, by string, platformID, target int64) (models.Task, error) {
	row, err := f.store.PlatformRow(ctx, platformID)
	if err != nil {
		return models.Task{}, err
	}
	switch {
	case row.TargetID == nil || row.IsTarget():
		return models.Task{}, models.Errorf(models.Conflict, "%s is not behind. There is nothing to upgrade.", row.Name)
	case *row.TargetID != target:
		return models.Task{}, models.Errorf(models.Conflict, "The upgrade target is %s by now. Look at what changes, then press Upgrade again.", row.TargetName)
	}
	to, err := f.store.Platform(ctx, target)
	if err != nil {
		return models.Task{}, err
	}
	return f.start(ctx, models.Task{
		Kind: models.TaskUpgradePlatform, Subject: platformSubject(platformID), Actor: by,
		Title: fmt.Sprintf("Upgrade %s to %s", row.Name, VersionLabel(to)),
		Args:  models.Settings{"target": strconv.FormatInt(target, 10)},
	})
}

// UpgradePlatformToTarget is UpgradePlatform for doors without a dialog: whatever
// the target is now.
func (f *Fleet) UpgradePlatformToTarget(ctx context.Context, by string, platformID int64) (models.Task, error) {
	row, err := f.store.PlatformRow(ctx, platformID)
	if err != nil {
		return models.Task{}, err
	}
	if row.TargetID == nil {
		return models.Task{}, models.Errorf(models.Conflict, "%s has no upgrade target.", row.DistributionName)
	}
	return f.UpgradePlatform(ctx, by, platformID, *row.TargetID)
}

// Waiting is the error of a task that waits for its children: it is called again
// after a while and holds no worker meanwhile.
type Waiting struct{ For time.Duration } //nolint:errname // it is said as what the task does: Waiting{For: …}

func (w Waiting) Error() string { return "waiting for " + w.For.String() }

// childPoll is how often a parent looks at its children.
const childPoll = time.Second

// RunUpgradePlatform is the parent task of a platform's upgrade. It gives every
// site its own task and waits for them.
func (f *Fleet) RunUpgradePlatform(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	message, state, err := f.batch(ctx, t, log)
	if err == nil || !errors.Is(context.Cause(ctx), ErrCancelled) {
		return message, state, err
	}
	// Some children may have been made after those that were there were cancelled.
	if err := f.cancelChildren(context.WithoutCancel(ctx), t.Actor, t.ID); err != nil {
		return "", "", err
	}
	return "Cancelled. Sites that were upgraded by then stay upgraded.", models.TaskCancelled, nil
}

func (f *Fleet) batch(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	children, err := f.store.Children(ctx, t.ID)
	if err != nil {
		return "", "", err
	}
	if t.Args["spread"] == "" {
		if err := f.spread(ctx, t, children, log); err != nil {
			return "", "", err
		}
		return "", "", Waiting{childPoll}
	}
	counts := map[models.TaskState]int{}
	for _, child := range children {
		if !child.State.Over() {
			return "", "", Waiting{childPoll}
		}
		counts[child.State]++
	}
	good := counts[models.TaskSucceeded] + counts[models.TaskWarning]
	message := fmt.Sprintf("%d of %d sites upgraded", good, len(children))
	if good == len(children) {
		return message, "", nil
	}
	return fmt.Sprintf("%s, %d recovered, %d failed, %d cancelled", message,
		counts[models.TaskRecovered], counts[models.TaskFailed], counts[models.TaskCancelled]), models.TaskWarning, nil
}

// spread gives every site of the platform its task. After a kill it goes on
// where it was: a site that has a child already gets no second one.
func (f *Fleet) spread(ctx context.Context, t models.Task, children []models.Task, log Log) error {
	p, err := f.store.PlatformRow(ctx, t.Subject.ID)
	if err != nil {
		return err
	}
	if p.TargetID == nil || strconv.FormatInt(*p.TargetID, 10) != t.Args["target"] {
		return models.Errorf(models.Conflict, "The upgrade target changed before the first site was moved. Press Upgrade again.")
	}
	to, err := f.store.Platform(ctx, *p.TargetID)
	if err != nil {
		return err
	}
	sites, err := f.store.SitesOn(ctx, p.ID)
	if err != nil {
		return err
	}
	has := map[int64]bool{}
	for _, child := range children {
		has[child.Subject.ID] = true
	}
	for _, site := range sites {
		if has[site.ID] {
			continue
		}
		if err := f.spreadTo(ctx, t, site, to, log); err != nil {
			return err
		}
	}
	t.Args["spread"] = "1"
	return f.store.SaveTaskArgs(ctx, t)
}

func (f *Fleet) spreadTo(ctx context.Context, t models.Task, site models.Site, to models.Platform, log Log) error {
	switch {
	case site.Held:
		log.Printf(models.LevelInfo, "%s is held: %s", site.URI, site.HeldReason)
		return nil
	case site.State != models.SiteEnabled && site.State != models.SiteUpgrading:
		log.Printf(models.LevelInfo, "%s is %s and stays", site.URI, site.State)
		return nil
	}
	if running, err := f.store.RunningTask(ctx, siteSubject(site.ID)); err == nil {
		log.Printf(models.LevelInfo, "%s is being worked on already: task %d, %s", site.URI, running.ID, running.Title)
		return nil
	}
	err := f.store.InTx(ctx, func(tx Tx) error {
		_, err := f.queueUpgrade(ctx, tx, t.Actor, site, to, &t.ID)
		return err
	})
	if models.CodeOf(err) == models.Conflict {
		log.Printf(models.LevelInfo, "%s: %s", site.URI, models.Explain(err))
		return nil
	}
	if err == nil {
		log.Printf(models.LevelInfo, "%s is queued", site.URI)
	}
	return err
}
