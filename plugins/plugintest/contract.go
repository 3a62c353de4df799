package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

// Most bytes of what a version carries.
const (
	maxPlan = 1 << 20
	maxMemo = 64 << 10
)

// kept gives a version as it comes back from the database, where times and
// pointers are others.
func kept(t *testing.T, v plugins.Version) plugins.Version {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var again plugins.Version
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	return again
}

// byHand tells whether versions of the source come from a person.
func byHand(source plugins.Source) bool {
	_, registrar := source.(plugins.Registrar)
	return registrar
}

func (h Harness) upstream(t *testing.T) {
	first := h.open(t, h.Settings).Upstream()
	if again := h.open(t, h.Settings).Upstream(); again != first {
		t.Errorf("it changes: %+v, then %+v", first, again)
	}
	if first.Host != strings.ToLower(first.Host) || strings.ContainsAny(first.Host, "/@") {
		t.Errorf("the host is to be in lower case and alone: %q", first.Host)
	}
	for _, secret := range h.secretValues() {
		if strings.Contains(first.Key+first.Host, secret) {
			t.Errorf("it holds a secret: %+v", first)
		}
		settings := maps.Clone(h.Settings)
		for name, value := range settings {
			if value == secret {
				settings[name] = secret + "x"
			}
		}
		if other, err := h.Plugin.Open(settings); err == nil && other.Upstream().Key == first.Key {
			t.Error("with another secret the upstream is the same")
		}
	}
	if len(h.Elsewhere) > 0 && first.Key != "" && h.open(t, h.Elsewhere).Upstream().Key == first.Key {
		t.Errorf("sources at different places have one upstream: %+v", first)
	}
}

// localFiles proves that no form reaches files of this machine.
func (h Harness) localFiles(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, []byte("core = 7.x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range h.Local {
		for _, value := range []string{canary, etcPasswd} {
			settings := maps.Clone(h.Settings)
			settings[name] = value
			source, err := h.Plugin.Open(settings)
			if err != nil {
				continue // just as well
			}
			p := h.place(t)
			p.env.Local = false
			if v, err := source.Check(t.Context(), p.env, plugins.Version{}); models.CodeOf(err) != models.Invalid {
				t.Errorf("%s = %s: got %+v, %v", name, value, v, err)
			}
		}
	}
}

func (h Harness) checkCheap(t *testing.T) {
	source := h.open(t, h.Settings)
	if byHand(source) {
		return
	}
	p := h.place(t)
	var full, again egress.Meter
	p.env.Egress = h.Egress.Metered(&full)
	first := kept(t, h.mustVersion(t, p, source, plugins.Version{}))
	p.env.Egress = h.Egress.Metered(&again)
	h.mustVersion(t, p, source, first)
	most := h.Cheap
	if most == 0 {
		most = cheap
	}
	if again.Requests() > full.Requests() || again.Received() > min(most, full.Received()+most/8) {
		t.Errorf("a check with nothing new took %d requests and %d bytes; the first one %d and %d",
			again.Requests(), again.Received(), full.Requests(), full.Received())
	}
}

// garbage is what a damaged database, or an older Hefring, may hand back.
func garbage() []string {
	return []string{"x", "{", "null", "[]", `{"a":`, `"text"`, "0", `{"version":-1}`, "\x00\xff", strings.Repeat("[", 20_000), strings.Repeat("a", maxMemo)}
}

func (h Harness) damagedLast(t *testing.T) {
	source := h.open(t, h.Settings)
	if byHand(source) {
		return
	}
	p := h.place(t)
	first := h.mustVersion(t, p, source, plugins.Version{})
	for _, text := range garbage() {
		for name, last := range map[string]plugins.Version{
			"memo":     {Revision: first.Revision, Content: first.Content, Label: first.Label, Plan: first.Plan, Memo: text},
			"plan":     {Revision: first.Revision, Content: first.Content, Label: first.Label, Plan: text, Memo: first.Memo},
			"revision": {Revision: text, Content: text, Label: text, Plan: text, Memo: text},
		} {
			v, err := source.Check(t.Context(), p.env, last)
			if err != nil || !v.Same(first) || v.Plan != first.Plan {
				t.Errorf("damaged %s %.20q: got %+v, %v", name, text, v, err)
			}
			if name == "revision" && v.Hold != nil {
				t.Errorf("a last version that cannot be read holds: %+v", v.Hold)
			}
		}
	}
}

