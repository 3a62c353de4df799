package models

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// Upstream is one place that is asked whether something changed. Every
// distribution that comes from it shares the asking, and what goes wrong with it.
type Upstream struct {
	ID         int64
	UpdateType string // of the queue whose turn it takes
	Key        string // canonical address and digest of the credential, as the update type gives it
	Host       string // "" for this machine

	NextCheckAt  *time.Time // nil: never by itself
	LastCheckAt  *time.Time
	LastChangeAt time.Time  // when it was added, at first
	HookAt       *time.Time // last verified webhook

	Failures  int  // in a row
	Stalled   bool // it is not asked before a person acts
	Reason    Reason
	Message   string // what went wrong, and what to do
	CreatedAt time.Time
}

// Limits of the rhythm of checks.
const (
	MaxInterval   = time.Hour // that a quiet or failing upstream is stretched to
	hookInterval  = 30 * time.Minute
	hookTrust     = 24 * time.Hour
	quiet         = 7 * 24 * time.Hour
	MaxAuthFailed = 3 // refusals in a row after which a person must look: more would lock us out
)

// Interval is how long after now the upstream is asked again, when its
// subscribers want it asked every base. Quiet weeks double it, a webhook that
// works makes polling a mere safety net; both never go beyond MaxInterval, and
// never below base. 0 or less is never.
func (u *Upstream) Interval(base time.Duration, now time.Time) time.Duration {
	every := base
	if u.HookAt != nil && now.Sub(*u.HookAt) < hookTrust {
		every = max(every, hookInterval)
	}
	weeks := min(int(now.Sub(u.LastChangeAt)/quiet), 16)
	for range weeks {
		if every <= 0 || every >= MaxInterval {
			break
		}
		every = min(2*every, MaxInterval)
	}
	return every
}

// Backoff is how long to wait after a failure: the interval doubled with each
// failure in a row, at most MaxInterval, at a random point of it (full jitter:
// spread is from 0 up to 1), and never sooner than the other side asked for.
func (u *Upstream) Backoff(base, retryAfter time.Duration, spread float64) time.Duration {
	if base <= 0 {
		return 0
	}
	limit := float64(max(base, MaxInterval))
	window := min(limit, float64(base)*math.Pow(2, float64(min(u.Failures, 30))))
	// At least a tenth of the base: "full jitter" may otherwise ask at once.
	wait := max(time.Duration(spread*window), base/10, time.Second)
	return max(wait, min(retryAfter, 24*time.Hour))
}

// OfUpstream tells whether a failure concerns everything at the same place, not
// one distribution's branch or release.
func (r Reason) OfUpstream() bool {
	switch r {
	case ReasonAuthentication, ReasonRateLimited, ReasonTLS, ReasonHostKey, ReasonDNS, ReasonAddressBlocked,
		ReasonTimeout, ReasonUnreachable, ReasonTooLarge, ReasonMalformed:
		return true
	default:
		return false
	}
}

// Advice says what to do about a reason, where more is known than the message
// of the failure itself.
func (r Reason) Advice() string {
	switch r {
	case ReasonAuthentication:
		return "Check that the user, token or key is right, not expired, and may read this source; then save the form."
	case ReasonRateLimited:
		return "Nothing needs to be done. If it happens often, add a webhook and lengthen the interval."
	case ReasonTLS:
		return "Check the certificate of the host. For a private authority start Hefring with --ca-file."
	case ReasonHostKey:
		return "Ask the host's administrator for its new key over another way, and put that into the form. Do not accept it unseen."
	case ReasonDNS:
		return "Check the spelling of the host and the name servers of this machine."
	case ReasonAddressBlocked:
		return "If this host is yours, start Hefring with --egress-allow and its network."
	case ReasonTimeout, ReasonUnreachable:
		return "It is tried again by itself. Check that the host is up and that a firewall lets this machine through."
	case ReasonTooLarge, ReasonMalformed:
		return "Look at what the address answers in a browser; it may be a login page or the wrong address."
	case ReasonRefNotFound, ReasonNotFound:
		return "The last platform stays. If it was renamed, change the settings; if it comes back, checks go on by themselves."
	case ReasonTagMoved:
		return "Ask who moved the tag and why. Approve it to build what the tag names now, or leave it to stay as you are."
	case ReasonRewritten:
		return "Somebody forced a push. Approve it to build the new history, or leave it to stay as you are."
	case ReasonLower:
		return "A newer release was taken back. Approve it to go down, or leave it to stay as you are."
	case ReasonVerification:
		return "Do not build it before you know who made it. Ask for a signed commit or tag, or add the signer's key."
	case ReasonURL:
		return "Correct the settings."
	case ReasonBuild:
		return "Open the build's log. A new revision, or Build again, tries it anew."
	}
	return ""
}

