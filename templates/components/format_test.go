package components

import (
	"strings"
	"testing"
	"time"

	"hefring/models"
)

func TestAgoText_Each_IsSaidInWords(t *testing.T) {
	now := time.Date(2026, 3, 17, 14, 20, 0, 0, time.UTC)
	for back, want := range map[time.Duration]string{
		-time.Minute: "just now", 0: "just now", 4 * time.Second: "just now", 59 * time.Second: "59 s ago", time.Minute: "1 min ago", 59*time.Minute + 59*time.Second: "59 min ago",
		time.Hour: "1 h ago", 23 * time.Hour: "23 h ago", 24 * time.Hour: "1 day ago", 6 * 24 * time.Hour: "6 days ago", 33 * 24 * time.Hour: "12 Feb", 400 * 24 * time.Hour: "10 Feb 2025",
	} {
		if got := AgoText(now.Add(-back), now); got != want {
			t.Errorf("%s back: %q, want %q", back, got, want)
		}
	}
}

func TestUntilText_Each_IsSaidInWords(t *testing.T) {
	now := time.Date(2026, 3, 17, 14, 20, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]string{
		-time.Hour: "due now", 0: "due now", 500 * time.Millisecond: "in 1 s", 42 * time.Second: "in 42 s", 61 * time.Second: "in 2 min", 3 * time.Hour: "in 3 h", 72 * time.Hour: "in 3 days",
	} {
		if got := UntilText(now.Add(ahead), now); got != want {
			t.Errorf("%s ahead: %q, want %q", ahead, got, want)
		}
	}
}

func TestTook_Each_IsShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "", 0: "under 1 ms", 84 * time.Millisecond: "84 ms", 400 * time.Millisecond: "0.4 s", 9 * time.Second: "9.0 s", 48 * time.Second: "48 s",
		118 * time.Second: "1 min 58 s", 2 * time.Minute: "2 min", 124 * time.Minute: "2 h 4 min", 50 * time.Hour: "2 d 2 h",
	} {
		if got := Took(d); got != want {
			t.Errorf("Took(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestFigures_Each_AreForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1204: "1\u202f204", 1234567: "1\u202f234\u202f567", -1204: "-1\u202f204"} {
		if got := Figure(n); got != want {
			t.Errorf("Figure(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 187654321: "188 MB", 3_100_000_000: "3.1 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestVersions_OnAButton_TellTheDifference(t *testing.T) {
	a := models.Platform{DrupalVersion: "10.6.2", Label: "4f2a91c"}
	b := models.Platform{DrupalVersion: "10.5.8", Label: "c07d1e2"}
	c := models.Platform{DrupalVersion: "10.6.2", Label: "e20b9d4"}
	for _, got := range [][2]string{
		{ShortVersion(a, b), "10.6.2"},
		{ShortVersion(c, a), "e20b9d4"},
		{Version(a), "10.6.2 · 4f2a91c"},
		{Version(models.Platform{DrupalVersion: "1", Label: "1"}), "1"},
		{Version(models.Platform{Label: "x"}), "x"},
		{Short("git:refs/heads/main@sha1:4f2a91c03be7"), "main @ 4f2a91c"},
		{Short("git:refs/tags/v1@sha256:4f2a91c03be7;tag:aa"), "v1 @ 4f2a91c"},
		{Short("git:commit@sha1:4f2a91c03be7"), "commit @ 4f2a91c"},
		{Short("makefile:md5:43fe4f543c1e128d902c18fb8b8425bb:resolved:4be9d9841918ff98"), "makefile:md5:43fe4f5:resolved:4be9d9841918ff98"},
		{Short("manual:9.5.11"), "manual:9.5.11"},
	} {
		if got[0] != got[1] {
			t.Errorf("%q, want %q", got[0], got[1])
		}
	}
}

func TestCleanLine_Hostile_IsPlainText(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext": "plain\ttext", "\x1b[31;1mred\x1b[0m": "red", "\x1b[": "", "\x1b": "", "a\x1bcb": "ab", "a\r\nb": "a  b", "nul\x00bell\x07": "nulbell",
		"bad\xff": "bad\uFFFD", "turn\u202earound": "turnaround", "  two": "  two",
	} {
		if got := CleanLine(in); got != want {
			t.Errorf("CleanLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestIcons_Unknown_IsABox(t *testing.T) {
	if iconPaths("no-such-icon") != iconPaths("box") || strings.Contains(iconPaths("lock"), "<svg") {
		t.Error("icons are not as expected")
	}
}
