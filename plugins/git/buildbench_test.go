//go:build bench

package git_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hefring/internal/platforms"
	"hefring/models"
	"hefring/plugins"
)

const (
	goalTime = 0.4 // of a fresh clone (and composer install)
	goalDisk = 0.1

	rounds = 3
)

// TestBenchBuilds measures what a second platform of a distribution costs, in
// time and on the disk, against a fresh clone of the same commit, on a code base
// of Drupal's size: one with vendor/ committed and one that composer completes.
// HEFRING_DRUPAL_REPO, a git repository by URL or path, takes the place of the
// first. TMPDIR says on which file system.
//
// A fresh clone has nothing, as the goals mean it; one whose Composer has all
// packages in its cache is measured too. All count until they are on the disk:
// only then a platform is done, and what one leaves in memory slows the next.
func TestBenchBuilds(t *testing.T) {
	t.Run("vendor committed", func(t *testing.T) { benchBuilds(t, benchRepo(t), false) })
	if os.Getenv("HEFRING_DRUPAL_REPO") == "" {
		t.Run("composer", func(t *testing.T) { benchBuilds(t, benchComposer(t), true) })
	}
}

// benchRepo is the repository of the first kind.
func benchRepo(t *testing.T) *upstream {
	t.Helper()
	u := newUpstream(t, nil)
	dir := u.server.Dir("site")
	if source := os.Getenv("HEFRING_DRUPAL_REPO"); source != "" {
		gitIn(t, dir, nil, "fetch", "-q", source, "+HEAD:refs/heads/main")
	} else {
		importTree(t, dir)
	}
	u.git("fetch", "-q", dir, "main")
	u.git("reset", "-q", "--hard", "FETCH_HEAD")
	return u
}

func benchBuilds(t *testing.T, u *upstream, composer bool) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(u.work, "vendor/autoload.php")); err != nil {
		composer = true
	}
	settings := models.Settings{"url": u.url, "ref_kind": "branch", "branch": "main"}
	if composer {
		settings["composer"] = "1"
	}
	b := &builder{
		t: t, u: u, composer: composer, source: open(t, settings), env: newEnv(t),
		store: &platforms.Store{Root: filepath.Join(t.TempDir(), "platforms"), MinFree: 1},
	}
	t.Cleanup(func() {
		if _, err := b.store.Reconcile(context.WithoutCancel(t.Context()), func(platforms.Found) bool { return false }); err != nil {
			t.Error(err)
		}
	})
	first := b.build()
	cache := t.TempDir()
	if composer {
		b.clone(cache)
	}
	var fresh, warm, builds []cost
	measures := []func(){
		func() { fresh = append(fresh, b.clone(t.TempDir())) },
		func() { builds = append(builds, b.build()) },
		func() {
			if composer {
				warm = append(warm, b.clone(cache))
			}
		},
	}
	for i := range rounds {
		b.change(i)
		for j := range measures {
			measures[(i+j)%len(measures)]()
		}
	}
	clone, second := median(fresh), median(builds)
	name := "git clone"
	if composer {
		name = "git clone + composer install"
	}
	t.Logf("%d files; medians of %d interleaved runs", b.last.Files, rounds)
	t.Logf("%-32s %8s %8s %10s %8s", "", "seconds", "ratio", "MB on disk", "ratio")
	row := func(name string, c cost) {
		t.Logf("%-32s %8.2f %7.2fx %10.1f %7.1f%%", name, c.took.Seconds(), c.took.Seconds()/clone.took.Seconds(), mb(c.disk), 100*mb(c.disk)/mb(clone.disk))
	}
	row(name, clone)
	if composer {
		row("the same, Composer's cache full", median(warm))
	}
	row("first build", first)
	row("second build, small change", second)
	t.Logf("of the clone's disk %.1f MB are .git; of the second build's %.1f MB are folders, which no file system shares", mb(b.gitDisk), mb(b.folders))
	for _, line := range b.steps {
		t.Logf("  %s", line)
	}
	verdict(t, "time of a second build", second.took.Seconds()/clone.took.Seconds(), goalTime)
	verdict(t, "disk of a second build", mb(second.disk)/mb(clone.disk), goalDisk)
}

