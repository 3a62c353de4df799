package release

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func dpkgDeb(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("dpkg-deb", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg-deb %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func checkDeb(t *testing.T, path string) {
	t.Helper()
	for field, want := range map[string]string{"Package": "hefring", "Version": "1.2.3", "Architecture": "amd64", "Section": "admin"} {
		if got := strings.TrimSpace(dpkgDeb(t, "--field", path, field)); got != want {
			t.Errorf("%s: %s, wants %s", field, got, want)
		}
	}
	for _, name := range []string{"bubblewrap", "git", "nginx", "php-fpm"} {
		if !strings.Contains(dpkgDeb(t, "--field", path, "Depends"), name) {
			t.Errorf("it does not depend on %s", name)
		}
	}
	inside := dpkgDeb(t, "--contents", path)
	for _, want := range []string{
		"-rwxr-xr-x root/root", " ./usr/bin/hefring\n", " ./usr/lib/systemd/system/hefring.service\n", " ./usr/lib/systemd/system/hefring-web.service\n", " ./usr/share/man/man1/hefring.1.gz\n",
		" ./usr/share/bash-completion/completions/hefring\n", " ./usr/share/doc/hefring/changelog.gz\n", " ./usr/share/doc/hefring/copyright\n",
	} {
		if !strings.Contains(inside, want) {
			t.Errorf("there is no %q in\n%s", want, inside)
		}
	}
	control := t.TempDir()
	dpkgDeb(t, "--control", path, control)
	if got := string(read(t, filepath.Join(control, "conffiles"))); got != "/etc/hefring/hefring.yaml\n" {
		t.Errorf("conffiles: %q", got)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		if got, want := string(read(t, filepath.Join(control, script))), string(read(t, "files/"+script)); got != want {
			t.Errorf("%s differs", script)
		}
	}
}
