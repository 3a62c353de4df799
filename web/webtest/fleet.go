// Package webtest holds a fleet in memory, so that pages can be tested and
// looked at without a database.
package webtest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
)

// Fleet is a fleet in memory. Fill the fields before use; afterwards go through
// its methods, which are safe for use at once.
type Fleet struct {
	mu sync.Mutex

	Counts         fleet.Counts
	Waiting        []fleet.Decision
	Dists          []models.Distribution
	Plats          []models.Platform
	Sits           []models.Site
	Jobs           []models.Task
	Log            []models.TaskLine
	Checks         []models.Check
	Moves          []models.Upgrade
	Steps          []models.UpgradeStep
	QueueList      []fleet.QueueRow
	Hosts          []fleet.HostRow
	Ups            map[int64]models.Upstream   // by distribution
	Comparisons    map[int64]models.Comparison // by site
	Types          []plugins.Plugin
	Users          map[string]string      // name -> password
	Links          map[string]string      // token -> name
	Roles          map[string]models.Role // name -> role
	OfClient       int64                  // whose sites are all that who signs in sees; 0: every site
	by             string
	Listed         []fleet.UserRow
	ClientList     []fleet.ClientRow
	User1          fleet.NewUser
	Audited                         // the record of changes, see audit.go
	People                          // who is signed in where, see signin.go
	Fail           map[string]error // by method name
	Calls          []string         // method and who asked, for what changes something
	Distribution1  fleet.NewDistribution
	Site1          fleet.NewSite
	followers      map[int64][]chan struct{}
	onces          map[string]int64
	Hooks          []fleet.WebhookRow
	HookSecrets    map[int64][]string // live ones by webhook
	Noted          []models.Delivery  // by NoteDelivery
	lastID         int64
	Databases      []fleet.DatabaseServerRow
	WebHosts       []fleet.ServerRow
	Brought        []fleet.ServerPlatformRow
	Backs          []models.Backup
	Backwards      map[int64]fleet.RollbackPlan // by site
	Found          map[int64][]models.FoundSite // by task
	Clone1         fleet.NewClone
	Settings1      fleet.SiteSettings
	Server1        models.DatabaseServer
	Said           []string        // what else the last use cases were told
	RunningOnSite  map[int64]int64 // site -> task
	RunningOnPlats map[int64]int64 // platform -> task
}

// As makes what is called from now on somebody's, and gives the same fleet.
func (f *Fleet) As(by models.Actor) *Fleet {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by = by.Name
	return f
}

// UserNamed knows those who can sign in. They are administrators unless Roles says
// otherwise.
func (f *Fleet) UserNamed(_ context.Context, name string) (models.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	role, ok := f.Roles[name]
	if !ok {
		role = models.RoleAdministrator
	}
	return models.User{ID: 1, Name: name, Role: role}, f.Fail["UserNamed"]
}

func (f *Fleet) called(method string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Calls = append(f.Calls, method+" "+f.by)
	return f.Fail[method]
}

func (f *Fleet) failing(method string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Fail[method]
}

// Called tells how often a method was called that changes something.
func (f *Fleet) Called(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, call := range f.Calls {
		if name, _, _ := strings.Cut(call, " "); name == method {
			n++
		}
	}
	return n
}

func missing(what string) error {
	return models.Errorf(models.NotFound, "There is no such %s. It may have been deleted.", what)
}

func get[T any](f *Fleet, list *[]T, what string, match func(T) bool) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.IndexFunc(*list, match); i >= 0 {
		return (*list)[i], nil
	}
	var none T
	return none, missing(what)
}

func page[T any](list []T, filter fleet.Filter) ([]T, int) {
	limit := filter.Limit
	if limit == 0 {
		limit = 50
	}
	from := min(filter.Offset, len(list))
	return list[from:min(from+limit, len(list))], len(list)
}

// Fleet counts the fleet.
func (f *Fleet) Fleet(context.Context, fleet.Filter) (fleet.Counts, error) {
	return f.Counts, f.failing("Fleet")
}

