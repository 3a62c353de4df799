package composerinstall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/plugins"
)

// Options say how Composer is set up.
type Options struct {
	// CacheKey names the source: code of one source must not reach the download
	// cache of another.
	CacheKey string
	Config   string   // text of the config.json in Composer's home; "" for none
	Secrets  []string // texts that are blotted out of all that Composer says
}

// Composer is Composer set up for one source. Every command runs in a sandbox
// that sees the folders named for it, the source's cache and the guarded proxy,
// and nothing else. Close it when done.
type Composer struct {
	env     plugins.Env
	home    string
	cache   string
	proxy   *egress.Proxy
	secrets *strings.Replacer
}

// Open sets Composer up.
func Open(ctx context.Context, env plugins.Env, o Options) (*Composer, error) {
	c := &Composer{env: env, cache: filepath.Join(env.Cache, "composer", o.CacheKey), secrets: blots(o.Secrets)}
	var err error
	if c.home, err = os.MkdirTemp(env.Scratch, "composer-"); err != nil {
		return nil, fmt.Errorf("make composer's home: %w", err)
	}
	if o.Config != "" {
		if err := os.WriteFile(filepath.Join(c.home, "config.json"), []byte(o.Config), 0o600); err != nil {
			return nil, fmt.Errorf("configure composer: %w", err)
		}
	}
	if err := errors.Join(env.Run.Chown(c.home), plugins.MakeDir(env, c.cache)); err != nil {
		return nil, fmt.Errorf("prepare composer: %w", err)
	}
	if c.proxy, err = plugins.OpenProxy(ctx, env, nil); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends Composer's way out.
func (c *Composer) Close() { c.proxy.Close() }

// Call is one command.
type Call struct {
	Args     []string // the command first
	Dir      string   // where it works, and may write
	Writable []string // other folders that it may change
	// Auth is the value of COMPOSER_AUTH. It must not be set where code of
	// packages may run: that could read it.
	Auth    string
	Silent  bool          // stdout is an answer and not for the log
	Output  int64         // bytes of stdout that the answer may have; 0 for 4 MiB
	Timeout time.Duration // 0 for 45 minutes
}

// Run runs one command. A failure is a models.Error that says what to change in
// the source.
func (c *Composer) Run(ctx context.Context, call Call) (run.Result, error) {
	env := []string{
		"HOME=" + c.home, "COMPOSER_HOME=" + c.home, "COMPOSER_CACHE_DIR=" + c.cache,
		"COMPOSER_MEMORY_LIMIT=" + phpMemory, "COMPOSER_NO_INTERACTION=1",
		"COLUMNS=500", // or messages are broken in the middle of words
		// Composer may call git for packages without an archive.
		"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_ALLOW_PROTOCOL=http:https",
	}
	if call.Auth != "" {
		env = append(env, "COMPOSER_AUTH="+call.Auth)
	}
	log := c.log()
	cmd := run.Cmd{
		Name: "composer", Args: slices.Concat(call.Args[:1], []string{"--no-interaction", "--no-ansi"}, call.Args[1:]), Dir: call.Dir, Env: env,
		Stdout: log, Stderr: log,
		Timeout: cmp.Or(call.Timeout, timeout),
		Limits:  run.Limits{OutputBytes: max(call.Output, output)},
		Sandbox: &run.Sandbox{
			Writable: append([]string{call.Dir, c.cache, c.home}, call.Writable...),
			Network:  run.NetworkProxy,
			Proxy:    c.proxy.Socket(),
		},
	}
	if call.Silent {
		cmd.Stdout = nil
	}
	result, err := c.env.Run.Run(ctx, cmd)
	_ = log.Close()
	if err != nil {
		return result, c.explain(err, call)
	}
	return result, nil
}

// log passes Composer's words on to the live log. A repository may repeat in its
// answers what it was sent, so secrets are blotted out line by line.
func (c *Composer) log() io.WriteCloser {
	if c.secrets == nil && c.env.Log != nil {
		return keepOpen{c.env.Log}
	}
	return run.Lines(func(line string) {
		if c.secrets != nil {
			line = c.secrets.Replace(line)
		}
		plugins.Logf(c.env, "%s", line)
	})
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// blots makes a replacer for secrets; nil for none.
func blots(secrets []string) *strings.Replacer {
	var pairs []string
	for _, secret := range secrets {
		if secret != "" {
			pairs = append(pairs, secret, "***")
		}
	}
	if pairs == nil {
		return nil
	}
	return strings.NewReplacer(pairs...)
}
