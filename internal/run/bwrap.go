package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hefring/models"
)

// Where things stand inside of a sandbox.
const (
	sandboxHome   = "/home/hefring"
	sandboxBridge = "/run/hefring/bridge"
	sandboxSocket = "/run/hefring/proxy.sock"
)

// Sizes of a sandbox's memory-backed folders in bytes.
const (
	tmpSize  = "1073741824"
	homeSize = "268435456"
	shmSize  = "67108864"
)

// wrap makes the argument vector that runs program contained, and the options
// that bwrap reads from descriptor 4:
// bwrap -- [setpriv … --] [bridge … --] prlimit … -- program args.
func (r *Runner) wrap(c Cmd, program string) (argv, options []string, err error) {
	tools := map[string]string{}
	for _, name := range []string{"bwrap", "setpriv", "prlimit"} {
		if tools[name], err = r.LookPath(name); err != nil {
			return nil, nil, fmt.Errorf("contain %s: %w", filepath.Base(c.Name), err)
		}
	}
	view, err := r.view(c)
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", filepath.Base(c.Name), err)
	}
	id := r.switchTo(c)
	options = append([]string{"--unshare-pid", "--die-with-parent"}, view...)
	options = append(options, capabilities(c, id)...)
	options = append(options, "--chdir", workDir(c))
	if slices.ContainsFunc(options, func(o string) bool { return strings.ContainsRune(o, 0) }) {
		return nil, nil, fmt.Errorf("run %s: folder with a zero byte in its name", filepath.Base(c.Name))
	}

	argv = []string{tools["bwrap"], "--json-status-fd", "3", "--args", "4", "--"}
	if id != nil {
		argv = append(append(append(argv, tools["setpriv"]), switchArgs(id)...), "--")
	}
	if proxied(c) {
		argv = append(argv, sandboxBridge, bridgeVerb, sandboxSocket, "--")
	}
	argv = append(argv, tools["prlimit"])
	argv = append(argv, limitArgs(c.Limits)...)
	return append(append(argv, "--", program), c.Args...), options, nil
}

// switchArgs are setpriv's for running as somebody else.
func switchArgs(id *Identity) []string {
	return []string{fmt.Sprintf("--reuid=%d", id.UID), fmt.Sprintf("--regid=%d", id.GID), "--clear-groups", "--inh-caps=-all"}
}

func proxied(c Cmd) bool { return c.Sandbox != nil && c.Sandbox.Network == NetworkProxy }

func workDir(c Cmd) string {
	switch {
	case c.Dir != "":
		return c.Dir
	case c.Sandbox != nil:
		return "/tmp"
	default:
		return "/"
	}
}

func limitArgs(l Limits) []string {
	u := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return []string{
		"--as=" + u(l.MemoryBytes), "--fsize=" + u(l.FileBytes), "--nproc=" + u(l.Processes),
		"--nofile=" + strconv.Itoa(openFiles), "--core=0",
	}
}

// capabilities leaves a switched program only what the switch itself needs; it
// loses that, too, by switching. What stays root keeps everything, unless it is
// in a sandbox.
func capabilities(c Cmd, id *Identity) []string {
	switch {
	case os.Geteuid() != 0:
		return nil
	case id != nil:
		return []string{"--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"}
	case c.Sandbox != nil:
		return []string{"--cap-drop", "ALL"}
	default:
		return nil
	}
}

// view says what the program sees of the machine.
func (r *Runner) view(c Cmd) ([]string, error) {
	hidden, err := r.hidden()
	if err != nil {
		return nil, err
	}
	if c.Dir != "" {
		if err := checkDir(c.Dir); err != nil {
			return nil, err
		}
	}
	if c.Sandbox == nil {
		args := []string{"--dev-bind", "/", "/", "--proc", "/proc"}
		for _, dir := range hidden {
			args = append(args, "--tmpfs", dir)
		}
		return args, nil
	}
	return r.sandboxView(c, hidden)
}

func checkDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("working folder %s is not an absolute path", dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("working folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("working folder %s is not a folder", dir)
	}
	return nil
}

// hidden resolves the folders to hide; what does not exist needs no hiding.
func (r *Runner) hidden() ([]string, error) {
	var dirs []string
	for _, dir := range r.hide {
		resolved, err := filepath.EvalSymlinks(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("hide %s: %w", dir, err)
		}
		dirs = append(dirs, resolved)
	}
	return dirs, nil
}

