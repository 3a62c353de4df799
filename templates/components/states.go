package components

import (
	"fmt"
	"strings"

	"hefring/internal/fleet"
	"hefring/models"
)

// Status is how the state of anything is shown: a word, a shape and a colour.
type Status struct {
	Key  string // decides shape and colour
	Word string
}

// Icon is the shape.
func (s Status) Icon() string {
	switch s.Key {
	case "current", "succeeded", "ready", "done":
		return "circle-check"
	case "running":
		return "loader-circle"
	case "behind":
		return "circle-arrow-up"
	case "unchanged":
		return "equal"
	case "held", "paused":
		return "circle-pause"
	case "stalled":
		return "unplug"
	case "warning":
		return "triangle-alert"
	case "failed", "broken", "fatal":
		return "octagon-x"
	case "recovered", "undone":
		return "undo-2"
	case "skipped", "disabled":
		return "circle-minus"
	case "cancelled":
		return "ban"
	default:
		return "circle-dashed"
	}
}

// TaskStatus is how a task stands.
func TaskStatus(t models.Task) Status {
	switch t.State {
	case models.TaskQueued:
		return Status{"queued", "Queued"}
	case models.TaskRunning:
		if t.Cancel {
			return Status{"running", "Stopping"}
		}
		return Status{"running", "Running"}
	case models.TaskSucceeded:
		return Status{"succeeded", "Succeeded"}
	case models.TaskWarning:
		return Status{"warning", "Warning"}
	case models.TaskRecovered:
		return Status{"recovered", "Recovered"}
	case models.TaskFailed:
		return Status{"failed", "Failed"}
	case models.TaskCancelled:
		return Status{"cancelled", "Cancelled"}
	default:
		return unknown(string(t.State))
	}
}

// PlatformStatus is how a platform stands.
func PlatformStatus(state models.PlatformState) Status {
	switch state {
	case models.PlatformQueued:
		return Status{"queued", "Queued"}
	case models.PlatformBuilding:
		return Status{"running", "Building"}
	case models.PlatformReady:
		return Status{"ready", "Ready"}
	case models.PlatformFailed:
		return Status{"failed", "Build failed"}
	case models.PlatformDeleting:
		return Status{"running", "Deleting"}
	case models.PlatformDeleted:
		return Status{"disabled", "Deleted"}
	default:
		return unknown(string(state))
	}
}

// SiteStatus is how a site stands, seen together with its upgrade target.
func SiteStatus(row fleet.SiteRow) Status {
	switch row.State {
	case models.SiteInstalling:
		return Status{"running", "Installing"}
	case models.SiteEnabled:
		return enabledStatus(row)
	case models.SiteDisabled:
		return Status{"disabled", "Disabled"}
	case models.SiteUpgrading:
		return Status{"running", "Upgrading"}
	case models.SiteBroken:
		return Status{"broken", "Broken"}
	case models.SiteDeleting:
		return Status{"running", "Deleting"}
	case models.SiteDeleted:
		return Status{"disabled", "Deleted"}
	default:
		return unknown(string(row.State))
	}
}

func enabledStatus(row fleet.SiteRow) Status {
	switch {
	case row.Held:
		return Status{"held", "Held"}
	case !row.Behind():
		return Status{"current", "Current"}
	case Recovered(row):
		return Status{"recovered", "Recovered"}
	default:
		return Status{"behind", "Behind"}
	}
}

// Recovered tells whether the last upgrade of a site, to the target that it
// still waits for, was put back.
func Recovered(row fleet.SiteRow) bool {
	last := row.LastUpgrade
	return last != nil && last.State == models.UpgradeRecovered && row.Target != nil && last.ToID == row.Target.ID
}

// ConditionTypeStatus is how one condition of a distribution is shown.
func ConditionTypeStatus(c models.ConditionLine) Status {
	switch c.Type {
	case models.TypeReady:
		return Status{"queued", "Not ready"}
	case models.TypeReconciling:
		return Status{"running", "Building"}
	case models.TypeUpdateAvailable:
		return Status{"behind", "Update available"}
	case models.TypeStalled:
		return Status{"stalled", "Stalled"}
	case models.TypeFetchFailed:
		return Status{"warning", "Check failed"}
	case models.TypeHeld:
		return Status{"held", "Held"}
	case models.TypeBuildFailed:
		return Status{"failed", "Build failed"}
	case models.TypeSuspended:
		return Status{"paused", "Suspended"}
	case models.TypeInsecure:
		return Status{"failed", "Insecure"}
	default:
		return unknown(c.Type)
	}
}

// FindingStatus is how serious a finding is.
func FindingStatus(f models.Finding) Status {
	switch f.Kind {
	case models.FindingInsecure:
		if f.Severity != "" {
			return Status{"failed", "Insecure, " + f.Severity}
		}
		return Status{"failed", "Insecure"}
	case models.FindingRevoked:
		return Status{"failed", "Revoked"}
	case models.FindingUnsupported:
		return Status{"warning", "Unsupported"}
	case models.FindingAbandoned:
		return Status{"warning", "Abandoned"}
	case models.FindingOutdated:
		return Status{"behind", "Newer release"}
	default:
		return unknown(string(f.Kind))
	}
}

