package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Upgrade is one move of a site from a platform to another.
type Upgrade struct {
	ID              int64               `json:"id"`
	Kind            models.UpgradeKind  `json:"kind"`
	Task            int64               `json:"task"`
	Mode            models.Mode         `json:"mode"`
	State           models.UpgradeState `json:"state"`
	Reason          string              `json:"reason,omitempty"`
	FailedStep      models.StepName     `json:"failed_step,omitempty"`
	Switched        bool                `json:"switched" doc:"The point of no return was passed"`
	ReadOnlySeconds float64             `json:"read_only_seconds" doc:"How long writes were refused"`
	Updates         int                 `json:"database_updates" doc:"That it ran"`
	Started         *time.Time          `json:"started_at,omitempty"`
	Ended           *time.Time          `json:"ended_at,omitempty"`
	RolledBack      *time.Time          `json:"rolled_back_at,omitempty"`
	Steps           []UpgradeStep       `json:"steps,omitempty"`
}

// UpgradeStep is one step of a move.
type UpgradeStep struct {
	Name    models.StepName  `json:"name"`
	State   models.StepState `json:"state"`
	Message string           `json:"message,omitempty"`
	Started *time.Time       `json:"started_at,omitempty"`
	Ended   *time.Time       `json:"ended_at,omitempty"`
	Undone  *time.Time       `json:"undone_at,omitempty"`
}

// UpgradeView gives a move as programs read it, with its steps where they are known.
func UpgradeView(u models.Upgrade, steps []models.UpgradeStep) Upgrade {
	v := Upgrade{
		ID: u.ID, Kind: u.Kind, Task: u.TaskID, Mode: u.Mode, State: u.State, Reason: u.Reason, FailedStep: u.FailedStep, Switched: u.Switched,
		ReadOnlySeconds: u.ReadOnly.Seconds(), Updates: len(u.Updates), Started: u.StartedAt, Ended: u.EndedAt, RolledBack: u.RolledBackAt,
	}
	for _, one := range steps {
		v.Steps = append(v.Steps, UpgradeStep{one.Name, one.State, one.Message, one.StartedAt, one.EndedAt, one.UndoneAt})
	}
	return v
}

// moves is what moves of sites did and would do.
func (s *server) moves() {
	register(s, operation{get, "/sites/{site}/upgrades", "list-upgrades", "A site's moves, newest first"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		URI string `path:"site" doc:"The site's address"`
	},
	) (Page[Upgrade], error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return Page[Upgrade]{}, err
		}
		view := func(u models.Upgrade) Upgrade { return UpgradeView(u, nil) }
		return listed(in.Steps, view, func(u models.Upgrade) fleet.Position { return fleet.Position{ID: u.ID} }, func(filter fleet.Filter) ([]models.Upgrade, int, error) {
			return f.UpgradeRows(ctx, site.ID, filter)
		})
	})
	register(s, operation{get, "/tasks/{task}/upgrade", "get-upgrade", "The move that a task carries out, step by step"}, func(ctx context.Context, f Fleet, in TaskIn) (Upgrade, error) {
		u, err := f.UpgradeOfTask(ctx, in.ID)
		if err != nil {
			return Upgrade{}, err
		}
		steps, err := f.UpgradeSteps(ctx, u.ID)
		return UpgradeView(u, steps), err
	})
	s.onSite(operation{post, "/sites/{site}/compare", "compare-site", "Ask Drush what an upgrade of a site would do"}, Fleet.CompareNow)
	s.onSite(operation{post, "/sites/{site}/install", "retry-install", "Install a site again whose installation failed"}, Fleet.RetryInstall)
	s.plans()
}

// Plan is what an upgrade of a site would do.
type Plan struct {
	From        string                 `json:"from"`
	To          string                 `json:"to" doc:"The upgrade target"`
	Changes     []models.PackageChange `json:"changes" nullable:"false"`
	Asked       bool                   `json:"asked" doc:"Drush was asked already; see compare-site"`
	AskedAt     *time.Time             `json:"asked_at,omitempty"`
	Updates     []models.PendingUpdate `json:"database_updates,omitempty" doc:"That it would run"`
	Blockers    []string               `json:"blockers,omitempty"`
	RunningTask int64                  `json:"running_task,omitempty" doc:"That works on the site now"`
}

// PlanView gives what an upgrade would do as programs read it.
func PlanView(p fleet.Plan) Plan {
	v := Plan{From: p.From.Name, To: p.To.Name, Changes: list(p.Changes), RunningTask: p.RunningTask}
	if c := p.Comparison; c != nil {
		v.Asked, v.AskedAt, v.Updates, v.Blockers = true, &c.MadeAt, c.Updates, c.Blockers
	}
	return v
}