// sharedAnswers checks the source beside others of its upstream.
func (h Harness) sharedAnswers(t *testing.T) {
	source := h.open(t, h.Settings)
	if byHand(source) {
		return
	}
	p := h.place(t)
	alone := h.mustVersion(t, p, source, plugins.Version{})
	p.env.Peers = []plugins.Source{h.open(t, h.Settings), source, h.open(t, h.Settings)}
	p.env.Answers = new(plugins.Answers)
	for _, peer := range p.env.Peers {
		if v := h.mustVersion(t, p, peer, plugins.Version{}); !v.Same(alone) {
			t.Errorf("alone %+v, with peers %+v", alone, v)
		}
	}
}

func (h Harness) failures(t *testing.T) {
	for _, settings := range h.Broken {
		source := h.open(t, settings)
		for range 2 {
			p := h.place(t)
			v, err := source.Check(t.Context(), p.env, plugins.Version{})
			if models.CodeOf(err) == "" || models.ReasonOf(err) == "" || models.Explain(err) == "" {
				t.Errorf("%s: want a models.Error with a reason, got %+v, %v", source.Upstream().Key, v, err)
			}
			p.verify(t)
		}
	}
}

// exception proves that something extraordinary is told as long as the version
// from before it counts, and that the version is sound once a person agrees.
func (h Harness) exception(t *testing.T) {
	if h.Exception == nil {
		return
	}
	source := h.open(t, h.Exception.Settings)
	p := h.place(t)
	before := kept(t, h.mustVersion(t, p, source, plugins.Version{}))
	if before.Hold != nil {
		t.Fatalf("the ordinary is held: %+v", before.Hold)
	}
	h.Exception.Provoke(t)
	held := h.mustVersion(t, p, source, before)
	for _, v := range []plugins.Version{held, h.mustVersion(t, h.place(t), source, before)} {
		if v.Hold == nil || v.Hold.Reason != h.Exception.Reason || v.Hold.Message == "" || !v.Same(held) {
			t.Errorf("want a hold because of %s, got %+v", h.Exception.Reason, v)
		}
	}
	for _, last := range []plugins.Version{{}, kept(t, held)} {
		if v := h.mustVersion(t, p, source, last); v.Hold != nil || !v.Same(held) {
			t.Errorf("after %+v: want no hold, got %+v", last, v)
		}
	}
	place := h.place(t)
	if _, err := source.Build(t.Context(), place.env, kept(t, held), place.dst); err != nil {
		t.Errorf("the held version does not build: %v", err)
	}
}

// buildKept builds a version as the fleet does: later, from what the database
// kept, and on a machine whose cache is empty.
func (h Harness) buildKept(t *testing.T) {
	source := h.open(t, h.Settings)
	checked := h.place(t)
	v := h.mustVersion(t, checked, source, plugins.Version{})
	if len(v.Plan) > maxPlan || len(v.Memo) > maxMemo {
		t.Errorf("a plan of %d bytes, a memo of %d", len(v.Plan), len(v.Memo))
	}
	later := kept(t, v)
	later.Memo, later.Note, later.Facts = "", "", nil // none of which a build may need
	if digest, other := h.build(t, checked, source, v), h.build(t, h.place(t), h.open(t, h.Settings), later); digest != other {
		t.Errorf("built later it differs: %s, then %s", digest, other)
	}
}

