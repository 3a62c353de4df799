// Package release makes what people install: archives, Debian packages, a list of
// what is inside (SBOM) and checksums, from binaries that were built before. The
// same binaries and the same time give the same bytes.
package release

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// files are what goes into archives and packages beside the binary.
//
//go:embed files
var files embed.FS

// Release says what to make, and from what.
type Release struct {
	Version  string    // such as 1.4.0, or what git describe says
	Time     time.Time // of everything inside
	Binaries []string  // one for each architecture
	Source   string    // the checkout; for README, LICENSE and the like
	Modules  string    // Go's module cache; for the licences of what is linked in
	GoRoot   string    // Go's own folder, for its licence
	Extras   string    // man pages in man/man1 and so on, completions/*.bash .zsh .fish; "" for none
	Out      string    // folder that is made anew
}

// Result is what was made.
type Result struct {
	Files      []File
	Unlicensed []string // modules whose licence is not known
}

// File is one file of a release.
type File struct {
	Name   string // in Release.Out
	Size   int64  // bytes
	SHA256 string // hex
}

var versionPattern = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:[.+~-][0-9A-Za-z.+~-]*)?)$`)

// Make makes all files in a folder beside Out and puts that in Out's place, so
// that Out never holds half a release.
func (r Release) Make() (Result, error) {
	if err := r.check(); err != nil {
		return Result{}, err
	}
	fresh := strings.TrimRight(r.Out, "/") + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil { //nolint:gosec // a release is for everybody
		return Result{}, fmt.Errorf("make folder: %w", err)
	}
	unlicensed := map[string]bool{}
	for _, path := range r.Binaries {
		missing, err := r.makeOne(path, fresh)
		if err != nil {
			return Result{}, fmt.Errorf("release %s: %w", path, err)
		}
		for _, name := range missing {
			unlicensed[name] = true
		}
	}
	made, err := sum(fresh)
	if err != nil {
		return Result{}, err
	}
	if err := errors.Join(os.RemoveAll(r.Out), os.Rename(fresh, r.Out)); err != nil {
		return Result{}, fmt.Errorf("put release in place: %w", err)
	}
	return Result{Files: made, Unlicensed: sortedKeys(unlicensed)}, nil
}

func (r *Release) check() error {
	match := versionPattern.FindStringSubmatch(r.Version)
	if match == nil {
		return fmt.Errorf("version %q is none: use three numbers such as 1.4.0, and what may follow them", r.Version)
	}
	r.Version = match[1]
	if r.Time.IsZero() || r.Time.Year() < 1980 {
		return errors.New("the release has no time: set SOURCE_DATE_EPOCH to that of the commit")
	}
	r.Time = r.Time.UTC().Truncate(time.Second)
	if len(r.Binaries) == 0 {
		return errors.New("there is no binary to release")
	}
	return nil
}

// makeOne makes the files of one architecture, and names the modules whose licence
// is not known.
func (r Release) makeOne(path, dir string) ([]string, error) {
	built, err := readBinary(path)
	if err != nil {
		return nil, err
	}
	parts, err := r.components(built)
	if err != nil {
		return nil, err
	}
	bom, err := r.bom(built, parts)
	if err != nil {
		return nil, err
	}
	list, err := r.contents(built, parts, bom)
	if err != nil {
		return nil, err
	}
	stem := filepath.Join(dir, "hefring_"+r.Version)
	if err := os.WriteFile(stem+"_linux_"+built.arch+".cdx.json", bom, 0o644); err != nil { //nolint:gosec // for everybody
		return nil, fmt.Errorf("write SBOM: %w", err)
	}
	if err := r.archive(stem+"_linux_"+built.arch+".tar.gz", built.arch, list); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	if err := r.deb(filepath.Join(dir, "hefring_"+debianVersion(r.Version)+"_"+built.arch+".deb"), built.arch, list); err != nil {
		return nil, fmt.Errorf("write Debian package: %w", err)
	}
	var unlicensed []string
	for _, c := range parts {
		if len(c.licences) == 0 {
			unlicensed = append(unlicensed, c.name)
		}
	}
	return unlicensed, nil
}

// content is one file that archives and packages hold.
type content struct {
	archived string // path in the archive; "" for none
	packaged string // path in the package; "" for none
	mode     fs.FileMode
	data     []byte
	conffile bool
}

// doc is where packages put what is to be read.
const doc = "/usr/share/doc/hefring/"

// contents are all files for one binary, in the order of their names.
func (r Release) contents(built binary, parts []component, bom []byte) ([]content, error) {
	list := []content{
		{archived: "hefring", packaged: "/usr/bin/hefring", mode: 0o755, data: built.data},
		{archived: "sbom.cdx.json", packaged: doc + "sbom.cdx.json", data: bom},
		{archived: "third-party-licences.txt", packaged: doc + "third-party-licences.txt", data: notices(parts)},
		{archived: "hefring.yaml", packaged: "/etc/hefring/hefring.yaml", mode: 0o640, data: settings(), conffile: true},
		{packaged: doc + "copyright", data: r.copyright()},
	}
	for _, more := range []func() ([]content, error){units, r.pages, r.extras} {
		found, err := more()
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	for i := range list {
		if list[i].mode == 0 {
			list[i].mode = 0o644
		}
	}
	slices.SortFunc(list, func(a, b content) int {
		return strings.Compare(a.archived+"\x00"+a.packaged, b.archived+"\x00"+b.packaged)
	})
	return list, nil
}

// units are for systemd.
func units() ([]content, error) {
	var list []content
	for name, packaged := range map[string]string{
		"hefring.service":     "/usr/lib/systemd/system/hefring.service",
		"hefring-web.service": "/usr/lib/systemd/system/hefring-web.service",
		"as-root.conf":        doc + "examples/as-root.conf",
		"as-worker.conf":      doc + "examples/as-worker.conf",
	} {
		data, err := files.ReadFile("files/" + name)
		if err != nil {
			return nil, fmt.Errorf("read own file: %w", err)
		}
		list = append(list, content{archived: "systemd/" + name, packaged: packaged, data: data})
	}
	return list, nil
}

// pages are what the checkout holds to be read. Debian's policy has the changes
// packed, under another name.
func (r Release) pages() ([]content, error) {
	var list []content
	for name, packaged := range map[string]string{
		"README.md": doc + "README.md", "docs/install.md": doc + "install.md", "CHANGELOG.md": "", "LICENSE": "",
	} {
		data, err := os.ReadFile(filepath.Join(r.Source, name)) //nolint:gosec // one of the names above
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		list = append(list, content{archived: name, packaged: packaged, data: data})
		if name != "CHANGELOG.md" {
			continue
		}
		packed, err := gzipped(data)
		if err != nil {
			return nil, err
		}
		list = append(list, content{packaged: doc + "changelog.gz", data: packed})
	}
	return list, nil
}

// extras are man pages and completions, as far as they were made.
func (r Release) extras() ([]content, error) {
	if r.Extras == "" {
		return nil, nil
	}
	var list []content
	err := filepath.WalkDir(r.Extras, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // below the folder that was named
		if err != nil {
			return err
		}
		name, err := filepath.Rel(r.Extras, path)
		if err != nil {
			return err
		}
		packaged, data, err := installed(filepath.ToSlash(name), data)
		if err != nil {
			return err
		}
		list = append(list, content{archived: filepath.ToSlash(name), packaged: packaged, data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read man pages and completions: %w", err)
	}
	return list, nil
}

// installed says where a man page or a completion goes in a package. Man pages are
// packed, as man itself and Debian's policy have it.
func installed(name string, data []byte) (string, []byte, error) {
	base := filepath.Base(name)
	switch extension := filepath.Ext(base); {
	case strings.HasPrefix(name, "man/man"):
		packed, err := gzipped(data)
		return "/usr/share/" + name + ".gz", packed, err
	case extension == ".bash":
		return "/usr/share/bash-completion/completions/hefring", data, nil
	case extension == ".zsh":
		return "/usr/share/zsh/vendor-completions/_hefring", data, nil
	case extension == ".fish":
		return "/usr/share/fish/vendor_completions.d/hefring.fish", data, nil
	}
	return "", nil, fmt.Errorf("%s is neither a man page (man/man1/…) nor a completion (.bash, .zsh, .fish)", name)
}

// sum writes SHA256SUMS, as sha256sum reads it, and lists what is in the folder.
func sum(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir) // by name
	if err != nil {
		return nil, fmt.Errorf("list release: %w", err)
	}
	var list []File
	var text strings.Builder
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name())) //nolint:gosec // what was just listed
		if err != nil {
			return nil, fmt.Errorf("read release: %w", err)
		}
		digest := sha256.Sum256(data)
		file := File{Name: entry.Name(), Size: int64(len(data)), SHA256: hex.EncodeToString(digest[:])}
		list = append(list, file)
		fmt.Fprintf(&text, "%s  %s\n", file.SHA256, file.Name)
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(text.String()), 0o644); err != nil { //nolint:gosec // for everybody
		return nil, fmt.Errorf("write checksums: %w", err)
	}
	return list, nil
}

func sortedKeys(set map[string]bool) []string {
	var list []string
	for key := range set {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}
