package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"hefring/models"
)

// DefaultFile is the settings file that is read when none is named.
const DefaultFile = "/etc/hefring/hefring.yaml"

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Place   string // file and line, variable, or flag
	Setting string // its name; "" when it belongs to none
	Text    string // what is wrong, and what to do
}

func (p Problem) String() string {
	parts := []string{p.Place, p.Setting, p.Text}
	if p.Setting == "" || strings.HasSuffix(p.Place, "--"+p.Setting) {
		parts = []string{p.Place, p.Text}
	}
	return strings.Join(parts, ": ")
}

// unset is the place of a setting that nobody gave.
const unset = "default"

// Effective is one setting as it holds.
type Effective struct {
	Name  string `json:"name"`
	Value string `json:"value"` // of a secret only what is none
	From  string `json:"from"`  // file and line, variable, flag, or default
}

// Report says what holds and where it comes from.
type Report struct {
	File     string // the settings file that was read; "" for none
	Settings []Effective
}

// Loader fills settings for kong: a flag wins over the environment, that over
// credentials that systemd hands over, and these over the settings file. It
// finds all that is wrong at once. Give kong its Load as WithBeforeReset.
type Loader struct {
	// Environ is the environment, each entry NAME=value.
	Environ []string
	// File is read when neither --config nor HEFRING_CONFIG names one; it need
	// not be there.
	File string
}

// Load reads the settings of the selected command, if it takes any, and gives
// kong what was found and, for Run methods, a *Report. The error is a
// models.Error of the code Invalid whose message lists every problem.
func (l *Loader) Load(ctx *kong.Context) error {
	r := l.gather(ctx)
	if r == nil {
		return nil
	}
	r.decode()
	for _, wrong := range r.sheet.config.wrong() {
		place := r.placeOf(wrong.name)
		if place == unset {
			place = "--" + wrong.name // where it can be given
		}
		r.problems = append(r.problems, Problem{place, wrong.name, wrong.text})
	}
	if len(r.problems) > 0 {
		return r.err()
	}
	chosen := r.chosen
	for _, flag := range r.byEnv {
		flag.Tag.Envs = nil // read already, and an empty variable counts as none
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if name, ok := r.nameOf(flag); ok && chosen[name].text != "" {
			return chosen[name].text, nil
		}
		return nil, nil //nolint:nilnil // that is how a resolver says: nothing
	}))
	ctx.Bind(r.report())
	return nil
}

// Explain adds to an error of kong's about a flag what else is wrong with the
// settings. Other errors stay as they are.
func (l *Loader) Explain(err error) error {
	e, ok := errors.AsType[*kong.ParseError](err)
	if !ok || e.Context == nil || e.Context.Error == nil {
		return err
	}
	r := l.gather(e.Context)
	if r == nil {
		return err
	}
	if r.decode(); len(r.problems) == 0 {
		return err
	}
	r.problems = append(r.problems, Problem{Place: "command line", Text: e.Context.Error.Error()})
	return r.err()
}

// given is a value that somebody gave for a setting.
type given struct{ text, place string }

// layer is what one place gave, by the names of settings.
type layer map[string]given

// reading is one look at all places.
type reading struct {
	sheet    *sheet
	byName   map[string]*kong.Flag
	byEnv    map[string]*kong.Flag // the command's flags that are settings
	layers   []layer               // the strongest first
	chosen   layer
	file     string
	problems []Problem
}

