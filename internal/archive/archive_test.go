package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hefring/internal/archive"
	"hefring/models"
)

type entry struct {
	name string
	text string
	link string
	kind byte  // of tar; 0: file
	mode int64 // 0: 0644
}

func tarOf(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.text))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gz(tb testing.TB, plain []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		mode := fs.FileMode(e.mode)
		if mode == 0 {
			mode = 0o644
		}
		if e.link != "" {
			mode, e.text = fs.ModeSymlink|0o777, e.link
		}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			tb.Fatal(err)
		}
		if strings.HasSuffix(e.name, "/") {
			continue
		}
		if _, err := f.Write([]byte(e.text)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// filter packs with a program of the system.
func filter(tb testing.TB, in []byte, name string, args ...string) []byte {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return out
}

func unpackInto(tb testing.TB, ctx context.Context, dst string, data []byte, o archive.Options) error {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "archive")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	file, err := archive.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if o.Name == "" {
		o.Name = "lib-1.0.tgz"
	}
	return archive.Unpack(ctx, file, dst, o)
}

func unpack(tb testing.TB, data []byte, o archive.Options) (string, error) {
	tb.Helper()
	dst := tb.TempDir()
	return dst, unpackInto(tb, tb.Context(), dst, data, o)
}

// listing gives the tree as sorted lines: path, "=text", "->link", "/".
func listing(tb testing.TB, dir string) []string {
	tb.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case e.IsDir():
			lines = append(lines, rel+"/")
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			lines = append(lines, rel+"->"+to)
			return err
		default:
			text, err := os.ReadFile(path)
			lines = append(lines, rel+"="+string(text))
			return err
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func wantTree(t *testing.T, dir string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := listing(t, dir); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func wantError(t *testing.T, err error, reason models.Reason, texts ...string) {
	t.Helper()
	if models.CodeOf(err) == "" || models.ReasonOf(err) != reason {
		t.Fatalf("want an error for people because of %s, got %v (%s)", reason, err, models.ReasonOf(err))
	}
	for _, text := range append(texts, "lib-1.0.tgz") {
		if !strings.Contains(models.Explain(err), text) {
			t.Errorf("want %q in %q", text, models.Explain(err))
		}
	}
}

func TestUnpack_Kinds(t *testing.T) {
	plain := tarOf(t, entry{name: "lib/", kind: tar.TypeDir}, entry{name: "lib/a", text: "1"}, entry{name: "lib/sub/b", text: "2", mode: 0o4755})
	cases := map[string][]byte{
		"tar": plain,
		"gz":  gz(t, plain),
		"bz2": filter(t, plain, "bzip2", "-c"),
		"xz":  filter(t, plain, "xz", "-c"),
		"zip": zipOf(t, entry{name: "lib/a", text: "1"}, entry{name: "lib/sub/b", text: "2", mode: 0o755}),
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			dst, err := unpack(t, data, archive.Options{Strip: true})
			if err != nil {
				t.Fatal(err)
			}
			wantTree(t, dst, "a=1", "sub/", "sub/b=2")
			info, err := os.Stat(filepath.Join(dst, "sub/b"))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != 0o755 {
				t.Errorf("mode of an executable is %v", info.Mode())
			}
		})
	}
}

func TestUnpack_SingleCompressedFile(t *testing.T) {
	dst, err := unpack(t, gz(t, []byte("var x;\n")), archive.Options{Name: "some.js.gz", Strip: true})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dst, "some.js=var x;\n")
}

func TestUnpack_Strip(t *testing.T) {
	one, two, file := entry{name: "top/top", text: "1"}, entry{name: "b", text: "2"}, entry{name: "top", text: "f"}
	cases := []struct {
		name    string
		entries []entry
		strip   bool
		want    []string
	}{
		{"only folder", []entry{one}, true, []string{"top=1"}},
		{"not wanted", []entry{one}, false, []string{"top/", "top/top=1"}},
		{"two entries", []entry{one, two}, true, []string{"top/", "top/top=1", "b=2"}},
		{"only file", []entry{file}, true, []string{"top=f"}},
		{"Macintosh", []entry{one, {name: "__MACOSX/._x", text: "m"}}, true, []string{"top/", "top/top=1", "__MACOSX/", "__MACOSX/._x=m"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dst, err := unpack(t, zipOf(t, c.entries...), archive.Options{Strip: c.strip})
			if err != nil {
				t.Fatal(err)
			}
			wantTree(t, dst, c.want...)
		})
	}
}

