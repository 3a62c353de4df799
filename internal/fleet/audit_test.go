package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

// lines gives all that somebody did, newest first.
func (w *world) lines(f fleet.EventFilter) []fleet.EventRow {
	w.Helper()
	var all []fleet.EventRow
	ok(w.T, w.fleet.EachEvent(w.ctx, f, func(rows []fleet.EventRow) error { all = append(all, rows...); return nil }))
	return all
}

// recorded fails unless somebody did that and the record says what was before and after.
func (w *world) recorded(by, verb string) {
	w.Helper()
	lines := w.lines(fleet.EventFilter{Actor: by, Verb: verb})
	if len(lines) == 0 {
		w.Errorf("the record has no %s by %s", verb, by)
	}
	w.saysWhatChanged(lines)
}

func (w *world) saysWhatChanged(lines []fleet.EventRow) {
	w.Helper()
	for _, e := range lines {
		if len(e.Changes) == 0 && !w.changesNothing(e.Event) {
			w.Errorf("the record does not say what was before and after: %s %s of %s: %s", e.Actor, e.Verb, e.Kind, e.Text)
		}
		makes, ends := verbOf(e.Event, "create", "link", "make"), verbOf(e.Event, "delete", "revoke", "unlink", "end")
		for _, c := range e.Changes {
			if !c.Secret && (makes && c.Before != "" || ends && c.After != "" || c.Before == c.After) {
				w.Errorf("%s %s of %s: %s says %+v", e.Actor, e.Verb, e.Kind, e.Text, c)
			}
		}
	}
}

// verbOf tells whether one of these words is in the name of what was done.
func verbOf(e models.Event, words ...string) bool {
	return slices.ContainsFunc(strings.Fields(e.Verb), func(word string) bool { return slices.Contains(words, word) })
}

// saysWhoAndWhence fails where a line does not say who it was, or by which door and,
// of a page, from which address somebody came.
func (w *world) saysWhoAndWhence(lines []fleet.EventRow) {
	w.Helper()
	for _, e := range lines {
		if e.Actor == "" || e.Verb == "" || e.At.IsZero() || e.Door == "" || e.Door == models.DoorPage && e.Address == "" {
			w.Errorf("the record does not say who did it, what or from where: %+v", e.Event)
		}
	}
}

// changingNothing are the kinds of lines that have no before and after, and why. All
// others say what was before and after.
var changingNothing = map[string]string{
	"sign in":        "somebody came; whatever the person changes then has its own line",
	"sign in failed": "somebody did not get in",
	"login":          "a site gives a link, and nothing of it is kept here",
	"test":           "a database server is asked; what it says is no setting",
	"channel test":   "a message that says that it is a test",
	"run":            "sources are looked at; each look has its own lines",
}

// changesNothing tells whether a line of the record is of what leaves everything as it
// was.
func (w *world) changesNothing(e models.Event) bool {
	if changingNothing[e.Verb] != "" {
		return true
	}
	// A task begins or ends. What it changes it records by itself: its site's state and
	// platform, its platform's state.
	kind, state, _ := strings.Cut(e.Verb, " ")
	tasks, _, err := w.fleet.Tasks(w.ctx, fleet.Filter{Limit: 1000, Query: " "})
	ok(w.T, err)
	return slices.ContainsFunc(tasks, func(t models.Task) bool { return string(t.Kind) == kind }) &&
		slices.Contains([]string{"", "running", "succeeded", "failed", "cancel"}, state)
}

// questions are the parts of a desk that change nothing.
var questions = []string{
	"Actor", "SiteURL", "SecretsSet", "UpdateTypes", "Follow",
	"Fleet", "Decisions", "RunningTasks", "RecentTasks", "Sites", "Tasks", "SiteRow", "SiteNamed", "SiteUpgrades", "UpgradeRows", "CheckRows", "MessageRows", "Backups", "BackupRows", "Backup", "UpgradePlan",
	"RollbackPlan", "Task", "Children", "Lines", "UpgradeOfTask", "UpgradeSteps", "Platform", "SubjectTasks", "Distribution", "Distributions", "DistributionNames",
	"DistributionNamed", "DistributionPlatforms", "DistributionChecks", "Pending", "PlatformNamed", "PlatformRow", "Platforms", "PlatformChoices", "PlatformsByID", "SubjectName", "Queues", "OpenPlatforms", "PlatformPlan",
	"ComparePlatforms", "DiffPlatforms", "QueueRows", "HostRows", "DatabaseServers", "DatabaseServerChoices", "DatabaseServer", "DatabaseServerNamed", "DatabaseServerRow", "Clients", "ClientRows", "ClientNames",
	"Client", "ClientNamed", "FoundSites", "Webhooks", "Webhook", "Channels", "Channel", "ChannelNamed", "UserRows", "User", "AsksForCode", "UserNamed", "Tokens", "Events", "EachEvent", "Servers", "ServerNamed", "ServerRow", "ServerChoices", "CanAddServers", "ServerPlatforms", "PlatformServers",
}

