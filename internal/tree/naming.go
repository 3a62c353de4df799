package tree

import (
	"crypto/sha1" //nolint:gosec // git's own name for content
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Naming is what the content of a file is called beside its line's SHA-256.
type Naming int

// A git repository names content by the one hash or the other.
const (
	Nameless Naming = iota
	GitSHA1
	GitSHA256
)

var errOtherSize = errors.New("the file has another size than it had")

// hash begins the hash by which git knows content of that size; nil for Nameless
// (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).
func (n Naming) hash(size int64) hash.Hash {
	var h hash.Hash
	switch n {
	case GitSHA1:
		h = sha1.New() //nolint:gosec // the content is compared by SHA-256 as well
	case GitSHA256:
		h = sha256.New()
	case Nameless:
		return nil
	}
	_, _ = fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// fits tells whether a name, in hex, is one of this kind.
func (n Naming) fits(name string) bool {
	switch n {
	case GitSHA1:
		return len(name) == 2*sha1.Size
	case GitSHA256:
		return len(name) == 2*sha256.Size
	case Nameless:
	}
	return true
}

// sums reads all of r, which should have that size, once: it gives the SHA-256
// and the name of the content, both in hex.
func sums(r io.Reader, size int64, naming Naming, buffer []byte) (sum, name string, err error) {
	first, second := sha256.New(), naming.hash(size)
	to := io.Writer(first)
	if second != nil {
		to = io.MultiWriter(first, second)
	}
	// The struct hides ReadFrom and WriteTo, which would ignore the buffer.
	n, err := io.CopyBuffer(to, struct{ io.Reader }{r}, buffer)
	if err == nil && n != size {
		err = errOtherSize
	}
	if err != nil {
		return "", "", err
	}
	if second != nil {
		name = hex.EncodeToString(second.Sum(nil))
	}
	return hex.EncodeToString(first.Sum(nil)), name, nil
}
