package secret

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"hefring/internal/tree"
	"hefring/models"
)

const maxKeyFile = 64 << 10

var errNoFile = errors.New("no key file")

// readKeys reads one key a line, oldest first; empty lines and those that begin
// with # are left out.
func readKeys(path string) ([]*age.X25519Identity, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	var keys []*age.X25519Identity
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := age.ParseX25519Identity(line)
		if err != nil { // whose text may repeat the key
			return nil, models.Errorf(models.Unavailable,
				"Line %d of the key file %s is no key. Restore the file from a backup.", n, path)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, models.Errorf(models.Unavailable,
			"The key file %s holds no key. Restore it from a backup; or, when no secrets are stored yet, delete it to have a new one made.", path)
	}
	return keys, nil
}

func readKeyFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator's choice
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoFile
	}
	if err != nil {
		return nil, models.Wrapf(models.Unavailable, err, "The key file %s cannot be read: %s. Run Hefring as the file's owner.", path, cause(err))
	}
	defer func() { _ = file.Close() }()
	if err := checkFile(file, path); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if len(text) > maxKeyFile {
		return nil, models.Errorf(models.Unavailable, "The key file %s is larger than any key file. Restore it from a backup.", path)
	}
	return text, nil
}

// checkFile refuses a key that others can read or put there.
func checkFile(file *os.File, path string) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return models.Errorf(models.Unavailable, "%s is not a file, so it cannot be the key file.", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return models.Errorf(models.Unavailable, "Others than its owner have access to the key file %s (mode %04o). Close it with: chmod 600 %s", path, mode, path)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(stat.Uid) != os.Geteuid() && stat.Uid != 0 {
		return models.Errorf(models.Unavailable, "The key file %s belongs to another user (%d). Run this as that user: sudo -u '#%d' hefring … Or, if the whole data folder is to be yours, hand it over with: chown %d %s", path, stat.Uid, stat.Uid, os.Geteuid(), path)
	}
	return nil
}

func cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// Count gives the number of keys in the file at path without making it:
// models.NotFound when it is not there.
func Count(path string) (int, error) {
	keys, err := readKeys(path)
	if errors.Is(err, errNoFile) {
		return 0, models.Errorf(models.NotFound, "There is no key file %s yet. It is made when Hefring starts.", path)
	}
	return len(keys), err
}

// create makes the file with a first key. Of several that do so at once, one
// wins, and the others find its key.
func create(path string) error {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	text := "# Hefring's keys for stored credentials, the newest last. Keep a copy in a safe place:\n" +
		"# without this file the credentials in the database cannot be read.\n" + key.String() + "\n"
	err = tree.Place(path, []byte(text), func(temporary string) error {
		err := os.Link(temporary, path) // fails when it is there
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return models.Wrapf(models.Unavailable, err, "The key file %s cannot be made: %s. Make its folder writable for Hefring, or name another file with --secret-key-file.", path, cause(err))
	}
	return nil
}

// Rotate adds a new key to the file at path, which seals from then on; the older
// ones still open. Running programs take it up when they meet it.
func Rotate(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open folder of key file: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil { // until dir is closed
		return fmt.Errorf("lock folder of key file: %w", err)
	}
	if _, err := Count(path); err != nil {
		return err
	}
	text, err := readKeyFile(path)
	if err != nil {
		return err
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	text = append(bytes.TrimRight(text, "\n"), ("\n" + key.String() + "\n")...)
	if err := tree.Replace(path, text, 0o600); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}
