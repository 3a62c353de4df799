package webserver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"hefring/internal/run"
	"hefring/models"
)

// System holds the commands for the machine's own daemons, each a program with
// its arguments. Empty ones are Debian's: nginx -t, systemctl reload nginx, and
// the same for php-fpm.
type System struct {
	TestNginx, ReloadNginx []string
	TestPHP, ReloadPHP     []string
}

// commands handle one daemon of the machine.
type commands struct {
	test, reload []string
	include      string // the line that its configuration must have
	server       *Server
}

// NginxInclude is the line that the system's nginx needs in its http block.
func (s *Server) NginxInclude() string { return "include " + s.path("nginx") + "/*.conf;" }

// PHPInclude is the line that the system's php-fpm needs among its pools.
func (s *Server) PHPInclude() string { return "include=" + s.path("php") + "/*.conf" }

func (s *Server) systemNginx() *commands {
	if s.cfg.Mode != ModeSystem {
		return nil
	}
	return &commands{
		test:    either(s.cfg.System.TestNginx, "nginx", "-t"),
		reload:  either(s.cfg.System.ReloadNginx, "systemctl", "reload", "nginx"),
		include: s.NginxInclude(), server: s,
	}
}

func (s *Server) systemPHP() *commands {
	if s.cfg.Mode != ModeSystem {
		return nil
	}
	program, err := s.findFPM()
	if err != nil {
		program = "php-fpm" // the command that fails names it
	}
	return &commands{
		test:    either(s.cfg.System.TestPHP, program, "--test"),
		reload:  either(s.cfg.System.ReloadPHP, "systemctl", "reload", unitOf(program)),
		include: s.PHPInclude(), server: s,
	}
}

// unitOf is systemd's name for php-fpm. Debian calls the program php-fpm8.2 and its
// unit php8.2-fpm.
func unitOf(program string) string {
	name := filepath.Base(program)
	if version, ok := strings.CutPrefix(name, "php-fpm"); ok && version != "" {
		return "php" + version + "-fpm"
	}
	return name
}

func either(command []string, usual ...string) []string {
	if len(command) > 0 {
		return command
	}
	return usual
}

// TestSystem lets the system's daemons look at their whole configuration as it is
// now; nothing is changed. It does nothing in private mode.
func (s *Server) TestSystem(ctx context.Context) error {
	if s.cfg.Mode != ModeSystem {
		return nil
	}
	return errors.Join(s.php().testSystem(ctx), s.nginx().testSystem(ctx))
}

// bringSystem lets the system's daemon test the whole of its configuration, then
// reloads it, and believes it only when it answers with that version.
func (d *daemon) bringSystem(ctx context.Context, version string) error {
	if d.says(ctx, version) {
		return nil
	}
	if err := d.testSystem(ctx); err != nil {
		return err
	}
	before, err := d.everyWorker()
	if err != nil {
		return err
	}
	if err := d.command(ctx, d.system.reload); err != nil {
		return models.Wrapf(models.Unavailable, err, "The system's %s cannot be reloaded with %q: %s. Look at: systemctl status %s",
			d.name, strings.Join(d.system.reload, " "), lastLine(err), d.name)
	}
	taken, err := d.within(ctx, d.system.server.patience, func() (bool, error) {
		if !d.says(ctx, version) {
			return false, nil
		}
		return d.relieved(before)
	})
	if err != nil {
		return err
	}
	if !taken {
		return models.Errorf(models.Unavailable,
			"The system's %s was reloaded with %q, but does not answer with Hefring's configuration, so it was taken back. Is %q in its configuration, and does it run? Its log says why it refused.",
			d.name, strings.Join(d.system.reload, " "), d.system.include)
	}
	return nil
}

// everyWorker lists the workers of all such daemons on the machine that take
// requests; which of them are the system's is not known before they are relieved.
func (d *daemon) everyWorker() (map[int]process, error) {
	list, err := processes()
	if err != nil {
		return nil, err
	}
	workers := map[int]process{}
	for _, p := range list {
		if strings.HasPrefix(p.title, d.worker) && !strings.HasSuffix(p.title, "is shutting down") {
			workers[p.pid] = p
		}
	}
	return workers, nil
}

// relieved tells whether none of the workers from before a reload takes requests
// any more where their master has made new ones. php-fpm ends all of them before
// it answers anew.
func (d *daemon) relieved(before map[int]process) (bool, error) {
	if d.reload != syscall.SIGHUP {
		return true, nil
	}
	now, err := d.everyWorker()
	if err != nil {
		return false, err
	}
	renewed := map[int]bool{}
	for pid, p := range now {
		if _, old := before[pid]; !old {
			renewed[p.parent] = true
		}
	}
	for pid, p := range now {
		if _, old := before[pid]; old && renewed[p.parent] {
			return false, nil
		}
	}
	return true, nil
}

func (d *daemon) testSystem(ctx context.Context) error {
	err := d.command(ctx, d.system.test)
	if err == nil {
		return nil
	}
	return models.Wrapf(models.Invalid, err, "The system's %s refuses the new configuration, so the old one stays: %s", d.name, lastLine(err))
}

// letGo makes the system's daemon run without our part again, as far as it can.
func (d *daemon) letGo(ctx context.Context) error {
	if d.testSystem(ctx) == nil {
		return d.command(ctx, d.system.reload)
	}
	return nil // it is not our part that is refused: that is empty
}

// refusal is what a command of the system's said before it failed.
type refusal struct {
	text string
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func (d *daemon) command(ctx context.Context, argv []string) error {
	result, err := d.runner.Run(ctx, run.Cmd{Name: argv[0], Args: argv[1:], Service: true, Root: true, Timeout: startTimeout})
	if err == nil {
		return nil
	}
	return &refusal{text: string(result.Stderr) + string(result.Stdout), err: fmt.Errorf("run %s: %w", strings.Join(argv, " "), err)}
}

// lastLine is what a daemon complained about, or else the last that it said.
func lastLine(err error) string {
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		return err.Error()
	}
	if reason := complaint(refused.text); reason != "" {
		return reason
	}
	lines := strings.Split(strings.TrimSpace(refused.text), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return strings.TrimSuffix(models.Explain(refused.err), ".")
}

func (d *daemon) systemStatus(ctx context.Context) DaemonStatus {
	version, err := d.tree.current()
	if err != nil {
		return DaemonStatus{Message: err.Error()}
	}
	if version == "" || version == emptyVersion || !d.says(ctx, version) {
		return DaemonStatus{Message: fmt.Sprintf("The system's %s does not answer with Hefring's configuration. Is %q in its configuration, and does it run? See: systemctl status %s", d.name, d.system.include, d.name)}
	}
	return DaemonStatus{Current: true}
}