// elsewhere are use cases whose lines other tests look for, and why.
var elsewhere = map[string]string{
	"AddServer":     "needs PostgreSQL and its roles: servers_test of the tasks has them, and looks",
	"InviteServer":  "the same",
	"RemoveServer":  "the same",
	"RelocateSite":  "needs two servers: TestHosts_Move has them",
	"ResendMessage": "needs a message that was given up: notices_test has one, and looks",
	"Approve":       "needs a version that is held: upstreams_test has one, and looks",
}

// walker calls use cases as somebody who comes by a page.
type walker struct {
	*world
	*fleet.Desk
	called  map[string]bool
	secrets []string // that were typed or made on the way
}

var walkerEntrance = models.Entrance{Door: models.DoorPage, Address: "192.0.2.7"}

// did fails unless the use case succeeded and left a line more than there were.
func (w *walker) did(name string, call func() error) {
	w.Helper()
	mine := fleet.EventFilter{Actor: "walker", Door: walkerEntrance.Door, Address: walkerEntrance.Address}
	before := len(w.lines(mine))
	if err := call(); err != nil {
		w.Errorf("%s: %v", name, err)
	} else if after := len(w.lines(mine)); after == before {
		w.Errorf("%s left no line in the record", name)
	}
	w.called[name] = true
	w.clock.pass(time.Second)
}

// asked is did for what starts a task, which then runs.
func (w *walker) asked(name string, call func() (models.Task, error)) models.Task {
	w.Helper()
	var task models.Task
	w.did(name, func() (err error) { task, err = call(); return err })
	w.work()
	return task
}

func (w *walker) secret(text string) string {
	w.secrets = append(w.secrets, text)
	return text
}

// Whatever changes something leaves a line that says who and from where, and nothing
// that is secret. Whoever adds a use case to the desk calls it here.
func TestDesk_EveryChange_IsInTheRecord(t *testing.T) {
	each(t, everyChangeIsInTheRecord)
}

func everyChangeIsInTheRecord(plain *world) {
	t := plain.T
	by := models.Actor{Name: "walker", Role: models.RoleAdministrator, Entrance: walkerEntrance}
	w := &walker{world: plain, Desk: plain.fleet.For(by), called: map[string]bool{}}
	w.inTasks()
	w.people()
	w.account()
	w.settings()
	w.sourcesAndPlatforms()
	w.siteCare()
	for method := range reflect.TypeFor[*fleet.Desk]().Methods() {
		if name := method.Name; !w.called[name] && !slices.Contains(questions, name) && elsewhere[name] == "" {
			t.Errorf("nobody looked whether %s leaves a line in the record", name)
		}
	}
	lines := w.lines(fleet.EventFilter{})
	w.saysWhatChanged(lines)
	w.saysWhoAndWhence(lines)
	w.everyKindIsThere(lines)
	text, err := json.Marshal(lines)
	ok(t, err)
	for _, secret := range w.secrets {
		if secret == "" || strings.Contains(string(text), secret) {
			t.Errorf("the secret %q is in the record", secret)
		}
	}
	t.Logf("%d use cases, %d secrets, %d bytes of lines", len(w.called), len(w.secrets), len(text))
}

// inTasks has what tasks do come from tasks, as package main arranges it.
func (w *walker) inTasks() {
	from := models.Entrance{Door: models.DoorTask}
	through, is := w.Through(from).(*store.Store)
	if !is {
		w.Fatal("the store is another one")
	}
	w.Store, w.fleet = through, w.fleet.Through(from)
}