// Decisions lists what waits.
func (f *Fleet) Decisions(_ context.Context, filter fleet.Filter) ([]fleet.Decision, error) {
	return f.Waiting[:min(filter.Limit, len(f.Waiting))], f.failing("Decisions")
}

// RunningTasks lists tasks that are not over.
func (f *Fleet) RunningTasks(context.Context, fleet.Filter) ([]models.Task, error) {
	return f.jobs(func(t models.Task) bool { return !t.State.Over() && t.ParentID == nil }), f.failing("RunningTasks")
}

// RecentTasks lists tasks that are over.
func (f *Fleet) RecentTasks(context.Context, fleet.Filter) ([]models.Task, error) {
	return f.jobs(func(t models.Task) bool { return t.State.Over() }), f.failing("RecentTasks")
}

func (f *Fleet) jobs(match func(models.Task) bool) []models.Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []models.Task
	for _, t := range f.Jobs {
		if match(t) {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b models.Task) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return list
}

// Distributions lists distributions.
func (f *Fleet) Distributions(ctx context.Context, filter fleet.Filter) ([]fleet.DistributionRow, int, error) {
	var rows []fleet.DistributionRow
	for _, d := range f.Dists {
		if !strings.Contains(strings.ToLower(d.Name), strings.ToLower(filter.Query)) {
			continue
		}
		if filter.DistributionID != 0 && filter.DistributionID != d.ID {
			continue
		}
		row := fleet.DistributionRow{Distribution: d, Upstream: f.Ups[d.ID]}
		platforms, err := f.DistributionPlatforms(ctx, d.ID)
		if err != nil {
			return nil, 0, err
		}
		for _, p := range platforms {
			row.Platforms++
			row.Sites += p.Sites
			row.Behind += p.Upgradable
			if p.IsTarget() {
				row.TargetName, row.TargetVersion = p.Name, p.DrupalVersion
			}
		}
		rows = append(rows, row)
	}
	list, total := page(rows, filter)
	return list, total, f.failing("Distributions")
}

// DistributionPlatforms lists a distribution's platforms.
func (f *Fleet) DistributionPlatforms(_ context.Context, id int64) ([]fleet.PlatformRow, error) {
	return f.platformRows(func(p models.Platform) bool { return p.DistributionID == id }), f.failing("DistributionPlatforms")
}

func (f *Fleet) platformRows(match func(models.Platform) bool) []fleet.PlatformRow {
	var rows []fleet.PlatformRow
	for _, p := range f.Plats {
		if match(p) {
			rows = append(rows, f.platformRow(p))
		}
	}
	return rows
}

func (f *Fleet) platformRow(p models.Platform) fleet.PlatformRow {
	row := fleet.PlatformRow{Platform: p}
	for _, d := range f.Dists {
		if d.ID == p.DistributionID {
			row.DistributionName, row.UpdateType, row.TargetID = d.Name, d.UpdateType, d.TargetID
		}
	}
	for _, t := range f.Plats {
		if row.TargetID != nil && t.ID == *row.TargetID {
			row.TargetName, row.TargetVersion, row.TargetLabel = t.Name, t.DrupalVersion, t.Label
		}
	}
	for _, s := range f.Sits {
		if s.PlatformID == p.ID {
			row.Sites++
			if row.TargetID != nil && *row.TargetID != p.ID && s.State == models.SiteEnabled && !s.Held {
				row.Upgradable++
			}
		}
	}
	return row
}

// DistributionChecks lists a distribution's checks.
func (f *Fleet) DistributionChecks(_ context.Context, id int64, _ int) ([]models.Check, error) {
	var list []models.Check
	for _, c := range f.Checks {
		if c.DistributionID == id {
			list = append(list, c)
		}
	}
	return list, f.failing("DistributionChecks")
}

