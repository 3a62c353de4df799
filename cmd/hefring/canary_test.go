package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha1"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/config"
	"hefring/internal/fleet"
	"hefring/models"
)

// canaries are secrets that were given to Hefring, and are looked for wherever
// they must not be.
type canaries []string

// in names the secrets that text holds: plain, or as HTTP carries them.
func (c canaries) in(text []byte) []string {
	var found []string
	for _, secret := range c {
		for _, form := range []string{
			secret, base64.StdEncoding.EncodeToString([]byte("hefring:" + secret)), base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)),
		} {
			if bytes.Contains(text, []byte(form)) {
				found = append(found, secret)
				break
			}
		}
	}
	return found
}

// guarded lets in who knows the secret, as user and password or as a bearer.
func guarded(secret string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		if password != secret && r.Header.Get("Authorization") != "Bearer "+secret {
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func pages(list map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := list[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(body)
	})
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, text := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// packages is a Composer repository with one project template.
func packages(t *testing.T, base string) map[string][]byte {
	t.Helper()
	dist := zipped(t, map[string]string{
		"composer.json": `{"name": "acme/template", "type": "project"}`, "web/index.php": "<?php\n",
		"web/core/lib/Drupal.php": "<?php\nclass Drupal {\n  const VERSION = '11.1.0';\n}\n", "vendor/bin/drush": "#!/bin/sh\n",
	})
	sum := sha1.Sum(dist)
	entry := map[string]any{
		"name": "acme/template", "version": "1.0.0", "type": "project",
		"dist": map[string]any{"type": "zip", "url": base + "/dist.zip", "reference": "1", "shasum": hex.EncodeToString(sum[:])},
	}
	text := func(value any) []byte {
		out, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	return map[string][]byte{
		"/packages.json":             text(map[string]any{"packages": []any{}, "metadata-url": "/composer/p2/%package%.json"}),
		"/p2/acme/template.json":     text(map[string]any{"packages": map[string]any{"acme/template": []any{entry}}}),
		"/p2/acme/template~dev.json": text(map[string]any{"packages": map[string]any{"acme/template": []any{}}}),
		"/dist.zip":                  dist,
	}
}

// private is a server with a source of each kind that knows credentials.
func private(t *testing.T, git, composer, makefile string) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.Handle("/git/", http.StripPrefix("/git", guarded(git, repositories(t))))
	mux.Handle("/composer/", http.StripPrefix("/composer", guarded(composer, pages(packages(t, server.URL+"/composer")))))
	mux.Handle("/public/", pages(map[string][]byte{"/public/a.zip": zipped(t, map[string]string{"a/a.js": "a"})}))
	library := func(name string) string {
		return fmt.Sprintf("libraries[%[1]s][download][type] = get\nlibraries[%[1]s][download][url] = %[2]s/public/%[1]s.zip\n", name, server.URL)
	}
	site := "core = 7.x\napi = 2\nincludes[] = more.make\n" + library("a")
	mux.Handle("/make/", http.StripPrefix("/make", guarded(makefile, pages(map[string][]byte{
		"/site.make": []byte(site), "/broken.make": []byte(site + library("b")), "/more.make": []byte("core = 7.x\napi = 2\n"),
	}))))
	return server.URL
}

// TestCanary_SecretsStayHidden gives Hefring credentials of every kind, has it
// look and build, with success and without, and looks for them in all that it
// keeps, logs, answers and starts.
func TestCanary_SecretsStayHidden(t *testing.T) {
	const git, composer, makefile = "canary-git-7f3a91", "canary-composer-7f3a91", "canary-makefile-7f3a91"
	secrets := canaries{git, composer, makefile, "canary-wrong-7f3a91", "canary-spare-7f3a91"}
	base := private(t, git, composer, makefile)
	h := startHouse(t)
	programs := watchPrograms(t, secrets)

	token := func(settings models.Settings, secret string) models.Settings {
		settings["user"], settings["token"] = "hefring", secret
		return settings
	}
	gitSettings := func(secret string) models.Settings {
		return token(models.Settings{"url": base + "/git/site.git", "auth": "token"}, secret)
	}
	composerSettings := func(secret string) models.Settings {
		return token(models.Settings{"package": "acme/template", "repository": base + "/composer", "only": "1"}, secret)
	}
	makeSettings := func(name, secret string) models.Settings {
		return token(models.Settings{"url": base + "/make/" + name, "auth": "token", "no_core": "1"}, secret)
	}
	with := func(settings models.Settings, name, value string) models.Settings {
		settings[name] = value
		return settings
	}
	wrong := secrets[3]
	for name, test := range map[string]struct {
		kind     string
		settings models.Settings
		says     string // "" for a ready platform
	}{
		"git":                 {"git", gitSettings(git), ""},
		"git no platform":     {"git", with(gitSettings(git), "subdirectory", "escape"), "docroot"},
		"git refused":         {"git", gitSettings(wrong), "credentials"},
		"git no branch":       {"git", with(gitSettings(git), "branch", "none"), "branch"},
		"composer":            {"composer", composerSettings(composer), ""},
		"composer no version": {"composer", with(composerSettings(composer), "constraint", "^9"), "version"},
		"composer refused":    {"composer", composerSettings(wrong), "credentials"},
		"make no platform":    {"makefile", makeSettings("site.make", makefile), "docroot"},
		"make broken":         {"makefile", makeSettings("broken.make", makefile), "404"},
		"make missing":        {"makefile", makeSettings("none.make", makefile), "404"},
		"make refused":        {"makefile", makeSettings("site.make", wrong), "credentials"},
	} {
		h.add(name, test.kind, test.settings, test.says)
	}
	h.await()

	// A secret is replaced, and kept when the form is sent without it.
	d := h.distributions["git"]
	for _, secret := range []string{secrets[4], "", git} {
		if _, err := h.app.fleet.UpdateDistribution(t.Context(), "admin", d.ID, fleet.NewDistribution{Name: d.Name, Settings: gitSettings(secret)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range h.distributions {
		if _, err := h.app.fleet.CheckNow(t.Context(), "admin", d.ID); err != nil && models.CodeOf(err) != models.Conflict {
			t.Fatal(err)
		}
	}
	_, hook, err := h.app.fleet.CreateWebhook(t.Context(), "admin", d.ID, fleet.NewWebhook{Provider: "github"})
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, hook)
	h.idle()
	for _, line := range programs() {
		t.Errorf("everybody sees the secret among the arguments of %q", line)
	}
	h.search(secrets)
}

// house is a Hefring of its own, whose pages are served and whose sites are not.
type house struct {
	t             *testing.T
	app           *app
	data, log     string
	url           string
	listener      net.Listener
	db            *sql.DB // the same database, for who looks behind the pages
	tables        map[string][]string
	client        *http.Client
	distributions map[string]models.Distribution
	says          map[string]string
}

func startHouse(t *testing.T) *house {
	t.Helper()
	h := newHouse(t, nil)
	h.answers()
	h.works()
	h.login()
	return h
}

// newHouse is a Hefring with other settings, if any, that does nothing yet.
func newHouse(t *testing.T, change func(*config.Config)) *house {
	t.Helper()
	base, err := os.MkdirTemp("", "hefring-canary-") //nolint:usetesting // builds are another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	h := &house{
		t: t, data: filepath.Join(base, "data"), log: filepath.Join(base, "log"),
		distributions: map[string]models.Distribution{}, says: map[string]string{},
	}
	log, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = log
	t.Cleanup(func() {
		os.Stderr = stderr
		_ = log.Close()
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.listener, h.url = listener, "http://"+listener.Addr().String()
	cfg := config.Config{
		Data: h.data, Listen: listener.Addr().String(), SitesListen: "127.0.0.1", SitesPort: 1, ProbePort: 2,
		WebUser: "www-data", BuildUser: "nobody", EgressAllow: []string{"127.0.0.1/32"}, LogLevel: "debug",
	}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if h.app, err = newApp(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.app.close)
	h.app.logger.Debug("the house is up")
	return h
}

// works has the house do its tasks.
func (h *house) works() {
	h.t.Helper()
	ctx := context.WithoutCancel(h.t.Context())
	if err := h.app.tasks.Start(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := h.app.tasks.Stop(ctx); err != nil {
			h.t.Error(err)
		}
	})
	if err := h.app.builder.Chown(layout(h.data).cache); err != nil {
		h.t.Fatal(err)
	}
}

// answers has the house show its pages.
func (h *house) answers() {
	h.t.Helper()
	for _, step := range []func(context.Context) error{h.app.fleet.EnsureQueues, h.app.fleet.EnsureUpstreams} {
		if err := step(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(h.t.Context()))
	served := make(chan error, 1)
	go func() { served <- h.app.serveHTTP(ctx, h.listener) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			h.t.Error(err)
		}
	})
}

// login signs in as a person does.
func (h *house) login() {
	h.t.Helper()
	if _, err := h.app.fleet.CreateUser(h.t.Context(), "admin", ""); err != nil {
		h.t.Fatal(err)
	}
	link, err := h.app.loginLink(h.t.Context(), "admin")
	if err != nil {
		h.t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.client = &http.Client{Jar: jar, Timeout: 30 * time.Second}
	h.t.Cleanup(h.client.CloseIdleConnections)
	token := regexp.MustCompile(`name="_csrf" value="([^"]+)"`).FindStringSubmatch(h.page(link))
	if token == nil {
		h.t.Fatal("the page of the link has no form")
	}
	resp, err := h.client.PostForm(link, url.Values{"_csrf": {token[1]}})
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || strings.Contains(resp.Request.URL.Path, "login") {
		h.t.Fatalf("signed in: %s at %s", resp.Status, resp.Request.URL)
	}
}

func (h *house) page(address string) string {
	h.t.Helper()
	resp, err := h.client.Get(address)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 500 {
		h.t.Fatalf("%s: %s, %v", address, resp.Status, err)
	}
	return string(text)
}

func (h *house) add(name, kind string, settings models.Settings, says string) {
	h.t.Helper()
	d, err := h.app.fleet.CreateDistribution(h.t.Context(), "admin", fleet.NewDistribution{Name: name, UpdateType: kind, Settings: settings})
	if err != nil {
		h.t.Fatalf("%s: %v", name, err)
	}
	h.distributions[name], h.says[name] = d, says
}

// poll waits, and has what becomes due looked at, as the schedule does.
func (h *house) poll(what string, done func() bool) {
	h.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(4 * time.Minute)
	for !done() {
		if err := h.app.fleet.DispatchChecks(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("waited in vain: %s\n%s", what, h.conditions())
		}
	}
}

func (h *house) conditions() string {
	var b strings.Builder
	for name := range h.distributions {
		d := h.now(name)
		fmt.Fprintf(&b, "%s: %s %s\n", name, d.Condition, d.Reason)
	}
	return b.String()
}

func (h *house) now(name string) models.Distribution {
	h.t.Helper()
	d, err := h.app.fleet.Distribution(h.t.Context(), h.distributions[name].ID)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

func (h *house) idle() {
	h.t.Helper()
	h.poll("the tasks end", func() bool {
		running, err := h.app.store.RunningTasks(h.t.Context(), fleet.Filter{Limit: 100})
		return err == nil && len(running) == 0
	})
}

// await waits until every distribution came to its expected end.
func (h *house) await() {
	h.t.Helper()
	for name, says := range h.says {
		h.poll(name, func() bool {
			d := h.now(name)
			return d.TargetID != nil || d.Condition != models.ConditionNew && d.Reason != "" && d.LastCheckAt != nil
		})
		d := h.now(name)
		if (d.TargetID != nil) != (says == "") || !strings.Contains(d.Reason, says) {
			h.t.Errorf("%s: target %v, %s %q; want %q", name, d.TargetID != nil, d.Condition, d.Reason, says)
		}
	}
	h.idle()
}

// search looks into everything that is kept, written and shown.
func (h *house) search(secrets canaries) {
	h.t.Helper()
	const known = "acme/template" // no secret: what is looked through is what is kept
	seen, files, shown := 0, 0, 0
	err := filepath.WalkDir(filepath.Dir(h.data), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		files += bytes.Count(text, []byte(known))
		for _, secret := range secrets.in(text) {
			h.t.Errorf("%s holds %s", path, secret)
		}
		return nil
	})
	if err != nil || seen < 20 || files == 0 {
		h.t.Errorf("looked into %d files: %v", seen, err)
	}
	if info, err := os.Stat(h.log); err != nil || info.Size() == 0 {
		h.t.Errorf("nothing was logged: %v", err)
	}
	addresses := []string{"/", "/distributions", "/platforms", "/tasks", "/queues"}
	for _, d := range h.distributions {
		addresses = append(addresses, fmt.Sprintf("/distributions/%d", d.ID), fmt.Sprintf("/distributions/%d/edit", d.ID), fmt.Sprintf("/distributions/%d/webhooks", d.ID))
		list, err := h.app.store.PlatformsOf(h.t.Context(), d.ID)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, p := range list {
			addresses = append(addresses, fmt.Sprintf("/platforms/%d", p.ID))
		}
	}
	tasks, _, err := h.app.store.Tasks(h.t.Context(), fleet.Filter{Limit: 500})
	if err != nil || len(tasks) < len(h.distributions) {
		h.t.Fatalf("%d tasks, %v", len(tasks), err)
	}
	for _, task := range tasks {
		addresses = append(addresses, fmt.Sprintf("/tasks/%d", task.ID), fmt.Sprintf("/tasks/%d/log", task.ID))
	}
	for _, address := range addresses {
		text := h.page(h.url + address)
		shown += strings.Count(text, known)
		for _, secret := range secrets.in([]byte(text)) {
			h.t.Errorf("the page %s shows %s", address, secret)
		}
	}
	if shown == 0 {
		h.t.Errorf("the pages show nothing of the sources")
	}
}

// watchPrograms looks at the arguments of every program until the list of those
// with a secret is asked for.
func watchPrograms(t *testing.T, secrets canaries) func() []string {
	t.Helper()
	var mu sync.Mutex
	var found []string
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				text, _ := os.ReadFile(file) // it may be gone already
				if len(secrets.in(text)) > 0 {
					mu.Lock()
					found = append(found, string(text))
					mu.Unlock()
				}
			}
			<-tick.C
		}
	})
	end := sync.OnceFunc(func() {
		stop()
		ended.Wait()
	})
	t.Cleanup(end)
	return func() []string {
		end()
		return found
	}
}

// removeAll deletes also what is sealed.
func removeAll(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
