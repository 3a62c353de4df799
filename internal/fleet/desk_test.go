package fleet_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

// free are the parts of a desk that tell nobody anything which must be asked for.
var free = []string{"Actor", "SiteURL", "SecretsSet", "UpdateTypes", "Follow"}

// needs is what each part of a desk takes.
var needs = map[string]models.Permission{
	"Fleet": models.MaySeeSites, "Decisions": models.MaySeeSites, "RunningTasks": models.MaySeeSites, "RecentTasks": models.MaySeeSites,
	"Sites": models.MaySeeSites, "Tasks": models.MaySeeSites, "SiteRow": models.MaySeeSites, "SiteNamed": models.MaySeeSites,
	"SiteUpgrades": models.MaySeeSites, "UpgradeRows": models.MaySeeSites, "Backups": models.MaySeeSites, "BackupRows": models.MaySeeSites, "Backup": models.MaySeeSites, "UpgradePlan": models.MaySeeSites,
	"RollbackPlan": models.MaySeeSites, "Task": models.MaySeeSites, "Children": models.MaySeeSites, "Lines": models.MaySeeSites,
	"UpgradeOfTask": models.MaySeeSites, "UpgradeSteps": models.MaySeeSites, "Platform": models.MaySeeSites, "PlatformsByID": models.MaySeeSites, "SubjectName": models.MaySeeSites, "SubjectTasks": models.MaySeeSites,

	"Distribution": models.MaySeeFleet, "Distributions": models.MaySeeFleet, "DistributionNames": models.MaySeeFleet, "DistributionNamed": models.MaySeeFleet, "DistributionPlatforms": models.MaySeeFleet,
	"DistributionChecks": models.MaySeeFleet, "CheckRows": models.MaySeeFleet, "Pending": models.MaySeeFleet, "PlatformNamed": models.MaySeeSites, "PlatformRow": models.MaySeeFleet,
	"Platforms": models.MaySeeFleet, "OpenPlatforms": models.MaySeeFleet, "PlatformChoices": models.MaySeeFleet, "Queues": models.MaySeeFleet, "PlatformPlan": models.MaySeeFleet, "ComparePlatforms": models.MaySeeFleet,
	"DiffPlatforms": models.MaySeeFleet, "QueueRows": models.MaySeeFleet, "HostRows": models.MaySeeFleet, "DatabaseServers": models.MaySeeFleet, "DatabaseServerChoices": models.MaySeeFleet,
	"DatabaseServer": models.MaySeeFleet, "DatabaseServerNamed": models.MaySeeFleet, "DatabaseServerRow": models.MaySeeFleet, "Clients": models.MaySeeFleet, "Servers": models.MaySeeFleet, "ServerNamed": models.MaySeeFleet, "ServerRow": models.MaySeeFleet, "ServerChoices": models.MaySeeFleet, "ServerPlatforms": models.MaySeeFleet, "PlatformServers": models.MaySeeFleet, "ClientNames": models.MaySeeFleet, "ClientNamed": models.MaySeeFleet, "ClientRows": models.MaySeeFleet, "UserNamed": models.MayManageUsers, "Client": models.MaySeeFleet,

	"CheckNow": models.MayCheck, "TryAgain": models.MayCheck, "Approve": models.MayBuild, "RetryBuild": models.MayBuild,
	"VerifyPlatform": models.MayVerifyPlatforms, "UpgradePlatform": models.MayUpgradePlatforms, "UpgradePlatformToTarget": models.MayUpgradePlatforms,
	"RunQueueNow": models.MayRunQueues, "PauseQueue": models.MayRunQueues,

	"CompareNow": models.MayUpgrade, "UpgradeSite": models.MayUpgrade, "UpgradeToTarget": models.MayUpgrade, "RollbackSite": models.MayUpgrade,
	"BackupSite": models.MayBackUp, "RestoreSite": models.MayRestore, "RetryInstall": models.MayOperateSites, "VerifySite": models.MayOperateSites,
	"HoldSite": models.MayOperateSites, "ReleaseSite": models.MayOperateSites, "RunCron": models.MayOperateSites, "LoginToSite": models.MaySignInToSites,
	"CancelTask": models.MayCancelTasks, "RetryTask": models.MayCancelTasks,

	"RelocateSite": models.MayRelocateSites, "ConfigureSite": models.MayConfigureSites, "DisableSite": models.MayConfigureSites, "EnableSite": models.MayConfigureSites,
	"KeepBackup": models.MayConfigureSites, "DeleteBackup": models.MayConfigureSites, "DeleteSite": models.MayDeleteSites,
	"CreateSite": models.MayCreateSites, "CloneSite": models.MayCreateSites, "FindSites": models.MayCreateSites, "FoundSites": models.MayCreateSites,

	"CreateDistribution": models.MayManageDistributions, "UpdateDistribution": models.MayManageDistributions, "DeleteDistribution": models.MayManageDistributions,
	"RegisterPlatform": models.MayManageDistributions, "Webhooks": models.MayManageDistributions, "Webhook": models.MayManageDistributions,
	"CreateWebhook": models.MayManageDistributions, "RotateWebhook": models.MayManageDistributions,
	"RetireWebhookSecret": models.MayManageDistributions, "DeleteWebhook": models.MayManageDistributions,
	"SetTarget": models.MayManagePlatforms, "LockPlatform": models.MayManagePlatforms, "UnlockPlatform": models.MayManagePlatforms,
	"DeletePlatform": models.MayManagePlatforms, "SaveClient": models.MayManageClients, "DeleteClient": models.MayManageClients,
	"GiveSite": models.MayManageClients,

	"AddServer": models.MayManageServers, "CanAddServers": models.MayManageServers, "InviteServer": models.MayManageServers, "RemoveServer": models.MayManageServers,
	"SaveDatabaseServer": models.MayManageServers, "TestDatabaseServer": models.MayManageServers, "DeleteDatabaseServer": models.MayManageServers,
	"Channels": models.MayChangeSettings, "Channel": models.MayChangeSettings, "ChannelNamed": models.MayChangeSettings, "MessageRows": models.MayChangeSettings, "SaveChannel": models.MayChangeSettings,
	"RotateChannelSecret": models.MayChangeSettings, "PauseChannel": models.MayChangeSettings, "DeleteChannel": models.MayChangeSettings,
	"TestChannel": models.MayChangeSettings, "ResendMessage": models.MayChangeSettings,
	"SaveQueue": models.MayChangeSettings, "SaveHost": models.MayChangeSettings,
	"Events": models.MaySeeAudit, "EachEvent": models.MaySeeAudit,
	"UserRows": models.MayManageUsers, "User": models.MayManageUsers, "AsksForCode": models.MayManageUsers, "AddUser": models.MayManageUsers, "ChangeUser": models.MayManageUsers,
	"SetPassword": models.MayManageUsers, "DropSecondFactor": models.MayManageUsers, "LoginLink": models.MayManageUsers, "CreateToken": models.MayManageUsers,
	"Tokens": models.MayManageUsers, "RevokeToken": models.MayManageUsers,
}

