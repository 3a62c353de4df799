package version

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// Compare orders two texts as PHP's version_compare does
// (https://www.php.net/version_compare): part by part, where words have the order
// “any other word < dev < alpha < beta < RC < a number < p”. Version.Compare,
// which compares normal forms, is Composer's order of releases.
func Compare(a, b string) int {
	if a == b || a == "" || b == "" {
		return cmp.Compare(len(a), len(b))
	}
	return compareParts(parts(a), parts(b))
}

func compareParts(a, b []string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == "":
			return -1
		case b[i] == "":
			return rest(a[i:])
		}
		if c := comparePart(a[i], b[i]); c != 0 {
			return c
		}
	}
	// What is left over is compared with a number.
	switch {
	case len(a) > len(b):
		return rest(a[len(b):])
	case len(b) > len(a):
		return -rest(b[len(a):])
	}
	return 0
}

// number stands for any number among words.
const number = "#"

func rest(left []string) int {
	if isNumber(left[0]) {
		return 1
	}
	if left[0] == "" {
		return -1
	}
	if c := comparePart(left[0], number); c != 0 || len(left) == 1 {
		return c
	}
	return rest(left[1:])
}

func comparePart(a, b string) int {
	if isNumber(a) && isNumber(b) {
		return cmp.Compare(value(a), value(b))
	}
	return cmp.Compare(rank(a), rank(b))
}

func rank(part string) int {
	if isNumber(part) {
		return 4
	}
	for _, word := range []struct {
		prefix string
		rank   int
	}{{"dev", 0}, {"a", 1}, {"b", 2}, {"RC", 3}, {"rc", 3}, {number, 4}, {"p", 5}} {
		if strings.HasPrefix(part, word.prefix) {
			return word.rank
		}
	}
	return -1
}

func isNumber(part string) bool { return part != "" && isDigit(part[0]) }

// value reads a number; what is too large counts as the largest.
func value(part string) int64 {
	n, err := strconv.ParseInt(part, 10, 64)
	if err != nil {
		return math.MaxInt64
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// parts cuts a version between digits and other characters, and at everything
// that is neither letter nor digit.
func parts(text string) []string {
	out := []byte{text[0]}
	cut := func() {
		if out[len(out)-1] != '.' {
			out = append(out, '.')
		}
	}
	for i := 1; i < len(text); i++ {
		before, c := text[i-1], text[i]
		switch {
		case isDash(c):
			cut()
		case isDigit(before) && !isDigit(c) && c != '.', isDigit(c) && !isDigit(before) && before != '.' && !isDash(before):
			cut()
			out = append(out, c)
		case !isDigit(c) && !isLetter(c):
			cut()
		default:
			out = append(out, c)
		}
	}
	return strings.Split(string(out), ".")
}

func isDash(c byte) bool { return c == '-' || c == '_' || c == '+' }
