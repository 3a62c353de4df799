// Package pages holds one component for each page. A page takes one view struct
// and draws it; it asks nobody anything.
package pages

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// Fact is one line of a list of facts.
type Fact struct {
	Label, Value string
	Mono         bool
}

// Login is the page where people sign in.
type Login struct {
	layouts.Page
	Name, Next, Error string
	Provider          string // whom one can sign in with instead; "" is nobody
}

// LoginLink is the page behind a one-time link.
type LoginLink struct {
	layouts.Page
	Token, Error string
}

// Dashboard is the first page.
type Dashboard struct {
	layouts.Page
	Counts    fleet.Counts
	Decisions []fleet.Decision
	Running   []models.Task
	Recent    []models.Task
}

// empty tells whether there is no fleet yet. Who sees sites and no distributions has
// nothing to set up.
func (d Dashboard) empty() bool { return d.Counts.Distributions == 0 && d.seesFleet() }

func (d Dashboard) seesFleet() bool { return d.Sees("/distributions") }

func (d Dashboard) heading() string {
	switch n := len(d.Decisions); n {
	case 0:
		return "Nothing needs a decision"
	case 1:
		return "1 thing needs a decision"
	default:
		return fmt.Sprintf("%d things need a decision", n)
	}
}

// share is one part of the bar of the fleet.
type share struct {
	key, word string
	n, at     int
}

// shares cuts the fleet's bar into its parts, in sites.
func (d Dashboard) shares() []share {
	c := d.Counts
	all := []share{
		{key: "current", word: "current", n: c.Current},
		{key: "behind", word: "behind", n: c.Behind},
		{key: "running", word: "busy", n: c.Busy},
		{key: "held", word: "held", n: c.Held},
		{key: "broken", word: "broken", n: c.Broken},
		{key: "disabled", word: "disabled", n: c.Disabled},
	}
	at := 0
	for i := range all {
		all[i].at = at
		at += all[i].n
	}
	return all
}

func (d Dashboard) sites() int {
	c := d.Counts
	return c.Current + c.Behind + c.Busy + c.Held + c.Broken + c.Disabled
}

// Distributions is the list of distributions.
type Distributions struct {
	layouts.Page
	Rows  []DistributionLine
	Pages components.Pages
	Query string
}

// DistributionLine is a line of the list.
type DistributionLine struct {
	fleet.DistributionRow
	TypeName string
	ByHand   bool
}

// DistributionForm is the form of a new or an existing distribution.
type DistributionForm struct {
	layouts.Page
	ID     int64 // 0: a new one
	Once   string
	Name   string
	Slug   string
	Type   string // the chosen one
	Types  []TypeFields
	Errors map[string]string
	Error  string // over the form
	First  string // name of the first wrong field

	Checks, Every, Unit string // how often it is looked at, as it was typed
	Rebuild             string // days
	Keep                string // how many ready platforms stay
}

// watching are the fields about checks and rebuilds.
func (d DistributionForm) watching() []components.Field {
	return []components.Field{
		{ID: "checks", Name: "checks", Label: "Check the source", Kind: "choice", Value: d.Checks, Width: "w4", Options: []plugins.Option{
			{Value: "queue", Label: "as often as its queue"}, {Value: "own", Label: "at an interval of its own"}, {Value: "hand", Label: "only by hand or webhook"},
		}},
		{
			ID: "check_every", Name: "check_every", Label: "Check every", Kind: "number", Value: d.Every, Min: 1, Max: 604800, Width: "w4",
			Error: d.Errors["check_every"], Focus: d.First == "check_every", When: "checks", WhenValues: "own",
		},
		{ID: "check_unit", Name: "check_unit", Label: "Unit", Kind: "choice", Value: d.Unit, Options: units(), Width: "w4", When: "checks", WhenValues: "own"},
		{
			ID: "rebuild_days", Name: "rebuild_days", Label: "Rebuild every … days", Kind: "number", Value: d.Rebuild, Min: 1, Max: models.MaxRebuildDays, Width: "w4", Optional: true,
			Error: d.Errors["rebuild_days"], Focus: d.First == "rebuild_days",
			Help: "Builds the same revision again, for what changes without the source. Empty: never.",
		},
		{
			ID: "keep_platforms", Name: "keep_platforms", Label: "Keep the last … platforms", Kind: "number", Value: d.Keep, Min: 1, Max: models.MaxKeepPlatforms, Width: "w4", Optional: true,
			Error: d.Errors["keep_platforms"], Focus: d.First == "keep_platforms",
			Help: "Beside the upgrade target; older ones without sites are deleted. Empty: all stay.",
		},
	}
}

