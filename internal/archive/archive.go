// Package archive unpacks archives that somebody else packed. The kind is told
// by the first bytes, never by the name; nothing is written outside of the
// target folder, and an archive that is damaged, unfolds into too much or tries
// to reach out ends in a models.Error that names it.
package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"hefring/internal/tree"
	"hefring/models"
)

// Limits bound what an archive may unfold into. Zero values mean the package's
// defaults.
type Limits struct {
	ArchiveBytes int64 // of the archive itself
	Bytes        int64 // of all files together
	FileBytes    int64 // of any one file
	Files        int64 // files, folders and links
	Ratio        int64 // bytes unpacked for each byte of the archive, once they are more than a few
}

// What Limits mean where they are zero.
const (
	DefaultArchiveBytes = 2 << 30
	DefaultBytes        = 4 << 30
	DefaultFileBytes    = 2 << 30
	DefaultFiles        = 200_000
	DefaultRatio        = 200 // text shrinks to a twentieth; what shrinks far more is a bomb
)

const (
	ratioFree  = 64 << 20 // bytes that even a tiny archive may unfold into
	headBytes  = 2 << 10  // of a tar stream that one entry may need beside its content
	maxDepth   = 100      // folders inside folders; internal/tree takes a few more
	maxPath    = 2048     // bytes of a path
	maxName    = 255      // bytes of one part of it, as file systems have it
	maxTarget  = 4096     // bytes of a symbolic link
	maxListing = 256 << 20
)

func (l Limits) withDefaults() Limits {
	l.ArchiveBytes = cmp.Or(l.ArchiveBytes, DefaultArchiveBytes)
	l.Bytes = cmp.Or(l.Bytes, DefaultBytes)
	l.FileBytes = cmp.Or(l.FileBytes, DefaultFileBytes)
	l.Files = cmp.Or(l.Files, DefaultFiles)
	l.Ratio = cmp.Or(l.Ratio, DefaultRatio)
	return l
}

// Options say how an archive is unpacked.
type Options struct {
	Name string // what messages call the archive, and a single compressed file after unpacking
	// Strip leaves out the top-level folder when there is nothing beside it.
	Strip bool
	// Subtree is the only folder that is wanted, seen from the top of the archive
	// before anything is stripped; "" for all.
	Subtree string
	Limits  Limits
}

