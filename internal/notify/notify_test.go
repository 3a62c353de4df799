package notify_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"hefring/internal/egress"
	"hefring/internal/notify"
	"hefring/internal/webhook"
	"hefring/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sender may reach this machine.
func sender(t *testing.T, change ...func(*notify.Config)) *notify.Sender {
	t.Helper()
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(guard.Close)
	c := notify.Config{Egress: guard, Base: "https://hefring.example.org/", Timeout: 10 * time.Second}
	for _, one := range change {
		one(&c)
	}
	s, err := notify.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func letter() models.Letter {
	at := time.Date(2026, 11, 21, 8, 30, 0, 0, time.UTC)
	return models.Letter{ID: "msg_abc", Channel: "Ops", At: at, Lines: []models.LetterLine{
		{Cause: models.CauseBuild, Key: "k1", Title: "Thunder <b>&amp;", Why: "composer said: *no* <!channel> & `rm`", Since: at, Subject: models.LetterSubject{Kind: models.SubjectDistribution, ID: 3}},
		{Cause: models.CauseSource, Key: "k2", Over: true, Title: "Library", Since: at, Thread: "msg_old", Subject: models.LetterSubject{Kind: models.SubjectDistribution, ID: 4}},
	}}
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

func TestSender_Webhook_SignedAsTheStandardSays(t *testing.T) {
	old, fresh := webhook.NewSecret(models.ProviderStandard), webhook.NewSecret(models.ProviderStandard)
	var body []byte
	var header http.Header
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "thanks")
	})
	answer, err := sender(t).Send(t.Context(), models.Outlet{Kind: models.ChannelWebhook, URL: server.URL + "/hook?a=b", Keys: []string{fresh, old}}, letter())
	if err != nil || answer.Status != http.StatusAccepted || answer.Text != "thanks" || answer.Recipient != strings.TrimPrefix(server.URL, "http://") {
		t.Fatalf("answer %+v, error %v", answer, err)
	}
	for _, secret := range []string{old, fresh} {
		if _, err := webhook.Verify(models.ProviderStandard, []string{secret}, header, body, time.Now()); err != nil {
			t.Errorf("a receiver refuses it: %v", err)
		}
	}
	if _, err := webhook.Verify(models.ProviderStandard, []string{webhook.NewSecret(models.ProviderStandard)}, header, body, time.Now()); err == nil {
		t.Error("another secret proves it")
	}
	if header.Get("Webhook-Id") != "msg_abc" {
		t.Errorf("id %q", header.Get("Webhook-Id"))
	}
	var got notify.Payload
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	first, second := got.Data.Notices[0], got.Data.Notices[1]
	if got.Type != "notices" || first.State != "open" || first.URL != "https://hefring.example.org/distributions/3" || first.Cause != models.CauseBuild || second.State != "over" || second.Key != "k2" {
		t.Errorf("payload %s", body)
	}
}

func TestSender_Webhook_BadSecret(t *testing.T) {
	for _, secret := range []string{"", "whsec_", "whsec_!", "plain"} {
		_, err := sender(t).Send(t.Context(), models.Outlet{Kind: models.ChannelWebhook, URL: "http://127.0.0.1:9/", Keys: []string{secret}}, letter())
		if models.CodeOf(err) != models.Invalid {
			t.Errorf("%q: %v", secret, err)
		}
	}
	if _, err := sender(t).Send(t.Context(), models.Outlet{Kind: models.ChannelWebhook, URL: "http://127.0.0.1:9/"}, letter()); models.CodeOf(err) != models.Invalid {
		t.Errorf("without a secret: %v", err)
	}
}

