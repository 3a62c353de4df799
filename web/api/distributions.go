package api

import (
	"context"
	"slices"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
)

// DistributionIn names a distribution.
type DistributionIn struct {
	Caller

	Slug string `path:"distribution" doc:"The distribution's short name"`
}

// about is an operation on a thing that has to be found first.
func about[I authorised, X, T any](s *server, o operation, find func(context.Context, Fleet, I) (X, error), do func(context.Context, Fleet, X, I) (T, error)) {
	register(s, o, func(ctx context.Context, f Fleet, in I) (T, error) {
		found, err := find(ctx, f, in)
		if err != nil {
			var none T
			return none, err
		}
		return do(ctx, f, found, in)
	})
}

func named(ctx context.Context, f Fleet, in DistributionIn) (models.Distribution, error) {
	return f.DistributionNamed(ctx, in.Slug)
}

// Distribution says where a flavour of Drupal comes from.
type Distribution struct {
	Name          string           `json:"name"`
	Slug          string           `json:"slug" doc:"Its short name"`
	Type          string           `json:"type" doc:"Update type"`
	Condition     models.Condition `json:"condition" enum:"new,current,changed,failing,held"`
	Reason        string           `json:"reason,omitempty"`
	UpgradeTarget string           `json:"upgrade_target,omitempty" doc:"The platform that sites are upgraded to"`
	DrupalVersion string           `json:"drupal_version,omitempty" doc:"Of the upgrade target"`
	Revision      string           `json:"revision,omitempty" doc:"Of the upgrade target"`
	Observed      string           `json:"observed_revision,omitempty" doc:"What the last check saw"`
	CheckedAt     *time.Time       `json:"checked_at,omitempty"`
	Platforms     int              `json:"platforms"`
	Sites         int              `json:"sites"`
	Behind        int              `json:"sites_behind"`
	Source        Source           `json:"source"`
}

// Source is where a distribution comes from, and how it is watched.
type Source struct {
	Settings      map[string]string `json:"settings" doc:"Without secrets"`
	Secrets       []string          `json:"secrets,omitempty" doc:"Secret settings that are set"`
	CheckSeconds  *int64            `json:"check_seconds,omitempty" doc:"Overrides the queue's interval; 0: only by hand or webhook"`
	RebuildDays   int               `json:"rebuild_days,omitempty"`
	KeepPlatforms int               `json:"keep_platforms,omitempty"`
}

// keeper tells which secret settings a distribution has.
type keeper interface {
	SecretsSet(distribution models.Distribution) map[string]bool
}

// DistributionView gives distributions as programs read them.
func DistributionView(f keeper) func(fleet.DistributionRow) Distribution {
	return func(r fleet.DistributionRow) Distribution {
		return Distribution{
			Name: r.Name, Slug: r.Slug, Type: r.UpdateType, Condition: r.Condition, Reason: r.Reason, UpgradeTarget: r.TargetName,
			DrupalVersion: r.TargetVersion, Revision: r.Signature, Observed: r.Observed, CheckedAt: r.LastCheckAt,
			Platforms: r.Platforms, Sites: r.Sites, Behind: r.Behind, Source: sourceView(f, r.Distribution),
		}
	}
}

func sourceView(f keeper, d models.Distribution) Source {
	v := Source{Settings: d.Settings.Blotted(), RebuildDays: d.RebuildDays, KeepPlatforms: d.KeepPlatforms}
	if d.CheckEvery != nil {
		seconds := int64(*d.CheckEvery / time.Second)
		v.CheckSeconds = &seconds
	}
	for name, set := range f.SecretsSet(d) {
		if set {
			v.Secrets = append(v.Secrets, name)
		}
	}
	slices.Sort(v.Secrets)
	return v
}

// SourceBody is a distribution as it is sent.
type SourceBody struct {
	Name          string            `json:"name"`
	Settings      map[string]string `json:"settings" doc:"As the update type has them, with secrets; an empty secret stays as it was, and so does an address that is sent as it was given, with … for its token"`
	CheckSeconds  *int64            `json:"check_seconds,omitempty" minimum:"0" maximum:"31622400" doc:"Overrides the queue's interval; 0: only by hand or webhook; none: as the queue"`
	RebuildDays   int               `json:"rebuild_days,omitempty" doc:"Build the same revision again after so many days; 0 never"`
	KeepPlatforms int               `json:"keep_platforms,omitempty" doc:"How many platforms stay beside the upgrade target; 0 keeps all"`
}

func (in SourceBody) distribution() fleet.NewDistribution {
	d := fleet.NewDistribution{Name: in.Name, Settings: in.Settings, RebuildDays: in.RebuildDays, KeepPlatforms: in.KeepPlatforms}
	if in.CheckSeconds != nil {
		every := time.Duration(*in.CheckSeconds) * time.Second
		d.CheckEvery = &every
	}
	return d
}

