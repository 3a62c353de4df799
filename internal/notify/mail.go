package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"hefring/models"
)

// TLS says how the connection to a mail server is protected.
type TLS string

// Modes of protection. The zero value is TLSStart.
const (
	TLSStart TLS = "starttls" // begins in the clear and must become encrypted before anything is said
	TLSFull  TLS = "tls"      // encrypted from the first byte, mostly at port 465
	TLSNone  TLS = "none"     // in the clear; for a mail server on this machine
)

// SMTP is the mail server that takes e-mail. It is set by who runs Hefring, so it
// may be anywhere.
type SMTP struct {
	Host     string
	Port     int // 587; 465 with TLSFull; 25 with TLSNone
	TLS      TLS
	User     string // "" signs in nowhere
	Password string
	From     string // Hefring <hefring@example.org>

	RootCAs *x509.CertPool // the system's
}

// validate fills what was left out and says what is wrong.
func (s *SMTP) validate() error {
	s.TLS = cmp.Or(s.TLS, TLSStart)
	usual := map[TLS]int{TLSStart: 587, TLSFull: 465, TLSNone: 25}
	if usual[s.TLS] == 0 {
		return models.Errorf(models.Invalid, "The protection of the mail server is starttls, tls or none, not %s.", s.TLS)
	}
	s.Port = cmp.Or(s.Port, usual[s.TLS])
	if s.Port < 1 || s.Port > 65535 {
		return models.Errorf(models.Invalid, "The port of the mail server is a number from 1 to 65535, not %d.", s.Port)
	}
	if _, err := mail.ParseAddress(s.From); err != nil {
		return models.Wrapf(models.Invalid, err, "The sender of e-mail is written like Hefring <hefring@example.org>, not %q.", s.From)
	}
	return nil
}

func (s SMTP) options(timeout time.Duration) []gomail.Option {
	options := []gomail.Option{
		gomail.WithPort(s.Port), gomail.WithTimeout(timeout),
		gomail.WithTLSConfig(&tls.Config{ServerName: s.Host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}),
	}
	switch s.TLS {
	case TLSFull:
		options = append(options, gomail.WithSSL())
	case TLSNone:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	case TLSStart:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.User != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.User), gomail.WithPassword(s.Password))
	}
	return options
}

func (s *Sender) mail(ctx context.Context, to models.Outlet, l models.Letter) (models.Answer, error) {
	server := s.config.SMTP
	answer := models.Answer{Recipient: strings.Join(to.Addresses, ", ")}
	if server.Host == "" {
		return answer, models.Errorf(models.Unavailable, "Hefring knows no mail server. Start it with --smtp-host and the settings beside it; docs/notices.md has them.")
	}
	message, err := s.message(to, l)
	if err != nil {
		return answer, err
	}
	// Its limit is for reaching the server, and once more for handing over.
	client, err := gomail.NewClient(server.Host, server.options(s.config.Timeout/2)...)
	if err != nil {
		return answer, models.Wrapf(models.Invalid, err, "The settings of the mail server %s cannot be used: %v.", server.Host, err)
	}
	failed := client.DialAndSendWithContext(ctx, message)
	if failed == nil || message.IsDelivered() { // what fails after its consent changes nothing
		answer.Status, answer.Text = 250, shown([]byte(message.ServerResponse()))
		return answer, nil
	}
	return refusal(answer, server.Host, failed)
}

// refusal says why a mail server did not take a message, in its own words.
func refusal(answer models.Answer, host string, err error) (models.Answer, error) {
	if send, ok := errors.AsType[*gomail.SendError](err); ok && send.ErrorCode() > 0 {
		answer.Status, answer.Text = send.ErrorCode(), shown([]byte(oneLine(send.Error())))
	}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		answer.Status, answer.Text = reply.Code, shown([]byte(fmt.Sprintf("%d %s", reply.Code, oneLine(reply.Msg))))
	}
	if answer.Status > 0 {
		return answer, models.Wrapf(models.Unavailable, err, "The mail server %s did not take the message (%d): %s", host, answer.Status, sentence(answer.Text))
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return answer, models.Wrapf(models.Unavailable, err, "The mail server %s did not answer in time.", host)
	}
	return answer, models.Wrapf(models.Unavailable, err, "The mail server %s could not be used: %s", host, sentence(oneLine(cut(err.Error(), shownAnswer))))
}

