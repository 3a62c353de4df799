package fleet_test

import (
	"bytes"
	"fmt"
	"image/png"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"hefring/internal/fleet"
	"hefring/models"
)

const there = "198.51.100.9"

// ada makes a user with a password.
func (w *world) ada() models.User {
	w.Helper()
	u, err := w.fleet.CreateUser(w.ctx, "ada", password)
	ok(w.T, err)
	return u
}

// once runs a test that hashes many passwords on one database. That both count alike
// is tested in package store.
func once(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	test(newWorld(t, onSQLite(t)))
}

// guess tries wrong passwords until it has to wait, and gives how many were heard
// and the wait.
func (w *world) guess(name, address string, most int) (int, time.Duration) {
	w.Helper()
	for i := range most {
		_, err := w.fleet.Login(w.ctx, name, "wrong horse battery", address)
		wantCode(w.T, err, models.Forbidden)
		if wait := models.RetryAfterOf(err); wait > 0 {
			return i, wait
		}
	}
	return most, 0
}

func TestFleet_Login_Guessing_WaitsLongerAndLonger(t *testing.T) {
	once(t, func(w *world) {
		w.ada()
		heard, wait := w.guess("ada", here, 20)
		want(w.T, "heard", heard, models.PatiencePair.Free)
		for range 9 {
			w.clock.pass(wait)
			_, longer := w.guess("ada", here, 2)
			if longer < wait || longer > models.PatiencePair.Most {
				w.Errorf("after %s it waits %s", wait, longer)
			}
			wait = longer
		}
		want(w.T, "longest", wait, models.PatiencePair.Most)
		_, err := w.fleet.Login(w.ctx, "ada", password, here)
		wantCode(w.T, err, models.Forbidden, "15 minutes")
		w.clock.pass(wait)
		_, err = w.fleet.Login(w.ctx, "ada", password, here)
		ok(w.T, err)
		heard, _ = w.guess("ada", here, 20)
		want(w.T, "heard after a success", heard, models.PatiencePair.Free)
	})
}

// Names that nobody has are counted as well, or the wait would tell them.
func TestFleet_Login_UnknownName_WaitsAlike(t *testing.T) {
	once(t, func(w *world) {
		w.ada()
		known, _ := w.guess("ADA", here, 20)
		unknown, _ := w.guess("bob", there, 20)
		want(w.T, "heard", unknown, known)
	})
}

// Strangers from many addresses slow each other down, and not the person whose
// account it is.
func TestFleet_Login_Strangers_LockNobodyOut(t *testing.T) {
	once(t, func(w *world) {
		w.ada()
		_, err := w.fleet.Login(w.ctx, "ada", password, here)
		ok(w.T, err)
		var wait time.Duration
		for i := 0; wait == 0 && i < 60; i++ {
			_, err := w.fleet.Login(w.ctx, "ada", "wrong horse battery", fmt.Sprintf("203.0.113.%d", i))
			wantCode(w.T, err, models.Forbidden)
			wait = models.RetryAfterOf(err)
		}
		if wait == 0 {
			w.Error("sixty strangers were heard")
		}
		_, err = w.fleet.Login(w.ctx, "ada", password, there)
		if models.RetryAfterOf(err) == 0 || models.RetryAfterOf(err) > models.PatienceAccount.Most {
			w.Errorf("from a new address: %v", err)
		}
		_, err = w.fleet.Login(w.ctx, "ada", password, here)
		ok(w.T, err)
	})
}

func TestFleet_Login_OneAddress_ManyNames(t *testing.T) {
	once(t, func(w *world) {
		w.ada()
		heard := 0
		for i := range 60 {
			_, err := w.fleet.Login(w.ctx, fmt.Sprintf("user%d", i), "wrong horse battery", there)
			if models.RetryAfterOf(err) == 0 {
				heard++
			}
		}
		want(w.T, "heard", heard, models.PatienceAddress.Free)
		_, err := w.fleet.Login(w.ctx, "ada", password, here)
		ok(w.T, err)
	})
}

