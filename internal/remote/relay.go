package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"hefring/internal/tree"
	"hefring/models"
)

// Relay is where the archives of a site lie on its way from one server to another: a
// folder of ours alone on the control plane's host.
type Relay struct {
	Dir string // absolute
}

// reserve is the room in bytes that stays free on the disk.
const reserve = 256 << 20

var carriedPattern = regexp.MustCompile(`^((first|last)\.(tar\.gz|json)|backup-[0-9]{1,18})$`)

// path refuses what is no name of an archive.
func (r Relay) path(relocationID int64, name string) (string, error) {
	if relocationID <= 0 || !carriedPattern.MatchString(name) {
		return "", models.Errorf(models.Invalid, "%q is nothing that a site has on its way.", name)
	}
	return filepath.Join(r.Dir, strconv.FormatInt(relocationID, 10), name), nil
}

// Size is how many bytes of an archive are there.
func (r Relay) Size(relocationID int64, name string) (int64, error) {
	path, err := r.path(relocationID, name)
	if err != nil {
		return 0, err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at what is on its way: %w", err)
	}
	return info.Size(), nil
}

// Fill adds to an archive, which has at least that many bytes by now; what is behind
// them is dropped.
func (r Relay) Fill(relocationID int64, name string, at int64, from io.Reader) (err error) {
	path, err := r.path(relocationID, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep what is on its way: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // a checked name
	if err != nil {
		return fmt.Errorf("keep what is on its way: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("keep what is on its way: %w", err)
	}
	if at < 0 || at > info.Size() {
		return models.Errorf(models.Conflict, "Only %d bytes are there.", info.Size())
	}
	if err := file.Truncate(at); err != nil {
		return fmt.Errorf("keep what is on its way: %w", err)
	}
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return fmt.Errorf("keep what is on its way: %w", err)
	}
	_, err = io.Copy(roomy{file, r.Dir}, from)
	return err
}

// roomy stops before the disk is full: the control plane lives on it.
type roomy struct {
	file *os.File
	dir  string
}

// Write writes a piece.
func (w roomy) Write(p []byte) (int, error) {
	free, err := tree.Free(w.dir)
	if err != nil {
		return 0, err
	}
	if free < int64(len(p))+reserve {
		return 0, models.Errorf(models.Conflict, "The disk of the control plane's host has %s left, which is not enough for a site on its way. Make room there, then move the site again.", tree.Size(free))
	}
	return w.file.Write(p)
}

// Open reads an archive from a byte on.
func (r Relay) Open(relocationID int64, name string, from int64) (io.ReadCloser, error) {
	path, err := r.path(relocationID, name)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path) //nolint:gosec // a checked name
	if errors.Is(err, fs.ErrNotExist) {
		return nil, models.Errorf(models.NotFound, "%s is not there.", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read what is on its way: %w", err)
	}
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Drop removes what is there of a relocation.
func (r Relay) Drop(relocationID int64) error {
	if err := os.RemoveAll(filepath.Join(r.Dir, strconv.FormatInt(relocationID, 10))); err != nil {
		return fmt.Errorf("remove what was on its way: %w", err)
	}
	return nil
}

// Numbers lists the relocations of which something is there.
func (r Relay) Numbers() ([]int64, error) {
	entries, err := os.ReadDir(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for what is on its way: %w", err)
	}
	var all []int64
	for _, e := range entries {
		if id, err := strconv.ParseInt(e.Name(), 10, 64); err == nil {
			all = append(all, id)
		}
	}
	return all, nil
}

// Send is fleet.Carrier's for sites that leave the control plane's host.
func (r Relay) Send(ctx context.Context, relocationID int64, name, path string) error {
	file, err := os.Open(path) //nolint:gosec // our own archive
	if err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	if err := r.Fill(relocationID, name, 0, tree.UntilDone(ctx, file)); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}

// Receive is fleet.Carrier's for sites that come to the control plane's host.
func (r Relay) Receive(ctx context.Context, relocationID int64, name, path string) (err error) {
	from, err := r.Open(relocationID, name, 0)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in the site's folder
	if err != nil {
		return fmt.Errorf("receive %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	_, err = io.Copy(to, tree.UntilDone(ctx, from))
	return err
}
