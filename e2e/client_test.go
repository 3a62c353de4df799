package e2e_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// What makes a client, and what the client needs. They come by the Go module proxy, or
// out of the module cache.
const (
	generator = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"
	needs     = "github.com/oapi-codegen/runtime@v1.5.0"
)

const generatorSettings = `package: client
generate: {client: true, models: true}
output-options: {client-type-name: Door}
output: client/client.go
`

// A client that a generator makes of the document that Hefring serves does the main job:
// a distribution, its first platform, a site, a change of the source, the upgrade.
func TestAPI_GeneratedClient_DoesTheMainJob(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	repo := newForge(t).repo("generated")
	repo.push(tidepool.V1058)
	a := &program{t: t, url: h.url + "/api/v1"}
	token := h.run("", "token", "add", "admin", "Generated", "--life", "1h", "--role", "manager")
	_, document := a.send("GET", "/openapi-3.0.json", "", token)

	dir := t.TempDir()
	source, err := os.ReadFile("testdata/apiclient/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"openapi.json": document, "settings.yaml": []byte(generatorSettings), "main.go": source, "go.mod": []byte("module mainjob\n\ngo 1.26\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "client"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"run", generator, "-config", "settings.yaml", "openapi.json"}, {"get", needs}, {"build", "-o", "mainjob", "."},
	} {
		command := exec.CommandContext(t.Context(), "go", args...)
		command.Dir, command.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod -p=1", "GOWORK=off")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}

	job := exec.CommandContext(t.Context(), filepath.Join(dir, "mainjob"))
	job.Env = append(os.Environ(), "HEFRING_API="+a.url, "HEFRING_TOKEN="+token, "HEFRING_REPO="+repo.url)
	job.Stderr = t.Output()
	orders, err := job.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := job.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(answers)
	do := func(what string) {
		t.Helper()
		began := time.Now()
		if _, err := io.WriteString(orders, what+"\n"); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || lines.Text() != "done" {
			t.Fatalf("%s: %q %v", what, lines.Text(), job.Wait())
		}
		t.Logf("%s took %.1f s", what, time.Since(began).Seconds())
	}
	do("install")
	h.visitor().serves("generated.localhost", "10.5.8")
	repo.push(tidepool.V1062)
	do("upgrade")
	h.visitor().serves("generated.localhost", "10.6.2")
	if err := orders.Close(); err != nil {
		t.Fatal(err)
	}
	if err := job.Wait(); err != nil {
		t.Fatal(err)
	}
}