// RiskWord names the worst that is known of a platform. Lists know only that there is
// something.
func RiskWord(p models.Platform) string {
	if list := p.Findings(); len(list) > 0 {
		return FindingStatus(models.Finding{Kind: list[0].Kind}).Word
	}
	return "At risk"
}

// SafeLink tells whether an address from outside may become a link.
func SafeLink(link string) bool { return strings.HasPrefix(link, "https://") }

// ConditionStatus is how a distribution stands to its source.
func ConditionStatus(condition models.Condition, byHand bool) Status {
	if byHand {
		return Status{"disabled", "By hand"}
	}
	switch condition {
	case models.ConditionNew:
		return Status{"queued", "Not looked at yet"}
	case models.ConditionCurrent:
		return Status{"current", "In step"}
	case models.ConditionChanged:
		return Status{"behind", "Changed"}
	case models.ConditionFailing:
		return Status{"failed", "Failing"}
	case models.ConditionHeld:
		return Status{"held", "Held"}
	default:
		return unknown(string(condition))
	}
}

// CheckStatus is what a check found.
func CheckStatus(outcome models.CheckOutcome) Status {
	switch outcome {
	case models.CheckUnchanged:
		return Status{"unchanged", "Unchanged"}
	case models.CheckChanged:
		return Status{"behind", "Changed"}
	case models.CheckHeld:
		return Status{"held", "Held"}
	case models.CheckFailed:
		return Status{"failed", "Failed"}
	case models.CheckThrottled:
		return Status{"paused", "Throttled"}
	case models.CheckBlocked:
		return Status{"failed", "Blocked"}
	default:
		return unknown(string(outcome))
	}
}

// BackupStatus is how a backup stands.
func BackupStatus(state models.BackupState) Status {
	switch state {
	case models.BackupMaking:
		return Status{"running", "Being made"}
	case models.BackupReady:
		return Status{"ready", "Ready"}
	case models.BackupFailed:
		return Status{"failed", "Failed"}
	case models.BackupDeleted:
		return Status{"disabled", "Removed"}
	default:
		return unknown(string(state))
	}
}

// DifferenceStatus is the verdict on one package of two platforms.
func DifferenceStatus(d models.Difference) Status {
	switch d {
	case models.DiffError:
		return Status{"failed", "Error"}
	case models.DiffMissing:
		return Status{"warning", "Missing"}
	case models.DiffDowngrade:
		return Status{"warning", "Downgrade"}
	case models.DiffUpgrade:
		return Status{"behind", "Upgrade"}
	case models.DiffAdded:
		return Status{"done", "Added"}
	case models.DiffSame:
		return Status{"unchanged", "Same"}
	default:
		return unknown(string(d))
	}
}

// EngineName is what people call an engine.
func EngineName(engine string) string {
	switch engine {
	case models.EngineSQLite:
		return "SQLite"
	case models.EngineMySQL:
		return "MariaDB or MySQL"
	case models.EnginePostgres:
		return "PostgreSQL"
	default:
		return engine
	}
}

// UpgradeStatus is how an upgrade stands.
func UpgradeStatus(state models.UpgradeState) Status {
	switch state {
	case models.UpgradeQueued:
		return Status{"queued", "Queued"}
	case models.UpgradeRunning:
		return Status{"running", "Running"}
	case models.UpgradeSucceeded:
		return Status{"succeeded", "Succeeded"}
	case models.UpgradeRecovered:
		return Status{"recovered", "Recovered"}
	case models.UpgradeFatal:
		return Status{"fatal", "Fatal"}
	case models.UpgradeCancelled:
		return Status{"cancelled", "Cancelled"}
	default:
		return unknown(string(state))
	}
}

// StepStatus is how a step stands; over tells that the upgrade has ended, so
// that what is pending was not reached.
func StepStatus(state models.StepState, over bool) Status {
	switch state {
	case models.StepPending:
		if over {
			return Status{"skipped", "Not reached"}
		}
		return Status{"later", "Not started"}
	case models.StepRunning:
		return Status{"running", "Running"}
	case models.StepDone:
		return Status{"done", "Done"}
	case models.StepSkipped:
		return Status{"skipped", "Not needed"}
	case models.StepFailed:
		return Status{"failed", "Failed"}
	case models.StepUndone:
		return Status{"undone", "Undone"}
	default:
		return unknown(string(state))
	}
}

// QueueStatus is what a queue does.
func QueueStatus(q fleet.QueueRow) Status {
	switch {
	case q.Paused:
		return Status{"paused", "Paused"}
	case q.Running > 0:
		return Status{"running", fmt.Sprintf("Running %d", q.Running)}
	case q.Waiting > 0:
		return Status{"queued", "Waiting"}
	default:
		return Status{"ready", "Idle"}
	}
}

