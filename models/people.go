package models

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Role says what a person may do. Each role may do what the ones before it may.
type Role string

// Roles, from the least to the most.
const (
	RoleViewer        Role = "viewer"        // sees
	RoleOperator      Role = "operator"      // checks, builds, upgrades, backs up
	RoleManager       Role = "manager"       // distributions, platforms, sites, clients
	RoleAdministrator Role = "administrator" // users, servers, settings
)

// Roles lists them from the least to the most.
func Roles() []Role { return []Role{RoleViewer, RoleOperator, RoleManager, RoleAdministrator} }

// rank orders roles; 0 is none at all.
func (r Role) rank() int {
	for i, known := range Roles() {
		if r == known {
			return i + 1
		}
	}
	return 0
}

// Valid tells whether there is such a role.
func (r Role) Valid() bool { return r.rank() > 0 }

// AtLeast tells whether the role may do what another may.
func (r Role) AtLeast(other Role) bool { return r.Valid() && r.rank() >= other.rank() }

// Client is for whom sites are kept: a customer, a department. Users who belong to a
// client see its sites and no others.
type Client struct {
	ID        int64
	Name      string
	Note      string
	CreatedAt time.Time
}

// User is a person who may sign in.
type User struct {
	ID           int64
	Name         string
	PasswordHash string     `audit:"secret"`    // argon2id; "" allows login links only
	Role         Role       `gorm:"default:''"` // "" may do nothing
	ClientID     *int64     // whose sites are all that the user sees; nil: every site
	DisabledAt   *time.Time // may not sign in since then
	CreatedAt    time.Time
}

// Actor gives what the user may do.
func (u User) Actor() Actor {
	a := Actor{Name: u.Name, UserID: u.ID, Role: u.Role}
	if u.ClientID != nil {
		a.ClientID = *u.ClientID
	}
	if u.DisabledAt != nil {
		a.Role = ""
	}
	return a
}

// narrow has a program whose token is narrowed do no more than that: "" and nil do not
// narrow. Sites of a client that are not there for the user are not there either.
func (a Actor) narrow(role Role, client *int64) Actor {
	a.Narrowed = role != "" || client != nil
	if role != "" && a.Role.AtLeast(role) {
		a.Role = role
	}
	if client == nil {
		return a
	}
	if a.Bound() && a.ClientID != *client {
		a.Role = ""
	}
	a.ClientID = *client
	return a
}

// Actor is who wants something: a person, a program with a person's token, or
// somebody at the machine itself.
type Actor struct {
	Name     string
	UserID   int64 // 0: nobody who can sign in
	Role     Role
	ClientID int64    // whose sites are all that there is for the actor; 0: every site
	Entrance Entrance // where the actor comes from
	Token    string   // name of the token that a program came with; "" is a person
	Narrowed bool     // the token allows less than its user may
}

// Bound tells whether the actor sees the sites of one client only.
func (a Actor) Bound() bool { return a.ClientID != 0 }

// Sees tells whether a site is there for the actor.
func (a Actor) Sees(s Site) bool {
	return !a.Bound() || s.ClientID != nil && *s.ClientID == a.ClientID
}

// May tells whether the actor's role allows something at all. On which sites is
// what Sees says.
func (a Actor) May(p Permission) bool {
	g, known := grants[p]
	return known && a.Role.AtLeast(g.role) && (!a.Bound() || g.clients)
}

// Needs fails with Forbidden when May is false, and says who may.
func (a Actor) Needs(p Permission) error {
	switch g := grants[p]; {
	case a.May(p):
		return nil
	case a.Bound() && !g.clients:
		return Errorf(Forbidden, "Users of a client cannot %s. Ask whoever runs Hefring.", p)
	case a.Role == "":
		return Errorf(Forbidden, "Your account has no role. Ask an administrator.")
	default:
		return Errorf(Forbidden, "To %s takes the role %s; yours is %s. Ask an administrator.", p, g.role, a.Role)
	}
}

// Permission is something that roles allow.
type Permission string

