package git_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"

	"hefring/models"
	"hefring/plugins"
)

// signer gives the armored signature of a payload.
type signer func(payload []byte) string

func (k sshKey) sign(t *testing.T, namespace string) signer {
	t.Helper()
	return func(payload []byte) string {
		sig, err := sshsig.Sign(bytes.NewReader(payload), k.signer, sshsig.HashSHA512, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(sshsig.Armor(sig)))
	}
}

// signCommit makes a commit of these files that carries a signature of what
// spoil leaves of it; spoil may be nil.
func (u *upstream) signCommit(message string, files map[string]string, sign signer, spoil func([]byte) []byte) string {
	u.t.Helper()
	u.commit(message, files)
	raw := []byte(u.git("cat-file", "commit", "HEAD") + "\n")
	signature := sign(raw)
	if spoil != nil {
		raw = spoil(raw)
	}
	head, body, _ := bytes.Cut(raw, []byte("\n\n"))
	text := string(head) + "\ngpgsig " + strings.ReplaceAll(signature, "\n", "\n ") + "\n\n" + string(body)
	commit := gitIn(u.t, u.work, []byte(text), "hash-object", "-t", "commit", "-w", "--stdin")
	u.git("reset", "-q", "--hard", commit)
	return commit
}

// signTag makes an annotated tag that carries a signature.
func (u *upstream) signTag(name, target string, sign signer, spoil func([]byte) []byte) {
	u.t.Helper()
	raw := []byte("object " + target + "\ntype commit\ntag " + name + "\ntagger Test <test@example.org> 1700000000 +0000\n\nrelease " + name + "\n")
	signature := sign(raw)
	if spoil != nil {
		raw = spoil(raw)
	}
	tag := gitIn(u.t, u.work, append(raw, []byte(signature+"\n")...), "hash-object", "-t", "tag", "-w", "--stdin")
	u.git("update-ref", "refs/tags/"+name, tag)
	u.push("refs/tags/" + name)
}

func spoilMessage(raw []byte) []byte { return append(bytes.TrimSpace(raw), []byte(" tampered\n")...) }

func TestSource_Verify_SSHCommits(t *testing.T) {
	t.Parallel()
	trusted, stranger, rsa := newSSHKey(t), newSSHKey(t), newRSAKey(t)
	day := 24 * time.Hour
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("20060102") + "Z" }
	for name, c := range map[string]struct {
		sign  signer
		spoil func([]byte) []byte
		keys  string
		says  string // "" for good
	}{
		"good":              {sign: trusted.sign(t, "git"), keys: trusted.line() + " maintainer"},
		"good rsa":          {sign: rsa.sign(t, "git"), keys: trusted.line() + "\n# others\n\n" + rsa.line()},
		"allowed signer":    {sign: trusted.sign(t, "git"), keys: "maintainer@example.org namespaces=\"git,file\",valid-after=\"20200101\",valid-before=\"" + date(day) + "\" " + trusted.line()},
		"tampered":          {trusted.sign(t, "git"), spoilMessage, trusted.line(), "does not fit"},
		"unknown key":       {stranger.sign(t, "git"), nil, trusted.line(), "not trusted"},
		"another namespace": {trusted.sign(t, "file"), nil, trusted.line(), "does not fit"},
		"key for files":     {trusted.sign(t, "git"), nil, "m@example.org namespaces=\"file\" " + trusted.line() + "\n" + stranger.line(), "not trusted"},
		"expired key":       {trusted.sign(t, "git"), nil, "m@example.org valid-before=\"" + date(-day) + "\" " + trusted.line(), "has expired"},
		"key of tomorrow":   {trusted.sign(t, "git"), nil, "m@example.org valid-after=\"" + date(2*day) + "\" " + trusted.line(), "not valid yet"},
		"unsigned":          {nil, nil, trusted.line(), "it is not signed"},
		"noise":             {func([]byte) string { return "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----" }, nil, trusted.line(), "malformed"},
		"of another kind":   {func([]byte) string { return "-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----" }, nil, trusted.line(), "neither of OpenPGP nor of SSH"},
		"twice": {func(p []byte) string {
			s := trusted.sign(t, "git")(p)
			return s + "\ngpgsig " + strings.ReplaceAll(s, "\n", "\n ")
		}, nil, trusted.line(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, nil)
			u.publish("root", map[string]string{"a": "0"})
			if c.sign == nil {
				u.commit("unsigned", map[string]string{"a": "1"})
			} else {
				u.signCommit("signed", map[string]string{"a": "1"}, c.sign, c.spoil)
			}
			if name == "twice" { // not as one header, but as two
				raw := u.git("cat-file", "commit", "HEAD")
				u.git("reset", "-q", "--hard", gitIn(t, u.work, []byte(strings.Replace(raw, "\n gpgsig ", "\ngpgsig ", 1)+"\n"), "hash-object", "-t", "commit", "-w", "--stdin", "--literally"))
				c.says = "it is not signed"
			}
			u.push("HEAD:refs/heads/main")
			u.verifies(t, models.Settings{"url": u.url, "verify": "commit", "trusted_keys": c.keys}, c.says)
		})
	}
}

