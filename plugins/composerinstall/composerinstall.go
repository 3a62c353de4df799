// Package composerinstall runs “composer install” on a code base that a source
// has put in place. Composer runs code of the code base, so it runs in a sandbox
// that sees that code, its own cache and the guarded proxy, and nothing else.
package composerinstall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hefring/internal/egress"
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
	cache := filepath.Join(env.Cache, "composer", cacheKey)
	home, err := os.MkdirTemp(env.Scratch, "composer-")
	if err != nil {
		return fmt.Errorf("make composer's home: %w", err)
	}
	if err := errors.Join(env.Run.Chown(home), plugins.MakeDir(env, cache), env.Run.Chown(dir)); err != nil {
		return fmt.Errorf("prepare composer: %w", err)
	}
	proxy, err := plugins.OpenProxy(ctx, env, nil)
	if err != nil {
		return err
	}
	defer proxy.Close()
	plugins.Logf(env, "Running composer install --no-dev")
	_, err = env.Run.Run(ctx, run.Cmd{
		Name: "composer",
		Args: []string{"install", "--no-dev", "--no-interaction", "--no-progress", "--no-ansi"},
		Dir:  dir,
		Env: []string{
			"HOME=" + home, "COMPOSER_HOME=" + home, "COMPOSER_CACHE_DIR=" + cache,
			"COMPOSER_MEMORY_LIMIT=" + phpMemory, "COMPOSER_NO_INTERACTION=1",
			"COLUMNS=500", // or messages are broken in the middle of words
			// Composer may call git for packages without an archive.
			"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_ALLOW_PROTOCOL=http:https",
		},
		Stdout:  env.Log,
		Stderr:  env.Log,
		Timeout: timeout,
		Limits:  run.Limits{OutputBytes: output},
		Sandbox: &run.Sandbox{
			Writable: []string{dir, cache, home},
			Network:  run.NetworkProxy,
			Proxy:    proxy.Socket(),
		},
	})
	if err != nil {
		return explain(err, proxy, dir)
	}
	return nil
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

func explain(err error, proxy *egress.Proxy, dir string) error {
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok {
		return fmt.Errorf("run composer install: %w", err)
	}
	if full := plugins.FullDisk(err, dir); full != nil {
		return full
	}
	reason := reason(exit)
	// The proxy that carried composer's downloads tells best what hindered them.
	if strings.Contains(exit.Tail, "download") || strings.Contains(exit.Tail, "curl error") {
		if cause := cmp.Or(proxy.Refused(), proxy.Failed()); cause != nil {
			reason = models.Explain(cause) + " " + reason
		}
	}
	return models.Wrapf(models.Invalid, err, "composer install failed (exit code %d). %s", exit.Code, reason)
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

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range slices.Backward(lines) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "install [--") {
			return line
		}
	}
	return "composer said nothing."
}
