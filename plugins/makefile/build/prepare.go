package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"hefring/internal/archive"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

// lockFile keeps Drush from updating a project.
const lockFile = ".drush-lock-update"

// prepare downloads an entry into a folder of its own and does with it what the
// makefile says, short of putting it in place.
func (b *builder) prepare(ctx context.Context, l *level, e *entry) (string, error) {
	folder, err := b.newFolder()
	if err != nil {
		return "", err
	}
	checkout, err := b.obtain(ctx, l, e, folder)
	if err != nil {
		return "", err
	}
	if !e.workingCopy || checkout == nil {
		if err := stripGit(folder); err != nil {
			return "", err
		}
	}
	if e.lock != "" {
		if err := writeFile(folder, lockFile, []byte(e.lock)); err != nil {
			return "", err
		}
	}
	if err := b.patchAll(ctx, l, e, folder); err != nil {
		return "", err
	}
	if err := b.translate(ctx, e, folder); err != nil {
		return "", err
	}
	if checkout != nil && b.wantsInfo(e) {
		if err := checkout.stamp(ctx, e, folder); err != nil {
			return "", err
		}
	}
	return folder, b.weigh(ctx, folder)
}

// obtain fills the folder with an entry's code; a checkout tells of the git
// repository that it came from.
func (b *builder) obtain(ctx context.Context, l *level, e *entry, folder string) (*checkout, error) {
	if e.download == nil && e.release == nil {
		return nil, fmt.Errorf("the plan does not say where %s comes from", e.name)
	}
	if e.download == nil {
		return nil, b.release(ctx, e, folder)
	}
	switch e.download.Type {
	case spec.DownloadGit:
		return b.git(ctx, e, folder)
	case spec.DownloadGet:
		return nil, b.get(ctx, l, e, folder)
	case spec.DownloadCopy:
		return nil, b.copy(ctx, l, e, folder)
	}
	return nil, models.Errorf(models.Invalid, "The download type %q is not supported. Use get, git or copy.", e.download.Type)
}

// release unpacks the archive of a feed's release.
func (b *builder) release(ctx context.Context, e *entry, folder string) error {
	sums := spec.Checksums{MD5: e.release.MD5}
	if e.md5 != "" && sums.MD5 != "" && e.md5 != sums.MD5 && !b.options.IgnoreChecksums {
		return models.Errorf(models.Invalid, "The makefile gives the MD5 %s for %s %s, and drupal.org %s. Correct the makefile, or remove md5 from it.",
			e.md5, e.name, e.release.Version, sums.MD5).Because(models.ReasonVerification)
	}
	sums.MD5 = cmp.Or(sums.MD5, e.md5)
	got, err := b.fetch(ctx, e.release.URL, sums)
	if err != nil {
		return err
	}
	defer got.close()
	kind, err := archive.DetectFile(got.file)
	if err != nil {
		return err
	}
	if kind == archive.None {
		return models.Errorf(models.Invalid, "What is at %s is no archive. Check that the release is still there.", e.release.URL).Because(models.ReasonMalformed)
	}
	b.took(models.SourcePackage{Name: e.name, Type: e.kind, Version: e.release.Version, URL: e.release.URL, Checksum: got.checksum()})
	return archive.Unpack(ctx, got.file, folder, archive.Options{Name: baseName(e.release.URL), Strip: true, Limits: b.options.Archives})
}

