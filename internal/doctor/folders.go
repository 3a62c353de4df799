package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hefring/internal/secret"
	"hefring/internal/tree"
	"hefring/models"
)

// folders looks at owner and permissions of what is there; the rest is made at
// the first start.
func (e *examination) folders() {
	if _, err := os.Stat(e.c.Data); errors.Is(err, fs.ErrNotExist) {
		parent := existing(e.c.Data)
		if unix.Access(parent, unix.W_OK) != nil {
			e.say(Fail, "data folder", fmt.Sprintf("%s is not there, and cannot be made in %s.", e.c.Data, parent),
				fmt.Sprintf("install -d -m 711 -o %d %s", os.Geteuid(), e.c.Data))
			return
		}
		e.say(OK, "data folder", e.c.Data+" is made at the first start", "")
		return
	}
	sound := e.folder(e.c.Data, 0o711)
	if _, err := os.Stat(e.c.Control); err == nil {
		sound = e.folder(e.c.Control, 0o700) && sound
	}
	if sound {
		e.say(OK, "data folder", e.c.Data+" is ours", "")
	}
}

func (e *examination) folder(dir string, most fs.FileMode) bool {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		e.say(Fail, "data folder", dir+" is not a folder.", "choose another with --data")
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(stat.Uid) != os.Geteuid():
		e.say(Fail, "data folder", fmt.Sprintf("%s belongs to user %d, and this is user %d.", dir, stat.Uid, os.Geteuid()),
			fmt.Sprintf("run as that user, or: chown %d %s", os.Geteuid(), dir))
	case info.Mode().Perm()&^most&0o022 != 0:
		e.say(Fail, "data folder", fmt.Sprintf("Others may write to %s (mode %04o).", dir, info.Mode().Perm()), fmt.Sprintf("chmod %o %s", most, dir))
	case info.Mode().Perm()&^most != 0:
		e.say(Warn, "data folder", fmt.Sprintf("Others may look into %s (mode %04o).", dir, info.Mode().Perm()), fmt.Sprintf("chmod %o %s", most, dir))
	default:
		return true
	}
	return false
}

// existing gives the nearest folder above path that is there.
func existing(path string) string {
	for path != "/" && path != "." {
		path = filepath.Dir(path)
		if _, err := os.Stat(path); err == nil {
			break
		}
	}
	return path
}

// Free bytes below which builds refuse to start, and below which they soon will.
const (
	needFree = 256 << 20
	wantFree = 5 << 30
)

func (e *examination) disk() {
	dir := e.c.Data
	if _, err := os.Stat(dir); err != nil {
		dir = existing(dir)
	}
	free, err := tree.Free(dir)
	if err != nil {
		e.say(Warn, "disk", lastWords(err), "")
		return
	}
	message := tree.Size(free) + " are free for platforms and sites"
	switch {
	case free < needFree:
		e.say(Fail, "disk", message+"; builds need "+tree.Size(needFree)+" to start", "delete old platforms or backups, or enlarge the disk of "+dir)
	case free/2 < e.c.Copy:
		e.say(Fail, "disk", fmt.Sprintf("%s; an upgrade of the largest site needs %s twice", message, tree.Size(e.c.Copy)), "delete old platforms or backups, or enlarge the disk of "+dir)
	case free < wantFree:
		e.say(Warn, "disk", message+"; a Drupal platform takes up to 500 MB", "enlarge the disk of "+dir)
	default:
		e.say(OK, "disk", message, "")
	}
}

func (e *examination) key() {
	n, err := secret.Count(e.c.KeyFile)
	switch {
	case models.CodeOf(err) == models.NotFound:
		e.say(OK, "secret key", e.c.KeyFile+" is made at the first start", "")
	case err != nil:
		e.say(Fail, "secret key", lastWords(err), "")
	default:
		e.say(OK, "secret key", fmt.Sprintf("%s holds %d; keep a copy elsewhere, without it stored credentials are lost", e.c.KeyFile, n), "")
	}
}

// egress says what the administrator opened.
func (e *examination) egress() {
	if len(e.c.Allow) == 0 {
		e.say(OK, "egress", "sources may be at public addresses only", "")
		return
	}
	var names, risky []string
	for _, p := range e.c.Allow {
		names = append(names, p.String())
		if p.Contains(netip.MustParseAddr("169.254.169.254")) || p.Contains(netip.MustParseAddr("127.0.0.1")) || p.Bits() == 0 {
			risky = append(risky, p.String())
		}
	}
	message := "sources may be at public addresses and in " + strings.Join(names, ", ")
	if len(risky) > 0 {
		e.say(Warn, "egress", fmt.Sprintf("%s; %s reaches this machine itself or a cloud's metadata service", message, strings.Join(risky, ", ")),
			"name only the addresses of your forges with --egress-allow")
		return
	}
	e.say(OK, "egress", message, "")
}

// skew is how far two clocks may be apart before signatures and sessions suffer.
const skew = 30 * time.Second

func (e *examination) database() {
	if e.c.Database == nil {
		return
	}
	before := e.c.Now()
	db, err := e.c.Database(e.ctx)
	if err != nil {
		e.say(Fail, "database", "It does not answer: "+lastWords(err), "check --database, and that the server runs and lets Hefring in")
		return
	}
	e.say(OK, "database", db.Name+" answers", "")
	if db.Time.IsZero() {
		return
	}
	if off := db.Time.Sub(before).Abs(); off > skew+e.c.Now().Sub(before) {
		e.say(Warn, "clock", fmt.Sprintf("this machine's clock and the database's are %s apart", off.Round(time.Second)), "timedatectl set-ntp true")
	}
}
