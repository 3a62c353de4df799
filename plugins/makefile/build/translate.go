package build

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

const (
	maxTranslation = 32 << 20
	maxL10nServer  = 1 << 20
)

// Where drupal.org keeps its translations: by the version of core up to Drupal 7.
const (
	legacyL10n = "https://ftp.drupal.org/files/translations/%core/%project/%project-%release.%language.po"
	modernL10n = "https://ftp.drupal.org/files/translations/all/%project/%project-%release.%language.po"
)

var languageCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,30}$`)

// translate downloads an entry's translations into its folder. A language that
// nobody translated it into is no failure.
func (b *builder) translate(ctx context.Context, e *entry, folder string) error {
	if len(e.translations) == 0 || e.kind == spec.TypeLibrary {
		return nil
	}
	template, err := b.l10nTemplate(ctx, e)
	if err != nil || template == "" {
		return err
	}
	release := fullVersion(e)
	if e.release != nil {
		release = e.release.Version
	}
	var missing []string
	for _, language := range e.translations {
		if !languageCode.MatchString(language) {
			return models.Errorf(models.Invalid, "%q is no language code. Write one such as de or pt-br into translations.", language)
		}
		address := strings.NewReplacer("%project", e.name, "%release", release, "%core", e.core, "%language", language).Replace(template)
		got, err := b.fetch(ctx, address, spec.Checksums{})
		if models.CodeOf(err) == models.NotFound {
			missing = append(missing, language)
			continue
		}
		if err != nil {
			return err
		}
		text, err := got.text(maxTranslation, address)
		if err != nil {
			return err
		}
		if err := placeTranslation(e, folder, language, text); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		plugins.Logf(b.env, "Warning: there is no translation of %s into %s", e.name, strings.Join(missing, ", "))
	}
	return nil
}

// l10nTemplate gives the template of addresses of translations; "" when none is
// known.
func (b *builder) l10nTemplate(ctx context.Context, e *entry) (string, error) {
	switch {
	case e.l10nPath != "":
		return e.l10nPath, nil
	case e.l10nURL != "":
		return b.l10nServer(ctx, e.l10nURL)
	case !e.defaultL10n:
		plugins.Logf(b.env, "Warning: %s does not say where its translations are. Give l10n_path or l10n_url.", e.name)
		return "", nil
	case major(e.core) >= 8:
		return modernL10n, nil
	}
	return legacyL10n, nil
}

// l10nServer reads the template out of the description of an l10n server.
func (b *builder) l10nServer(ctx context.Context, address string) (string, error) {
	b.mu.Lock()
	known := b.l10n[address]
	b.mu.Unlock()
	if known != "" {
		return known, nil
	}
	got, err := b.fetch(ctx, address, spec.Checksums{})
	if err != nil {
		return "", err
	}
	text, err := got.text(maxL10nServer, address)
	if err != nil {
		return "", err
	}
	var server struct {
		Update string `xml:"update_url"`
	}
	if err := xml.Unmarshal(text, &server); err != nil || strings.TrimSpace(server.Update) == "" {
		return "", models.Wrapf(models.Invalid, err, "The l10n server at %s does not say where its translations are (update_url). Correct l10n_url, or give l10n_path.", address).
			Because(models.ReasonMalformed)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.l10n[address] = strings.TrimSpace(server.Update)
	return b.l10n[address], nil
}

// text reads a small file as a whole and closes it.
func (f *fetched) text(maxBytes int64, name string) ([]byte, error) {
	defer f.close()
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read download: %w", err)
	}
	return readAll(f.file, maxBytes, name)
}

func readAll(file io.Reader, maxBytes int64, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(text)) > maxBytes {
		return nil, models.Errorf(models.Invalid, "%s is larger than the %d bytes that are accepted.", name, maxBytes).Because(models.ReasonTooLarge)
	}
	return text, nil
}

// placeTranslation puts core's translation where the installer of each profile
// and Drupal itself look for it.
func placeTranslation(e *entry, folder, language string, text []byte) error {
	dirs := []string{"translations"}
	if e.kind == spec.TypeCore {
		profiles, err := coreProfiles(folder)
		if err != nil {
			return err
		}
		dirs = []string{"modules/system/translations"}
		for _, profile := range profiles {
			dirs = append(dirs, path.Join("profiles", profile, "translations"))
		}
	}
	for _, dir := range dirs {
		if err := writeFile(folder, path.Join(dir, language+".po"), text); err != nil {
			return err
		}
	}
	return nil
}

func coreProfiles(folder string) ([]string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open core: %w", err)
	}
	defer func() { _ = root.Close() }()
	list, err := fs.ReadDir(root.FS(), "profiles")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	var names []string
	for _, entry := range list {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
