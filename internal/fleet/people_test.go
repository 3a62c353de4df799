package fleet_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

const (
	password = "correct horse battery"
	here     = "192.0.2.7"
)

func TestFleet_Login_NameAndPassword(t *testing.T) {
	each(t, func(w *world) {
		_, err := w.fleet.CreateUser(w.ctx, "ada", password)
		ok(w.T, err)
		u, err := w.fleet.Login(w.ctx, "ada", password, here)
		ok(w.T, err)
		want(w.T, "name", u.Name, "ada")
		_, wrong := w.fleet.Login(w.ctx, "ada", "wrong horse battery", here)
		wantCode(w.T, wrong, models.Forbidden)
		_, unknown := w.fleet.Login(w.ctx, "bob", password, here)
		wantCode(w.T, unknown, models.Forbidden)
		if models.Explain(wrong) != models.Explain(unknown) {
			w.Errorf("the answers tell names from passwords: %q and %q", wrong, unknown)
		}
		// Someone who comes in by links only has no password that fits.
		_, err = w.fleet.CreateUser(w.ctx, "links.only", "")
		ok(w.T, err)
		for _, guess := range []string{"", password} {
			_, err = w.fleet.Login(w.ctx, "links.only", guess, here)
			wantCode(w.T, err, models.Forbidden)
		}
		ok(w.T, w.fleet.SetPassword(w.ctx, "root", "ada", "another horse battery"))
		_, err = w.fleet.Login(w.ctx, "ada", password, here)
		wantCode(w.T, err, models.Forbidden)
		_, err = w.fleet.Login(w.ctx, "ada", "another horse battery", here)
		ok(w.T, err)
	})
}

func TestFleet_CreateUser_WrongValues(t *testing.T) {
	each(t, func(w *world) {
		for _, name := range []string{"", "Ada", "1ada", "a b", "a\n", "a/b"} {
			_, err := w.fleet.CreateUser(w.ctx, name, password)
			wantFields(w.T, err, "name")
		}
		for _, weak := range []string{"short", string(make([]byte, 201)), "administrator", "Password2026!!", "abcabcabcabc", "adaadaadaada1815"} {
			_, err := w.fleet.CreateUser(w.ctx, "ada", weak)
			wantFields(w.T, err, "password")
		}
		_, err := w.fleet.CreateUser(w.ctx, "ada", password)
		ok(w.T, err)
		_, err = w.fleet.CreateUser(w.ctx, "ada", password)
		wantCode(w.T, err, models.Conflict)
		wantCode(w.T, w.fleet.SetPassword(w.ctx, "root", "bob", password), models.NotFound)
		wantFields(w.T, w.fleet.SetPassword(w.ctx, "root", "ada", "short"), "password")
	})
}

func TestFleet_UseLoginLink_OnceAndInTime(t *testing.T) {
	each(t, func(w *world) {
		_, err := w.fleet.CreateUser(w.ctx, "ada", "")
		ok(w.T, err)
		token, err := w.fleet.LoginLink(w.ctx, "root", "ada")
		ok(w.T, err)
		_, err = w.fleet.UseLoginLink(w.ctx, token+"x")
		wantCode(w.T, err, models.Forbidden)
		var in, out int
		var mu sync.Mutex
		var people sync.WaitGroup
		for range 4 {
			people.Go(func() {
				u, err := w.fleet.UseLoginLink(w.ctx, token)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && u.Name == "ada" {
					in++
				} else if models.CodeOf(err) == models.Forbidden {
					out++
				}
			})
		}
		people.Wait()
		want(w.T, "let in", in, 1)
		want(w.T, "refused", out, 3)
		late, err := w.fleet.LoginLink(w.ctx, "root", "ada")
		ok(w.T, err)
		w.clock.pass(25 * time.Hour)
		_, err = w.fleet.UseLoginLink(w.ctx, late)
		wantCode(w.T, err, models.Forbidden, "expired")
		_, err = w.fleet.LoginLink(w.ctx, "root", "bob")
		wantCode(w.T, err, models.NotFound)
	})
}

