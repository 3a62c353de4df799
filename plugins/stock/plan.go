package stock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"hefring/plugins"
	"hefring/plugins/drupalorg"
)

// plan is how a release is built. It is the first line of Version.Plan; what
// Composer's own update type planned follows.
type plan struct {
	Packaging string    `json:"packaging"`
	Version   string    `json:"version"`
	URL       string    `json:"url,omitempty"` // of the archive
	MD5       string    `json:"md5,omitempty"`
	Makefile  string    `json:"makefile,omitempty"`
	Composer  *composed `json:"composer,omitempty"`
}

func (p plan) text(rest string) (string, error) { return firstLine(p, rest) }

// firstLine writes value as a line of JSON before another text.
func firstLine(value any, rest string) (string, error) {
	line, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("write plan: %w", err)
	}
	return string(line) + "\n" + rest, nil
}

// readPlan gives the zero plan for damaged text.
func readPlan(text string) (p plan, rest string) {
	line, rest, _ := strings.Cut(text, "\n")
	if json.Unmarshal([]byte(line), &p) != nil {
		return plan{}, ""
	}
	return p, rest
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// repacked tells whether one address holds another archive than before.
func repacked(before, now string) bool {
	old, _ := readPlan(before)
	p, _ := readPlan(now)
	return old.Packaging == packagingArchive && p.Packaging == packagingArchive && old.URL == p.URL && old.MD5 != p.MD5
}

// memo is what the next check needs of this one. It is the first line of
// Version.Memo; that of Composer's own update type follows.
type memo struct {
	Validators drupalorg.Validators `json:"validators"`
	Settings   string               `json:"settings"` // digest of those that choose the release
	Content    string               `json:"content"`  // of the version that was found
}

const maxMemo = 64 << 10 // bytes, of plugins.Version

func (m memo) text(rest string) (string, error) {
	text, err := firstLine(m, rest)
	if err == nil && len(text) > maxMemo {
		return firstLine(m, "")
	}
	return text, err
}

// readMemo gives the zero memo for damaged text, and for that of a check that found
// something else than the version with it.
func readMemo(v plugins.Version) (m memo, rest string) {
	line, rest, _ := strings.Cut(v.Memo, "\n")
	if json.Unmarshal([]byte(line), &m) != nil || m.Content != v.Content {
		return memo{}, ""
	}
	return m, rest
}

// settings stands for the settings in a memo.
func (s source) settings() string {
	return digest(fmt.Sprintf("%q %v %q %q %q", s.address, s.channel, s.packaging, s.template, s.repository))[:16]
}

// Build puts the code of the release into dst.
func (s source) Build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) (plugins.Made, error) {
	version, ok := s.versionOf(v)
	p, rest := readPlan(v.Plan)
	switch {
	case !ok || p.Version != version:
		return plugins.Made{}, fmt.Errorf("build release: revision %.100q does not fit its plan", v.Revision)
	case p.Packaging == packagingArchive && v.Content == p.archiveContent():
		return s.buildArchive(ctx, env, p, dst)
	case p.Packaging == packagingComposer && p.Composer != nil && v.Content == p.Composer.Content:
		return s.buildComposer(ctx, env, p, rest, dst)
	}
	return plugins.Made{}, fmt.Errorf("build release: the plan of %.100q is damaged", v.Revision)
}
