// Package notify takes letters to people: by e-mail, to a chat that takes Slack's
// messages, or to a webhook that is signed. It makes one attempt at a time and
// says what the other side answered; what is tried again, and when, is not its
// business.
package notify

import (
	"cmp"
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hefring/internal/egress"
	"hefring/models"
)

// Config is what letters are sent with.
type Config struct {
	SMTP    SMTP          // without a host, no e-mail can be sent
	Egress  *egress.Guard // the way to URLs that people gave
	Base    string        // where the dashboard is found, such as https://hefring.example.org; "" leaves links out
	Timeout time.Duration // of one attempt; 15 s
	Now     func() time.Time
}

// Sender sends letters. It may be used by many goroutines.
type Sender struct{ config Config }

// New makes a Sender. What is wrong with the settings of the mail server is a
// models.Error.
func New(c Config) (*Sender, error) {
	if c.SMTP.Host != "" {
		if err := c.SMTP.validate(); err != nil {
			return nil, err
		}
	}
	c.Timeout = cmp.Or(c.Timeout, 15*time.Second)
	c.Base = strings.TrimRight(c.Base, "/")
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Sender{c}, nil
}

// Send makes one attempt to hand over a letter. The answer says what the other
// side said, also when the error says that it did not take the letter.
func (s *Sender) Send(ctx context.Context, to models.Outlet, l models.Letter) (models.Answer, error) {
	ctx, stop := context.WithTimeout(ctx, s.config.Timeout)
	defer stop()
	switch to.Kind {
	case models.ChannelEmail:
		return s.mail(ctx, to, l)
	case models.ChannelSlack:
		return s.slack(ctx, to, l)
	case models.ChannelWebhook:
		return s.webhook(ctx, to, l)
	}
	return models.Answer{}, models.Errorf(models.Invalid, "Hefring does not know how to reach a channel of the kind %s.", to.Kind)
}

// link is where the dashboard shows something; "" when it is not known where
// that is found.
func (s *Sender) link(path string) string {
	if s.config.Base == "" {
		return ""
	}
	return s.config.Base + path
}

// shownAnswer is how many bytes of an answer are kept.
const shownAnswer = 500

// shown makes the beginning of an answer fit to be stored and shown.
func shown(text []byte) string {
	text = text[:min(len(text), shownAnswer)]
	for range utf8.UTFMax { // the cut may have gone through a character
		if last, size := utf8.DecodeLastRune(text); last != utf8.RuneError || size != 1 {
			break
		}
		text = text[:len(text)-1]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, string(text)))
}

// oneLine makes text fit for a header: nothing in it ends the line.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\u2028' || r == '\u2029'
	}), " ")
}

// cut shortens text to a number of characters.
func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
