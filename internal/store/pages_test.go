package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

func TestStore_Pages_CountAndList(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			museum, library, park := w.site(t, "museum.example.org"), w.site(t, "library.example.org"), w.site(t, "park.example.org")
			w.promote(t)
			ok(t, w.SetHeld(w.ctx, "ada", park.ID, true, "A fair is on.", nil))
			counts, err := w.Fleet(w.ctx, fleet.Filter{})
			ok(t, err)
			want(t, "counts", counts, fleet.Counts{Behind: 2, Held: 1, Distributions: 1, Platforms: 2})

			sites, total, err := w.Sites(w.ctx, fleet.Filter{Behind: true, Limit: 1, Offset: 1, PlatformID: w.old.ID, DistributionID: w.d.ID})
			ok(t, err)
			want(t, "total", total, 2)
			want(t, "site", sites[0].URI, museum.URI)
			want(t, "behind", sites[0].Behind(), true)
			want(t, "platform", sites[0].Platform.Name, "thunder-1")
			want(t, "target", sites[0].Target.Name, "thunder-2")
			want(t, "packages are not loaded", len(sites[0].Platform.Packages), 0)
			_, total, err = w.Sites(w.ctx, fleet.Filter{Query: "_useum"})
			ok(t, err)
			want(t, "an underscore is only itself", total, 0)
			_, total, err = w.Sites(w.ctx, fleet.Filter{Query: "MUSEUM", State: "enabled"})
			ok(t, err)
			want(t, "found", total, 1)

			task := w.task(t, models.TaskUpgrade, models.Subject{Kind: models.SubjectSite, ID: museum.ID})
			row, err := w.SiteRow(w.ctx, museum.ID)
			ok(t, err)
			want(t, "running task", row.RunningTaskID, task.ID)
			want(t, "packages of the target", len(row.Target.Packages), 1)
			_, err = w.SiteRow(w.ctx, 999)
			wantCode(t, err, models.NotFound)

			addresses, err := w.SiteAddresses(w.ctx, w.old.ID)
			ok(t, err)
			want(t, "addresses on the platform", [3]string{addresses[0].URI, addresses[1].URI, addresses[2].URI}, [3]string{library.URI, museum.URI, park.URI})
			name, err := w.SubjectName(w.ctx, models.Subject{Kind: models.SubjectSite, ID: museum.ID})
			ok(t, err)
			want(t, "name of a site", name, museum.URI)
			_, err = w.SubjectName(w.ctx, models.Subject{Kind: models.SubjectPlatform, ID: 999})
			wantCode(t, err, models.NotFound)
			_, err = w.SubjectName(w.ctx, models.Subject{Kind: models.SubjectQueue, ID: 1})
			wantCode(t, err, models.NotFound)
			choices, err := w.PlatformChoices(w.ctx, w.d.ID, 10)
			ok(t, err)
			want(t, "newest choice", choices[0].Name, "thunder-2")
			some, err := w.PlatformsByID(w.ctx, []int64{w.old.ID, 999})
			ok(t, err)
			want(t, "platforms by number", [2]any{len(some), some[w.old.ID].Name}, [2]any{1, "thunder-1"})
			none, err := w.PlatformsByID(w.ctx, nil)
			ok(t, err)
			want(t, "no platforms", len(none), 0)

			platforms, total, err := w.Platforms(w.ctx, fleet.Filter{Query: "Thunder"})
			ok(t, err)
			want(t, "platforms", total, 2)
			want(t, "newest", platforms[0].IsTarget() && !platforms[0].Outdated(), true)
			want(t, "outdated", platforms[1].Outdated(), true)
			want(t, "sites", platforms[1].Sites, 3)
			want(t, "upgradable", platforms[1].Upgradable, 2)
			platform, err := w.PlatformRow(w.ctx, w.old.ID)
			ok(t, err)
			want(t, "target", platform.TargetName, "thunder-2")
			want(t, "packages", len(platform.Packages), 1)
			of, err := w.DistributionPlatforms(w.ctx, w.d.ID)
			ok(t, err)
			want(t, "platforms of the distribution", len(of), 2)

			distributions, total, err := w.Distributions(w.ctx, fleet.Filter{Query: "thun", State: "new"})
			ok(t, err)
			want(t, "distributions", total, 1)
			d := distributions[0]
			want(t, "figures", [3]int{d.Platforms, d.Sites, d.Behind}, [3]int{2, 3, 2})
			want(t, "target", d.TargetName+" "+d.TargetVersion, "thunder-2 10.6.2")

			subjects := []models.Subject{{Kind: models.SubjectSite, ID: museum.ID}, {Kind: models.SubjectSite, ID: library.ID}}
			tasks, err := w.SubjectTasks(w.ctx, subjects, 10)
			ok(t, err)
			want(t, "tasks of the sites", len(tasks), 1)
			running, err := w.RunningTasks(w.ctx, fleet.Filter{Limit: 10})
			ok(t, err)
			want(t, "running tasks", len(running), 1)
			w.finish(t, task.ID, models.TaskRecovered)
			recent, err := w.RecentTasks(w.ctx, fleet.Filter{Limit: 10})
			ok(t, err)
			want(t, "ended tasks", len(recent), 1)
			_, total, err = w.Tasks(w.ctx, fleet.Filter{State: "recovered", Query: "upg"})
			ok(t, err)
			want(t, "tasks", total, 1)
			upgrades, err := w.SiteUpgrades(w.ctx, museum.ID, 10)
			ok(t, err)
			want(t, "upgrades", len(upgrades), 0)
		})
	}
}

