package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Kind is a format of archives.
type Kind int

// Kinds. Gzip, Bzip2 and XZ hold a tar archive or one file.
const (
	None Kind = iota // no archive that Unpack knows
	Tar
	Gzip
	Bzip2
	XZ
	Zip
)

// block is the unit of tar, and what Detect wants to see.
const block = 512

// Detect tells the kind from the first 512 bytes of a file, or all if it has
// fewer.
func Detect(head []byte) Kind {
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return Gzip
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return XZ
	case len(head) > 9 && bytes.HasPrefix(head, []byte("BZh")) && head[3] >= '1' && head[3] <= '9' &&
		(bytes.HasPrefix(head[4:], []byte("1AY&SY")) || bytes.HasPrefix(head[4:], []byte("\x17rE8P\x90"))):
		return Bzip2
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip
	case isTar(head):
		return Tar
	}
	return None
}

// isTar checks the sum that every tar header of every dialect carries.
func isTar(head []byte) bool {
	if len(head) < block {
		return false
	}
	field := strings.Trim(string(head[148:156]), " \x00")
	want, err := strconv.ParseInt(field, 8, 64)
	if err != nil {
		return false
	}
	var unsigned, signed int64
	for i, b := range head[:block] {
		if i >= 148 && i < 156 {
			b = ' '
		}
		unsigned += int64(b)
		signed += int64(int8(b)) // as old programs did
	}
	return want == unsigned || want == signed
}

// DetectFile tells the kind of an open file, and leaves it at its beginning.
func DetectFile(file *os.File) (Kind, error) {
	head := make([]byte, block)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return None, fmt.Errorf("read archive: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return None, fmt.Errorf("read archive: %w", err)
	}
	return Detect(head[:n]), nil
}