// verifies checks and builds, or is told why not.
func (u *upstream) verifies(t *testing.T, settings models.Settings, says string) {
	t.Helper()
	env, source := newEnv(t), open(t, settings)
	v, err := source.Check(t.Context(), env, plugins.Version{})
	if says == "" {
		if err != nil {
			t.Fatal(err)
		}
		build(t, source, env, v)
		return
	}
	wantError(t, err, says, "Nothing is built")
	wantReason(t, err, models.ReasonVerification)
	// What was found before signatures were asked for is not built either.
	lenient := merge(settings, models.Settings{"verify": "none"})
	seen := check(t, open(t, lenient), env)
	dst := t.TempDir()
	_, err = source.Build(t.Context(), env, seen, dst)
	wantReason(t, err, models.ReasonVerification)
	if left, _ := os.ReadDir(dst); len(left) > 0 {
		t.Errorf("something was built: %v", left)
	}
	_, err = source.Check(t.Context(), env, seen)
	wantReason(t, err, models.ReasonVerification)
}

func TestSource_Verify_SSHTags(t *testing.T) {
	t.Parallel()
	trusted, stranger := newSSHKey(t), newSSHKey(t)
	for name, c := range map[string]struct {
		make func(u *upstream)
		kind string
		says string
	}{
		"good tag": {func(u *upstream) { u.signTag("v1.0", u.git("rev-parse", "HEAD"), trusted.sign(t, "git"), nil) }, "tag", ""},
		"both good": {func(u *upstream) {
			u.signTag("v1.0", u.signCommit("s", map[string]string{"a": "1"}, trusted.sign(t, "git"), nil), trusted.sign(t, "git"), nil)
		}, "both", ""},
		"both, commit unsigned": {func(u *upstream) { u.signTag("v1.0", u.git("rev-parse", "HEAD"), trusted.sign(t, "git"), nil) }, "both", "it is not signed"},
		"both, tag of a stranger": {func(u *upstream) {
			u.signTag("v1.0", u.signCommit("s", map[string]string{"a": "1"}, trusted.sign(t, "git"), nil), stranger.sign(t, "git"), nil)
		}, "both", "not trusted"},
		"commit alone suffices": {func(u *upstream) {
			u.signCommit("s", map[string]string{"a": "1"}, trusted.sign(t, "git"), nil)
			u.git("tag", "v1.0")
			u.push("refs/tags/v1.0")
		}, "commit", ""},
		"commit signed, tag asked": {func(u *upstream) {
			u.signCommit("s", map[string]string{"a": "1"}, trusted.sign(t, "git"), nil)
			u.git("tag", "-a", "-m", "x", "v1.0")
			u.push("refs/tags/v1.0")
		}, "tag", "it is not signed"},
		"light tag": {func(u *upstream) {
			u.signCommit("s", map[string]string{"a": "1"}, trusted.sign(t, "git"), nil)
			u.git("tag", "v1.0")
			u.push("refs/tags/v1.0")
		}, "tag", "not an annotated tag"},
		"tampered": {func(u *upstream) {
			u.signTag("v1.0", u.git("rev-parse", "HEAD"), trusted.sign(t, "git"), spoilMessage)
		}, "tag", "does not fit"},
		"name of another": {func(u *upstream) {
			u.signTag("v0.9", u.git("rev-parse", "HEAD"), trusted.sign(t, "git"), nil)
			u.git("update-ref", "refs/tags/v1.0", "refs/tags/v0.9")
			u.push("refs/tags/v1.0")
		}, "tag", "for another tag"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, nil)
			u.allowFilter()
			u.publish("root", map[string]string{"a": "0"})
			c.make(u)
			u.verifies(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": "v1.0", "verify": c.kind, "trusted_keys": trusted.line()}, c.says)
		})
	}
}

// What git itself signs is accepted, so that nobody needs another tool.
func TestSource_Verify_SignedByGit(t *testing.T) {
	t.Parallel()
	key := newSSHKey(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key.private), 0o600); err != nil {
		t.Fatal(err)
	}
	u := newUpstream(t, nil)
	u.publish("root", map[string]string{"a": "0"})
	with := func(args ...string) {
		u.git(append([]string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + file}, args...)...)
	}
	with("commit", "-q", "-S", "--allow-empty", "-m", "signed by git")
	with("tag", "-s", "-m", "signed by git", "v1.0")
	u.push("HEAD", "refs/tags/v1.0")
	env := newEnv(t)
	source := open(t, models.Settings{"url": u.url, "ref_kind": "range", "version_range": "*", "verify": "both", "trusted_keys": key.line() + " somebody"})
	v := check(t, source, env)
	build(t, source, env, v)
	if last := v.Facts[len(v.Facts)-1]; last.Label != "Signed by" || !strings.HasPrefix(last.Value, "somebody SSH key SHA256:") {
		t.Errorf("facts are %+v", v.Facts)
	}
}
