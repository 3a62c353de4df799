package platforms_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hefring/internal/platforms"
	"hefring/models"
)

// from fetches a platform of a store.
func from(s *platforms.Store, root, digest string) platforms.Fetch {
	return func(ctx context.Context, wanted []byte) (io.ReadCloser, error) {
		var archive bytes.Buffer
		err := s.Pack(ctx, root, digest, wanted, &archive)
		return io.NopCloser(&archive), err
	}
}

// delivered receives a platform and publishes it.
func delivered(t *testing.T, s *platforms.Store, digest string, fetch platforms.Fetch) (root string, err error) {
	t.Helper()
	dir, err := s.Stage(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unpack(t.Context(), dir, digest, fetch); err != nil {
		return "", err
	}
	return s.Publish(dir, "p-1")
}

func TestStore_Unpack_GivesWhatWasSealed(t *testing.T) {
	here, there := newStore(t), newStore(t)
	dir := staged(t, here, 1, drupal("web"))
	if err := os.Symlink("web/index.php", filepath.Join(dir, "link.php")); err != nil {
		t.Fatal(err)
	}
	sealed, err := here.Seal(t.Context(), dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	root, err := here.Publish(dir, "p-1")
	if err != nil {
		t.Fatal(err)
	}
	// A link to a site is no part of the platform and stays behind.
	if err := os.Symlink("/srv/sites/4/releases/1", filepath.Join(root, "web/sites/example.org")); err != nil {
		t.Fatal(err)
	}
	got, err := delivered(t, there, sealed.Digest, from(here, root, sealed.Digest))
	if err != nil {
		t.Fatal(err)
	}
	if got != there.RootOf(root) {
		t.Errorf("it lies in %s, RootOf says %s", got, there.RootOf(root))
	}
	findings, err := there.Verify(t.Context(), got, sealed.Digest)
	if err != nil || len(findings) != 0 {
		t.Errorf("it differs: %v %v", findings, err)
	}
	if exists(filepath.Join(got, "web/sites/example.org")) {
		t.Error("a link to a site came along")
	}
}

// broken ends a stream early.
type broken struct {
	r    io.Reader
	left int
}

func (b *broken) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("the connection was lost")
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// A connection that breaks is made anew and goes on after the last whole file.
func TestStore_Unpack_GoesOnWhereItBroke(t *testing.T) {
	here, there := newStore(t), newStore(t)
	there.Again = time.Millisecond
	files := drupal("web")
	for n := range 6 {
		noise := make([]byte, 100_000)
		if _, err := rand.Read(noise); err != nil {
			t.Fatal(err)
		}
		files[fmt.Sprintf("web/big-%d", n)] = string(noise)
	}
	staging := staged(t, here, 1, files)
	sealed, err := here.Seal(t.Context(), staging, "web")
	if err != nil {
		t.Fatal(err)
	}
	root, err := here.Publish(staging, "p-1")
	if err != nil {
		t.Fatal(err)
	}
	fetch := from(here, root, sealed.Digest)
	var asked []int
	got, err := delivered(t, there, sealed.Digest, func(ctx context.Context, wanted []byte) (io.ReadCloser, error) {
		n := 0
		for _, b := range wanted {
			n += bits.OnesCount8(b)
		}
		asked = append(asked, n)
		body, err := fetch(ctx, wanted)
		if len(asked) > 4 {
			return body, err
		}
		return io.NopCloser(&broken{body, 150_000}), err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(asked) != 5 || asked[0] != 0 || asked[1] != int(sealed.Files) || asked[4] >= asked[1] {
		t.Errorf("it asked for %v files", asked)
	}
	findings, err := there.Verify(t.Context(), got, sealed.Digest)
	if err != nil || len(findings) != 0 {
		t.Errorf("it differs: %v %v", findings, err)
	}
}

func TestStore_Unpack_RefusesWhatIsNotThePlatform(t *testing.T) {
	here, there := newStore(t), newStore(t)
	root, sealed := published(t, here, "p-1")
	if _, err := delivered(t, there, "another digest", from(here, root, sealed.Digest)); models.CodeOf(err) != models.Unavailable {
		t.Errorf("another manifest: %v", err)
	}
	file := filepath.Join(root, "web/index.php")
	for name, spoil := range map[string]func() error{
		"other content": func() error { return os.WriteFile(file, []byte("<?ph0\n"), 0o644) },
		"a shorter one": func() error { return os.WriteFile(file, []byte("<"), 0o644) },
	} {
		if err := errors.Join(os.Chmod(file, 0o644), spoil()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		dir, err := there.Stage(t.Context(), 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		fetch := from(here, root, sealed.Digest)
		_, err = there.Unpack(ctx, dir, sealed.Digest, func(ctx context.Context, wanted []byte) (io.ReadCloser, error) {
			body, err := fetch(ctx, wanted)
			if err != nil {
				stop() // it would be asked for again and again
			}
			return body, err
		})
		stop()
		if err == nil {
			t.Errorf("%s was taken", name)
		}
		if _, err := there.Publish(dir, "p-1"); err == nil {
			t.Errorf("%s was published", name)
		}
	}
}

func TestStore_Unpack_CancelledStops(t *testing.T) {
	here, there := newStore(t), newStore(t)
	root, sealed := published(t, here, "p-1")
	ctx, stop := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	dir, err := there.Stage(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	fetch := from(here, root, sealed.Digest)
	_, err = there.Unpack(ctx, dir, sealed.Digest, func(ctx context.Context, wanted []byte) (io.ReadCloser, error) {
		body, err := fetch(ctx, wanted)
		stop(cause)
		return io.NopCloser(&broken{body, 200}), err
	})
	if !errors.Is(err, cause) {
		t.Errorf("it says %v", err)
	}
}

// What an older platform has as well is not sent, wherever it lies there; what was
// tampered with there is.
func TestStore_Unpack_SharesWithOlder(t *testing.T) {
	here, there := newStore(t), newStore(t)
	first, one := shared(t, here, "first", larger(), nil)
	files := larger()
	files["web/index.php"] = "<?php // changed\n"
	files["vendor/acme/moved.php"] = files["vendor/acme/a.php"]
	delete(files, "vendor/acme/a.php")
	second, two := shared(t, here, "second", files, nil, first)
	receive := func(p models.Platform, name string, older ...models.Platform) (models.Platform, platforms.Shared, int) {
		t.Helper()
		sent := 0
		fetch := from(here, p.Root, p.ManifestDigest)
		dir, err := there.Stage(t.Context(), 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := there.Unpack(t.Context(), dir, p.ManifestDigest, func(ctx context.Context, wanted []byte) (io.ReadCloser, error) {
			for _, b := range wanted {
				sent += bits.OnesCount8(b)
			}
			return fetch(ctx, wanted)
		}, there.Older(older...)...)
		if err != nil {
			t.Fatal(err)
		}
		root, err := there.Publish(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return models.Platform{Root: root, ManifestDigest: p.ManifestDigest}, got, sent
	}
	older, got, sent := receive(first, "first")
	if got.Files != 0 || sent != int(one.Files) {
		t.Errorf("of the first %d files were shared and %d sent", got.Files, sent)
	}
	newer, got, sent := receive(second, "second", older)
	if got.Files != two.Files-1 || sent != 1 {
		t.Errorf("of the second %d files were shared and %d sent, of %d", got.Files, sent, two.Files)
	}
	wantWhole(t, there, older, newer)

	// The same once more, with all of it here; and from a platform that is not whole.
	again, _, sent := receive(second, "third", newer)
	if sent != 0 {
		t.Errorf("%d files were sent that are here", sent)
	}
	bad := filepath.Join(again.Root, "vendor/acme/b.php")
	text, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	text[3]++
	if err := errors.Join(os.Chmod(filepath.Dir(bad), 0o755), os.Remove(bad), os.WriteFile(bad, text, 0o444), os.Chmod(bad, 0o444)); err != nil {
		t.Fatal(err)
	}
	fourth, _, sent := receive(second, "fourth", again)
	if sent != 1 {
		t.Errorf("%d files were sent, want the one that is spoilt here", sent)
	}
	wantWhole(t, there, fourth)
}