func TestStore_Pages_EmptyFleet(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			counts, err := s.Fleet(t.Context(), fleet.Filter{})
			ok(t, err)
			want(t, "counts", counts, fleet.Counts{})
			decisions, err := s.Decisions(t.Context(), fleet.Filter{Limit: 10})
			ok(t, err)
			want(t, "decisions", len(decisions), 0)
			_, _, err = s.Sites(t.Context(), fleet.Filter{})
			ok(t, err)
			_, _, err = s.Platforms(t.Context(), fleet.Filter{})
			ok(t, err)
			_, _, err = s.Distributions(t.Context(), fleet.Filter{})
			ok(t, err)
			rows, err := s.QueueRows(t.Context(), time.Now())
			ok(t, err)
			want(t, "queues", len(rows), 0)
		})
	}
}

func TestStore_QueueRows_Figures(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			at := time.Now().UTC().Truncate(time.Microsecond)
			for range 2 {
				ok(t, w.SaveQueue(w.ctx, models.Queue{UpdateType: "git", Every: time.Minute, AtOnce: 3}))
			}
			ok(t, w.SaveQueue(w.ctx, models.Queue{UpdateType: "stock", Every: time.Hour, AtOnce: 1, Paused: true}))
			ok(t, w.MarkQueueRun(w.ctx, "git", at))
			due := at.Add(-time.Minute)
			u := w.upstream(t)
			ok(t, w.ScheduleUpstream(w.ctx, u.ID, due))
			task := w.task(t, models.TaskCheck, models.Subject{Kind: models.SubjectUpstream, ID: u.ID})
			_, err := w.TakeTask(w.ctx, task.ID)
			ok(t, err)
			n, err := w.RunningChecks(w.ctx, "git")
			ok(t, err)
			want(t, "running checks", n, 1)
			rows, err := w.QueueRows(w.ctx, at)
			ok(t, err)
			want(t, "queues", len(rows), 2)
			git := rows[0]
			want(t, "figures", [3]int{git.Sources, git.Waiting, git.Running}, [3]int{1, 1, 1})
			want(t, "lag", git.Lag, time.Minute)
			want(t, "last run", git.LastRunAt.Equal(at), true)
			want(t, "next run", git.NextRunAt.Equal(due), true)
			want(t, "paused", rows[1].Paused && rows[1].Sources == 0, true)
			all, err := w.UpstreamsOfType(w.ctx, "git")
			ok(t, err)
			want(t, "upstreams of the type", len(all), 1)
		})
	}
}

