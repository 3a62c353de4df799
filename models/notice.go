package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
)

// SubjectChannel is the subject of events about a channel.
const SubjectChannel SubjectKind = "channel"

// ChannelKind says how a channel reaches people.
type ChannelKind string

// Kinds of channels.
const (
	ChannelEmail   ChannelKind = "email"
	ChannelSlack   ChannelKind = "slack"   // and what takes the same messages: Mattermost, Rocket.Chat, Zulip
	ChannelWebhook ChannelKind = "webhook" // JSON, signed as standardwebhooks.com says
)

// ChannelKinds lists them as a form does.
func ChannelKinds() []ChannelKind {
	return []ChannelKind{ChannelEmail, ChannelSlack, ChannelWebhook}
}

// Cause is a kind of thing that people are told of.
type Cause string

// Causes. Those but the last are the kinds of decisions that wait.
const (
	CauseBroken    Cause = "broken"
	CauseRecovered Cause = "recovered"
	CauseBuild     Cause = "build"
	CauseSource    Cause = "source"
	CauseServer    Cause = "server"
	CauseBackup    Cause = "backup"
	CauseRisk      Cause = "risk"
	CauseUpgrade   Cause = "upgrade"
	CauseWell      Cause = "well" // good news: what was told is over
)

// Causes lists them, most urgent first.
func Causes() []Cause {
	return []Cause{CauseBroken, CauseRecovered, CauseBuild, CauseSource, CauseServer, CauseBackup, CauseRisk, CauseUpgrade, CauseWell}
}

// Channel is one way in which people are told of what needs them.
type Channel struct {
	ID     int64
	Name   string // what people call it; unique
	Kind   ChannelKind
	Target string // addresses, separated by commas; of a URL only what is no secret
	Secret []byte // the URL and the keys that sign, sealed; see Outlet

	// DistributionID or ClientID narrow it to one; with neither it tells of all.
	DistributionID *int64
	ClientID       *int64
	Causes         []Cause `gorm:"serializer:json"` // that it tells of

	Every  time.Duration // between digests; 0: each cause at once
	Hour   int           // UTC, of a digest that comes once a day
	Paused bool

	Reason    string     `audit:"-"` // why the last message could not be delivered; "" when it was
	SentAt    *time.Time `audit:"-"` // when a message was last delivered
	LookAt    time.Time  `audit:"-"` // when it is next compared with what waits
	DigestAt  *time.Time `audit:"-"` // when the next digest is due; nil: at once
	CreatedAt time.Time
	UpdatedAt time.Time

	URL string `gorm:"-" audit:"secret"` // as typed; "" keeps the stored one
}

// Outlet is where a message goes, opened for the moment of sending.
type Outlet struct {
	ChannelID int64       `json:"-"`
	Kind      ChannelKind `json:"-"`
	Addresses []string    `json:"-"`                             // of ChannelEmail
	URL       string      `json:"url" audit:"secret"`            // of the others
	Keys      []string    `json:"keys,omitempty" audit:"secret"` // that sign, newest first: whsec_ and base64
	// Until is how long all keys but the first sign, while the receiver changes over.
	Until time.Time `json:"until,omitzero"`
}

// Daily is the interval of a digest that comes at an hour of the day.
const Daily = 24 * time.Hour

// Limits of channels.
const (
	MaxChannels  = 100
	maxAddresses = 20
	maxName      = 64
	maxTitle     = 200 // characters
	maxWhy       = 600
)

// Wants tells whether the channel tells of a cause.
func (c Channel) Wants(cause Cause) bool { return slices.Contains(c.Causes, cause) }

// Validate checks what a person typed and brings it into its usual form. Whether
// a URL may be reached is not looked at.
func (c *Channel) Validate() map[string]string {
	wrong := map[string]string{}
	c.Name = strings.TrimSpace(c.Name)
	if c.Name == "" || len([]rune(c.Name)) > maxName || strings.ContainsFunc(c.Name, unicode.IsControl) {
		wrong["name"] = fmt.Sprintf("Give it a name of %d characters at most.", maxName)
	}
	if !slices.Contains(ChannelKinds(), c.Kind) {
		wrong["kind"] = "Choose how people are told."
	}
	if c.Kind == ChannelEmail {
		if addresses, why := readAddresses(c.Target); why != "" {
			wrong["target"] = why
		} else {
			c.Target = strings.Join(addresses, ", ")
		}
	}
	if c.DistributionID != nil && c.ClientID != nil {
		wrong["scope"] = "Choose one distribution, one client, or all."
	}
	if c.Causes = known(c.Causes); len(c.Causes) == 0 || len(c.Causes) == 1 && c.Causes[0] == CauseWell {
		wrong["causes"] = "Choose at least one thing to tell of, besides good news."
	}
	if c.Every < 0 || c.Every > Daily || c.Every%time.Hour != 0 {
		wrong["every"] = "Choose at once, or a digest every 1 to 24 hours."
	}
	if c.Hour < 0 || c.Hour > 23 {
		wrong["hour"] = "Choose an hour from 0 to 23."
	}
	return wrong
}

