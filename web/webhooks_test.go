package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"hefring/models"
	"hefring/templates/components"
	"hefring/web/webtest"
)

var secretField = regexp.MustCompile(`id="secret" type="text" value="([^"]+)" readonly`)

func TestWebhooks_List_ShowsThemAndTheForm(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	got := b.get("/distributions/1/webhooks")
	got.has(t, `href="/webhooks/1"`, `href="/webhooks/2"`, "Works", "Nothing proven yet", `name="provider"`, `name="branch"`, `name="_once"`)
	for _, p := range models.Providers() {
		got.has(t, `<option value="`+string(p)+`"`)
	}
	b.get("/distributions/2/webhooks").has(t, "no source to look at")
	b.get("/distributions/2/webhooks").hasNot(t, `name="provider"`)
	if got := b.get("/distributions/999/webhooks"); got.status != http.StatusNotFound {
		t.Errorf("status %d", got.status)
	}
	b.get("/distributions/1").has(t, `href="/distributions/1/webhooks"`)
}

func TestWebhooks_Create_ShowsTheSecretOnce(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	token := onceField.FindStringSubmatch(b.get("/distributions/1/webhooks").body)[1]
	form := url.Values{"provider": {"gitlab"}, "branch": {" main "}, "_once": {token}}
	got := b.post("/distributions/1/webhooks", form)
	if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, cache control %q", got.status, got.header.Get("Cache-Control"))
	}
	secret := secretField.FindStringSubmatch(got.body)
	if secret == nil || !strings.HasPrefix(secret[1], "whsec_") || strings.Count(got.body, secret[1]) != 1 {
		t.Fatalf("the page shows no secret, or more than once: %v", secret)
	}
	h := f.Hooks[len(f.Hooks)-1]
	got.has(t, "never shown again", b.base+"/hooks/"+h.Address, "Signing token", "listens to main")
	if strings.Contains(b.logs.String(), secret[1]) {
		t.Error("the secret is in the log")
	}
	again := b.post("/distributions/1/webhooks", form)
	if again.status != http.StatusSeeOther {
		t.Fatalf("the same form again: %d", again.status)
	}
	page := b.get(again.location())
	page.has(t, "shown only once")
	page.hasNot(t, secret[1], `id="secret"`)
	if n := f.Called("CreateWebhook"); n != 2 || len(f.Hooks) != 3 {
		t.Errorf("%d webhooks", len(f.Hooks))
	}
}

func TestWebhooks_CreateWrong_KeepsWhatWasTyped(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	got := b.post("/distributions/1/webhooks", url.Values{"provider": {"gitea"}, "branch": {"refs/heads/<x>"}, "_once": {"tok"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Fatalf("status %d", got.status)
	}
	got.has(t, `<option value="gitea" selected`, `value="refs/heads/&lt;x&gt;"`, `id="branch-e"`, "without refs/heads/", `value="tok"`, "autofocus")
	got = b.post("/distributions/1/webhooks", url.Values{"provider": {"nobody"}})
	got.has(t, `id="provider-e"`, "Choose who sends")
}

func TestWebhook_Page_ShowsDeliveriesAndWhy(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	got := b.get("/webhooks/1")
	got.has(t, b.base+"/hooks/"+webtest.HookAddress, "Payload URL", "Just the push event", "Accepted", "Refused", "Duplicate", "Not needed", "Ping",
		"It does not fit the secret", components.Figure(1210)+" times", "this webhook listens to the branch main", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "198.51.100.23",
		"Old secret", "New secret", `action="/webhooks/1/retire"`, `name="secret" value="1"`, `action="/webhooks/1/delete"`, "put Hefring behind HTTPS")
	got.hasNot(t, webtest.HookSecret, "the younger secret of the sample", "Make a new secret</button>")
	b.get("/webhooks/2").has(t, "Nothing was delivered yet", "openssl dgst -sha256 -hmac", "Make a new secret</button>")
}

func TestWebhook_Page_NamesThePublicAddress(t *testing.T) {
	b := signedIn(t, webtest.Sample(), func(c *Config, _ *server) {
		if c != nil {
			c.BaseURL = "https://hefring.example.org"
		}
	})
	got := b.get("/webhooks/1")
	got.has(t, "https://hefring.example.org/hooks/"+webtest.HookAddress)
	got.hasNot(t, "put Hefring behind HTTPS")
}

func TestWebhook_Rotate_ShowsTheSecretOnce(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	token := onceField.FindStringSubmatch(b.get("/webhooks/2").body)[1]
	got := b.post("/webhooks/2/secret", url.Values{"_once": {token}})
	secret := secretField.FindStringSubmatch(got.body)
	if got.status != http.StatusOK || secret == nil || len(secret[1]) != 64 {
		t.Fatalf("status %d, secret %v", got.status, secret)
	}
	got.has(t, "Two secrets are good")
	again := b.post("/webhooks/2/secret", url.Values{"_once": {token}})
	if again.status != http.StatusSeeOther || strings.Contains(b.get(again.location()).body, secret[1]) {
		t.Errorf("the same form again: %d", again.status)
	}
	f.Fail["RotateWebhook"] = models.Errorf(models.Conflict, "This webhook has two secrets already.")
	got = b.post("/webhooks/2/secret", nil)
	if got.status != http.StatusSeeOther {
		t.Fatalf("status %d", got.status)
	}
	b.get("/webhooks/2").has(t, "has two secrets already")
}

func TestWebhook_RetireAndDelete_SayWhatHappened(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	if got := b.post("/webhooks/1/retire", url.Values{"secret": {"1"}}); got.status != http.StatusSeeOther {
		t.Errorf("status %d", got.status)
	}
	b.get("/webhooks/1").has(t, "Retired.")
	got := b.post("/webhooks/1/delete", nil)
	if got.status != http.StatusSeeOther || got.location() != "/distributions/1/webhooks" {
		t.Errorf("status %d to %q", got.status, got.location())
	}
	b.get("/distributions/1/webhooks").has(t, "Deleted. Remove it at the sender too")
	if got := b.get("/webhooks/1"); got.status != http.StatusNotFound {
		t.Errorf("status %d", got.status)
	}
	if got := b.post("/webhooks/1/delete", nil); got.status != http.StatusNotFound {
		t.Errorf("deleted twice: status %d", got.status)
	}
	if f.Called("RetireWebhookSecret") != 1 || f.Called("DeleteWebhook") != 1 {
		t.Errorf("calls %v", f.Calls)
	}
}
