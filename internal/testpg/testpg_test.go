package testpg_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/testpg"
)

func TestTemplate_Open_CopiesForEachTest(t *testing.T) {
	run := func(dsn, sql string) error {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(t.Context())) // the test is about the statement
		_, err = conn.Exec(t.Context(), sql)
		return err
	}
	template := testpg.NewTemplate(func(_ context.Context, dsn string) error {
		return run(dsn, "CREATE TABLE things (id int PRIMARY KEY)")
	})
	for range 2 {
		if err := run(template.Open(t), "INSERT INTO things VALUES (1)"); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(testpg.Empty(t), "INSERT INTO things VALUES (1)"); err == nil {
		t.Fatal("an empty database has a table")
	}
}

func TestServer_KillAndRestart(t *testing.T) {
	s := testpg.Start(t)
	run := func(sql string) error {
		conn, err := pgx.Connect(t.Context(), s.DSN("postgres"))
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(t.Context())) // the test is about the statement
		_, err = conn.Exec(t.Context(), sql)
		return err
	}
	if err := run("CREATE TABLE things (id int PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	s.Restart(t)
	if err := run("INSERT INTO things VALUES (1)"); err != nil {
		t.Fatal(err)
	}
}

func TestServer_FreezeAndThaw(t *testing.T) {
	s := testpg.Start(t)
	conn, err := pgx.Connect(t.Context(), s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context())) // the test is about the statement
	s.Freeze(t)
	asked := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT 1")
		asked <- err
	}()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	select {
	case err := <-asked:
		t.Fatalf("a frozen server answered: %v", err)
	case <-short.Done():
	}
	s.Thaw(t)
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
}

// A test that ends while its server is frozen leaves nothing.
func TestServer_Freeze_End(t *testing.T) {
	testpg.Start(t).Freeze(t)
}
