package git_test

import (
	"maps"
	"testing"

	"hefring/models"
	"hefring/plugins/git"
	"hefring/plugins/plugintest"
)

// TestPlugin_SuiteWithCredentials holds the type to the contract where a secret
// is at stake, where the source refuses, and where a tag moves.
func TestPlugin_SuiteWithCredentials(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"web/index.php": "<?php\n"})
	u.git("tag", "v1")
	u.push("refs/tags/v1")
	settings := func(more models.Settings) models.Settings {
		s := models.Settings{"url": u.guarded("robot", canary) + "/site.git", "auth": "token", "user": "robot", "token": canary}
		maps.Copy(s, more)
		return s
	}
	plugintest.Exercise(t, plugintest.Harness{
		Plugin: git.New(), Settings: settings(nil),
		Elsewhere: models.Settings{"url": "https://nowhere.example/none.git"},
		Broken: []models.Settings{
			settings(models.Settings{"user": "somebody"}),
			settings(models.Settings{"branch": "none"}),
			settings(models.Settings{"subdirectory": "none"}),
			settings(models.Settings{"ref_kind": "tag", "tag": "v9"}),
			settings(models.Settings{"url": u.guarded("robot", canary) + "/none.git"}),
		},
		Exception: &plugintest.Exception{
			Settings: settings(models.Settings{"ref_kind": "tag", "tag": "v1"}),
			Provoke: func(*testing.T) {
				u.commit("second", map[string]string{"web/more.php": "<?php\n"})
				u.git("tag", "--force", "v1")
				u.push("--force", "refs/tags/v1")
			},
			Reason: models.ReasonTagMoved,
		},
		Untouched: []string{u.server.Dir("site")},
		Run:       runner(t), Egress: guard(t, "127.0.0.0/8"),
	})
}
