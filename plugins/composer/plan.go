package composer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/repository"
	"hefring/plugins/composer/version"
)

const (
	maxPlan = 1 << 20
	maxMemo = 64 << 10
)

// plan is what a build of exactly one version needs.
type plan struct {
	Package entry `json:"package"`
	// Lock is composer.lock, compressed with gzip.
	Lock []byte `json:"lock"`
	// Repositories are the Composer repositories that know of its packages.
	Repositories []string `json:"repositories"`
	Abandoned    bool     `json:"abandoned,omitempty"`
	Replacement  string   `json:"replacement,omitempty"`
}

// entry is a package as a repository describes it to Composer.
type entry struct {
	Name    string           `json:"name"`
	Version string           `json:"version"`
	Type    string           `json:"type,omitempty"`
	Dist    *repository.Dist `json:"dist,omitempty"`
	Source  *repository.Dist `json:"source,omitempty"`
}

// entryOf names the archive of the package, or its repository when it has none.
func entryOf(p repository.Package) entry {
	e := entry{Name: p.Name, Version: p.Version.Text, Type: p.Type}
	switch {
	case p.Dist.URL != "":
		e.Dist = &p.Dist
	case p.Source.URL != "":
		e.Source = &p.Source
	}
	return e
}

// locked sees the entry as one of composer.lock.
func (e entry) locked() locked {
	return locked{Name: e.Name, Version: e.Version, Type: e.Type, Dist: e.Dist, Source: e.Source}
}

// reference tells the code of the version from other code; "" when nothing does.
func (e entry) reference() string { return e.locked().reference() }

// content is the id of what a build gives.
func (e entry) content(l *lock) string {
	whole := &lock{Packages: []locked{e.locked()}}
	return digest("composer", whole.digest(), l.canonical)
}

const prefix = "composer:"

// revision names the version; heads of branches with their commit.
func (e entry) revision() string {
	text := prefix + e.Name + "@" + e.Version
	if v, err := version.Parse(e.Version); err == nil && v.Stability() == version.Dev && e.reference() != "" {
		text += "#" + short(e.reference())
	}
	return text
}

const maxLabel = 40

// label names the version for people.
func (e entry) label() string {
	label := strings.TrimPrefix(e.revision(), prefix+e.Name+"@")
	if runes := []rune(label); len(runes) > maxLabel {
		label = string(runes[:maxLabel-1]) + "…"
	}
	return label
}

func short(reference string) string { return reference[:min(len(reference), 12)] }

// parseRevision finds package and version; heads of branches without the commit.
func parseRevision(text string) (name string, v version.Version, ok bool) {
	rest, ok := strings.CutPrefix(text, prefix)
	name, number, found := strings.Cut(rest, "@")
	if !ok || !found {
		return "", version.Version{}, false
	}
	number, _, _ = strings.Cut(number, "#")
	v, err := version.Parse(number)
	return name, v, err == nil
}

func (p plan) encode() (string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("write plan: %w", err)
	}
	if len(text) > maxPlan {
		return "", models.Errorf(models.Invalid, "The project's composer.lock is too large, even compressed: %d bytes.", len(text)).
			Because(models.ReasonTooLarge)
	}
	return string(text), nil
}

func pack(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress composer.lock: %w", err)
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("compress composer.lock: %w", err)
	}
	return out.Bytes(), nil
}

// readPlan reads a plan with its lock.
func readPlan(text string, plain map[string]bool) (plan, *lock, error) {
	var p plan
	if len(text) > maxPlan {
		return plan{}, nil, errors.New("read plan: too large")
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return plan{}, nil, fmt.Errorf("read plan: %w", err)
	}
	r, err := gzip.NewReader(bytes.NewReader(p.Lock))
	if err != nil {
		return plan{}, nil, fmt.Errorf("read plan: %w", err)
	}
	lockText, err := io.ReadAll(io.LimitReader(r, maxLock+1))
	if err != nil || len(lockText) > maxLock {
		return plan{}, nil, fmt.Errorf("read plan: %w", errors.Join(err, errors.New("its composer.lock is damaged or too large")))
	}
	l, err := readLock(lockText, plain)
	if err != nil {
		return plan{}, nil, fmt.Errorf("read plan: %w", err)
	}
	if err := p.Package.locked().check(plain); err != nil {
		return plan{}, nil, fmt.Errorf("read plan: %w", err)
	}
	return p, l, nil
}

// memo is what the next check wants to know.
type memo struct {
	Source string `json:"source"` // key of the source that it belongs to
	Solved int64  `json:"solved"` // Unix time
	Pages  pages  `json:"pages"`
	// Feeds are by the template of the pages that they stand for.
	Feeds map[string]feed `json:"feeds,omitempty"`
}

// recall reads the memo of the last check; one that is damaged, or of another
// source, is empty.
func (s source) recall(last plugins.Version) memo {
	var m memo
	if len(last.Memo) > maxMemo || json.Unmarshal([]byte(last.Memo), &m) != nil || m.Source != s.key() {
		return memo{}
	}
	return m
}

// fresh tells whether the dependencies were worked out not long ago.
func (m memo) fresh(renew time.Duration) bool {
	age := time.Since(time.Unix(m.Solved, 0))
	return age >= 0 && age < renew && m.Pages.count() > 0
}

// encode gives "" for a memo that is too large: the next check then asks
// everything anew.
func (m memo) encode() string {
	text, err := json.Marshal(m)
	if err != nil || len(text) > maxMemo {
		return ""
	}
	return string(text)
}
