package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

// rest has a name that is not one of its methods.
type rest = api.Fleet

// fake answers for one user, one site and one platform. What a test does not
// expect to be called is nil and panics.
type fake struct {
	rest

	by, did string
	role    models.Role
	err     error
}

func (f *fake) as(by models.Actor) api.Fleet {
	f.by = by.Name
	return f
}

func (f *fake) Actor() models.Actor { return models.Actor{Name: f.by, Role: f.role} }

const good = "hefring_good"

func (f *fake) UseToken(_ context.Context, token string) (models.Actor, error) {
	if token != good {
		return models.Actor{}, models.Errorf(models.Forbidden, "This token is not known.")
	}
	return models.Actor{UserID: 1, Name: "ada", Role: models.RoleAdministrator, Token: "Deployment"}, nil
}

// Recall remembers nothing.
func (f *fake) Recall(context.Context, fleet.Keyed) ([]byte, bool, error) { return nil, true, nil }

func (f *fake) Remember(context.Context, fleet.Keyed, []byte) error { return nil }

func (f *fake) Forget(context.Context, fleet.Keyed) error { return nil }

func (f *fake) SiteNamed(_ context.Context, uri string) (models.Site, error) {
	if uri != "museum.example.org" {
		return models.Site{}, models.Errorf(models.NotFound, "There is no site %s.", uri)
	}
	return models.Site{ID: 7, URI: uri, PlatformID: 3}, nil
}

func (f *fake) PlatformNamed(_ context.Context, name string) (models.Platform, error) {
	if name != "thunder-a1" {
		return models.Platform{}, models.Errorf(models.NotFound, "There is no platform %s.", name)
	}
	return models.Platform{ID: 3, Name: name}, nil
}

func (f *fake) Sites(context.Context, fleet.Filter) ([]fleet.SiteRow, int, error) {
	target := &models.Platform{ID: 4, Name: "thunder-b2"}
	row := fleet.SiteRow{Site: models.Site{ID: 7, URI: "museum.example.org", State: models.SiteEnabled, PlatformID: 3}, Platform: models.Platform{Name: "thunder-a1"}, Target: target}
	return []fleet.SiteRow{row}, 1, nil
}

func (f *fake) SiteURL(s models.Site) string { return "http://" + s.URI + "/" }

func (f *fake) task(what string) (models.Task, error) {
	f.did = what
	return models.Task{ID: 12, Kind: models.TaskBackup, State: models.TaskQueued}, f.err
}

func (f *fake) BackupSite(_ context.Context, id int64, note string, _ bool) (models.Task, error) {
	return f.task("backup " + note)
}

func (f *fake) ConfigureSite(_ context.Context, _ int64, in fleet.SiteSettings) (models.Task, error) {
	return f.task("configure " + strings.Join(in.Aliases, ",") + " " + in.CronEvery.String())
}

func (f *fake) CreateSite(_ context.Context, in fleet.NewSite) (models.Site, error) {
	f.did = "install " + in.URI + " " + in.Profile + " " + in.Once
	return models.Site{ID: 8, URI: in.URI}, f.err
}

func (f *fake) CloneSite(_ context.Context, in fleet.NewClone) (models.Site, error) {
	f.did = "clone " + in.URI
	if in.ServerID != nil {
		f.did += fmt.Sprint(" to ", *in.ServerID)
	}
	return models.Site{ID: 9, URI: in.URI}, f.err
}

func (f *fake) ServerNamed(_ context.Context, name string) (models.Server, error) {
	if name != "web2" {
		return models.Server{}, models.Errorf(models.NotFound, "There is no server %s.", name)
	}
	return models.Server{ID: 2, Name: name}, nil
}

func (f *fake) ServerRow(ctx context.Context, name string) (fleet.ServerRow, error) {
	s, err := f.ServerNamed(ctx, name)
	return fleet.ServerRow{Server: s, Lives: true}, err
}

func (f *fake) ServerPlatforms(_ context.Context, id int64) ([]fleet.ServerPlatformRow, error) {
	return []fleet.ServerPlatformRow{{Server: "web2", Platform: fmt.Sprint("thunder-a", id), ServerPlatform: models.ServerPlatform{State: models.PlatformNotThere, Reason: "No room."}}}, nil
}

