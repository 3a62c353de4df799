package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hefring/models"
)

// failures collects what went wrong with projects, so that people can mend all
// of it at once.
type failures struct{ list []failure }

type failure struct {
	where string // mydist → views
	err   error
}

// projectsError is what a makefile inside of a project failed with.
type projectsError struct {
	whole *models.Error
	list  []failure
}

func (p *projectsError) Error() string { return p.whole.Error() }

func (p *projectsError) Unwrap() error { return p.whole }

func (f *failures) add(l *level, e *entry, err error) {
	if err == nil {
		return
	}
	if inner, ok := errors.AsType[*projectsError](err); ok {
		f.list = append(f.list, inner.list...)
		return
	}
	f.list = append(f.list, failure{strings.Join(append(slices.Clip(l.above), e.name), " → "), err})
}

func (f *failures) any() bool { return len(f.list) > 0 }

const maxShown = 20 // failures in one message

// err is nil, or one error that names all projects that failed.
func (f *failures) err() error {
	if len(f.list) == 0 {
		return nil
	}
	var causes []error
	for _, one := range f.list {
		if errors.Is(one.err, context.Canceled) || models.CodeOf(one.err) == "" {
			return fmt.Errorf("build %s: %w", one.where, one.err) // nothing that a makefile could mend
		}
		causes = append(causes, one.err)
	}
	all := &models.Error{Code: f.code(), Message: f.message(), Err: errors.Join(causes...), Reason: f.reason()}
	for _, cause := range causes {
		if e, ok := errors.AsType[*models.Error](cause); ok {
			all.RetryAfter = max(all.RetryAfter, e.RetryAfter)
		}
	}
	return &projectsError{all, f.list}
}

func (f *failures) message() string {
	if len(f.list) == 1 {
		return fmt.Sprintf("%s cannot be built: %s", f.list[0].where, models.Explain(f.list[0].err))
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d projects cannot be built.", len(f.list))
	for i, one := range f.list {
		if i == maxShown {
			fmt.Fprintf(&text, " And %d more.", len(f.list)-maxShown)
			break
		}
		fmt.Fprintf(&text, " %s: %s", one.where, models.Explain(one.err))
	}
	return text.String()
}

// code is that trying again may help only when it may help with each.
func (f *failures) code() models.Code {
	for _, one := range f.list {
		if models.CodeOf(one.err) != models.Unavailable {
			return models.Invalid
		}
	}
	return models.Unavailable
}

func (f *failures) reason() models.Reason {
	for _, one := range f.list {
		if reason := models.ReasonOf(one.err); reason != "" {
			return reason
		}
	}
	return models.ReasonBuild
}