// Parts of a desk that are about one site, one backup of a site, or one task on it:
// their first number says which.
var (
	aboutSite = []string{
		"SiteRow", "SiteUpgrades", "UpgradeRows", "Backups", "BackupRows", "UpgradePlan", "RollbackPlan", "CompareNow", "UpgradeSite", "UpgradeToTarget", "RollbackSite", "BackupSite",
		"RetryInstall", "VerifySite", "HoldSite", "ReleaseSite", "RunCron", "LoginToSite", "ConfigureSite", "DisableSite", "EnableSite", "DeleteSite",
	}
	aboutBackup = []string{"Backup", "RestoreSite", "KeepBackup", "DeleteBackup"}
	aboutTask   = []string{"Task", "Children", "Lines", "UpgradeOfTask", "CancelTask", "RetryTask"}
)

// everybody is every role, as the host's own and as a client's.
func everybody(client int64) []models.Actor {
	var list []models.Actor
	for _, role := range append(models.Roles(), "") {
		list = append(list, models.Actor{Name: "who", Role: role}, models.Actor{Name: "who", Role: role, ClientID: client})
	}
	return list
}

// call calls a part of a desk with arguments that lead nowhere; its first number is
// the one given. It gives the error.
func call(t *testing.T, w *world, d *fleet.Desk, name string, id int64) error {
	t.Helper()
	method := reflect.ValueOf(d).MethodByName(name)
	args := []reflect.Value{reflect.ValueOf(w.ctx)}
	given := false
	for i := 1; i < method.Type().NumIn(); i++ {
		arg := reflect.New(method.Type().In(i)).Elem()
		if arg.Kind() == reflect.Int64 && !given {
			arg.SetInt(id)
			given = true
		}
		if arg.Kind() == reflect.Func {
			arg.Set(reflect.MakeFunc(arg.Type(), func([]reflect.Value) []reflect.Value { return []reflect.Value{reflect.Zero(arg.Type().Out(0))} }))
		}
		args = append(args, arg)
	}
	results := method.Call(args)
	err, _ := reflect.TypeAssert[error](results[len(results)-1])
	return err
}

