package backup

import (
	"context"
	"io/fs"
)

// Seen is a file, folder or link of a site's folders, as far as it tells whether it
// was changed.
type Seen struct {
	Kind byte   `json:"k"` // d folder, f file, l link
	Size int64  `json:"s,omitempty"`
	Link string `json:"l,omitempty"`
	// Mark changes whenever a file's content or name does: its inode, and the times of
	// its last changes.
	Mark [3]int64 `json:"m"`
}

// Same tells whether two servers have the same thing: of that its marks say nothing.
func (s Seen) Same(other Seen) bool {
	return s.Kind == other.Kind && s.Size == other.Size && s.Link == other.Link
}

// Listing is what lies in the folders of a site, by the part's name and the path in
// it, such as files/2026/ship.jpg.
type Listing map[string]Seen

// List lists what Write would keep of a source's folders.
func List(ctx context.Context, s Source) (Listing, error) {
	all := Listing{}
	for _, part := range folders() {
		dir := s.folder(part)
		if dir == "" {
			continue
		}
		w := walker{
			ctx: ctx, leftOut: func(string, string) {}, skip: func(path string) bool { return part == PartFiles && Compiled(path) },
			visit: func(i item) error { all[part+"/"+i.path] = seenOf(i); return nil },
		}
		if err := w.walk(dir); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func seenOf(i item) Seen {
	known := stat(i.info)
	s := Seen{Kind: 'f', Size: i.info.Size(), Link: i.link, Mark: [3]int64{int64(known.Ino), known.Mtim.Nano(), known.Ctim.Nano()}} //nolint:gosec // only compared
	switch {
	case i.info.IsDir():
		s.Kind, s.Size, s.Mark = 'd', 0, [3]int64{} // what is in it is listed
	case i.info.Mode()&fs.ModeSymlink != 0:
		s.Kind, s.Size = 'l', 0
	}
	return s
}

// Changed tells whether something is new or other than it was before.
func (l Listing) Changed(before Listing, path string) bool {
	was, there := before[path]
	return !there || was != l[path]
}

// Gone lists what was there before and is not any more, or is another kind of thing.
func (l Listing) Gone(before Listing) []string {
	var gone []string
	for path, was := range before {
		if now, there := l[path]; !there || now.Kind != was.Kind {
			gone = append(gone, path)
		}
	}
	return gone
}

// Lacks names one thing of another listing that is not in this one, or is otherwise;
// "" when there is none.
func (l Listing) Lacks(other Listing) string {
	for path, s := range other {
		if mine, there := l[path]; !there || !mine.Same(s) {
			return path
		}
	}
	return ""
}
