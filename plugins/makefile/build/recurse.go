package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

// recurse builds the makefile inside of a project that stands in its place.
func (b *builder) recurse(ctx context.Context, l *level, e *entry) error {
	if !e.recurses {
		return nil
	}
	folder := filepath.Join(b.dst, filepath.FromSlash(e.path))
	name, err := findMakefile(folder, e.name)
	if err != nil || name == "" {
		return err
	}
	if len(l.above) >= maxLevels {
		return models.Errorf(models.Invalid, "Makefiles inside of projects are nested more than %d levels deep. Switch recursion off for it with do_recursion = 0.", maxLevels).
			Because(models.ReasonTooLarge)
	}
	plugins.Logf(b.env, "Found makefile: %s of %s", name, e.name)
	inner, err := b.innerLevel(ctx, l, e, folder, name)
	if err != nil {
		if code := models.CodeOf(err); code != "" {
			return models.Wrapf(code, err, "its makefile %s cannot be used: %s", name, models.Explain(err)).Because(models.ReasonOf(err))
		}
		return err
	}
	return b.level(ctx, inner)
}

// findMakefile gives the name of the makefile in a project's folder; "" when it
// has none.
func findMakefile(folder, project string) (string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", fmt.Errorf("look for makefile: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, name := range []string{project + ".make.yml", project + ".make", "drupal-org.make.yml", "drupal-org.make"} {
		info, err := root.Lstat(name)
		if err == nil && info.Mode().IsRegular() {
			return name, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EINVAL) {
			return "", fmt.Errorf("look for makefile: %w", err)
		}
	}
	return "", nil
}

// innerLevel reads the makefile inside of a project. Core belongs to the top
// makefile, and so do the projects that a makefile above names already.
func (b *builder) innerLevel(ctx context.Context, l *level, e *entry, folder, name string) (*level, error) {
	if b.job.Resolve == nil {
		return nil, fmt.Errorf("build %s: nothing resolves the makefile inside of it", e.name)
	}
	loader := innerLoader{folder, l.loader}
	m, err := spec.Load(ctx, loader, spec.Ref{Path: name})
	if err != nil {
		return nil, err
	}
	for _, w := range m.Warnings {
		plugins.Logf(b.env, "Warning: %s: %s", e.name, w)
	}
	inner := &level{
		makefile: m, loader: loader, folder: folder, contrib: e.contrib, taken: maps.Clone(l.taken),
		above: append(slices.Clip(l.above), e.name),
	}
	for _, above := range l.makefile.Projects {
		inner.taken[above.Name] = true
	}
	m.Projects = filter(m.Projects, func(p spec.Project) bool {
		return !inner.taken[p.Name] && p.Type != spec.TypeCore && p.Name != "drupal"
	})
	if err := b.job.Resolve(ctx, loader, m); err != nil {
		return nil, err
	}
	for _, p := range m.Projects {
		entry, err := b.project(inner, p)
		if err != nil {
			return nil, err
		}
		if entry.kind != spec.TypeCore {
			inner.entries = append(inner.entries, entry)
		}
	}
	for _, lib := range m.Libraries {
		inner.entries = append(inner.entries, b.library(inner, lib))
	}
	return inner, b.counted(inner)
}

func filter[T any](list []T, keep func(T) bool) []T {
	var kept []T
	for _, item := range list {
		if keep(item) {
			kept = append(kept, item)
		}
	}
	return kept
}

// innerLoader reads what a makefile inside of a project names: paths are those of
// the project, and never lead out of it.
type innerLoader struct {
	folder string
	outer  spec.Loader
}

// Read reads a file of the project, or what the outer loader reads.
func (i innerLoader) Read(ctx context.Context, ref spec.Ref, maxBytes int64) ([]byte, spec.Ref, error) {
	if ref.URL != "" || ref.Git != "" {
		return i.outer.Read(ctx, ref, maxBytes)
	}
	text, err := ReadFile(i.folder, ref.Path, maxBytes)
	return text, ref, err
}

// Commit asks the outer loader.
func (i innerLoader) Commit(ctx context.Context, d spec.Download) (string, error) {
	return i.outer.Commit(ctx, d)
}

// Local is false: what was downloaded names no files of this machine.
func (innerLoader) Local() bool { return false }

// ReadFile reads a regular file below folder; links that lead out of it are not
// followed. A file that is not there is a models.Error with the code NotFound.
func ReadFile(folder, name string, maxBytes int64) ([]byte, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	// Without O_NONBLOCK a pipe would hang us.
	file, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, models.Wrapf(models.NotFound, err, "There is no file %s that may be read. Correct the path.", name).Because(models.ReasonNotFound)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, models.Errorf(models.Invalid, "%s is no file. Correct the path.", name).Because(models.ReasonNotFound)
	}
	if info.Size() > maxBytes {
		return nil, models.Errorf(models.Invalid, "%s is larger than the %d bytes that are accepted.", name, maxBytes).Because(models.ReasonTooLarge)
	}
	return readAll(file, maxBytes, name)
}
