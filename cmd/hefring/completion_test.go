package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/docs"
)

// Every shell reads its script without a complaint; internal/docs tests what the
// scripts offer.
func TestCompletion_EveryShell_ReadsIt(t *testing.T) {
	for _, shell := range docs.Shells() {
		got := newProgram(t).run(t, "completion", shell)
		if got.code != 0 || !strings.Contains(got.out, "own-platform") {
			t.Errorf("%s: exit code %d, %d bytes, %s", shell, got.code, len(got.out), got.err)
		}
		path := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(path, []byte(got.out), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), shell, "-n", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	if got := newProgram(t).run(t, "completion", "csh"); got.code != exitSettings {
		t.Errorf("csh: exit code %d, %s", got.code, got.err)
	}
}
