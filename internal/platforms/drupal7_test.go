package platforms_test

import (
	"maps"
	"reflect"
	"testing"

	"hefring/models"
)

// drupal7 is the least that passes for a code base of Drupal 7.
func drupal7() map[string]string {
	return map[string]string{
		"index.php":                          "<?php\n",
		"includes/bootstrap.inc":             "<?php\n\n/**\n * The current system version.\n */\ndefine('VERSION', '7.101');\n",
		"modules/system/system.module":       "<?php\n",
		"modules/system/system.info":         "name = System\nversion = VERSION\ncore = 7.x\n",
		"profiles/standard/standard.info":    "name = Standard\nversion = VERSION\ncore = 7.x\n; Information added by Drupal.org packaging script on 2024-01-17\nversion = \"7.101\"\nproject = \"drupal\"\ndatestamp = \"1705512093\"\n",
		"profiles/standard/standard.profile": "<?php\n",
		"profiles/testing/testing.info":      "name = Testing\nversion = VERSION\ncore = 7.x\nhidden = TRUE\n",
		"profiles/testing/testing.profile":   "<?php\n",
		"themes/bartik/bartik.info":          "name = Bartik\r\nversion = VERSION\r\ncore = 7.x\r\n",
		"sites/default/default.settings.php": "<?php\n",
	}
}

func TestStore_Inspect_Drupal7(t *testing.T) {
	files := drupal7()
	maps.Copy(files, map[string]string{
		"sites/all/modules/contrib/token/token.info":   "name = Token\ncore = 7.x\n\nversion = \"7.x-1.9\"\ncore = \"7.x\"\nproject = \"token\"\n",
		"sites/all/modules/contrib/token/token.module": "<?php\n",
		"sites/all/modules/old/old.info":               "name = Old\ncore = 6.x\n",
		"sites/all/themes/zen/zen.info":                "name = Zen\ncore = 7.x\nversion = 7.x-5.6\n",
		"profiles/tide/tide.info":                      "name = Tide\ncore = 7.x\nversion = 7.x-2.0\n",
		"profiles/tide/tide.profile":                   "<?php\n",
	})
	got, err := inspect(t, files, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []models.Package{
		{Name: "drupal", Type: "core", Version: "7.101"},
		{Name: "token", Type: "module", Version: "7.x-1.9"},
		{Name: "tide", Type: "profile", Version: "7.x-2.0"},
		{Name: "zen", Type: "theme", Version: "7.x-5.6"},
	}
	if got.Docroot != "" || got.DrupalVersion != "7.101" || !reflect.DeepEqual(got.Packages, want) {
		t.Errorf("%+v, want packages\n%+v", got, want)
	}
	if !reflect.DeepEqual(got.Profiles, []string{"standard", "tide"}) {
		t.Errorf("profiles %v", got.Profiles)
	}
}

func TestStore_Inspect_Drupal7_SaysWhatIsWrong(t *testing.T) {
	files := drupal7()
	files["includes/bootstrap.inc"] = "<?php define('VERSION', '<script>');"
	_, err := inspect(t, files, "")
	wantError(t, err, "includes/bootstrap.inc", "names no VERSION")
}
