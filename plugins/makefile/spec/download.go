package spec

import (
	"regexp"
	"strings"
)

// DefaultRepository is where Drush looks for the repository of a project that
// names none.
const DefaultRepository = "https://git.drupalcode.org/project/"

// download reads the download of an entry. kind is the type that is meant when
// none is given, "" when one must be given. It is nil when the entry comes from
// a release feed after all, or when there are problems.
func (b *builder) download(e entry, n *node, kind string) *Download {
	key := e.in("download")
	if !n.isMap() {
		address := n
		n = newMap(address.line)
		n.file = address.file
		n.set("url", address)
	}
	if given := n.get("type"); given != nil {
		kind = strings.ToLower(b.word(given, key+"[type]"))
		if kind == "pm" && section(e) == "projects" {
			return nil
		}
	}
	d := &Download{Type: kind}
	switch kind {
	case "file", DownloadGet:
		d.Type = DownloadGet
	case DownloadGit, DownloadCopy:
	case "":
		b.wrong(n, key+"[type]", "the download has no type, and Drush would leave an empty folder; write get, git or copy")
		return nil
	case "cvs", "bzr", "svn", "post", "link":
		b.wrong(n.get("type"), key+"[type]", "downloads by %s are not supported; write git for a repository, or get for an archive", kind)
		return nil
	default:
		b.wrong(n.get("type"), key+"[type]", "%s is no type of download, and Drush would leave an empty folder; write get, git or copy", quote(shorten(kind)))
		return nil
	}
	b.downloadKeys(n, key)
	before := len(b.problems)
	d.Checksums = b.checksums(n, key)
	d.Subtree, _ = b.path(n.get("subtree"), key+"[subtree]")
	d.Filename = b.filename(n.get("filename"), key+"[filename]")
	d.URL = b.word(n.get("url"), key+"[url]")
	if d.Type == DownloadGit {
		b.git(e, n, d)
	} else {
		b.get(n, key, d)
	}
	if len(b.problems) > before {
		return nil
	}
	return d
}

func (b *builder) downloadKeys(n *node, key string) {
	for _, k := range n.keys {
		switch k {
		case "type", "url", "filename", "subtree", "tag", "branch", "revision", "refspec", "submodule", "working-copy", "working_copy", "full_version":
		default:
			if checksumLength(k) == 0 {
				b.warn(n.values[k], key+"["+k+"]", "downloads have no such setting, so this does nothing")
			}
		}
	}
}

func (b *builder) get(n *node, key string, d *Download) {
	if d.URL == "" {
		b.wrong(n, key+"[url]", "the download has no address; write %s[url] = https://…", key)
		return
	}
	ref, message := place(origin(n), d.URL, b.local)
	if message == "" && d.Type == DownloadCopy && ref.URL != "" {
		message = "only a folder beside the makefile can be copied; use a makefile in a git repository, or the type git"
	}
	if message != "" {
		b.wrong(n.get("url"), key+"[url]", "%s cannot be used: %s", quote(shorten(d.URL)), message)
		return
	}
	d.Ref = ref
}

// origin is the makefile that gives a download its address.
func origin(n *node) Ref {
	if u := n.get("url"); u != nil && u.file != nil {
		return u.file.Ref
	}
	return n.file.ref()
}

func (b *builder) git(e entry, n *node, d *Download) {
	key := e.in("download")
	if d.URL == "" {
		d.URL, d.DefaultURL = DefaultRepository+e.name+".git", true
	}
	from := origin(n) // what a local makefile includes from elsewhere names no folders of this machine
	address, changed, message := gitURL(d.URL, b.local && from.Path != "" && from.URL == "" && from.Git == "")
	if message != "" {
		b.wrong(n.get("url"), key+"[url]", "%s cannot be used: %s", quote(shorten(d.URL)), message)
		return
	}
	if changed {
		b.warn(n.get("url"), key+"[url]", "%s is not encrypted or needs a key, so %s is used instead", quote(shorten(d.URL)), shorten(address))
	}
	d.URL = address
	d.Tag = b.ref(n.get("tag"), key+"[tag]")
	d.Branch = b.ref(n.get("branch"), key+"[branch]")
	d.Revision = b.ref(n.get("revision"), key+"[revision]")
	d.Refspec = b.ref(n.get("refspec"), key+"[refspec]")
	d.Submodule = on(n.get("submodule"))
	d.WorkingCopy = on(n.get("working-copy")) || on(n.get("working_copy"))
}

// refCharacters follows git check-ref-format.
var refCharacters = regexp.MustCompile(`^[^\x00-\x20\x7f~^:?*\[\\-][^\x00-\x20\x7f~^:?*\[\\]{0,249}$`)

func (b *builder) ref(n *node, key string) string {
	value := b.word(n, key)
	if value == "" {
		return ""
	}
	if !refCharacters.MatchString(value) || strings.Contains(value, "..") || strings.Contains(value, "@{") || strings.Contains(value, "//") ||
		strings.HasSuffix(value, "/") || strings.HasSuffix(value, ".lock") || strings.HasPrefix(value, "/") {
		b.wrong(n, key, "%s cannot be the name of a branch, tag or commit; write it as git shows it", quote(shorten(value)))
		return ""
	}
	return value
}

func (b *builder) filename(n *node, key string) string {
	value := b.word(n, key)
	if value == "" {
		return ""
	}
	clean, message := CleanPath(value)
	if message == "" && (clean == "." || strings.Contains(clean, "/")) {
		message = "it is no name of a file; write one such as plugin.js"
	}
	if message != "" {
		b.wrong(n, key, "%s cannot be used: %s", quote(shorten(value)), message)
		return ""
	}
	return clean
}

// checksumLength is how many hex digits a checksum of the kind has; 0 for what
// is no kind of checksum.
func checksumLength(kind string) int {
	switch kind {
	case "md5":
		return 32
	case "sha1":
		return 40
	case "sha256":
		return 64
	case "sha512":
		return 128
	}
	return 0
}

func (b *builder) checksums(n *node, key string) Checksums {
	get := func(kind string) string {
		return b.checksum(n.get(kind), key+"["+kind+"]", checksumLength(kind))
	}
	return Checksums{MD5: get("md5"), SHA1: get("sha1"), SHA256: get("sha256"), SHA512: get("sha512")}
}

func (b *builder) checksum(n *node, key string, length int) string {
	value := strings.ToLower(b.word(n, key))
	if value == "" {
		return ""
	}
	if len(value) != length || strings.Trim(value, "0123456789abcdef") != "" {
		b.wrong(n, key, "%s is no such checksum; it has %d digits from 0 to 9 and a to f", quote(shorten(value)), length)
		return ""
	}
	return value
}
