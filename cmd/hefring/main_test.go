package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"hefring/models"
)

// Flags of a command and of what it embeds must not collide, which kong finds
// out at start only; and every command and flag says what it is for.
func TestCLI_Describes_EveryCommand(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.BindTo(context.Background(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	_ = kong.Visit(parser.Model.Node, func(node kong.Visitable, next kong.Next) error {
		switch n := node.(type) {
		case *kong.Node:
			if n.Type == kong.CommandNode {
				commands++
				if n.Help == "" && !n.Hidden {
					t.Errorf("%s does not say what it does", n.Path())
				}
			}
		case *kong.Flag:
			if n.Help == "" {
				t.Errorf("--%s does not say what it is for", n.Name)
			}
		}
		return next(nil)
	})
	if commands < 50 {
		t.Errorf("%d commands are known", commands)
	}
}

func TestCLI_Parse_SiteCommands(t *testing.T) {
	for _, line := range []string{
		"site install museum.example.org --platform thunder-a1 --database-server Main --language de --wait",
		"site rollback museum.example.org --yes --json",
		"site hold museum.example.org --reason fair --until 2027-01-31",
		"site configure museum.example.org --alias=a.example.org,b.example.org --no-redirect --https required --cron-every 1h --backup-keep 3",
		"site delete museum.example.org --confirm museum.example.org --no-backup",
		"site restore museum.example.org 12 --own-platform",
		"platform diff thunder-a1 thunder-b2 --all",
		"database add Main --engine mysql --host 127.0.0.1 --user admin",
		"task log 12",
		"token add ada deploy --life 24h",
	} {
		parser, err := kong.New(&cli{}, kong.BindTo(context.Background(), (*context.Context)(nil)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestToldToStop(t *testing.T) {
	told, stop := context.WithCancel(t.Context())
	stop()
	canceled := fmt.Errorf("open database: %w", context.Canceled)
	for name, right := range map[string]bool{
		"a service that starts":   toldToStop(told, "serve", canceled),
		"a service that fails":    !toldToStop(told, "worker", io.ErrUnexpectedEOF),
		"nobody told it":          !toldToStop(t.Context(), "serve", canceled),
		"a command has not ended": !toldToStop(told, "site upgrade <site>", canceled),
	} {
		if !right {
			t.Error(name)
		}
	}
}

// A state that there is not is a mistake, and the answer has those that there are.
func TestCLI_States_AreThoseThatThereAre(t *testing.T) {
	for command, known := range map[string][]string{
		"site list --state":         {"broken", "deleting"},
		"platform list --state":     names(models.PlatformTransitions().States()),
		"task list --state":         names(models.TaskTransitions().States()),
		"distribution list --state": names(models.AllConditions()),
		"audit --kind":              names(models.SubjectKinds()),
		"audit --door":              names(models.Doors()),
	} {
		p := newProgram(t)
		got := p.run(t, append(strings.Fields(command), "nothing")...)
		for _, word := range known {
			if got.code != exitSettings || !strings.Contains(got.err, `"`+word+`"`) {
				t.Errorf("%s nothing: exit code %d, no %s in %s", command, got.code, word, got.err)
			}
		}
	}
}

func names[S ~string](list []S) []string {
	texts := make([]string, 0, len(list))
	for _, one := range list {
		texts = append(texts, string(one))
	}
	return texts
}

// A mistyped flag is named with the one that was meant, and not buried in help.
func TestCLI_MistypedFlag(t *testing.T) {
	p := newProgram(t)
	for line, says := range map[string][]string{
		"site list --stat broken":       {"unknown flag --stat", `did you mean "--state"?`, "Run 'hefring site list --help'"},
		"site --frob":                   {"unknown flag --frob", "Run 'hefring site --help'"},
		"site upgrade":                  {"<site>", "Run 'hefring site upgrade --help'"},
		"site list --state nothing":     {`must be one of "installing",`, "Run 'hefring site list --help'"},
		"nothing":                       {"unexpected argument nothing", "Run 'hefring --help'"},
		"site list --limit many --json": {"--limit", "Run 'hefring site list --help'"},
	} {
		got := p.run(t, strings.Fields(line)...)
		if got.code != exitSettings || got.out != "" || strings.Count(got.err, "\n") > 3 {
			t.Errorf("%s: exit code %d, %s%s", line, got.code, got.out, got.err)
		}
		for _, part := range says {
			if !strings.Contains(got.err, part) {
				t.Errorf("%s: no %q in %s", line, part, got.err)
			}
		}
	}
}
