package lsrefs_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hefring/internal/gitserver"
	"hefring/plugins/git/lsrefs"
)

// How many generated repositories are compared with git's own listing.
const (
	generatedLocal = 2000 // git lists the folder; every second one is asked for some refs, too
	generatedHTTP  = 240  // through git's http-backend; git lists the same address; all are asked twice
)

func repositoryName(i int) string { return fmt.Sprintf("r%d", i) }

// uploadPack serves the repositories below a folder with git's upload-pack alone,
// and answers handshakes once for each format, so that thousands are quick.
type uploadPack struct {
	root       string
	handshakes sync.Map // by format
}

func (u *uploadPack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	dir := filepath.Join(u.root, filepath.Base(name))
	if r.Method == http.MethodPost {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		u.run(w, r, dir, "--stateless-rpc")
		return
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	format := strings.Contains(string(config), "sha256")
	once, _ := u.handshakes.LoadOrStore(format, sync.OnceValue(func() string {
		var b strings.Builder
		u.run(&b, r, dir, "--http-backend-info-refs")
		return b.String()
	}))
	if say, ok := once.(func() string); ok {
		_, _ = io.WriteString(w, say())
	}
}

func (u *uploadPack) run(w io.Writer, r *http.Request, dir, mode string) {
	cmd := exec.CommandContext(r.Context(), "git", "upload-pack", mode, dir)
	cmd.Env = append(gitEnv(), "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
	cmd.Stdin, cmd.Stdout = r.Body, w
	_ = cmd.Run() // what fails is missing in the answer
}

// comparison holds answers to git's.
type comparison struct {
	client *lsrefs.Client
	url    string // of the server
	agreed atomic.Int64
	refs   atomic.Int64
}

// everything compares the listing of all refs with that of git ls-remote at the
// place, and gives it.
func (c *comparison) everything(t *testing.T, name, place string) string {
	t.Helper()
	answer, err := c.client.List(t.Context(), at(c.url+"/"+name), lsrefs.Query{Symrefs: true, Peel: true})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return ""
	}
	want := git(t, "", "", "ls-remote", "--symref", "--", place)
	c.compare(t, name, lines(answer), want)
	c.refs.Add(int64(len(answer.Refs)))
	return want
}

// some compares the answer to a question for some refs with those of git's
// listing of all.
func (c *comparison) some(t *testing.T, name string, query lsrefs.Query, listed string) {
	t.Helper()
	answer, err := c.client.List(t.Context(), at(c.url+"/"+name), query)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	var want strings.Builder
	for line := range strings.Lines(listed) {
		if _, ref, _ := strings.Cut(strings.TrimSpace(line), "\t"); wanted(query, strings.TrimSuffix(ref, "^{}")) {
			want.WriteString(line)
		}
	}
	c.compare(t, fmt.Sprintf("%s %+v", name, query), lines(answer), want.String())
}

func (c *comparison) compare(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
		return
	}
	c.agreed.Add(1)
}

// wanted says plainly which refs a query is for.
func wanted(query lsrefs.Query, ref string) bool {
	return slices.Contains(query.Names, ref) ||
		slices.ContainsFunc(query.Prefixes, func(prefix string) bool { return strings.HasPrefix(ref, prefix) })
}

// question makes one for some of the listed refs and some that are not there.
func question(random *rand.Rand, listed string) lsrefs.Query {
	query := lsrefs.Query{Symrefs: true, Peel: true, Names: []string{"refs/heads/main"}}
	for line := range strings.Lines(listed) {
		_, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		ref = strings.TrimSuffix(ref, "^{}")
		switch random.IntN(12) {
		case 0:
			query.Names = append(query.Names, ref)
		case 1:
			query.Prefixes = append(query.Prefixes, ref[:1+random.IntN(len(ref))])
		case 2:
			query.Prefixes = append(query.Prefixes, ref)
		case 3:
			query.Names = append(query.Names, ref[:1+random.IntN(len(ref))])
		}
	}
	if random.IntN(3) == 0 {
		query.Prefixes = append(query.Prefixes, "refs/tags/", "refs/tags/v1")
	}
	return query
}

// inParallel calls work for 0 to n-1.
func inParallel(n int, work func(i int)) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range 4 {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				work(int(i))
			}
		})
	}
	group.Wait()
}

func TestClient_List_LikeLsRemote(t *testing.T) {
	root := t.TempDir()
	g := newGenerator(t, 20260101)
	for i := range generatedLocal {
		g.repository(t, filepath.Join(root, repositoryName(i)))
	}
	server := httptest.NewServer(&uploadPack{root: root})
	t.Cleanup(server.Close)
	c := &comparison{client: newClient(t, lsrefs.Limits{}), url: server.URL}
	inParallel(generatedLocal, func(i int) {
		name := repositoryName(i)
		listed := c.everything(t, name, filepath.Join(root, name))
		if i%2 == 0 {
			c.some(t, name, question(rand.New(rand.NewPCG(7, uint64(i))), listed), listed)
		}
	})
	t.Logf("%d repositories, %d refs: %d of %d answers are those of git ls-remote", generatedLocal, c.refs.Load(), c.agreed.Load(), generatedLocal+generatedLocal/2)
}

func TestClient_List_LikeLsRemoteOverHTTP(t *testing.T) {
	root := t.TempDir()
	g := newGenerator(t, 20260102)
	for i := range generatedHTTP {
		g.repository(t, filepath.Join(root, repositoryName(i)+".git"))
	}
	handler, err := gitserver.New(root)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c := &comparison{client: newClient(t, lsrefs.Limits{}), url: server.URL}
	inParallel(generatedHTTP, func(i int) {
		name := repositoryName(i) + ".git"
		listed := c.everything(t, name, server.URL+"/"+name)
		c.some(t, name, question(rand.New(rand.NewPCG(8, uint64(i))), listed), listed)
	})
	t.Logf("%d repositories over HTTP, %d refs: %d of %d answers are those of git ls-remote", generatedHTTP, c.refs.Load(), c.agreed.Load(), 2*generatedHTTP)
}
