package secret_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"hefring/internal/secret"
	"hefring/models"
)

const canary = "s3cr3t-canary"

func newBox(t *testing.T) (*secret.Box, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret.key")
	return load(t, path), path
}

func load(t *testing.T, path string) *secret.Box {
	t.Helper()
	box, err := secret.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func seal(t *testing.T, box *secret.Box, context, plain string) []byte {
	t.Helper()
	sealed, err := box.Seal(context, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func wantPlain(t *testing.T, box *secret.Box, context string, sealed []byte, want string) {
	t.Helper()
	plain, err := box.Open(context, sealed)
	if err != nil || string(plain) != want {
		t.Fatalf("got %q, %v", plain, err)
	}
}

func wantRefused(t *testing.T, err error, says string) {
	t.Helper()
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), says) {
		t.Errorf("got %v, want an error that says %q", err, says)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("the error repeats the secret: %v", err)
	}
}

func TestBox_SealOpen(t *testing.T) {
	box, path := newBox(t)
	for _, plain := range []string{canary, "", "\x00\xff", strings.Repeat("x", secret.MaxPlain)} {
		sealed := seal(t, box, "distribution 7 token", plain)
		if plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Error("the secret can be read in it")
		}
		wantPlain(t, box, "distribution 7 token", sealed, plain)
		wantPlain(t, load(t, path), "distribution 7 token", sealed, plain) // after a restart
	}
	if bytes.Equal(seal(t, box, "a", "b"), seal(t, box, "a", "b")) {
		t.Error("equal secrets look equal")
	}
	if _, err := box.Seal("a", make([]byte, secret.MaxPlain+1)); models.CodeOf(err) != models.Invalid {
		t.Errorf("too long: %v", err)
	}
}

func TestBox_Open_SwappedRows(t *testing.T) {
	box, _ := newBox(t)
	sealed := seal(t, box, "distribution 7 token", canary)
	for _, other := range []string{"distribution 8 token", "distribution 7 toke", "distribution 7 tokenx", ""} {
		_, err := box.Open(other, sealed)
		wantRefused(t, err, "encrypted for something else")
	}
}

func TestBox_Open_Damaged(t *testing.T) {
	box, _ := newBox(t)
	sealed := seal(t, box, "row", canary)
	for n := range sealed {
		if _, err := box.Open("row", sealed[:n]); models.CodeOf(err) != models.Unavailable {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		changed := bytes.Clone(sealed)
		changed[n] ^= 1
		if _, err := box.Open("row", changed); models.CodeOf(err) != models.Unavailable {
			t.Fatalf("byte %d changed: %v", n, err)
		}
	}
	_, err := box.Open("row", append(bytes.Clone(sealed), 'x'))
	wantRefused(t, err, "damaged")
	_, err = box.Open("row", nil)
	wantRefused(t, err, "damaged")
}

// A value that is encrypted to our key by somebody who knows only its public
// half, and not in our form.
func TestBox_Open_NoContext(t *testing.T) {
	box, path := newBox(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	key, err := age.ParseX25519Identity(lines[len(lines)-1])
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{"", "\x05abc", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", strings.Repeat("\xff", 20)} {
		var out bytes.Buffer
		w, err := age.Encrypt(&out, key.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(plain)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = box.Open("abc", out.Bytes())
		wantRefused(t, err, "damaged")
	}
}

func TestBox_Open_LostKey(t *testing.T) {
	box, path := newBox(t)
	sealed := seal(t, box, "distribution 7 token", canary)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := load(t, path).Open("distribution 7 token", sealed)
	wantRefused(t, err, "not in "+path)
	if !strings.Contains(models.Explain(err), "backup") || !strings.Contains(models.Explain(err), "distribution 7 token") {
		t.Errorf("it does not say what to do: %v", err)
	}
}

func TestRotate(t *testing.T) {
	box, path := newBox(t)
	before := seal(t, box, "row", "before")
	if err := secret.Rotate(path); err != nil {
		t.Fatal(err)
	}
	renewed := load(t, path)
	after := seal(t, renewed, "row", "after")
	wantPlain(t, renewed, "row", before, "before")
	wantPlain(t, box, "row", after, "after") // it takes the new key up by itself
	wantPlain(t, box, "row", seal(t, box, "row", "again"), "again")

	// The old key can go once everything is sealed anew.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := os.WriteFile(path, []byte(lines[len(lines)-1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantPlain(t, load(t, path), "row", after, "after")
	_, err = load(t, path).Open("row", before)
	wantRefused(t, err, "not in")
}

func TestRotate_AtOnce(t *testing.T) {
	_, path := newBox(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := secret.Rotate(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "AGE-SECRET-KEY-"); n != 9 {
		t.Errorf("%d keys", n)
	}
	if err := secret.Rotate(path + "x"); models.CodeOf(err) != models.NotFound {
		t.Errorf("no file: %v", err)
	}
}

func TestLoad_ManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret.key")
	boxes := make([]*secret.Box, 16)
	var all sync.WaitGroup
	for i := range boxes {
		all.Go(func() {
			box, err := secret.Load(path)
			if err != nil {
				t.Error(err)
			}
			boxes[i] = box
		})
	}
	all.Wait()
	for _, box := range boxes {
		if box == nil {
			t.Fatal("no box")
		}
		wantPlain(t, boxes[0], "row", seal(t, box, "row", "x"), "x")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestLoad_RefusesOpenFile(t *testing.T) {
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o601, 0o777} {
		_, path := newBox(t)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := secret.Load(path)
		wantRefused(t, err, "chmod 600 "+path)
	}
}

func TestLoad_RefusesForeignFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file away")
		return
	}
	_, path := newBox(t)
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	_, err := secret.Load(path)
	wantRefused(t, err, "chown 0 "+path)
}

func TestLoad_RefusesBadFile(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for content, says := range map[string]string{
		"":                             "no key",
		"# only words\n":               "no key",
		canary:                         "Line 1",
		key.String() + "\n" + canary:   "Line 2",
		strings.Repeat("#\n", 100_000): "larger",
		key.String()[:40]:              "Line 1",
	} {
		path := filepath.Join(t.TempDir(), "secret.key")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := secret.Load(path)
		wantRefused(t, err, says)
		if err != nil && strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("the error repeats a key: %v", err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != content {
			t.Error("the file was changed")
		}
	}
	_, err = secret.Load(t.TempDir())
	wantRefused(t, err, "not a file")
	_, err = secret.Load(filepath.Join(t.TempDir(), "no", "such", "folder"))
	wantRefused(t, err, "--secret-key-file")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause got lost: %v", err)
	}
}

func TestLoad_AcceptsComments(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(path, []byte("# made by age-keygen\r\n\r\n  "+key.String()+"\r\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	box := load(t, path)
	wantPlain(t, box, "row", seal(t, box, "row", "x"), "x")
}
