package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"

	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

// OnThisMachine tells whether the address of a repository names a folder of this
// machine. Only who asks at its command line may use one, see plugins.Env.Local.
func OnThisMachine(address string) bool { return strings.HasPrefix(address, "file://") }

// LocalPath is the clean absolute path in a file:// address, in which %20 is a
// space. It is a models.Error when there is none.
func LocalPath(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		!filepath.IsAbs(u.Path) || filepath.Clean(u.Path) == "/" || strings.ContainsFunc(u.Path, unicode.IsControl) {
		return "", models.Errorf(models.Invalid, "%.200q names no folder. Write file:// and an absolute path, such as file:///srv/git/project.git.", address).
			Because(models.ReasonURL)
	}
	return filepath.Clean(u.Path), nil
}

// localFolder is the repository that a file:// address names, without links and
// without its working tree.
func localFolder(address string, forbidden []string) (string, error) {
	path, err := LocalPath(address)
	if err != nil {
		return "", err
	}
	folder, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", models.Wrapf(models.Invalid, err, "There is no folder %s on this machine. Correct the address.", path).Because(models.ReasonNotFound)
	}
	if err != nil {
		return "", models.Wrapf(models.Forbidden, err, "Hefring cannot open %s. Make it readable, or run hefring as a user who may read it.", path).Because(models.ReasonURL)
	}
	for _, f := range forbidden {
		own, err := filepath.EvalSymlinks(f)
		if err != nil {
			own = filepath.Clean(f)
		}
		if inside(folder, own) || inside(own, folder) {
			return "", models.Errorf(models.Forbidden, "%s is, or holds, a folder of Hefring itself. Use a repository outside of its data.", path).Because(models.ReasonURL)
		}
	}
	if inner := filepath.Join(folder, ".git"); isRepository(inner) {
		return inner, nil
	}
	// Git is shown what is named: never anything but a repository.
	if folder == "/" || !isRepository(folder) {
		return "", models.Errorf(models.Invalid, "%s is no git repository that Hefring may open. Name the folder that holds .git, or a bare repository; a linked working tree is neither.", path).
			Because(models.ReasonNotFound)
	}
	return folder, nil
}

func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func isRepository(folder string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			return false
		}
	}
	info, err := os.Lstat(folder)
	return err == nil && info.IsDir()
}

// FindRef finds the commit of the first of these refs that a repository on this
// machine has, behind tags too; "" when it has none of them.
func FindRef(ctx context.Context, env plugins.Env, address string, names []string) (string, error) {
	r, err := (&builder{env: env, dst: env.Scratch}).at(address, address)
	if err != nil {
		return "", err
	}
	args := []string{"ls-remote", "--quiet", "--", r.from()}
	for _, name := range names {
		args = append(args, name, name+"^{}")
	}
	out, err := r.withFolder(ctx, gitCall{args: args})
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		commit, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		found[name] = commit
	}
	for _, name := range names {
		if commit := cmp.Or(found[name+"^{}"], found[name]); commit != "" {
			return commit, nil
		}
	}
	return "", r.unreadable(nil) // git leaves out what it cannot read
}

// CheckOut writes the files of a commit of a repository on this machine into the
// empty folder dst.
func CheckOut(ctx context.Context, env plugins.Env, address, commit, dst string) error {
	if !fullCommit.MatchString(commit) {
		return fmt.Errorf("check out %s: %.100q is no commit", address, commit)
	}
	stage, err := os.MkdirTemp(env.Scratch, "stage-")
	if err != nil {
		return fmt.Errorf("make folder for checkout: %w", tree.Explain(err, env.Scratch))
	}
	defer func() { _ = os.RemoveAll(stage) }()
	if err := os.Chmod(stage, 0o755); err != nil { //nolint:gosec // sandboxed programs pass through
		return fmt.Errorf("make folder for checkout: %w", err)
	}
	r, err := (&builder{env: env, dst: dst, stage: stage}).at(address, address)
	if err != nil {
		return err
	}
	_, err = r.export(ctx, &spec.Download{URL: address, Commit: commit}, false, dst)
	return err
}

// fileEnvironment is gitEnvironment for one call that reads a repository on this
// machine. The upload-pack that git starts there takes settings from files alone.
func fileEnvironment(config string) []string {
	env := gitEnvironment()
	for i, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case name == "GIT_ALLOW_PROTOCOL":
			env[i] = name + "=file"
		case name == "GIT_CONFIG_GLOBAL":
			env[i] = name + "=" + config
		case value == "protocol.file.allow":
			env[i+1] = strings.Replace(env[i+1], "=never", "=always", 1)
		}
	}
	return env
}

