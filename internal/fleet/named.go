package fleet

import (
	"context"
	"slices"
	"strings"

	"hefring/models"
)

// This file finds things by the names that people type. Capitals do not matter: no two
// things of a kind have names that differ in nothing else, but for database servers,
// of which the one that is named exactly is meant.

// lowered is a typed name of what has names in small letters only.
func lowered(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// called gives the row with a name; false when there is none.
func called[T any](rows []T, name string, of func(T) string) (found T, ok bool) {
	name = strings.TrimSpace(name)
	for _, row := range rows {
		switch its := of(row); {
		case its == name:
			return row, true
		case !ok && strings.EqualFold(its, name):
			found, ok = row, true
		}
	}
	return found, ok
}

// SiteNamed finds a site by its address or one of its aliases.
func (f *Fleet) SiteNamed(ctx context.Context, uri string) (models.Site, error) {
	return f.store.SiteNamed(ctx, lowered(uri))
}

// DistributionNamed finds a distribution by its short name.
func (f *Fleet) DistributionNamed(ctx context.Context, slug string) (models.Distribution, error) {
	return f.store.DistributionNamed(ctx, lowered(slug))
}

// PlatformNamed finds a platform by its name.
func (f *Fleet) PlatformNamed(ctx context.Context, name string) (models.Platform, error) {
	return f.store.PlatformNamed(ctx, lowered(name))
}

// ServerNamed finds a web host.
func (f *Fleet) ServerNamed(ctx context.Context, name string) (models.Server, error) {
	return f.store.ServerNamed(ctx, lowered(name))
}

// UserNamed finds a user by its name.
func (f *Fleet) UserNamed(ctx context.Context, name string) (models.User, error) {
	return f.store.UserByName(ctx, strings.TrimSpace(name))
}

// ClientNamed finds a client by its name.
func (f *Fleet) ClientNamed(ctx context.Context, name string) (models.Client, error) {
	return f.store.ClientNamed(ctx, strings.TrimSpace(name))
}

// DatabaseServerNamed finds a database server by its name; 0 for "" and sqlite, which
// name none.
func (f *Fleet) DatabaseServerNamed(ctx context.Context, name string) (int64, error) {
	if name == "" || name == models.EngineSQLite {
		return 0, nil
	}
	row, err := f.DatabaseServerRow(ctx, name)
	return row.ID, err
}

// DatabaseServerRow finds a database server with its figures by its name.
func (f *Fleet) DatabaseServerRow(ctx context.Context, name string) (DatabaseServerRow, error) {
	rows, err := f.store.DatabaseServers(ctx)
	if err != nil {
		return DatabaseServerRow{}, err
	}
	row, ok := called(rows, name, func(r DatabaseServerRow) string { return r.Name })
	if !ok {
		return DatabaseServerRow{}, models.Errorf(models.NotFound, "There is no database server %s. See hefring database list.", name)
	}
	return row, nil
}

// ChannelNamed finds a channel by its name.
func (f *Fleet) ChannelNamed(ctx context.Context, name string) (ChannelRow, error) {
	rows, err := f.store.ChannelRows(ctx)
	if err != nil {
		return ChannelRow{}, err
	}
	row, ok := called(rows, name, func(r ChannelRow) string { return r.Name })
	if !ok {
		return ChannelRow{}, models.Errorf(models.NotFound, "There is no channel %s. See hefring notice list.", name)
	}
	return row, nil
}

// named finds the subject whose name a filter says.
func (f *Fleet) named(ctx context.Context, in EventFilter) (EventFilter, error) {
	in.Name = strings.TrimSpace(in.Name)
	if in.Subject.Kind != "" && !slices.Contains(models.SubjectKinds(), in.Subject.Kind) {
		return in, models.InvalidField("kind", "Nothing is of this kind. "+oneOf(models.SubjectKinds()))
	}
	if in.Door != "" && !slices.Contains(models.Doors(), in.Door) {
		return in, models.InvalidField("door", "There is no such way to Hefring. "+oneOf(models.Doors()))
	}
	if in.Name == "" {
		return in, nil
	}
	for _, one := range f.finders() {
		if in.Subject.Kind != "" && in.Subject.Kind != one.kind {
			continue
		}
		id, err := one.find(ctx, in.Name)
		if err == nil && id != 0 {
			in.Subject, in.Name = models.Subject{Kind: one.kind, ID: id}, ""
			return in, nil
		}
		if err != nil && models.CodeOf(err) != models.NotFound {
			return in, err
		}
	}
	return in, models.InvalidField("name", "Nothing has this name now. What was deleted is found by a part of the text.")
}

func oneOf[S ~string](words []S) string {
	var list []string
	for _, word := range words {
		list = append(list, string(word))
	}
	return "Choose one of: " + strings.Join(list, ", ") + "."
}

// finder finds what has a name; NotFound or 0: nothing has.
type finder struct {
	kind models.SubjectKind
	find func(ctx context.Context, name string) (int64, error)
}

func (f *Fleet) finders() []finder {
	return []finder{
		{models.SubjectSite, numbered(f.SiteNamed, func(s models.Site) int64 { return s.ID })},
		{models.SubjectDistribution, numbered(f.DistributionNamed, func(d models.Distribution) int64 { return d.ID })},
		{models.SubjectDistribution, f.distributionCalled},
		{models.SubjectPlatform, numbered(f.PlatformNamed, func(p models.Platform) int64 { return p.ID })},
		{models.SubjectUser, numbered(f.UserNamed, func(u models.User) int64 { return u.ID })},
		{models.SubjectClient, numbered(f.ClientNamed, func(c models.Client) int64 { return c.ID })},
		{models.SubjectServer, f.DatabaseServerNamed},
		{models.SubjectChannel, numbered(f.ChannelNamed, func(c ChannelRow) int64 { return c.ID })},
	}
}

// numbered gives the number of what is found.
func numbered[T any](find func(ctx context.Context, name string) (T, error), of func(T) int64) func(ctx context.Context, name string) (int64, error) {
	return func(ctx context.Context, name string) (int64, error) {
		found, err := find(ctx, name)
		return of(found), err
	}
}

// distributionCalled finds a distribution by what people call it.
func (f *Fleet) distributionCalled(ctx context.Context, name string) (int64, error) {
	rows, _, err := f.store.Distributions(ctx, Filter{Query: name, Limit: MaxEvents})
	row, _ := called(rows, name, func(d DistributionRow) string { return d.Name })
	return row.ID, err
}
