// Package plugintest is the suite that every update type must pass.
package plugintest

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

// patience is how long a cancelled call may take to return.
const patience = 10 * time.Second

// cheap is how many bytes a check with nothing new may receive.
const cheap = 16 << 10

// Harness is one update type with a source that it can build.
type Harness struct {
	Plugin plugins.Plugin
	// Settings name a source that exists and builds. Values of secret fields are
	// looked for wherever they must not be, so make them long and strange.
	Settings models.Settings
	// Elsewhere name a well-formed source that does not exist; Open must accept
	// them, since it looks at nothing.
	Elsewhere models.Settings
	// Broken name sources of this machine of which Check must fail, such as one
	// that refuses the credentials or has no such release.
	Broken []models.Settings
	// Exception, which may be nil, is a source that can be brought out of the
	// ordinary.
	Exception *Exception
	// Local are the fields that may name files of this machine from its command
	// line, and never otherwise.
	Local []string
	// Cheap is how many bytes a check with nothing new may receive; 0 means 16
	// KiB.
	Cheap int64
	// Wrong lists values that Open must refuse, by field, beside those that the
	// suite tries on every field of a kind.
	Wrong map[string][]string
	// Folder is what a Registrar registers.
	Folder string
	// Untouched are folders that no call may change, such as the source itself.
	Untouched []string
	Run       *run.Runner
	Egress    *egress.Guard
}

// Exception is a source in which something happens that a person must look at.
type Exception struct {
	Settings models.Settings
	// Provoke makes it happen, such as moving a tag. The source builds before and
	// after it.
	Provoke func(t *testing.T)
	Reason  models.Reason // that Hold must have
}

// Exercise runs the suite.
func Exercise(t *testing.T, h Harness) {
	t.Helper()
	if _, err := plugins.NewRegistry(h.Plugin); err != nil {
		t.Fatalf("the type cannot be registered: %v", err)
	}
	t.Run("Info", h.info)
	t.Run("Open_FieldsAndSettingsAgree", h.fields)
	t.Run("Open_RefusesWrongValues", h.wrong)
	t.Run("Open_LooksAtNothing", h.openAlone)
	t.Run("Open_KeepsLocalFilesOut", h.localFiles)
	t.Run("Upstream_StableAndPublic", h.upstream)
	t.Run("Check_SameTwice", h.checkTwice)
	t.Run("Check_CheapWhenUnchanged", h.checkCheap)
	t.Run("Check_ToleratesDamagedLast", h.damagedLast)
	t.Run("Check_SharesAnswers", h.sharedAnswers)
	t.Run("Check_FailureHasReason", h.failures)
	t.Run("Check_HoldsExceptions", h.exception)
	t.Run("Build_SameTwice", h.buildTwice)
	t.Run("Build_FromKeptVersion", h.buildKept)
	t.Run("Build_RefusesDamagedPlan", h.damagedPlan)
	t.Run("Secrets_StayHidden", h.secrets)
	t.Run("Build_RefusesStrangeVersions", h.strangeVersions)
	t.Run("Cancel_ReturnsSoon", h.cancel)
}

func (h Harness) info(t *testing.T) {
	info := h.Plugin.Info()
	if info.Name == "" || info.Summary == "" || info.Icon == "" {
		t.Errorf("people need a name, a summary and an icon: %+v", info)
	}
}

// fields proves that a form drawn from Fields can set everything that Open
// reads: Open panics through Values when it reads what is no field, and refuses
// names that are none.
func (h Harness) fields(t *testing.T) {
	h.open(t, h.Settings)
	for _, f := range h.Plugin.Fields() {
		settings := h.wanting(f)
		if settings[f.Name] == "" {
			settings[f.Name] = sample(f)
		}
		if _, err := h.Plugin.Open(settings); err != nil && fieldsOf(err)[f.Name] == "This update type has no such setting." {
			t.Errorf("Open does not know its own field %s", f.Name)
		}
		delete(settings, f.Name)
		_, err := h.Plugin.Open(settings)
		switch {
		case f.Required && f.Default == "" && fieldsOf(err)[f.Name] == "":
			t.Errorf("without the required field %s: %v", f.Name, err)
		case !f.Required && fieldsOf(err)[f.Name] != "":
			t.Errorf("without the optional field %s: %v", f.Name, err)
		}
		h.hidden(t, f)
	}
	strange := maps.Clone(h.Settings)
	if strange == nil {
		strange = models.Settings{}
	}
	strange["no_such_setting"] = "1"
	if _, err := h.Plugin.Open(strange); fieldsOf(err)["no_such_setting"] == "" {
		t.Errorf("an unknown setting was accepted: %v", err)
	}
}

// wanting gives the settings, changed as little as makes f count.
func (h Harness) wanting(f plugins.Field) models.Settings {
	settings := maps.Clone(h.Settings)
	if settings == nil {
		settings = models.Settings{}
	}
	h.want(settings, f)
	return settings
}

