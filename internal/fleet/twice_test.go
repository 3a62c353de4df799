package fleet_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// atOnce presses from several sides at once, and fails unless somebody succeeded and the
// others at most came too late.
func (w *world) atOnce(what string, sides int, press func(side int) error) {
	w.Helper()
	var group sync.WaitGroup
	var done atomic.Bool
	for side := range sides {
		group.Go(func() {
			switch err := press(side); models.CodeOf(err) {
			case models.NotFound, models.Conflict:
			case "":
				if err != nil {
					w.Errorf("%s: %v", what, err)
				}
				done.Store(true)
			default:
				w.Errorf("%s: %v", what, err)
			}
		})
	}
	group.Wait()
	if !done.Load() {
		w.Errorf("%s: nobody succeeded", what)
	}
}

// onceInRecord presses from several sides at once, then once more, and fails unless the
// record has one line more.
func (w *world) onceInRecord(verb string, press func() error) {
	w.Helper()
	before := len(w.lines(fleet.EventFilter{Verb: verb}))
	w.atOnce(verb, 6, func(int) error { return press() })
	if code := models.CodeOf(press()); code != "" && code != models.NotFound && code != models.Conflict {
		w.Errorf("%s once more: %s", verb, code)
	}
	lines := w.lines(fleet.EventFilter{Verb: verb})
	want(w.T, "new lines of "+verb, len(lines)-before, 1)
	w.saysWhatChanged(lines)
}

// Who presses twice, or several who press at once, change a thing once: the record has
// one line, which says what was before.
func TestFleet_PressedAtOnce_IsRecordedOnce(t *testing.T) {
	each(t, func(w *world) {
		w.peopleAtOnce()
		w.settingsAtOnce()
		w.sourcesAtOnce()
		w.sitesAtOnce()
	})
}

func (w *world) peopleAtOnce() {
	w.Helper()
	f, u := w.fleet, w.ada()
	eva, err := f.AddUser(w.ctx, "ada", fleet.NewUser{Name: "eva", Role: models.RoleViewer})
	ok(w.T, err)
	w.onceInRecord("change user", func() error { return f.ChangeUser(w.ctx, "ada", eva.ID, fleet.NewUser{Role: models.RoleOperator}) })
	w.onceInRecord("change user", func() error {
		return f.ChangeUser(w.ctx, "ada", eva.ID, fleet.NewUser{Role: models.RoleOperator, Disabled: true})
	})
	client, err := f.SaveClient(w.ctx, "ada", models.Client{Name: "Museum"})
	ok(w.T, err)
	client.Name = "Town"
	w.onceInRecord("change client", func() error { _, err := f.SaveClient(w.ctx, "ada", client); return err })
	w.onceInRecord("delete client", func() error { return f.DeleteClient(w.ctx, "ada", client.ID) })
	_, err = f.CreateToken(w.ctx, "ada", fleet.NewToken{User: "ada", Name: "Deployment", Life: time.Hour})
	ok(w.T, err)
	w.onceInRecord("revoke token", func() error { return f.RevokeToken(w.ctx, "ada", "ada", "Deployment") })
	_, codes := w.secondFactor(u)
	w.atOnce("use recovery code", 1, func(int) error { return f.CheckCode(w.ctx, u.ID, codes[0]) })
	w.onceInRecord("remove second factor", func() error { return f.DropSecondFactor(w.ctx, "ada", u.ID) })
	w.signIn(u, "a")
	w.onceInRecord("end session", func() error { return f.EndSession(w.ctx, u.ID, "a") })
	ok(w.T, f.LinkIdentity(w.ctx, u.ID, person("1", "ada")))
	links, err := f.Identities(w.ctx, u.ID)
	ok(w.T, err)
	w.onceInRecord("unlink identity", func() error { return f.UnlinkIdentity(w.ctx, u.ID, links[0].ID) })
}

func (w *world) settingsAtOnce() {
	w.Helper()
	f := w.fleet
	w.onceInRecord("edit", func() error {
		return f.SaveQueue(w.ctx, "ada", models.Queue{UpdateType: "scripted", Every: time.Hour, AtOnce: 3})
	})
	w.onceInRecord("pause", func() error { return f.PauseQueue(w.ctx, "ada", "scripted", true) })
	w.onceInRecord("resume", func() error { return f.PauseQueue(w.ctx, "ada", "scripted", false) })
	h, err := w.Host(w.ctx, "example.org")
	ok(w.T, err)
	h.AtOnce = 2
	w.onceInRecord("edit", func() error { return f.SaveHost(w.ctx, "ada", h) })
	in := models.DatabaseServer{Name: "Main", Engine: models.EngineMySQL, Host: "db.example.org", User: "admin", Password: "open sesame"}
	server, err := f.SaveDatabaseServer(w.ctx, "ada", in)
	ok(w.T, err)
	in.ID, in.Name = server.ID, "First"
	w.onceInRecord("edit", func() error { _, err := f.SaveDatabaseServer(w.ctx, "ada", in); return err })
	w.onceInRecord("delete", func() error { return f.DeleteDatabaseServer(w.ctx, "ada", server.ID) })
	hook, _, err := f.SaveChannel(w.ctx, "ada", models.Channel{Name: "Chat", Kind: models.ChannelWebhook, URL: "https://chat.example.org/x", Causes: models.Causes()}, "")
	ok(w.T, err)
	hook.Name, hook.URL = "Team", ""
	w.onceInRecord("channel edit", func() error { _, _, err := f.SaveChannel(w.ctx, "ada", hook, ""); return err })
	w.onceInRecord("channel pause", func() error { return f.PauseChannel(w.ctx, "ada", hook.ID, true) })
	w.onceInRecord("channel delete", func() error { _, err := f.DeleteChannel(w.ctx, "ada", hook.ID); return err })
}

