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
	line          int64     // the newest of the record of changes, when it was counted
	counted       time.Time // by this process's clock
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
	Line                               int64  // the newest of the record of changes
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
	return recall(ctx, s, func(m *memory) *remembered[tally] { return &m.tally }, s.countSites, func(t tally) bool { return t.sites > largeFleet })
}

// countSites counts the sites of every platform, unless nothing was recorded since
// they were counted before.
func (s *Store) countSites(ctx context.Context, before tally) (tally, error) {
	t := tally{counted: time.Now(), byPlatform: map[int64]platformTally{}, byFamily: map[int64]familyTally{}}
	known := int64(-1)
	if t.counted.Sub(before.counted) < quietFor {
		known = before.line
	}
	groups := s.with(ctx).Model(&models.Site{}).Where("state <> 'deleted'").Select("platform_id, state, held, COUNT(*) AS n").Group("platform_id, state, held")
	sum := func(when string) string { return "COALESCE(SUM(n) FILTER (WHERE " + when + "), 0)" }
	sites := s.with(ctx).Table("(?) AS g", groups).Group("platform_id").Select("platform_id, " +
		sum("state = 'enabled' AND NOT held") + " AS free, " + sum("state = 'enabled' AND held") + " AS held, " +
		sum("state = 'broken'") + " AS broken, " + sum("state = 'disabled'") + " AS disabled, " +
		sum("state IN ('installing', 'upgrading', 'deleting')") + " AS busy")
	const newest = "(SELECT COALESCE(MAX(id), 0) FROM events)"
	var rows []platformTally
	err := s.with(ctx).Table("(?) AS n", standing(s.with(ctx)).Select("COUNT(*) AS distributions, "+newest+" AS line")).
		Joins("LEFT JOIN (platforms p JOIN distributions d ON d.id = p.distribution_id) ON TRUE").
		Joins("LEFT JOIN (?) s ON s.platform_id = p.id", sites).
		Where(newest+" <> ?", known). // the databases look at this first, and at nothing else if it is not so
		Select("n.distributions, n.line, p.id, p.distribution_id, p.state, p.at_risk, d.target_id, s.free, s.held, s.broken, s.disabled, s.busy").
		Find(&rows).Error
	if err != nil {
		return t, fmt.Errorf("count sites: %w", err)
	}
	if len(rows) == 0 {
		return before, nil
	}
	for _, row := range rows {
		t.distributions, t.line = row.Distributions, row.Line
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
	decisions remembered[decided]
	sources   remembered[map[string]queueSource]
	hosts     remembered[[]fleet.HostRow]
}

// remembered is an answer that is dear to find.
type remembered[T any] struct {
	mu     sync.Mutex
	answer T
	err    error
	found  time.Time     // zero: there is none that is worth it
	asking chan struct{} // closed when it was found anew; nil: nobody looks for it
}

// finder finds an answer. It gets the answer before it, or none, which it may give
// again.
type finder[T any] func(ctx context.Context, before T) (T, error)

// recall gives what a Store remembers of an answer, or finds it. Inside a transaction,
// which has no memory, it is always found.
func recall[T any](ctx context.Context, s *Store, which func(*memory) *remembered[T], find finder[T], worth func(T) bool) (T, error) {
	if s.memory == nil {
		var none T
		return find(ctx, none)
	}
	return which(s.memory).get(ctx, find, worth)
}

// get finds the answer, or takes the one that was found lately. What is not worth
// remembering is found anew for everybody.
func (r *remembered[T]) get(ctx context.Context, find finder[T], worth func(T) bool) (T, error) {
	r.mu.Lock()
	if r.found.IsZero() {
		r.mu.Unlock()
		var none T
		answer, err := find(ctx, none)
		r.keep(answer, err, worth)
		return answer, err
	}
	age, answer := time.Since(r.found), r.answer
	if age > freshFor && r.asking == nil {
		r.asking = make(chan struct{})
		// It is for others too, who wait when this reader has gone.
		go func(ctx context.Context) {
			answer, err := find(ctx, answer)
			r.keep(answer, err, worth)
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

func (r *remembered[T]) keep(answer T, err error, worth func(T) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.err, r.found = answer, err, time.Time{}
	if err == nil && worth(answer) {
		r.found = time.Now()
	}
	if r.asking != nil {
		close(r.asking)
		r.asking = nil
	}
}