func verdict(t *testing.T, what string, got, goal float64) {
	t.Helper()
	if got > goal {
		t.Errorf("FAIL %s: %.3f of a clone, the goal is %.2f", what, got, goal)
		return
	}
	t.Logf("PASS %s: %.3f of a clone, the goal is %.2f", what, got, goal)
}

func mb(n int64) float64 { return float64(n) / 1e6 }

type cost struct {
	took time.Duration
	disk int64
}

func median(list []cost) cost {
	var took []time.Duration
	var disk []int64
	for _, c := range list {
		took, disk = append(took, c.took), append(disk, c.disk)
	}
	slices.Sort(took)
	slices.Sort(disk)
	return cost{took[len(took)/2], disk[len(disk)/2]}
}

type builder struct {
	t        *testing.T
	u        *upstream
	composer bool
	source   plugins.Source
	env      plugins.Env
	store    *platforms.Store
	id       int64
	version  plugins.Version
	last     models.Platform
	gitDisk  int64
	folders  int64
	steps    []string
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func (b *builder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// build makes a platform of the newest commit as fleet does, from the staging
// folder to the check after publication.
func (b *builder) build() cost {
	t, ctx := b.t, b.t.Context()
	t.Helper()
	v, err := b.source.Check(ctx, b.env, b.version) // checks have a bench of their own
	b.must(err)
	b.version = v
	b.id++
	b.steps = nil
	used := usedBytes(t, filepath.Dir(b.store.Root))
	start := time.Now()
	at := start
	step := func(name string) {
		b.steps = append(b.steps, fmt.Sprintf("%6.0f ms until %s", float64(time.Since(at).Microseconds())/1000, name))
		at = time.Now()
	}
	dir, err := b.store.Stage(ctx, b.id, 1)
	b.must(err)
	older := b.store.Older(b.last)
	step("stage")
	env := b.env
	env.Older = older
	env.Log = writer(func(p []byte) { step("  " + strings.TrimSpace(string(p))) })
	b.must(env.Run.Chown(dir))
	if _, err := b.source.Build(ctx, env, v, dir); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(b.steps, "\n"))
	}
	step("build")
	found, err := b.store.Inspect(ctx, dir, "")
	b.must(err)
	b.must(b.store.Prepare(ctx, dir, found.Docroot))
	step("inspect")
	sealed, err := b.store.Seal(ctx, dir, found.Docroot, older...)
	b.must(err)
	step("seal")
	root, err := b.store.Publish(dir, fmt.Sprintf("bench-%d", b.id))
	b.must(err)
	step("publish")
	took := time.Since(start)
	if findings, err := b.store.Verify(ctx, root, sealed.Digest); err != nil || len(findings) > 0 {
		t.Fatalf("the new platform: %v %v", findings, err)
	}
	if b.last.Root != "" {
		if findings, err := b.store.Verify(ctx, b.last.Root, b.last.ManifestDigest); err != nil || len(findings) > 0 {
			t.Fatalf("the older platform: %v %v", findings, err)
		}
	}
	disk := usedBytes(t, root) - used
	b.folders = folderBytes(t, root)
	b.last = models.Platform{Root: root, ManifestDigest: sealed.Digest, Files: sealed.Files}
	t.Logf("build %d: %.2f s, %.1f MB; %s", b.id, took.Seconds(), mb(disk), strings.Join(b.steps[max(0, len(b.steps)-4):], "; "))
	return cost{took, disk}
}

// clone is what a build is held against. What it wrote stays until the end: the
// disk would go on freeing it while the next one is measured.
func (b *builder) clone(cache string) cost {
	b.t.Helper()
	dir := filepath.Join(b.t.TempDir(), "clone")
	used := usedBytes(b.t, filepath.Dir(dir))
	start := time.Now()
	gitIn(b.t, cache, nil, "clone", "-q", b.u.url, dir)
	if b.composer {
		cmd := exec.CommandContext(b.t.Context(), "composer", "install", "--no-dev", "--no-interaction", "--no-progress", "--quiet")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+cache, "COMPOSER_HOME="+cache, "COMPOSER_ALLOW_SUPERUSER=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.t.Fatalf("composer install: %v\n%s", err, out)
		}
	}
	unwritten := time.Since(start)
	unix.Sync()
	took := time.Since(start)
	b.gitDisk = walkBlocks(b.t, filepath.Join(dir, ".git"), func(os.FileInfo) bool { return true })
	c := cost{took, walkBlocks(b.t, dir, func(os.FileInfo) bool { return true })}
	b.t.Logf("clone: %.2f s, %.2f s until it is on the disk, %.1f MB, with Composer's cache %.1f MB",
		unwritten.Seconds(), took.Seconds(), mb(c.disk), mb(usedBytes(b.t, dir)-used))
	return c
}

