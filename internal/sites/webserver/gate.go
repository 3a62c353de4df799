package webserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/models"
)

// Files in a site's run folder. gate.php knows the same names.
const (
	flagFile  = "read-only"
	lockFile  = "writes.lock"
	readsFile = "reads.lock"
	goneReads = readsFile + ".old" // of the readers that DrainReads waits for
)

// sealTimeout bounds the wait for writers when the gate is sealed. After a Drain
// there are none but those that are just being refused.
const sealTimeout = 10 * time.Second

// ErrLapsed says that the gate was closed and is so no more: its lease ran out
// and a write was let through, or another upgrade closed it anew. What was copied
// since Close may be incomplete.
var ErrLapsed = errors.New("the site was writable for a moment while it should have been read-only")

// errLate is the cause of a wait that took too long.
var errLate = errors.New("requests do not end")

// Gate makes one site read-only at the web server. Its way:
//
//	Close → Drain → copy … → Seal → switch → unlock → Open
//
// with KeepClosed meanwhile. The web server lets no write begin while the gate is
// closed; Drain returns when those that had begun before have ended. When the
// upgrade dies, the gate opens by itself as its lease runs out, and whoever
// still believes in it learns so from ErrLapsed.
//
// A Gate is used by one goroutine at a time, KeepClosed apart.
type Gate struct {
	Run   string // sites.Layout.Run of the site; belongs to the web server's user
	token string // of our Close
}

// Close refuses writes from now on, for as long as the lease is renewed; it is
// counted in whole seconds and at least two. Writes that have begun go on; see
// Drain. To close a closed gate takes it over.
func (g *Gate) Close(lease time.Duration) error {
	if lease < 2*time.Second {
		return fmt.Errorf("close gate: a lease of %s is too short", lease)
	}
	return g.in("close gate", func(run *os.Root) error {
		token := rand.Text()
		fresh := flagFile + "." + token
		flag, err := run.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(flag, "%d\n%s\n", int64(lease/time.Second), token)
		// PHP is another user, whatever our umask is.
		if err := errors.Join(err, flag.Chmod(0o644), flag.Close()); err != nil {
			return errors.Join(err, run.Remove(fresh))
		}
		if err := run.Rename(fresh, flagFile); err != nil {
			return errors.Join(err, run.Remove(fresh))
		}
		g.token = token
		return nil
	})
}

// Adopt goes on with a gate that a killed process of ours closed. ErrLapsed: it is
// open again, so somebody may have written since.
func (g *Gate) Adopt() error {
	return g.in("adopt gate", func(run *os.Root) error {
		_, token, err := readFlag(run)
		if errors.Is(err, fs.ErrNotExist) {
			return ErrLapsed
		}
		g.token = token
		return err
	})
}

// Renew begins the lease anew. ErrLapsed: it ran out and a write was let through.
func (g *Gate) Renew() error {
	return g.in("renew gate", func(run *os.Root) error {
		if err := g.holds(run); err != nil {
			return err
		}
		now := time.Now()
		err := run.Chtimes(flagFile, now, now)
		if errors.Is(err, fs.ErrNotExist) {
			return ErrLapsed
		}
		return err
	})
}

// KeepClosed renews the lease until ctx ends. The channel gets the error that
// makes it give up, ErrLapsed above all, and is closed when it has ended.
func (g *Gate) KeepClosed(ctx context.Context, every time.Duration) <-chan error {
	lapsed := make(chan error, 1)
	go func() {
		defer close(lapsed)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := g.Renew(); err != nil {
				lapsed <- err
				return
			}
		}
	}()
	return lapsed
}

// Drain waits until every write that began before Close has ended. ErrLapsed: one
// may have begun since.
func (g *Gate) Drain(ctx context.Context, timeout time.Duration) error {
	unlock, err := g.lock(ctx, timeout)
	if err != nil {
		return err
	}
	defer unlock()
	return g.in("drain writes", g.holds)
}

