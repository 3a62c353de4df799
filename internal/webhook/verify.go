// Package webhook proves where a webhook's delivery comes from and reads what it
// says. It does no I/O. Everything in a delivery is hostile until Verify has
// passed it, and what Parse finds in it afterwards only ever leads to a look at
// a source that people named.
package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hefring/models"
)

// MaxBody is the most bytes that a delivery may have. GitHub sends up to 25 MB,
// but a push needs no more than this to be understood.
const MaxBody = 3 << 20

// Window is how far the time in a signed delivery may be from ours.
const Window = 5 * time.Minute

// maxSignatures bounds how many signatures one header may hold.
const maxSignatures = 8

// secretBytes is the size of a secret.
const secretBytes = 32

// base64Prefix marks the secrets of Standard Webhooks.
const base64Prefix = "whsec_"

// NewSecret makes a secret of 256 random bits in the form that the provider
// takes.
func NewSecret(p models.Provider) string {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key) // never fails
	if p == models.ProviderGitLab || p == models.ProviderStandard {
		return base64Prefix + base64.StdEncoding.EncodeToString(key)
	}
	return hex.EncodeToString(key)
}

// NewAddress makes the random part of a webhook's path: 128 bits in hex.
func NewAddress() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// CheckType refuses a body that is not JSON by its header.
func CheckType(p models.Provider, header http.Header) error {
	sent := header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(sent)
	switch {
	case err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json")):
		return nil
	case err == nil && kind == "application/x-www-form-urlencoded":
		where := "the sender"
		if p == models.ProviderGitHub {
			where = "GitHub"
		}
		return models.Errorf(models.Invalid, "It was sent as a form. At %s, set the webhook's content type to application/json.", where)
	}
	return models.Errorf(models.Invalid, "It was not sent as JSON. Set the content type to application/json.")
}

// Verify proves that a delivery was made by somebody who knows one of the
// secrets, and says which: the index into secrets. Empty secrets prove nothing.
// A models.Error says why it is refused; none of them holds a secret.
func Verify(p models.Provider, secrets []string, header http.Header, body []byte, now time.Time) (int, error) {
	switch p {
	case models.ProviderGitHub:
		return verifyHex(secrets, header, "X-Hub-Signature-256", "sha256=", body)
	case models.ProviderBitbucket, models.ProviderBitbucketServer:
		return verifyHex(secrets, header, "X-Hub-Signature", "sha256=", body)
	case models.ProviderGitea:
		if header.Get("X-Forgejo-Signature") != "" {
			return verifyHex(secrets, header, "X-Forgejo-Signature", "", body)
		}
		return verifyHex(secrets, header, "X-Gitea-Signature", "", body)
	case models.ProviderSignature:
		return verifyHex(secrets, header, "X-Signature", "sha256=", body)
	case models.ProviderGitLabToken:
		return verifyToken(secrets, header)
	case models.ProviderGitLab, models.ProviderStandard:
		return verifyStandard(secrets, header, body, now)
	}
	return 0, models.Errorf(models.Forbidden, "This webhook does not know how its sender proves who it is. Delete it and make another.")
}

// verifyHex is HMAC-SHA256 of the body in hex after a prefix.
func verifyHex(secrets []string, header http.Header, name, prefix string, body []byte) (int, error) {
	text := strings.TrimSpace(header.Get(name))
	if text == "" {
		return 0, unsigned(name)
	}
	digits, ok := strings.CutPrefix(text, prefix)
	sent, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sent) != sha256.Size {
		return 0, models.Errorf(models.Forbidden, "The header %s is not %s followed by 64 hexadecimal digits.", name, orNothing(prefix))
	}
	return match(secrets, func(secret string) bool { return hmac.Equal(sum([]byte(secret), body), sent) })
}

func orNothing(prefix string) string {
	if prefix == "" {
		return "nothing"
	}
	return prefix
}

func sum(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// verifyToken compares the secret itself. Both sides are hashed first, so that
// the time tells nothing about lengths either.
func verifyToken(secrets []string, header http.Header) (int, error) {
	const name = "X-Gitlab-Token"
	token := header.Get(name)
	if token == "" {
		return 0, unsigned(name)
	}
	sent := sha256.Sum256([]byte(token))
	return match(secrets, func(secret string) bool {
		own := sha256.Sum256([]byte(secret))
		return subtle.ConstantTimeCompare(own[:], sent[:]) == 1
	})
}

// verifyStandard is the scheme of Standard Webhooks
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md):
// HMAC-SHA256 of id, time and body, joined by dots.
func verifyStandard(secrets []string, header http.Header, body []byte, now time.Time) (int, error) {
	id, stamp, signatures := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp"), header.Get("Webhook-Signature")
	switch "" {
	case signatures:
		return 0, unsigned("webhook-signature")
	case id:
		return 0, unsigned("webhook-id")
	case stamp:
		return 0, unsigned("webhook-timestamp")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return 0, models.Errorf(models.Forbidden, "The header webhook-timestamp is not a time in seconds.")
	}
	sent := standardSignatures(signatures)
	if len(sent) == 0 {
		return 0, models.Errorf(models.Forbidden, "The header webhook-signature holds no v1 signature.")
	}
	index, err := match(secrets, func(secret string) bool {
		key, ok := standardKey(secret)
		own := sum(key, []byte(id), []byte("."), []byte(stamp), []byte("."), body)
		good := false
		for _, signature := range sent {
			good = hmac.Equal(own, signature) || good
		}
		return good && ok
	})
	if err != nil {
		return 0, err
	}
	// What seconds says counts only once it is proven. Comparing in seconds cannot
	// overflow as durations could.
	if seconds < now.Add(-Window).Unix() || seconds > now.Add(Window).Unix() {
		return 0, models.Errorf(models.Forbidden, "Its time is more than 5 minutes from ours. It is a replay, or the clock of one side is wrong.")
	}
	return index, nil
}

// standardSignatures reads a list like "v1,<base64> v1,<base64>"; versions that
// we do not know are left out.
func standardSignatures(list string) [][]byte {
	var all [][]byte
	for part := range strings.FieldsSeq(list) {
		text, ok := strings.CutPrefix(part, "v1,")
		if !ok {
			continue
		}
		if signature, err := base64.StdEncoding.DecodeString(text); err == nil && len(signature) == sha256.Size {
			all = append(all, signature)
		}
		if len(all) == maxSignatures {
			break
		}
	}
	return all
}

// standardKey is the key that a whsec_ secret stands for.
func standardKey(secret string) ([]byte, bool) {
	text, ok := strings.CutPrefix(secret, base64Prefix)
	key, err := base64.StdEncoding.DecodeString(text)
	return key, ok && err == nil && len(key) > 0
}

// match finds the secret that fits. All are tried, so that the time does not
// tell which one did.
func match(secrets []string, fits func(secret string) bool) (int, error) {
	index, live := -1, 0
	for i, secret := range secrets {
		if secret == "" {
			continue // anybody can sign with an empty key
		}
		live++
		if fits(secret) && index < 0 {
			index = i
		}
	}
	switch {
	case live == 0:
		return 0, models.Errorf(models.Forbidden, "This webhook has no secret, so nothing can be proven. Make a new secret on its page.")
	case index < 0:
		return 0, models.Errorf(models.Forbidden, "It does not fit the secret: another secret was used, or the body was changed on its way. Make a new secret and paste it at the sender.")
	}
	return index, nil
}

func unsigned(name string) error {
	return models.Errorf(models.Forbidden, "It has no header %s: the sender has no secret, or is of another kind than this webhook. Paste the secret there.", name)
}
