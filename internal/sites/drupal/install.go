package drupal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/models"
)

var languagePattern = regexp.MustCompile(`^[a-z]{2,3}(-[a-z0-9]{2,8})*$`)

// install runs site:install, with out and errs in the place of what long commands
// print to.
//
// In a language other than English Drupal's installer wants the translation of
// that language. Where it is neither in the code nor to be had, because there is
// no network, the installer gives up.
// An empty translation satisfies it: then the site is in its language, only that
// the texts of its pages are English until somebody fetches them. If that does not
// help either, the site is installed in English.
func (d *Drush) install(ctx context.Context, profile string, options []string, out, errs io.Writer) error {
	language := d.release.Site.Language
	c := call{command: installCommand, options: options, values: []string{profile}, limit: d.Times.Install, out: out, err: errs}
	if language == "" || language == "en" {
		_, err := d.run(ctx, c)
		return err
	}
	if !languagePattern.MatchString(language) {
		return models.InvalidField("language", "Use the code of a language, such as de or pt-br.")
	}
	c.options = append(slices.Clone(options), "--locale="+language)
	_, err := d.run(ctx, c)
	if !exited(err) {
		return err
	}
	d.untranslated = true
	if !d.dialect.seven {
		if err := d.emptyTranslation(language); err != nil {
			return err
		}
		if _, err = d.run(ctx, c); !exited(err) {
			return err
		}
	}
	c.options = options
	_, err = d.run(ctx, c)
	return err
}

func exited(err error) bool {
	_, failed := errors.AsType[*run.ExitError](err)
	return failed
}

// Untranslated tells whether Install had to do without the translation to the
// site's language; see Language for what it is in.
func (d *Drush) Untranslated() bool { return d.untranslated }

// noTexts is a translation that translates nothing; Drupal reads the header.
const noTexts = `msgid ""
msgstr ""
"Project-Id-Version: Drupal core\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: nplurals=2; plural=(n!=1);\n"
`