// known gives those of the causes that there are, each once and in their order.
func known(causes []Cause) []Cause {
	var list []Cause
	for _, cause := range Causes() {
		if slices.Contains(causes, cause) {
			list = append(list, cause)
		}
	}
	return list
}

// Addresses lists the recipients of a channel that sends e-mail.
func (c Channel) Addresses() []string {
	addresses, _ := readAddresses(c.Target)
	return addresses
}

func readAddresses(text string) (addresses []string, wrong string) {
	text = strings.Trim(strings.NewReplacer("\r", "", "\n", ",", ";", ",").Replace(text), ", ")
	list, err := mail.ParseAddressList(text)
	if err != nil {
		return nil, "Write addresses such as ops@example.org, separated by commas."
	}
	for _, one := range list {
		// A quoted local part may hold anything; nobody's address needs that.
		if len(one.Address) > 254 || strings.ContainsFunc(one.Address, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`"<>\,`, r) }) {
			return nil, "Write addresses such as ops@example.org, separated by commas."
		}
		if !slices.Contains(addresses, one.Address) {
			addresses = append(addresses, one.Address)
		}
	}
	if len(addresses) > maxAddresses {
		return nil, fmt.Sprintf("Use at most %d addresses; for more, a mailing list.", maxAddresses)
	}
	return addresses, ""
}

// NextDigest is when the digest after now is due; nil when the channel tells at
// once.
func (c Channel) NextDigest(now time.Time) *time.Time {
	if c.Every <= 0 {
		return nil
	}
	next := now.UTC().Truncate(time.Hour).Add(c.Every)
	if c.Every == Daily {
		next = time.Date(now.UTC().Year(), now.UTC().Month(), now.UTC().Day(), c.Hour, 0, 0, 0, time.UTC)
		if !next.After(now) {
			next = next.AddDate(0, 0, 1)
		}
	}
	return &next
}

// Notice is one episode of a cause at one channel: from when it was first seen
// until it was gone for a while. It is told once.
type Notice struct {
	ID        int64
	ChannelID int64
	Cause     Cause
	Key       string            // what makes it one cause; at most one open notice of a channel has it
	Subject   `gorm:"embedded"` // where a link leads: of several, the first
	Title     string
	Why       string
	Sites     int // that it concerns; 0 where it is not about sites

	BeganAt   time.Time
	GoneAt    *time.Time // not seen since then
	OverAt    *time.Time // the episode has ended
	ToldAt    *time.Time // when a message was made of it
	Owed      bool       // its end is still to be told
	MessageID *int64     // the message that told it
}

// Line is how a message speaks of the notice.
func (n Notice) Line() LetterLine {
	return LetterLine{
		Cause: n.Cause, Key: n.Key, Over: n.OverAt != nil, Subject: LetterSubject(n.Subject),
		Title: n.Title, Why: n.Why, Sites: n.Sites, Since: n.BeganAt,
	}
}

// Settle is how long a cause must be gone before its episode is over. What comes
// back sooner is the same episode.
const Settle = 15 * time.Minute

// CauseSeen is one thing that waits at this moment.
type CauseSeen struct {
	Cause      Cause
	Subject    Subject
	Title, Why string
	Sites      int
	// Group is what it shares with others of its cause and reason, which are told
	// as one: the platform that twenty sites are on.
	Group string
}

