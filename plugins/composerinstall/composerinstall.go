// Package composerinstall runs “composer install” on a code base that a source
// has put in place. Composer runs code of the code base, so it runs in a sandbox
// that sees that code, its own cache and the guarded proxy, and nothing else.
package composerinstall

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

const (
	timeout   = 45 * time.Minute
	phpMemory = "2G"
	output    = 4 << 20
)

// Run installs what composer.json and composer.lock in dir ask for, without
// development packages. cacheKey names the source: code of one source must not
// reach the download cache of another. A failure is a models.Error that says
// what to change in the source.
func Run(ctx context.Context, env plugins.Env, dir, cacheKey string) error {
	if err := wantManifest(env, dir); err != nil {
		return err
	}
	config, err := config(dir)
	if err != nil {
		return err
	}
	c, err := Open(ctx, env, Options{CacheKey: cacheKey, Config: config})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := env.Run.Chown(dir); err != nil {
		return fmt.Errorf("prepare composer: %w", err)
	}
	return c.Install(ctx, dir)
}

// config names the classes of the autoloader after composer.lock: else they get a
// random name, and two builds of one source differ. "" without composer.lock.
func config(dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("open code base: %w", err)
	}
	defer func() { _ = root.Close() }()
	info, err := root.Lstat("composer.lock")
	if err != nil || !info.Mode().IsRegular() {
		return "", nil // Composer itself says what is wrong with it
	}
	file, err := root.Open("composer.lock")
	if err != nil {
		return "", fmt.Errorf("read composer.lock: %w", err)
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read composer.lock: %w", err)
	}
	return fmt.Sprintf(`{"config":{"autoloader-suffix":"%x"}}`, sum.Sum(nil)[:16]), nil
}

// Install runs “composer install --no-dev” in dir, with the scripts and plugins
// of its packages and without any credential. Packages that an older platform has
// in the same version are taken from it.
func (c *Composer) Install(ctx context.Context, dir string) error {
	taken, err := c.reuse(ctx, dir)
	if err != nil {
		return err
	}
	if err = c.install(ctx, dir); err == nil || len(taken) == 0 || ctx.Err() != nil {
		return err
	}
	plugins.Logf(c.env, "It failed with packages of the older platform; they are installed anew")
	if err := c.remove(dir, taken); err != nil {
		return err
	}
	return c.install(ctx, dir)
}

func (c *Composer) install(ctx context.Context, dir string) error {
	plugins.Logf(c.env, "Running composer install --no-dev")
	_, err := c.Run(ctx, Call{Args: []string{"install", "--no-dev", "--no-progress"}, Dir: dir})
	return err
}

func wantManifest(env plugins.Env, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open code base: %w", err)
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Stat("composer.json"); errors.Is(err, fs.ErrNotExist) {
		return models.Wrapf(models.Invalid, err,
			"There is no composer.json in the source. Correct the sub-directory, or switch off “Run composer install”.")
	}
	if _, err := root.Stat("composer.lock"); errors.Is(err, fs.ErrNotExist) {
		plugins.Logf(env, "Warning: there is no composer.lock, so composer chooses versions itself. Commit composer.lock to get the same packages each time.")
	}
	return nil
}

func (c *Composer) explain(err error, call Call) error {
	command := "composer " + call.Args[0]
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok {
		return fmt.Errorf("run %s: %w", command, err)
	}
	if c.secrets != nil {
		exit.Tail = c.secrets.Replace(exit.Tail)
	}
	if full := plugins.FullDisk(err, append(call.Writable, call.Dir, c.cache)...); full != nil {
		return full
	}
	reason := reason(exit)
	// The proxy that carried composer's downloads tells best what hindered them.
	if strings.Contains(exit.Tail, "download") || strings.Contains(exit.Tail, "curl error") {
		if cause := cmp.Or(c.proxy.Refused(), c.proxy.Failed()); cause != nil {
			return models.Wrapf(models.Invalid, err, "%s failed (exit code %d). %s %s", command, exit.Code, models.Explain(cause), reason).
				Because(models.ReasonOf(cause))
		}
	}
	return models.Wrapf(models.Invalid, err, "%s failed (exit code %d). %s", command, exit.Code, reason).Because(models.ReasonBuild)
}

func reason(exit *run.ExitError) string {
	has := func(text string) bool { return strings.Contains(strings.ToLower(exit.Tail), text) }
	switch {
	case exit.Code == 4, has("does not satisfy your constraint"), has("lock file is not up to date"):
		return "composer.lock does not fit composer.json. Run “composer update --lock” in the source and commit composer.lock."
	case exit.Code == 2:
		return "The packages in composer.lock cannot be installed together on this server, often because they need another PHP version or an extension. Run “composer update” with this server's PHP and commit composer.lock."
	case has("checksum verification of the file failed"):
		return "A download did not have the checksum that composer.lock names. Try again; if it stays, update the package and commit composer.lock."
	case has("allow-plugins"):
		return "A Composer plugin is not allowed. Add it under config.allow-plugins in composer.json and commit it."
	case has("could not be downloaded"), has("failed to download"), has("could not fetch"):
		return "A package could not be downloaded. Check that its repository can be reached from this server, then try again."
	case has("allowed memory size"), has("out of memory"):
		return "It needed more memory than the " + phpMemory + " it may use. Commit a composer.lock, so that composer need not work out the versions."
	case has("does not contain valid json"), has("parse error"):
		return "composer.json or composer.lock is not valid JSON. Correct it in the source."
	}
	return "The last lines of the log say why: " + lastLine(exit.Tail)
}

// usage is how Composer's hint on a command's options begins.
var usage = regexp.MustCompile(`^[a-z-]+ \[-`)

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range slices.Backward(lines) {
		line = strings.TrimSpace(line)
		if line != "" && !usage.MatchString(line) {
			return line
		}
	}
	return "composer said nothing."
}