// Platforms lists platforms.
func (f *Fleet) Platforms(_ context.Context, filter fleet.Filter) ([]fleet.PlatformRow, int, error) {
	rows := f.platformRows(func(p models.Platform) bool {
		return strings.Contains(p.Name, filter.Query) && (filter.State == "" || string(p.State) == filter.State)
	})
	list, total := page(rows, filter)
	return list, total, f.failing("Platforms")
}

// PlatformRow gives one platform's line.
func (f *Fleet) PlatformRow(ctx context.Context, id int64) (fleet.PlatformRow, error) {
	p, err := f.Platform(ctx, id)
	return f.platformRow(p), err
}

// Sites lists sites.
func (f *Fleet) Sites(_ context.Context, filter fleet.Filter) ([]fleet.SiteRow, int, error) {
	var rows []fleet.SiteRow
	for _, s := range f.Sits {
		row := f.siteRow(s)
		if !strings.Contains(s.URI, filter.Query) || filter.State != "" && string(s.State) != filter.State ||
			filter.Behind && !row.Behind() || filter.PlatformID != 0 && s.PlatformID != filter.PlatformID ||
			filter.DistributionID != 0 && row.DistributionID != filter.DistributionID || filter.ServerID != 0 && (s.ServerID == nil || *s.ServerID != filter.ServerID) {
			continue
		}
		rows = append(rows, row)
	}
	list, total := page(rows, filter)
	return list, total, f.failing("Sites")
}

func (f *Fleet) siteRow(s models.Site) fleet.SiteRow {
	row := fleet.SiteRow{Site: s, RunningTaskID: f.RunningOnSite[s.ID]}
	for _, p := range f.Plats {
		if p.ID == s.PlatformID {
			row.Platform, row.DistributionID = p, p.DistributionID
		}
	}
	for _, d := range f.Dists {
		if d.ID != row.DistributionID {
			continue
		}
		row.DistributionName = d.Name
		for i := range f.Plats {
			if d.TargetID != nil && f.Plats[i].ID == *d.TargetID {
				row.Target = &f.Plats[i]
			}
		}
	}
	for i := range f.Moves {
		if f.Moves[i].SiteID == s.ID {
			row.LastUpgrade = &f.Moves[i]
			break
		}
	}
	for _, on := range f.Databases {
		if on.ID == s.Database.Server {
			row.DatabaseServer = on.DatabaseServer
		}
	}
	return row
}

// SiteRow gives one site's line.
func (f *Fleet) SiteRow(_ context.Context, id int64) (fleet.SiteRow, error) {
	s, err := get(f, &f.Sits, "site", func(s models.Site) bool { return s.ID == id })
	return f.siteRow(s), err
}

// SiteUpgrades lists a site's upgrades.
func (f *Fleet) SiteUpgrades(_ context.Context, id int64, _ int) ([]models.Upgrade, error) {
	var list []models.Upgrade
	for _, u := range f.Moves {
		if u.SiteID == id {
			list = append(list, u)
		}
	}
	return list, f.failing("SiteUpgrades")
}

// Tasks lists tasks.
func (f *Fleet) Tasks(_ context.Context, filter fleet.Filter) ([]models.Task, int, error) {
	list, total := page(f.jobs(func(t models.Task) bool {
		return strings.Contains(t.Title, filter.Query) && (filter.State == "" || string(t.State) == filter.State)
	}), filter)
	return list, total, f.failing("Tasks")
}

// SubjectTasks lists the tasks of some subjects.
func (f *Fleet) SubjectTasks(_ context.Context, subjects []models.Subject, _ int) ([]models.Task, error) {
	return f.jobs(func(t models.Task) bool { return slices.Contains(subjects, t.Subject) }), f.failing("SubjectTasks")
}

// QueueRows lists queues.
func (f *Fleet) QueueRows(context.Context, time.Time) ([]fleet.QueueRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.QueueList), f.Fail["QueueRows"]
}

