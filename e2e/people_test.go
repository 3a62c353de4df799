package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// What those do who look after people and are told of things, each step through
// the browser, every page looked at closely.
func TestPeople(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	p := &peopleTest{t: t, h: h, b: h.browser(), j: h.journal()}
	p.b.signIn(h)
	p.addsClient()
	p.addsUser()
	ada := p.comesIn()
	p.secures(ada)
	p.makesToken(ada)
	p.isTold()
	p.shutsOut(ada)
}

type peopleTest struct {
	t *testing.T
	h *hefring
	b *browser // the administrator's
	j *journal

	key string // of the second factor
}

const newPassword = "four tides under moss"

func (p *peopleTest) addsClient() {
	b := p.b
	b.open("/clients")
	b.press("Add a client")
	b.lands(`^/clients/new$`)
	b.press("Add the client")
	b.until(10*time.Second, "the name is missed", `document.getElementById('name-e')`)
	b.examine("refused")
	b.fill("name", "Museums")
	for name, theme := range map[string]string{"Light": "light", "Dark": "dark"} {
		b.press(name)
		b.until(10*time.Second, "the theme is "+theme, `document.documentElement.dataset.theme === "`+theme+`"`)
	}
	b.press("System")
	b.until(10*time.Second, "the theme is the system's", `!("theme" in document.documentElement.dataset)`)
	if typed := b.value("name"); typed != "Museums" {
		p.t.Errorf("choosing a theme left %q of what was typed", typed)
	}
	b.press("Add the client")
	b.lands(`^/clients`)
	b.sees("Museums")
	b.open("/clients/1")
	b.open("/clients")
}

func (p *peopleTest) addsUser() {
	b := p.b
	b.open("/users")
	b.press("Add a user")
	b.lands(`^/users/new$`)
	b.examine("")
	b.press("Add the user")
	b.until(10*time.Second, "the name is missed", `document.getElementById('name-e')`)
	b.examine("refused")
	b.fill("name", "ada")
	b.choose("role", "operator")
	b.choose("client", "1")
	b.press("Add the user")
	b.lands(`^/users`)
	b.sees("ada")
	b.open("/users")
	b.show("users")
}

// comesIn signs the user in by the link that the administrator makes.
func (p *peopleTest) comesIn() *browser {
	b := p.b
	b.visit("/users/" + p.j.text(`SELECT id FROM users WHERE name = 'ada'`))
	b.press("Make a one-time link")
	b.sees("is not shown again")
	b.examine("link")
	ada := p.h.browser()
	ada.visit(b.text(`document.getElementById('login-link').innerText`))
	ada.press("Sign in")
	ada.lands(`^/$`)
	ada.open("/sites")
	if text := ada.text(`document.querySelector('nav').innerText`); strings.Contains(text, "Users") || strings.Contains(text, "Queues") {
		p.t.Errorf("a client's user is led to what is not theirs:\n%s", text)
	}
	ada.visit("/users")
	ada.sees("cannot")
	ada.examine("forbidden")
	return ada
}

func (p *peopleTest) secures(ada *browser) {
	ada.open("/account")
	ada.fill("password", "password")
	ada.fill("again", "password")
	ada.press("Set a password")
	ada.until(10*time.Second, "a weak password is refused", `document.querySelector('[id$="password-e"]')`)
	ada.examine("weak password")
	ada.fill("password", newPassword)
	ada.fill("again", newPassword)
	ada.press("Set a password")
	ada.until(15*time.Second, "the password is set", `document.body.innerText.includes('Change the password')`)

	ada.press("Set up a second factor")
	ada.lands(`^/account/second-factor`)
	ada.examine("")
	p.key = ada.value("#key")
	ada.fill("code", "000000")
	ada.press("Turn it on")
	ada.until(10*time.Second, "a wrong code is refused", `document.getElementById('code-e')`)
	ada.examine("wrong code")
	ada.fill("code", p.code(0))
	ada.press("Turn it on")
	ada.sees("Your recovery codes")
	ada.examine("codes")
	ada.press("I have them")
	ada.lands(`^/account$`)
	ada.examine("secured")

	again := p.h.browser()
	again.visit("/login")
	again.fill("name", "ada")
	again.fill("password", newPassword)
	again.press("Sign in")
	again.lands(`^/login/code`)
	again.examine("second factor")
	again.fill("code", p.code(30*time.Second)) // a code is good once
	again.press("Sign in")
	again.lands(`^/$`)
	ada.visit("/account")
	ada.press("Sign out everywhere else")
	ada.until(10*time.Second, "the other session is gone", `!document.body.innerText.includes('Sign out everywhere else')`)
	again.visit("/account")
	again.lands(`^/login`)
}

// code is what a telephone shows some time from now.
func (p *peopleTest) code(later time.Duration) string {
	p.t.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(p.key, " ", ""), time.Now().Add(later))
	if err != nil {
		p.t.Fatal(err)
	}
	return code
}

func (p *peopleTest) makesToken(ada *browser) {
	ada.visit("/account")
	ada.fill("name", "Deployment")
	ada.press("Make a token and show it")
	ada.sees("Copy it now")
	ada.examine("token")
	token := ada.value("#token")
	if kept := p.j.number(`SELECT COUNT(*) FROM tokens WHERE name = 'Deployment'`); token == "" || kept != 1 {
		p.t.Errorf("token %q, %d kept", token, kept)
	}
	ada.press("I have it")
	ada.lands(`^/account$`)
	ada.sees("Deployment")
	ada.examine("with a token")
}

// isTold sets up a webhook that does not answer at first.
func (p *peopleTest) isTold() {
	b := p.b
	answer := http.StatusServiceUnavailable
	heard := make(chan string, 4)
	pager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			p.t.Error(err)
		}
		heard <- string(body)
		w.WriteHeader(answer)
	}))
	defer pager.Close()
	b.open("/notices")
	b.press("Add a channel")
	b.lands(`^/notices/new$`)
	b.examine("")
	b.press("Save")
	b.until(10*time.Second, "the name is missed", `document.getElementById('name-e')`)
	b.examine("refused")
	b.fill("name", "Pager")
	b.choose("kind", "webhook")
	b.fill("url", pager.URL+"/hook")
	b.press("Save")
	b.sees("Copy it now")
	b.examine("secret")
	b.visit("/notices/1")
	b.press("Test")
	b.sees("answered 503")
	b.examine("not delivered")
	answer = http.StatusOK
	b.press("Test")
	b.sees("Delivered.")
	for range 2 {
		if body := <-heard; !strings.Contains(body, "Pager") {
			p.t.Errorf("the channel was told %q", body)
		}
	}
	b.show("notices")
	b.open("/notices")
}

// shutsOut disables the account, which ends what it is signed in to.
func (p *peopleTest) shutsOut(ada *browser) {
	b := p.b
	b.visit(fmt.Sprintf("/users/%d", p.j.number(`SELECT id FROM users WHERE name = 'ada'`)))
	b.pressOn("#disabled")
	b.press("Save")
	b.until(10*time.Second, "the account is shut", `document.body.innerText.includes('May not sign in')`)
	b.open("/users")
	ada.visit("/account")
	ada.lands(`^/login`)
	for _, path := range []string{"/settings", "/audit", "/api/docs", "/webhooks", "/queues", "/databases"} {
		b.open(path)
	}
}
