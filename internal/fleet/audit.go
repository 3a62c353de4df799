package fleet

import (
	"context"
	"time"

	"hefring/models"
)

// Audit is the part of the store that keeps the record of changes.
type Audit interface {
	// Events gives one page of the record, newest first.
	Events(ctx context.Context, f EventFilter) (EventPage, error)
	// Through gives the same store, whose changes are recorded as coming from there.
	Through(from models.Entrance) Store
}

// EventFilter narrows the record of changes. Zero values do not narrow.
type EventFilter struct {
	Actor, Verb string // exactly
	Subject     models.Subject
	// Name is that of a site, distribution, platform, user, client or database
	// server; with a kind of subject it is looked for among those only.
	Name         string
	Door         models.Door
	Address      string // exactly
	Query        string // part of the sentence or of what changed
	Since, Until time.Time
	Before       int64 // only what comes after this event in the order of the record
	Limit        int   // 0 means 50; at most MaxEvents
}

// MaxEvents is how many events one page may have.
const MaxEvents = 500

// EventRow is one line of the record of changes.
type EventRow struct {
	models.Event
	Name string // of its subject, as it is now; "" when that is gone or has none
}

// EventPage is one page of the record.
type EventPage struct {
	Rows []EventRow
	// Next is the Before of the next page; 0: there is none. A page of a search for
	// text, or for what fits several conditions, may have few rows or none, and a next
	// one all the same: each looks through a part of the record only.
	Next int64
}

// Through gives the same use cases for somebody who comes by that way.
func (f *Fleet) Through(from models.Entrance) *Fleet {
	through := *f
	through.store = f.store.Through(from)
	return &through
}

// Events gives one page of the record of changes, newest first. Invalid: nothing has
// the name that was asked for.
func (f *Fleet) Events(ctx context.Context, in EventFilter) (EventPage, error) {
	in, err := f.named(ctx, in)
	if err != nil {
		return EventPage{}, err
	}
	return f.store.Events(ctx, in)
}

// EachEvent hands over every event that a filter leaves, newest first, a page of its
// limit at a time, or of MaxEvents.
func (f *Fleet) EachEvent(ctx context.Context, in EventFilter, do func([]EventRow) error) error {
	in, err := f.named(ctx, in)
	if err != nil {
		return err
	}
	if in.Limit <= 0 {
		in.Limit = MaxEvents
	}
	for {
		page, err := f.store.Events(ctx, in)
		if err != nil {
			return err
		}
		if err := do(page.Rows); err != nil || page.Next == 0 {
			return err
		}
		in.Before = page.Next
	}
}

// Events is Fleet.Events for those who may.
func (d *Desk) Events(ctx context.Context, in EventFilter) (EventPage, error) {
	return guarded(d, models.MaySeeAudit, func() (EventPage, error) { return d.fleet.Events(ctx, in) })
}

// EachEvent is Fleet.EachEvent for those who may.
func (d *Desk) EachEvent(ctx context.Context, in EventFilter, do func([]EventRow) error) error {
	if err := d.may(models.MaySeeAudit); err != nil {
		return err
	}
	return d.fleet.EachEvent(ctx, in, do)
}

// EventLine is one line of the record as programs read it.
type EventLine struct {
	ID          int64              `json:"id"`
	At          time.Time          `json:"at"`
	Actor       string             `json:"actor"`
	Door        models.Door        `json:"door,omitempty"`
	Address     string             `json:"address,omitempty"`
	Token       string             `json:"token,omitempty" doc:"Of a program: its token's name and what that was narrowed to"`
	Verb        string             `json:"verb"`
	SubjectKind models.SubjectKind `json:"subject_kind,omitempty"`
	SubjectID   int64              `json:"subject_id,omitempty"`
	Subject     string             `json:"subject,omitempty" doc:"Its name, as it is now"`
	Text        string             `json:"text,omitempty"`
	Changes     models.Changes     `json:"changes,omitempty"`
}

// Line gives the row as programs read it.
func (r EventRow) Line() EventLine {
	return EventLine{
		ID: r.ID, At: r.At.UTC(), Actor: r.Actor, Door: r.Door, Address: r.Address, Token: r.Token, Verb: r.Verb,
		SubjectKind: r.Kind, SubjectID: r.Subject.ID, Subject: r.Name, Text: r.Text, Changes: r.Changes,
	}
}

// Row gives a line as it was read by a program.
func (l EventLine) Row() EventRow {
	return EventRow{Name: l.Subject, Event: models.Event{
		ID: l.ID, At: l.At, Actor: l.Actor, Door: l.Door, Address: l.Address, Token: l.Token, Verb: l.Verb,
		Subject: models.Subject{Kind: l.SubjectKind, ID: l.SubjectID}, Text: l.Text, Changes: l.Changes,
	}}
}
