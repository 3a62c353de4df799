package makefile_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins"
)

// setting is what an argument of Drush's command line is called here; false for
// those that are no setting.
func setting(argument string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(argument, "=")
	switch name {
	case "--no-core", "--no-patch-txt", "--no-gitinfofile", "--prepare-install":
		return strings.ReplaceAll(strings.TrimPrefix(name, "--"), "-", "_"), "1", true
	case "--contrib-destination":
		return "contrib_destination", value, true
	}
	return "", "", false
}

// TestSource_Oracle has the update type check and build what Drush built, as a
// person at the command line does: the same files, a failure where Drush fails,
// or an entry of the list of differences.
func TestSource_Oracle(t *testing.T) {
	newWorld(t).oracles(t, "")
}

// TestSource_OracleFromFolders has Drush's builds from repositories made from
// file:// addresses, as most of them were recorded.
func TestSource_OracleFromFolders(t *testing.T) {
	w := newWorld(t)
	w.byFile()
	w.oracles(t, "git")
}

// oracles checks the cases that have the word in their names.
func (w *world) oracles(t *testing.T, word string) {
	t.Helper()
	differs := map[string]bool{}
	for _, d := range differences() {
		for _, c := range d.Cases {
			differs[strings.TrimPrefix(c, "oracle-make/")] = true
		}
	}
	names, err := filepath.Glob(oracles + "/*/case.json")
	if err != nil || len(names) < 160 {
		t.Fatalf("%d cases, %v", len(names), err)
	}
	same, different, left := 0, 0, 0
	for _, file := range names {
		var c struct {
			Name, Main, Args string
			Exists           bool              `json:"build_path_preexists"`
			Exit             any               `json:"exit_code"`
			Contents         map[string]string `json:"contents"`
		}
		if err := json.Unmarshal([]byte(read(t, file)), &c); err != nil {
			t.Fatal(err)
		}
		settings, usable := w.settings(nil), !c.Exists
		for argument := range strings.FieldsSeq(c.Args) {
			name, value, ok := setting(argument)
			usable = usable && ok
			settings[name] = value
		}
		// These bring makefiles with the recorded address; the tests of build have them.
		for _, name := range []string{"mydist", "rec_module", "gitprofile"} {
			usable = usable && !strings.Contains(w.makefiles(filepath.Dir(file)), "["+name+"]") && !strings.Contains(w.makefiles(filepath.Dir(file)), "= "+name+"\n")
		}
		if !usable || !strings.Contains(c.Name, word) {
			left++
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			settings["url"] = w.here(c.Main)
			if !strings.Contains(c.Main, "://") {
				settings["url"] = filepath.Join(w.copyCase(filepath.Dir(file)), c.Main)
			}
			dst, err := w.make(t, settings)
			problem := ""
			switch {
			case err != nil && models.CodeOf(err) == "":
				t.Fatalf("not for people: %v", err)
			case (err == nil) != (c.Exit == 0.0):
				problem = "another outcome"
			case err == nil:
				problem = w.compare(t, dst, c.Contents)
			}
			switch {
			case problem == "":
				same++
			case differs[c.Name]:
				different++
			default:
				t.Errorf("%s: %v", problem, err)
			}
		})
	}
	t.Logf("%d same, %d different and listed, %d left out: they need what is no setting, or the recorded address", same, different, left)
}

func (w *world) make(t *testing.T, settings models.Settings) (string, error) {
	t.Helper()
	source, env, dst := open(t, settings), newEnv(t), t.TempDir()
	env.Local = true
	v, err := source.Check(t.Context(), env, plugins.Version{})
	if err != nil {
		return dst, err
	}
	_, err = source.Build(t.Context(), env, v, dst)
	return dst, err
}

// makefiles gives the text of all makefiles of a case.
func (w *world) makefiles(dir string) string {
	w.t.Helper()
	names, err := filepath.Glob(dir + "/*.make*")
	if err != nil {
		w.t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		all.WriteString(read(w.t, name) + "\n")
	}
	return all.String()
}

// copyCase copies a case with addresses of this world, and gives the folder.
func (w *world) copyCase(dir string) string {
	w.t.Helper()
	to := w.t.TempDir()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		write(w.t, filepath.Join(to, rel), w.here(read(w.t, path)))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return to
}

// compare says which files do not hold what was recorded, "" when all do.
func (w *world) compare(t *testing.T, dst string, want map[string]string) string {
	t.Helper()
	var wrong []string
	for name, text := range want {
		if strings.HasSuffix(name, "/") {
			continue
		}
		got, err := os.ReadFile(filepath.Join(dst, name))
		if err != nil || w.there(string(got)) != text {
			wrong = append(wrong, name)
		}
	}
	return strings.Join(wrong, ", ")
}