// Gather makes one notice of all that wait for the same cause, in the order in
// which they came.
func Gather(seen []CauseSeen) []Notice {
	var list []Notice
	index := map[string]int{}
	more := map[string]int{}
	for _, one := range seen {
		key := one.key()
		i, known := index[key]
		if !known {
			index[key] = len(list)
			list = append(list, Notice{
				Cause: one.Cause, Key: key, Subject: one.Subject, Title: cut(one.Title, maxTitle), Why: cut(one.Why, maxWhy), Sites: one.Sites,
			})
			continue
		}
		list[i].Sites += one.Sites
		more[key]++
	}
	for key, n := range more {
		list[index[key]].Title += fmt.Sprintf(" and %d more", n)
	}
	return list
}

// key is the same for all that is told as one cause.
func (c CauseSeen) key() string {
	sum := sha256.Sum256([]byte(string(c.Cause) + "\x00" + c.Group + "\x00" + c.reason()))
	return hex.EncodeToString(sum[:16])
}

// reason is what is left of Why when names, numbers and paths are taken out: two
// sites with the same trouble give the same text.
func (c CauseSeen) reason() string {
	if c.Cause == CauseUpgrade || c.Cause == CauseRisk { // their text is a count
		return ""
	}
	text := strings.ReplaceAll(c.Why, c.Title, "")
	var words []string
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		word = strings.TrimFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && r != '-' && r != '\'' && r != '’' }) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}

// Letter is what one message says. It is stored with the message, so that each
// attempt to deliver it says the same.
type Letter struct {
	ID      string       `json:"id"` // the same for each attempt
	Channel string       `json:"channel"`
	At      time.Time    `json:"at"`
	Digest  bool         `json:"digest,omitempty"`
	Test    bool         `json:"test,omitempty"`
	Lines   []LetterLine `json:"lines,omitempty"`
	More    int          `json:"more,omitempty"`  // that there was no room for
	Still   int          `json:"still,omitempty"` // of a digest: that were told before and still wait
}

// LetterLine is one cause in a message.
type LetterLine struct {
	Cause   Cause         `json:"cause"`
	Key     string        `json:"key"`
	Over    bool          `json:"over,omitempty"` // it is well again
	Subject LetterSubject `json:"subject"`
	Title   string        `json:"title"`
	Why     string        `json:"why"`
	Sites   int           `json:"sites,omitempty"`
	Since   time.Time     `json:"since"`
	Thread  string        `json:"thread,omitempty"` // id of the letter that told of its begin
}

// LetterSubject is what a line is about.
type LetterSubject struct {
	Kind SubjectKind `json:"kind"`
	ID   int64       `json:"id"`
}

// Path is where the dashboard shows it.
func (s LetterSubject) Path() string {
	switch s.Kind {
	case SubjectDistribution:
		return fmt.Sprintf("/distributions/%d", s.ID)
	case SubjectPlatform:
		return fmt.Sprintf("/platforms/%d", s.ID)
	case SubjectSite:
		return fmt.Sprintf("/sites/%d", s.ID)
	case SubjectServer:
		return fmt.Sprintf("/databases/%d", s.ID)
	default:
		return "/"
	}
}

// MaxLines is how many causes one message names.
const MaxLines = 50

// Add puts lines into the letter that are not in it yet, up to MaxLines.
func (l *Letter) Add(lines ...LetterLine) {
	for _, line := range lines {
		if slices.ContainsFunc(l.Lines, func(other LetterLine) bool { return other.Key == line.Key && other.Over == line.Over }) {
			continue
		}
		if len(l.Lines) >= MaxLines {
			l.More++
			continue
		}
		l.Lines = append(l.Lines, line)
	}
}

// Headline says what happened in a few words.
func (l LetterLine) Headline() string {
	if l.Over {
		return l.Cause.over() + ": " + l.Title
	}
	return l.Cause.Label() + ": " + l.Title
}

// Text is the sentence under the headline.
func (l LetterLine) Text() string {
	if l.Over {
		return "It waited since " + l.Since.UTC().Format("2 Jan 15:04 UTC") + "."
	}
	return l.Why
}

// Label is what people call a cause.
func (c Cause) Label() string {
	switch c {
	case CauseBroken:
		return "Site broken"
	case CauseRecovered:
		return "Upgrade put back"
	case CauseBuild:
		return "Build failed"
	case CauseSource:
		return "Source needs attention"
	case CauseServer:
		return "Database server cannot be used"
	case CauseBackup:
		return "Backup failed"
	case CauseRisk:
		return "Known hole"
	case CauseUpgrade:
		return "Update waiting"
	case CauseWell:
		return "Good news"
	}
	return string(c)
}

