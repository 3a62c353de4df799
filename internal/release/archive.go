package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
)

// archive writes a tar.gz whose files lie in one folder and belong to root.
func (r Release) archive(path, arch string, list []content) error {
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression) // writes no time of its own
	if err != nil {
		return err
	}
	out := tar.NewWriter(zip)
	for _, c := range list {
		if c.archived == "" {
			continue
		}
		err := out.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: "hefring-" + r.Version + "-linux-" + arch + "/" + c.archived,
			Size: int64(len(c.data)), Mode: int64(c.mode | 0o044), ModTime: r.Time, Uname: "root", Gname: "root", Format: tar.FormatGNU,
		})
		if err != nil {
			return err
		}
		if _, err := out.Write(c.data); err != nil {
			return err
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o644) //nolint:gosec // for everybody
}

func gzipped(data []byte) ([]byte, error) {
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = zip.Write(data)
	err = errors.Join(err, zip.Close())
	return packed.Bytes(), err
}
