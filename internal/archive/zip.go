package archive

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"hefring/models"
)

// budget lets only so many bytes through: the list of a zip archive's entries
// is held in memory, and may be nearly as large as the archive.
type budget struct {
	r    io.ReaderAt
	name string
	left int64 // negative: no limit
	on   bool
}

func (b *budget) ReadAt(p []byte, at int64) (int, error) {
	if b.on {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, tooLarge(b.name, "it lists too many files")
		}
	}
	return b.r.ReadAt(p, at)
}

func (x *extractor) zip(file io.ReaderAt, size int64) error {
	// An entry of the list takes at least 46 bytes, and some 130 with its name.
	source := &budget{r: file, name: x.options.Name, left: min(maxListing, 1<<20+x.options.Limits.Files*150), on: true}
	archive, err := zip.NewReader(source, size)
	if err != nil && archive == nil {
		return x.unzipError(err)
	}
	source.on = false
	for _, entry := range archive.File {
		if err := x.zipEntry(entry); err != nil {
			return err
		}
	}
	return nil
}

func (x *extractor) zipEntry(entry *zip.File) error {
	given := entry.Name
	if fromDOS := entry.CreatorVersion>>8 == 0; fromDOS {
		given = strings.ReplaceAll(given, `\`, "/")
	}
	name, err := x.clean(given)
	if err != nil {
		return err
	}
	if entry.Flags&1 != 0 {
		return malformed(x.options.Name, nil, "is protected with a password, which Hefring does not have. Use one without.")
	}
	mode := entry.Mode()
	switch {
	case mode.IsDir(), strings.HasSuffix(given, "/"):
		return x.folder(name)
	case mode&fs.ModeSymlink != 0:
		return x.zipLink(name, entry)
	case !mode.IsRegular():
		return refused(x.options.Name, name, "is a device, socket or pipe")
	}
	content, err := entry.Open()
	if err != nil {
		return x.unzipError(err)
	}
	defer func() { _ = content.Close() }()
	return x.file(name, mode&0o111 != 0, content)
}

func (x *extractor) zipLink(name string, entry *zip.File) error {
	content, err := entry.Open()
	if err != nil {
		return x.unzipError(err)
	}
	defer func() { _ = content.Close() }()
	target, err := io.ReadAll(io.LimitReader(content, maxTarget+1))
	if err != nil {
		return damaged(x.options.Name, err)
	}
	return x.symlink(name, string(target))
}

func (x *extractor) unzipError(err error) error {
	if errors.Is(err, zip.ErrAlgorithm) {
		return malformed(x.options.Name, err, "is compressed in a way that Hefring does not read. Pack it with the usual deflate.")
	}
	if errors.Is(err, zip.ErrFormat) {
		return models.Wrapf(models.Invalid, fmt.Errorf("read list of files: %w", err),
			"The archive %s has no list of its files: it was cut short or is damaged. Download it again.", x.options.Name).Because(models.ReasonMalformed)
	}
	return damaged(x.options.Name, err)
}
