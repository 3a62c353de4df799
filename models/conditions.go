package models

// ConditionLine is one statement about how a distribution stands to its source,
// as an operator of a fleet reads it.
type ConditionLine struct {
	Type    string // one of the Types below
	Holds   bool
	Reason  Reason // one word; "" where the type says all
	Message string // what happened
	Advice  string // what to do about it; "" when nothing needs to be done
}

// Types of conditions, in the order in which they are shown.
const (
	TypeReady           = "Ready"           // the target is what the source holds, and checks go on
	TypeReconciling     = "Reconciling"     // a platform is on its way
	TypeUpdateAvailable = "UpdateAvailable" // sites are behind the target
	TypeStalled         = "Stalled"         // nothing happens before a person acts
	TypeFetchFailed     = "FetchFailed"     // the last check failed; it is tried again
	TypeHeld            = "Held"            // something exceptional waits for a decision
	TypeBuildFailed     = "BuildFailed"     // the newest platform did not build
	TypeSuspended       = "Suspended"       // the queue is paused, or checks are made by hand only
	TypeInsecure        = "Insecure"        // sites run on versions with known holes
)

// ConditionInput is what the conditions of a distribution follow from.
type ConditionInput struct {
	Distribution Distribution
	Upstream     Upstream
	ByHand       bool // it has no source that is checked
	Paused       bool // its queue is paused
	Behind       int  // sites
	Unsafe       int  // sites on platforms with known holes
}

// Conditions lists what holds for a distribution, and Ready either way.
func Conditions(in ConditionInput) []ConditionLine {
	d, u := in.Distribution, in.Upstream
	var list []ConditionLine
	say := func(holds bool, kind string, reason Reason, message, advice string) {
		if holds {
			list = append(list, ConditionLine{Type: kind, Holds: true, Reason: reason, Message: message, Advice: advice})
		}
	}
	fetch := d.Condition == ConditionFailing && d.ReasonCode != ReasonBuild
	say(d.Condition == ConditionChanged, TypeReconciling, "", "A platform is being built.", "")
	say(in.Behind > 0, TypeUpdateAvailable, "", "Sites are behind the upgrade target.", "Press Upgrade when you want them moved.")
	say(u.Stalled, TypeStalled, u.Reason, u.Message, join(u.Reason.Advice(), "Then press Try again."))
	say(fetch && !u.Stalled, TypeFetchFailed, d.ReasonCode, d.Reason, d.ReasonCode.Advice())
	say(d.Condition == ConditionHeld, TypeHeld, d.ReasonCode, d.Reason, d.ReasonCode.Advice())
	say(d.Condition == ConditionFailing && d.ReasonCode == ReasonBuild, TypeBuildFailed, ReasonBuild, d.Reason, ReasonBuild.Advice())
	say(in.Unsafe > 0, TypeInsecure, "", "Sites run on a version that has a known hole, was taken back, or gets no more repairs.", "Upgrade them first.")
	say(in.Paused && !in.ByHand, TypeSuspended, "", "The queue of this update type is paused.", "Resume it on the Queues page, or press Check now.")
	say(!in.Paused && !in.ByHand && u.NextCheckAt == nil && !u.Stalled, TypeSuspended, "", "Checks are made by hand and by webhook only.", "")
	ready := ConditionLine{Type: TypeReady, Holds: d.TargetID != nil && (d.Condition == ConditionCurrent || in.ByHand)}
	switch {
	case ready.Holds && in.ByHand:
		ready.Message = "The upgrade target was chosen by hand."
	case ready.Holds:
		ready.Message = "The upgrade target is what the source holds."
	case in.ByHand:
		ready.Message = "No upgrade target was chosen yet."
	default:
		ready.Message = "The upgrade target is not yet, or no longer, what the source holds."
	}
	return append([]ConditionLine{ready}, list...)
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
}
