package git

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git/lsrefs"
)

// Kinds of credentials, as the setting auth has them.
const (
	authNone  = "none"
	authToken = "token"
	authKey   = "key"
)

// credentials are how to log in; the zero value is not to.
type credentials struct {
	user, token string // for https
	key         string // private key for ssh, in a form that ssh reads
	knownHosts  string // lines of host keys that ssh accepts
}

// defaultUser goes with tokens whose service does not care.
const defaultUser = "git"

// readCredentials reads the settings, and refuses wrong ones and those that do
// not go with the address.
func readCredentials(v *plugins.Values, r remote) credentials {
	var c credentials
	kind := v.Text(fieldAuth)
	switch kind {
	case authToken:
		c = readToken(v, r.user)
	case authKey:
		c = readKey(v)
	}
	switch {
	case r.address == nil:
	case r.isSSH() && kind != authKey:
		v.Refuse(fieldAuth, "An SSH address needs an SSH key. Choose that, or use the https address of the repository.")
	case !r.isSSH() && kind == authKey:
		v.Refuse(fieldAuth, "An SSH key is for addresses such as git@example.org:team/site.git. Use one, or choose a user and token.")
	case kind == authToken && !r.private():
		v.Refuse(fieldURL, "Over http everybody on the way could read the token. Use the https address of the repository.")
	}
	return c
}

func readToken(v *plugins.Values, user string) credentials {
	c := credentials{user: cmp.Or(v.Text(fieldUser), user, defaultUser), token: v.Text(fieldToken)}
	if strings.Contains(c.user, ":") {
		v.Refuse(fieldUser, "A user name for https holds no colon.")
	}
	if c.token != strings.TrimSpace(c.token) {
		v.Refuse(fieldToken, "Remove the space before or after the token.")
	}
	return c
}

func readKey(v *plugins.Values) credentials {
	// ssh itself refuses a key without a line break at its end.
	c := credentials{key: strings.TrimSpace(v.Text(fieldKey)) + "\n", knownHosts: strings.TrimSpace(v.Text(fieldKnownHosts)) + "\n"}
	if message := keyProblem([]byte(c.key)); message != "" {
		v.Refuse(fieldKey, message)
	}
	if message := knownHostsProblem([]byte(c.knownHosts)); message != "" {
		v.Refuse(fieldKnownHosts, message)
	}
	return c
}

func keyProblem(text []byte) string {
	_, err := ssh.ParseRawPrivateKey(text)
	_, protected := errors.AsType[*ssh.PassphraseMissingError](err)
	switch {
	case err == nil || len(bytes.TrimSpace(text)) == 0:
		return ""
	case protected, bytes.Contains(text, []byte("ENCRYPTED")):
		return "This key is protected by a passphrase, which nobody could type when Hefring uses it. Make a key of its own for Hefring: ssh-keygen -t ed25519 -N '' -f hefring"
	case bytes.HasPrefix(text, []byte("PuTTY-User-Key-File")):
		return "This key is in PuTTY's format. Convert it: puttygen key.ppk -O private-openssh -o key"
	case bytes.HasPrefix(text, []byte("ssh-")), bytes.HasPrefix(text, []byte("ecdsa-")), bytes.Contains(text, []byte("PUBLIC KEY")):
		return "This is the public half of a key. Paste the private half, which begins with -----BEGIN OPENSSH PRIVATE KEY-----."
	}
	return "This is not a private SSH key. Paste the whole file, from -----BEGIN to the last line."
}

func knownHostsProblem(text []byte) string {
	keys := 0
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if _, _, _, _, _, err := ssh.ParseKnownHosts(line); err != nil {
			return fmt.Sprintf("The line %.60q is not one of a known_hosts file. Paste what “ssh-keyscan HOST” prints, and compare the keys' fingerprints with those that the host's owner publishes.", line)
		}
		keys++
	}
	if keys == 0 && len(bytes.TrimSpace(text)) > 0 {
		return "There is no key in these lines. Paste what “ssh-keyscan HOST” prints."
	}
	return ""
}

// digest tells credentials apart and gives nothing of them away; "" for none.
func (c credentials) digest() string {
	if c == (credentials{}) {
		return ""
	}
	sum := sha256.New()
	for _, part := range []string{"hefring git credentials", c.user, c.token, c.key, c.knownHosts} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// authorization is the HTTP header's value; "" for none.
func (c credentials) authorization() string {
	if c.token == "" {
		return ""
	}
	return lsrefs.BasicAuth(c.user, c.token)
}

// redact takes the credentials out of a text of others, who may repeat what they
// were sent.
func (c credentials) redact(text string) string {
	secrets := []string{c.token, url.QueryEscape(c.token), url.PathEscape(c.token)}
	if _, encoded, ok := strings.Cut(c.authorization(), " "); ok {
		secrets = append(secrets, encoded)
	}
	for line := range strings.Lines(c.key) {
		if line = strings.TrimSpace(line); len(line) > 8 && !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line)
		}
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// sshConfig is all that ssh is told. ProxyCommand leads it through the guarded
// proxy; nothing on the other side is trusted but the pinned host keys.
const sshConfig = `Host *
  IdentityFile %[1]s
  IdentitiesOnly yes
  IdentityAgent none
  CertificateFile none
  UserKnownHostsFile %[2]s
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  VerifyHostKeyDNS no
  BatchMode yes
  PreferredAuthentications publickey
  PubkeyAuthentication yes
  PasswordAuthentication no
  KbdInteractiveAuthentication no
  GSSAPIAuthentication no
  HostbasedAuthentication no
  AddKeysToAgent no
  ForwardAgent no
  ForwardX11 no
  ClearAllForwardings yes
  PermitLocalCommand no
  ControlMaster no
  ControlPath none
  CanonicalizeHostname no
  RequestTTY no
  LogLevel ERROR
  ConnectTimeout 30
  ServerAliveInterval 15
  ServerAliveCountMax 4
  ProxyCommand %[3]s
`

// keep writes what ssh needs into a folder that the user alone reads who runs
// it. The caller removes the folder.
func (c credentials) keep(env plugins.Env) (dir string, err error) {
	dir, err = os.MkdirTemp(env.Scratch, "ssh-")
	if err != nil {
		return "", fmt.Errorf("keep SSH key: %w", tree.Explain(err, env.Scratch))
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	quoted := func(name string) string { return `"` + strings.ReplaceAll(path(name), "%", "%%") + `"` }
	for name, text := range map[string]string{
		"key":         c.key,
		"known_hosts": c.knownHosts,
		"config":      fmt.Sprintf(sshConfig, quoted("key"), quoted("known_hosts"), run.SSHProxyCommand),
	} {
		err = errors.Join(err, os.WriteFile(path(name), []byte(text), 0o600))
	}
	if err == nil && strings.ContainsAny(dir, "\"\n") {
		err = models.Errorf(models.Unavailable, "The folder %q has a name that ssh cannot read. Move Hefring's data to another.", dir)
	}
	if err = errors.Join(err, env.Run.Chown(dir)); err != nil {
		return "", errors.Join(fmt.Errorf("keep SSH key: %w", tree.Explain(err, dir)), os.RemoveAll(dir))
	}
	return dir, nil
}

// sshCommand is what git runs; a shell reads it.
func sshCommand(dir string) string {
	return "ssh -F '" + strings.ReplaceAll(filepath.Join(dir, "config"), "'", `'\''`) + "'"
}
