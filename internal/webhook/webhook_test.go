package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"hefring/internal/webhook"
	"hefring/models"
)

const (
	plain  = "5c1e8f6a0b9d4e7382c6a5d4f3e2b1a05c1e8f6a0b9d4e7382c6a5d4f3e2b1a0"
	sealed = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// delivery is what a provider sends, with what we should make of it.
type delivery struct {
	name     string
	provider models.Provider
	file     string
	header   map[string]string

	event string
	kind  webhook.Kind
	id    string
	refs  []string
	main  bool // does it concern main?
}

func (d delivery) body(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", d.file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func secretOf(p models.Provider) string {
	if p == models.ProviderGitLab || p == models.ProviderStandard {
		return sealed
	}
	return plain
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// signed gives the headers as the provider documents them.
func (d delivery) signed(body []byte, secret string, at time.Time) http.Header {
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	for name, value := range d.header {
		header.Set(name, value)
	}
	sum := hex.EncodeToString(mac([]byte(secret), string(body)))
	switch d.provider {
	case models.ProviderGitHub:
		header.Set("X-Hub-Signature", "sha1=0000000000000000000000000000000000000000")
		header.Set("X-Hub-Signature-256", "sha256="+sum)
	case models.ProviderBitbucket, models.ProviderBitbucketServer:
		header.Set("X-Hub-Signature", "sha256="+sum)
	case models.ProviderGitea:
		header.Set("X-Gitea-Signature", sum)
		if d.header["X-Forgejo-Event"] != "" {
			header.Set("X-Forgejo-Signature", sum)
		}
	case models.ProviderSignature:
		header.Set("X-Signature", "sha256="+sum)
	case models.ProviderGitLabToken:
		header.Set("X-Gitlab-Token", secret)
	case models.ProviderGitLab, models.ProviderStandard:
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		stamp := strconv.FormatInt(at.Unix(), 10)
		header.Set("webhook-timestamp", stamp)
		header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac(key, header.Get("webhook-id")+"."+stamp+"."+string(body))))
	}
	return header
}

