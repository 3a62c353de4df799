package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// tiny builds a small program as a release does.
func tiny(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	path := filepath.Join(dir, "tiny")
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, "./testdata/tiny")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// sample is a release of tiny with a man page and a completion.
func sample(t *testing.T) Release {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"man/man1/hefring.1": ".TH HEFRING 1\n", "completions/hefring.bash": "complete hefring\n"} {
		path := filepath.Join(dir, "extras", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return Release{
		Version: "v1.2.3", Time: time.Unix(1_790_000_000, 0), Binaries: []string{tiny(t, dir, "-trimpath", "-buildvcs=false", "-ldflags=-s -w")},
		Source: "../..", Modules: goEnv(t, "GOMODCACHE"), GoRoot: goEnv(t, "GOROOT"), Extras: filepath.Join(dir, "extras"), Out: filepath.Join(dir, "out"),
	}
}

func TestRelease_Make_TwiceIsTheSame(t *testing.T) {
	r := sample(t)
	first, err := r.Make()
	if err != nil {
		t.Fatal(err)
	}
	out := r.Out
	r = sample(t) // later, by a binary that was built anew elsewhere
	r.Out = out   // over what is there
	second, err := r.Make()
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Files) != 3 || !slices.Equal(first.Files, second.Files) {
		t.Errorf("made %+v and %+v", first.Files, second.Files)
	}
	if len(first.Unlicensed) > 0 {
		t.Errorf("no licence known of %v", first.Unlicensed)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = out
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRelease_Make_Holds(t *testing.T) {
	r := sample(t)
	if _, err := r.Make(); err != nil {
		t.Fatal(err)
	}
	t.Run("archive", func(t *testing.T) { checkArchive(t, r) })
	t.Run("SBOM", func(t *testing.T) { checkSBOM(t, r) })
	t.Run("Debian package", func(t *testing.T) { checkDeb(t, filepath.Join(r.Out, "hefring_1.2.3_amd64.deb")) })
}

func checkArchive(t *testing.T, r Release) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(read(t, filepath.Join(r.Out, "hefring_1.2.3_linux_amd64.tar.gz"))))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	for in := tar.NewReader(zip); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(header.Name, "hefring-1.2.3-linux-amd64/")
		if !ok || header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(r.Time) {
			t.Errorf("%s belongs to %d:%d and is of %s", header.Name, header.Uid, header.Gid, header.ModTime)
		}
		found[name] = header.Mode
	}
	for name, mode := range map[string]int64{
		"hefring": 0o755, "README.md": 0o644, "hefring.yaml": 0o644, "systemd/hefring.service": 0o644, "systemd/hefring-web.service": 0o644, "systemd/as-root.conf": 0o644, "systemd/as-worker.conf": 0o644,
		"man/man1/hefring.1": 0o644, "completions/hefring.bash": 0o644, "sbom.cdx.json": 0o644, "third-party-licences.txt": 0o644, "docs/install.md": 0o644,
	} {
		if found[name] != mode {
			t.Errorf("%s has mode %04o in the archive, wants %04o", name, found[name], mode)
		}
	}
}

func checkSBOM(t *testing.T, r Release) {
	t.Helper()
	var bom cdx.BOM
	text := read(t, filepath.Join(r.Out, "hefring_1.2.3_linux_amd64.cdx.json"))
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SpecVersion != cdx.SpecVersion1_6 || bom.Metadata.Component.Version != "1.2.3" || bom.Metadata.Timestamp != r.Time.UTC().Format(time.RFC3339) {
		t.Errorf("got %s %+v", bom.SpecVersion, bom.Metadata)
	}
	found := map[string]string{}
	for _, c := range *bom.Components {
		if c.Licenses != nil && (*c.Licenses)[0].License != nil {
			found[c.Name] = c.PackageURL + " " + (*c.Licenses)[0].License.ID
		}
	}
	if got := found["golang.org/x/mod"]; !strings.HasPrefix(got, "pkg:golang/golang.org/x/mod@v") || !strings.HasSuffix(got, " BSD-3-Clause") {
		t.Errorf("got %q", got)
	}
	for _, name := range []string{"std", "htmx.org"} {
		if found[name] == "" {
			t.Errorf("there is no %s with a licence among %v", name, found)
		}
	}
}

func TestRelease_Make_Refuses(t *testing.T) {
	good := sample(t)
	dir := t.TempDir()
	for name, spoil := range map[string]func(*Release){
		"no version":      func(r *Release) { r.Version = "latest" },
		"hostile version": func(r *Release) { r.Version = "1.2.3/../../x" },
		"no time":         func(r *Release) { r.Time = time.Time{} },
		"no binary":       func(r *Release) { r.Binaries = nil },
		"not a program":   func(r *Release) { r.Binaries = []string{"release_test.go"} },
		"paths in it":     func(r *Release) { r.Binaries = []string{tiny(t, dir)} },
	} {
		r := good
		spoil(&r)
		if _, err := r.Make(); err == nil {
			t.Errorf("%s: it was released", name)
		}
		if _, err := os.Stat(r.Out); err == nil {
			t.Errorf("%s: %s is there", name, r.Out)
		}
	}
}

// Every binary of a Debian has a loader.
func TestCheckStatic_Dynamic(t *testing.T) {
	path, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkStatic(read(t, path)); err == nil {
		t.Error("git is said to be static")
	}
}

func TestDebianVersion_Order(t *testing.T) {
	versions := []string{
		"0.0.0-12-gabc123", "1.2.3-rc.1", "1.2.3-rc.1-4-gabc123", "1.2.3-rc.2", "1.2.3", "1.2.3-1-gffffff", "1.2.3-10-g000000", "1.2.4",
	}
	for i, version := range versions[1:] {
		before, after := debianVersion(versions[i]), debianVersion(version)
		if out, err := exec.Command("dpkg", "--compare-versions", before, "lt", after).CombinedOutput(); err != nil {
			t.Errorf("%s is not before %s: %v %s", before, after, err, out)
		}
	}
	if got := debianVersion("1.2.3-dirty"); got != "1.2.3+dirty" {
		t.Errorf("got %s", got)
	}
}
