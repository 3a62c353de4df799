package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"hefring/internal/config"
	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
)

// folders are the parts of the data folder.
type folders struct{ control, platforms, sites, backups, web, cache, scratch string }

func layout(data string) folders {
	in := func(name string) string { return filepath.Join(data, name) }
	return folders{in("control"), in("platforms"), in("sites"), in("backups"), in("web"), in("cache"), in("tmp")}
}

// make creates the folders. Everybody may walk through the data folder, since
// PHP is another user; the control plane's own part is closed.
func (f folders) make(data string) error {
	for dir, mode := range map[string]fs.FileMode{
		data: 0o711, f.control: 0o700, f.platforms: 0o755, f.sites: 0o755, f.backups: 0o700, f.web: 0o755, f.cache: 0o755, f.scratch: 0o711,
	} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
	}
	return nil
}

// address is the file in which a dashboard notes where people reach it.
func (f folders) address() string { return filepath.Join(f.control, "address") }

// servedAt is where people reach the dashboard, for commands beside it: as its settings
// say or, where it was told by flags that commands do not see, as it noted itself.
func servedAt(cfg *config.Config) string {
	if cfg.URL != "http://"+cfg.Listen { // which it is when nothing was said
		return cfg.URL
	}
	noted, err := os.ReadFile(layout(cfg.Data).address())
	if at, wrong := url.Parse(strings.TrimSpace(string(noted))); err == nil && wrong == nil && at.Host != "" {
		return at.String()
	}
	return cfg.URL
}

// newGuard makes the way out. Where there are certificate authorities of our
// own, caFile in dir holds them for programs.
func newGuard(cfg config.Config, dir string) (guard *egress.Guard, caFile string, err error) {
	settings := egress.Config{}
	if settings.Allow, err = cfg.Allowed(); err != nil {
		return nil, "", models.Wrapf(models.Invalid, err, "The networks to allow do not fit. Use such as 10.0.0.0/8 or 127.0.0.1/32.")
	}
	if cfg.CAFile != "" {
		caFile = filepath.Join(dir, "ca-bundle.pem")
		if settings.RootCAs, err = egress.LoadAuthorities(cfg.CAFile, caFile); err != nil {
			return nil, "", err
		}
		settings.CAFile = caFile
	}
	return egress.New(settings), caFile, nil
}

// uncontained tells whether programs run without bubblewrap: where it does not
// work and the operator said so.
func uncontained(ctx context.Context, allowed bool, logger *slog.Logger) bool {
	if !allowed {
		return false
	}
	err := run.New(run.Config{}).Contained(ctx)
	if err != nil {
		logger.WarnContext(ctx, "programs run without a sandbox, as --allow-unsandboxed-builds says", slog.Any("error", err))
	}
	return err != nil
}

// newRunner starts programs as a user, when we are root.
func newRunner(name string, settings run.Config) (*run.Runner, error) {
	if os.Geteuid() == 0 {
		identity, err := run.LookupIdentity(name)
		if err != nil {
			return nil, err
		}
		settings.Identity = identity
	}
	return run.New(settings), nil
}

var versionPattern = regexp.MustCompile(`\d+\.\d+\.\d+`)

// toolVersions asks the tools that shape a build for their versions.
func toolVersions(ctx context.Context, runner *run.Runner) (map[string]string, error) {
	versions := map[string]string{}
	for tool, args := range map[string][]string{"php": {"-r", "echo PHP_VERSION;"}, "composer": {"--version", "--no-ansi"}} {
		result, err := runner.Run(ctx, run.Cmd{Name: tool, Args: args, Dir: "/", Env: []string{"HOME=/nonexistent"}, Timeout: time.Minute})
		if err != nil {
			return nil, fmt.Errorf("ask %s for its version: %w", tool, err)
		}
		versions[tool] = versionPattern.FindString(string(result.Stdout))
	}
	// A patch release of PHP changes no build.
	if parts := strings.SplitN(versions["php"], ".", 3); len(parts) == 3 {
		versions["php"] = parts[0] + "." + parts[1]
	}
	return versions, nil
}