func deliveries() []delivery {
	const id = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	github := func(event string) map[string]string {
		return map[string]string{"X-GitHub-Event": event, "X-GitHub-Delivery": id, "User-Agent": "GitHub-Hookshot/044aadd", "X-GitHub-Hook-ID": "292430182"}
	}
	gitlab := func(event string) map[string]string {
		return map[string]string{"X-Gitlab-Event": event, "Idempotency-Key": id, "webhook-id": id, "X-Gitlab-Event-UUID": "13792a34-cac6-4fda-95a8-c58e00a3954e", "User-Agent": "GitLab/18.9"}
	}
	gitea := func(event string) map[string]string {
		return map[string]string{"X-Gitea-Event": event, "X-Gitea-Event-Type": event, "X-Gitea-Delivery": id, "X-Gogs-Event": event, "X-GitHub-Event": event}
	}
	forgejo := gitea("push")
	forgejo["X-Forgejo-Event"], forgejo["X-Forgejo-Delivery"] = "push", id
	cloud := map[string]string{"X-Event-Key": "repo:push", "X-Hook-UUID": "{2f9c}", "X-Request-UUID": id, "X-Attempt-Number": "1", "User-Agent": "Bitbucket-Webhooks/2.0"}
	server := map[string]string{"X-Event-Key": "repo:refs_changed", "X-Request-Id": id}
	return []delivery{
		{"github push", models.ProviderGitHub, "github/push.json", github("push"), "push", webhook.Push, id, []string{"main"}, true},
		{"github tag deleted", models.ProviderGitHub, "github/push-tag-deleted.json", github("push"), "push", webhook.Push, id, []string{"refs/tags/v10.6.1"}, false},
		{"github ping", models.ProviderGitHub, "github/ping.json", github("ping"), "ping", webhook.Ping, id, nil, true},
		{"github create", models.ProviderGitHub, "github/create.json", github("create"), "create", webhook.Push, id, []string{"release/2026"}, false},
		{"github issues", models.ProviderGitHub, "github/issues.json", github("issues"), "issues", webhook.Other, id, nil, true},
		{"gitlab push", models.ProviderGitLab, "gitlab/push.json", gitlab("Push Hook"), "Push Hook", webhook.Push, id, []string{"main"}, true},
		{"gitlab tag", models.ProviderGitLab, "gitlab/tag.json", gitlab("Tag Push Hook"), "Tag Push Hook", webhook.Push, id, []string{"refs/tags/v1.0.0"}, false},
		{"gitlab token push", models.ProviderGitLabToken, "gitlab/push.json", gitlab("Push Hook"), "Push Hook", webhook.Push, id, []string{"main"}, true},
		{"gitlab system", models.ProviderGitLabToken, "gitlab/system.json", gitlab("System Hook"), "repository_update", webhook.Push, id, nil, true},
		{"gitea push", models.ProviderGitea, "gitea/push.json", gitea("push"), "push", webhook.Push, id, []string{"main"}, true},
		{"gitea create", models.ProviderGitea, "gitea/create.json", gitea("create"), "create", webhook.Push, id, []string{"refs/tags/v10.6.2"}, false},
		{"forgejo push", models.ProviderGitea, "gitea/push.json", forgejo, "push", webhook.Push, id, []string{"main"}, true},
		{"bitbucket push", models.ProviderBitbucket, "bitbucket/push.json", cloud, "repo:push", webhook.Push, id, []string{"feature/menu", "main"}, true},
		{"bitbucket tag deleted", models.ProviderBitbucket, "bitbucket/push-tag-deleted.json", cloud, "repo:push", webhook.Push, id, []string{"refs/tags/v10.6.1"}, false},
		{"bitbucket server", models.ProviderBitbucketServer, "bitbucket-server/refs-changed.json", server, "repo:refs_changed", webhook.Push, id, []string{"feature/menu", "main"}, true},
		{"standard", models.ProviderStandard, "standard/event.json", map[string]string{"webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"}, "source.changed", webhook.Push, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", []string{"main"}, true},
		{"signature", models.ProviderSignature, "signature/event.json", map[string]string{"X-Delivery-Id": "42"}, "delivery", webhook.Push, "42", []string{"main"}, true},
	}
}

func TestParse_DocumentedDeliveries_Understood(t *testing.T) {
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			m, err := webhook.Parse(d.provider, d.signed(d.body(t), plain, now()), d.body(t))
			if err != nil {
				t.Fatal(err)
			}
			if m.Event != d.event || m.Kind != d.kind || m.ID != d.id || !m.Named {
				t.Errorf("got %+v", m)
			}
			var texts []string
			for _, ref := range m.Refs {
				texts = append(texts, ref.Text)
			}
			if strings.Join(texts, " ") != strings.Join(d.refs, " ") {
				t.Errorf("refs %v, want %v", texts, d.refs)
			}
			if got := m.Concerns("main"); got != d.main {
				t.Errorf("concerns main: %v", got)
			}
			if !m.Concerns("") {
				t.Error("does not concern everybody")
			}
		})
	}
}

func TestVerify_DocumentedDeliveries_Accepted(t *testing.T) {
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			body, secret := d.body(t), secretOf(d.provider)
			header := d.signed(body, secret, now())
			if err := webhook.CheckType(d.provider, header); err != nil {
				t.Error(err)
			}
			other := webhook.NewSecret(d.provider)
			for want, secrets := range [][]string{{secret, other}, {other, secret}} {
				got, err := webhook.Verify(d.provider, secrets, header, body, now())
				if err != nil || got != want {
					t.Errorf("secret %d fits: got %d, %v", want, got, err)
				}
			}
			if _, err := webhook.Verify(d.provider, []string{secret}, header, body, now()); err != nil {
				t.Error(err)
			}
		})
	}
}

func refused(t *testing.T, d delivery, secrets []string, header http.Header, body []byte, at time.Time) {
	t.Helper()
	_, err := webhook.Verify(d.provider, secrets, header, body, at)
	if models.CodeOf(err) != models.Forbidden {
		t.Errorf("not refused: %v", err)
		return
	}
	text := models.Explain(err)
	if len(text) < 20 || !strings.HasSuffix(text, ".") {
		t.Errorf("%q does not say why", text)
	}
	for _, secret := range append(secrets, plain, sealed) {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("%q holds a secret", err.Error())
		}
	}
}

func TestVerify_WrongSecret_Refused(t *testing.T) {
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			body := d.body(t)
			header := d.signed(body, secretOf(d.provider), now())
			refused(t, d, []string{webhook.NewSecret(d.provider)}, header, body, now())
			refused(t, d, []string{webhook.NewSecret(d.provider), webhook.NewSecret(d.provider)}, header, body, now())
		})
	}
}