// The counts are in the database, so another replica goes on counting.
func TestFleet_Login_Replicas_CountTogether(t *testing.T) {
	each(t, func(w *world) {
		w.ada()
		_, _ = w.guess("ada", here, models.PatiencePair.Free)
		_, err := w.replica(w.Store).Login(w.ctx, "ada", password, here)
		wantCode(w.T, err, models.Forbidden, "Too many attempts")
	})
}

func TestFleet_Login_Disabled_IsOut(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		token := w.signIn(u, "t1")
		now := w.clock.time()
		u.DisabledAt = &now
		ok(w.T, w.SaveUser(w.ctx, u))
		_, err := w.fleet.Login(w.ctx, "ada", password, here)
		wantCode(w.T, err, models.Forbidden, "disabled")
		_, err = w.fleet.Login(w.ctx, "ada", "wrong horse battery", here)
		wantCode(w.T, err, models.Forbidden, "do not fit")
		link, err := w.fleet.LoginLink(w.ctx, "root", "ada")
		ok(w.T, err)
		_, err = w.fleet.UseLoginLink(w.ctx, link)
		wantCode(w.T, err, models.Forbidden, "disabled")
		_, err = w.fleet.SessionUser(w.ctx, token, true)
		wantCode(w.T, err, models.NotFound)
		u.DisabledAt = nil
		ok(w.T, w.SaveUser(w.ctx, u))
		_, err = w.fleet.SessionUser(w.ctx, token, true)
		wantCode(w.T, err, models.NotFound)
	})
}

// signIn stores a session and makes it a user's.
func (w *world) signIn(u models.User, token string) string {
	w.Helper()
	ok(w.T, w.Store.Sessions().CommitCtx(w.ctx, token, []byte("data"), w.clock.time().Add(models.SessionLife)))
	ok(w.T, w.fleet.StartSession(w.ctx, models.SignIn{Token: token, UserID: u.ID, Address: here, Agent: strings.Repeat("ü", 400)}))
	return token
}

func TestFleet_SessionUser_IdleAndOld_AreOut(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		busy, idle := w.signIn(u, "busy"), w.signIn(u, "idle")
		for left := models.SessionLife; left > 10*time.Hour; left -= 10 * time.Hour {
			w.clock.pass(10 * time.Hour)
			_, err := w.fleet.SessionUser(w.ctx, busy, true)
			ok(w.T, err)
			_, _ = w.fleet.SessionUser(w.ctx, idle, false)
		}
		_, err := w.fleet.SessionUser(w.ctx, idle, true)
		wantCode(w.T, err, models.NotFound)
		list, err := w.fleet.Sessions(w.ctx, u.ID)
		ok(w.T, err)
		if len(list) != 1 || list[0].Token != busy || len(list[0].Agent) > 300 {
			w.Errorf("sessions %+v", list)
		}
		w.clock.pass(10 * time.Hour)
		_, err = w.fleet.SessionUser(w.ctx, busy, true)
		wantCode(w.T, err, models.NotFound)
	})
}

func TestFleet_ChangePassword_EndsOtherSessions(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		mine, other := w.signIn(u, "mine"), w.signIn(u, "other")
		change := func(present, next string) error {
			return w.fleet.ChangePassword(w.ctx, u.ID, fleet.NewPassword{Present: present, Password: next, Address: here}, mine)
		}
		wantFields(w.T, change("wrong horse battery", "another horse battery"), "present")
		wantFields(w.T, change(password, "Password2026!!"), "password")
		_, err := w.fleet.SessionUser(w.ctx, other, true)
		ok(w.T, err)
		ok(w.T, change(password, "another horse battery"))
		w.recorded("ada", "change password")
		_, err = w.fleet.SessionUser(w.ctx, other, true)
		wantCode(w.T, err, models.NotFound)
		_, err = w.fleet.SessionUser(w.ctx, mine, true)
		ok(w.T, err)
		ok(w.T, w.fleet.SetPassword(w.ctx, "root", "ada", password))
		_, err = w.fleet.SessionUser(w.ctx, mine, true)
		wantCode(w.T, err, models.NotFound)
	})
}

