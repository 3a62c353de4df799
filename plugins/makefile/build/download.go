package build

import (
	"context"
	"crypto/md5"  //nolint:gosec // what makefiles and drupal.org give
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/archive"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

const maxLocal = 256 << 20 // bytes of a file beside the makefile, which is read as a whole

// retries are the pauses before a download that broke off is tried again.
func retries() []time.Duration { return []time.Duration{300 * time.Millisecond, 2 * time.Second} }

// fetched is one file that was downloaded and verified.
type fetched struct {
	file  *os.File
	given spec.Checksums
	sums  sums
}

func (f *fetched) close() { _ = f.file.Close() }

// checksum is the one that was asked for, or that the file turned out to have.
func (f *fetched) checksum() string {
	if f.given.SHA256 == "" && f.given.MD5 != "" {
		return "md5:" + f.sums.get("md5")
	}
	return "sha256:" + f.sums.get("sha256")
}

func (f *fetched) copyTo(name string) error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read download: %w", err)
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a file of a website, in a new folder
	if err != nil {
		return fmt.Errorf("write download: %w", tree.Explain(err, filepath.Dir(name)))
	}
	_, err = io.Copy(out, f.file)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write download: %w", tree.Explain(err, filepath.Dir(name)))
	}
	return nil
}

// sums are checksums of one file that are taken while it is written.
type sums map[string]hash.Hash

func newSums() sums {
	return sums{"md5": md5.New(), "sha1": sha1.New(), "sha256": sha256.New(), "sha512": sha512.New()} //nolint:gosec // as the makefile has it
}

func (s sums) Write(p []byte) (int, error) {
	for _, h := range s {
		_, _ = h.Write(p) // never fails
	}
	return len(p), nil
}

func (s sums) get(kind string) string { return hex.EncodeToString(s[kind].Sum(nil)) }

// verify holds the file to all checksums that were given.
func (s sums) verify(name string, want spec.Checksums) error {
	for _, c := range []struct{ kind, want string }{
		{"md5", want.MD5}, {"sha1", want.SHA1}, {"sha256", want.SHA256}, {"sha512", want.SHA512},
	} {
		if got := s.get(c.kind); c.want != "" && got != strings.ToLower(c.want) {
			return models.Errorf(models.Invalid,
				"Checksum %s verification failed for %s. Expected %s, received %s. The file changed at its source: make sure that this is meant, then correct the checksum.",
				c.kind, name, c.want, got).Because(models.ReasonVerification)
		}
	}
	return nil
}

