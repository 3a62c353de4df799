package remote_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hefring/internal/remote"
	"hefring/models"
)

// relayed is a worker on a control plane that breaks connections when it is told to.
func relayed(t *testing.T, key string) (*remote.Client, remote.Relay, *atomic.Int32) {
	t.Helper()
	relay := remote.Relay{Dir: filepath.Join(t.TempDir(), "relay")}
	h := remote.Handler(control{}, relay, slog.New(slog.DiscardHandler))
	breaks := &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/size") && breaks.Add(-1) >= 0 {
			w = &short{ResponseWriter: w, left: 100_000}
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	return &remote.Client{Base: server.URL, Key: key, HTTP: server.Client()}, relay, breaks
}

// short hangs up after some bytes.
type short struct {
	http.ResponseWriter

	left int
}

// Write writes a part.
func (s *short) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return s.ResponseWriter.Write(p)
}

func TestClient_SendAndReceive(t *testing.T) {
	c, relay, breaks := relayed(t, "key")
	text := make([]byte, 1<<20)
	_, _ = rand.Read(text) // never fails
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more replaces it
		if err := c.Send(t.Context(), 5, "first.tar.gz", from); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := relay.Size(5, "first.tar.gz"); err != nil || n != 1<<20 {
		t.Errorf("%d bytes are there, %v", n, err)
	}
	// What one server sends another one fetches under its own number here.
	if err := os.Rename(filepath.Join(relay.Dir, "5"), filepath.Join(relay.Dir, "6")); err != nil {
		t.Fatal(err)
	}
	breaks.Store(1)
	if err := c.Receive(t.Context(), 6, "first.tar.gz", to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	if ids, err := relay.Numbers(); err != nil || len(ids) != 1 || ids[0] != 6 {
		t.Errorf("%v, %v", ids, err)
	}
	if err := relay.Drop(6); err != nil {
		t.Fatal(err)
	}
	if ids, err := relay.Numbers(); err != nil || len(ids) != 0 {
		t.Errorf("%v are left, %v", ids, err)
	}
}

func TestClient_Carry_Refused(t *testing.T) {
	c, relay, _ := relayed(t, "key")
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), 6, "first.tar.gz", file); models.CodeOf(err) != models.NotFound {
		t.Errorf("another's site was sent: %v", err)
	}
	if err := c.Receive(t.Context(), 5, "first.tar.gz", file); models.CodeOf(err) != models.NotFound {
		t.Errorf("a site that leaves was fetched: %v", err)
	}
	for _, name := range []string{"worker.json", "..", "first.tar.gz.x", "backup-", "backup-x"} {
		if err := c.Send(t.Context(), 5, name, file); err == nil {
			t.Errorf("%q was sent", name)
		}
	}
	other, _, _ := relayed(t, "another")
	if err := other.Send(t.Context(), 5, "first.tar.gz", file); models.CodeOf(err) != models.Forbidden {
		t.Errorf("a key that is not known: %v", err)
	}
	if err := relay.Fill(5, "first.json", 10, strings.NewReader("x")); models.CodeOf(err) != models.Conflict {
		t.Errorf("a hole was left: %v", err)
	}
}

// The relay is the carrier of the control plane's own host.
func TestRelay_SendAndReceive(t *testing.T) {
	relay := remote.Relay{Dir: filepath.Join(t.TempDir(), "relay")}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := relay.Send(t.Context(), 3, "backup-7", from); err != nil {
		t.Fatal(err)
	}
	if err := relay.Receive(t.Context(), 3, "backup-7", to); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if text, err := io.ReadAll(file); err != nil || string(text) != "content" {
		t.Errorf("%q, %v", text, err)
	}
}
