package makefile_test

import (
	"maps"
	"testing"

	"hefring/models"
	"hefring/plugins/makefile"
	"hefring/plugins/plugintest"
)

// TestPlugin_SuiteWithCredentials holds the type to the contract where a secret
// is at stake and where the source refuses.
func TestPlugin_SuiteWithCredentials(t *testing.T) {
	w := newWorld(t)
	w.put("/private/site.make", head+"includes[] = inc.make\nprojects[] = drupal\n")
	w.put("/private/inc.make", "projects[views][version] = 3.24\n")
	w.put("/private/broken.make", head+"projects[nothing][version] = 9.9\n")
	w.put("/private/malformed.make", "no makefile\x00")
	settings := func(name string, more models.Settings) models.Settings {
		s := w.settings(models.Settings{"url": w.web.URL + "/private/" + name, "auth": "token", "user": "reader", "token": secret})
		maps.Copy(s, more)
		return s
	}
	plugintest.Exercise(t, plugintest.Harness{
		Plugin: makefile.New(), Settings: settings("site.make", nil),
		Elsewhere: models.Settings{"url": "https://nowhere.example/none.make"},
		Broken: []models.Settings{
			settings("site.make", models.Settings{"user": "somebody"}),
			settings("none.make", nil), settings("broken.make", nil), settings("malformed.make", nil),
		},
		Local: []string{"url"},
		Run:   runner(t), Egress: guard(t),
	})
}
