package git_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
)

// sshKey is a pair of keys as files have them.
type sshKey struct {
	private string
	public  ssh.PublicKey
	signer  ssh.Signer
}

func newSSHKey(t *testing.T) sshKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return wrapKey(t, key)
}

func newRSAKey(t *testing.T) sshKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return wrapKey(t, key)
}

func wrapKey(t *testing.T, key crypto.Signer) sshKey {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return sshKey{string(pem.EncodeToMemory(block)), signer.PublicKey(), signer}
}

func (k sshKey) line() string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.public))) }

// sshServer is a real sshd that lets one key in.
type sshServer struct {
	address string // host:port
	user    string
	hosts   []sshKey
	client  sshKey
}

// serveSSH starts sshd with these host keys.
func serveSSH(t *testing.T, hosts ...sshKey) sshServer {
	t.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Fatalf("%v: install openssh-server", err)
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := sshServer{address: freeAddress(t), user: me.Username, hosts: hosts, client: newSSHKey(t)}
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(s.address)
	var config strings.Builder
	fmt.Fprintf(&config, `ListenAddress 127.0.0.1
Port %s
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
AuthorizedKeysFile %s
AcceptEnv GIT_PROTOCOL
`, port, filepath.Join(dir, "authorized"))
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for i, host := range hosts {
		config.WriteString("HostKey " + write(fmt.Sprintf("host%d", i), host.private) + "\n")
	}
	write("authorized", s.client.line()+"\n")
	cmd := exec.Command(sshd, "-D", "-e", "-f", write("config", config.String()))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", said.String())
		}
	})
	eventually(t, "sshd listens", func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !met(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// knownHosts are lines that name these keys of the server.
func (s sshServer) knownHosts(keys ...sshKey) string {
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(knownhosts.Line([]string{s.address}, key.public) + "\n")
	}
	return text.String()
}

// settings follow the repository over ssh.
func (s sshServer) settings(u *upstream) models.Settings {
	return models.Settings{
		"url": "ssh://" + s.user + "@" + s.address + u.server.Dir("site"), "auth": "key",
		"ssh_key": s.client.private, "known_hosts": s.knownHosts(s.hosts...),
	}
}

func TestSource_SSH_ChecksAndBuilds(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.tag("v1.2.0")
	u.publish("head", map[string]string{"a": "1"})
	s := serveSSH(t, newSSHKey(t))
	env, settings := newEnv(t), s.settings(u)
	for name, c := range map[string]struct {
		more models.Settings
		ref  string
	}{
		"default": {nil, "git:refs/heads/main@sha1:" + u.git("rev-parse", "HEAD")},
		"range":   {models.Settings{"ref_kind": "range", "version_range": "^1"}, "git:refs/tags/v1.2.0@sha1:" + commit + ";tag:" + u.git("rev-parse", "v1.2.0")},
		"commit":  {models.Settings{"ref_kind": "commit", "commit": commit}, "git:commit@sha1:" + commit},
		"windows": {models.Settings{"ssh_key": strings.ReplaceAll(strings.TrimSpace(s.client.private), "\n", "\r\n")}, "git:refs/heads/main@sha1:" + u.git("rev-parse", "HEAD")},
	} {
		t.Run(name, func(t *testing.T) {
			source := open(t, merge(settings, c.more))
			v := check(t, source, env)
			if v.Revision != c.ref {
				t.Errorf("got %s, want %s", v.Revision, c.ref)
			}
			if again := checkAfter(t, source, env, v); !again.Same(v) {
				t.Errorf("then %+v", again)
			}
			if got := read(t, build(t, source, env, v), "version"); got != "v1.2.0" {
				t.Errorf("built %q", got)
			}
			wantNoKey(t, env, s.client)
		})
	}
}

// Servers behind ssh leave out files, too.
func TestSource_SSH_SubdirectoryWithoutFiles(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.allowFilter()
	u.publish("first", map[string]string{"sites/main/a": "1", "docs/large": noise(t, 2_000_000)})
	s := serveSSH(t, newSSHKey(t))
	env, source := newEnv(t), open(t, merge(s.settings(u), models.Settings{"subdirectory": "sites/main", "on_rewrite": "hold"}))
	first := check(t, source, env)
	u.publish("docs", map[string]string{"docs/y": "1"})
	second := checkAfter(t, source, env, first)
	if second.Content != first.Content || second.Hold != nil || second.Note != "docs" {
		t.Errorf("%+v, then %+v", first, second)
	}
	if size := folderSize(t, env.Cache); size > 200_000 {
		t.Errorf("the checks hold %d bytes", size)
	}
	if got := read(t, build(t, source, env, second), "a"); got != "1" {
		t.Errorf("built %q", got)
	}
}

func folderSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

func merge(a, b models.Settings) models.Settings {
	merged := models.Settings{}
	for _, settings := range []models.Settings{a, b} {
		maps.Copy(merged, settings)
	}
	return merged
}

// wantNoKey looks for the private key in what a call leaves behind.
func wantNoKey(t *testing.T, env plugins.Env, key sshKey) {
	t.Helper()
	secret := strings.Split(key.private, "\n")[1]
	texts := []string{env.Log.(*lines).String()}
	for _, dir := range []string{env.Cache, env.Scratch} {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			texts = append(texts, string(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range texts {
		if strings.Contains(text, secret) {
			t.Errorf("the key is in %.200q", text)
		}
	}
}

func TestSource_SSH_HostKeys(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("head", map[string]string{"a": "1"})
	first, second, stranger := newSSHKey(t), newRSAKey(t), newSSHKey(t)
	s := serveSSH(t, first, second)
	hashed := fmt.Sprintf("%s %s\n", knownhosts.HashHostname(knownhosts.Normalize(s.address)), first.line())
	for name, c := range map[string]struct {
		known  string
		accept bool
		says   string
	}{
		"first of two":       {s.knownHosts(first), true, ""},
		"second of two":      {s.knownHosts(second), true, ""},
		"both, and an old":   {"# ours\n" + s.knownHosts(stranger, second, first), true, ""},
		"hashed":             {hashed, true, ""},
		"many hosts a line":  {"example.org," + s.knownHosts(first), true, ""},
		"another key":        {s.knownHosts(stranger), false, "another host key than the one that is pinned"},
		"another host's key": {"example.org " + first.line() + "\n", false, "No host key of 127.0.0.1 is pinned"},
		"revoked":            {"@revoked " + s.knownHosts(first) + s.knownHosts(first), false, "another host key"},
	} {
		t.Run(name, func(t *testing.T) {
			source := open(t, merge(s.settings(u), models.Settings{"known_hosts": c.known}))
			_, err := source.Check(t.Context(), newEnv(t), plugins.Version{})
			if c.accept {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, c.says, "ssh-keyscan")
			wantReason(t, err, models.ReasonHostKey)
			if e := asError(err); e == nil || e.Fields["known_hosts"] == "" {
				t.Errorf("not at its field: %v", err)
			}
		})
	}
}

func TestSource_SSH_Refused(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("head", map[string]string{"a": "1"})
	s := serveSSH(t, newSSHKey(t))
	settings := s.settings(u)
	env := newEnv(t)
	_, err := open(t, merge(settings, models.Settings{"ssh_key": newSSHKey(t).private})).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, "does not accept this SSH key")
	wantReason(t, err, models.ReasonAuthentication)

	_, err = open(t, merge(settings, models.Settings{"url": settings["url"] + "x"})).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, "no git repository")
	wantReason(t, err, models.ReasonNotFound)

	env.Egress = guard(t)
	_, err = open(t, settings).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, "--egress-allow")
	wantReason(t, err, models.ReasonAddressBlocked)

	env = newEnv(t)
	closed := merge(settings, models.Settings{"url": strings.ReplaceAll(settings["url"], s.address, freeAddress(t))})
	_, err = open(t, closed).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, "cannot be reached")
	wantReason(t, err, models.ReasonUnreachable)
	wantNoKey(t, env, s.client)
}

func TestPlugin_Open_SSHKeys(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	good := newSSHKey(t)
	for name, c := range map[string]struct{ key, says string }{
		"protected": {string(pem.EncodeToMemory(block)), "protected by a passphrase"},
		"public":    {good.line(), "public half"},
		"putty":     {"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTY"},
		"cut":       {good.private[:len(good.private)/2], "not a private SSH key"},
		"noise":     {"hello", "not a private SSH key"},
	} {
		_, err := git.New().Open(models.Settings{"url": "git@example.org:x.git", "auth": "key", "ssh_key": c.key, "known_hosts": "example.org " + good.line()})
		if e := asError(err); e == nil || !strings.Contains(e.Fields["ssh_key"], c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(c.key) > 60 && strings.Contains(err.Error(), c.key[40:60]) {
			t.Errorf("%s: the message repeats the key", name)
		}
	}
	source := open(t, models.Settings{"url": "git@Example.org:x.git", "auth": "key", "ssh_key": good.private, "known_hosts": "example.org " + good.line()})
	up := source.Upstream()
	if up.Host != "example.org" || !strings.HasPrefix(up.Key, "git@example.org:x.git#") || strings.Contains(up.Key, good.private[50:70]) {
		t.Errorf("got %+v", up)
	}
}
