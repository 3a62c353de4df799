package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hefring/internal/archive"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

func TestBuild_ReportsAllFailures(t *testing.T) {
	w := newWorld(t)
	zero := strings.Repeat("0", 32)
	text := site(`
projects[views][version] = 3.24
projects[views][patch][] = ` + recorded + `/patches/nope.patch
projects[gone][type] = module
projects[gone][download][type] = get
projects[gone][download][url] = ` + recorded + `/files/gone.zip
libraries[lib][download][type] = get
libraries[lib][download][url] = ` + recorded + `/files/lib-1.0.zip
libraries[lib][download][md5] = ` + zero)
	_, _, err := w.buildText(t, newEnv(t), text, nil, build.Options{})
	wantError(t, err, "3 projects cannot be built", "views: Unable to download the patch", "gone: Unable to download", "lib: Checksum md5 verification failed for lib-1.0.zip")
	if strings.Contains(models.Explain(err), "token") {
		t.Error("it names a project that is fine")
	}
}

func TestBuild_NamesProjectsOfInnerMakefiles(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.buildText(t, newEnv(t), site("projects[badlib][type] = module\nprojects[badlib][download][type] = git"), nil, build.Options{})
	wantError(t, err, "badlib → ", "Checksum md5 verification failed for single.js")
	if models.ReasonOf(err) != models.ReasonVerification {
		t.Errorf("reason is %q", models.ReasonOf(err))
	}
}

