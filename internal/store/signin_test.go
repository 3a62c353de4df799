package store_test

import (
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

// withAda runs a test on an empty database of each kind, in which ada is a user.
func withAda(t *testing.T, test func(t *testing.T, s *store.Store, ada models.User)) {
	t.Helper()
	for name, dsn := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, dsn(t))
			ada := models.User{Name: "ada", Role: models.RoleViewer}
			ok(t, s.CreateUser(t.Context(), &ada))
			test(t, s, ada)
		})
	}
}

// begin stores a session and makes it a user's.
func begin(t *testing.T, s *store.Store, token string, userID int64, seen time.Time) {
	t.Helper()
	ok(t, s.Sessions().CommitCtx(t.Context(), token, []byte("data"), time.Now().Add(time.Hour)))
	ok(t, s.StartSession(t.Context(), models.SignIn{Token: token, UserID: userID, CreatedAt: seen, SeenAt: seen, Address: "192.0.2.1", Agent: "Firefox"}))
}

func TestStore_SessionUser_IsWhoSignedIn(t *testing.T) {
	withAda(t, func(t *testing.T, s *store.Store, ada models.User) {
		t.Helper()
		ctx, at := t.Context(), time.Now().UTC().Truncate(time.Microsecond)
		if err := s.StartSession(ctx, models.SignIn{Token: "none", UserID: ada.ID}); models.CodeOf(err) != models.NotFound {
			t.Errorf("a session that is not stored: %v", err)
		}
		begin(t, s, "t1", ada.ID, at)
		in, u, err := s.SessionUser(ctx, "t1", at)
		ok(t, err)
		if u.Name != "ada" || u.Role != models.RoleViewer || in.UserID != ada.ID || !in.SeenAt.Equal(at) || in.Address != "192.0.2.1" || in.Agent != "Firefox" {
			t.Errorf("session %+v of %+v", in, u)
		}
		ok(t, s.SeeSession(ctx, "t1", at.Add(time.Minute)))
		list, err := s.SignIns(ctx, ada.ID, at)
		ok(t, err)
		if len(list) != 1 || !list[0].SeenAt.Equal(at.Add(time.Minute)) || !list[0].CreatedAt.Equal(at) {
			t.Errorf("sessions %+v", list)
		}
		if _, _, err := s.SessionUser(ctx, "t1", at.Add(2*time.Hour)); models.CodeOf(err) != models.NotFound {
			t.Errorf("after its expiry: %v", err)
		}
	})
}

// A request that was under way when its session was ended stores it once more.
func TestStore_EndSession_StoredOnce_MoreLetsNobodyIn(t *testing.T) {
	withAda(t, func(t *testing.T, s *store.Store, ada models.User) {
		t.Helper()
		ctx, at := t.Context(), time.Now()
		begin(t, s, "t1", ada.ID, at)
		if err := s.EndSession(ctx, ada.ID+1, "t1"); models.CodeOf(err) != models.NotFound {
			t.Errorf("somebody else ended it: %v", err)
		}
		ok(t, s.EndSession(ctx, ada.ID, "t1"))
		if _, found, err := s.Sessions().FindCtx(ctx, "t1"); found || err != nil {
			t.Errorf("found %t, %v", found, err)
		}
		ok(t, s.Sessions().CommitCtx(ctx, "t1", []byte("data"), time.Now().Add(time.Hour)))
		if _, _, err := s.SessionUser(ctx, "t1", at); models.CodeOf(err) != models.NotFound {
			t.Errorf("an ended session came back: %v", err)
		}
	})
}

func TestStore_EndSessions_AllButOne(t *testing.T) {
	withAda(t, func(t *testing.T, s *store.Store, ada models.User) {
		t.Helper()
		ctx, at := t.Context(), time.Now()
		bob := models.User{Name: "bob"}
		ok(t, s.CreateUser(ctx, &bob))
		for token, user := range map[string]int64{"a1": ada.ID, "a2": ada.ID, "a3": ada.ID, "b1": bob.ID} {
			begin(t, s, token, user, at)
		}
		n, err := s.EndSessions(ctx, ada.ID, "a2")
		ok(t, err)
		list, err := s.SignIns(ctx, ada.ID, at)
		ok(t, err)
		if n != 2 || len(list) != 1 || list[0].Token != "a2" {
			t.Errorf("%d ended, left %+v", n, list)
		}
		if _, _, err := s.SessionUser(ctx, "b1", at); err != nil {
			t.Errorf("somebody else's ended too: %v", err)
		}
	})
}

