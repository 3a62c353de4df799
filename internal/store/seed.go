package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"hefring/models"
)

// SeedSize says how many rows Seed makes, and which: the same Random makes the
// same rows, but for their times, which end now.
type SeedSize struct {
	Distributions, Platforms, Sites, Tasks, Events int
	Random                                         uint64
}

// Seed fills an empty database with an invented fleet, to see how pages do at
// size. Nothing of it is on any disk and nothing of it is due: queues are paused,
// and what a clock would start waits for a year. Conflict: the database has rows
// of a fleet already.
func (s *Store) Seed(ctx context.Context, size SeedSize) error {
	if err := s.unused(ctx); err != nil {
		return err
	}
	t, err := s.engine.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer t.end()
	g := newSeeder(size)
	g.db, g.tx = s.db, t.native
	if err := g.all(ctx); err != nil {
		return fmt.Errorf("seed database: %w", err)
	}
	if err := t.commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	if s.engine.pool() == nil {
		return s.weigh(ctx)
	}
	// What the server does by itself after a while.
	if err := s.with(ctx).Exec("VACUUM ANALYZE").Error; err != nil {
		return fmt.Errorf("analyze database: %w", err)
	}
	return nil
}

// unused answers Conflict when the database has rows of a fleet.
func (s *Store) unused(ctx context.Context) error {
	for _, model := range []any{&models.Distribution{}, &models.Platform{}, &models.Site{}, &models.Task{}, &models.Client{}} {
		var found int64
		if err := s.with(ctx).Model(model).Select("1").Limit(1).Scan(&found).Error; err != nil {
			return fmt.Errorf("look whether the database is empty: %w", err)
		}
		if found != 0 {
			return models.Errorf(models.Conflict, "This database has a fleet already. Only an empty one is filled with an invented fleet; name a new one with --database.")
		}
	}
	return nil
}

// seeder makes up a fleet. Rows refer to each other by numbers that follow from
// their place, so that none has to be kept.
type seeder struct {
	SeedSize

	db   *gorm.DB
	tx   any // *sql.Tx or pgx.Tx
	r    *rand.Rand
	now  time.Time
	span time.Duration // how long ago it began

	families  int     // distributions that have platforms
	platforms []int64 // distribution of each platform
	states    []models.PlatformState
	of        [][]int64 // ready platforms of each family, oldest first
	homes     []int64   // platform of each site
	clients   int
}

func newSeeder(size SeedSize) *seeder {
	return &seeder{SeedSize: size, r: rand.New(rand.NewPCG(size.Random, 0)), now: now(), span: 90 * 24 * time.Hour} //nolint:gosec // an invented fleet needs no secrets
}