func TestBuild_Sources(t *testing.T) {
	w := newWorld(t)
	text := site(`
projects[views][version] = 3.24
projects[gitmod][download][tag] = 7.x-1.0
libraries[lib][download][type] = get
libraries[lib][download][url] = ` + recorded + `/files/lib-1.0.zip`)
	_, made, err := w.buildText(t, newEnv(t), text, nil, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range made.Sources {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", s.Name, s.Type, s.Version, w.there(s.URL), s.Checksum))
	}
	want := []string{
		"drupal core 7.103 " + recorded + "/files/projects/drupal-7.103.tar.gz md5:64f43f15e64e4af496449999cbd263a5",
		"gitmod module 7.x-1.0 https://git.drupalcode.org/project/gitmod.git git:3ef4409891c185ecbb13226286188cccce55e9f2",
		"lib library  " + recorded + "/files/lib-1.0.zip sha256:72567bb405aa7353a4392a34bfaf3ac68998c794c40927be23f3adf52f245b9f",
		"views module 7.x-3.24 " + recorded + "/files/projects/views-7.x-3.24.tar.gz md5:7be9c30b10f7e4dd1a57a2377eb9c699",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBuild_LeavesNothingBehind(t *testing.T) {
	w, env := newWorld(t), newEnv(t)
	for _, more := range []string{"", "projects[] = views\nprojects[views2][type] = module\nprojects[views2][download][type] = get\nprojects[views2][download][url] = " + recorded + "/gone"} {
		_, _, _ = w.buildText(t, env, site(more), nil, build.Options{})
	}
	dst, _, err := w.buildText(t, env, site(""), nil, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name := range contents(t, dst) {
		if strings.HasPrefix(name, ".building") {
			t.Errorf("the build holds %s", name)
		}
	}
}

func TestBuild_RefusesFullFolder(t *testing.T) {
	dst := t.TempDir()
	write(t, dst, map[string]string{"a": "1"})
	m := &spec.Makefile{Core: "7.x"}
	_, err := build.Build(t.Context(), newEnv(t), build.Job{Makefile: m, Loader: loader{}}, dst)
	wantError(t, err, "already holds files")
}

func TestBuild_SamePlace(t *testing.T) {
	w := newWorld(t)
	two := `
projects[a][type] = module
projects[a][directory_name] = same
projects[a][download][type] = get
projects[a][download][url] = ` + recorded + `/files/lib-1.0.zip
projects[b][type] = module
projects[b][directory_name] = %s
projects[b][download][type] = get
projects[b][download][url] = ` + recorded + `/files/flat-1.0.zip
`
	_, _, err := w.buildText(t, newEnv(t), site(fmt.Sprintf(two, "same")+"projects[b][overwrite] = FALSE"), nil, build.Options{})
	wantError(t, err, "b cannot be built", "overwrite is switched off")
	_, _, err = w.buildText(t, newEnv(t), site(strings.ReplaceAll(fmt.Sprintf(two, "deep"), "[directory_name] = same", "[subdir] = deep")), nil, build.Options{})
	wantError(t, err, "b cannot be built", "sites/all/modules/deep holds a already")
	dst, _, err := w.buildText(t, newEnv(t), site(fmt.Sprintf(two, "a/inside")), nil, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "sites/all/modules/a/inside/b.css", "b\n")
}

func TestBuild_PathThroughFile(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.buildText(t, newEnv(t), site(`
libraries[lib][download][type] = get
libraries[lib][download][url] = `+recorded+`/files/lib-1.0.zip
libraries[lib][destination] = modules/README.txt`), nil, build.Options{})
	wantError(t, err, "lib cannot be built", "sites/all/modules/README.txt")
}

// serveArchive serves one tar.gz and gives its address.
func serveArchive(t *testing.T, entries ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		text := h.Uname // stands in for the content
		h.Uname, h.Size = "", int64(len(text))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write(b.Bytes()) }))
	t.Cleanup(server.Close)
	return server.URL + "/evil.tar.gz"
}

func getModule(name, address string) string {
	return fmt.Sprintf("projects[%s][type] = module\nprojects[%s][download][type] = get\nprojects[%s][download][url] = %s\n", name, name, name, address)
}

func TestBuild_HostileArchive(t *testing.T) {
	w := newWorld(t)
	address := serveArchive(t, tar.Header{Name: "evil/l", Typeflag: tar.TypeSymlink, Linkname: "../../../x"})
	_, _, err := w.buildText(t, newEnv(t), site(getModule("evil", address)), nil, build.Options{})
	wantError(t, err, "evil cannot be built", "evil.tar.gz", "link out of the archive")
}

func TestBuild_ArchiveLimits(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.buildText(t, newEnv(t), site(""), nil, build.Options{Archives: archive.Limits{Files: 3}})
	wantError(t, err, "drupal cannot be built", "more than 3 files")
	_, _, err = w.buildText(t, newEnv(t), site(""), nil, build.Options{Archives: archive.Limits{ArchiveBytes: 100}})
	wantError(t, err, "drupal cannot be built", "100 bytes")
	_, _, err = w.buildText(t, newEnv(t), site(""), nil, build.Options{Tree: tree.Options{Files: 5}})
	wantError(t, err, "more than 5 files")
}

// A library that lands inside of a module whose archive brought a link there must
// not be written through it.
func TestBuild_NoWritingThroughLinks(t *testing.T) {
	w := newWorld(t)
	outside := t.TempDir()
	work := t.TempDir()
	command(t, "git", "-C", work, "init", "-q", "-b", "main")
	if err := os.Symlink(outside, filepath.Join(work, "libs")); err != nil {
		t.Fatal(err)
	}
	command(t, "git", "-C", work, "add", "-A")
	command(t, "git", "-C", work, "commit", "-q", "-m", "x")
	command(t, "git", "clone", "-q", "--mirror", work, filepath.Join(w.root, "linked.git"))
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Join(w.root, "linked.git")) })
	text := site(`
projects[linked][type] = module
projects[linked][download][type] = git
projects[linked][download][url] = file://@GITROOT@/linked.git
libraries[lib][download][type] = get
libraries[lib][download][url] = ` + recorded + `/files/lib-1.0.zip
libraries[lib][destination] = modules/linked/libs
`)
	_, _, err := w.buildText(t, newEnv(t), text, nil, build.Options{})
	wantError(t, err, "lib cannot be built")
	if left := contents(t, outside); len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
	_, _, err = w.buildText(t, newEnv(t), strings.Split(text, "libraries[lib]")[0], nil, build.Options{})
	wantError(t, err, `"sites/all/modules/linked/libs" leads out`)
}