// account walks what people do with their own account, which needs no desk.
func (w *walker) account() {
	f := w.fleet.Through(walkerEntrance)
	first, second := w.secret("correct horse battery 3"), w.secret("correct horse battery 4")
	u, err := w.AddUser(w.ctx, fleet.NewUser{Name: "walker", Role: models.RoleAdministrator, Password: first})
	ok(w.T, err)
	for _, token := range []string{"planted-session-1", "planted-session-2", "planted-session-3"} {
		ok(w.T, w.Store.Sessions().CommitCtx(w.ctx, w.secret(token), []byte("data"), w.clock.time().Add(models.SessionLife)))
		w.did("StartSession", func() error {
			return f.StartSession(w.ctx, models.SignIn{Token: token, UserID: u.ID, Address: here, Agent: "Firefox"})
		})
	}
	w.did("EndSession", func() error { return f.EndSession(w.ctx, u.ID, "planted-session-1") })
	w.did("EndOtherSessions", func() error { _, err := f.EndOtherSessions(w.ctx, u.ID, "planted-session-2"); return err })
	w.did("ChangePassword", func() error {
		return f.ChangePassword(w.ctx, u.ID, fleet.NewPassword{Present: first, Password: second, Address: here}, "planted-session-2")
	})
	codes := w.ownSecondFactor(f, u)
	w.did("CheckCode", func() error { return f.CheckCode(w.ctx, u.ID, codes[0]) })
	w.did("RemoveSecondFactor", func() error { return f.RemoveSecondFactor(w.ctx, u.ID, second, here) })
	w.did("LinkIdentity", func() error { return f.LinkIdentity(w.ctx, u.ID, person("42", "walker")) })
	linked, err := f.Identities(w.ctx, u.ID)
	ok(w.T, err)
	w.did("UnlinkIdentity", func() error { return f.UnlinkIdentity(w.ctx, u.ID, linked[0].ID) })
	groups := fleet.Admission{AutoCreate: true, Roles: map[string]models.Role{"web": models.RoleOperator, "lead": models.RoleManager}}
	for _, group := range []string{"web", "lead"} {
		_, err = f.ExternalLogin(w.ctx, person("43", "bob", group), groups)
		ok(w.T, err)
	}
	_, err = f.CreateUser(w.ctx, "root", w.secret("correct horse battery 5"))
	ok(w.T, err)
}

// ownSecondFactor sets one up and gives its newest recovery codes.
func (w *walker) ownSecondFactor(f *fleet.Fleet, u models.User) []string {
	ok(w.T, f.SetUpSecondFactor(w.ctx, u.ID))
	state, err := f.SecondFactor(w.ctx, u.ID)
	ok(w.T, err)
	seed := w.secret(state.Secret)
	var codes []string
	keep := func(made []string, err error) error {
		for codes = made; len(made) > 0; made = made[1:] {
			w.secret(made[0])
		}
		return err
	}
	w.did("ConfirmSecondFactor", func() error { return keep(f.ConfirmSecondFactor(w.ctx, u.ID, w.code(seed))) })
	w.clock.pass(time.Minute)
	w.did("NewRecoveryCodes", func() error { return keep(f.NewRecoveryCodes(w.ctx, u.ID, w.code(seed))) })
	return codes
}

