package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

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
	d, source, err := f.fill(models.Distribution{Condition: models.ConditionNew}, in)
	if err != nil {
		return models.Distribution{}, err
	}
	d.Slug = in.Slug
	if d.Slug == "" {
		d.Slug = models.Slugify(in.Name)
	}
	if wrong := d.Validate(); len(wrong) > 0 {
		return models.Distribution{}, invalid(wrong)
	}
	var first int64
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, in.Once, &first); err != nil {
			return err
		}
		if err := f.schedule(ctx, tx, &d, source); err != nil {
			return err
		}
		if err := tx.CreateDistribution(ctx, &d); err != nil {
			return err
		}
		if err := useForm(ctx, tx, in.Once, d.ID); err != nil {
			return err
		}
		if err := tx.RecordEvent(ctx, f.event(by, "create", distributionSubject(d.ID), "Added distribution "+d.Name+".")); err != nil {
			return err
		}
		if _, byHand := source.(plugins.Registrar); byHand {
			return nil
		}
		return tx.CreateTask(ctx, checkTask(by, d, models.TriggerSave))
	})
	if errors.Is(err, errTwin) {
		return f.store.Distribution(ctx, first)
	}
	return d, err
}

// UpdateDistribution changes a distribution's name and source; its short name
// stays. The source is looked at anew.
func (f *Fleet) UpdateDistribution(ctx context.Context, by string, id int64, in NewDistribution) (models.Distribution, error) {
	old, err := f.store.Distribution(ctx, id)
	if err != nil {
		return models.Distribution{}, err
	}
	in.UpdateType = old.UpdateType
	d, source, err := f.fill(old, in)
	if err != nil {
		return models.Distribution{}, err
	}
	if wrong := d.Validate(); len(wrong) > 0 {
		return models.Distribution{}, invalid(wrong)
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.SaveDistribution(ctx, &d); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "edit", distributionSubject(d.ID), "Changed distribution "+d.Name+"."))
	})
	if err != nil {
		return models.Distribution{}, err
	}
	if _, byHand := source.(plugins.Registrar); byHand || maps.Equal(old.Settings, d.Settings) {
		return d, nil
	}
	_, err = f.start(ctx, *checkTask(by, d, models.TriggerSave))
	if models.CodeOf(err) == models.Conflict {
		return d, nil // it is being looked at right now; the next check sees the new settings
	}
	return d, err
}

// fill puts what a person typed into d and opens the source, collecting what is
// wrong in both.
func (f *Fleet) fill(d models.Distribution, in NewDistribution) (models.Distribution, plugins.Source, error) {
	d.Name, d.UpdateType, d.Settings = strings.TrimSpace(in.Name), in.UpdateType, in.Settings
	wrong := map[string]string{}
	if d.Name == "" {
		wrong["name"] = "Give it a name of 1 to 100 characters."
	}
	if _, err := f.cfg.Types.Get(d.UpdateType); err != nil {
		wrong["type"] = "Choose where it comes from."
		return d, nil, invalid(wrong)
	}
	source, err := f.open(d)
	if e, ok := errors.AsType[*models.Error](err); ok {
		maps.Copy(wrong, e.Fields)
	}
	if len(wrong) > 0 {
		return d, nil, invalid(wrong)
	}
	return d, source, err
}

// schedule sets when a new distribution is looked at by itself.
func (f *Fleet) schedule(ctx context.Context, tx Tx, d *models.Distribution, source plugins.Source) error {
	if _, byHand := source.(plugins.Registrar); byHand {
		return nil
	}
	queue, err := queueOf(ctx, tx, d.UpdateType)
	if err != nil {
		return err
	}
	d.NextCheckAt = f.nextCheck(*d, queue)
	return nil
}

// nextCheck is when a distribution is due after now; nil is never.
func (f *Fleet) nextCheck(d models.Distribution, q models.Queue) *time.Time {
	every := q.Every
	if d.CheckEvery != nil {
		every = *d.CheckEvery
	}
	if every <= 0 {
		return nil
	}
	next := f.cfg.Now().Add(jitter(every))
	return &next
}

func distributionSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectDistribution, ID: id}
}

func checkTask(by string, d models.Distribution, trigger models.Trigger) *models.Task {
	return &models.Task{
		Kind: models.TaskCheck, Subject: distributionSubject(d.ID), Title: "Check " + d.Name,
		Actor: by, Args: models.Settings{"trigger": string(trigger), "type": d.UpdateType},
	}
}

// CheckNow has a distribution's source looked at.
func (f *Fleet) CheckNow(ctx context.Context, by string, id int64) (models.Task, error) {
	d, err := f.store.Distribution(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	source, err := f.open(d)
	if err != nil {
		return models.Task{}, err
	}
	if _, byHand := source.(plugins.Registrar); byHand {
		return models.Task{}, models.Errorf(models.Invalid, "%s has no source to look at. Register a platform from a folder instead.", d.Name)
	}
	return f.start(ctx, *checkTask(by, d, models.TriggerButton))
}

var errTwin = errors.New("this form was posted before")

// refuseTwin ends the transaction with errTwin when the form with this token
// made something already; first is then its id.
func (f *Fleet) refuseTwin(ctx context.Context, tx Tx, token string, first *int64) error {
	if token == "" {
		return nil
	}
	id, fresh, err := tx.Once(ctx, token)
	if err != nil {
		return err
	}
	if !fresh {
		*first = id
		return errTwin
	}
	return nil
}

func useForm(ctx context.Context, tx Tx, token string, id int64) error {
	if token == "" {
		return nil
	}
	if err := tx.UseOnce(ctx, token, id); err != nil {
		return fmt.Errorf("remember form: %w", err)
	}
	return nil
}

func invalid(fields map[string]string) error {
	message := "Please check the marked fields."
	if len(fields) == 1 {
		message = "Please check the marked field."
	}
	return &models.Error{Code: models.Invalid, Message: message, Fields: fields}
}

func (f *Fleet) event(by, verb string, subject models.Subject, text string) models.Event {
	return models.Event{At: f.cfg.Now(), Actor: by, Verb: verb, Subject: subject, Text: text}
}
