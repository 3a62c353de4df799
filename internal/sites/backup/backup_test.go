package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hefring/models"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record is a log that keeps everything.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Printf(level models.Level, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, "[%s] %s\n", level, fmt.Sprintf(format, args...))
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// nobody keeps files as they are.
type nobody struct{ given []string }

func (n *nobody) Chown(path string) error {
	n.given = append(n.given, path)
	return nil
}

const hole = 24 << 20

// site makes the folders of a site with all that people and modules put there.
func site(t *testing.T) Source {
	t.Helper()
	dir := t.TempDir()
	s := Source{
		Manifest: Manifest{URI: "museum.example.org", Platform: "tide-10.5.8", DrupalVersion: "10.5.8", Profile: "standard", Engine: "sqlite", MadeAt: time.Now().UTC()},
		Files:    filepath.Join(dir, "files"), Private: filepath.Join(dir, "private"), Config: filepath.Join(dir, "config"),
		Salt: filepath.Join(dir, "hash_salt"), LocalSettings: filepath.Join(dir, "local.settings.php"),
		Dump: func(_ context.Context, w io.Writer) (int, error) { return 34, dumpTo(w) },
	}
	deep := strings.Repeat("a-long-folder-name/", 20)
	for name, text := range map[string]string{
		"files/picture.jpg":          "picture",
		"files/odd\nname \xff ü.txt": "odd",
		"files/" + deep + "end.txt":  "deep",
		"files/php/twig/x.php":       "<?php compiled",
		"files/sub/php/kept.txt":     "kept",
		"files/-rf":                  "dash",
		"private/letter.pdf":         "letter",
		"config/system.site.yml":     "name: Museum",
		"hash_salt":                  "salt of the site",
		"local.settings.php":         "<?php // own",
	} {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		ok(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640))
	}
	ok(t, os.Chmod(filepath.Join(dir, "files/picture.jpg"), 0o444))
	ok(t, os.MkdirAll(filepath.Join(dir, "files/empty"), 0o755))
	ok(t, os.Symlink("../picture.jpg", filepath.Join(dir, "files/empty/up")))
	ok(t, os.Symlink("nowhere", filepath.Join(dir, "files/dangling")))
	ok(t, os.Symlink("/etc/passwd", filepath.Join(dir, "files/outside")))
	ok(t, os.Symlink("../private/letter.pdf", filepath.Join(dir, "files/beside")))
	ok(t, os.Link(filepath.Join(dir, "files/picture.jpg"), filepath.Join(dir, "files/second-name.jpg")))
	ok(t, syscall.Mkfifo(filepath.Join(dir, "files/pipe"), 0o644))
	sparse, err := os.Create(filepath.Join(dir, "files/sparse.img"))
	ok(t, err)
	_, err = sparse.WriteAt([]byte("end"), hole)
	ok(t, errors.Join(err, sparse.Close()))
	return s
}

// dump is larger than one piece, and not a multiple of one.
var dump = bytes.Repeat([]byte("INSERT INTO node VALUES (1, 'harbour');\n"), 250_000)

func dumpTo(w io.Writer) error {
	for rest := dump; len(rest) > 0; {
		n := min(len(rest), 100_003)
		if _, err := w.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func write(t *testing.T, s Source) (Result, *record) {
	t.Helper()
	log := &record{}
	r, err := Write(t.Context(), filepath.Join(t.TempDir(), "7", "b.tar.gz"), s, log)
	ok(t, err)
	return r, log
}

func open(t *testing.T, r Result) *Archive {
	t.Helper()
	a, err := Open(t.Context(), r.Path, r.Digest)
	ok(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// listing is what a folder holds: kind, mode and content by name.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	list := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			list[name] = "folder"
		case d.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(path)
			list[name] = "link " + target
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(text)
			list[name] = fmt.Sprintf("file %v %d %x %d", info.Mode().Perm(), len(text), sum[:4], info.ModTime().Unix())
		default:
			list[name] = "special"
		}
		return nil
	}))
	return list
}

