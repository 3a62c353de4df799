package fleet

import (
	"testing"

	"github.com/alexedwards/argon2id"
)

// Whoever guesses names must not learn from the time that an answer takes.
func TestDecoy_CostsWhatAPasswordCosts(t *testing.T) {
	params, salt, key, err := argon2id.DecodeHash(decoy)
	if err != nil {
		t.Fatal(err)
	}
	if want := *hashParams(); *params != want || len(salt) != int(want.SaltLength) || len(key) != int(want.KeyLength) {
		t.Errorf("the decoy costs %+v, a password %+v", *params, want)
	}
}
