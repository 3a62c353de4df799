package pages

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// Ask is a question before something is done, with what it needs to know.
type Ask struct {
	layouts.Page
	Fragment bool // drawn as a dialog
	Crumbs   []layouts.Crumb
	Title    string // the question
	Text     string // what it means
	Notes    []Promise
	Fields   []components.Field
	URL      string // where the answer goes
	Label    string // of the button
	Style    string // of the button: go or stop
	Back     string // where Not now leads
	Error    string // over the fields

	Refused string   // why it cannot be done; "" when it can
	Names   []string // of what stands in its way
	More    int      // how many more there are
}

// Promise is one line about what is guaranteed, or what happens.
type Promise struct{ Icon, Text string }

// Rollback asks before a site goes back to the version before an upgrade.
type Rollback struct {
	layouts.Page
	Plan     fleet.RollbackPlan
	Fragment bool
}

func (r Rollback) url(rest string) string { return fmt.Sprintf("/sites/%d%s", r.Plan.Site.ID, rest) }

// question is what is asked; a restore is taken back on the same platform mostly.
func (r Rollback) question() string {
	if r.Plan.Upgrade.Kind == models.KindRestore {
		return "Take the restore of " + r.Plan.Site.URI + " back?"
	}
	return "Roll back " + r.Plan.Site.URI + " to " + components.ShortVersion(r.Plan.To, r.Plan.From) + "?"
}

func (r Rollback) label() string {
	if r.Plan.Upgrade.Kind == models.KindRestore {
		return "Take the restore back"
	}
	return "Roll back to " + components.ShortVersion(r.Plan.To, r.Plan.From)
}

// ended says what happened to the site last.
func (r Rollback) ended() string {
	switch r.Plan.Upgrade.Kind {
	case models.KindRestore:
		return "restored"
	case models.KindRollback:
		return "rolled back"
	default:
		return "upgraded"
	}
}

// lost sums up the quote: how many rows of how many tables, and of how many
// tables it cannot be told.
func (r Rollback) lost() (rows int64, tables, unknown int) {
	for _, t := range r.Plan.Loss.Tables {
		rows += t.Added + t.Changed + t.Removed
		if t.Unknown {
			unknown++
		}
		if t.Added+t.Changed+t.Removed > 0 {
			tables++
		}
	}
	return rows, tables, unknown
}

// quote is the loss in one sentence.
func (r Rollback) quote() string {
	since := components.ExactText(r.Plan.Loss.Since)
	if r.Plan.Loss.None {
		return "Nothing is lost: both versions use the same database."
	}
	rows, tables, unknown := r.lost()
	switch {
	case rows == 0 && unknown == 0:
		return "Nothing was written since " + since + ", so nothing is lost."
	case rows == 0:
		return "Of " + components.Count(int64(unknown), "table", "tables") + " it cannot be told what was written since " + since + "."
	}
	text := "Going back loses what was written since " + since + ": " + components.Count(rows, "row", "rows") + " in " + components.Count(int64(tables), "table", "tables") + "."
	if unknown > 0 {
		text += " Of " + components.Count(int64(unknown), "table", "tables") + " not all can be told."
	}
	return text
}

// canRollBack tells whether the newest move of the site left something to go
// back to. The plan says exactly.
func (s Site) canRollBack() bool {
	if s.Row.State != models.SiteEnabled && s.Row.State != models.SiteBroken || s.Row.RunningTaskID != 0 || s.Live != nil {
		return false
	}
	for _, u := range s.Upgrades {
		if u.State == models.UpgradeSucceeded {
			return u.DroppedOldAt == nil && u.ToID == s.Row.PlatformID
		}
	}
	return false
}

// settled tells whether the site has content and no end: most actions need it.
func (s Site) settled() bool {
	switch s.Row.State {
	case models.SiteEnabled, models.SiteDisabled:
		return true
	case models.SiteBroken:
		return s.Row.Database.Engine != ""
	default:
		return false
	}
}