func TestWrite_Open_BringsEverythingBack(t *testing.T) {
	t.Parallel()
	s := site(t)
	r, log := write(t, s)
	info, err := os.Stat(r.Path)
	ok(t, err)
	if info.Mode().Perm() != 0o600 || info.Size() != r.Bytes {
		t.Errorf("the archive is %v with %d bytes, told were %d", info.Mode(), info.Size(), r.Bytes)
	}
	if info, err := os.Stat(filepath.Dir(r.Path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v: %v", info.Mode(), err)
	}
	a := open(t, r)
	if a.Manifest.URI != "museum.example.org" || a.Manifest.Tables != 34 || a.Manifest.Format != FormatVersion || a.Manifest.Engine != "sqlite" {
		t.Errorf("manifest %+v", a.Manifest)
	}
	if string(a.Salt) != "salt of the site" || string(a.LocalSettings) != "<?php // own" {
		t.Errorf("salt %q, settings %q", a.Salt, a.LocalSettings)
	}
	var got bytes.Buffer
	ok(t, a.LoadDatabase(t.Context(), func(r io.Reader) error { _, err := io.Copy(&got, r); return err }))
	if !bytes.Equal(got.Bytes(), dump) {
		t.Errorf("the dump came back with %d of %d bytes", got.Len(), len(dump))
	}
	dst, owner := t.TempDir(), &nobody{}
	ok(t, a.ExtractFiles(t.Context(), dst, owner))
	for part, from := range map[string]string{PartFiles: s.Files, PartPrivate: s.Private, PartConfig: s.Config} {
		want := listing(t, from)
		maps.DeleteFunc(want, func(name, what string) bool {
			return name == "php" || strings.HasPrefix(name, "php/") || what == "special" || name == "outside" || name == "beside"
		})
		if got := listing(t, filepath.Join(dst, part)); !maps.Equal(got, want) {
			t.Errorf("%s is\n%v, want\n%v", part, got, want)
		}
	}
	if len(owner.given) != 3 {
		t.Errorf("given away: %v", owner.given)
	}
	for _, name := range []string{"outside", "beside", "pipe"} {
		if !strings.Contains(log.String(), `"`+name+`"`) {
			t.Errorf("the log does not name %s:\n%s", name, log)
		}
	}
	if files := a.Manifest.Parts[PartFiles]; files.LeftOut != 3 || files.Disk >= hole {
		t.Errorf("files %+v", files)
	}
	if r.Bytes > 4<<20 {
		t.Errorf("the archive has %d bytes", r.Bytes)
	}
	stat, err := os.Stat(filepath.Join(dst, "files", "sparse.img"))
	ok(t, err)
	if stat.Sys().(*syscall.Stat_t).Blocks*512 > 1<<20 {
		t.Error("the hole was filled")
	}
	one, two := filepath.Join(dst, "files/picture.jpg"), filepath.Join(dst, "files/second-name.jpg")
	if a, b := must(os.Stat(one)), must(os.Stat(two)); os.SameFile(a, b) {
		t.Error("two names of one file came back as one file")
	}
}

func must(info fs.FileInfo, err error) fs.FileInfo {
	if err != nil {
		panic(err)
	}
	return info
}

// Files come, go, grow and shrink while they are read.
func TestWrite_WhileFilesChange(t *testing.T) {
	t.Parallel()
	s := site(t)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for w := range 2 {
		busy.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := filepath.Join(s.Files, fmt.Sprintf("busy-%d-%d", w, n%40))
				switch n % 4 {
				case 0:
					_ = os.WriteFile(name, bytes.Repeat([]byte("x"), n%200_000), 0o644)
				case 1:
					_ = os.Truncate(name, 10)
				case 2:
					_ = os.Remove(name)
				case 3:
					_ = os.MkdirAll(name+".d/a/b", 0o755)
					_ = os.RemoveAll(name + ".d")
				}
			}
		})
	}
	for range 3 {
		r, _ := write(t, s)
		ok(t, open(t, r).ExtractFiles(t.Context(), t.TempDir(), &nobody{}))
	}
	close(stop)
	busy.Wait()
}