func TestVerify_EmptySecret_Refused(t *testing.T) {
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			body := d.body(t)
			for _, forged := range []string{"", "whsec_"} {
				header := d.signed(body, forged, now())
				for _, secrets := range [][]string{nil, {""}, {"", ""}, {secretOf(d.provider)}, {"", secretOf(d.provider)}} {
					refused(t, d, secrets, header, body, now())
				}
			}
			if d.provider == models.ProviderGitLab || d.provider == models.ProviderStandard {
				refused(t, d, []string{"whsec_"}, d.signed(body, "whsec_", now()), body, now())
				refused(t, d, []string{"whsec_!!"}, d.signed(body, "whsec_", now()), body, now())
				refused(t, d, []string{plain}, d.signed(body, "whsec_", now()), body, now())
			}
		})
	}
}

func TestVerify_TamperedBody_Refused(t *testing.T) {
	for _, d := range deliveries() {
		if d.provider == models.ProviderGitLabToken {
			continue // it proves the sender, not the body
		}
		t.Run(d.name, func(t *testing.T) {
			body := d.body(t)
			header := d.signed(body, secretOf(d.provider), now())
			refused(t, d, []string{secretOf(d.provider)}, header, append(body, ' '), now())
			refused(t, d, []string{secretOf(d.provider)}, header, body[:len(body)-1], now())
			refused(t, d, []string{secretOf(d.provider)}, header, nil, now())
		})
	}
}

func TestVerify_HeadersMissingOrOdd_Refused(t *testing.T) {
	names := []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gitea-Signature", "X-Forgejo-Signature", "X-Signature", "X-Gitlab-Token", "Webhook-Signature"}
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			body, secrets := d.body(t), []string{secretOf(d.provider)}
			for _, odd := range []string{"", " ", "sha256=", "sha1=00", "sha256=zz", "sha256=" + strings.Repeat("0", 62), "v1", "v1,", "v1,AAAA", "v2," + strings.Repeat("A", 44), strings.Repeat("0", 64), strings.Repeat("x", 1<<20)} {
				header := d.signed(body, secrets[0], now())
				for _, name := range names {
					if header.Get(name) != "" {
						header.Set(name, odd)
					}
				}
				refused(t, d, secrets, header, body, now())
			}
			refused(t, d, secrets, http.Header{}, body, now())
		})
	}
}

// Each webhook has one way of proof: what fits another one's is refused.
func TestVerify_OtherProvidersProof_Refused(t *testing.T) {
	family := map[models.Provider]string{
		models.ProviderBitbucket: "bitbucket", models.ProviderBitbucketServer: "bitbucket",
		models.ProviderGitLab: "standard", models.ProviderStandard: "standard",
	}
	for _, d := range deliveries() {
		for _, p := range models.Providers() {
			if p == d.provider || family[p] != "" && family[p] == family[d.provider] {
				continue
			}
			body := d.body(t)
			header := d.signed(body, secretOf(d.provider), now())
			if _, err := webhook.Verify(p, []string{secretOf(d.provider)}, header, body, now()); models.CodeOf(err) != models.Forbidden {
				t.Errorf("a webhook of %s takes a delivery of %s: %v", p, d.provider, err)
			}
		}
	}
}

// GitHub still sends SHA-1 beside SHA-256; the sender may not choose it.
func TestVerify_GitHubSHA1Only_Refused(t *testing.T) {
	d := deliveries()[0]
	body := d.body(t)
	header := d.signed(body, plain, now())
	header.Del("X-Hub-Signature-256")
	refused(t, d, []string{plain}, header, body, now())
}

func TestVerify_Replay_Refused(t *testing.T) {
	for _, d := range deliveries() {
		if d.provider != models.ProviderGitLab && d.provider != models.ProviderStandard {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			body, secrets := d.body(t), []string{sealed}
			header := d.signed(body, sealed, now())
			for _, shift := range []time.Duration{-6 * time.Minute, 6 * time.Minute, 24 * time.Hour} {
				refused(t, d, secrets, header, body, now().Add(shift))
			}
			for _, shift := range []time.Duration{-4 * time.Minute, 4 * time.Minute, webhook.Window} {
				if _, err := webhook.Verify(d.provider, secrets, header, body, now().Add(shift)); err != nil {
					t.Errorf("refused after %s: %v", shift, err)
				}
			}
			// A new time or id is not covered by the old signature.
			for name, value := range map[string]string{"webhook-timestamp": strconv.FormatInt(now().Unix()+1, 10), "webhook-id": "other"} {
				changed := header.Clone()
				changed.Set(name, value)
				refused(t, d, secrets, changed, body, now())
			}
			for _, stamp := range []string{"", "x", "1e9", "-1", "9223372036854775807", "99999999999999999999", "-9223372036854775808"} {
				changed := d.signed(body, sealed, now())
				changed.Set("webhook-timestamp", stamp)
				key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(sealed, "whsec_"))
				changed.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac(key, changed.Get("webhook-id")+"."+stamp+"."+string(body))))
				refused(t, d, secrets, changed, body, now())
			}
		})
	}
}

