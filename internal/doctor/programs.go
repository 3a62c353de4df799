package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/internal/run"
	"hefring/models"
)

// sandbox tries bubblewrap, and finds out why it does not work.
func (e *examination) sandbox() {
	const name = "sandbox"
	err := e.c.Sandbox.Contained(e.ctx)
	if err == nil {
		e.say(OK, name, "bubblewrap works", "")
		return
	}
	state, consequence := Fail, " Hefring does not start."
	if e.c.Unsandboxed {
		state, consequence = Warn, " Programs run without a sandbox, as --allow-unsandboxed-builds says."
	}
	for _, tool := range []string{"bwrap", "setpriv", "prlimit"} {
		if _, missing := e.c.Sandbox.LookPath(tool); missing != nil {
			e.say(state, name, tool+" is missing."+consequence, "apt-get install "+packageOf(tool))
			return
		}
	}
	why := "bubblewrap does not work: " + strings.TrimSuffix(lastWords(err), ".") + "."
	fix := "bwrap --unshare-all --ro-bind / / true"
	switch {
	case errors.Is(err, run.ErrProcCovered):
		why = "Parts of /proc are covered, as container engines do it, and the kernel then gives no sandbox a /proc of its own."
		fix = "podman run --security-opt unmask=ALL …, docker run --security-opt systempaths=unconfined …, or Hefring outside of a container"
	case strings.Contains(why, "namespaces"):
		why, fix = e.obstacle()
	}
	e.say(state, name, why+consequence, fix)
}

// obstacle names the kernel's switch that keeps ordinary users from making
// namespaces; root needs none of them.
func (e *examination) obstacle() (why, fix string) {
	if os.Geteuid() == 0 {
		return "bubblewrap may not make namespaces although we are root: this is a container without that right.",
			"run the container with --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or Hefring outside of it"
	}
	for _, s := range []struct {
		file string
		bad  func(int) bool
		why  string
		want string
	}{
		{
			"kernel/unprivileged_userns_clone", func(n int) bool { return n == 0 },
			"This kernel lets only root make user namespaces.", "kernel.unprivileged_userns_clone=1",
		},
		{
			"user/max_user_namespaces", func(n int) bool { return n < 100 },
			"This kernel allows next to no user namespaces.", "user.max_user_namespaces=15000",
		},
		{
			"kernel/apparmor_restrict_unprivileged_userns", func(n int) bool { return n == 1 },
			"AppArmor keeps ordinary users from making user namespaces.", "kernel.apparmor_restrict_unprivileged_userns=0",
		},
	} {
		text, err := os.ReadFile(filepath.Join(e.c.Proc, "sys", s.file))
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && s.bad(n) {
			return s.why, "sysctl -w " + s.want + " && echo " + s.want + " >/etc/sysctl.d/60-hefring.conf"
		}
	}
	return "Something keeps ordinary users from making namespaces, such as the container that this is.",
		"run Hefring as root, or allow unprivileged user namespaces where the container is set up"
}

func packageOf(tool string) string {
	switch tool {
	case "bwrap":
		return "bubblewrap"
	case "setpriv", "prlimit":
		return "util-linux"
	case "php":
		return "php-cli"
	case "ssh":
		return "openssh-client"
	}
	return tool
}

func lastWords(err error) string {
	if models.CodeOf(err) != "" {
		return models.Explain(err)
	}
	return err.Error()
}

// ask runs a program and gives what it prints first, or says that it is missing.
func (e *examination) ask(state State, need, program string, args ...string) (string, bool) {
	result, err := e.c.Programs.Run(e.ctx, run.Cmd{
		Name: program, Args: args, Env: []string{"HOME=/nonexistent", "COMPOSER_ALLOW_SUPERUSER=1"}, Timeout: 20 * time.Second,
	})
	switch {
	case errors.Is(err, run.ErrNotFound):
		e.say(state, program, program+" is missing; "+need, "apt-get install "+packageOf(program))
		return "", false
	case err != nil:
		e.say(state, program, program+" does not work: "+lastWords(err), "apt-get install --reinstall "+packageOf(program))
		return "", false
	}
	return strings.TrimSpace(string(result.Stdout)), true
}

