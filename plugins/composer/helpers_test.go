package composer_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// upstream is a Composer repository on a server.
type upstream struct {
	t      *testing.T
	http   *httptest.Server
	url    string
	mu     sync.Mutex
	pages  map[string][]byte // by path
	list   map[string][]map[string]any
	asked  []string                    // paths, with 304 behind those that had not changed
	header string                      // Authorization that is wanted; "" for none
	known  map[string][]map[string]any // advisories; nil for a repository that keeps none
	wrap   func(http.ResponseWriter, *http.Request) bool
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{t: t, pages: map[string][]byte{}, list: map[string][]map[string]any{}}
	u.http = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.http.Close)
	u.url = u.http.URL
	u.root(nil)
	return u
}

// root writes packages.json.
func (u *upstream) root(more map[string]any) {
	root := map[string]any{"packages": []any{}, "metadata-url": "/p2/%package%.json"}
	maps.Copy(root, more)
	u.put("/packages.json", u.json(root))
}

func (u *upstream) json(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		u.t.Fatal(err)
	}
	return text
}

func (u *upstream) put(path string, body []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pages[path] = body
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.wrap != nil && u.wrap(w, r) {
		return
	}
	if u.header != "" && r.Header.Get("Authorization") != u.header {
		u.asked = append(u.asked, r.URL.Path+" 401")
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/advisories" {
		u.asked = append(u.asked, r.URL.Path)
		_ = r.ParseForm()
		answer := map[string]any{}
		for key, names := range r.PostForm {
			for _, name := range names {
				if list := u.known[name]; list != nil && strings.HasPrefix(key, "packages[") {
					answer[name] = list
				}
			}
		}
		_, _ = w.Write(u.json(map[string]any{"advisories": answer}))
		return
	}
	body, ok := u.pages[r.URL.Path]
	if !ok {
		u.asked = append(u.asked, r.URL.Path+" 404")
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		u.asked = append(u.asked, r.URL.Path+" 304")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	u.asked = append(u.asked, r.URL.Path)
	_, _ = w.Write(body)
}

// requests gives what was asked since the last call.
func (u *upstream) requests() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := u.asked
	u.asked = nil
	slices.Sort(list)
	return list
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// publish adds a version of a package; more goes into its entry, and what is not
// code of it also into its composer.json.
func (u *upstream) publish(name, version string, files map[string]string, more map[string]any) map[string]any {
	u.t.Helper()
	manifest := map[string]any{"name": name}
	for key, value := range more {
		if key != "dist" && key != "abandoned" && key != "lock" {
			manifest[key] = value
		}
	}
	all := map[string]string{"composer.json": string(u.json(manifest))}
	maps.Copy(all, files)
	data := archive(u.t, all)
	path := "/dist/" + strings.ReplaceAll(name, "/", "-") + "-" + version + ".zip"
	u.put(path, data)
	sum := sha1.Sum(data)
	entry := map[string]any{
		"name": name, "version": version, "type": "library", "description": "About " + name,
		"dist": map[string]any{"type": "zip", "url": u.url + path, "reference": hex.EncodeToString(sum[:]), "shasum": hex.EncodeToString(sum[:])},
	}
	maps.Copy(entry, more)
	u.add(entry)
	return entry
}

func (u *upstream) add(entry map[string]any) {
	name := entry["name"].(string)
	u.list[name] = slices.DeleteFunc(u.list[name], func(e map[string]any) bool { return e["version"] == entry["version"] })
	u.list[name] = append(u.list[name], entry)
	u.write(name)
}

func (u *upstream) withdraw(name, version string) {
	u.list[name] = slices.DeleteFunc(u.list[name], func(e map[string]any) bool { return e["version"] == version })
	u.write(name)
}

func (u *upstream) write(name string) {
	var releases, branches []any
	for _, entry := range u.list[name] {
		if strings.Contains(entry["version"].(string), "dev") {
			branches = append(branches, entry)
		} else {
			releases = append(releases, entry)
		}
	}
	for suffix, list := range map[string][]any{"": releases, "~dev": branches} {
		u.put("/p2/"+name+suffix+".json", u.json(map[string]any{"packages": map[string]any{name: append([]any{}, list...)}}))
	}
}

// template publishes a version of acme/template that requires packages.
func (u *upstream) template(version string, require map[string]string, files map[string]string) {
	u.t.Helper()
	all := map[string]string{"web/index.php": "<?php // " + version + "\n"}
	maps.Copy(all, files)
	more := map[string]any{"type": "project"}
	if require != nil {
		more["require"] = require
	}
	u.publish("acme/template", version, all, more)
}

func (u *upstream) settings(more models.Settings) models.Settings {
	s := models.Settings{"package": "acme/template", "repository": u.url, "only": "1"}
	maps.Copy(s, more)
	return s
}

func (u *upstream) open(more models.Settings) plugins.Source {
	u.t.Helper()
	return open(u.t, composer.New(), u.settings(more))
}

func open(t *testing.T, p composer.Plugin, settings models.Settings) plugins.Source {
	t.Helper()
	s, err := p.Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runner switches to an ordinary user, as the program does when it is root.
func runner(t *testing.T) *run.Runner {
	t.Helper()
	if os.Geteuid() != 0 {
		return run.New(run.Config{})
	}
	id, err := run.LookupIdentity("www-data")
	if err != nil {
		t.Fatal(err)
	}
	return run.New(run.Config{Identity: id})
}

func guard(t *testing.T) *egress.Guard {
	t.Helper()
	g := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(g.Close)
	return g
}

// text is a log that a test reads while it is written.
type text struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}

// machine gives an Env with a log, and a cache that stays for the test.
func machine(t *testing.T) (plugins.Env, *text) {
	t.Helper()
	log := &text{}
	return plugins.Env{Run: runner(t), Egress: guard(t), Log: log, Scratch: t.TempDir(), Cache: t.TempDir()}, log
}

func check(t *testing.T, env plugins.Env, s plugins.Source, last plugins.Version) plugins.Version {
	t.Helper()
	v, err := s.Check(t.Context(), env, last)
	if err != nil {
		t.Fatalf("%v\n%v", err, env.Log)
	}
	return v
}

func build(t *testing.T, env plugins.Env, s plugins.Source, v plugins.Version) (string, plugins.Made) {
	t.Helper()
	dst := t.TempDir()
	made, err := s.Build(t.Context(), env, v, dst)
	if err != nil {
		t.Fatalf("%v\n%v", err, env.Log)
	}
	return dst, made
}

func wantReason(t *testing.T, err error, reason models.Reason, texts ...string) {
	t.Helper()
	if models.ReasonOf(err) != reason || models.CodeOf(err) == "" {
		t.Fatalf("want reason %s, got %q: %v", reason, models.ReasonOf(err), err)
	}
	for _, text := range texts {
		if !strings.Contains(models.Explain(err), text) {
			t.Errorf("want %q in %q", text, models.Explain(err))
		}
	}
}
