package main

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"hefring/internal/fleet"
)

// unreached are the parts of a desk that no command needs, and why.
var unreached = map[string]string{
	"BackupRows":            "a part of a list for the API; Backups lists them all",
	"CheckRows":             "a part of a list for the API; DistributionChecks lists them",
	"CanAddServers":         "hides a button that could only fail; AddServer says the same",
	"AsksForCode":           "whether a page offers what drop-second-factor does",
	"ClientNames":           "the choices of a form; Clients lists them with more",
	"ClientRows":            "a part of a list for the API; Clients lists them all",
	"ComparePlatforms":      "DiffPlatforms says the same with verdicts",
	"DatabaseServer":        "DatabaseServerRow gives the same with how many sites use it",
	"DatabaseServerChoices": "the choices of a form; DatabaseServers lists them with more",
	"Distribution":          "DistributionNamed gives the same by its short name",
	"DistributionNames":     "the choices of a form; Distributions lists them with more",
	"Events":                "a part of the record for the pages; EachEvent goes through all of it",
	"Follow":                "wakes pages of this process; commands look at the log of any process",
	"MessageRows":           "a part of a list for the API; Channel gives the last ones",
	"OpenPlatforms":         "the choices of a form; Platforms lists them with more",
	"PlatformChoices":       "the choices of a form; Platforms lists them with more",
	"PlatformsByID":         "what the lines of a page name; Platform and PlatformNamed give one",
	"Queues":                "a part of QueueRows, for a page that shows no more",
	"SecretsSet":            "what is printed of a distribution asks for it",
	"ServerChoices":         "the choices of a form; Servers lists them with more",
	"SiteURL":               "what is printed of a site asks for it",
	"SubjectName":           "what a task's page names; commands print what the task says",
	"UpgradeRows":           "a part of a list for the API; SiteUpgrades lists them",
	"User":                  "UserRows gives the same by name",
}

// Whoever adds a use case to the desk gives it a command, or says here why it needs
// none.
func TestCLI_EveryUseCase_HasACommand(t *testing.T) {
	called := calls(t)
	desk := reflect.TypeFor[*fleet.Desk]()
	for method := range desk.Methods() {
		name := method.Name
		switch why, excepted := unreached[name]; {
		case !called[name] && !excepted:
			t.Errorf("no command reaches %s", name)
		case called[name] && excepted:
			t.Errorf("a command reaches %s, which is excepted because of: %s", name, why)
		}
	}
	for name := range unreached {
		if _, there := desk.MethodByName(name); !there {
			t.Errorf("there is no %s any more", name)
		}
	}
	// What can be done elsewhere, too, is what commands do.
	for method := range reflect.TypeFor[door]().Methods() {
		if !called[method.Name] && unreached[method.Name] == "" {
			t.Errorf("no command asks a door for %s", method.Name)
		}
	}
}

// calls are the names of what commands call on f, as every command calls what it
// works on.
func calls(t *testing.T) map[string]bool {
	t.Helper()
	files := token.NewFileSet()
	found := map[string]bool{}
	packages, err := goparser.ParseDir(files, ".", func(info fs.FileInfo) bool { return !strings.HasSuffix(info.Name(), "_test.go") }, 0) //nolint:staticcheck // the names are all that is needed
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		ast.Inspect(p, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if on, ok := selector.X.(*ast.Ident); ok && on.Name == "f" {
				found[selector.Sel.Name] = true
			}
			return true
		})
	}
	return found
}