func (w *world) sourcesAtOnce() {
	w.Helper()
	f := w.fleet
	d := w.distribution("Intranet")
	in := fleet.NewDistribution{Name: "Extranet", UpdateType: d.UpdateType, Settings: d.Settings}
	w.onceInRecord("edit", func() error { _, err := f.UpdateDistribution(w.ctx, "ada", d.ID, in); return err })
	hook, _, err := f.CreateWebhook(w.ctx, "ada", d.ID, fleet.NewWebhook{Provider: models.ProviderGitHub})
	ok(w.T, err)
	_, err = f.RotateWebhook(w.ctx, "ada", hook.ID, "")
	ok(w.T, err)
	row, err := f.Webhook(w.ctx, hook.ID, 0)
	ok(w.T, err)
	w.onceInRecord("webhook retire", func() error { return f.RetireWebhookSecret(w.ctx, "ada", hook.ID, row.Secrets[0].ID) })
	w.onceInRecord("webhook delete", func() error { _, err := f.DeleteWebhook(w.ctx, "ada", hook.ID); return err })
	w.onceInRecord("delete", func() error { return f.DeleteDistribution(w.ctx, "ada", d.ID) })
}

func (w *world) sitesAtOnce() {
	w.Helper()
	f := w.fleet
	old, _, sites := w.behind("museum.example.org")
	site := sites[0].ID
	w.onceInRecord("unlock", func() error { return f.UnlockPlatform(w.ctx, "ada", old.ID) })
	w.onceInRecord("lock", func() error { return f.LockPlatform(w.ctx, "ada", old.ID) })
	w.onceInRecord("hold", func() error { return f.HoldSite(w.ctx, "ada", site, "A fair is on.", nil) })
	w.onceInRecord("release", func() error { return f.ReleaseSite(w.ctx, "ada", site) })
	client, err := f.SaveClient(w.ctx, "ada", models.Client{Name: "Library"})
	ok(w.T, err)
	w.onceInRecord("give to client", func() error { return f.GiveSite(w.ctx, "ada", site, client.ID) })
}

// Two administrators who take each other's role at once leave one.
func TestFleet_ChangeUser_BothAdministratorsAtOnce_OneStays(t *testing.T) {
	each(t, func(w *world) {
		u := w.ada()
		bob, err := w.fleet.CreateUser(w.ctx, "bob", "")
		ok(w.T, err)
		for range 5 {
			ids := []int64{u.ID, bob.ID}
			w.atOnce("change user", 2, func(side int) error {
				return w.fleet.ChangeUser(w.ctx, "ada", ids[side], fleet.NewUser{Role: models.RoleViewer})
			})
			left, err := w.Administrators(w.ctx)
			ok(w.T, err)
			want(w.T, "administrators", left, 1)
			for _, id := range ids {
				ok(w.T, w.fleet.ChangeUser(w.ctx, "ada", id, fleet.NewUser{Role: models.RoleAdministrator}))
			}
		}
	})
}

// Whoever has no password keeps one link, also when both are unlinked at once.
func TestFleet_UnlinkIdentity_BothAtOnce_OneStays(t *testing.T) {
	each(t, func(w *world) {
		bob, err := w.fleet.CreateUser(w.ctx, "bob", "")
		ok(w.T, err)
		for range 5 {
			ok(w.T, w.fleet.LinkIdentity(w.ctx, bob.ID, person("1", "bob")))
			if list, _ := w.fleet.Identities(w.ctx, bob.ID); len(list) == 1 {
				ok(w.T, w.fleet.LinkIdentity(w.ctx, bob.ID, person("2", "bob")))
			}
			list, err := w.fleet.Identities(w.ctx, bob.ID)
			ok(w.T, err)
			w.atOnce("unlink", 2, func(side int) error { return w.fleet.UnlinkIdentity(w.ctx, bob.ID, list[side].ID) })
			list, err = w.fleet.Identities(w.ctx, bob.ID)
			ok(w.T, err)
			if len(list) != 1 {
				w.Fatalf("%d links are left", len(list))
			}
			if list[0].Subject == "1" { // so that each round begins alike
				ok(w.T, w.fleet.LinkIdentity(w.ctx, bob.ID, person("2", "bob")))
				ok(w.T, w.fleet.UnlinkIdentity(w.ctx, bob.ID, list[0].ID))
			}
		}
	})
}

// Each secret that somebody was shown is good, also of two that were made at once, and
// when somebody changed the channel meanwhile.
func TestFleet_RotateChannelSecret_AtOnce_BothAreGood(t *testing.T) {
	each(t, func(w *world) {
		hook, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "Chat", Kind: models.ChannelWebhook, URL: "https://chat.example.org/x", Causes: models.Causes()}, "")
		ok(w.T, err)
		for round := range 5 {
			shown := make([]string, 3)
			w.atOnce("rotate", 3, func(side int) (err error) {
				if side == 2 {
					change := hook
					change.Name = fmt.Sprintf("Chat %d", round)
					change.URL = []string{"", "https://chat.example.org/y"}[round%2]
					_, _, err = w.fleet.SaveChannel(w.ctx, "ada", change, "")
					return err
				}
				shown[side], err = w.fleet.RotateChannelSecret(w.ctx, "ada", hook.ID, "")
				return err
			})
			stored, err := w.Channel(w.ctx, hook.ID)
			ok(w.T, err)
			_, sealed, _ := strings.Cut(string(stored.Secret), "|")
			text, err := base64.StdEncoding.DecodeString(sealed)
			ok(w.T, err)
			for _, secret := range shown[:2] {
				if !strings.Contains(string(text), secret) {
					w.Errorf("a secret that was shown is not good: %s lacks %s", text, secret)
				}
			}
		}
	})
}