func TestUnpack_Subtree(t *testing.T) {
	data := zipOf(t, entry{name: "nivo/n.js", text: "n"}, entry{name: "nivo/demo/d", text: "d"}, entry{name: "__MACOSX/._n", text: "m"})
	dst, err := unpack(t, data, archive.Options{Strip: true, Subtree: "nivo"})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dst, "n.js=n", "demo/", "demo/d=d")
	_, err = unpack(t, data, archive.Options{Strip: true, Subtree: "nivo/demos"})
	wantError(t, err, models.ReasonNotFound, `no folder "nivo/demos"`, `"demo"`)
	_, err = unpack(t, data, archive.Options{Strip: true, Subtree: "nivo/n.js"})
	wantError(t, err, models.ReasonNotFound, `no folder "nivo/n.js"`)
	link := tarOf(t, entry{name: "a/b", text: "1"}, entry{name: "l", link: "a", kind: tar.TypeSymlink})
	_, err = unpack(t, link, archive.Options{Subtree: "l"})
	wantError(t, err, models.ReasonNotFound, `no folder "l"`)
	if _, err := unpack(t, data, archive.Options{Subtree: "../x"}); models.CodeOf(err) != models.Invalid {
		t.Errorf("subtree that leads out: %v", err)
	}
}

// TestUnpack_Refused has each way of reaching out that archives are known for.
func TestUnpack_Refused(t *testing.T) {
	link := func(name, to string) entry { return entry{name: name, link: to, kind: tar.TypeSymlink} }
	hard := func(name, to string) entry { return entry{name: name, link: to, kind: tar.TypeLink} }
	ok := entry{name: "ok", text: "1"}
	cases := map[string]struct {
		entries []entry
		says    string
	}{
		"parent":               {[]entry{{name: "../evil", text: "x"}}, "leads out"},
		"parent inside":        {[]entry{{name: "a/../../evil", text: "x"}}, "leads out"},
		"absolute":             {[]entry{{name: "/etc/evil", text: "x"}}, "absolute"},
		"absolute link":        {[]entry{link("l", "/etc/passwd")}, "link out"},
		"parent link":          {[]entry{link("a/l", "../../x")}, "link out"},
		"through a link":       {[]entry{{name: "d/", kind: tar.TypeDir}, link("l", "d"), {name: "l/evil", text: "x"}}, "something else"},
		"link then folder":     {[]entry{{name: "d/", kind: tar.TypeDir}, link("l", "d"), {name: "l/", kind: tar.TypeDir}}, "something else"},
		"folder becomes link":  {[]entry{{name: "d/a", text: "x"}, link("d", ".")}, "something else"},
		"folder becomes file":  {[]entry{{name: "d/a", text: "x"}, {name: "d", text: "x"}}, "something else"},
		"file becomes folder":  {[]entry{{name: "d", text: "x"}, {name: "d/a", text: "x"}}, "something else"},
		"top is a file":        {[]entry{{name: ".", text: "x"}}, "something else"},
		"links add up":         {[]entry{{name: "a/b/", kind: tar.TypeDir}, link("a/b/d", "../.."), link("x", "a/b/d/../ok"), ok}, "not unpacked"},
		"link loop":            {[]entry{link("a", "b"), link("b", "a"), ok}, "not unpacked"},
		"hard link out":        {[]entry{hard("l", "../../etc/passwd")}, "leads out"},
		"hard link absolute":   {[]entry{hard("l", "/etc/passwd")}, "absolute"},
		"hard link to nothing": {[]entry{hard("l", "nothing")}, "no file of the archive"},
		"hard link to folder":  {[]entry{{name: "d/", kind: tar.TypeDir}, hard("l", "d")}, "no file"},
		"hard link to link":    {[]entry{ok, link("s", "ok"), hard("l", "s")}, "no file of the archive"},
		"fifo":                 {[]entry{{name: "p", kind: tar.TypeFifo}}, "device or pipe"},
		"device":               {[]entry{{name: "p", kind: tar.TypeChar}}, "device or pipe"},
		"block device":         {[]entry{{name: "p", kind: tar.TypeBlock}}, "device or pipe"},
		"unknown kind":         {[]entry{{name: "p", kind: 'Z'}}, "unknown kind"},
		"line break":           {[]entry{{name: "a\nb", text: "x"}}, "control characters"},
		"long name":            {[]entry{{name: strings.Repeat("n", 256), text: "x"}}, "255 bytes"},
		"long path":            {[]entry{{name: strings.Repeat("n/", 1025) + "n", text: "x"}}, "2048 bytes"},
		"deep":                 {[]entry{{name: strings.Repeat("n/", 101) + "x", text: "x"}}, "100 folders deep"},
		"nothing":              {nil, "none that Hefring can unpack"},
		"only the top":         {[]entry{{name: "./", kind: tar.TypeDir}}, "holds no files"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			dst := filepath.Join(outside, "in")
			if err := os.Mkdir(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			err := unpackInto(t, t.Context(), dst, tarOf(t, c.entries...), archive.Options{Strip: true})
			wantError(t, err, models.ReasonMalformed, c.says)
			left, err := os.ReadDir(outside)
			if err != nil || len(left) != 1 {
				t.Errorf("the folder around holds %v, %v", left, err)
			}
		})
	}
}

