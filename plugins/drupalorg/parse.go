package drupalorg

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hefring/models"
)

// Limits of a feed; drupal.org's largest are far below.
const (
	MaxBytes    = 16 << 20 // after decompression
	maxReleases = 20_000
	maxFiles    = 100 // of one release
	maxTerms    = 100 // of one release
	maxDepth    = 20
	maxText     = 4 << 10 // bytes of one value
	maxBranches = 200     // and major versions that are supported
)

// errMalformed marks text that is no release history.
var errMalformed = errors.New("malformed release history")

// Parse reads a feed. Entities and document types are refused, and so is what
// exceeds the limits: a models.Error with ReasonMalformed or ReasonTooLarge. An
// answer that says that there is no such project is one with ReasonNotFound.
func Parse(data []byte) (Feed, error) {
	if len(data) > MaxBytes {
		return Feed{}, models.Errorf(models.Unavailable, "The release history is larger than the %d MiB that are accepted.", MaxBytes>>20).Because(models.ReasonTooLarge)
	}
	p := parser{xml: xml.NewDecoder(bytes.NewReader(data))}
	if err := p.document(); err != nil {
		if e, ok := errors.AsType[*models.Error](err); ok {
			return Feed{}, e
		}
		return Feed{}, models.Wrapf(models.Unavailable, err, "The release history cannot be read: it is not XML as drupal.org writes it. Check the address it came from.").Because(models.ReasonMalformed)
	}
	return p.feed, nil
}

// parser walks through the tokens and keeps what it knows by the path to it.
type parser struct {
	xml   *xml.Decoder
	path  []string
	text  strings.Builder
	feed  Feed
	fault string // what an <error> document says
	named bool

	count    int // of releases
	release  Release
	file     File
	term     struct{ name, value string }
	versions map[string]int // where a version is in feed.Releases
}

func (p *parser) document() error {
	p.versions = map[string]int{}
	seen := false
	for {
		token, err := p.xml.Token()
		if errors.Is(err, io.EOF) && seen {
			return p.end()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(p.path) == 0 && (seen || t.Name.Local != "project" && t.Name.Local != "error") {
				return fmt.Errorf("%w: element %.40q at the top", errMalformed, t.Name.Local)
			}
			seen = true
			if err := p.open(t); err != nil {
				return err
			}
		case xml.CharData:
			if err := p.characters(t); err != nil {
				return err
			}
		case xml.EndElement:
			if err := p.close(); err != nil {
				return err
			}
		case xml.Directive:
			return fmt.Errorf("%w: it declares a document type", errMalformed)
		}
	}
}

// end judges what was read.
func (p *parser) end() error {
	switch {
	case p.fault != "":
		return missing("drupal.org says: %s", p.fault)
	case !p.named:
		return fmt.Errorf("%w: the project has no short name", errMalformed)
	}
	return nil
}

func (p *parser) open(t xml.StartElement) error {
	name := t.Name.Local
	if t.Name.Space != "" {
		name = "" // dc:creator and its like
	}
	if len(p.path) == maxDepth {
		return fmt.Errorf("%w: more than %d elements in one another", errMalformed, maxDepth)
	}
	p.path = append(p.path, name)
	p.text.Reset()
	switch p.where() {
	case pathRelease:
		if p.count++; p.count > maxReleases {
			return fmt.Errorf("%w: more than %d releases", errMalformed, maxReleases)
		}
		p.release = Release{}
	case pathFile:
		p.file = File{}
	case pathTerm:
		p.term.name, p.term.value = "", ""
	case pathRelease + "/security":
		p.release.Covered = slices.ContainsFunc(t.Attr, func(a xml.Attr) bool { return a.Name.Local == "covered" && a.Value == "1" })
	}
	return nil
}

func (p *parser) characters(t xml.CharData) error {
	if p.text.Len()+len(t) > maxText {
		if len(bytes.TrimSpace(t)) == 0 {
			return nil
		}
		return fmt.Errorf("%w: a value of more than %d bytes", errMalformed, maxText)
	}
	p.text.Write(t)
	return nil
}

const (
	pathRelease = "project/releases/release"
	pathFile    = pathRelease + "/files/file"
	pathTerm    = pathRelease + "/terms/term"
)

