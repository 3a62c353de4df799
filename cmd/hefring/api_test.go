package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

// caller asks the API with a token.
type caller struct {
	*testing.T

	app     *app
	handler http.Handler
	token   string
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	a, _ := staffed(t)
	seedSite(t, a)
	p := &caller{T: t, app: a}
	p.restart()
	token, err := a.fleet.CreateToken(t.Context(), "test", fleet.NewToken{User: "administrator-0", Name: "Program", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	p.token = token
	return p
}

// restart makes another server on the same database.
func (p *caller) restart() {
	p.handler = api.New(p.app.fleet, func(by models.Actor) api.Fleet { return p.app.fleet.For(by) }, nil, "test")
}

func (p *caller) ask(method, path, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(p.Context(), method, api.Prefix+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return w
}

func (p *caller) clients() int {
	p.Helper()
	rows, err := p.app.fleet.For(models.Actor{Role: models.RoleAdministrator}).Clients(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	return len(rows)
}

func TestAPI_Key_DoesARequestOnce(t *testing.T) {
	p := newCaller(t)
	before := p.clients()
	first := p.ask("POST", "/clients", "k1", `{"name":"Library"}`)
	p.restart()
	second := p.ask("POST", "/clients", "k1", `{"name":"Library"}`)
	if first.Code != http.StatusOK || second.Code != first.Code || second.Body.String() != first.Body.String() || second.Header().Get("Idempotency-Replayed") != "true" {
		t.Fatalf("%d %s, then %d %s", first.Code, first.Body, second.Code, second.Body)
	}
	if n := p.clients(); n != before+1 {
		t.Errorf("%d clients were made", n-before)
	}
	if other := p.ask("POST", "/clients", "k1", `{"name":"Archive"}`); other.Code != http.StatusUnprocessableEntity {
		t.Errorf("another body with the same key: %d %s", other.Code, other.Body)
	}
	if other := p.ask("POST", "/queues/git/pause", "k1", ``); other.Code != http.StatusUnprocessableEntity {
		t.Errorf("another request with the same key: %d %s", other.Code, other.Body)
	}
	if long := p.ask("POST", "/clients", strings.Repeat("k", 256), `{"name":"Archive"}`); long.Code != http.StatusUnprocessableEntity {
		t.Errorf("a key that is too long: %d", long.Code)
	}
	// What was refused did nothing, and may succeed later.
	if taken := p.ask("POST", "/clients", "k2", `{"name":"Library"}`); taken.Code != http.StatusConflict {
		t.Errorf("a name that is taken: %d", taken.Code)
	}
	if gone := p.ask("DELETE", "/clients/Library", "k3", ""); gone.Code != http.StatusOK {
		t.Errorf("delete: %d %s", gone.Code, gone.Body)
	}
	if made := p.ask("POST", "/clients", "k2", `{"name":"Library"}`); made.Code != http.StatusOK {
		t.Errorf("the same request once more: %d %s", made.Code, made.Body)
	}
}

// A secret that is shown once is found in the database by nobody, also when its answer
// is remembered.
func TestAPI_Key_SealsSecrets(t *testing.T) {
	p := newCaller(t)
	first := p.ask("POST", "/users/administrator-0/tokens", "k1", `{"name":"Second"}`)
	again := p.ask("POST", "/users/administrator-0/tokens", "k1", `{"name":"Second"}`)
	if first.Code != http.StatusOK || again.Body.String() != first.Body.String() {
		t.Fatalf("%d %s, then %s", first.Code, first.Body, again.Body)
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(first.Body.Bytes(), &made); err != nil || made.Token == "" {
		t.Fatalf("no token: %v", err)
	}
	err := filepath.WalkDir(p.app.cfg.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(made.Token)) || bytes.Contains(content, []byte(base64.StdEncoding.EncodeToString([]byte(made.Token)))) {
			t.Errorf("the token lies open in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Of many at once one does it.
func TestAPI_Key_ManyAtOnce(t *testing.T) {
	p := newCaller(t)
	var wait sync.WaitGroup
	answers := make([]int, 8)
	for i := range answers {
		wait.Go(func() { answers[i] = p.ask("POST", "/users/administrator-0/tokens", "k1", `{"name":"Second"}`).Code })
	}
	wait.Wait()
	if !slices.Contains(answers, http.StatusOK) {
		t.Errorf("nobody succeeded: %v", answers)
	}
	for _, code := range answers {
		if code != http.StatusOK && code != http.StatusConflict {
			t.Errorf("answers %v", answers)
		}
	}
	if list, err := p.app.fleet.Tokens(t.Context(), "administrator-0"); err != nil || len(list) != 2 {
		t.Errorf("%d tokens: %v", len(list), err)
	}
}

// A list is read to its end in parts, whatever is added meanwhile.
func TestAPI_Cursor_IsStableUnderInserts(t *testing.T) {
	p := newCaller(t)
	for i := range 7 {
		if w := p.ask("POST", "/clients", "", fmt.Sprintf(`{"name":"C%02d"}`, i*10)); w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
	}
	var names []string
	path := "/clients?limit=2"
	for part := 0; path != ""; part++ {
		w := p.ask("GET", path, "", "")
		var page struct {
			Items []struct{ Name string } `json:"items"`
			Total int                     `json:"total"`
			Next  string                  `json:"next"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK || len(page.Items) > 2 {
			t.Fatalf("%d %s %v", w.Code, w.Body, err)
		}
		for _, one := range page.Items {
			names = append(names, one.Name)
		}
		p.ask("POST", "/clients", "", fmt.Sprintf(`{"name":"A%02d"}`, part)) // before the place
		path = ""
		if page.Next != "" {
			link := w.Header().Get("Link")
			target, rest, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
			at, err := url.Parse(target)
			if err != nil || rest != `; rel="next"` || at.Query().Get("cursor") != page.Next || at.Query().Get("limit") != "2" {
				t.Fatalf("the link %q is wrong: %v", link, err)
			}
			path = strings.TrimPrefix(target, api.Prefix)
		}
	}
	if want := []string{"C00", "C10", "C20", "C30", "C40", "C50", "C60", "Museum"}; !slices.Equal(names, want) {
		t.Errorf("read %v", names)
	}
	for _, wrong := range []string{"x", "e30", "bnVsbA", strings.Repeat("A", 1000)} {
		if w := p.ask("GET", "/clients?cursor="+wrong, "", ""); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("cursor %.10q: %d", wrong, w.Code)
		}
	}
}

// What a program does is in the record with its token, and what that allows.
func TestAPI_Token_IsInTheRecord(t *testing.T) {
	p := newCaller(t)
	all := p.token
	for name, said := range map[string]string{
		`"name":"Plain"`: "Plain", `"name":"Lock","role":"manager"`: "Lock (manager)", `"name":"Fair","role":"viewer","client":"Museum"`: "Fair (viewer, sites of Museum)",
	} {
		p.token = all
		made := p.ask("POST", "/users/administrator-0/tokens", "", "{"+name+"}")
		var answer struct {
			Token string `json:"token"`
		}
		if err := json.Unmarshal(made.Body.Bytes(), &answer); err != nil || made.Code != http.StatusOK {
			t.Fatalf("%d %s %v", made.Code, made.Body, err)
		}
		by, err := p.app.fleet.UseToken(t.Context(), answer.Token)
		if err != nil || by.Entrance.Token != said {
			t.Errorf("%s comes as %+v: %v", name, by, err)
		}
		p.token = answer.Token
		p.ask("POST", "/platforms/thunder-1/lock", "", "")
		p.ask("POST", "/platforms/thunder-1/unlock", "", "")
	}
	p.token = all
	w := p.ask("GET", "/audit?verb=lock", "", "")
	for _, want := range []string{`"token":"Plain"`, `"token":"Lock (manager)"`, `"door":"api"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the record lacks %s: %s", want, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), "Fair") {
		t.Errorf("who was refused did something: %s", w.Body)
	}
	here := newProgram(t)
	here.env = []string{"HEFRING_DATA=" + p.app.cfg.Data}
	if got := here.run(t, "audit", "--verb", "lock"); !strings.Contains(got.out, "administrator-0 with the token Lock (manager)") {
		t.Errorf("the command says %s%s", got.out, got.err)
	}
}

// A token that is narrowed gets no further than it says, by any operation.
func TestAPI_Token_IsNarrowed(t *testing.T) {
	p := newCaller(t)
	made := p.ask("POST", "/users/administrator-0/tokens", "", `{"name":"Reader","role":"viewer","client":"Museum"}`)
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(made.Body.Bytes(), &answer); err != nil || made.Code != http.StatusOK {
		t.Fatalf("%d %s %v", made.Code, made.Body, err)
	}
	p.token = answer.Token
	for path, want := range map[string]int{
		"/sites": http.StatusOK, "/sites/nobodys.example.org": http.StatusNotFound, "/platforms": http.StatusForbidden, "/users": http.StatusForbidden,
		"/users/administrator-0/tokens": http.StatusForbidden,
	} {
		if w := p.ask("GET", path, "", ""); w.Code != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// Nothing before the API leads a program to another address than the one it asked for.
func TestApp_WithWorkers_LeavesAddressesAlone(t *testing.T) {
	p := newCaller(t)
	p.handler = p.app.withWorkers(p.handler)
	for _, path := range []string{"/users//sites", "//sites", "/users/../sites"} {
		if w := p.ask(http.MethodGet, path, "", ""); w.Code != http.StatusNotFound || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d to %q: %s", path, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
	if w := p.ask(http.MethodGet, "/sites", "", ""); w.Code != http.StatusOK {
		t.Errorf("/sites: %d %s", w.Code, w.Body)
	}
}
