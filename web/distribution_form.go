package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/pages"
)

// distributionInput is what the form of a distribution holds: the values of all
// update types, so that none is lost when the form comes back.
type distributionInput struct {
	name, slug, updateType, once string
	typed                        map[string]string // by <type>.<field>
	checks, every, unit, rebuild string
	keep                         string // how many platforms stay
}

// How often a distribution is looked at, in the form.
const (
	checksByQueue = "queue"
	checksOwn     = "own"
	checksByHand  = "hand"
)

func (s *server) readDistribution(c echo.Context) distributionInput {
	in := distributionInput{
		name: strings.TrimSpace(c.FormValue("name")), slug: strings.TrimSpace(c.FormValue("slug")),
		updateType: c.FormValue("type"), once: once(c), typed: map[string]string{},
		checks: c.FormValue("checks"), every: strings.TrimSpace(c.FormValue("check_every")), unit: c.FormValue("check_unit"),
		rebuild: strings.TrimSpace(c.FormValue("rebuild_days")), keep: strings.TrimSpace(c.FormValue("keep_platforms")),
	}
	for _, plugin := range s.fleet.UpdateTypes() {
		for _, field := range plugin.Fields() {
			name := plugin.Info().ID + "." + field.Name
			in.typed[name] = c.FormValue(name)
			if !field.Kind.Secret() {
				in.typed[name] = strings.TrimSpace(in.typed[name])
			}
		}
	}
	return in
}

// settings are the values of the chosen type; what was left empty is absent.
func (in distributionInput) settings() models.Settings {
	settings := models.Settings{}
	for name, value := range in.typed {
		if field, ok := strings.CutPrefix(name, in.updateType+"."); ok && value != "" {
			settings[field] = value
		}
	}
	return settings
}

func (in distributionInput) command() fleet.NewDistribution {
	command := fleet.NewDistribution{
		Name: in.name, Slug: in.slug, UpdateType: in.updateType, Settings: in.settings(), Once: in.once,
	}
	switch in.checks {
	case checksOwn:
		command.CheckEvery = new(max(interval(in.every, in.unit), 1)) // what is no interval is refused as too short
	case checksByHand:
		command.CheckEvery = new(time.Duration)
	}
	if in.rebuild != "" {
		days, err := strconv.Atoi(in.rebuild)
		if err != nil || days == 0 {
			days = -1
		}
		command.RebuildDays = days
	}
	if in.keep != "" {
		keep, err := strconv.Atoi(in.keep)
		if err != nil || keep == 0 {
			keep = -1
		}
		command.KeepPlatforms = keep
	}
	return command
}

// watching fills in how a distribution is looked at.
func (in *distributionInput) watching(d models.Distribution) {
	in.checks, in.every, in.unit = checksByQueue, "1", "h"
	switch {
	case d.CheckEvery == nil:
	case *d.CheckEvery == 0:
		in.checks = checksByHand
	default:
		n, unit := pages.SplitEvery(*d.CheckEvery)
		in.checks, in.every, in.unit = checksOwn, strconv.FormatInt(n, 10), unit
	}
	if d.RebuildDays > 0 {
		in.rebuild = strconv.Itoa(d.RebuildDays)
	}
	if d.KeepPlatforms > 0 {
		in.keep = strconv.Itoa(d.KeepPlatforms)
	}
}

// defaults is an empty form: every field holds its update type's default.
func (s *server) defaults() distributionInput {
	in := distributionInput{once: newOnce(), typed: map[string]string{}}
	in.watching(models.Distribution{})
	for i, plugin := range s.fleet.UpdateTypes() {
		if i == 0 {
			in.updateType = plugin.Info().ID
		}
		for _, field := range plugin.Fields() {
			in.typed[plugin.Info().ID+"."+field.Name] = field.Default
		}
	}
	return in
}

func (s *server) newDistribution(c echo.Context) error {
	view := s.distributionForm(c, s.fleet.UpdateTypes(), s.defaults(), nil)
	return render(c, http.StatusOK, pages.DistributionFormPage(view))
}

func (s *server) createDistribution(c echo.Context) error {
	in := s.readDistribution(c)
	d, err := s.fleet.CreateDistribution(c.Request().Context(), in.command())
	if refused(err) {
		view := s.distributionForm(c, s.fleet.UpdateTypes(), in, err)
		return render(c, http.StatusUnprocessableEntity, pages.DistributionFormPage(view))
	}
	if err != nil {
		return err
	}
	s.say(c, "succeeded", "%s", added(d, s.info(d.UpdateType)))
	return redirect(c, fmt.Sprintf("/distributions/%d", d.ID))
}

