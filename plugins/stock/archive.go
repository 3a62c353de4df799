package stock

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

// fromArchive tells whether a release is built from its archive.
func (s source) fromArchive(feed drupalorg.Feed, r drupalorg.Release) bool {
	if s.packaging != packagingAuto {
		return s.packaging == packagingArchive
	}
	_, whole := wholeSite(feed, r)
	return whole
}

// wholeSite finds the archive that holds a whole site: of Drupal itself its only
// one, of a distribution the variant that is full.
func wholeSite(feed drupalorg.Feed, r drupalorg.Release) (drupalorg.File, bool) {
	if feed.Kind() == "core" {
		file := r.Archive("")
		return file, file.URL != ""
	}
	file := r.Archive("full")
	return file, file.Variant == "full"
}

var md5Text = regexp.MustCompile(`^[0-9a-f]{32}$`)

// planArchive plans to build a release from its archive, as a makefile that names
// nothing else.
func (s source) planArchive(v *plugins.Version, feed drupalorg.Feed, r drupalorg.Release) error {
	name := s.address.Project + " " + r.Version
	file, whole := wholeSite(feed, r)
	switch {
	case !whole && (feed.Kind() == "module" || feed.Kind() == "theme"):
		return models.Errorf(models.Invalid, "%s is a %s and no site. Name Drupal or a distribution.", s.address.Project, feed.Kind()).Because(models.ReasonNotFound)
	case !whole:
		return models.Errorf(models.NotFound, "drupal.org has no archive of %s with all that a site needs. Build it with Composer, or from a makefile.", name).Because(models.ReasonNotFound)
	case !md5Text.MatchString(file.MD5):
		return models.Errorf(models.Unavailable, "drupal.org tells no checksum of %s, so its archive cannot be verified.", name).Because(models.ReasonVerification)
	}
	if err := checkURL(file.URL); err != nil {
		return models.Wrapf(models.Unavailable, err, "The archive of %s has an address that is not accepted: %s", name, models.Explain(err)).Because(models.ReasonMalformed)
	}
	p := plan{Packaging: packagingArchive, Version: r.Version, URL: file.URL, MD5: file.MD5, Makefile: makefile(feed, r.Version, file)}
	if _, err := spec.Parse([]byte(p.Makefile), s.address.Project+".make"); err != nil {
		return models.Wrapf(models.Unavailable, err, "No makefile can be written for %s: %s", name, models.Explain(err)).Because(models.ReasonMalformed)
	}
	text, err := p.text("")
	if err != nil {
		return err
	}
	v.Plan, v.Content = text, p.archiveContent()
	v.Facts = append(v.Facts, models.Fact{Label: "Archive", Value: file.URL}, models.Fact{Label: "MD5 of the archive", Value: file.MD5})
	return nil
}

// archiveContent is the id of what an archive holds, wherever it lies.
func (p plan) archiveContent() string {
	return digest(packagingArchive + " " + p.Version + " md5:" + p.MD5)
}

// makefile writes the makefile of a release. Where the version does not tell the
// Drupal that it is for, any from 8 on will do: nothing is added to the archive.
func makefile(feed drupalorg.Feed, version string, file drupalorg.File) string {
	text := spec.Stock(feed.Name, version, file.URL, file.MD5)
	if v, _ := drupalorg.ParseVersion(version); v.Core == "" && feed.Kind() != "core" {
		text = strings.Replace(text, fmt.Sprintf("\ncore = %d.x\n", v.Major), "\ncore = 8.x\n", 1)
	}
	return text
}

func (s source) buildArchive(ctx context.Context, env plugins.Env, p plan, dst string) (plugins.Made, error) {
	m, err := spec.Parse([]byte(p.Makefile), s.address.Project+".make")
	if err != nil {
		return plugins.Made{}, fmt.Errorf("read makefile of release: %w", err)
	}
	if len(m.Projects) != 1 || len(m.Libraries) != 0 || m.Projects[0].Download == nil || m.Projects[0].Download.Checksums.MD5 != p.MD5 {
		return plugins.Made{}, errors.New("read makefile of release: it is not that of the release")
	}
	plugins.Logf(env, "Building from this makefile:\n%s", strings.TrimSpace(p.Makefile))
	return build.Build(ctx, env, build.Job{Makefile: m, Loader: nothing{}, Options: build.Options{NoRecursion: true}}, dst)
}

// nothing is the loader of makefiles that name no other file.
type nothing struct{}

func (nothing) Read(_ context.Context, ref spec.Ref, _ int64) ([]byte, spec.Ref, error) {
	return nil, spec.Ref{}, models.Errorf(models.Invalid, "The makefile of a release names another file: %s%s.", ref.URL, ref.Path).Because(models.ReasonMalformed)
}

func (nothing) Commit(context.Context, spec.Download) (string, error) {
	return "", models.Errorf(models.Invalid, "The makefile of a release names a git repository.").Because(models.ReasonMalformed)
}

func (nothing) Local() bool { return false }