// trust makes a folder with settings of git, by which it reads repositories of
// other users.
func (r *repository) trust() (folder string, err error) {
	folder, err = os.MkdirTemp(r.b.env.Scratch, "git-")
	if err != nil {
		return "", fmt.Errorf("make settings of git: %w", tree.Explain(err, r.b.env.Scratch))
	}
	err = os.WriteFile(filepath.Join(folder, "config"), []byte("[safe]\n\tdirectory = *\n"), 0o600)
	if err := errors.Join(err, r.b.env.Run.Chown(folder)); err != nil {
		return "", errors.Join(fmt.Errorf("make settings of git: %w", err), os.RemoveAll(folder))
	}
	return folder, nil
}

// withFolder runs git with a repository on this machine, which it may only read,
// and without network. Its errors are for people.
func (r *repository) withFolder(ctx context.Context, c gitCall) (string, error) {
	settings, err := r.trust()
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(settings) }()
	res, err := r.b.env.Run.Run(ctx, run.Cmd{
		Name: "git", Args: c.args, Dir: c.dir, Env: append(fileEnvironment(filepath.Join(settings, "config")), c.env...), Timeout: cloneTimeout,
		Sandbox: &run.Sandbox{ReadOnly: []string{r.folder, settings}, Writable: c.writable, Network: run.NetworkNone},
	})
	return string(res.Stdout), r.explainFolder(err)
}

// explainFolder turns a failure of git with a repository on this machine into an
// error for people.
func (r *repository) explainFolder(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, run.ErrTimeout) {
		return r.problem(models.Unavailable, models.ReasonTimeout, err, "git did not come to an end in time.")
	}
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok {
		return fmt.Errorf("run git: %w", err)
	}
	if full := plugins.FullDisk(err, r.b.dst, r.b.env.Cache); full != nil {
		return full
	}
	if err := r.unreadable(exit); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(r.folder, "objects", "info", "alternates")); err == nil {
		return r.problem(models.Invalid, models.ReasonMalformed, exit, "it borrows objects of another repository. Copy them with “git repack -a -d” and remove objects/info/alternates.")
	}
	return r.fromText(exit)
}

// unreadable is an error that names what of the repository git's user may not
// read; nil when that is nothing. exit is how git failed, nil if it did not.
func (r *repository) unreadable(exit *run.ExitError) error {
	path := r.closed()
	if path == "" && exit != nil && strings.Contains(exit.Tail, "Permission denied") {
		path = r.folder
	}
	if path == "" {
		return nil
	}
	who := "The user who runs Hefring"
	if id := r.b.env.Run.Identity(); id != nil {
		who = fmt.Sprintf("The user of builds (number %d)", id.UID)
	}
	message := fmt.Sprintf("%s may not read %s. Let everybody read the repository, such as with chmod -R a+rX %s, or run hefring as the user who owns it.", who, path, r.folder)
	if exit != nil {
		return models.Wrapf(models.Forbidden, exit, "%s", message).Because(models.ReasonURL)
	}
	return models.Errorf(models.Forbidden, "%s", message).Because(models.ReasonURL)
}

// closed finds a file or folder of the repository that git's user may not read;
// "" when there is none.
func (r *repository) closed() string {
	found := ""
	for _, name := range []string{"", "HEAD", "config", "packed-refs", "shallow", "refs", "objects"} {
		if found != "" {
			return found
		}
		_ = filepath.WalkDir(filepath.Join(r.folder, name), func(path string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist) || err == nil && e.Type()&fs.ModeSymlink != 0:
				return nil
			case err != nil || !r.readable(path, e):
				found = path
				return fs.SkipAll
			case name == "":
				return fs.SkipAll // the folder itself
			}
			return nil
		})
	}
	return found
}

// readable tells whether git's user may read a file, or read and enter a folder.
func (r *repository) readable(path string, e fs.DirEntry) bool {
	need := uint32(4)
	if e.IsDir() {
		need = 5
	}
	id := r.b.env.Run.Identity()
	if id == nil {
		return syscall.Access(path, need) == nil
	}
	info, err := e.Info()
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := uint32(info.Mode().Perm())
	switch {
	case stat.Uid == id.UID:
		mode >>= 6
	case stat.Gid == id.GID:
		mode >>= 3
	}
	return mode&need == need
}
