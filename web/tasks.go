package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/components"
	"hefring/templates/pages"
)

// Bounds of logs.
const (
	lineBatch  = 1000 // lines read at once
	shownLines = 3000 // newest lines that a page shows
	liveLines  = 300  // the same where the log is beside other things
)

func (s *server) tasks(c echo.Context) error {
	filter, page := listing(c)
	filter.State = inState(c, models.TaskTransitions().States())
	rows, total, err := s.fleet.Tasks(c.Request().Context(), filter)
	if err != nil {
		return fmt.Errorf("list tasks: %w", err)
	}
	if to := strayed(c, page, total); to != "" {
		return c.Redirect(http.StatusSeeOther, to)
	}
	view := pages.Tasks{
		Page: s.page(c, "tasks", "Tasks"), Rows: rows, Query: filter.Query, State: filter.State,
		Pages: pager(c, page, total), Busy: busyTask(rows) != nil,
		Segments: stateOptions(c, filter.State, []state{
			{"", "All"},
			{"running", "Running"},
			{"queued", "Queued"},
			{"succeeded", "Succeeded"},
			{"recovered", "Recovered"},
			{"failed", "Failed"},
		}),
	}
	return render(c, http.StatusOK, pages.TasksPage(view))
}

func (s *server) task(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	view, err := s.taskView(c.Request().Context(), id)
	if err != nil {
		return err
	}
	// The lines come after the state: a task that was over by then has no more.
	if view.Lines, view.Skipped, err = s.newest(c.Request().Context(), id, shownLines); err != nil {
		return err
	}
	view.Page = s.page(c, "tasks", view.Task.Title)
	return render(c, http.StatusOK, pages.TaskPage(view))
}

// taskView is everything about a task but its lines.
func (s *server) taskView(ctx context.Context, id int64) (view pages.Task, err error) {
	if view.Task, err = s.fleet.Task(ctx, id); err != nil {
		return view, err
	}
	if view.Children, err = s.fleet.Children(ctx, id); err != nil {
		return view, fmt.Errorf("list children: %w", err)
	}
	if view.Task.ParentID != nil {
		parent, err := s.fleet.Task(ctx, *view.Task.ParentID)
		switch models.CodeOf(err) {
		case "":
			if err != nil {
				return view, fmt.Errorf("read parent: %w", err)
			}
			view.Parent = &parent
		default: // it is not there for this person
		}
	}
	view.Subject = s.subject(ctx, subjectOf(view.Task))
	switch view.Task.Kind {
	case models.TaskUpgrade, models.TaskRollback, models.TaskRestore:
		err = s.addUpgrade(ctx, &view)
	case models.TaskImport:
		err = s.addFound(ctx, &view)
	default:
	}
	return view, err
}

func (s *server) addUpgrade(ctx context.Context, view *pages.Task) error {
	u, err := s.fleet.UpgradeOfTask(ctx, view.Task.ID)
	if models.CodeOf(err) == models.NotFound {
		return nil // cancelled before it began
	}
	if err != nil {
		return fmt.Errorf("read upgrade: %w", err)
	}
	if view.Steps, err = s.fleet.UpgradeSteps(ctx, u.ID); err != nil {
		return fmt.Errorf("read steps: %w", err)
	}
	order := models.StepsOf(u.Kind, u.Mode)
	slices.SortStableFunc(view.Steps, func(a, b models.UpgradeStep) int {
		return cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name))
	})
	names := s.platformNames(ctx, []models.Upgrade{u})
	view.Upgrade, view.Versions = &u, [2]string{names[u.FromID], names[u.ToID]}
	return nil
}

// subjectOf is what a task's page leads to. A check leads to the distribution
// that it was made for.
func subjectOf(t models.Task) models.Subject {
	if t.Subject.Kind != models.SubjectUpstream {
		return t.Subject
	}
	return models.Subject{Kind: models.SubjectDistribution, ID: number(t.Args["distribution"])}
}