// Permissions. Who has them says the table below, and nothing else.
const (
	MaySeeSites            Permission = "see sites, their backups and tasks"
	MaySeeFleet            Permission = "see distributions, platforms, queues, servers and database servers"
	MayCheck               Permission = "check sources"
	MayBuild               Permission = "build and approve versions"
	MayVerifyPlatforms     Permission = "verify platforms"
	MayUpgrade             Permission = "upgrade sites and roll back"
	MayUpgradePlatforms    Permission = "upgrade all sites of a platform"
	MayBackUp              Permission = "back sites up"
	MayRestore             Permission = "restore sites"
	MayOperateSites        Permission = "verify, hold and release sites, run their cron"
	MaySignInToSites       Permission = "sign in to sites as their administrator"
	MayCancelTasks         Permission = "cancel and retry tasks"
	MayRunQueues           Permission = "run, pause and resume queues"
	MayConfigureSites      Permission = "configure, enable and disable sites, keep and delete their backups"
	MayDeleteSites         Permission = "delete sites"
	MayCreateSites         Permission = "install, clone and import sites"
	MayRelocateSites       Permission = "move sites to other servers"
	MayManageDistributions Permission = "manage distributions and their webhooks"
	MayManagePlatforms     Permission = "lock, unlock, choose and delete platforms"
	MayManageClients       Permission = "manage clients and whose a site is"
	MayManageServers       Permission = "manage servers and database servers"
	MayChangeSettings      Permission = "change settings"
	MayManageUsers         Permission = "manage users"
	MaySeeAudit            Permission = "see the record of changes"
)

// grant says from which role on something is allowed, and whether the users of a
// client have it for their own sites.
type grant struct {
	role    Role
	clients bool
}

// grants is the table of permissions. docs/people.md shows it, which a test holds.
var grants = map[Permission]grant{ //nolint:gochecknoglobals // a table
	MaySeeSites:            {RoleViewer, true},
	MaySeeFleet:            {RoleViewer, false},
	MayCheck:               {RoleOperator, false},
	MayBuild:               {RoleOperator, false},
	MayVerifyPlatforms:     {RoleOperator, false},
	MayUpgrade:             {RoleOperator, true},
	MayUpgradePlatforms:    {RoleOperator, false},
	MayBackUp:              {RoleOperator, true},
	MayRestore:             {RoleOperator, true},
	MayOperateSites:        {RoleOperator, true},
	MaySignInToSites:       {RoleOperator, true},
	MayCancelTasks:         {RoleOperator, true},
	MayRunQueues:           {RoleOperator, false},
	MayConfigureSites:      {RoleManager, true},
	MayDeleteSites:         {RoleManager, true},
	MayCreateSites:         {RoleManager, false},
	MayRelocateSites:       {RoleManager, false},
	MayManageDistributions: {RoleManager, false},
	MayManagePlatforms:     {RoleManager, false},
	MayManageClients:       {RoleManager, false},
	MayManageServers:       {RoleAdministrator, false},
	MayChangeSettings:      {RoleAdministrator, false},
	MayManageUsers:         {RoleAdministrator, false},
	MaySeeAudit:            {RoleAdministrator, false},
}

// Permission is what it takes to start the task anew.
func (t Task) Permission() Permission {
	switch t.Kind {
	case TaskCheck:
		return MayCheck
	case TaskBuild:
		return MayBuild
	case TaskDeliver:
		return MayManageServers
	case TaskRelocate, TaskCloneTo, TaskSend, TaskReceive, TaskHandOver:
		return MayRelocateSites
	case TaskInstall, TaskClone, TaskImport:
		return MayCreateSites
	case TaskCompare, TaskUpgrade, TaskRollback:
		return MayUpgrade
	case TaskUpgradePlatform:
		return MayUpgradePlatforms
	case TaskRestore:
		return MayRestore
	case TaskBackup:
		return MayBackUp
	case TaskLogin:
		return MaySignInToSites
	case TaskLoss:
		return MaySeeSites
	case TaskEnable, TaskDisable, TaskConfigure, TaskDropBackup:
		return MayConfigureSites
	case TaskCron:
		return MayOperateSites
	case TaskVerify, TaskDelete: // what they take depends on their subject
	}
	if t.Subject.Kind == SubjectPlatform {
		return map[TaskKind]Permission{TaskVerify: MayVerifyPlatforms, TaskDelete: MayManagePlatforms}[t.Kind]
	}
	return map[TaskKind]Permission{TaskVerify: MayOperateSites, TaskDelete: MayDeleteSites}[t.Kind]
}

// Permissions lists all permissions by the role that has them, then by name.
func Permissions() []Permission {
	return slices.SortedFunc(maps.Keys(grants), func(a, b Permission) int {
		return cmp.Or(cmp.Compare(grants[a].role.rank(), grants[b].role.rank()), cmp.Compare(a, b))
	})
}
