package git_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

// canary is a token that must be seen nowhere.
const canary = "canary-token-5f0c1d7e"

func TestSource_Token_ChecksAndBuilds(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.publish("first", map[string]string{"a": "1", "sub/b": "2"})
	for name, c := range map[string]struct{ user, given, inURL string }{
		"user": {"robot", "robot", ""}, "no user": {"git", "", ""}, "user in the address": {"robot", "", "robot@"}, "both": {"robot", "robot", "other@"},
	} {
		t.Run(name, func(t *testing.T) {
			env, source := newEnv(t), open(t, models.Settings{
				"url": strings.Replace(u.guarded(c.user, canary), "//", "//"+c.inURL, 1) + "/site.git", "auth": "token", "user": c.given, "token": canary, "subdirectory": "sub",
			})
			v := check(t, source, env)
			if !strings.HasSuffix(v.Revision, commit) {
				t.Errorf("got %+v", v)
			}
			if got := read(t, build(t, source, env, v), "b"); got != "2" {
				t.Errorf("built %q", got)
			}
			wantNoCanary(t, env, v)
		})
	}
}

// A server that refuses the credentials may repeat them in its answer.
func TestSource_Token_Refused(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a": "1"})
	url := u.guarded("robot", "another") + "/site.git"
	for name, settings := range map[string]models.Settings{
		"wrong token": {"auth": "token", "user": "robot", "token": canary},
		"no token":    {},
		"not needed":  {"auth": "none", "token": canary},
	} {
		t.Run(name, func(t *testing.T) {
			settings["url"] = url
			start := time.Now()
			env, source := newEnv(t), open(t, settings)
			_, err := source.Check(t.Context(), env, plugins.Version{})
			wantError(t, err, "credentials")
			wantReason(t, err, models.ReasonAuthentication)
			_, buildErr := source.Build(t.Context(), env, plugins.Version{
				Revision: "git:refs/heads/main@sha1:" + strings.Repeat("a", 40), Content: strings.Repeat("a", 40),
			}, t.TempDir())
			wantError(t, buildErr, "credentials")
			wantReason(t, buildErr, models.ReasonAuthentication)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %s: somebody waited for a password", took)
			}
			wantNoCanary(t, env, plugins.Version{}, err, buildErr)
		})
	}
}

// wantNoCanary looks for the token in everything that is kept or shown.
func wantNoCanary(t *testing.T, env plugins.Env, v plugins.Version, errs ...error) {
	t.Helper()
	encoded := base64.StdEncoding.EncodeToString([]byte("robot:" + canary))
	signs := []string{canary, encoded, base64.StdEncoding.EncodeToString([]byte("git:" + canary))}
	texts := []string{env.Log.(*lines).String(), v.Revision, v.Content, v.Label, v.Note, v.Plan, v.Memo}
	for _, fact := range v.Facts {
		texts = append(texts, fact.Label, fact.Value)
	}
	for _, err := range errs {
		if err != nil {
			texts = append(texts, err.Error(), models.Explain(err))
		}
	}
	for _, dir := range []string{env.Cache, env.Scratch} {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			texts = append(texts, path, string(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range texts {
		for _, sign := range signs {
			if strings.Contains(text, sign) {
				t.Errorf("the token is in %.300q", text)
			}
		}
	}
}

// While git works, nobody who lists processes sees the token.
func TestSource_Token_NotInArguments(t *testing.T) { // alone, for it looks at all programs' arguments
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a": "1"})
	inside, leave := make(chan struct{}, 1), make(chan struct{})
	once := sync.Once{}
	guarded := u.guarded("git", canary)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// git's own command asks a second time, after the check's client.
		if r.Header.Get("User-Agent") != "git/2.0 (Hefring)" {
			once.Do(func() {
				inside <- struct{}{}
				<-leave
			})
		}
		_, _, _ = r.BasicAuth()
		http.Redirect(w, r, guarded, http.StatusTeapot)
	}))
	t.Cleanup(server.Close)
	source := open(t, models.Settings{"url": server.URL + "/site.git", "auth": "token", "token": canary, "ref_kind": "commit", "commit": strings.Repeat("a", 40)})
	env := newEnv(t)
	done := make(chan error, 1)
	go func() {
		_, err := source.Check(t.Context(), env, plugins.Version{})
		done <- err
	}()
	<-inside
	seen := 0
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if strings.Contains(string(text), server.URL) {
			seen++
		}
		if strings.Contains(string(text), canary) || strings.Contains(string(text), base64.StdEncoding.EncodeToString([]byte("git:"+canary))) {
			t.Errorf("the token is in the arguments: %q", text)
		}
	}
	close(leave)
	err = <-done
	if seen == 0 {
		t.Error("git was not seen at work")
	}
	wantNoCanary(t, env, plugins.Version{}, err)
}