// wanted fetches what a get download names: an address, or a file beside the
// makefile.
func (b *builder) wanted(ctx context.Context, l *level, d *spec.Download) (*fetched, error) {
	if d.Ref.URL != "" {
		return b.fetch(ctx, d.Ref.URL, d.Checksums)
	}
	text, _, err := l.loader.Read(ctx, d.Ref, maxLocal)
	if err != nil {
		return nil, err
	}
	return b.keep(d.URL, d.Checksums, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// fetch downloads an address, or takes an earlier download of the same checksums
// from the cache.
func (b *builder) fetch(ctx context.Context, address string, want spec.Checksums) (*fetched, error) {
	if b.options.IgnoreChecksums {
		if want != (spec.Checksums{}) {
			plugins.Logf(b.env, "Warning: the checksum of %s is not verified, as you asked", address)
		}
		want = spec.Checksums{}
	}
	cached := b.cachePath(address, want)
	if got := openCached(cached, want); got != nil {
		plugins.Logf(b.env, "%s is in the cache", address)
		return got, nil
	}
	plugins.Logf(b.env, "Downloading %s", address)
	var got *fetched
	err := b.patiently(ctx, func() (err error) {
		got, err = b.keep(address, want, func(w io.Writer) error { return b.download(ctx, address, w) })
		return err
	})
	if err != nil {
		return nil, err
	}
	if cached != "" {
		got.remember(cached)
	}
	return got, nil
}

// remember puts the file into the cache, which may be on another disk. The cache
// may be lost, so failures do not matter.
func (f *fetched) remember(cached string) {
	dir := filepath.Dir(cached)
	if os.MkdirAll(dir, 0o750) != nil || os.Rename(f.file.Name(), cached) == nil {
		return
	}
	part := filepath.Join(dir, filepath.Base(f.file.Name())+".part")
	defer func() { _ = os.Remove(part) }()
	if f.copyTo(part) == nil {
		_ = os.Rename(part, cached)
	}
}

const maxIdle = 30 * 24 * time.Hour // that a download stays in the cache unused

// tidyCache removes downloads that no build has used for long.
func (b *builder) tidyCache() {
	dir := filepath.Join(b.env.Cache, "makefile", "files")
	list, err := os.ReadDir(dir)
	if err != nil || b.env.Cache == "" {
		return
	}
	for _, entry := range list {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > maxIdle {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// patiently tries again when the other side broke off or was out of order.
func (b *builder) patiently(ctx context.Context, try func() error) error {
	for _, pause := range retries() {
		err := try()
		if reason := models.ReasonOf(err); reason != models.ReasonUnreachable && reason != models.ReasonTimeout {
			return err
		}
		plugins.Logf(b.env, "%s Trying again.", models.Explain(err))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return try()
}

func (b *builder) download(ctx context.Context, address string, w io.Writer) error {
	u, err := url.Parse(address)
	if err != nil {
		return models.Wrapf(models.Invalid, err, "The address %q is not valid. Correct it.", address).Because(models.ReasonURL)
	}
	leave, err := b.hosts.enter(ctx, u.Host)
	if err != nil {
		return err
	}
	defer leave()
	limit := b.options.Archives.ArchiveBytes
	if limit == 0 {
		limit = archive.DefaultArchiveBytes
	}
	// Some servers call a .tar.gz encoded; its checksum is that of the file as it
	// is.
	page, err := b.env.Egress.Download(ctx, address, w, limit, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return explainDownload(address, err)
	}
	plugins.Logf(b.env, "%s downloaded, %s", baseName(address), tree.Size(page.Size))
	return nil
}

// explainDownload adds the address to a failure: a makefile has many.
func explainDownload(address string, err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok {
		return err
	}
	return models.Wrapf(e.Code, err, "Unable to download %s: %s", address, e.Message).Because(e.Reason).After(e.RetryAfter)
}

// keep writes a file into the stage and verifies it.
func (b *builder) keep(name string, want spec.Checksums, write func(io.Writer) error) (_ *fetched, err error) {
	file, err := os.CreateTemp(b.stage, "download-*")
	if err != nil {
		return nil, fmt.Errorf("make file for download: %w", tree.Explain(err, b.dst))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	got := &fetched{file: file, given: want, sums: newSums()}
	if err := write(io.MultiWriter(file, got.sums)); err != nil {
		return nil, tree.Explain(err, b.dst)
	}
	if b.options.IgnoreChecksums {
		return got, nil
	}
	return got, got.sums.verify(baseName(name), want)
}

// cachePath names a download in the cache; "" when nothing tells whether it is
// still the same at its source.
func (b *builder) cachePath(address string, want spec.Checksums) string {
	if b.env.Cache == "" || want == (spec.Checksums{}) {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s", address, want.MD5, want.SHA1, want.SHA256, want.SHA512))
	return filepath.Join(b.env.Cache, "makefile", "files", hex.EncodeToString(sum[:20]))
}

// openCached opens an earlier download if it is whole.
func openCached(name string, want spec.Checksums) *fetched {
	if name == "" {
		return nil
	}
	file, err := os.Open(name) //nolint:gosec // in our own cache
	if err != nil {
		return nil
	}
	got := &fetched{file: file, given: want, sums: newSums()}
	if _, err := io.Copy(got.sums, file); err != nil || got.sums.verify(name, want) != nil {
		_ = file.Close()
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // for tidyCache
	return got
}

func unescape(name string) string {
	plain, err := url.PathUnescape(name)
	if err != nil || strings.ContainsAny(plain, "/\x00") {
		return name
	}
	return plain
}