func TestSender_Slack_EscapesAll(t *testing.T) {
	var got struct {
		Text   string
		Blocks []struct {
			Type string
			Text struct{ Type, Text string }
		}
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "ok")
	})
	l := letter()
	answer, err := sender(t).Send(t.Context(), models.Outlet{Kind: models.ChannelSlack, URL: server.URL}, l)
	if err != nil || answer.Text != "ok" {
		t.Fatalf("answer %+v, error %v", answer, err)
	}
	says(t, got.Text, "&lt;!channel&gt; &amp;", "<https://hefring.example.org/distributions/3|Build failed: Thunder &lt;b&gt;&amp;amp;>", "Source is well again: Library", "\u2060*no\u2060*", "\u2060`rm")
	if strings.Contains(got.Text, "<!channel>") {
		t.Error("it calls the whole channel")
	}
	if got.Blocks[0].Type != "header" || got.Blocks[1].Text.Type != "mrkdwn" {
		t.Errorf("blocks %+v", got.Blocks)
	}

	l.Lines = nil
	for i := range models.MaxLines {
		l.Lines = append(l.Lines, models.LetterLine{Cause: models.CauseBroken, Title: strconv.Itoa(i), Why: strings.Repeat("<&é", 2000)})
	}
	l.More = 7
	if _, err := sender(t).Send(t.Context(), models.Outlet{Kind: models.ChannelSlack, URL: server.URL}, l); err != nil {
		t.Fatal(err)
	}
	if len(got.Blocks) > 50 || len([]rune(got.Text)) > 40_000 {
		t.Errorf("%d blocks, %d characters", len(got.Blocks), len([]rune(got.Text)))
	}
	for _, block := range got.Blocks {
		if len([]rune(block.Text.Text)) > 3000 {
			t.Errorf("a section of %d characters", len([]rune(block.Text.Text)))
		}
	}
}

func TestSender_Post_EveryBadAnswerIsSaid(t *testing.T) {
	var hits atomic.Int32
	inside := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	stop := make(chan struct{})
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "oops\x00\x1b[31m ünd \xff")
		case "/redirect":
			http.Redirect(w, r, inside.URL+"/admin", http.StatusFound)
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusTemporaryRedirect)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/busy":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/huge":
			w.WriteHeader(http.StatusBadRequest)
			for range 100_000 {
				if _, err := io.WriteString(w, strings.Repeat("é", 1000)); err != nil {
					return
				}
			}
		case "/hang":
			<-stop
		case "/cut":
			panic(http.ErrAbortHandler)
		}
	})
	defer close(stop)
	s := sender(t, func(c *notify.Config) { c.Timeout = 300 * time.Millisecond })
	for path, want := range map[string]struct {
		status int
		parts  []string
	}{
		"/500":      {500, []string{"did not take the message (500)"}},
		"/redirect": {302, []string{"leads to 127.0.0.1", "not followed"}},
		"/metadata": {307, []string{"leads to 169.254.169.254"}},
		"/gone":     {410, []string{"may have been revoked"}},
		"/busy":     {429, []string{"(429)"}},
		"/huge":     {400, []string{"(400)"}},
		"/hang":     {0, []string{"did not answer in time"}},
		"/cut":      {0, []string{"could not be reached"}},
	} {
		began := time.Now()
		answer, err := s.Send(t.Context(), models.Outlet{Kind: models.ChannelSlack, URL: server.URL + path + "?token=s3cret"}, letter())
		if err == nil || models.CodeOf(err) != models.Unavailable || answer.Status != want.status {
			t.Errorf("%s: answer %+v, error %v", path, answer, err)
			continue
		}
		says(t, models.Explain(err), want.parts...)
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error holds the address's secret: %v", path, err)
		}
		if len(answer.Text) > 500 || !utf8.ValidString(answer.Text) || strings.ContainsAny(answer.Text, "\x00\x1b") {
			t.Errorf("%s: answer %q", path, answer.Text)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", path, took)
		}
		if path == "/busy" && models.RetryAfterOf(err) != 2*time.Minute {
			t.Errorf("asked for %s", models.RetryAfterOf(err))
		}
	}
	if hits.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestSender_Post_PrivateAddressRefused(t *testing.T) {
	var hits atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	guard := egress.New(egress.Config{})
	defer guard.Close()
	s := sender(t, func(c *notify.Config) { c.Egress = guard })
	for _, address := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), "file:///etc/passwd", "", "http://[::1]:80/"} {
		if _, err := s.Send(t.Context(), models.Outlet{Kind: models.ChannelSlack, URL: address}, letter()); models.CodeOf(err) == "" {
			t.Errorf("%q: %v", address, err)
		}
	}
	if hits.Load() != 0 {
		t.Error("this machine was reached")
	}
}

