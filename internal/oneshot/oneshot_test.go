package oneshot_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/oneshot"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// fake is an update type whose builds are a function.
type fake struct {
	build func(ctx context.Context, env plugins.Env, dst string) (plugins.Made, error)
}

func (fake) Info() plugins.Info {
	return plugins.Info{ID: "fake", Name: "Fake", Summary: "Fake.", Icon: "plus"}
}

func (fake) Fields() []plugins.Field {
	return []plugins.Field{
		{Name: "url", Label: "URL", Kind: plugins.FieldURL, Required: true},
		{Name: "token", Label: "Token", Kind: plugins.FieldSecret},
		{Name: "docroot", Label: "Docroot", Kind: plugins.FieldPath},
	}
}

func (f fake) Open(settings models.Settings) (plugins.Source, error) {
	v := plugins.Decode(f.Fields(), settings)
	v.Text("token")
	v.Text("docroot")
	return fakeSource{f, v.Text("url")}, v.Err()
}

type fakeSource struct {
	fake

	url string
}

func (fakeSource) Upstream() plugins.Upstream { return plugins.Upstream{} }

func (s fakeSource) Check(ctx context.Context, env plugins.Env, _ plugins.Version) (plugins.Version, error) {
	page, err := env.Egress.Fetch(ctx, s.url, 1000, nil)
	if err != nil {
		return plugins.Version{}, err
	}
	plugins.Logf(env, "looked at it")
	return plugins.Version{
		Revision: "fake:" + string(page.Body), Content: string(page.Body), Label: "1",
		Facts: []models.Fact{{Label: "Colour", Value: "red"}}, Hold: &plugins.Hold{Reason: models.ReasonTagMoved, Message: "It moved."},
	}, nil
}

func (s fakeSource) Build(ctx context.Context, env plugins.Env, _ plugins.Version, dst string) (plugins.Made, error) {
	return s.build(ctx, env, dst)
}

