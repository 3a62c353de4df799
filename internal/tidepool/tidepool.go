// Package tidepool writes the versions of the fixture distribution, a small PHP application with Drupal's file layout
// that is not Drupal. Tests and the demo make git repositories and folders from it.
package tidepool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	fixture "hefring/testdata/tidepool"
)

// The versions, by name.
const (
	V1058         = "10.5.8"                  // the first: a healthy site
	V1062         = "10.6.2"                  // a core and a module update with two database updates
	V1063         = "10.6.3"                  // code only, no database updates
	Throws        = "11.0.0-throws"           // one good database update, then one that throws after a partial write
	Fixed         = "11.0.1"                  // the same with the second update repaired
	Fatal         = "fatal"                   // a parse error in an enabled module
	MissingModule = "missing-module"          // an enabled module is gone from the code
	SlowUpdate    = "slow-update"             // a database update of TIDEPOOL_SLOW_SECONDS (default 20) seconds
	WhitePage     = "white-page"              // every uncached page is empty with status 200; Drush is well
	WrongVersion  = "wrong-version"           // core 10.6.4 for Drush, and 10.6.3 for visitors
	Downgrade     = "downgrade"               // core 10.5.9, older than its base
	NoDocroot     = "no-docroot"              // web/ without index.php
	BrokenLock    = "no-composer-lock-broken" // composer.json that cannot be resolved, no lock, no vendor
	NeedsComposer = "needs-composer"          // well, but without vendor/ until composer install has run
)

// The web server's user reads the tree too.
const (
	folderMode  fs.FileMode = 0o755
	fileMode    fs.FileMode = 0o644
	programMode fs.FileMode = 0o755
)

// Version is one state of the fixture's source tree.
type Version struct {
	Name    string // as in the constants above
	Message string // a commit message for the step from Base to this version
	Base    string // the version that this one changes; empty for the first
	remove  []string
}

// listed is a Version as versions.json has it.
type listed struct {
	Name    string   `json:"name"`
	Message string   `json:"message"`
	Base    string   `json:"base"`
	Delete  []string `json:"delete"`
}

// vendored are the folders that composer copies from the tree itself; the fixture stores them once.
func vendored() map[string]string {
	return map[string]string{"packages/drush/": "vendor/drush/drush/"}
}

// Versions lists every version, each after its base.
func Versions() []Version {
	var list []listed
	raw, err := fixture.Files.ReadFile("versions/versions.json")
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		panic(fmt.Sprintf("read the embedded list of tidepool versions: %v", err)) // part of the program itself
	}
	versions := make([]Version, len(list))
	for i, v := range list {
		versions[i] = Version{Name: v.Name, Message: v.Message, Base: v.Base, remove: v.Delete}
	}
	return versions
}

// Write makes dir hold exactly the files of a version. Everything else in dir is removed, except .git.
func Write(dir, version string) error {
	tree, err := files(version)
	if err != nil {
		return err
	}
	if err := empty(dir); err != nil {
		return fmt.Errorf("clear %s: %w", dir, err)
	}
	for name, data := range tree {
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(name)), data, mode(name)); err != nil {
			return fmt.Errorf("write tidepool %s: %w", version, err)
		}
	}
	return nil
}

// files gives a version's whole tree: path to content.
func files(version string) (map[string][]byte, error) {
	chain, err := chain(version)
	if err != nil {
		return nil, err
	}
	tree := map[string][]byte{}
	if err := overlay(tree, "base"); err != nil {
		return nil, err
	}
	for from, to := range vendored() {
		for name, data := range under(tree, from) {
			tree[to+name] = data
		}
	}
	for _, v := range chain {
		for _, gone := range v.remove {
			delete(tree, gone)
			for name := range under(tree, gone+"/") {
				delete(tree, gone+"/"+name)
			}
		}
		if err := overlay(tree, path.Join("versions", v.Name)); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// chain lists the versions that lead to the named one, the first first.
func chain(name string) ([]Version, error) {
	var steps []Version
	all := Versions()
	for name != "" {
		at := slices.IndexFunc(all, func(v Version) bool { return v.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("find tidepool version %q: %w", name, fs.ErrNotExist)
		}
		steps = append(steps, all[at])
		name = all[at].Base
	}
	slices.Reverse(steps)
	return steps, nil
}

// overlay reads an embedded folder into the tree. A version without files of its own has no folder.
func overlay(tree map[string][]byte, folder string) error {
	if _, err := fs.Stat(fixture.Files, folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fs.WalkDir(fixture.Files, folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fixture.Files.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		tree[strings.TrimPrefix(name, folder+"/")] = data
		return nil
	})
}

// under gives the part of the tree below a prefix, without the prefix.
func under(tree map[string][]byte, prefix string) map[string][]byte {
	part := map[string][]byte{}
	for name, data := range tree {
		if rest, found := strings.CutPrefix(name, prefix); found {
			part[rest] = data
		}
	}
	return part
}

// empty clears dir but for .git, and makes it when it is not there.
func empty(dir string) error {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == ".git" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// mode restores what embedding loses: which files are programs.
func mode(name string) fs.FileMode {
	if path.Base(name) == "drush" {
		return programMode
	}
	return fileMode
}

func writeFile(name string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), folderMode); err != nil {
		return err
	}
	if err := os.WriteFile(name, data, mode); err != nil {
		return err
	}
	return os.Chmod(name, mode) // whatever the umask
}