func (g *seeder) all(ctx context.Context) error {
	g.plan()
	if _, ok := g.tx.(pgx.Tx); ok { // it writes search indexes in few large parts then
		if err := g.exec(ctx, "SET LOCAL gin_pending_list_limit = '128MB'; SET LOCAL maintenance_work_mem = '256MB'"); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return sow(ctx, g, g.queues()) },
		func(ctx context.Context) error { return sow(ctx, g, g.hosts()) },
		func(ctx context.Context) error { return sow(ctx, g, g.upstreams()) },
		func(ctx context.Context) error { return sow(ctx, g, g.distributions()) },
		func(ctx context.Context) error { return sow(ctx, g, g.webhooks()) },
		func(ctx context.Context) error { return sow(ctx, g, g.deliveries()) },
		func(ctx context.Context) error { return sow(ctx, g, g.platformRows()) },
		g.promote,
		func(ctx context.Context) error { return sow(ctx, g, g.clientRows()) },
		func(ctx context.Context) error { return sow(ctx, g, g.servers()) },
		func(ctx context.Context) error { return sow(ctx, g, g.siteRows()) },
		func(ctx context.Context) error { return sow(ctx, g, g.names()) },
		func(ctx context.Context) error { return sow(ctx, g, g.tasks()) },
		func(ctx context.Context) error { return sow(ctx, g, g.lines()) },
		func(ctx context.Context) error { return sow(ctx, g, g.upgrades()) },
		func(ctx context.Context) error { return sow(ctx, g, g.steps()) },
		func(ctx context.Context) error { return sow(ctx, g, g.backups()) },
		func(ctx context.Context) error { return sow(ctx, g, g.checks()) },
		func(ctx context.Context) error { return sow(ctx, g, g.events()) },
		g.sequences,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// plan draws which distribution each platform and which platform each site has:
// few are popular, most are not.
func (g *seeder) plan() {
	g.families = min(max(g.Platforms/4, 1), g.Distributions)
	g.clients = g.Sites / 400
	g.of = make([][]int64, g.families)
	for i := range g.Platforms {
		family := i % g.families
		if i >= 2*g.families { // the first rounds give everybody one
			family = g.popular(g.families)
		}
		state := g.state(i)
		g.platforms, g.states = append(g.platforms, int64(family+1)), append(g.states, state)
		if state == models.PlatformReady {
			g.of[family] = append(g.of[family], int64(i+1))
		}
	}
	for range g.Sites {
		ready := g.of[g.popular(g.families)]
		i := len(ready) - 1
		if i > 0 && g.chance(18) {
			i -= 1 + g.r.IntN(min(i, 3))
		}
		g.homes = append(g.homes, ready[i])
	}
}

func (g *seeder) state(platform int) models.PlatformState {
	switch {
	case platform < g.families: // every family has a ready one
		return models.PlatformReady
	case g.chance(4):
		return models.PlatformFailed
	case g.chance(6):
		return models.PlatformDeleted
	}
	return models.PlatformReady
}

// chance is true in so many of a hundred draws.
func (g *seeder) chance(percent int) bool { return g.r.IntN(100) < percent }

// permille is chance of a thousand.
func (g *seeder) permille(n int) bool { return g.r.IntN(1000) < n }

// popular draws a number below n, small ones far more often.
func (g *seeder) popular(n int) int {
	f := g.r.Float64()
	return int(f * f * f * float64(n))
}

// past draws a moment since the begin.
func (g *seeder) past() time.Time {
	return g.now.Add(-time.Duration(g.r.Int64N(int64(g.span)))).Truncate(time.Microsecond)
}

// moment is when the i-th of n things happened that follow each other.
func (g *seeder) moment(i, n int) time.Time {
	step := g.span / time.Duration(max(n, 1))
	return g.now.Add(-step * time.Duration(n-i)).Truncate(time.Microsecond)
}

func (g *seeder) later() *time.Time {
	at := g.now.AddDate(1, 0, g.r.IntN(30))
	return &at
}

func oneOf[T any](g *seeder, list ...T) T { return list[g.r.IntN(len(list))] }

// word draws one of the words that names are made of.
func (g *seeder) word() string {
	return oneOf(g, "harbour", "museum", "library", "garden", "meadow", "gallery", "theatre", "college", "clinic", "bakery", "orchard", "market",
		"observatory", "archive", "festival", "quarry", "lagoon", "cathedral", "station", "village", "council", "forest", "river", "bridge",
		"lighthouse", "workshop", "kindergarten", "academy", "institute", "foundation", "brewery", "vineyard", "castle", "island", "valley", "summit")
}

func (g *seeder) queues() iter.Seq[models.Queue] {
	return func(yield func(models.Queue) bool) {
		for _, id := range seededTypes() {
			if !yield(models.Queue{UpdateType: id, Every: 5 * time.Minute, AtOnce: 16, Paused: true}) {
				return
			}
		}
	}
}

func seededTypes() []string { return []string{"git", "composer", "stock", "makefile"} }

// seededHosts is at how many hosts the upstreams are.
const seededHosts = 40

func hostName(i int64) string { return fmt.Sprintf("git%d.example.org", i%seededHosts) }

func (g *seeder) hosts() iter.Seq[models.Host] {
	return func(yield func(models.Host) bool) {
		for i := range int64(seededHosts) {
			if !yield(models.NewHost(hostName(i), g.now)) {
				return
			}
		}
	}
}

// upstreamOf is shared by two distributions here and there.
func upstreamOf(distribution int64) int64 { return distribution - (distribution+1)%10/9 }

// byHand are distributions whose platforms a person registers.
func byHand(distribution int64) bool { return distribution%50 == 25 }

func (g *seeder) typeOf(distribution int64) string {
	if byHand(distribution) {
		return "manual"
	}
	return seededTypes()[upstreamOf(distribution)%int64(len(seededTypes()))]
}

func (g *seeder) upstreams() iter.Seq[models.Upstream] {
	return func(yield func(models.Upstream) bool) {
		for i := range int64(g.Distributions) {
			id := i + 1
			if upstreamOf(id) != id || byHand(id) {
				continue
			}
			last := g.past()
			u := models.Upstream{
				ID: id, UpdateType: g.typeOf(id), Key: fmt.Sprintf("https://%s/fleet/%d.git", hostName(id), id), Host: hostName(id),
				NextCheckAt: g.later(), LastCheckAt: &last, LastChangeAt: last, CreatedAt: g.now.Add(-g.span),
			}
			if g.permille(10) {
				u.Failures, u.Stalled, u.Reason, u.Message = 3, true, models.ReasonAuthentication, "The source refuses the credential."
			}
			if !yield(u) {
				return
			}
		}
	}
}

func distributionName(id int64, word string) string {
	return fmt.Sprintf("%s%s %d", strings.ToUpper(word[:1]), word[1:], id)
}

func (g *seeder) distributions() iter.Seq[models.Distribution] {
	return func(yield func(models.Distribution) bool) {
		for i := range int64(g.Distributions) {
			id, last, upstream := i+1, g.past(), upstreamOf(i+1)
			name := distributionName(id, g.word())
			d := models.Distribution{
				ID: id, Name: name, Slug: models.Slugify(name), UpdateType: g.typeOf(id), UpstreamID: &upstream,
				Settings: models.Settings{"url": fmt.Sprintf("https://%s/fleet/%d.git", hostName(id), upstream), "ref": "main"},
				Observed: fmt.Sprintf("git:refs/heads/main@sha1:%040x", id), Condition: models.ConditionNew,
				CreatedAt: g.now.Add(-g.span), UpdatedAt: last,
			}
			if byHand(id) {
				d.UpstreamID, d.Settings, d.Observed = nil, nil, ""
			}
			if int(i) < g.families {
				d.Condition, d.LastCheckAt = models.ConditionCurrent, &last
			}
			switch {
			case g.permille(15):
				d.Condition, d.Reason, d.ReasonCode = models.ConditionFailing, "The source does not answer.", models.ReasonUnreachable
			case g.permille(5):
				d.Condition, d.Reason, d.ReasonCode = models.ConditionHeld, "The tag was moved at the source.", models.ReasonTagMoved
			}
			if !yield(d) {
				return
			}
		}
	}
}

// hooked is every how many distributions one has a webhook.
const hooked = 20

func (g *seeder) webhooks() iter.Seq[models.Webhook] {
	return func(yield func(models.Webhook) bool) {
		for i := range int64(g.Distributions / hooked) {
			at := g.past()
			w := models.Webhook{ID: i + 1, DistributionID: i*hooked + 1, Address: fmt.Sprintf("%026d", i), Provider: models.ProviderGitHub, HookAt: &at, CreatedAt: g.now.Add(-g.span), UpdatedAt: at}
			if !yield(w) {
				return
			}
		}
	}
}

func (g *seeder) deliveries() iter.Seq[models.Delivery] {
	return func(yield func(models.Delivery) bool) {
		n := g.Distributions / hooked
		for i := range 20 * n {
			d := models.Delivery{ID: int64(i + 1), WebhookID: int64(i%n) + 1, Key: fmt.Sprintf("id:%d", i), Event: "push", Ref: "main", Outcome: models.DeliveryAccepted, Sender: "192.0.2.7", Times: 1, At: g.moment(i, 20*n)}
			if !yield(d) {
				return
			}
		}
	}
}

// seededServers is how many database servers there are.
const seededServers = 5

func (g *seeder) servers() iter.Seq[models.DatabaseServer] {
	return func(yield func(models.DatabaseServer) bool) {
		for i := range int64(seededServers) {
			d := models.DatabaseServer{
				ID: i + 1, Name: fmt.Sprintf("db%d", i+1), Engine: models.EngineMySQL, Host: fmt.Sprintf("db%d.example.org", i+1), User: "hefring", TLS: models.TLSOff,
				Clients: "%", Prefix: "hefring", Default: i == 0, Version: "10.11", TestedAt: &g.now, CreatedAt: g.now.Add(-g.span), UpdatedAt: g.now,
			}
			if i == seededServers-1 {
				d.Reason = "It does not answer."
			}
			if !yield(d) {
				return
			}
		}
	}
}

// packageList is as long as a real Drupal's.
func (g *seeder) packageList(version string) []models.Package {
	list := []models.Package{{Name: "drupal", Type: "core", Version: version, Schema: 10400}}
	for i := range 70 {
		list = append(list, models.Package{
			Name: fmt.Sprintf("%s_%d", g.word(), i), Type: oneOf(g, "module", "module", "module", "theme", "library"),
			Version: fmt.Sprintf("%d.%d.%d", 1+i%8, g.r.IntN(20), g.r.IntN(10)), Schema: 8000 + g.r.IntN(100),
		})
	}
	return list
}

func (g *seeder) platformRows() iter.Seq[models.Platform] {
	return func(yield func(models.Platform) bool) {
		for i, distribution := range g.platforms {
			at, version := g.moment(i, g.Platforms), fmt.Sprintf("10.%d.%d", 3+4*i/g.Platforms, g.r.IntN(12))
			name := fmt.Sprintf("platform-%d-%s-%07x", distribution, version, i+1)
			p := models.Platform{
				ID: int64(i + 1), DistributionID: distribution, Server: "local", Name: name,
				Revision: fmt.Sprintf("git:refs/heads/main@sha1:%040x", i+1), Content: fmt.Sprintf("tree:%040x", i+1), BuildKey: fmt.Sprintf("%064x", i+1),
				Label: fmt.Sprintf("%07x", i+1), Note: "Update Drupal to " + version, DrupalVersion: version, PHPVersion: "8.3",
				Packages: g.packageList(version), Profiles: []string{"standard", "minimal"}, ManifestDigest: fmt.Sprintf("%064x", i+1),
				Files: 18_000, Bytes: 140 << 20, State: g.states[i], BuiltAt: &at, CreatedAt: at, UpdatedAt: at,
				Root: "/nowhere/" + name, Docroot: "web", Locked: true,
			}
			if p.State == models.PlatformFailed {
				p.Root, p.BuiltAt, p.Reason = "", nil, "composer install failed: a package asks for another version of PHP."
			}
			if p.State == models.PlatformReady && g.permille(20) {
				p.Standing = []models.Finding{{Kind: models.FindingInsecure, Package: "drupal", Version: version, Title: "A security release mends it.", Severity: "high"}}
				p.AtRisk = true
			}
			if !yield(p) {
				return
			}
		}
	}
}

// promote makes the newest ready platform of each distribution its target.
func (g *seeder) promote(ctx context.Context) error {
	const newest = "(SELECT MAX(p.id) FROM platforms p WHERE p.distribution_id = distributions.id AND p.state = 'ready')"
	for _, statement := range []string{
		"UPDATE distributions SET target_id = " + newest,
		"UPDATE distributions SET signature = (SELECT p.revision FROM platforms p WHERE p.id = distributions.target_id) WHERE target_id IS NOT NULL",
		"UPDATE platforms SET locked = false WHERE id IN (SELECT target_id FROM distributions)",
	} {
		if err := g.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (g *seeder) clientRows() iter.Seq[models.Client] {
	return func(yield func(models.Client) bool) {
		for i := range g.clients {
			if !yield(models.Client{ID: int64(i + 1), Name: fmt.Sprintf("%s %d", g.word(), i+1), CreatedAt: g.now.Add(-g.span)}) {
				return
			}
		}
	}
}

func siteURI(id int64) string {
	words := []string{"harbour", "museum", "library", "garden", "meadow", "gallery", "theatre", "college", "clinic", "bakery", "orchard", "market"}
	n := int64(len(words))
	// Neighbours in the list are not neighbours in the table.
	return fmt.Sprintf("%s-%s-%d.example.%s", words[id*7%n], words[id*5%(n-1)], id, []string{"org", "com", "net"}[id%3])
}

// aliased are sites with a second address.
func aliased(id int64) bool { return id%5 == 0 }

func (g *seeder) siteRows() iter.Seq[models.Site] {
	return func(yield func(models.Site) bool) {
		for i, platform := range g.homes {
			id, at := int64(i+1), g.past()
			site := models.Site{
				ID: id, URI: siteURI(id), PlatformID: platform, Server: "local", Database: models.Database{Engine: models.EngineSQLite, Name: fmt.Sprintf("/nowhere/%d/content.sqlite", id)},
				Profile: "standard", Title: fmt.Sprintf("The %s of the %s", g.word(), g.word()), State: models.SiteEnabled,
				BackupEvery: 24 * time.Hour, BackupKeep: 7, BackupNextAt: g.later(), CreatedAt: g.now.Add(-g.span), UpdatedAt: at,
			}
			if server := id % 10; server >= 1 && server <= seededServers {
				site.DatabaseServerID = &server
				site.Database = models.Database{Engine: models.EngineMySQL, Name: fmt.Sprintf("hefring_%d", id), Server: server, User: fmt.Sprintf("hefring_%d", id)}
			}
			if aliased(id) {
				site.Aliases = []string{"www." + site.URI}
			}
			if g.clients > 0 && g.chance(60) {
				client := int64(g.popular(g.clients) + 1)
				site.ClientID = &client
			}
			g.trouble(&site)
			if !yield(site) {
				return
			}
		}
	}
}

// trouble lets some sites stand as they do in life.
func (g *seeder) trouble(site *models.Site) {
	switch {
	case g.permille(20):
		site.State = models.SiteDisabled
	case g.permille(3):
		site.State, site.Reason = models.SiteBroken, "It answers with status 500 since its last upgrade."
	case g.permille(30):
		site.Held, site.HeldReason = true, "The theme does not work with the new version yet."
	case g.permille(5):
		site.State = models.SiteDeleted
	case g.r.IntN(max(g.Sites/20, 1)) == 0:
		site.State = oneOf(g, models.SiteInstalling, models.SiteUpgrading)
	}
}

// names gives host names to sites, also to deleted ones: nobody else wants them.
func (g *seeder) names() iter.Seq[siteName] {
	return func(yield func(siteName) bool) {
		for i := range int64(g.Sites) {
			id := i + 1
			if !yield(siteName{siteURI(id), id}) || aliased(id) && !yield(siteName{"www." + siteURI(id), id}) {
				return
			}
		}
	}
}

// quiet is the first of the tasks of the last hour. Only from then on there are
// looks at sources that found nothing, and most tasks are such: they are deleted
// when an hour is over.
func (g *seeder) quiet() int { return g.Tasks - g.Tasks/20 }

// taskAt is when the i-th task was made.
func (g *seeder) taskAt(i int) time.Time {
	quiet, lately := g.quiet(), 50*time.Minute
	if i < quiet {
		return g.moment(i, quiet).Add(-time.Hour)
	}
	n := max(g.Tasks-quiet, 1)
	return g.now.Add(-lately / time.Duration(n) * time.Duration(g.Tasks-i)).Truncate(time.Microsecond)
}

// taskKind gives the kinds of tasks in an order that goes on and on. Each upgrade
// task has its upgrade, each backup its backup.
func (g *seeder) taskKind(i int) models.TaskKind {
	if i >= g.quiet() && i%10 < 7 {
		return models.TaskCheck
	}
	switch i % 10 {
	case 0, 3, 7:
		return models.TaskUpgrade
	case 1, 2, 5, 9:
		return models.TaskBackup
	case 4:
		return models.TaskBuild
	}
	return []models.TaskKind{models.TaskVerify, models.TaskDisable, models.TaskEnable, models.TaskConfigure}[i/10%4]
}

// seededOpen is how many tasks at the end may be queued or running. Nobody works on
// them.
const seededOpen = 24

// taskSite is the site of the i-th task; every site has some.
func (g *seeder) taskSite(i int) int64 { return int64(i*7919%g.Sites) + 1 }

func (g *seeder) taskSubject(i int, kind models.TaskKind) models.Subject {
	if kind == models.TaskBuild || kind == models.TaskVerify {
		return models.Subject{Kind: models.SubjectPlatform, ID: int64(i%g.Platforms) + 1}
	}
	if kind != models.TaskCheck {
		return models.Subject{Kind: models.SubjectSite, ID: g.taskSite(i)}
	}
	distribution := int64(i%g.Distributions) + 1
	if byHand(distribution) {
		distribution--
	}
	return models.Subject{Kind: models.SubjectUpstream, ID: upstreamOf(distribution)}
}

// ends draws how the i-th task ended. It is the same whoever asks.
func (g *seeder) ends(i int) models.TaskState {
	own := rand.New(rand.NewPCG(g.Random, uint64(i)+1)) //nolint:gosec // an invented fleet
	kind := g.taskKind(i)
	switch n := own.IntN(1000); {
	case n < 12:
		return models.TaskFailed
	case n < 20 && kind == models.TaskUpgrade:
		return models.TaskRecovered
	case n < 26:
		return models.TaskCancelled
	case n < 40:
		return models.TaskWarning
	}
	return models.TaskSucceeded
}

func (g *seeder) tasks() iter.Seq[models.Task] {
	return func(yield func(models.Task) bool) {
		open := map[models.Subject]bool{}
		for i := range g.Tasks {
			if !yield(g.task(i, open)) {
				return
			}
		}
	}
}

func (g *seeder) task(i int, open map[models.Subject]bool) models.Task {
	kind, at := g.taskKind(i), g.taskAt(i)
	end := at.Add(time.Duration(1+g.r.IntN(90)) * time.Second)
	t := models.Task{
		ID: int64(i + 1), Kind: kind, Subject: g.taskSubject(i, kind), Attempt: 1, Actor: oneOf(g, "ada", "admin", "operator"),
		State: g.ends(i), CreatedAt: at, StartedAt: &at, EndedAt: &end,
	}
	switch t.Subject.Kind {
	case models.SubjectUpstream:
		t.Title, t.Actor, t.Message = fmt.Sprintf("Check source %d", t.Subject.ID), queueActor, "Nothing changed."
	case models.SubjectPlatform:
		t.Title, t.Message = fmt.Sprintf("%s platform %d", kind, t.Subject.ID), "Every file is as it was built."
	default:
		t.Title, t.Message = fmt.Sprintf("%s %s", kind, siteURI(t.Subject.ID)), "Done."
	}
	if t.State == models.TaskFailed {
		t.Message = "A program ended with code 1. The log has its last words."
	}
	if i >= g.Tasks-seededOpen && !open[t.Subject] && kind != models.TaskUpgrade {
		open[t.Subject] = true
		t.State, t.Message, t.EndedAt = oneOf(g, models.TaskQueued, models.TaskRunning), "", nil
	}
	return t
}

// Of the newest tasks this many have a log, of this many lines.
const (
	loggedTasks = 3000
	loggedLines = 20
)

func (g *seeder) lines() iter.Seq[models.TaskLine] {
	return func(yield func(models.TaskLine) bool) {
		id := int64(0)
		for i := max(g.Tasks-loggedTasks, 0); i < g.Tasks; i++ {
			at := g.taskAt(i)
			for n := range loggedLines {
				id++
				line := models.TaskLine{ID: id, TaskID: int64(i + 1), At: at.Add(time.Duration(n) * time.Second), Level: models.LevelOut, Text: fmt.Sprintf("Line %d: %s and %s are as they should be.", n+1, g.word(), g.word())}
				if !yield(line) {
					return
				}
			}
		}
	}
}

// each gives the numbers of tasks of a kind.
func (g *seeder) each(kind models.TaskKind) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range g.Tasks {
			if g.taskKind(i) == kind && !yield(i) {
				return
			}
		}
	}
}

func (g *seeder) upgrades() iter.Seq[models.Upgrade] {
	return func(yield func(models.Upgrade) bool) {
		id := int64(0)
		for i := range g.each(models.TaskUpgrade) {
			id++
			if !yield(g.upgrade(id, i)) {
				return
			}
		}
	}
}

func (g *seeder) upgrade(id int64, i int) models.Upgrade {
	site, at := g.taskSite(i), g.taskAt(i)
	home := g.homes[site-1]
	family := g.of[g.platforms[home-1]-1]
	end := at.Add(time.Minute)
	u := models.Upgrade{
		ID: id, Kind: models.KindUpgrade, TaskID: int64(i + 1), SiteID: site, FromID: family[0], ToID: home, Mode: models.ModeDatabase,
		State: models.UpgradeSucceeded, Switched: true, ReadOnly: time.Duration(2+g.r.IntN(20)) * time.Second,
		OldDatabase: models.Database{Engine: models.EngineSQLite, Name: fmt.Sprintf("/nowhere/%d/old.sqlite", site)},
		NewDatabase: models.Database{Engine: models.EngineSQLite, Name: fmt.Sprintf("/nowhere/%d/content.sqlite", site)},
		Updates:     []models.PendingUpdate{{Name: "node_update_10201", Module: "node", Kind: "hook_update_n", Description: "Adds an index."}},
		StartedAt:   &at, EndedAt: &end, CreatedAt: at, DroppedOldAt: &end,
	}
	switch g.ends(i) {
	case models.TaskRecovered, models.TaskFailed:
		u.State, u.Switched, u.FailedStep, u.Reason, u.ToID = models.UpgradeRecovered, false, models.StepUpdate, "node_update_10201 ended with an error.", family[len(family)-1]
	case models.TaskCancelled:
		u.State, u.Switched = models.UpgradeCancelled, false
	case models.TaskSucceeded, models.TaskWarning, models.TaskQueued, models.TaskRunning:
	}
	return u
}

// steppedUpgrades is how many of the newest upgrades have their journal.
const steppedUpgrades = 500

func (g *seeder) steps() iter.Seq[models.UpgradeStep] {
	return func(yield func(models.UpgradeStep) bool) {
		total := int64(0)
		for range g.each(models.TaskUpgrade) {
			total++
		}
		names := models.StepsOf(models.KindUpgrade, models.ModeDatabase)
		id := int64(0)
		for upgrade := max(total-steppedUpgrades, 0) + 1; upgrade <= total; upgrade++ {
			for _, name := range names {
				id++
				if !yield(models.UpgradeStep{ID: id, UpgradeID: upgrade, Name: name, State: models.StepDone, Message: "As it should be.", StartedAt: &g.now, EndedAt: &g.now}) {
					return
				}
			}
		}
	}
}

func (g *seeder) backups() iter.Seq[models.Backup] {
	return func(yield func(models.Backup) bool) {
		id := int64(0)
		for i := range g.each(models.TaskBackup) {
			id++
			site, at := g.taskSite(i), g.taskAt(i)
			b := models.Backup{
				ID: id, SiteID: site, TaskID: int64(i + 1), URI: siteURI(site), PlatformID: g.homes[site-1], Purpose: models.BackupSchedule, State: models.BackupReady,
				Path: fmt.Sprintf("/nowhere/backups/%d.tar.gz", id), Engine: models.EngineSQLite, DrupalVersion: "10.6.2", Profile: "standard",
				Bytes: 40 << 20, Digest: fmt.Sprintf("%064x", id), Tables: 72, Files: 900, CreatedAt: at, EndedAt: &at, Keep: true,
			}
			if g.ends(i) == models.TaskFailed {
				b.State, b.Path, b.Digest, b.Reason = models.BackupDeleted, "", "", "The disk was full."
			}
			if !yield(b) {
				return
			}
		}
	}
}

func (g *seeder) checks() iter.Seq[models.Check] {
	return func(yield func(models.Check) bool) {
		for i := range int64(2 * g.Distributions) {
			distribution, at := i%int64(g.Distributions)+1, g.past()
			c := models.Check{
				ID: i + 1, DistributionID: distribution, Trigger: models.TriggerQueue, Outcome: models.CheckUnchanged, Times: 1 + g.r.IntN(500),
				StartedAt: at, EndedAt: at, Took: 80 * time.Millisecond, Requests: 1, Received: 400,
				OldRevision: fmt.Sprintf("git:refs/heads/main@sha1:%040x", distribution), NewRevision: fmt.Sprintf("git:refs/heads/main@sha1:%040x", distribution),
			}
			if !yield(c) {
				return
			}
		}
	}
}

func (g *seeder) events() iter.Seq[models.Event] {
	return func(yield func(models.Event) bool) {
		for i := range g.Events {
			e := models.Event{ID: int64(i + 1), At: g.moment(i, g.Events), Actor: oneOf(g, "ada", "admin", "operator", machine), Verb: "place", Subject: siteSubject(int64(g.r.IntN(g.Sites)) + 1)}
			switch i % 4 {
			case 0:
				e.Verb, e.Text = "backup ready", ""
			case 1:
				e.Verb, e.Subject = "unlock", platformSubject(int64(g.r.IntN(g.Platforms))+1)
				e = e.Moved("locked", "unlocked")
			case 2:
				e.Verb, e.Text = "upgrade succeeded", "Moved to the upgrade target."
				e = e.Moved(string(models.SiteUpgrading), string(models.SiteEnabled))
			}
			if e.Door = models.DoorTask; e.Actor != machine {
				e.Door, e.Address = oneOf(g, models.DoorPage, models.DoorPage, models.DoorAPI, models.DoorCommand), fmt.Sprintf("192.0.2.%d", g.r.IntN(200))
			}
			if !yield(e) {
				return
			}
		}
	}
}

// sequences lets the database give numbers after those that are taken.
func (g *seeder) sequences(ctx context.Context) error {
	if _, ok := g.tx.(pgx.Tx); !ok {
		return nil // SQLite looks by itself
	}
	for _, table := range []string{"upstreams", "distributions", "platforms", "clients", "sites", "tasks", "task_lines", "upgrades", "upgrade_steps", "backups", "checks", "events", "webhooks", "deliveries", "database_servers"} {
		statement := "SELECT setval(pg_get_serial_sequence('" + table + "', 'id'), COALESCE((SELECT MAX(id) FROM " + table + "), 0) + 1, false)"
		if err := g.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (g *seeder) exec(ctx context.Context, statement string) error {
	var err error
	switch tx := g.tx.(type) {
	case pgx.Tx:
		_, err = tx.Exec(ctx, statement)
	case *sql.Tx:
		_, err = tx.ExecContext(ctx, statement)
	}
	return err
}

// sow stores rows the fastest way that the database has.
func sow[T any](ctx context.Context, g *seeder, rows iter.Seq[T]) error {
	s := &gorm.Statement{DB: g.db}
	if err := s.Parse(new(T)); err != nil {
		return err
	}
	fields := slices.DeleteFunc(slices.Clone(s.Schema.Fields), func(f *schema.Field) bool { return f.DBName == "" })
	columns := make([]string, 0, len(fields))
	for _, f := range fields {
		columns = append(columns, f.DBName)
	}
	values := func(yield func([]any) bool) {
		for row := range rows {
			if !yield(sowValues(ctx, fields, reflect.ValueOf(&row).Elem())) {
				return
			}
		}
	}
	var err error
	switch tx := g.tx.(type) {
	case pgx.Tx:
		err = sowByCopy(ctx, tx, s.Schema.Table, columns, values)
	case *sql.Tx:
		err = sowByInsert(ctx, tx, s.Schema.Table, columns, values)
	}
	if err != nil {
		return fmt.Errorf("fill %s: %w", s.Schema.Table, err)
	}
	return nil
}

// sowValues gives the columns of a row as the database keeps them.
func sowValues(ctx context.Context, fields []*schema.Field, row reflect.Value) []any {
	list := make([]any, 0, len(fields))
	for _, f := range fields {
		value, _ := f.ValueOf(ctx, row)
		if f.Serializer != nil {
			value = sowJSON(f.ReflectValueOf(ctx, row).Interface())
		}
		list = append(list, value)
	}
	return list
}

// sowJSON is what GORM's JSON serializer writes.
func sowJSON(value any) any {
	text, err := json.Marshal(value)
	if err != nil || string(text) == "null" {
		return nil
	}
	return string(text)
}

func sowByCopy(ctx context.Context, tx pgx.Tx, table string, columns []string, rows iter.Seq[[]any]) error {
	next, stop := iter.Pull(rows)
	defer stop()
	_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		row, _ := next() // nil ends it
		return row, nil
	}))
	return err
}