// get unpacks an archive, or takes a single file.
func (b *builder) get(ctx context.Context, l *level, e *entry, folder string) error {
	d := e.download
	got, err := b.wanted(ctx, l, d)
	if err != nil {
		return err
	}
	defer got.close()
	kind, err := archive.DetectFile(got.file)
	if err != nil {
		return err
	}
	b.took(models.SourcePackage{Name: e.name, Type: e.kind, Version: e.version, URL: d.Ref.URL, Checksum: got.checksum()})
	name := baseName(cmp.Or(d.Ref.URL, d.Ref.Path))
	if kind != archive.None {
		return archive.Unpack(ctx, got.file, folder, archive.Options{Name: name, Strip: true, Subtree: d.Subtree, Limits: b.options.Archives})
	}
	switch {
	case d.Subtree != "":
		return models.Errorf(models.Invalid, "It has a subtree, but %s is no archive. Remove the subtree, or correct the address.", d.URL)
	case e.kind == spec.TypeCore:
		return models.Errorf(models.Invalid, "%s is no archive, so it cannot be core. Correct the address.", d.URL)
	}
	name = cmp.Or(d.Filename, name)
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return models.Errorf(models.Invalid, "The address %s ends in no file name. Add download[filename].", d.URL)
	}
	return got.copyTo(filepath.Join(folder, name))
}

// baseName is the last part of an address without its query.
func baseName(address string) string {
	address, _, _ = strings.Cut(address, "?")
	_, after, found := strings.Cut(address, "://")
	if found {
		_, address, _ = strings.Cut(after, "/")
	}
	if name := path.Base("/" + address); name != "/" {
		return unescape(name)
	}
	return ""
}

// copy takes a folder beside the makefile.
func (b *builder) copy(ctx context.Context, l *level, e *entry, folder string) error {
	d := e.download
	if d.Ref.Git != "" {
		return b.copyFromGit(ctx, e, folder)
	}
	if l.folder == "" || d.Ref.Path == "" {
		return models.Errorf(models.Invalid, "A folder of one machine cannot be copied here: the makefile does not come from this machine. Use git or get.")
	}
	source, err := within(l.folder, d.Ref.Path)
	if err != nil {
		return models.Wrapf(models.Invalid, err, "There is no folder %s beside the makefile. Correct download[url].", d.URL).Because(models.ReasonNotFound)
	}
	b.took(models.SourcePackage{Name: e.name, Type: e.kind, Version: e.version, URL: d.URL})
	if err := tree.Copy(ctx, source, folder, tree.Options{Files: b.options.Tree.Files, Bytes: b.options.Tree.Bytes}); err != nil {
		return err
	}
	plugins.Logf(b.env, "%s copied from %s", e.name, d.URL)
	return nil
}

// within finds the folder at a relative path below another, and refuses to pass
// through links.
func within(base, rel string) (string, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	at := "."
	for part := range strings.SplitSeq(path.Clean(rel), "/") {
		at = path.Join(at, part)
		info, err := root.Lstat(at)
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			return "", fmt.Errorf("%s is no folder", at)
		}
	}
	return filepath.Join(base, filepath.FromSlash(at)), nil
}

// stripGit removes what git keeps, so that no program takes a project for a
// repository.
func stripGit(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("open project: %w", err)
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.EqualFold(entry.Name(), ".git") {
			return err
		}
		if err := root.RemoveAll(name); err != nil {
			return err
		}
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove .git: %w", err)
	}
	return nil
}

// writeFile writes one file of a project anew, and through no link.
func writeFile(folder, name string, text []byte) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("open project: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, tree.Explain(err, folder))
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return models.Wrapf(models.Invalid, err, "It holds a folder %s, where a file of that name belongs.", name)
	}
	if err := root.WriteFile(name, text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, tree.Explain(err, folder))
	}
	return nil
}

// prepareInstall makes what Drupal's installer wants to write to.
func (b *builder) prepareInstall() error {
	const dir = "sites/default"
	text, err := b.root.ReadFile(dir + "/default.settings.php")
	if errors.Is(err, fs.ErrNotExist) {
		plugins.Logf(b.env, "Note: core has no default.settings.php, so no settings.php was made")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read default settings: %w", err)
	}
	if err := b.root.MkdirAll(dir+"/files", 0o755); err != nil {
		return fmt.Errorf("make files folder: %w", err)
	}
	if err := writeFile(filepath.Join(b.dst, dir), "settings.php", text); err != nil {
		return err
	}
	return nil
}
