package fleet

import (
	"context"
	"errors"
	"maps"
	"strings"

	"hefring/models"
	"hefring/plugins"
)

// Distribution gives one distribution.
func (f *Fleet) Distribution(ctx context.Context, id int64) (models.Distribution, error) {
	return f.store.Distribution(ctx, id)
}

// CreateDistribution stores a distribution and has its source looked at. A form
// that is posted twice makes one.
func (f *Fleet) CreateDistribution(ctx context.Context, by string, in NewDistribution) (models.Distribution, error) {
	slug := in.Slug
	if slug == "" {
		slug = models.Slugify(in.Name)
	}
	d, source, err := f.fill(models.Distribution{Slug: slug, Condition: models.ConditionNew}, in, "")
	if err != nil {
		return models.Distribution{}, err
	}
	if wrong := d.Validate(); len(wrong) > 0 {
		return models.Distribution{}, models.InvalidFields(wrong)
	}
	var first int64
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, sent{in.Once, "distribution", in}, &first); err != nil {
			return err
		}
		u, err := f.attach(ctx, tx, &d, source)
		if err != nil {
			return err
		}
		if err := tx.CreateDistribution(ctx, &d); err != nil {
			return err
		}
		if err := useForm(ctx, tx, in.Once, d.ID); err != nil {
			return err
		}
		if err := tx.RecordEvent(ctx, f.event(by, "create", distributionSubject(d.ID), "Added distribution "+d.Name+".").With(nil, typed(d))); err != nil {
			return err
		}
		if d.UpstreamID == nil {
			return nil
		}
		return f.lookAnew(ctx, tx, by, d, u)
	})
	if errors.Is(err, errTwin) {
		return f.store.Distribution(ctx, first)
	}
	return d, err
}

// UpdateDistribution changes a distribution's name and source; its short name
// stays. The source is looked at anew.
func (f *Fleet) UpdateDistribution(ctx context.Context, by string, id int64, in NewDistribution) (models.Distribution, error) {
	var d models.Distribution
	err := f.store.InTx(ctx, func(tx Tx) error {
		old, err := tx.LockDistribution(ctx, id)
		if err != nil {
			return err
		}
		var source plugins.Source
		if d, source, err = f.edited(old, in); err != nil {
			return err
		}
		told := d
		if f.sameSecrets(old, d) {
			told.Secrets = old.Secrets
		}
		moved := !maps.Equal(old.Settings, d.Settings) || !f.sameSecrets(old, d)
		u, err := f.attach(ctx, tx, &d, source)
		if err != nil {
			return err
		}
		if err := tx.SaveDistribution(ctx, &d); err != nil {
			return err
		}
		if err := tx.RecordEdit(ctx, f.event(by, "edit", distributionSubject(d.ID), "Changed distribution "+d.Name+".").With(typed(old), typed(told))); err != nil {
			return err
		}
		if d.UpstreamID == nil || !moved && samePointer(old.CheckEvery, d.CheckEvery) && old.RebuildDays == d.RebuildDays {
			return nil
		}
		if moved {
			// What was accepted of the old source says nothing about the new one.
			if err := tx.SaveSourceState(ctx, models.SourceState{DistributionID: d.ID}); err != nil {
				return err
			}
		}
		return f.lookAnew(ctx, tx, by, d, u)
	})
	return d, err
}

// edited gives a distribution as a person changed it, and its source.
func (f *Fleet) edited(old models.Distribution, in NewDistribution) (models.Distribution, plugins.Source, error) {
	in.UpdateType = old.UpdateType
	var host string
	if before, err := f.open(old); err == nil {
		host = before.Upstream().Host
	}
	d, source, err := f.fill(old, in, host)
	if err != nil {
		return models.Distribution{}, nil, err
	}
	if wrong := d.Validate(); len(wrong) > 0 {
		return models.Distribution{}, nil, models.InvalidFields(wrong)
	}
	return d, source, nil
}

