package models_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"hefring/models"
)

// The table in the docs is the one in the code. HEFRING_WRITE=1 writes it anew.
func TestPermissions_DocsShowTheTable(t *testing.T) {
	const file, begin, end = "../docs/people.md", "<!-- permissions -->\n", "<!-- /permissions -->"
	var table strings.Builder
	table.WriteString("| To … | takes at least | clients |\n|---|---|---|\n")
	for _, p := range models.Permissions() {
		clients := "no"
		if (models.Actor{Role: models.RoleAdministrator, ClientID: 1}).May(p) {
			clients = "yes"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", p, lowest(p), clients)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("the docs have no place for the table")
	}
	if shown == table.String() {
		return
	}
	if os.Getenv("HEFRING_WRITE") == "" {
		t.Fatalf("the table in %s is not the one in the code; run HEFRING_WRITE=1 go test ./models", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lowest is the first role that has a permission.
func lowest(p models.Permission) models.Role {
	for _, role := range models.Roles() {
		if (models.Actor{Role: role}).May(p) {
			return role
		}
	}
	return ""
}

func TestActor_May_GrowsWithTheRole(t *testing.T) {
	for _, p := range models.Permissions() {
		had := false
		for _, role := range append([]models.Role{""}, models.Roles()...) {
			may := models.Actor{Role: role}.May(p)
			if had && !may {
				t.Errorf("%q is lost at %s", p, role)
			}
			had = may
			if (models.Actor{Role: role, ClientID: 1}).May(p) && !may {
				t.Errorf("users of a client may %q as %q, others not", p, role)
			}
		}
		if !had {
			t.Errorf("nobody may %q", p)
		}
	}
	if (models.Actor{Role: models.RoleAdministrator}).May("fly") {
		t.Error("what is not in the table is allowed")
	}
}

func TestTask_Permission_IsInTheTable(t *testing.T) {
	kinds := []models.TaskKind{
		models.TaskCheck, models.TaskBuild, models.TaskVerify, models.TaskInstall, models.TaskCompare, models.TaskUpgrade, models.TaskUpgradePlatform,
		models.TaskRollback, models.TaskRestore, models.TaskBackup, models.TaskClone, models.TaskEnable, models.TaskDisable, models.TaskConfigure,
		models.TaskCron, models.TaskDelete, models.TaskImport, models.TaskDeliver, models.TaskCloneTo, models.TaskLogin, models.TaskLoss, models.TaskDropBackup,
	}
	for _, kind := range kinds {
		for _, subject := range []models.SubjectKind{models.SubjectSite, models.SubjectPlatform} {
			p := models.Task{Kind: kind, Subject: models.Subject{Kind: subject}}.Permission()
			if !(models.Actor{Role: models.RoleAdministrator}).May(p) {
				t.Errorf("a task %s of a %s takes %q, which nobody has", kind, subject, p)
			}
		}
	}
}
