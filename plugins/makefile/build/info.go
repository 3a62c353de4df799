package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"hefring/internal/tree"
	"hefring/plugins/makefile/spec"
)

var (
	coreAndVersion = regexp.MustCompile(`^\d+\.x-\d+`)
	onlyMajor      = regexp.MustCompile(`^\d+(\.x)?$`)
	onBranch       = regexp.MustCompile(`^(.+)\.x-dev$`)
	describedTag   = regexp.MustCompile(`^(.+)-(\d+)-g[0-9a-f]{7,}$`)
)

// wantsInfo tells whether Drush writes the version into .info files: those of
// checkouts from drupal.org, whose own packaging does the same for archives.
func (b *builder) wantsInfo(e *entry) bool {
	d := e.download
	if d == nil || d.Type != spec.DownloadGit || b.options.NoGitInfoFile {
		return false
	}
	return b.options.ForceGitInfoFile || d.DefaultURL || strings.Contains(d.URL, "drupal.org")
}

// fullVersion is the version that the makefile says, in the words of drupal.org;
// "" when it says none.
func fullVersion(e *entry) string {
	v := e.version
	switch {
	case v == "":
		return ""
	case e.kind == spec.TypeCore:
		if onlyMajor.MatchString(v) {
			v = strings.TrimSuffix(v, ".x") + ".x-dev"
		}
		return v
	}
	if onlyMajor.MatchString(v) {
		v = strings.TrimSuffix(v, ".x") + ".x-dev"
	}
	if !coreAndVersion.MatchString(e.version) {
		coreMajor, _, _ := strings.Cut(e.core, ".")
		v = coreMajor + ".x-" + v
	}
	return v
}

// stampedVersion is what goes into .info files before git is asked.
func stampedVersion(e *entry) string {
	d := e.download
	switch {
	case e.version != "":
		return fullVersion(e)
	case d.Tag != "":
		return d.Tag
	case d.Branch != "":
		return d.Branch + "-dev"
	case d.Revision != "":
		return d.Revision
	}
	return "unknown"
}

// developmentBranch gives the branch of a development version: 7.x-1 of
// 7.x-1.x-dev; "" for others.
func developmentBranch(version string) string {
	if match := onBranch.FindStringSubmatch(version); match != nil {
		return match[1]
	}
	return ""
}

// rebuilt refines a development version by the tag that git describes the commit
// with, as drupal.org's packaging does: 7.x-1.1+3-dev is three commits after
// 7.x-1.1.
func rebuilt(version, described string) string {
	branch := developmentBranch(version)
	if branch == "" || described == "" {
		return version
	}
	tag, count := described, "0"
	release := regexp.MustCompile(`^` + regexp.QuoteMeta(branch) + `\.\d+(-[^-]+)?$`)
	if !release.MatchString(tag) {
		match := describedTag.FindStringSubmatch(described)
		if match == nil || !release.MatchString(match[1]) {
			return version
		}
		tag, count = match[1], match[2]
	}
	return tag + "+" + count + "-dev"
}

// major gives the major version of core; 0 when it is unknown.
func major(core string) int { return (&spec.Makefile{Core: core}).Major() }

// stamp appends version, project and date to the .info files of a checkout:
// .info.yml from Drupal 8 on, .info before.
func (c *checkout) stamp(ctx context.Context, e *entry, folder string) error {
	version := rebuilt(stampedVersion(e), c.describe)
	text, end := fmt.Sprintf("\n; Information added by drush on %s\nversion = \"%s\"\nproject = \"%s\"\ndatestamp = \"%d\"",
		c.when.Format("2006-01-02"), version, e.name, c.when.Unix()), ".info"
	if major(e.core) >= 8 {
		text, end = fmt.Sprintf("\n# Information added by drush on %s\nversion: '%s'\nproject: '%s'\ndatestamp: %d",
			c.when.Format("2006-01-02"), version, e.name, c.when.Unix()), ".info.yml"
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("open project: %w", err)
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case !entry.Type().IsRegular() || !strings.HasSuffix(path.Base(name), end):
			return nil
		}
		return appendTo(root, name, text)
	})
}

func appendTo(root *os.Root, name, text string) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("write version into %s: %w", name, err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write version into %s: %w", name, tree.Explain(err, root.Name()))
	}
	return nil
}
