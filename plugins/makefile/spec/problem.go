package spec

import (
	"fmt"
	"strings"

	"hefring/models"
)

// Problem is one thing that is wrong with a makefile.
type Problem struct {
	File    Ref
	Line    int    // 0 when no line is to blame
	Key     string // projects[views][type]
	Message string // what is wrong and what to write instead, without a full stop
}

func (p Problem) String() string {
	text := p.File.String()
	if p.Line > 0 {
		text += fmt.Sprintf(", line %d", p.Line)
	}
	text += ": "
	if p.Key != "" {
		text += shorten(p.Key) + ": "
	}
	return text + p.Message + "."
}

// shown is how many problems one error lists.
const shown = 8

func problemsError(problems []Problem) error {
	if len(problems) == 1 {
		return models.Errorf(models.Invalid, "The makefile cannot be used. %s", problems[0]).Because(models.ReasonMalformed)
	}
	var lines []string
	for _, p := range problems[:min(len(problems), shown)] {
		lines = append(lines, p.String())
	}
	if len(problems) > shown {
		lines = append(lines, fmt.Sprintf("And %d more.", len(problems)-shown))
	}
	return models.Errorf(models.Invalid, "The makefile cannot be used; %d things are wrong.\n%s", len(problems), strings.Join(lines, "\n")).Because(models.ReasonMalformed)
}