func (f *fake) DatabaseServerNamed(context.Context, string) (int64, error) { return 0, nil }

func (f *fake) SubjectTasks(context.Context, []models.Subject, int) ([]models.Task, error) {
	if strings.HasPrefix(f.did, "clone") && strings.Contains(f.did, " to ") {
		return []models.Task{{ID: 14, Kind: models.TaskClone, ParentID: new(int64(12))}}, nil
	}
	return []models.Task{{ID: 13, Kind: models.TaskInstall}}, nil
}

func (f *fake) Task(context.Context, int64) (models.Task, error) { return models.Task{ID: 12}, nil }

func (f *fake) Lines(_ context.Context, _, after int64, _ int) ([]models.TaskLine, error) {
	return []models.TaskLine{{ID: after + 1, Text: "one"}, {ID: after + 2, Text: "two"}}, nil
}

// ask sends a request with the good token and gives status and answer.
func ask(t *testing.T, f *fake, method, path, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, api.Prefix+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+good)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "k1")
	w := httptest.NewRecorder()
	api.New(f, f.as, nil, "test").ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s %s: %d %q", method, path, w.Code, w.Body)
	}
	return w.Code, answer
}

// silent is a database that does not answer.
type silent struct {
	*fake

	tokens, keys bool // whether it does not answer for them already
}

func (s *silent) UseToken(ctx context.Context, token string) (models.Actor, error) {
	if s.tokens {
		<-ctx.Done()
		return models.Actor{}, ctx.Err()
	}
	return s.fake.UseToken(ctx, token)
}

func (s *silent) Recall(ctx context.Context, _ fleet.Keyed) ([]byte, bool, error) {
	if s.keys {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	return nil, true, nil
}

func (s *silent) Forget(ctx context.Context, _ fleet.Keyed) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *silent) SiteNamed(ctx context.Context, _ string) (models.Site, error) {
	<-ctx.Done()
	return models.Site{}, fmt.Errorf("load site: %w", ctx.Err())
}

func TestNew_DatabaseDoesNotAnswer_SaysSoInTime(t *testing.T) {
	for name, c := range map[string]struct {
		silent
		method, path, key string
		after             time.Duration
	}{
		"token":         {silent{tokens: true}, http.MethodGet, "/sites/museum.example.org", "", 15 * time.Second},
		"read":          {silent{}, http.MethodGet, "/sites/museum.example.org", "", 15 * time.Second},
		"key":           {silent{keys: true}, http.MethodPost, "/sites/museum.example.org/verify", "k", 15 * time.Second},
		"with a key":    {silent{}, http.MethodPost, "/sites/museum.example.org/verify", "k", 30 * time.Second}, // the key is given free
		"asks a server": {silent{}, http.MethodPost, "/sites/museum.example.org/login", "", 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.fake = &fake{}
				r := httptest.NewRequestWithContext(t.Context(), c.method, api.Prefix+c.path, nil)
				r.Header.Set("Authorization", "Bearer "+good)
				if c.key != "" {
					r.Header.Set("Idempotency-Key", c.key)
				}
				w := httptest.NewRecorder()
				began := time.Now()
				api.New(&c.silent, func(models.Actor) api.Fleet { return &c.silent }, nil, "test").ServeHTTP(w, r)
				if took := time.Since(began); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || took != c.after {
					t.Errorf("after %s, want %s: status %d, Retry-After %q", took, c.after, w.Code, w.Header().Get("Retry-After"))
				}
				if w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "cannot reach its database") {
					t.Errorf("%s: %s", w.Header().Get("Content-Type"), w.Body)
				}
			})
		})
	}
}

