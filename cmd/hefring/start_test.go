package main

import (
	"context"
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

// A dashboard that was told by flags where it is: the commands beside it know.
func TestCLI_LoginLink_LeadsToTheDashboardThatRuns(t *testing.T) {
	a, _ := staffed(t)
	a.cfg.URL = "http://127.0.0.1:9876"
	ctx, stop := context.WithCancel(t.Context())
	if err := a.answer(ctx, func(context.Context) error { stop(); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct{ env, want string }{
		{"", "http://127.0.0.1:9876/login/link/"},
		{"HEFRING_URL=https://hefring.example.org/", "https://hefring.example.org/login/link/"},
	} {
		p := newProgram(t)
		p.env = []string{"HEFRING_DATA=" + a.cfg.Data, one.env}
		if got := p.run(t, "login-link", "viewer-0"); got.code != 0 || !strings.HasPrefix(got.out, one.want) {
			t.Errorf("with %q: %d %s%s", one.env, got.code, got.out, got.err)
		}
	}
	for _, noted := range []string{"", "\x00", "no address"} {
		if err := os.WriteFile(layout(a.cfg.Data).address(), []byte(noted), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := servedAt(&config.Config{Data: a.cfg.Data, Listen: "127.0.0.1:8080", URL: "http://127.0.0.1:8080"}); got != "http://127.0.0.1:8080" {
			t.Errorf("%q was noted: %s", noted, got)
		}
	}
}
