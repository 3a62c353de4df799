package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type platformCmd struct {
	List    platformListCmd    `cmd:"" help:"List platforms."`
	Show    platformShowCmd    `cmd:"" help:"Print what is known of a platform."`
	Plan    platformPlanCmd    `cmd:"" help:"Say what upgrading every site of a platform would change."`
	Verify  platformVerifyCmd  `cmd:"" help:"Compare a platform's files with those that were built."`
	Lock    platformLockCmd    `cmd:"" help:"Bar a platform from new sites."`
	Unlock  platformUnlockCmd  `cmd:"" help:"Let a platform take new sites."`
	Target  platformTargetCmd  `cmd:"" help:"Make a platform its distribution's upgrade target."`
	Upgrade platformUpgradeCmd `cmd:"" help:"Upgrade every site of a platform."`
	Diff    platformDiffCmd    `cmd:"" help:"Compare two platforms, and what moving the sites of the first would meet."`
	Servers platformServersCmd `cmd:"" help:"List the servers that a platform was brought to."`
	Build   platformBuildCmd   `cmd:"" help:"Build a failed platform again."`
	Delete  platformDeleteCmd  `cmd:"" help:"Delete a platform that no site needs."`
}

type platformListCmd struct {
	act
	Query string `help:"Part of the name."`
	State string `enum:",queued,building,ready,failed,deleting,deleted" default:"" help:"Only platforms in this state: queued, building, ready, failed, deleting or deleted."`
	Limit int    `default:"1000" help:"At most so many."`
}

// Run prints the list.
func (c *platformListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, _, err := f.Platforms(ctx, fleet.Filter{Query: c.Query, State: c.State, Limit: c.Limit})
		if err != nil {
			return err
		}
		list := each(rows, api.PlatformView)
		return c.table(list, []string{"PLATFORM", "DISTRIBUTION", "STATE", "DRUPAL", "SITES", ""}, func(line func(...any)) {
			for _, p := range list {
				mark := ""
				if p.Locked {
					mark = "locked"
				}
				if p.UpgradeTarget {
					mark = "upgrade target"
				}
				line(p.Name, p.Distribution, p.State, p.DrupalVersion, p.Sites, mark)
			}
		})
	})
}

// platformArg names the platform of a command.
type platformArg struct {
	Name string `arg:"" name:"platform" help:"The platform's name."`
}

type platformVerifyCmd struct {
	waiting
	platformArg
}

// Run queues the comparison.
func (c *platformVerifyCmd) Run(ctx context.Context) error {
	return c.onPlatform(ctx, c.Name, func(f door, p models.Platform) (models.Task, error) {
		return f.VerifyPlatform(ctx, p.ID)
	})
}

// at does something with a platform that needs no task.
func (c *act) at(ctx context.Context, name string, work func(f door, id int64) error) error {
	return c.reach(ctx, func(f door) error {
		p, err := f.PlatformNamed(ctx, name)
		if err != nil {
			return err
		}
		return work(f, p.ID)
	})
}

type platformLockCmd struct {
	act
	platformArg
}

// Run locks it.
func (c *platformLockCmd) Run(ctx context.Context) error {
	return c.at(ctx, c.Name, func(f door, id int64) error { return f.LockPlatform(ctx, id) })
}

type platformUnlockCmd struct {
	act
	platformArg
}

// Run unlocks it.
func (c *platformUnlockCmd) Run(ctx context.Context) error {
	return c.at(ctx, c.Name, func(f door, id int64) error { return f.UnlockPlatform(ctx, id) })
}

type platformTargetCmd struct {
	act
	platformArg
}

// Run makes it the target.
func (c *platformTargetCmd) Run(ctx context.Context) error {
	return c.at(ctx, c.Name, func(f door, id int64) error { return f.SetTarget(ctx, id) })
}

type platformUpgradeCmd struct {
	waiting
	platformArg
	To string `placeholder:"PLATFORM" help:"Move them to this platform of the same distribution, not to the upgrade target."`
}

// Run queues the upgrades.
func (c *platformUpgradeCmd) Run(ctx context.Context) error {
	return c.onPlatform(ctx, c.Name, func(f door, p models.Platform) (models.Task, error) {
		if c.To == "" {
			return f.UpgradePlatformToTarget(ctx, p.ID)
		}
		to, err := f.PlatformNamed(ctx, c.To)
		if err != nil {
			return models.Task{}, err
		}
		return f.UpgradePlatform(ctx, p.ID, to.ID)
	})
}

type platformDiffCmd struct {
	act
	From string `arg:"" help:"A platform's name."`
	To   string `arg:"" help:"Another platform's name."`
	All  bool   `help:"Also packages that are the same."`
}

