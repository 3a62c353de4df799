package drupalorg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
)

// DefaultBase is where drupal.org publishes its feeds.
const DefaultBase = "https://updates.drupal.org/release-history"

// Address names one feed.
type Address struct {
	Base    string // "" is DefaultBase
	Project string // machine name
	API     string // 7.x, current
}

var (
	projectName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,99}$`)
	apiName     = regexp.MustCompile(`^(\d{1,2}\.x|current|all)$`)
)

// ValidProject tells whether a text can be the machine name of a project.
func ValidProject(name string) bool { return projectName.MatchString(name) }

// URL gives the address as text. Names that are none are a models.Error.
func (a Address) URL() (string, error) {
	if !ValidProject(a.Project) {
		return "", models.Errorf(models.Invalid, "%.100q is not the machine name of a project. It looks like drupal or commerce_kickstart: letters, digits and underscores.", a.Project)
	}
	if !apiName.MatchString(a.API) {
		return "", models.Errorf(models.Invalid, "%.20q is not a release history of drupal.org. Use 7.x, 6.x or current.", a.API)
	}
	base := a.Base
	if base == "" {
		base = DefaultBase
	}
	return strings.TrimRight(base, "/") + "/" + a.Project + "/" + a.API, nil
}

// Validators are what a server recognises an unchanged page by.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

func (v Validators) header() http.Header {
	h := http.Header{}
	if v.ETag != "" {
		h.Set("If-None-Match", v.ETag)
	}
	if v.LastModified != "" {
		h.Set("If-Modified-Since", v.LastModified)
	}
	return h
}

func validatorsOf(h http.Header) Validators {
	v := Validators{ETag: h.Get("Etag"), LastModified: h.Get("Last-Modified")}
	if len(v.ETag) > 300 {
		v.ETag = ""
	}
	if len(v.LastModified) > 100 {
		v.LastModified = ""
	}
	return v
}

// Fetched is the answer to one question for a feed.
type Fetched struct {
	Feed        Feed
	Validators  Validators
	NotModified bool // the feed is as it was
	body        []byte
}

// Fetch downloads a feed; with validators of an earlier answer only if it changed.
// The errors are models.Errors with a reason.
func Fetch(ctx context.Context, guard *egress.Guard, a Address, v Validators) (Fetched, error) {
	url, err := a.URL()
	if err != nil {
		return Fetched{}, err
	}
	page, err := guard.Fetch(ctx, url, MaxBytes, v.header())
	if err != nil {
		return Fetched{}, err
	}
	if page.Status == http.StatusNotModified {
		if v == (Validators{}) {
			return Fetched{}, models.Errorf(models.Unavailable, "%s calls its release history unchanged without having been asked. Check the address.", url).Because(models.ReasonMalformed)
		}
		return Fetched{Validators: v, NotModified: true}, nil
	}
	feed, err := Parse(page.Body)
	if err != nil {
		return Fetched{}, err
	}
	if feed.Name != a.Project {
		return Fetched{}, models.Errorf(models.Unavailable, "The release history of %s is that of %.100q. Use that name.", a.Project, feed.Name).Because(models.ReasonMalformed)
	}
	return Fetched{Feed: feed, Validators: validatorsOf(page.Header), body: page.Body}, nil
}

// Load gives a feed: it is asked for once in a check, and downloaded only when it
// changed, because feeds stay in env.Cache. NotModified then says that it did not
// change, and the Feed is there nevertheless. known are the validators of the
// answer that the caller knows, or zero: when the cache was lost and the feed is
// still that one, NotModified comes without a Feed.
func Load(ctx context.Context, env plugins.Env, a Address, known Validators) (Fetched, error) {
	url, err := a.URL()
	if err != nil {
		return Fetched{}, err
	}
	path := keptPath(env.Cache, url)
	if _, err := os.Stat(path); err == nil {
		known = Validators{} // it has its own
	}
	key := fmt.Sprintf("drupalorg %s %q %q", url, known.ETag, known.LastModified)
	return plugins.Ask(env.Answers, key, func() (Fetched, error) {
		return load(ctx, env, a, path, known)
	})
}

func load(ctx context.Context, env plugins.Env, a Address, path string, known Validators) (Fetched, error) {
	kept := readKept(path, a)
	if kept.Validators != (Validators{}) {
		known = kept.Validators
	}
	got, err := Fetch(ctx, env.Egress, a, known)
	if err != nil {
		return Fetched{}, err
	}
	if got.NotModified {
		got.Feed = kept.feed
		return got, nil
	}
	if got.Validators != (Validators{}) {
		writeKept(path, got)
	}
	return got, nil
}

// keptFeed is a feed in the cache; the zero value is none.
type keptFeed struct {
	Validators Validators `json:"validators"`
	Body       []byte     `json:"body"`
	feed       Feed
}

func keptPath(cache, url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(cache, "drupalorg", hex.EncodeToString(sum[:16])+".json")
}

// readKept gives nothing when the file is not there, or is damaged.
func readKept(path string, a Address) keptFeed {
	file, err := os.Open(path) //nolint:gosec // its name is a digest
	if err != nil {
		return keptFeed{}
	}
	defer func() { _ = file.Close() }()
	var kept keptFeed
	if err := json.NewDecoder(io.LimitReader(file, 2*MaxBytes)).Decode(&kept); err != nil {
		return keptFeed{}
	}
	if kept.feed, err = Parse(kept.Body); err != nil || kept.feed.Name != a.Project {
		return keptFeed{}
	}
	return kept
}

// writeKept keeps a feed; the cache may be lost, so failures do not matter.
func writeKept(path string, got Fetched) {
	data, err := json.Marshal(keptFeed{Validators: got.Validators, Body: got.body})
	if err != nil {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // part of the cache
		return
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
}