func (w *walker) people() {
	var user models.User
	var client models.Client
	w.did("SaveClient", func() (err error) { client, err = w.SaveClient(w.ctx, models.Client{Name: "Museum"}); return err })
	w.did("AddUser", func() (err error) {
		user, err = w.AddUser(w.ctx, fleet.NewUser{Name: "eva", Role: models.RoleViewer, Password: w.secret("correct horse battery 1")})
		return err
	})
	w.did("ChangeUser", func() error { return w.ChangeUser(w.ctx, user.ID, fleet.NewUser{Role: models.RoleAdministrator}) })
	w.did("SetPassword", func() error { return w.SetPassword(w.ctx, "eva", w.secret("correct horse battery 2")) })
	w.did("LoginLink", func() error { link, err := w.LoginLink(w.ctx, "eva"); w.secret(link); return err })
	w.did("CreateToken", func() error {
		token, err := w.CreateToken(w.ctx, fleet.NewToken{User: "eva", Name: "Deployment", Life: time.Hour})
		w.secret(token)
		return err
	})
	w.did("RevokeToken", func() error { return w.RevokeToken(w.ctx, "eva", "Deployment") })
	ok(w.T, w.fleet.SetUpSecondFactor(w.ctx, user.ID))
	w.did("DropSecondFactor", func() error { return w.DropSecondFactor(w.ctx, user.ID) })
	_, err := w.fleet.Through(walkerEntrance).Login(w.ctx, "eva", w.secret("a wrong password"), "192.0.2.7")
	wantCode(w.T, err, models.Forbidden)
	_, err = w.fleet.Login(w.ctx, w.secret("my-password-in-the-wrong-field"), "x", "192.0.2.7")
	wantCode(w.T, err, models.Forbidden)
	failed := w.lines(fleet.EventFilter{Actor: models.ActorNobody, Verb: "sign in failed"})
	if len(failed) != 2 || failed[1].Name != "eva" || failed[1].Address != "192.0.2.7" || failed[0].Subject.ID != 0 {
		w.Errorf("failed attempts to sign in: %+v", failed)
	}
	for field, f := range map[string]fleet.EventFilter{"kind": {Subject: models.Subject{Kind: "sites"}}, "door": {Door: "window"}} {
		_, err := w.fleet.Events(w.ctx, f)
		wantCode(w.T, err, models.Invalid)
		if wrong, _ := errors.AsType[*models.Error](err); wrong.Fields[field] == "" {
			w.Errorf("an unknown %s: %v", field, err)
		}
	}
	client.Note = "In the old town"
	w.did("SaveClient", func() error { _, err := w.SaveClient(w.ctx, client); return err })
	w.did("DeleteClient", func() error { return w.DeleteClient(w.ctx, client.ID) })
	role := w.lines(fleet.EventFilter{Name: "eva", Verb: "change user"})
	if len(role) != 1 || !slices.Equal(role[0].Changes, models.Changes{{Field: "role", Before: "viewer", After: "administrator"}}) {
		w.Errorf("what changed: %+v", role)
	}
}

func (w *walker) settings() {
	var server models.DatabaseServer
	in := models.DatabaseServer{Name: "Main", Engine: models.EngineMySQL, Host: "db.example.org", User: "admin", Password: w.secret("open sesame")}
	w.did("SaveDatabaseServer", func() (err error) { server, err = w.SaveDatabaseServer(w.ctx, in); return err })
	w.did("TestDatabaseServer", func() error { return w.TestDatabaseServer(w.ctx, server.ID) })
	in.ID, in.Password = server.ID, w.secret("open sesame again")
	w.did("SaveDatabaseServer", func() error { _, err := w.SaveDatabaseServer(w.ctx, in); return err })
	w.did("DeleteDatabaseServer", func() error { return w.DeleteDatabaseServer(w.ctx, server.ID) })

	var hook models.Channel
	w.did("SaveChannel", func() error {
		c, key, err := w.SaveChannel(w.ctx, models.Channel{Name: "Chat", Kind: models.ChannelWebhook, URL: "https://chat.example.org/" + w.secret("planted-path"), Causes: models.Causes()}, "")
		w.secret(key)
		hook = c
		return err
	})
	w.did("RotateChannelSecret", func() error { key, err := w.RotateChannelSecret(w.ctx, hook.ID, ""); w.secret(key); return err })
	w.did("PauseChannel", func() error { return w.PauseChannel(w.ctx, hook.ID, true) })
	w.did("PauseChannel", func() error { return w.PauseChannel(w.ctx, hook.ID, false) })
	hook.Name, hook.URL = "Team", "https://chat.example.org/"+w.secret("planted-path-2")
	w.did("SaveChannel", func() error { _, _, err := w.SaveChannel(w.ctx, hook, ""); return err })
	w.did("TestChannel", func() error {
		_, err := w.fleet.Through(walkerEntrance).TestChannel(w.ctx, "walker", hook.ID, &post{})
		return err
	})
	w.did("DeleteChannel", func() error { _, err := w.DeleteChannel(w.ctx, hook.ID); return err })
}

