package run

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxLine is the length in bytes at which a line is cut.
const maxLine = 8 << 10

// Lines gives a writer that calls line for every line written to it, without
// its end. Lines longer than 8 KiB are cut and say so; of a progress line that
// redraws itself with carriage returns only the last state is passed on; escape
// sequences, control characters and invalid UTF-8 are made harmless. Close
// passes on an unfinished last line. The writer may be used by several
// goroutines; line is called by one at a time.
func Lines(line func(string)) io.WriteCloser {
	return &lineWriter{line: line}
}

type lineWriter struct {
	mu     sync.Mutex
	line   func(string)
	buf    []byte
	cut    bool // buf is full, the rest of the line is dropped
	redraw bool // a carriage return came: what follows replaces the line
}

// Write never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0; {
		i := bytes.IndexAny(rest, "\r\n")
		if i < 0 {
			w.add(rest)
			break
		}
		w.add(rest[:i])
		if rest[i] == '\n' {
			w.flush()
		} else {
			w.redraw = true
		}
		rest = rest[i+1:]
	}
	return len(p), nil
}

// Close passes on a last line that has no end. It never fails.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) > 0 {
		w.flush()
	}
	return nil
}

func (w *lineWriter) add(text []byte) {
	if len(text) == 0 {
		return
	}
	if w.redraw {
		w.buf, w.cut, w.redraw = w.buf[:0], false, false
	}
	if room := maxLine - len(w.buf); len(text) > room {
		text, w.cut = text[:room], true
	}
	w.buf = append(w.buf, text...)
}

func (w *lineWriter) flush() {
	text := w.buf
	if w.cut {
		text = withoutPartialRune(text)
	}
	clean := Clean(string(text))
	if w.cut {
		clean += " … (line cut)"
	}
	w.buf, w.cut, w.redraw = w.buf[:0], false, false
	w.line(clean)
}

func withoutPartialRune(text []byte) []byte {
	for range utf8.UTFMax - 1 {
		if r, size := utf8.DecodeLastRune(text); r != utf8.RuneError || size != 1 {
			break
		}
		text = text[:len(text)-1]
	}
	return text
}

// Clean makes one line of foreign text harmless: terminal escape sequences and
// control characters (also those that change the direction of writing) are
// removed, tabs stay, invalid UTF-8 becomes U+FFFD.
func Clean(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	var b strings.Builder
	for len(text) > 0 {
		if n := escapeLen(text); n > 0 {
			text = text[n:]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		if !harmful(r) {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}

func harmful(r rune) bool {
	switch {
	case r == '\t':
		return false
	case r < ' ', r >= 0x7f && r < 0xa0: // C0, DEL, C1
		return true
	case r == 0x2028, r == 0x2029, r == 0xfeff: // line and paragraph separators, byte order mark
		return true
	case r == 0x200e, r == 0x200f, r == 0x061c, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // direction
		return true
	}
	return false
}

// escapeLen is the length of the escape sequence that text begins with, 0 for none.
func escapeLen(text string) int {
	if text[0] != 0x1b {
		return 0
	}
	if len(text) == 1 {
		return 1
	}
	switch text[1] {
	case '[': // CSI: parameters, then one final byte
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1
			}
			if text[i] < 0x20 || text[i] > 0x3f { // not a sequence: drop only its start
				return 2
			}
		}
		return len(text)
	case ']', 'P', 'X', '^', '_': // strings, ended by BEL or ESC \
		for i := 2; i < len(text); i++ {
			if text[i] == 0x07 {
				return i + 1
			}
			if text[i] == 0x1b {
				return min(i+2, len(text))
			}
		}
		return len(text)
	case '(', ')', '*', '+', '#', ' ', '%':
		return min(3, len(text))
	}
	if text[1] >= 0x30 && text[1] <= 0x7e {
		return 2
	}
	return 1
}
