package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

// Values of the setting verify.
const (
	verifyNone   = "none"
	verifyCommit = "commit"
	verifyTag    = "tag"
	verifyBoth   = "both"
)

// verification says which signatures a version must carry.
type verification struct {
	commit, tag bool
	pgp         pgpKeys
	ssh         []sshSigner
	text        string // that the keys were read from
}

// sshSigner is a line of an allowed signers file, see ssh-keygen(1).
type sshSigner struct {
	key           ssh.PublicKey
	name          string
	after, before time.Time // zero for no limit
}

func (v verification) id() string {
	if !v.commit && !v.tag {
		return ""
	}
	sum := sha256.Sum256([]byte(v.text))
	return fmt.Sprint(v.commit, v.tag, hex.EncodeToString(sum[:]))
}

// readVerification reads the settings and refuses wrong ones.
func readVerification(values *plugins.Values, r reference) verification {
	kind := values.Text(fieldVerify)
	if kind == "" || kind == verifyNone {
		return verification{}
	}
	v := verification{commit: kind != verifyTag, tag: kind != verifyCommit, text: values.Text(fieldTrusted)}
	followsTags := r.kind == kindPattern || r.kind == kindRange || strings.HasPrefix(r.ref, tagFolder)
	if v.tag && !followsTags {
		values.Refuse(fieldVerify, "Only tags carry signatures of tags. Ask for signed commits, or follow tags.")
	}
	if err := v.readKeys(); err != nil {
		values.Refuse(fieldTrusted, models.Explain(err))
	}
	return v
}

const (
	pgpBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	pgpEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// readKeys reads armored OpenPGP keys and lines of SSH keys in any order.
func (v *verification) readKeys() error {
	if strings.Contains(v.text, "PRIVATE KEY") {
		return models.Errorf(models.Invalid, "These lines hold a private key. Keep it to its owner, replace it where it was used, and paste the public one.")
	}
	rest := v.text
	for {
		before, after, found := strings.Cut(rest, pgpBegin)
		if err := v.readSSH(before); err != nil {
			return err
		}
		if !found {
			break
		}
		block, more, closed := strings.Cut(after, pgpEnd)
		if !closed {
			return models.Errorf(models.Invalid, "The end of an OpenPGP key is missing. Paste the whole block that “gpg --armor --export NAME” prints.")
		}
		keys, err := readPGP(pgpBegin + block + pgpEnd)
		if err != nil {
			return err
		}
		v.pgp = append(v.pgp, keys...)
		rest = more
	}
	if len(v.pgp)+len(v.ssh) == 0 && strings.TrimSpace(v.text) != "" {
		return models.Errorf(models.Invalid, "There is no key in these lines. Paste OpenPGP keys as “gpg --armor --export NAME” prints them, or SSH keys such as ssh-ed25519 AAAA….")
	}
	return nil
}

func (v *verification) readSSH(text string) error {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		signer, err := readSigner(line)
		if err != nil {
			return err
		}
		if signer != nil {
			v.ssh = append(v.ssh, *signer)
		}
	}
	return nil
}

// readSigner reads “ssh-ed25519 AAAA… name” or “name [options] ssh-ed25519
// AAAA…”. It gives nil for a key that is not for git.
func readSigner(line string) (*sshSigner, error) {
	wrong := func(what string) error {
		return models.Errorf(models.Invalid, "The line %.60q %s. Write a public SSH key such as ssh-ed25519 AAAA…, or a line of an allowed signers file.", line, what)
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	name := run.Clean(comment)
	if principals, rest, ok := strings.Cut(line, " "); err != nil || len(options) > 0 {
		if !ok {
			return nil, wrong("is not a key")
		}
		key, _, options, _, err = ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(rest)))
		name = run.Clean(principals)
	}
	if err != nil {
		return nil, wrong("is not a key")
	}
	signer := &sshSigner{key: key, name: name}
	for _, option := range options {
		kind, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(kind) {
		case "namespaces":
			if !slices.Contains(strings.Split(value, ","), gitNamespace) {
				return nil, nil //nolint:nilnil // a key for other purposes
			}
		case "valid-after":
			signer.after, err = readTime(value)
		case "valid-before":
			signer.before, err = readTime(value)
		default:
			return nil, wrong("has the option " + kind + ", which is not supported")
		}
		if err != nil {
			return nil, wrong("has a date that cannot be read")
		}
	}
	return signer, nil
}

// readTime reads YYYYMMDD[HHMM[SS]][Z].
func readTime(text string) (time.Time, error) {
	zone := time.Local
	if plain, ok := strings.CutSuffix(text, "Z"); ok {
		text, zone = plain, time.UTC
	}
	const layout = "20060102150405"
	if len(text) != 8 && len(text) != 12 && len(text) != 14 {
		return time.Time{}, errors.New("not a date")
	}
	return time.ParseInLocation(layout[:len(text)], text, zone)
}

// check proves the signatures that are asked for, and says whose they are; ""
// when none are.
func (v verification) check(ctx context.Context, m mirror, t tip) (signer string, err error) {
	if v.tag {
		if signer, err = v.checkTag(ctx, m, t); err != nil {
			return "", err
		}
	}
	if v.commit {
		object, err := m.raw(ctx, "commit", t.commit)
		if err != nil {
			return "", err
		}
		payload, signature := splitCommit(object, t.format())
		signer, err = v.signer(payload, signature)
		if err != nil {
			return "", unverified("commit "+t.commit[:7], err)
		}
	}
	return signer, nil
}

