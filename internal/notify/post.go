package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/models"
)

// post sends JSON and takes any 2xx as consent. A redirect is never followed: it
// would turn the message into a GET, or lead it elsewhere.
func (s *Sender) post(ctx context.Context, to models.Outlet, header http.Header, body []byte) (models.Answer, error) {
	u, err := s.config.Egress.CheckURL(to.URL, "https", "http")
	if err != nil {
		return models.Answer{}, err
	}
	answer := models.Answer{Recipient: u.Host}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer, fmt.Errorf("post to %s: %w", u.Host, err)
	}
	request.Header = header
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "Hefring")
	client := s.config.Egress.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		return answer, egress.Explain(u.Host, withoutURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	// What cannot be read of the answer's body changes nothing: the status decides.
	text, _ := io.ReadAll(io.LimitReader(response.Body, shownAnswer+1))
	answer.Status, answer.Text = response.StatusCode, shown(text)
	return answer, consent(u.Host, response)
}

// withoutURL takes the URL out of an error: its path may be a secret, and errors
// are logged.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// consent is nil when the other side took the message.
func consent(host string, response *http.Response) error {
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		where := "elsewhere"
		if target, err := response.Location(); err == nil {
			where = "to " + target.Host
		}
		return models.Errorf(models.Unavailable, "%s leads %s (%d), which is not followed. Enter the address that it leads to.", host, where, code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusGone:
		return models.Errorf(models.Unavailable, "%s did not take the message (%d). The address may have been revoked there: make a new one and enter it here.", host, code)
	}
	err := models.Errorf(models.Unavailable, "%s did not take the message (%d).", host, response.StatusCode)
	if pause := models.RetryAfterOf(egress.CheckStatus(host, response)); pause > 0 {
		return err.After(pause)
	}
	return err
}

// Payload is the body of a webhook. docs/notices.md describes it.
type Payload struct {
	Type      string      `json:"type"` // notices, or test
	Timestamp time.Time   `json:"timestamp"`
	Data      PayloadData `json:"data"`
}

// PayloadData is what a webhook tells.
type PayloadData struct {
	Channel string   `json:"channel"`
	Title   string   `json:"title"`
	Digest  bool     `json:"digest"`
	Notices []Notice `json:"notices"`
	More    int      `json:"more"` // that there was no room for
}

// Notice is one cause in a webhook.
type Notice struct {
	Cause   models.Cause         `json:"cause"`
	Key     string               `json:"key"`   // the same from the begin of an episode to its end, and of every later one
	State   string               `json:"state"` // open, or over
	Subject models.LetterSubject `json:"subject"`
	Title   string               `json:"title"`
	Text    string               `json:"text"`
	Sites   int                  `json:"sites"`
	Since   time.Time            `json:"since"`
	URL     string               `json:"url,omitempty"`
}

func (s *Sender) payload(l models.Letter) Payload {
	p := Payload{Type: "notices", Timestamp: l.At.UTC(), Data: PayloadData{
		Channel: l.Channel, Title: l.Title(), Digest: l.Digest, Notices: []Notice{}, More: l.More,
	}}
	if l.Test {
		p.Type = "test"
	}
	for _, line := range l.Lines {
		n := Notice{
			Cause: line.Cause, Key: line.Key, State: "open", Subject: line.Subject, Title: line.Title, Text: line.Text(),
			Sites: line.Sites, Since: line.Since.UTC(), URL: s.link(line.Subject.Path()),
		}
		if line.Over {
			n.State = "over"
		}
		p.Data.Notices = append(p.Data.Notices, n)
	}
	return p
}

func (s *Sender) webhook(ctx context.Context, to models.Outlet, l models.Letter) (models.Answer, error) {
	if len(to.Keys) == 0 {
		return models.Answer{}, errNoKey()
	}
	body, err := json.Marshal(s.payload(l))
	if err != nil {
		return models.Answer{}, fmt.Errorf("write message %s: %w", l.ID, err)
	}
	stamp := strconv.FormatInt(s.config.Now().Unix(), 10)
	var signatures []string
	for _, key := range to.Keys {
		signature, err := sign(key, l.ID, stamp, body)
		if err != nil {
			return models.Answer{}, err
		}
		signatures = append(signatures, signature)
	}
	header := http.Header{}
	header.Set("Webhook-Id", l.ID)
	header.Set("Webhook-Timestamp", stamp)
	header.Set("Webhook-Signature", strings.Join(signatures, " "))
	return s.post(ctx, to, header, body)
}

