package database

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
)

// Pipe lets one function write what the other reads, at the same time. The error
// of the one that failed first comes first.
func Pipe(ctx context.Context, produce func(context.Context, io.Writer) error, consume func(context.Context, io.Reader) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r, w := io.Pipe()
	produced := make(chan error, 1)
	var first atomic.Int32 // 1: the producer failed first, 2: the consumer
	go func() {
		err := produce(ctx, w)
		if err != nil {
			first.CompareAndSwap(0, 1)
			stop()
		}
		_ = w.CloseWithError(err)
		produced <- err
	}()
	consumed := consume(ctx, r)
	if consumed != nil {
		first.CompareAndSwap(0, 2)
		stop()
	}
	_ = r.CloseWithError(errors.Join(consumed, io.ErrClosedPipe))
	err := <-produced
	if first.Load() == 1 {
		return err
	}
	if consumed != nil {
		return consumed
	}
	return err
}

// Counter counts what goes through.
type Counter struct {
	W io.Writer
	N int64
}

func (c *Counter) Write(p []byte) (int, error) {
	n, err := c.W.Write(p)
	c.N += int64(n)
	return n, err
}

// Tail passes everything on and remembers the end.
type Tail struct {
	W    io.Writer
	last []byte
}

const tailBytes = 512

func (t *Tail) Write(p []byte) (int, error) {
	end := p[max(len(p)-tailBytes, 0):]
	t.last = append(t.last, end...)
	t.last = t.last[max(len(t.last)-tailBytes, 0):]
	return t.W.Write(p)
}

// EndsWith tells whether the last line that is not empty begins with mark.
func (t *Tail) EndsWith(mark string) bool {
	text := bytes.TrimSpace(t.last)
	return bytes.HasPrefix(text[bytes.LastIndexByte(text, '\n')+1:], []byte(mark))
}

// Source reads from R and remembers why that failed: what runs a program feeds it
// until then, and the program takes it for the end.
type Source struct {
	R   io.Reader
	Err error
}

func (s *Source) Read(p []byte) (int, error) {
	n, err := s.R.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.Err = err
	}
	return n, err
}
