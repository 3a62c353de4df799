package models_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/models"
)

func TestChannel_Validate_Addresses(t *testing.T) {
	for typed, want := range map[string]string{
		"ada@example.org": "ada@example.org",
		" Ada <ada@example.org>; ops@example.org\r\n": "ada@example.org, ops@example.org",
		"ada@example.org,ada@example.org":             "ada@example.org",
		"":                                            "",
		"ada":                                         "",
		"ada@example.org\r\nBcc: x@example.org":       "",
		`"a b"@example.org`:                           "",
		strings.Repeat("x", 300) + "@example.org":        "",
		strings.Repeat("ada@example.org,", 5000) + "x@y": "ada@example.org, x@y",
	} {
		c := models.Channel{Name: "x", Kind: models.ChannelEmail, Target: typed, Causes: models.Causes()}
		wrong := c.Validate()
		if (want == "") != (wrong["target"] != "") || want != "" && c.Target != want {
			t.Errorf("%.60q: %v, target %q", typed, wrong, c.Target)
		}
	}
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprintf("a%d@example.org", i))
	}
	c := models.Channel{Name: "x", Kind: models.ChannelEmail, Target: strings.Join(many, ","), Causes: models.Causes()}
	if c.Validate()["target"] == "" {
		t.Error("21 addresses were accepted")
	}
}

func TestChannel_NextDigest_AtItsHour(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct {
		every time.Duration
		hour  int
		now   string
		want  string
	}{
		{models.Daily, 7, "2026-11-21T06:59:59Z", "2026-11-21T07:00:00Z"},
		{models.Daily, 7, "2026-11-21T07:00:00Z", "2026-11-22T07:00:00Z"},
		{models.Daily, 0, "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z"},
		{models.Daily, 7, "2026-11-21T23:30:00-08:00", "2026-11-23T07:00:00Z"},
		{4 * time.Hour, 7, "2026-11-21T06:20:00Z", "2026-11-21T10:00:00Z"},
	} {
		next := models.Channel{Every: c.every, Hour: c.hour}.NextDigest(at(c.now))
		if next == nil || !next.Equal(at(c.want)) {
			t.Errorf("every %s at %d from %s: %v, want %s", c.every, c.hour, c.now, next, c.want)
		}
	}
	if (models.Channel{}).NextDigest(time.Now()) != nil {
		t.Error("a channel that tells at once has a digest")
	}
}

func TestGather_SameReasonIsOneCause(t *testing.T) {
	see := func(cause models.Cause, group, title, why string) models.CauseSeen {
		return models.CauseSeen{Cause: cause, Group: group, Title: title, Why: why, Sites: 1}
	}
	list := models.Gather([]models.CauseSeen{
		see(models.CauseBroken, "platform 1", "a.example.org", "a.example.org answers 502 since 14:02. See /srv/a."),
		see(models.CauseBroken, "platform 1", "b.example.org", "b.example.org answers 503 since 14:09. See /srv/b."),
		see(models.CauseBroken, "platform 2", "c.example.org", "c.example.org answers 503 since 14:09. See /srv/c."),
		see(models.CauseBroken, "platform 1", "d.example.org", "Its database is gone."),
		see(models.CauseRecovered, "platform 1", "e.example.org", "Its database is gone."),
		see(models.CauseBroken, "platform 1", "f.example.org", strings.Repeat("x", 100_000)),
	})
	var got []string
	for _, n := range list {
		got = append(got, fmt.Sprintf("%s/%d", n.Title, n.Sites))
		if len([]rune(n.Why)) > 600 {
			t.Errorf("a reason of %d characters", len([]rune(n.Why)))
		}
	}
	want := "a.example.org and 1 more/2 c.example.org/1 d.example.org/1 e.example.org/1 f.example.org/1"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	again := models.Gather([]models.CauseSeen{see(models.CauseBroken, "platform 1", "z.example.org", "z.example.org answers 500 since 09:00. See /srv/z.")})
	if again[0].Key != list[0].Key {
		t.Error("the same trouble has another key")
	}
}

func TestLetter_Title_CountsWhatItSays(t *testing.T) {
	open, over := models.LetterLine{Cause: models.CauseBuild, Title: "Thunder", Key: "a"}, models.LetterLine{Cause: models.CauseUpgrade, Title: "Thunder", Key: "a", Over: true}
	l := models.Letter{}
	for _, c := range []struct {
		add  models.LetterLine
		want string
	}{
		{open, "Build failed: Thunder"},
		{open, "Build failed: Thunder"},
		{over, "1 thing needs a decision, 1 is well again"},
		{models.LetterLine{Cause: models.CauseRisk, Key: "b"}, "2 things need a decision, 1 is well again"},
	} {
		if l.Add(c.add); l.Title() != c.want {
			t.Errorf("%q, want %q", l.Title(), c.want)
		}
	}
	for i := range 100 {
		l.Add(models.LetterLine{Cause: models.CauseRisk, Key: strconv.Itoa(i)})
	}
	if len(l.Lines) != models.MaxLines || l.More != 53 || !strings.Contains(l.Outro(), "And 53 more") {
		t.Errorf("%d lines, %d more, %q", len(l.Lines), l.More, l.Outro())
	}
}

func TestRetryAfter_HeedsTheOtherSide(t *testing.T) {
	for _, c := range []struct {
		attempt     int
		asked, want time.Duration
	}{
		{1, 0, time.Minute},
		{0, 0, time.Minute},
		{7, 0, 12 * time.Hour},
		{99, 0, 12 * time.Hour},
		{1, time.Hour, time.Hour},
		{4, time.Minute, time.Hour},
		{1, 1000 * time.Hour, 24 * time.Hour},
	} {
		if got := models.RetryAfter(c.attempt, c.asked); got != c.want {
			t.Errorf("attempt %d, asked for %s: %s", c.attempt, c.asked, got)
		}
	}
}