// subject names what a task works on, and leads there whoever may look at it. What is
// gone is not named.
func (s *server) subject(ctx context.Context, subject models.Subject) pages.Fact {
	fact := pages.Fact{Value: components.SubjectURL(subject)}
	switch subject.Kind {
	case models.SubjectDistribution, models.SubjectTarget, models.SubjectPlatform, models.SubjectSite, models.SubjectQuestion, models.SubjectNewcomer, models.SubjectServer:
		name, err := s.fleet.SubjectName(ctx, subject)
		if fact.Label = name; err != nil {
			fact.Label, fact.Value = "it", ""
		}
	case models.SubjectImport:
		fact.Label = "a code base outside"
	case models.SubjectDelivery, models.SubjectServerTarget:
		fact.Label = "a platform on a server"
	case models.SubjectDeparture, models.SubjectArrival:
		fact.Label = "a site's way to another server"
	case models.SubjectQueue, models.SubjectWebServer, models.SubjectUser, models.SubjectUpstream, models.SubjectClient, models.SubjectChannel:
		fact.Label = string(subject.Kind)
	}
	if !s.sees(fact.Value) {
		fact.Value = ""
	}
	return fact
}

// newest reads a task's log and keeps its newest lines.
func (s *server) newest(ctx context.Context, id int64, keep int) (lines []models.TaskLine, skipped bool, err error) {
	after := int64(0)
	for {
		batch, err := s.fleet.Lines(ctx, id, after, lineBatch)
		if err != nil {
			return nil, false, fmt.Errorf("read log: %w", err)
		}
		lines = append(lines, batch...)
		if over := len(lines) - keep; over > 0 {
			lines, skipped = append([]models.TaskLine(nil), lines[over:]...), true
		}
		if len(batch) < lineBatch {
			return lines, skipped, nil
		}
		after = batch[len(batch)-1].ID
	}
}

// live gives the task of the list that is under way, with its newest lines.
func (s *server) live(ctx context.Context, tasks []models.Task) (*models.Task, []models.TaskLine, error) {
	task := busyTask(tasks)
	if task == nil {
		return nil, nil, nil
	}
	lines, _, err := s.newest(ctx, task.ID, liveLines)
	return task, lines, err
}

func (s *server) liveOf(ctx context.Context, subjects []models.Subject) (*models.Task, []models.TaskLine, error) {
	tasks, err := s.fleet.SubjectTasks(ctx, subjects, shownTasks)
	if err != nil {
		return nil, nil, fmt.Errorf("list tasks: %w", err)
	}
	return s.live(ctx, tasks)
}

// taskLog is the whole log as plain text, written as it is read.
func (s *server) taskLog(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	task, err := s.fleet.Task(ctx, id)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentType, "text/plain; charset=utf-8")
	if _, err := fmt.Fprintf(c.Response(), "%s\n%s\n\n", task.Title, task.Message); err != nil {
		return err
	}
	for after := int64(0); ; {
		batch, err := s.fleet.Lines(ctx, id, after, lineBatch)
		if err != nil || len(batch) == 0 {
			return err
		}
		// The server's limit for an answer counts for each batch: a log may be long.
		if err := http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("extend write deadline: %w", err)
		}
		for _, l := range batch {
			if _, err := fmt.Fprintf(c.Response(), "%s %-9s %s\n", l.At.UTC().Format("15:04:05.000"), l.Step, components.CleanLine(l.Text)); err != nil {
				return err
			}
		}
		after = batch[len(batch)-1].ID
	}
}

func (s *server) cancelTask(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.CancelTask(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/tasks/%d", id), err, "It was told to stop. What it has begun is put back first.")
}

func (s *server) retryTask(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	task, err := s.fleet.RetryTask(c.Request().Context(), id)
	return s.started(c, fmt.Sprintf("/tasks/%d", id), task, err)
}

// queueRows asks for the queues as they are now.
func (s *server) queueRows(c echo.Context) ([]fleet.QueueRow, error) {
	rows, err := s.fleet.QueueRows(c.Request().Context(), now())
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return rows, nil
}
