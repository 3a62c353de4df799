package drupal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// Module is one module or theme in a platform's code.
type Module struct {
	Type    string `json:"type"`    // module or theme
	Version string `json:"version"` // "" when it names none
	Enabled bool   `json:"enabled"` // on this site
}

// Schema is what a platform's code knows of a module's database updates.
type Schema struct {
	Newest  int `json:"newest"`  // number of the newest update, or the version a new installation starts with
	Removed int `json:"removed"` // number of the newest update that is no longer in the code; 0 for none
}

// PendingUpdates lists the database updates that the platform's code would run,
// in their order. Drush prints nothing at all when there are none.
func (d *Drush) PendingUpdates(ctx context.Context) ([]models.PendingUpdate, error) {
	c := call{command: "updatedb:status", options: []string{"--format=json"}, limit: d.Times.Ask}
	res, err := d.run(ctx, c)
	if err != nil {
		return nil, err
	}
	updates, err := parsePending(res)
	if err != nil {
		return nil, d.unreadable(c.command, res, err)
	}
	return updates, nil
}

func parsePending(res run.Result) ([]models.PendingUpdate, error) {
	raw, err := findJSON(res.Stdout)
	switch {
	case err != nil && bytes.Contains(res.Stderr, []byte("No database updates required")):
		return nil, nil // what stands on stdout is PHP's chatter
	case err != nil:
		return nil, err
	case raw == nil:
		return nil, nil
	}
	rows, err := ordered(raw)
	if err != nil {
		return nil, err
	}
	updates := make([]models.PendingUpdate, 0, len(rows))
	for _, row := range rows {
		update, err := parseUpdate(row)
		if err != nil {
			return nil, err
		}
		updates = append(updates, update)
	}
	return updates, nil
}

// ordered gives the values of an object, or of the list that Drush 8 prints, in
// their order.
func ordered(raw json.RawMessage) ([]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	open, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	var rows []json.RawMessage
	for decoder.More() {
		if open == json.Delim('{') {
			if _, err := decoder.Token(); err != nil { // the key
				return nil, err
			}
		}
		var row json.RawMessage
		if err := decoder.Decode(&row); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

var (
	modulePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	updatePattern = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	kindPattern   = regexp.MustCompile(`^[a-z][a-z_-]*$`)
)

const hookUpdate = "hook_update_n"

// parseUpdate reads one row; names are the functions' names.
func parseUpdate(raw json.RawMessage) (models.PendingUpdate, error) {
	var row struct {
		Module      string `json:"module"`
		ID          any    `json:"update_id"`
		Description string `json:"description"`
		Type        string `json:"type"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&row); err != nil {
		return models.PendingUpdate{}, fmt.Errorf("read a pending update: %w", err)
	}
	module, id, kind := strings.ToLower(row.Module), fmt.Sprint(row.ID), row.Type
	if kind == "" {
		kind = hookUpdate // Drush 8 knows no other
	}
	if !modulePattern.MatchString(module) || !updatePattern.MatchString(id) || row.ID == nil || !kindPattern.MatchString(kind) {
		return models.PendingUpdate{}, fmt.Errorf("read a pending update: module %q, update %q, type %q", row.Module, id, row.Type)
	}
	infix := "_update_"
	if kind != hookUpdate {
		infix = "_" + strings.ReplaceAll(kind, "-", "_") + "_"
	}
	text := strings.TrimPrefix(strings.Join(strings.Fields(run.Clean(row.Description)), " "), id+" - ")
	return models.PendingUpdate{Name: module + infix + id, Module: module, Kind: kind, Description: text}, nil
}

var failure = regexp.MustCompile(`Update failed: |Update aborted by: |Requirements check reports errors`)

// UpdateDatabase runs all pending updates, and has Drush rebuild all caches at the
// end: in the same start, which is quicker than a Rebuild of its own. Nothing is
// said of maintenance mode and of updates that remain until Settle has been asked,
// too.
//
// It fails when Drush fails, and when its output tells of a failed update or of
// requirements that it overruled.
func (d *Drush) UpdateDatabase(ctx context.Context) error {
	var failures []string
	look := func(line string) {
		if failure.MatchString(line) && len(failures) < 20 {
			failures = append(failures, strings.Trim(mark.ReplaceAllString(strings.TrimSpace(line), ""), "/ "))
		}
	}
	out, errs := watched(d.out, look), watched(d.err, look)
	_, err := d.run(ctx, call{
		command: "updatedb", options: []string{"-y"},
		limit: d.Times.Update, out: out, err: errs,
	})
	_, _ = out.Close(), errs.Close()
	if err != nil {
		return err
	}
	if len(failures) > 0 {
		return models.Errorf(models.Unavailable, "The database updates of %s did not succeed: %s", d.release.URI(), strings.Join(failures, " "))
	}
	return nil
}

// Settle ends what UpdateDatabase began: it fails when updates remain, and puts
// maintenance mode to what the caller says: what the site had before, asked from
// what serves. An update that was killed leaves the mode on, and the next one
// takes that for the administrator's wish. It tells whether it changed the mode.
func (d *Drush) Settle(ctx context.Context, maintenance bool) (changed bool, err error) {
	answers, err := d.askAll(ctx, leftQuestion(), maintenanceQuestion())
	if err != nil {
		return false, err
	}
	var answer struct{ Left []string }
	if err := d.part(answers, askLeft, &answer); err != nil {
		return false, err
	}
	if len(answer.Left) > 0 {
		return false, models.Errorf(models.Unavailable, "%d database updates of %s remain after all were run, the first is %s.", len(answer.Left), d.release.URI(), run.Clean(answer.Left[0]))
	}
	is, err := d.maintenanceIn(answers)
	if err != nil || is == maintenance {
		return false, err
	}
	return true, d.SetMaintenance(ctx, maintenance)
}
