package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/config"
)

// A mistyped data folder stays what it is: no command but those that begin one
// makes anything there.
func TestCLI_NoData_MakesNone(t *testing.T) {
	for _, line := range []string{"site list", "user add ada", "login-link ada", "task list --as ada", "overview"} {
		dir := filepath.Join(t.TempDir(), "typo")
		p := newProgram(t)
		p.env = []string{"HEFRING_DATA=" + dir}
		got := p.run(t, strings.Fields(line)...)
		if got.code != exitSettings || !strings.Contains(got.err, "hefring serve") {
			t.Errorf("%s: %d %s", line, got.code, got.err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s made the folder: %v", line, err)
		}
	}
}

// Every command is the same alone as among all.
func TestOnly_EveryCommand_IsFound(t *testing.T) {
	for _, leaf := range leaves(t) {
		words := strings.Fields(strings.TrimPrefix(leaf.Path(), "hefring "))
		p, err := newParser(t.Context(), only(words), &config.Loader{})
		if err != nil {
			t.Fatal(err)
		}
		children, all := p.Model.Children, words[0] == "completion" || words[0] == "man"
		if !all && (len(children) != 1 || children[0].Name != words[0]) {
			t.Errorf("%v leads to %d commands, %s first", words, len(children), children[0].Name)
		}
	}
	for _, words := range [][]string{nil, {"--help"}, {"nothing"}, {"man", "x"}} {
		if _, whole := only(words).(*cli); !whole {
			t.Errorf("%v does not lead to all commands", words)
		}
	}
}

// What it costs to understand a line, with every command and with the named one.
func BenchmarkCLI_Parse(b *testing.B) {
	line := []string{"task", "list"}
	for name, commands := range map[string]func() any{"all": func() any { return new(cli) }, "only": func() any { return only(line) }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := newParser(b.Context(), commands(), &config.Loader{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Parse(line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