func TestWriter_Content_KeepsItsPromise(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"shrunk": "abc", "grown": "abcdefghijklmnop"} {
		log := &record{}
		file, err := os.Create(filepath.Join(t.TempDir(), "x"))
		ok(t, err)
		w := newWriter(t.Context(), file, Source{}, log)
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "files/a", Size: 8, Mode: 0o600}
		tally := newTally()
		ok(t, w.header(tally, h))
		ok(t, w.content(tally, h, strings.NewReader(text), &notes{log: log, part: "files"}))
		ok(t, errors.Join(w.tar.Close(), file.Close()))
		if tally.bytes != 8 || (name == "shrunk") != strings.Contains(log.String(), "filled with zeros") {
			t.Errorf("%s: %d bytes\n%s", name, tally.bytes, log)
		}
	}
}

// A second name of a file that belongs to somebody else is not kept.
func TestWrite_ForeignHardLink_IsLeftOut(t *testing.T) {
	t.Parallel()
	s := site(t)
	secret := filepath.Join(filepath.Dir(s.Files), "secret")
	ok(t, os.WriteFile(secret, []byte("of somebody else"), 0o600))
	ok(t, os.Link(secret, filepath.Join(s.Files, "mine")))
	w := walker{ctx: t.Context(), owner: 4242, leftOut: func(string, string) {}}
	info := must(os.Lstat(filepath.Join(s.Files, "mine")))
	if w.unfit(item{path: "mine", info: info}) == "" {
		t.Error("a second name of somebody else's file is kept")
	}
	if w.owner = stat(info).Uid; w.unfit(item{path: "mine", info: info}) != "" {
		t.Error("a second name of one's own file is left out")
	}
}

func TestWrite_Cancelled_LeavesNothing(t *testing.T) {
	t.Parallel()
	s := site(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopped")
	s.Dump = func(ctx context.Context, w io.Writer) (int, error) {
		if err := dumpTo(w); err != nil {
			return 0, err
		}
		cancel(why)
		return 1, context.Cause(ctx)
	}
	dir := t.TempDir()
	if _, err := Write(ctx, filepath.Join(dir, "b.tar.gz"), s, &record{}); !errors.Is(err, why) {
		t.Errorf("gave %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// A dump that fails half-way fails the backup, and what a killed one left is
// removed by the next.
func TestWrite_AfterFailureAndKill(t *testing.T) {
	t.Parallel()
	s := site(t)
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "old.tar.gz"+Partial), []byte("half"), 0o600))
	good := s.Dump
	s.Dump = func(_ context.Context, w io.Writer) (int, error) {
		_, _ = w.Write(dump[:100])
		return 0, errors.New("the database went away")
	}
	if _, err := Write(t.Context(), filepath.Join(dir, "b.tar.gz"), s, &record{}); err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("gave %v", err)
	}
	s.Dump = good
	r, err := Write(t.Context(), filepath.Join(dir, "b.tar.gz"), s, &record{})
	ok(t, err)
	again, err := Write(t.Context(), filepath.Join(dir, "b.tar.gz"), s, &record{})
	ok(t, err)
	if r.Path != again.Path {
		t.Errorf("%s and %s", r.Path, again.Path)
	}
	left, err := os.ReadDir(dir)
	ok(t, err)
	if len(left) != 1 || left[0].Name() != "b.tar.gz" {
		t.Errorf("left %v", left)
	}
	ok(t, Remove(r.Path))
	ok(t, Remove(r.Path))
	ok(t, Remove(filepath.Join(dir, "gone", "x.tar.gz")))
	ok(t, Sweep(filepath.Join(dir, "gone")))
}