// typed is what of a distribution people type.
func typed(d models.Distribution) models.Distribution {
	return models.Distribution{
		Name: d.Name, Slug: d.Slug, UpdateType: d.UpdateType, Settings: d.Settings, Secrets: d.Secrets,
		CheckEvery: d.CheckEvery, RebuildDays: d.RebuildDays, KeepPlatforms: d.KeepPlatforms,
	}
}

// sameSecrets compares what is sealed: the same is never sealed the same way.
func (f *Fleet) sameSecrets(a, b models.Distribution) bool {
	before, errA := f.secrets(a)
	after, errB := f.secrets(b)
	return errA == nil && errB == nil && maps.Equal(before, after)
}

func samePointer[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// lookAnew has the source of a new or changed distribution looked at, and again
// in its rhythm.
func (f *Fleet) lookAnew(ctx context.Context, tx Tx, by string, d models.Distribution, u models.Upstream) error {
	queue, err := queueOf(ctx, tx, d.UpdateType)
	if err != nil {
		return err
	}
	u.Stalled, u.Failures = false, 0 // a person acted
	if err := tx.RecordUpstream(ctx, u); err != nil {
		return err
	}
	subscribers, err := tx.Subscribers(ctx, u.ID)
	if err != nil {
		return err
	}
	next := f.nextCheck(u, baseInterval(subscribers, queue))
	if _, err := tx.ClaimUpstream(ctx, u, next); err != nil {
		return err
	}
	_, _, err = f.requestCheck(ctx, tx, by, d, models.TriggerSave)
	return err
}

// fill puts what a person typed into d and opens the source, collecting what is
// wrong in both. oldHost is where the source was before.
func (f *Fleet) fill(d models.Distribution, in NewDistribution, oldHost string) (models.Distribution, plugins.Source, error) {
	d.Name, d.UpdateType = strings.TrimSpace(in.Name), in.UpdateType
	d.CheckEvery, d.RebuildDays, d.KeepPlatforms = in.CheckEvery, in.RebuildDays, in.KeepPlatforms
	wrong := map[string]string{}
	if d.Name == "" {
		wrong["name"] = "Give it a name of 1 to 100 characters."
	}
	if _, err := f.cfg.Types.Get(d.UpdateType); err != nil {
		wrong["type"] = "Choose where it comes from."
		return d, nil, models.InvalidFields(wrong)
	}
	var source plugins.Source
	err := f.takeSecrets(&d, in.Settings, oldHost)
	if err == nil {
		source, err = f.open(d)
	}
	if e, ok := errors.AsType[*models.Error](err); ok {
		maps.Copy(wrong, e.Fields)
	}
	if len(wrong) > 0 {
		return d, nil, models.InvalidFields(wrong)
	}
	return d, source, err
}

func distributionSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectDistribution, ID: id}
}

// CheckNow has a distribution's source looked at. Conflict: that happens already;
// the task is the one that does, and another look follows it.
func (f *Fleet) CheckNow(ctx context.Context, by string, id int64) (models.Task, error) {
	return f.RequestCheck(ctx, by, id, models.TriggerButton)
}

// RequestCheck is CheckNow for any trigger.
func (f *Fleet) RequestCheck(ctx context.Context, by string, id int64, trigger models.Trigger) (models.Task, error) {
	d, err := f.store.Distribution(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	if d.UpstreamID == nil {
		return models.Task{}, models.Errorf(models.Invalid, "%s has no source to look at. Register a platform from a folder instead.", d.Name)
	}
	var task models.Task
	fresh := false
	err = f.store.InTx(ctx, func(tx Tx) error {
		task, fresh, err = f.requestCheck(ctx, tx, by, d, trigger)
		return err
	})
	if err == nil && !fresh {
		return task, models.Errorf(models.Conflict, "%s is being looked at already.", d.Name)
	}
	return task, err
}

func (f *Fleet) event(by, verb string, subject models.Subject, text string) models.Event {
	return models.Event{At: f.cfg.Now(), Actor: by, Verb: verb, Subject: subject, Text: text}
}
