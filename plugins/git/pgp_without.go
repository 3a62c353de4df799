//go:build !openpgp

package git

import (
	"errors"

	"hefring/models"
)

// pgpKeys are OpenPGP keys that are trusted: none in this build.
type pgpKeys []struct{}

func readPGP(string) (pgpKeys, error) {
	return nil, models.Errorf(models.Invalid, "This build of Hefring cannot check OpenPGP signatures. Sign with SSH keys, and give those.")
}

func pgpSigner(pgpKeys, []byte, []byte) (string, error) {
	return "", errors.New("it is signed with OpenPGP, which this build of Hefring cannot check")
}
