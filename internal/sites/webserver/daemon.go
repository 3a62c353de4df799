package webserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/internal/run"
	"hefring/models"
)

// daemon is nginx or php-fpm: a master process that outlives us, with workers.
type daemon struct {
	name    string
	tree    tree
	pidFile string
	log     string
	// master and worker begin the titles of their processes; conf is in the
	// master's, too, and tells ours from every other on the machine.
	master, worker, conf string
	reload               syscall.Signal
	runner               *run.Runner
	program              func() (string, error)
	args                 func(folder string) []string
	test                 []string // arguments that make it only check its configuration
	ports                []string // addresses that must be free before it starts
	// answers asks the daemon which version of its configuration it runs with.
	answers func(ctx context.Context) (string, error)
	// system is how it is handled when it is the machine's own; nil: it is ours.
	system *commands
}

// apply makes the daemon run with a configuration. If the daemon refuses it, the
// one before stays in force.
func (d *daemon) apply(ctx context.Context, c configuration) error {
	version, content, err := c.versioned()
	if err != nil {
		return err
	}
	previous, err := d.tree.current()
	if err != nil {
		return err
	}
	if err := d.tree.write(version, content); err != nil {
		return err
	}
	if version != previous {
		if err := d.check(ctx, version); err != nil {
			return errors.Join(err, d.tree.prune(previous))
		}
		// Before the swap, so that whoever is killed here finds it to do again.
		if d.rebinds(previous, version) {
			if err := d.stop(ctx); err != nil {
				return errors.Join(err, d.goBack(ctx, previous, version))
			}
		}
		if err := d.swap(previous, version); err != nil {
			return err
		}
	}
	if err := d.bring(ctx, version); err != nil {
		return errors.Join(err, d.goBack(ctx, previous, version))
	}
	if err := d.tree.forget(); err != nil {
		return err
	}
	return d.tree.prune(version)
}

// rebinds tells whether a reload cannot lead from one configuration to the other: the
// daemon keeps its ports until it has the new ones, and the kernel gives a port of all
// addresses to nobody while it is in use at one of them, nor the other way round.
func (d *daemon) rebinds(previous, version string) bool {
	if d.system != nil {
		return false
	}
	before, after := d.listens(previous), d.listens(version)
	for port, addresses := range before {
		wanted, found := after[port]
		if found && wanted != addresses && slices.ContainsFunc([]string{wanted, addresses}, func(a string) bool {
			return strings.Contains(a, "0.0.0.0") || strings.Contains(a, "[::]")
		}) {
			return true
		}
	}
	return false
}

var listenPattern = regexp.MustCompile(`(?m)^\s*listen (\S+):(\d+)\b`)

// listens are the addresses that a configuration binds, by port. One that cannot be
// read binds none: there is nothing then to reload.
func (d *daemon) listens(version string) map[string]string {
	text, err := os.ReadFile(filepath.Join(d.tree.folder(version), d.name+".conf"))
	if err != nil {
		return nil
	}
	addresses := map[string]string{}
	for _, match := range listenPattern.FindAllStringSubmatch(string(text), -1) {
		addresses[match[2]] += " " + match[1]
	}
	return addresses
}

// swap puts a version in force on the disk. The system's own test can look at it
// only then, so until it has, there is a note of the one before.
func (d *daemon) swap(previous, version string) error {
	if d.system != nil {
		if err := d.tree.note(previous); err != nil {
			return err
		}
	}
	return d.tree.use(version)
}

// goBack puts the configuration before a failed one in force again. The context
// that the failure may have ended does not end it.
func (d *daemon) goBack(ctx context.Context, previous, failed string) error {
	if previous == failed {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if previous == "" {
		return errors.Join(os.Remove(d.tree.link), d.tree.prune(""))
	}
	if err := errors.Join(d.tree.use(previous), d.tree.forget()); err != nil {
		return err
	}
	if previous == emptyVersion {
		return errors.Join(d.letGo(ctx), d.tree.prune(previous))
	}
	if err := d.bring(ctx, previous); err != nil {
		return err
	}
	return d.tree.prune(previous)
}

// check lets the daemon's program read a configuration that is not yet in force.
func (d *daemon) check(ctx context.Context, version string) error {
	program, err := d.program()
	if err != nil {
		return err
	}
	args := append(d.args(d.tree.folder(version)), d.test...)
	result, err := d.runner.Run(ctx, run.Cmd{Name: program, Args: args, Service: true, Root: true, Timeout: startTimeout})
	if err == nil {
		return nil
	}
	if reason := complaint(string(result.Stderr)); reason != "" {
		return models.Wrapf(models.Invalid, err, "%s refuses the new configuration, so the old one stays: %s", d.name, reason)
	}
	return fmt.Errorf("check configuration of %s: %w", d.name, err)
}

// complaint finds the line of a daemon's output that says what is wrong.
func complaint(output string) string {
	found := ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		for _, mark := range []string{"[emerg]", "ERROR:"} {
			if at := strings.Index(line, mark); at >= 0 && found == "" {
				found = strings.TrimSpace(line[at+len(mark):])
			}
		}
	}
	return found
}

