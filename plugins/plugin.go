// Package plugins is the contract of update types: how a kind of source is
// described, looked at and turned into code. Each type has a folder of its own;
// builtin.All lists them.
package plugins

import (
	"context"
	"io"
	"sync"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
)

// Plugin is one update type. It holds no state.
type Plugin interface {
	Info() Info
	// Fields describes the settings; forms, the command line and the API are
	// drawn from it.
	Fields() []Field
	// Open checks the settings without any I/O and gives the source they name.
	// Wrong or unknown settings are one models.Error with Fields keyed by
	// Field.Name.
	Open(settings models.Settings) (Source, error)
}

// Info names an update type.
type Info struct {
	ID      string // lower-case word, kept in the database
	Name    string // Git repository
	Summary string // one sentence for the form
	Icon    string // name of a Lucide icon
	ByHand  bool   // never checked: its sources are Registrars
	// Every is how often the type's queue looks at first; 0 means five minutes.
	Every time.Duration
}

// Field is one setting.
type Field struct {
	Name        string
	Label       string
	Help        string
	Placeholder string
	Kind        FieldKind
	Required    bool
	Default     string
	Options     []Option // for FieldChoice
	Wide        bool     // takes the whole width of a form
	When        *When    // nil: always; a field that is not wanted is hidden and ignored
	// Aside says that the setting decides where or when to look and never, beside
	// Version.Content, what is built: it is no part of the build key.
	Aside bool
}

// When makes a field depend on the value of a FieldChoice or FieldBool.
type When struct {
	Field  string
	Values []string
}

// FieldKind says how a field is drawn and what it may hold.
type FieldKind string

// Kinds of fields.
const (
	FieldText   FieldKind = "text"
	FieldURL    FieldKind = "url"
	FieldPath   FieldKind = "path"   // relative path inside the source
	FieldBool   FieldKind = "bool"   // "1" or absent
	FieldChoice FieldKind = "choice" // one of Options
	FieldLines  FieldKind = "lines"  // text of several lines, such as public keys
	FieldNumber FieldKind = "number" // a whole number of 0 or more
	// FieldSecret and FieldSecretLines are encrypted where they are kept, and
	// never shown again.
	FieldSecret      FieldKind = "secret"
	FieldSecretLines FieldKind = "secretlines"
)

// Option is one value of a FieldChoice.
type Option struct{ Value, Label string }

// Source is a place that was opened with settings.
type Source interface {
	// Upstream names what is asked over the network. Sources with equal upstreams
	// share its turn: they are checked together, and stall together.
	Upstream() Upstream
	// Check looks at the source and says what it holds now. It is cheap: nothing
	// is downloaded that is not needed for the answer. last is the version seen
	// before, zero at first. Failures are models.Errors with a Reason.
	Check(ctx context.Context, env Env, last Version) (Version, error)
	// Build puts the code of exactly v into dst, an existing empty folder. After
	// an error dst may hold anything; the caller throws it away.
	Build(ctx context.Context, env Env, v Version, dst string) (Made, error)
}

// Assessor is a Source that knows what is wrong with versions that already run.
type Assessor interface {
	Source
	// Assess judges each version, as Check gave it once: the list at the same
	// index says what is wrong with it, and is empty when nothing is. It is
	// called right after Check, with the same env.
	Assess(ctx context.Context, env Env, running []Version) ([][]models.Finding, error)
}

// Registrar is a Source whose versions a person names one by one: it is never
// checked, and its platforms become the upgrade target only by hand.
type Registrar interface {
	Source
	// Register makes a version out of the folder at path on this machine.
	Register(ctx context.Context, env Env, path string) (Version, error)
}

// Upstream is what a source asks.
type Upstream struct {
	// Key is the canonical form of the address, with a digest of the credential
	// after it where there is one; never the credential itself. "" is asked
	// nothing.
	Key  string
	Host string // host that is asked, in lower case, without port; "" for this machine
}

// Version is one state of a source.
type Version struct {
	Revision string // what the source says: git:refs/heads/main@sha1:…
	Content  string // id of what a build would take from it; part of the build key
	Label    string // short name for people: 4f2a91c
	Note     string // the source's own words, one line

	// Plan is what a build of exactly this version needs to know beside the
	// settings, such as resolved versions: kept with the platform, public, at
	// most a megabyte.
	Plan string
	// Memo is handed back as last.Memo by the next check, such as the validators
	// of pages: public, at most 64 KiB, safe to lose.
	Memo string

	Facts    []models.Fact // what the page shows of it: MD5 of the makefile
	Security bool          // it mends a hole in the version before
	Hold     *Hold         // it is out of the ordinary: a person decides
}

// Same tells whether two versions are one: they would build the same platform.
func (v Version) Same(w Version) bool {
	return v.Revision == w.Revision && v.Content == w.Content
}

// Hold says why a version is not built before a person agrees.
type Hold struct {
	Reason  models.Reason
	Message string // what happened, and what approving it would do
}

// Made is what a build tells of its tree beside the tree itself.
type Made struct {
	Sources  []models.SourcePackage // archives and repositories that it was made from
	Findings []models.Finding       // what is known to be wrong with its packages
}

// Env is what a source may use of the machine, and nothing beside it.
type Env struct {
	Run     *run.Runner
	Egress  *egress.Guard
	Log     io.Writer // lines for people: the task's live log
	Scratch string    // empty folder, removed after the call
	Cache   string    // folder kept between calls of all sources; safe to lose
	// Older are sealed platforms of the same distribution, best the newest first,
	// only while building. A build may share their unchanged files instead of
	// writing them again, by tree.Kept's rules: never before the last program that
	// could write to them has ended.
	Older []*tree.Kept
	// Forbidden are folders of the control plane that no source may lie in or
	// around; only sources on this machine look at it.
	Forbidden []string
	// Local says that a person at this machine's command line asks: sources may
	// then name files of it, which nobody may do through a form.
	Local bool
	// Peers are other sources of the same upstream that are checked with this
	// one; Answers is shared between them, so that one question serves all.
	Peers   []Source
	Answers *Answers
}

// Answers keeps what an upstream answered during one check of its sources. The
// zero value is empty; nil keeps nothing.
type Answers struct{ kept sync.Map }

// Ask gives the answer that is kept under key, or asks and keeps it. Failures
// are kept too: what one source was refused, its peers need not ask again. Calls
// come one after the other.
func Ask[T any](a *Answers, key string, ask func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	if a == nil {
		return ask()
	}
	if known, ok := a.kept.Load(key); ok {
		if was, ok := known.(answer); ok {
			return was.value, was.err
		}
	}
	value, err := ask()
	a.kept.Store(key, answer{value, err})
	return value, err
}
