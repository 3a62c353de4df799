package store_test

import (
	"testing"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

func TestStore_Seed_FillsOnlyAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			size := store.SeedSize{Distributions: 40, Platforms: 30, Sites: 900, Tasks: 5000, Events: 500, Random: 7}
			ok(t, s.Seed(t.Context(), size))
			wantCode(t, s.Seed(t.Context(), size), models.Conflict)

			counts, err := s.Fleet(t.Context(), fleet.Filter{})
			ok(t, err)
			want(t, "distributions", counts.Distributions, 40)
			for what, n := range map[string]int{
				"current": counts.Current, "behind": counts.Behind, "held": counts.Held, "disabled": counts.Disabled, "platforms": counts.Platforms,
			} {
				if n == 0 {
					t.Errorf("no site is %s: %+v", what, counts)
				}
			}
			_, total, err := s.Sites(t.Context(), fleet.Filter{ClientID: 1})
			ok(t, err)
			want(t, "some sites have a client", total > 0, true)
			distributions, _, err := s.Distributions(t.Context(), fleet.Filter{})
			ok(t, err)
			want(t, "rows", len(distributions), 40)
			aliased, err := s.SiteNamed(t.Context(), "www.market-garden-5.example.net")
			ok(t, err)
			want(t, "site of an alias", aliased.ID, 5)

			// Numbers go on after those that are taken.
			task := models.Task{Kind: models.TaskCron, Subject: models.Subject{Kind: models.SubjectSite, ID: 450}, Actor: "ada"}
			ok(t, s.CreateTask(t.Context(), &task))
			want(t, "number of the next task", task.ID, 5001)
		})
	}
}
