package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"hefring/models"
)

// nearHistory is how many commits are looked through for the one before; nearly
// always that is enough.
const nearHistory = 50

// depths of history that are looked through, one after the other. With files,
// history is much larger.
func (m mirror) depths() []int {
	if m.partial {
		return []int{0, nearHistory, 1000, 20_000}
	}
	return []int{0, nearHistory, 1000}
}

// lineage says how a commit stands to one before.
type lineage int

const (
	follows lineage = iota
	rewritten
	unclear // neither could be shown within the depths
)

// lineage tells whether the history of the tip leads back to the commit before.
func (m mirror) lineage(ctx context.Context, t tip, before string) (lineage, error) {
	for _, depth := range m.depths() {
		answer, err := m.lookAt(ctx, depth, t, before)
		if errors.Is(err, errNotOffered) {
			return unclear, nil
		}
		if err != nil || answer != unclear {
			return answer, err
		}
	}
	return unclear, nil
}

// lookAt searches depth commits, or what is there already.
func (m mirror) lookAt(ctx context.Context, depth int, t tip, before string) (lineage, error) {
	if depth == 0 {
		return m.look(ctx, t.commit, before)
	}
	err := m.fetch(ctx, depth, 0, "+"+t.commit+":refs/hefring/"+t.commit)
	if errors.Is(err, errNotOffered) {
		err = m.fetch(ctx, everything, 0, "+"+t.ref+":refs/hefring/incoming")
	}
	if err != nil {
		return unclear, err
	}
	return m.look(ctx, t.commit, before)
}

// look searches what is in the mirror.
func (m mirror) look(ctx context.Context, commit, before string) (lineage, error) {
	ends, err := m.boundary()
	if err != nil {
		return unclear, err
	}
	answer := rewritten
	_, err = m.localIn(ctx, m.dir, nil, nil, func(line string) {
		if line == before {
			answer = follows
		}
		if ends[line] && answer == rewritten {
			answer = unclear
		}
	}, "rev-list", commit, "--")
	if err != nil {
		return unclear, fmt.Errorf("read history: %w", err)
	}
	return answer, nil
}

// boundary gives the commits whose parents were left out.
func (m mirror) boundary() (map[string]bool, error) {
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer func() { _ = root.Close() }()
	ends := map[string]bool{}
	file, err := root.Open("shallow")
	if errors.Is(err, fs.ErrNotExist) {
		return ends, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		ends[lines.Text()] = true
	}
	return ends, lines.Err()
}

// rewrittenNote goes before a version's note when its branch did not grow from
// what was there before.
const rewrittenNote = "History was rewritten: "

// hold says why the version is not to be built before a person agrees; nil for
// nothing out of the ordinary.
func (s source) hold(before, now tip, line lineage) (models.Reason, string) {
	short := func(commit string) string { return commit[:7] }
	switch {
	case before.commit == "" || before.commit == now.commit && before.ref == now.ref:
		return "", ""
	case before.ref == now.ref && now.isTag():
		return models.ReasonTagMoved, fmt.Sprintf("The tag %s was moved from commit %s to %s. Tags are not meant to move: ask its owner why. Approving builds %[3]s.",
			now.name(), short(before.commit), short(now.commit))
	case s.reference.fell(before, now):
		return models.ReasonLower, fmt.Sprintf("The highest tag is %s now, and was %s before. Approving goes back to %[1]s.", now.name(), before.name())
	case line == rewritten && s.holdRewrites:
		return models.ReasonRewritten, fmt.Sprintf("The history of %s was rewritten: commit %s does not follow %s. Approving builds %[2]s.",
			now.name(), short(now.commit), short(before.commit))
	case line == unclear && s.holdRewrites:
		return models.ReasonRewritten, fmt.Sprintf("It could not be shown that commit %s of %s follows %s, so its history may have been rewritten. Approving builds %[1]s.",
			short(now.commit), now.name(), short(before.commit))
	}
	return "", ""
}

// fell tells whether the highest tag is a lower one than before.
func (r reference) fell(before, now tip) bool {
	return (r.kind == kindPattern || r.kind == kindRange) && r.tags.fell(before, now)
}
