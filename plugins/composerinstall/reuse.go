package composerinstall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"hefring/internal/tree"
	"hefring/plugins"
)

const (
	manifestFile  = "composer.json"
	lockFile      = "composer.lock"
	installedFile = "vendor/composer/installed.json"

	maxList = 64 << 20 // bytes of a JSON file that is read
)

// harmless are the Composer plugins that change no package's own files. With any
// other one, and with scripts, nothing is known of what an installed package is.
func harmless() []string {
	return []string{
		"composer/installers", "drupal/core-composer-scaffold", "drupal/core-project-message",
		"drupal/core-recipe-unpack", "php-http/discovery",
	}
}

// pack is what decides whether two installed packages are the same.
type pack struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Type    string `json:"type"`
	Dist    struct {
		Type      string `json:"type"`
		URL       string `json:"url"`
		Reference string `json:"reference"`
		Shasum    string `json:"shasum"`
	} `json:"dist"`
	Path string `json:"install-path"` // relative to vendor/composer
}

// same tells whether both are one archive, known by more than its address.
func (p pack) same(q pack) bool {
	archive := p.Dist.Type == "zip" || p.Dist.Type == "tar"
	return archive && p.Name == q.Name && p.Version == q.Version && p.Dist == q.Dist && p.Dist.Reference+p.Dist.Shasum != ""
}

// project is a code base that Composer is to complete.
type project struct {
	older *tree.Kept
	root  *os.Root
	locked,
	installed []pack
	raw []json.RawMessage // of installed
}

// reuse puts the packages that do not change into dir, as the newest older
// platform has them, and tells Composer that they are installed. Composer then
// installs the others, and writes its autoloader and scaffold as ever. It gives the
// folders that it made. Whatever speaks against it only makes the build slower.
//
// Where programs run as another user, the files are shared: they belong to us, so
// that Composer can remove and replace them but never write to them. Else they are
// copied.
func (c *Composer) reuse(ctx context.Context, dir string) ([]string, error) {
	if len(c.env.Older) == 0 {
		return nil, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open code base: %w", err)
	}
	defer func() { _ = root.Close() }()
	p := project{older: c.env.Older[0], root: root}
	if !p.comparable() {
		return nil, nil
	}
	folders, list := p.unchanged()
	if len(folders) == 0 {
		return nil, nil
	}
	files, dirs, ok := p.entries(folders)
	if !ok {
		return nil, nil
	}
	taken := append(slices.Clone(folders), path.Dir(installedFile))
	err = c.take(ctx, p, dir, files, dirs)
	if err == nil {
		err = c.tell(p, dir, list)
	}
	if err != nil {
		plugins.Logf(c.env, "Packages of the older platform cannot be used (%v); all are installed anew", err)
		return nil, errors.Join(c.remove(dir, taken), context.Cause(ctx))
	}
	plugins.Logf(c.env, "%d packages are as the platform before has them and are taken from it", len(folders))
	return taken, nil
}

// comparable reads the lists, and tells whether an installed package is nothing
// but its unpacked archive.
func (p *project) comparable() bool {
	text, err := read(p.root, manifestFile)
	was, ok := p.older.File(manifestFile)
	if err != nil || !ok || was.Sum != digest(text) {
		return false // packages may belong elsewhere now
	}
	var manifest struct {
		Scripts json.RawMessage `json:"scripts"`
		Config  struct {
			VendorDir string `json:"vendor-dir"`
		} `json:"config"`
	}
	if json.Unmarshal(text, &manifest) != nil || hasAny(manifest.Scripts) || manifest.Config.VendorDir != "" && manifest.Config.VendorDir != "vendor" {
		return false
	}
	var lock struct {
		Packages []pack `json:"packages"`
	}
	if text, err = read(p.root, lockFile); err != nil || json.Unmarshal(text, &lock) != nil {
		return false
	}
	p.locked = lock.Packages
	return p.readInstalled() && !slices.ContainsFunc(slices.Concat(p.locked, p.installed), func(q pack) bool {
		return q.Type == "composer-plugin" && !slices.Contains(harmless(), q.Name) || q.Dist.Type == "path"
	})
}

func hasAny(raw json.RawMessage) bool {
	return len(raw) > 0 && !slices.Contains([]string{"null", "{}", "[]"}, string(raw))
}

func (p *project) readInstalled() bool {
	root, err := os.OpenRoot(p.older.Root())
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	text, err := read(root, installedFile)
	was, ok := p.older.File(installedFile)
	if err != nil || !ok || was.Sum != digest(text) {
		return false
	}
	var list struct {
		Packages []json.RawMessage `json:"packages"`
		Dev      bool              `json:"dev"`
	}
	if json.Unmarshal(text, &list) != nil || list.Dev {
		return false
	}
	p.raw = list.Packages
	p.installed = make([]pack, len(list.Packages))
	for i, raw := range list.Packages {
		if json.Unmarshal(raw, &p.installed[i]) != nil {
			return false
		}
	}
	return true
}

