package tree

import (
	"compress/gzip"
	"io"
)

// Pieces cuts a stream of unknown length into pieces of one size; the last may be
// shorter.
type Pieces struct {
	buffer []byte
	write  func(piece []byte) error
}

// NewPieces gives each piece of so many bytes to write, which must not keep it.
func NewPieces(size int, write func(piece []byte) error) *Pieces {
	return &Pieces{buffer: make([]byte, 0, size), write: write}
}

// Write takes a part of the stream.
func (p *Pieces) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		n := min(len(data), cap(p.buffer)-len(p.buffer))
		p.buffer = append(p.buffer, data[:n]...)
		data, written = data[n:], written+n
		if len(p.buffer) == cap(p.buffer) {
			if err := p.Flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// Flush gives away what is left, if anything is.
func (p *Pieces) Flush() error {
	if len(p.buffer) == 0 {
		return nil
	}
	err := p.write(p.buffer)
	p.buffer = p.buffer[:0]
	return err
}

// maxTrailer is more than follows an archive's end, in bytes.
const maxTrailer = 1 << 20

// Drain reads what follows an archive's end in a packed stream, so that a stream that
// was cut off is noticed by its missing checksum. More than belongs there is
// gzip.ErrHeader.
func Drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxTrailer))
	if err == nil && n == maxTrailer {
		return gzip.ErrHeader
	}
	return err
}
