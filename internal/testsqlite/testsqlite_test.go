package testsqlite_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/testsqlite"
)

func TestTemplate_Open_CopiesAreTheirOwn(t *testing.T) {
	prepared := 0
	template := testsqlite.NewTemplate(func(_ context.Context, dsn string) error {
		prepared++
		return os.WriteFile(strings.TrimPrefix(dsn, "sqlite:"), []byte("made"), 0o600)
	})
	first, second := filepath.Join(t.TempDir(), "a.db"), filepath.Join(t.TempDir(), "b ?.db")
	if dsn := template.Open(t, first); dsn != "sqlite:"+first {
		t.Errorf("the first is %s", dsn)
	}
	if err := os.WriteFile(first, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	template.Open(t, second)
	text, err := os.ReadFile(second)
	if err != nil || string(text) != "made" || prepared != 1 {
		t.Errorf("the second holds %q, prepared %d times: %v", text, prepared, err)
	}
}

// failing notes what a test says, and ends it as Fatal does.
type failing struct {
	testing.TB
	said []any
}

var errEnd = errors.New("ended")

func (*failing) Helper() {}

func (f *failing) Fatalf(_ string, said ...any) {
	f.said = said
	panic(errEnd)
}

func TestTemplate_Open_LeftOpen(t *testing.T) {
	template := testsqlite.NewTemplate(func(_ context.Context, dsn string) error {
		file := strings.TrimPrefix(dsn, "sqlite:")
		return errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(file+"-wal", nil, 0o600))
	})
	f := &failing{TB: t}
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, errEnd) || len(f.said) != 1 || !strings.Contains(f.said[0].(error).Error(), "left open") {
			t.Errorf("it says %v", f.said)
		}
	}()
	template.Open(f, filepath.Join(t.TempDir(), "a.db"))
}
