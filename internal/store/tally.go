package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// A fleet of more sites than largeFleet is counted once in a while and not for
// every page: its figures are up to freshFor old. When they are older, a page takes
// them all the same and has them counted anew, but none takes what is older than
// staleFor. As long as nothing was added to the record of changes they stay for up to
// quietFor; that bounds how late it is noticed what changes without being recorded.
const (
	largeFleet = 2000
	freshFor   = time.Second
	staleFor   = 2 * time.Second
	quietFor   = 10 * time.Second
)

// tally is how many sites stand how on each platform. It must not be changed.
type tally struct {
	distributions int
	sites         int
	platforms     []platformTally
	byPlatform    map[int64]platformTally
	byFamily      map[int64]familyTally // by distribution
}

type platformTally struct {
	ID, DistributionID                 int64
	State                              models.PlatformState
	AtRisk                             bool
	TargetID                           *int64 // of its distribution
	Free, Held, Broken, Disabled, Busy int    // sites; Free are enabled and not held
	Distributions                      int    // of the whole fleet
}

func (p platformTally) sites() int { return p.Free + p.Held + p.Broken + p.Disabled + p.Busy }

// behind is how many of its sites an Upgrade button would move.
func (p platformTally) behind() int {
	if p.TargetID == nil || *p.TargetID == p.ID {
		return 0
	}
	return p.Free
}

// familyTally is the same of a distribution.
type familyTally struct{ platforms, sites, behind, unsafe int }

// count gives the figures of the fleet.
func (t tally) count() fleet.Counts {
	c := fleet.Counts{Distributions: t.distributions}
	for _, p := range t.platforms {
		if p.State != models.PlatformDeleted {
			c.Platforms++
		}
		c.Behind += p.behind()
		c.Current += p.Free - p.behind()
		c.Held += p.Held
		c.Broken += p.Broken
		c.Disabled += p.Disabled
		c.Busy += p.Busy
	}
	return c
}

// mostBehind gives the distributions with the most sites behind.
func (t tally) mostBehind(limit int) []int64 {
	var ids []int64
	for id, family := range t.byFamily {
		if family.behind > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b int64) int {
		return cmp.Or(cmp.Compare(t.byFamily[b].behind, t.byFamily[a].behind), cmp.Compare(a, b))
	})
	return ids[:min(len(ids), limit)]
}

// matching is how many sites a list without a search has.
func (t tally) matching(f fleet.Filter) int {
	n := 0
	for _, p := range t.platforms {
		switch {
		case f.Behind && (f.State == "" || f.State == string(models.SiteEnabled)):
			n += p.behind()
		case f.Behind: // none is
		case f.State == "":
			n += p.sites()
		case f.State == string(models.SiteEnabled):
			n += p.Free + p.Held
		case f.State == string(models.SiteDisabled):
			n += p.Disabled
		case f.State == string(models.SiteBroken):
			n += p.Broken
		case models.SiteState(f.State) != models.SiteDeleted:
			return unknown // few
		}
	}
	return n
}

// fewBehind is up to how many sites are found by their platforms. More of them are
// everywhere in the list.
const fewBehind = 2000

// behind gives the platforms with sites that an Upgrade button would move, and how
// many these are.
func (t tally) behind() (on []int64, sites int) {
	for _, p := range t.platforms {
		if n := p.behind(); n > 0 {
			on, sites = append(on, p.ID), sites+n
		}
	}
	return on, sites
}

// tally counts the sites of every platform, or tells what was counted lately if the
// fleet is large. Inside a transaction it is always counted.
func (s *Store) tally(ctx context.Context) (tally, error) {
	return recall(ctx, s, func(m *memory) *remembered[tally] { return &m.tally }, question[tally]{
		find: s.countSites, worth: func(t tally) bool { return t.sites > largeFleet }, line: s.newestLine,
	})
}