// change pushes a small change: one file more and, unless composer brings it, one
// that is edited.
func (b *builder) change(i int) {
	b.t.Helper()
	files := map[string]string{fmt.Sprintf("config/sync/new.%d.yml", i): "a: b\n"}
	for _, docroot := range []string{"web", "docroot", "."} {
		name := path.Join(docroot, "index.php")
		if _, err := os.Stat(filepath.Join(b.u.work, name)); err == nil {
			files[name] = read(b.t, b.u.work, name) + fmt.Sprintf("// %d\n", i)
			break
		}
	}
	b.u.publish(fmt.Sprintf("change %d", i), files)
}

// usedBytes is what the file system counts as used once all is written: also
// manifests and inodes, and shared blocks once.
func usedBytes(t *testing.T, dir string) int64 {
	t.Helper()
	unix.Sync()
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	return int64(stat.Blocks-stat.Bfree) * stat.Bsize
}

func folderBytes(t *testing.T, dir string) int64 {
	t.Helper()
	return walkBlocks(t, dir, os.FileInfo.IsDir)
}

// walkBlocks adds what du says.
func walkBlocks(t *testing.T, dir string, want func(os.FileInfo) bool) (total int64) {
	t.Helper()
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(name, &stat); err != nil {
			return err
		}
		if want(info) && !seen[stat.Ino] {
			seen[stat.Ino] = true
			total += stat.Blocks * 512
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// What a built Drupal 10.5.8 holds: files, folders and bytes of core and vendor.
const (
	drupalFiles   = 24_900
	drupalFolders = 6_400
	drupalBytes   = 122_000_000
	releases      = 8   // in the history
	changedOfAll  = 0.1 // of the files, in a release
)

// importTree makes a repository with a code base of Drupal's size and the history
// of some releases, without writing its files.
func importTree(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "fast-import", "--quiet")
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(in, 1<<20)
	files := drupalTree()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	random := rand.New(rand.NewPCG(7, 7))
	for release := range releases {
		_, _ = fmt.Fprintf(w, "commit refs/heads/main\ncommitter Bench <bench@example.org> %d +0000\ndata 7\nRelease\n", 1_700_000_000+release)
		for i, name := range names {
			if release > 0 && (random.Float64() > changedOfAll || !strings.Contains(name, "m")) {
				continue
			}
			text := files[name]
			if text == "" {
				text = prose(uint64(i), size(uint64(i)), release)
			}
			_, _ = fmt.Fprintf(w, "M 100%s inline %s\ndata %d\n%s\n", map[bool]string{true: "755", false: "644"}[strings.HasPrefix(name, "vendor/bin/")], name, len(text), text)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("fast-import: %v\n%s", err, stderr.String())
	}
	gitIn(t, dir, nil, "repack", "-a", "-d", "-q")
}

// drupalTree names the files; those without a text get prose.
func drupalTree() map[string]string {
	files := map[string]string{
		"web/index.php":            "<?php\n",
		"web/core/lib/Drupal.php":  "<?php\nclass Drupal {\n  const VERSION = '10.6.2';\n}\n",
		"vendor/autoload.php":      "<?php\n",
		"vendor/bin/drush":         "#!/usr/bin/env php\n<?php\n",
		"composer.json":            "{}\n",
		"web/sites/default/x.yml":  "a: b\n",
		"web/core/profiles/README": "profiles\n",
	}
	random := rand.New(rand.NewPCG(1, 2))
	folders := []string{"web/core/modules", "web/core/lib", "web/modules/contrib", "vendor/acme", "web/core/tests"}
	for len(folders) < drupalFolders {
		parent := folders[random.IntN(len(folders))]
		if strings.Count(parent, "/") > 8 {
			continue
		}
		folders = append(folders, fmt.Sprintf("%s/%s%d", parent, words[random.IntN(len(words))], len(folders)))
	}
	for i := len(files); i < drupalFiles; i++ {
		folder := folders[i%len(folders)]
		files[fmt.Sprintf("%s/%s%d.%s", folder, words[random.IntN(len(words))], i, []string{"php", "yml", "twig", "js"}[i%4])] = ""
	}
	return files
}

var words = strings.Fields("function return public static array string module field entity config render route user node view plugin manager service cache token settings langcode $this $form $value null true => -> ; { } use namespace Drupal Core @param the of and a to")

// size draws the sizes of source files: most are small, some are large.
func size(seed uint64) int {
	random := rand.New(rand.NewPCG(seed, 11))
	return 200 + int(random.ExpFloat64()*random.ExpFloat64()*(drupalBytes/drupalFiles))
}

func prose(seed uint64, size, release int) string {
	random := rand.New(rand.NewPCG(seed, 3))
	var b strings.Builder
	for b.Len() < size {
		if random.IntN(12) == 0 {
			fmt.Fprintf(&b, "%x\n", random.Uint32())
		}
		b.WriteString(words[random.IntN(len(words))])
		b.WriteByte(' ')
	}
	fmt.Fprintf(&b, "\n// release %d\n", release)
	return b.String()
}

// benchComposer is a small repository that composer completes to Drupal's size,
// from a package repository of the same machine.
func benchComposer(t *testing.T) *upstream {
	t.Helper()
	packages := map[string]map[string]string{}
	for name, text := range drupalTree() {
		if name, ok := strings.CutPrefix(name, "vendor/bin/"); ok {
			add(packages, "drush/drush", name, text)
			continue
		}
		parts := strings.SplitN(name, "/", 5)
		if text == "" && len(parts) == 5 {
			add(packages, fmt.Sprintf("acme/p%02d", len(parts[2]+parts[3])*7%60), strings.Join(parts, "-")[:2]+"/"+name, text)
		} else if text == "" {
			add(packages, "acme/rest", name, text)
		}
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	listing := map[string]any{}
	require := map[string]string{}
	for name, files := range packages {
		file, sum := zipped(t, name, files)
		at := "/dist/" + strings.ReplaceAll(name, "/", "-") + ".zip"
		mux.HandleFunc("GET "+at, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
		entry := map[string]any{"name": name, "version": "1.0.0", "type": "library", "dist": map[string]string{"type": "zip", "url": server.URL + at, "reference": sum, "shasum": sum}}
		if name == "drush/drush" {
			entry["bin"] = []string{"drush"}
		}
		listing[name] = map[string]any{"1.0.0": entry}
		require[name] = "1.0.0"
	}
	mux.HandleFunc("GET /packages.json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"packages": listing})
	})
	manifest, err := json.MarshalIndent(map[string]any{
		"repositories": []any{map[string]any{"packagist.org": false}, map[string]any{"type": "composer", "url": server.URL}},
		"require":      require, "config": map[string]any{"secure-http": false},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	u := newUpstream(t, nil)
	write := map[string]string{"composer.json": string(manifest), ".gitignore": "/vendor/\n"}
	for name, text := range drupalTree() {
		if strings.HasPrefix(name, "web/") && text != "" {
			write[name] = text
		}
	}
	u.commit("start", write)
	cmd := exec.CommandContext(t.Context(), "composer", "update", "--no-install", "--no-interaction", "--quiet")
	cmd.Dir = u.work
	cmd.Env = append(os.Environ(), "COMPOSER_ALLOW_SUPERUSER=1", "COMPOSER_HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("composer update: %v\n%s", err, out)
	}
	u.publish("lock", nil)
	return u
}

func add(packages map[string]map[string]string, name, file, text string) {
	if packages[name] == nil {
		packages[name] = map[string]string{}
	}
	packages[name][file] = text
}

func zipped(t *testing.T, name string, files map[string]string) (file, sum string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "package.zip")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha1.New()
	z := zip.NewWriter(io.MultiWriter(out, hash))
	own, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		t.Fatal(err)
	}
	files["composer.json"] = string(own)
	i := uint64(0)
	for file, text := range files {
		i++
		if text == "" {
			text = prose(i, size(i), 0)
		}
		w, err := z.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return file, hex.EncodeToString(hash.Sum(nil))
}
