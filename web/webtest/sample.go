package webtest

import (
	"fmt"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
)

// Ids of the sample fleet.
const (
	GitDistribution    = 1
	ManualDistribution = 2
	StalledSource      = 3
	Target             = 11 // platform: target of GitDistribution
	Outdated           = 12 // locked, with sites to move
	FailedBuild        = 13
	Building           = 14
	ManualPlatform     = 21 // ready, not the target
	BehindSite         = 31
	CurrentSite        = 32
	RecoveredSite      = 33
	HeldSite           = 34
	InstallingSite     = 35
	BrokenSite         = 36
	BuildTask          = 101 // running
	RecoveredTask      = 102
	RunningUpgrade     = 103
	ParentTask         = 104
	InstallTask        = 105 // running
	CompareTask        = 106 // running
	DoneTask           = 107
)

// Types are two update types with every kind of field.
func Types() []plugins.Plugin {
	return []plugins.Plugin{
		Type{
			About: plugins.Info{ID: "git", Name: "Git repository", Summary: "A branch, tag or commit, with or without Composer.", Icon: "git-branch"},
			Settings: []plugins.Field{
				{Name: "url", Label: "Repository", Help: "https:// or ssh. Addresses inside your own network need an operator’s permission.", Kind: plugins.FieldURL, Required: true, Wide: true, Placeholder: "https://code.example.org/faculty/sites.git"},
				{Name: "branch", Label: "Branch", Kind: plugins.FieldText, Placeholder: "the repository’s own default"},
				{Name: "subdirectory", Label: "Subdirectory", Help: "Changes elsewhere build nothing.", Kind: plugins.FieldPath, Placeholder: "whole repository"},
				{Name: "docroot", Label: "Document root", Kind: plugins.FieldPath, Placeholder: "found after the build"},
				{Name: "follow", Label: "Follow", Kind: plugins.FieldChoice, Default: "branch", Options: []plugins.Option{{Value: "branch", Label: "Branch"}, {Value: "tag", Label: "Newest tag"}}},
				{Name: "composer", Label: "Run composer install after the checkout", Help: "Only the lock file decides.", Kind: plugins.FieldBool, Default: "1", Wide: true},
			},
		},
		Type{
			About:    plugins.Info{ID: "manual", Name: "Manual", Summary: "You name a folder. Nothing is checked.", Icon: "hand", ByHand: true},
			Settings: []plugins.Field{{Name: "docroot", Label: "Document root", Kind: plugins.FieldPath, Placeholder: "found when registered"}},
		},
	}
}

