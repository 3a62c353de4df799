package spec

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// iniScanner finds the pairs of an INI makefile. It accepts exactly what Drush's
// regular expression does (ParserIni of Drush 8, which is Drupal 6's
// drupal_parse_info_file), with its hazards, in a time that grows with the
// length of the text only:
//
//	@^\s*((?:[^=;\[\]]|\[[^\[\]]*\])+?)\s*=\s*(?:("(?:[^"]|(?<=\\)")*")|('(?:[^']|(?<=\\)')*')|([^\r\n]*?))\s*$@msx
type iniScanner struct {
	text     string
	line     int // of the position at
	at       int
	root     *node
	warnings []Warning

	dead   int      // lines up to here do not match, except those in groups
	groups [][2]int // brackets that span lines, before dead
}

// pair is one match.
type pair struct {
	start, equals int // of the key, and of its =
	key           string
	value         string
	quoted        bool
	valueStart    int
	end           int
}

// parseINI reads an INI makefile; nil when it holds no pairs at all.
func parseINI(text string) (*node, []Warning, error) {
	s := &iniScanner{text: text, line: 1, root: newMap(1)}
	found := false
	for p := range s.pairs() {
		found = true
		if err := s.insert(p); err != nil {
			return nil, nil, err
		}
	}
	if !found {
		return nil, nil, nil
	}
	return s.root, s.warnings, nil
}

// pairs yields the matches from the beginning to the end.
func (s *iniScanner) pairs() iter.Seq[pair] {
	return func(yield func(pair) bool) {
		for pos := 0; pos >= 0 && pos < len(s.text); pos = s.candidate(pos) {
			p, next, ok := s.match(pos)
			if !ok {
				pos = next
				continue
			}
			if !yield(p) {
				return
			}
			pos = p.end
			if s.text[pos-1] != '\n' {
				pos = lineAfter(s.text, pos)
			}
		}
	}
}

