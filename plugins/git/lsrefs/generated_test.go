package lsrefs_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// object is one that refs may name.
type object struct {
	oid    string
	peeled string // of an annotated tag
}

// store is a repository whose objects all generated ones borrow.
type store struct {
	format  string
	objects string // folder
	known   []object
}

// newStore makes commits, a tree, a blob, and annotated tags of each and of each
// other.
func newStore(t *testing.T, format string) store {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "", "init", "-q", "--bare", "--object-format="+format)
	s := store{format: format, objects: filepath.Join(dir, "objects")}
	add := func(kind, text string) string {
		return strings.TrimSpace(git(t, dir, text, "hash-object", "-w", "-t", kind, "--stdin"))
	}
	tag := func(of, kind, name string) string {
		return add("tag", fmt.Sprintf("object %s\ntype %s\ntag %s\ntagger Test <test@example.org> 1700000000 +0000\n\ntext\n", of, kind, name))
	}
	blob, tree := add("blob", "hello"), add("tree", "")
	s.known = append(s.known, object{oid: blob}, object{oid: tree}, object{tag(tree, "tree", "tree"), tree}, object{tag(blob, "blob", "blob"), blob})
	for i := range 8 {
		commit := add("commit", fmt.Sprintf("tree %s\nauthor Test <test@example.org> %d +0000\ncommitter Test <test@example.org> 1700000000 +0000\n\ntext\n", tree, 1700000000+i))
		inner := tag(commit, "commit", fmt.Sprint("v", i))
		s.known = append(s.known, object{oid: commit}, object{inner, commit}, object{tag(inner, "tag", fmt.Sprint("of v", i)), commit})
	}
	return s
}

// generator writes repositories as files, which is a thousand times quicker than
// asking git to make them.
type generator struct {
	*rand.Rand

	stores []store
}

func newGenerator(t *testing.T, seed uint64) *generator {
	t.Helper()
	return &generator{rand.New(rand.NewPCG(seed, 1)), []store{newStore(t, "sha1"), newStore(t, "sha256")}}
}

func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// repository writes a bare one into the new folder dir.
func (g *generator) repository(t *testing.T, dir string) {
	t.Helper()
	s := g.stores[0]
	if g.oneIn(5) {
		s = g.stores[1]
	}
	write(t, dir, "config", g.config(s.format))
	write(t, dir, "objects/info/alternates", s.objects+"\n")
	write(t, dir, "refs/heads/.keep", "") // git passes over names with a dot before them
	names := g.names()
	packed, loose := map[string]object{}, map[string]object{}
	for _, name := range names {
		if g.oneIn(3) {
			loose[name] = pick(g, s.known...)
		}
		if _, only := loose[name]; !only || g.oneIn(4) {
			packed[name] = pick(g, s.known...)
		}
	}
	for name, o := range loose {
		write(t, dir, name, o.oid+"\n")
	}
	if len(packed) > 0 {
		write(t, dir, "packed-refs", g.packed(packed))
	}
	write(t, dir, "HEAD", g.head(s, names)+"\n")
	g.oddities(t, dir, s, names)
}

func (g *generator) config(format string) string {
	text := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
	if format == "sha256" {
		text = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
	}
	if g.oneIn(10) {
		text += "[transfer]\n\thideRefs = " + pick(g, "refs/changes", "refs/tags", "refs/heads", "HEAD") + "\n"
	}
	return text
}

// head is what HEAD says: a branch, one without a commit, an object, another kind
// of ref.
func (g *generator) head(s store, names []string) string {
	switch {
	case len(names) == 0 || g.oneIn(8):
		return "ref: refs/heads/" + pick(g, "main", "master", "not-born", "ünborn")
	case g.oneIn(8):
		return pick(g, s.known[4:]...).oid
	}
	return "ref: " + pick(g, names...)
}

// oddities are things that are found in old repositories.
func (g *generator) oddities(t *testing.T, dir string, s store, names []string) {
	t.Helper()
	if g.oneIn(4) && len(names) > 0 {
		write(t, dir, "refs/symbolic/HEAD", "ref: "+pick(g, names...)+"\n")
	}
	if g.oneIn(8) {
		write(t, dir, "refs/symbolic/dangling", "ref: refs/heads/gone\n")
		write(t, dir, "refs/symbolic/chain", "ref: refs/symbolic/HEAD\n")
	}
	if g.oneIn(8) {
		write(t, dir, "refs/odd/missing", strings.Repeat("d", len(s.known[0].oid))+"\n")
		write(t, dir, "refs/odd/lost.lock", s.known[0].oid+"\n")
	}
}

// names are those of some refs, none of which is a folder of another.
func (g *generator) names() []string {
	count := pick(g, 0, 1, 2, 3, 5, 8, 13, 21)
	if g.oneIn(50) {
		count = 400
	}
	taken, folders := map[string]bool{}, map[string]bool{}
	for range count {
		name := g.name()
		parts := strings.Split(name, "/")
		free := !folders[name]
		for i := 1; i < len(parts); i++ {
			free = free && !taken[strings.Join(parts[:i], "/")]
		}
		if !free {
			continue
		}
		taken[name] = true
		for i := 1; i < len(parts); i++ {
			folders[strings.Join(parts[:i], "/")] = true
		}
	}
	return slices.Sorted(maps.Keys(taken))
}

// name is one that git takes. Many begin alike, as branches and tags do.
func (g *generator) name() string {
	area := pick(g, "refs/heads/", "refs/heads/", "refs/tags/", "refs/tags/", "refs/remotes/origin/", "refs/notes/", "refs/changes/", "refs/pull/", "refs/x")
	stem := pick(g, "main", "main2", "feature/main", "release/1.0", "v1", "v1.0", "v10", "8.x-1.5", "7.x-2.0-beta1", "11.x", "2024-09-22-test", "component/v1.0.0")
	if g.oneIn(3) {
		return area + stem
	}
	return area + pick(g, "", stem, stem+"/", stem+"-") + g.part() + pick(g, "", "", "/"+g.part())
}

func (g *generator) part() string {
	letters := []string{"a", "b", "Z", "0", "1", "-", "_", "+", "=", ",", ";", "!", "#", "$", "%", "&", "'", "\"", "(", "<", "|", "{", "ö", "漢", "🐙", "\xff", "e\u0301", "@"}
	var b strings.Builder
	b.WriteString(pick(g, "a", "b", "-", "Z", "9", "é"))
	for range g.IntN(12) {
		b.WriteString(pick(g, letters...))
	}
	return strings.ReplaceAll(b.String(), "@{", "@x{") + "x"
}

// packed is the file packed-refs, as one of the versions of git wrote it.
func (g *generator) packed(refs map[string]object) string {
	names := slices.Sorted(maps.Keys(refs))
	header := pick(g, "# pack-refs with: peeled fully-peeled sorted \n", "# pack-refs with: peeled fully-peeled \n", "")
	if !strings.Contains(header, "sorted") {
		g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	}
	var b strings.Builder
	b.WriteString(header)
	for _, name := range names {
		fmt.Fprintf(&b, "%s %s\n", refs[name].oid, name)
		if refs[name].peeled != "" && header != "" {
			fmt.Fprintf(&b, "^%s\n", refs[name].peeled)
		}
	}
	return b.String()
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
