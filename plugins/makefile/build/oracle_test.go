package build_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

const oracles = "testdata/oracle-make"

// oracle is one build as Drush made it.
type oracle struct {
	Name     string            `json:"name"`
	Main     string            `json:"main"`
	Args     string            `json:"args"`
	Exists   bool              `json:"build_path_preexists"`
	Exit     any               `json:"exit_code"` // a number, or timeout
	Tree     []string          `json:"tree"`
	Contents map[string]string `json:"contents"`
	MD5      string            `json:"md5"`
}

func (o oracle) succeeded() bool { return o.Exit == 0.0 }

// TestBuild_Oracle holds the builds that Drush made against ours: the same tree
// and contents, or a failure where Drush published nothing, or an entry of the
// list of differences.
func TestBuild_Oracle(t *testing.T) {
	w := newWorld(t)
	listed := map[string]string{}
	for _, d := range slices.Concat(spec.Differences(), build.Differences()) {
		for _, name := range d.Cases {
			if name, ok := strings.CutPrefix(name, "oracle-make/"); ok {
				listed[name] = d.ID
			}
		}
	}
	names, err := filepath.Glob(oracles + "/*/case.json")
	if err != nil || len(names) < 160 {
		t.Fatalf("found %d cases, %v", len(names), err)
	}
	same, different := 0, map[string]int{}
	for _, file := range names {
		o := readOracle(t, file)
		t.Run(o.Name, func(t *testing.T) {
			problem := o.compare(t, w)
			id := listed[o.Name]
			switch {
			case problem == "" && id == "":
				same++
			case problem != "" && id != "":
				different[id]++
			case problem != "":
				t.Error(problem)
			default:
				t.Errorf("it is as Drush made it, and listed as different: %s", id)
			}
		})
	}
	t.Logf("%d same, different: %v", same, different)
}

func readOracle(t *testing.T, file string) oracle {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var o oracle
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// compare builds the case and says how the outcome differs, "" when it does not.
func (o oracle) compare(t *testing.T, w *world) string {
	t.Helper()
	env := newEnv(t)
	dst := t.TempDir()
	if o.Exists {
		write(t, dst, o.Contents)
	}
	err := o.build(t, w, env, dst)
	if err != nil && models.CodeOf(err) == "" {
		t.Fatalf("not for people: %v", err)
	}
	switch {
	case o.Exit == "timeout":
		return "Drush never ends"
	case err != nil && o.succeeded():
		return "Drush builds it: " + err.Error()
	case err == nil && !o.succeeded():
		return "Drush fails"
	case err != nil && len(o.Tree) > 0 && !o.Exists:
		return "Drush fails and publishes nevertheless: " + err.Error()
	case err != nil && o.Exists:
		return differ(o.Contents, contents(t, dst))
	case err != nil:
		return ""
	}
	if o.MD5 != "" && !strings.Contains(env.Log.(*lines).String(), "Build hash: "+o.MD5) {
		return "another digest"
	}
	got := contents(t, dst)
	for name, text := range got {
		got[name] = w.there(text)
	}
	return differ(o.expected(), got)
}

// expected joins the listing with the contents.
func (o oracle) expected() map[string]string {
	want := map[string]string{}
	for _, name := range o.Tree {
		want[name] = o.Contents[name]
	}
	return want
}

func differ(want, got map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		text, ok := got[name]
		switch {
		case !ok:
			list = append(list, "lacks "+name)
		case text != want[name]:
			list = append(list, fmt.Sprintf("%s is %q, not %q", name, text, want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			list = append(list, "has "+name)
		}
	}
	return strings.Join(list, "\n")
}

func (o oracle) build(t *testing.T, w *world, env plugins.Env, dst string) error {
	t.Helper()
	folder := t.TempDir()
	entries, err := os.ReadDir(filepath.Join(oracles, o.Name))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		copyCase(t, w, filepath.Join(oracles, o.Name, e.Name()), filepath.Join(folder, e.Name()))
	}
	options, more := arguments(t, o.Args)
	options.GitBase = w.git.URL + "/project"
	ref := spec.Ref{Path: strings.TrimPrefix(filepath.Join(folder, o.Main), "/")}
	if strings.Contains(o.Main, "://") {
		ref = spec.Ref{URL: w.here(o.Main)}
	} else {
		appendText(t, filepath.Join(folder, o.Main), more)
	}
	l := loader{w: w, env: env, folder: "/", local: true}
	m, err := spec.Load(t.Context(), l, ref)
	if err != nil {
		return err
	}
	resolve := w.resolve(env)
	if err := resolve(t.Context(), l, m); err != nil {
		return err
	}
	_, err = build.Build(t.Context(), env, build.Job{Makefile: m, Loader: l, Folder: "/", Resolve: resolve, Options: options}, dst)
	return err
}

func copyCase(t *testing.T, w *world, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(to), map[string]string{filepath.Base(to): w.here(string(text))})
}

func appendText(t *testing.T, name, more string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(text, more...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// arguments turns those of Drush's command line into options, and what includes
// and overrides add into lines of the makefile.
func arguments(t *testing.T, text string) (o build.Options, more string) {
	t.Helper()
	for arg := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "--no-core":
			o.NoCore = true
		case "--no-patch-txt":
			o.NoPatchTxt = true
		case "--no-gitinfofile":
			o.NoGitInfoFile = true
		case "--ignore-checksums":
			o.IgnoreChecksums = true
		case "--prepare-install":
			o.PrepareInstall = true
		case "--contrib-destination":
			o.ContribDest, o.ContribDestGiven = value, true
		case "--projects":
			o.Projects = strings.Split(value, ",")
		case "--md5":
			o.MD5 = true
		case "--concurrency":
			o.Concurrency = 3
		case "--includes", "--overrides":
			more += "\n" + strings.TrimPrefix(name, "--") + "[] = " + value + "\n"
		case "--force-complete": // we have no such option
		default:
			t.Fatalf("unknown argument %s", arg)
		}
	}
	return o, more
}