// gone tells whether the site is deleted; its backups may still be there.
func (s Site) gone() bool { return s.Row.State == models.SiteDeleted }

// heldUntil says how long a hold lasts.
func heldUntil(s models.Site) string {
	if s.HeldUntil == nil {
		return "until somebody releases it"
	}
	return "until " + s.HeldUntil.UTC().Format("2 Jan 2006, 15:04 UTC")
}

// MoveTitle is what people call a move of a site.
func MoveTitle(kind models.UpgradeKind) string {
	switch kind {
	case models.KindRollback:
		return "Rollback"
	case models.KindRestore:
		return "Restore"
	default:
		return "Upgrade"
	}
}

// PurposeName says why a backup was made.
func PurposeName(p models.BackupPurpose) string {
	switch p {
	case models.BackupManual:
		return "by hand"
	case models.BackupSchedule:
		return "by schedule"
	case models.BackupDelete:
		return "before deletion"
	case models.BackupRollback:
		return "what a rollback dropped"
	case models.BackupRestore:
		return "what a restore replaced"
	default:
		return string(p)
	}
}

// backupFacts is what is in a backup, in a few words.
func backupFacts(b models.Backup) string {
	return components.Count(int64(b.Tables), "table", "tables") + ", " + components.Count(int64(b.Files), "file", "files")
}

// schedule says how often a site is backed up.
func schedule(s models.Site) string {
	if s.BackupEvery <= 0 {
		return "No schedule. Back it up by hand, or set one in its settings."
	}
	text := "Every " + often(s.BackupEvery)
	if s.BackupKeep > 0 {
		text += "; the newest " + components.Figure(int64(s.BackupKeep)) + " of the schedule stay"
	}
	return text + "."
}

// often is an interval after the word every: 15 min, day.
func often(every time.Duration) string {
	text := EveryText(every)
	if text == "1 hour" || text == "1 day" {
		return text[2:]
	}
	return text
}

// cannotTell says of a table why its loss is not known, or not all of it.
func cannotTell(t models.TableLoss) string {
	text := "Cannot tell"
	if t.Added+t.Changed+t.Removed > 0 {
		text = "Cannot tell all"
	}
	if t.Why != "" {
		text += ": " + t.Why
	}
	return text
}

// lostRows is a number of rows in the quote. Nothing found in a table of which
// not all can be told is no zero.
func lostRows(t models.TableLoss, n int64) string {
	if t.Unknown && n == 0 {
		return "?"
	}
	return components.Figure(n)
}

// Every is an interval as it is typed; an empty number is never.
type Every struct{ Number, Unit string }

// SiteSettings is the form of how a site is served and looked after.
type SiteSettings struct {
	layouts.Page
	Row                                fleet.SiteRow
	Aliases                            string
	Redirect                           bool
	HTTPS, Certificate, CertificateKey string
	Probes, ProbeText                  string
	Cron, Backup                       Every
	BackupKeep                         string
	Errors                             map[string]string
	Error, First                       string
}

func (s SiteSettings) url(rest string) string { return fmt.Sprintf("/sites/%d%s", s.Row.ID, rest) }

// mark adds to a field what is wrong with it.
func (s SiteSettings) mark(f components.Field) components.Field {
	f.Name = f.ID
	f.Error, f.Focus = s.Errors[f.ID], s.First == f.ID
	return f
}

func tickValue(on bool) string {
	if on {
		return "1"
	}
	return ""
}

func (s SiteSettings) names() []components.Field {
	return []components.Field{
		s.mark(components.Field{
			ID: "aliases", Label: "Aliases", Kind: "lines", Value: s.Aliases, Width: "w12", Optional: true, Mono: true,
			Help: "Other host names of this site, one a line, without port and path.", Placeholder: "www." + s.Row.URI,
		}),
		s.mark(components.Field{
			ID: "redirect", Label: "Send visitors of an alias to " + s.Row.URI, Kind: "bool", Value: tickValue(s.Redirect), Width: "w12",
		}),
	}
}

