package database

import (
	"slices"
	"strings"

	"hefring/models"
)

// SumRows is up to how many rows a table is small enough to be read whole for
// TableMark.Sum.
const SumRows = 5000

// Volatile tells whether Drupal fills a table again by itself, so that nobody
// misses what was in it: caches, locks, counters of failed logins, the search
// index, the table of routes. Sessions (people must log in again), the log and
// queues are content and are not volatile.
func Volatile(table string) bool {
	if table == "cache" || strings.HasPrefix(table, "cache_") {
		return true
	}
	return slices.Contains([]string{
		"cachetags", "semaphore", "flood", "batch", "router", "menu_router",
		"search_dataset", "search_index", "search_total",
	}, table)
}

// ChangedColumn finds the integer column in which Drupal notes when a row was
// written last, in Unix seconds; "" when there is none.
func ChangedColumn(integers []string) string {
	for _, name := range []string{"changed", "timestamp", "revision_timestamp"} {
		if slices.Contains(integers, name) {
			return name
		}
	}
	return ""
}

// Now is how a marked table is when its loss is asked for.
type Now struct {
	Rows    int64
	Added   int64 // rows with a Key above MaxKey
	Touched int64 // rows up to MaxKey whose Changed column is not before the mark; without a Key: all such rows
	Counts  *[3]int64
	Sum     string
}

// Compare tells what was written to one table since its mark, and says where it
// cannot tell.
func Compare(mark models.TableMark, now Now) models.TableLoss {
	loss := models.TableLoss{Table: mark.Table}
	if mark.Sum != "" && mark.Sum == now.Sum {
		return loss
	}
	counted := counts(mark, now)
	if counted != nil && *counted == [3]int64{} && (mark.Key == "" || now.Added == 0) {
		return loss
	}
	compareRows(&loss, mark, now, counted)
	compareChanges(&loss, mark, now, counted)
	return loss
}

// counts is how many rows the database says it inserted, updated and deleted
// since; nil when that does not agree with the rows that are there, as after a
// crash or a TRUNCATE.
func counts(mark models.TableMark, now Now) *[3]int64 {
	if mark.Counts == nil || now.Counts == nil {
		return nil
	}
	var since [3]int64
	for i := range since {
		if since[i] = now.Counts[i] - mark.Counts[i]; since[i] < 0 {
			return nil
		}
	}
	if mark.Rows+since[0]-since[2] != now.Rows {
		return nil
	}
	return &since
}

func compareRows(loss *models.TableLoss, mark models.TableMark, now Now, counted *[3]int64) {
	if mark.Key != "" && mark.Rows+now.Added >= now.Rows {
		loss.Added, loss.Removed = now.Added, mark.Rows+now.Added-now.Rows
		return
	}
	loss.Added, loss.Removed = max(now.Rows-mark.Rows, 0), max(mark.Rows-now.Rows, 0)
	switch {
	case counted != nil && (counted[0] == 0 || counted[2] == 0):
	case mark.Key != "":
		doubt(loss, "Rows were added under old numbers; rows that were removed are not told.")
	default:
		doubt(loss, "Its rows have no number that only grows: what is told is by how many there are more or fewer.")
	}
}

func compareChanges(loss *models.TableLoss, mark models.TableMark, now Now, counted *[3]int64) {
	switch {
	case counted != nil && counted[1] == 0:
	case mark.Changed != "" && mark.Key != "":
		loss.Changed = now.Touched
	case mark.Changed != "":
		loss.Changed = max(now.Touched-loss.Added, 0) // what was added has its time, too
	case counted != nil:
		loss.Changed = min(counted[1], mark.Rows)
		if counted[1] > 1 {
			doubt(loss, "The database counted updates, and one row may have been updated more than once.")
		}
	default:
		doubt(loss, "It does not note when a row was changed.")
	}
}

func doubt(loss *models.TableLoss, why string) {
	loss.Unknown = true
	loss.Why = strings.TrimSpace(loss.Why + " " + why)
}

// Came is the loss of a table that was not there when the marks were taken.
func Came(table string, rows int64) models.TableLoss {
	return models.TableLoss{Table: table, Added: rows, Unknown: true, Why: "The whole table was made since."}
}

// Gone is the loss of a marked table that is not there any more.
func Gone(mark models.TableMark) models.TableLoss {
	return models.TableLoss{Table: mark.Table, Removed: mark.Rows, Unknown: true, Why: "The whole table was removed since."}
}

// Tables is a database whose tables can be looked at for marks.
type Tables interface {
	// Names lists the tables.
	Names() ([]string, error)
	// Mark notes how a table is at the time at, in Unix seconds.
	Mark(table string, at int64) (models.TableMark, error)
	// Now looks at a marked table again.
	Now(mark models.TableMark) (Now, error)
}

// MarkAll notes how all tables are that Drupal does not fill again by itself.
func MarkAll(tables Tables, at int64) ([]models.TableMark, error) {
	names, err := tables.Names()
	if err != nil {
		return nil, err
	}
	var marks []models.TableMark
	for _, name := range names {
		if Volatile(name) {
			continue
		}
		mark, err := tables.Mark(name, at)
		if err != nil {
			return nil, err
		}
		marks = append(marks, mark)
	}
	return marks, nil
}

// LossOf tells what was written since the marks were taken: tables with changes,
// and those of which it cannot be told, by name.
func LossOf(tables Tables, marks []models.TableMark) ([]models.TableLoss, error) {
	names, err := tables.Names()
	if err != nil {
		return nil, err
	}
	var losses []models.TableLoss
	marked := map[string]bool{}
	for _, mark := range marks {
		marked[mark.Table] = true
		loss := Gone(mark)
		if slices.Contains(names, mark.Table) {
			now, err := tables.Now(mark)
			if err != nil {
				return nil, err
			}
			loss = Compare(mark, now)
		}
		if loss.Unknown || loss.Added+loss.Changed+loss.Removed > 0 {
			losses = append(losses, loss)
		}
	}
	for _, name := range names {
		if marked[name] || Volatile(name) {
			continue
		}
		now, err := tables.Now(models.TableMark{Table: name})
		if err != nil {
			return nil, err
		}
		losses = append(losses, Came(name, now.Rows))
	}
	slices.SortFunc(losses, func(a, b models.TableLoss) int { return strings.Compare(a.Table, b.Table) })
	return losses, nil
}