// distributionRow gives one with its figures.
func distributionRow(ctx context.Context, f Fleet, d models.Distribution) (Distribution, error) {
	rows, _, err := f.Distributions(ctx, fleet.Filter{DistributionID: d.ID, Limit: 1})
	if err == nil && len(rows) == 0 {
		err = models.Errorf(models.NotFound, "There is no distribution %s.", d.Slug)
	}
	if err != nil {
		return Distribution{}, err
	}
	return DistributionView(f)(rows[0]), nil
}

// Looked is a distribution that was just saved.
type Looked struct {
	Distribution

	Check *Task `json:"check,omitempty" doc:"The last look at its source, which this began; none of one that is kept by hand"`
}

func looked(ctx context.Context, f Fleet, d models.Distribution, err error) (Looked, error) {
	if err != nil {
		return Looked{}, err
	}
	row, err := distributionRow(ctx, f, d)
	if err != nil || d.UpstreamID == nil {
		return Looked{Distribution: row}, err
	}
	begun, err := newest(ctx, f, models.Subject{Kind: models.SubjectUpstream, ID: *d.UpstreamID}, nil)
	return Looked{row, &begun.Task}, err
}

func (s *server) distributions() {
	register(s, operation{get, "/distributions", "list-distributions", "List distributions by name"}, func(ctx context.Context, f Fleet, in struct {
		Paging

		State string `query:"state" enum:"new,current,changed,failing,held" doc:"Only those in this condition"`
	},
	) (Page[Distribution], error) {
		return listed(in.Paging, DistributionView(f), func(r fleet.DistributionRow) fleet.Position { return fleet.Position{Name: r.Name} }, func(filter fleet.Filter) ([]fleet.DistributionRow, int, error) {
			filter.State = in.State
			return f.Distributions(ctx, filter)
		})
	})
	about(s, operation{get, "/distributions/{distribution}", "get-distribution", "One distribution"}, named,
		func(ctx context.Context, f Fleet, d models.Distribution, _ DistributionIn) (Distribution, error) {
			return distributionRow(ctx, f, d)
		})
	register(s, operation{post, "/distributions", "add-distribution", "Add a distribution; its source is looked at at once"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Key  string `header:"Idempotency-Key" hidden:"true"`
		Body struct {
			SourceBody

			Type string `json:"type" doc:"Update type, see list-update-types"`
			Slug string `json:"slug,omitempty" doc:"Short name; none is made from the name"`
		}
	},
	) (Looked, error) {
		b := in.Body
		d := b.distribution()
		d.Slug, d.UpdateType, d.Once = b.Slug, b.Type, once(f, in.Key)
		made, err := f.CreateDistribution(ctx, d)
		return looked(ctx, f, made, err)
	})
	type change struct {
		DistributionIn

		Body SourceBody
	}
	about(s, operation{put, "/distributions/{distribution}", "change-distribution", "Replace a distribution's name and source; it is looked at anew"},
		func(ctx context.Context, f Fleet, in change) (models.Distribution, error) {
			return named(ctx, f, in.DistributionIn)
		},
		func(ctx context.Context, f Fleet, d models.Distribution, in change) (Looked, error) {
			changed, err := f.UpdateDistribution(ctx, d.ID, in.Body.distribution())
			return looked(ctx, f, changed, err)
		})
	about(s, operation{del, "/distributions/{distribution}", "delete-distribution", "Delete a distribution that no site comes from, with its platforms"}, named,
		func(ctx context.Context, f Fleet, d models.Distribution, _ DistributionIn) (done, error) {
			return done{true}, f.DeleteDistribution(ctx, d.ID)
		})
	s.checks()
}

// Check is one look at a source.
type Check struct {
	ID          int64               `json:"id"`
	Trigger     models.Trigger      `json:"trigger"`
	Outcome     models.CheckOutcome `json:"outcome" enum:"unchanged,changed,held,failed,throttled,blocked"`
	OldRevision string              `json:"old_revision,omitempty"`
	NewRevision string              `json:"new_revision,omitempty"`
	Message     string              `json:"message,omitempty"`
	Times       int                 `json:"times" doc:"How many looks in a row found the same"`
	Started     time.Time           `json:"started_at"`
	Ended       time.Time           `json:"ended_at"`
}

// CheckView gives a look at a source as programs read it.
func CheckView(c models.Check) Check {
	return Check{c.ID, c.Trigger, c.Outcome, c.OldRevision, c.NewRevision, c.Message, c.Times, c.StartedAt, c.EndedAt}
}

func (s *server) checks() {
	about(s, operation{post, "/distributions/{distribution}/check", "check-distribution", "Look at a distribution's source now"}, named,
		func(ctx context.Context, f Fleet, d models.Distribution, _ DistributionIn) (Started, error) {
			return started(f.CheckNow(ctx, d.ID))
		})
	about(s, operation{post, "/distributions/{distribution}/retry", "retry-distribution", "Let checks of a source that waits for a person go on"}, named,
		func(ctx context.Context, f Fleet, d models.Distribution, _ DistributionIn) (Started, error) {
			return started(f.TryAgain(ctx, d.ID))
		})
	type which struct {
		Steps

		Slug string `path:"distribution" doc:"The distribution's short name"`
	}
	register(s, operation{get, "/distributions/{distribution}/checks", "list-checks", "What looks at a source found, newest first"}, func(ctx context.Context, f Fleet, in which) (Page[Check], error) {
		d, err := f.DistributionNamed(ctx, in.Slug)
		if err != nil {
			return Page[Check]{}, err
		}
		return listed(in.Steps, CheckView, func(c models.Check) fleet.Position { return fleet.Position{ID: c.ID} }, func(filter fleet.Filter) ([]models.Check, int, error) {
			return f.CheckRows(ctx, d.ID, filter)
		})
	})
}

