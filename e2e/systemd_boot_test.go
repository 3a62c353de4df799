//go:build systemd

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a host that has booted systemd: this machine's own Debian, of which it
// sees a copy that its changes do not leave, with none of its services.
type machine struct {
	*netHost

	init int // the process that is the first one there
}

// bootScript makes the machine $1 with the name $2 in namespaces of its own, and
// becomes its systemd. https://systemd.io/CONTAINER_INTERFACE/ is what that asks for.
// /proc is not covered in part, because bubblewrap could not mount one then.
const bootScript = `set -e
mount -t tmpfs -o mode=755,size=6g tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
rm -rf etc/systemd/system etc/fstab usr/sbin/policy-rc.d var/log/journal
mkdir etc/systemd/system
ln -s /dev/null etc/systemd/system/systemd-sysctl.service
ln -s /lib/systemd/system/multi-user.target etc/systemd/system/default.target
echo "$1" >etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" >etc/hosts
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
mount -t tmpfs -o mode=755,nosuid tmpfs dev
mkdir dev/pts dev/shm
n=3; for device in null - zero - full random urandom; do [ $device = - ] || mknod -m 666 dev/$device c 1 $n; n=$((n+1)); done
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
mkdir .before
pivot_root . .before
umount -l /.before
rmdir /.before
mount --make-rshared /
exec env -i container=hefring-e2e PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal-or-kmsg
`

// boot makes the host a machine. Where systemd cannot boot, the test fails and says
// how far it came.
func boot(t *testing.T, n *network, name string, number int) *machine {
	t.Helper()
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		t.Fatal("there is no systemd on this machine to boot; install the package systemd")
	}
	group, dir := newGroup(t, fmt.Sprintf("hefring-e2e-%d-%s", os.Getpid(), name))
	m := &machine{netHost: n.host(name, number)} // its cleanup, which ends all processes, is before the group's
	log, err := os.Create(filepath.Join(m.dir, "boot"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	m.cmd = exec.Command("ip", "netns", "exec", m.name, "unshare", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", bootScript, "boot", name)
	m.cmd.Dir, m.cmd.Stdout, m.cmd.Stderr = "/", log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	if err := m.cmd.Start(); err != nil {
		t.Fatalf("no process can be started in the control group %s: %v", dir, err)
	}
	end, cmd := make(chan struct{}), m.cmd
	m.end = end
	go func() { _ = cmd.Wait(); close(end) }()
	t.Cleanup(m.showJournal)
	eventually(t, time.Minute, "systemd has booted on "+name, func() bool {
		select {
		case <-m.end:
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("systemd cannot boot on this machine in namespaces of its own:\n%s", text)
		default:
		}
		if m.init == 0 {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", m.cmd.Process.Pid, m.cmd.Process.Pid))
			m.init, _ = strconv.Atoi(strings.TrimSpace(string(text)))
			return false
		}
		state, err := m.try("systemctl", "is-system-running")
		if state == "degraded" {
			failed, _ := m.try("systemctl", "--failed", "--plain", "--no-legend")
			t.Fatalf("systemd has booted on %s, but not all of it runs:\n%s", name, failed)
		}
		return err == nil && state == "running"
	})
	return m
}

// newGroup makes a control group in which a systemd is the first.
func newGroup(t *testing.T, name string) (*os.File, string) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
			continue
		}
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatalf("systemd needs a control group of its own: %v", err)
		}
		t.Cleanup(func() {
			eventually(t, 20*time.Second, "the control group "+dir+" is removed", func() bool { return removeGroup(dir) == nil })
		})
		group, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = group.Close() })
		return group, dir
	}
	t.Fatal("systemd cannot boot here: no control groups of version 2 (cgroup2) are mounted below /sys/fs/cgroup")
	return nil, ""
}

func removeGroup(dir string) error {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			found = append(found, path)
		}
		return err
	})
	for _, path := range slices.Backward(found) {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// inside is a command on the machine.
func (m *machine) inside(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{
		"-t", strconv.Itoa(m.init), "-m", "-u", "-i", "-p", "-C", "-n", "--", "env", "-i", "HOME=/root", "TERM=dumb", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// try runs a command there and gives all that it prints.
func (m *machine) try(args ...string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), 4*time.Minute)
	defer stop()
	out, err := m.inside(ctx, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// do runs a command there, which must work.
func (m *machine) do(args ...string) string {
	m.net.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.net.t.Fatalf("%s: %v: %v\n%s", m.name, args, err, out)
	}
	return out
}

// sh runs lines of a shell there, as an administrator types them.
func (m *machine) sh(lines string) string {
	m.net.t.Helper()
	return m.do("sh", "-ec", "cd /\n"+lines)
}

// hefring runs a command as the documents say it.
func (m *machine) hefring(args ...string) string {
	m.net.t.Helper()
	return m.do(append([]string{"runuser", "-u", "hefring", "--", "hefring"}, args...)...)
}

// put writes a file there.
func (m *machine) put(path, text string) {
	m.net.t.Helper()
	if err := os.WriteFile(m.path(path), []byte(text), 0o644); err != nil { //nolint:gosec // as an administrator's editor does
		m.net.t.Fatal(err)
	}
}

// path is where this machine finds a file of that one.
func (m *machine) path(path string) string { return fmt.Sprintf("/proc/%d/root%s", m.init, path) }

// is waits for the state of a unit.
func (m *machine) is(unit, state string) {
	m.net.t.Helper()
	eventually(m.net.t, 30*time.Second, unit+" is "+state, func() bool {
		got, _ := m.try("systemctl", "is-active", unit)
		return got == state
	})
}

// property asks systemd.
func (m *machine) property(unit, name string) string {
	m.net.t.Helper()
	return m.do("systemctl", "show", "--property="+name, "--value", unit)
}

// owned fails unless files have the owner and mode, as stat prints them.
func (m *machine) owned(wanted map[string]string) {
	m.net.t.Helper()
	for path, want := range wanted {
		if got := m.do("stat", "-c", "%U:%G %a", path); got != want {
			m.net.t.Errorf("%s is %s, wants %s", path, got, want)
		}
	}
}

// showJournal shows the end of the units' log when the test failed.
func (m *machine) showJournal() {
	if !m.net.t.Failed() || m.init == 0 {
		return
	}
	text, _ := m.try("journalctl", "--no-pager", "-n", "400", "-u", "hefring", "-u", "hefring-web")
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return strings.Contains(line, "left-over") || strings.Contains(line, "unclean termination") || strings.Contains(line, "remains running")
	})
	m.net.t.Logf("%s's journal ends with:\n%s", m.name, strings.Join(lines[max(0, len(lines)-30):], "\n"))
}