func TestFleet_EndSession_OneOrAllOthers(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		bob, err := w.fleet.CreateUser(w.ctx, "bob", "")
		ok(w.T, err)
		for _, token := range []string{"a", "b", "c"} {
			w.signIn(u, token)
		}
		w.signIn(bob, "bobs")
		wantCode(w.T, w.fleet.EndSession(w.ctx, u.ID, "bobs"), models.NotFound)
		ok(w.T, w.fleet.EndSession(w.ctx, u.ID, "a"))
		n, err := w.fleet.EndOtherSessions(w.ctx, u.ID, "b")
		ok(w.T, err)
		want(w.T, "ended", n, 1)
		w.recorded("ada", "end session")
		_, err = w.fleet.SessionUser(w.ctx, "bobs", true)
		ok(w.T, err)
	})
}

// code makes the code of a secret as of now.
func (w *world) code(secret string) string {
	w.Helper()
	code, err := totp.GenerateCode(secret, w.clock.time())
	ok(w.T, err)
	return code
}

// secondFactor sets one up and gives its secret and recovery codes.
func (w *world) secondFactor(u models.User) (string, []string) {
	w.Helper()
	ok(w.T, w.fleet.SetUpSecondFactor(w.ctx, u.ID))
	state, err := w.fleet.SecondFactor(w.ctx, u.ID)
	ok(w.T, err)
	codes, err := w.fleet.ConfirmSecondFactor(w.ctx, u.ID, w.code(state.Secret))
	ok(w.T, err)
	w.recorded("ada", "set up second factor")
	return state.Secret, codes
}

func TestFleet_SecondFactor_IsAskedForOnceItIsConfirmed(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		ok(w.T, w.fleet.SetUpSecondFactor(w.ctx, u.ID))
		asks, err := w.fleet.AsksForCode(w.ctx, u.ID)
		ok(w.T, err)
		want(w.T, "asks before it is confirmed", asks, false)
		picture, err := w.fleet.SecondFactorPicture(w.ctx, u.ID)
		ok(w.T, err)
		if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
			w.Error(err)
		}
		_, err = w.fleet.ConfirmSecondFactor(w.ctx, u.ID, "000000x")
		wantFields(w.T, err, "code")
		state, err := w.fleet.SecondFactor(w.ctx, u.ID)
		ok(w.T, err)
		if !strings.HasPrefix(state.URL, "otpauth://totp/Hefring") || !strings.Contains(state.URL, state.Secret) {
			w.Errorf("address %s", state.URL)
		}
		row, err := w.SecondFactor(w.ctx, u.ID)
		ok(w.T, err)
		want(w.T, "kept encrypted", strings.HasPrefix(string(row.Sealed), "the second factor of user"), true)
		codes, err := w.fleet.ConfirmSecondFactor(w.ctx, u.ID, " "+w.code(state.Secret)[:3]+" "+w.code(state.Secret)[3:])
		ok(w.T, err)
		want(w.T, "recovery codes", len(slices.Compact(slices.Sorted(slices.Values(codes)))), 10)
		asks, err = w.fleet.AsksForCode(w.ctx, u.ID)
		ok(w.T, err)
		want(w.T, "asks", asks, true)
		_, err = w.fleet.SecondFactorPicture(w.ctx, u.ID)
		wantCode(w.T, err, models.NotFound)
		wantCode(w.T, w.fleet.SetUpSecondFactor(w.ctx, u.ID), models.Conflict)
		state, err = w.fleet.SecondFactor(w.ctx, u.ID)
		ok(w.T, err)
		if !state.On || state.Codes != 10 || state.Secret != "" {
			w.Errorf("state %+v", state)
		}
	})
}

func TestFleet_CheckCode_OnceAndInTime(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		secret, recovery := w.secondFactor(u)
		wantFields(w.T, w.fleet.CheckCode(w.ctx, u.ID, w.code(secret)), "code") // the one that confirmed it
		w.clock.pass(time.Minute)
		code := w.code(secret)
		w.clock.pass(30 * time.Second) // drift of one step
		ok(w.T, w.fleet.CheckCode(w.ctx, u.ID, code))
		wantFields(w.T, w.fleet.CheckCode(w.ctx, u.ID, code), "code")
		late := w.code(secret)
		w.clock.pass(90 * time.Second)
		wantFields(w.T, w.fleet.CheckCode(w.ctx, u.ID, late), "code")
		ok(w.T, w.fleet.CheckCode(w.ctx, u.ID, strings.ToUpper(recovery[3])))
		wantFields(w.T, w.fleet.CheckCode(w.ctx, u.ID, recovery[3]), "code")
		state, err := w.fleet.SecondFactor(w.ctx, u.ID)
		ok(w.T, err)
		want(w.T, "recovery codes left", state.Codes, 9)
		w.recorded("ada", "use recovery code")
	})
}

