package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// A webhook from its making to its end: set up in the browser, delivered as
// GitHub and GitLab do, refused, rotated, deleted. The queue does not look in
// this time, so whatever is built was asked for by a webhook.
func TestWebhook(t *testing.T) {
	t.Parallel()
	w := &hookTest{t: t, h: newHefring(t, ""), repo: newForge(t).repo("tidepool")}
	w.b, w.p = w.h.browser(), w.h.person("second")
	w.repo.push(tidepool.V1058)
	w.p.addGit("Tidepool", w.repo.url, nil)
	w.p.awaitTarget(1, "10.5.8")
	w.p.quiet()
	w.b.signIn(w.h)
	w.create()
	w.push()
	w.refusals()
	w.rotate()
	w.script()
	w.signedGitLab()
	w.end()
}

type hookTest struct {
	t       *testing.T
	h       *hefring
	b       *browser
	p       *person
	repo    *repo
	address string
	secret  string
	secrets []string // all that there were
}

// read takes the address and the secret from the page that shows them.
func (w *hookTest) read() {
	w.t.Helper()
	w.b.sees("never shown again")
	w.address, w.secret = w.b.text(`document.getElementById('address').value`), w.b.text(`document.getElementById('secret').value`)
	w.secrets = append(w.secrets, w.secret)
	if !strings.HasPrefix(w.address, w.h.url+"/hooks/") || len(w.secret) < 50 {
		w.t.Fatalf("address %q, a secret of %d characters", w.address, len(w.secret))
	}
}

func (w *hookTest) create() {
	b := w.b
	b.visit("/distributions/1")
	b.press("Add a webhook")
	b.lands(`^/distributions/1/webhooks$`)
	b.examine("none")
	b.fill("branch", "refs/heads/main")
	b.press("Add and show the secret")
	b.sees("without refs/heads/")
	b.examine("refused")
	b.fill("branch", "main")
	b.press("Add and show the secret")
	w.read()
	b.sees("Payload URL")
	b.examine("secret")
	b.press("I have it")
	b.lands(`^/webhooks/1$`)
	b.sees("Nothing was delivered yet")
	if strings.Contains(b.text(`document.documentElement.outerHTML`), w.secret) {
		w.t.Error("the secret is shown again")
	}
}