// emptyTranslation lies where the installer looks for translations. The folder
// belongs to the web user, so nothing in it is followed.
func (d *Drush) emptyTranslation(language string) (err error) {
	files := d.drupal.layout.Files(d.release.Site.ID)
	root, err := os.OpenRoot(files)
	if err != nil {
		return fmt.Errorf("prepare translation: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll("translations", 0o755); err != nil {
		return fmt.Errorf("prepare translation: %w", err)
	}
	name := filepath.Join("translations", "drupal-"+filepath.Base(d.release.Platform.DrupalVersion)+"."+language+".po")
	if err := root.WriteFile(name, []byte(noTexts), 0o644); err != nil {
		return fmt.Errorf("prepare translation: %w", err)
	}
	return d.drupal.giveAway(filepath.Join(files, "translations"), d.release)
}

// Site is the site that is spoken with.
func (d *Drush) Site() models.Site { return d.release.Site }

// Language is the code of the site's default language.
func (d *Drush) Language(ctx context.Context) (string, error) {
	var answer struct{ Language string }
	err := d.eval(ctx, `print "\n" . json_encode(["language" => `+d.dialect.php(
		`\Drupal::config("system.site")->get("default_langcode") ?: "en"`, `language_default()->language`)+`]) . "\n";`, &answer)
	return answer.Language, err
}

// SetTitle gives the site another name.
func (d *Drush) SetTitle(ctx context.Context, title string) error {
	if title == "" || (&models.Site{URI: d.release.Site.URI, Title: title}).Validate()["title"] != "" {
		return models.InvalidField("title", "Use one line of at most 100 characters.")
	}
	c := call{command: "config:set", options: []string{"--input-format=string", "-y"}, values: []string{"system.site", "name", title}, limit: d.Times.Ask}
	if d.dialect.seven {
		c.command, c.options, c.values = evalCommand, nil, []string{`variable_set("site_name", ` + quote(title) + `);`}
	}
	_, err := d.run(ctx, c)
	return err
}

// missing lists the modules, profiles and themes that are enabled and not in the
// code.
func (d *Drush) missing(ctx context.Context) ([]string, error) {
	var answer struct{ Missing []string }
	err := d.eval(ctx, d.dialect.php(`
$there = array_keys(\Drupal::service("extension.list.module")->getList() + \Drupal::service("extension.list.profile")->getList());
$themes = array_keys(\Drupal::service("extension.list.theme")->getList());
$enabled = \Drupal::config("core.extension");
$missing = array_merge(
  array_diff(array_keys($enabled->get("module") ?: []), $there),
  array_diff(array_keys($enabled->get("theme") ?: []), $themes)
);
print "\n" . json_encode(["missing" => array_values($missing)]) . "\n";`, `
$missing = array();
foreach (db_query("SELECT name, filename FROM {system} WHERE status = 1 AND type IN ('module', 'theme')") as $row) {
  if (!is_file(DRUPAL_ROOT . "/" . $row->filename) && !drupal_get_filename("module", $row->name) && !drupal_get_filename("theme", $row->name)) {
    $missing[] = $row->name;
  }
}
print "\n" . json_encode(array("missing" => $missing)) . "\n";`), &answer)
	return answer.Missing, err
}

// Older tells whether one version of Drupal is older than another.
func Older(a, b string) (bool, error) {
	order, err := compareVersions(a, b)
	return order < 0, err
}

// Give hands a file or folder of the site, with all that is in it, to the user
// that the site's PHP runs as.
func (d *Drupal) Give(site models.Site, path string) error {
	return d.giveAway(path, Release{Site: site})
}

// WriteLocalSettings writes a person's own settings of a site.
func (d *Drupal) WriteLocalSettings(site models.Site, text []byte) error {
	if err := d.replace(filepath.Join(d.layout.Dir(site.ID), localSettings), Release{Site: site}, string(text), 0o640); err != nil {
		return fmt.Errorf("write %s: %w", localSettings, err)
	}
	return nil
}

// KeepSalt writes the hash salt of a site that has one from elsewhere.
func (d *Drupal) KeepSalt(site models.Site, text []byte) error {
	if err := d.replace(d.layout.Salt(site.ID), Release{Site: site}, string(text), 0o640); err != nil {
		return fmt.Errorf("keep hash salt: %w", err)
	}
	return nil
}

// LocalSettings is the file of a person's own settings of a site; it need not be
// there.
func LocalSettings(layout sites.Layout, siteID int64) string {
	return filepath.Join(layout.Dir(siteID), localSettings)
}

var deploymentPattern = regexp.MustCompile(`deployment_identifier'\] = '([^'\\]*?)(?:@[0-9a-f]{8})?-\d+'`)

// Serving is the platform that serves a site, as far as the site's own folder
// tells: enough for WriteRelease and Drush. models.NotFound says that none does.
func (d *Drupal) Serving(site models.Site) (models.Platform, error) {
	p := models.Platform{ID: site.PlatformID}
	docroot, err := filepath.EvalSymlinks(d.layout.Current(site.ID))
	if errors.Is(err, os.ErrNotExist) {
		return p, models.Wrapf(models.NotFound, err, "The code that serves %s is not there. Move the site to a platform that is.", site.URI)
	}
	if err != nil {
		return p, fmt.Errorf("find the platform of %s: %w", site.URI, err)
	}
	p.Root, p.Docroot = docroot, ""
	for dir := docroot; ; dir = filepath.Dir(dir) {
		if there(filepath.Join(dir, "vendor", "bin", "drush")) {
			p.Root = dir
			p.Docroot = strings.TrimPrefix(strings.TrimPrefix(docroot, dir), "/")
			break
		}
		if dir == filepath.Dir(dir) || dir == filepath.Dir(filepath.Dir(docroot)) {
			break
		}
	}
	p.Name = filepath.Base(p.Root)
	if p.DrupalVersion, err = CodeVersion(docroot); err != nil {
		return p, err
	}
	// The build key stands in the settings, where it names the cached container.
	text, err := os.ReadFile(filepath.Join(d.layout.Release(site.ID, site.PlatformID), "settings.php"))
	if err == nil {
		if found := deploymentPattern.FindSubmatch(text); found != nil {
			p.BuildKey = string(found[1])
		}
	}
	return p, nil
}