// Host is the politeness towards one host, shared by all its upstreams.
type Host struct {
	Name         string `gorm:"primaryKey"`
	AtOnce       int    // checks at a time
	PerMinute    int    // checks that begin in a minute
	Tokens       int64  // thousandths of a check that may begin now
	RefilledAt   time.Time
	BlockedUntil *time.Time // it asked for a pause
	Throttled    int64      // checks that had to wait for their turn today
	Requests     int64      // that were sent to it today
	Day          string     // 2006-01-02 in UTC, of the two counters
}

// Limits of a host's settings.
const (
	MaxHostAtOnce    = 64
	MaxHostPerMinute = 6000
)

// NewHost is a host with the published limits of those who run it, or with ours.
func NewHost(name string, now time.Time) Host {
	h := Host{Name: name, AtOnce: 4, PerMinute: 300, RefilledAt: now, Day: day(now)}
	switch {
	case name == "drupal.org" || strings.HasSuffix(name, ".drupal.org"):
		// https://www.drupal.org/drupalorg/docs/api asks for a single thread.
		h.AtOnce = 1
	case name == "packagist.org" || strings.HasSuffix(name, ".packagist.org"):
		// https://packagist.org/apidoc: at most 10 at once.
		h.AtOnce = 10
	}
	h.Tokens = h.burst()
	return h
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Take begins one check at now, if the host may be asked; running checks of it
// are going on. Otherwise the refusal is counted.
func (h *Host) Take(now time.Time, running int) bool {
	h.turn(now)
	if passed := now.Sub(h.RefilledAt); passed > 0 {
		h.Tokens = min(h.burst(), h.Tokens+int64(passed.Minutes()*float64(h.PerMinute)*check))
		h.RefilledAt = now
	}
	if h.Blocked(now) || running >= h.AtOnce || h.Tokens < check {
		h.Throttled++
		return false
	}
	h.Tokens -= check
	return true
}

// Count adds requests that were sent to the host.
func (h *Host) Count(now time.Time, n int64) {
	h.turn(now)
	h.Requests += n
}

// turn begins a new day's count.
func (h *Host) turn(now time.Time) {
	if today := day(now); h.Day != today {
		h.Day, h.Requests, h.Throttled = today, 0, 0
	}
}

// burst is how many checks may begin at once after a rest: ten seconds' worth.
func (h *Host) burst() int64 { return check * max(1, int64(h.PerMinute)/6) }

const check = 1000 // tokens

// Blocked tells whether the host asked for a pause that is not over.
func (h *Host) Blocked(now time.Time) bool {
	return h.BlockedUntil != nil && now.Before(*h.BlockedUntil)
}

// sourceHostPattern is what stands for a host in an address: a name in any script, or
// an address of the network. Nothing stands for this machine.
var sourceHostPattern = regexp.MustCompile(`^([\pL\pN:][\pL\pN.:_%-]{0,252})?$`)

// Validate checks what a person typed for a host.
func (h *Host) Validate() map[string]string {
	wrong := map[string]string{}
	if !sourceHostPattern.MatchString(h.Name) {
		wrong["host"] = "Name a host as it stands in the address of a source, such as git.example.org."
	}
	if h.AtOnce < 1 || h.AtOnce > MaxHostAtOnce {
		wrong["at_once"] = fmt.Sprintf("Choose between 1 and %d.", MaxHostAtOnce)
	}
	if h.PerMinute < 1 || h.PerMinute > MaxHostPerMinute {
		wrong["per_minute"] = fmt.Sprintf("Choose between 1 and %d.", MaxHostPerMinute)
	}
	return wrong
}

// SourceState is what is remembered of a distribution's source between checks.
type SourceState struct {
	DistributionID int64  `gorm:"primaryKey"`
	Accepted       string // the version that was built last or is being built, as JSON; "" before
	Pending        string // the version that waits for a person, as JSON; "" for none
}