func sentence(text string) string { return strings.TrimRight(text, ".") + "." }

// message writes a letter as an e-mail. go-mail encodes what headers hold; here
// nothing with the end of a line gets that far.
func (s *Sender) message(to models.Outlet, l models.Letter) (*gomail.Msg, error) {
	m := gomail.NewMsg()
	if err := m.From(s.config.SMTP.From); err != nil {
		return nil, models.Wrapf(models.Invalid, err, "The sender %q is no address. Correct --smtp-from.", s.config.SMTP.From)
	}
	if err := m.To(to.Addresses...); err != nil {
		return nil, models.Wrapf(models.Invalid, err, "One of the channel's addresses cannot be used. Correct them on its page.")
	}
	m.Subject("[Hefring] " + cut(oneLine(l.Title()), 180))
	m.SetDateWithValue(s.config.Now())
	m.SetMessageIDWithValue(s.messageID(l.ID))
	if threads := s.threads(l); len(threads) > 0 {
		m.SetGenHeader(gomail.HeaderInReplyTo, threads[0])
		m.SetGenHeader(gomail.HeaderReferences, strings.Join(threads, " "))
	}
	m.SetGenHeader("List-Id", fmt.Sprintf("<channel-%d.hefring.%s>", to.ChannelID, s.domain()))
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday notes, please
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	view := s.view(l)
	m.SetBodyString(gomail.TypeTextPlain, view.plain())
	page, err := view.html()
	if err != nil {
		return nil, err
	}
	m.AddAlternativeString(gomail.TypeTextHTML, page)
	return m, nil
}

func (s *Sender) messageID(id string) string { return oneLine(id) + "@" + s.domain() }

// maxThreads bounds how many earlier letters one answers to.
const maxThreads = 10

// threads are the letters that told of what is over now.
func (s *Sender) threads(l models.Letter) []string {
	var list []string
	for _, line := range l.Lines {
		id := "<" + s.messageID(line.Thread) + ">"
		if line.Thread != "" && len(list) < maxThreads && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

// domain is that of the sender's address.
func (s *Sender) domain() string {
	from, err := mail.ParseAddress(s.config.SMTP.From)
	if err != nil {
		return "localhost"
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	return domain
}

// mailView is a letter as its text shows it.
type mailView struct {
	Title, Intro, Outro, Home string
	Lines                     []mailLine
}

type mailLine struct{ Head, Text, Link string }

func (s *Sender) view(l models.Letter) mailView {
	v := mailView{Title: oneLine(l.Title()), Intro: l.Intro(), Outro: l.Outro(), Home: s.link("/")}
	for _, line := range l.Lines {
		v.Lines = append(v.Lines, mailLine{oneLine(line.Headline()), line.Text(), s.link(line.Subject.Path())})
	}
	return v
}

func (v mailView) plain() string {
	var text strings.Builder
	say := func(parts ...string) {
		for _, part := range parts {
			if part != "" {
				text.WriteString(part + "\n")
			}
		}
		text.WriteString("\n")
	}
	if v.Intro != "" {
		say(v.Intro)
	}
	for _, line := range v.Lines {
		say(line.Head, line.Text, line.Link)
	}
	if v.Outro != "" {
		say(v.Outro)
	}
	say("-- ", "Hefring", v.Home)
	return strings.TrimRight(text.String(), "\n") + "\n"
}

const mailPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body style="font-family:sans-serif;line-height:1.5;max-width:40em">
{{with .Intro}}<p>{{.}}</p>
{{end}}{{range .Lines}}<p><b>{{if .Link}}<a href="{{.Link}}">{{.Head}}</a>{{else}}{{.Head}}{{end}}</b><br>{{.Text}}</p>
{{end}}{{with .Outro}}<p>{{.}}</p>
{{end}}<p style="color:#666">Hefring{{with .Home}}, <a href="{{.}}">{{.}}</a>{{end}}</p>
</body></html>
`

func (v mailView) html() (string, error) {
	page, err := template.New("mail").Parse(mailPage)
	if err != nil {
		return "", fmt.Errorf("read template of mail: %w", err)
	}
	var text bytes.Buffer
	if err := page.Execute(&text, v); err != nil {
		return "", fmt.Errorf("write mail: %w", err)
	}
	return text.String(), nil
}