func TestNew_Describes_EveryOperationAndAsksForAToken(t *testing.T) {
	f := &fake{}
	handler := api.New(f, f.as, nil, "test")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/openapi.json", nil))
	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			ID         string `json:"operationId"`
			Summary    string `json:"summary"`
			Parameters []struct {
				Name, In string
				Required bool
			} `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Fatalf("no description of OpenAPI 3.1: %v %.200s", err, w.Body)
	}
	operations := 0
	names := strings.NewReplacer("{site}", "museum.example.org", "{platform}", "thunder-a1", "{other}", "thunder-b2", "{database}", "main", "{backup}", "1", "{task}", "1", "{distribution}", "thunder", "{queue}", "git", "{host}", "example.org", "{webhook}", "1", "{secret}", "1",
		"{channel}", "all", "{message}", "1", "{user}", "ada", "{client}", "Museum", "{token}", "Deployment", "{event}", "1")
	for path, methods := range document.Paths {
		for method, o := range methods {
			operations++
			if o.ID == "" || o.Summary == "" {
				t.Errorf("%s %s says nothing of itself", method, path)
			}
			query := url.Values{}
			for _, p := range o.Parameters {
				if p.In == "query" && p.Required {
					query.Set(p.Name, "x")
				}
			}
			for _, token := range []string{"", "Bearer hefring_bad", "Basic " + good, good} {
				r := httptest.NewRequestWithContext(t.Context(), strings.ToUpper(method), api.Prefix+names.Replace(path)+"?"+query.Encode(), nil)
				r.Header.Set("Authorization", token)
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r) // anything but UseToken panics
				if w.Code != http.StatusUnauthorized && w.Code != http.StatusBadRequest && w.Code != http.StatusUnprocessableEntity {
					t.Errorf("%s %s without a token: %d", method, path, w.Code)
				}
			}
		}
	}
	if operations < 90 {
		t.Errorf("%d operations are described", operations)
	}
}

// A clone for another server is answered with the task over its parts, and takes what a
// move takes.
func TestNew_CloneSite_ToAServer(t *testing.T) {
	for _, one := range []struct {
		server, did string
		role        models.Role
		code        int
		task        float64
	}{
		{"", "clone copy.example.org", "", http.StatusAccepted, 13},
		{"web2", "clone copy.example.org to 2", models.RoleManager, http.StatusAccepted, 12},
		{"local", "clone copy.example.org to 0", models.RoleManager, http.StatusAccepted, 12},
		{"web2", "", models.RoleOperator, http.StatusForbidden, 0},
		{"web9", "", models.RoleManager, http.StatusNotFound, 0},
	} {
		f := &fake{role: one.role}
		code, answer := ask(t, f, "POST", "/clones", `{"from_site":"museum.example.org","uri":"copy.example.org","server":"`+one.server+`"}`)
		if code != one.code || f.did != one.did {
			t.Errorf("to %q as %q: %d, did %q: %v", one.server, one.role, code, f.did, answer)
		}
		if task, _ := answer["task"].(map[string]any); one.task != 0 && task["id"] != one.task {
			t.Errorf("to %q: the task is %v, want %v", one.server, answer, one.task)
		}
	}
}

func TestNew_GetServer(t *testing.T) {
	code, answer := ask(t, &fake{}, "GET", "/servers/web2", "")
	if code != http.StatusOK || answer["name"] != "web2" || answer["alive"] != true {
		t.Errorf("%d %v", code, answer)
	}
	there, _ := answer["delivered"].([]any)
	if len(there) != 1 || there[0].(map[string]any)["platform"] != "thunder-a2" || there[0].(map[string]any)["reason"] != "No room." {
		t.Errorf("delivered: %v", there)
	}
}

// People read of every operation what machines do.
func TestHandler_Reference_HasEveryOperation(t *testing.T) {
	f := &fake{}
	ref := api.New(f, f.as, nil, "test").Reference()
	operations, named := 0, map[string]bool{}
	for _, schema := range ref.Schemas {
		named[schema.Name] = true
	}
	for _, group := range ref.Groups {
		for _, o := range group.Operations {
			operations++
			if o.Summary == "" || o.Status == "" || !strings.HasPrefix(o.Curl, "curl ") {
				t.Errorf("%s says too little: %+v", o.ID, o)
			}
			if s := o.Answer.Schema; s != "" && !named[s] {
				t.Errorf("%s answers with %s, which is not described", o.ID, s)
			}
			if o.ID == "add-client" && !strings.Contains(o.Curl, `{"name":"…"}`) {
				t.Errorf("the example is %s", o.Curl)
			}
		}
	}
	if operations < 90 {
		t.Errorf("%d operations are described", operations)
	}
}

func TestNew_ListSites(t *testing.T) {
	code, answer := ask(t, &fake{}, "GET", "/sites?limit=10", "")
	if code != http.StatusOK || answer["total"] != 1.0 {
		t.Fatalf("%d %v", code, answer)
	}
	site := answer["items"].([]any)[0].(map[string]any)
	for key, want := range map[string]any{"uri": "museum.example.org", "url": "http://museum.example.org/", "upgrade_target": "thunder-b2"} {
		if site[key] != want {
			t.Errorf("%s is %v", key, site[key])
		}
	}
	if code, _ := ask(t, &fake{}, "GET", "/sites?limit=100000", ""); code != http.StatusUnprocessableEntity {
		t.Errorf("a limit of 100000: %d", code)
	}
}

func TestNew_StartsWork(t *testing.T) {
	for _, c := range []struct{ method, path, body, did string }{
		{"POST", "/sites/museum.example.org/backups", `{"note":"fair"}`, "backup fair"},
		{"PUT", "/sites/museum.example.org/settings", `{"aliases":["a.org","b.org"],"cron_seconds":3600}`, "configure a.org,b.org 1h0m0s"},
		{"POST", "/sites", `{"uri":"new.example.org","platform":"thunder-a1"}`, "install new.example.org standard api ada k1"},
	} {
		f := &fake{}
		code, answer := ask(t, f, c.method, c.path, c.body)
		if code != http.StatusAccepted || answer["task"] == nil || f.did != c.did || f.by != "ada" {
			t.Errorf("%s %s: %d %v, did %q for %q", c.method, c.path, code, answer, f.did, f.by)
		}
	}
}

func TestNew_Problems_AreRFC9457(t *testing.T) {
	path := "/sites/museum.example.org/backups"
	for _, c := range []struct {
		path, body string
		err        error
		code       int
		detail     string
	}{
		{path, `{}`, models.Errorf(models.Conflict, "It is being worked on."), http.StatusConflict, "It is being worked on."},
		{path, `{}`, models.InvalidField("note", "Use less."), http.StatusUnprocessableEntity, ""},
		{path, `{}`, models.Errorf(models.Unavailable, "The disk is full."), http.StatusServiceUnavailable, "The disk is full."},
		{path, `{}`, fmt.Errorf("load site: %w", &net.OpError{Op: "dial", Err: errors.New("secret of the house")}), http.StatusServiceUnavailable, "Hefring cannot reach its database. Its log has the details; try again in a moment."},
		{path, `{}`, errors.New("secret of the house"), http.StatusInternalServerError, "Something failed inside Hefring. Its log has the details."},
		{path, `{"note":5}`, nil, http.StatusUnprocessableEntity, ""},
		{path, `{"unknown":5}`, nil, http.StatusUnprocessableEntity, ""},
		{path, `{`, nil, http.StatusBadRequest, ""},
		{path, `{"note":"` + strings.Repeat("x", 2<<20) + `"}`, nil, http.StatusRequestEntityTooLarge, ""},
		{"/sites/none.example.org/backups", `{}`, nil, http.StatusNotFound, "There is no site none.example.org."},
	} {
		code, answer := ask(t, &fake{err: c.err}, "POST", c.path, c.body)
		if code != c.code || c.detail != "" && answer["detail"] != c.detail || answer["status"] != float64(c.code) {
			t.Errorf("%.60s: %d %.300v", c.body, code, answer)
		}
		if text, _ := answer["detail"].(string); strings.Contains(text, "secret") {
			t.Errorf("an inner failure is told: %v", answer)
		}
	}
	_, answer := ask(t, &fake{err: models.InvalidField("note", "Use less.")}, "POST", path, `{}`)
	details, _ := answer["errors"].([]any)
	if len(details) != 1 || details[0].(map[string]any)["location"] != "body.note" {
		t.Errorf("the field is not named: %v", answer)
	}
}

// What no operation takes is answered like all that fails.
func TestNew_NoSuchOperation_IsAProblem(t *testing.T) {
	for request, want := range map[string]int{
		"GET /nothing": http.StatusNotFound, "GET /": http.StatusNotFound, "DELETE /sites//backups": http.StatusNotFound, "GET //sites": http.StatusNotFound, "GET /x/../sites": http.StatusNotFound, "POST /sites/a/b/c": http.StatusNotFound,
		"PUT /sites": http.StatusMethodNotAllowed, "DELETE /fleet": http.StatusMethodNotAllowed, "OPTIONS /sites": http.StatusMethodNotAllowed,
	} {
		method, path, _ := strings.Cut(request, " ")
		for _, key := range []string{"", "once"} {
			r := httptest.NewRequestWithContext(t.Context(), method, api.Prefix+path, nil)
			r.Header.Set("Authorization", "Bearer "+good)
			if key != "" {
				r.Header.Set("Idempotency-Key", key)
			}
			answer := httptest.NewRecorder()
			f := &fake{}
			api.New(f, f.as, nil, "test").ServeHTTP(answer, r)
			var problem struct {
				Title, Detail string
				Status        int
			}
			err := json.Unmarshal(answer.Body.Bytes(), &problem)
			if err != nil || answer.Code != want || problem.Status != want || problem.Title == "" || problem.Detail == "" || answer.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %v %s", request, answer.Code, answer.Header(), answer.Body)
			}
			if allow := answer.Header().Get("Allow"); (allow != "") != (want == http.StatusMethodNotAllowed) {
				t.Errorf("%s allows %q", request, allow)
			}
		}
	}
}

// What an operation would not heed is refused before anything is looked at, by every
// one of them; see TestNew_Describes_EveryOperationAndAsksForAToken for the others.
func TestNew_Strays_AreRefusedAndNamed(t *testing.T) {
	f := &fake{}
	handler := api.New(f, f.as, nil, "test")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/openapi.json", nil))
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	operations := 0
	for path, methods := range document.Paths {
		for method := range methods {
			operations++
			// Without a token: anything but the refusal is another status, or panics.
			r := httptest.NewRequestWithContext(t.Context(), strings.ToUpper(method), api.Prefix+path+"?behnd=true", nil)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "query.behnd") || !strings.Contains(w.Body.String(), "It takes ") {
				t.Errorf("%s %s?behnd=true: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
	if operations < 90 {
		t.Errorf("%d operations were tried", operations)
	}
	for _, c := range []struct{ method, path, body, says string }{
		{"GET", "/sites?behnd=true&limit=5", "", "It takes in the query: behind, cursor, limit, query, state."},
		{"GET", "/sites?limit=5&limit=6", "", "Give it once."},
		{"GET", "/sites?Behind=true", "", "query.Behind"},
		{"GET", "/sites?behind=true;limit=5", "", "cannot be read"},
		{"GET", "/sites?behind=%zz", "", "cannot be read"},
		{"GET", "/sites?" + strings.Repeat("x", 5000) + "=1", "", `query.xxx`},
		{"POST", "/sites/museum.example.org/upgrade", `{"to":"thunder-a1"}`, "takes no body, and would not heed this one, so nothing was done. It takes in the query: to."},
		{"POST", "/sites/museum.example.org/verify", `no JSON at all`, "It takes nothing in the query."},
	} {
		code, answer := ask(t, f, c.method, c.path, c.body)
		if text := fmt.Sprint(answer); code < 400 || code > 499 || !strings.Contains(text, c.says) || len(text) > 1000 || answer["status"] != float64(code) {
			t.Errorf("%s %.60s: %d %.500v", c.method, c.path, code, answer)
		}
	}
	for _, body := range []string{"", " {} ", "null"} {
		if code, answer := ask(t, f, "GET", "/sites?behind=true", body); code != http.StatusOK {
			t.Errorf("a body of %q: %d %v", body, code, answer)
		}
	}
}

// What is wrong with a body is said without the body: there are passwords in some.
func TestNew_Problems_DoNotRepeatTheBody(t *testing.T) {
	for _, body := range []string{
		`{"name":"eva","role":"viewer","pass":"hunter2 hunter2"}`, `{"name":"eva","role":5,"password":"hunter2 hunter2"}`, `{"password":"hunter2 hunter2"`,
	} {
		code, answer := ask(t, &fake{}, "POST", "/users", body)
		if code < 400 || code >= 500 || strings.Contains(fmt.Sprint(answer), "hunter2") {
			t.Errorf("%s: %d %v", body, code, answer)
		}
	}
}

func TestNew_TaskLog_ReadsOn(t *testing.T) {
	_, answer := ask(t, &fake{}, "GET", "/tasks/12/log?after=40", "")
	if answer["next"] != 42.0 {
		t.Errorf("next is %v", answer["next"])
	}
}

// A client that sends nothing must not hold a request open for ever; the limits
// of the HTTP server see to that, and a body that breaks off is refused.
func TestNew_BrokenBody(t *testing.T) {
	body, w := io.Pipe()
	_ = w.CloseWithError(errors.New("gone"))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, api.Prefix+"/sites/museum.example.org/backups", body)
	r.Header.Set("Authorization", "Bearer "+good)
	answer := httptest.NewRecorder()
	begin := time.Now()
	f := &fake{}
	api.New(f, f.as, nil, "test").ServeHTTP(answer, r)
	if answer.Code < 400 || time.Since(begin) > 10*time.Second {
		t.Errorf("a body that breaks off: %d", answer.Code)
	}
}

// A state that there is not is refused and those that there are are named, in answers and
// in the document.
func TestNew_States_AreThoseThatThereAre(t *testing.T) {
	f := &fake{}
	w := httptest.NewRecorder()
	api.New(f, f.as, nil, "test").ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/openapi.json", nil))
	var document struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name   string `json:"name"`
				Schema struct {
					Enum []string `json:"enum"`
				} `json:"schema"`
			} `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	sites := slices.DeleteFunc(words(models.SiteTransitions().States()), func(s string) bool { return s == "deleted" })
	for _, c := range []struct {
		path, name string
		known      []string
	}{
		{"/sites", "state", sites},
		{"/servers/{name}/sites", "state", sites},
		{"/platforms", "state", words(models.PlatformTransitions().States())},
		{"/tasks", "state", words(models.TaskTransitions().States())},
		{"/distributions", "state", words(models.AllConditions())},
		{"/audit", "kind", words(models.SubjectKinds())},
		{"/audit", "door", words(models.Doors())},
	} {
		var listed []string
		for _, p := range document.Paths[c.path]["get"].Parameters {
			if p.Name == c.name {
				listed = p.Schema.Enum
			}
		}
		slices.Sort(listed)
		slices.Sort(c.known)
		if !slices.Equal(listed, c.known) {
			t.Errorf("%s: the document lists %v of %s, there are %v", c.path, listed, c.name, c.known)
		}
		code, answer := ask(t, f, http.MethodGet, strings.Replace(c.path, "{name}", "web1", 1)+"?"+c.name+"=nothing", "")
		if text := fmt.Sprint(answer); code != http.StatusUnprocessableEntity || !strings.Contains(text, "query."+c.name) || !strings.Contains(text, c.known[0]) {
			t.Errorf("%s: %d %v", c.path, code, answer)
		}
	}
}

func words[S ~string](list []S) []string {
	var texts []string
	for _, one := range list {
		texts = append(texts, string(one))
	}
	return texts
}

// secretless has no secret settings.
type secretless struct{}

func (secretless) SecretsSet(models.Distribution) map[string]bool { return nil }

func TestDistributionView_TokenInTheAddress_IsNotShown(t *testing.T) {
	row := fleet.DistributionRow{Distribution: models.Distribution{Settings: models.Settings{"url": "https://example.org/a.make?private_token=hunter2"}}}
	if got := api.DistributionView(secretless{})(row).Source.Settings["url"]; got != "https://example.org/a.make?private_token=…" {
		t.Errorf("shown as %s", got)
	}
	if row.Settings["url"] == "https://example.org/a.make?private_token=…" {
		t.Error("what is stored has changed")
	}
}