func (w *walker) sourcesAndPlatforms() {
	var d, byHand models.Distribution
	in := fleet.NewDistribution{Name: "Intranet", UpdateType: "scripted", Settings: models.Settings{"url": "https://example.org/intranet.git", "auth": "1", "password": w.secret("planted-credential")}}
	w.did("CreateDistribution", func() (err error) { d, err = w.CreateDistribution(w.ctx, in); return err })
	w.did("CreateDistribution", func() error {
		address := "https://ada:" + w.secret("planted-in-address") + "@example.org/x.git?access_token=" + w.secret("planted-in-query")
		_, err := w.CreateDistribution(w.ctx, fleet.NewDistribution{Name: "Pasted", UpdateType: "scripted", Settings: models.Settings{"url": address}})
		return err
	})
	w.work()
	in.Name, in.Settings = "Intranet 2", models.Settings{"url": "https://example.org/intranet.git", "auth": "1", "password": w.secret("planted-credential-2")}
	w.did("UpdateDistribution", func() error { _, err := w.UpdateDistribution(w.ctx, d.ID, in); return err })
	w.work()
	source := w.sources.at(in.Settings["url"])
	source.breaks(models.Errorf(models.Forbidden, "Nobody is let in.").Because(models.ReasonAuthentication))
	w.asked("CheckNow", func() (models.Task, error) { return w.CheckNow(w.ctx, d.ID) })
	source.breaks(nil)
	w.asked("TryAgain", func() (models.Task, error) { return w.TryAgain(w.ctx, d.ID) })
	w.did("RunQueueNow", func() error { _, err := w.RunQueueNow(w.ctx, "scripted"); return err })
	w.work()
	w.did("PauseQueue", func() error { return w.PauseQueue(w.ctx, "scripted", true) })
	w.did("SaveQueue", func() error {
		return w.SaveQueue(w.ctx, models.Queue{UpdateType: "scripted", Every: time.Hour, AtOnce: 3})
	})
	w.did("PauseQueue", func() error { return w.PauseQueue(w.ctx, "scripted", false) })
	w.did("SaveHost", func() error {
		h, err := w.Host(w.ctx, w.upstream(d).Host)
		ok(w.T, err)
		h.AtOnce = 2
		return w.SaveHost(w.ctx, h)
	})

	var hook models.Webhook
	w.did("CreateWebhook", func() error {
		h, secret, err := w.CreateWebhook(w.ctx, d.ID, fleet.NewWebhook{Provider: models.ProviderGitHub})
		w.secret(secret)
		w.secret(h.Address)
		hook = h
		return err
	})
	w.did("RotateWebhook", func() error { secret, err := w.RotateWebhook(w.ctx, hook.ID, ""); w.secret(secret); return err })
	row, err := w.Webhook(w.ctx, hook.ID, 0)
	ok(w.T, err)
	w.did("RetireWebhookSecret", func() error { return w.RetireWebhookSecret(w.ctx, hook.ID, row.Secrets[0].ID) })
	w.did("DeleteWebhook", func() error { _, err := w.DeleteWebhook(w.ctx, hook.ID); return err })

	w.did("CreateDistribution", func() (err error) {
		byHand, err = w.CreateDistribution(w.ctx, fleet.NewDistribution{Name: "By hand", UpdateType: "byhand"})
		return err
	})
	w.did("RegisterPlatform", func() error { _, err := w.RegisterPlatform(w.ctx, byHand.ID, "/srv/code", ""); return err })
	w.work()
}

