package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hefring/internal/config"
	"hefring/internal/oneshot"
	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/builtin"
)

type sourceCmd struct {
	Check sourceCheckCmd `cmd:"" help:"Look at a source and print its revision, its build key and what that cost."`
	Build sourceBuildCmd `cmd:"" help:"Make a source's code in a folder, as a platform would be built."`
}

// sourceFlags name a source and what may be used to reach it.
type sourceFlags struct {
	Type   string   `required:"" help:"Update type: git, makefile, stock, composer or manual."`
	Set    []string `sep:"none" placeholder:"KEY=VALUE" help:"A setting of the update type, as in its form. KEY=@FILE takes the value from a file (@- from standard input), KEY=env:NAME from the environment; secrets are given in these two ways only."`
	Folder string   `help:"Folder that a manual distribution registers." type:"path"`
	Allow  []string `aliases:"egress-allow" sep:"," placeholder:"CIDR" help:"Private networks that the source may be in, such as 127.0.0.1/32." env:"HEFRING_EGRESS_ALLOW"`
	JSON   bool     `name:"json" help:"Print JSON."`

	Data        string `help:"Hefring's data folder, which no source may lie in." env:"HEFRING_DATA" default:"/var/lib/hefring" type:"path"`
	BuildUser   string `help:"User that builds run as when this command runs as root." env:"HEFRING_BUILD_USER" default:"nobody"`
	CAFile      string `help:"PEM file of certificate authorities to trust beside the system's." env:"HEFRING_CA_FILE" type:"path"`
	Unsandboxed bool   `name:"allow-unsandboxed-builds" help:"Build even where bubblewrap cannot contain what builds run." env:"HEFRING_ALLOW_UNSANDBOXED_BUILDS"`
}

type sourceCheckCmd struct{ sourceFlags }

// Run prints what the source holds.
func (c *sourceCheckCmd) Run(ctx context.Context) error {
	return c.with(ctx, func(w *oneshot.Workshop, r oneshot.Request) (oneshot.Report, error) { return w.Check(ctx, r) })
}

type sourceBuildCmd struct {
	sourceFlags
	Dir string `arg:"" help:"Folder to make the code in; it must be empty or not there yet, and is left as it is when the build fails." type:"path"`
}

// Run builds, and prints what was made.
func (c *sourceBuildCmd) Run(ctx context.Context) error {
	return c.with(ctx, func(w *oneshot.Workshop, r oneshot.Request) (oneshot.Report, error) { return w.Build(ctx, r, c.Dir) })
}

// Exit codes of the source commands.
const (
	exitSettings    = 2 // the settings or arguments are wrong; nothing was asked
	exitUnavailable = 3 // something outside does not answer; trying again may help
)

// with puts the parts together, without a database, and prints the report.
func (f *sourceFlags) with(ctx context.Context, use func(*oneshot.Workshop, oneshot.Request) (oneshot.Report, error)) error {
	types, err := plugins.NewRegistry(builtin.All()...)
	if err != nil {
		return err
	}
	request, err := f.request(types)
	if err != nil {
		return sourceError(errors.Join(err, oneshot.ErrSettings))
	}
	private, err := os.MkdirTemp("", "hefring-source-")
	if err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(private) }()
	workshop, err := f.workshop(ctx, types, private)
	if err != nil {
		return sourceError(err)
	}
	report, err := use(workshop, request)
	if err != nil {
		return sourceError(err)
	}
	if f.JSON {
		return printJSON(os.Stdout, report)
	}
	return printReport(os.Stdout, report)
}

func (f *sourceFlags) workshop(ctx context.Context, types *plugins.Registry, private string) (*oneshot.Workshop, error) {
	if err := os.Chmod(private, 0o711); err != nil { //nolint:gosec // builds read the certificates in it
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	cfg := config.Config{CAFile: f.CAFile, EgressAllow: f.Allow}
	guard, caFile, err := newGuard(cfg, private)
	if err != nil {
		return nil, errors.Join(err, oneshot.ErrSettings)
	}
	programs := run.Config{Hide: []string{layout(f.Data).control}, CAFile: caFile}
	programs.Uncontained = uncontained(ctx, f.Unsandboxed, newLogger("warn"))
	builder, err := newRunner(f.BuildUser, programs)
	if err != nil {
		return nil, fmt.Errorf("%w; name another with --build-user", err)
	}
	versions, err := toolVersions(ctx, builder)
	if err != nil {
		return nil, err
	}
	return oneshot.New(oneshot.Config{
		Types: types, Run: builder, Egress: guard, Tools: versions, Log: os.Stderr, Forbidden: []string{f.Data},
	}), nil
}

// request reads the settings in the ways that Set names.
func (f *sourceFlags) request(types *plugins.Registry) (oneshot.Request, error) {
	plugin, err := types.Get(f.Type)
	if err != nil {
		return oneshot.Request{}, err
	}
	settings, err := readSettings(plugin, f.Set)
	if err != nil {
		return oneshot.Request{}, err
	}
	return oneshot.Request{Type: f.Type, Settings: settings, Folder: f.Folder}, nil
}

// readSettings reads settings of an update type, each KEY=VALUE in the ways that
// --set names.
func readSettings(plugin plugins.Plugin, set []string) (models.Settings, error) {
	settings, wrong := models.Settings{}, map[string]string{}
	for _, text := range set {
		name, value, found := strings.Cut(text, "=")
		if !found {
			wrong[name] = "Write --set " + name + "=VALUE."
			continue
		}
		read, err := settingValue(fieldOf(plugin, name), value)
		if err != nil {
			wrong[name] = err.Error()
		}
		settings[name] = read
	}
	if len(wrong) > 0 {
		return nil, &models.Error{Code: models.Invalid, Message: "Please correct the settings.", Fields: wrong}
	}
	return settings, nil
}

// fieldOf finds a field; a name that is none is refused by the update type.
func fieldOf(p plugins.Plugin, name string) plugins.Field {
	fields := p.Fields()
	if i := slices.IndexFunc(fields, func(f plugins.Field) bool { return f.Name == name }); i >= 0 {
		return fields[i]
	}
	return plugins.Field{Name: name, Kind: plugins.FieldText}
}

func settingValue(f plugins.Field, text string) (string, error) {
	if file, isFile := strings.CutPrefix(text, "@"); isFile {
		return settingFile(file)
	}
	if name, isEnv := strings.CutPrefix(text, "env:"); isEnv {
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("the environment has no %s", name)
		}
		return value, nil
	}
	if f.Kind.Secret() && text != "" {
		return "", fmt.Errorf("everybody on this machine sees arguments, so write %s=@FILE or %s=env:NAME", f.Name, f.Name)
	}
	switch {
	case f.Kind == plugins.FieldBool:
		return settingBool(text), nil
	case f.Kind == plugins.FieldURL, f.Name == "url":
		return settingPlace(text), nil
	}
	return text, nil
}

