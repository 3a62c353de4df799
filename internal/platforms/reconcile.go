package platforms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hefring/models"
)

// Found is one folder of the store that Reconcile asks about.
type Found struct {
	PlatformID int64  // of a staged build; 0 for published platforms
	Name       string // of a published platform; "" for staged builds
	Root       string // as Stage or Publish gave it
}

// Reconcile removes what no row of the database stands for: builds that died,
// platforms that were published but never recorded, and half-deleted ones. keep
// must say yes to builds that run right now. It gives the folders it removed.
func (s *Store) Reconcile(ctx context.Context, keep func(Found) bool) ([]string, error) {
	found, err := s.list()
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, f := range found {
		if keep(f) {
			continue
		}
		if err := s.discard(ctx, filepath.Dir(f.Root)); err != nil {
			return removed, err
		}
		removed = append(removed, f.Root)
	}
	return removed, s.emptyTrash(ctx)
}

// Missing tells which of these roots are gone from the disk. When nothing
// published is there at all, the disk is not mounted rather than emptied, and
// that is the error.
func (s *Store) Missing(roots []string) ([]string, error) {
	var missing []string
	for _, root := range roots {
		_, err := os.Lstat(root)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, root)
		case err != nil:
			return nil, fmt.Errorf("look for platform: %w", err)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	found, err := s.list()
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if f.Name != "" {
			return missing, nil
		}
	}
	if _, err := os.Stat(s.Root); err == nil && len(roots) == 1 {
		return missing, nil
	}
	return nil, models.Errorf(models.Unavailable, "None of the %d platforms is in %s. Check that its disk is mounted.", len(roots), s.Root)
}

func (s *Store) list() ([]Found, error) {
	var found []Found
	err := s.eachStaged(func(dir string, id int64) error {
		found = append(found, Found{PlatformID: id, Root: dir})
		return nil
	})
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list platforms: %w", err)
	}
	for _, entry := range entries {
		// What we would not have named is not ours to delete.
		if entry.IsDir() && namePattern.MatchString(entry.Name()) {
			found = append(found, Found{Name: entry.Name(), Root: filepath.Join(s.Root, entry.Name(), codeName)})
		}
	}
	return found, nil
}

func (s *Store) emptyTrash(ctx context.Context) error {
	trash := filepath.Join(s.Root, trashName)
	entries, err := os.ReadDir(trash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list trash: %w", err)
	}
	for _, entry := range entries {
		if err := erase(ctx, filepath.Join(trash, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