// PlatformChoices lists the platforms that are ready.
func (f *Fleet) PlatformChoices(context.Context, int64, int) ([]models.Platform, error) {
	return slices.DeleteFunc(slices.Clone(f.Plats), func(p models.Platform) bool { return p.State != models.PlatformReady }), f.failing("PlatformChoices")
}

// PlatformsByID gives those of Plats.
func (f *Fleet) PlatformsByID(_ context.Context, ids []int64) (map[int64]models.Platform, error) {
	found := map[int64]models.Platform{}
	for _, p := range f.Plats {
		if slices.Contains(ids, p.ID) {
			found[p.ID] = p
		}
	}
	return found, f.failing("PlatformsByID")
}

// SubjectName names sites, platforms and distributions.
func (f *Fleet) SubjectName(ctx context.Context, subject models.Subject) (string, error) {
	switch subject.Kind {
	case models.SubjectSite, models.SubjectQuestion, models.SubjectNewcomer:
		row, err := f.SiteRow(ctx, subject.ID)
		return row.URI, err
	case models.SubjectPlatform:
		p, err := f.Platform(ctx, subject.ID)
		return p.Name, err
	default:
		d, err := f.Distribution(ctx, subject.ID)
		return d.Name, err
	}
}

// Queues lists queues.
func (f *Fleet) Queues(context.Context) ([]models.Queue, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []models.Queue
	for _, row := range f.QueueList {
		list = append(list, row.Queue)
	}
	return list, f.Fail["Queues"]
}

// OpenPlatforms lists the platforms that may take sites.
func (f *Fleet) OpenPlatforms(context.Context) ([]models.Platform, error) {
	var list []models.Platform
	for _, p := range f.Plats {
		if p.State == models.PlatformReady && !p.Locked {
			list = append(list, p)
		}
	}
	return list, f.failing("OpenPlatforms")
}

// Distribution gives one distribution.
func (f *Fleet) Distribution(_ context.Context, id int64) (models.Distribution, error) {
	return get(f, &f.Dists, "distribution", func(d models.Distribution) bool { return d.ID == id })
}

// CreateDistribution makes one; the same token again gives the first.
func (f *Fleet) CreateDistribution(ctx context.Context, in fleet.NewDistribution) (models.Distribution, error) {
	if err := f.called("CreateDistribution"); err != nil {
		return models.Distribution{}, err
	}
	f.mu.Lock()
	first, twin := f.onces[in.Once]
	f.mu.Unlock()
	if twin && in.Once != "" {
		return f.Distribution(ctx, first)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := models.Distribution{ID: f.nextID(), Name: in.Name, Slug: in.Slug, UpdateType: in.UpdateType, Settings: in.Settings}
	f.Dists, f.Distribution1 = append(f.Dists, d), in
	f.remember(in.Once, d.ID)
	return d, nil
}

func (f *Fleet) nextID() int64 {
	f.lastID++
	return 9000 + f.lastID
}

func (f *Fleet) remember(token string, id int64) {
	if f.onces == nil {
		f.onces = map[string]int64{}
	}
	f.onces[token] = id
}

// DeleteDistribution notes that it was called.
func (f *Fleet) DeleteDistribution(context.Context, int64) error {
	return f.called("DeleteDistribution")
}

// UpdateDistribution changes one.
func (f *Fleet) UpdateDistribution(ctx context.Context, id int64, in fleet.NewDistribution) (models.Distribution, error) {
	if err := f.called("UpdateDistribution"); err != nil {
		return models.Distribution{}, err
	}
	f.Distribution1 = in
	return f.Distribution(ctx, id)
}

// CheckNow pretends to check.
func (f *Fleet) CheckNow(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("CheckNow")
}

// TryAgain pretends to check.
func (f *Fleet) TryAgain(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("TryAgain")
}

// Pending gives what is held of a distribution that is.
func (f *Fleet) Pending(ctx context.Context, id int64) (plugins.Version, bool, error) {
	d, err := f.Distribution(ctx, id)
	if err != nil || d.Condition != models.ConditionHeld {
		return plugins.Version{}, false, err
	}
	return plugins.Version{Revision: "git:refs/tags/v10.6.1@sha1:0d3c5aa", Label: "0d3c5aa"}, true, nil
}

// Approve pretends to build what was held.
func (f *Fleet) Approve(_ context.Context, _ int64, revision string) (models.Platform, error) {
	return models.Platform{Name: "approved " + revision}, f.called("Approve")
}

// SecretsSet tells that each distribution has the secret settings of its type.
func (f *Fleet) SecretsSet(d models.Distribution) map[string]bool {
	set := map[string]bool{}
	for _, plugin := range f.Types {
		for _, field := range plugin.Fields() {
			if plugin.Info().ID == d.UpdateType && field.Kind.Secret() {
				set[field.Name] = true
			}
		}
	}
	return set
}

// HostRows lists the hosts.
func (f *Fleet) HostRows(context.Context, time.Time) ([]fleet.HostRow, error) {
	return slices.Clone(f.Hosts), f.failing("HostRows")
}

// SaveHost pretends to save.
func (f *Fleet) SaveHost(_ context.Context, h models.Host) error {
	if wrong := h.Validate(); len(wrong) > 0 {
		return &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: wrong}
	}
	return f.called("SaveHost")
}

