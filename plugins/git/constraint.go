package git

import (
	"regexp"
	"strconv"
	"strings"

	"hefring/models"
)

// constraint is a range of versions in Composer's notation:
// https://getcomposer.org/doc/articles/versions.md. Any of its parts must hold,
// and of a part all bounds.
type constraint [][]bound

// bound holds for versions whose comparison with v fits op, one of
// = != < <= > >=.
type bound struct {
	op string
	v  version
}

func (b bound) holds(v version) bool {
	order := v.compare(b.v)
	switch b.op {
	case "=":
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

func (c constraint) allows(v version) bool {
	for _, part := range c {
		fits := true
		for _, b := range part {
			fits = fits && b.holds(v)
		}
		if fits {
			return true
		}
	}
	return false
}

var (
	alternatives = regexp.MustCompile(`\s*\|\|?\s*`)
	operatorGap  = regexp.MustCompile(`([<>=!^~])\s+`)
	hyphenRange  = regexp.MustCompile(`^(\S+)\s+-\s+(\S+)$`)
	separators   = regexp.MustCompile(`[\s,]+`)
	term         = regexp.MustCompile(`^(==|=|!=|<>|<=|>=|<|>|\^|~|)[vV]?(.+)$`)
	wildcard     = regexp.MustCompile(`^(?:([0-9]{1,2})\.x-)?((?:[0-9]{1,9}\.){0,3})[xX*](?:\.[xX*])*$`)
)

// parseConstraint reads a range; its errors are for people.
func parseConstraint(text string) (constraint, error) {
	var c constraint
	for _, alternative := range alternatives.Split(strings.TrimSpace(text), -1) {
		part, err := parsePart(alternative)
		if err != nil {
			return nil, err
		}
		c = append(c, part)
	}
	return c, nil
}

func parsePart(text string) ([]bound, error) {
	if text == "" {
		return nil, models.Errorf(models.Invalid, "One side of || is empty.")
	}
	if ends := hyphenRange.FindStringSubmatch(text); ends != nil {
		return parseHyphen(ends[1], ends[2])
	}
	var part []bound
	for _, word := range separators.Split(operatorGap.ReplaceAllString(text, "$1"), -1) {
		if word == "" {
			continue
		}
		bounds, err := parseTerm(word)
		if err != nil {
			return nil, err
		}
		part = append(part, bounds...)
	}
	return part, nil
}

// written is a version as a range names it, with the count of numbers given.
type written struct {
	version
	given int
}

func parseWritten(text string) (written, error) {
	v, ok := parseVersion(text)
	match := versionPattern.FindStringSubmatch(text)
	if !ok || match == nil {
		return written{}, models.Errorf(models.Invalid, "%q is not a version. Write a range such as ^10.2, >=1.0 <2 or 10.x.", text)
	}
	return written{v, strings.Count(match[2], ".") + 1}, nil
}

// lowest is the first version that belongs to w, pre-releases and all, unless w
// itself says how stable it is.
func (w written) lowest() version {
	v := w.version
	if v.rank == rankStable {
		v.rank = rankDev
	}
	return v
}

// after is the lowest version above all that agree with w up to that number.
func (w written) after(position int) version {
	v := version{core: w.core, rank: rankDev}
	copy(v.numbers[:position], w.numbers[:position])
	v.numbers[position] = w.numbers[position] + 1
	return v
}

func parseTerm(text string) ([]bound, error) {
	match := term.FindStringSubmatch(text)
	if match == nil {
		return nil, models.Errorf(models.Invalid, "%q is not a version. Write a range such as ^10.2, >=1.0 <2 or 10.x.", text)
	}
	op, rest := match[1], match[2]
	if wild := wildcard.FindStringSubmatch(rest); wild != nil {
		return parseWildcard(op, wild[1], wild[2], rest)
	}
	w, err := parseWritten(rest)
	if err != nil {
		return nil, err
	}
	switch op {
	case "^":
		return []bound{{">=", w.lowest()}, {"<", w.after(w.leading())}}, nil
	case "~":
		return []bound{{">=", w.lowest()}, {"<", w.after(max(0, w.given-2))}}, nil
	case "<", ">=":
		return []bound{{op, w.lowest()}}, nil
	case "<>":
		op = "!="
	case "", "==":
		op = "="
	}
	return []bound{{op, w.version}}, nil
}

// leading is the position of the number that ^ keeps: the first that is not 0.
func (w written) leading() int {
	for i := range w.given {
		if w.numbers[i] > 0 {
			return i
		}
	}
	return w.given - 1
}

func parseWildcard(op, core, numbers, text string) ([]bound, error) {
	if op != "" && op != "=" && op != "==" {
		return nil, models.Errorf(models.Invalid, "%s does not go with %s. Write either, such as ^10 or 10.x.", op, text)
	}
	if numbers == "" && core == "" {
		return nil, nil
	}
	if numbers == "" { // 7.x-*
		major, _ := strconv.Atoi(core)
		return []bound{{">=", version{core: major, rank: rankDev}}, {"<", version{core: major + 1, rank: rankDev}}}, nil
	}
	if core != "" {
		core += ".x-"
	}
	w, err := parseWritten(core + strings.TrimSuffix(numbers, "."))
	if err != nil {
		return nil, err
	}
	return []bound{{">=", w.lowest()}, {"<", w.after(w.given - 1)}}, nil
}

func parseHyphen(from, to string) ([]bound, error) {
	low, err := parseWritten(withoutV(from))
	if err != nil {
		return nil, err
	}
	high, err := parseWritten(withoutV(to))
	if err != nil {
		return nil, err
	}
	if high.given < 3 && high.rank == rankStable {
		return []bound{{">=", low.lowest()}, {"<", high.after(high.given - 1)}}, nil
	}
	return []bound{{">=", low.lowest()}, {"<=", high.version}}, nil
}