// Sample is a fleet with one of everything.
func Sample() *Fleet {
	now := time.Now().UTC().Truncate(time.Second)
	back := func(d time.Duration) time.Time { return now.Add(-d) }
	f := &Fleet{
		Types: Types(), Users: map[string]string{"admin": "correct horse"}, Links: map[string]string{"token1": "admin"},
		Fail: map[string]error{}, RunningOnSite: map[int64]int64{}, RunningOnPlats: map[int64]int64{},
		Counts: fleet.Counts{Current: 371, Behind: 32, Held: 6, Broken: 2, Disabled: 1, Busy: 3, Distributions: 3, Platforms: 23},
	}
	f.Dists = []models.Distribution{
		{
			ID: GitDistribution, Name: "Agency base (D10)", Slug: "agency-base", UpdateType: "git", TargetID: new(int64(Target)), Condition: models.ConditionChanged,
			Settings: models.Settings{"url": "https://code.example.org/agency/base.git", "branch": "main", "subdirectory": "drupal", "composer": "1", "follow": "branch"},
			Observed: "git:refs/heads/main@sha1:4f2a91c03be7aa6f3d1e3c1d8ab9023a7b2f0a11", Signature: "git:refs/heads/main@sha1:4f2a91c03be7aa6f3d1e3c1d8ab9023a7b2f0a11",
			LastCheckAt: new(back(5 * time.Minute)), UpstreamID: new(int64(1)), CreatedAt: back(90 * 24 * time.Hour),
		},
		{ID: ManualDistribution, Name: "Legacy intranet", Slug: "legacy", UpdateType: "manual", Condition: models.ConditionNew, CreatedAt: back(40 * 24 * time.Hour)},
		{
			ID: StalledSource, Name: "Library portal", Slug: "library", UpdateType: "git", Condition: models.ConditionHeld,
			UpstreamID: new(int64(2)), ReasonCode: models.ReasonTagMoved,
			Reason:   "The tag moved: v10.6.1 pointed at 71be004, now at 0d3c5aa. Nothing is built until somebody approves it.",
			Settings: models.Settings{"url": "https://git.library.example.org/portal.git"}, LastCheckAt: new(back(26 * time.Hour)), CreatedAt: back(60 * 24 * time.Hour),
		},
	}
	f.Ups = map[int64]models.Upstream{
		GitDistribution: {ID: 1, UpdateType: "git", Key: "https://code.example.org/agency/base.git", Host: "code.example.org", NextCheckAt: new(now.Add(42 * time.Second)), HookAt: new(back(41 * time.Minute))},
		StalledSource:   {ID: 2, UpdateType: "git", Key: "https://git.library.example.org/portal.git", Host: "git.library.example.org", Failures: 3, Stalled: true, Reason: models.ReasonAuthentication, Message: "git.library.example.org does not let Hefring read that repository (401)."},
	}
	sampleHooks(f, back)
	f.Hosts = []fleet.HostRow{
		{Host: models.Host{Name: "code.example.org", AtOnce: 4, PerMinute: 300, Requests: 288, Throttled: 2}, Upstreams: 3},
		{Host: models.Host{Name: "git.library.example.org", AtOnce: 4, PerMinute: 300, Requests: 3}, Upstreams: 1, Stalled: 1},
		{Host: models.Host{Name: "updates.drupal.org", AtOnce: 1, PerMinute: 300, Requests: 24, BlockedUntil: new(now.Add(10 * time.Minute))}, Upstreams: 12, Due: 4, Lag: 3 * time.Minute},
	}
	old := []models.Package{{Name: "drupal/core", Type: "core", Version: "10.5.8"}, {Name: "drupal/webform", Type: "module", Version: "6.2.8"}, {Name: "drupal/paragraphs", Type: "module", Version: "1.18.0"}, {Name: "drupal/rdf", Type: "module", Version: "2.1.1"}, {Name: "twig/twig", Type: "library", Version: "3.20.0"}}
	fresh := []models.Package{{Name: "drupal/core", Type: "core", Version: "10.6.2"}, {Name: "drupal/webform", Type: "module", Version: "6.2.9"}, {Name: "drupal/paragraphs", Type: "module", Version: "1.19.0"}, {Name: "drupal/eca", Type: "module", Version: "2.1.3"}, {Name: "twig/twig", Type: "library", Version: "3.21.1"}}
	root := func(name string) string { return "/var/lib/hefring/platforms/" + name }
	f.Plats = []models.Platform{
		{ID: Building, DistributionID: GitDistribution, Server: "local", Name: "agency-base-e20b9d4", Label: "e20b9d4", State: models.PlatformBuilding, Note: "Drupal core 10.6.3", CreatedAt: back(time.Minute), Revision: "git:refs/heads/main@sha1:e20b9d4c03be7aa6f3d1e3c1d8ab9023a7b2f0a11"},
		{ID: Target, DistributionID: GitDistribution, Server: "local", Name: "agency-base-10.6.2-4f2a91c", Root: root("agency-base-10.6.2-4f2a91c"), Docroot: "web", Label: "4f2a91c", DrupalVersion: "10.6.2", PHPVersion: "8.3.19", Packages: fresh, Profiles: []string{"standard", "minimal", "agency"}, State: models.PlatformReady, BuiltAt: new(back(41 * time.Minute)), CreatedAt: back(43 * time.Minute), Note: "Drupal core 10.6.2, webform 6.2.9", Revision: "git:refs/heads/main@sha1:4f2a91c03be7aa6f3d1e3c1d8ab9023a7b2f0a11", BuildKey: "71c0e9d4a2f8b1", ManifestDigest: "9a0364b9e99bb480dd25e1f0284c8555", Files: 21874, Bytes: 187654321, Provenance: models.Settings{"url": "https://git.example.org/agency/base.git", "composer": "1", "tool composer": "2.8.6", "tool php": "8.3.19"}},
		{ID: Outdated, DistributionID: GitDistribution, Server: "local", Name: "agency-base-10.5.8-c07d1e2", Root: root("agency-base-10.5.8-c07d1e2"), Docroot: "web", Label: "c07d1e2", DrupalVersion: "10.5.8", PHPVersion: "8.3.19", Packages: old, Profiles: []string{"standard"}, Locked: true, State: models.PlatformReady, BuiltAt: new(back(33 * 24 * time.Hour)), CreatedAt: back(33 * 24 * time.Hour), Note: "Webform and paragraphs", Revision: "git:refs/heads/main@sha1:c07d1e2c03be7aa6f3d1e3c1d8ab9023a7b2f0a11", BuildKey: "55c0e9d4a2f8b1", ManifestDigest: "1b0364b9e99bb480dd25e1f0284c8555", Files: 21411, Bytes: 181654321},
		{ID: FailedBuild, DistributionID: GitDistribution, Server: "local", Name: "agency-base-d91c07e", Label: "d91c07e", State: models.PlatformFailed, Reason: "Revision d91c07e did not build: drupal/webform 6.3.0 wants PHP 8.3, the platform is set to 8.2. Change the lock file and push.", CreatedAt: back(2 * time.Hour), Revision: "git:refs/heads/main@sha1:d91c07ec03be7aa6f3d1e3c1d8ab9023a7b2f0a11"},
		{ID: ManualPlatform, DistributionID: ManualDistribution, Server: "local", Name: "legacy-9.5.11", Root: root("legacy-9.5.11"), Label: "9.5.11", DrupalVersion: "9.5.11", State: models.PlatformReady, Locked: true, Profiles: []string{"minimal"}, Packages: old, BuiltAt: new(back(40 * 24 * time.Hour)), CreatedAt: back(40 * 24 * time.Hour), Revision: "manual:9.5.11"},
	}
	site := func(id int64, uri string, platform int64, state models.SiteState) models.Site {
		return models.Site{
			ID: id, URI: uri, PlatformID: platform, State: state, Server: "local", Profile: "standard", Title: "The " + uri,
			Database: models.Database{Engine: "sqlite", Name: fmt.Sprintf("/var/lib/hefring/sites/%d/db/1.sqlite", id)}, CreatedAt: back(100 * 24 * time.Hour),
		}
	}
	f.Sits = []models.Site{
		site(BehindSite, "archive.example.org", Outdated, models.SiteEnabled), site(CurrentSite, "gallery.example.org", Target, models.SiteEnabled),
		site(RecoveredSite, "museum.example.org", Outdated, models.SiteEnabled), site(HeldSite, "tickets.example.com", Outdated, models.SiteEnabled),
		site(InstallingSite, "harbour.example.com", Target, models.SiteInstalling), site(BrokenSite, "old-town.example.com", Outdated, models.SiteBroken),
		site(37, "newsroom.example.net", Outdated, models.SiteUpgrading), site(38, "a-rather-long-name-for-a-site.department-of-geology.faculty.example.edu", Outdated, models.SiteEnabled),
	}
	f.Sits[3].Held, f.Sits[3].HeldReason = true, "The summer programme is on sale until 1 April."
	f.Sits[5].Reason = "The installation stopped: the profile “agency” is not on this platform. Choose another profile and install again."
	f.RunningOnSite[37], f.RunningOnSite[InstallingSite] = RunningUpgrade, InstallTask
	sampleTasks(f, back)
	sampleUpgrades(f, back)
	sampleRest(f, back)
	sampleLife(f, back)
	sampleServers(f, back)
	return f
}