// Platform gives one platform.
func (f *Fleet) Platform(_ context.Context, id int64) (models.Platform, error) {
	return get(f, &f.Plats, "platform", func(p models.Platform) bool { return p.ID == id })
}

// RegisterPlatform gives the first platform of the distribution.
func (f *Fleet) RegisterPlatform(_ context.Context, id int64, _, _ string) (models.Platform, error) {
	if err := f.called("RegisterPlatform"); err != nil {
		return models.Platform{}, err
	}
	return get(f, &f.Plats, "platform", func(p models.Platform) bool { return p.DistributionID == id })
}

// SetTarget is only noted.
func (f *Fleet) SetTarget(_ context.Context, _ int64) error {
	return f.called("SetTarget")
}

// LockPlatform is only noted.
func (f *Fleet) LockPlatform(_ context.Context, _ int64) error {
	return f.called("LockPlatform")
}

// UnlockPlatform is only noted.
func (f *Fleet) UnlockPlatform(_ context.Context, _ int64) error {
	return f.called("UnlockPlatform")
}

// VerifyPlatform is only noted.
func (f *Fleet) VerifyPlatform(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("VerifyPlatform")
}

// RetryBuild is only noted.
func (f *Fleet) RetryBuild(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("RetryBuild")
}

// CreateSite makes one.
func (f *Fleet) CreateSite(ctx context.Context, in fleet.NewSite) (models.Site, error) {
	if err := f.called("CreateSite"); err != nil {
		return models.Site{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Site1 = in
	if first, twin := f.onces[in.Once]; twin && in.Once != "" {
		return models.Site{ID: first, URI: in.URI}, nil
	}
	s := models.Site{ID: f.nextID(), URI: in.URI, Title: in.Title, Profile: in.Profile, PlatformID: in.PlatformID, State: models.SiteInstalling}
	f.Sits = append(f.Sits, s)
	f.remember(in.Once, s.ID)
	return s, nil
}

// VerifySite is only noted.
func (f *Fleet) VerifySite(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("VerifySite")
}

// RetryInstall is only noted.
func (f *Fleet) RetryInstall(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("RetryInstall")
}

// HoldSite is only noted.
func (f *Fleet) HoldSite(_ context.Context, _ int64, reason string, until *time.Time) error {
	f.note(reason, until)
	return f.called("HoldSite")
}

// ReleaseSite is only noted.
func (f *Fleet) ReleaseSite(_ context.Context, _ int64) error {
	return f.called("ReleaseSite")
}

// UpgradePlan gives the plan of a site.
func (f *Fleet) UpgradePlan(ctx context.Context, siteID int64) (fleet.Plan, error) {
	row, err := f.SiteRow(ctx, siteID)
	if err != nil {
		return fleet.Plan{}, err
	}
	plan := fleet.Plan{Site: row, From: row.Platform, RunningTask: f.RunningOnSite[siteID]}
	if row.Target == nil {
		return plan, models.Errorf(models.Conflict, "%s has no upgrade target yet.", row.URI)
	}
	plan.To = *row.Target
	plan.Changes = models.ComparePackages(plan.From.Packages, plan.To.Packages)
	if c, ok := f.Comparisons[siteID]; ok {
		plan.Comparison = &c
	}
	return plan, f.failing("UpgradePlan")
}

// PlatformPlan gives the plan of a platform.
func (f *Fleet) PlatformPlan(ctx context.Context, id int64) (fleet.PlatformPlan, error) {
	row, err := f.PlatformRow(ctx, id)
	if err != nil {
		return fleet.PlatformPlan{}, err
	}
	plan := fleet.PlatformPlan{Platform: row, From: row.Platform, RunningTask: f.RunningOnPlats[id]}
	if row.TargetID == nil {
		return plan, models.Errorf(models.Conflict, "%s has no upgrade target yet.", row.DistributionName)
	}
	if plan.To, err = f.Platform(ctx, *row.TargetID); err != nil {
		return plan, err
	}
	plan.Changes = models.ComparePackages(plan.From.Packages, plan.To.Packages)
	for _, s := range f.Sits {
		if r := f.siteRow(s); s.PlatformID == id && r.Behind() {
			plan.Sites = append(plan.Sites, r)
			if c, ok := f.Comparisons[s.ID]; ok {
				plan.Compared++
				plan.Updates += min(1, len(c.Updates))
			}
		}
	}
	return plan, nil
}

// CompareNow gives the newest task that compares.
func (f *Fleet) CompareNow(_ context.Context, _ int64) (models.Task, error) {
	if err := f.called("CompareNow"); err != nil {
		return models.Task{}, err
	}
	return get(f, &f.Jobs, "task", func(t models.Task) bool { return t.Kind == models.TaskCompare })
}

// UpgradeSite gives the newest upgrade's task.
func (f *Fleet) UpgradeSite(_ context.Context, _, _ int64) (models.Task, error) {
	if err := f.called("UpgradeSite"); err != nil {
		return models.Task{}, err
	}
	return get(f, &f.Jobs, "task", func(t models.Task) bool { return t.Kind == models.TaskUpgrade })
}

// UpgradePlatform gives the newest such task.
func (f *Fleet) UpgradePlatform(_ context.Context, _, _ int64) (models.Task, error) {
	if err := f.called("UpgradePlatform"); err != nil {
		return models.Task{}, err
	}
	return get(f, &f.Jobs, "task", func(t models.Task) bool { return t.Kind == models.TaskUpgradePlatform })
}

// Task gives one task.
func (f *Fleet) Task(_ context.Context, id int64) (models.Task, error) {
	return get(f, &f.Jobs, "task", func(t models.Task) bool { return t.ID == id })
}

// Children lists the tasks of a parent.
func (f *Fleet) Children(_ context.Context, id int64) ([]models.Task, error) {
	return f.jobs(func(t models.Task) bool { return t.ParentID != nil && *t.ParentID == id }), f.failing("Children")
}

// Lines gives lines of a log.
func (f *Fleet) Lines(_ context.Context, taskID, after int64, limit int) ([]models.TaskLine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []models.TaskLine
	for _, l := range f.Log {
		if l.TaskID == taskID && l.ID > after && len(lines) < limit {
			lines = append(lines, l)
		}
	}
	return lines, f.Fail["Lines"]
}

// Follow tells when a task's log grows.
func (f *Fleet) Follow(taskID int64) (<-chan struct{}, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch := make(chan struct{}, 1)
	if f.followers == nil {
		f.followers = map[int64][]chan struct{}{}
	}
	f.followers[taskID] = append(f.followers[taskID], ch)
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.followers[taskID] = slices.DeleteFunc(f.followers[taskID], func(c chan struct{}) bool { return c == ch })
	}
}

// Followers tells how many follow a task.
func (f *Fleet) Followers(taskID int64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.followers[taskID])
}

