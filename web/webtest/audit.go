package webtest

import (
	"context"

	"hefring/internal/fleet"
)

// Audited is the record of changes.
type Audited struct {
	Recorded []fleet.EventRow
	Older    int64             // where the next page begins
	Asked    fleet.EventFilter // of the last question
}

// Events gives Recorded.
func (f *Fleet) Events(_ context.Context, in fleet.EventFilter) (fleet.EventPage, error) {
	f.Asked = in
	return fleet.EventPage{Rows: f.Recorded, Next: f.Older}, f.failing("Events")
}

// EachEvent hands Recorded over twice.
func (f *Fleet) EachEvent(_ context.Context, in fleet.EventFilter, do func([]fleet.EventRow) error) error {
	f.Asked = in
	for range 2 {
		if err := do(f.Recorded); err != nil {
			return err
		}
		if err := f.failing("EachEvent"); err != nil {
			return err
		}
	}
	return nil
}