// Whoever adds a use case to the desk says here what it takes; every role gets
// exactly that.
func TestDesk_EveryUseCase_TakesItsPermission(t *testing.T) {
	w := newWorld(t, onSQLite(t))
	desk := reflect.TypeFor[*fleet.Desk]()
	asked := 0
	for method := range desk.Methods() {
		name := method.Name
		p, known := needs[name]
		if slices.Contains(free, name) {
			continue
		}
		if !known {
			t.Errorf("nobody said what %s takes", name)
			continue
		}
		for _, who := range everybody(7) {
			asked++
			err := call(t, w, w.fleet.For(who), name, 0)
			if got, want := models.CodeOf(err) == models.Forbidden, !who.May(p); got != want {
				t.Errorf("%s by %q of client %d: %v; it takes %q", name, who.Role, who.ClientID, err, p)
			}
		}
	}
	t.Logf("%d use cases × roles", asked)
	for name := range needs {
		if _, there := desk.MethodByName(name); !there {
			t.Errorf("there is no %s any more", name)
		}
	}
}

func TestDesk_Client_HasItsOwnSitesOnly(t *testing.T) {
	each(t, func(w *world) {
		_, _, sites := w.behind("ours.example.org", "theirs.example.org")
		clients := make([]models.Client, 2)
		backups, tasks := make([]int64, 2), make([]int64, 2)
		for i, name := range []string{"Ours", "Theirs"} {
			c, err := w.fleet.SaveClient(w.ctx, "ada", models.Client{Name: name})
			ok(w.T, err)
			clients[i] = c
			ok(w.T, w.fleet.GiveSite(w.ctx, "ada", sites[i].ID, c.ID))
			task, err := w.fleet.BackupSite(w.ctx, "ada", sites[i].ID, "", false)
			ok(w.T, err)
			w.run(task.ID)
			list, err := w.Backups(w.ctx, sites[i].ID, 1)
			ok(w.T, err)
			backups[i], tasks[i] = list[0].ID, task.ID
		}
		who := models.Actor{Name: "who", Role: models.RoleManager, ClientID: clients[0].ID}
		d := w.fleet.For(who)
		for names, ids := range map[*[]string][]int64{
			&aboutSite: {sites[0].ID, sites[1].ID}, &aboutBackup: {backups[0], backups[1]}, &aboutTask: {tasks[0], tasks[1]},
		} {
			for _, name := range *names {
				if err := call(w.T, w, d, name, ids[1]); models.CodeOf(err) != models.NotFound {
					w.Errorf("%s of somebody else's: %v", name, err)
				}
				if err := call(w.T, w, d, name, ids[0]); models.CodeOf(err) == models.Forbidden {
					w.Errorf("%s of one's own: %v", name, err)
				}
			}
		}
		if _, err := d.SiteNamed(w.ctx, "theirs.example.org"); models.CodeOf(err) != models.NotFound {
			w.Errorf("found by its name: %v", err)
		}
		rows, total, err := d.Sites(w.ctx, fleet.Filter{})
		ok(w.T, err)
		if total != 1 || rows[0].ID != sites[0].ID {
			w.Errorf("%d sites: %v", total, rows)
		}
		// Nobody widens the view by asking for somebody else's.
		if _, total, err := d.Sites(w.ctx, fleet.Filter{ClientID: clients[1].ID}); err != nil || total != 1 {
			w.Errorf("%d sites of another client's filter: %v", total, err)
		}
		list, _, err := d.Tasks(w.ctx, fleet.Filter{})
		ok(w.T, err)
		for _, t := range list {
			if t.Subject != (models.Subject{Kind: models.SubjectSite, ID: sites[0].ID}) {
				w.Errorf("sees the task %q", t.Title)
			}
		}
		p, err := d.Platform(w.ctx, sites[0].PlatformID)
		ok(w.T, err)
		if p.Root != "" || p.Name == "" {
			w.Errorf("a client sees of its platform: %+v", p)
		}
		if err := w.fleet.DeleteClient(w.ctx, "ada", clients[0].ID); models.CodeOf(err) != models.Conflict {
			w.Errorf("deleted a client with sites: %v", err)
		}
	})
}

