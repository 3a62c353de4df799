// Package secret encrypts what people entrust to Hefring, such as the
// credentials of a repository, where it is kept. The key lies in a file beside
// the database, never in it. The format is age's (age-encryption.org/v1).
package secret

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"filippo.io/age"

	"hefring/models"
)

// MaxPlain is the most bytes that one value may have.
const MaxPlain = 1 << 20

// Box seals and opens values with the keys of one file. It may be used by many
// goroutines.
type Box struct {
	path string

	mu   sync.RWMutex
	keys []*age.X25519Identity // the newest is the last
}

// Load reads the keys of the file at path, which is made with a first key when
// it is missing. Only its owner may read it. What is wrong with it is a
// models.Error that says how to mend it.
func Load(path string) (*Box, error) {
	keys, err := readKeys(path)
	if errors.Is(err, errNoFile) {
		if err := create(path); err != nil {
			return nil, err
		}
		keys, err = readKeys(path)
	}
	if err != nil {
		return nil, err
	}
	return &Box{path: path, keys: keys}, nil
}

// Seal encrypts plain with the newest key. context names the place that it is
// kept at, such as table, row and column: Open gives it back there only.
func (b *Box) Seal(context string, plain []byte) ([]byte, error) {
	if len(plain) > MaxPlain {
		return nil, models.Errorf(models.Invalid, "The value is longer than the %d bytes that can be encrypted.", MaxPlain)
	}
	keys := b.current()
	return sealFor(keys[len(keys)-1].Recipient(), context, plain)
}

// Recipient is the newest key's public half: whoever has it can seal for this box.
func (b *Box) Recipient() string {
	keys := b.current()
	return keys[len(keys)-1].Recipient().String()
}

// SealFor is Seal for the box of somebody else, by what its Recipient gave.
func SealFor(recipient, context string, plain []byte) ([]byte, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "%q is no public key.", recipient)
	}
	return sealFor(to, context, plain)
}

func sealFor(to age.Recipient, context string, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	if _, err := w.Write(bind(context, plain)); err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	return out.Bytes(), nil
}

// Open decrypts what Seal made for the same context, with whichever key it was
// sealed. Failures are models.Errors that name context and what to do; they
// never hold the value.
func (b *Box) Open(context string, sealed []byte) ([]byte, error) {
	text, err := decrypt(sealed, b.current())
	if _, foreign := errors.AsType[*age.NoIdentityMatchError](err); foreign {
		// Another replica may have added a key.
		if keys, reload := b.reload(); reload == nil {
			text, err = decrypt(sealed, keys)
		}
	}
	if err != nil {
		return nil, b.explain(context, err)
	}
	plain, err := unbind(context, text)
	if err != nil {
		return nil, b.explain(context, err)
	}
	return plain, nil
}

func (b *Box) current() []*age.X25519Identity {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.keys
}

func (b *Box) reload() ([]*age.X25519Identity, error) {
	keys, err := readKeys(b.path)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys = keys
	return keys, nil
}

// overhead is more than the header of a value that Seal made can have.
const overhead = 4 << 10

func decrypt(sealed []byte, keys []*age.X25519Identity) ([]byte, error) {
	identities := make([]age.Identity, len(keys))
	for i, key := range keys {
		identities[i] = key
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, MaxPlain+overhead))
}

var errElsewhere = errors.New("sealed for another place")

// bind puts context before plain: age has no associated data, so without it a
// row's secret could be copied into another row and used from there.
func bind(context string, plain []byte) []byte {
	text := binary.AppendUvarint(nil, uint64(len(context)))
	text = append(text, context...)
	return append(text, plain...)
}

func unbind(context string, text []byte) ([]byte, error) {
	size, n := binary.Uvarint(text)
	if n <= 0 || size > uint64(len(text)-n) { //nolint:gosec // n is no more than the length of text
		return nil, errors.New("no context in it")
	}
	was, plain := text[n:n+int(size)], text[n+int(size):] //nolint:gosec // it is no more than the length of text
	if string(was) != context {
		return nil, errElsewhere
	}
	return plain, nil
}

func (b *Box) explain(context string, err error) error {
	if _, foreign := errors.AsType[*age.NoIdentityMatchError](err); foreign {
		return models.Wrapf(models.Unavailable, err,
			"The secret of %s was encrypted with a key that is not in %s. Put that key back from a backup, as one more line of the file, or enter the secret anew.", context, b.path)
	}
	if errors.Is(err, errElsewhere) {
		return models.Wrapf(models.Unavailable, err,
			"The secret of %s was encrypted for something else: somebody moved it in the database. Enter it anew, and find out who changed the database.", context)
	}
	return models.Wrapf(models.Unavailable, err, "The secret of %s is damaged in the database. Enter it anew, or restore the database from a backup.", context)
}
