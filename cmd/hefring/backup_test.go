package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"hefring/internal/config"
	"hefring/internal/control"
	"hefring/internal/store"
	"hefring/internal/testpg"
	"hefring/models"
)

func localAt(t *testing.T, data, database string) local {
	t.Helper()
	c := local{Config: config.Config{
		Data: data, Database: database, Listen: "127.0.0.1:0", SitesMode: "private", ProbePort: 8082, WebUser: "www-data", BuildUser: "nobody", LogLevel: "info",
	}}
	if _, err := c.plane(); err != nil {
		t.Fatal(err)
	}
	return c
}

// The commands need a data folder, and neither PHP nor anything else that Hefring
// works with.
func TestBackupCmd_Restore_OtherEngine(t *testing.T) {
	target := testpg.Empty(t) // which needs PostgreSQL's programs
	t.Setenv("PATH", "/nonexistent")
	from := localAt(t, filepath.Join(t.TempDir(), "a"), "")
	s, err := store.Open(t.Context(), from.Database, newLogger("error"))
	if err != nil {
		t.Fatal(err)
	}
	user := models.User{Name: "ada"}
	if err := errors.Join(s.CreateUser(t.Context(), &user), s.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hefring.tar.gz")
	if err := (&backupCmd{local: from, File: file}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	exits(t, exitSettings, (&backupCmd{local: from, File: file}).Run(t.Context()))

	to := localAt(t, filepath.Join(t.TempDir(), "b"), target)
	if err := (&restoreCmd{local: to, File: file}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	exits(t, exitSettings, (&restoreCmd{local: to, File: file}).Run(t.Context()))
	if s, err = store.Open(t.Context(), to.Database, newLogger("error")); err != nil {
		t.Fatal(err)
	}
	found, err := s.UserByName(t.Context(), "ada")
	if err := errors.Join(err, s.Close()); err != nil || found.ID != user.ID {
		t.Errorf("the user is %+v: %v", found, err)
	}
}

func exits(t *testing.T, code int, err error) {
	t.Helper()
	if e, ok := errors.AsType[*exitError](err); !ok || e.code != code {
		t.Errorf("want the exit code %d: %v", code, err)
	}
}

func TestBackupCmd_ManifestJSON_ForScripts(t *testing.T) {
	made := control.Manifest{Head: control.Head{Format: 1, Hefring: "1.2.3"}, Schema: 5, Parts: map[string]control.Part{control.PartKey: {Entries: 1}}}
	text, err := json.Marshal(manifestJSON("x.tar.gz", made))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got["file"] != "x.tar.gz" || got["hefring"] != "1.2.3" || got["schema"] != 5.0 || got["secret_key"] != true {
		t.Errorf("got %s", text)
	}
}