// rowsAtOnce keeps a statement of SQLite below the number of values that it takes.
const rowsAtOnce = 100

func sowByInsert(ctx context.Context, tx *sql.Tx, table string, columns []string, rows iter.Seq[[]any]) error {
	statement := func(n int) string {
		line := "(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
		return `INSERT INTO ` + table + ` ("` + strings.Join(columns, `","`) + `") VALUES ` + line + strings.Repeat(","+line, n-1)
	}
	full, err := tx.PrepareContext(ctx, statement(rowsAtOnce))
	if err != nil {
		return err
	}
	defer func() { _ = full.Close() }()
	batch := make([]any, 0, rowsAtOnce*len(columns))
	for row := range rows {
		if batch = append(batch, sowPlain(row)...); len(batch) < cap(batch) {
			continue
		}
		if _, err := full.ExecContext(ctx, batch...); err != nil {
			return err
		}
		batch = batch[:0]
	}
	if len(batch) == 0 {
		return nil
	}
	_, err = tx.ExecContext(ctx, statement(len(batch)/len(columns)), batch...)
	return err
}

// sowPlain gives the values as a driver takes them.
func sowPlain(row []any) []any {
	for i, value := range row {
		if converted, err := driver.DefaultParameterConverter.ConvertValue(value); err == nil {
			row[i] = converted
		}
	}
	return row
}