func (s SiteSettings) encryption() []components.Field {
	return []components.Field{
		s.mark(components.Field{ID: "https", Label: "HTTPS", Kind: "choice", Value: s.HTTPS, Width: "w12", Options: []plugins.Option{
			{Value: string(models.HTTPSOff), Label: "off: HTTP only"},
			{Value: string(models.HTTPSOn), Label: "on: HTTP and HTTPS"},
			{Value: string(models.HTTPSRequired), Label: "required: HTTP is sent to HTTPS"},
		}}),
		s.mark(components.Field{
			ID: "certificate", Label: "Certificate", Value: s.Certificate, Mono: true, Placeholder: "/etc/letsencrypt/live/" + s.Row.URI + "/fullchain.pem",
			Help: "Absolute file in PEM, with its chain. Renewed by the tool that made it.", When: "https", WhenValues: "on required",
		}),
		s.mark(components.Field{
			ID: "certificate_key", Label: "Key", Value: s.CertificateKey, Mono: true, Placeholder: "/etc/letsencrypt/live/" + s.Row.URI + "/privkey.pem",
			Help: "Absolute file in PEM. Hefring never copies it.", When: "https", WhenValues: "on required",
		}),
	}
}

func (s SiteSettings) probing() []components.Field {
	return []components.Field{
		s.mark(components.Field{
			ID: "probes", Label: "Paths that must answer as before", Kind: "lines", Value: s.Probes, Width: "w12", Optional: true, Mono: true, Placeholder: "/\n/user/login",
			Help: "One a line, asked before and after every move of this site. Empty: the first page and the login page.",
		}),
		s.mark(components.Field{
			ID: "probe_text", Label: "Text on the first of them", Value: s.ProbeText, Width: "w12", Optional: true,
			Help: "Shows that the page is the site’s own, and not an empty one that answers 200.",
		}),
	}
}

func (s SiteSettings) upkeep() []components.Field {
	units := func(values ...string) []plugins.Option {
		var options []plugins.Option
		for _, unit := range units() {
			for _, value := range values {
				if unit.Value == value {
					options = append(options, unit)
				}
			}
		}
		return options
	}
	field := func(id, label, value, help, width string, high int) components.Field {
		return s.mark(components.Field{ID: id, Label: label, Kind: "number", Value: value, Min: 1, Max: high, Width: width, Optional: true, Help: help})
	}
	return []components.Field{
		field("cron_every", "Run cron every", s.Cron.Number, "Empty: Hefring does not run it.", "w8", 100000),
		s.mark(components.Field{ID: "cron_unit", Label: "Unit of cron", Kind: "choice", Value: s.Cron.Unit, Options: units("m", "h", "d"), Width: "w4"}),
		field("backup_every", "Back up every", s.Backup.Number, "Empty: only by hand.", "w4", 100000),
		s.mark(components.Field{ID: "backup_unit", Label: "Unit of backups", Kind: "choice", Value: s.Backup.Unit, Options: units("h", "d"), Width: "w4"}),
		field("backup_keep", "How many stay", s.BackupKeep, "Older ones of the schedule are removed; kept ones never.", "w4", 1000),
	}
}

// Origin is what a new site is made from: a site, a backup, or a folder of what
// a task found.
type Origin struct {
	Site, Backup, Task int64
	Folder             string

	Name, URI, Title, Version, Engine string
	Server                            int64  // that its database is on; 0 for SQLite, or not known
	Home                              int64  // web host that it is on; 0 for the control plane's
	PlatformName                      string // that it ran on, if it takes new sites
	Bytes                             int64
	Problem                           string
	Back                              string // the page that led here
}

// Clone is the form of a site that is made from what is there.
type Clone struct {
	layouts.Page
	Once               string
	Origin             Origin
	URI, SiteTitle     string
	Platform, Database int64
	Home               int64             // web host that it goes to
	Platforms          []models.Platform // that may take new sites
	Servers            []fleet.DatabaseServerRow
	Hosts              []plugins.Option // web hosts that it may go to
	Errors             map[string]string
	Error, First       string
}