// HeldVersion is a version that waits for a person.
type HeldVersion struct {
	Revision string `json:"revision" doc:"To be named when approving"`
	Label    string `json:"label"`
	Note     string `json:"note,omitempty"`
	Security bool   `json:"security"`
	Reason   string `json:"reason" doc:"Why it is held back"`
}

// HeldView gives a version that is held back as programs read it.
func HeldView(d models.Distribution, v plugins.Version) HeldVersion {
	return HeldVersion{v.Revision, v.Label, v.Note, v.Security, d.Reason}
}

// held is what waits for a person, and what is done by hand.
func (s *server) held() {
	about(s, operation{get, "/distributions/{distribution}/held", "get-held-version", "The version that is held back until somebody approves it"}, named,
		func(ctx context.Context, f Fleet, d models.Distribution, _ DistributionIn) (HeldVersion, error) {
			v, waits, err := f.Pending(ctx, d.ID)
			if err == nil && !waits {
				err = models.Errorf(models.NotFound, "%s holds no version back.", d.Name)
			}
			return HeldView(d, v), err
		})
	type approval struct {
		DistributionIn

		Body struct {
			Revision string `json:"revision" doc:"What is held back, as get-held-version says"`
		}
	}
	about(s, operation{post, "/distributions/{distribution}/approve", "approve-version", "Build the version that is held back"},
		func(ctx context.Context, f Fleet, in approval) (models.Distribution, error) {
			return named(ctx, f, in.DistributionIn)
		},
		func(ctx context.Context, f Fleet, d models.Distribution, in approval) (Started, error) {
			p, err := f.Approve(ctx, d.ID, in.Body.Revision)
			return building(ctx, f, p, err)
		})
	type folder struct {
		DistributionIn

		Key  string `header:"Idempotency-Key" hidden:"true"`
		Body struct {
			Folder string `json:"folder" doc:"Absolute folder of the code on the server; it is copied"`
		}
	}
	about(s, operation{post, "/distributions/{distribution}/platforms", "register-platform", "Make a platform of a distribution that is kept by hand"},
		func(ctx context.Context, f Fleet, in folder) (models.Distribution, error) {
			return named(ctx, f, in.DistributionIn)
		},
		func(ctx context.Context, f Fleet, d models.Distribution, in folder) (Started, error) {
			p, err := f.RegisterPlatform(ctx, d.ID, in.Body.Folder, once(f, in.Key))
			return building(ctx, f, p, err)
		})
	s.updateTypes()
}

// building gives the task that makes a platform.
func building(ctx context.Context, f Fleet, p models.Platform, err error) (Started, error) {
	return newest(ctx, f, models.Subject{Kind: models.SubjectPlatform, ID: p.ID}, err)
}

// UpdateType is one way in which distributions are kept up to date.
type UpdateType struct {
	Type     string          `json:"type"`
	Name     string          `json:"name"`
	Summary  string          `json:"summary"`
	Settings []UpdateSetting `json:"settings"`
}

// UpdateSetting is one setting of an update type.
type UpdateSetting struct {
	Key      string   `json:"key"`
	Kind     string   `json:"kind"`
	Label    string   `json:"label"`
	Help     string   `json:"help,omitempty"`
	Required bool     `json:"required"`
	Secret   bool     `json:"secret"`
	Default  string   `json:"default,omitempty"`
	Choices  []string `json:"choices,omitempty"`
}

func (s *server) updateTypes() {
	register(s, operation{get, "/update-types", "list-update-types", "List the update types with their settings"}, func(_ context.Context, f Fleet, in Steps) (Page[UpdateType], error) {
		err := f.Actor().Needs(models.MaySeeFleet)
		return whole(in, f.UpdateTypes(), err, UpdateTypeView, func(p plugins.Plugin) fleet.Position { return fleet.Position{Name: p.Info().ID} })
	})
}

// UpdateTypeView gives an update type as programs read it.
func UpdateTypeView(p plugins.Plugin) UpdateType {
	v := UpdateType{Type: p.Info().ID, Name: p.Info().Name, Summary: p.Info().Summary, Settings: []UpdateSetting{}}
	for _, field := range p.Fields() {
		one := UpdateSetting{Key: field.Name, Kind: string(field.Kind), Label: field.Label, Help: field.Help, Required: field.Required, Secret: field.Kind.Secret(), Default: field.Default}
		for _, option := range field.Options {
			one.Choices = append(one.Choices, option.Value)
		}
		v.Settings = append(v.Settings, one)
	}
	return v
}