func (p *parser) where() string { return strings.Join(p.path, "/") }

func (p *parser) close() error {
	where, text := p.where(), strings.TrimSpace(p.text.String())
	p.path = p.path[:len(p.path)-1]
	p.text.Reset()
	switch where {
	case "error":
		p.fault = clean(text)
		if p.fault == "" {
			p.fault = "no release history."
		}
		return nil
	case pathRelease:
		p.keep()
		return nil
	case pathFile:
		if len(p.release.Files) == maxFiles {
			return fmt.Errorf("%w: more than %d files of one release", errMalformed, maxFiles)
		}
		p.release.Files = append(p.release.Files, p.file)
		return nil
	case pathTerm:
		return p.keepTerm()
	}
	if name, ok := strings.CutPrefix(where, pathTerm+"/"); ok {
		p.setTerm(name, text)
	} else if name, ok := strings.CutPrefix(where, pathFile+"/"); ok {
		p.setFile(name, text)
	} else if name, ok := strings.CutPrefix(where, pathRelease+"/"); ok {
		p.setRelease(name, text)
	} else if name, ok := strings.CutPrefix(where, "project/"); ok {
		p.setProject(name, text)
	}
	return nil
}

// keep puts a release into the list; of two with one version the later one
// counts, in the place of the first.
func (p *parser) keep() {
	if at, twice := p.versions[p.release.Version]; twice {
		p.feed.Releases[at] = p.release
		return
	}
	p.versions[p.release.Version] = len(p.feed.Releases)
	p.feed.Releases = append(p.feed.Releases, p.release)
}

func (p *parser) keepTerm() error {
	if p.term.name != "Release type" {
		return nil
	}
	if len(p.release.Types) == maxTerms {
		return fmt.Errorf("%w: more than %d terms of one release", errMalformed, maxTerms)
	}
	p.release.Types = append(p.release.Types, p.term.value)
	return nil
}

func (p *parser) setTerm(name, text string) {
	switch name {
	case "name":
		p.term.name = text
	case "value":
		p.term.value = text
	}
}

func (p *parser) setFile(name, text string) {
	switch name {
	case "url":
		p.file.URL = text
	case "archive_type":
		p.file.Type = text
	case "variant":
		p.file.Variant = text
	case "md5":
		p.file.MD5 = text
	case "size":
		p.file.Size = count(text)
	case "filedate":
		p.file.Date = count(text)
	}
}

func (p *parser) setRelease(name, text string) {
	r := &p.release
	switch name {
	case "version":
		r.Version = text
	case "tag":
		r.Tag = text
	case "status":
		r.Status = text
	case "release_link":
		r.Link = text
	case "download_link":
		r.Download, r.downloadable = text, true
	case "mdhash":
		r.MD5 = text
	case "filesize":
		r.Size = count(text)
	case "core_compatibility":
		r.Core = text
	case "date":
		whole, _, _ := strings.Cut(text, ".")
		r.Date, r.dated, r.wrongDate = count(whole), true, !numeric.MatchString(text)
	case "version_major":
		r.major, r.hasMajor = text, true
	case "version_patch":
		r.patch, r.hasPatch = text, true
	case "version_extra":
		r.extra = text
	}
}

func (p *parser) setProject(name, text string) {
	f := &p.feed
	switch name {
	case "title":
		f.Title = clean(text)
	case "short_name":
		f.Name, p.named = text, true
	case "type":
		f.Type = text
	case "api_version":
		f.API = text
	case "project_status":
		f.ProjectStatus = text
	case "link":
		f.Link = text
	case "composer_namespace":
		f.Composer = text
	case "supported_branches":
		f.Branches = split(text)
	case "recommended_major":
		f.RecommendedMajor = text
	case "default_major":
		f.DefaultMajor = text
	case "supported_majors":
		f.SupportedMajors = split(text)
	}
}

// split reads a list with commas; what is beyond the limit is left out.
func split(text string) []string {
	list := strings.SplitN(text, ",", maxBranches+1)
	return list[:min(len(list), maxBranches)]
}

var numeric = regexp.MustCompile(`^[+-]?\d{1,18}(\.\d{1,18})?$`)

// count reads a number of 0 or more; anything else is 0.
func count(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// clean makes one short line for people out of foreign text.
func clean(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}
