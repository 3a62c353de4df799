package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"unicode"

	"hefring/internal/tree"
)

// extractor writes entries below one folder and counts them.
type extractor struct {
	ctx     context.Context //nolint:containedctx // lives for one Unpack
	root    *os.Root
	options Options
	size    int64 // of the archive
	limit   int64 // of bytes, from the ratio or the limits
	files   int64
	bytes   int64
	folders map[string]bool // that were made; nothing ever takes their place
	buffer  []byte
}

func newExtractor(ctx context.Context, root *os.Root, o Options, size int64) *extractor {
	limit := o.Limits.Bytes
	if size < limit/o.Limits.Ratio {
		limit = min(limit, max(ratioFree, size*o.Limits.Ratio))
	}
	return &extractor{
		ctx: ctx, root: root, options: o, size: size, limit: limit,
		folders: map[string]bool{".": true}, buffer: make([]byte, 128<<10),
	}
}

// clean checks the name of an entry and brings it into its one form; "." is the
// top.
func (x *extractor) clean(name string) (string, error) {
	refuse := func(why string) (string, error) { return "", refused(x.options.Name, name, why) }
	switch {
	case name == "":
		return refuse("has no name")
	case len(name) > maxPath:
		return refuse(fmt.Sprintf("has a path of more than %d bytes", maxPath))
	case strings.HasPrefix(name, "/"):
		return refuse("is an absolute path")
	case strings.ContainsFunc(name, unicode.IsControl):
		return refuse("has control characters in its name")
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return refuse("leads out of the archive")
		case len(part) > maxName:
			return refuse(fmt.Sprintf("has a name of more than %d bytes", maxName))
		case part != "" && part != ".":
			depth++
		}
	}
	if depth > maxDepth {
		return refuse(fmt.Sprintf("lies more than %d folders deep", maxDepth))
	}
	return path.Clean(name), nil
}

// count takes one more entry.
func (x *extractor) count() error {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	if x.files++; x.files > x.options.Limits.Files {
		return tooLarge(x.options.Name, "it holds more than %d files", x.options.Limits.Files)
	}
	return nil
}

// grow takes n more bytes.
func (x *extractor) grow(n int64) error {
	if x.bytes += n; x.bytes <= x.limit {
		return nil
	}
	if x.limit < x.options.Limits.Bytes {
		return tooLarge(x.options.Name, "its %s unfold into more than %s, as the content of a website does not", tree.Size(x.size), tree.Size(x.limit))
	}
	return tooLarge(x.options.Name, "it unfolds into more than %s", tree.Size(x.limit))
}

// folder makes a folder and those above it.
func (x *extractor) folder(name string) error {
	if x.folders[name] {
		return nil
	}
	if err := x.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := x.count(); err != nil {
		return err
	}
	err := x.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return refused(x.options.Name, name, "is a folder and something else at once")
	}
	if err != nil {
		return x.writing(err)
	}
	x.folders[name] = true
	return nil
}

// place makes room for an entry that is no folder: an earlier one of the same
// name gives way, as with tar.
func (x *extractor) place(name string) error {
	if name == "." || x.folders[name] {
		return refused(x.options.Name, name, "is a folder and something else at once")
	}
	if err := x.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := x.count(); err != nil {
		return err
	}
	if err := x.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return x.writing(err)
	}
	return nil
}

// file writes one file. What reading content fails with is the archive's fault.
func (x *extractor) file(name string, executable bool, content io.Reader) (err error) {
	if err := x.place(name); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	out, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return x.writing(err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Chmod(mode); err != nil { // whatever the umask
		return x.writing(err)
	}
	return x.copy(out, name, content)
}

func (x *extractor) copy(out io.Writer, name string, content io.Reader) error {
	var written int64
	for {
		if x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		n, readErr := content.Read(x.buffer)
		if written += int64(n); written > x.options.Limits.FileBytes {
			return tooLarge(x.options.Name, "its file %q is larger than %s", shorten(name), tree.Size(x.options.Limits.FileBytes))
		}
		if err := x.grow(int64(n)); err != nil {
			return err
		}
		if _, err := out.Write(x.buffer[:n]); err != nil {
			return x.writing(err)
		}
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		if readErr != nil {
			return damaged(x.options.Name, readErr)
		}
	}
}

// symlink makes a symbolic link; one that leaves the archive is refused at once.
func (x *extractor) symlink(name, target string) error {
	if target == "" || len(target) > maxTarget || strings.ContainsRune(target, 0) {
		return refused(x.options.Name, name, "is a link to nowhere")
	}
	to := path.Join(path.Dir(name), target)
	if path.IsAbs(target) || to == ".." || strings.HasPrefix(to, "../") {
		return refused(x.options.Name, name, fmt.Sprintf("is a link out of the archive, to %q", shorten(target)))
	}
	if err := x.place(name); err != nil {
		return err
	}
	if err := x.root.Symlink(target, name); err != nil {
		return x.writing(err)
	}
	return nil
}

// hardlink copies the file that the entry is another name of: two names of one
// file would change together.
func (x *extractor) hardlink(name, target string) error {
	target, err := x.clean(target)
	if err != nil {
		return err
	}
	info, err := x.root.Lstat(target)
	if err != nil || !info.Mode().IsRegular() {
		return refused(x.options.Name, name, fmt.Sprintf("is a link to %q, which is no file of the archive", shorten(target)))
	}
	if name == target {
		return nil
	}
	in, err := x.root.Open(target)
	if err != nil {
		return x.writing(err)
	}
	defer func() { _ = in.Close() }()
	return x.file(name, info.Mode()&0o111 != 0, in)
}

func (x *extractor) writing(err error) error {
	return fmt.Errorf("unpack archive: %w", tree.Explain(err, x.root.Name()))
}