func (s *Store) countSites(ctx context.Context) (tally, error) {
	t := tally{byPlatform: map[int64]platformTally{}, byFamily: map[int64]familyTally{}}
	groups := s.with(ctx).Model(&models.Site{}).Where("state <> 'deleted'").Select("platform_id, state, held, COUNT(*) AS n").Group("platform_id, state, held")
	sum := func(when string) string { return "COALESCE(SUM(n) FILTER (WHERE " + when + "), 0)" }
	sites := s.with(ctx).Table("(?) AS g", groups).Group("platform_id").Select("platform_id, " +
		sum("state = 'enabled' AND NOT held") + " AS free, " + sum("state = 'enabled' AND held") + " AS held, " +
		sum("state = 'broken'") + " AS broken, " + sum("state = 'disabled'") + " AS disabled, " +
		sum("state IN ('installing', 'upgrading', 'deleting')") + " AS busy")
	var rows []platformTally
	err := s.with(ctx).Table("(?) AS n", standing(s.with(ctx)).Select("COUNT(*) AS distributions")).
		Joins("LEFT JOIN (platforms p JOIN distributions d ON d.id = p.distribution_id) ON TRUE").
		Joins("LEFT JOIN (?) s ON s.platform_id = p.id", sites).
		Select("n.distributions, p.id, p.distribution_id, p.state, p.at_risk, d.target_id, s.free, s.held, s.broken, s.disabled, s.busy").
		Find(&rows).Error
	if err != nil {
		return t, fmt.Errorf("count sites: %w", err)
	}
	for _, row := range rows {
		t.distributions = row.Distributions
		if row.ID != 0 { // there may be no platform
			t.platforms = append(t.platforms, row)
		}
	}
	for _, p := range t.platforms {
		t.sites += p.sites()
		t.byPlatform[p.ID] = p
		family := t.byFamily[p.DistributionID]
		if p.State != models.PlatformDeleted {
			family.platforms++
		}
		family.sites += p.sites()
		family.behind += p.behind()
		if p.AtRisk {
			family.unsafe += p.sites()
		}
		t.byFamily[p.DistributionID] = family
	}
	return t, nil
}

// memory is what a Store remembers for a moment.
type memory struct {
	tally     remembered[tally]
	decisions remembered[[]fleet.Decision]
	sources   remembered[map[string]queueSource]
	hosts     remembered[[]fleet.HostRow]
}

// question is what is dear to find.
type question[T any] struct {
	find  func(context.Context) (T, error)
	worth func(T) bool                         // whether to remember the answer
	line  func(context.Context) (int64, error) // newest of the record of changes, with which the answer changes; nil: it changes by itself
}

// remembered is an answer that is dear to find.
type remembered[T any] struct {
	mu     sync.Mutex
	answer T
	err    error
	line   int64         // that was the newest before it was found
	found  time.Time     // zero: there is none that is worth it
	fresh  time.Time     // found, or known to be as it was
	asking chan struct{} // closed when it was found anew; nil: nobody looks for it
}

// recall gives what a Store remembers of an answer, or finds it. Inside a transaction,
// which has no memory, it is always found.
func recall[T any](ctx context.Context, s *Store, which func(*memory) *remembered[T], q question[T]) (T, error) {
	if s.memory == nil {
		return q.find(ctx)
	}
	return which(s.memory).get(ctx, q)
}

// get finds the answer, or takes the one that was found lately. What is not worth
// remembering is found anew for everybody.
func (r *remembered[T]) get(ctx context.Context, q question[T]) (T, error) {
	r.mu.Lock()
	if r.found.IsZero() {
		r.mu.Unlock()
		return r.renew(ctx, q)
	}
	age, answer := time.Since(r.fresh), r.answer
	if age > freshFor && r.asking == nil {
		r.asking = make(chan struct{})
		// It is for others too, who wait when this reader has gone.
		go func(ctx context.Context) {
			_, _ = r.renew(ctx, q) // which keeps the error
		}(context.WithoutCancel(ctx))
	}
	asking := r.asking
	r.mu.Unlock()
	if age <= staleFor {
		return answer, nil
	}
	select {
	case <-asking:
	case <-ctx.Done():
		return answer, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answer, r.err
}

// renew finds the answer and keeps it, unless nothing has changed since it was found.
func (r *remembered[T]) renew(ctx context.Context, q question[T]) (T, error) {
	line, answer, same, err := r.unchanged(ctx, q)
	if err == nil && !same {
		answer, err = q.find(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking != nil {
		close(r.asking)
		r.asking = nil
	}
	if same {
		r.fresh = time.Now()
		return answer, nil
	}
	r.answer, r.err, r.line, r.found = answer, err, line, time.Time{}
	if err == nil && q.worth(answer) {
		r.found = time.Now()
		r.fresh = r.found
	}
	return answer, err
}

// unchanged tells whether the answer still holds because nothing was recorded since.
// What was not worth remembering is not worth that look either.
func (r *remembered[T]) unchanged(ctx context.Context, q question[T]) (line int64, answer T, same bool, err error) {
	r.mu.Lock()
	answer, before, found := r.answer, r.line, r.found
	r.mu.Unlock()
	if q.line == nil || found.IsZero() {
		return 0, answer, false, nil
	}
	line, err = q.line(ctx)
	return line, answer, err == nil && line == before && time.Since(found) < quietFor, err
}

// newestLine is the newest line of the record of changes.
func (s *Store) newestLine(ctx context.Context) (line int64, err error) {
	if err := s.with(ctx).Raw("SELECT COALESCE(MAX(id), 0) FROM events").Scan(&line).Error; err != nil {
		return 0, fmt.Errorf("look for the newest event: %w", err)
	}
	return line, nil
}