// sign makes a signature of Standard Webhooks
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md):
// HMAC-SHA256 of id, time and body, joined by dots.
func sign(secret, id, stamp string, body []byte) (string, error) {
	text, prefixed := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !prefixed || err != nil || len(key) == 0 {
		return "", errNoKey()
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// errNoKey is for a channel whose secret was lost with the key file.
func errNoKey() error {
	return models.Errorf(models.Invalid, "The channel's secret cannot be used. Make a new one on its page.")
}

// Limits of Slack's messages (docs.slack.dev, “Formatting message text” and
// “Blocks”).
const (
	slackHeader  = 150  // characters
	slackSection = 2900 // of 3000
	slackText    = 30_000
	slackLines   = 40 // of 50 blocks
)

// slackMessage is what incoming webhooks take. text is all that Mattermost,
// Rocket.Chat and others show; Slack shows the blocks, and text where those
// cannot be shown.
type slackMessage struct {
	Text   string       `json:"text"`
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string       `json:"type"`
	Text     *slackWords  `json:"text,omitempty"`
	Elements []slackWords `json:"elements,omitempty"`
}

type slackWords struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func (s *Sender) slack(ctx context.Context, to models.Outlet, l models.Letter) (models.Answer, error) {
	body, err := json.Marshal(s.slackMessage(l))
	if err != nil {
		return models.Answer{}, fmt.Errorf("write message %s: %w", l.ID, err)
	}
	return s.post(ctx, to, http.Header{}, body)
}

func (s *Sender) slackMessage(l models.Letter) slackMessage {
	title := cut(oneLine(l.Title()), slackHeader)
	m := slackMessage{Blocks: []slackBlock{{Type: "header", Text: &slackWords{"plain_text", title}}}}
	parts := []string{"*" + escapeSlack(title) + "*"}
	section := func(text string) {
		m.Blocks = append(m.Blocks, slackBlock{Type: "section", Text: &slackWords{"mrkdwn", text}})
		parts = append(parts, text)
	}
	if intro := l.Intro(); intro != "" {
		section(escapeSlack(intro))
	}
	for _, line := range l.Lines[:min(len(l.Lines), slackLines)] {
		section(s.slackLine(line))
	}
	l.More += max(len(l.Lines)-slackLines, 0)
	outro := l.Outro()
	if home := s.link("/"); home != "" {
		outro = strings.TrimSpace(outro + " <" + slackURL(home) + "|Open Hefring>")
	}
	if outro != "" {
		m.Blocks = append(m.Blocks, slackBlock{Type: "context", Elements: []slackWords{{"mrkdwn", outro}}})
		parts = append(parts, outro)
	}
	m.Text = cut(strings.Join(parts, "\n\n"), slackText)
	return m
}

func (s *Sender) slackLine(line models.LetterLine) string {
	head := escapeSlack(oneLine(line.Headline()))
	if link := s.link(line.Subject.Path()); link != "" {
		// A bar would end the address.
		head = "<" + slackURL(link) + "|" + strings.ReplaceAll(head, "|", "¦") + ">"
	}
	// Cut before it is escaped, so that no escape is cut through; each character
	// becomes five at most.
	return "*" + head + "*\n" + escapeSlack(cut(line.Text(), (slackSection-len(head))/5))
}

// slackURL keeps an address from ending the link that it stands in.
func slackURL(address string) string {
	return strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(address)
}

// escapeSlack makes text say what it says: with & < > escaped, nothing in it is a
// link, a mention or a call to the whole channel. Signs that make text bold or
// code get a word joiner before them, which is not seen.
func escapeSlack(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", "\u2060*", "_", "\u2060_", "~", "\u2060~", "`", "\u2060`").Replace(text)
}