// TypeFields are one update type's fields in the form.
type TypeFields struct {
	Info   plugins.Info
	Fields []components.Field
}

func (d DistributionForm) url() string {
	if d.ID == 0 {
		return "/distributions"
	}
	return fmt.Sprintf("/distributions/%d", d.ID)
}

func (d DistributionForm) back() string {
	if d.ID == 0 {
		return "/distributions"
	}
	return d.url()
}

func (d DistributionForm) title() string {
	if d.ID == 0 {
		return "Add a distribution"
	}
	return "Edit " + d.Name
}

// Distribution is the page of one distribution.
type Distribution struct {
	layouts.Page
	Row       fleet.DistributionRow
	Info      plugins.Info
	Settings  []Fact
	Every     string // how often it is looked at
	Paused    bool   // its queue is
	Pending   string // revision that waits for a decision; "" for none
	PendingTo string // what people call it
	Platforms []fleet.PlatformRow
	Checks    []models.Check
	Live      *models.Task
	Lines     []models.TaskLine
}

func (d Distribution) url(rest string) string {
	return fmt.Sprintf("/distributions/%d%s", d.Row.ID, rest)
}

func (d Distribution) conditions() []models.ConditionLine {
	return models.Conditions(models.ConditionInput{
		Distribution: d.Row.Distribution, Upstream: d.Row.Upstream, ByHand: d.Info.ByHand, Paused: d.Paused, Behind: d.Row.Behind, Unsafe: d.Row.Unsafe,
	})
}

// checkCost says what asked for a check, and what it took.
func checkCost(c models.Check) string {
	cost := string(c.Trigger) + ", " + components.Took(c.Took)
	if c.Requests > 0 {
		cost += ", " + components.Count(c.Requests, "request", "requests") + ", " + components.Bytes(c.Received)
	}
	return cost
}

func (d Distribution) target() *fleet.PlatformRow {
	for i := range d.Platforms {
		if d.Platforms[i].IsTarget() {
			return &d.Platforms[i]
		}
	}
	return nil
}

// outdated gives the platform with the most sites to move, for the button in the
// head of the page; nil when nothing waits.
func (d Distribution) outdated() []fleet.PlatformRow {
	var list []fleet.PlatformRow
	for _, p := range d.Platforms {
		if p.Outdated() {
			list = append(list, p)
		}
	}
	return list
}

// firstSite is where the first site of a distribution is installed that has a target
// and needs nothing else; "" when it has sites, or they must wait.
func (d Distribution) firstSite() string {
	if d.Row.TargetID == nil || d.Row.Sites > 0 || d.Pending != "" || d.Row.Upstream.Stalled {
		return ""
	}
	return fmt.Sprintf("/sites/new?platform=%d", *d.Row.TargetID)
}

// RegisterPlatform is the form that makes a platform of a folder.
type RegisterPlatform struct {
	layouts.Page
	Distribution models.Distribution
	Once         string
	Path         string
	Error        string // over the form
	Wrong        string // beside the path
}

// Platforms is the list of platforms.
type Platforms struct {
	layouts.Page
	Rows     []fleet.PlatformRow
	Segments []components.Option
	Pages    components.Pages
	Query    string
}

// Platform is the page of one platform.
type Platform struct {
	layouts.Page
	Row     fleet.PlatformRow
	ByHand  bool // its distribution's target is set by hand
	Changes []models.PackageChange
	Sites   []fleet.SiteRow
	Total   int                       // sites that live here
	Servers []fleet.ServerPlatformRow // that it was brought to
	Tasks   []models.Task
	Live    *models.Task
	Lines   []models.TaskLine

	Provenance []Fact // how it was made
}

func (p Platform) url(rest string) string { return fmt.Sprintf("/platforms/%d%s", p.Row.ID, rest) }

// UpgradeLabel is the button of a platform: Upgrade 14 sites to 10.6.2.
func UpgradeLabel(p fleet.PlatformRow) string {
	to := components.ShortNames(p.TargetVersion, p.TargetLabel, p.DrupalVersion)
	return fmt.Sprintf("Upgrade %s to %s", components.Count(int64(p.Upgradable), "site", "sites"), to)
}

// Sites is the list of sites.
type Sites struct {
	layouts.Page
	Rows          []fleet.SiteRow
	Segments      []components.Option
	Pages         components.Pages
	Query         string
	State         string
	Behind        bool
	Distribution  int64
	Distributions []models.Distribution
	Busy          bool // something on the page is under way
	Filtered      bool
}

