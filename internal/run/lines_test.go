package run_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"hefring/internal/run"
)

func TestLines_Cases(t *testing.T) {
	long := strings.Repeat("x", 8<<10)
	for name, test := range map[string]struct {
		in   string
		want []string
	}{
		"empty":             {"", nil},
		"plain":             {"a\nb\n", []string{"a", "b"}},
		"unfinished":        {"a\nb", []string{"a", "b"}},
		"empty lines":       {"\n\na\n", []string{"", "", "a"}},
		"windows":           {"a\r\nb\r\n", []string{"a", "b"}},
		"progress":          {"10%\r50%\r100%, done.\nnext\n", []string{"100%, done.", "next"}},
		"progress, ended":   {"10%\r50%\r", []string{"50%"}},
		"only returns":      {"\r\r\n", []string{""}},
		"colours":           {"\x1b[1;31mred\x1b[0m \x1b[Kx\n", []string{"red x"}},
		"title":             {"\x1b]0;evil\x07a\x1b]8;;http://x\x1b\\b\n", []string{"ab"}},
		"lone escape":       {"a\x1b\n", []string{"a"}},
		"open sequence":     {"a\x1b[31\nb\n", []string{"a", "b"}},
		"charset":           {"\x1b(Ba\x1b=b\x1b7c\n", []string{"abc"}},
		"control":           {"a\x00b\x08c\x07d\x7fe\u0085f\n", []string{"abcdef"}},
		"tab":               {"a\tb\n", []string{"a\tb"}},
		"direction":         {"a\u202eb\u2066c\u200fd\ufeffe\u2028f\n", []string{"abcdef"}},
		"invalid":           {"a\xffb\xc3\n", []string{"a\uFFFDb\uFFFD"}},
		"text":              {"Grüße 日本 🚀\n", []string{"Grüße 日本 🚀"}},
		"just fits":         {long + "\n", []string{long}},
		"long":              {long + "yz\nb\n", []string{long + " … (line cut)", "b"}},
		"long, then redraw": {long + "yz\rshort\n", []string{"short"}},
		"cut in a rune":     {long[1:] + "üb\n", []string{long[1:] + " … (line cut)"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 3, len(test.in) + 1} {
				var got []string
				w := run.Lines(func(line string) { got = append(got, line) })
				for chunk := range slices.Chunk([]byte(test.in), step) {
					if n, err := w.Write(chunk); n != len(chunk) || err != nil {
						t.Fatalf("wrote %d, %v", n, err)
					}
				}
				_ = w.Close()
				_ = w.Close()
				if !slices.Equal(got, test.want) {
					t.Errorf("in steps of %d: got %.100q, want %.100q", step, got, test.want)
				}
			}
		})
	}
}

func TestLines_Concurrent(t *testing.T) {
	n := 0
	w := run.Lines(func(line string) {
		n++
		if line != "line" {
			t.Errorf("got %q", line)
		}
	})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				_, _ = fmt.Fprintln(w, "line")
			}
		})
	}
	group.Wait()
	if n != 800 {
		t.Errorf("got %d lines", n)
	}
}

func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a\nb", "\x1b[31mx\r\n", "\x1b]0;x\x07", "\xff\xfe", "10%\r20%\n", "\x1b", "\x1bP\x1b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		w := run.Lines(func(line string) {
			if !utf8.ValidString(line) || len(line) > 3*8<<10+100 ||
				strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
				t.Fatalf("harmful line %q", line)
			}
		})
		_, _ = w.Write(in)
		_ = w.Close()
	})
}
