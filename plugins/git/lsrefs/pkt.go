package lsrefs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// kind is what a pkt-line is.
type kind int

const (
	data  kind = iota
	flush      // 0000
	delim      // 0001
	end        // 0002, the end of a response
)

// maxLine is the length of the longest pkt-line with its four digits; see
// gitprotocol-common, "pkt-line Format".
const maxLine = 65520

// errBroken is what malformed wraps: bytes that no server of git sends.
var errBroken = errors.New("malformed answer")

// errCut is an answer that ends in its middle.
var errCut = errors.New("the answer ends in its middle")

// broken says what is wrong, and never in the server's words: those may hold the
// credentials that it was sent.
func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBroken, fmt.Sprintf(format, args...))
}

// scanner reads pkt-lines.
type scanner struct {
	r    *bufio.Reader
	line []byte
}

func newScanner(r io.Reader) *scanner { return &scanner{r: bufio.NewReaderSize(r, 8<<10)} }

// next gives the next pkt-line. The bytes of a data line are valid until the next
// call and come without the line feed that may end them. An end before the line
// is complete is errCut; a wrong length is errBroken.
func (s *scanner) next() (kind, []byte, error) {
	length, err := s.length()
	if err != nil {
		return 0, nil, err
	}
	switch {
	case length == 0:
		return flush, nil, nil
	case length == 1:
		return delim, nil, nil
	case length == 2:
		return end, nil, nil
	case length < 4 || length > maxLine:
		return 0, nil, broken("a pkt-line of length %d", length)
	}
	length -= 4
	if cap(s.line) < length {
		s.line = make([]byte, max(length, 256))
	}
	s.line = s.line[:length]
	if _, err := io.ReadFull(s.r, s.line); err != nil {
		return 0, nil, cut(err)
	}
	return data, bytes.TrimSuffix(s.line, []byte("\n")), nil
}

// length reads the four hexadecimal digits before a pkt-line.
func (s *scanner) length() (int, error) {
	var digits [4]byte
	if _, err := io.ReadFull(s.r, digits[:]); err != nil {
		return 0, cut(err)
	}
	n := 0
	for _, digit := range digits {
		value := strings.IndexByte("0123456789abcdef", digit|0x20)
		if value < 0 || digit < '0' {
			return 0, broken("no length where a pkt-line begins")
		}
		n = n<<4 | value
	}
	return n, nil
}

// cut replaces the errors for an early end of the data; those of the connection
// stay.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// writeLine appends a data line.
func writeLine(b *bytes.Buffer, text string) { fmt.Fprintf(b, "%04x%s\n", len(text)+5, text) }