// lineAfter gives the start of the line after position pos, or -1.
func lineAfter(text string, pos int) int {
	i := strings.IndexByte(text[pos:], '\n')
	if i < 0 {
		return -1
	}
	return pos + i + 1
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func skipSpace(text string, pos int) int {
	for pos < len(text) && isSpace(text[pos]) {
		pos++
	}
	return pos
}

// match tries the expression at the line that starts at start. When it does not
// match, next is a later line, before which none does that candidate gives.
func (s *iniScanner) match(start int) (found pair, next int, ok bool) {
	equals, stop, groups := s.scanKey(start)
	if equals >= 0 {
		if p, ok := s.matchPair(start, equals); ok {
			return p, 0, true
		}
	}
	if stop > s.dead {
		s.dead, s.groups = stop, groups
		return pair{}, lineAfter(s.text, start), false
	}
	return pair{}, lineAfter(s.text, stop), false
}

// candidate gives the first line from pos on that may match. Lines before dead
// would end where an earlier one ended in vain, unless they start inside of
// brackets.
func (s *iniScanner) candidate(pos int) int {
	if pos < 0 || pos > s.dead {
		return pos
	}
	for len(s.groups) > 0 {
		g := s.groups[0]
		line := pos
		if pos <= g[0] {
			line = lineAfter(s.text, g[0])
		}
		if line >= 0 && line <= g[1] {
			return line
		}
		s.groups = s.groups[1:]
	}
	return lineAfter(s.text, s.dead)
}

// scanKey walks over what a key may hold. equals is the position of the = that
// ends it, or -1; stop is where the walk ended.
func (s *iniScanner) scanKey(start int) (equals, stop int, groups [][2]int) {
	for i := start; i < len(s.text); i++ {
		switch s.text[i] {
		case '=':
			return i, i, groups
		case ';', ']':
			return -1, i, groups
		case '[':
			length := strings.IndexAny(s.text[i+1:], "[]")
			if length < 0 || s.text[i+1+length] == '[' {
				return -1, i, groups
			}
			end := i + 1 + length
			if strings.IndexByte(s.text[i:end], '\n') >= 0 {
				groups = append(groups, [2]int{i, end})
			}
			i = end
		}
	}
	return -1, len(s.text), groups
}

func (s *iniScanner) matchPair(start, equals int) (pair, bool) {
	from := skipSpace(s.text, start)
	if from >= equals { // nothing but white space: its last character is the key
		from = equals - 1
	}
	if from < start {
		return pair{}, false
	}
	p := pair{start: from, equals: equals, key: strings.TrimRight(s.text[from:equals], " \t\n\v\f\r")}
	if p.key == "" {
		p.key = s.text[from:equals]
	}
	return s.matchValue(p)
}

func (s *iniScanner) matchValue(p pair) (pair, bool) {
	p.valueStart = skipSpace(s.text, p.equals+1)
	if p.valueStart < len(s.text) {
		if quote := s.text[p.valueStart]; quote == '"' || quote == '\'' {
			if closing, end, ok := s.closing(p.valueStart, quote); ok {
				p.value, p.quoted, p.end = stripSlashes(s.text[p.valueStart+1:closing]), true, end
				return p, true
			}
		}
	}
	line := s.text[p.valueStart:]
	if i := strings.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	p.value = strings.TrimRight(line, " \t\v\f\r")
	if strings.IndexByte(p.value, '\r') < 0 {
		p.end, _ = s.lineEnd(p.valueStart + len(p.value))
		return p, true
	}
	// A carriage return inside of the line fits no value. The expression gives
	// back white space until a line end stands where it needs one.
	if i := strings.LastIndexByte(s.text[p.equals:p.valueStart], '\n'); i >= 0 {
		p.value, p.end = "", p.equals+i
		return p, true
	}
	return pair{}, false
}

// closing finds the quote that ends a string: the last one, of those after
// backslashes and the first that is not, behind which the line ends.
func (s *iniScanner) closing(open int, quote byte) (closing, end int, ok bool) {
	var candidates []int
	for i := open + 1; i < len(s.text); i++ {
		if s.text[i] != quote {
			continue
		}
		candidates = append(candidates, i)
		if s.text[i-1] != '\\' {
			break
		}
	}
	for _, closing := range slices.Backward(candidates) {
		if end, ok := s.lineEnd(closing + 1); ok {
			return closing, end, true
		}
	}
	return 0, 0, false
}

// lineEnd passes over white space to the last line end in it, or to the end of
// the text.
func (s *iniScanner) lineEnd(pos int) (int, bool) {
	end := skipSpace(s.text, pos)
	if end == len(s.text) {
		return end, true
	}
	i := strings.LastIndexByte(s.text[pos:end], '\n')
	return pos + max(i, 0), i >= 0
}

// stripSlashes is PHP's stripslashes.
func stripSlashes(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			i++
			if i == len(text) {
				break
			}
			if text[i] == '0' {
				b.WriteByte(0)
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

var keyBrackets = regexp.MustCompile(`\]?\[`)

// maxKeyDepth is how deep keys nest; a makefile needs five levels.
const maxKeyDepth = 20

func (s *iniScanner) insert(p pair) error {
	s.line += strings.Count(s.text[s.at:p.start], "\n")
	s.at = p.start
	keys := keyBrackets.Split(strings.TrimRight(p.key, "]"), maxKeyDepth+2)
	if len(keys) > maxKeyDepth {
		return fmt.Errorf("line %d: the key is nested more than %d deep", s.line, maxKeyDepth)
	}
	s.warn(p)
	parent := s.root
	for _, key := range keys[:len(keys)-1] {
		if key == "" {
			key = parent.nextIndex()
		}
		child := parent.get(key)
		if !child.isMap() {
			child = newMap(s.line)
			parent.set(key, child)
		}
		parent = child
	}
	last := keys[len(keys)-1]
	if last == "" {
		last = parent.nextIndex()
	}
	parent.set(last, constant(p.value, s.line))
	return nil
}

// warn names what looks like a mistake: Drush reads it in silence as something
// else than its writer meant.
func (s *iniScanner) warn(p pair) {
	short := shorten(p.key)
	switch {
	case strings.Contains(p.key, "\n"):
		lost := p.key[strings.LastIndexByte(p.key, '\n')+1:]
		s.say("%s has no “=”, so it and the next line are one key, and %s is not set. Begin comments with “;”.", quote(shorten(firstLine(p.key))), quote(shorten(lost)))
	case !p.quoted && p.value != "" && strings.Contains(s.text[p.equals:p.valueStart], "\n"):
		s.say("%s has no value, so the next line, %s, became its value. Write %s = \"\" or remove the line.", short, quote(shorten(p.value)), short)
	case !p.quoted && strings.Contains(p.value, ";") && !strings.Contains(p.value, "://"):
		s.say("The value of %s holds a “;”: %s. A comment needs a line of its own.", short, quote(shorten(p.value)))
	case !p.quoted && p.value != "" && strings.ContainsRune(`"'`, rune(p.value[0])):
		s.say("The value of %s begins with a quote that nothing closes at the end of the line: %s.", short, quote(shorten(p.value)))
	}
}

func (s *iniScanner) say(format string, args ...any) {
	if len(s.warnings) < maxWarnings {
		s.warnings = append(s.warnings, Warning{Line: s.line, Message: fmt.Sprintf(format, args...)})
	}
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(first)
}
