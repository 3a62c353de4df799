package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestMan_Writes_PagesThatRender(t *testing.T) {
	dir := t.TempDir()
	if got := newProgram(t).run(t, "man", dir); got.code != 0 {
		t.Fatalf("exit code %d, %s", got.code, got.err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "man[15]", "hefring*.[15]"))
	if err != nil || len(pages) < 60 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	// One groff for all of them: it takes longer to start than to read.
	out, err := exec.CommandContext(t.Context(), "groff", append([]string{"-man", "-Tutf8", "-ww", "-z"}, pages...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "man1", "hefring-site-upgrade.1"))
	if err != nil || len(text) < 500 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