// Heading is what the form does.
func (c Clone) Heading() string {
	switch {
	case c.Origin.Task != 0:
		return "Adopt a site"
	case c.Origin.Backup != 0:
		return "Make a site from a backup"
	default:
		return "Clone " + c.Origin.Name
	}
}

func (c Clone) crumbs() []layouts.Crumb {
	if c.Origin.Task != 0 {
		return []layouts.Crumb{{Label: "Sites", URL: "/sites"}, {Label: "Import", URL: c.Origin.Back}, {Label: "Adopt"}}
	}
	name := c.Origin.Name
	if c.Origin.Backup != 0 {
		name = c.Origin.URI
	}
	return []layouts.Crumb{{Label: "Sites", URL: "/sites"}, {Label: name, URL: c.Origin.Back}, {Label: c.verb()}}
}

func (c Clone) verb() string {
	if c.Origin.Backup != 0 {
		return "New site"
	}
	return "Clone"
}

func (c Clone) button() string {
	if c.Origin.Task != 0 {
		return "Adopt this site"
	}
	return "Make the site"
}

func (c Clone) mark(f components.Field) components.Field {
	f.Name = f.ID
	f.Error, f.Focus = c.Errors[f.ID], c.First == f.ID
	return f
}

// travels tells whether there is a choice of servers.
func (c Clone) travels() bool { return len(c.Hosts) > 1 }

func (c Clone) fields() []components.Field {
	leads := "this server"
	if c.travels() {
		leads = "the server that you choose"
	}
	list := []components.Field{
		c.mark(components.Field{
			ID: "uri", Label: "Address", Value: c.URI, Mono: true, Placeholder: c.proposal(), Help: "A host name, without port and path. It must lead to " + leads + ".",
		}),
		c.mark(components.Field{ID: "title", Label: "Title", Value: c.SiteTitle, Optional: true, Placeholder: "as it is there"}),
		c.mark(components.Field{
			ID: "platform", Label: "Platform", Kind: "choice", Value: strconv.FormatInt(c.Platform, 10), Options: c.platformOptions(),
			Help: "On a newer one, its database updates are run on the copy.",
		}),
		c.mark(components.Field{
			ID: "database", Label: "Database", Kind: "choice", Value: strconv.FormatInt(c.Database, 10), Options: c.databaseOptions(),
			Help: "Of the same kind as the one that is copied.",
		}),
	}
	if c.travels() {
		list = append(list, c.mark(components.Field{
			ID: "server", Label: "Server", Kind: "choice", Value: strconv.FormatInt(c.Home, 10), Options: c.hostOptions(),
			Help: "For another one, it is made beside its origin and moved once it answers there.",
		}))
	}
	return list
}

// hostOptions marks the server that the origin is on.
func (c Clone) hostOptions() []plugins.Option {
	options := slices.Clone(c.Hosts)
	for i := range options {
		if options[i].Value == strconv.FormatInt(c.Origin.Home, 10) && c.Origin.Task == 0 {
			options[i].Label += ", as its origin"
		}
	}
	return options
}

// proposal is an address that would fit.
func (c Clone) proposal() string {
	if c.Origin.Site != 0 {
		return "copy." + c.Origin.Name
	}
	if c.Origin.URI != "" {
		return c.Origin.URI
	}
	return "museum.example.org"
}

func (c Clone) platformOptions() []plugins.Option {
	var options []plugins.Option
	if c.Origin.PlatformName != "" {
		options = append(options, plugins.Option{Value: "0", Label: "The same: " + c.Origin.PlatformName})
	}
	for _, p := range c.Platforms {
		if p.Name != c.Origin.PlatformName {
			options = append(options, plugins.Option{Value: strconv.FormatInt(p.ID, 10), Label: PlatformLabel(p)})
		}
	}
	return options
}

