package git

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"hefring/internal/egress"
	"hefring/models"
)

// remote is a repository on a server and how to log in there.
type remote struct {
	url     string   // as it was written: git reads the short form in its own way
	address *url.URL // the same for looking at
	user    string   // that stood in an http address
	login   credentials
}

// readRemote looks at the form of an address only. Which hosts may be reached is
// decided when it is used.
func readRemote(raw string) (remote, error) {
	shape := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	u, err := shape.CheckGitURL(raw)
	if err != nil {
		return remote{}, err
	}
	if u.RawQuery != "" {
		return remote{}, models.Errorf(models.Invalid, "The address has a part after ?. Leave that out.").Because(models.ReasonURL)
	}
	switch {
	case u.Scheme == "ssh" && u.User == nil:
		return remote{}, models.Errorf(models.Invalid, "The address names no user, who is git on most servers. Write ssh://git@%s%s.", u.Host, u.Path).Because(models.ReasonURL)
	case u.Scheme == "ssh" || u.User == nil:
		return remote{url: raw, address: u}, nil
	}
	// Git would ask somebody for the user's password.
	user := u.User.Username()
	u.User = nil
	return remote{url: u.String(), address: u, user: user}, nil
}

func (r remote) isSSH() bool { return r.address.Scheme == "ssh" }

// host is in lower case, without port.
func (r remote) host() string {
	return strings.TrimSuffix(strings.ToLower(r.address.Hostname()), ".")
}

func (r remote) port() int {
	if port, err := strconv.Atoi(r.address.Port()); err == nil {
		return port
	}
	switch r.address.Scheme {
	case "http":
		return 80
	case "ssh":
		return 22
	}
	return 443
}

// sameServer tells whether both are asked at one place.
func (r remote) sameServer(other remote) bool {
	return r.address.Scheme == other.address.Scheme && r.host() == other.host() && r.port() == other.port()
}

// origin is the server's part of an http address.
func (r remote) origin() string { return r.address.Scheme + "://" + r.address.Host }

// private tells whether nobody on the way reads what is sent: https, ssh, and
// what never leaves this machine.
func (r remote) private() bool {
	if r.address.Scheme != "http" || r.host() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(r.host())
	return err == nil && addr.IsLoopback()
}

// canonical is the one form of addresses that lead to the same place for sure. A
// .git at the end makes a difference to some servers.
func (r remote) canonical() string {
	host := r.host()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	user := ""
	if r.address.User != nil {
		user = r.address.User.Username() + "@"
	}
	if !strings.Contains(r.url, "://") {
		_, path, _ := strings.Cut(strings.TrimPrefix(r.url[strings.IndexByte(r.url, '@')+1:], r.address.Host), ":")
		return user + host + ":" + path
	}
	if r.port() != (remote{address: &url.URL{Scheme: r.address.Scheme}}).port() {
		host += ":" + strconv.Itoa(r.port())
	}
	path := r.address.EscapedPath()
	if !r.isSSH() {
		path = strings.TrimRight(path, "/")
	}
	return r.address.Scheme + "://" + user + host + path
}

// key names the repository as these credentials see it: what one may read is
// kept from others.
func (r remote) key() string {
	if digest := r.login.digest(); digest != "" {
		return r.canonical() + "#" + digest
	}
	return r.canonical()
}

// folder is the key as a name for folders.
func (r remote) folder() string {
	sum := sha256.Sum256([]byte(r.key()))
	return hex.EncodeToString(sum[:16])
}
