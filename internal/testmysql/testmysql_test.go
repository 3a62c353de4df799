package testmysql_test

import (
	"testing"

	"hefring/internal/testmysql"
)

func TestServer_KillAndRestart(t *testing.T) {
	s := testmysql.Start(t)
	if _, err := s.DB(t, "").Exec("CREATE DATABASE kept; CREATE TABLE kept.things (id INT PRIMARY KEY); INSERT INTO kept.things VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	s.Restart(t)
	var n int
	if err := s.DB(t, "kept").QueryRow("SELECT count(*) FROM things").Scan(&n); err != nil || n != 1 {
		t.Fatalf("%d rows, %v", n, err)
	}
}
