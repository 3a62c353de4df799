package lsrefs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins/git/lsrefs"
)

const (
	one   = "1111111111111111111111111111111111111111"
	two   = "2222222222222222222222222222222222222222"
	three = "3333333333333333333333333333333333333333"
)

func newGuard(t *testing.T, config egress.Config) *egress.Guard {
	t.Helper()
	g := egress.New(config)
	t.Cleanup(g.Close)
	return g
}

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// newClient gives a Client that may ask this machine.
func newClient(t *testing.T, limits lsrefs.Limits) *lsrefs.Client {
	t.Helper()
	return lsrefs.New(newGuard(t, egress.Config{Allow: loopback()}).HTTPClient(), limits)
}

// pkt joins pkt-lines; the parts 0000, 0001 and 0002 stay as they are.
func pkt(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		switch part {
		case "0000", "0001", "0002":
			b.WriteString(part)
		default:
			fmt.Fprintf(&b, "%04x%s", len(part)+4, part)
		}
	}
	return b.String()
}

// capabilities is what git 2.39 says about itself.
func capabilities() string {
	return pkt("version 2\n", "agent=git/2.39.5\n", "ls-refs=unborn\n", "fetch=shallow wait-for-done\n", "server-option\n", "object-format=sha1\n", "object-info\n", "0000")
}

// fake is a server whose answers are made up. Zero values mean a git server with
// no refs.
type fake struct {
	greeting string
	refs     string
	get      http.HandlerFunc // instead of greeting
	post     http.HandlerFunc // instead of refs

	gets, posts atomic.Int32
	asked       atomic.Value // string, the last command
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		f.gets.Add(1)
		if f.get != nil {
			f.get(w, r)
			return
		}
		greet(w, f.greeting)
		return
	}
	f.posts.Add(1)
	command, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.asked.Store(string(command))
	if f.post != nil {
		f.post(w, r)
		return
	}
	tell(w, f.refs)
}

func greet(w http.ResponseWriter, text string) {
	if text == "" {
		text = capabilities()
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	_, _ = io.WriteString(w, text)
}

func tell(w http.ResponseWriter, text string) {
	if text == "" {
		text = "0000"
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	_, _ = io.WriteString(w, text)
}

// serve starts the server and gives the address of a repository on it.
func (f *fake) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL + "/site.git"
}

func at(url string) lsrefs.Remote { return lsrefs.Remote{URL: url} }

// list asks for everything.
func list(t *testing.T, client *lsrefs.Client, url string) (lsrefs.Answer, error) {
	t.Helper()
	return client.List(t.Context(), at(url), lsrefs.Query{Symrefs: true, Peel: true})
}

// wantReason checks that err is for people, has the reason, and says the words.
func wantReason(t *testing.T, err error, reason models.Reason, words ...string) {
	t.Helper()
	if models.ReasonOf(err) != reason {
		t.Fatalf("got the error %v with reason %q, want %s", err, models.ReasonOf(err), reason)
	}
	for _, word := range words {
		if !strings.Contains(models.Explain(err), word) {
			t.Errorf("%q does not say %q", models.Explain(err), word)
		}
	}
}

// gitEnv is the environment of git in tests.
func gitEnv() []string {
	return append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.org",
		"GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000")
}

// git runs the real git and gives its output.
func git(t *testing.T, dir, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(input), gitEnv()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// lines draws an answer as git ls-remote --symref prints it.
func lines(a lsrefs.Answer) string {
	var b strings.Builder
	for _, ref := range a.Refs {
		if ref.Target != "" {
			fmt.Fprintf(&b, "ref: %s\t%s\n", ref.Target, ref.Name)
		}
		fmt.Fprintf(&b, "%s\t%s\n", ref.OID, ref.Name)
		if ref.Peeled != "" {
			fmt.Fprintf(&b, "%s\t%s^{}\n", ref.Peeled, ref.Name)
		}
	}
	return b.String()
}

func isOld(err error) bool { return errors.Is(err, lsrefs.ErrOldServer) }