func (c Cause) over() string {
	switch c {
	case CauseBroken:
		return "Site works again"
	case CauseRecovered:
		return "Upgrade settled"
	case CauseBuild:
		return "Builds again"
	case CauseSource:
		return "Source is well again"
	case CauseServer:
		return "Database server works again"
	case CauseBackup:
		return "Backed up again"
	case CauseRisk:
		return "No site has the known hole any more"
	case CauseUpgrade:
		return "Up to date"
	case CauseWell:
	}
	return "Over"
}

// Title says in one line what the letter is about.
func (l Letter) Title() string {
	over := 0
	for _, line := range l.Lines {
		if line.Over {
			over++
		}
	}
	n := len(l.Lines) + l.More
	var text string
	switch {
	case l.Test:
		return "Test of " + l.Channel
	case n == 1:
		text = l.Lines[0].Headline()
	case over == 0:
		text = fmt.Sprintf("%d things need a decision", n)
	case over == n:
		text = fmt.Sprintf("%d things are well again", n)
	default:
		text = fmt.Sprintf("%s a decision, %s well again", plural(n-over, "thing needs", "things need"), plural(over, "is", "are"))
	}
	if l.Digest {
		text = "Digest: " + text
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Intro is what stands over the lines; "" for nothing.
func (l Letter) Intro() string {
	if l.Test {
		return "This is a test from Hefring. Nothing happened. Messages of the channel " + l.Channel + " come here."
	}
	return ""
}

// Outro is what stands under the lines; "" for nothing.
func (l Letter) Outro() string {
	var parts []string
	if l.More > 0 {
		parts = append(parts, fmt.Sprintf("And %d more.", l.More))
	}
	if l.Still == 1 {
		parts = append(parts, "One that you were told of before still waits.")
	} else if l.Still > 1 {
		parts = append(parts, fmt.Sprintf("%d that you were told of before still wait.", l.Still))
	}
	return strings.Join(parts, " ")
}

// MessageState is how far a message is.
type MessageState string

// States of a message.
const (
	MessageQueued   MessageState = "queued"
	MessageSending  MessageState = "sending"  // an attempt is made, or was cut short by a crash
	MessageSent     MessageState = "sent"     // the other side took it
	MessageFailed   MessageState = "failed"   // given up
	MessageReplaced MessageState = "replaced" // what it said went into a later one before it could be delivered
)

// MessageTransitions lists what may follow on each state.
func MessageTransitions() Transitions[MessageState] {
	return Transitions[MessageState]{
		MessageQueued:   {MessageSending, MessageReplaced},
		MessageSending:  {MessageSending, MessageQueued, MessageSent, MessageFailed},
		MessageSent:     {},
		MessageFailed:   {MessageQueued},
		MessageReplaced: {},
	}
}

// NoticeMessage is one message on its way to a channel.
type NoticeMessage struct {
	ID        int64
	ChannelID int64
	Key       string // Letter's id
	Letter    Letter `gorm:"serializer:json"`
	State     MessageState
	Attempts  int
	NextAt    time.Time // of the next attempt; while sending, when the attempt counts as lost
	CreatedAt time.Time
	EndedAt   *time.Time
}

// NoticeAttempt is one attempt to deliver a message, with the real answer.
type NoticeAttempt struct {
	ID        int64
	MessageID int64
	At        time.Time
	Recipient string // addresses, or the host
	Delivered bool
	Status    int    // of HTTP or SMTP; 0 when there was no answer
	Answer    string // its first bytes
	Problem   string // what went wrong, in words; "" when it was delivered
	Took      time.Duration
}

// Answer is what the other side said to a message.
type Answer struct {
	Recipient string
	Status    int
	Text      string // the first bytes
}

// Deliveries of notices.
const (
	MaxAttempts    = 8
	KeepMessages   = 90 * 24 * time.Hour
	KeyChangeover  = 24 * time.Hour // how long an old key signs beside the new one
	maxRetryWanted = 24 * time.Hour
)

// RetryAfter is the pause after a failed attempt, counted from 1: about 23 hours
// in all. asked is what the other side asked for.
func RetryAfter(attempt int, asked time.Duration) time.Duration {
	pauses := []time.Duration{
		time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	}
	pause := pauses[min(max(attempt, 1), len(pauses))-1]
	return max(pause, min(asked, maxRetryWanted))
}