// gather reads every place. It gives nil when the command takes no settings.
func (l *Loader) gather(ctx *kong.Context) *reading {
	r := &reading{sheet: newSheet(), byName: map[string]*kong.Flag{}, byEnv: map[string]*kong.Flag{}, chosen: layer{}}
	settings := map[string]bool{}
	for _, flag := range r.sheet.flags {
		r.byName[flag.Name] = flag
		settings[flag.Envs[0]] = true
	}
	flags := layer{}
	for _, path := range ctx.Path {
		for _, flag := range path.Flags {
			if len(flag.Envs) > 0 && settings[flag.Envs[0]] {
				r.byEnv[flag.Envs[0]] = flag
			}
		}
	}
	if len(r.byEnv) == 0 {
		return nil
	}
	for _, path := range ctx.Path {
		if path.Flag == nil {
			continue
		}
		if name, ok := r.nameOf(path.Flag); ok {
			flags[name] = given{flagText(ctx, path.Flag), "--" + path.Flag.Name}
		}
	}
	environment := l.environment(r, ctx.Model)
	credentials := l.credentials(r)
	r.layers = []layer{flags, environment, credentials}
	r.file = l.fileName(r)
	r.layers = append(r.layers, r.readFile())
	return r
}

// nameOf gives the setting that a command's flag sets. A flag is a setting when
// it reads a setting's variable.
func (r *reading) nameOf(flag *kong.Flag) (string, bool) {
	for _, own := range r.sheet.flags {
		if len(flag.Envs) > 0 && flag.Envs[0] == own.Envs[0] {
			return own.Name, true
		}
	}
	return "", false
}

func flagText(ctx *kong.Context, flag *kong.Flag) string {
	if list, ok := ctx.FlagValue(flag).([]string); ok {
		return kong.JoinEscaped(list, ',')
	}
	return fmt.Sprint(ctx.FlagValue(flag))
}

func (l *Loader) env(name string) string {
	for _, pair := range l.Environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// environment reads the variables, and wonders at those that look like one of
// ours but for a slip.
func (l *Loader) environment(r *reading, app *kong.Application) layer {
	found, known := layer{}, knownVariables(app)
	ours := make([]string, 0, len(r.sheet.flags))
	for _, flag := range r.sheet.flags {
		ours = append(ours, flag.Envs[0])
		for _, name := range slices.Backward(flag.Envs) { // its own name before one that others gave it
			known[name] = true
			if text := l.env(name); text != "" {
				found[flag.Name] = given{text, "$" + name}
			}
		}
	}
	for _, pair := range l.Environ {
		name, _, _ := strings.Cut(pair, "=")
		if known[name] || !strings.HasPrefix(name, "HEFRING_") {
			continue
		}
		if near := nearest(name, ours, len("HEFRING_")); near != "" {
			r.problems = append(r.problems, Problem{Place: "$" + name, Text: "Hefring has no such variable. Perhaps it is " + near + "; rename it, or unset it."})
		}
	}
	return found
}

// knownVariables are those of every command.
func knownVariables(app *kong.Application) map[string]bool {
	known := map[string]bool{}
	_ = kong.Visit(app.Node, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
		return next(nil)
	})
	return known
}