const maxSettingFile = 1 << 20

func settingFile(name string) (string, error) {
	in := os.Stdin
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the person at the command line names it
		if err != nil {
			return "", err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSettingFile+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxSettingFile {
		return "", fmt.Errorf("%s is longer than %s", name, tree.Size(maxSettingFile))
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// settingBool takes the words that people write for yes and no; the update type
// refuses others.
func settingBool(text string) string {
	switch strings.ToLower(text) {
	case "1", "true", "yes", "on":
		return "1"
	case "0", "false", "no", "off":
		return ""
	}
	return text
}

// settingPlace makes the path of a file that is there absolute.
func settingPlace(text string) string {
	if text == "" || strings.Contains(text, "://") {
		return text
	}
	if _, err := os.Stat(text); err != nil {
		return text
	}
	if absolute, err := filepath.Abs(text); err == nil {
		return absolute
	}
	return text
}

// sourceError tells people what they can act on, and the exit code to scripts.
func sourceError(err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok {
		return err
	}
	lines := []string{e.Message}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		if e.Fields[name] != e.Message {
			lines = append(lines, "  "+name+": "+e.Fields[name])
		}
	}
	code := 1
	switch {
	case errors.Is(err, oneshot.ErrSettings):
		code = exitSettings
	case e.Code == models.Unavailable:
		code = exitUnavailable
	}
	if reason := models.ReasonOf(err); reason != "" {
		lines[0] += " [" + string(reason) + "]"
	}
	return &exitError{code, strings.Join(lines, "\n")}
}

// exitError ends the program with a code of its own.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

func printJSON(w io.Writer, value any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(value)
}

// printReport writes one line for each thing worth knowing.
func printReport(w io.Writer, r oneshot.Report) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s"+format+"\n", append([]any{name}, args...)...)
	}
	line("revision", "%s", r.Revision)
	line("content", "%s", r.Content)
	line("build key", "%s", r.BuildKey)
	line("label", "%s", r.Label)
	if r.Note != "" {
		line("note", "%s", r.Note)
	}
	for _, fact := range r.Facts {
		line("fact", "%s: %s", fact.Label, fact.Value)
	}
	if r.Security {
		line("security", "yes")
	}
	if r.Hold != nil {
		line("hold", "%s: %s", r.Hold.Reason, r.Hold.Message)
	}
	for _, finding := range r.Findings {
		line("finding", "%s %s: %s", finding.Package, finding.Version, finding.Title)
	}
	if r.Built != nil {
		writeBuilt(line, *r.Built)
	}
	line("cost", "%d requests, %d bytes received, %.2f s", r.Cost.Requests, r.Cost.Bytes, r.Cost.Seconds)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeBuilt(line func(name, format string, args ...any), t oneshot.Built) {
	for _, source := range t.Sources {
		line("source", "%s", strings.Join(strings.Fields(strings.Join([]string{source.Type, source.Name, source.Version, source.URL, source.Checksum}, " ")), " "))
	}
	for _, finding := range t.Findings {
		line("finding", "%s %s: %s", finding.Package, finding.Version, finding.Title)
	}
	line("folder", "%s", t.Dir)
	line("tree", "%d files, %s, sha256:%s", t.Files, tree.Size(t.Bytes), t.Digest)
	if t.Platform != nil {
		line("platform", "Drupal %s in %q, %d packages", t.Platform.DrupalVersion, t.Platform.Docroot, len(t.Platform.Packages))
	}
	if t.Unfit != "" {
		line("no platform", "%s", t.Unfit)
	}
}
