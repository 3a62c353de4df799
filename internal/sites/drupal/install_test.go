package drupal

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/models"
)

// stubborn is a Drush that cannot install in other languages, or only with a
// translation.
type stubborn struct {
	calls [][]string
	files string // where it looks for one; "" to give up at once
}

func (s *stubborn) Run(_ context.Context, c run.Cmd) (run.Result, error) {
	s.calls = append(s.calls, c.Args)
	_, err := os.Stat(filepath.Join(s.files, "translations", "drupal-10.5.4.de.po"))
	if slices.Contains(c.Args, "--locale=de") && (s.files == "" || err != nil) {
		return run.Result{ExitCode: 1}, &run.ExitError{Name: "drush", Code: 1}
	}
	return run.Result{}, nil
}

func (*stubborn) Identity() *run.Identity { return nil }
func (*stubborn) Chown(string) error      { return nil }

func TestDrush_Install_WithoutTranslation_InstallsInEnglish(t *testing.T) {
	t.Parallel()
	for language, starts := range map[string]int{"": 1, "en": 1, "de": 3, "pt-br": 1, "de with an empty translation": 2} {
		layout, programs := sites.Layout{Root: t.TempDir()}, &stubborn{}
		if err := os.MkdirAll(layout.Files(1), 0o755); err != nil {
			t.Fatal(err)
		}
		code, lenient, _ := strings.Cut(language, " ")
		if lenient != "" {
			programs.files = layout.Files(1)
		}
		r := Release{Site: models.Site{ID: 1, URI: "a.example.org", Language: code}, Platform: models.Platform{ID: 1, Root: "/p", DrupalVersion: "10.5.4"}}
		d := &Drush{drupal: New(layout, programs, nil), release: r, program: "/p/drush", Times: DefaultTimes()}
		if err := d.install(t.Context(), "standard", []string{"--site-name=x"}, io.Discard, io.Discard); err != nil {
			t.Errorf("%s: %v", language, err)
		}
		if len(programs.calls) != starts {
			t.Errorf("%q: %d starts: %v", language, len(programs.calls), programs.calls)
		}
		if last := programs.calls[len(programs.calls)-1]; !slices.Contains(last, "--site-name=x") || slices.Contains(last, "--locale=de") != (lenient != "") {
			t.Errorf("%q: %v", language, last)
		}
		if d.Untranslated() != (code == "de") {
			t.Errorf("%q: untranslated is %v", language, d.Untranslated())
		}
	}
	for _, language := range []string{"--root=/", "DE", "x y", "a"} {
		d := &Drush{drupal: New(sites.Layout{Root: t.TempDir()}, &stubborn{}, nil), release: Release{Site: models.Site{Language: language}}}
		if err := d.install(t.Context(), "standard", nil, io.Discard, io.Discard); models.CodeOf(err) != models.Invalid {
			t.Errorf("%q gave %v", language, err)
		}
	}
}
