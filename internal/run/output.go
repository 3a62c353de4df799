package run

import (
	"io"
	"sync"
)

// output collects what a program writes and passes it on as it comes.
type output struct {
	writing sync.Mutex // held while a caller's writer has a chunk

	mu       sync.Mutex
	stdout   []byte
	limit    int64
	stderr   []byte
	writeErr error
	closed   bool // Run has answered; what comes now is dropped
}

// copyStdout drains r until its end. overflow is called once when more came
// than is kept and nobody takes it.
func (o *output) copyStdout(r io.Reader, w io.Writer, overflow func()) {
	o.copy(r, w, func(chunk []byte) {
		room := o.limit - int64(len(o.stdout))
		if int64(len(chunk)) <= room {
			o.stdout = append(o.stdout, chunk...)
			return
		}
		o.stdout = append(o.stdout, chunk[:room]...)
		if w == nil {
			overflow()
		}
	})
}

func (o *output) copyStderr(r io.Reader, w io.Writer) {
	o.copy(r, w, func(chunk []byte) {
		o.stderr = append(o.stderr, chunk...)
		if over := len(o.stderr) - stderrBytes; over > 0 {
			o.stderr = append(o.stderr[:0], o.stderr[over:]...)
		}
	})
}

func (o *output) copy(r io.Reader, w io.Writer, keep func([]byte)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			o.keep(buf[:n], keep)
			o.pass(buf[:n], w)
		}
		if err != nil {
			return
		}
	}
}

func (o *output) keep(chunk []byte, keep func([]byte)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		keep(chunk)
	}
}

func (o *output) pass(chunk []byte, w io.Writer) {
	if w == nil {
		return
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	if o.done() {
		return
	}
	if _, err := w.Write(chunk); err != nil {
		o.mu.Lock()
		o.writeErr = err
		o.mu.Unlock()
	}
}

func (o *output) done() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed || o.writeErr != nil
}

// finish ends the collecting.
func (o *output) finish() (stdout, stderr []byte, writeErr error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.stdout, o.stderr, o.writeErr
}
