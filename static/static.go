// Package static holds the files that browsers fetch: styles, scripts and the
// mark. They are embedded, and their names carry a hash of their content, so
// that browsers may keep them for ever.
package static

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// Prefix is where Handler belongs.
const Prefix = "/static/"

//go:embed *.css *.js *.svg
var files embed.FS

// assets are the files by plain name, and their public names both ways.
type assets struct {
	content map[string][]byte // by plain name
	public  map[string]string // plain name -> name with hash
	plain   map[string]string // name with hash -> plain name
}

//nolint:gochecknoglobals // the embedded files are read once and never change
var load = sync.OnceValue(read)

func read() assets {
	a := assets{content: map[string][]byte{}, public: map[string]string{}, plain: map[string]string{}}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		panic("read embedded files: " + err.Error())
	}
	for _, entry := range entries {
		text, err := files.ReadFile(entry.Name())
		if err != nil {
			panic("read embedded file: " + err.Error())
		}
		public := hashed(entry.Name(), text)
		a.content[entry.Name()] = text
		a.public[entry.Name()] = public
		a.plain[public] = entry.Name()
	}
	return a
}

func hashed(name string, text []byte) string {
	sum := sha256.Sum256(text)
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
}

// Path gives the address of a file by its plain name, such as hefring.css. A
// name that does not exist is a mistake in our own code and panics.
func Path(name string) string {
	public, ok := load().public[name]
	if !ok {
		panic(fmt.Sprintf("static: there is no file %q", name))
	}
	return Prefix + public
}

// Handler serves the files. A name with the right hash may be kept for ever; a
// plain name is answered too, but not kept.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, Prefix)
		keep := "no-cache"
		if plain, ok := load().plain[name]; ok {
			name, keep = plain, "public, max-age=31536000, immutable"
		}
		text, ok := load().content[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", keep)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
	})
}
