package testpg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"hefring/models"
)

// Admin is the role that tests give to Hefring: no superuser, but one that may
// create databases and roles.
const (
	Admin    = "hefring_admin"
	Password = `only for tests' "\$ä`
)

// Server is a running PostgreSQL.
type Server struct {
	c *cluster
}

// Running is the server that all tests of the process share.
func Running(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{running(tb)}
	if err := s.admin(); err != nil {
		tb.Fatalf("make the admin: %v", err)
	}
	return s
}

// Start starts a server of the test's own, with more options for postgres. It ends
// with the test. What is committed there outlives Kill.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	c, err := startCluster(append([]string{"-c", "synchronous_commit=on"}, options...)...)
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	tb.Cleanup(func() {
		_ = c.stdin.Close()
		until(tb, "the server is gone", func() error {
			if _, err := os.Stat(c.dir); err == nil {
				return errors.New("its folder is still there")
			}
			return nil
		})
	})
	s := &Server{c}
	if err := s.admin(); err != nil {
		tb.Fatalf("make the admin: %v", err)
	}
	return s
}

func (s *Server) admin() error {
	err := s.c.exec("CREATE ROLE " + Admin + " LOGIN CREATEDB CREATEROLE PASSWORD '" + strings.ReplaceAll(Password, "'", "''") + "'")
	if err != nil && strings.Contains(err.Error(), "42710") { // an earlier test made it
		return nil
	}
	return err
}

// Socket is how Hefring would be told of the server by its socket, where everybody
// is trusted.
func (s *Server) Socket() models.DatabaseServer {
	return models.DatabaseServer{
		ID: 2, Name: "PostgreSQL", Engine: models.EnginePostgres, Host: s.c.dir, Port: s.c.port, User: Admin, Password: Password,
		TLS: models.TLSOff, Clients: "%", Prefix: "hefring",
	}
}

// TCP is how Hefring would be told of the server by its address, where passwords
// count.
func (s *Server) TCP() models.DatabaseServer {
	server := s.Socket()
	server.Host = "127.0.0.1"
	return server
}

// DSN is the address of a database as the superuser reaches it.
func (s *Server) DSN(database string) string { return s.c.dsn(database) }

// Kill ends the server with all its processes, with kill -9.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.command(tb, "kill")
	until(tb, "the server is dead", func() error {
		if s.c.exec("SELECT 1") == nil {
			return errors.New("it still answers")
		}
		return nil
	})
}

// Restart starts the server again after Kill, and waits until it answers.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.command(tb, "start")
	until(tb, "the server answers", func() error {
		err := s.c.exec("SELECT 1")
		if err != nil {
			log, _ := os.ReadFile(s.c.dir + "/log")
			err = fmt.Errorf("%w; its log says:\n%s", err, log)
		}
		return err
	})
}

// Freeze stops all processes of the server where they are: connections stay, new ones
// are taken by the kernel, and nobody answers.
func (s *Server) Freeze(tb testing.TB) {
	tb.Helper()
	s.command(tb, "freeze")
	until(tb, "the server is frozen", func() error {
		_, err := os.Stat(s.c.dir + "/frozen")
		return err
	})
}

// Thaw lets them go on.
func (s *Server) Thaw(tb testing.TB) {
	tb.Helper()
	s.command(tb, "thaw")
	until(tb, "the server answers", func() error { return s.c.exec("SELECT 1") })
}

func (s *Server) command(tb testing.TB, command string) {
	tb.Helper()
	if _, err := io.WriteString(s.c.stdin, command+"\n"); err != nil {
		tb.Fatal(err)
	}
}

func until(tb testing.TB, what string, done func() error) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("wait until %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}
