package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/config"
)

func settingsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hefring.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfig_Show_SaysWhereFrom(t *testing.T) {
	file := settingsFile(t, "listen: 127.0.0.1:9\ndatabase: postgres://hefring:geheim@db.example.org/hefring\n")
	p := newProgram(t)
	p.env = []string{"HEFRING_SITES_PORT=9001"}
	got := p.run(t, "config", "--config", file, "--probe-port=9002")
	for _, part := range []string{"listen", file + ":1", "9001", "$HEFRING_SITES_PORT", "9002", "--probe-port", "hefring:xxxxx@db", "www-data", "default"} {
		if !strings.Contains(got.out, part) {
			t.Errorf("no %q in\n%s%s", part, got.out, got.err)
		}
	}
	if got.code != 0 || strings.Contains(got.out, "geheim") {
		t.Errorf("exit code %d\n%s", got.code, got.out)
	}
	got = p.run(t, "config", "show", "--json", "--config", file)
	var list []config.Effective
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || len(list) != len(config.Settings()) {
		t.Errorf("%d settings, %v, %s", len(list), err, got.err)
	}
}

func TestConfig_Check_TellsEveryProblem(t *testing.T) {
	p := newProgram(t)
	file := settingsFile(t, "sites-port: 70000\nlissen: x\n")
	p.env = []string{"HEFRING_PROBE_PORT=many", "HEFRING_CONFIG=" + file}
	for _, args := range [][]string{{"config", "check"}, {"serve"}, {"site", "list", "--url=example.org"}, {"source", "check", "--type=manual"}} {
		got := p.run(t, args...)
		if got.code != exitSettings || got.out != "" {
			t.Errorf("%v: exit code %d, %s", args, got.code, got.out)
		}
		for _, part := range []string{file + ":1: sites-port", file + ":2: lissen", "HEFRING_PROBE_PORT"} {
			if !strings.Contains(got.err, part) {
				t.Errorf("%v: nothing of %s in\n%s", args, part, got.err)
			}
		}
	}
	if got := p.run(t, "version"); got.code != 0 {
		t.Errorf("a command without settings: exit code %d, %s", got.code, got.err)
	}
	p.env = nil
	if got := p.run(t, "config", "check", "--config", settingsFile(t, "web-user: web\n")); got.code != 0 || !strings.Contains(got.out, "The settings fit.") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	got := p.run(t, "config", "check", "--frob")
	if got.code != exitSettings || !strings.Contains(got.err, "unknown flag --frob") {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
}

func TestHelp_SetsSettingsApart(t *testing.T) {
	out := newProgram(t).run(t, "site", "upgrade", "--help").out
	before, after, found := strings.Cut(out, "Settings (hefring config shows what holds):")
	if !found || !strings.Contains(before, "--wait") || strings.Contains(before, "--listen") || !strings.Contains(after, "--listen") {
		t.Errorf("got\n%s", out)
	}
}
