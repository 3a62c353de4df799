// Package passwords tells passwords that anybody would guess. It works offline:
// the list of those that are used most is part of the program.
//
// common.bin holds the 100,000 most used passwords as published by nbp, which has
// them from SecLists by Daniel Miessler; both are under the MIT licence, see LICENSE.
// Words of less than five letters are left out, and capitals are. Each is kept as the first 32 bits of its SHA-256,
// sorted, as differences (unsigned varints). One in some ten thousand good
// passwords is refused by mistake. pack.go makes the file.
package passwords

import (
	"crypto/sha256"
	_ "embed" // the list
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:embed common.bin
var common []byte

// Shortest and Longest are how many characters a password may have.
const (
	Shortest = 12
	Longest  = 200
)

// ShortestWord is how long the words of the list are at least.
const ShortestWord = 5

// fewest is how many different characters a password has at least.
const fewest = 5

// rest is how much a password needs beside what everybody knows.
const rest = 8

// Refuse says why a password is not good enough, as a sentence that tells what to
// do; "" when it is. known are words that a stranger knows: the name of the user
// and of the host.
func Refuse(password string, known ...string) string {
	length := utf8.RuneCountInString(password)
	lower := strings.ToLower(password)
	switch {
	case length < Shortest || length > Longest || len(password) > 4*Longest:
		return "Use 12 to 200 characters."
	case isCommon(lower):
		return "This one, or one much like it, is among the most used passwords, which are tried first. Use several words that do not belong together."
	case isRun(lower):
		return "This repeats itself or follows the alphabet or the keyboard. Use several words that do not belong together."
	}
	for _, word := range known {
		left := without(lower, word)
		if left != lower && (utf8.RuneCountInString(left) < rest || isCommon(left) || isRun(left)) {
			return "This is little more than your name or the name of this server. Use several words that do not belong together."
		}
	}
	return ""
}

func without(password, word string) string {
	if word == "" {
		return password
	}
	return strings.ReplaceAll(password, strings.ToLower(word), "")
}

// isCommon looks for the password, and for what is left of it without the numbers
// and marks around it and without letters written as numbers.
func isCommon(password string) bool {
	letters := strings.NewReplacer("0", "o", "1", "l", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")
	stem := strings.TrimFunc(password, func(r rune) bool { return !unicode.IsLetter(r) })
	for _, word := range []string{
		password, stem, letters.Replace(password), letters.Replace(stem),
		strings.TrimRightFunc(password, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }),
	} {
		if len(word) >= ShortestWord && listed(Mark(word)) {
			return true
		}
	}
	return false
}

// Mark is what the list keeps of a word.
func Mark(word string) uint32 {
	sum := sha256.Sum256([]byte(word))
	return binary.BigEndian.Uint32(sum[:])
}

// listed reads the list from its beginning, which takes less than a millisecond.
func listed(mark uint32) bool {
	var at uint32
	for left := common; len(left) > 0; {
		step, n := binary.Uvarint(left)
		if n <= 0 {
			return false
		}
		at += uint32(step) //nolint:gosec // the differences of 32-bit numbers
		if at >= mark {
			return at == mark
		}
		left = left[n:]
	}
	return false
}

// rows are the keys of a keyboard, and what else people type in order.
const rows = "abcdefghijklmnopqrstuvwxyz 01234567890 qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm azertyuiop qsdfghjklm"

// isRun tells whether the password has few different characters, is one part said
// again and again, or mostly steps along a row of keys.
func isRun(password string) bool {
	runes := []rune(password)
	different := map[rune]bool{}
	steps := 0
	for i, r := range runes {
		different[r] = true
		if i > 0 && (r == runes[i-1] || follows(runes[i-1], r) || follows(r, runes[i-1])) {
			steps++
		}
	}
	return len(different) < fewest || steps*4 >= (len(runes)-1)*3 || repeats(runes)
}

func follows(a, b rune) bool { return strings.Contains(rows, string([]rune{a, b})) }

// repeats tells whether a part of at most a third, said again and again, makes the
// whole, cut off at the end or not.
func repeats(runes []rune) bool {
	for size := 1; size <= len(runes)/3; size++ {
		same := true
		for i := size; i < len(runes) && same; i++ {
			same = runes[i] == runes[i-size]
		}
		if same {
			return true
		}
	}
	return false
}