func atMail(m *mailServer, change ...func(*notify.SMTP)) func(*notify.Config) {
	return func(c *notify.Config) {
		c.SMTP = notify.SMTP{Host: "127.0.0.1", Port: m.port(), TLS: notify.TLSNone, From: "Hefring <hefring@example.org>"}
		for _, one := range change {
			one(&c.SMTP)
		}
	}
}

func outlet() models.Outlet {
	return models.Outlet{ChannelID: 7, Kind: models.ChannelEmail, Addresses: []string{"ops@example.org", "ada@example.org"}}
}

func TestSender_Mail_ArrivesWhole(t *testing.T) {
	m := serveMail(t, &mailServer{})
	l := letter()
	l.Lines[0].Title = "Thunder\r\nBcc: victim@example.org\r\n\r\ninjected <b>ü"
	answer, err := sender(t, atMail(m)).Send(t.Context(), outlet(), l)
	if err != nil || answer.Status != 250 || !strings.Contains(answer.Text, "queued as 4F2A91C03B") {
		t.Fatalf("answer %+v, error %v", answer, err)
	}
	got := m.taken()
	if len(got) != 1 || len(got[0].to) != 2 || !strings.HasPrefix(got[0].from, "FROM:<hefring@example.org>") {
		t.Fatalf("took %+v", got)
	}
	message, err := mail.ReadMessage(strings.NewReader(got[0].data))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Message-Id": "<msg_abc@example.org>", "In-Reply-To": "<msg_old@example.org>", "References": "<msg_old@example.org>",
		"List-Id": "<channel-7.hefring.example.org>", "Auto-Submitted": "auto-generated", "Bcc": "", "To": "<ops@example.org>, <ada@example.org>",
	} {
		if message.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, message.Header.Get(name), want)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	if err != nil || subject != "[Hefring] 1 thing needs a decision, 1 is well again" {
		t.Errorf("subject %q, %v", subject, err)
	}
	parts := bodies(t, message)
	says(t, parts["text/plain"], "Bcc: victim@example.org injected <b>ü", "https://hefring.example.org/distributions/3", "Source is well again: Library")
	says(t, parts["text/html"], "injected &lt;b&gt;ü", `href="https://hefring.example.org/distributions/3"`)
}

// bodies reads the parts of a message by their type.
func bodies(t *testing.T, message *mail.Message) map[string]string {
	t.Helper()
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts, in := map[string]string{}, multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := in.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		parts[kind] = string(text)
	}
}