// After stripping, a link may lead out although it was fine before.
func TestUnpack_LinkLeavesStripped(t *testing.T) {
	data := tarOf(t, entry{name: "a/l", link: "../b/x", kind: tar.TypeSymlink}, entry{name: "b/x", text: "1"})
	dst, err := unpack(t, data, archive.Options{Strip: true})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dst, "a/", "a/l->../b/x", "b/", "b/x=1")
	_, err = unpack(t, data, archive.Options{Subtree: "a"})
	wantError(t, err, models.ReasonMalformed, "leads out")
}

func TestUnpack_Accepted(t *testing.T) {
	cases := map[string]struct {
		entries []entry
		want    []string
	}{
		"dots":           {[]entry{{name: "./a/./b", text: "1"}, {name: "c", text: "2"}}, []string{"a/", "a/b=1", "c=2"}},
		"later wins":     {[]entry{{name: "a", text: "1"}, {name: "a", text: "2"}}, []string{"a=2"}},
		"file for link":  {[]entry{{name: "t", text: "t"}, {name: "l", link: "t", kind: tar.TypeSymlink}, {name: "l", text: "2"}}, []string{"t=t", "l=2"}},
		"case":           {[]entry{{name: "README", text: "1"}, {name: "readme", text: "2"}}, []string{"README=1", "readme=2"}},
		"dangling link":  {[]entry{{name: "l", link: "later", kind: tar.TypeSymlink}}, []string{"l->later"}},
		"hard link":      {[]entry{{name: "a", text: "1"}, {name: "b", link: "a", kind: tar.TypeLink}, {name: "a", text: "2"}}, []string{"a=2", "b=1"}},
		"link to itself": {[]entry{{name: "a", text: "1"}, {name: "a", link: "a", kind: tar.TypeLink}}, []string{"a=1"}},
		"PAX name":       {[]entry{{name: "ä/" + strings.Repeat("x", 200), text: "1"}, {name: "b", text: "2"}}, []string{"ä/", "ä/" + strings.Repeat("x", 200) + "=1", "b=2"}},
		"empty folder":   {[]entry{{name: "d/", kind: tar.TypeDir}, {name: "e", text: ""}}, []string{"d/", "e="}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dst, err := unpack(t, tarOf(t, c.entries...), archive.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantTree(t, dst, c.want...)
		})
	}
}

func TestUnpack_GitArchive(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) []byte {
		return filter(t, nil, "git", append([]string{"-C", dir, "-c", "user.name=Test", "-c", "user.email=test@example.org"}, args...)...)
	}
	git("init", "-q")
	git("add", "-A")
	git("commit", "-q", "-m", "x")
	data := git("archive", "--prefix=p/", "HEAD")
	if !bytes.Contains(data, []byte("pax_global_header")) {
		t.Fatal("git wrote no global header")
	}
	dst, err := unpack(t, data, archive.Options{Strip: true})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dst, "f=1")
}

// GNU tar writes holes in two dialects; both count with their full size.
func TestUnpack_Sparse(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(8<<20), file.Close()); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "posix"} {
		t.Run(format, func(t *testing.T) {
			data := filter(t, nil, "tar", "-C", dir, "--sparse", "--format="+format, "-c", "hole")
			dst, err := unpack(t, data, archive.Options{})
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(filepath.Join(dst, "hole"))
			if err != nil || info.Size() != 8<<20 {
				t.Errorf("got %v, %v", info, err)
			}
			_, err = unpack(t, data, archive.Options{Limits: archive.Limits{Bytes: 4 << 20}})
			wantError(t, err, models.ReasonTooLarge, "unfolds into more than")
		})
	}
}