// Many who log in at once must not take the machine's memory: each hash needs
// 19 MiB.
func TestFleet_Login_ManyAtOnce_TakeTurns(t *testing.T) {
	w := newWorld(t, onSQLite(t))
	_, err := w.fleet.CreateUser(w.ctx, "ada", password)
	ok(t, err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var people sync.WaitGroup
	for i := range 24 {
		people.Go(func() {
			if _, err := w.fleet.Login(w.ctx, "ada", password, fmt.Sprintf("192.0.2.%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	people.Wait()
	runtime.ReadMemStats(&after)
	if grown := (after.HeapSys - min(before.HeapSys, after.HeapSys)) >> 20; grown > 24*19/2 {
		t.Errorf("the heap grew by %d MiB", grown)
	}
}

func TestFleet_Token_ActsUntilItEnds(t *testing.T) {
	each(t, func(w *world) {
		_, err := w.fleet.CreateUser(w.ctx, "ada", "")
		ok(w.T, err)
		_, err = w.fleet.CreateToken(w.ctx, "ada", fleet.NewToken{User: "ada", Name: "no\nname", Life: 10 * 366 * 24 * time.Hour})
		wantFields(w.T, err, "life", "name")
		token, err := w.fleet.CreateToken(w.ctx, "ada", fleet.NewToken{User: "ada", Name: "Deploy", Life: time.Hour})
		ok(w.T, err)
		_, err = w.fleet.CreateToken(w.ctx, "ada", fleet.NewToken{User: "ada", Name: "Deploy", Life: time.Hour})
		wantCode(w.T, err, models.Conflict, "Deploy")
		u, err := w.fleet.UseToken(w.ctx, token)
		ok(w.T, err)
		want(w.T, "user", u.Name, "ada")
		_, err = w.fleet.UseToken(w.ctx, token+"x")
		wantCode(w.T, err, models.Forbidden)
		list, err := w.fleet.Tokens(w.ctx, "ada")
		ok(w.T, err)
		want(w.T, "last use is noted", list[0].UsedAt != nil, true)
		want(w.T, "kept as a hash", list[0].Hash != token && !contains(token, list[0].Hash), true)
		w.clock.pass(61 * time.Minute)
		_, err = w.fleet.UseToken(w.ctx, token)
		wantCode(w.T, err, models.Forbidden, "expired")
		token, err = w.fleet.CreateToken(w.ctx, "ada", fleet.NewToken{User: "ada", Name: "Other", Life: time.Hour})
		ok(w.T, err)
		ok(w.T, w.fleet.RevokeToken(w.ctx, "ada", "ada", "Other"))
		_, err = w.fleet.UseToken(w.ctx, token)
		wantCode(w.T, err, models.Forbidden)
		wantCode(w.T, w.fleet.RevokeToken(w.ctx, "ada", "ada", "Other"), models.NotFound)
	})
}

func TestFleet_Token_AllowsNoMoreThanItSays(t *testing.T) {
	each(t, func(w *world) {
		_, err := w.fleet.CreateUser(w.ctx, "ada", "")
		ok(w.T, err)
		c, err := w.fleet.SaveClient(w.ctx, "ada", models.Client{Name: "Museum"})
		ok(w.T, err)
		operator, err := w.fleet.AddUser(w.ctx, "ada", fleet.NewUser{Name: "eva", Role: models.RoleOperator, ClientID: c.ID})
		ok(w.T, err)
		for _, in := range []fleet.NewToken{{Role: "king"}, {Role: models.RoleManager}, {ClientID: c.ID + 1}} {
			in.User, in.Name, in.Life = "eva", "Too much", time.Hour
			_, err = w.fleet.CreateToken(w.ctx, "eva", in)
			wantCode(w.T, err, models.Invalid)
		}
		token, err := w.fleet.CreateToken(w.ctx, "ada", fleet.NewToken{User: "ada", Name: "Reader", Life: time.Hour, Role: models.RoleViewer, ClientID: c.ID})
		ok(w.T, err)
		by, err := w.fleet.UseToken(w.ctx, token)
		ok(w.T, err)
		want(w.T, "role", by.Role, models.RoleViewer)
		want(w.T, "client", by.ClientID, c.ID)
		want(w.T, "token", by.Token, "Reader")
		list, err := w.fleet.Tokens(w.ctx, "ada")
		ok(w.T, err)
		want(w.T, "client's name", list[0].Client, "Museum")
		// Nobody makes more of a token by means of it.
		d := w.fleet.For(by)
		_, err = d.CreateToken(w.ctx, fleet.NewToken{User: "ada", Name: "More", Life: time.Hour})
		wantCode(w.T, err, models.Forbidden)
		wantCode(w.T, d.RevokeToken(w.ctx, "ada", "Reader"), models.Forbidden)
		// It goes with the client, and never becomes one for every site.
		ok(w.T, w.fleet.ChangeUser(w.ctx, "ada", operator.ID, fleet.NewUser{Role: models.RoleViewer}))
		ok(w.T, w.fleet.DeleteClient(w.ctx, "ada", c.ID))
		_, err = w.fleet.UseToken(w.ctx, token)
		wantCode(w.T, err, models.Forbidden)
	})
}