func TestBuild_GitFoldersOfArchives(t *testing.T) {
	w := newWorld(t)
	address := serveArchive(t,
		tar.Header{Name: "m/m.module", Uname: "old\n"},
		tar.Header{Name: "m/.git/config", Uname: "[core]\n\tfsmonitor = touch /tmp/x\n"},
		tar.Header{Name: "m/sub/.GIT/HEAD", Uname: "x"})
	patch := "--- a/m.module\n+++ b/m.module\n@@ -1 +1 @@\n-old\n+new\n"
	dst, _, err := w.buildText(t, newEnv(t), site(getModule("m", address)+"projects[m][patch][] = p.patch"), map[string]string{"p.patch": patch}, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "sites/all/modules/m/m.module", "new\n")
	for name := range contents(t, filepath.Join(dst, "sites/all/modules/m")) {
		if strings.Contains(strings.ToLower(name), ".git") {
			t.Errorf("%s stays", name)
		}
	}
}

func TestBuild_PatchChecksumFirst(t *testing.T) {
	w := newWorld(t)
	text := site("projects[views][version] = 3.24\nprojects[views][patch][0][url] = " + recorded + "/patches/views-ok.patch\nprojects[views][patch][0][md5] = " + strings.Repeat("0", 32))
	_, _, err := w.buildText(t, newEnv(t), text, nil, build.Options{})
	wantError(t, err, "views cannot be built", "Checksum md5 verification failed for views-ok.patch")
	if _, _, err := w.buildText(t, newEnv(t), text, nil, build.Options{IgnoreChecksums: true}); err != nil {
		t.Error(err)
	}
}

// TestBuild_HostilePatches has patches that try to write beside the project, or
// to have programs run.
func TestBuild_HostilePatches(t *testing.T) {
	w := newWorld(t)
	canary := filepath.Join(t.TempDir(), "canary")
	add := "@@ -0,0 +1 @@\n+evil\n"
	for name, patch := range map[string]string{
		"parent":      "--- /dev/null\n+++ b/../evil\n" + add,
		"deep parent": "--- /dev/null\n+++ b/x/../../../evil\n" + add,
		"absolute":    "--- /dev/null\n+++ " + canary + "\n" + add,
		"git":         "diff --git a/.git/config b/.git/config\nnew file mode 100644\n--- /dev/null\n+++ b/.git/config\n" + add,
		"ed script":   "--- a/views.module\n+++ b/views.module\n0a\n!touch " + canary + "\n.\n",
		"ed alone":    "1i\n!touch " + canary + "\n.\nw\n",
		"no patch":    "<html>not found</html>\n",
		"empty":       "",
		"through a link": "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+../../../..\n\\ No newline at end of file\n" +
			"diff --git a/l/evil b/l/evil\nnew file mode 100644\n--- /dev/null\n+++ b/l/evil\n" + add,
		"link out": "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n",
	} {
		t.Run(name, func(t *testing.T) {
			text := site("projects[views][version] = 3.24\nprojects[views][patch][] = bad.patch")
			dst, _, err := w.buildText(t, newEnv(t), text, map[string]string{"bad.patch": patch}, build.Options{})
			if name != "absolute" { // without its first part it is a path in the project
				wantError(t, err)
			}
			if _, err := os.Lstat(canary); err == nil {
				t.Fatal("the patch reached out of the project")
			}
			for file := range contents(t, dst) {
				if strings.HasSuffix(file, "evil") {
					t.Errorf("there is %s", file)
				}
			}
		})
	}
}