// bring starts or reloads the daemon until it answers with that version.
func (d *daemon) bring(ctx context.Context, version string) error {
	if d.system != nil {
		return d.bringSystem(ctx, version)
	}
	_, running, err := d.process()
	if err != nil {
		return err
	}
	if running && d.says(ctx, version) { // orphans of a killed master answer, too
		return nil
	}
	logged := d.logSize()
	workers, err := d.workers()
	if err != nil {
		return err
	}
	if running, err = d.signal(d.reload); err != nil {
		return err
	}
	limit := reloadTimeout
	if !running {
		limit = startTimeout
		workers = nil
		if err := d.start(ctx); err != nil {
			return err
		}
	}
	ctx, stop := context.WithTimeoutCause(ctx, limit, errors.New("it does not answer with its configuration"))
	defer stop()
	err = poll(ctx, func() (bool, error) {
		if d.gaveUp(logged) {
			return false, errors.New("it refused its configuration")
		}
		return d.settled(ctx, version, workers)
	})
	if err != nil {
		return d.silence(err, logged)
	}
	return nil
}

// gaveUp tells whether nginx has logged that it stays with the configuration it
// had. A port that is taken it tries several times.
func (d *daemon) gaveUp(logged int64) bool {
	for line := range strings.Lines(d.logSince(logged)) {
		if strings.Contains(line, "[emerg]") && !strings.Contains(line, "bind() to") {
			return true
		}
	}
	return false
}

func (d *daemon) says(ctx context.Context, version string) bool {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	answer, err := d.answers(ctx)
	return err == nil && answer == version
}

// settled tells whether the daemon answers with that version and none of the
// workers before still takes requests.
func (d *daemon) settled(ctx context.Context, version string, before map[int]string) (bool, error) {
	if !d.says(ctx, version) {
		return false, nil
	}
	for pid, title := range before {
		// A worker that is about to end says so in its title.
		if p, found := readProcess(pid); found && p.title == title {
			return false, nil
		}
	}
	return true, nil
}

func (d *daemon) silence(err error, logged int64) error {
	reason := complaint(d.logSince(logged))
	if reason == "" {
		reason = err.Error()
	}
	return models.Wrapf(models.Unavailable, err, "%s does not come up: %s. Its log is %s.", d.name, strings.TrimSuffix(reason, "."), d.log)
}

// start runs the program, which puts itself into the background.
func (d *daemon) start(ctx context.Context) error {
	program, err := d.program()
	if err != nil {
		return err
	}
	if err := d.clearOrphans(ctx); err != nil {
		return err
	}
	if err := d.checkPorts(ctx); err != nil {
		return err
	}
	result, err := d.runner.Run(ctx, run.Cmd{Name: program, Args: d.args(d.tree.link), Service: true, Root: true, Timeout: startTimeout})
	if err == nil {
		return nil
	}
	if reason := complaint(string(result.Stderr)); reason != "" {
		return models.Wrapf(models.Unavailable, err, "%s does not start: %s. Its log is %s.", d.name, reason, d.log)
	}
	return fmt.Errorf("start %s: %w", d.name, err)
}

// process finds our master process. What a pid file says is not enough: the
// number may have come to mean another process.
func (d *daemon) process() (process, bool, error) {
	if p, found := readProcess(d.pid()); found && d.owns(p) {
		return p, true, nil
	}
	// Somebody may have removed the pid file of a running daemon.
	list, err := processes()
	if err != nil {
		return process{}, false, err
	}
	for _, p := range list {
		if d.owns(p) {
			return p, true, nil
		}
	}
	return process{}, false, nil
}

func (d *daemon) owns(p process) bool {
	return p.uid == uint32(os.Geteuid()) && strings.HasPrefix(p.title, d.master) && strings.Contains(p.title, d.conf) //nolint:gosec // a uid fits
}

// pid is what the pid file says, 0 for nothing.
func (d *daemon) pid() int {
	text, err := os.ReadFile(d.pidFile)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// signal sends a signal to our master process, and tells whether there is one.
func (d *daemon) signal(sig syscall.Signal) (bool, error) {
	p, found, err := d.process()
	if err != nil || !found {
		return false, err
	}
	sent, err := signalTo(p.pid, sig, d.owns)
	if err != nil {
		return false, fmt.Errorf("signal %s (process %d): %w", d.name, p.pid, err)
	}
	return sent, nil
}

// signalTo sends a signal to a process that still is what is meant. The handle
// is taken first: from then on the number cannot change its meaning.
func signalTo(pid int, sig syscall.Signal, meant func(process) bool) (bool, error) {
	handle, err := os.FindProcess(pid)
	if err != nil {
		return false, err
	}
	defer func() { _ = handle.Release() }()
	if p, found := readProcess(pid); !found || !meant(p) {
		return false, nil
	}
	err = handle.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return false, nil
	}
	return err == nil, err
}

