package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"hefring/internal/store"
	"hefring/internal/tree"
	"hefring/models"
)

// Queue makes the queue's tables and gives the queue, for tasks that were queued
// or running.
type Queue = func(ctx context.Context, access store.Access) (store.Enqueuer, error)

// Restored is a finished restore.
type Restored struct {
	Manifest

	KeyMissing bool // the key file is neither in the backup nor in its place
}

// Restore restores a backup into a place where nothing is. digest is the SHA-256
// that the file must have, in hex; "" for any. Everything is looked at before
// anything is made; the database's rows come last and all at once, so that what
// was broken off can be done again. Conflict: something is there, or the backup
// needs a newer Hefring. Invalid: the backup is no good.
func (p Plane) Restore(ctx context.Context, path, digest string, queue Queue) (r Restored, err error) {
	if err := store.Vacant(ctx, p.Database); err != nil {
		return r, err
	}
	a, err := Open(ctx, path, digest)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	r.Manifest = a.Manifest
	p.Log.Printf(models.LevelInfo, "The backup is sound: made %s by Hefring %s, schema %d, %d rows.",
		a.Manifest.MadeAt.Format("2006-01-02 15:04 MST"), a.Manifest.Hefring, a.Manifest.Schema, a.Manifest.Rows)
	if err := p.vacant(a); err != nil {
		return r, err
	}
	if err := p.place(a); err != nil {
		return r, err
	}
	if err := p.load(ctx, a, queue); err != nil {
		return r, err
	}
	_, missing := os.Lstat(p.SecretKey)
	r.KeyMissing = errors.Is(missing, fs.ErrNotExist)
	return r, nil
}

// vacant answers Conflict when the control folder holds what the backup does not,
// or when another key is in the key's place.
func (p Plane) vacant(a *Archive) error {
	there, err := p.list()
	if err != nil {
		return fmt.Errorf("look into control folder: %w", err)
	}
	for _, path := range there {
		if p.ours(path) {
			continue
		}
		name, err := filepath.Rel(p.Folder, path)
		if err != nil {
			return fmt.Errorf("look into control folder: %w", err)
		}
		content, kept := a.files[filepath.ToSlash(name)]
		if !kept || !same(path, content) {
			return models.Errorf(models.Conflict, "The folder %s is not empty: it holds %s. Nothing was changed. A backup is restored into an empty data folder only; name another one with --data.", p.Folder, name)
		}
	}
	if _, err := os.Lstat(p.SecretKey); a.key != nil && err == nil && !same(p.SecretKey, a.key) {
		return models.Errorf(models.Conflict, "There is a key file %s already, and it is not the one in the backup. Nothing was changed. Move it away, or name another place with --secret-key-file.", p.SecretKey)
	}
	return nil
}

func same(path string, content []byte) bool {
	there, err := readFile(path, filesBytes)
	return err == nil && bytes.Equal(there, content)
}

// place writes the files. Nobody else may read them.
func (p Plane) place(a *Archive) error {
	if err := os.MkdirAll(p.Folder, 0o700); err != nil {
		return fmt.Errorf("make control folder: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		path := filepath.Join(p.Folder, filepath.FromSlash(name))
		if p.ours(path) {
			return a.bad(nil, "%.200q would take the place of a file of its own", name)
		}
		if err := placeFile(path, a.files[name]); err != nil {
			return fmt.Errorf("restore control folder: %w", err)
		}
	}
	if a.key == nil {
		return nil
	}
	if err := placeFile(p.SecretKey, a.key); err != nil {
		return fmt.Errorf("restore key file: %w", err)
	}
	return nil
}

// placeFile writes a file durably, if it is not there; vacant saw to it that it is
// the same then.
func placeFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	file, err := os.CreateTemp(dir, ".restoring-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // under its temporary name
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return explainDisk(err, dir)
	}
	if err := publish(file.Name(), path); err != nil {
		return err
	}
	return tree.SyncDir(dir)
}

func (p Plane) load(ctx context.Context, a *Archive, queue Queue) error {
	want := a.Manifest.Parts[PartDatabase]
	p.Log.Printf(models.LevelInfo, "Filling the database, %s …", tree.Size(want.Bytes))
	return a.protected(ctx, func() error {
		s, err := a.stream(ctx)
		if err != nil {
			return err
		}
		s.want = &want
		if _, err := store.Load(ctx, p.Database, s, queue); err != nil {
			return fmt.Errorf("restore database: %w", err)
		}
		return nil
	})
}