func TestStore_Decisions_ComeAndGo(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			museum, library := w.site(t, "museum.example.org"), w.site(t, "library.example.org")
			kinds := func() string {
				var list strings.Builder
				decisions, err := w.Decisions(w.ctx, fleet.Filter{Limit: 20})
				ok(t, err)
				for _, d := range decisions {
					list.WriteString(string(d.Kind) + ":" + d.Title + " ")
					if d.Why == "" || d.At.IsZero() {
						t.Errorf("%+v does not say why and when", d)
					}
				}
				return list.String()
			}
			want(t, "nothing waits", kinds(), "")
			w.promote(t)
			want(t, "two are behind", kinds(), "upgrade:Thunder ")

			batch := w.task(t, models.TaskUpgradePlatform, models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID})
			want(t, "a batch is under way", kinds(), "")
			w.finish(t, batch.ID, models.TaskSucceeded)

			w.upgrade(t, museum, models.UpgradeRecovered)
			want(t, "one recovered", kinds(), "recovered:museum.example.org upgrade:Thunder ")
			ok(t, w.SetHeld(w.ctx, "ada", museum.ID, true, "Wait.", nil))
			want(t, "it is held", kinds(), "upgrade:Thunder ")
			ok(t, w.SetHeld(w.ctx, "ada", museum.ID, false, "", nil))
			u := w.upgrade(t, museum, models.UpgradeSucceeded)
			ok(t, w.PlaceSite(w.ctx, museum, w.new.ID, u.NewDatabase))
			want(t, "it succeeded later", kinds(), "upgrade:Thunder ")

			ok(t, w.MoveSite(w.ctx, "ada", library, models.SiteBroken, "It does not answer."))
			want(t, "one is broken", kinds(), "broken:library.example.org ")
			failed := models.Platform{DistributionID: w.d.ID, Name: "thunder-3"}
			ok(t, w.CreatePlatform(w.ctx, &failed))
			ok(t, w.MovePlatform(w.ctx, "ada", failed, models.PlatformFailed, "composer failed."))
			ok(t, w.SetCondition(w.ctx, w.d.ID, models.ConditionFailing, models.ReasonBuild, "The build failed."))
			want(t, "a build failed", kinds(), "broken:library.example.org build:thunder-3 ")
			ok(t, w.SetCondition(w.ctx, w.d.ID, models.ConditionHeld, models.ReasonTagMoved, "The tag moved."))
			want(t, "the source is held", kinds(), "broken:library.example.org build:thunder-3 source:Thunder ")
			w.platform(t, "thunder-4")
			want(t, "a newer one was built", kinds(), "broken:library.example.org source:Thunder ")
			decisions, err := w.Decisions(w.ctx, fleet.Filter{Limit: 1})
			ok(t, err)
			want(t, "limit", len(decisions), 1)
		})
	}
}