func TestRoom_FullDisk_SaysHowMuch(t *testing.T) {
	t.Parallel()
	err := Room(t.TempDir(), 1<<60)
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(err.Error(), "TB are needed") {
		t.Errorf("gave %v", err)
	}
	s := site(t)
	s.Dump = func(context.Context, io.Writer) (int, error) { return 0, fmt.Errorf("dump: %w", syscall.ENOSPC) }
	dir := t.TempDir()
	if _, err := Write(t.Context(), filepath.Join(dir, "b.tar.gz"), s, &record{}); models.CodeOf(err) != models.Unavailable || !strings.Contains(err.Error(), "is full") {
		t.Errorf("a full disk gave %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	err = explainDisk(fmt.Errorf("write: %w", syscall.ENOSPC), t.TempDir())
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(err.Error(), "left") {
		t.Errorf("gave %v", err)
	}
}

func TestOpen_DamagedFiles_AreRefused(t *testing.T) {
	t.Parallel()
	r, _ := write(t, site(t))
	whole, err := os.ReadFile(r.Path)
	ok(t, err)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		content []byte
		digest  string // "" is the right one
	}{
		"wrong digest": {whole, strings.Repeat("0", 64)}, "no digest": {whole, "none"},
		"flipped bit, old digest": {flipped, r.Digest}, "flipped bit": {flipped, ""},
		"truncated": {whole[:len(whole)-20], ""}, "cut in the middle": {whole[:len(whole)/2], ""},
		"without its end": {whole[:len(whole)-1], ""}, "empty": {nil, ""}, "text": {[]byte("no archive"), ""},
	} {
		path := filepath.Join(t.TempDir(), "x.tar.gz")
		ok(t, os.WriteFile(path, c.content, 0o600))
		if c.digest == "" {
			c.digest = sumOf(c.content)
		}
		if a, err := Open(t.Context(), path, c.digest); models.CodeOf(err) != models.Invalid {
			t.Errorf("%s: %v %v", name, a, err)
		}
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "none"), ""); models.CodeOf(err) != models.NotFound {
		t.Errorf("a missing file gave %v", err)
	}
	if _, err := Open(t.Context(), t.TempDir(), ""); models.CodeOf(err) != models.Invalid {
		t.Errorf("a folder gave %v", err)
	}
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// entry is one of a forged archive.
type entry struct {
	name, link string
	kind       byte
	text       string
}

// forge packs entries, with a manifest that fits them unless tell changes it.
func forge(t *testing.T, entries []entry, tell func(*Manifest), after ...entry) (path, digest string) {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	m := Manifest{Format: FormatVersion, URI: "x.example", DrupalVersion: "10.5.8", Parts: map[string]Part{}}
	tallies := map[string]*tally{}
	add := func(e entry) {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Typeflag: e.kind, Name: e.name, Linkname: e.link, Mode: 0o644, Size: int64(len(e.text)), Format: tar.FormatPAX}
		if e.kind != tar.TypeReg {
			h.Size = 0
		}
		ok(t, w.WriteHeader(h))
		part, _, _ := strings.Cut(e.name, "/")
		if tallies[part] == nil {
			tallies[part] = newTally()
		}
		tallies[part].begin(h)
		_, err := io.MultiWriter(w, tallies[part]).Write([]byte(e.text)[:h.Size])
		ok(t, err)
	}
	for _, e := range entries {
		add(e)
	}
	for part, tally := range tallies {
		m.Parts[part] = tally.part()
	}
	if tell != nil {
		tell(&m)
	}
	text, err := json.Marshal(m)
	ok(t, err)
	if tell == nil || m.Format != 0 {
		add(entry{name: manifestName, text: string(text)})
	}
	for _, e := range after {
		add(e)
	}
	ok(t, errors.Join(w.Close(), zip.Close()))
	path = filepath.Join(t.TempDir(), "forged.tar.gz")
	ok(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path, sumOf(b.Bytes())
}

func TestOpen_HostileArchives_AreRefused(t *testing.T) {
	t.Parallel()
	good := entry{name: "files/a", text: "a"}
	for name, c := range map[string]struct {
		entries []entry
		tell    func(*Manifest)
		after   []entry
	}{
		"climbs out":            {entries: []entry{{name: "files/../../x", text: "x"}}},
		"climbs out at once":    {entries: []entry{{name: "../x", text: "x"}}},
		"absolute":              {entries: []entry{{name: "/etc/cron.d/x", text: "x"}}},
		"unclean":               {entries: []entry{{name: "files//x", text: "x"}}},
		"dot":                   {entries: []entry{{name: "files/./x", text: "x"}}},
		"device":                {entries: []entry{{name: "files/x", kind: tar.TypeBlock}}},
		"pipe":                  {entries: []entry{{name: "files/x", kind: tar.TypeFifo}}},
		"hard link":             {entries: []entry{good, {name: "files/x", kind: tar.TypeLink, link: "files/a"}}},
		"hard link out":         {entries: []entry{{name: "files/x", kind: tar.TypeLink, link: "/etc/passwd"}}},
		"link out":              {entries: []entry{{name: "files/x", kind: tar.TypeSymlink, link: "/etc"}}},
		"link up":               {entries: []entry{{name: "files/x", kind: tar.TypeSymlink, link: "../private"}}},
		"link down and up":      {entries: []entry{{name: "files/d/x", kind: tar.TypeSymlink, link: "y/../../.."}}},
		"folder is a link":      {entries: []entry{{name: "files", kind: tar.TypeSymlink, link: "/etc"}}},
		"folder is a file":      {entries: []entry{{name: "files", text: "x"}}},
		"beside the parts":      {entries: []entry{{name: "releases/1/settings.php", text: "<?php"}}},
		"site file of no name":  {entries: []entry{{name: "site/current", text: "x"}}},
		"database is a link":    {entries: []entry{{name: "database/000000", kind: tar.TypeSymlink, link: "/etc/passwd"}}},
		"salt is a link":        {entries: []entry{{name: saltName, kind: tar.TypeSymlink, link: "/etc/passwd"}}},
		"too long salt":         {entries: []entry{{name: saltName, text: strings.Repeat("x", smallBytes+1)}}},
		"no manifest":           {entries: []entry{good}, tell: func(m *Manifest) { m.Format = 0 }},
		"other format":          {entries: []entry{good}, tell: func(m *Manifest) { m.Format = 99 }},
		"after the manifest":    {entries: []entry{good}, after: []entry{{name: "files/b", text: "b"}}},
		"bomb":                  {entries: []entry{{name: "files/a", text: strings.Repeat("\x00", 16<<20)}}, tell: func(m *Manifest) { m.Parts[PartFiles] = Part{Entries: 1, Bytes: 10} }},
		"not counted":           {entries: []entry{good}, tell: func(m *Manifest) { m.Parts = nil }},
		"counts more":           {entries: []entry{good}, tell: func(m *Manifest) { m.Parts[PartPrivate] = Part{Entries: 1} }},
		"other content":         {entries: []entry{good}, tell: func(m *Manifest) { m.Parts[PartFiles] = Part{Entries: 1, Bytes: 1, SHA256: sumOf(nil)} }},
		"impossible disk":       {entries: []entry{good}, tell: func(m *Manifest) { p := m.Parts[PartFiles]; p.Disk = -1; m.Parts[PartFiles] = p }},
		"manifest is too large": {entries: []entry{good}, tell: func(m *Manifest) { m.Title = strings.Repeat("x", manifestBytes) }},
		"too deep":              {entries: []entry{{name: "files/" + strings.Repeat("d/", maxDepth+1) + "x", text: "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, digest := forge(t, c.entries, c.tell, c.after...)
			a, err := Open(t.Context(), path, digest)
			if err == nil {
				_ = a.Close()
			}
			if models.CodeOf(err) != models.Invalid {
				t.Errorf("gave %v", err)
			}
		})
	}
	path, digest := forge(t, []entry{good, {name: "files/l", kind: tar.TypeSymlink, link: "a"}}, nil)
	a, err := Open(t.Context(), path, digest)
	ok(t, err)
	defer func() { _ = a.Close() }()
	ok(t, a.ExtractFiles(t.Context(), t.TempDir(), &nobody{}))
	if err := a.LoadDatabase(t.Context(), func(io.Reader) error { return nil }); models.CodeOf(err) != models.Invalid {
		t.Errorf("an archive without a database gave %v", err)
	}
}

// A name that occurs twice, or goes through a link, does not reach out.
func TestArchive_ExtractFiles_Twice_IsRefused(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][]entry{
		"twice":          {{name: "files/a", text: "a"}, {name: "files/a", text: "b"}},
		"through a link": {{name: "files/l", kind: tar.TypeSymlink, link: "gone"}, {name: "files/l/x", text: "x"}},
		"over a link":    {{name: "files/l", kind: tar.TypeSymlink, link: "t"}, {name: "files/l", text: "x"}},
	} {
		path, digest := forge(t, entries, nil)
		a, err := Open(t.Context(), path, digest)
		ok(t, err)
		if err := a.ExtractFiles(t.Context(), t.TempDir(), &nobody{}); err == nil {
			t.Errorf("%s: was unpacked", name)
		}
		ok(t, a.Close())
	}
}

func TestArchive_LoadDatabase_LoaderStops(t *testing.T) {
	t.Parallel()
	r, _ := write(t, site(t))
	a := open(t, r)
	why := errors.New("no room")
	err := a.LoadDatabase(t.Context(), func(r io.Reader) error {
		_, _ = io.CopyN(io.Discard, r, 10)
		return why
	})
	if !errors.Is(err, why) {
		t.Errorf("gave %v", err)
	}
	ok(t, a.LoadDatabase(t.Context(), func(io.Reader) error { return nil }))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := a.LoadDatabase(ctx, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }); !errors.Is(err, why) {
		t.Errorf("a cancelled one gave %v", err)
	}
	if err := a.ExtractFiles(ctx, t.TempDir(), &nobody{}); !errors.Is(err, why) {
		t.Errorf("a cancelled one gave %v", err)
	}
}