func TestBuild_PatchesInOrder(t *testing.T) {
	w := newWorld(t)
	patch := func(from, to string) string {
		return "--- views.module\n+++ views.module\n@@ -1 +1 @@\n-" + from + "\n+" + to + "\n"
	}
	text := site("projects[views][version] = 3.24\nprojects[views][patch][] = 1.patch\nprojects[views][patch][] = sub/2.patch")
	dst, _, err := w.buildText(t, newEnv(t), text, map[string]string{"1.patch": patch("<?php // 7.x-3.24", "one"), "sub/2.patch": patch("one", "two")}, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "sites/all/modules/views/views.module", "two\n")
	wantFile(t, dst, "sites/all/modules/views/PATCHES.txt", "The following patches have been applied to this project:\n- 1.patch\n- 2.patch\n\nThis file was automatically generated by Drush Make (http://drupal.org/project/drush).\n")
}

func TestBuild_Copy(t *testing.T) {
	w := newWorld(t)
	text := func(address string) string {
		return site("projects[mine][type] = module\nprojects[mine][download][type] = copy\nprojects[mine][download][url] = " + address)
	}
	files := map[string]string{"mods/mine/mine.info": "name = mine\n"}
	dst, _, err := w.buildText(t, newEnv(t), text("mods/mine"), files, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "sites/all/modules/mine/mine.info", "name = mine\n")
	for _, address := range []string{"/etc", "../other", "mods/../../x", "file:///etc", "https://example.org/x", "mods/mine/mine.info", "nothing"} {
		_, _, err := w.buildText(t, newEnv(t), text(address), files, build.Options{})
		wantError(t, err)
	}
}

func TestBuild_CopyRefusesLinks(t *testing.T) {
	w, env := newWorld(t), newEnv(t)
	folder := t.TempDir()
	write(t, folder, map[string]string{"site.make": w.here(site("projects[mine][type] = module\nprojects[mine][download][type] = copy\nprojects[mine][download][url] = link/inside"))})
	outside := t.TempDir()
	write(t, outside, map[string]string{"inside/secret": "s"})
	if err := os.Symlink(outside, filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	l := loader{w: w, env: env, folder: folder}
	m, err := spec.Load(t.Context(), l, spec.Ref{Path: "site.make"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.resolve(env)(t.Context(), l, m); err != nil {
		t.Fatal(err)
	}
	_, err = build.Build(t.Context(), env, build.Job{Makefile: m, Loader: l, Folder: folder}, t.TempDir())
	wantError(t, err, "mine cannot be built", "no folder link/inside")
	_, err = build.Build(t.Context(), env, build.Job{Makefile: m, Loader: l}, t.TempDir())
	wantError(t, err, "does not come from this machine")
}

func TestBuild_Cache(t *testing.T) {
	w, env := newWorld(t), newEnv(t)
	var asked atomic.Int64
	text := []byte("var x;\n")
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = out.Write(text)
	}))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(text)
	pinned := "libraries[x][download][type] = get\nlibraries[x][download][url] = " + server.URL + "/x.js\n"
	check := "libraries[x][download][sha256] = " + hex.EncodeToString(sum[:])
	for range 2 {
		dst, _, err := w.buildText(t, env, site(pinned+check), nil, build.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, dst, "sites/all/libraries/x/x.js", "var x;\n")
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times for what has a checksum", asked.Load())
	}
	for range 2 {
		if _, _, err := w.buildText(t, env, site(pinned), nil, build.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() != 3 {
		t.Errorf("asked %d times for what has none", asked.Load()-1)
	}
	// A damaged file in the cache is no harm.
	kept, err := filepath.Glob(filepath.Join(env.Cache, "makefile/files/*"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("kept %v, %v", kept, err)
	}
	for _, name := range kept {
		if err := os.WriteFile(name, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dst, _, err := w.buildText(t, env, site(pinned+check), nil, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "sites/all/libraries/x/x.js", "var x;\n")
}

func TestBuild_TriesAgain(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = out.Write([]byte("x"))
	}))
	t.Cleanup(server.Close)
	if _, _, err := w.buildText(t, newEnv(t), site("libraries[x][download][type] = get\nlibraries[x][download][url] = "+server.URL+"/x.js"), nil, build.Options{}); err != nil {
		t.Error(err)
	}
}

func TestBuild_EncodedByServer(t *testing.T) {
	w := newWorld(t)
	var plain bytes.Buffer
	z := gzip.NewWriter(&plain)
	tw := tar.NewWriter(z)
	if err := errors.Join(tw.WriteHeader(&tar.Header{Name: "x/a", Mode: 0o644}), tw.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Encoding", "gzip")
		_, _ = out.Write(plain.Bytes())
	}))
	t.Cleanup(server.Close)
	sum := md5.Sum(plain.Bytes())
	text := fmt.Sprintf("libraries[x][download][type] = get\nlibraries[x][download][url] = %s/x.tgz\nlibraries[x][download][md5] = %x", server.URL, sum)
	if _, _, err := w.buildText(t, newEnv(t), site(text), nil, build.Options{}); err != nil {
		t.Error(err)
	}
}