// client stores a client and sites of it, one of every kind that pages tell apart.
// Whoever is told of any of them can tell by its name whose it is.
func (w *world) client(t *testing.T, name string) int64 {
	t.Helper()
	_, err := w.Access().SQL.ExecContext(w.ctx, "INSERT INTO clients (name, note, created_at) VALUES ('"+name+"', '', '2026-01-01 00:00:00+00:00')")
	ok(t, err)
	var id int64
	ok(t, w.Access().SQL.QueryRowContext(w.ctx, "SELECT id FROM clients WHERE name = '"+name+"'").Scan(&id))
	site := func(what string) models.Site {
		one := models.Site{URI: what + "." + name + ".example.org", Title: name, PlatformID: w.old.ID, ClientID: &id, BackupEvery: time.Hour}
		ok(t, w.CreateSite(w.ctx, &one))
		ok(t, w.MoveSite(w.ctx, "ada", one, models.SiteEnabled, ""))
		return w.load(t, one.ID)
	}
	task := func(kind models.TaskKind, one models.Site) models.Task {
		made := models.Task{Kind: kind, Subject: models.Subject{Kind: models.SubjectSite, ID: one.ID}, Title: one.URI, Actor: "ada"}
		ok(t, w.CreateTask(w.ctx, &made))
		return made
	}
	ok(t, w.MoveSite(w.ctx, "ada", site("broken"), models.SiteBroken, ""))
	ok(t, w.MoveSite(w.ctx, "ada", site("disabled"), models.SiteDisabled, ""))
	ok(t, w.SetHeld(w.ctx, "ada", site("held").ID, true, "A fair is on.", nil))
	w.upgrade(t, site("recovered"), models.UpgradeRecovered)
	w.finish(t, task(models.TaskBackup, site("backup")).ID, models.TaskFailed)
	task(models.TaskCron, site("running"))
	return id
}

// trouble makes everything go wrong that is the host's to decide.
func (w *world) trouble(t *testing.T) {
	t.Helper()
	ok(t, w.SetStanding(w.ctx, w.old.ID, []models.Finding{{Kind: models.FindingInsecure, Package: "drupal", Version: "10.6.2"}}))
	ok(t, w.SetCondition(w.ctx, w.d.ID, models.ConditionHeld, models.ReasonTagMoved, "The tag moved."))
	failed := models.Platform{DistributionID: w.d.ID, Name: "thunder-3"}
	ok(t, w.CreatePlatform(w.ctx, &failed))
	ok(t, w.MovePlatform(w.ctx, "ada", failed, models.PlatformFailed, "composer failed."))
	w.task(t, models.TaskBuild, models.Subject{Kind: models.SubjectPlatform, ID: failed.ID})
	at := time.Now().UTC()
	ok(t, w.SaveDatabaseServer(w.ctx, "ada", &models.DatabaseServer{Name: "db", Engine: models.EngineMySQL, TLS: models.TLSOff, Reason: "It does not answer.", TestedAt: &at}))
}

func TestStore_Pages_ClientSeesItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		t.Helper()
		w.site(t, "own.example.org")
		busy := w.site(t, "busy.example.org")
		clients := map[string]int64{"museum": w.client(t, "museum"), "library": w.client(t, "library")}
		w.promote(t)
		w.trouble(t)
		w.task(t, models.TaskUpgrade, models.Subject{Kind: models.SubjectSite, ID: busy.ID})
		for name, id := range clients {
			w.ownSites(t, name, id)
			w.ownTasks(t, name, id)
			w.ownDecisions(t, name, id)
		}

		nobody := fleet.Filter{ClientID: 999, Limit: 50}
		counts, err := w.Fleet(w.ctx, nobody)
		ok(t, err)
		want(t, "counts of nobody", counts, fleet.Counts{})
		decisions, err := w.Decisions(w.ctx, nobody)
		ok(t, err)
		want(t, "decisions of nobody", len(decisions), 0)
		everything, err := w.Decisions(w.ctx, fleet.Filter{Limit: 50})
		ok(t, err)
		kinds := map[fleet.DecisionKind]bool{}
		for _, d := range everything {
			kinds[d.Kind] = true
		}
		want(t, "kinds of decisions that the host sees", len(kinds), 8)
		counts, err = w.Fleet(w.ctx, fleet.Filter{})
		ok(t, err)
		want(t, "counts of all", counts, fleet.Counts{Behind: 8, Held: 2, Broken: 2, Disabled: 2, Distributions: 1, Platforms: 3})
	})
}

