package lsrefs_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/gitserver"
	"hefring/models"
	"hefring/plugins/git/lsrefs"
)

// realServer serves a new folder with git's http-backend, behind wrap, which may
// be nil. It gives the folder and the address.
func realServer(t *testing.T, wrap func(http.Handler) http.Handler) (root, url string) {
	t.Helper()
	root = t.TempDir()
	var handler http.Handler
	handler, err := gitserver.New(root)
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return root, server.URL
}

// newRepository makes a bare repository with the branch main and the tag v1.
func newRepository(t *testing.T, dir, format string) (commit string) {
	t.Helper()
	git(t, "", "", "init", "-q", "--bare", "-b", "main", "--object-format="+format, dir)
	tree := strings.TrimSpace(git(t, dir, "", "hash-object", "-w", "-t", "tree", "--stdin"))
	commit = strings.TrimSpace(git(t, dir, "", "commit-tree", "-m", "first", tree))
	git(t, dir, "", "update-ref", "refs/heads/main", commit)
	git(t, dir, "", "tag", "-a", "-m", "one", "v1", commit)
	return commit
}

func TestClient_List_RealGit(t *testing.T) {
	root, url := realServer(t, nil)
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			client := newClient(t, lsrefs.Limits{})
			commit := newRepository(t, filepath.Join(root, format+".git"), format)
			answer, err := list(t, client, url+"/"+format+".git")
			if err != nil || answer.ObjectFormat != format || len(answer.Refs) != 3 {
				t.Fatalf("got %+v, %v", answer, err)
			}
			head, _ := answer.Find("HEAD")
			tag, _ := answer.Find("refs/tags/v1")
			if head.OID != commit || head.Target != "refs/heads/main" || tag.Peeled != commit || tag.OID == commit {
				t.Errorf("got HEAD %+v, tag %+v", head, tag)
			}
			answer, err = client.List(t.Context(), at(url+"/"+format+".git"), lsrefs.Query{Names: []string{"HEAD", "refs/tags/v1"}})
			if err != nil || len(answer.Refs) != 2 || answer.Refs[0].Target != "" || answer.Refs[1].Peeled != "" {
				t.Errorf("without symrefs and peel: got %+v, %v", answer, err)
			}
		})
	}
	_, err := list(t, newClient(t, lsrefs.Limits{}), url+"/none.git")
	wantReason(t, err, models.ReasonNotFound)
}

func TestClient_List_RealGitEmpty(t *testing.T) {
	root, url := realServer(t, nil)
	dir := filepath.Join(root, "site.git")
	git(t, "", "", "init", "-q", "--bare", "-b", "trunk", dir)
	answer, err := list(t, newClient(t, lsrefs.Limits{}), url+"/site.git")
	if err != nil || len(answer.Refs) != 0 || answer.Unborn != "refs/heads/trunk" {
		t.Errorf("empty: got %+v, %v", answer, err)
	}
	write(t, dir, "HEAD", strings.Repeat("1", 40)+"\n")
	answer, err = list(t, newClient(t, lsrefs.Limits{}), url+"/site.git")
	if err != nil || answer.Unborn != "" {
		t.Errorf("HEAD leads nowhere: got %+v, %v", answer, err)
	}
}

func TestClient_List_RealGitRefusedNames(t *testing.T) {
	root, url := realServer(t, nil)
	commit := newRepository(t, filepath.Join(root, "site.git"), "sha1")
	git(t, filepath.Join(root, "site.git"), "", "pack-refs", "--all")
	packed, err := os.ReadFile(filepath.Join(root, "site.git", "packed-refs"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "site.git/packed-refs", string(packed)+commit+" refs/tags/v2@{x\n"+commit+" refs/tags/v3.lock\n")
	answer, err := newClient(t, lsrefs.Limits{}).List(t.Context(), at(url+"/site.git"), lsrefs.Query{Prefixes: []string{"refs/tags/"}})
	if err != nil || len(answer.Refs) != 1 {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestClient_List_RealGitMadeAnew(t *testing.T) {
	root, url := realServer(t, nil)
	dir, client := filepath.Join(root, "site.git"), newClient(t, lsrefs.Limits{})
	newRepository(t, dir, "sha1")
	if _, err := list(t, client, url+"/site.git"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	newRepository(t, dir, "sha256")
	answer, err := list(t, client, url+"/site.git")
	if err != nil || answer.ObjectFormat != "sha256" || answer.Requests != 3 {
		t.Errorf("got %+v, %v", answer, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err = list(t, client, url+"/site.git")
	wantReason(t, err, models.ReasonNotFound)
}

func TestClient_List_RealGitOld(t *testing.T) {
	// A proxy that drops the header makes any server an old one.
	drop := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Git-Protocol")
			next.ServeHTTP(w, r)
		})
	}
	one := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Git-Protocol", "version=1")
			next.ServeHTTP(w, r)
		})
	}
	for name, wrap := range map[string]func(http.Handler) http.Handler{"version 0": drop, "version 1": one} {
		t.Run(name, func(t *testing.T) {
			root, url := realServer(t, wrap)
			newRepository(t, filepath.Join(root, "site.git"), "sha1")
			git(t, "", "", "init", "-q", "--bare", filepath.Join(root, "empty.git"))
			for _, repository := range []string{"/site.git", "/empty.git"} {
				if _, err := list(t, newClient(t, lsrefs.Limits{}), url+repository); !isOld(err) {
					t.Errorf("%s: got %v", repository, err)
				}
			}
		})
	}
}

func TestClient_List_RealGitFiles(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "site.git")
	newRepository(t, dir, "sha1")
	git(t, dir, "", "update-server-info")
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	t.Cleanup(server.Close)
	if _, err := list(t, newClient(t, lsrefs.Limits{}), server.URL+"/site.git"); !isOld(err) {
		t.Errorf("got %v", err)
	}
}
