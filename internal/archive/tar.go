package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/mikelolasagasti/xz"

	"hefring/internal/tree"
)

// stream unpacks a tar archive, compressed or not, or a single compressed file.
func (x *extractor) stream(file io.Reader, kind Kind) error {
	plain, err := decompress(file, kind)
	if err != nil {
		return damaged(x.options.Name, err)
	}
	if plain == nil {
		return malformed(x.options.Name, nil, "is none that Hefring can unpack. Use one of tar, tar.gz, tar.bz2, tar.xz or zip.")
	}
	metered := &meter{x: x, r: plain, left: x.limit + headBytes*x.options.Limits.Files}
	in := bufio.NewReaderSize(metered, 64<<10)
	head, err := in.Peek(block)
	if err != nil && !errors.Is(err, io.EOF) {
		return damaged(x.options.Name, err)
	}
	if !isTar(head) && !isEmptyTar(head) {
		return x.file(single(x.options.Name), false, in)
	}
	if err := x.tar(tar.NewReader(in)); err != nil {
		return err
	}
	return x.rest(in)
}

func decompress(file io.Reader, kind Kind) (io.Reader, error) {
	switch kind {
	case Tar:
		return file, nil
	case Gzip:
		return gunzip(file)
	case Bzip2:
		return bzip2.NewReader(bufio.NewReader(file)), nil
	case XZ:
		return xz.NewReader(bufio.NewReader(file), xz.DefaultDictMax)
	case None, Zip:
	}
	return nil, nil //nolint:nilnil // no such kind of stream
}

// members reads the members of a gzip file one after the other, and ends where
// something else was appended, as gzip itself does.
type members struct {
	in     *bufio.Reader
	member *gzip.Reader
}

func gunzip(file io.Reader) (*members, error) {
	in := bufio.NewReader(file)
	member, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	member.Multistream(false)
	return &members{in, member}, nil
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.member.Read(p)
		if n > 0 && errors.Is(err, io.EOF) {
			return n, nil // its end comes with the next call
		}
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		if next, _ := m.in.Peek(2); Detect(next) != Gzip {
			return 0, io.EOF
		}
		if err := m.member.Reset(m.in); err != nil {
			return 0, err
		}
		m.member.Multistream(false)
	}
}

func isEmptyTar(head []byte) bool {
	return len(head) == block && bytes.Count(head, []byte{0}) == block
}

// single names the only file of an archive that is no tar.
func single(name string) string {
	name = path.Base(name)
	for _, end := range []string{".gz", ".bz2", ".xz"} {
		if short, ok := strings.CutSuffix(name, end); ok && short != "" {
			return short
		}
	}
	return name + ".unpacked"
}

// meter ends a stream that becomes too long, whatever its entries say.
type meter struct {
	x    *extractor
	r    io.Reader
	left int64
}

func (m *meter) Read(p []byte) (int, error) {
	if m.x.ctx.Err() != nil {
		return 0, context.Cause(m.x.ctx)
	}
	n, err := m.r.Read(p)
	if m.left -= int64(n); m.left < 0 {
		return 0, tooLarge(m.x.options.Name, "its %s unfold into far more than a website has", tree.Size(m.x.size))
	}
	return n, err
}

// rest reads to the end of the stream, where the checksum is. Padding is nobody's
// harm.
func (x *extractor) rest(in io.Reader) error {
	_, err := io.Copy(io.Discard, in)
	if err != nil {
		return damaged(x.options.Name, err)
	}
	return nil
}

func (x *extractor) tar(in *tar.Reader) error {
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && header == nil {
			return damaged(x.options.Name, err)
		}
		if err := x.tarEntry(header, in); err != nil {
			return err
		}
	}
}

func (x *extractor) tarEntry(header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return x.count() // git writes the commit there
	}
	name, err := x.clean(header.Name)
	if err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return x.folder(name)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return x.file(name, header.Mode&0o111 != 0, content)
	case tar.TypeSymlink:
		return x.symlink(name, header.Linkname)
	case tar.TypeLink:
		return x.hardlink(name, header.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return refused(x.options.Name, name, "is a device or pipe")
	}
	return refused(x.options.Name, name, fmt.Sprintf("is of the unknown kind %q", header.Typeflag))
}