// PlatformLabel names a platform in a list where the version decides.
func PlatformLabel(p models.Platform) string {
	if p.DrupalVersion == "" {
		return p.Name
	}
	return p.Name + ", Drupal " + p.DrupalVersion
}

func (c Clone) databaseOptions() []plugins.Option { return databaseOptions(c.Servers, c.Origin.Engine) }

// databaseOptions are where a site's content may go. engine is the only one that
// fits; "" is any.
func databaseOptions(servers []fleet.DatabaseServerRow, engine string) []plugins.Option {
	var options []plugins.Option
	if engine == "" || engine == models.EngineSQLite {
		options = append(options, plugins.Option{Value: "0", Label: "SQLite, a file of the site"})
	}
	for _, s := range servers {
		if engine != "" && engine != s.Engine {
			continue
		}
		label := s.Name + ", " + components.EngineName(s.Engine)
		if s.Reason != "" {
			label += " (cannot be used now)"
		}
		options = append(options, plugins.Option{Value: strconv.FormatInt(s.ID, 10), Label: label})
	}
	return options
}

// Import is the form that looks for sites in a code base.
type Import struct {
	layouts.Page
	Root  string
	Error string // over the form
	Wrong string // beside the path
}

// inside is where the database of a found site is: a file by its way from the
// folder that was searched, as all of it is the same for every site.
func inside(f models.FoundSite) string { return strings.TrimPrefix(f.Database, f.Root+"/") }

// adoptURL is the form that adopts a found site.
func adoptURL(task int64, f models.FoundSite) string {
	return fmt.Sprintf("/sites/clone?task=%d&folder=%s", task, url.QueryEscape(f.Folder))
}

// Compare is the page that holds two platforms side by side.
type Compare struct {
	layouts.Page
	Row     fleet.PlatformRow
	With    int64 // the other one; 0: not chosen yet
	All     bool  // also what is the same
	Choices []models.Platform
	Diff    *fleet.PlatformDiff
}

func (c Compare) options() []plugins.Option {
	options := []plugins.Option{{Value: "", Label: "Choose a platform"}}
	choices := c.Choices
	if c.Diff != nil && !slices.ContainsFunc(choices, func(p models.Platform) bool { return p.ID == c.Diff.To.ID }) {
		choices = append([]models.Platform{c.Diff.To}, choices...) // it is an old one
	}
	for _, p := range choices {
		if p.ID != c.Row.ID {
			options = append(options, plugins.Option{Value: strconv.FormatInt(p.ID, 10), Label: PlatformLabel(p)})
		}
	}
	return options
}

// shown are the packages that the page lists.
func (c Compare) shown() []models.PackageDiff {
	if c.All {
		return c.Diff.Packages
	}
	var list []models.PackageDiff
	for _, p := range c.Diff.Packages {
		if p.Difference != models.DiffSame {
			list = append(list, p)
		}
	}
	return list
}

// shownSites is how many sites the page lists.
const shownSites = 100

// sites are the first ones that the page lists: those that cannot go, then those
// with an answer.
func (c Compare) sites() []fleet.SiteDiff {
	rank := func(s fleet.SiteDiff) int {
		switch answer := c.answer(s); {
		case answer == nil:
			return 2
		case len(answer.Blockers) > 0:
			return 0
		default:
			return 1
		}
	}
	list := slices.Clone(c.Diff.Sites)
	slices.SortStableFunc(list, func(a, b fleet.SiteDiff) int { return rank(a) - rank(b) })
	return list[:min(len(list), shownSites)]
}

// tally counts the packages by verdict.
func (c Compare) tally() string {
	n := map[models.Difference]int{}
	for _, p := range c.Diff.Packages {
		n[p.Difference]++
	}
	text := ""
	for _, d := range []models.Difference{models.DiffError, models.DiffMissing, models.DiffDowngrade, models.DiffUpgrade, models.DiffAdded, models.DiffSame} {
		if n[d] == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", n[d], d)
	}
	return text
}

