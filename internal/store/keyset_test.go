package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Every list goes on after a row, in its own order, also when rows were added before
// it meanwhile.
func TestStore_Lists_GoOnAfterAPosition(t *testing.T) {
	for name, s := range openBoth(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			add := func(i int) {
				t.Helper()
				d := models.Distribution{Slug: fmt.Sprintf("d%02d", i), Name: fmt.Sprintf("Äd %02d", i), UpdateType: "manual", Settings: models.Settings{}}
				must(t, s.CreateDistribution(ctx, &d))
				p := models.Platform{DistributionID: d.ID, Name: fmt.Sprintf("p%02d", i), Server: fleet.LocalServer, State: models.PlatformReady}
				must(t, s.CreatePlatform(ctx, &p))
				must(t, s.CreateSite(ctx, &models.Site{URI: fmt.Sprintf("s%02d.example.org", i), PlatformID: p.ID, Server: fleet.LocalServer, State: models.SiteInstalling, Profile: "standard"}))
				must(t, s.CreateUser(ctx, &models.User{Name: fmt.Sprintf("U%02d", i), Role: models.RoleViewer}))
				must(t, s.SaveClient(ctx, &models.Client{Name: fmt.Sprintf("c%02d", i)}))
			}
			must(t, s.SaveChannel(ctx, "ada", &models.Channel{Name: "All", Kind: models.ChannelEmail, Target: "ada@example.org"}))
			for i := 10; i < 70; i += 10 {
				add(i)
				happen(t, s, i)
			}
			for what, part := range parts(ctx, s) {
				var seen []string
				for after := (fleet.Position{}); ; {
					names, last, err := part(fleet.Filter{Limit: 2, After: after})
					must(t, err)
					if len(names) == 0 {
						break
					}
					seen, after = append(seen, names...), last
				}
				if len(seen) != 6 || !slices.IsSorted(seen) && !slices.IsSortedFunc(seen, func(a, b string) int { return cmp.Compare(b, a) }) {
					t.Errorf("%s: %v", what, seen)
				}
			}
		})
	}
}

// happen adds to what grows with time.
func happen(t *testing.T, s *Store, i int) {
	t.Helper()
	ctx, name := t.Context(), fmt.Sprintf("n%02d", i)
	check := models.Check{DistributionID: 1, Trigger: models.TriggerQueue, Outcome: models.CheckChanged, NewRevision: name, Times: 1, StartedAt: now(), EndedAt: now()}
	must(t, s.RecordCheck(ctx, &check, models.ConditionCurrent, ""))
	task := models.Task{Kind: models.TaskUpgrade, State: models.TaskQueued, Subject: models.Subject{Kind: models.SubjectSite, ID: int64(i)}}
	must(t, create(ctx, s, "task", &task, ""))
	must(t, s.CreateUpgrade(ctx, &models.Upgrade{TaskID: task.ID, SiteID: 1, FromID: 1, ToID: 1, Mode: models.ModeCode, Reason: name}))
	m := models.NoticeMessage{ChannelID: 1, Key: name, State: models.MessageQueued}
	must(t, s.CreateNoticeMessage(ctx, &m))
	must(t, s.RecordAttempt(ctx, &models.NoticeAttempt{MessageID: m.ID, At: now(), Problem: name}))
}

// parts gives a part of each list: what is in it, and where it ends.
func parts(ctx context.Context, s *Store) map[string]func(fleet.Filter) ([]string, fleet.Position, error) {
	return map[string]func(fleet.Filter) ([]string, fleet.Position, error){
		"distributions": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.Distributions(ctx, f)
			return placed(rows, err, func(r fleet.DistributionRow) (string, fleet.Position) { return r.Name, fleet.Position{Name: r.Name} })
		},
		"platforms": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.Platforms(ctx, f)
			return placed(rows, err, func(r fleet.PlatformRow) (string, fleet.Position) { return r.Name, fleet.Position{ID: r.ID} })
		},
		"sites": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.Sites(ctx, f)
			return placed(rows, err, func(r fleet.SiteRow) (string, fleet.Position) { return r.URI, fleet.Position{Name: r.URI} })
		},
		"users": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.UserRows(ctx, f)
			return placed(rows, err, func(r fleet.UserRow) (string, fleet.Position) { return r.Name, fleet.Position{Name: r.Name} })
		},
		"checks": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.CheckRows(ctx, 1, f)
			return placed(rows, err, func(c models.Check) (string, fleet.Position) { return c.NewRevision, fleet.Position{ID: c.ID} })
		},
		"upgrades": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.UpgradeRows(ctx, 1, f)
			return placed(rows, err, func(u models.Upgrade) (string, fleet.Position) { return u.Reason, fleet.Position{ID: u.ID} })
		},
		"messages": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.MessageRows(ctx, 1, f)
			return placed(rows, err, func(m fleet.NoticeMessageRow) (string, fleet.Position) {
				return m.Tries[0].Problem, fleet.Position{ID: m.ID}
			})
		},
		"clients": func(f fleet.Filter) ([]string, fleet.Position, error) {
			rows, _, err := s.ClientRows(ctx, f)
			return placed(rows, err, func(r fleet.ClientRow) (string, fleet.Position) { return r.Name, fleet.Position{Name: r.Name} })
		},
	}
}

func placed[R any](rows []R, err error, place func(R) (string, fleet.Position)) (names []string, last fleet.Position, _ error) {
	for _, r := range rows {
		var name string
		name, last = place(r)
		names = append(names, name)
	}
	return names, last, err
}

// What one process gave up another does, once the first can no longer be at it.
func TestStore_ClaimReply_IsTakenOver(t *testing.T) {
	for name, s := range openBoth(t) {
		t.Run(name, func(t *testing.T) {
			ctx, at := t.Context(), now()
			u := models.User{Name: "ada", Role: models.RoleViewer}
			must(t, s.CreateUser(ctx, &u))
			must(t, s.CreateToken(ctx, &models.Token{UserID: u.ID, Name: "x", Hash: "h", ExpiresAt: at.Add(time.Hour)}))
			claim := func(at time.Time) bool {
				t.Helper()
				_, fresh, err := s.ClaimReply(ctx, "h", models.Reply{ID: "r", Request: "q", ClaimedAt: at, CreatedAt: at})
				must(t, err)
				return fresh
			}
			if !claim(at) || claim(at.Add(replyLease/2)) || !claim(at.Add(replyLease+time.Second)) {
				t.Error("a claim is not held for its time, or not taken over after it")
			}
			done := at.Add(replyLease + 2*time.Second)
			must(t, s.SaveReply(ctx, models.Reply{ID: "r", Sealed: []byte("x"), AnsweredAt: &done}))
			if claim(at.Add(2 * replyLease)) {
				t.Error("what was answered is done again")
			}
			if !claim(at.Add(models.KeepReplies + time.Hour)) {
				t.Error("an old answer counts for ever")
			}
			if _, _, err := s.ClaimReply(ctx, "none", models.Reply{ID: "r2", Request: "q", ClaimedAt: at, CreatedAt: at}); models.CodeOf(err) != models.NotFound {
				t.Errorf("of a token that is not there: %v", err)
			}
		})
	}
}
