package drupal

import (
	"context"
	"io"
	"slices"
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/models"
)

// stubborn is a Drush that cannot install in other languages.
type stubborn struct{ calls [][]string }

func (s *stubborn) Run(_ context.Context, c run.Cmd) (run.Result, error) {
	s.calls = append(s.calls, c.Args)
	if slices.Contains(c.Args, "--locale=de") {
		return run.Result{ExitCode: 1}, &run.ExitError{Name: "drush", Code: 1}
	}
	return run.Result{}, nil
}

func (*stubborn) Identity() *run.Identity { return nil }
func (*stubborn) Chown(string) error      { return nil }

func TestDrush_Install_WithoutTranslation_InstallsInEnglish(t *testing.T) {
	t.Parallel()
	for language, starts := range map[string]int{"": 1, "en": 1, "de": 2, "pt-br": 1} {
		programs := &stubborn{}
		r := Release{Site: models.Site{ID: 1, URI: "a.example.org", Language: language}, Platform: models.Platform{ID: 1, Root: "/p"}}
		d := &Drush{drupal: New(sites.Layout{Root: t.TempDir()}, programs, nil), release: r, program: "/p/drush", Times: DefaultTimes()}
		if err := d.install(t.Context(), "standard", []string{"--site-name=x"}, io.Discard, io.Discard); err != nil {
			t.Errorf("%s: %v", language, err)
		}
		if len(programs.calls) != starts {
			t.Errorf("%q: %d starts: %v", language, len(programs.calls), programs.calls)
		}
		if last := programs.calls[len(programs.calls)-1]; !slices.Contains(last, "--site-name=x") || slices.Contains(last, "--locale=de") {
			t.Errorf("%q: %v", language, last)
		}
	}
	for _, language := range []string{"--root=/", "DE", "x y", "a"} {
		d := &Drush{drupal: New(sites.Layout{Root: t.TempDir()}, &stubborn{}, nil), release: Release{Site: models.Site{Language: language}}}
		if err := d.install(t.Context(), "standard", nil, io.Discard, io.Discard); models.CodeOf(err) != models.Invalid {
			t.Errorf("%q gave %v", language, err)
		}
	}
}