// workers are the running workers of our master process, with their titles.
func (d *daemon) workers() (map[int]string, error) {
	master, found, err := d.process()
	if err != nil || !found {
		return nil, err
	}
	list, err := processes()
	if err != nil {
		return nil, err
	}
	workers := map[int]string{}
	for _, p := range list {
		if p.parent == master.pid && strings.HasPrefix(p.title, d.worker) && !strings.HasSuffix(p.title, "is shutting down") {
			workers[p.pid] = p.title
		}
	}
	return workers, nil
}

// orphans are workers of a master that was killed. They go on serving and keep
// its port or socket. Their session is still named after it, and as long as one
// of them lives no other process gets its number.
func (d *daemon) orphans() ([]process, error) {
	master := d.pid()
	if master == 0 {
		return nil, nil
	}
	if p, found := readProcess(master); found && p.title != "" {
		return nil, nil // ours, or another that got its number: then no orphan is left
	}
	list, err := processes()
	if err != nil {
		return nil, err
	}
	var orphans []process
	for _, p := range list {
		if p.session == master && d.orphaned(p) {
			orphans = append(orphans, p)
		}
	}
	return orphans, nil
}

func (d *daemon) orphaned(p process) bool { return strings.HasPrefix(p.title, d.worker) }

// clearOrphans lets orphans finish what they do and go. Those that take no new
// requests any more are not waited for long.
func (d *daemon) clearOrphans(ctx context.Context) error {
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		gone, err := d.dismiss(ctx, sig)
		if err != nil {
			return fmt.Errorf("end left-over workers of %s: %w", d.name, err)
		}
		if gone {
			return nil
		}
	}
	return models.Errorf(models.Unavailable, "Workers of %s that was killed do not end. Its log is %s.", d.name, d.log)
}

// dismiss signals orphans and tells whether all are gone in time.
func (d *daemon) dismiss(ctx context.Context, sig syscall.Signal) (bool, error) {
	orphans, err := d.orphans()
	if err != nil || len(orphans) == 0 {
		return err == nil, err
	}
	for _, p := range orphans {
		if _, err := signalTo(p.pid, sig, d.orphaned); err != nil {
			return false, err
		}
	}
	return d.within(ctx, quitTimeout, func() (bool, error) {
		left, err := d.orphans()
		return len(left) == 0, err
	})
}

// within waits for a condition and tells whether it came in time.
func (d *daemon) within(ctx context.Context, limit time.Duration, done func() (bool, error)) (bool, error) {
	late := errors.New("late")
	ctx, stop := context.WithTimeoutCause(ctx, limit, late)
	defer stop()
	err := poll(ctx, done)
	if errors.Is(err, late) {
		return false, nil
	}
	return err == nil, err
}

// stop ends the daemon: first politely, so that requests may finish.
func (d *daemon) stop(ctx context.Context) error {
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGKILL} {
		found, err := d.signal(sig)
		if err != nil {
			return err
		}
		if !found {
			break
		}
		gone, err := d.within(ctx, quitTimeout, func() (bool, error) {
			_, found, err := d.process()
			return !found, err
		})
		if err != nil {
			return fmt.Errorf("stop %s: %w", d.name, err)
		}
		if gone {
			break
		}
	}
	return d.clearOrphans(ctx)
}

func (d *daemon) status(ctx context.Context) DaemonStatus {
	if d.system != nil {
		return d.systemStatus(ctx)
	}
	p, found, err := d.process()
	if err != nil {
		return DaemonStatus{Message: err.Error()}
	}
	if !found {
		return DaemonStatus{Message: d.name + " is not running. Its log is " + d.log + "."}
	}
	version, err := d.tree.current()
	if err != nil {
		return DaemonStatus{PID: p.pid, Message: err.Error()}
	}
	if !d.says(ctx, version) {
		return DaemonStatus{PID: p.pid, Message: d.name + " runs but does not answer with its current configuration. Its log is " + d.log + "."}
	}
	return DaemonStatus{PID: p.pid, Current: true}
}

func (d *daemon) logSize() int64 {
	info, err := os.Stat(d.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince reads at most 64 KiB of what was logged since the log had that size.
func (d *daemon) logSince(size int64) string {
	file, err := os.Open(d.log)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	text := make([]byte, 64<<10)
	n, _ := file.ReadAt(text, size)
	return string(text[:n])
}