// version is major, minor and patch.
type version [3]int

var versionPattern = regexp.MustCompile(`(\d+)\.(\d+)(?:\.(\d+))?`)

func versionIn(text string) (version, bool) {
	match := versionPattern.FindStringSubmatch(text)
	if match == nil {
		return version{}, false
	}
	var v version
	for i := range v {
		v[i], _ = strconv.Atoi(match[i+1]) // "" is 0
	}
	return v, true
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) before(w version) bool { return slices.Compare(v[:], w[:]) < 0 }

// gitFixes are the first releases of each line with the fixes of CVE-2025-48384,
// CVE-2025-48385 and CVE-2025-48386 (git's release notes of 2.43.7).
func gitFixes() []version {
	return []version{{2, 43, 7}, {2, 44, 4}, {2, 45, 4}, {2, 46, 4}, {2, 47, 3}, {2, 48, 2}, {2, 49, 1}, {2, 50, 1}}
}

// oldestGit has all that Hefring's own git commands ask for.
func oldestGit() version { return version{2, 36, 0} }

func (e *examination) git() {
	text, ok := e.ask(Fail, "sources in git cannot be fetched without it.", "git", "--version")
	if !ok {
		return
	}
	v, known := versionIn(text)
	switch {
	case !known:
		e.say(Warn, "git", fmt.Sprintf("it does not tell its version: %.60q", text), "")
	case v.before(oldestGit()):
		e.say(Fail, "git", fmt.Sprintf("git %s is too old; Hefring needs %s", v, oldestGit()), "apt-get install git")
	case !fixed(v):
		e.say(Warn, "git", fmt.Sprintf("git %s is from before the fixes of CVE-2025-48384 and CVE-2025-48385, unless your distribution added them", v),
			"apt-get install --only-upgrade git")
	default:
		e.say(OK, "git", "git "+v.String(), "")
	}
}

func fixed(v version) bool {
	for _, f := range gitFixes() {
		if f[0] == v[0] && f[1] == v[1] {
			return !v.before(f)
		}
	}
	fixes := gitFixes()
	return fixes[len(fixes)-1].before(v)
}

// extension is one of PHP's, with the package that brings it.
type extension struct {
	name, pkg string
	state     State // when it is missing
}

// extensions are what Drupal core's composer.json asks for, what sites on SQLite
// need, and what makes Composer quick.
func extensions() []extension {
	return []extension{
		{"date", "php-cli", Fail},
		{"filter", "php-cli", Fail},
		{"hash", "php-cli", Fail},
		{"json", "php-cli", Fail},
		{"pcre", "php-cli", Fail},
		{"session", "php-cli", Fail},
		{"tokenizer", "php-cli", Fail},
		{"ctype", "php-cli", Fail},
		{"pdo", "php-cli", Fail},
		{"openssl", "php-cli", Fail},
		{"phar", "php-cli", Fail},
		{"iconv", "php-cli", Fail},
		{"dom", "php-xml", Fail},
		{"simplexml", "php-xml", Fail},
		{"xml", "php-xml", Fail},
		{"gd", "php-gd", Fail},
		{"mbstring", "php-mbstring", Fail},
		{"pdo_sqlite", "php-sqlite3", Fail},
		{"curl", "php-curl", Warn},
		{"zip", "php-zip", Warn},
		{"intl", "php-intl", Warn},
		{"zend opcache", "php-cli", Warn},
	}
}

// oldestPHP is what the oldest Drupal 10 wants.
func oldestPHP() version { return version{8, 1, 0} }