func (w *walker) siteCare() {
	old, target, sites := w.behind("museum.example.org", "library.example.org", "park.example.org", "pool.example.org")
	site, second := sites[0].ID, sites[1].ID
	w.asked("VerifyPlatform", func() (models.Task, error) { return w.VerifyPlatform(w.ctx, target.ID) })
	w.did("UnlockPlatform", func() error { return w.UnlockPlatform(w.ctx, old.ID) })
	w.did("LockPlatform", func() error { return w.LockPlatform(w.ctx, old.ID) })
	w.did("HoldSite", func() error { return w.HoldSite(w.ctx, site, "A fair is on.", nil) })
	w.did("ReleaseSite", func() error { return w.ReleaseSite(w.ctx, site) })
	w.asked("VerifySite", func() (models.Task, error) { return w.VerifySite(w.ctx, site) })
	w.asked("RunCron", func() (models.Task, error) { return w.RunCron(w.ctx, site) })
	w.did("LoginToSite", func() error { link, err := w.LoginToSite(w.ctx, site); w.secret(link); return err })
	w.asked("ConfigureSite", func() (models.Task, error) {
		return w.ConfigureSite(w.ctx, site, fleet.SiteSettings{Aliases: []string{"www.museum.example.org"}, Redirect: true})
	})
	changed := w.lines(fleet.EventFilter{Name: "museum.example.org", Verb: "configure", Query: "aliases"})
	if len(changed) != 1 || !slices.Contains(changed[0].Changes, models.Change{Field: "aliases", After: "www.museum.example.org"}) {
		w.Errorf("what changed: %+v", changed)
	}
	w.did("GiveSite", func() error {
		c, err := w.SaveClient(w.ctx, models.Client{Name: "Town"})
		ok(w.T, err)
		return w.GiveSite(w.ctx, site, c.ID)
	})
	w.asked("BackupSite", func() (models.Task, error) { return w.BackupSite(w.ctx, site, "before the fair", false) })
	list, err := w.fleet.Backups(w.ctx, site, 1)
	ok(w.T, err)
	backup := list[0].ID
	w.did("KeepBackup", func() error { return w.KeepBackup(w.ctx, backup, true) })
	w.did("KeepBackup", func() error { return w.KeepBackup(w.ctx, backup, false) })
	w.asked("RestoreSite", func() (models.Task, error) { return w.RestoreSite(w.ctx, backup, old.ID) })
	w.did("DeleteBackup", func() error { return w.DeleteBackup(w.ctx, backup) })

	w.asked("CompareNow", func() (models.Task, error) { return w.CompareNow(w.ctx, site) })
	w.asked("UpgradeSite", func() (models.Task, error) { return w.UpgradeSite(w.ctx, site, target.ID) })
	plan, err := w.fleet.RollbackPlan(w.ctx, site)
	ok(w.T, err)
	w.asked("RollbackSite", func() (models.Task, error) { return w.RollbackSite(w.ctx, site, plan.Upgrade.ID) })
	w.asked("UpgradeToTarget", func() (models.Task, error) { return w.UpgradeToTarget(w.ctx, second) })
	w.asked("UpgradePlatform", func() (models.Task, error) { return w.UpgradePlatform(w.ctx, old.ID, target.ID) })
	next := w.moves(w.reload(models.Distribution{ID: target.DistributionID}), "c3")
	w.asked("UpgradePlatformToTarget", func() (models.Task, error) { return w.UpgradePlatformToTarget(w.ctx, target.ID) })
	w.did("SetTarget", func() error { return w.SetTarget(w.ctx, target.ID) })
	w.did("SetTarget", func() error { return w.SetTarget(w.ctx, next.ID) })

	w.asked("DisableSite", func() (models.Task, error) { return w.DisableSite(w.ctx, site) })
	w.hosting.verify = models.Errorf(models.Unavailable, "It answers 500.")
	failed := w.asked("EnableSite", func() (models.Task, error) { return w.EnableSite(w.ctx, site) })
	w.hosting.verify = nil
	w.asked("RetryTask", func() (models.Task, error) { return w.RetryTask(w.ctx, failed.ID) })
	w.asked("CloneSite", func() (models.Task, error) {
		_, err := w.CloneSite(w.ctx, fleet.NewClone{FromSite: site, URI: "copy.example.org", PlatformID: next.ID})
		return models.Task{}, err
	})
	w.asked("FindSites", func() (models.Task, error) { return w.FindSites(w.ctx, "/srv/elsewhere") })
	w.hosting.install = func(context.Context, models.Site) error { return errors.New("no") }
	var broken models.Site
	w.did("CreateSite", func() (err error) {
		broken, err = w.CreateSite(w.ctx, fleet.NewSite{URI: "new.example.org", Profile: "standard", PlatformID: next.ID})
		return err
	})
	w.work()
	w.hosting.install = nil
	w.asked("RetryInstall", func() (models.Task, error) { return w.RetryInstall(w.ctx, broken.ID) })
	w.did("CancelTask", func() error {
		task, err := w.RunCron(w.ctx, second)
		ok(w.T, err)
		return w.CancelTask(w.ctx, task.ID)
	})
	w.asked("DeleteSite", func() (models.Task, error) { return w.DeleteSite(w.ctx, broken.ID, "new.example.org", false) })

	w.sources.at(address).builder(func(context.Context, string) error { return errors.New("no") })
	bad := w.moves(w.reload(models.Distribution{ID: target.DistributionID}), "d4")
	w.sources.at(address).builder(nil)
	w.asked("RetryBuild", func() (models.Task, error) { return w.RetryBuild(w.ctx, bad.ID) })
	w.sources.at(address).builder(func(context.Context, string) error { return errors.New("no") })
	bad = w.moves(w.reload(models.Distribution{ID: target.DistributionID}), "e5")
	w.asked("DeletePlatform", func() (models.Task, error) { return w.DeletePlatform(w.ctx, bad.ID) })

	spare, err := w.CreateDistribution(w.ctx, fleet.NewDistribution{Name: "Spare", UpdateType: "scripted", Settings: models.Settings{"url": "https://example.org/spare.git", "auth": "1", "password": w.secret("planted-credential-3")}})
	ok(w.T, err)
	w.work()
	w.did("DeleteDistribution", func() error { return w.DeleteDistribution(w.ctx, spare.ID) })
}

