package git

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"hefring/internal/run"
	"hefring/internal/tree"
)

// blob is one file of a snapshot.
type blob struct {
	path string
	mode string // as git has it: 100644
	id   string
	size int64
}

const (
	modeFile    = "100644"
	modeProgram = "100755"
)

// unchanged proves which files of a snapshot the older platform holds at the same
// place: it compares their content's name in git, so that it does not matter what
// that platform was built from. rest names the others for git,
// each with a zero byte behind it; it is nil when nothing is shared.
func (m mirror) unchanged(ctx context.Context, s snapshot, older *tree.Kept, at string) (same []tree.Proof, rest []byte, err error) {
	if older == nil {
		return nil, nil, nil
	}
	plain, err := m.plain(ctx, s)
	if err != nil || !plain {
		return nil, nil, err
	}
	ids := map[string]string{}
	var names []string
	for _, b := range s.blobs {
		name := path.Join(at, b.path)
		if line, ok := older.File(name); ok && line.Size == b.size && fits(line, b) {
			ids[name] = b.id
			names = append(names, name)
		}
	}
	same, err = older.Prove(ctx, names, m.naming(), func(l tree.Line, sum string) bool { return ids[l.Path] == sum })
	if err != nil || len(same) == 0 {
		return nil, nil, err
	}
	proven := make(map[string]bool, len(same))
	for _, p := range same {
		proven[p.Name] = true
	}
	rest = []byte{}
	for _, b := range s.blobs {
		if !proven[path.Join(at, b.path)] {
			rest = append(append(rest, b.path...), 0)
		}
	}
	return same, rest, nil
}

func fits(line tree.Line, b blob) bool {
	return b.mode == modeFile && line.Mode == 0o444 || b.mode == modeProgram && line.Mode == 0o555
}

// naming is how the repository names content.
func (m mirror) naming() tree.Naming {
	if m.format == "sha256" {
		return tree.GitSHA256
	}
	return tree.GitSHA1
}

// maxAttributes is how many bytes of .gitattributes are looked through.
const maxAttributes = 512 << 10

// plain tells whether git writes the files as they are kept. Attributes may have
// it change them on the way out (https://git-scm.com/docs/gitattributes).
func (m mirror) plain(ctx context.Context, s snapshot) (bool, error) {
	var ids bytes.Buffer
	var size int64
	for _, b := range s.blobs {
		if path.Base(b.path) != ".gitattributes" {
			continue
		}
		if size += b.size; size > maxAttributes || b.mode != modeFile && b.mode != modeProgram {
			return false, nil
		}
		ids.WriteString(b.id + "\n")
	}
	if ids.Len() == 0 {
		return true, nil
	}
	text, err := m.localCmd(ctx, run.Cmd{Args: []string{"cat-file", "--batch"}, Dir: m.dir, Stdin: &ids})
	if err != nil {
		return false, fmt.Errorf("read attributes: %w", err)
	}
	for _, word := range []string{"eol=crlf", "ident", "working-tree-encoding", "filter="} {
		if bytes.Contains(text, []byte(word)) {
			return false, nil
		}
	}
	return true, nil
}

// share takes from the older platform what checkout left out. No program runs in
// dst after it.
func (p *materialiser) share(ctx context.Context, dst string) error {
	if p.older == nil || len(p.same) == 0 {
		return nil
	}
	if err := p.older.Place(ctx, dst, p.same); err != nil {
		return fmt.Errorf("share files with the older platform: %w", err)
	}
	return nil
}

// empty removes all that is in a folder.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("empty staging folder: %w", err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("empty staging folder: %w", err)
		}
	}
	return nil
}
