package passwords

import (
	"encoding/binary"
	"strings"
	"testing"
)

func TestRefuse_WhatAnybodyGuesses(t *testing.T) {
	for password, why := range map[string]string{
		"short":                              "12 to 200",
		"elevenchars":                        "12 to 200",
		strings.Repeat("long sentence ", 15): "12 to 200",
		"administrator":                      "most used",
		"Administrator1!":                    "most used",
		"Password2026!!":                     "most used",
		"P@ssw0rd123456":                     "most used",
		"1qaz2wsx3edc":                       "most used",
		"!!!!sunshine!!!!":                   "most used",
		"aaaaaaaaaaaaaaaa":                   "repeats",
		"abababababab":                       "repeats",
		"kestrelkestrelkestrel":              "repeats",
		"lmnopqrstuvwxyz":                    "repeats",
		"987654321098765":                    "repeats",
		"ada.lovejoy!!1815":                  "your name",
		"hefring.example.org1":               "your name",
		"ada.lovejoy12345678!":               "your name",
		"ada.lovejoy+password1":              "your name",
	} {
		if got := Refuse(password, "ada.lovejoy", "hefring.example.org"); !strings.Contains(got, why) {
			t.Errorf("%q: %q, want %q", password, got, why)
		}
	}
}

func TestRefuse_WhatNobodyGuesses_IsTaken(t *testing.T) {
	for _, password := range []string{
		"correct horse battery", "another horse battery", "a long and private sentence", "Zwölf Boxkämpfer jagen Viktor",
		"ada eats plums at noon", "kestrel-over-harbour", "xk7Qm2vPz9Lw", "長い秘密の文を使いましょうね今日も",
	} {
		if got := Refuse(password, "ada", "hefring.example.org", ""); got != "" {
			t.Errorf("%q: %s", password, got)
		}
	}
}

func TestRefuse_CountsCharactersAndNotBytes(t *testing.T) {
	if got := Refuse("äöüßéèêëñ"); !strings.Contains(got, "12 to 200") {
		t.Errorf("nine letters in 18 bytes are taken: %q", got)
	}
}

func TestCommon_IsWhole(t *testing.T) {
	n, last := 0, uint64(0)
	for left := common; len(left) > 0; n++ {
		step, size := binary.Uvarint(left)
		if size <= 0 || n > 0 && step == 0 {
			t.Fatalf("broken after %d words", n)
		}
		last += step
		left = left[size:]
	}
	if n < 80_000 || last > 1<<32 || len(common) > 500_000 {
		t.Errorf("%d words up to %d in %d bytes", n, last, len(common))
	}
}

func BenchmarkRefuse(b *testing.B) {
	for b.Loop() {
		Refuse("correct horse battery", "ada")
	}
}
