package platforms_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hefring/internal/platforms"
	"hefring/models"
)

// The test binary starts itself in these roles.
const (
	roleEnv   = "PLATFORMS_TEST_ROLE"
	folderEnv = "PLATFORMS_TEST_FOLDER"
	phaseEnv  = "PLATFORMS_TEST_PHASE"
	olderEnv  = "PLATFORMS_TEST_OLDER" // digest of the platform to share files with
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(m.Run())
	case "build":
		err = buildUntil(os.Getenv(folderEnv), os.Getenv(phaseEnv))
	case "full":
		err = buildOnFullDisk(os.Getenv(folderEnv))
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func phases() []string {
	return []string{"staged", "half filled", "filled", "prepared", "inspected", "sealing", "sealed", "published", "recorded"}
}

// buildUntil builds a platform as the program does and waits in the named phase
// to be killed. A row of the database is a file here.
func buildUntil(folder, last string) error {
	ctx := context.Background()
	s := &platforms.Store{Root: filepath.Join(folder, "platforms"), MinFree: 1}
	reach := func(phase string) {
		if phase == last {
			_, _ = fmt.Fprintln(os.Stdout, "reached")
			<-time.After(time.Hour) // the test kills us long before; with select{} Go would end us
		}
	}
	dir, err := s.Stage(ctx, 1, 1)
	if err != nil {
		return err
	}
	reach("staged")
	done := 0
	for name, text := range drupal("web") {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
		if done++; done == 4 {
			reach("half filled")
		}
	}
	for i := range 3000 {
		if err := os.WriteFile(filepath.Join(dir, "vendor", strconv.Itoa(i)), []byte(strings.Repeat("x", 2000)), 0o644); err != nil {
			return err
		}
	}
	reach("filled")
	if err := s.Prepare(ctx, dir, "web"); err != nil {
		return err
	}
	reach("prepared")
	if _, err := s.Inspect(ctx, dir, "web"); err != nil {
		return err
	}
	reach("inspected")
	if last == "sealing" {
		// Killed in the middle of its work, wherever that is.
		go reach("sealing")
	}
	older := s.Older(models.Platform{Root: filepath.Join(s.Root, "older", "code"), ManifestDigest: os.Getenv(olderEnv)})
	sealed, err := s.Seal(ctx, dir, "web", older...)
	if err != nil {
		return err
	}
	reach("sealed")
	root, err := s.Publish(dir, "first")
	if err != nil {
		return err
	}
	reach("published")
	if err := os.WriteFile(filepath.Join(folder, "row"), []byte(root+"\n"+sealed.Digest), 0o600); err != nil {
		return err
	}
	reach("recorded")
	return nil
}

// Whenever a build is killed that shares files, the older platform stays whole.
func TestStore_KilledWhileSharing(t *testing.T) {
	folder := t.TempDir()
	s := &platforms.Store{Root: filepath.Join(folder, "platforms"), MinFree: 1}
	t.Cleanup(func() {
		if _, err := s.Reconcile(context.WithoutCancel(t.Context()), func(platforms.Found) bool { return false }); err != nil {
			t.Error(err)
		}
	})
	files := drupal("web")
	for i := range 3000 {
		files["vendor/"+strconv.Itoa(i)] = strings.Repeat("x", 2000)
	}
	older, _ := shared(t, s, "older", files, nil)
	t.Setenv(olderEnv, older.ManifestDigest)
	for range 4 {
		kill(t, folder, "sealing")
		if _, err := s.Reconcile(t.Context(), func(f platforms.Found) bool { return f.Name == "older" }); err != nil {
			t.Fatal(err)
		}
		wantWhole(t, s, older)
	}
	kill(t, folder, "published")
	wantWhole(t, s, older)
	if inode(t, s.Root, "first/code/vendor/7") != inode(t, older.Root, "vendor/7") {
		t.Error("nothing was shared")
	}
}

func TestStore_KilledAtEveryPhase(t *testing.T) {
	for _, phase := range phases() {
		t.Run(phase, func(t *testing.T) {
			folder := t.TempDir()
			kill(t, folder, phase)

			s := &platforms.Store{Root: filepath.Join(folder, "platforms"), MinFree: 1}
			t.Cleanup(func() {
				if _, err := s.Reconcile(context.WithoutCancel(t.Context()), func(platforms.Found) bool { return false }); err != nil {
					t.Error(err)
				}
			})
			row, err := os.ReadFile(filepath.Join(folder, "row"))
			recorded := err == nil
			root, digest, _ := strings.Cut(string(row), "\n")
			if _, err := s.Reconcile(t.Context(), func(f platforms.Found) bool { return recorded && f.Root == root }); err != nil {
				t.Fatal(err)
			}
			if recorded != (phase == "recorded") {
				t.Fatalf("recorded: %v", recorded)
			}
			if recorded {
				findings, err := s.Verify(t.Context(), root, digest)
				if err != nil || len(findings) != 0 {
					t.Errorf("the ready platform: %v %v", findings, err)
				}
				return
			}
			for _, pattern := range []string{"*", ".staging/*", ".trash/*"} {
				left, err := filepath.Glob(filepath.Join(s.Root, pattern))
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range left {
					if !strings.HasPrefix(filepath.Base(path), ".") {
						t.Errorf("%s was left", path)
					}
				}
			}
			if root, _ := published(t, s, "first"); !exists(root) {
				t.Error("the platform cannot be built again")
			}
		})
	}
}

// kill starts a build and kills it with -9 in the phase.
func kill(t *testing.T, folder, phase string) {
	t.Helper()
	cmd := helper(t, "build", folder, phase)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the build ended by itself: %v", err)
	}
	if line != "reached\n" {
		t.Fatalf("phase %s: %q %v", phase, line, readErr)
	}
}