func sampleTasks(f *Fleet, back func(time.Duration) time.Time) {
	task := func(id int64, kind models.TaskKind, subject models.SubjectKind, about int64, title string, state models.TaskState, ago, took time.Duration) models.Task {
		t := models.Task{ID: id, Kind: kind, Subject: models.Subject{Kind: subject, ID: about}, Title: title, State: state, Attempt: 1, Actor: "admin", CreatedAt: back(ago)}
		if state != models.TaskQueued {
			t.StartedAt = new(back(ago - time.Second))
		}
		if state.Over() {
			t.EndedAt = new(t.StartedAt.Add(took))
		}
		return t
	}
	f.Jobs = []models.Task{
		task(BuildTask, models.TaskBuild, models.SubjectPlatform, Building, "Build agency-base-e20b9d4", models.TaskRunning, 72*time.Second, 0),
		task(RunningUpgrade, models.TaskUpgrade, models.SubjectSite, 37, "Upgrade newsroom.example.net to 10.6.2", models.TaskRunning, 12*time.Second, 0),
		task(ParentTask, models.TaskUpgradePlatform, models.SubjectPlatform, Outdated, "Upgrade 4 sites of agency-base-10.5.8-c07d1e2 to 10.6.2", models.TaskRunning, 50*time.Second, 0),
		task(InstallTask, models.TaskInstall, models.SubjectSite, InstallingSite, "Install harbour.example.com", models.TaskRunning, 9*time.Second, 0),
		task(CompareTask, models.TaskCompare, models.SubjectTarget, GitDistribution, "Compare the sites of Agency base (D10)", models.TaskRunning, 5*time.Second, 0),
		task(RecoveredTask, models.TaskUpgrade, models.SubjectSite, RecoveredSite, "Upgrade museum.example.org to 10.6.2", models.TaskRecovered, 28*time.Minute, 31*time.Second),
		task(DoneTask, models.TaskBuild, models.SubjectPlatform, Target, "Build agency-base-10.6.2-4f2a91c", models.TaskSucceeded, 43*time.Minute, 118*time.Second),
		task(108, models.TaskCheck, models.SubjectUpstream, 1, "Check Agency base (D10)", models.TaskSucceeded, 44*time.Minute, 400*time.Millisecond),
		task(109, models.TaskBuild, models.SubjectPlatform, FailedBuild, "Build agency-base-d91c07e", models.TaskFailed, 2*time.Hour, 48*time.Second),
		task(110, models.TaskVerify, models.SubjectPlatform, Outdated, "Verify agency-base-10.5.8-c07d1e2", models.TaskWarning, 26*time.Hour, 3*time.Second),
		task(111, models.TaskInstall, models.SubjectSite, BrokenSite, "Install old-town.example.com", models.TaskCancelled, 50*time.Hour, 3*time.Second),
		task(112, models.TaskUpgrade, models.SubjectSite, BehindSite, "Upgrade archive.example.org to 10.6.2", models.TaskQueued, 40*time.Second, 0),
		task(113, models.TaskUpgrade, models.SubjectSite, CurrentSite, "Upgrade gallery.example.org to 10.6.2", models.TaskSucceeded, 45*time.Second, 38*time.Second),
	}
	f.Jobs[5].Message = "The database update museum_events_update_10003 threw a PHP error, before the switch. The copy was dropped. Reads never stopped; no data changed."
	f.Jobs[6].Message = "Ready, and now the upgrade target. The older platforms are locked."
	f.Jobs[8].Message = "drupal/webform 6.3.0 wants PHP 8.3, the platform is set to 8.2."
	for _, i := range []int{1, 11, 12} {
		f.Jobs[i].ParentID = new(int64(ParentTask))
	}
	build := []string{
		"fetch:git fetch --depth=1 origin e20b9d4", "fetch:HEAD is now at e20b9d4", "composer:Installing dependencies from lock file",
		"composer:Verifying lock file contents can be installed on current platform.", "composer:Package operations: 184 installs, 0 updates, 0 removals",
		"composer:  - Downloading drupal/core (11.2.5)", "composer:  - Installing symfony/http-kernel (v7.2.6): Extracting archive",
		"composer:  - Installing twig/twig (v3.21.1): Extracting archive", "composer:  - Installing drupal/core (11.2.5): Extracting archive",
	}
	for i, text := range build {
		step, rest, _ := strings.Cut(text, ":")
		f.Log = append(f.Log, models.TaskLine{ID: int64(1000 + i), TaskID: BuildTask, At: back(time.Duration(70-i) * time.Second), Step: step, Level: models.LevelOut, Text: rest})
	}
	f.Log = append(f.Log, models.TaskLine{ID: 1100, TaskID: InstallTask, At: back(8 * time.Second), Level: models.LevelInfo, Text: "Made the database"},
		models.TaskLine{ID: 1101, TaskID: InstallTask, At: back(7 * time.Second), Level: models.LevelOut, Text: "drush site:install standard"})
}