// Seal keeps every writer waiting until unlock is called and makes sure that not
// one came through since Close. It is held while the site is switched, and for
// no longer: writers that wait keep PHP's workers busy.
func (g *Gate) Seal() (unlock func(), err error) {
	unlock, err = g.lock(context.Background(), sealTimeout)
	if err != nil {
		return nil, err
	}
	if err := g.in("seal gate", g.holds); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// DrainReads waits until every request has ended that began before the call, and
// so may still use what the site was switched away from. Requests that come later
// are not waited for: they have a new lock file. The error is models.Unavailable
// when some do not end within the timeout.
func (g *Gate) DrainReads(ctx context.Context, timeout time.Duration) error {
	ctx, stop := context.WithTimeoutCause(ctx, timeout, errLate)
	defer stop()
	// What a killed process of ours was waiting for comes first.
	if err := g.outlast(ctx, goneReads); err != nil {
		return err
	}
	err := g.in("drain reads", func(run *os.Root) error { return run.Rename(readsFile, goneReads) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nobody has read yet
	}
	if err != nil {
		return err
	}
	return g.outlast(ctx, goneReads)
}

// outlast waits until nobody holds the lock any more, and removes its file.
func (g *Gate) outlast(ctx context.Context, name string) error {
	return g.in("drain reads", func(run *os.Root) error {
		file, err := openLockFile(run, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		if err := flock(ctx, file, syscall.LOCK_EX); errors.Is(err, errLate) {
			return models.Wrapf(models.Unavailable, err, "A page of the site has been loading for a long time and does not end.")
		} else if err != nil {
			return err
		}
		return run.Remove(name)
	})
}

// Open lets writes through again. An open gate is no failure.
func (g *Gate) Open() error {
	return g.in("open gate", func(run *os.Root) error {
		err := run.Remove(flagFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// Closed tells whether the web server refuses writes now, whoever closed the gate.
func (g *Gate) Closed() bool {
	closed := false
	_ = g.in("look at gate", func(run *os.Root) error {
		lease, _, err := readFlag(run)
		if err != nil {
			return err
		}
		info, err := run.Lstat(flagFile)
		closed = err == nil && time.Now().Unix()-info.ModTime().Unix() <= lease
		return err
	})
	return closed
}

// in opens the run folder and calls fn. The folder belongs to the sites' user, so
// nothing in it may lead us out of it.
func (g *Gate) in(what string, fn func(run *os.Root) error) error {
	run, err := os.OpenRoot(g.Run)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = run.Close() }()
	if err := fn(run); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// holds checks that the flag is the one that our Close set.
func (g *Gate) holds(run *os.Root) error {
	_, token, err := readFlag(run)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrLapsed
	}
	if err != nil {
		return err
	}
	if g.token == "" || token != g.token {
		return ErrLapsed
	}
	return nil
}

func readFlag(run *os.Root) (lease int64, token string, err error) {
	flag, err := run.OpenFile(flagFile, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = flag.Close() }()
	text, err := io.ReadAll(io.LimitReader(flag, 256))
	if err != nil {
		return 0, "", err
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	lease, err = strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("read flag: %w", err)
	}
	return lease, strings.TrimSpace(rest), nil
}

// lock takes the write lock for us alone.
func (g *Gate) lock(ctx context.Context, timeout time.Duration) (unlock func(), err error) {
	var file *os.File
	err = g.in("lock writes", func(run *os.Root) error {
		file, err = openLock(run)
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeoutCause(ctx, timeout, errLate)
	defer stop()
	err = flock(ctx, file, syscall.LOCK_EX)
	if err == nil {
		return func() { _ = file.Close() }, nil
	}
	_ = file.Close()
	if errors.Is(err, errLate) {
		return nil, models.Wrapf(models.Unavailable, err,
			"A write to the site has been running for more than %s and does not end. Try again when it has, or restart PHP.", timeout)
	}
	return nil, fmt.Errorf("lock writes: %w", err)
}
