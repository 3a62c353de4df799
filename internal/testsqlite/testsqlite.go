// Package testsqlite gives tests SQLite databases that are made once and then
// copied: under the race detector it takes a second to make Hefring's tables.
package testsqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Template is a database that is prepared once and then copied for each test.
type Template struct {
	prepare func(ctx context.Context, dsn string) error

	once    sync.Once
	content []byte
	err     error
}

// NewTemplate makes a Template. prepare gets the DSN of a database that is not there
// yet, for example to migrate it, and must leave no connection to it open.
func NewTemplate(prepare func(ctx context.Context, dsn string) error) *Template {
	return &Template{prepare: prepare}
}

// Open copies the template to a file, in a folder that is there, and gives the copy's
// DSN.
func (p *Template) Open(tb testing.TB, file string) string {
	tb.Helper()
	p.once.Do(func() { p.content, p.err = p.make() })
	if p.err != nil {
		tb.Fatalf("prepare the template database: %v", p.err)
	}
	if err := os.WriteFile(file, p.content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return "sqlite:" + file
}

func (p *Template) make() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "testsqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "template.db")
	if err := p.prepare(context.Background(), "sqlite:"+file); err != nil {
		return nil, err
	}
	if _, err := os.Stat(file + "-wal"); err == nil {
		return nil, errors.New("the template was left open: its last writes are not in the file")
	}
	return os.ReadFile(file) //nolint:gosec // our own
}
