package platforms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"hefring/internal/tree"
	"hefring/models"
)

// Older offers ready platforms for a new build to share files with, best the
// newest first. Those that are gone, or whose manifest is not the one that was
// recorded, are left out: sharing saves, and is never needed.
func (s *Store) Older(list ...models.Platform) []*tree.Kept {
	kept := make([]*tree.Kept, len(list))
	var all sync.WaitGroup
	for i, p := range list {
		all.Go(func() { kept[i] = s.keep(p) })
	}
	all.Wait()
	return slices.DeleteFunc(kept, func(k *tree.Kept) bool { return k == nil })
}

func (s *Store) keep(p models.Platform) *tree.Kept {
	box, err := s.publishedBox(p.Root)
	if err != nil {
		return nil
	}
	stamps := make(chan []byte, 1)
	go func() {
		text, _ := readPacked(filepath.Join(box, stampsName)) // it may be lost
		stamps <- text
	}()
	text, err := readPacked(filepath.Join(box, manifestName))
	if err != nil || digest(text) != p.ManifestDigest {
		return nil
	}
	_, m, err := decode(text)
	if err != nil {
		return nil
	}
	return tree.Keep(p.Root, m, parseStamps(<-stamps, p.ManifestDigest, m))
}

// blockBytes is the unit of stat's block count, whatever the file system's is.
const blockBytes = 512

// Usage measures a platform on the disk in bytes: apparent is what it would use
// alone, exclusive what deleting it would free, where files are shared by hard
// links.
func (s *Store) Usage(ctx context.Context, root string) (apparent, exclusive int64, err error) {
	box, err := s.publishedBox(root)
	if err != nil {
		return 0, 0, err
	}
	type inode struct{ dev, ino uint64 }
	left := map[inode]uint64{} // names of a file that were not seen yet
	err = filepath.WalkDir(box, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("the system tells no blocks")
		}
		size := stat.Blocks * blockBytes
		if info.IsDir() || stat.Nlink < 2 {
			apparent, exclusive = apparent+size, exclusive+size
			return nil
		}
		key := inode{stat.Dev, stat.Ino}
		if left[key] == 0 {
			left[key] = uint64(stat.Nlink) //nolint:unconvert // 32 bits on other machines
			apparent += size
		}
		if left[key]--; left[key] == 0 {
			exclusive += size
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("measure platform: %w", err)
	}
	return apparent, exclusive, nil
}