func (r *Runner) sandboxView(c Cmd, hidden []string) ([]string, error) {
	if c.Root && r.Identity() != nil {
		return nil, errors.New("a sandboxed program does not run as root")
	}
	args := []string{"--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"}
	if c.Sandbox.Network != NetworkHost {
		args = append(args, "--unshare-net")
	}
	args = append(args, systemView()...)
	if c.Sandbox.Network == NetworkHost {
		args = append(args, resolverView()...)
	}
	folders, err := folderView(*c.Sandbox, hidden)
	if err != nil {
		return nil, err
	}
	args = append(args, folders...)
	if proxied(c) {
		bridge, err := r.bridgeView(c)
		if err != nil {
			return nil, err
		}
		args = append(args, bridge...)
	}
	if r.showsCA(c) {
		args = append(args, show("--ro-bind", r.caFile, r.caFile)...)
	}
	return append(args, "--remount-ro", "/"), nil
}

// systemView shows the system read-only, with empty places to write.
func systemView() []string {
	args := []string{"--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		info, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if target, err := os.Readlink(dir); err == nil {
			args = append(args, "--symlink", target, dir)
		} else if info.IsDir() {
			args = append(args, "--ro-bind", dir, dir)
		}
	}
	return append(args,
		"--proc", "/proc", "--dev", "/dev",
		"--perms", "1777", "--size", shmSize, "--tmpfs", "/dev/shm",
		"--remount-ro", "/dev",
		"--perms", "1777", "--size", tmpSize, "--tmpfs", "/tmp",
		"--dir", "/var", "--symlink", "/tmp", "/var/tmp", "--dir", "/home",
		"--perms", "1777", "--size", homeSize, "--tmpfs", sandboxHome,
	)
}

// resolverView shows the name servers' file where /etc only links to it.
func resolverView() []string {
	file, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil || strings.HasPrefix(file, "/etc/") {
		return nil
	}
	return show("--ro-bind", file, file)
}

// show mounts source at path. The folders above it are made first: bwrap itself
// would make them for root alone.
func show(kind, source, path string) []string {
	var args []string
	for i, r := range path {
		if r == '/' && i > 0 {
			args = append(args, "--dir", path[:i])
		}
	}
	return append(args, kind, source, path)
}

// mount is one folder of a sandbox.
type mount struct {
	path string
	kind string // bwrap's option
}

// folderView shows the folders that s names, parents before children, so that
// a writable folder may lie in a readable one. A hidden folder within a named
// one stays hidden.
func folderView(s Sandbox, hidden []string) ([]string, error) {
	var mounts []mount
	add := func(dirs []string, kind string) error {
		for _, dir := range dirs {
			masks, err := masksIn(dir, hidden)
			if err != nil {
				return err
			}
			mounts = append(mounts, mount{filepath.Clean(dir), kind})
			mounts = append(mounts, masks...)
		}
		return nil
	}
	if err := errors.Join(add(s.ReadOnly, "--ro-bind"), add(s.Writable, "--bind")); err != nil {
		return nil, err
	}
	slices.SortStableFunc(mounts, func(a, b mount) int { return strings.Compare(a.path, b.path) })
	var args []string
	for _, m := range mounts {
		if m.kind == "--tmpfs" {
			args = append(args, m.kind, m.path)
			continue
		}
		args = append(args, show(m.kind, m.path, m.path)...)
	}
	return args, nil
}

// masksIn finds the hidden folders that showing dir would show.
func masksIn(dir string, hidden []string) ([]mount, error) {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return nil, fmt.Errorf("sandbox folder %q is not an absolute path below /", dir)
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("sandbox folder: %w", err)
	}
	var masks []mount
	for _, h := range hidden {
		rel, err := filepath.Rel(resolved, h)
		switch {
		case err != nil || rel == ".." || strings.HasPrefix(rel, "../"):
			continue
		case rel == ".":
			return nil, fmt.Errorf("sandbox folder %s is one that no program may see", dir)
		default:
			masks = append(masks, mount{filepath.Join(dir, rel), "--tmpfs"})
		}
	}
	return masks, nil
}

// bridgeView shows our own binary and the proxy's socket.
func (r *Runner) bridgeView(c Cmd) ([]string, error) {
	if c.Sandbox.Proxy == "" {
		return nil, errors.New("a sandbox with NetworkProxy needs Sandbox.Proxy")
	}
	info, err := os.Stat(r.self)
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	if r.switchTo(c) != nil && info.Mode()&0o001 == 0 {
		return nil, models.Errorf(models.Unavailable,
			"Other users may not execute %s, so sandboxed programs cannot reach the network. Allow it with: chmod 755 %s", r.self, r.self)
	}
	return append(show("--ro-bind", r.self, sandboxBridge), show("--bind", c.Sandbox.Proxy, sandboxSocket)...), nil
}