func (h Harness) want(settings models.Settings, f plugins.Field) {
	if f.When == nil {
		return
	}
	for _, above := range h.Plugin.Fields() {
		if above.Name == f.When.Field {
			h.want(settings, above)
		}
	}
	if !plugins.Wanted(h.Plugin.Fields(), settings)[f.Name] {
		settings[f.When.Field] = f.When.Values[0]
	}
}

// hidden proves that a field which does not count is not even looked at.
func (h Harness) hidden(t *testing.T, f plugins.Field) {
	t.Helper()
	settings := maps.Clone(h.Settings)
	if f.When == nil || plugins.Wanted(h.Plugin.Fields(), settings)[f.Name] {
		return
	}
	settings[f.Name] = "-\x00"
	if _, err := h.Plugin.Open(settings); err != nil {
		t.Errorf("a wrong value of %s, which does not count: %v", f.Name, err)
	}
}

func sample(f plugins.Field) string {
	switch f.Kind {
	case plugins.FieldBool:
		return "1"
	case plugins.FieldChoice:
		return f.Options[0].Value
	case plugins.FieldURL:
		return "https://example.org/sample.git"
	case plugins.FieldNumber:
		return "3"
	case plugins.FieldPath, plugins.FieldText, plugins.FieldLines, plugins.FieldSecret, plugins.FieldSecretLines:
	}
	return "sample"
}

// hostile are values that no field of the kind may take.
func hostile(kind plugins.FieldKind) []string {
	invisible := []string{"a\x00b", "a\x1b[31mb", "a\u202eb", strings.Repeat("a", 70_000)}
	common := append(slices.Clone(invisible), "-x", "--upload-pack=touch /tmp/x", "a\nb", strings.Repeat("a", 5000))
	switch kind {
	case plugins.FieldPath:
		return append(common, "../x", "a/../../x", "..", "/etc", "~root", `a\..\b`, "a/-rf", "C:x", ".git", "a/.GIT/hooks")
	case plugins.FieldBool:
		return []string{"yes", "0", "true", "-1", "2"}
	case plugins.FieldChoice:
		return append(common, "no such choice")
	case plugins.FieldURL:
		return append(common, "https://example.org/a b", etcPasswd, "ext::sh -c touch% /tmp/x", "file:///etc")
	case plugins.FieldNumber:
		return append(common, "x", "-1", "1.5", "1e3", "99999999999", "0x10")
	case plugins.FieldSecret:
		return append(invisible, "a\nb", strings.Repeat("a", 5000))
	case plugins.FieldLines, plugins.FieldSecretLines:
		return invisible
	case plugins.FieldText:
	}
	return common
}

const etcPasswd = "/etc/passwd"

func (h Harness) wrong(t *testing.T) {
	for _, f := range h.Plugin.Fields() {
		for _, value := range append(hostile(f.Kind), h.Wrong[f.Name]...) {
			if value == etcPasswd && slices.Contains(h.Local, f.Name) {
				continue
			}
			settings := h.wanting(f)
			settings[f.Name] = value
			_, err := h.Plugin.Open(settings)
			if models.CodeOf(err) != models.Invalid || fieldsOf(err)[f.Name] == "" {
				t.Errorf("%s = %.60q: want a models.Error at the field, got %v", f.Name, value, err)
			}
		}
	}
}

func fieldsOf(err error) map[string]string {
	if e, ok := errors.AsType[*models.Error](err); ok {
		return e.Fields
	}
	return nil
}

func (h Harness) openAlone(t *testing.T) {
	start := time.Now()
	for range 20 {
		h.open(t, h.Elsewhere)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("20 calls of Open took %s; it must do no I/O", took)
	}
}

func (h Harness) open(t *testing.T, settings models.Settings) plugins.Source {
	t.Helper()
	source, err := h.Plugin.Open(settings)
	if err != nil {
		t.Fatalf("open %v: %v", settings, err)
	}
	return source
}

// version finds the source's version in the way that its kind has.
func (h Harness) version(ctx context.Context, p place, source plugins.Source, last plugins.Version) (plugins.Version, error) {
	if registrar, ok := source.(plugins.Registrar); ok {
		return registrar.Register(ctx, p.env, h.Folder)
	}
	return source.Check(ctx, p.env, last)
}

func (h Harness) mustVersion(t *testing.T, p place, source plugins.Source, last plugins.Version) plugins.Version {
	t.Helper()
	v, err := h.version(t.Context(), p, source, last)
	if err != nil {
		t.Fatalf("look at the source: %v", err)
	}
	if v.Revision == "" || v.Content == "" || v.Label == "" || len(v.Label) > 40 || strings.ContainsAny(v.Note+v.Label+v.Revision, "\n\r\x1b") {
		t.Fatalf("a version needs a revision, a content id, a short label and clean text: %+v", v)
	}
	return v
}

