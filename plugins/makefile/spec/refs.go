package spec

import (
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
)

var (
	schemePrefix = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	scpAddress   = regexp.MustCompile(`^[A-Za-z0-9._-]+@([A-Za-z0-9.-]+):([^/].*)$`)
	sshAddress   = regexp.MustCompile(`^(?:ssh|git|git\+ssh)://(?:[^/@]*@)?([A-Za-z0-9.-]+)(?::[0-9]+)?/(.*)$`)
)

const maxAddress = 2048

// place finds out what an address or path in a makefile names. base is the
// makefile that holds it. The message says what is wrong, "" when nothing is.
func place(base Ref, text string, local bool) (ref Ref, message string) {
	switch {
	case text == "":
		return Ref{}, "it is empty"
	case len(text) > maxAddress:
		return Ref{}, "it is too long"
	case strings.ContainsFunc(text, unicode.IsControl), strings.Contains(text, `\`):
		return Ref{}, "it holds a control character or a backslash"
	}
	if file, ok := strings.CutPrefix(text, "file:"); ok {
		return placeFile(base, strings.TrimPrefix(file, "//"), local)
	}
	if schemePrefix.MatchString(text) {
		return placeURL(text)
	}
	if base.URL == "" {
		return placeFile(base, text, local)
	}
	if strings.HasPrefix(text, "/") {
		return Ref{}, "it is a path of one machine; use an address that begins with https://, or a path relative to the makefile"
	}
	return placeBeside(base, text)
}

func placeURL(text string) (Ref, string) {
	u, err := url.Parse(strings.ReplaceAll(text, " ", "%20"))
	switch {
	case err != nil || u.Host == "":
		return Ref{}, "it is no valid address"
	case u.Scheme != "http" && u.Scheme != "https":
		return Ref{}, "addresses that begin with " + u.Scheme + ": are not supported; use https:"
	case u.User != nil:
		return Ref{}, "it holds a user name or password; remove the part before the @"
	}
	u.Fragment, u.RawFragment = "", ""
	return Ref{URL: u.String()}, ""
}

// placeBeside resolves a relative path against the address of a makefile.
func placeBeside(base Ref, text string) (Ref, string) {
	u, err := url.Parse(base.URL)
	if err != nil {
		return Ref{}, "the makefile's own address is not valid"
	}
	file, query, _ := strings.Cut(text, "?")
	next := u.JoinPath() // a copy
	next.RawQuery, next.RawPath = query, ""
	next.Path = path.Join(path.Dir(path.Join("/", u.Path)), file)
	if strings.HasPrefix(path.Clean(file), "..") && escapes(path.Dir(u.Path), file) {
		return Ref{}, "it leads above the top of the server"
	}
	return Ref{URL: next.String()}, ""
}

func escapes(dir, file string) bool {
	joined := path.Join(strings.TrimPrefix(dir, "/"), file)
	return joined == ".." || strings.HasPrefix(joined, "../")
}

func placeFile(base Ref, text string, local bool) (Ref, string) {
	if base.URL != "" {
		return Ref{}, "it names a file of one machine, and the makefile comes from an address; use an address that begins with https://"
	}
	if strings.HasPrefix(text, "/") {
		if !local || base.Git != "" {
			return Ref{}, "it is an absolute path; use a path relative to the makefile"
		}
		return Ref{Path: relative(path.Clean(text))}, ""
	}
	if escapes(path.Dir(base.Path), text) {
		return Ref{}, "it leads out of the folder that holds the makefiles"
	}
	return Ref{Git: base.Git, Commit: base.Commit, Path: relative(path.Join(path.Dir(base.Path), text))}, ""
}

func relative(clean string) string {
	if clean = strings.TrimPrefix(clean, "/"); clean == "" {
		return "."
	}
	return clean
}

// gitURL checks the address of a git repository. Forms that need a key or are
// not encrypted become https; changed tells so.
func gitURL(text string, local bool) (address string, changed bool, message string) {
	switch {
	case text == "" || len(text) > maxAddress || strings.HasPrefix(text, "-") || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "", false, "it is no valid address; write one such as https://git.example.org/project.git"
	case strings.HasPrefix(text, "file://"):
		if !local {
			return "", false, "it names a folder of one machine; use an address that begins with https://"
		}
		return text, false, ""
	}
	if m := scpAddress.FindStringSubmatch(text); m != nil && !strings.Contains(text, "://") {
		text, changed = "https://"+m[1]+"/"+m[2], true
	} else if m := sshAddress.FindStringSubmatch(text); m != nil {
		text, changed = "https://"+m[1]+"/"+strings.TrimPrefix(m[2], "/"), true
	}
	if !schemePrefix.MatchString(text) {
		return "", false, "it is no address; write one such as https://git.example.org/project.git"
	}
	ref, message := placeURL(text)
	return ref.URL, changed, message
}

// CleanPath brings a relative path into its one form: "." for the top. The
// message says what is wrong with a path that may not be used, "" when nothing is.
func CleanPath(text string) (clean, message string) {
	const advice = "; write a path such as contrib or modules/custom"
	switch {
	case len(text) > 500:
		return "", "it is too long"
	case strings.HasPrefix(text, "/"):
		return "", "it begins with /" + advice
	case strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, `\`):
		return "", "it holds a control character or a backslash" + advice
	}
	for part := range strings.SplitSeq(text, "/") {
		switch {
		case part == "..":
			return "", "it holds “..” and would lead out of the build" + advice
		case strings.HasPrefix(part, "-"):
			return "", "a part of it begins with a hyphen" + advice
		case strings.EqualFold(part, ".git"):
			return "", "it leads into .git" + advice
		}
	}
	return path.Clean(text), ""
}