// narrows tells whether there is a distribution to choose, or to let go.
func (v Sites) narrows() bool {
	return len(v.Distributions) > 1 || v.Distribution != 0 && len(v.Distributions) > 0
}

// SiteForm is the form of a new site.
type SiteForm struct {
	layouts.Page
	Once                    string
	URI, SiteTitle, Profile string
	Platform                int64
	Platforms               []models.Platform // that may take new sites
	Language                string            // a langcode; "" is English
	Database                int64             // the server; 0: an SQLite file
	Servers                 []fleet.DatabaseServerRow
	Server                  int64            // the web host; 0: the control plane's
	Hosts                   []plugins.Option // to choose from; one alone is no choice
	Errors                  map[string]string
	Error, First            string
}

func (s SiteForm) serverField() components.Field {
	f := s.field("server", "Server", strconv.FormatInt(s.Server, 10))
	f.Kind, f.Options = "choice", s.Hosts
	return f
}

func (s SiteForm) languageField() components.Field {
	f := s.field("language", "Language", s.Language)
	f.Kind, f.Options = "choice", languages()
	f.Help = "Drupal fetches the translation while it installs."
	return f
}

func (s SiteForm) databaseField() components.Field {
	f := s.field("database", "Database", strconv.FormatInt(s.Database, 10))
	f.Kind, f.Options = "choice", databaseOptions(s.Servers, "")
	return f
}

func (s SiteForm) field(name, label, value string) components.Field {
	return components.Field{
		ID: name, Name: name, Label: label, Value: value, Kind: "text",
		Error: s.Errors[name], Focus: s.First == name,
	}
}

// platformOptions lists the platforms that may take the site.
func (s SiteForm) platformOptions() []plugins.Option {
	options := make([]plugins.Option, 0, len(s.Platforms))
	for _, p := range s.Platforms {
		options = append(options, plugins.Option{Value: strconv.FormatInt(p.ID, 10), Label: p.Name})
	}
	return options
}

// profileOptions lists the install profiles of all offered platforms.
func (s SiteForm) profileOptions() []plugins.Option {
	seen := map[string]bool{}
	var options []plugins.Option
	for _, p := range s.Platforms {
		for _, profile := range p.Profiles {
			if !seen[profile] {
				seen[profile] = true
				options = append(options, plugins.Option{Value: profile, Label: profile})
			}
		}
	}
	return options
}

// Site is the page of one site.
type Site struct {
	layouts.Page
	Row      fleet.SiteRow
	URL      string // where visitors find it
	Upgrades []models.Upgrade
	Names    map[int64]string // platform id -> version, for the upgrades
	Server   string           // name of its database server; "" for none
	Clients  []models.Client
	Backups  []models.Backup
	Tasks    []models.Task
	Live     *models.Task
	Lines    []models.TaskLine
	Movable  bool // to another server, by who looks
}

func (s Site) url(rest string) string { return fmt.Sprintf("/sites/%d%s", s.Row.ID, rest) }

// UpgradeSiteLabel is the button of a site: Upgrade to 10.6.2.
func UpgradeSiteLabel(row fleet.SiteRow) string {
	if row.Target == nil {
		return "Upgrade"
	}
	return "Upgrade to " + components.ShortVersion(*row.Target, row.Platform)
}

func shortTarget(row fleet.SiteRow) string {
	if row.Target == nil {
		return ""
	}
	return components.ShortVersion(*row.Target, row.Platform)
}

// current names what a site runs, beside what it waits for.
func current(row fleet.SiteRow) string {
	if row.Target == nil || row.Target.ID == row.PlatformID {
		return components.Version(row.Platform)
	}
	return components.ShortVersion(row.Platform, *row.Target)
}

// Plan is the confirmation of one site's upgrade.
type Plan struct {
	layouts.Page
	Plan      fleet.Plan
	Comparing *models.Task // Drush is being asked, or could not be
	Fragment  bool         // drawn as a dialog
}

func (p Plan) url(rest string) string { return fmt.Sprintf("/sites/%d%s", p.Plan.Site.ID, rest) }

// comparison is the answer of Drush, if it still speaks of this move.
func (p Plan) comparison() *models.Comparison {
	c := p.Plan.Comparison
	if c == nil || !c.Fresh(p.Plan.Site.Site, p.Plan.To.ID) {
		return nil
	}
	return c
}

func (p Plan) comparing() bool { return p.Comparing != nil && !p.Comparing.State.Over() }

func (p Plan) blocked() bool { return p.comparison() != nil && len(p.comparison().Blockers) > 0 }

func (p Plan) ready() bool {
	return p.Plan.Site.Behind() && !p.blocked() && p.Plan.RunningTask == 0
}

