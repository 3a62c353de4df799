package models

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// edges lists a transition table as "from --> to" lines, sorted.
func edges[S ~string](t Transitions[S]) []string {
	var list []string
	for from, next := range t {
		for _, to := range next {
			list = append(list, fmt.Sprintf("%s --> %s", from, to))
		}
	}
	slices.Sort(list)
	return list
}

func TestTransitions_DiagramInDocs_Agrees(t *testing.T) {
	text, err := os.ReadFile("../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = name
		}
		if strings.Contains(line, "-->") && !strings.Contains(line, "[*]") {
			drawn[section] = append(drawn[section], line)
		}
	}
	for section, want := range map[string][]string{
		"Platform":   edges(PlatformTransitions()),
		"Site":       edges(SiteTransitions()),
		"Upgrade":    edges(UpgradeTransitions()),
		"Task":       edges(TaskTransitions()),
		"Relocation": edges(RelocationTransitions()),
	} {
		got := drawn[section]
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: docs/states.md draws\n%s\nthe table says\n%s", section, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestTransitions_EveryTarget_IsAState(t *testing.T) {
	closed(t, PlatformTransitions())
	closed(t, SiteTransitions())
	closed(t, UpgradeTransitions())
	closed(t, TaskTransitions())
	closed(t, RelocationTransitions())
}

func closed[S ~string](t *testing.T, table Transitions[S]) {
	t.Helper()
	for from, next := range table {
		for _, to := range next {
			if _, ok := table[to]; !ok {
				t.Errorf("%s leads to %s, which the table does not have", from, to)
			}
		}
	}
}