func TestFleet_ChangeUser_KeepsAnAdministrator(t *testing.T) {
	each(t, func(w *world) {
		first, err := w.fleet.CreateUser(w.ctx, "first", "")
		ok(w.T, err)
		c, err := w.fleet.SaveClient(w.ctx, "first", models.Client{Name: "Museum"})
		ok(w.T, err)
		for _, in := range []fleet.NewUser{{Role: models.RoleManager}, {Role: models.RoleAdministrator, Disabled: true}} {
			if err := w.fleet.ChangeUser(w.ctx, "first", first.ID, in); models.CodeOf(err) != models.Conflict || !strings.Contains(err.Error(), "last administrator") {
				w.Errorf("%+v: %v", in, err)
			}
		}
		if err := w.fleet.ChangeUser(w.ctx, "first", first.ID, fleet.NewUser{Role: models.RoleAdministrator, ClientID: c.ID}); models.CodeOf(err) != models.Invalid {
			w.Errorf("an administrator of one client: %v", err)
		}
		if _, err := w.fleet.AddUser(w.ctx, "first", fleet.NewUser{Name: "second", Role: "king"}); models.CodeOf(err) != models.Invalid {
			w.Errorf("a role that there is not: %v", err)
		}
		if _, err := w.fleet.AddUser(w.ctx, "first", fleet.NewUser{Name: "second", Role: models.RoleViewer, ClientID: 99}); models.CodeOf(err) != models.Invalid {
			w.Errorf("a client that there is not: %v", err)
		}
		second, err := w.fleet.AddUser(w.ctx, "first", fleet.NewUser{Name: "second", Role: models.RoleAdministrator})
		ok(w.T, err)
		ok(w.T, w.fleet.ChangeUser(w.ctx, "second", first.ID, fleet.NewUser{Role: models.RoleViewer, ClientID: c.ID}))
		got, err := w.fleet.User(w.ctx, first.ID)
		ok(w.T, err)
		if a := got.Actor(); a.Role != models.RoleViewer || a.ClientID != c.ID {
			w.Errorf("became %+v", a)
		}
		ok(w.T, w.fleet.ChangeUser(w.ctx, "second", first.ID, fleet.NewUser{Role: models.RoleViewer, Disabled: true}))
		if got, err = w.fleet.User(w.ctx, first.ID); err != nil || got.Actor().May(models.MaySeeSites) {
			w.Errorf("may still see: %+v, %v", got, err)
		}
		rows, total, err := w.UserRows(w.ctx, fleet.Filter{})
		ok(w.T, err)
		if total != 2 || rows[1].ID != second.ID {
			w.Errorf("users %+v", rows)
		}
	})
}