// Append adds a line to a log and wakes those who follow it.
func (f *Fleet) Append(line models.TaskLine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Log = append(f.Log, line)
	for _, ch := range f.followers[line.TaskID] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Finish ends a task.
func (f *Fleet) Finish(taskID int64, state models.TaskState, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.Jobs {
		if f.Jobs[i].ID == taskID {
			f.Jobs[i].State, f.Jobs[i].Message = state, message
		}
	}
}

// CancelTask is only noted.
func (f *Fleet) CancelTask(_ context.Context, _ int64) error {
	return f.called("CancelTask")
}

// UpgradeOfTask gives the upgrade of a task.
func (f *Fleet) UpgradeOfTask(_ context.Context, taskID int64) (models.Upgrade, error) {
	return get(f, &f.Moves, "upgrade", func(u models.Upgrade) bool { return u.TaskID == taskID })
}

// UpgradeSteps lists the steps of an upgrade.
func (f *Fleet) UpgradeSteps(_ context.Context, id int64) ([]models.UpgradeStep, error) {
	var list []models.UpgradeStep
	for _, s := range f.Steps {
		if s.UpgradeID == id {
			list = append(list, s)
		}
	}
	return list, nil
}

// SaveQueue changes a queue.
func (f *Fleet) SaveQueue(_ context.Context, q models.Queue) error {
	if err := f.called("SaveQueue"); err != nil {
		return err
	}
	if wrong := q.Validate(); len(wrong) > 0 {
		return &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: wrong}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.QueueList {
		if f.QueueList[i].UpdateType == q.UpdateType {
			f.QueueList[i].Every, f.QueueList[i].AtOnce = q.Every, q.AtOnce
			return nil
		}
	}
	return missing("queue")
}

// PauseQueue is only noted.
func (f *Fleet) PauseQueue(_ context.Context, _ string, _ bool) error {
	return f.called("PauseQueue")
}

// RunQueueNow is only noted.
func (f *Fleet) RunQueueNow(_ context.Context, _ string) (int, error) {
	return 2, f.called("RunQueueNow")
}

// Login compares with Users.
func (f *Fleet) Login(_ context.Context, name, password, _ string) (models.User, error) {
	if err := f.called("Login"); err != nil {
		return models.User{}, err
	}
	if want, ok := f.Users[name]; !ok || want != password {
		return models.User{}, models.Errorf(models.Forbidden, "Name or password is wrong.")
	}
	return f.entering(name), nil
}

// UseLoginLink uses a link up.
func (f *Fleet) UseLoginLink(_ context.Context, token string) (models.User, error) {
	if err := f.called("UseLoginLink"); err != nil {
		return models.User{}, err
	}
	f.mu.Lock()
	name, ok := f.Links[token]
	delete(f.Links, token)
	f.mu.Unlock()
	if !ok {
		return models.User{}, models.Errorf(models.NotFound, "This link was used already or is too old. Ask for a new one.")
	}
	return f.entering(name), nil
}

// UpdateTypes lists Types.
func (f *Fleet) UpdateTypes() []plugins.Plugin { return f.Types }

// SiteURL is an address for a site.
func (f *Fleet) SiteURL(site models.Site) string { return "http://" + site.URI + ":8080/" }

// Type is an update type that only has a form.
type Type struct {
	About    plugins.Info
	Settings []plugins.Field
}

// Info names it.
func (t Type) Info() plugins.Info { return t.About }

// Fields lists its settings.
func (t Type) Fields() []plugins.Field { return t.Settings }

// Open has nothing to open.
func (Type) Open(settings models.Settings) (plugins.Source, error) {
	return nil, models.Errorf(models.Invalid, "nothing to open with %d settings", len(maps.Clone(settings)))
}