func sampleUpgrades(f *Fleet, back func(time.Duration) time.Time) {
	f.Moves = []models.Upgrade{
		{ID: 201, TaskID: RecoveredTask, SiteID: RecoveredSite, FromID: Outdated, ToID: Target, Mode: models.ModeDatabase, State: models.UpgradeRecovered, FailedStep: models.StepUpdate, Reason: "museum_events_update_10003 threw a PHP error.", ReadOnly: 13 * time.Second, Updates: []models.PendingUpdate{{Name: "node_update_10201"}}, StartedAt: new(back(28 * time.Minute)), EndedAt: new(back(27*time.Minute + 29*time.Second)), CreatedAt: back(28 * time.Minute)},
		{ID: 202, TaskID: RunningUpgrade, SiteID: 37, FromID: Outdated, ToID: Target, Mode: models.ModeDatabase, State: models.UpgradeRunning, StartedAt: new(back(12 * time.Second)), CreatedAt: back(12 * time.Second)},
		{ID: 203, TaskID: 113, SiteID: CurrentSite, FromID: Outdated, ToID: Target, Mode: models.ModeCode, State: models.UpgradeSucceeded, Switched: true, StartedAt: new(back(40 * time.Second)), EndedAt: new(back(2 * time.Second)), CreatedAt: back(45 * time.Second)},
	}
	say := map[models.StepName]string{models.StepPreflight: "3 updates, 214 MB", models.StepReadOnly: "writes answered with 503", models.StepCopy: "214 MB, 312 tables", models.StepDeploy: "agency-base-10.6.2-4f2a91c", models.StepUpdate: "PHP error in museum_events"}
	for i, name := range models.StepsOf(models.KindUpgrade, models.ModeUnknown) {
		start := back(28*time.Minute - time.Duration(i)*2*time.Second)
		recovered := models.UpgradeStep{ID: int64(300 + i), UpgradeID: 201, Name: name, State: models.StepPending}
		running := models.UpgradeStep{ID: int64(330 + i), UpgradeID: 202, Name: name, State: models.StepPending}
		switched := models.UpgradeStep{ID: int64(360 + i), UpgradeID: 203, Name: name, State: models.StepDone, StartedAt: new(start), EndedAt: new(start.Add(800 * time.Millisecond))}
		switch {
		case i == 0:
			recovered.State, running.State = models.StepDone, models.StepDone
		case i < 4:
			recovered.State, running.State, switched.State = models.StepUndone, models.StepDone, models.StepSkipped
		case i == 4:
			recovered.State, running.State, switched.State = models.StepFailed, models.StepRunning, models.StepSkipped
			running.StartedAt = new(back(3 * time.Second))
		}
		if i <= 4 {
			recovered.StartedAt, recovered.EndedAt, recovered.Message = new(start), new(start.Add(1200*time.Millisecond)), say[name]
		}
		if i < 4 {
			running.StartedAt, running.EndedAt, running.Message = new(back(12*time.Second)), new(back(11*time.Second)), say[name]
		}
		f.Steps = append(f.Steps, recovered, running, switched)
	}
	errorLog := []string{"out: --------------- ----------- --------------- -----------------------------", "out:  Module          Update ID   Type            Description", "out:  node            10201       hook_update_n   Rebuild the access grants", "out:  museum_events   10003       hook_update_n   Move opening hours to fields", "out: [notice] Update started: node_update_10201", "out: [notice] Update completed: node_update_10201", "err: [notice] Update started: museum_events_update_10003", "error: [error]  Call to undefined method Drupal\\museum_events\\Hours::toField()", "error:          modules/custom/museum_events/museum_events.install:88", "warn: exit status 1 after 4.2 s (limit 30 min)"}
	for i, text := range errorLog {
		level, rest, _ := strings.Cut(text, ":")
		for j, task := range []int64{RecoveredTask, RunningUpgrade} {
			if task == RunningUpgrade && i > 5 {
				continue
			}
			f.Log = append(f.Log, models.TaskLine{ID: int64(2000 + 100*j + i), TaskID: task, At: back(28 * time.Minute), Step: string(models.StepUpdate), Level: models.Level(level), Text: rest[1:]})
		}
	}
	f.Log = append(f.Log, models.TaskLine{ID: 1999, TaskID: RecoveredTask, At: back(28 * time.Minute), Step: string(models.StepCopy), Level: models.LevelInfo, Text: "312 tables copied, row counts equal"})
}