// Run prints the differences.
func (c *platformDiffCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		from, err := f.PlatformNamed(ctx, c.From)
		if err != nil {
			return err
		}
		to, err := f.PlatformNamed(ctx, c.To)
		if err != nil {
			return err
		}
		diff, err := f.DiffPlatforms(ctx, from.ID, to.ID)
		if err != nil {
			return err
		}
		return c.print(api.PlatformDiffView(diff))
	})
}

func (c *platformDiffCmd) print(diff api.PlatformDiff) error {
	if c.JSON {
		return printJSON(os.Stdout, diff)
	}
	version := func(p models.Package) string {
		if p.Schema > 0 {
			return fmt.Sprintf("%s (%d)", p.Version, p.Schema)
		}
		return p.Version
	}
	err := c.table(nil, []string{"PACKAGE", "TYPE", "FROM (SCHEMA)", "TO (SCHEMA)", ""}, func(line func(...any)) {
		for _, d := range diff.Packages {
			if c.All || d.Difference != models.DiffSame {
				line(d.Name, d.Type, version(d.From), version(d.To), d.Difference)
			}
		}
	})
	if err != nil || len(diff.Sites) == 0 {
		return err
	}
	return c.table(nil, []string{"SITE", "DATABASE UPDATES", "CANNOT GO BECAUSE"}, func(line func(...any)) {
		for _, s := range diff.Sites {
			if !s.Asked {
				line(s.Site, "not asked yet", "")
				continue
			}
			line(s.Site, s.Updates, strings.Join(s.Blockers, " "))
		}
	})
}

type platformBuildCmd struct {
	waiting
	platformArg
}

// Run queues the build.
func (c *platformBuildCmd) Run(ctx context.Context) error {
	return c.onPlatform(ctx, c.Name, func(f door, p models.Platform) (models.Task, error) {
		return f.RetryBuild(ctx, p.ID)
	})
}

type platformDeleteCmd struct {
	waiting
	platformArg
}

// Run queues the deletion.
func (c *platformDeleteCmd) Run(ctx context.Context) error {
	return c.onPlatform(ctx, c.Name, func(f door, p models.Platform) (models.Task, error) {
		return f.DeletePlatform(ctx, p.ID)
	})
}

type databaseCmd struct {
	List   databaseListCmd   `cmd:"" help:"List the database servers for sites."`
	Show   databaseShowCmd   `cmd:"" help:"Print what is known of a database server."`
	Add    databaseAddCmd    `cmd:"" help:"Register a database server, once it has shown that it can do what is asked of it. Its password is read from standard input."`
	Change databaseChangeCmd `cmd:"" help:"Change how a database server is reached, once it has shown that it can do what is asked of it there. What is not named stays."`
	Test   databaseTestCmd   `cmd:"" help:"Ask a server again to connect, create, grant and drop."`
	Delete databaseDeleteCmd `cmd:"" help:"Forget a server that no site uses. Nothing on it is changed."`
}

type databaseListCmd struct{ act }

// Run prints the list.
func (c *databaseListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, err := f.DatabaseServers(ctx)
		if err != nil {
			return err
		}
		return c.table(each(rows, api.DatabaseView), []string{"SERVER", "KIND", "HOST", "VERSION", "SITES", "PROBLEM"}, func(line func(...any)) {
			for _, r := range rows {
				line(r.Name, r.Engine, r.Host, r.Version, r.Sites, r.Reason)
			}
		})
	})
}

type databaseAddCmd struct {
	act
	Name    string `arg:"" help:"What people call it."`
	Engine  string `required:"" enum:"mysql,postgres" help:"mysql (MariaDB, too) or postgres."`
	Host    string `required:"" help:"Host name, address, or absolute path of the socket (PostgreSQL: of its folder)."`
	Port    int    `help:"Port (default: the usual one)."`
	User    string `required:"" help:"User that may create databases and users."`
	TLS     string `name:"tls" default:"off" enum:"off,require,verify" help:"off, require or verify."`
	Clients string `help:"Where the sites' users may come from, as MySQL writes it (default: anywhere)."`
	Prefix  string `help:"Begins the name of every database and user that Hefring makes there (default: hefring)."`
	Default bool   `help:"New sites go there unless somebody says otherwise."`
}

// Run registers the server.
func (c *databaseAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageServers); err != nil {
			return err // before anything is read
		}
		password, err := readPassword(os.Stdin)
		if err != nil {
			return err
		}
		return c.saved(ctx, f, models.DatabaseServer{
			Name: c.Name, Engine: c.Engine, Host: c.Host, Port: c.Port, User: c.User, Password: password,
			TLS: models.TLSMode(c.TLS), Clients: c.Clients, Prefix: c.Prefix, Default: c.Default,
		})
	})
}

// saved saves a database server and says what it is.
func (c *act) saved(ctx context.Context, f door, in models.DatabaseServer) error {
	s, err := f.SaveDatabaseServer(ctx, in)
	if err != nil {
		return err
	}
	row, err := f.DatabaseServerRow(ctx, s.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(os.Stdout, api.DatabaseView(row))
	}
	printTo(os.Stdout, "%s: %s", row.Name, row.Version)
	return nil
}