// send delivers as GitHub does.
func (w *hookTest) send(event, id, body string) (status int, text string) {
	w.t.Helper()
	return w.post(body, map[string]string{"X-GitHub-Event": event, "X-GitHub-Delivery": id, "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac([]byte(w.secret), body))})
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func (w *hookTest) post(body string, header map[string]string) (status int, text string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func (w *hookTest) wants(what string, status, wanted int) {
	w.t.Helper()
	if status != wanted {
		w.t.Errorf("%s: status %d, want %d", what, status, wanted)
	}
}

const pushed = `{"ref": "refs/heads/main", "after": "0d3c5aa0d3c5aa0d3c5aa0d3c5aa0d3c5aa0d3c5", "repository": {"clone_url": "https://elsewhere.example/x.git"}}`

func (w *hookTest) push() {
	status, _ := w.send("ping", "1", `{"zen": "Keep it logically awesome."}`)
	w.wants("ping", status, http.StatusOK)
	w.repo.push(tidepool.V1062)
	status, _ = w.send("push", "2", `{"ref": "refs/heads/other"}`)
	w.wants("a push to another branch", status, http.StatusOK)
	if n := len(w.p.platforms(1)); n != 1 {
		w.t.Errorf("a push to another branch made a platform")
	}
	began := time.Now()
	status, _ = w.send("push", "3", pushed)
	w.wants("a push", status, http.StatusAccepted)
	eventually(w.t, 10*time.Second, "the platform is there", func() bool { return len(w.p.platforms(1)) == 2 })
	w.t.Logf("from the webhook to the platform: %s", time.Since(began).Round(time.Millisecond))
	w.p.awaitTarget(1, "10.6.2")
	status, text := w.send("push", "3", pushed)
	w.wants("the same push again", status, http.StatusOK)
	if !strings.Contains(text, "Seen before") {
		w.t.Errorf("the same push again: %s", text)
	}
	w.p.quiet()
	if n := w.h.journal().number(`SELECT COUNT(*) FROM checks WHERE "trigger" = 'webhook'`); n != 1 {
		w.t.Errorf("webhooks led to %d checks, want one", n)
	}
}

func (w *hookTest) refusals() {
	right := w.secret
	w.secret = "wrong"
	status, _ := w.send("push", "4", pushed)
	w.wants("a wrong secret", status, http.StatusUnauthorized)
	w.secret = ""
	status, _ = w.send("push", "4", pushed)
	w.wants("an empty secret", status, http.StatusUnauthorized)
	w.secret = right
	status, _ = w.post("payload=%7B%7D", map[string]string{"Content-Type": "application/x-www-form-urlencoded", "X-GitHub-Event": "push"})
	w.wants("a form", status, http.StatusUnsupportedMediaType)
	status, _ = w.post(strings.Repeat(" ", 4<<20), nil)
	w.wants("4 MiB", status, http.StatusRequestEntityTooLarge)
	response, err := http.Get(w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = response.Body.Close()
	w.wants("GET", response.StatusCode, http.StatusMethodNotAllowed)
	b := w.b
	b.visit("/webhooks/1")
	for _, text := range []string{"Works", "Accepted", "Refused", "Ping", "Duplicate", "Not needed", "does not fit the secret", "sent as a form", "more than 3 MiB", "listens to the branch main"} {
		b.sees(text)
	}
	b.examine("deliveries")
	b.scripting(false)
	b.visit("/webhooks/1")
	b.sees("does not fit the secret")
	b.scripting(true)
}

func (w *hookTest) rotate() {
	b, old := w.b, w.secret
	b.visit("/webhooks/1")
	b.press("Make a new secret")
	w.read()
	b.press("I have it")
	b.sees("Two secrets are good")
	status, _ := w.send("ping", "5", "{}")
	w.wants("with the new secret", status, http.StatusOK)
	young := w.secret
	w.secret = old
	status, _ = w.send("ping", "6", "{}")
	w.wants("with the old secret", status, http.StatusOK)
	b.visit("/webhooks/1")
	b.sees("Retire the old one")
	b.examine("two secrets")
	b.press("Retire Old secret")
	b.sees("Retired.")
	status, _ = w.send("ping", "7", "{}")
	w.wants("with the retired secret", status, http.StatusUnauthorized)
	w.secret = young
	status, _ = w.send("ping", "7", "{}")
	w.wants("with the secret that is left", status, http.StatusOK)
}

// script runs the example of the page.
func (w *hookTest) script() {
	b := w.b
	b.visit("/distributions/1/webhooks")
	b.choose("provider", "signature")
	b.press("Add and show the secret")
	w.read()
	example := b.text(`document.querySelector('pre.script').innerText`)
	b.examine("script")
	cmd := exec.CommandContext(w.t.Context(), "bash", "-eu", "-o", "pipefail", "-c", strings.Replace(example, "curl", "curl --silent --show-error", 1))
	cmd.Env = append(os.Environ(), "SECRET="+w.secret)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Accepted") {
		w.t.Errorf("the example answers %s %v:\n%s", out, err, example)
	}
	w.p.quiet()
}

func (w *hookTest) signedGitLab() {
	b := w.b
	b.visit("/distributions/1/webhooks")
	b.choose("provider", "gitlab")
	b.press("Add and show the secret")
	w.read()
	b.sees("Signing token")
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(w.secret, "whsec_"))
	if err != nil {
		w.t.Fatal(err)
	}
	deliver := func(id string, at time.Time) int {
		stamp := strconv.FormatInt(at.Unix(), 10)
		status, _ := w.post(pushed, map[string]string{
			"X-Gitlab-Event": "Push Hook", "webhook-id": id, "webhook-timestamp": stamp,
			"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac(key, id+"."+stamp+"."+pushed)),
		})
		return status
	}
	w.wants("an hour old", deliver("a", time.Now().Add(-time.Hour)), http.StatusUnauthorized)
	w.repo.push(tidepool.V1058)
	w.wants("signed", deliver("b", time.Now()), http.StatusAccepted)
	w.p.awaitTarget(1, "10.5.8")
	b.visit("/distributions/1/webhooks")
	b.examine("three")
}

func (w *hookTest) end() {
	b, gone := w.b, w.address
	b.visit("/webhooks/3")
	b.pressOn("details.fold > summary")
	b.examine("delete")
	b.press("Delete the webhook")
	b.lands(`^/distributions/1/webhooks$`)
	b.sees("Deleted.")
	w.address = gone
	status, _ := w.send("push", "9", pushed)
	w.wants("a deleted webhook", status, http.StatusNotFound)
	w.p.quiet()
	w.h.stop()
	files := []string{w.h.logFile(), w.h.path("control", "hefring.db"), w.h.path("control", "hefring.db-wal")}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
		for _, secret := range w.secrets {
			if strings.Contains(string(text), secret) {
				w.t.Errorf("%s holds a secret in the clear", file)
			}
		}
	}
}
