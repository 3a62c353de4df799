package git

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

// The key is a file for the programs' own user alone.
func TestCredentials_Keep(t *testing.T) {
	t.Parallel()
	runner := run.New(run.Config{})
	owner := os.Geteuid()
	if owner == 0 {
		id, err := run.LookupIdentity("www-data")
		if err != nil {
			t.Fatal(err)
		}
		runner, owner = run.New(run.Config{Identity: id}), int(id.UID)
	}
	scratch := t.TempDir()
	c := credentials{key: "secret\n", knownHosts: "host key\n"}
	dir, err := c.keep(plugins.Env{Run: runner, Scratch: scratch})
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{".": 0o700, "key": 0o600, "known_hosts": 0o600, "config": 0o600} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		status, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm() != mode || !ok || int(status.Uid) != owner {
			t.Errorf("%s is %v of %d", name, info.Mode(), status.Uid)
		}
	}
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"StrictHostKeyChecking yes", "BatchMode yes", "IdentitiesOnly yes", "UpdateHostKeys no", "GlobalKnownHostsFile /dev/null",
		"ProxyCommand " + run.SSHProxyCommand, "ForwardAgent no", "PermitLocalCommand no",
	} {
		if !strings.Contains(string(config), "  "+line+"\n") {
			t.Errorf("ssh is not told %q", line)
		}
	}
	(&client{ssh: dir}).close()
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestEnvironment_Hardening(t *testing.T) {
	t.Parallel()
	env := plugins.GitEnvironment("https")
	for _, want := range []string{
		"GIT_ALLOW_PROTOCOL=https", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1", "GIT_LFS_SKIP_SMUDGE=1", "GIT_PROTOCOL_FROM_USER=0", "LC_ALL=C",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for key, want := range map[string]string{
		"http.followRedirects": "false", "core.hooksPath": "/dev/null", "core.fsmonitor": "false", "transfer.bundleURI": "false",
		"transfer.fsckObjects": "true", "safe.bareRepository": "explicit", "protocol.file.allow": "never", "credential.helper": "",
		"submodule.recurse": "false", "fetch.recurseSubmodules": "false",
	} {
		at := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, "GIT_CONFIG_KEY_") && strings.HasSuffix(e, "="+key) })
		if at < 0 {
			t.Errorf("%s is not set", key)
			continue
		}
		number := strings.TrimPrefix(strings.TrimSuffix(env[at], "="+key), "GIT_CONFIG_KEY_")
		if !slices.Contains(env, "GIT_CONFIG_VALUE_"+number+"="+want) {
			t.Errorf("%s is not %q", key, want)
		}
	}
	if slices.ContainsFunc(env, func(e string) bool { return strings.Contains(e, "safe.directory") }) {
		t.Error("git trusts every folder")
	}
}

func TestRemote_Resolve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ parent, address, want string }{
		{"https://h.example/team/site.git", "../part.git", "https://h.example/team/part.git"},
		{"https://h.example/team/site.git/", "../part.git", "https://h.example/team/part.git"},
		{"https://h.example:8443/team/site.git", "../../x/part", "https://h.example:8443/x/part"},
		{"https://h.example/team/site.git", "./part.git", "https://h.example/team/site.git/part.git"},
		{"https://h.example/site", "../../part", ""},
		{"https://h.example/site", "../x/../../part", ""},
		{"https://h.example/site", "..", ""},
		{"git@h.example:team/site.git", "../part.git", "git@h.example:team/part.git"},
		{"git@h.example:/srv/site.git", "../part.git", "git@h.example:/srv/part.git"},
		{"ssh://git@h.example:2222/team/site.git", "../part.git", "ssh://git@h.example:2222/team/part.git"},
		{"git@h.example:team/site.git", "https://h.example/part", "https://h.example/part"},
		{"https://h.example/site", "//evil.example/part", ""},
		{"https://h.example/site", "../../../../evil.example/x", ""},
	} {
		parent, err := readRemote(c.parent)
		if err != nil {
			t.Fatal(err)
		}
		parent.login = credentials{key: "k"}
		if !parent.isSSH() {
			parent.login = credentials{user: "u", token: "t"}
		}
		got, err := parent.resolve(c.address)
		if c.want == "" {
			if models.CodeOf(err) != models.Invalid {
				t.Errorf("%s from %s: %s, %v", c.address, c.parent, got.url, err)
			}
			continue
		}
		if err != nil || got.url != c.want {
			t.Errorf("%s from %s: %s, %v", c.address, c.parent, got.url, err)
			continue
		}
		if shared := got.login == parent.login; shared != got.sameServer(parent) {
			t.Errorf("%s from %s: credentials shared: %v", c.address, c.parent, shared)
		}
	}
}