func TestCopier_Copy_SharesNothingThatCanBeWritten(t *testing.T) {
	t.Parallel()
	s := site(t)
	before := listing(t, s.Files)
	dst, log := t.TempDir(), &record{}
	done, err := Copier{Name: "files", Skip: Compiled, Log: log}.Copy(t.Context(), s.Files, dst)
	ok(t, err)
	want := maps.Clone(before)
	maps.DeleteFunc(want, func(name, what string) bool {
		return name == "php" || strings.HasPrefix(name, "php/") || what == "special" || name == "outside" || name == "beside"
	})
	sameButTimes := func(a, b map[string]string) bool {
		return slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
	}
	if got := listing(t, dst); !maps.Equal(got, want) || !sameButTimes(got, want) || done.Entries != len(want) {
		t.Errorf("copied %+v\n%v, want\n%v", done, got, want)
	}
	if must(os.Stat(filepath.Join(dst, "sparse.img"))).Sys().(*syscall.Stat_t).Blocks*512 > 1<<20 {
		t.Error("the hole was filled")
	}
	ok(t, os.Chmod(filepath.Join(dst, "picture.jpg"), 0o644))
	file, err := os.OpenFile(filepath.Join(dst, "picture.jpg"), os.O_WRONLY, 0)
	ok(t, err)
	_, err = file.WriteAt([]byte("PICTURE"), 0)
	ok(t, errors.Join(err, file.Close()))
	if after := listing(t, s.Files); !maps.Equal(before, after) {
		t.Error("writing into the copy changed the original")
	}
	done, err = Copier{Name: "files", Log: log}.Copy(t.Context(), filepath.Join(s.Files, "gone"), t.TempDir())
	if err != nil || done.Entries != 0 {
		t.Errorf("a folder that is not there gave %+v, %v", done, err)
	}
	// Somebody swaps a link into the way.
	base := t.TempDir()
	ok(t, os.Symlink(filepath.Dir(s.Files), filepath.Join(base, "way")))
	if done, err := (Copier{Name: "files", Log: log, Inside: base}).Copy(t.Context(), filepath.Join(base, "way", "private"), t.TempDir()); err == nil {
		t.Errorf("a way that leads out gave %+v", done)
	}
}

func TestName_LongURI_FitsAFileName(t *testing.T) {
	t.Parallel()
	b := models.Backup{ID: 1 << 40, URI: strings.Repeat("a.", 120) + "org", CreatedAt: time.Date(2026, 3, 1, 2, 3, 4, 0, time.FixedZone("", 3600))}
	name := Name(b)
	if len(name)+len(Partial) > 255 || !strings.HasSuffix(name, "-20260301T010304Z-1099511627776.tar.gz") {
		t.Errorf("%q", name)
	}
}