func (e *examination) php() {
	text, ok := e.ask(Fail, "neither Composer nor sites work without it.", "php", "-r", `echo PHP_VERSION, "\n", implode("\n", get_loaded_extensions()), "\n", implode("\n", get_loaded_extensions(true));`)
	if !ok {
		return
	}
	lines := strings.Split(strings.ToLower(text), "\n")
	v, known := versionIn(lines[0])
	if !known || v.before(oldestPHP()) {
		e.say(Fail, "php", fmt.Sprintf("PHP %.20s is too old; Drupal needs %s", lines[0], oldestPHP()), "apt-get install php-cli")
		return
	}
	state, missing, packages := OK, []string{}, []string{}
	for _, x := range extensions() {
		if slices.Contains(lines, x.name) {
			continue
		}
		missing, packages = append(missing, x.name), append(packages, x.pkg)
		if state != Fail {
			state = x.state
		}
	}
	if state == OK {
		e.say(OK, "php", "PHP "+v.String()+" with all extensions", "")
		return
	}
	slices.Sort(packages)
	e.say(state, "php", fmt.Sprintf("PHP %s lacks %s", v, strings.Join(missing, ", ")), "apt-get install "+strings.Join(slices.Compact(packages), " "))
}

// oldestComposer is the first with allow-plugins.
func oldestComposer() version { return version{2, 2, 0} }

// soundComposer has the fixes of CVE-2026-40261, CVE-2026-40176 and what was
// found after them (its CHANGELOG).
func soundComposer() version { return version{2, 10, 2} }

// newerComposer is how to get one: Debian's package leaves self-update out.
const newerComposer = "composer self-update; Debian's package has no such command: put a newer composer.phar at /usr/local/bin/composer"

func (e *examination) composer() {
	text, ok := e.ask(Fail, "Composer sources and Drupal's own template cannot be built without it.", "composer", "--version", "--no-ansi", "--no-plugins")
	if !ok {
		return
	}
	v, known := versionIn(text)
	switch {
	case !known:
		e.say(Warn, "composer", fmt.Sprintf("it does not tell its version: %.60q", text), "")
	case v.before(oldestComposer()):
		e.say(Fail, "composer", fmt.Sprintf("Composer %s is too old; Hefring needs %s", v, oldestComposer()), newerComposer)
	case v.before(soundComposer()):
		e.say(Warn, "composer", fmt.Sprintf("Composer %s is from before %s, which mends flaws that hostile packages use; the sandbox holds them", v, soundComposer()), newerComposer)
	default:
		e.say(OK, "composer", "Composer "+v.String(), "")
	}
}

// helpers are programs that need only be there.
func (e *examination) helpers() {
	var there []string
	for _, h := range []struct {
		program, need string
		state         State
	}{
		{"nginx", "sites cannot be served without it", Fail},
		{e.fpm(), "sites cannot be served without it", Fail},
		{"patch", "makefiles with patches cannot be built without it", Fail},
		{"unzip", "Composer unpacks slower, and loses execute bits, without it", Warn},
		{"ssh", "repositories cannot be reached over SSH without it", Warn},
	} {
		if _, err := e.c.Programs.LookPath(h.program); err != nil {
			e.say(h.state, h.program, h.program+" is missing; "+h.need, "apt-get install "+packageOf(h.program))
			continue
		}
		there = append(there, h.program)
	}
	if len(there) > 0 {
		e.say(OK, "programs", "there are "+strings.Join(there, ", "), "")
	}
}

// fpm finds php-fpm, which Debian installs under its version's name.
func (e *examination) fpm() string {
	for n := range 40 { // 9.9 to 6.0
		name := fmt.Sprintf("php-fpm%d.%d", 9-n/10, 9-n%10)
		if _, err := e.c.Programs.LookPath(name); err == nil {
			return name
		}
	}
	return "php-fpm"
}

// users are looked at by root alone, who switches to them.
func (e *examination) users() {
	if os.Geteuid() != 0 {
		return
	}
	for _, name := range e.c.Users {
		id, err := run.LookupIdentity(name)
		switch {
		case err != nil:
			e.say(Fail, "users", fmt.Sprintf("There is no user %s to run programs as.", cmp.Or(name, `""`)), "useradd --system --no-create-home "+name)
		case id.UID == 0:
			e.say(Fail, "users", name+" is root, and what sources and sites hold must not run as root.", "name another with --build-user or --web-user")
		}
	}
}
