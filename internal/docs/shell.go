package docs

import (
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

// commandLines checks each call of the program in a piece of code. A whole line
// in a block must be one that the program takes; elsewhere the words and flags
// that are there must fit.
func (p *pageCheck) commandLines(code string, whole bool) {
	for _, call := range splitShell(strings.TrimPrefix(strings.TrimSpace(code), "$ ")) {
		args, ours := ourCall(call)
		if !ours {
			continue
		}
		if !p.fits(args) || !whole || slices.ContainsFunc(args, isSample) {
			continue
		}
		if err := p.Parse(args); err != nil {
			p.wrong("hefring %s: %v", strings.Join(args, " "), err)
		}
	}
}

// isSample tells a word that only stands for others.
func isSample(word string) bool { return strings.ContainsAny(word, "…<>[]|$") || word == "--help" }

// ourCall gives the arguments when a call is one of hefring.
func ourCall(call []string) ([]string, bool) {
	for len(call) > 0 {
		word := strings.TrimPrefix(call[0], "ExecStart=")
		name, _, assigns := strings.Cut(word, "=")
		switch {
		case slices.Contains([]string{"hefring", "bin/hefring", "/usr/bin/hefring"}, word):
			return call[1:], true
		case word == "sudo" || assigns && strings.ToUpper(name) == name:
			call = call[1:]
		case word == "-u" && len(call) > 1: // of sudo
			call = call[2:]
		default:
			return nil, false
		}
	}
	return nil, false
}

// fits looks whether the words name a command and the flags are its own. Words
// with a bar, such as site|platform, are alternatives.
func (p *pageCheck) fits(args []string) bool {
	nodes := []*kong.Node{p.App.Node}
	inCommand := true
	for _, word := range args {
		if strings.HasPrefix(word, "-") {
			inCommand = false
			name, _, _ := strings.Cut(word, "=")
			if name != "-" && name != "--" && !hasFlag(nodes, name) && !hasFlag(commands(nodes[0]), name) {
				p.wrong("%s has no flag %s", typed(p.App, nodes[0]), name)
				return false
			}
			continue
		}
		if !inCommand || len(nodes[0].Children) == 0 {
			continue
		}
		if !isPlain(word) {
			inCommand = false
			continue
		}
		next := below(nodes, strings.Split(word, "|"))
		if next == nil {
			if nodes[0].DefaultCmd != nil {
				continue
			}
			p.wrong("%s has no command %s", typed(p.App, nodes[0]), word)
			return false
		}
		nodes = next
	}
	return true
}

// below finds the commands of these names; nil when one is missing.
func below(nodes []*kong.Node, names []string) []*kong.Node {
	var found []*kong.Node
	for _, name := range names {
		i := slices.IndexFunc(nodes[0].Children, func(n *kong.Node) bool { return n.Name == name || slices.Contains(n.Aliases, name) })
		if i < 0 {
			return nil
		}
		found = append(found, nodes[0].Children[i])
	}
	return found
}

// isPlain tells a word of a command from a placeholder such as DIR or ….
func isPlain(word string) bool {
	return !strings.ContainsFunc(word, func(c rune) bool { return !unicode.IsLower(c) && !unicode.IsDigit(c) && c != '-' && c != '|' })
}

// splitShell splits a line into calls and their words, well enough for what
// stands in documents: quotes, comments, pipes, lists and redirections.
func splitShell(line string) [][]string {
	s := &shellSplit{}
	for _, c := range line {
		if s.next(c) {
			break
		}
	}
	s.endCall()
	return s.calls
}

type shellSplit struct {
	calls   [][]string
	call    []string
	word    strings.Builder
	inWord  bool
	quote   rune
	escaped bool
	skip    bool // the next word is where output goes, or input comes from
}

// next takes one letter. It tells whether a comment begins.
func (s *shellSplit) next(c rune) bool {
	switch {
	case s.escaped:
		s.escaped = false
		s.add(c)
	case s.quote != 0:
		if c == s.quote {
			s.quote = 0
		} else {
			s.add(c)
		}
	case c == '\\':
		s.escaped = true
	case c == '\'' || c == '"':
		s.quote, s.inWord = c, true
	case c == '#' && !s.inWord:
		return true
	case c == ';' || c == '&' || c == '|' && !s.inWord:
		s.endCall()
	case c == '<' || c == '>':
		if text := s.word.String(); text == "1" || text == "2" {
			s.word.Reset()
			s.inWord = false
		}
		s.endWord()
		s.skip = true
	case unicode.IsSpace(c):
		s.endWord()
	default:
		s.add(c)
	}
	return false
}

func (s *shellSplit) add(c rune) {
	s.word.WriteRune(c)
	s.inWord = true
}

func (s *shellSplit) endWord() {
	if !s.inWord {
		return
	}
	if !s.skip {
		s.call = append(s.call, s.word.String())
	}
	s.word.Reset()
	s.inWord, s.skip = false, false
}

func (s *shellSplit) endCall() {
	s.endWord()
	if len(s.call) > 0 {
		s.calls = append(s.calls, s.call)
	}
	s.call, s.skip = nil, false
}
