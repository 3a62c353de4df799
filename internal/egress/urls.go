package egress

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"hefring/models"
)

// MaxURL is the length in bytes of the longest address that is accepted.
const MaxURL = 2048

var (
	scpStyle   = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*)@([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):(.+)$`)
	colonPath  = regexp.MustCompile(`^[a-z]+://([^/@]*@)?([^/@:\[\]]+|\[[^\]/]*\]):([^/@]*[^0-9/@][^/@]*)(/.*)?$`)
	schemeText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
	hostText   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
	userText   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._~+@-]*$`)
)

func invalid(format string, args ...any) error {
	return models.Errorf(models.Invalid, format, args...).Because(models.ReasonURL)
}

// CheckURL reads an absolute address that a person gave, of one of the schemes
// (none given: https). What is wrong with it is a models.Error with code Invalid
// that says what to write instead. A literal address that connections are not
// made to is refused here already; names are checked when they are resolved.
func (g *Guard) CheckURL(raw string, schemes ...string) (*url.URL, error) {
	if len(schemes) == 0 {
		schemes = []string{"https"}
	}
	if err := checkText(raw); err != nil {
		return nil, err
	}
	if err := checkShape(raw, schemes); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "This is not a valid address. Write one such as %s.", example(schemes)).Because(models.ReasonURL)
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, invalid("Addresses that begin with %s: are not accepted here. Use one such as %s.", u.Scheme, example(schemes))
	}
	if u.Host == "" || u.Opaque != "" {
		return nil, invalid("The address names no host. Write one such as %s.", example(schemes))
	}
	if err := g.checkParts(u); err != nil {
		return nil, err
	}
	return u, nil
}

// CheckGitURL reads the address of a git repository: https, http, ssh or git's
// own short form git@host:path, which comes back as an ssh URL to look at. Git
// itself is given what the person wrote: in the short form the path begins in
// the user's home.
func (g *Guard) CheckGitURL(raw string) (*url.URL, error) {
	schemes := []string{"https", "http", "ssh"}
	if err := checkText(raw); err != nil {
		return nil, err
	}
	short := scpStyle.FindStringSubmatch(raw)
	if short == nil || strings.Contains(raw, "://") {
		u, err := g.CheckURL(raw, schemes...)
		if err == nil && strings.Trim(u.Path, "/") == "" {
			return nil, invalid("The address names no repository. Write one such as %s.", example(schemes))
		}
		return u, err
	}
	u := &url.URL{Scheme: "ssh", User: url.User(short[1]), Host: short[2], Path: "/" + strings.TrimPrefix(short[3], "/")}
	if strings.HasPrefix(short[3], "-") || strings.HasPrefix(short[3], ":") || strings.Trim(short[3], "/") == "" {
		return nil, invalid("The path after %s: is not valid. Write one such as git@%s:group/project.git.", short[2], short[2])
	}
	if err := g.checkParts(u); err != nil {
		return nil, err
	}
	return u, nil
}

func example(schemes []string) string { return schemes[0] + "://example.org/project.git" }

func checkText(raw string) error {
	switch {
	case raw == "":
		return invalid("Give an address.")
	case len(raw) > MaxURL:
		return invalid("The address is longer than %d characters.", MaxURL)
	case !utf8.ValidString(raw):
		return invalid("The address holds bytes that are not text.")
	case strings.HasPrefix(raw, "-"):
		return invalid("An address does not begin with a hyphen.")
	case strings.ContainsFunc(raw, unicode.IsSpace):
		return invalid("The address holds a space or a line break. Remove it, or write %%20 for a space.")
	case strings.ContainsFunc(raw, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("The address holds invisible characters. Type it again.")
	case strings.Contains(raw, `\`):
		return invalid(`The address holds a backslash. Use / instead.`)
	}
	return nil
}

// checkShape finds the usual mistakes for which a parser has no good words.
func checkShape(raw string, schemes []string) error {
	if strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, ".") || strings.HasPrefix(raw, "~") {
		return invalid("Paths on this machine are not accepted here. Use an address such as %s.", example(schemes))
	}
	if before, _, found := strings.Cut(raw, "::"); found && !strings.Contains(before, "/") {
		return invalid("Git's %s:: helper is not accepted. Use an address such as %s.", before, example(schemes))
	}
	if !strings.Contains(raw, "://") {
		if scpStyle.MatchString(raw) {
			return invalid("The short form git@host:path is not accepted here. Use an address such as %s.", example(schemes))
		}
		if !schemeText.MatchString(raw) {
			return invalid("The address must begin with %s://, for example %s.", schemes[0], example(schemes))
		}
		return nil
	}
	if m := colonPath.FindStringSubmatch(raw); m != nil && !strings.Contains(m[1], ":") {
		path := strings.TrimPrefix(m[3]+m[4], ":")
		scheme, _, _ := strings.Cut(raw, "://")
		return invalid("After the host, a colon is followed by a port number. Did you mean %s://%s%s/%s?", scheme, m[1], m[2], path)
	}
	return nil
}

func (g *Guard) checkParts(u *url.URL) error {
	if err := checkUser(u); err != nil {
		return err
	}
	if err := g.checkHost(u); err != nil {
		return err
	}
	if u.Fragment != "" || u.RawFragment != "" {
		return invalid("The address has a part after #. Leave that out.")
	}
	query, err := url.QueryUnescape(u.RawQuery)
	if err != nil {
		return models.Wrapf(models.Invalid, err, "The part of the address after ? is not valid.").Because(models.ReasonURL)
	}
	if strings.ContainsFunc(u.Path+query, unicode.IsControl) || !utf8.ValidString(u.Path) {
		return invalid("The address holds encoded control characters.")
	}
	if slices.Contains(strings.Split(u.Path, "/"), "..") {
		return invalid("The path of the address holds a .. part. Write it without.")
	}
	return nil
}

func checkUser(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	if _, set := u.User.Password(); set {
		return invalid("Do not put a password into the address: it would be visible to everyone who sees the address. Remove the part before the @.")
	}
	if !userText.MatchString(u.User.Username()) {
		return invalid("The user name before the @ is not valid.")
	}
	return nil
}

func (g *Guard) checkHost(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	if strings.HasSuffix(u.Host, ":") {
		return invalid("The address has a colon after the host, but no port number.")
	}
	if port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return invalid("The port must be a number from 1 to 65535.")
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return invalid("The address names a network interface (%%%s). Leave that out.", addr.Zone())
		}
		if err := g.CheckAddr(addr); err != nil {
			return models.Wrapf(models.Invalid, err, "%s", models.Explain(err)).Because(models.ReasonOf(err))
		}
		return nil
	}
	if len(host) > 253 || !hostText.MatchString(host) {
		return invalid("The host name is not valid. Use letters, digits, hyphens and dots; names in other alphabets in their xn-- form.")
	}
	return nil
}