// answer is what Drush said of moving a site, if it still speaks of this move.
func (c Compare) answer(s fleet.SiteDiff) *models.Comparison {
	if s.Comparison == nil || !s.Comparison.Fresh(*s.Site, c.Diff.To.ID) {
		return nil
	}
	return s.Comparison
}

// deletable tells whether deleting the platform may be asked for. Deleting is a
// deletion that did not end.
func (p Platform) deletable() bool {
	switch p.Row.State {
	case models.PlatformReady, models.PlatformFailed:
		return !p.Row.IsTarget()
	case models.PlatformDeleting:
		return p.Live == nil
	default:
		return false
	}
}

// Databases is the list of database servers.
type Databases struct {
	layouts.Page
	Rows []fleet.DatabaseServerRow
}

// ServerStatus is how a database server stands.
func ServerStatus(s models.DatabaseServer) components.Status {
	switch {
	case s.Reason != "":
		return components.Status{Key: "failed", Word: "Cannot be used"}
	case s.TestedAt == nil:
		return components.Status{Key: "queued", Word: "Not tested"}
	default:
		return components.Status{Key: "ready", Word: "Works"}
	}
}

// ProductName is what a server is, as far as it said so.
func ProductName(s models.DatabaseServer) string {
	switch {
	case s.Engine != models.EngineMySQL || s.Version == "":
		return components.EngineName(s.Engine)
	case strings.Contains(strings.ToLower(s.Version), "mariadb"):
		return "MariaDB"
	default:
		return "MySQL"
	}
}

// hostText is where a server is found.
func hostText(s models.DatabaseServer) string {
	if s.Port == 0 || len(s.Host) > 0 && s.Host[0] == '/' {
		return s.Host
	}
	return s.Host + ":" + strconv.Itoa(s.Port)
}

// DatabaseForm is the form of a new or an existing database server.
type DatabaseForm struct {
	layouts.Page
	Server       models.DatabaseServer // as it was typed
	Stored       models.DatabaseServer // as it is; ID 0 for a new one
	Port         string
	Errors       map[string]string
	Error, First string
}

func (d DatabaseForm) url(rest string) string {
	if d.Stored.ID == 0 {
		return "/databases" + rest
	}
	return fmt.Sprintf("/databases/%d%s", d.Stored.ID, rest)
}

func (d DatabaseForm) mark(f components.Field) components.Field {
	f.Name = f.ID
	f.Error, f.Focus = d.Errors[f.ID], d.First == f.ID
	return f
}

func (d DatabaseForm) where() []components.Field {
	s := d.Server
	return []components.Field{
		d.mark(components.Field{ID: "name", Label: "Name", Value: s.Name, Placeholder: "Main database", Help: "What people call it."}),
		d.mark(components.Field{ID: "engine", Label: "Kind", Kind: "choice", Value: s.Engine, Options: []plugins.Option{
			{Value: models.EngineMySQL, Label: components.EngineName(models.EngineMySQL)}, {Value: models.EnginePostgres, Label: components.EngineName(models.EnginePostgres)},
		}}),
		d.mark(components.Field{
			ID: "host", Label: "Host or socket", Value: s.Host, Width: "w8", Mono: true, Placeholder: "db1.example.org",
			Help: "A host name, an address, or the absolute path of a unix socket; for PostgreSQL of the folder that holds it.",
		}),
		d.mark(components.Field{ID: "port", Label: "Port", Kind: "number", Value: d.Port, Min: 1, Max: 65535, Width: "w4", Optional: true, Placeholder: "the usual one"}),
	}
}