// A redirect brings the token to no other host, in a check as in a build.
func TestSource_Token_StaysWithItsHost(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	t.Cleanup(internal.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, internal.URL+r.URL.String(), http.StatusFound)
	}))
	t.Cleanup(server.Close)
	source := open(t, models.Settings{"url": server.URL + "/site.git", "auth": "token", "token": canary})
	env := newEnv(t)
	_, err := source.Check(t.Context(), env, plugins.Version{})
	wantError(t, err, "not followed")
	wantReason(t, err, models.ReasonURL)
	_, err = source.Build(t.Context(), env, plugins.Version{Revision: "git:refs/heads/main@sha1:" + strings.Repeat("a", 40), Content: "x"}, t.TempDir())
	wantError(t, err, "not followed")
	if asked.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

// What one's credentials may read is no business of others, nor in the cache.
func TestSource_Upstream_KeepsCredentialsApart(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.publish("first", map[string]string{"a": "1"})
	url := u.guarded("git", canary) + "/site.git"
	knows := open(t, models.Settings{"url": url, "auth": "token", "token": canary})
	env := newEnv(t)
	v := check(t, knows, env)
	build(t, knows, env, v)
	stranger := open(t, models.Settings{"url": url, "ref_kind": "commit", "commit": commit})
	if stranger.Upstream().Key == knows.Upstream().Key {
		t.Error("the upstreams are one")
	}
	if strings.Contains(knows.Upstream().Key, canary) {
		t.Error("the key of the upstream holds the token")
	}
	_, err := stranger.Check(t.Context(), env, plugins.Version{})
	wantReason(t, err, models.ReasonAuthentication)
}

func TestSource_Upstream_Canonical(t *testing.T) {
	t.Parallel()
	for a, b := range map[string]string{
		"https://Git.Example.ORG/Team/site.git": "https://git.example.org/Team/site.git",
		"https://git.example.org:443/site":      "https://git.example.org/site",
		"http://git.example.org:80/site/":       "http://git.example.org/site",
		"https://git.example.org./site":         "https://git.example.org/site",
		"https://[2606:4700::1111]:443/x":       "https://[2606:4700::1111]/x",
	} {
		one, two := open(t, models.Settings{"url": a}).Upstream(), open(t, models.Settings{"url": b}).Upstream()
		if one != two || one.Host == "" || one.Host != strings.ToLower(one.Host) {
			t.Errorf("%s is %+v, and %s is %+v", a, one, b, two)
		}
	}
	for a, b := range map[string]string{
		"https://git.example.org/site":      "https://git.example.org/site.git",
		"https://git.example.org/Site":      "https://git.example.org/site",
		"https://git.example.org/x":         "http://git.example.org/x",
		"https://git.example.org:8443/site": "https://git.example.org/site",
	} {
		if one, two := open(t, models.Settings{"url": a}).Upstream(), open(t, models.Settings{"url": b}).Upstream(); one.Key == two.Key {
			t.Errorf("%s and %s are one", a, b)
		}
	}
}

// overTLS serves the upstream with a certificate of a private authority, and
// gives an env that knows it, in every part, and one that does not.
func overTLS(t *testing.T, handler http.Handler) (url string, knows, stranger plugins.Env) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for at := dir; at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		_ = os.Chmod(at, 0o755)
	}
	file := filepath.Join(dir, "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	knows, stranger = newEnv(t), newEnv(t)
	knows.Egress = egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: pool, CAFile: file})
	t.Cleanup(knows.Egress.Close)
	knows.Run = run.New(run.Config{Identity: knows.Run.Identity(), CAFile: file})
	return server.URL, knows, stranger
}
