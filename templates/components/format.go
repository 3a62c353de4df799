// Package components holds the parts that pages are made of: status, times,
// versions, forms, tables and logs.
package components

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"hefring/models"
)

// AgoText says how long before now t was, in words.
func AgoText(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < 5*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	case d < 7*24*time.Hour:
		return Count(int64(d/(24*time.Hour)), "day", "days") + " ago"
	case t.Year() == now.Year():
		return t.UTC().Format("2 Jan")
	default:
		return t.UTC().Format("2 Jan 2006")
	}
}

// UntilText says how long after now t is, in words.
func UntilText(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d <= 0:
		return "due now"
	case d < time.Minute:
		return fmt.Sprintf("in %d s", (d+time.Second-1)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("in %d min", (d+time.Minute-1)/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("in %d h", (d+time.Hour-1)/time.Hour)
	default:
		return fmt.Sprintf("in %d days", (d+24*time.Hour-1)/(24*time.Hour))
	}
}

// ExactText is a time as people read it, always in UTC.
func ExactText(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") }

func machineTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// Took says how long something lasted.
func Took(d time.Duration) string {
	switch {
	case d < 0:
		return ""
	case d < time.Millisecond:
		return "under 1 ms"
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(d, time.Minute, "min", time.Second, "s")
	case d < 48*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "min")
	default:
		return two(d, 24*time.Hour, "d", time.Hour, "h")
	}
}

// two writes a duration in a large and a small unit, without a small one of 0.
func two(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d %s", d/big, bigName)
	if rest := d % big / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

// Between says how long something lasted that has a start and perhaps an end;
// "" when it has not ended.
func Between(start, end *time.Time) string {
	if start == nil || end == nil {
		return ""
	}
	return Took(end.Sub(*start))
}

// Bytes is a size for people.
func Bytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	size, unit := float64(n), 0
	for size >= 1000 && unit < len(units)-1 {
		size, unit = size/1000, unit+1
	}
	if unit == 0 || size >= 10 {
		return fmt.Sprintf("%.0f %s", size, units[unit])
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// Figure writes a number with a thin space between thousands.
func Figure(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// Count writes a number of things: 1 site, 14 sites.
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Figure(n) + " " + many
}

// ServerName is what people call a server.
func ServerName(name string) string {
	if name == models.LocalServer {
		return "this host"
	}
	return name
}

// Noun is the word for a number of things that is written beside it.
func Noun(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Short cuts a hash or a long revision for people.
func Short(revision string) string {
	if match := gitRevision.FindStringSubmatch(revision); match != nil {
		return match[1] + " @ " + match[2]
	}
	return hexRun.ReplaceAllStringFunc(first(revision, 120), func(hash string) string { return first(hash, 7) })
}

// gitRevision is a revision of git: its ref without what all have, and the
// beginning of its commit.
var gitRevision = regexp.MustCompile(`^git:(?:refs/(?:heads|tags)/)?(.+?)@sha(?:1|256):([0-9a-f]{7})`)

// hexRun is a hash inside of a revision.
var hexRun = regexp.MustCompile(`[0-9a-f]{32,}`)

func first(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return text[:n]
}

// Version names what a platform contains: 10.6.2 · 4f2a91c.
func Version(p models.Platform) string {
	switch {
	case p.DrupalVersion == "":
		return p.Label
	case p.Label == "" || p.Label == p.DrupalVersion:
		return p.DrupalVersion
	default:
		return p.DrupalVersion + " · " + p.Label
	}
}

// ShortVersion names a platform on a button or in a list beside another one: by
// its Drupal version, or by its label where both have the same.
func ShortVersion(p, other models.Platform) string {
	return ShortNames(p.DrupalVersion, p.Label, other.DrupalVersion)
}

// ShortNames is ShortVersion over plain values.
func ShortNames(version, label, otherVersion string) string {
	if label != "" && (version == "" || version == otherVersion) {
		return label
	}
	return version
}

// CleanLine takes out of a log's line what is not text: terminal colours,
// control characters and broken UTF-8.
func CleanLine(text string) string {
	var b strings.Builder
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '\x1b':
			i = skipEscape(runes, i)
		case r == '\t' || !unicode.IsControl(r) && !bidi(r):
			b.WriteRune(r)
		case r == '\n' || r == '\r':
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// skipEscape gives the index of the last rune of the terminal sequence that
// starts at i.
func skipEscape(runes []rune, i int) int {
	if i+1 >= len(runes) || runes[i+1] != '[' {
		return min(i+1, len(runes)-1)
	}
	for j := i + 2; j < len(runes); j++ {
		if runes[j] >= '@' && runes[j] <= '~' {
			return j
		}
	}
	return len(runes) - 1
}

// bidi tells whether a rune turns the direction of the text after it, which can
// make a log show something else than it says.
func bidi(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}