func (d DatabaseForm) account() []components.Field {
	s := d.Server
	return []components.Field{
		d.mark(components.Field{ID: "user", Label: "User", Value: s.User, Mono: true, Help: "May create databases and users. Sites never get it: each has a user of its own."}),
		d.mark(components.Field{ID: "password", Label: "Password", Kind: "password", Auto: "new-password", Set: d.Stored.ID != 0, Help: "Kept encrypted and never shown again."}),
		d.mark(components.Field{ID: "tls", Label: "TLS", Kind: "choice", Value: string(s.TLS), Width: "w12", Options: []plugins.Option{
			{Value: string(models.TLSOff), Label: "off: for a socket or a private network"},
			{Value: string(models.TLSRequire), Label: "require: encrypted, whoever answers"},
			{Value: string(models.TLSVerify), Label: "verify: encrypted, and the certificate must fit the host"},
		}}),
	}
}

func (d DatabaseForm) sites() []components.Field {
	s := d.Server
	return []components.Field{
		d.mark(components.Field{
			ID: "clients", Label: "Sites connect from", Value: s.Clients, Mono: true, Placeholder: "%", When: "engine", WhenValues: models.EngineMySQL,
			Help: "For MariaDB and MySQL: % is anywhere, or one host.",
		}),
		d.mark(components.Field{
			ID: "prefix", Label: "Prefix", Value: s.Prefix, Mono: true, Placeholder: "hefring", Help: "Begins the name of every database and user that is made there.",
		}),
		d.mark(components.Field{ID: "default", Label: "New sites go here unless somebody says otherwise", Kind: "bool", Value: tickValue(s.Default), Width: "w12"}),
	}
}

// languages are langcodes of Drupal that a site may be installed in.
func languages() []plugins.Option {
	return []plugins.Option{
		{Value: "", Label: "English"},
		{Value: "ar", Label: "Arabic"},
		{Value: "bg", Label: "Bulgarian"},
		{Value: "ca", Label: "Catalan"},
		{Value: "zh-hans", Label: "Chinese, simplified"},
		{Value: "zh-hant", Label: "Chinese, traditional"},
		{Value: "hr", Label: "Croatian"},
		{Value: "cs", Label: "Czech"},
		{Value: "da", Label: "Danish"},
		{Value: "nl", Label: "Dutch"},
		{Value: "et", Label: "Estonian"},
		{Value: "fi", Label: "Finnish"},
		{Value: "fr", Label: "French"},
		{Value: "de", Label: "German"},
		{Value: "el", Label: "Greek"},
		{Value: "he", Label: "Hebrew"},
		{Value: "hu", Label: "Hungarian"},
		{Value: "is", Label: "Icelandic"},
		{Value: "id", Label: "Indonesian"},
		{Value: "ga", Label: "Irish"},
		{Value: "it", Label: "Italian"},
		{Value: "ja", Label: "Japanese"},
		{Value: "ko", Label: "Korean"},
		{Value: "lv", Label: "Latvian"},
		{Value: "lt", Label: "Lithuanian"},
		{Value: "nb", Label: "Norwegian Bokmål"},
		{Value: "nn", Label: "Norwegian Nynorsk"},
		{Value: "fa", Label: "Persian"},
		{Value: "pl", Label: "Polish"},
		{Value: "pt-br", Label: "Portuguese, Brazil"},
		{Value: "pt-pt", Label: "Portuguese, Portugal"},
		{Value: "ro", Label: "Romanian"},
		{Value: "ru", Label: "Russian"},
		{Value: "sr", Label: "Serbian"},
		{Value: "sk", Label: "Slovak"},
		{Value: "sl", Label: "Slovenian"},
		{Value: "es", Label: "Spanish"},
		{Value: "sv", Label: "Swedish"},
		{Value: "tr", Label: "Turkish"},
		{Value: "uk", Label: "Ukrainian"},
		{Value: "vi", Label: "Vietnamese"},
	}
}

// languageName is what people call a langcode.
func languageName(code string) string {
	if code == "en" {
		code = ""
	}
	for _, o := range languages() {
		if o.Value == code {
			return o.Label
		}
	}
	return code
}

// worst is the worst verdict on a package.
func (c Compare) worst() models.Difference {
	for _, p := range c.Diff.Packages {
		if p.Difference == models.DiffError {
			return models.DiffError
		}
	}
	return ""
}