// TestBuild_Parallel holds how many downloads run at a time.
func TestBuild_Parallel(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	now, most := 0, 0
	full := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if now++; now > most {
			most = now
		}
		if now == 2 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		select { // until a second one is here as well
		case <-full:
		case <-r.Context().Done():
		}
		_, _ = out.Write([]byte("x"))
		mu.Lock()
		now--
		mu.Unlock()
	}))
	t.Cleanup(server.Close)
	var text strings.Builder
	for i := range 8 {
		fmt.Fprintf(&text, "libraries[x%d][download][type] = get\nlibraries[x%d][download][url] = %s/%d.js\n", i, i, server.URL, i)
	}
	if _, _, err := w.buildText(t, newEnv(t), site(text.String()), nil, build.Options{}); err != nil {
		t.Fatal(err)
	}
	if most != 2 {
		t.Errorf("%d requests to one host at a time", most)
	}
}

func TestBuild_Cancelled(t *testing.T) {
	w, env := newWorld(t), newEnv(t)
	started := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	folder := t.TempDir()
	write(t, folder, map[string]string{"site.make": w.here("core = 7.x\napi = 2\n") + getModule("x", server.URL+"/x.tar.gz")})
	l := loader{w: w, env: env, folder: folder}
	m, err := spec.Load(t.Context(), l, spec.Ref{Path: "site.make"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	_, err = build.Build(ctx, env, build.Job{Makefile: m, Loader: l, Options: build.Options{NoCore: true}}, t.TempDir())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestBuild_Limited(t *testing.T) {
	w := newWorld(t)
	text := site("projects[] = views\nprojects[] = token\nlibraries[lib][download][type] = get\nlibraries[lib][download][url] = " + recorded + "/files/lib-1.0.zip")
	cases := map[string]struct {
		o    build.Options
		want []string
	}{
		"projects":  {build.Options{NoCore: true, Projects: []string{"views"}}, []string{"sites/all/modules/views"}},
		"libraries": {build.Options{NoCore: true, Libraries: []string{"lib"}}, []string{"sites/all/libraries/lib"}},
		"both":      {build.Options{NoCore: true, Projects: []string{"*"}, Libraries: []string{"*"}}, []string{"sites/all/libraries/lib", "sites/all/modules/token", "sites/all/modules/views"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dst, _, err := w.buildText(t, newEnv(t), text, nil, c.o)
			if err != nil {
				t.Fatal(err)
			}
			found, err := filepath.Glob(filepath.Join(dst, "sites/all/*/*"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range found {
				found[i], _ = filepath.Rel(dst, found[i])
			}
			if !slices.Equal(found, c.want) {
				t.Errorf("built %v", found)
			}
		})
	}
	_, _, err := w.buildText(t, newEnv(t), text, nil, build.Options{NoCore: true, Projects: []string{"vievs"}})
	wantError(t, err, `no project called "vievs"`)
	_, _, err = w.buildText(t, newEnv(t), text, nil, build.Options{Projects: []string{"views"}})
	wantError(t, err, "no core project")
}

func TestBuild_NoRecursion(t *testing.T) {
	w := newWorld(t)
	dst, _, err := w.buildText(t, newEnv(t), site("projects[] = rec_module"), nil, build.Options{NoRecursion: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dst, "sites/all/modules/ctools")); err == nil {
		t.Error("the makefile inside was built")
	}
}

func TestBuild_Translations(t *testing.T) {
	w := newWorld(t)
	text := site("translations[] = es\nprojects[drupal][version] = 7.103\nprojects[drupal][l10n_url] = " + recorded + "/l10n_server.xml\n" +
		"projects[token][version] = 1.7\nprojects[token][l10n_path] = " + recorded + "/l10n/%core/%project/%project-%release.%language.po")
	text = strings.Replace(text, "projects[] = drupal\n", "", 1)
	env := newEnv(t)
	dst, _, err := w.buildText(t, env, text, nil, build.Options{Translations: []string{"de"}})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "modules/system/translations/es.po", "# es drupal\n")
	wantFile(t, dst, "profiles/standard/translations/es.po", "# es drupal\n")
	wantFile(t, dst, "sites/all/modules/token/translations/es.po", "# es token\n")
	if log := env.Log.(*lines).String(); !strings.Contains(log, "no translation of drupal into de") {
		t.Errorf("the log says %s", log)
	}
}

func TestBuild_DirectoryNameOfReleases(t *testing.T) {
	w := newWorld(t)
	dst, _, err := w.buildText(t, newEnv(t), site("projects[views][directory_name] = other"), nil, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dst, "sites/all/modules/views/views.module")); err != nil {
		t.Error(err)
	}
}

func TestBuild_ConflictingChecksums(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.buildText(t, newEnv(t), site("projects[views][md5] = "+strings.Repeat("0", 32)), nil, build.Options{})
	wantError(t, err, "views cannot be built", "drupal.org 7be9c30b10f7e4dd1a57a2377eb9c699")
}

func TestBuild_DamagedPlan(t *testing.T) {
	for name, m := range map[string]*spec.Makefile{
		"no release": {Core: "7.x", Projects: []spec.Project{{Name: "views"}}},
		"no commit":  {Core: "7.x", Projects: []spec.Project{{Name: "views", Download: &spec.Download{Type: "git", URL: "https://example.org/x.git"}}}},
		"no type":    {Core: "7.x", Projects: []spec.Project{{Name: "views", Download: &spec.Download{}}}},
		"path":       {Core: "7.x", Libraries: []spec.Library{{Name: "..", DirectoryName: "../..", Download: &spec.Download{Type: "git"}}}},
		"nothing":    {Core: "7.x", Libraries: []spec.Library{{Name: "x"}}},
		"none":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := build.Build(t.Context(), newEnv(t), build.Job{Makefile: m, Loader: loader{}, Options: build.Options{NoCore: true}}, t.TempDir())
			if err == nil {
				t.Error("it was built")
			}
		})
	}
}

func TestDigest_POSIX(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "", "sub/b": "hello\n", "sub/c": strings.Repeat("x", 70000)})
	var lines []string
	for _, name := range []string{"a", "sub/b", "sub/c"} {
		parts := strings.Fields(command(t, "cksum", filepath.Join(dir, name)))
		lines = append(lines, parts[0]+" "+parts[1]+" /__build__/"+name)
	}
	slices.Sort(lines)
	sum := md5.Sum([]byte(strings.Join(lines, "\n")))
	got, err := build.Digest(t.Context(), dir, tree.Options{})
	if err != nil || got != hex.EncodeToString(sum[:]) {
		t.Errorf("got %s, %v; want %x", got, err, sum)
	}
}

