package tree

import (
	"os"
	"path"

	"hefring/models"
)

// How many folders a walk lists before it comes to them: of one folder, and in all.
// Each is held open.
const (
	siblingsAhead = 4
	listAhead     = 64
)

// listing is an open folder and what is in it.
type listing struct {
	dir     *os.Root
	entries []Entry
	err     error
}

// listings are those of the folders in one other, in order, the next few of which
// are made beside the walk.
type listings struct {
	walker  *walker
	dir     *os.Root
	folders []Entry // still to come
	depth   int
	ahead   []chan listing // of the first of them
}

func (w *walker) listings(dir *os.Root, entries []Entry, depth int) *listings {
	l := &listings{walker: w, dir: dir, depth: depth}
	for _, e := range entries {
		if e.Info.IsDir() {
			l.folders = append(l.folders, e)
		}
	}
	l.begin()
	return l
}

// begin has the next folders listed, as far as there is room.
func (l *listings) begin() {
	for len(l.ahead) < min(siblingsAhead, len(l.folders)) {
		select {
		case l.walker.ahead <- struct{}{}:
		default:
			return
		}
		made := make(chan listing, 1)
		go func(e Entry) { made <- l.list(e) }(l.folders[len(l.ahead)])
		l.ahead = append(l.ahead, made)
	}
}

// next gives the listing of the next folder, which is the caller's to close.
func (l *listings) next() listing {
	if len(l.ahead) == 0 {
		e := l.folders[0]
		l.folders = l.folders[1:]
		return l.list(e)
	}
	made := <-l.ahead[0]
	<-l.walker.ahead
	l.ahead, l.folders = l.ahead[1:], l.folders[1:]
	l.begin()
	return made
}

// drop lets go of what nobody came to.
func (l *listings) drop() {
	for _, made := range l.ahead {
		if one := <-made; one.err == nil {
			_ = one.dir.Close()
		}
		<-l.walker.ahead
	}
}

func (l *listings) list(e Entry) listing {
	if l.depth > maxDepth {
		return listing{err: models.Errorf(models.Invalid, "Folders are nested more than %d deep at %q. Flatten them in the source.", maxDepth, shorten(e.Path))}
	}
	dir, err := l.dir.OpenRoot(path.Base(e.Path))
	if err != nil {
		return listing{err: err}
	}
	entries, err := l.walker.list(dir, e.Path)
	if err != nil {
		_ = dir.Close()
		return listing{err: err}
	}
	return listing{dir: dir, entries: entries}
}
