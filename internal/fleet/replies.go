package fleet

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"hefring/models"
)

// Keyed is a request that names itself, so that sending it twice does it once.
type Keyed struct {
	Token   string // with which it came
	Key     string // its name; unique for the token
	Request string // hash of all that it asks for
}

// id is what its answer is stored under.
func (k Keyed) id() string {
	sum := sha256.Sum256([]byte(hashToken(k.Token) + " " + k.Key))
	return hex.EncodeToString(sum[:])
}

// cipher seals answers with what the caller alone has: they may hold a secret that is
// shown once, and the database has neither the token nor the key (RFC 5869, AES-256 in
// Galois counter mode).
func (k Keyed) cipher() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(k.Token), []byte(k.Key), "hefring reply", 32)
	if err != nil {
		return nil, fmt.Errorf("derive key of reply: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("open cipher of reply: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Recall makes a request its caller's to do, or gives what it was answered before.
// Invalid: the key is another request's. Conflict: it is being done at this moment.
func (f *Fleet) Recall(ctx context.Context, k Keyed) (reply []byte, fresh bool, err error) {
	now := f.cfg.Now()
	r := models.Reply{ID: k.id(), Request: k.Request, ClaimedAt: now, CreatedAt: now}
	found, fresh, err := f.store.ClaimReply(ctx, hashToken(k.Token), r)
	switch {
	case err != nil || fresh:
		return nil, fresh, err
	case found.Request != k.Request:
		return nil, false, models.Errorf(models.Invalid, "This idempotency key was used for another request. Take a new one for each thing that you want.")
	case found.AnsweredAt == nil:
		return nil, false, models.Errorf(models.Conflict, "The first request with this idempotency key is still being done. Send it once more in a few seconds.")
	}
	aead, err := k.cipher()
	if err != nil {
		return nil, false, err
	}
	reply, err = aead.Open(nil, nil, found.Sealed, []byte(k.Request))
	if err != nil {
		return nil, false, fmt.Errorf("open reply: %w", err)
	}
	return reply, false, nil
}

// Remember stores what a request was answered.
func (f *Fleet) Remember(ctx context.Context, k Keyed, reply []byte) error {
	aead, err := k.cipher()
	if err != nil {
		return err
	}
	now := f.cfg.Now()
	return f.store.SaveReply(ctx, models.Reply{ID: k.id(), Sealed: aead.Seal(nil, nil, reply, []byte(k.Request)), AnsweredAt: &now}) //nolint:gosec // it makes a random nonce itself, see cipher
}

// Forget lets a request be made again that did nothing.
func (f *Fleet) Forget(ctx context.Context, k Keyed) error { return f.store.DropReply(ctx, k.id()) }