// credentials reads the secrets that systemd hands over (LoadCredential= and
// its kin): the file hefring.NAME for the setting NAME.
func (l *Loader) credentials(r *reading) layer {
	found, dir := layer{}, l.env("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return found
	}
	for _, flag := range r.sheet.flags {
		if !settingOf(flag).Secret {
			continue
		}
		path := filepath.Join(dir, "hefring."+flag.Name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if text, ok := r.secret(path, "credential "+path, flag.Name); ok {
			found[flag.Name] = given{text, "credential " + path}
		}
	}
	return found
}

// secret reads a file that holds one value.
func (r *reading) secret(path, place, name string) (string, bool) {
	text, err := readSmall(path)
	if err != nil {
		r.problems = append(r.problems, Problem{place, name, strings.Replace(err.Error(), "It", path, 1)})
		return "", false
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" || strings.ContainsFunc(value, isControl) {
		r.problems = append(r.problems, Problem{place, name, path + " does not hold one line of text. Write the value into it, and nothing else."})
		return "", false
	}
	return value, true
}

// fileName says which settings file to read; "" for none.
func (l *Loader) fileName(r *reading) string {
	for _, from := range r.layers {
		if name := from["config"].text; name != "" {
			return name
		}
	}
	if _, err := os.Stat(l.File); l.File == "" || errors.Is(err, os.ErrNotExist) {
		return ""
	}
	// Those who may not read the server's settings can still try out a source,
	// which takes a few settings only.
	if _, all := r.byEnv["HEFRING_CONFIG"]; !all && isForbidden(l.File) {
		return ""
	}
	return l.File
}

func isForbidden(path string) bool {
	file, err := os.Open(path) //nolint:gosec // the program's own default
	if err == nil {
		_ = file.Close()
	}
	return errors.Is(err, os.ErrPermission)
}

func (r *reading) readFile() layer {
	found := layer{}
	if r.file == "" {
		return found
	}
	entries, problems := readFile(r.file)
	r.problems = append(r.problems, problems...)
	for _, one := range entries {
		if wrong := r.misplaced(one); wrong != "" {
			r.problems = append(r.problems, Problem{one.place, one.name, wrong})
			continue
		}
		if one.text != "" {
			found[one.name] = given{one.text, one.place}
		}
	}
	return found
}

// misplaced says why a line cannot stand in a settings file.
func (r *reading) misplaced(one entry) string {
	flag, known := r.byName[one.name]
	if !known {
		names := make([]string, 0, len(r.byName))
		for name := range r.byName {
			names = append(names, name)
		}
		slices.Sort(names)
		if near := nearest(one.name, names, 0); near != "" {
			return "There is no such setting. Perhaps it is " + near + "; correct the name, or remove the line."
		}
		return "There is no such setting. Remove the line; hefring config lists all settings."
	}
	if one.name == "config" {
		return "The settings file cannot name another one. Remove the line."
	}
	takes := settingOf(flag).Takes
	if one.list && takes != "list" {
		return "It takes one value, not a list."
	}
	if takes == "path" && one.text != "" && !filepath.IsAbs(one.text) && !strings.HasPrefix(one.text, "~/") {
		return "Use an absolute path."
	}
	return ""
}

// decode takes what each place gave, and keeps the strongest of each setting.
func (r *reading) decode() {
	for _, flag := range r.sheet.flags {
		if flag.HasDefault {
			set(flag, flag.Default)
		}
	}
	for _, from := range slices.Backward(r.layers) {
		r.resolveFiles(from)
		for _, flag := range r.sheet.flags {
			value, ok := from[flag.Name]
			if !ok {
				continue
			}
			if wrong := set(flag, value.text); wrong != "" {
				r.problems = append(r.problems, Problem{value.place, flag.Name, wrong})
				continue
			}
			r.chosen[flag.Name] = value
		}
	}
}

// resolveFiles reads the files that one place named for secrets.
func (r *reading) resolveFiles(from layer) {
	for _, flag := range r.sheet.flags {
		holds := settingOf(flag).Holds
		file, named := from[flag.Name]
		if holds == "" || !named {
			continue
		}
		if other, both := from[holds]; both {
			r.problems = append(r.problems, Problem{file.place, flag.Name, "The value stands at " + other.place + " too. Remove one of them."})
			continue
		}
		if text, ok := r.secret(kong.ExpandPath(file.text), file.place, flag.Name); ok {
			from[holds] = given{text, file.place}
		}
	}
}

func (r *reading) placeOf(name string) string {
	if value, ok := r.chosen[name]; ok {
		return value.place
	}
	return unset
}

func (r *reading) err() error {
	lines := make([]string, 0, len(r.problems))
	for _, problem := range r.problems {
		if line := "  " + problem.String(); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return models.Errorf(models.Invalid, "The settings do not fit:\n%s", strings.Join(lines, "\n"))
}

func (r *reading) report() *Report {
	report := &Report{File: r.file}
	_ = r.sheet.config.Validate() // fills what follows from the rest; choose found nothing wrong
	for _, flag := range r.sheet.flags {
		one := Effective{flag.Name, textOf(flag), r.placeOf(flag.Name)}
		switch {
		case settingOf(flag).Secret:
			one.Value = Mask(one.Value)
		case flag.Name == "config":
			one.Value = r.file
		}
		report.Settings = append(report.Settings, one)
	}
	return report
}
