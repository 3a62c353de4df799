package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/store"
	"hefring/internal/testpg"
)

func TestProbe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "x.db")
	if _, _, err := store.Probe(t.Context(), "sqlite:"+file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Dir(file)); err == nil {
		t.Error("the probe made the folder")
	}
	open(t, "sqlite:"+file)
	name, now, err := store.Probe(t.Context(), "sqlite:"+file)
	if err != nil || !strings.HasPrefix(name, "SQLite 3.") || !now.IsZero() {
		t.Errorf("got %q, %s, %v", name, now, err)
	}
	dsn := testpg.Empty(t)
	name, now, err = store.Probe(t.Context(), dsn)
	if err != nil || !strings.HasPrefix(name, "PostgreSQL ") || time.Since(now).Abs() > time.Minute {
		t.Errorf("got %q, %s, %v", name, now, err)
	}
	if _, _, err := store.Probe(t.Context(), "postgres://hefring:canary@127.0.0.1:1/x"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}