// DecisionStatus says what kind of decision waits.
func DecisionStatus(kind fleet.DecisionKind) Status {
	switch kind {
	case fleet.DecideUpgrade:
		return Status{"behind", "Update ready"}
	case fleet.DecideBuild:
		return Status{"failed", "Build failed"}
	case fleet.DecideRecovered:
		return Status{"recovered", "Recovered"}
	case fleet.DecideBroken:
		return Status{"broken", "Broken"}
	case fleet.DecideRisk:
		return Status{"failed", "Insecure"}
	case fleet.DecideSource:
		return Status{"stalled", "Source needs you"}
	case fleet.DecideBackup:
		return Status{"failed", "Backup failed"}
	case fleet.DecideServer:
		return Status{"stalled", "Server cannot be used"}
	default:
		return unknown(string(kind))
	}
}

func unknown(word string) Status { return Status{"queued", word} }

// StepTitle is what people call a step of a move.
func StepTitle(kind models.UpgradeKind, name models.StepName) string {
	switch {
	case kind == models.KindRestore && name == models.StepCopy:
		return "Load the backup"
	case kind == models.KindRestore && name == models.StepDeploy:
		return "Make the platform ready"
	case kind == models.KindRollback && name == models.StepDeploy:
		return "Make the old version ready"
	case kind == models.KindRollback && name == models.StepProbe:
		return "Probe the old version"
	case kind == models.KindRestore && name == models.StepProbe:
		return "Probe what was restored"
	case kind == models.KindRollback && name == models.StepRetire:
		return "Retire the newer one"
	default:
		return upgradeStepTitle(name)
	}
}

func upgradeStepTitle(name models.StepName) string {
	switch name {
	case models.StepPreflight:
		return "Preflight"
	case models.StepReadOnly:
		return "Read-only"
	case models.StepCopy:
		return "Copy database"
	case models.StepDeploy:
		return "Deploy on target"
	case models.StepUpdate:
		return "Update database"
	case models.StepRebuild:
		return "Rebuild caches"
	case models.StepProbe:
		return "Probe the copy"
	case models.StepSwitch:
		return "Switch"
	case models.StepConfirm:
		return "Probe from outside"
	case models.StepReopen:
		return "Reopen writes"
	case models.StepRetire:
		return "Retire the old one"
	default:
		return string(name)
	}
}

// StepHint says in a few words what a step will do, until it has something of
// its own to say.
func StepHint(kind models.UpgradeKind, name models.StepName) string {
	switch {
	case kind == models.KindRollback && name == models.StepPreflight:
		return "is what the upgrade left whole?"
	case kind == models.KindRestore && name == models.StepPreflight:
		return "archive, platform, disk"
	case kind == models.KindRestore && name == models.StepCopy:
		return "beside what runs"
	case kind == models.KindRollback && name == models.StepCopy:
		return "the kept one is used"
	case kind == models.KindRollback && name == models.StepProbe:
		return "does it answer?"
	case kind == models.KindRestore && name == models.StepProbe:
		return "does it answer?"
	case kind == models.KindRollback && name == models.StepRetire:
		return "what is dropped is backed up first"
	case kind == models.KindRestore && name == models.StepRetire:
		return "what was replaced is kept for a while"
	default:
		return upgradeStepHint(name)
	}
}

func upgradeStepHint(name models.StepName) string {
	switch name {
	case models.StepPreflight:
		return "modules, schema, disk, probe"
	case models.StepReadOnly:
		return "reads go on, writes wait"
	case models.StepCopy:
		return "the old one is not touched"
	case models.StepDeploy:
		return "settings and files, beside the old version"
	case models.StepUpdate:
		return "drush updatedb, on the copy"
	case models.StepRebuild:
		return "drush cache:rebuild"
	case models.StepProbe:
		return "does the new version answer?"
	case models.StepSwitch:
		return "one rename"
	case models.StepConfirm:
		return "as a visitor sees it"
	case models.StepReopen:
		return "writes go on"
	case models.StepRetire:
		return "the old database is kept for a while"
	default:
		return ""
	}
}

// SubjectURL is the page of what a task works on or a decision is about; "" for
// what has none.
func SubjectURL(s models.Subject) string {
	switch s.Kind {
	case models.SubjectDistribution, models.SubjectTarget:
		return fmt.Sprintf("/distributions/%d", s.ID)
	case models.SubjectPlatform:
		return fmt.Sprintf("/platforms/%d", s.ID)
	case models.SubjectSite, models.SubjectQuestion, models.SubjectNewcomer:
		return fmt.Sprintf("/sites/%d", s.ID)
	case models.SubjectQueue:
		return "/queues"
	case models.SubjectImport:
		return "/import"
	case models.SubjectServer:
		return fmt.Sprintf("/databases/%d", s.ID)
	case models.SubjectUser, models.SubjectUpstream, models.SubjectDelivery, models.SubjectServerTarget, models.SubjectWebServer:
		return ""
	default:
		return ""
	}
}
