package git_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"hefring/models"
)

// pgpKey makes a key that was made so long ago and is good for so long; 0 is for
// ever.
func pgpKey(t *testing.T, age, life time.Duration) *openpgp.Entity {
	t.Helper()
	config := &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: uint32(life / time.Second),
		Time: func() time.Time { return time.Now().Add(-age) },
	}
	entity, err := openpgp.NewEntity("Maintainer", "", "m@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return entity
}

func pgpPublic(t *testing.T, entity *openpgp.Entity) string {
	t.Helper()
	var text bytes.Buffer
	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func pgpSign(t *testing.T, entity *openpgp.Entity, age time.Duration) signer {
	t.Helper()
	return func(payload []byte) string {
		var text bytes.Buffer
		config := &packet.Config{Time: func() time.Time { return time.Now().Add(-age) }}
		if err := openpgp.ArmoredDetachSign(&text, entity, bytes.NewReader(payload), config); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
}

func TestSource_Verify_OpenPGP(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	trusted, stranger, expired := pgpKey(t, day, 0), pgpKey(t, day, 0), pgpKey(t, 10*day, 5*day)
	ssh := newSSHKey(t)
	keys := pgpPublic(t, trusted)
	for name, c := range map[string]struct {
		sign  signer
		spoil func([]byte) []byte
		keys  string
		says  string
	}{
		"good":          {sign: pgpSign(t, trusted, 0), keys: keys},
		"several keys":  {sign: pgpSign(t, trusted, 0), keys: ssh.line() + "\n" + pgpPublic(t, stranger) + "\n" + keys + "\n# end\n"},
		"tampered":      {pgpSign(t, trusted, 0), spoilMessage, keys, "does not fit"},
		"unknown key":   {pgpSign(t, stranger, 0), nil, keys, "not trusted"},
		"expired key":   {pgpSign(t, expired, 6*day), nil, pgpPublic(t, expired), "has expired"},
		"only ssh keys": {pgpSign(t, trusted, 0), nil, ssh.line(), "no OpenPGP key is trusted"},
		"noise":         {func([]byte) string { return "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----" }, nil, keys, "is not accepted"},
	} {
		t.Run("commit, "+name, func(t *testing.T) {
			u := newUpstream(t, nil)
			u.publish("root", map[string]string{"a": "0"})
			u.signCommit("signed", map[string]string{"a": "1"}, c.sign, c.spoil)
			u.push("HEAD:refs/heads/main")
			u.verifies(t, models.Settings{"url": u.url, "verify": "commit", "trusted_keys": c.keys}, c.says)
		})
		t.Run("tag, "+name, func(t *testing.T) {
			u := newUpstream(t, nil)
			u.signTag("v1.0", u.publish("root", map[string]string{"a": "0"}), c.sign, c.spoil)
			u.verifies(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": "v1.0", "verify": "tag", "trusted_keys": c.keys}, c.says)
		})
	}
}
