// Package manual is the update type for code bases that a person puts on the
// machine: each is registered from a folder, copied, and becomes the upgrade
// target by hand.
package manual

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

const prefix = "manual:"

// Plugin is the manual update type.
type Plugin struct{}

// New gives the manual update type.
func New() Plugin { return Plugin{} }

// Info describes the type.
func (Plugin) Info() plugins.Info {
	return plugins.Info{
		ID:      "manual",
		Name:    "Manual",
		Summary: "You put code bases on this server, register each as a platform and choose the upgrade target yourself.",
		Icon:    "hand",
		ByHand:  true,
	}
}

// Fields are the settings of the type.
func (Plugin) Fields() []plugins.Field {
	return []plugins.Field{{
		Name: "docroot", Label: "Docroot", Kind: plugins.FieldPath, Placeholder: "web",
		Help: "Folder of index.php, relative to each code base. Leave it empty to have it found.",
	}}
}

// Open checks the settings.
func (p Plugin) Open(settings models.Settings) (plugins.Source, error) {
	values := plugins.Decode(p.Fields(), settings)
	values.Text("docroot") // the caller inspects what was built with it
	if err := values.Err(); err != nil {
		return nil, err
	}
	return source{}, nil
}

type source struct{}

var _ plugins.Registrar = source{}

// Upstream is nothing that could be asked.
func (source) Upstream() plugins.Upstream { return plugins.Upstream{} }

// Check always fails: there is nothing to look at between registrations.
func (source) Check(context.Context, plugins.Env, plugins.Version) (plugins.Version, error) {
	return plugins.Version{}, models.Errorf(models.Invalid,
		"A manual distribution has no source to check. Register a folder as a new platform instead.")
}

// Register hashes the folder at path; the version stands for exactly what it
// holds now.
func (source) Register(ctx context.Context, env plugins.Env, path string) (plugins.Version, error) {
	dir, err := folder(path, env.Forbidden)
	if err != nil {
		return plugins.Version{}, err
	}
	digest, err := digest(ctx, dir)
	if err != nil {
		return plugins.Version{}, err
	}
	return plugins.Version{
		Revision: prefix + "sha256:" + digest + ":" + path,
		Content:  digest,
		Label:    digest[:7],
		Note:     "Registered from " + path,
	}, nil
}

// Build copies the registered folder. It fails when the folder no longer holds
// what was registered, also when it changes during the copying.
func (source) Build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) (plugins.Made, error) {
	text, ok := strings.CutPrefix(v.Revision, prefix+"sha256:"+v.Content+":")
	if !ok {
		return plugins.Made{}, fmt.Errorf("build manual platform: malformed revision %q", v.Revision)
	}
	dir, err := folder(text, env.Forbidden)
	if err != nil {
		return plugins.Made{}, err
	}
	plugins.Logf(env, "Copying %s", dir)
	if err := tree.Copy(ctx, dir, dst, options()); err != nil {
		return plugins.Made{}, fmt.Errorf("copy folder: %w", readable(tree.Explain(err, dst), dir))
	}
	copied, err := tree.Scan(ctx, dst, options(), true)
	if err != nil {
		return plugins.Made{}, fmt.Errorf("check copy: %w", err)
	}
	if copied.Digest() != v.Content {
		return plugins.Made{}, models.Errorf(models.Conflict, "%s changed since it was registered. Register it again when nothing writes to it.", dir)
	}
	files, bytes := copied.Totals()
	plugins.Logf(env, "Copied %d files, %s; they are what was registered", files, tree.Size(bytes))
	return plugins.Made{}, nil
}

func options() tree.Options { return tree.Options{NoSetuid: true} }

func digest(ctx context.Context, dir string) (string, error) {
	m, err := tree.Scan(ctx, dir, options(), true)
	if err != nil {
		return "", fmt.Errorf("read folder: %w", readable(err, dir))
	}
	if files, _ := m.Totals(); files == 0 {
		return "", wrongPath("%s holds no files. Put the code base there first.", dir)
	}
	return m.Digest(), nil
}

func readable(err error, dir string) error {
	if models.CodeOf(err) == "" && errors.Is(err, fs.ErrPermission) {
		return models.Wrapf(models.Invalid, err, "Hefring may not read everything in %s. Make the folder readable for the user that Hefring runs as.", dir)
	}
	return err
}

// folder resolves a path that a person typed.
func folder(path string, forbidden []string) (string, error) {
	switch {
	case path == "":
		return "", wrongPath("Give the absolute path of a folder on this server.")
	case strings.ContainsFunc(path, unicode.IsControl):
		return "", wrongPath("Leave control characters out of the path.")
	case !filepath.IsAbs(path) || len(path) > 1000:
		return "", wrongPath("Give an absolute path, such as /srv/code/website.")
	case filepath.Clean(path) != path:
		return "", wrongPath("Give the path without “..”, doubled or trailing slashes: %s", filepath.Clean(path))
	}
	dir, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", wrongPath("There is no folder %s on this server.", path)
	}
	if err != nil {
		return "", wrongPath("Hefring cannot open %s. Check that the user it runs as may enter every folder of the path.", path)
	}
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return "", wrongPath("%s is not a folder. Give the folder that holds composer.json or index.php.", path)
	}
	for _, f := range forbidden {
		if own, err := filepath.EvalSymlinks(f); err == nil && (inside(dir, own) || inside(own, dir)) {
			return "", wrongPath("%s is, or holds, a folder of Hefring itself. Choose a folder outside of its data.", path)
		}
	}
	return dir, nil
}

func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// wrongPath is an error about the path that was registered; a form shows it at
// its field "path".
func wrongPath(format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return &models.Error{Code: models.Invalid, Message: message, Fields: map[string]string{"path": message}}
}