func TestDifferences_Stable(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range slices.Concat(spec.Differences(), build.Differences()) {
		if seen[d.ID] || d.ID == "" || d.Drush == "" || d.Hefring == "" {
			t.Errorf("%q is there twice, or says too little", d.ID)
		}
		seen[d.ID] = true
		for _, name := range d.Cases {
			if name, ok := strings.CutPrefix(name, "oracle-make/"); ok {
				if _, err := os.Stat(filepath.Join(oracles, name, "case.json")); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// repository makes a bare repository of the world out of files, with a tag.
func (w *world) repository(t *testing.T, name string, files map[string]string, more ...[]string) string {
	t.Helper()
	work := t.TempDir()
	command(t, "git", "-C", work, "init", "-q", "-b", "main")
	write(t, work, files)
	command(t, "git", "-C", work, "add", "-A")
	for _, args := range more {
		command(t, "git", append([]string{"-C", work}, args...)...)
	}
	command(t, "git", "-C", work, "commit", "-q", "-m", "x")
	command(t, "git", "clone", "-q", "--mirror", work, filepath.Join(w.root, name+".git"))
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Join(w.root, name+".git")) })
	return w.git.URL + "/" + name + ".git"
}

func gitModule(name, address, more string) string {
	return fmt.Sprintf("projects[%[1]s][type] = module\nprojects[%[1]s][download][type] = git\nprojects[%[1]s][download][url] = %[2]s\n%[3]s\n", name, address, more)
}

func TestBuild_Submodules(t *testing.T) {
	w := newWorld(t)
	inner := w.repository(t, "inner", map[string]string{"i.txt": "inner\n"})
	outer := w.repository(t, "outer", map[string]string{"o.txt": "outer\n"}, []string{"submodule", "add", "--quiet", inner, "sub"})
	dst, _, err := w.buildText(t, newEnv(t), site(gitModule("outer", outer, "projects[outer][download][submodule][] = init")), nil, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "sites/all/modules/outer/sub/i.txt", "inner\n")
	for name := range contents(t, filepath.Join(dst, "sites/all/modules/outer")) {
		if strings.HasSuffix(name, ".git") || strings.Contains(name, ".git/") {
			t.Errorf("%s stays", name)
		}
	}
	env := newEnv(t)
	if _, _, err = w.buildText(t, env, site(gitModule("outer", outer, "")), nil, build.Options{}); err != nil {
		t.Fatal(err)
	}
	if log := env.Log.(*lines).String(); !strings.Contains(log, "has git submodules") {
		t.Errorf("the log says %s", log)
	}
}

// A submodule at an address that is not reached must not be reached by git
// either.
func TestBuild_SubmoduleElsewhere(t *testing.T) {
	w := newWorld(t)
	for name, address := range map[string]string{"file": "file:///etc", "ext": "ext::sh -c true", "private": "http://10.1.2.3/x.git"} {
		modules := "[submodule \"sub\"]\n\tpath = sub\n\turl = " + address + "\n"
		url := w.repository(t, "hostile-"+name, map[string]string{".gitmodules": modules},
			[]string{"update-index", "--add", "--cacheinfo", "160000,3ef4409891c185ecbb13226286188cccce55e9f2,sub"})
		_, _, err := w.buildText(t, newEnv(t), site(gitModule("x", url, "projects[x][download][submodule][] = init")), nil, build.Options{})
		wantError(t, err, "x cannot be built")
	}
}

func TestBuild_WorkingCopy(t *testing.T) {
	w := newWorld(t)
	text := site("projects[gitmod][download][branch] = 7.x-1.x")
	dst, _, err := w.buildText(t, newEnv(t), text, nil, build.Options{WorkingCopy: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(dst, "sites/all/modules/gitmod")
	got := command(t, "git", "-c", "safe.directory="+dir, "-C", dir, "rev-parse", "--abbrev-ref", "HEAD")
	if got != "7.x-1.x" {
		t.Errorf("the working copy is on %s", got)
	}
	if got := command(t, "git", "-c", "safe.directory="+dir, "-C", dir, "describe", "--tags"); !strings.HasPrefix(got, "7.x-1.1-1-g") {
		t.Errorf("it knows no tags: %s", got)
	}
}

func TestBuild_InfoFiles(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"m.info.yml": "name: m\n", "sub/s.info.yml": "name: s\n", "m.info": "name = m\n"}
	address := w.repository(t, "drupal.org", files) // the name makes it one of drupal.org
	text := "core = 8.x\napi = 2\n" + gitModule("m", address, "projects[m][version] = 1.5")
	dst, _, err := w.buildText(t, newEnv(t), text, nil, build.Options{NoCore: true})
	if err != nil {
		t.Fatal(err)
	}
	stamp := "\n# Information added by drush on 2014-05-01\nversion: '8.x-1.5'\nproject: 'm'\ndatestamp: 1398902400"
	wantFile(t, dst, "modules/m/m.info.yml", "name: m\n"+stamp)
	wantFile(t, dst, "modules/m/sub/s.info.yml", "name: s\n"+stamp)
	wantFile(t, dst, "modules/m/m.info", "name = m\n")
	dst, _, err = w.buildText(t, newEnv(t), text, nil, build.Options{NoCore: true, NoGitInfoFile: true})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, "modules/m/m.info.yml", "name: m\n")
}

func TestBuild_GitProblems(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.buildText(t, newEnv(t), site(gitModule("x", w.git.URL+"/project/gitmod.git", "")), nil, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]spec.Download{
		"no repository": {URL: w.git.URL + "/nothing.git"},
		"no commit":     {URL: w.git.URL + "/gitlib.git"},
		"file":          {URL: "file://" + w.root + "/gitlib.git"},
		"private":       {URL: "http://10.1.2.3/x.git"},
	} {
		t.Run(name, func(t *testing.T) {
			d.Type, d.Commit = spec.DownloadGit, strings.Repeat("1", 40)
			m := &spec.Makefile{Core: "7.x", Libraries: []spec.Library{{Name: "x", Download: &d}}}
			_, err := build.Build(t.Context(), newEnv(t), build.Job{Makefile: m, Loader: loader{}, Options: build.Options{NoCore: true}}, t.TempDir())
			wantError(t, err, "x cannot be built")
		})
	}
}

// A cached repository that a killed git left damaged is made anew.
func TestBuild_DamagedMirror(t *testing.T) {
	w, env := newWorld(t), newEnv(t)
	text := site("projects[gitmod][download][tag] = 7.x-1.0")
	if _, _, err := w.buildText(t, env, text, nil, build.Options{}); err != nil {
		t.Fatal(err)
	}
	mirrors, err := filepath.Glob(filepath.Join(env.Cache, "makefile/git/*/HEAD"))
	if err != nil || len(mirrors) != 1 {
		t.Fatalf("mirrors: %v, %v", mirrors, err)
	}
	if err := os.WriteFile(mirrors[0], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.buildText(t, env, text, nil, build.Options{}); err != nil {
		t.Error(err)
	}
}

func TestBuild_LFSPointers(t *testing.T) {
	w := newWorld(t)
	url := w.repository(t, "lfs", map[string]string{"big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"})
	_, _, err := w.buildText(t, newEnv(t), site(gitModule("x", url, "")), nil, build.Options{})
	wantError(t, err, "x cannot be built", `"big.bin" is kept in Git LFS`)
}

func TestBuild_SingleFile(t *testing.T) {
	w := newWorld(t)
	lib := func(more string) string {
		return site("libraries[s][download][type] = get\nlibraries[s][download][url] = " + recorded + "/files/single.js" + more)
	}
	for more, want := range map[string]string{"": "single.js", "?v=1": "single.js", "\nlibraries[s][download][filename] = x.js": "x.js"} {
		dst, _, err := w.buildText(t, newEnv(t), lib(more), nil, build.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(t, filepath.Join(dst, "sites/all/libraries/s")); len(got) != 1 || got[want] == "" {
			t.Errorf("%q gives %v", more, got)
		}
	}
	_, _, err := w.buildText(t, newEnv(t), lib("\nlibraries[s][download][subtree] = x"), nil, build.Options{})
	wantError(t, err, "It has a subtree, but")
}