func TestFleet_CheckCode_Guessing_HasToWait(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		secret, _ := w.secondFactor(u)
		var err error
		heard := 0
		for models.RetryAfterOf(err) == 0 && heard < 20 {
			err = w.fleet.CheckCode(w.ctx, u.ID, "000000")
			heard++
		}
		want(w.T, "heard", heard-1, models.PatienceCode.Free)
		w.clock.pass(models.RetryAfterOf(err))
		w.clock.pass(time.Minute)
		ok(w.T, w.fleet.CheckCode(w.ctx, u.ID, w.code(secret)))
	})
}

func TestFleet_RemoveSecondFactor_ByPasswordCodeOrAdministrator(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		_, _ = w.secondFactor(u)
		wantFields(w.T, w.fleet.RemoveSecondFactor(w.ctx, u.ID, "wrong horse battery", here), "proof")
		wantFields(w.T, w.fleet.RemoveSecondFactor(w.ctx, u.ID, "000000", here), "proof")
		ok(w.T, w.fleet.RemoveSecondFactor(w.ctx, u.ID, password, here))
		w.clock.pass(time.Minute)
		_, codes := w.secondFactor(u)
		ok(w.T, w.fleet.RemoveSecondFactor(w.ctx, u.ID, codes[0], here))
		w.clock.pass(time.Minute)
		_, _ = w.secondFactor(u)
		token := w.signIn(u, "t1")
		ok(w.T, w.fleet.DropSecondFactor(w.ctx, "root", u.ID))
		w.recorded("ada", "remove second factor")
		w.recorded("root", "remove second factor")
		_, err := w.fleet.SessionUser(w.ctx, token, true)
		wantCode(w.T, err, models.NotFound)
		wantCode(w.T, w.fleet.DropSecondFactor(w.ctx, "root", u.ID), models.NotFound)
	})
}

func TestFleet_NewRecoveryCodes_ReplaceTheOld(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		_, err := w.fleet.NewRecoveryCodes(w.ctx, u.ID, "000000")
		wantCode(w.T, err, models.Conflict)
		secret, old := w.secondFactor(u)
		w.clock.pass(time.Minute)
		fresh, err := w.fleet.NewRecoveryCodes(w.ctx, u.ID, w.code(secret))
		ok(w.T, err)
		w.recorded("ada", "renew recovery codes")
		wantFields(w.T, w.fleet.CheckCode(w.ctx, u.ID, old[0]), "code")
		ok(w.T, w.fleet.CheckCode(w.ctx, u.ID, fresh[9]))
	})
}

// person is somebody as a provider describes them.
func person(subject, name string, groups ...string) fleet.External {
	return fleet.External{Issuer: "https://id.example.org", Subject: subject, Name: name, Email: name + "@example.org", EmailVerified: true, Groups: groups}
}

func TestFleet_ExternalLogin_OnlyWhoIsLinked(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		_, err := w.fleet.ExternalLogin(w.ctx, person("42", "ada"), fleet.Admission{})
		wantCode(w.T, err, models.Forbidden, "No user of Hefring is linked")
		_, err = w.fleet.ExternalLogin(w.ctx, person("42", "ada"), fleet.Admission{AutoCreate: true})
		wantCode(w.T, err, models.Forbidden, "There is a user ada already")
		ok(w.T, w.fleet.LinkIdentity(w.ctx, u.ID, person("42", "ada")))
		bob, err := w.fleet.CreateUser(w.ctx, "bob", "")
		ok(w.T, err)
		wantCode(w.T, w.fleet.LinkIdentity(w.ctx, bob.ID, person("42", "ada")), models.Conflict)
		in, err := w.fleet.ExternalLogin(w.ctx, person("42", "somebody else by now"), fleet.Admission{})
		ok(w.T, err)
		want(w.T, "user", in.ID, u.ID)
		_, err = w.fleet.ExternalLogin(w.ctx, person("43", "ada"), fleet.Admission{})
		wantCode(w.T, err, models.Forbidden)
		now := w.clock.time()
		u.DisabledAt = &now
		ok(w.T, w.SaveUser(w.ctx, u))
		_, err = w.fleet.ExternalLogin(w.ctx, person("42", "ada"), fleet.Admission{})
		wantCode(w.T, err, models.Forbidden, "disabled")
	})
}

