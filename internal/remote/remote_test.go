package remote_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hefring/internal/fleet"
	"hefring/internal/remote"
	"hefring/models"
)

// control is a control plane with one worker.
type control struct{ broken bool }

func (c control) JoinServer(_ context.Context, in fleet.JoinRequest) ([]byte, error) {
	if in.Token != "good" {
		return nil, models.Errorf(models.NotFound, "This token lets nobody in.")
	}
	return []byte("for " + in.Recipient), nil
}

func (c control) WorkerWithKey(_ context.Context, key string) (models.Server, error) {
	if key != "key" {
		return models.Server{}, models.Errorf(models.Forbidden, "This key is not known.")
	}
	return models.Server{ID: 2, Name: "web2"}, nil
}

func (c control) PackPlatform(_ context.Context, _ models.Server, platformID int64, wanted []byte, w io.Writer) error {
	if platformID != 7 {
		return models.Errorf(models.NotFound, "It is not wanted.")
	}
	if _, err := io.WriteString(w, strings.Repeat("x", 100_000-len(wanted))); err != nil {
		return err
	}
	if c.broken {
		return errors.New("the disk is gone")
	}
	return nil
}

func (c control) MayCarry(_ context.Context, s models.Server, relocationID int64, arriving bool) error {
	if s.ID != 2 || relocationID != 5 && !arriving || relocationID != 6 && arriving {
		return models.Errorf(models.NotFound, "No such site is on its way there.")
	}
	return nil
}

func client(t *testing.T, c control, key string) *remote.Client {
	t.Helper()
	server := httptest.NewServer(remote.Handler(c, remote.Relay{Dir: t.TempDir()}, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	return &remote.Client{Base: server.URL + "/", Key: key, HTTP: server.Client()}
}

func TestClient_Join(t *testing.T) {
	c := client(t, control{}, "")
	sealed, err := c.Join(t.Context(), fleet.JoinRequest{Name: "web2", Token: "good", Recipient: "age1"})
	if err != nil || string(sealed) != "for age1" {
		t.Errorf("%q, %v", sealed, err)
	}
	if _, err := c.Join(t.Context(), fleet.JoinRequest{Token: "bad"}); models.CodeOf(err) != models.NotFound || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a wrong token: %v", err)
	}
}

func TestClient_Fetch(t *testing.T) {
	c := client(t, control{}, "key")
	body, err := c.Fetch(t.Context(), 7, make([]byte, 1000))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil || len(text) != 99_000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if _, err := c.Fetch(t.Context(), 8, nil); models.CodeOf(err) != models.NotFound {
		t.Errorf("a platform that is not wanted: %v", err)
	}
	for _, key := range []string{"", "another"} {
		if _, err := client(t, control{}, key).Fetch(t.Context(), 7, nil); models.CodeOf(err) != models.Forbidden {
			t.Errorf("the key %q: %v", key, err)
		}
	}
}

// What ends early must not look whole.
func TestClient_Fetch_SeesThatItBroke(t *testing.T) {
	body, err := client(t, control{broken: true}, "key").Fetch(t.Context(), 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	if text, err := io.ReadAll(body); err == nil {
		t.Errorf("%d bytes came, and no error", len(text))
	}
}

func TestHandler_Hostile(t *testing.T) {
	h := remote.Handler(control{}, remote.Relay{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	for _, ask := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodPost, "join", "{", http.StatusUnprocessableEntity},
		{http.MethodPost, "join", `{"name":"` + strings.Repeat("x", 100_000) + `"}`, http.StatusUnprocessableEntity},
		{http.MethodPost, "platforms/x", "", http.StatusUnprocessableEntity},
		{http.MethodPost, "platforms/7", strings.Repeat("x", 2<<20), http.StatusUnprocessableEntity},
		{http.MethodGet, "platforms/7", "", http.StatusMethodNotAllowed},
		{http.MethodGet, "nothing", "", http.StatusNotFound},
		{http.MethodDelete, "join", "", http.StatusMethodNotAllowed},
	} {
		r := httptest.NewRequestWithContext(t.Context(), ask.method, remote.Prefix+ask.path, strings.NewReader(ask.body))
		r.Header.Set("Authorization", "Bearer key")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != ask.want {
			t.Errorf("%s %s: %d, want %d", ask.method, ask.path, w.Code, ask.want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for address, fits := range map[string][2]bool{
		"https://hefring.example.org": {true, true}, "http://127.0.0.1:8080": {true, true}, "http://localhost": {true, true},
		"http://10.0.0.1:8080": {false, true}, "http://hefring.example.org": {false, true}, "ftp://x": {false, false}, "": {false, false}, "https://": {false, false},
	} {
		for i, plain := range []bool{false, true} {
			if got := remote.CheckAddress(address, plain) == nil; got != fits[i] {
				t.Errorf("%q with plain %v: %v", address, plain, got)
			}
		}
	}
}
