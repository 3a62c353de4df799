package version

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxConstraint is the longest constraint that is read, in bytes: those of
	// advisories list many ranges.
	maxConstraint = 16 << 10
	// maxBounds is how many comparisons one constraint may hold.
	maxBounds = 1000
)

// Constraint says which versions are wanted. The zero value wants none.
type Constraint struct {
	text string
	any  [][]bound // groups, one of which must hold wholly
}

// bound is one comparison.
type bound struct {
	op      string // == != < <= > >=
	version string // normalized
}

// String is the constraint as it was written.
func (c Constraint) String() string { return c.text }

// Matches tells whether the constraint accepts v. Stability flags play no part in
// it: they say which versions are looked at.
func (c Constraint) Matches(v Version) bool {
	return v.Normalized != "" && slices.ContainsFunc(c.any, func(group []bound) bool {
		return !slices.ContainsFunc(group, func(b bound) bool { return !b.accepts(v.Normalized) })
	})
}

func (b bound) accepts(v string) bool {
	if isBranch(v) || isBranch(b.version) {
		// A branch is itself and nothing else.
		return b.op == "==" && v == b.version || b.op == "!=" && v != b.version
	}
	order := Compare(v, b.version)
	switch b.op {
	case "==":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

var orPattern = regexp.MustCompile(`\s*\|\|?\s*`)

// ParseConstraint reads a constraint, such as ^10.3 || ^11, ~2.0@beta, 1.0 - 2.0,
// >=8.9,<9, 10.*, dev-main or 1.2.3.
func ParseConstraint(text string) (Constraint, error) {
	if len(text) > maxConstraint {
		return Constraint{}, fmt.Errorf("parse constraint: longer than %d bytes", maxConstraint)
	}
	c := Constraint{text: strings.TrimSpace(text)}
	count := 0
	for _, group := range orPattern.Split(c.text, -1) {
		bounds := []bound{} // an empty group accepts everything
		for _, single := range splitAnd(group) {
			some, err := parseSingle(single)
			if err != nil {
				return Constraint{}, fmt.Errorf("parse constraint %.60q: %w", c.text, err)
			}
			bounds = append(bounds, some...)
		}
		if count += len(bounds); count > maxBounds {
			return Constraint{}, fmt.Errorf("parse constraint: more than %d bounds", maxBounds)
		}
		c.any = append(c.any, bounds)
	}
	return c, nil
}

// splitAnd cuts a group at the commas and spaces that mean “and”. Those of “1.0 -
// 2.0”, of “dev-main as 1.0” and between an operator and its version do not.
func splitAnd(group string) []string {
	var list []string
	start := 0
	for i := 1; i < len(group); i++ {
		end, ok := separator(group, i)
		if !ok {
			continue
		}
		list = append(list, group[start:i])
		start, i = end, end
	}
	return append(list, group[start:])
}

// separator finds the end of a separator that begins at i.
func separator(text string, i int) (end int, ok bool) {
	if strings.IndexByte("=>< ,", text[i-1]) >= 0 || strings.HasSuffix(text[:i], "as") {
		return 0, false
	}
	first := skipSpaces(text, i)
	if first < len(text) && text[first] == ',' {
		if end, ok := endSeparator(text, first); ok {
			return end, true
		}
	}
	for at := first - 1; at >= i; at-- {
		if end, ok := endSeparator(text, at); ok {
			return end, true
		}
	}
	return 0, false
}

// endSeparator looks at a comma or space that may be the separator.
func endSeparator(text string, at int) (end int, ok bool) {
	end = at + 1
	if text[at-1] == '-' || end < len(text) && text[end] == '-' {
		return 0, false
	}
	last := skipSpaces(text, end)
	if last < len(text) && text[last] != ',' && !strings.HasPrefix(text[last:], "as") {
		return last, true
	}
	if last > end { // a space is then taken as the begin of what follows
		return last - 1, true
	}
	return 0, false
}

func skipSpaces(text string, i int) int {
	for i < len(text) && text[i] == ' ' {
		i++
	}
	return i
}

// numbered is a version with groups for its four numbers, for stability, the
// number of that, dev, and a wildcard behind the numbers.
const numbered = `v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.(\d+))?(?:` + modifier + `|\.([x*][.-]?dev))(?:\+[^\s]+)?`

var (
	stabilityPattern = regexp.MustCompile(`(?i)^([^,\s]*?)@(stable|rc|beta|alpha|dev)$`)
	commitPattern    = regexp.MustCompile(`(?i)^(dev-[^,\s@]+?|[^,\s@]+?\.x-dev)#.+$`)
	anythingPattern  = regexp.MustCompile(`(?i)^(v)?[x*](\.[x*])*$`)
	tildePattern     = regexp.MustCompile(`(?i)^~>?` + numbered + `$`)
	caretPattern     = regexp.MustCompile(`(?i)^\^` + numbered + `$`)
	wildcardPattern  = regexp.MustCompile(`^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.[xX*])+$`)
	hyphenPattern    = regexp.MustCompile(`(?i)^(` + numbered + `) +- +(` + numbered + `)$`)
	operatorPattern  = regexp.MustCompile(`^(<>|!=|>=?|<=?|==?)?\s*(.*)`)
	namePattern      = regexp.MustCompile(`^[0-9a-zA-Z\-./]+$`)
	endsModified     = regexp.MustCompile(`-` + modifier + `$`)
)

// parseSingle reads what stands between two “and”s.
func parseSingle(text string) ([]bound, error) {
	if m := aliasPattern.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	flag := ""
	if m := stabilityPattern.FindStringSubmatch(text); m != nil {
		text = cmp.Or(m[1], "*")
		if m[2] != "stable" {
			flag = m[2]
		}
	}
	if m := commitPattern.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	if m := anythingPattern.FindStringSubmatch(text); m != nil {
		if m[1] != "" || m[2] != "" {
			return []bound{{">=", "0.0.0.0-dev"}}, nil
		}
		return nil, nil
	}
	if m := tildePattern.FindStringSubmatch(text); m != nil {
		return tilde(text, m)
	}
	if m := caretPattern.FindStringSubmatch(text); m != nil {
		return caret(text, m)
	}
	if m := wildcardPattern.FindStringSubmatch(text); m != nil {
		return wildcard(m), nil
	}
	if m := hyphenPattern.FindStringSubmatch(text); m != nil {
		return hyphen(m)
	}
	return operator(text, flag)
}

// tilde allows the last number that is named to grow.
func tilde(text string, m []string) ([]bound, error) {
	if strings.HasPrefix(text, "~>") {
		return nil, errors.New("there is no operator ~>; ~ is meant")
	}
	at := given(m)
	if m[8] != "" {
		at++
	}
	return between(text[1:], m, max(1, at-1))
}

// caret keeps the first number that is not zero.
func caret(text string, m []string) ([]bound, error) {
	at := 3
	switch {
	case m[1] != "0" || m[2] == "":
		at = 1
	case m[2] != "0" || m[3] == "":
		at = 2
	}
	return between(text[1:], m, at)
}

// given counts the numbers that a version names.
func given(m []string) int {
	for i := min(4, len(m)-1); i > 1; i-- {
		if m[i] != "" {
			return i
		}
	}
	return 1
}

// between goes from text up to where its number at position at grows.
func between(text string, m []string, at int) ([]bound, error) {
	if blank(m[5]) && blank(m[7]) && blank(m[8]) {
		text += "-dev"
	}
	low, err := Normalize(text)
	if err != nil {
		return nil, err
	}
	return []bound{{">=", low}, {"<", next(m[1:5], at)}}, nil
}

func wildcard(m []string) []bound {
	at := given(m)
	numbers := slices.Concat(m[1:4], []string{""})
	high := bound{"<", next(numbers, at)}
	if low := fill(numbers, at) + "-dev"; low != "0.0.0.0-dev" {
		return []bound{{">=", low}, high}
	}
	return []bound{high}
}

// hyphen goes from one version to another, where missing numbers of the second
// one stand for all.
func hyphen(m []string) ([]bound, error) {
	low, err := Normalize(m[1])
	if err != nil {
		return nil, err
	}
	if blank(m[6]) && blank(m[8]) && blank(m[9]) {
		low += "-dev"
	}
	high, err := Normalize(m[10])
	if err != nil {
		return nil, err
	}
	if m[12] != "" && m[13] != "" || !blank(m[15]) || !blank(m[17]) || !blank(m[18]) {
		return []bound{{">=", low}, {"<=", high}}, nil
	}
	at := 2
	if m[12] == "" {
		at = 1
	}
	return []bound{{">=", low}, {"<", next(m[11:15], at)}}, nil
}

// blank also takes the text 0, as PHP does.
func blank(text string) bool { return text == "" || text == "0" }

func operator(text, flag string) ([]bound, error) {
	m := operatorPattern.FindStringSubmatch(text)
	if m == nil { // more than one line
		return nil, fmt.Errorf("parse version %.60q: not a version that Composer knows", text)
	}
	op, wanted := m[1], m[2]
	v, err := Normalize(wanted)
	if err != nil {
		// Some name the branch foo as foo-dev instead of dev-foo.
		name, isDev := strings.CutSuffix(wanted, "-dev")
		if !isDev || !namePattern.MatchString(wanted) {
			return nil, err
		}
		if v, err = Normalize("dev-" + name); err != nil {
			return nil, err
		}
	}
	switch {
	case op != "" && op != "=" && op != "==" && flag != "" && StabilityOf(v) == Stable:
		v += "-" + flag
	case (op == "<" || op == ">=") && !endsModified.MatchString(strings.ToLower(wanted)) && !strings.HasPrefix(wanted, "dev-"):
		v += "-dev"
	}
	switch op {
	case "", "=":
		op = "=="
	case "<>":
		op = "!="
	}
	return []bound{{op, v}}, nil
}

// next raises the number at position at (from 1), sets those behind to zero, and
// gives the lowest version of that.
func next(numbers []string, at int) string {
	raised := slices.Clone(numbers)
	raised[at-1] = increment(numbers[at-1])
	return fill(raised, at) + "-dev"
}

func fill(numbers []string, at int) string {
	parts := make([]string, 4)
	for i := range parts {
		parts[i] = "0"
		if i < at && numbers[i] != "" {
			parts[i] = numbers[i]
		}
	}
	return strings.Join(parts, ".")
}

func increment(number string) string {
	if n, err := strconv.ParseInt(number, 10, 62); err == nil {
		return strconv.FormatInt(n+1, 10)
	}
	n, ok := new(big.Int).SetString(number, 10)
	if !ok {
		return "1"
	}
	return n.Add(n, big.NewInt(1)).String()
}
