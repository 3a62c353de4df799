package drupal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"hefring/internal/run"
)

// maxStarts bounds how many lines are tried as the beginning of an answer.
const maxStarts = 2000

// findJSON finds the one JSON object or array that stands on lines of its own,
// whatever PHP prints before and after it. It is nil when the text is blank;
// text without a value, or with several, is an error.
func findJSON(text []byte) (json.RawMessage, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var found json.RawMessage
	for rest, starts := text, 0; len(rest) > 0; {
		value, length := leadingJSON(rest)
		if value == nil {
			if startsValue(rest) {
				starts++
			}
			if starts > maxStarts {
				return nil, errors.New("too much that is not JSON")
			}
			rest = nextLine(rest)
			continue
		}
		if found != nil {
			return nil, errors.New("more than one JSON value")
		}
		found, rest = value, rest[length:]
	}
	if found == nil {
		return nil, errors.New("no JSON value")
	}
	return found, nil
}

func startsValue(text []byte) bool { return len(text) > 0 && (text[0] == '{' || text[0] == '[') }

// leadingJSON gives the value that text begins with if nothing else stands on
// its last line.
func leadingJSON(text []byte) (json.RawMessage, int) {
	if !startsValue(text) {
		return nil, 0
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	var value json.RawMessage
	if err := decoder.Decode(&value); err != nil {
		return nil, 0
	}
	end := int(decoder.InputOffset())
	line, _, _ := bytes.Cut(text[end:], []byte("\n"))
	if len(bytes.TrimSpace(line)) > 0 {
		return nil, 0
	}
	return value, end + len(line)
}

func nextLine(text []byte) []byte {
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	return rest
}

// decode reads a value; PHP writes an empty array for an empty object.
func decode(raw json.RawMessage, into any) error {
	if compact := strings.Join(strings.Fields(string(raw[:min(len(raw), 64)])), ""); compact == "[]" {
		raw = json.RawMessage("{}")
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

var (
	mark = regexp.MustCompile(`^(>\s*)*\[error\]\s*|\s+\[error\]$`) // Drush 8 has it at the end
	// empty is said of every failure and tells nothing of it.
	empty = regexp.MustCompile(`Finished performing updates\.$|Drush command terminated abnormally due to an unrecoverable error\.`)
	// fine is what Drush 8 says of what went well.
	fine  = regexp.MustCompile(`\s+\[(?:ok|success|status|notice|warning)\]$`)
	fault = regexp.MustCompile(`^(?:PHP )?(?:Fatal error|(?:[A-Z]\w*)?(?:Error|Exception)):`)
	stack = regexp.MustCompile(`^(#\d+ |Stack trace:|In .+ line \d+:$)`)
)

// maxComplaint is the length in bytes at which a complaint is cut.
const maxComplaint = 600

// complaint finds in what Drush printed the words that say what is wrong: the
// lines marked as errors, else the last line that is not a stack trace.
func complaint(res run.Result) string {
	var marked []string
	var first, last string
	for _, text := range [][]byte{res.Stdout, res.Stderr} {
		each := run.Lines(func(line string) {
			line = strings.TrimSpace(secret.ReplaceAllString(line, "$1[hidden]"))
			switch {
			case mark.MatchString(line) && empty.MatchString(line):
			case mark.MatchString(line):
				marked = append(marked, withoutTrace(mark.ReplaceAllString(line, "")))
			case line != "" && !stack.MatchString(line) && !fine.MatchString(line):
				if last = line; first == "" && fault.MatchString(line) {
					first = line
				}
			}
		})
		_, _ = each.Write(text)
		_ = each.Close()
	}
	text := strings.Join(marked, "; ")
	if text == "" {
		text = cmp.Or(first, last)
	}
	if text == "" {
		return "it said nothing. The task's log may have more."
	}
	if len(text) > maxComplaint {
		text = strings.ToValidUTF8(text[:maxComplaint], "") + " …"
	}
	return text
}

// withoutTrace cuts the stack trace that Drush appends on the same line.
func withoutTrace(line string) string {
	text, _, _ := strings.Cut(line, " #0 ")
	return text
}

var (
	secret     = regexp.MustCompile(`(?i)(password\s*(?:is|:)\s*)\S+`)
	secretNext = regexp.MustCompile(`(?i)password\s*(?:is|:)\s*$`)
	firstWord  = regexp.MustCompile(`^(\s*)\S+`)
)

// redacted passes lines on to w with passwords hidden, also one that was
// wrapped to the next line. Close passes on an unfinished last line.
func redacted(w io.Writer) io.WriteCloser {
	if w == nil {
		w = io.Discard
	}
	wrapped := false
	return run.Lines(func(line string) {
		if wrapped && strings.TrimSpace(line) != "" {
			line, wrapped = firstWord.ReplaceAllString(line, "$1[hidden]"), false
		}
		line = secret.ReplaceAllString(line, "$1[hidden]")
		wrapped = wrapped || secretNext.MatchString(line)
		_, _ = io.WriteString(w, line+"\n")
	})
}

// watched passes output on to w and shows every line of it to look.
func watched(w io.Writer, look func(line string)) io.WriteCloser {
	lines := run.Lines(look)
	if w == nil {
		return lines
	}
	return tee{io.MultiWriter(w, lines), lines}
}

type tee struct {
	io.Writer
	io.Closer
}
