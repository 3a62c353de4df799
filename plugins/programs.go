package plugins

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/internal/tree"
)

// OpenProxy starts the guarded way out for the programs of one call; close it
// when they are done. allow may narrow it to certain hosts, nil does not.
func OpenProxy(ctx context.Context, env Env, allow func(host string, port int) bool) (*egress.Proxy, error) {
	// Every local user may talk to the socket; the folder keeps them out.
	dir, err := os.MkdirTemp(env.Scratch, "proxy-")
	if err != nil {
		return nil, fmt.Errorf("make folder for proxy: %w", tree.Explain(err, env.Scratch))
	}
	// Without a sandbox the programs go there themselves.
	if err := env.Run.Chown(dir); err != nil {
		return nil, fmt.Errorf("make folder for proxy: %w", err)
	}
	return env.Egress.ServeProxy(ctx, filepath.Join(dir, "egress.sock"), allow, nil)
}

// MakeDir makes a folder that sandboxed programs may write to; one that is there
// is kept as it is.
func MakeDir(env Env, dir string) error {
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // its parents are passed through by another user
		return fmt.Errorf("make folder: %w", tree.Explain(err, filepath.Dir(dir)))
	}
	return env.Run.Chown(dir)
}

// nearlyFull is the free space in bytes at which a failure is put down to the
// disk; programs do not always say why they could not write.
const nearlyFull = 16 << 20

// FullDisk turns the failure of a program that ran out of disk into a
// models.Error; nil when it failed for another reason. dirs are where it wrote.
func FullDisk(err error, dirs ...string) error {
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok {
		return nil
	}
	for _, dir := range dirs {
		free, statErr := tree.Free(dir)
		if statErr == nil && free < nearlyFull {
			return tree.Full(err, dir)
		}
	}
	for _, sign := range []string{"No space left on device", "Disk quota exceeded"} {
		if strings.Contains(exit.Tail, sign) && len(dirs) > 0 {
			return tree.Full(err, dirs[0])
		}
	}
	return nil
}
