package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/webtest"
)

// house has a name that is not one of its methods.
type house = webtest.Fleet

// silent is a database that keeps its connections and does not answer.
type silent struct {
	*house
	scs.Store

	sessions, users, sites bool // what it does not answer
}

func (s *silent) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if s.sessions {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	return s.Find(token)
}

func (s *silent) CommitCtx(_ context.Context, token string, b []byte, expiry time.Time) error {
	return s.Commit(token, b, expiry)
}

func (s *silent) DeleteCtx(_ context.Context, token string) error { return s.Delete(token) }

func (s *silent) SessionUser(ctx context.Context, token string, active bool) (models.User, error) {
	if s.users {
		<-ctx.Done()
		return models.User{}, ctx.Err()
	}
	return s.house.SessionUser(ctx, token, active)
}

func (s *silent) Sites(ctx context.Context, f fleet.Filter) ([]fleet.SiteRow, int, error) {
	if s.sites {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	return s.house.Sites(ctx, f)
}

func (s *silent) RollbackPlan(ctx context.Context, _ int64) (fleet.RollbackPlan, error) {
	<-ctx.Done()
	return fleet.RollbackPlan{}, ctx.Err()
}

// asked gives what somebody who is signed in gets, and after how long.
func (s *silent) asked(t *testing.T, server *server, path string, silence func()) (*httptest.ResponseRecorder, time.Duration) {
	t.Helper()
	if _, err := s.Login(t.Context(), "admin", "correct horse", ""); err != nil {
		t.Fatal(err)
	}
	ctx, err := server.sessions.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	server.sessions.Put(ctx, keyUser, "admin")
	token, _, err := server.sessions.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.StartSession(ctx, models.SignIn{Token: sessionKey(token), UserID: 1}); err != nil {
		t.Fatal(err)
	}
	silence()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.AddCookie(&http.Cookie{Name: server.sessions.Cookie.Name, Value: token})
	w := httptest.NewRecorder()
	began := time.Now()
	server.handler().ServeHTTP(w, r)
	return w, time.Since(began)
}

func TestServer_DatabaseDoesNotAnswer_SaysSoInTime(t *testing.T) {
	for name, c := range map[string]struct {
		path    string
		silence func(*silent)
		after   time.Duration
	}{
		"session":           {"/sites", func(s *silent) { s.sessions = true }, 15 * time.Second},
		"user":              {"/sites", func(s *silent) { s.users = true }, 15 * time.Second},
		"list":              {"/sites", func(s *silent) { s.sites = true }, 15 * time.Second},
		"user of a log":     {"/tasks/101/stream", func(s *silent) { s.users = true }, 15 * time.Second},
		"user of an export": {"/audit/export.csv", func(s *silent) { s.users = true }, 15 * time.Second},
		"asks a server":     {"/sites/31/rollback", func(*silent) {}, 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := &silent{house: webtest.Sample(), Store: memstore.NewWithCleanupInterval(0)}
			// Made outside, for it leaves something that runs.
			server := newServer(Config{Front: s, As: func(models.Actor) Fleet { return s }, SessionStore: s, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
			synctest.Test(t, func(t *testing.T) {
				got, took := s.asked(t, server, c.path, func() { c.silence(s) })
				if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" || took != c.after {
					t.Errorf("after %s, want %s: status %d, Retry-After %q", took, c.after, got.Code, got.Header().Get("Retry-After"))
				}
				if strings.HasSuffix(c.path, "/stream") {
					return
				}
				for _, text := range []string{"<!doctype html>", "The database does not answer", "Hefring cannot reach its database", `href="">Try again`} {
					if !strings.Contains(got.Body.String(), text) {
						t.Errorf("the page has no %q", text)
					}
				}
				if got.Header().Get("Content-Security-Policy") == "" {
					t.Error("the page has no policy")
				}
			})
		})
	}
}

// Every route that is given more time is there.
func TestPatience_Routes(t *testing.T) {
	s := newServer(Config{SessionStore: memstore.NewWithCleanupInterval(0)})
	s.echo()
	patient := 0
	for key := range s.needs {
		method, route, _ := strings.Cut(key, " ")
		if patience(method, route) != patience("", "") {
			patient++
		}
	}
	if patient != 14 {
		t.Errorf("%d routes have time of their own", patient)
	}
}
