package models

import (
	"maps"
	"slices"
)

// PlatformState is where a platform is in its life.
type PlatformState string

// States of a platform. A platform that is ready is never changed again.
const (
	PlatformQueued   PlatformState = "queued"
	PlatformBuilding PlatformState = "building"
	PlatformReady    PlatformState = "ready"
	PlatformFailed   PlatformState = "failed"
	PlatformDeleting PlatformState = "deleting"
	PlatformDeleted  PlatformState = "deleted"
)

// SiteState is where a site is in its life.
type SiteState string

// States of a site.
const (
	SiteInstalling SiteState = "installing"
	SiteEnabled    SiteState = "enabled"
	SiteDisabled   SiteState = "disabled"
	SiteUpgrading  SiteState = "upgrading"
	SiteBroken     SiteState = "broken"
	SiteDeleting   SiteState = "deleting"
	SiteDeleted    SiteState = "deleted"
)

// UpgradeState is how far an upgrade is, and at its end the outcome.
type UpgradeState string

// States of an upgrade. Recovered means that it failed and the site serves as
// before; fatal means that a person must look.
const (
	UpgradeQueued    UpgradeState = "queued"
	UpgradeRunning   UpgradeState = "running"
	UpgradeSucceeded UpgradeState = "succeeded"
	UpgradeRecovered UpgradeState = "recovered"
	UpgradeFatal     UpgradeState = "fatal"
	UpgradeCancelled UpgradeState = "cancelled"
)

// TaskState is how far a task is, and at its end the outcome.
type TaskState string

// States of a task. Recovered is a failure that put everything back.
const (
	TaskQueued    TaskState = "queued"
	TaskRunning   TaskState = "running"
	TaskSucceeded TaskState = "succeeded"
	TaskWarning   TaskState = "warning"
	TaskRecovered TaskState = "recovered"
	TaskFailed    TaskState = "failed"
	TaskCancelled TaskState = "cancelled"
)

// Transitions lists, for every state of one kind of thing, the states that may
// follow. A state that leads nowhere is an end.
type Transitions[S ~string] map[S][]S

// Allows tells whether to may follow from.
func (t Transitions[S]) Allows(from, to S) bool { return slices.Contains(t[from], to) }

// States lists them by name.
func (t Transitions[S]) States() []S { return slices.Sorted(maps.Keys(t)) }

// Final tells whether nothing follows s.
func (t Transitions[S]) Final(s S) bool { return len(t[s]) == 0 }

// PlatformTransitions is the life of a platform. From building back to queued
// is a build that was taken over after its worker died.
func PlatformTransitions() Transitions[PlatformState] {
	return Transitions[PlatformState]{
		PlatformQueued:   {PlatformBuilding, PlatformFailed, PlatformDeleting},
		PlatformBuilding: {PlatformReady, PlatformFailed, PlatformQueued},
		PlatformReady:    {PlatformFailed, PlatformDeleting}, // failed: its folder is gone
		PlatformFailed:   {PlatformQueued, PlatformDeleting},
		PlatformDeleting: {PlatformDeleted},
		PlatformDeleted:  {},
	}
}

// SiteTransitions is the life of a site.
func SiteTransitions() Transitions[SiteState] {
	return Transitions[SiteState]{
		SiteInstalling: {SiteEnabled, SiteBroken, SiteDeleting},
		SiteEnabled:    {SiteUpgrading, SiteDisabled, SiteBroken, SiteDeleting},
		SiteDisabled:   {SiteEnabled, SiteDeleting},
		SiteUpgrading:  {SiteEnabled, SiteBroken},
		SiteBroken:     {SiteInstalling, SiteEnabled, SiteUpgrading, SiteDeleting}, // upgrading: rolled back or restored
		SiteDeleting:   {SiteDeleted},
		SiteDeleted:    {},
	}
}

// UpgradeTransitions is the life of an upgrade.
func UpgradeTransitions() Transitions[UpgradeState] {
	return Transitions[UpgradeState]{
		UpgradeQueued:    {UpgradeRunning, UpgradeCancelled},
		UpgradeRunning:   {UpgradeSucceeded, UpgradeRecovered, UpgradeFatal, UpgradeCancelled},
		UpgradeSucceeded: {},
		UpgradeRecovered: {},
		UpgradeFatal:     {},
		UpgradeCancelled: {},
	}
}

// TaskTransitions is the life of a task. From running to running is a take-over
// after the worker died.
func TaskTransitions() Transitions[TaskState] {
	return Transitions[TaskState]{
		TaskQueued:    {TaskRunning, TaskCancelled, TaskFailed},
		TaskRunning:   {TaskRunning, TaskSucceeded, TaskWarning, TaskRecovered, TaskFailed, TaskCancelled},
		TaskSucceeded: {},
		TaskWarning:   {},
		TaskRecovered: {},
		TaskFailed:    {},
		TaskCancelled: {},
	}
}

// Over tells whether the task has ended.
func (s TaskState) Over() bool { return TaskTransitions().Final(s) }

// Over tells whether the upgrade has ended.
func (s UpgradeState) Over() bool { return UpgradeTransitions().Final(s) }