func helper(t *testing.T, role, folder, phase string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, folderEnv+"="+folder, phaseEnv+"="+phase)
	return cmd
}

// TestStore_DiskFull builds on tiny disks, in a mount namespace of its own.
func TestStore_DiskFull(t *testing.T) {
	cmd := helper(t, "full", t.TempDir(), "")
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

func buildOnFullDisk(folder string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	sawFull, sawWhole := false, false
	for kilobytes := 4; kilobytes <= 512; kilobytes += 12 {
		err := onDisk(folder, fmt.Sprintf("size=%dk", kilobytes))
		switch {
		case err == nil:
			sawWhole = true
		case isFull(err):
			sawFull = true
		default:
			return fmt.Errorf("disk of %d kB: %w", kilobytes, err)
		}
	}
	if !sawFull || !sawWhole {
		return fmt.Errorf("full: %v, whole: %v", sawFull, sawWhole)
	}
	return nil
}

var errSetUp = errors.New("set up test")

func isFull(err error) bool {
	return models.CodeOf(err) == models.Unavailable && strings.Contains(models.Explain(err), "is full") && strings.Contains(models.Explain(err), "left")
}

// onDisk builds on a disk of the given size; a failure must leave nothing
// published, and cleaning up must work on the full disk.
func onDisk(folder, size string) error {
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, size); err != nil {
		return errors.Join(errSetUp, err)
	}
	defer func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) }()
	ctx := context.Background()
	s := &platforms.Store{Root: filepath.Join(folder, "platforms"), MinFree: 1}
	_, err := whole(ctx, s)
	if err == nil {
		return nil
	}
	if matches, _ := filepath.Glob(filepath.Join(s.Root, "[a-z]*")); len(matches) > 0 {
		return fmt.Errorf("published in spite of %w: %v", err, matches)
	}
	if _, cleanErr := s.Reconcile(ctx, func(platforms.Found) bool { return false }); cleanErr != nil {
		return fmt.Errorf("clean up a full disk: %w", cleanErr)
	}
	return err
}

func whole(ctx context.Context, s *platforms.Store) (string, error) {
	dir, err := s.Stage(ctx, 1, 1)
	if err != nil {
		return "", err
	}
	for name, text := range drupal("web") {
		path := filepath.Join(dir, name)
		// What fills the folder is a plugin, and explains its own full disk.
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return "", fill(s, err)
		}
	}
	if err := s.Prepare(ctx, dir, "web"); err != nil {
		return "", err
	}
	if _, err := s.Seal(ctx, dir, "web"); err != nil {
		return "", err
	}
	return s.Publish(dir, "whole")
}

func fill(s *platforms.Store, err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return models.Wrapf(models.Unavailable, err, "%s is full: 0 B left", s.Root)
}
