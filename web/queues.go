package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/templates/components"
	"hefring/templates/pages"
)

func now() time.Time { return time.Now().UTC() }

func (s *server) queues(c echo.Context) error {
	return s.queuesPage(c, http.StatusOK, pages.Queues{})
}

func (s *server) queuesPage(c echo.Context, status int, view pages.Queues) error {
	rows, err := s.queueRows(c)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, row := range rows {
		known[row.UpdateType] = true
		view.Rows = append(view.Rows, pages.QueueLine{QueueRow: row, Info: s.info(row.UpdateType)})
	}
	for _, plugin := range s.fleet.UpdateTypes() {
		if info := plugin.Info(); !known[info.ID] {
			view.ByHand = append(view.ByHand, info)
		}
	}
	if view.Hosts, err = s.fleet.HostRows(c.Request().Context(), now()); err != nil {
		return fmt.Errorf("list hosts: %w", err)
	}
	view.Page = s.page(c, "queues", "Queues")
	if view.Error != "" && view.Notice == nil {
		view.Notice = &components.Notice{Key: "failed", Text: view.Error}
	}
	return render(c, status, pages.QueuesPage(view))
}

func (s *server) saveQueue(c echo.Context) error {
	typed := [3]string{strings.TrimSpace(c.FormValue("every")), c.FormValue("unit"), strings.TrimSpace(c.FormValue("at_once"))}
	queue := models.Queue{UpdateType: c.Param("type"), Every: interval(typed[0], typed[1]), AtOnce: int(number(typed[2]))}
	err := s.fleet.SaveQueue(c.Request().Context(), queue)
	if models.CodeOf(err) == models.Invalid {
		over, fields := formErrors(err)
		return s.queuesPage(c, http.StatusUnprocessableEntity, pages.Queues{Wrong: queue.UpdateType, Typed: typed, Error: over, Errors: fields})
	}
	done := fmt.Sprintf("%s is looked at every %s, %d at once.", s.info(queue.UpdateType).Name, pages.EveryText(queue.Every), queue.AtOnce)
	return s.acted(c, "/queues", err, done)
}

// saveHost changes the politeness towards a host.
func (s *server) saveHost(c echo.Context) error {
	typed := [3]string{strings.TrimSpace(c.FormValue("at_once")), strings.TrimSpace(c.FormValue("per_minute"))}
	host := models.Host{Name: c.FormValue("host"), AtOnce: int(number(typed[0])), PerMinute: int(number(typed[1]))}
	err := s.fleet.SaveHost(c.Request().Context(), host)
	over, fields := formErrors(err)
	if models.CodeOf(err) == models.Invalid && fields["host"] == "" { // which no form has a field for
		return s.queuesPage(c, http.StatusUnprocessableEntity, pages.Queues{Wrong: "host " + host.Name, Typed: typed, Error: over, Errors: fields})
	}
	return s.acted(c, "/queues", err, fmt.Sprintf("%s is asked by %d at once, %d times a minute at most.", host.Name, host.AtOnce, host.PerMinute))
}

// interval reads a number and its unit. What is no interval, or longer than any
// queue may have, is 0 or too long, and the queue's own rule refuses it.
func interval(text, unit string) time.Duration {
	n, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	length := pages.UnitLength(unit)
	if err != nil || !(n > 0) || length == 0 {
		return 0
	}
	if n > float64(2*models.MaxQueueInterval/length) {
		return 2 * models.MaxQueueInterval
	}
	return time.Duration(n * float64(length)).Truncate(time.Second)
}

func (s *server) runQueue(c echo.Context) error {
	started, err := s.fleet.RunQueueNow(c.Request().Context(), c.Param("type"))
	done := "No source of this type needs a look: none exists, or each is being looked at already."
	if started > 0 {
		done = components.Count(int64(started), "source is", "sources are") + " being looked at."
	}
	return s.acted(c, "/queues", err, done)
}

func (s *server) pauseQueue(c echo.Context) error {
	err := s.fleet.PauseQueue(c.Request().Context(), c.Param("type"), true)
	return s.acted(c, "/queues", err, "Paused. Nothing is looked at by itself until it is resumed.")
}

func (s *server) resumeQueue(c echo.Context) error {
	err := s.fleet.PauseQueue(c.Request().Context(), c.Param("type"), false)
	return s.acted(c, "/queues", err, "Resumed.")
}
