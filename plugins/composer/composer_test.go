package composer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/models"
	"hefring/plugins"
)

func TestSource_Build_ExactlyThePlan(t *testing.T) {
	u := newUpstream(t)
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0"}, nil)
	u.publish("acme/lib", "1.0.0", map[string]string{"lib.php": "<?php // one\n"}, nil)
	env, log := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	if v.Revision != "composer:acme/template@1.0.0" || v.Label != "1.0.0" || v.Note != "About acme/template" {
		t.Errorf("%+v", v)
	}
	// What appears after the check is not part of the plan.
	u.publish("acme/lib", "1.1.0", map[string]string{"lib.php": "<?php // two\n"}, nil)
	u.template("1.0.1", nil, nil)
	dst, made := build(t, env, s, v)
	code, err := os.ReadFile(filepath.Join(dst, "vendor/acme/lib/lib.php"))
	if err != nil || !strings.Contains(string(code), "one") {
		t.Errorf("%s %v\n%s", code, err, log)
	}
	if index, err := os.ReadFile(filepath.Join(dst, "web/index.php")); err != nil || !strings.Contains(string(index), "1.0.0") {
		t.Errorf("%s %v", index, err)
	}
	var names []string
	for _, p := range made.Sources {
		names = append(names, p.Name+" "+p.Version+" "+p.Type)
		if !strings.HasPrefix(p.Checksum, "sha1:") || !strings.HasPrefix(p.URL, u.url) {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(names, []string{"acme/template 1.0.0 library", "acme/lib 1.0.0 library"}) {
		t.Errorf("%v", names)
	}
	if !strings.Contains(log.String(), "no repository keeps advisories") {
		t.Errorf("%s", log)
	}
}

func TestSource_Check_UnchangedAsksConditionally(t *testing.T) {
	u := newUpstream(t)
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0"}, nil)
	u.publish("acme/lib", "1.0.0", nil, map[string]any{"require": map[string]string{"acme/deep": "*"}})
	u.publish("acme/deep", "1.0.0", nil, nil)
	env, log := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	u.requests()
	before := log.String()
	again := check(t, env, s, v)
	want := []string{"/p2/acme/deep.json 304", "/p2/acme/lib.json 304", "/p2/acme/template.json 304", "/packages.json 304"}
	if got := u.requests(); !slices.Equal(got, want) {
		t.Errorf("asked %v", got)
	}
	if !again.Same(v) || log.String() != before {
		t.Errorf("%v %s", again, log)
	}
	// A page that was written anew with the same text is no change.
	u.wrap = nil
	if third := check(t, env, s, again); !third.Same(v) {
		t.Errorf("%v", third)
	}
}

func TestSource_Check_DependencyDrifts(t *testing.T) {
	u := newUpstream(t)
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0"}, nil)
	u.publish("acme/lib", "1.0.0", nil, map[string]any{"require": map[string]string{"acme/deep": "^2"}})
	u.publish("acme/deep", "2.0.0", nil, nil)
	env, _ := machine(t)
	s := u.open(models.Settings{"constraint": "1.0.0"})
	v := check(t, env, s, plugins.Version{})
	u.publish("acme/deep", "2.0.1", nil, nil)
	next := check(t, env, s, v)
	if next.Revision != v.Revision || next.Content == v.Content || next.Hold != nil {
		t.Errorf("the drift of a dependency was not seen: %+v", next)
	}
	dst, _ := build(t, env, s, next)
	text, err := os.ReadFile(filepath.Join(dst, "composer.lock"))
	if err != nil || !strings.Contains(string(text), "2.0.1") {
		t.Errorf("%s %v", text, err)
	}
}

// Where the repository tells what changed, one question stands for all packages.
func TestSource_Check_AsksTheFeed(t *testing.T) {
	u := newUpstream(t)
	u.root(map[string]any{"metadata-changes-url": u.url + "/changes.json"})
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0"}, nil)
	u.publish("acme/lib", "1.0.0", nil, map[string]any{"require": map[string]string{"acme/deep": "*"}})
	u.publish("acme/deep", "1.0.0", nil, nil)
	now := time.Now().UnixMilli() * 10
	u.put("/changes.json", u.json(map[string]any{"actions": []any{map[string]any{"type": "update", "package": "other/lib", "time": 1}}, "timestamp": now}))
	env, _ := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	u.requests()
	again := check(t, env, s, v)
	if got := u.requests(); !again.Same(v) || !slices.Equal(got, []string{"/changes.json", "/packages.json 304"}) {
		t.Errorf("asked %v", got)
	}
	u.publish("acme/deep", "1.1.0", nil, nil)
	u.put("/changes.json", u.json(map[string]any{"actions": []any{map[string]any{"type": "update", "package": "acme/deep", "time": 1}}, "timestamp": now + 1}))
	if next := check(t, env, s, again); next.Same(v) {
		t.Error("the drift of a dependency was not seen")
	}
	// A feed that lost count, or fails, is not trusted.
	u.put("/changes.json", u.json(map[string]any{"actions": []any{map[string]any{"type": "resync", "package": "*"}}, "timestamp": now + 2}))
	u.requests()
	if next := check(t, env, s, again); next.Same(v) || len(u.requests()) < 4 {
		t.Error("a feed that lost count was trusted")
	}
}

func TestSource_Check_Holds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(u *upstream)
		reason models.Reason
		text   string
	}{
		"version went down": {func(u *upstream) { u.withdraw("acme/template", "1.2.0") }, models.ReasonLower, "was 1.2.0 and is now 1.1.0"},
		"published anew": {func(u *upstream) {
			u.template("1.2.0", map[string]string{"acme/lib": "^1.0"}, map[string]string{"new.txt": "1"})
		}, models.ReasonTagMoved, "1.2.0 was published anew"},
		"dependency anew": {func(u *upstream) { u.publish("acme/lib", "1.0.0", map[string]string{"new.txt": "1"}, nil) }, models.ReasonTagMoved, "acme/lib 1.0.0"},
		"ordinary":        {func(u *upstream) { u.template("1.3.0", map[string]string{"acme/lib": "^1.0"}, nil) }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			u.template("1.1.0", map[string]string{"acme/lib": "^1.0"}, nil)
			u.template("1.2.0", map[string]string{"acme/lib": "^1.0"}, nil)
			u.publish("acme/lib", "1.0.0", nil, nil)
			env, _ := machine(t)
			s := u.open(nil)
			v := check(t, env, s, plugins.Version{})
			c.change(u)
			next := check(t, env, s, v)
			switch {
			case next.Same(v):
				t.Error("nothing was seen")
			case c.reason == "" && next.Hold != nil, c.reason != "" && (next.Hold == nil || next.Hold.Reason != c.reason || !strings.Contains(next.Hold.Message, c.text)):
				t.Errorf("%+v", next.Hold)
			}
			build(t, env, s, next) // once approved
		})
	}
}
