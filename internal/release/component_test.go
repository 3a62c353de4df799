package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestClassify(t *testing.T) {
	const (
		mit  = "Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software"
		keep = "\nThe above copyright notice and this permission notice shall be included"
		bsd  = "Redistribution and use in source and binary forms, with or without"
		isc  = "Permission to use, copy, modify, and/or distribute this software for any\n// purpose with or without fee is hereby granted"
	)
	for text, want := range map[string][]string{
		mit + keep: {"MIT"},
		mit:        {"MIT-0"},
		bsd:        {"BSD-2-Clause"},
		bsd + "\n * used to endorse or promote\n * products": {"BSD-3-Clause"},
		isc + ", provided that the above copyright":          {"ISC"},
		isc + ".":                            {"0BSD"},
		"Mozilla Public License Version 2.0": {"MPL-2.0"},
		"Apache License\nVersion 2.0, January 2004\n3. Grant of Patent License.":      {"Apache-2.0"},
		"Licensed under the Apache License, Version 2.0 (the License)\n" + mit + keep: {"Apache-2.0", "MIT"},
		"All rights reserved.": nil,
	} {
		if got := classify(text); !slices.Equal(got, want) {
			t.Errorf("%q is %v, wants %v", text, got, want)
		}
	}
}

// The licences of all modules that the program itself is made of are known.
func TestComponent_License_KnownForTheProgram(t *testing.T) {
	list := exec.Command("go", "list", "-e", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", "./cmd/hefring")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	r, seen := Release{Modules: goEnv(t, "GOMODCACHE")}, map[string]bool{}
	for line := range strings.Lines(string(out)) {
		path, version, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || version == "" || seen[path] { // the program's own
			continue
		}
		seen[path] = true
		c, err := r.module(&debug.Module{Path: path, Version: version})
		if err != nil {
			t.Error(err)
		} else if len(c.licences) == 0 || len(c.texts) == 0 {
			t.Errorf("no licence known of %s", path)
		}
	}
	if len(seen) < 30 {
		t.Fatalf("the program is made of %d modules only", len(seen))
	}
}

func TestEmbeddedFiles_Table(t *testing.T) {
	list, err := embeddedFiles("../../static/LICENSES.md")
	if err != nil || len(list) < 3 {
		t.Fatalf("got %+v, %v", list, err)
	}
	for _, c := range list {
		if len(c.licences) == 0 {
			t.Errorf("no licence known of %s", c.name)
		}
	}
	path := filepath.Join(t.TempDir(), "LICENSES.md")
	if err := os.WriteFile(path, []byte("| `x.js` | from somewhere | MIT |\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := embeddedFiles(path); err == nil {
		t.Errorf("a row without a version gives %+v", list)
	}
}
