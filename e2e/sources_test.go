package e2e_test

import (
	"crypto/subtle"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// private lets only this user and token see the forge.
func (f *forge) private(user, token string) string {
	f.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, word, _ := r.BasicAuth()
		if name != user || subtle.ConstantTimeCompare([]byte(word), []byte(token)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		f.server.ServeHTTP(w, r)
	}))
	f.t.Cleanup(server.Close)
	return server.URL
}

// A source that needs a token: refused three times it stalls and says what to do,
// a new token mends it, and the token is shown nowhere.
func TestSources_Credentials(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	b, p := h.browser(), h.person("second")
	forge := newForge(t)
	repo := forge.repo("private")
	repo.push(tidepool.V1058)
	const token = "canary-4f2a91c-token"
	address := forge.private("deploy", token) + "/private.git"

	b.signIn(h)
	b.visit("/distributions/new")
	b.fill("name", "Private")
	b.fill("git.url", address)
	hidden := func(name string) string {
		return b.text(`String(getComputedStyle(document.getElementsByName('` + name + `')[0].closest('.f')).display === 'none')`)
	}
	if hidden("git.token") != "true" || hidden("git.known_hosts") != "true" {
		t.Error("fields that do not apply are shown")
	}
	b.choose("git.auth", "token")
	if hidden("git.token") != "false" || hidden("git.ssh_key") != "true" {
		t.Error("the token cannot be typed, or the key can")
	}
	b.fill("git.user", "deploy")
	b.fill("git.token", "wrong")
	b.examine("credentials")
	b.press("Add and check now")
	b.lands(`^/distributions/1$`)
	b.seesWithin(30*time.Second, "AuthenticationFailed")
	for range 2 {
		b.until(30*time.Second, "the check is over", `!document.querySelector('#live .live')`)
		b.press("Check now")
		p.quiet()
		b.visit("/distributions/1")
	}
	b.seesWithin(30*time.Second, "Try again")
	b.sees("Stalled")
	b.examine("stalled")

	b.visit("/distributions/1/edit")
	if got := b.value("git.token"); got != "" {
		t.Errorf("the form holds the token %q", got)
	}
	b.fill("git.token", token)
	b.press("Save and check now")
	b.lands(`^/distributions/\d+$`)
	p.awaitTarget(1, "10.5.8")
	p.quiet()
	b.visit("/distributions/1")
	b.sees("set, not shown")
	b.examine("mended")

	// Another distribution of the same place is asked with the first.
	shared := p.addGit("Shared", address, map[string]string{"auth": "token", "user": "deploy", "token": token}).id()
	p.awaitTarget(shared, "10.5.8")
	p.quiet()
	b.visit("/distributions/1")
	b.sees("asked together with 1 other distribution")
	b.visit("/queues")
	b.sees("Hosts")
	b.sees("127.0.0.1")
	b.examine("hosts")
	for _, path := range []string{"/", "/queues", "/distributions", "/distributions/1", "/distributions/1/edit", "/tasks"} {
		if strings.Contains(p.get(path).body, token) {
			t.Errorf("%s shows the token", path)
		}
	}
}

// A tag that moved is not built before a person agrees.
func TestSources_Held(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	b, p := h.browser(), h.person("second")
	repo := newForge(t).repo("tagged")
	repo.push(tidepool.V1058)
	git(t, repo.work, "tag", "v1")
	git(t, repo.work, "push", "--quiet", "origin", "v1")
	d := p.addGit("Tagged", repo.url, map[string]string{"ref_kind": "tag", "tag": "v1"}).id()
	p.awaitTarget(d, "10.5.8")
	p.quiet()
	repo.push(tidepool.V1062)
	p.check(d)
	p.quiet()
	if n := len(p.platforms(d)); n != 1 {
		t.Fatalf("a commit after the tag made %d platforms", n)
	}
	git(t, repo.work, "tag", "--force", "v1")
	git(t, repo.work, "push", "--quiet", "--force", "origin", "v1")
	p.check(d)
	p.quiet()
	b.signIn(h)
	b.visit("/")
	b.sees("Tagged")
	b.visit("/distributions/1")
	b.sees("TagMoved")
	b.sees("Held")
	b.examine("held")
	if n := len(p.platforms(d)); n != 1 {
		t.Fatalf("%d platforms were made of a tag that moved", n)
	}
	b.press("Approve")
	p.awaitTarget(d, "10.6.2")
	p.quiet()
	p.check(d)
	p.quiet()
	b.visit("/distributions/1")
	if strings.Contains(b.text(`document.body.innerText`), "TagMoved") {
		t.Error("what was approved is still held")
	}
}
