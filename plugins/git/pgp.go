package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"

	"hefring/internal/run"
	"hefring/models"
)

// pgpKeys are OpenPGP keys that are trusted.
type pgpKeys = openpgp.EntityList

// readPGP reads one armored block of public keys.
func readPGP(armored string) (pgpKeys, error) {
	keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "An OpenPGP key cannot be read. Paste the whole block that “gpg --armor --export NAME” prints.")
	}
	return keys, nil
}

// pgpSigner says whose armored signature of payload this is. Its errors complete
// “is not accepted: …”.
func pgpSigner(keys pgpKeys, payload, signature []byte) (string, error) {
	if len(keys) == 0 {
		return "", errors.New("it is signed with OpenPGP, and no OpenPGP key is trusted")
	}
	signer, err := openpgp.CheckArmoredDetachedSignature(keys, bytes.NewReader(payload), bytes.NewReader(signature), nil)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", errors.New("it is signed with a key that is not trusted")
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "", errors.New("the key that it is signed with has expired")
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return "", errors.New("the signature has expired")
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "", errors.New("the key that it is signed with was revoked")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "", errors.New("the signature is cut short")
	case err != nil:
		return "", errors.New("the signature does not fit what is signed")
	}
	name := ""
	if identity := signer.PrimaryIdentity(); identity != nil {
		name = run.Clean(identity.Name) + ", "
	}
	return fmt.Sprintf("%sOpenPGP key %X", name, signer.PrimaryKey.Fingerprint), nil
}