func TestCredentials_Redact(t *testing.T) {
	t.Parallel()
	c := credentials{user: "robot", token: "to/ken+1", key: "-----BEGIN X-----\nlongenoughsecret\n-----END X-----\n"}
	text := "to/ken+1 " + url.QueryEscape("to/ken+1") + " " + c.authorization() + " longenoughsecret robot"
	got := c.redact(text)
	for _, secret := range []string{"to/ken", "to%2Fken", "longenough", strings.TrimPrefix(c.authorization(), "Basic ")} {
		if strings.Contains(got, secret) {
			t.Errorf("%q holds %q", got, secret)
		}
	}
	if !strings.Contains(got, "robot") {
		t.Errorf("got %q", got)
	}
}

func TestFieldError_KeepsReason(t *testing.T) {
	t.Parallel()
	err := fieldError("url", models.Errorf(models.Unavailable, "slow down").Because(models.ReasonRateLimited).After(5))
	e, ok := errors.AsType[*models.Error](err)
	if !ok || e.Reason != models.ReasonRateLimited || e.RetryAfter != 5 || e.Fields["url"] != "slow down" {
		t.Errorf("got %+v", e)
	}
}

func FuzzVerification(f *testing.F) {
	f.Add([]byte("tree x\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\nbody\n"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJC2cVYkhKyLyJ5PzEGkGPq3nmYH5EeFS7kpXTkNTp8r somebody")
	f.Add([]byte("object x\ntype commit\ntag v1\n\nwords\n-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"), "m namespaces=\"git\",valid-before=\"20300101\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJC2cVYkhKyLyJ5PzEGkGPq3nmYH5EeFS7kpXTkNTp8r")
	f.Fuzz(func(t *testing.T, object []byte, keys string) {
		v := verification{commit: true, text: keys}
		if v.readKeys() != nil {
			return
		}
		for _, format := range []string{"sha1", "sha256"} {
			payload, signature := splitCommit(object, format)
			if len(payload)+len(signature) > len(object) {
				t.Error("more came out than went in")
			}
			if signer, err := v.signer(payload, signature); err == nil {
				t.Errorf("noise is signed by %s", signer)
			}
		}
		payload, signature := splitTag(object)
		if len(payload)+len(signature) != len(object) {
			t.Error("something is lost")
		}
		tagHeader(payload, "tag")
	})
}

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{"../x.git", "./../../x", "https://h.example/x", "git@h.example:x", "../\x00", "..//../x", "../..", "//x/y"} {
		f.Add(seed)
	}
	parent, err := readRemote("https://h.example/team/site.git")
	if err != nil {
		f.Fatal(err)
	}
	parent.login = credentials{user: "u", token: "t"}
	f.Fuzz(func(t *testing.T, address string) {
		sub, err := parent.resolve(address)
		if err != nil {
			return
		}
		if strings.HasPrefix(address, ".") && !sub.sameServer(parent) {
			t.Errorf("%q leads to %s", address, sub.url)
		}
		if sub.login.token != "" && sub.host() != "h.example" {
			t.Errorf("%q brings the token to %s", address, sub.url)
		}
	})
}