func sampleRest(f *Fleet, back func(time.Duration) time.Time) {
	f.Comparisons = map[int64]models.Comparison{
		BehindSite: {
			SiteID: BehindSite, FromPlatformID: Outdated, PlatformID: Target, MadeAt: back(2 * time.Hour), Took: 6 * time.Second,
			Updates: []models.PendingUpdate{{Name: "node_update_10201", Module: "node", Description: "Rebuild the access grants"}, {Name: "webform_update_8640", Module: "webform", Description: "Add handler settings"}, {Name: "museum_events_update_10003", Module: "museum_events", Description: "Move opening hours to fields"}},
		},
	}
	subject := func(kind models.SubjectKind, id int64) models.Subject { return models.Subject{Kind: kind, ID: id} }
	f.Waiting = []fleet.Decision{
		{Kind: fleet.DecideUpgrade, Subject: subject(models.SubjectDistribution, GitDistribution), Title: "Agency base (D10)", Why: "10.6.2 is built. 14 sites are behind: 11 on 10.5.8, 3 on 10.4.9.", PlatformID: Target, PlatformName: "agency-base-10.6.2-4f2a91c", Sites: 14, At: back(41 * time.Minute)},
		{Kind: fleet.DecideBuild, Subject: subject(models.SubjectPlatform, FailedBuild), Title: "agency-base-d91c07e", Why: "Revision d91c07e did not build: drupal/webform 6.3.0 wants PHP 8.3, the platform is set to 8.2.", TaskID: 109, At: back(2 * time.Hour)},
		{Kind: fleet.DecideRecovered, Subject: subject(models.SubjectSite, RecoveredSite), Title: "museum.example.org", Why: "The upgrade to 10.6.2 stopped at updatedb: museum_events_update_10003 threw a PHP error. The site is serving 10.5.8 as before.", TaskID: RecoveredTask, At: back(28 * time.Minute)},
		{Kind: fleet.DecideBroken, Subject: subject(models.SubjectSite, BrokenSite), Title: "old-town.example.com", Why: "The installation stopped: the profile “agency” is not on this platform.", TaskID: 111, At: back(50 * time.Hour)},
		{Kind: fleet.DecideSource, Subject: subject(models.SubjectDistribution, StalledSource), Title: "Library portal", Why: "Authentication failed three times at git.library.example.org. No more checks until the credential changes.", At: back(20 * time.Hour)},
	}
	f.Checks = []models.Check{
		{ID: 1, DistributionID: GitDistribution, Trigger: models.TriggerQueue, Outcome: models.CheckUnchanged, NewRevision: f.Dists[0].Observed, Times: 8, EndedAt: back(5 * time.Minute), Took: 300 * time.Millisecond},
		{ID: 2, DistributionID: GitDistribution, Trigger: models.TriggerButton, Outcome: models.CheckChanged, OldRevision: "git:refs/heads/main@sha1:c07d1e2c03be7aa6f3d1e3c1d8ab9023a7b2f0a11", NewRevision: f.Dists[0].Observed, Message: "Drupal core 10.6.2, webform 6.2.9", Times: 1, EndedAt: back(44 * time.Minute), Took: 400 * time.Millisecond},
		{ID: 3, DistributionID: GitDistribution, Trigger: models.TriggerQueue, Outcome: models.CheckFailed, Message: "code.example.org did not answer within 30 s. It is tried again at the next check.", Times: 2, EndedAt: back(5 * time.Hour), Took: 30 * time.Second},
		{ID: 4, DistributionID: GitDistribution, Trigger: models.TriggerSave, Outcome: models.CheckHeld, Message: "The tag moved: v10.6.1 pointed at 71be004, then at 0d3c5aa.", Times: 1, EndedAt: back(50 * time.Hour), Took: 500 * time.Millisecond},
		{ID: 5, DistributionID: GitDistribution, Trigger: models.TriggerSave, Outcome: models.CheckChanged, NewRevision: "git:refs/heads/main@sha1:9a1f6b3c03be7aa6f3d1e3c1d8ab9023a7b2f0a11", Times: 1, EndedAt: back(90 * 24 * time.Hour), Took: 500 * time.Millisecond},
	}
	f.QueueList = []fleet.QueueRow{
		{Queue: models.Queue{UpdateType: "git", Every: 5 * time.Minute, AtOnce: 8, LastRunAt: new(back(4 * time.Minute))}, Sources: 3, Waiting: 1, Running: 2, NextRunAt: new(back(-42 * time.Second))},
		{Queue: models.Queue{UpdateType: "composer", Every: time.Hour, AtOnce: 4, Paused: true}, Sources: 2, Lag: 124 * time.Minute, Waiting: 3},
	}
}
