package models_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/models"
)

func TestUpstream_Interval_QuietAndHooked(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const week = 7 * 24 * time.Hour
	hooked := ago(time.Hour)
	stale := ago(25 * time.Hour)
	for name, test := range map[string]struct {
		u    models.Upstream
		base time.Duration
		want time.Duration
	}{
		"busy":                       {models.Upstream{LastChangeAt: ago(6 * 24 * time.Hour)}, 5 * time.Minute, 5 * time.Minute},
		"a quiet week":               {models.Upstream{LastChangeAt: ago(week)}, 5 * time.Minute, 10 * time.Minute},
		"three quiet weeks":          {models.Upstream{LastChangeAt: ago(3 * week)}, 5 * time.Minute, 40 * time.Minute},
		"a quiet year":               {models.Upstream{LastChangeAt: ago(52 * week)}, 5 * time.Minute, time.Hour},
		"longer than the cap stays":  {models.Upstream{LastChangeAt: ago(52 * week)}, 6 * time.Hour, 6 * time.Hour},
		"a webhook that works":       {models.Upstream{LastChangeAt: now, HookAt: &hooked}, 5 * time.Minute, 30 * time.Minute},
		"a webhook that went silent": {models.Upstream{LastChangeAt: now, HookAt: &stale}, 5 * time.Minute, 5 * time.Minute},
		"by hand":                    {models.Upstream{LastChangeAt: ago(3 * week)}, 0, 0},
	} {
		if got := test.u.Interval(test.base, now); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestUpstream_Backoff_GrowsAndObeys(t *testing.T) {
	const base = 5 * time.Minute
	for n, want := range map[int]time.Duration{1: 10 * time.Minute, 2: 20 * time.Minute, 5: time.Hour, 1000: time.Hour} {
		u := models.Upstream{Failures: n}
		if got := u.Backoff(base, 0, 1); got != want {
			t.Errorf("after %d failures at most %s, want %s", n, got, want)
		}
		if got := u.Backoff(base, 0, 0); got < base/10 || got > want {
			t.Errorf("after %d failures at least %s", n, got)
		}
	}
	u := models.Upstream{Failures: 1}
	if got := u.Backoff(base, 3*time.Hour, 0.5); got != 3*time.Hour {
		t.Errorf("asked for 3 h, got %s", got)
	}
	if got := u.Backoff(base, 999*time.Hour, 0.5); got != 24*time.Hour {
		t.Errorf("asked for 999 h, got %s", got)
	}
	if got := u.Backoff(0, 0, 1); got != 0 {
		t.Errorf("by hand: %s", got)
	}
}

func TestHost_Take_Limits(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	if h := models.NewHost("updates.drupal.org", now); h.AtOnce != 1 {
		t.Errorf("drupal.org is asked by %d at once, and wants one", h.AtOnce)
	}
	if h := models.NewHost("notdrupal.org", now); h.AtOnce != 4 {
		t.Errorf("another host is asked by %d at once", h.AtOnce)
	}
	h := models.NewHost("example.org", now)
	h.AtOnce, h.PerMinute = 2, 60
	begun := 0
	for range 100 {
		if h.Take(now, 0) {
			begun++
		}
	}
	if begun != 50 { // the bucket of 300 a minute was full
		t.Errorf("%d checks began at once", begun)
	}
	if h.Take(now.Add(500*time.Millisecond), 0) || !h.Take(now.Add(1100*time.Millisecond), 0) {
		t.Error("the bucket fills once a second")
	}
	if h.Take(now.Add(time.Minute), 2) {
		t.Error("a third one ran")
	}
	pause := now.Add(time.Hour)
	h.BlockedUntil = &pause
	if h.Take(now.Add(59*time.Minute), 0) || !h.Take(now.Add(61*time.Minute), 0) {
		t.Error("the pause was not obeyed")
	}
	if h.Throttled == 0 {
		t.Error("nothing was counted as throttled")
	}
	h.Count(now, 7)
	h.Count(now.Add(24*time.Hour), 2)
	if h.Throttled != 0 || h.Requests != 2 {
		t.Errorf("the next day's counters are %d and %d", h.Throttled, h.Requests)
	}
}

func TestConditions_EachReasonSaysWhatToDo(t *testing.T) {
	id := int64(1)
	next := time.Now()
	watched := models.Upstream{ID: 1, NextCheckAt: &next}
	for name, test := range map[string]struct {
		in   models.ConditionInput
		want []string
	}{
		"current": {models.ConditionInput{Distribution: models.Distribution{Condition: models.ConditionCurrent, TargetID: &id}, Upstream: watched}, []string{"Ready"}},
		"failing": {models.ConditionInput{
			Distribution: models.Distribution{Condition: models.ConditionFailing, ReasonCode: models.ReasonDNS, Reason: "x", TargetID: &id}, Upstream: watched,
		}, []string{"FetchFailed"}},
		"stalled": {models.ConditionInput{
			Distribution: models.Distribution{Condition: models.ConditionFailing, ReasonCode: models.ReasonAuthentication, Reason: "x"},
			Upstream:     models.Upstream{Stalled: true, Reason: models.ReasonAuthentication, Message: "x"},
		}, []string{"Stalled"}},
		"held": {models.ConditionInput{
			Distribution: models.Distribution{Condition: models.ConditionHeld, ReasonCode: models.ReasonTagMoved, Reason: "x"}, Upstream: watched, Behind: 2,
		}, []string{"UpdateAvailable", "Held"}},
		"not built": {models.ConditionInput{
			Distribution: models.Distribution{Condition: models.ConditionFailing, ReasonCode: models.ReasonBuild, Reason: "x"}, Upstream: watched, Paused: true,
		}, []string{"BuildFailed", "Suspended"}},
		"insecure": {models.ConditionInput{
			Distribution: models.Distribution{Condition: models.ConditionChanged}, Unsafe: 1,
		}, []string{"Reconciling", "Insecure", "Suspended"}},
		"by hand":                 {models.ConditionInput{Distribution: models.Distribution{TargetID: &id}, ByHand: true}, []string{"Ready"}},
		"by hand, nothing chosen": {models.ConditionInput{ByHand: true}, nil},
	} {
		var got []string
		for _, line := range models.Conditions(test.in) {
			if test.in.ByHand && strings.Contains(line.Message, "source") {
				t.Errorf("%s: there is no source: %s", name, line.Message)
			}
			if line.Holds {
				got = append(got, line.Type)
			}
			if line.Message == "" {
				t.Errorf("%s: %s says nothing", name, line.Type)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	for _, reason := range []models.Reason{
		models.ReasonAuthentication, models.ReasonRateLimited, models.ReasonTLS, models.ReasonHostKey, models.ReasonDNS, models.ReasonAddressBlocked,
		models.ReasonTimeout, models.ReasonUnreachable, models.ReasonTooLarge, models.ReasonMalformed, models.ReasonRefNotFound, models.ReasonNotFound,
		models.ReasonTagMoved, models.ReasonRewritten, models.ReasonLower, models.ReasonVerification, models.ReasonURL, models.ReasonBuild,
	} {
		if !strings.HasSuffix(reason.Advice(), ".") {
			t.Errorf("%s has no advice", reason)
		}
	}
}