// build gives the digest of the built tree.
func (h Harness) build(t *testing.T, p place, source plugins.Source, v plugins.Version) string {
	t.Helper()
	made, err := source.Build(t.Context(), p.env, v, p.dst)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	for _, s := range made.Sources {
		if s.Name == "" || strings.Contains(s.URL, "@") {
			t.Errorf("a source package needs a name, and no user in its address: %+v", s)
		}
	}
	m, err := tree.Scan(t.Context(), p.dst, tree.Options{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if files, _ := m.Totals(); files == 0 {
		t.Fatal("the build is empty")
	}
	p.verify(t)
	return m.Digest()
}

func (h Harness) damagedPlan(t *testing.T) {
	source := h.open(t, h.Settings)
	good := h.mustVersion(t, h.place(t), source, plugins.Version{})
	for _, text := range append(garbage(), "") {
		damaged := good
		damaged.Plan = text
		p := h.place(t)
		_, err := source.Build(t.Context(), p.env, damaged, p.dst)
		if good.Plan != "" && text != good.Plan && err == nil {
			t.Errorf("a build from the plan %.20q succeeded", text)
		}
		p.verify(t)
		if good.Plan == "" {
			return // it has no use for one
		}
	}
}

func (h Harness) secretValues() []string {
	var values []string
	for _, f := range h.Plugin.Fields() {
		if value := h.Settings[f.Name]; f.Kind.Secret() && value != "" {
			values = append(values, value)
		}
	}
	return values
}

// secrets looks for the settings' secrets in all that a source gives back, logs
// or leaves behind, and in the arguments of the machine's programs meanwhile.
func (h Harness) secrets(t *testing.T) {
	values := h.secretValues()
	if len(values) == 0 {
		return
	}
	for _, value := range values {
		if len(value) < 8 {
			t.Fatalf("the secret %q is too short to be looked for", value)
		}
	}
	log := new(locked)
	args := watchArguments(t, values)
	for _, settings := range append([]models.Settings{h.Settings}, h.Broken...) {
		source := h.open(t, settings)
		p := h.place(t)
		p.env.Log = log
		v, err := h.version(t.Context(), p, source, plugins.Version{})
		wantHidden(t, values, "the version", v)
		wantHidden(t, values, "an error", errorText(err))
		if err == nil {
			made, err := source.Build(t.Context(), p.env, v, p.dst)
			wantHidden(t, values, "what was made", made)
			wantHidden(t, values, "an error", errorText(err))
			strange := v
			strange.Content = strings.Repeat("0", len(v.Content))
			_, err = source.Build(t.Context(), p.env, strange, h.place(t).dst)
			wantHidden(t, values, "an error", errorText(err))
		}
		wantHiddenIn(t, values, p.base)
	}
	wantHidden(t, values, "the log", log.String())
	for _, line := range args() {
		t.Errorf("arguments that everybody sees hold a secret: %q", line)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error() + models.Explain(err)
}

func wantHidden(t *testing.T, values []string, where string, what any) {
	t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range values {
		quoted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, bytes.Trim(quoted, `"`)) {
			t.Errorf("%s holds a secret", where)
		}
	}
}

// wantHiddenIn looks into every file below dir.
func wantHiddenIn(t *testing.T, values []string, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // our own temporary folder
		for _, value := range values {
			if bytes.Contains(text, []byte(value)) {
				t.Errorf("the file %s holds a secret", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// watchArguments looks at every program's arguments until the list of those
// with a secret is asked for.
func watchArguments(t *testing.T, values []string) func() []string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	found := make(chan []string, 1)
	go func() {
		var lines []string
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				text, _ := os.ReadFile(file) //nolint:gosec // it may be gone already
				for _, value := range values {
					if bytes.Contains(text, []byte(value)) {
						lines = append(lines, string(text))
					}
				}
			}
			<-tick.C
		}
		found <- lines
	}()
	return func() []string {
		stop()
		return <-found
	}
}

// locked is a log that several writers share.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