// kindsElsewhere are kinds of lines that other tests look for, and why.
var kindsElsewhere = map[string]string{
	"invite":         elsewhere["AddServer"],
	"join":           elsewhere["AddServer"],
	"remove":         elsewhere["AddServer"],
	"relocate":       elsewhere["RelocateSite"],
	"channel resend": elsewhere["ResendMessage"],
	"approve":        elsewhere["Approve"],
}

// everyKindIsThere fails unless the record has a line of every kind that the code names.
// Those that are named after a state come from the tables of transitions.
func (w *world) everyKindIsThere(lines []fleet.EventRow) {
	w.Helper()
	there := map[string]bool{}
	for _, e := range lines {
		there[e.Verb] = true
	}
	kinds := kindsInCode(w.T, ".", "../store")
	for _, kind := range kinds {
		if !there[kind] && kindsElsewhere[kind] == "" {
			w.Errorf("nobody looked at a line of the kind %q: have the test do it, or say where it is looked at", kind)
		}
	}
	for kind := range kindsElsewhere {
		if !slices.Contains(kinds, kind) {
			w.Errorf("there is no kind %q in the code any more", kind)
		}
	}
	w.Logf("%d kinds are named in the code", len(kinds))
}

// kindsInCode lists the verbs of the record that packages write down.
func kindsInCode(t *testing.T, dirs ...string) []string {
	t.Helper()
	found := map[string]bool{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		ok(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || filepath.Base(file) == "seed.go" {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			ok(t, err)
			for _, part := range parsed.Decls {
				kindsIn(t, part, found)
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// kindsIn finds verbs where one is put into an event: f.event(by, VERB, …) or
// models.Event{Verb: VERB}.
func kindsIn(t *testing.T, part ast.Decl, found map[string]bool) {
	t.Helper()
	ast.Inspect(part, func(n ast.Node) bool {
		var verb ast.Expr
		switch n := n.(type) {
		case *ast.CallExpr:
			if to, is := n.Fun.(*ast.SelectorExpr); is && to.Sel.Name == "event" && len(n.Args) == 4 {
				verb = n.Args[1] // of Fleet
			} else if is && to.Sel.Name == "event" && len(n.Args) == 5 {
				verb = n.Args[2] // of Store
			}
		case *ast.KeyValueExpr:
			if key, is := n.Key.(*ast.Ident); is && key.Name == "Verb" {
				verb = n.Value
			}
		}
		if verb != nil {
			for _, kind := range valuesOf(t, part, verb) {
				found[kind] = true
			}
		}
		return true
	})
}

// valuesOf gives the texts that an expression may be: a text, what a variable of the
// function is set to, or both joined. One that comes from a state or another event has
// none here.
func valuesOf(t *testing.T, part ast.Decl, e ast.Expr) (list []string) {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		ok(t, err)
		return []string{text}
	case *ast.BinaryExpr:
		for _, left := range valuesOf(t, part, e.X) {
			for _, right := range valuesOf(t, part, e.Y) {
				list = append(list, left+right)
			}
		}
	case *ast.IndexExpr: // map[bool]string{true: "pause", false: "resume"}[paused]
		if all, is := e.X.(*ast.CompositeLit); is {
			for _, one := range all.Elts {
				if pair, is := one.(*ast.KeyValueExpr); is {
					list = append(list, valuesOf(t, part, pair.Value)...)
				}
			}
		}
	case *ast.Ident:
		ast.Inspect(part, func(n ast.Node) bool {
			set, is := n.(*ast.AssignStmt)
			if !is || len(set.Lhs) != len(set.Rhs) {
				return true
			}
			for i, to := range set.Lhs {
				if name, is := to.(*ast.Ident); is && name.Name == e.Name {
					list = append(list, valuesOf(t, part, set.Rhs[i])...)
				}
			}
			return true
		})
	}
	return list
}
