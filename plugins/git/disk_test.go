package git_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
)

// The test binary starts itself with these to have small disks of its own.
const (
	fullDiskEnv       = "GIT_TEST_FULL_DISK_URL"
	fullDiskFolderEnv = "GIT_TEST_FULL_DISK_FOLDER"
)

func TestSource_DiskFull(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	noise := make([]byte, 600_000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	u.publish("large", map[string]string{"noise": string(noise)})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), fullDiskEnv+"="+u.url, fullDiskFolderEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// onFullDisk fetches into a cache, and then checks out to a folder, too small.
func onFullDisk(url, folder string) int {
	if err := fillDisks(url, folder); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func fillDisks(url, folder string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, name := range []string{"small", "scratch", "cache"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
	}
	small := filepath.Join(folder, "small")
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=400k"); err != nil {
		return err
	}
	ctx := context.Background()
	env := plugins.Env{
		Run:    run.New(run.Config{}),
		Egress: egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}),
		Log:    io.Discard, Scratch: filepath.Join(folder, "scratch"), Cache: small,
	}
	source, err := git.New().Open(models.Settings{"url": url})
	if err != nil {
		return err
	}
	_, err = source.Check(ctx, env, plugins.Version{})
	if text := models.Explain(err); !strings.Contains(text, "disk that holds platforms is full") {
		return fmt.Errorf("fetch to a full disk: %s, %w", text, err)
	}
	env.Cache = filepath.Join(folder, "cache")
	v, err := source.Check(ctx, env, plugins.Version{})
	if err != nil {
		return err
	}
	dst := filepath.Join(small, "dst")
	if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	_, err = source.Build(ctx, env, v, dst)
	if text := models.Explain(err); !strings.Contains(text, "disk that holds platforms is full") {
		return fmt.Errorf("check out to a full disk: %s, %w", text, err)
	}
	return nil
}
