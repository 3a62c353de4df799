package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"hefring/internal/docs"
)

type manCmd struct {
	Dir string `arg:"" type:"path" help:"Folder to write into, such as /usr/local/share/man; made when missing."`
}

// Run writes the pages into the folders man1 and man5.
func (c *manCmd) Run(parsed *kong.Context) error {
	for name, text := range docs.ManPages(parsed.Model, version) {
		dir := filepath.Join(c.Dir, "man"+name[len(name)-1:])
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // everybody reads man pages
			return fmt.Errorf("write man pages: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // everybody reads man pages
			return fmt.Errorf("write man pages: %w", err)
		}
	}
	return nil
}