func added(d models.Distribution, info plugins.Info) string {
	if info.ByHand {
		return "Added " + d.Name + ". Register its first platform now."
	}
	return "Added " + d.Name + ". Its source is being looked at."
}

func (s *server) editDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	d, err := s.fleet.Distribution(c.Request().Context(), id)
	if err != nil {
		return err
	}
	in := distributionInput{name: d.Name, slug: d.Slug, updateType: d.UpdateType, once: newOnce(), typed: map[string]string{}}
	in.watching(d)
	for field, value := range d.Settings.Blotted() {
		in.typed[d.UpdateType+"."+field] = value
	}
	return render(c, http.StatusOK, pages.DistributionFormPage(s.editForm(c, d, in, nil)))
}

func (s *server) updateDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	old, err := s.fleet.Distribution(c.Request().Context(), id)
	if err != nil {
		return err
	}
	in := s.readDistribution(c)
	in.updateType, in.slug = old.UpdateType, old.Slug
	d, err := s.fleet.UpdateDistribution(c.Request().Context(), id, in.command())
	if refused(err) {
		return render(c, http.StatusUnprocessableEntity, pages.DistributionFormPage(s.editForm(c, old, in, err)))
	}
	return s.acted(c, fmt.Sprintf("/distributions/%d", id), err, "Saved "+d.Name+".")
}

// editForm shows only the distribution's own update type: it does not change.
func (s *server) editForm(c echo.Context, d models.Distribution, in distributionInput, err error) pages.DistributionForm {
	var types []plugins.Plugin
	if plugin := s.plugin(d.UpdateType); plugin != nil {
		types = append(types, plugin)
	}
	view := s.distributionForm(c, types, in, err)
	view.ID, view.Title = d.ID, "Edit "+d.Name
	set := s.fleet.SecretsSet(d)
	for i := range view.Types {
		for j := range view.Types[i].Fields {
			f := &view.Types[i].Fields[j]
			f.Set = set[strings.TrimPrefix(f.Name, d.UpdateType+".")]
		}
	}
	return view
}

// distributionForm draws what was typed, with what is wrong beside each field.
func (s *server) distributionForm(c echo.Context, types []plugins.Plugin, in distributionInput, err error) pages.DistributionForm {
	view := pages.DistributionForm{
		Page: s.page(c, "distributions", "Add a distribution"), Once: in.once,
		Name: in.name, Slug: in.slug, Type: in.updateType, Errors: map[string]string{},
	}
	view.Error, view.Errors = formErrors(err)
	view.First = firstOf(view.Errors, "name", "slug", "type")
	view.Checks, view.Every, view.Unit, view.Rebuild = in.checks, in.every, in.unit, in.rebuild
	view.Keep = in.keep
	for _, plugin := range types {
		drawn := pages.TypeFields{Info: plugin.Info()}
		for _, field := range plugin.Fields() {
			f := pluginField(plugin.Info().ID, field, in, view.Errors)
			if f.Error != "" && view.First == "" {
				f.Focus, view.First = true, f.Name
			}
			drawn.Fields = append(drawn.Fields, f)
		}
		view.Types = append(view.Types, drawn)
	}
	return view
}

// pluginField draws one setting. Errors come by the field's own name and belong
// to the chosen update type.
func pluginField(updateType string, field plugins.Field, in distributionInput, wrong map[string]string) components.Field {
	text := ""
	if updateType == in.updateType {
		text = wrong[field.Name]
	}
	return components.PluginField(updateType, field, in.typed[updateType+"."+field.Name], text)
}

// refused tells whether a person can put a form right: something typed is wrong,
// or something of that name exists.
func refused(err error) bool {
	if sentBefore(err) != nil { // there is nothing to put right
		return false
	}
	code := models.CodeOf(err)
	return code == models.Invalid || code == models.Conflict || code == models.Unavailable
}

// formErrors gives the sentence over a form and what is wrong by field.
func formErrors(err error) (over string, fields map[string]string) {
	e, ok := errors.AsType[*models.Error](err)
	if !ok {
		return "", map[string]string{}
	}
	fields = e.Fields
	if fields == nil {
		fields = map[string]string{}
	}
	return e.Message, fields
}

// firstOf gives the first of the names that is wrong.
func firstOf(wrong map[string]string, names ...string) string {
	for _, name := range names {
		if wrong[name] != "" {
			return name
		}
	}
	return ""
}
