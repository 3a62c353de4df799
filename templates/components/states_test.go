package components

import (
	"slices"
	"strings"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

// shown fails when a state has no word, shape or name of its own.
func shown(t *testing.T, state string, s Status) {
	t.Helper()
	if s.Key == "" || s.Word == "" || s.Word == state || iconPaths(s.Icon()) == iconPaths("box") {
		t.Errorf("state %q is shown as %+v with icon %q", state, s, s.Icon())
	}
}

func TestStatus_EveryState_HasWordAndShape(t *testing.T) {
	for state := range models.TaskTransitions() {
		shown(t, string(state), TaskStatus(models.Task{State: state}))
	}
	for state := range models.PlatformTransitions() {
		shown(t, string(state), PlatformStatus(state))
	}
	for state := range models.SiteTransitions() {
		shown(t, string(state), SiteStatus(fleet.SiteRow{Site: models.Site{State: state}}))
	}
	for state := range models.BackupTransitions() {
		shown(t, string(state), BackupStatus(state))
	}
	for _, d := range []models.Difference{models.DiffError, models.DiffMissing, models.DiffDowngrade, models.DiffUpgrade, models.DiffAdded, models.DiffSame} {
		shown(t, string(d), DifferenceStatus(d))
	}
	for state := range models.UpgradeTransitions() {
		shown(t, string(state), UpgradeStatus(state))
	}
	for _, state := range []models.StepState{models.StepPending, models.StepRunning, models.StepDone, models.StepSkipped, models.StepFailed, models.StepUndone} {
		shown(t, string(state), StepStatus(state, false))
		shown(t, string(state), StepStatus(state, true))
	}
	for _, c := range []models.Condition{models.ConditionNew, models.ConditionCurrent, models.ConditionChanged, models.ConditionFailing, models.ConditionHeld} {
		shown(t, string(c), ConditionStatus(c, false))
	}
	for _, o := range []models.CheckOutcome{models.CheckUnchanged, models.CheckChanged, models.CheckHeld, models.CheckFailed} {
		shown(t, string(o), CheckStatus(o))
	}
	for _, k := range []fleet.DecisionKind{fleet.DecideUpgrade, fleet.DecideBuild, fleet.DecideRecovered, fleet.DecideBroken, fleet.DecideSource, fleet.DecideRisk, fleet.DecideBackup, fleet.DecideServer} {
		shown(t, string(k), DecisionStatus(k))
	}
	for _, name := range models.StepsOf(models.KindUpgrade, models.ModeUnknown) {
		if StepTitle(models.KindUpgrade, name) == string(name) || StepHint(models.KindRestore, name) == "" || !slices.Contains(models.StepsOf(models.KindRollback, models.ModeUnknown), name) {
			t.Errorf("step %q has no title or hint", name)
		}
	}
}

func TestSiteStatus_Enabled_DependsOnTheTarget(t *testing.T) {
	target := models.Platform{ID: 2}
	row := fleet.SiteRow{Site: models.Site{State: models.SiteEnabled, PlatformID: 1}, Target: &target}
	if got := SiteStatus(row).Key; got != "behind" {
		t.Errorf("behind: %q", got)
	}
	row.LastUpgrade = &models.Upgrade{State: models.UpgradeRecovered, ToID: 2}
	if got := SiteStatus(row).Key; got != "recovered" {
		t.Errorf("recovered: %q", got)
	}
	row.LastUpgrade.ToID = 1 // that was another target
	if got := SiteStatus(row).Key; got != "behind" {
		t.Errorf("recovered from an older target: %q", got)
	}
	row.Held = true
	if got := SiteStatus(row).Key; got != "held" {
		t.Errorf("held: %q", got)
	}
	row.Held, row.PlatformID = false, 2
	if got := SiteStatus(row).Key; got != "current" {
		t.Errorf("current: %q", got)
	}
}

// Lists know only that something is wrong, a platform's own page knows what.
func TestSafetyTags_AtRisk_AreShown(t *testing.T) {
	for word, p := range map[string]models.Platform{
		"At risk":          {AtRisk: true, Security: true},
		"Insecure":         {Audit: []models.Finding{{Kind: models.FindingInsecure}}},
		"Security release": {Security: true},
	} {
		var page strings.Builder
		if err := SafetyTags(p).Render(t.Context(), &page); err != nil || !strings.Contains(page.String(), word) {
			t.Errorf("%s: %v, %q", word, err, page.String())
		}
	}
}
