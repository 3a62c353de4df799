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

func upgradeView(u models.Upgrade) Upgrade {
	return Upgrade{
		ID: u.ID, Kind: u.Kind, Task: u.TaskID, Mode: u.Mode, State: u.State, Reason: u.Reason, FailedStep: u.FailedStep, Switched: u.Switched,
		ReadOnlySeconds: u.ReadOnly.Seconds(), Updates: len(u.Updates), Started: u.StartedAt, Ended: u.EndedAt, RolledBack: u.RolledBackAt,
	}
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
		list, err := f.SiteUpgrades(ctx, site.ID, 1000)
		return whole(in.Steps, list, err, upgradeView, func(u models.Upgrade) fleet.Position { return fleet.Position{ID: -u.ID} })
	})
	register(s, operation{get, "/tasks/{task}/upgrade", "get-upgrade", "The move that a task carries out, step by step"}, func(ctx context.Context, f Fleet, in TaskIn) (Upgrade, error) {
		u, err := f.UpgradeOfTask(ctx, in.ID)
		if err != nil {
			return Upgrade{}, err
		}
		steps, err := f.UpgradeSteps(ctx, u.ID)
		v := upgradeView(u)
		for _, one := range steps {
			v.Steps = append(v.Steps, UpgradeStep{one.Name, one.State, one.Message, one.StartedAt, one.EndedAt, one.UndoneAt})
		}
		return v, err
	})
	s.onSite(operation{post, "/sites/{site}/compare", "compare-site", "Ask Drush what an upgrade of a site would do"}, Fleet.CompareNow)
	s.onSite(operation{post, "/sites/{site}/install", "retry-install", "Install a site again whose installation failed"}, Fleet.RetryInstall)
	s.plans()
}

func (s *server) plans() {
	type plan struct {
		From     string                 `json:"from"`
		To       string                 `json:"to" doc:"The upgrade target"`
		Changes  []models.PackageChange `json:"changes"`
		Asked    bool                   `json:"asked" doc:"Drush was asked already; see compare-site"`
		Updates  int                    `json:"database_updates"`
		Blockers []string               `json:"blockers,omitempty"`
	}
	register(s, operation{get, "/sites/{site}/upgrade", "quote-upgrade", "What an upgrade of a site would do"}, func(ctx context.Context, f Fleet, in SiteIn) (plan, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return plan{}, err
		}
		p, err := f.UpgradePlan(ctx, site.ID)
		v := plan{From: p.From.Name, To: p.To.Name, Changes: p.Changes}
		if p.Comparison != nil {
			v.Asked, v.Updates, v.Blockers = true, len(p.Comparison.Updates), p.Comparison.Blockers
		}
		return v, err
	})
	type platformPlan struct {
		From     string                 `json:"from"`
		To       string                 `json:"to"`
		Changes  []models.PackageChange `json:"changes"`
		Sites    int                    `json:"sites" doc:"That would move"`
		Compared int                    `json:"compared"`
		Updates  int                    `json:"with_database_updates"`
		Blocked  int                    `json:"blocked"`
	}
	register(s, operation{get, "/platforms/{platform}/upgrade", "quote-platform-upgrade", "What upgrading every site of a platform would do"}, func(ctx context.Context, f Fleet, in PlatformIn) (platformPlan, error) {
		p, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return platformPlan{}, err
		}
		found, err := f.PlatformPlan(ctx, p.ID)
		return platformPlan{found.From.Name, found.To.Name, found.Changes, len(found.Sites), found.Compared, found.Updates, found.Blocked}, err
	})
}

// overview is the first page.
func (s *server) overview() {
	type counts struct {
		Current       int `json:"current"`
		Behind        int `json:"behind"`
		Held          int `json:"held"`
		Broken        int `json:"broken"`
		Disabled      int `json:"disabled"`
		Busy          int `json:"busy"`
		Distributions int `json:"distributions"`
		Platforms     int `json:"platforms"`
	}
	register(s, operation{get, "/fleet", "get-fleet", "The fleet in figures"}, func(ctx context.Context, f Fleet, _ Caller) (counts, error) {
		c, err := f.Fleet(ctx, fleet.Filter{})
		return counts{c.Current, c.Behind, c.Held, c.Broken, c.Disabled, c.Busy, c.Distributions, c.Platforms}, err
	})
	type decision struct {
		Kind    fleet.DecisionKind `json:"kind"`
		Subject string             `json:"subject" doc:"What kind of thing it is about"`
		Title   string             `json:"title" doc:"Its name"`
		Why     string             `json:"why"`
		Task    int64              `json:"task,omitempty" doc:"Whose log tells more"`
		Target  string             `json:"upgrade_target,omitempty"`
		Sites   int                `json:"sites"`
		At      time.Time          `json:"at"`
	}
	register(s, operation{get, "/decisions", "list-decisions", "What needs a decision, most urgent first"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Limit int `query:"limit" default:"100" minimum:"1" maximum:"500"`
	},
	) (Page[decision], error) {
		list, err := f.Decisions(ctx, fleet.Filter{Limit: in.Limit})
		page := Page[decision]{Items: make([]decision, 0, len(list)), Total: len(list)}
		for _, d := range list {
			page.Items = append(page.Items, decision{d.Kind, string(d.Subject.Kind), d.Title, d.Why, d.TaskID, d.PlatformName, d.Sites, d.At})
		}
		return page, err
	})
}
