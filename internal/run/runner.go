package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hefring/models"
)

// DefaultPath is where programs are looked for.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// grace is the time between asking a program to end and killing its tree.
const grace = 2 * time.Second

// Config is what a Runner needs to know.
type Config struct {
	Identity *Identity // who programs run as when we are root; nil: ourselves
	Path     string    // "" means DefaultPath
	Hide     []string  // folders of the control plane that no program may see
	// CAFile is a file of certificate authorities that sandboxed programs which
	// reach the network trust; "" means the system's.
	CAFile string
	// Uncontained does without bubblewrap: programs see all that their user
	// sees, a Sandbox is only a wish, and what detaches itself may outlive us.
	// It is for machines that let nobody make namespaces, and the operator's to
	// decide.
	Uncontained bool
}

// Contained tells whether programs can be contained here: nil, or a models.Error
// that says what is in the way.
func (r *Runner) Contained(ctx context.Context) error {
	strict := *r
	strict.bare = false
	_, err := strict.Run(ctx, Cmd{Name: "/bin/true", Sandbox: &Sandbox{}})
	return err
}

// Runner starts programs. It may be used by many goroutines.
type Runner struct {
	identity *Identity
	path     string
	hide     []string
	caFile   string
	bare     bool
	self     string // our own binary, for the bridge; "" when unknown
}

// New makes a Runner. From then on no file that this process was started with
// is passed on to programs: an inherited folder would be a way out of every
// sandbox.
func New(c Config) *Runner {
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) // fails on kernels before 5.11 only
	r := &Runner{identity: c.Identity, path: c.Path, hide: slices.Clone(c.Hide), caFile: c.CAFile, bare: c.Uncontained}
	if r.path == "" {
		r.path = DefaultPath
	}
	if self, err := os.Executable(); err == nil {
		r.self = self
	}
	return r
}

