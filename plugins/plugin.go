// Package plugins is the contract of update types: how a kind of source is
// described, looked at and turned into code. Each type has a folder of its own;
// builtin.All lists them.
package plugins

import (
	"context"
	"io"

	"hefring/internal/egress"
	"hefring/internal/run"
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
)

// Option is one value of a FieldChoice.
type Option struct{ Value, Label string }

// Source is a place that was opened with settings.
type Source interface {
	// Check looks at the source and says what it holds now. It is cheap: nothing
	// is downloaded that is not needed for the answer. last is the version seen
	// before, zero at first.
	Check(ctx context.Context, env Env, last Version) (Version, error)
	// Build puts the code of exactly v into dst, an existing empty folder. After
	// an error dst may hold anything; the caller throws it away.
	Build(ctx context.Context, env Env, v Version, dst string) error
}

// Registrar is a Source whose versions a person names one by one: it is never
// checked, and its platforms become the upgrade target only by hand.
type Registrar interface {
	Source
	// Register makes a version out of the folder at path on this machine.
	Register(ctx context.Context, env Env, path string) (Version, error)
}

// Version is one state of a source.
type Version struct {
	Revision string // what the source says: git:refs/heads/main@sha1:…
	Content  string // id of what a build would take from it; part of the build key
	Label    string // short name for people: 4f2a91c
	Note     string // the source's own words, one line
}

// Env is what a source may use of the machine, and nothing beside it.
type Env struct {
	Run     *run.Runner
	Egress  *egress.Guard
	Log     io.Writer // lines for people: the task's live log
	Scratch string    // empty folder, removed after the call
	Cache   string    // folder kept between calls of all sources; safe to lose
	// Forbidden are folders of the control plane that no source may lie in or
	// around; only sources on this machine look at it.
	Forbidden []string
}