type databaseChangeCmd struct {
	act
	Name     string  `arg:"" help:"The server's name."`
	Rename   *string `help:"What people call it from now on."`
	Host     *string `help:"Host name, address, or absolute path of the socket (PostgreSQL: of its folder)."`
	Port     *int    `help:"Port; 0 is the usual one."`
	User     *string `help:"User that may create databases and users."`
	TLS      string  `name:"tls" enum:",off,require,verify" default:"" help:"off, require or verify."`
	Clients  *string `help:"Where the sites' users may come from, as MySQL writes it."`
	Prefix   *string `help:"Begins the name of every database and user that Hefring makes there; fixed once a site uses it."`
	Default  *bool   `negatable:"" help:"New sites go there unless somebody says otherwise."`
	Password bool    `name:"new-password" help:"Read a new password from standard input. Without it the stored one stays, as long as the address does."`
}

// Run changes the server.
func (c *databaseChangeCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageServers); err != nil {
			return err // before anything is read
		}
		row, err := f.DatabaseServerRow(ctx, c.Name)
		if err != nil {
			return err
		}
		in := row.DatabaseServer
		replace(&in.Name, c.Rename)
		replace(&in.Host, c.Host)
		replace(&in.Port, c.Port)
		replace(&in.User, c.User)
		replace(&in.Clients, c.Clients)
		replace(&in.Prefix, c.Prefix)
		replace(&in.Default, c.Default)
		in.TLS = cmp.Or(models.TLSMode(c.TLS), in.TLS)
		if c.Password {
			if in.Password, err = readPassword(os.Stdin); err != nil {
				return err
			}
		}
		return c.saved(ctx, f, in)
	})
}

type databaseTestCmd struct {
	act
	Name string `arg:"" help:"The server's name."`
}

// Run tests the server.
func (c *databaseTestCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		id, err := f.DatabaseServerNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		return f.TestDatabaseServer(ctx, id)
	})
}

type databaseDeleteCmd struct {
	act
	Name string `arg:"" help:"The server's name."`
}

// Run forgets the server.
func (c *databaseDeleteCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		id, err := f.DatabaseServerNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		return f.DeleteDatabaseServer(ctx, id)
	})
}

type taskCmd struct {
	List   taskListCmd   `cmd:"" help:"List tasks."`
	Show   taskShowCmd   `cmd:"" help:"Print what is known of a task, with its steps and the tasks that it started."`
	Log    taskLogCmd    `cmd:"" help:"Print a task's log, and follow it until it ends."`
	Cancel taskCancelCmd `cmd:"" help:"Cancel a task."`
	Retry  taskRetryCmd  `cmd:"" help:"Do the same work once more."`
}

type taskListCmd struct {
	act
	State string `enum:",queued,running,succeeded,warning,recovered,failed,cancelled" default:"" help:"Only tasks in this state: queued, running, succeeded, warning, recovered, failed or cancelled."`
	Limit int    `default:"50" help:"At most so many."`
}

// Run prints the list.
func (c *taskListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		list, _, err := f.Tasks(ctx, fleet.Filter{State: c.State, Limit: c.Limit})
		if err != nil {
			return err
		}
		return c.table(each(list, api.TaskView), []string{"TASK", "QUEUED", "STATE", "TITLE", "RESULT"}, func(line func(...any)) {
			for _, t := range list {
				line(t.ID, t.CreatedAt.Format(time.DateTime), t.State, t.Title, t.Message)
			}
		})
	})
}

// taskArg names the task of a command.
type taskArg struct {
	ID int64 `arg:"" name:"task" help:"The task's number."`
}

type taskLogCmd struct {
	waiting
	taskArg
}

// Run follows the log; the exit code is that of --wait.
func (c *taskLogCmd) Run(ctx context.Context) error {
	c.Wait = true
	return c.queue(ctx, func(f door) (models.Task, error) { return f.Task(ctx, c.ID) })
}

type taskCancelCmd struct {
	act
	taskArg
}

// Run cancels it.
func (c *taskCancelCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error { return f.CancelTask(ctx, c.ID) })
}

type taskRetryCmd struct {
	waiting
	taskArg
}

// Run queues it.
func (c *taskRetryCmd) Run(ctx context.Context) error {
	return c.queue(ctx, func(f door) (models.Task, error) { return f.RetryTask(ctx, c.ID) })
}

type platformServersCmd struct {
	act
	platformArg
}

// Run prints the servers.
func (c *platformServersCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		p, err := f.PlatformNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		rows, err := f.PlatformServers(ctx, p.ID)
		if err != nil {
			return err
		}
		return c.table(each(rows, api.PlatformThereView), []string{"SERVER", "STATE", "PROBLEM"}, func(line func(...any)) {
			for _, r := range rows {
				line(r.Server, r.State, r.Reason)
			}
		})
	})
}
