package platforms_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The number is that of docs/security.md. A file that went bad on the disk after
// it was sealed must not be published, or must be found afterwards.
func TestFailureMode22_DamagedArtifact(t *testing.T) {
	s := newStore(t)
	root, sealed := published(t, s, "p")
	file := filepath.Join(root, "web", "index.php")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, root)
	text[0] ^= 1 // of the same length and name
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	findings, err := s.Verify(t.Context(), root, sealed.Digest)
	if err != nil || !strings.Contains(strings.Join(findings, "\n"), "changed: web/index.php") {
		t.Errorf("one changed bit: %v, %v", findings, err)
	}
}