// poll is where the plan is asked again while Drush is being asked.
func (p Plan) poll() string {
	return fmt.Sprintf("%s?compare=%d", p.url("/upgrade"), p.Comparing.ID)
}

// PlatformPlan is the confirmation of a platform's upgrade.
type PlatformPlan struct {
	layouts.Page
	Plan     fleet.PlatformPlan
	Fragment bool
}

func (p PlatformPlan) url(rest string) string {
	return fmt.Sprintf("/platforms/%d%s", p.Plan.Platform.ID, rest)
}

func (p PlatformPlan) to() string { return components.ShortVersion(p.Plan.To, p.Plan.From) }

func (p PlatformPlan) label() string {
	return fmt.Sprintf("Upgrade %s to %s", components.Count(int64(p.count()), "site", "sites"), p.to())
}

// count is how many sites move; the plan may list only the first of them.
func (p PlatformPlan) count() int { return max(p.Plan.Platform.Upgradable, len(p.Plan.Sites)) }

// shown are the first sites that move; the rest is a number.
func (p PlatformPlan) shown() []fleet.SiteRow { return p.Plan.Sites[:min(len(p.Plan.Sites), 12)] }

// Tasks is the list of tasks.
type Tasks struct {
	layouts.Page
	Rows     []models.Task
	Segments []components.Option
	Pages    components.Pages
	Query    string
	State    string
	Busy     bool
}

// Task is the page of one task while it runs and afterwards.
type Task struct {
	layouts.Page
	Task     models.Task
	Lines    []models.TaskLine
	Skipped  bool // lines before these are only in the full log
	Upgrade  *models.Upgrade
	Steps    []models.UpgradeStep
	Versions [2]string // of the upgrade: from, to
	Children []models.Task
	Parent   *models.Task
	Subject  Fact               // Label is its name, Value its page
	Found    []models.FoundSite // of a task that looked for sites
	Looked   bool               // it has ended and said what it found
}

// canRetry tells whether it is of use to ask for the same work again: what ended with a
// warning is done, but for a clone that was not sent off.
func (t Task) canRetry() bool {
	return fleet.Retryable(t.Task) && (t.Task.State != models.TaskWarning || t.stayed())
}

// stayed tells whether a clone for another server was made, and its move refused.
func (t Task) stayed() bool {
	moved := func(child models.Task) bool { return child.Kind == models.TaskRelocate }
	return t.Task.Kind == models.TaskCloneTo && !slices.ContainsFunc(t.Children, moved)
}

// differing lists the files that a verification found to be different, if it
// says so.
func (t Task) differing() []string {
	var files []string
	if t.Task.Kind != models.TaskVerify || json.Unmarshal([]byte(t.Task.Result), &files) != nil {
		return nil
	}
	return files
}

func (t Task) url(rest string) string { return fmt.Sprintf("/tasks/%d%s", t.Task.ID, rest) }

// StepLogs gives every step its lines.
func (t Task) StepLogs() []components.StepLog {
	logs := make([]components.StepLog, 0, len(t.Steps))
	for _, step := range t.Steps {
		log := components.StepLog{Step: step, Over: t.Task.State.Over()}
		if t.Upgrade != nil {
			log.Kind = t.Upgrade.Kind
		}
		for _, line := range t.Lines {
			if line.Step == string(step.Name) {
				log.Lines = append(log.Lines, line)
			}
		}
		logs = append(logs, log)
	}
	return logs
}

// loose are the lines that belong to no step of the list.
func (t Task) loose() []models.TaskLine {
	if len(t.Steps) == 0 {
		return t.Lines
	}
	known := map[string]bool{}
	for _, step := range t.Steps {
		known[string(step.Name)] = true
	}
	var lines []models.TaskLine
	for _, line := range t.Lines {
		if !known[line.Step] {
			lines = append(lines, line)
		}
	}
	return lines
}

// done tells how many children have ended.
func (t Task) done() int {
	n := 0
	for _, child := range t.Children {
		if child.State.Over() {
			n++
		}
	}
	return n
}

// tally counts the children by how they stand, in the order of TaskState's
// constants.
func (t Task) tally() string {
	order := []models.TaskState{
		models.TaskSucceeded, models.TaskWarning, models.TaskRecovered, models.TaskFailed, models.TaskCancelled,
		models.TaskRunning, models.TaskQueued,
	}
	text := ""
	for _, state := range order {
		n := 0
		for _, child := range t.Children {
			if child.State == state {
				n++
			}
		}
		if n == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", n, state)
	}
	return text
}