// The specification lets a sender that rotates its secret sign with both.
func TestVerify_StandardSeveralSignatures_OneIsEnough(t *testing.T) {
	d := delivery{provider: models.ProviderStandard, file: "standard/event.json", header: map[string]string{"webhook-id": "msg_1"}}
	body := d.body(t)
	header := d.signed(body, sealed, now())
	wrong := d.signed(body, webhook.NewSecret(d.provider), now()).Get("webhook-signature")
	header.Set("webhook-signature", "v1a,abc "+wrong+" "+header.Get("webhook-signature"))
	if _, err := webhook.Verify(d.provider, []string{sealed}, header, body, now()); err != nil {
		t.Error(err)
	}
}

// The example of the specification's reference libraries.
func TestVerify_StandardReference_Accepted(t *testing.T) {
	header := http.Header{}
	header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set("webhook-timestamp", "1614265330")
	header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	_, err := webhook.Verify(models.ProviderStandard, []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, header, []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0))
	if err != nil {
		t.Error(err)
	}
}

// The example of GitHub's documentation, "Validating webhook deliveries".
func TestVerify_GitHubReference_Accepted(t *testing.T) {
	header := http.Header{}
	header.Set("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	if _, err := webhook.Verify(models.ProviderGitHub, []string{"It's a Secret to Everybody"}, header, []byte("Hello, World!"), now()); err != nil {
		t.Error(err)
	}
}

func TestCheckType_Forms_SayWhatToDo(t *testing.T) {
	for sent, said := range map[string]string{
		"application/x-www-form-urlencoded": "application/json", "multipart/form-data; boundary=x": "application/json", "text/plain": "application/json", "": "application/json", ";;": "application/json",
	} {
		err := webhook.CheckType(models.ProviderGitHub, http.Header{"Content-Type": {sent}})
		if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), said) {
			t.Errorf("%q: %v", sent, err)
		}
	}
	for _, sent := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json"} {
		if err := webhook.CheckType(models.ProviderGitHub, http.Header{"Content-Type": {sent}}); err != nil {
			t.Errorf("%q: %v", sent, err)
		}
	}
}

// Nothing in a body may make the parser panic (Argo CD's CVE-2025-59538 and
// others), and what it does not understand must lead to a look all the same.
func TestParse_Malformed_SurvivesAndChecksAnyway(t *testing.T) {
	files, err := filepath.Glob("testdata/malformed/*")
	if err != nil || len(files) < 25 {
		t.Fatal(files, err)
	}
	events := map[models.Provider][]string{
		models.ProviderGitHub: {"push", "create", ""}, models.ProviderGitea: {"push", "delete"}, models.ProviderGitLab: {"Push Hook", "Tag Push Hook"},
		models.ProviderGitLabToken: {"System Hook"}, models.ProviderBitbucket: {"repo:push"}, models.ProviderBitbucketServer: {"repo:refs_changed", ""},
		models.ProviderStandard: {""}, models.ProviderSignature: {""},
	}
	said := map[string]bool{"no-branch.json": true, "control.json": true, "twice.json": true, "long-ref.json": true, "not-utf8.json": true, "ref-object.json": true}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for p, list := range events {
			for _, event := range list {
				header := http.Header{}
				for _, name := range []string{"X-Github-Event", "X-Gitea-Event", "X-Gitlab-Event", "X-Event-Key"} {
					header.Set(name, event)
				}
				m, err := webhook.Parse(p, header, body)
				if strings.HasSuffix(file, ".txt") {
					if models.CodeOf(err) != models.Invalid {
						t.Errorf("%s %s: %v", file, p, err)
					}
					continue
				}
				if err != nil || m.Kind != webhook.Push || !said[filepath.Base(file)] && !m.Concerns("main") {
					t.Errorf("%s %s %q: %+v %v", file, p, event, m, err)
				}
				whole(t, file, m)
			}
		}
	}
}