// ownSites checks every question about sites.
func (w *world) ownSites(t *testing.T, name string, client int64) {
	t.Helper()
	counts, err := w.Fleet(w.ctx, fleet.Filter{ClientID: client})
	ok(t, err)
	want(t, "counts of "+name, counts, fleet.Counts{Behind: 3, Held: 1, Broken: 1, Disabled: 1})
	for f, n := range map[fleet.Filter]int{
		{}:                         6,
		{Query: "example.org"}:     6,
		{Query: "own.example.org"}: 0,
		{State: "broken"}:          1,
		{PlatformID: w.old.ID}:     6,
		{DistributionID: w.d.ID}:   6,
		{Behind: true}:             3,
		{Limit: 2, Offset: 1}:      6,
		{Query: "e", State: "enabled", Behind: true, PlatformID: w.old.ID, DistributionID: w.d.ID}: 3,
	} {
		f.ClientID = client
		rows, total, err := w.Sites(w.ctx, f)
		ok(t, err)
		want(t, fmt.Sprintf("sites of %s with %+v", name, f), total, n)
		for _, row := range rows {
			w.own(t, name, row.URI)
			want(t, "client of "+row.URI, *row.ClientID, client)
		}
	}
}

// ownTasks checks every question about tasks.
func (w *world) ownTasks(t *testing.T, name string, client int64) {
	t.Helper()
	running, err := w.RunningTasks(w.ctx, fleet.Filter{ClientID: client, Limit: 50})
	ok(t, err)
	w.ownSubjects(t, name, running, 1)
	recent, err := w.RecentTasks(w.ctx, fleet.Filter{ClientID: client, Limit: 50})
	ok(t, err)
	w.ownSubjects(t, name, recent, 2)
	for f, n := range map[fleet.Filter]int{
		{}:                       3,
		{Query: "."}:             2, // the upgrade's title is its kind
		{State: "queued"}:        1,
		{State: "failed"}:        1,
		{DistributionID: w.d.ID}: 0,
		{PlatformID: w.old.ID}:   0,
	} {
		f.ClientID, f.Limit = client, 50
		list, total, err := w.Tasks(w.ctx, f)
		ok(t, err)
		want(t, fmt.Sprintf("tasks of %s with %+v", name, f), total, n)
		w.ownSubjects(t, name, list, n)
	}
}

// ownDecisions checks what a client is asked to decide.
func (w *world) ownDecisions(t *testing.T, name string, client int64) {
	t.Helper()
	decisions, err := w.Decisions(w.ctx, fleet.Filter{ClientID: client, Limit: 50})
	ok(t, err)
	var kinds []string
	for _, d := range decisions {
		kinds = append(kinds, string(d.Kind))
		if d.TaskID != 0 {
			task, err := w.Task(w.ctx, d.TaskID)
			ok(t, err)
			w.ownSubjects(t, name, []models.Task{task}, 1)
		}
		if d.Kind == fleet.DecideUpgrade {
			want(t, "sites behind of "+name, d.Sites, 3)
			want(t, "what is said to "+name, d.Why, "3 sites are behind thunder-2.")
			continue
		}
		w.own(t, name, d.Title)
		w.own(t, name, w.load(t, d.Subject.ID).URI)
	}
	want(t, "decisions of "+name, strings.Join(kinds, " "), "broken recovered backup upgrade")
}

// own fails the test when an address is not of the client.
func (w *world) own(t *testing.T, name, uri string) {
	t.Helper()
	if !strings.HasSuffix(uri, "."+name+".example.org") {
		t.Errorf("%s is told of %s", name, uri)
	}
}

func (w *world) ownSubjects(t *testing.T, name string, list []models.Task, n int) {
	t.Helper()
	want(t, "tasks of "+name, len(list), n)
	for _, task := range list {
		want(t, "subject of a task", task.Subject.Kind, models.SubjectSite)
		w.own(t, name, w.load(t, task.Subject.ID).URI)
	}
}
