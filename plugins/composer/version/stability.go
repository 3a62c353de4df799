package version

import (
	"fmt"
	"strings"
)

// Stability says how finished a version is. Lower is more stable.
type Stability int

// Stabilities, the most stable first.
const (
	Stable Stability = iota
	RC
	Beta
	Alpha
	Dev
)

// Stabilities lists all of them, the most stable first.
func Stabilities() []Stability { return []Stability{Stable, RC, Beta, Alpha, Dev} }

// String is the name that Composer uses.
func (s Stability) String() string {
	switch s {
	case Stable:
		return "stable"
	case RC:
		return "RC"
	case Beta:
		return "beta"
	case Alpha:
		return "alpha"
	case Dev:
		return "dev"
	}
	return fmt.Sprintf("Stability(%d)", int(s))
}

// ParseStability reads the name of a stability, in small or large letters.
func ParseStability(name string) (Stability, error) {
	for _, s := range Stabilities() {
		if strings.EqualFold(name, s.String()) {
			return s, nil
		}
	}
	return 0, fmt.Errorf("parse stability %.20q: want stable, RC, beta, alpha or dev", name)
}

// StabilityOf says how stable a version or a constraint names itself. What names
// nothing is stable, and so are patch versions.
func StabilityOf(text string) Stability {
	if len(text) > maxConstraint {
		return Stable
	}
	if at := strings.IndexByte(text, '#'); at >= 0 && at+1 < len(text) {
		text = text[:at] // a commit
	}
	if strings.HasPrefix(text, "dev-") || strings.HasSuffix(text, "-dev") {
		return Dev
	}
	m := modifierPattern.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return Stable
	}
	if m[3] != "" {
		return Dev
	}
	switch m[1] {
	case "a", "alpha":
		return Alpha
	case "b", "beta":
		return Beta
	case "rc":
		return RC
	}
	return Stable
}