func TestFleet_ExternalLogin_NewPeople(t *testing.T) {
	each(t, func(w *world) {
		allow := fleet.Admission{AutoCreate: true, Domains: []string{"Example.org"}}
		u, err := w.fleet.ExternalLogin(w.ctx, person("1", "Ada"), allow)
		ok(w.T, err)
		if u.Name != "ada" || u.Role != models.RoleViewer || u.PasswordHash != "" {
			w.Errorf("made %+v", u)
		}
		stranger := person("2", "eve")
		stranger.Email = "eve@example.net"
		_, err = w.fleet.ExternalLogin(w.ctx, stranger, allow)
		wantCode(w.T, err, models.Forbidden, "e-mail address")
		unproven := person("3", "mallory")
		unproven.EmailVerified = false
		_, err = w.fleet.ExternalLogin(w.ctx, unproven, allow)
		wantCode(w.T, err, models.Forbidden, "e-mail address")
		_, err = w.fleet.ExternalLogin(w.ctx, person("4", "no name; at all"), allow)
		wantCode(w.T, err, models.Forbidden, "gave no name")
	})
}

func TestFleet_ExternalLogin_RolesFollowGroups(t *testing.T) {
	each(t, func(w *world) {
		w.ada() // an administrator is left
		allow := fleet.Admission{AutoCreate: true, Roles: map[string]models.Role{"web": models.RoleOperator, "lead": models.RoleManager, "root": models.RoleAdministrator}}
		_, err := w.fleet.ExternalLogin(w.ctx, person("1", "bob", "kitchen"), allow)
		wantCode(w.T, err, models.Forbidden, "None of your groups")
		for _, one := range []struct {
			groups []string
			role   models.Role
		}{
			{[]string{"web"}, models.RoleOperator},
			{[]string{"lead", "web"}, models.RoleManager},
			{[]string{"kitchen", "root"}, models.RoleAdministrator},
			{[]string{"web"}, models.RoleOperator},
		} {
			u, err := w.fleet.ExternalLogin(w.ctx, person("1", "bob", one.groups...), allow)
			ok(w.T, err)
			want(w.T, "role", u.Role, one.role)
			kept, err := w.User(w.ctx, u.ID)
			ok(w.T, err)
			want(w.T, "stored role", kept.Role, one.role)
		}
	})
}

func TestFleet_ExternalLogin_LastAdministrator_Stays(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		ok(w.T, w.fleet.LinkIdentity(w.ctx, u.ID, person("1", "ada")))
		in, err := w.fleet.ExternalLogin(w.ctx, person("1", "ada", "web"), fleet.Admission{Roles: map[string]models.Role{"web": models.RoleViewer}})
		ok(w.T, err)
		want(w.T, "role", in.Role, models.RoleAdministrator)
	})
}

func TestFleet_UnlinkIdentity_NotTheOnlyWayIn(t *testing.T) {
	each(t, func(w *world) {
		u, err := w.fleet.ExternalLogin(w.ctx, person("1", "bob"), fleet.Admission{AutoCreate: true})
		ok(w.T, err)
		list, err := w.fleet.Identities(w.ctx, u.ID)
		ok(w.T, err)
		wantCode(w.T, w.fleet.UnlinkIdentity(w.ctx, u.ID, list[0].ID), models.Conflict)
		ok(w.T, w.fleet.ChangePassword(w.ctx, u.ID, fleet.NewPassword{Password: password}, ""))
		ok(w.T, w.fleet.UnlinkIdentity(w.ctx, u.ID, list[0].ID))
		_, err = w.fleet.ExternalLogin(w.ctx, person("1", "bob"), fleet.Admission{})
		wantCode(w.T, err, models.Forbidden)
	})
}