func (fakeSource) Assess(_ context.Context, _ plugins.Env, running []plugins.Version) ([][]models.Finding, error) {
	return [][]models.Finding{{{Kind: models.FindingInsecure, Package: running[0].Content}}}, nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

type workshop struct {
	*oneshot.Workshop

	url string
	log *bytes.Buffer
}

func newWorkshop(t *testing.T, build func(context.Context, plugins.Env, string) (plugins.Made, error)) workshop {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("one"))
	}))
	t.Cleanup(server.Close)
	types, err := plugins.NewRegistry(fake{build})
	if err != nil {
		t.Fatal(err)
	}
	settings := run.Config{}
	if os.Geteuid() == 0 {
		if settings.Identity, err = run.LookupIdentity("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(guard.Close)
	log := new(bytes.Buffer)
	w := oneshot.New(oneshot.Config{
		Types: types, Run: run.New(settings), Egress: guard, Tools: map[string]string{"php": "8.3"}, Log: log,
	})
	return workshop{w, server.URL, log}
}

func (w workshop) request(path string) oneshot.Request {
	return oneshot.Request{Type: "fake", Settings: models.Settings{"url": w.url + path, "token": "canary", "docroot": ""}}
}

// code builds with a program, as the build user does.
func code(script string) func(context.Context, plugins.Env, string) (plugins.Made, error) {
	return func(ctx context.Context, env plugins.Env, dst string) (plugins.Made, error) {
		_, err := env.Run.Run(ctx, run.Cmd{Name: "sh", Args: []string{"-c", script}, Dir: dst, Sandbox: &run.Sandbox{Writable: []string{dst}}})
		return plugins.Made{Sources: []models.SourcePackage{{Name: "drupal"}}}, err
	}
}

func TestWorkshop_Check(t *testing.T) {
	w := newWorkshop(t, nil)
	r, err := w.Check(t.Context(), w.request("/"))
	if err != nil {
		t.Fatal(err)
	}
	key := models.BuildKey("fake", models.Settings{"url": w.url + "/"}, "one", map[string]string{"php": "8.3"})
	if r.Revision != "fake:one" || r.BuildKey != key || r.Hold == nil || r.Hold.Reason != models.ReasonTagMoved || len(r.Findings) != 1 || len(r.Facts) != 1 {
		t.Errorf("got %+v", r)
	}
	if r.Cost.Requests != 1 || r.Cost.Bytes < 3 || r.Cost.Seconds <= 0 || r.Built != nil {
		t.Errorf("cost %+v", r.Cost)
	}
	if !strings.Contains(w.log.String(), "looked at it") {
		t.Errorf("log %q", w.log)
	}
	_, err = w.Check(t.Context(), w.request("/missing"))
	if models.ReasonOf(err) != models.ReasonNotFound || errors.Is(err, oneshot.ErrSettings) {
		t.Errorf("got %v", err)
	}
	for _, r := range []oneshot.Request{
		{Type: "none"},
		{Type: "fake"},
		{Type: "fake", Settings: models.Settings{"url": w.url, "x": "y"}},
		{Type: "fake", Settings: models.Settings{"url": w.url}, Folder: "/srv"},
	} {
		if _, err := w.Check(t.Context(), r); !errors.Is(err, oneshot.ErrSettings) || models.CodeOf(err) == "" {
			t.Errorf("%+v: got %v", r, err)
		}
	}
}

func TestWorkshop_Build(t *testing.T) {
	w := newWorkshop(t, code("mkdir -p a/b && echo x >a/b/c && ln -s b a/link && chmod 755 a/b/c"))
	base := t.TempDir()
	empty := filepath.Join(base, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("empty", filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for given, want := range map[string]string{"new": "new", "link": "empty"} {
		r, err := w.Build(t.Context(), w.request("/"), filepath.Join(base, given))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(base, want)
		if r.Built.Dir != dir || r.Built.Files != 1 || r.Built.Bytes != 2 || !strings.Contains(r.Built.Unfit, "docroot") || len(r.Built.Sources) != 1 {
			t.Errorf("got %+v", r.Built)
		}
		digests = append(digests, r.Built.Digest)
		text, err := os.ReadFile(filepath.Join(dir, "a", "link", "c"))
		if err != nil || string(text) != "x\n" {
			t.Errorf("got %q, %v", text, err)
		}
		info, err := os.Stat(filepath.Join(dir, "a", "b", "c"))
		if err != nil {
			t.Fatal(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			t.Errorf("it belongs to %+v", stat)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %v", digests)
	}
	wantOnly(t, base, "empty", "link", "new")
}

func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("%s holds %v, want %v", dir, got, names)
	}
}

func TestWorkshop_Build_Platform(t *testing.T) {
	w := newWorkshop(t, func(_ context.Context, _ plugins.Env, dst string) (plugins.Made, error) {
		write(t, filepath.Join(dst, "web", "index.php"), "<?php\n")
		write(t, filepath.Join(dst, "web", "core", "lib", "Drupal.php"), "<?php\nclass Drupal {\n  const VERSION = '10.5.8';\n}\n")
		write(t, filepath.Join(dst, "vendor", "bin", "drush"), "#!/bin/sh\n")
		return plugins.Made{}, nil
	})
	r, err := w.Build(t.Context(), w.request("/"), filepath.Join(t.TempDir(), "code"))
	if err != nil || r.Built.Platform == nil || r.Built.Platform.DrupalVersion != "10.5.8" || r.Built.Platform.Docroot != "web" || r.Built.Unfit != "" {
		t.Errorf("got %+v, %v", r.Built, err)
	}
}

// Whatever goes wrong, the folder is as it was and nothing lies beside it.
func TestWorkshop_Build_FailureLeavesFolder(t *testing.T) {
	stop := errors.New("a person pressed Ctrl-C")
	for name, build := range map[string]func(context.Context, plugins.Env, string) (plugins.Made, error){
		"fails half way": code("echo x >file; mkdir -p a/b; echo y >a/b/c; chmod 500 a/b a; false"),
		"empty":          code("mkdir folder"),
		"link leads out": code("ln -s /etc/passwd link"),
		"special file":   code("mkfifo pipe; echo x >file"),
		"cancelled": func(ctx context.Context, env plugins.Env, dst string) (plugins.Made, error) {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(stop)
			return code("echo x >file; sleep 60")(ctx, env, dst)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t, build)
			base := t.TempDir()
			if err := os.Mkdir(filepath.Join(base, "there"), 0o750); err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{"there", "new"} {
				if r, err := w.Build(t.Context(), w.request("/"), filepath.Join(base, dir)); err == nil {
					t.Errorf("it succeeded: %+v", r)
				}
			}
			wantOnly(t, base, "there")
			wantOnly(t, filepath.Join(base, "there"))
			if info, err := os.Stat(filepath.Join(base, "there")); err != nil || info.Mode().Perm() != 0o750 {
				t.Errorf("got %v, %v", info, err)
			}
		})
	}
}

func TestWorkshop_Build_RefusesFolder(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "full", "mine"), "mine")
	write(t, filepath.Join(base, "file"), "mine")
	w := newWorkshop(t, func(context.Context, plugins.Env, string) (plugins.Made, error) {
		t.Error("it was built")
		return plugins.Made{}, nil
	})
	for _, dir := range []string{"full", "file", "no/such", "file/in"} {
		_, err := w.Build(t.Context(), w.request("/"), filepath.Join(base, dir))
		if !errors.Is(err, oneshot.ErrSettings) || models.CodeOf(err) != models.Invalid {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	wantOnly(t, base, "file", "full")
}

// Somebody writes into the folder while it is built.
func TestWorkshop_Build_FolderTakenMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code")
	w := newWorkshop(t, func(_ context.Context, _ plugins.Env, dst string) (plugins.Made, error) {
		write(t, filepath.Join(dst, "ours"), "ours")
		write(t, filepath.Join(dir, "mine"), "mine")
		return plugins.Made{}, nil
	})
	if _, err := w.Build(t.Context(), w.request("/"), dir); models.CodeOf(err) != models.Conflict {
		t.Errorf("got %v", err)
	}
	wantOnly(t, dir, "mine")
	wantOnly(t, filepath.Dir(dir), "code")
}
