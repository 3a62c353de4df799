package composer

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"

	"hefring/models"
)

// secrets are the texts that nobody may read in a log: the token, and how it is
// sent.
func (s source) secrets() []string {
	if s.token == "" {
		return nil
	}
	return []string{base64.StdEncoding.EncodeToString([]byte(s.user + ":" + s.token)), s.token}
}

// redact keeps the credential out of an error: a repository may repeat what it
// was sent.
func (s source) redact(err error) error {
	if err == nil || s.token == "" || !strings.Contains(err.Error(), s.token) {
		return err
	}
	hide := func(text string) string {
		for _, secret := range s.secrets() {
			text = strings.ReplaceAll(text, secret, "***")
		}
		return text
	}
	clean := models.Errorf(models.CodeOf(err), "%s", hide(models.Explain(err))).Because(models.ReasonOf(err))
	clean.Err = errors.New(hide(err.Error()))
	if !utf8.ValidString(clean.Message) {
		clean.Message = strings.ToValidUTF8(clean.Message, "")
	}
	return clean
}
