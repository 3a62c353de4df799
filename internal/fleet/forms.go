package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hefring/models"
)

// SentForm is what is remembered of a form that was sent.
type SentForm struct {
	ID      int64  // of what it made
	Content string // kind of that, and a hash of all that was said; "" is not known
}

// SentBeforeError says that a form was sent before with other content, and what was made of
// that. It is the cause of a models.Error.
type SentBeforeError struct {
	Kind string // as in sent
	ID   int64
}

// Error names it.
func (e *SentBeforeError) Error() string { return fmt.Sprintf("it made %s %d", e.Kind, e.ID) }

// sent is a form that makes something.
type sent struct {
	token string // that it has from its page; "": it may be sent again and again
	kind  string // of what it makes: site, distribution, platform, channel, webhook
	said  any    // what it asks for
}

func (s sent) content() (string, error) {
	text, err := json.Marshal(s.said)
	if err != nil {
		return "", fmt.Errorf("read form: %w", err)
	}
	sum := sha256.Sum256(text)
	return s.kind + " " + hex.EncodeToString(sum[:]), nil
}

var errTwin = errors.New("this form was posted before")

// refuseTwin ends the transaction with errTwin when the same form made something
// already; first is then its id. Conflict: it made that of other content, see SentBeforeError.
func (f *Fleet) refuseTwin(ctx context.Context, tx Tx, form sent, first *int64) error {
	if form.token == "" {
		return nil
	}
	content, err := form.content()
	if err != nil {
		return err
	}
	seen, fresh, err := tx.Once(ctx, form.token, content)
	switch {
	case err != nil || fresh:
		return err
	case seen.Content != "" && seen.Content != content:
		kind, _, _ := strings.Cut(seen.Content, " ")
		return models.Wrapf(models.Conflict, &SentBeforeError{kind, seen.ID},
			"This form was sent before with something else in it, and that was done. Nothing was done with what it holds now. For one more, open the form anew.")
	}
	*first = seen.ID
	return errTwin
}

func useForm(ctx context.Context, tx Tx, token string, id int64) error {
	if token == "" {
		return nil
	}
	if err := tx.UseOnce(ctx, token, id); err != nil {
		return fmt.Errorf("remember form: %w", err)
	}
	return nil
}
