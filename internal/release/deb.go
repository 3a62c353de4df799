package release

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/goreleaser/nfpm/v2"
	debian "github.com/goreleaser/nfpm/v2/deb"
	nfpmfiles "github.com/goreleaser/nfpm/v2/files"
)

// deb writes a Debian package.
func (r Release) deb(path, arch string, list []content) error {
	stage, err := os.MkdirTemp("", "hefring-deb-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(stage) }()
	info := r.debInfo(arch)
	if info.Contents, err = r.staged(stage, list); err != nil {
		return err
	}
	for name, script := range map[string]*string{"postinst": &info.Scripts.PostInstall, "prerm": &info.Scripts.PreRemove, "postrm": &info.Scripts.PostRemove} {
		data, err := files.ReadFile("files/" + name)
		if err != nil {
			return err
		}
		*script = filepath.Join(stage, name)
		if err := os.WriteFile(*script, data, 0o600); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	if err := debian.Default.Package(info, &out); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644) //nolint:gosec // for everybody
}

func (r Release) debInfo(arch string) *nfpm.Info {
	return &nfpm.Info{
		Name: "hefring", Arch: arch, Platform: "linux", Version: debianVersion(r.Version), MTime: r.Time, DisableGlobbing: true,
		Section: "admin", Priority: "optional", Maintainer: maintainer, Description: description,
		Overridables: nfpm.Overridables{
			Depends: depends(), Recommends: recommends(), Suggests: suggests(),
			Deb: nfpm.Deb{Compression: "zstd:19"},
		},
	}
}

// staged writes what a package holds to a folder, because nfpm reads files.
func (r Release) staged(dir string, list []content) (nfpmfiles.Contents, error) {
	var staged nfpmfiles.Contents
	for i, c := range list {
		if c.packaged == "" {
			continue
		}
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			return nil, fmt.Errorf("stage %s: %w", c.packaged, err)
		}
		kind := nfpmfiles.TypeFile
		if c.conffile {
			kind = nfpmfiles.TypeConfig
		}
		staged = append(staged, &nfpmfiles.Content{
			Source: path, Destination: c.packaged, Type: kind,
			FileInfo: &nfpmfiles.ContentFileInfo{Owner: "root", Group: "root", Mode: c.mode, MTime: r.Time},
		})
	}
	return staged, nil
}