func TestUnpack_Limits(t *testing.T) {
	files := tarOf(t, entry{name: "a", text: "123456"}, entry{name: "b", text: "123456"})
	cases := map[string]struct {
		data   []byte
		limits archive.Limits
		says   string
	}{
		"archive":   {files, archive.Limits{ArchiveBytes: 100}, "it is "},
		"bytes":     {files, archive.Limits{Bytes: 10}, "more than 10 B"},
		"file":      {files, archive.Limits{FileBytes: 5}, `"a" is larger than 5 B`},
		"files":     {files, archive.Limits{Files: 1}, "more than 1 files"},
		"folders":   {tarOf(t, entry{name: "a/b/c/d/e", text: "1"}), archive.Limits{Files: 4}, "more than 4 files"},
		"tar bomb":  {filter(t, tarOf(t, entry{name: "zero", text: strings.Repeat("\x00", 80<<20)}), "gzip", "-c"), archive.Limits{}, "unfold into more than"},
		"zip bomb":  {zipOf(t, entry{name: "zero", text: strings.Repeat("\x00", 8<<20)}), archive.Limits{Bytes: 1 << 20}, "unfolds into more than 1.0 MB"},
		"gzip bomb": {gz(t, bytes.Repeat([]byte("a"), 8<<20)), archive.Limits{Bytes: 1 << 20}, "unfolds into more than 1.0 MB"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := unpack(t, c.data, archive.Options{Limits: c.limits})
			wantError(t, err, models.ReasonTooLarge, c.says)
		})
	}
}

// An endless run of headers unfolds into no file at all.
func TestUnpack_HeaderBomb(t *testing.T) {
	header := tarOf(t, entry{name: "./", kind: tar.TypeDir})[:512]
	data := filter(t, bytes.Repeat(header, 40_000), "gzip", "-c")
	_, err := unpack(t, data, archive.Options{Limits: archive.Limits{Files: 1000, Bytes: 1 << 20}})
	wantError(t, err, models.ReasonTooLarge, "unfold into far more")
}

func TestUnpack_Truncated(t *testing.T) {
	plain := tarOf(t, entry{name: "lib/a", text: strings.Repeat("some text ", 500)}, entry{name: "lib/b", text: "2"})
	kinds := map[string][]byte{
		"tar": plain[:2000],
		"gz":  gz(t, plain),
		"bz2": filter(t, plain, "bzip2", "-c"),
		"xz":  filter(t, plain, "xz", "-c"),
		"zip": zipOf(t, entry{name: "lib/a", text: strings.Repeat("some text ", 500)}),
	}
	for name, data := range kinds {
		t.Run(name, func(t *testing.T) {
			for _, cut := range []int{len(data) - 5, len(data) - 20, len(data) / 2} {
				_, err := unpack(t, data[:cut], archive.Options{})
				wantError(t, err, models.ReasonMalformed, "ownload it again")
			}
		})
	}
}

func TestUnpack_Damaged(t *testing.T) {
	plain := tarOf(t, entry{name: "lib/a", text: strings.Repeat("some text ", 500)})
	for name, data := range map[string][]byte{
		"gz":  gz(t, plain),
		"bz2": filter(t, plain, "bzip2", "-c"),
		"xz":  filter(t, plain, "xz", "-c"),
		"zip": zipOf(t, entry{name: "lib/a", text: strings.Repeat("some text ", 500)}),
	} {
		t.Run(name, func(t *testing.T) {
			data = bytes.Clone(data)
			data[len(data)/3] ^= 0x55
			_, err := unpack(t, data, archive.Options{})
			if err != nil {
				wantError(t, err, models.ReasonMalformed)
				return
			}
			t.Error("a flipped byte went unseen")
		})
	}
}

func TestUnpack_TrailingBytes(t *testing.T) {
	data := append(gz(t, tarOf(t, entry{name: "a", text: "1"})), "not gzip"...)
	dst, err := unpack(t, data, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dst, "a=1")
}

func TestUnpack_NoArchive(t *testing.T) {
	_, err := unpack(t, []byte("<html>not found</html>"), archive.Options{})
	wantError(t, err, models.ReasonMalformed, "none that Hefring can unpack")
}