// unchanged gives the folders of the packages that stay, and their entries in the
// list of what is installed.
func (p *project) unchanged() (folders []string, list []json.RawMessage) {
	locked := map[string]pack{}
	for _, q := range p.locked {
		locked[q.Name] = q
	}
	for i, q := range p.installed {
		folder := path.Join(path.Dir(installedFile), q.Path)
		if q.Path == "" || !fs.ValidPath(folder) || slices.Contains([]string{".", "vendor", "vendor/bin", path.Dir(installedFile)}, folder) || !q.same(locked[q.Name]) {
			continue
		}
		if _, err := p.root.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
			continue // the source has something of its own there
		}
		folders = append(folders, folder)
		list = append(list, p.raw[i])
	}
	return folders, list
}

// entries gives the files and folders of packages; not ok when links are among
// them, or a package lies in another.
func (p *project) entries(folders []string) (files []string, dirs []tree.Line, ok bool) {
	chosen, every := map[string]bool{}, map[string]bool{}
	for _, folder := range folders {
		chosen[folder] = true
	}
	for _, q := range p.installed {
		every[path.Join(path.Dir(installedFile), q.Path)] = true
	}
	for _, line := range p.older.All() {
		mine := ""
		for at := line.Path; at != "."; at = path.Dir(at) {
			if !every[at] {
				continue
			}
			if mine != "" && chosen[at] {
				return nil, nil, false
			}
			mine = at
		}
		if !chosen[mine] {
			continue
		}
		switch line.Kind {
		case 'f':
			files = append(files, line.Path)
		case 'd':
			dirs = append(dirs, line)
		default:
			return nil, nil, false
		}
	}
	return files, dirs, true
}

// take puts the files in place, all of them proven. The folders are made while
// the files are read.
func (c *Composer) take(ctx context.Context, p project, dir string, files []string, dirs []tree.Line) error {
	if c.env.Run.Identity() == nil {
		if err := c.makeDirs(ctx, dir, dirs); err != nil {
			return err
		}
		return copyAll(ctx, p, files)
	}
	made := make(chan error, 1)
	go func() { made <- c.makeDirs(ctx, dir, dirs) }()
	proofs, err := p.older.Prove(ctx, files, tree.Nameless, func(tree.Line, string) bool { return true })
	if err = errors.Join(<-made, err); err != nil {
		return err
	}
	if len(proofs) < len(files) {
		return errors.New("some of their files were changed")
	}
	return p.older.Fill(ctx, dir, proofs)
}

// makeDirs makes the folders, and gives them to whom Composer runs as.
func (c *Composer) makeDirs(ctx context.Context, dir string, dirs []tree.Line) error {
	names := []string{path.Dir(installedFile)}
	for _, line := range dirs {
		names = append(names, line.Path)
	}
	uid, gid := tree.Ours, tree.Ours
	if id := c.env.Run.Identity(); id != nil {
		uid, gid = int(id.UID), int(id.GID)
	}
	return tree.MakeDirs(ctx, dir, names, uid, gid)
}

func copyAll(ctx context.Context, p project, files []string) error {
	from, err := os.OpenRoot(p.older.Root())
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return tree.Parallel(ctx, func(ctx context.Context, put func(string)) error {
		for _, name := range files {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			put(name)
		}
		return nil
	}, func(ctx context.Context, name string, buffer []byte) error {
		line, ok := p.older.File(name)
		if !ok || ctx.Err() != nil {
			return nil //nolint:nilerr // the caller sees that it was stopped
		}
		return copyFile(from, p.root, line, buffer)
	})
}

func copyFile(from, to *os.Root, line tree.Line, buffer []byte) (err error) {
	in, err := from.OpenFile(line.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := to.OpenFile(line.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, line.Mode|0o200)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	hash := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(out, hash), struct{ io.Reader }{io.LimitReader(in, line.Size+1)}, buffer); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != line.Sum {
		return fmt.Errorf("%q was changed", line.Path)
	}
	return nil
}

// tell writes the list of what is installed.
func (c *Composer) tell(p project, dir string, list []json.RawMessage) error {
	text, err := json.Marshal(map[string]any{"packages": list, "dev": false, "dev-package-names": []string{}})
	if err != nil {
		return err
	}
	if err := p.root.WriteFile(installedFile, text, 0o644); err != nil {
		return err
	}
	return c.env.Run.Chown(path.Join(dir, installedFile))
}

// remove takes away what reuse made.
func (c *Composer) remove(dir string, folders []string) error {
	c.env.Older[0].Forget()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("remove packages: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, folder := range folders {
		if err := root.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove packages: %w", err)
		}
	}
	return nil
}

func read(root *os.Root, name string) ([]byte, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxList {
		return nil, fmt.Errorf("%s is no file of at most %s", name, tree.Size(maxList))
	}
	return io.ReadAll(io.LimitReader(file, maxList))
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
