package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

// post sends a form as a page would, and gives the status and where it leads to.
func (h *house) post(path string, form url.Values) (status int, location string) {
	h.t.Helper()
	token := regexp.MustCompile(`name="_csrf" value="([^"]+)"`).FindStringSubmatch(h.page(h.url + "/account"))
	form.Set("_csrf", token[1])
	client := *h.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.PostForm(h.url+path, form)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}

// What a form's lists do not offer is refused and changes nothing. As nothing chosen
// it would be everything: all clients' sites for a user, a token and a notice, the
// control plane's host and an SQLite file for a site.
func TestForms_NotOffered_IsNotNone(t *testing.T) {
	h := startHouse(t)
	ctx := t.Context()
	site := seedSite(t, h.app)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client, err := h.app.fleet.SaveClient(ctx, "test", models.Client{Name: "Museum"})
	must(err)
	eva, err := h.app.fleet.AddUser(ctx, "test", fleet.NewUser{Name: "eva", Role: models.RoleViewer, ClientID: client.ID})
	must(err)
	s, err := h.app.store.SiteNamed(ctx, site)
	must(err)
	must(h.app.fleet.GiveSite(ctx, "test", s.ID, client.ID))
	events := func() int {
		n := 0
		must(h.app.fleet.EachEvent(ctx, fleet.EventFilter{}, func(rows []fleet.EventRow) error {
			n += len(rows)
			return nil
		}))
		return n
	}
	before := events()
	at := func(path string, id int64) string { return path + strconv.FormatInt(id, 10) }
	for _, other := range []string{"museum", "-1", "99999999999999999999", "1e3", "\x00", " ", "424242"} {
		for path, form := range map[string]url.Values{
			"/users":                        {"name": {"new"}, "role": {"viewer"}, "client": {other}},
			at("/users/", eva.ID):           {"role": {"viewer"}, "client": {other}},
			at("/sites/", s.ID) + "/client": {"client": {other}},
			at("/sites/", s.ID) + "/move":   {"server": {other}},
			"/account/tokens":               {"name": {"Deploy"}, "life": {"30"}, "client": {other}},
			"/notices":                      {"name": {"Night"}, "kind": {"email"}, "target": {"a@example.org"}, "cause-build": {"1"}, "scope": {"c" + other}},
			"/sites":                        {"uri": {"new.example.org"}, "platform": {strconv.FormatInt(s.PlatformID, 10)}, "profile": {"standard"}, "database": {other}},
			"/queues/hosts":                 {"host": {"a b/" + other}, "at_once": {"4"}, "per_minute": {"60"}},
		} {
			status, location := h.post(path, form)
			if status == http.StatusOK || status >= 500 {
				t.Errorf("%s with %q: %d to %s", path, other, status, location)
			}
			if now := events(); now != before {
				t.Errorf("%s with %q: %d to %s, and %d more is recorded", path, other, status, location, now-before)
				before = now
			}
		}
	}
	if status, _ := h.post("/notices", url.Values{"name": {"Night"}, "kind": {"email"}, "target": {"a@example.org"}, "cause-build": {"1"}, "scope": {"everything"}}); status != http.StatusUnprocessableEntity {
		t.Errorf("a scope that there is not: %d", status)
	}
}
