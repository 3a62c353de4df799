package tasks

import (
	"context"

	"hefring/models"
)

type taskKey struct{}

// withTask notes which task is worked on, for what is logged meanwhile.
func withTask(ctx context.Context, t models.Task) context.Context {
	return context.WithValue(ctx, taskKey{}, t)
}

// Of gives the task that is worked on with this context; false when none is. It
// is for the program's log, not for work.
func Of(ctx context.Context) (models.Task, bool) {
	t, ok := ctx.Value(taskKey{}).(models.Task)
	return t, ok
}