// headline is the outcome in a few words, once there is one.
func (t Task) headline() string {
	if t.Upgrade != nil {
		switch t.Upgrade.State {
		case models.UpgradeSucceeded:
			return fmt.Sprintf("Succeeded: %s is serving %s", t.Subject.Label, t.Versions[1])
		case models.UpgradeRecovered:
			return fmt.Sprintf("Recovered: %s is serving %s as before", t.Subject.Label, t.Versions[0])
		case models.UpgradeFatal:
			return fmt.Sprintf("Fatal: %s needs you", t.Subject.Label)
		case models.UpgradeCancelled:
			return fmt.Sprintf("Cancelled: %s is serving %s as before", t.Subject.Label, t.Versions[0])
		case models.UpgradeQueued, models.UpgradeRunning:
		}
	}
	return components.TaskStatus(t.Task).Word
}

// failed is the step to look at; "" when none failed.
func (t Task) failed() string {
	if t.Upgrade == nil {
		return ""
	}
	return string(t.Upgrade.FailedStep)
}

// Queues is the page of the queues.
type Queues struct {
	layouts.Page
	Rows   []QueueLine
	ByHand []plugins.Info // types without a queue
	Hosts  []fleet.HostRow
	Errors map[string]string // of the form of one queue, by field
	Wrong  string            // whose form it is: an update type, or a host
	Typed  [3]string         // every, unit, at once, as they were typed; of a host at once and per minute
	Error  string
}

// QueueLine is one queue with its update type.
type QueueLine struct {
	fleet.QueueRow
	Info plugins.Info
}

func (q Queues) busy() bool {
	for _, row := range q.Rows {
		if row.Running > 0 || row.Waiting > 0 {
			return true
		}
	}
	return false
}

// hostForm gives the values and errors of one host's form.
func (q Queues) hostForm(row fleet.HostRow) (atOnce, perMinute string, wrong map[string]string) {
	if q.Wrong == "host "+row.Name {
		return q.Typed[0], q.Typed[1], q.Errors
	}
	return strconv.Itoa(row.AtOnce), strconv.Itoa(row.PerMinute), nil
}

// lagText is how long what is due waits.
func lagText(lag time.Duration) string {
	if lag <= 0 {
		return "0 s"
	}
	return components.Took(lag)
}

// hostStatus is how a host stands.
func hostStatus(h fleet.HostRow) components.Status {
	switch {
	case h.BlockedUntil != nil && h.BlockedUntil.After(time.Now()):
		return components.Status{Key: "paused", Word: "Asked for a pause"}
	case h.Stalled > 0:
		return components.Status{Key: "stalled", Word: fmt.Sprintf("%d stalled", h.Stalled)}
	case h.Failing > 0:
		return components.Status{Key: "warning", Word: fmt.Sprintf("%d failing", h.Failing)}
	default:
		return components.Status{Key: "ready", Word: "Answers"}
	}
}

// form gives the values and errors of one queue's form.
func (q Queues) form(row QueueLine) (every, unit, atOnce string, wrong map[string]string) {
	if q.Wrong == row.UpdateType {
		return q.Typed[0], q.Typed[1], q.Typed[2], q.Errors
	}
	n, unit := SplitEvery(row.Every)
	return strconv.FormatInt(n, 10), unit, strconv.Itoa(row.AtOnce), nil
}

// Problem is a page that says what went wrong.
type Problem struct {
	layouts.Page
	Status     int
	Head, Text string
	SignedIn   bool
	Made       string // address of what the same form made before
	Again      bool   // the same address may answer in a moment
}

func (s SiteForm) uriField() components.Field {
	f := s.field("uri", "Name", s.URI)
	f.Mono, f.Placeholder, f.Help = true, "museum.example.org", "The host name that visitors type, without port and path."
	return f
}

func (s SiteForm) titleField() components.Field {
	f := s.field("title", "Title", s.SiteTitle)
	f.Optional, f.Help = true, "What the site calls itself. Left empty, it is its name."
	return f
}

func (s SiteForm) platformField() components.Field {
	f := s.field("platform", "Platform", strconv.FormatInt(s.Platform, 10))
	f.Kind, f.Options, f.Help = "choice", s.platformOptions(), "Only platforms that are ready and not locked."
	return f
}

func (s SiteForm) profileField() components.Field {
	f := s.field("profile", "Install profile", s.Profile)
	f.Kind, f.Options = "choice", s.profileOptions()
	return f
}

// change says in a few words what happens to a package.
func change(c models.PackageChange) string {
	switch {
	case c.From == "":
		return "added, " + c.To
	case c.To == "":
		return "removed"
	default:
		return c.From + " → " + c.To
	}
}