func (h Harness) checkTwice(t *testing.T) {
	p := h.place(t)
	source := h.open(t, h.Settings)
	first := h.mustVersion(t, p, source, plugins.Version{})
	if again := h.mustVersion(t, p, source, first); !again.Same(first) {
		t.Errorf("with the last version: %+v, then %+v", first, again)
	}
	if again := h.mustVersion(t, p, source, plugins.Version{}); !again.Same(first) {
		t.Errorf("without the last version: %+v, then %+v", first, again)
	}
	other := h.place(t)
	if again := h.mustVersion(t, other, source, kept(t, first)); !again.Same(first) || again.Hold != nil {
		t.Errorf("with an empty cache: %+v, then %+v", first, again)
	}
	p.verify(t)
	other.verify(t)
}

func (h Harness) buildTwice(t *testing.T) {
	source := h.open(t, h.Settings)
	var digests []string
	var version plugins.Version
	for range 2 {
		p := h.place(t)
		version = h.mustVersion(t, p, source, version)
		if _, err := source.Build(t.Context(), p.env, version, p.dst); err != nil {
			t.Fatalf("build: %v", err)
		}
		m, err := tree.Scan(t.Context(), p.dst, tree.Options{}, true)
		if err != nil {
			t.Fatal(err)
		}
		if files, _ := m.Totals(); files == 0 {
			t.Fatal("the build is empty")
		}
		digests = append(digests, m.Digest())
		p.verify(t)
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds of one version differ: %v", digests)
	}
}

func (h Harness) strangeVersions(t *testing.T) {
	source := h.open(t, h.Settings)
	p := h.place(t)
	good := h.mustVersion(t, p, source, plugins.Version{})
	for _, revision := range []string{"", "-x", "other:1", good.Revision + "x", strings.Repeat("a", 10000), "../../etc", good.Revision + "\n--x"} {
		strange := good
		strange.Revision = revision
		if _, err := source.Build(t.Context(), p.env, strange, p.dst); err == nil {
			t.Errorf("a build of revision %.40q succeeded", revision)
		}
	}
	strange := good
	strange.Content = strings.Repeat("0", len(good.Content))
	if _, err := source.Build(t.Context(), p.env, strange, p.dst); err == nil {
		t.Error("a build whose content is not what was checked succeeded")
	}
	p.verify(t)
}

// cancel ends calls before their start and at moments during their work.
func (h Harness) cancel(t *testing.T) {
	source := h.open(t, h.Settings)
	p := h.place(t)
	version := h.mustVersion(t, p, source, plugins.Version{})
	for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		for name, call := range map[string]func(context.Context, place) error{
			"version": func(ctx context.Context, p place) error {
				_, err := h.version(ctx, p, source, plugins.Version{})
				return err
			},
			"build": func(ctx context.Context, p place) error {
				_, err := source.Build(ctx, p.env, version, p.dst)
				return err
			},
		} {
			p := h.place(t)
			ctx, stop := context.WithTimeout(t.Context(), after)
			start := time.Now()
			err := call(ctx, p)
			ended := ctx.Err() != nil
			stop()
			if took := time.Since(start); took > patience {
				t.Errorf("%s: cancelled after %s it returned after %s", name, after, took)
			}
			if after == 0 && err == nil {
				t.Errorf("%s: a cancelled call succeeded", name)
			}
			if err == nil && !ended {
				continue
			}
			p.verify(t)
		}
	}
}

// place is a machine's worth of folders for one call, with a trap beside each.
type place struct {
	base   string
	dst    string
	env    plugins.Env
	before map[string]string
	watch  []string
}

func (h Harness) place(t *testing.T) place {
	t.Helper()
	base := t.TempDir()
	p := place{base: base, dst: filepath.Join(base, "dst"), watch: append([]string{filepath.Join(base, "beside")}, h.Untouched...)}
	for _, name := range []string{"dst", "scratch", "cache", "beside"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o755); err != nil { //nolint:gosec // programs of other users work in it
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "beside", "file"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = plugins.Env{
		Run: h.Run, Egress: h.Egress, Log: io.Discard,
		Scratch: filepath.Join(base, "scratch"), Cache: filepath.Join(base, "cache"),
		Forbidden: []string{filepath.Join(base, "beside")},
	}
	p.before = p.digests(t)
	return p
}

func (p place) digests(t *testing.T) map[string]string {
	t.Helper()
	digests := map[string]string{}
	for _, dir := range p.watch {
		m, err := tree.Scan(t.Context(), dir, tree.Options{}, false)
		if err != nil {
			t.Fatalf("look at %s: %v", dir, err)
		}
		digests[dir] = m.Digest()
	}
	return digests
}

// verify proves that nothing but dst, scratch and cache was written.
func (p place) verify(t *testing.T) {
	t.Helper()
	for dir, digest := range p.digests(t) {
		if p.before[dir] != digest {
			t.Errorf("%s was changed", dir)
		}
	}
	entries, err := os.ReadDir(p.base)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if !slices.Equal(names, []string{"beside", "cache", "dst", "scratch"}) {
		t.Errorf("something was written beside the given folders: %v", names)
	}
}