// whole checks what holds for every message.
func whole(t *testing.T, what string, m webhook.Message) {
	t.Helper()
	if m.ID == "" || len(m.ID) > 128 || len(m.Event) > 255 || len(m.Refs) > 1001 {
		t.Errorf("%s: %d bytes of id, %d of event, %d refs", what, len(m.ID), len(m.Event), len(m.Refs))
	}
	for _, ref := range m.Refs {
		if len(ref.Text) > 255 || strings.ContainsFunc(ref.Text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(ref.Text) {
			t.Errorf("%s: ref %q", what, ref.Text)
		}
	}
}

func TestParse_DeliveryID_FallsBackToBody(t *testing.T) {
	a, errA := webhook.Parse(models.ProviderGitHub, http.Header{}, []byte(`{"ref":"a"}`))
	b, errB := webhook.Parse(models.ProviderGitHub, http.Header{}, []byte(`{"ref":"a"} `))
	if errA != nil || errB != nil || a.ID == b.ID || a.Named || !strings.HasPrefix(a.ID, "body:") {
		t.Errorf("%+v %+v %v %v", a, b, errA, errB)
	}
	for _, odd := range []string{strings.Repeat("x", 1000), "a b", "é", "\x01"} {
		m, err := webhook.Parse(models.ProviderGitHub, http.Header{"X-Github-Delivery": {odd}}, []byte(`{}`))
		if err != nil || !strings.HasPrefix(m.ID, "sha256:") || !m.Named {
			t.Errorf("%.10q: %+v %v", odd, m, err)
		}
	}
}

func TestIsUnsignedPing_OnlyBitbucketServersTest(t *testing.T) {
	ping := http.Header{"X-Event-Key": {"diagnostics:ping"}}
	if !webhook.IsUnsignedPing(models.ProviderBitbucketServer, ping) || webhook.IsUnsignedPing(models.ProviderBitbucket, ping) {
		t.Error("the test of Bitbucket Server is not known, or another is taken for it")
	}
	for _, h := range []http.Header{{"X-Event-Key": {"diagnostics:ping"}, "X-Hub-Signature": {"sha256=00"}}, {"X-Event-Key": {"repo:refs_changed"}}, {}} {
		if webhook.IsUnsignedPing(models.ProviderBitbucketServer, h) {
			t.Errorf("%v is taken for an unsigned test", h)
		}
	}
	m, err := webhook.Parse(models.ProviderBitbucketServer, ping, []byte(`{"test": true}`))
	if err != nil || m.Kind != webhook.Ping {
		t.Errorf("%+v %v", m, err)
	}
}

func TestNewSecret_EachProvider_LongAndDifferent(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range models.Providers() {
		for range 10 {
			secret := webhook.NewSecret(p)
			if len(secret) < 50 || seen[secret] {
				t.Errorf("%s: %q", p, secret)
			}
			seen[secret] = true
			if p != models.ProviderGitLab {
				continue
			}
			key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
			if err != nil || len(key) != 32 {
				t.Errorf("GitLab takes 32 bytes in base64 after whsec_, not %q", secret)
			}
		}
	}
	if a, b := webhook.NewAddress(), webhook.NewAddress(); len(a) != 32 || a == b {
		t.Errorf("addresses %q and %q", a, b)
	}
}

func FuzzParse(f *testing.F) {
	for _, d := range deliveries() {
		body, err := os.ReadFile(filepath.Join("testdata", d.file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, d.event, string(d.provider), d.id)
	}
	files, err := filepath.Glob("testdata/malformed/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, "repo:push", "bitbucket", "")
		f.Add(body, "repo:refs_changed", "bitbucket-server", "x")
	}
	f.Fuzz(func(t *testing.T, body []byte, event, provider, text string) {
		header := http.Header{}
		for _, name := range []string{"X-Github-Event", "X-Gitea-Event", "X-Gitlab-Event", "X-Event-Key"} {
			header.Set(name, event)
		}
		for _, name := range []string{
			"X-Github-Delivery", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "X-Hub-Signature", "X-Hub-Signature-256", "X-Gitea-Signature",
			"X-Signature", "X-Gitlab-Token", "Content-Type",
		} {
			header.Set(name, text)
		}
		p := models.Provider(provider)
		_ = webhook.CheckType(p, header)
		if _, err := webhook.Verify(p, []string{plain, ""}, header, body, now()); err == nil && text != plain && !strings.Contains(text, hex.EncodeToString(mac([]byte(plain), string(body)))) {
			t.Errorf("%q proves %q", text, body)
		}
		m, err := webhook.Parse(p, header, body)
		if err != nil {
			if models.CodeOf(err) != models.Invalid {
				t.Error(err)
			}
			return
		}
		whole(t, "fuzz", m)
		_ = m.Concerns("main")
	})
}
