package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file in one step, which outlives a power cut: readers see the old
// one or the new one, never a part.
func Replace(path string, text []byte, mode fs.FileMode) error {
	return Place(path, text, func(temporary string) error {
		if err := os.Chmod(temporary, mode); err != nil {
			return err
		}
		return os.Rename(temporary, path)
	})
}

// Place writes text to a new file beside path that only we may read, has it brought
// to its place, and removes what is left under its temporary name.
func Place(path string, text []byte, publish func(temporary string) error) error {
	dir, name := filepath.Split(path)
	file, err := os.CreateTemp(dir, "."+name+"-*.new") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := publish(file.Name()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}
