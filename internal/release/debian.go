package release

import (
	"regexp"
	"strings"
)

const (
	maintainer  = "Hefring maintainers <maintainers@hefring.invalid>"
	description = `keeps a fleet of Drupal sites up to date
Hefring watches where a flavour of Drupal comes from, builds every change
of it into a new immutable platform, and moves sites over at the press of
a button, in such a way that whatever fails leaves them serving.

It is one program with a dashboard, a command line and an API. Sites are
served by an nginx and a php-fpm of its own, or by the machine's.`
)

// depends are what Hefring cannot work without; "hefring doctor" fails when one
// is missing. setpriv and prlimit are on every Debian (util-linux).
func depends() []string {
	return []string{
		"adduser", "bubblewrap", "ca-certificates", "composer", "git", "init-system-helpers (>= 1.54)", "nginx", "patch",
		"php-cli (>= 2:8.1)", "php-fpm (>= 2:8.1)", "php-gd", "php-mbstring", "php-sqlite3", "php-xml",
	}
}

// recommends are what the doctor warns about, and what most fleets use.
func recommends() []string {
	return []string{"openssh-client", "php-curl", "php-intl", "php-mysql", "php-pgsql", "php-zip", "unzip"}
}

// suggests are for databases elsewhere than in files.
func suggests() []string {
	return []string{"default-mysql-client", "mariadb-server", "postgresql", "postgresql-client"}
}

var described = regexp.MustCompile(`-(\d+)-g([0-9a-f]+)`)

// debianVersion makes a version that dpkg orders as it is meant: 1.4.0~rc.1 is
// before 1.4.0, and 1.4.0+3.abcdef, three commits after, behind it.
// https://www.debian.org/doc/debian-policy/ch-controlfields.html#version
func debianVersion(version string) string {
	version = described.ReplaceAllString(version, "+$1.$2")
	version = strings.ReplaceAll(version, "-dirty", "+dirty")
	head, tail, found := strings.Cut(version, "-") // of semantic versioning: a preliminary one
	if !found {
		return version
	}
	return head + "~" + strings.ReplaceAll(tail, "-", ".")
}
