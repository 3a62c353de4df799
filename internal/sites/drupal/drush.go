package drupal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/run"
	"hefring/models"
)

// Times are the limits of Drush's commands.
type Times struct {
	Ask     time.Duration // every question: status, lists, php:eval
	Install time.Duration
	Update  time.Duration
	Rebuild time.Duration
}

// DefaultTimes suit large sites.
func DefaultTimes() Times {
	return Times{Ask: 2 * time.Minute, Install: 15 * time.Minute, Update: 30 * time.Minute, Rebuild: 10 * time.Minute}
}

// answerBytes bounds what Drush may answer to one question.
const answerBytes = 8 << 20

// Drush speaks with one site on one platform. It sees the platform and the
// site's folder, and changes nothing but the site's content.
type Drush struct {
	Times Times

	drupal  *Drupal
	release Release
	dialect dialect
	// untranslated says that Install found no translation to the site's language.
	untranslated bool
	program      string
	shown        []string // what it must see beside the platform
	out          io.Writer
	err          io.Writer
}

// Drush finds the platform's Drush for a release that WriteRelease made. What
// long commands print goes to out and err as it comes.
func (d *Drupal) Drush(r Release, out, err io.Writer) (*Drush, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	drush := &Drush{Times: d.Times, drupal: d, release: r, dialect: dialectOf(r.Platform), out: out, err: err}
	var failed error
	if drush.dialect.seven {
		drush.program, drush.shown, failed = d.findDrush8(r.Platform)
	} else {
		drush.program, failed = findDrush(r.Platform)
	}
	if failed != nil {
		return nil, failed
	}
	return drush, nil
}

// findDrush looks beside the docroot and above it, as far as the platform goes.
func findDrush(p models.Platform) (string, error) {
	root, err := filepath.EvalSymlinks(p.Root)
	if err != nil {
		return "", models.Wrapf(models.Unavailable, err, "The code of the platform %s is not where it was. Build it again.", p.Name)
	}
	for dir := filepath.Clean(p.Docroot); ; dir = filepath.Dir(dir) {
		file := filepath.Join(p.Root, dir, "vendor", "bin", "drush")
		target, err := filepath.EvalSymlinks(file)
		if err == nil && strings.HasPrefix(target, root+"/") {
			return file, executable(file)
		}
		if dir == "." {
			return "", models.Errorf(models.Unavailable,
				"The platform %s has no vendor/bin/drush. Add drush/drush to its composer.json (composer require drush/drush), and let Hefring build the change.", p.Name)
		}
	}
}

func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return models.Errorf(models.Unavailable, "%s may not be executed. Give it its execute bit in the source (chmod +x) and build the platform again.", file)
	}
	return nil
}

// call is one command. Options come before "--", values from outside after it
// or joined to their option by "=".
type call struct {
	command string
	options []string
	values  []string
	uri     string // instead of the release's own
	limit   time.Duration
	out     io.Writer // nil: kept, not streamed
	err     io.Writer
}

func (d *Drush) run(ctx context.Context, c call) (run.Result, error) {
	if c.uri == "" {
		c.uri = d.release.URI()
	}
	socket, err := d.socketOf(ctx)
	if err != nil {
		return run.Result{}, err
	}
	out, errs, done := d.dialect.streams(c)
	res, err := d.drupal.programs.Run(ctx, run.Cmd{
		Name: d.program,
		Args: d.dialect.args(c, d.release.Docroot()),
		Dir:  d.release.Docroot(),
		Env: []string{
			// Drush does not start without a home.
			"HOME=" + d.drupal.layout.Temp(d.release.Site.ID),
			// It breaks lines at 80 columns otherwise, and words with them.
			"COLUMNS=500",
		},
		Stdout:  out,
		Stderr:  errs,
		Timeout: c.limit,
		Limits:  run.Limits{OutputBytes: answerBytes},
		Sandbox: d.sandbox(socket),
		As:      d.drupal.owner(d.release),
	})
	done()
	if err != nil {
		return res, d.explain(ctx, c, res, err)
	}
	return res, nil
}

// sandbox shows the platform and the site. In the site's folder only content
// can be changed: neither the settings nor the links that say what is served.
// socket is that of its database server, "" when it has none.
func (d *Drush) sandbox(socket string) *run.Sandbox {
	l, id := d.drupal.layout, d.release.Site.ID
	writable := []string{l.Temp(id), l.Databases(id), d.release.compiled(l)}
	if d.release.Aside == "" {
		writable = append(writable, l.Files(id), l.Private(id), l.Config(id))
	}
	shown := append([]string{d.release.Platform.Root, l.Dir(id)}, d.shown...)
	if socket != "" && there(socket) {
		shown = append(shown, socket)
	}
	return &run.Sandbox{
		ReadOnly: shown,
		Writable: writable,
		Network:  run.NetworkHost,
	}
}

// socketOf is the unix socket that the site reaches its database server by; "" when
// there is none.
func (d *Drush) socketOf(ctx context.Context) (string, error) {
	if e := d.release.Database.Engine; e == "" || e == models.EngineSQLite {
		return "", nil
	}
	connection, err := d.drupal.engine.PHP(ctx, d.release.Database)
	if err != nil {
		return "", err
	}
	if socket, _ := connection.Get("unix_socket").(string); socket != "" {
		return socket, nil
	}
	host, _ := connection.Get("host").(string)
	if !filepath.IsAbs(host) {
		return "", nil
	}
	// PostgreSQL names the folder.
	return filepath.Join(host, fmt.Sprintf(".s.PGSQL.%v", cmp.Or(connection.Get("port"), any(5432)))), nil
}

// explain makes an error that says what Drush complained about.
func (d *Drush) explain(ctx context.Context, c call, res run.Result, err error) error {
	exit, exited := errors.AsType[*run.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !exited:
		return fmt.Errorf("run drush %s for %s: %w", c.command, d.release.URI(), err)
	}
	return models.Wrapf(models.Unavailable, err, "drush %s failed on %s (exit code %d): %s",
		c.command, d.release.URI(), exit.Code, complaint(res))
}

// ask runs a command that answers one JSON value, and decodes it. It tells
// whether there was an answer at all.
func (d *Drush) ask(ctx context.Context, c call, into any) (found bool, res run.Result, err error) {
	c.limit = d.Times.Ask
	if res, err = d.run(ctx, c); err != nil {
		return false, res, err
	}
	raw, err := findJSON(res.Stdout)
	if err != nil {
		return false, res, d.unreadable(c.command, res, err)
	}
	if raw == nil {
		return false, res, nil
	}
	if err := decode(raw, into); err != nil {
		return false, res, d.unreadable(c.command, res, err)
	}
	return true, res, nil
}

// must is ask for commands that always answer.
func (d *Drush) must(ctx context.Context, c call, into any) error {
	found, res, err := d.ask(ctx, c, into)
	if err == nil && !found {
		err = d.unreadable(c.command, res, errors.New("it answered nothing"))
	}
	return err
}

func (d *Drush) unreadable(command string, res run.Result, err error) error {
	return models.Wrapf(models.Unavailable, err, "drush %s gave no usable answer for %s: %s",
		command, d.release.URI(), complaint(res))
}

const evalCommand = "php:eval"

// eval runs PHP in the fully booted site. The code prints one JSON value.
func (d *Drush) eval(ctx context.Context, code string, into any) error {
	return d.must(ctx, call{command: evalCommand, values: []string{code}}, into)
}
