package stock_test

import (
	"testing"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins/plugintest"
	"hefring/plugins/stock"
)

// TestPlugin_ContractOfTroubles holds the type to the contract where a release
// is taken back and where there is none.
func TestPlugin_ContractOfTroubles(t *testing.T) {
	s := newSite(t, coreHead)
	newer, older := s.release("10.5.1"), s.release("10.5.0")
	s.set(newer, older)
	settings := func(major string) models.Settings {
		return s.settings("project", "drupal", "core", "current", "channel", "major", "major", major, "packaging", "auto")
	}
	none := settings("10")
	none["project"] = "no_such_project"
	plugintest.Exercise(t, plugintest.Harness{
		Plugin: stock.New(), Settings: settings("10"),
		Elsewhere: models.Settings{"project": "no_such_project", "location": "https://updates.invalid/release-history"},
		Broken:    []models.Settings{settings("9"), none},
		Exception: &plugintest.Exception{
			Settings: settings("10"), Provoke: func(*testing.T) { s.set(older) }, Reason: models.ReasonLower,
		},
		Run: run.New(run.Config{}), Egress: newGuard(t),
	})
}
