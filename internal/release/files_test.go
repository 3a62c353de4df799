package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"hefring/internal/config"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSettings_AllExplainedNoneInForce(t *testing.T) {
	text := string(settings())
	var inForce map[string]any
	if err := yaml.Unmarshal([]byte(text), &inForce); err != nil || len(inForce) > 0 {
		t.Fatalf("in force are %v, %v", inForce, err)
	}
	set := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(text, "$1")
	if err := yaml.Unmarshal([]byte(set), &inForce); err != nil {
		t.Fatalf("%v\n%s", err, set)
	}
	for _, s := range config.Settings() {
		if _, found := inForce[s.Name]; !found && s.Name != "config" {
			t.Errorf("%s is missing", s.Name)
		}
	}
	for line := range strings.Lines(text) {
		if len([]rune(line)) > 100 {
			t.Errorf("long line: %s", line)
		}
	}
}

// directives are the lines of a unit, in force.
func directives(t *testing.T, name string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for line := range strings.Lines(string(read(t, "files/"+name))) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(key, "#") {
			list[key] = value
		}
	}
	return list
}

// What keeps sites serving while Hefring restarts, and builds contained, was tried
// under systemd; this keeps it as it was tried.
func TestUnit_SitesOutliveIt(t *testing.T) {
	unit := directives(t, "hefring.service")
	for key, want := range map[string]string{
		"User": "hefring", "ExecStart": "/usr/bin/hefring serve", "KillMode": "process", "OOMPolicy": "continue", "RestartPreventExitStatus": "2",
		"StateDirectory": "hefring", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "CapabilityBoundingSet": "",
		"SystemCallFilter": "@system-service @mount",
	} {
		if got, found := unit[key]; !found || got != want {
			t.Errorf("%s=%s, wants %s", key, got, want)
		}
	}
	for _, key := range []string{"PrivateTmp", "RemoveIPC", "ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectKernelLogs", "MemoryDenyWriteExecute", "PrivateUsers"} {
		if value, found := unit[key]; found {
			t.Errorf("%s=%s would break sites or builds", key, value)
		}
	}
}

// A dashboard beside others starts no program, so that it needs none of what keeps
// hefring.service from being shut in more.
func TestUnit_Replica(t *testing.T) {
	unit := directives(t, "hefring-web.service")
	for key, want := range map[string]string{
		"User": "hefring", "ExecStart": "/usr/bin/hefring web", "RestartPreventExitStatus": "2", "StateDirectory": "hefring", "NoNewPrivileges": "yes",
		"ProtectSystem": "strict", "ProtectHome": "yes", "CapabilityBoundingSet": "", "RestrictNamespaces": "yes", "MemoryDenyWriteExecute": "yes",
		"ProtectProc": "invisible", "SystemCallFilter": "~@privileged",
	} {
		if got, found := unit[key]; !found || got != want {
			t.Errorf("%s=%s, wants %s", key, got, want)
		}
	}
}

// systemd itself finds nothing wrong with the units, and that the replica's is shut in.
func TestUnits_Verify(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"hefring.service", "hefring-web.service"} {
		path := filepath.Join(dir, name)
		// The program is not installed here, nor is its manual.
		text := strings.NewReplacer("/usr/bin/hefring ", "/bin/true ", "man:hefring(1) ", "").Replace(string(read(t, "files/"+name)))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=25", filepath.Join(dir, "hefring-web.service")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestScripts_AreShell(t *testing.T) {
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		if out, err := exec.Command("sh", "-n", filepath.Join("files", name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestContainerfile_Fits(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(read(t, "../../Containerfile")), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	copied := []string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "COPY" || strings.HasPrefix(words[1], "--from") {
			continue
		}
		for _, path := range words[1 : len(words)-1] {
			if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
				t.Errorf("it copies what is not there: %v", err)
			}
			copied = append(copied, path)
		}
	}
	for _, path := range sourceFolders(t) {
		if !slices.Contains(copied, path) {
			t.Errorf("it does not copy %s, which the program is made of", path)
		}
	}
	_, install, _ := strings.Cut(text, "--no-install-recommends")
	install, _, _ = strings.Cut(install, "&&")
	for _, wanted := range append(depends(), recommends()...) {
		name, _, _ := strings.Cut(wanted, " ")
		if name == "adduser" || name == "init-system-helpers" { // for the package's own scripts
			continue
		}
		if !slices.Contains(strings.Fields(install), name) {
			t.Errorf("it does not install %s, which the package asks for", name)
		}
	}
	if !regexp.MustCompile(`(?m)^USER [1-9]`).MatchString(text) {
		t.Error("it runs as root, or as a name that Kubernetes cannot tell from root")
	}
}

// sourceFolders are the top-level folders that hold packages of the program.
func sourceFolders(t *testing.T) []string {
	t.Helper()
	list := exec.Command("go", "list", "-e", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}", "./cmd/hefring")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSpace(line), "/")
		if len(parts) > 1 {
			folders = append(folders, parts[1])
		}
	}
	slices.Sort(folders)
	if len(folders) < 8 {
		t.Fatalf("found only %v", folders)
	}
	return slices.Compact(folders)
}