func TestSender_Mail_OneLineInSubject(t *testing.T) {
	m := serveMail(t, &mailServer{})
	l := letter()
	l.Lines = l.Lines[:1]
	l.Lines[0].Title = "x\r\nBcc: victim@example.org\u2028y ü"
	if _, err := sender(t, atMail(m)).Send(t.Context(), outlet(), l); err != nil {
		t.Fatal(err)
	}
	message, err := mail.ReadMessage(strings.NewReader(m.taken()[0].data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	if err != nil || subject != "[Hefring] Build failed: x Bcc: victim@example.org y ü" || message.Header.Get("Bcc") != "" {
		t.Errorf("subject %q, %v", subject, err)
	}
}

func TestSender_Mail_EncryptedAndSignedIn(t *testing.T) {
	secured := httptest.NewTLSServer(nil)
	defer secured.Close()
	m := serveMail(t, &mailServer{tls: secured.TLS, user: base64.StdEncoding.EncodeToString([]byte("\x00hefring\x00pa ss"))})
	roots := secured.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	with := func(password string) func(*notify.SMTP) {
		return func(c *notify.SMTP) {
			c.TLS, c.RootCAs, c.User, c.Password = notify.TLSStart, roots, "hefring", password
		}
	}
	if _, err := sender(t, atMail(m, with("pa ss"))).Send(t.Context(), outlet(), letter()); err != nil {
		t.Fatal(err)
	}
	if got := m.taken(); len(got) != 1 || !got[0].encrypted {
		t.Errorf("took %+v", got)
	}
	answer, err := sender(t, atMail(m, with("wrong"))).Send(t.Context(), outlet(), letter())
	if err == nil || answer.Status != 535 {
		t.Fatalf("answer %+v, error %v", answer, err)
	}
	says(t, models.Explain(err), "535", "wrong user or password")
	strange := atMail(m, func(c *notify.SMTP) { c.TLS = notify.TLSStart })
	if _, err := sender(t, strange).Send(t.Context(), outlet(), letter()); err == nil {
		t.Error("a certificate that nobody knows was accepted")
	}
	plain := serveMail(t, &mailServer{})
	if _, err := sender(t, atMail(plain, func(c *notify.SMTP) { c.TLS = notify.TLSStart })).Send(t.Context(), outlet(), letter()); err == nil || len(plain.taken()) > 0 {
		t.Error("it was sent in the clear although that was not allowed")
	}
}

func TestSender_Mail_RefusalsAreSaid(t *testing.T) {
	for command, reply := range map[string]string{
		"RCPT": "550 5.1.1 no such user here", "MAIL": "553 5.1.8 sender unknown", "DATA": "451 4.7.1 greylisted, come back", "EHLO": "421 too busy",
	} {
		m := serveMail(t, &mailServer{reply: map[string]string{command: reply, "HELO": reply}})
		answer, err := sender(t, atMail(m)).Send(t.Context(), outlet(), letter())
		if err == nil || strconv.Itoa(answer.Status) != reply[:3] {
			t.Errorf("%s: answer %+v, error %v", command, answer, err)
			continue
		}
		says(t, models.Explain(err), reply[4:])
		says(t, answer.Text, reply[4:])
	}
}

// What fails after the server took the message does not make it fail: it would be
// sent twice.
func TestSender_Mail_TakenAlthoughTheGoodbyeFails(t *testing.T) {
	m := serveMail(t, &mailServer{reply: map[string]string{"RSET": "500 what?", "QUIT": "500 what?"}})
	answer, err := sender(t, atMail(m)).Send(t.Context(), outlet(), letter())
	if err != nil || answer.Status != 250 || len(m.taken()) != 1 {
		t.Errorf("answer %+v, error %v", answer, err)
	}
}

func TestSender_Mail_SilentServer(t *testing.T) {
	m := serveMail(t, &mailServer{slow: true})
	s := sender(t, atMail(m), func(c *notify.Config) { c.Timeout = 200 * time.Millisecond })
	began := time.Now()
	_, err := s.Send(t.Context(), outlet(), letter())
	if err == nil || time.Since(began) > 5*time.Second {
		t.Fatalf("error %v after %s", err, time.Since(began))
	}
	says(t, models.Explain(err), "did not answer in time")
	gone := serveMail(t, &mailServer{})
	_ = gone.listener.Close()
	_, err = sender(t, atMail(gone)).Send(t.Context(), outlet(), letter())
	says(t, models.Explain(err), "127.0.0.1 could not be used")
}

func TestNew_SettingsOfTheMailServer(t *testing.T) {
	for _, bad := range []notify.SMTP{
		{Host: "mail", From: ""}, {Host: "mail", From: "nobody"}, {Host: "mail", From: "a@example.org", TLS: "ssl"}, {Host: "mail", From: "a@example.org", Port: 70000},
	} {
		if _, err := notify.New(notify.Config{SMTP: bad}); models.CodeOf(err) != models.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	s, err := notify.New(notify.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Send(context.Background(), outlet(), letter())
	says(t, models.Explain(err), "knows no mail server")
	if _, err := s.Send(context.Background(), models.Outlet{Kind: "pigeon"}, letter()); models.CodeOf(err) != models.Invalid {
		t.Error(err)
	}
}