// Unpack unpacks the archive, which is read from its beginning, into dst, an
// existing folder that holds nothing of the same names. Files get the mode 0644
// or 0755, folders 0755; owners and times are not kept. After an error dst may
// hold anything. What is wrong with the archive is a models.Error.
func Unpack(ctx context.Context, file *os.File, dst string, o Options) (err error) {
	defer func() {
		// The decompressors are the work of others, and read what is hostile.
		if p := recover(); p != nil {
			err = damaged(o.Name, fmt.Errorf("reader gave up: %v", p))
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at archive: %w", err)
	}
	o.Limits = o.Limits.withDefaults()
	if info.Size() > o.Limits.ArchiveBytes {
		return tooLarge(o.Name, "it is %s itself, and at most %s are taken", tree.Size(info.Size()), tree.Size(o.Limits.ArchiveBytes))
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return fmt.Errorf("open target folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	stage, err := os.MkdirTemp(dst, ".unpacking-")
	if err != nil {
		return fmt.Errorf("make folder for unpacking: %w", tree.Explain(err, dst))
	}
	stage = filepath.Base(stage)
	if err := extract(ctx, file, info.Size(), root, stage, o); err != nil {
		return errors.Join(err, root.RemoveAll(stage))
	}
	if err := arrange(root, stage, o); err != nil {
		return errors.Join(err, root.RemoveAll(stage))
	}
	if err := root.RemoveAll(stage); err != nil {
		return fmt.Errorf("remove folder for unpacking: %w", err)
	}
	return inspect(ctx, dst, o)
}

func extract(ctx context.Context, file *os.File, size int64, root *os.Root, stage string, o Options) error {
	into, err := root.OpenRoot(stage)
	if err != nil {
		return fmt.Errorf("open folder for unpacking: %w", err)
	}
	defer func() { _ = into.Close() }()
	x := newExtractor(ctx, into, o, size)
	kind, err := DetectFile(file)
	if err != nil {
		return err
	}
	if kind == Zip {
		err = x.zip(file, size)
	} else {
		err = x.stream(file, kind)
	}
	if err == nil && x.files == 0 {
		return malformed(o.Name, nil, "holds no files. Check its address.")
	}
	return err
}

// arrange moves what is wanted from the stage to the top.
func arrange(root *os.Root, stage string, o Options) error {
	from, err := wanted(root, stage, o)
	if err != nil {
		return err
	}
	names, err := list(root, from)
	if err != nil {
		return fmt.Errorf("list unpacked files: %w", err)
	}
	for _, name := range names {
		if err := root.Rename(path.Join(from, name), name); err != nil {
			return fmt.Errorf("move unpacked files: %w", err)
		}
	}
	return nil
}

// wanted gives the folder whose content is kept.
func wanted(root *os.Root, stage string, o Options) (string, error) {
	if o.Subtree != "" {
		return subtree(root, stage, o)
	}
	names, err := list(root, stage)
	if err != nil {
		return "", fmt.Errorf("list unpacked files: %w", err)
	}
	if !o.Strip || len(names) != 1 {
		return stage, nil
	}
	only := path.Join(stage, names[0])
	info, err := root.Lstat(only)
	if err != nil {
		return "", fmt.Errorf("look at unpacked files: %w", err)
	}
	if !info.IsDir() {
		return stage, nil
	}
	return only, nil
}

func subtree(root *os.Root, stage string, o Options) (string, error) {
	at := stage
	for part := range strings.SplitSeq(path.Clean(o.Subtree), "/") {
		if part == "." {
			continue
		}
		if part == "" || part == ".." {
			return "", models.Errorf(models.Invalid, "The subtree %q of %s must be a relative path inside of the archive, without “..”.", shorten(o.Subtree), o.Name)
		}
		info, err := root.Lstat(path.Join(at, part))
		if err != nil || !info.IsDir() {
			return "", noSubtree(root, at, stage, o)
		}
		at = path.Join(at, part)
	}
	return at, nil
}

func noSubtree(root *os.Root, at, stage string, o Options) error {
	names, err := list(root, at)
	if err != nil {
		return fmt.Errorf("list unpacked files: %w", err)
	}
	more := ""
	if len(names) > 8 {
		names, more = names[:8], ", …"
	}
	place := strings.TrimPrefix(strings.TrimPrefix(at, stage), "/")
	return models.Errorf(models.Invalid, "%s has no folder %q. Correct the subtree: %q holds %q%s.", o.Name, shorten(o.Subtree), "/"+place, names, more).
		Because(models.ReasonNotFound)
}

func list(root *os.Root, dir string) ([]string, error) {
	file, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return file.Readdirnames(-1)
}

// inspect looks once more at the whole: only now it is known where every link
// leads.
func inspect(ctx context.Context, dst string, o Options) error {
	err := tree.Walk(ctx, dst, tree.Options{Files: o.Limits.Files + 1, Bytes: o.Limits.Bytes}, func(tree.Entry) error { return nil })
	if models.CodeOf(err) != "" {
		return malformed(o.Name, err, "is not unpacked: %s", models.Explain(err))
	}
	return err
}

// Open opens an archive on this machine for Unpack and Detect.
func Open(name string) (*os.File, error) {
	file, err := os.Open(name) //nolint:gosec // the caller's own download
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return file, nil
}

func shorten(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}

func malformed(name string, cause error, format string, args ...any) error {
	return models.Wrapf(models.Invalid, cause, "The archive %s %s", name, fmt.Sprintf(format, args...)).Because(models.ReasonMalformed)
}

func refused(name, entry, why string) error {
	return malformed(name, nil, "is not unpacked: %q %s. Pack it anew without that entry, or use another archive.", shorten(entry), why)
}

func tooLarge(name, format string, args ...any) error {
	return models.Errorf(models.Invalid, "The archive %s is too large: %s. Use a smaller archive.", name, fmt.Sprintf(format, args...)).
		Because(models.ReasonTooLarge)
}

// damaged explains a failure to read the archive's content.
func damaged(name string, err error) error {
	if _, ok := errors.AsType[*models.Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return malformed(name, err, "ends too early: it was cut short. Download it again; if that does not help, it is incomplete at its source.")
	}
	return malformed(name, err, "is damaged. Download it again; if that does not help, it is damaged at its source.")
}
