package host

import (
	"slices"
	"testing"

	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// The journal and the pages list the steps in the order in which they are taken.
func TestMover_Plan_InTheOrderOfTheModel(t *testing.T) {
	newer, older := models.Database{Name: "newer"}, models.Database{Name: "older"}
	for _, c := range []struct {
		kind   models.UpgradeKind
		mode   models.Mode
		undoes *models.Upgrade
	}{
		{models.KindUpgrade, models.ModeUnknown, nil},
		{models.KindRestore, models.ModeUnknown, nil},
		{models.KindRollback, models.ModeDatabase, &models.Upgrade{OldDatabase: older, NewDatabase: newer}},
		{models.KindRollback, models.ModeCode, &models.Upgrade{OldDatabase: newer, NewDatabase: newer}},
	} {
		m := &mover{host: &Host{}, move: &upgrade.Move{Upgrade: models.Upgrade{Kind: c.kind, Mode: c.mode}, Undoes: c.undoes}}
		var names []models.StepName
		for _, s := range m.plan().Steps {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, models.StepsOf(c.kind, c.mode)) {
			t.Errorf("a %s (%s) takes the steps %v, the model says %v", c.kind, c.mode, names, models.StepsOf(c.kind, c.mode))
		}
	}
}