func TestStore_Throttles_CountAndForget(t *testing.T) {
	withAda(t, func(t *testing.T, s *store.Store, _ models.User) {
		t.Helper()
		ctx, at := t.Context(), time.Now().UTC().Truncate(time.Microsecond)
		for range 2 {
			ok(t, s.InTx(ctx, func(tx fleet.Tx) error {
				counts, err := tx.Throttles(ctx, "a", "b")
				if err != nil {
					return err
				}
				counts[1].Count++
				counts[1].CountedAt = at
				return tx.SaveThrottle(ctx, counts[1])
			}))
		}
		ok(t, s.InTx(ctx, func(tx fleet.Tx) error {
			counts, err := tx.Throttles(ctx, "a", "b")
			if err == nil && (counts[0].Key != "a" || counts[0].Count != 0 || counts[1].Count != 2) {
				t.Errorf("counts %+v", counts)
			}
			return err
		}))
		ok(t, s.PruneSignIns(ctx, at.Add(25*time.Hour)))
		ok(t, s.InTx(ctx, func(tx fleet.Tx) error {
			counts, err := tx.Throttles(ctx, "b")
			if err == nil && counts[0].Count != 0 {
				t.Errorf("not forgotten: %+v", counts)
			}
			return err
		}))
	})
}

func TestStore_SecondFactor_OneThatIsConfirmedOnce(t *testing.T) {
	withAda(t, func(t *testing.T, s *store.Store, ada models.User) {
		t.Helper()
		ctx, at := t.Context(), time.Now().UTC().Truncate(time.Microsecond)
		first := models.SecondFactor{UserID: ada.ID, Sealed: []byte("one"), CreatedAt: at}
		second := models.SecondFactor{UserID: ada.ID, Sealed: []byte("two"), CreatedAt: at.Add(time.Second)}
		ok(t, s.SetUpSecondFactor(ctx, first))
		ok(t, s.SetUpSecondFactor(ctx, second))
		codes := []models.RecoveryCode{{UserID: ada.ID, Hash: "h1"}, {UserID: ada.ID, Hash: "h2"}}
		first.ConfirmedAt, second.ConfirmedAt, second.LastStep = &at, &at, 7
		if err := s.ConfirmSecondFactor(ctx, first, codes); models.CodeOf(err) != models.Conflict {
			t.Errorf("one that was replaced: %v", err)
		}
		ok(t, s.ConfirmSecondFactor(ctx, second, codes))
		if err := s.ConfirmSecondFactor(ctx, second, codes); models.CodeOf(err) != models.Conflict {
			t.Errorf("once more: %v", err)
		}
		if err := s.SetUpSecondFactor(ctx, first); models.CodeOf(err) != models.Conflict {
			t.Errorf("over a confirmed one: %v", err)
		}
		for step, want := range map[int64]bool{6: false, 7: false} {
			if got, err := s.UseStep(ctx, ada.ID, step); got != want || err != nil {
				t.Errorf("step %d: %t, %v", step, got, err)
			}
		}
		if got, err := s.UseStep(ctx, ada.ID, 8); !got || err != nil {
			t.Errorf("the next step: %t, %v", got, err)
		}
		for _, want := range []bool{true, false} {
			if got, err := s.UseRecoveryCode(ctx, ada.ID, "h1"); got != want || err != nil {
				t.Errorf("recovery code: %t, %v", got, err)
			}
		}
		ok(t, s.RemoveSecondFactor(ctx, ada.ID))
		left, err := s.RecoveryCodes(ctx, ada.ID)
		if left != 0 || err != nil {
			t.Errorf("%d codes left, %v", left, err)
		}
		if err := s.RemoveSecondFactor(ctx, ada.ID); models.CodeOf(err) != models.NotFound {
			t.Errorf("twice: %v", err)
		}
	})
}

func TestStore_Identities_OneSubjectIsOnePerson(t *testing.T) {
	withAda(t, func(t *testing.T, s *store.Store, ada models.User) {
		t.Helper()
		ctx, at := t.Context(), time.Now().UTC().Truncate(time.Microsecond)
		i := models.Identity{UserID: ada.ID, Issuer: "https://id.example.org", Subject: "42", Name: "Ada", CreatedAt: at}
		ok(t, s.CreateIdentity(ctx, &i))
		twin := i
		twin.ID = 0
		if err := s.CreateIdentity(ctx, &twin); models.CodeOf(err) != models.Conflict {
			t.Errorf("a twin: %v", err)
		}
		elsewhere := models.Identity{UserID: ada.ID, Issuer: "https://other.example.org", Subject: "42", CreatedAt: at}
		ok(t, s.CreateIdentity(ctx, &elsewhere))
		i.UsedAt, i.Name = &at, "Ada L."
		ok(t, s.MarkIdentity(ctx, i))
		found, err := s.IdentityOf(ctx, i.Issuer, i.Subject)
		ok(t, err)
		if found.ID != i.ID || found.Name != "Ada L." || found.UsedAt == nil {
			t.Errorf("found %+v", found)
		}
		if err := s.DeleteIdentity(ctx, ada.ID+1, i.ID); models.CodeOf(err) != models.NotFound {
			t.Errorf("somebody else unlinked it: %v", err)
		}
		ok(t, s.DeleteIdentity(ctx, ada.ID, i.ID))
		list, err := s.Identities(ctx, ada.ID)
		ok(t, err)
		if len(list) != 1 || list[0].ID != elsewhere.ID {
			t.Errorf("left %+v", list)
		}
	})
}
