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

	db      *gorm.DB
	tx      any // *sql.Tx or pgx.Tx
	r       *rand.Rand
	now     time.Time
	span    time.Duration // how long ago what tasks and the record tell began
	founded time.Time     // when the fleet began

	seedPlan
}

func newSeeder(size SeedSize) *seeder {
	g := &seeder{SeedSize: size, r: rand.New(rand.NewPCG(size.Random, 0)), now: now(), span: 90 * 24 * time.Hour} //nolint:gosec // an invented fleet needs no secrets
	g.founded = g.now.Add(-4 * g.span)
	return g
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
				NextCheckAt: g.later(), LastCheckAt: &last, LastChangeAt: last, CreatedAt: g.founded,
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
				Settings:  models.Settings{"url": fmt.Sprintf("https://%s/fleet/%d.git", hostName(id), upstream), "ref": "main"},
				Condition: models.ConditionNew,
				CreatedAt: g.founded, UpdatedAt: last,
			}
			if byHand(id) {
				d.UpstreamID, d.Settings = nil, nil
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
			w := models.Webhook{ID: i + 1, DistributionID: i*hooked + 1, Address: fmt.Sprintf("%026d", i), Provider: models.ProviderGitHub, HookAt: &at, CreatedAt: g.founded, UpdatedAt: at}
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
				Clients: "%", Prefix: "hefring", Default: i == 0, Version: "10.11", TestedAt: &g.now, CreatedAt: g.founded, UpdatedAt: g.now,
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

// packageList is as long as a real Drupal's. The platforms of a distribution have the
// same packages, most of them in newer versions as time goes by.
func (g *seeder) packageList(i int) []models.Package {
	list := []models.Package{{Name: "drupal", Type: "core", Version: g.version(i), Schema: 10400}}
	own := *g
	own.r = rand.New(rand.NewPCG(g.Random, uint64(g.platforms[i]))) //nolint:gosec // an invented fleet
	for k := range 70 {
		release := 60 + k%7 + g.age(i, 40)*(k%4)/2
		list = append(list, models.Package{
			Name: fmt.Sprintf("%s_%d", own.word(), k), Type: oneOf(&own, "module", "module", "module", "theme", "library"),
			Version: fmt.Sprintf("%d.%d.%d", 1+k%8, release/10, release%10), Schema: 8000 + release,
		})
	}
	return list
}

// age is how late the i-th platform was built, in so many parts of all the time.
func (g *seeder) age(i, parts int) int { return parts * i / g.Platforms }

// version of Drupal in the i-th platform: that of its time.
func (g *seeder) version(i int) string {
	age := g.age(i, 48)
	return fmt.Sprintf("10.%d.%d", 3+age/12, age%12)
}

// revision is what the source said of a platform.
func revision(platform int64) string {
	return fmt.Sprintf("git:refs/heads/main@sha1:%040x", platform)
}

func (g *seeder) platformRows() iter.Seq[models.Platform] {
	return func(yield func(models.Platform) bool) {
		for i, distribution := range g.platforms {
			at, built, version := g.begun[i], g.built[i], g.version(i)
			name := fmt.Sprintf("platform-%d-%s-%07x", distribution, version, i+1)
			p := models.Platform{
				ID: int64(i + 1), DistributionID: distribution, Server: "local", Name: name,
				Revision: revision(int64(i + 1)), Content: fmt.Sprintf("tree:%040x", i+1), BuildKey: fmt.Sprintf("%064x", i+1),
				Label: fmt.Sprintf("%07x", i+1), Note: "Update Drupal to " + version, DrupalVersion: version, PHPVersion: "8.3",
				Packages: g.packageList(i), Profiles: []string{"standard", "minimal"}, ManifestDigest: fmt.Sprintf("%064x", i+1),
				Files: 18_000, Bytes: 140 << 20, State: g.states[i], BuiltAt: &built, CreatedAt: at, UpdatedAt: built,
				Root: "/nowhere/" + name, Docroot: "web", Locked: true,
			}
			if p.State == models.PlatformFailed {
				p.Root, p.BuiltAt, p.Reason = "", nil, "composer install failed: a package asks for another version of PHP."
				p.ManifestDigest, p.Files, p.Bytes = "", 0, 0
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
		"UPDATE distributions SET observed = signature WHERE upstream_id IS NOT NULL",
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
			if !yield(models.Client{ID: int64(i + 1), Name: fmt.Sprintf("%s %d", g.word(), i+1), CreatedAt: g.founded}) {
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

// seededContent is where a site's content is.
func seededContent(id int64) models.Database {
	if server := serverOf(id); server != 0 {
		return models.Database{Engine: models.EngineMySQL, Name: fmt.Sprintf("hefring_%d", id), Server: server, User: fmt.Sprintf("hefring_%d", id)}
	}
	return models.Database{Engine: models.EngineSQLite, Name: fmt.Sprintf("/nowhere/%d/content.sqlite", id)}
}

// serverOf is the database server that a site is on, 0 for none.
func serverOf(id int64) int64 {
	if server := id % 10; server <= seededServers {
		return server
	}
	return 0
}

func (g *seeder) siteRows() iter.Seq[models.Site] {
	return func(yield func(models.Site) bool) {
		for i, platform := range g.homes {
			id := int64(i + 1)
			site := models.Site{
				ID: id, URI: siteURI(id), PlatformID: platform, Server: "local", Database: seededContent(id),
				Profile: "standard", Title: fmt.Sprintf("The %s of the %s", g.word(), g.word()), State: models.SiteEnabled,
				BackupEvery: 24 * time.Hour, BackupKeep: 7, BackupNextAt: g.later(), CreatedAt: g.now.Add(-g.span), UpdatedAt: g.past(),
			}
			if server := serverOf(id); server != 0 {
				site.DatabaseServerID = &server
			}
			if aliased(id) {
				site.Aliases = []string{"www." + site.URI}
			}
			if g.clients > 0 && g.chance(60) {
				client := int64(g.popular(g.clients) + 1)
				site.ClientID = &client
			}
			if job, busy := g.busy[id]; busy {
				site.State, site.UpdatedAt = job.state, job.since
			} else {
				g.trouble(&site)
			}
			if site.State == models.SiteInstalling {
				site.CreatedAt = site.UpdatedAt
			}
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
		site.State, site.Reason = models.SiteBroken, "It answers with status 500."
	case g.permille(30):
		site.Held, site.HeldReason = true, "The theme does not work with the new version yet."
	case g.permille(5):
		site.State = models.SiteDeleted
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

func (g *seeder) tasks() iter.Seq[models.Task] {
	return func(yield func(models.Task) bool) {
		for i := range g.Tasks {
			if !yield(g.task(i)) {
				return
			}
		}
	}
}

func (g *seeder) task(i int) models.Task {
	at, end := g.taskAt(i), g.taskEnd(i)
	t := models.Task{
		ID: int64(i + 1), Kind: g.kinds[i], Subject: g.taskSubject(i), Attempt: 1, Actor: oneOf(g, "ada", "admin", "operator"),
		State: g.ends(i), CreatedAt: at, StartedAt: &at, EndedAt: &end,
	}
	switch t.Subject.Kind {
	case models.SubjectUpstream:
		t.Title, t.Actor, t.Message = fmt.Sprintf("Check source %d", t.Subject.ID), queueActor, "Nothing changed."
	case models.SubjectPlatform:
		t.Title, t.Message = fmt.Sprintf("%s platform %d", t.Kind, t.Subject.ID), "Every file is as it was built."
	default:
		t.Title, t.Message = fmt.Sprintf("%s %s", t.Kind, siteURI(t.Subject.ID)), "Done."
	}
	switch t.State {
	case models.TaskFailed:
		t.Message = "A program ended with code 1. The log has its last words."
	case models.TaskRecovered:
		t.Message = "Step updatedb: " + failedUpdate + " The site serves as before."
	case models.TaskCancelled:
		t.Message = "Cancelled."
	case models.TaskQueued:
		t.Message, t.Attempt, t.StartedAt, t.EndedAt = "", 0, nil, nil
	case models.TaskRunning:
		t.Message, t.EndedAt = "", nil
	case models.TaskSucceeded, models.TaskWarning:
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
			if g.ends(i) == models.TaskQueued {
				continue
			}
			at := g.taskAt(i)
			each := g.taskEnd(i).Sub(at) / loggedLines
			for n := range loggedLines {
				id++
				line := models.TaskLine{ID: id, TaskID: int64(i + 1), At: at.Add(time.Duration(n) * each), Level: models.LevelOut, Text: fmt.Sprintf("Line %d: %s and %s are as they should be.", n+1, g.word(), g.word())}
				if !yield(line) {
					return
				}
			}
		}
	}
}

func (g *seeder) upgrades() iter.Seq[models.Upgrade] {
	return func(yield func(models.Upgrade) bool) {
		for n, m := range g.moves {
			if !yield(g.upgrade(int64(n+1), m)) {
				return
			}
		}
	}
}

// failedUpdate is why upgrades of the invented fleet fail.
const failedUpdate = "node_update_10201 ended with an error."

func (g *seeder) upgrade(id int64, m seedMove) models.Upgrade {
	at, end := g.taskAt(m.task), g.taskEnd(m.task)
	database := seededContent(m.site)
	old := database
	old.Name += "_old"
	u := models.Upgrade{
		ID: id, Kind: models.KindUpgrade, TaskID: int64(m.task + 1), SiteID: m.site, FromID: m.from, ToID: m.to, Mode: models.ModeDatabase,
		State: models.UpgradeSucceeded, Switched: true, ReadOnly: end.Sub(at) / 4, OldDatabase: old, NewDatabase: database,
		Updates:   []models.PendingUpdate{{Name: "node_update_10201", Module: "node", Kind: "hook_update_n", Description: "Adds an index."}},
		StartedAt: &at, EndedAt: &end, CreatedAt: at, DroppedOldAt: &end,
	}
	switch g.ends(m.task) {
	case models.TaskRecovered, models.TaskFailed:
		u.State, u.FailedStep, u.Reason = models.UpgradeRecovered, models.StepUpdate, failedUpdate
	case models.TaskCancelled:
		u.State, u.Reason = models.UpgradeCancelled, "Cancelled."
	case models.TaskRunning:
		u.State, u.EndedAt = models.UpgradeRunning, nil
	case models.TaskSucceeded, models.TaskWarning, models.TaskQueued:
	}
	if u.State != models.UpgradeSucceeded { // the copy is gone, or is being made
		u.Switched, u.OldDatabase, u.NewDatabase, u.DroppedOldAt = false, database, old, nil
	}
	return u
}

// steppedUpgrades is how many of the newest upgrades have their journal.
const steppedUpgrades = 500

func (g *seeder) steps() iter.Seq[models.UpgradeStep] {
	return func(yield func(models.UpgradeStep) bool) {
		id := int64(0)
		for n := max(len(g.moves)-steppedUpgrades, 0); n < len(g.moves); n++ {
			for _, step := range g.journal(g.moves[n]) {
				id++
				step.ID, step.UpgradeID = id, int64(n+1)
				if !yield(step) {
					return
				}
			}
		}
	}
}

// journal gives the steps of a move. One that did not come to its end was undone from
// the update of the database on.
func (g *seeder) journal(m seedMove) []models.UpgradeStep {
	names, state := models.StepsOf(models.KindUpgrade, models.ModeDatabase), g.ends(m.task)
	at, end := g.taskAt(m.task), g.taskEnd(m.task)
	each := end.Sub(at) / time.Duration(len(names))
	var list []models.UpgradeStep
	reached := len(names) - 1
	if state != models.TaskSucceeded && state != models.TaskWarning {
		reached = slices.Index(names, models.StepUpdate)
	}
	for i, name := range names {
		begun, ended := at.Add(time.Duration(i)*each), at.Add(time.Duration(i+1)*each)
		step := models.UpgradeStep{Name: name, State: models.StepDone, Message: "As it should be.", StartedAt: &begun, EndedAt: &ended}
		switch {
		case i > reached:
			step = models.UpgradeStep{Name: name, State: models.StepPending}
		case reached == len(names)-1:
		case state == models.TaskRunning && i == reached:
			step.State, step.Message, step.EndedAt = models.StepRunning, "", nil
		case state == models.TaskRunning:
		case i == reached && state == models.TaskRecovered:
			step.State, step.Message, step.UndoneAt = models.StepFailed, failedUpdate, &end
		default:
			step.State, step.UndoneAt = models.StepUndone, &end
		}
		list = append(list, step)
	}
	return list
}

func (g *seeder) backups() iter.Seq[models.Backup] {
	return func(yield func(models.Backup) bool) {
		id := int64(0)
		for i, kind := range g.kinds {
			if kind != models.TaskBackup {
				continue
			}
			id++
			if !yield(g.backup(id, i)) {
				return
			}
		}
	}
}

func (g *seeder) backup(id int64, i int) models.Backup {
	site, end := g.subjects[i], g.taskEnd(i)
	b := models.Backup{
		ID: id, SiteID: site, TaskID: int64(i + 1), URI: siteURI(site), PlatformID: g.wheres[i], Purpose: models.BackupSchedule, State: models.BackupReady,
		Path: fmt.Sprintf("/nowhere/backups/%d.tar.gz", id), Engine: seededContent(site).Engine, DrupalVersion: g.version(int(g.wheres[i]) - 1), Profile: "standard",
		Bytes: 40 << 20, Digest: fmt.Sprintf("%064x", id), Tables: 72, Files: 900, CreatedAt: g.taskAt(i), EndedAt: &end, Keep: true,
	}
	switch g.ends(i) {
	case models.TaskFailed:
		b.State, b.Reason = models.BackupDeleted, "The disk was full."
	case models.TaskCancelled:
		b.State, b.Reason = models.BackupDeleted, "Cancelled."
	case models.TaskQueued, models.TaskRunning:
		b.State, b.EndedAt = models.BackupMaking, nil
	default:
		return b
	}
	b.Path, b.Digest, b.Bytes, b.Tables, b.Files = "", "", 0, 0, 0
	return b
}

func (g *seeder) checks() iter.Seq[models.Check] {
	return func(yield func(models.Check) bool) {
		for i := range int64(2 * g.Distributions) {
			distribution, at, took := i%int64(g.Distributions)+1, g.past(), 80*time.Millisecond
			seen := ""
			if int(distribution) <= g.families {
				of := g.of[distribution-1]
				seen = revision(of[len(of)-1])
			}
			c := models.Check{
				ID: i + 1, DistributionID: distribution, Trigger: models.TriggerQueue, Outcome: models.CheckUnchanged, Times: 1 + g.r.IntN(500),
				StartedAt: at.Add(-took), EndedAt: at, Took: took, Requests: 1, Received: 400, OldRevision: seen, NewRevision: seen,
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
			e := models.Event{ID: int64(i + 1), At: g.moment(i, g.Events), Actor: oneOf(g, "ada", "admin", "operator", machine), Verb: "place", Subject: siteSubject(int64(g.r.IntN(g.settled)) + 1)}
			switch i % 4 {
			case 0:
				e.Verb, e.Text = "backup ready", ""
			case 1:
				e.Verb, e.Subject = "unlock", platformSubject(oneOf(g, g.stock...))
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