func (v verification) checkTag(ctx context.Context, m mirror, t tip) (string, error) {
	if t.tag == "" {
		return "", unverified(t.name(), errors.New("it is not an annotated tag, and others carry no signature"))
	}
	if err := m.want(ctx, wanted{object: t.tag, ref: t.ref, depth: 1}); err != nil {
		return "", err
	}
	object, err := m.raw(ctx, "tag", t.tag)
	if err != nil {
		return "", err
	}
	payload, signature := splitTag(object)
	signer, err := v.signer(payload, signature)
	if err != nil {
		return "", unverified("tag "+t.name(), err)
	}
	// A signature is for the name and the commit that stand in the tag, which may
	// have been pushed under another name.
	if tagHeader(payload, "object") != t.commit || tagHeader(payload, "type") != "commit" || tagHeader(payload, "tag") != t.name() {
		return "", unverified("tag "+t.name(), errors.New("its signature is for another tag"))
	}
	return signer, nil
}

func unverified(what string, cause error) error {
	return models.Wrapf(models.Invalid, cause, "The signature of %s is not accepted: %s. Nothing is built of it. Sign it with a trusted key, or add the key that it is signed with if you trust it.", what, cause.Error()).
		Because(models.ReasonVerification)
}

const maxSigned = 1 << 20 // bytes of a commit or tag object

// raw gives an object as it is stored.
func (m mirror) raw(ctx context.Context, kind, id string) ([]byte, error) {
	size, err := m.local(ctx, "cat-file", "-s", id)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kind, err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(size))); err != nil || n > maxSigned-1 {
		return nil, unverified(kind+" "+id[:7], errors.New("it is too large"))
	}
	out, err := m.local(ctx, "cat-file", kind, id)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kind, err)
	}
	return out, nil
}

// splitCommit takes the signature out of a commit's header. What is signed is
// the rest; see parse_buffer_signed_by_header in git's commit.c.
func splitCommit(object []byte, format string) (payload, signature []byte) {
	name := "gpgsig"
	if format == "sha256" {
		name = "gpgsig-sha256"
	}
	const (
		inPayload = iota
		inSignature
		inOther
	)
	state, signatures := inPayload, 0
	rest := object
	for len(rest) > 0 && rest[0] != '\n' {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		line := rest[:end]
		rest = rest[end:]
		switch {
		case line[0] == ' ' && state != inPayload:
		case bytes.HasPrefix(line, []byte(name+" ")):
			state = inSignature
			signatures++
			line = line[len(name):]
		case bytes.HasPrefix(line, []byte("gpgsig")):
			state = inOther
		default:
			state = inPayload
		}
		switch state {
		case inPayload:
			payload = append(payload, line...)
		case inSignature:
			signature = append(signature, line[1:]...)
		}
	}
	if signatures > 1 {
		signature = nil
	}
	return append(payload, rest...), signature
}

// splitTag takes the signature off a tag's end; see parse_signature in git's
// gpg-interface.c.
func splitTag(object []byte) (payload, signature []byte) {
	match := len(object)
	for at := 0; at < len(object); {
		line := object[at:]
		if bytes.HasPrefix(line, []byte(pgpSignature)) || bytes.HasPrefix(line, []byte("-----BEGIN PGP MESSAGE-----")) || bytes.HasPrefix(line, []byte(sshSignature)) {
			match = at
		}
		end := bytes.IndexByte(line, '\n')
		if end < 0 {
			break
		}
		at += end + 1
	}
	return object[:match], object[match:]
}

const (
	pgpSignature = "-----BEGIN PGP SIGNATURE-----"
	sshSignature = "-----BEGIN SSH SIGNATURE-----"
	gitNamespace = "git"
)

func tagHeader(payload []byte, name string) string {
	head, _, _ := bytes.Cut(payload, []byte("\n\n"))
	for line := range bytes.Lines(head) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			return strings.TrimSuffix(string(value), "\n")
		}
	}
	return ""
}

// signer says whose signature of payload this is. Its errors complete “is not
// accepted: …”.
func (v verification) signer(payload, signature []byte) (string, error) {
	trimmed := bytes.TrimSpace(signature)
	switch {
	case len(trimmed) == 0:
		return "", errors.New("it is not signed")
	case bytes.HasPrefix(trimmed, []byte(pgpSignature)):
		return pgpSigner(v.pgp, payload, trimmed)
	case bytes.HasPrefix(trimmed, []byte(sshSignature)):
		return v.sshSigner(payload, trimmed)
	}
	return "", errors.New("its signature is neither of OpenPGP nor of SSH")
}

func (v verification) sshSigner(payload, signature []byte) (string, error) {
	sig, err := sshsig.Unarmor(signature)
	if err != nil {
		return "", errors.New("the SSH signature is malformed")
	}
	at := slices.IndexFunc(v.ssh, func(s sshSigner) bool { return bytes.Equal(s.key.Marshal(), sig.PublicKey.Marshal()) })
	if at < 0 {
		return "", errors.New("it is signed with a key that is not trusted")
	}
	// The old kind of RSA signature rests on SHA-1.
	if sig.Signature == nil || sig.Signature.Format == ssh.KeyAlgoRSA {
		return "", errors.New("the SSH signature is of a kind that is no longer safe")
	}
	signer := v.ssh[at]
	if err := sshsig.Verify(bytes.NewReader(payload), sig, signer.key, sig.HashAlgorithm, gitNamespace); err != nil {
		return "", errors.New("the signature does not fit what is signed")
	}
	now := time.Now()
	if !signer.after.IsZero() && now.Before(signer.after) {
		return "", errors.New("the key that it is signed with is not valid yet")
	}
	if !signer.before.IsZero() && !now.Before(signer.before) {
		return "", errors.New("the key that it is signed with has expired")
	}
	return strings.TrimSpace(signer.name + " SSH key " + ssh.FingerprintSHA256(signer.key)), nil
}