// PlatformPlan is what upgrading every site of a platform would do.
type PlatformPlan struct {
	From        string                 `json:"from"`
	To          string                 `json:"to"`
	Changes     []models.PackageChange `json:"changes" nullable:"false"`
	Sites       int                    `json:"sites" doc:"That would move; list-sites names those that are behind"`
	Compared    int                    `json:"compared"`
	Updates     int                    `json:"with_database_updates"`
	Blocked     int                    `json:"blocked"`
	RunningTask int64                  `json:"running_task,omitempty" doc:"That works on the platform now"`
}

// PlatformPlanView gives what upgrading a platform's sites would do as programs read it.
func PlatformPlanView(p fleet.PlatformPlan) PlatformPlan {
	return PlatformPlan{p.From.Name, p.To.Name, list(p.Changes), len(p.Sites), p.Compared, p.Updates, p.Blocked, p.RunningTask}
}

func (s *server) plans() {
	register(s, operation{get, "/sites/{site}/upgrade", "quote-upgrade", "What an upgrade of a site would do"}, func(ctx context.Context, f Fleet, in SiteIn) (Plan, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return Plan{}, err
		}
		p, err := f.UpgradePlan(ctx, site.ID)
		return PlanView(p), err
	})
	register(s, operation{get, "/platforms/{platform}/upgrade", "quote-platform-upgrade", "What upgrading every site of a platform would do"}, func(ctx context.Context, f Fleet, in PlatformIn) (PlatformPlan, error) {
		p, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return PlatformPlan{}, err
		}
		found, err := f.PlatformPlan(ctx, p.ID)
		return PlatformPlanView(found), err
	})
}

// Counts is the fleet in figures.
type Counts struct {
	Current       int `json:"current"`
	Behind        int `json:"behind"`
	Held          int `json:"held"`
	Broken        int `json:"broken"`
	Disabled      int `json:"disabled"`
	Busy          int `json:"busy"`
	Distributions int `json:"distributions"`
	Platforms     int `json:"platforms"`
}

// CountsView gives the figures of the fleet as programs read them.
func CountsView(c fleet.Counts) Counts {
	return Counts{c.Current, c.Behind, c.Held, c.Broken, c.Disabled, c.Busy, c.Distributions, c.Platforms}
}

// Decision is something that needs one.
type Decision struct {
	Kind    fleet.DecisionKind `json:"kind"`
	Subject models.SubjectKind `json:"subject" doc:"What kind of thing it is about"`
	Title   string             `json:"title" doc:"Its name"`
	Why     string             `json:"why"`
	Task    int64              `json:"task,omitempty" doc:"Whose log tells more"`
	Target  string             `json:"upgrade_target,omitempty"`
	Sites   int                `json:"sites"`
	At      time.Time          `json:"at"`
}

// DecisionView gives what needs a decision as programs read it.
func DecisionView(d fleet.Decision) Decision {
	return Decision{d.Kind, d.Subject.Kind, d.Title, d.Why, d.TaskID, d.PlatformName, d.Sites, d.At}
}

// First is how much of a list that has no parts is asked for.
type First struct {
	Caller

	Limit int `query:"limit" default:"100" minimum:"1" maximum:"500"`
}

// short is a list that has no parts.
func short[R, T any](s *server, o operation, view func(R) T, ask func(f Fleet, ctx context.Context, filter fleet.Filter) ([]R, error)) {
	register(s, o, func(ctx context.Context, f Fleet, in First) (Page[T], error) {
		rows, err := ask(f, ctx, fleet.Filter{Limit: in.Limit})
		page := Page[T]{Items: make([]T, 0, len(rows)), Total: len(rows)}
		for _, row := range rows {
			page.Items = append(page.Items, view(row))
		}
		return page, err
	})
}

// overview is the first page.
func (s *server) overview() {
	register(s, operation{get, "/fleet", "get-fleet", "The fleet in figures"}, func(ctx context.Context, f Fleet, _ Caller) (Counts, error) {
		c, err := f.Fleet(ctx, fleet.Filter{})
		return CountsView(c), err
	})
	short(s, operation{get, "/decisions", "list-decisions", "What needs a decision, most urgent first"}, DecisionView, Fleet.Decisions)
	short(s, operation{get, "/tasks/running", "list-running-tasks", "Tasks that run, then those that wait, each oldest first"}, TaskView, Fleet.RunningTasks)
	short(s, operation{get, "/tasks/recent", "list-recent-tasks", "Tasks that ended, newest first, without checks and crons that went well by themselves"}, TaskView, Fleet.RecentTasks)
}
