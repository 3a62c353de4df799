package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
	"hefring/internal/docs"
)

// program is a small command line with everything that a real one has.
type program struct {
	Serve struct {
		config.Config
		JSON bool `name:"json" help:"Print JSON."`
	} `cmd:"" help:"Run it. It goes on."`
	Site struct {
		List struct {
			State string `enum:"on,off,any" default:"any" help:"Only in this 'state': on | off."`
			Key   string `help:"A file." type:"path" short:"k"`
			Limit int    `required:"" help:"At most so many."`
		} `cmd:"" help:"List <sites>."`
		Import struct {
			Wait bool     `short:"w" help:"Wait."`
			Dir  string   `arg:"" type:"path" help:"Folder, for example .\\."`
			More []string `arg:"" optional:"" help:"More."`
		} `cmd:"" help:".dots and \\backslashes: import it…"`
		Hidden struct{} `cmd:"" hidden:""`
	} `cmd:"" help:"Sites."`
}

func app(t *testing.T) *kong.Kong {
	t.Helper()
	parser, err := kong.New(&program{}, kong.Name("hefring"), kong.Description("It keeps a fleet."), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = t.TempDir()
	for _, file := range []string{"one.yaml", "two words.yaml"} {
		if err := os.WriteFile(filepath.Join(cmd.Dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "LC_ALL=C.UTF-8", "TERM=dumb"}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("%s: %v\n%s", name, err, complaints.String())
	}
	return string(out)
}

func script(t *testing.T, shell string) string {
	t.Helper()
	text, err := docs.Completion(shell, app(t).Model)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "_hefring")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// completions are what stands before the cursor, and what must be offered.
func completions() []struct {
	typed []string // the last word is being typed
	want  []string
} {
	return []struct{ typed, want []string }{
		{[]string{""}, []string{"serve", "site"}},
		{[]string{"s"}, []string{"serve", "site"}},
		{[]string{"site", ""}, []string{"list", "import"}},
		{[]string{"site", "i"}, []string{"import"}},
		{[]string{"serve", "--js"}, []string{"--json"}},
		{[]string{"serve", "--sites-po"}, []string{"--sites-port"}},
		{[]string{"serve", "--sites-mode", ""}, []string{"private", "system"}},
		{[]string{"serve", "--json", "--sites-mode", "s"}, []string{"system"}},
		{[]string{"site", "list", "--state", "o"}, []string{"on", "off"}},
		{[]string{"site", "list", "--key", "o"}, []string{"one.yaml"}},
		{[]string{"site", "import", "o"}, []string{"one.yaml"}},
		{[]string{"site", "import", "--w"}, []string{"--wait"}},
		{[]string{"site", "hidden", "--x"}, nil},
	}
}

func same(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func offered(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if word != "" && word != "--help" {
			list = append(list, word)
		}
	}
	return list
}

func TestCompletion_Bash(t *testing.T) {
	path := script(t, "bash")
	check := func(typed, want []string) {
		quoted := make([]string, 0, len(typed))
		for _, word := range typed {
			quoted = append(quoted, "'"+word+"'")
		}
		got := offered(output(t, "bash", "-c", "set -u; . "+path+`
COMP_WORDS=(hefring `+strings.Join(quoted, " ")+`) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_hefring
printf '%s\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"}`))
		if !same(got, want) {
			t.Errorf("%q offers %q, want %q", typed, got, want)
		}
	}
	for _, c := range completions() {
		check(c.typed, c.want)
	}
	check([]string{"serve", "--sites-mode", "=", "p"}, []string{"private"})
	check([]string{"serve", "--sites-mode", "="}, []string{"private", "system"})
}

func TestCompletion_Fish(t *testing.T) {
	path := script(t, "fish")
	for _, c := range completions() {
		line := "hefring " + strings.Join(c.typed, " ")
		got := offered(output(t, "fish", "--no-config", "-c", "source "+path+"; complete -C '"+line+"'"))
		if !same(got, c.want) {
			t.Errorf("%q offers %q, want %q", line, got, c.want)
		}
	}
}

// zsh completes in an interactive shell only, so the builtins that offer words
// are replaced by some that print them.
func TestCompletion_Zsh(t *testing.T) {
	path := script(t, "zsh")
	for _, c := range completions() {
		quoted := make([]string, 0, len(c.typed))
		for _, word := range c.typed {
			quoted = append(quoted, "'"+word+"'")
		}
		last := c.typed[len(c.typed)-1]
		got := offered(output(t, "zsh", "-f", "-c", `
compdef() { : }
compset() { : }
_message() { : }
_files() { print -l -- *.yaml }
compadd() { shift; print -l -- "$@" }
_describe() { local each; for each in "${(@P)4}"; do print -r -- "${each%%:*}"; done }
. `+path+`
words=(hefring `+strings.Join(quoted, " ")+`) CURRENT=$#words PREFIX='`+last+`'
_hefring || true`))
		got = slices.DeleteFunc(got, func(word string) bool { return !strings.HasPrefix(word, last) })
		if !same(got, c.want) && (len(c.want) > 0 || len(got) > 0) {
			t.Errorf("%q offers %q, want %q", c.typed, got, c.want)
		}
	}
	output(t, "zsh", "-n", path)
}

func TestCompletion_UnknownShell(t *testing.T) {
	if _, err := docs.Completion("csh", app(t).Model); err == nil || !strings.Contains(err.Error(), "bash, zsh, fish") {
		t.Errorf("got %v", err)
	}
}

// groff warns of everything that is no good roff.
func TestManPages_Render(t *testing.T) {
	pages := docs.ManPages(app(t).Model, "1.2.3")
	if len(pages) != 6 {
		t.Errorf("%d pages were written", len(pages))
	}
	for name, text := range pages {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := output(t, "groff", "-man", "-Tutf8", "-ww", "-P-cbou", path)
		want := map[string][]string{
			"hefring.1":             {"hefring - It keeps a fleet", "hefring-site(1)"},
			"hefring-site.1":        {"hefring-site-list(1)"},
			"hefring-site-list.1":   {"hefring site list", "--limit LIMIT", "-k, --key KEY", "--state on|off|any", "Default: any.", "List <sites>."},
			"hefring-site-import.1": {".dots and \\backslashes: import it…", "DIR [MORE...]", ".\\."},
			"hefring-serve.1":       {"--json", "hefring.yaml(5)"},
			"hefring.yaml.5":        {"listen", "$HEFRING_LISTEN.", "One of: private, system.", "/etc/hefring/hefring.yaml"},
		}[name]
		if want == nil {
			t.Errorf("there is a page %s", name)
		}
		for _, part := range want {
			if !strings.Contains(strings.ReplaceAll(got, "‐", "-"), part) {
				t.Errorf("%s lacks %q:\n%s", name, part, got)
			}
		}
	}
}

func TestCommands_Markdown(t *testing.T) {
	got := docs.Commands(app(t).Model)
	for _, part := range []string{
		"## hefring site\n\nSites.\n\n### hefring site list\n\nList &lt;sites>.\n",
		"```\nhefring site list [OPTIONS] --limit LIMIT\n```",
		"| `--state on\\|off\\|any` | Only in this 'state': on \\| off. Default: any. |",
		"| `-w, --wait` | Wait. |",
		"It takes the [settings](settings.md) too.",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("there is no %q in\n%s", part, got)
		}
	}
	if strings.Contains(got, "hidden") || strings.Contains(got, "--listen") {
		t.Error("hidden commands or settings are told")
	}
}

func TestFill_KeepsTheRest(t *testing.T) {
	page := "before\n<!-- made by make generate from the code -->\nold\n<!-- end of what is made -->\nafter\n"
	got, err := docs.Fill(page, "new\n")
	if err != nil || got != "before\n<!-- made by make generate from the code -->\n\nnew\n\n<!-- end of what is made -->\nafter\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if again, err := docs.Fill(got, "new\n"); err != nil || again != got {
		t.Errorf("a second time: %q, %v", again, err)
	}
	if _, err := docs.Fill("nothing", "new"); err == nil {
		t.Error("a page without marks was filled")
	}
}