func TestUnpack_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := unpackInto(t, ctx, t.TempDir(), gz(t, tarOf(t, entry{name: "a", text: "1"})), archive.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestUnpack_ZipOddities(t *testing.T) {
	dst, err := unpack(t, zipOf(t, entry{name: "a/l", link: "../b"}, entry{name: "b", text: "1"}), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dst, "a/", "a/l->../b", "b=1")
	for name, e := range map[string]entry{
		"parent": {name: "../x", text: "1"}, "absolute": {name: "/x", text: "1"},
		"link out": {name: "l", link: "../../etc"}, "absolute link": {name: "l", link: "/etc"},
		"pipe": {name: "p", mode: int64(fs.ModeNamedPipe | 0o644)},
	} {
		_, err := unpack(t, zipOf(t, e), archive.Options{})
		wantError(t, err, models.ReasonMalformed)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// Programs on Windows write backslashes; they separate folders there and cannot
// be used to climb out.
func TestUnpack_ZipBackslashes(t *testing.T) {
	build := func(name string) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, "1"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	dst, err := unpack(t, build(`a\b`), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dst, "a/", "a/b=1")
	_, err = unpack(t, build(`..\b`), archive.Options{})
	wantError(t, err, models.ReasonMalformed, "leads out")
}

func TestUnpack_ZipPassword(t *testing.T) {
	data := zipOf(t, entry{name: "a", text: "1"})
	at := bytes.Index(data, []byte("PK\x01\x02"))
	data[6] |= 1
	data[at+8] |= 1
	_, err := unpack(t, data, archive.Options{})
	wantError(t, err, models.ReasonMalformed, "password")
}

func TestUnpack_ZipMethod(t *testing.T) {
	data := zipOf(t, entry{name: "a", text: "1"})
	at := bytes.Index(data, []byte("PK\x01\x02"))
	data[8], data[at+10] = 97, 97
	_, err := unpack(t, data, archive.Options{})
	wantError(t, err, models.ReasonMalformed, "deflate")
}

func TestDetect_Kinds(t *testing.T) {
	cases := map[string]archive.Kind{
		"": archive.None, "PK": archive.None, "<html>": archive.None, "BZhello": archive.None,
		"PK\x03\x04": archive.Zip, "\x1f\x8b": archive.Gzip, "\xfd7zXZ\x00": archive.XZ, "BZh91AY&SY": archive.Bzip2,
		strings.Repeat("\x00", 512): archive.None, strings.Repeat("a", 600): archive.None,
	}
	for head, want := range cases {
		if got := archive.Detect([]byte(head)); got != want {
			t.Errorf("%q: got %d, want %d", head[:min(len(head), 10)], got, want)
		}
	}
}

// FuzzUnpack holds that no archive writes outside of its folder, and that every
// failure is one for people.
func FuzzUnpack(f *testing.F) {
	link := entry{name: "lib/l", link: "../x", kind: tar.TypeSymlink}
	plain := tarOf(f, entry{name: "lib/a", text: "1"}, link, entry{name: "lib/l", text: "3"}, entry{name: "h", link: "lib/a", kind: tar.TypeLink})
	f.Add(plain)
	f.Add(gz(f, plain))
	f.Add(filter(f, plain, "bzip2", "-c"))
	f.Add(filter(f, plain, "xz", "-c"))
	f.Add(zipOf(f, entry{name: "a", text: "1"}, entry{name: "d/l", link: "../a"}))
	f.Add(tarOf(f, entry{name: "../e", text: "x"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		outside := t.TempDir()
		dst := filepath.Join(outside, "in")
		if err := os.Mkdir(dst, 0o755); err != nil {
			t.Fatal(err)
		}
		limits := archive.Limits{Bytes: 1 << 20, Files: 100}
		err := unpackInto(t, t.Context(), dst, data, archive.Options{Strip: true, Limits: limits})
		if err != nil && models.CodeOf(err) == "" {
			t.Errorf("not for people: %v", err)
		}
		left, readErr := os.ReadDir(outside)
		if readErr != nil || len(left) != 1 {
			t.Fatalf("the folder around holds %v, %v", left, readErr)
		}
		if err != nil {
			return
		}
		for _, line := range listing(t, dst) {
			if _, to, isLink := strings.Cut(line, "->"); isLink && strings.HasPrefix(to, "/") {
				t.Errorf("link out: %q", line)
			}
		}
	})
}