// LookPath finds a program on the Runner's path; an absolute name stays as it
// is. What is missing or not executable is ErrNotFound.
func (r *Runner) LookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		if !executable(name) {
			return "", notFound(name)
		}
		return name, nil
	}
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("find program %q: neither a name nor an absolute path", name)
	}
	for _, dir := range filepath.SplitList(r.path) {
		if file := filepath.Join(dir, name); executable(file) {
			return file, nil
		}
	}
	return "", notFound(name)
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// Run runs a program to its end. When ctx ends or the time limit is reached the
// program is asked to end (SIGTERM) and two seconds later killed with all its
// descendants; when Run returns none of them lives, Cmd.Service apart.
//
// A program that does not succeed is an *ExitError; a time limit is ErrTimeout;
// the end of ctx is context.Cause(ctx); a missing program is ErrNotFound.
// Result holds what there is also then.
func (r *Runner) Run(ctx context.Context, c Cmd) (Result, error) {
	start := time.Now()
	p, err := r.plan(c)
	if err != nil {
		return Result{ExitCode: -1}, err
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, stop := context.WithTimeoutCause(ctx, timeout, ErrTimeout)
	defer stop()
	res, err := p.run(ctx)
	res.Took = time.Since(start)
	if errors.Is(err, ErrTimeout) {
		err = models.Wrapf(models.Unavailable, err, "%s took longer than its limit of %s and was stopped.",
			title(c.Name, firstArg(c)), timeout)
	}
	return res, err
}

// plan is a Cmd that is ready to start.
type plan struct {
	cmd     Cmd
	argv    []string
	options []string // for bwrap, which reads them from descriptor 4
	env     []string
	dir     string
	attr    *syscall.SysProcAttr
	wrapped bool // by bwrap, which reports on descriptor 3
}

func (r *Runner) plan(c Cmd) (*plan, error) {
	program, err := r.LookPath(c.Name)
	if err != nil {
		return nil, err
	}
	env, err := r.environ(c)
	if err != nil {
		return nil, err
	}
	c.Limits = c.Limits.withDefaults()
	if c.Service {
		return r.planService(c, program, env), nil
	}
	if r.bare {
		return r.planBare(c, program, env)
	}
	argv, options, err := r.wrap(c, program)
	if err != nil {
		return nil, err
	}
	return &plan{cmd: c, argv: argv, options: options, env: env, dir: "/", attr: treeAttr(), wrapped: true}, nil
}

func (r *Runner) planService(c Cmd, program string, env []string) *plan {
	attr := &syscall.SysProcAttr{Setsid: true}
	if id := r.switchTo(c); id != nil {
		attr.Credential = &syscall.Credential{Uid: id.UID, Gid: id.GID, Groups: []uint32{}}
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	return &plan{cmd: c, argv: append([]string{program}, c.Args...), env: env, dir: dir, attr: attr}
}

// planBare starts the program like a service, with its limits, and with the
// bridge to its proxy where it asked for one. It dies with us, and what it left
// in its process group as well.
func (r *Runner) planBare(c Cmd, program string, env []string) (*plan, error) {
	prlimit, err := r.LookPath("prlimit")
	if err != nil {
		return nil, err
	}
	if c.Dir != "" {
		if err := checkDir(c.Dir); err != nil {
			return nil, fmt.Errorf("run %s: %w", filepath.Base(c.Name), err)
		}
	}
	p := r.planService(c, program, env)
	p.attr.Pdeathsig = syscall.SIGKILL
	p.argv = append(append([]string{prlimit}, limitArgs(c.Limits)...), append([]string{"--"}, p.argv...)...)
	if proxied(c) {
		return r.bridgeBare(p)
	}
	return p, nil
}

// bridgeBare starts our own binary first, as ourselves, which then switches.
func (r *Runner) bridgeBare(p *plan) (*plan, error) {
	if p.cmd.Sandbox.Proxy == "" {
		return nil, errors.New("a program with NetworkProxy needs Sandbox.Proxy")
	}
	if id := r.switchTo(p.cmd); id != nil {
		setpriv, err := r.LookPath("setpriv")
		if err != nil {
			return nil, err
		}
		p.attr.Credential = nil
		p.argv = append(append([]string{setpriv}, switchArgs(id)...), append([]string{"--pdeathsig=KILL", "--"}, p.argv...)...)
	}
	p.argv = append([]string{r.self, bridgeVerb, p.cmd.Sandbox.Proxy, "--"}, p.argv...)
	for i, entry := range p.env { // what names the bridge as it is in a sandbox, such as SSHProxyCommand
		p.env[i] = strings.ReplaceAll(entry, sandboxBridge+" ", r.self+" ")
	}
	return p, nil
}

// treeAttr makes the first process the init of a new pid namespace that the
// kernel kills when our thread ends, whoever ends it: with it goes every
// descendant, setsid or not. bwrap's own --die-with-parent is armed only after
// it has started the program, too late for a kill in its first milliseconds.
//
// bwrap (0.8 at least) then takes its child's number in that namespace, which is
// 2, and looks it up in the /proc of the namespace above. On a machine that finds
// a thread of the kernel and does no harm. In a container, or where /proc hides
// other users' processes, there is nothing, and bwrap gives up; so there it has to
// do without our namespace, and with its own --die-with-parent.
func treeAttr() *syscall.SysProcAttr {
	if !secondStays() {
		return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	}
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID}
	if uid := os.Geteuid(); uid != 0 {
		gid := os.Getegid()
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	return attr
}

// secondStays tells whether /proc shows a process with the number 2 that will not
// end before us: the kernel's, or ourselves.
func secondStays() bool {
	if os.Getpid() == 2 {
		return true
	}
	name, err := os.ReadFile("/proc/2/comm")
	return err == nil && strings.TrimSpace(string(name)) == "kthreadd"
}

// switchTo is the identity that c runs as, nil for our own.
func (r *Runner) switchTo(c Cmd) *Identity {
	switch {
	case c.Root, os.Geteuid() != 0:
		return nil
	case c.As != nil:
		return c.As
	default:
		return r.Identity()
	}
}

// environ completes c's environment. Variables that the dynamic loader obeys
// are refused: they would act on the helpers that still run as root.
func (r *Runner) environ(c Cmd) ([]string, error) {
	seen := map[string]bool{}
	for _, entry := range c.Env {
		key, value, found := strings.Cut(entry, "=")
		if !found || key == "" || strings.ContainsRune(key+value, 0) {
			return nil, fmt.Errorf("run %s: malformed environment variable %q", filepath.Base(c.Name), key)
		}
		if strings.HasPrefix(key, "LD_") || strings.HasPrefix(key, "GLIBC_") || key == "GCONV_PATH" || key == "LOCPATH" {
			return nil, fmt.Errorf("run %s: environment variable %s is not allowed", filepath.Base(c.Name), key)
		}
		seen[key] = true
	}
	env := slices.Clone(c.Env)
	added := map[string]string{"PATH": r.path, "HOME": r.home(c), "LANG": "C.UTF-8"}
	if r.showsCA(c) { // git, composer, and what uses OpenSSL
		added["GIT_SSL_CAINFO"], added["COMPOSER_CAFILE"], added["SSL_CERT_FILE"] = r.caFile, r.caFile, r.caFile
	}
	for key, value := range added {
		if !seen[key] {
			env = append(env, key+"="+value)
		}
	}
	if proxied(c) {
		env = append(env, instrumented()...)
	}
	return env, nil
}

// showsCA tells whether the program needs our own certificate authorities.
func (r *Runner) showsCA(c Cmd) bool { return r.caFile != "" && proxied(c) }

func (r *Runner) home(c Cmd) string {
	if c.Sandbox != nil && !r.bare {
		return sandboxHome
	}
	if id := r.switchTo(c); id != nil && id.Home != "" {
		return id.Home
	}
	if home, err := os.UserHomeDir(); err == nil {
		return home
	}
	return "/"
}

// run starts the program, passes its output on and waits for its end.
func (p *plan) run(parent context.Context) (Result, error) {
	ctx, abort := context.WithCancelCause(parent)
	defer abort(nil)

	// The kernel sends the parent-death signal when the starting thread ends, so
	// this thread must live as long as the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var stopped atomic.Bool
	cmd := p.command(ctx, &stopped)
	pipes, err := p.connect(cmd)
	if err != nil {
		return Result{ExitCode: -1}, err
	}
	defer pipes.close()
	if err := cmd.Start(); err != nil {
		return Result{ExitCode: -1}, p.startError(err)
	}
	if err := pipes.open(p.options); err != nil {
		abort(err)
	}

	out := &output{limit: p.cmd.Limits.OutputBytes}
	copied := pipes.collect(out, p.cmd, func() { abort(ErrOutputLimit) })
	fed := pipes.feed(p.cmd.Stdin)
	waitErr := cmd.Wait()
	if !p.wrapped && (stopped.Load() || !p.cmd.Service) { // the rest of a service that did not come up, or of a bare program
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	p.await(ctx, copied, pipes)
	wait(fed, grace/4)

	res := Result{ExitCode: -1}
	var writeErr error
	res.Stdout, res.Stderr, writeErr = out.finish()
	if cause := context.Cause(ctx); cause != nil && (stopped.Load() || !isClosed(copied)) {
		return res, p.stopError(cause)
	}
	if res.ExitCode, err = p.exit(waitErr, pipes.status.text(), res); err != nil {
		return res, err
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrOutputLimit) {
		return res, p.stopError(cause)
	}
	if writeErr != nil {
		return res, fmt.Errorf("pass on output of %s: %w", title(p.cmd.Name, firstArg(p.cmd)), writeErr)
	}
	return res, nil
}

func (p *plan) command(ctx context.Context, stopped *atomic.Bool) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...) //nolint:gosec // starting programs is what this package is for
	cmd.Env, cmd.Dir, cmd.SysProcAttr = p.env, p.dir, p.attr
	cmd.WaitDelay = grace
	cmd.Cancel = func() error {
		stopped.Store(true)
		p.terminate(cmd.Process.Pid)
		return nil
	}
	return cmd
}

// terminate asks the program to end. Around it stand bwrap's two processes,
// which would take everything with them at once, so they are left alone. When
// the grace is over os/exec kills the outer one, and the kernel the rest.
func (p *plan) terminate(pid int) {
	if !p.wrapped {
		_ = syscall.Kill(-pid, syscall.SIGTERM)
		return
	}
	found := false
	for _, inner := range children(pid) {
		for _, program := range children(inner) {
			found = true
			_ = syscall.Kill(program, syscall.SIGTERM)
		}
	}
	if !found { // not up yet
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// await waits until all output is passed on. A wrapped program's tree is dead
// by now, so the pipes end; a daemon may hold them for ever, and a caller's
// writer may be stuck: those are left after a while.
func (p *plan) await(ctx context.Context, copied <-chan struct{}, pipes *pipes) {
	if !p.wrapped && !wait(copied, grace/4) {
		pipes.stdout.closeReader()
		pipes.stderr.closeReader()
	}
	select {
	case <-copied:
	case <-ctx.Done():
		wait(copied, grace/4)
	}
}

// wait waits for c to be closed, for a while; false when it was not.
func wait(c <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

// exit tells how the program ended.
func (p *plan) exit(waitErr error, status []byte, res Result) (int, error) {
	code, err := exitCode(waitErr)
	if err != nil {
		return -1, fmt.Errorf("run %s: %w", title(p.cmd.Name, firstArg(p.cmd)), err)
	}
	if p.wrapped && !bytes.Contains(status, []byte(`"exit-code"`)) {
		return -1, p.sandboxError(code, res.Stderr)
	}
	if code == 0 {
		return 0, nil
	}
	e := newExitError(p.cmd, code, res.Stdout, res.Stderr)
	if e.Signal != 0 {
		code = -1
	}
	return code, e
}

func exitCode(waitErr error) (int, error) {
	if waitErr == nil || errors.Is(waitErr, exec.ErrWaitDelay) {
		return 0, nil
	}
	exit, ok := errors.AsType[*exec.ExitError](waitErr)
	if !ok {
		return -1, waitErr
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

func (p *plan) stopError(cause error) error {
	name := title(p.cmd.Name, firstArg(p.cmd))
	if errors.Is(cause, ErrOutputLimit) {
		return models.Wrapf(models.Unavailable, cause, "%s wrote more than the %d bytes that are accepted from it and was stopped.",
			name, p.cmd.Limits.OutputBytes)
	}
	return fmt.Errorf("run %s: %w", name, cause)
}

func (p *plan) startError(err error) error {
	name := title(p.cmd.Name, firstArg(p.cmd))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		return models.Wrapf(models.Unavailable, err, "%s was not started: %s", name, noNamespaces)
	}
	return fmt.Errorf("run %s: %w", name, err)
}

const noNamespaces = "this machine does not let Hefring make namespaces, and without them programs could not be contained. " +
	"Run Hefring as root, or allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, " +
	"kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces). “hefring doctor” says what is in the way; " +
	"--allow-unsandboxed-builds does without, at your risk."

const noProc = "parts of /proc are covered here, as container engines do it, and the kernel then gives no sandbox a /proc of its own. " +
	"Start the container with --security-opt unmask=ALL (podman) or --security-opt systempaths=unconfined (docker), " +
	"or run Hefring outside of one; --allow-unsandboxed-builds does without a sandbox, at your risk."

// sandboxError is for a bwrap that never came to start the program.
func (p *plan) sandboxError(code int, stderr []byte) error {
	name := title(p.cmd.Name, firstArg(p.cmd))
	text := lastLine(cleanText(stderr))
	if strings.Contains(text, "mount proc on") {
		return models.Wrapf(models.Unavailable, fmt.Errorf("%w: %s", ErrProcCovered, text), "%s was not started: %s", name, noProc)
	}
	for _, sign := range []string{"new namespace", "uid map", "Operation not permitted"} {
		if strings.Contains(text, sign) {
			return models.Wrapf(models.Unavailable, errors.New(text), "%s was not started: %s", name, noNamespaces)
		}
	}
	if text == "" {
		text = fmt.Sprintf("bwrap ended with %d", code)
	}
	return fmt.Errorf("run %s: prepare sandbox: %s", name, text)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pipes connect us to one program.
type pipes struct {
	stdin, stdout, stderr, status, options pipe
}

type pipe struct {
	r, w *os.File
}

func (p *plan) connect(cmd *exec.Cmd) (*pipes, error) {
	ps := &pipes{}
	for _, end := range ps.all() {
		r, w, err := os.Pipe()
		if err != nil {
			ps.close()
			return nil, fmt.Errorf("run %s: %w", filepath.Base(p.cmd.Name), err)
		}
		end.r, end.w = r, w
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = ps.stdin.r, ps.stdout.w, ps.stderr.w
	if p.wrapped {
		cmd.ExtraFiles = []*os.File{ps.status.w, ps.options.r}
	}
	return ps, nil
}

// collect drains all pipes; the channel is closed when they have ended.
func (ps *pipes) collect(out *output, c Cmd, overflow func()) <-chan struct{} {
	var group sync.WaitGroup
	group.Go(func() { out.copyStdout(ps.stdout.r, c.Stdout, overflow) })
	group.Go(func() { out.copyStderr(ps.stderr.r, c.Stderr) })
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return done
}

// feed passes stdin on; the channel is closed at its end. A reader that never
// answers is left behind.
func (ps *pipes) feed(stdin io.Reader) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer ps.stdin.closeWriter()
		if stdin != nil {
			_, _ = io.Copy(ps.stdin.w, stdin)
		}
	}()
	return done
}

func (ps *pipes) all() []*pipe {
	return []*pipe{&ps.stdin, &ps.stdout, &ps.stderr, &ps.status, &ps.options}
}

// open lets a started program go. bwrap gets its options only now, when the
// kernel has been told to kill it with us: were we killed before, it would find
// none, see no file system and end.
func (ps *pipes) open(options []string) error {
	for _, p := range []*pipe{&ps.stdout, &ps.stderr, &ps.status} {
		p.closeWriter()
	}
	ps.stdin.closeReader()
	ps.options.closeReader()
	defer ps.options.closeWriter()
	if len(options) == 0 {
		return nil
	}
	_, err := ps.options.w.WriteString(strings.Join(options, "\x00") + "\x00")
	return err
}

func (ps *pipes) close() {
	for _, p := range ps.all() {
		p.closeReader()
		p.closeWriter()
	}
}

func (p *pipe) closeReader() {
	if p.r != nil {
		_ = p.r.Close()
	}
}

func (p *pipe) closeWriter() {
	if p.w != nil {
		_ = p.w.Close()
	}
}

// text is what bwrap reported: a few hundred bytes that fit into the pipe. All
// its writers have ended when it is read.
func (p *pipe) text() []byte {
	text, _ := io.ReadAll(io.LimitReader(p.r, 4096))
	return text
}
