package webhook

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"hefring/models"
)

// Message is what a delivery says.
type Message struct {
	ID    string // the provider's, or one made from the body
	Named bool   // ID is the provider's
	Event string // in the provider's words
	Kind  Kind
	Refs  []Ref // that moved; empty when it does not say
}

// Kind is what a message means to us.
type Kind int

// Kinds of messages.
const (
	Other Kind = iota // nothing that changes a source
	Push              // refs moved, came or went
	Ping              // the provider tries the address
)

// Ref is a branch or tag that a message speaks of.
type Ref struct {
	Branch string // "" when it is not a branch
	Text   string // as people write it: main, refs/tags/v1
	Known  bool   // we understood whether it is a branch
}

// Bounds of what is read out of a message; the rest of it is not looked at.
const (
	maxRefs = 1000
	maxText = 255
	maxID   = 128
)

// Concerns tells whether a message may matter to somebody who follows one
// branch. What it does not say, or says in a way that we do not understand, may
// well matter.
func (m Message) Concerns(branch string) bool {
	if branch == "" || len(m.Refs) == 0 {
		return true
	}
	for _, ref := range m.Refs {
		if !ref.Known || ref.Branch == branch {
			return true
		}
	}
	return false
}

// Parse reads a delivery. It fails only if the body is not a JSON object: parts
// that are missing or of a wrong type are left out, since a message that is not
// understood still leads to a look at the source.
func Parse(p models.Provider, header http.Header, body []byte) (Message, error) {
	var read payload
	err := json.Unmarshal(body, &read)
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) || err != nil && !isWrongType(err) {
		return Message{}, models.Errorf(models.Invalid, "Its body is not a JSON object.")
	}
	m := messageOf(p, header, read)
	m.Event = clip(m.Event)
	if len(m.Refs) == maxRefs {
		m.Refs = append(m.Refs, Ref{}) // there may be more
	}
	m.ID, m.Named = deliveryID(p, header, body)
	return m, nil
}

// IsUnsignedPing tells whether a delivery is Bitbucket Server's "Test
// connection", which carries no signature. It proves nothing but that the
// address is reached.
func IsUnsignedPing(p models.Provider, header http.Header) bool {
	return p == models.ProviderBitbucketServer && header.Get("X-Event-Key") == "diagnostics:ping" && header.Get("X-Hub-Signature") == ""
}

// isWrongType tells whether a value did not have the type that we expected;
// encoding/json leaves such values out and goes on.
func isWrongType(err error) bool {
	_, is := errors.AsType[*json.UnmarshalTypeError](err)
	return is
}

// list is an array of which only the beginning is read, so that a long one costs
// no memory. What is no array is an empty one.
type list[T any] []T

// UnmarshalJSON reads it.
func (l *list[T]) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('[') {
		return nil //nolint:nilerr // see above
	}
	for decoder.More() && len(*l) < maxRefs {
		var one T
		if err := decoder.Decode(&one); err != nil && !isWrongType(err) {
			return nil
		}
		*l = append(*l, one)
	}
	return nil
}

// payload is what we read of all providers' messages.
type payload struct {
	Ref       string `json:"ref"`
	RefType   string `json:"ref_type"`   // create and delete of GitHub, Gitea
	EventName string `json:"event_name"` // GitLab
	Type      string `json:"type"`       // Standard Webhooks
	EventKey  string `json:"eventKey"`   // Bitbucket Server
	Data      struct {
		Ref string `json:"ref"`
	} `json:"data"` // Standard Webhooks
	Push struct {
		Changes list[cloudChange] `json:"changes"`
	} `json:"push"` // Bitbucket Cloud
	Changes list[serverChange] `json:"changes"` // Bitbucket Server
}

type cloudChange struct{ New, Old cloudRef }

type cloudRef struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

type serverChange struct {
	Ref struct {
		ID string `json:"id"`
	} `json:"ref"`
	RefID string `json:"refId"`
}

func messageOf(p models.Provider, header http.Header, read payload) Message {
	event := eventOf(p, header)
	switch p {
	case models.ProviderGitHub, models.ProviderGitea:
		return refEvent(event, read)
	case models.ProviderGitLab, models.ProviderGitLabToken:
		return gitlab(event, read)
	case models.ProviderBitbucket:
		return bitbucketCloud(event, read)
	case models.ProviderBitbucketServer:
		return bitbucketServer(event, read)
	default:
		return generic(read)
	}
}

// refEvent reads what GitHub and Gitea have in common
// (docs.github.com/webhooks/webhook-events-and-payloads).
func refEvent(event string, read payload) Message {
	m := Message{Event: event}
	switch event {
	case "ping":
		m.Kind = Ping
	case "push":
		m.Kind, m.Refs = Push, refs(full(read.Ref))
	case "create", "delete":
		m.Kind, m.Refs = Push, refs(short(read.RefType, read.Ref))
	case "release", "package", "registry_package", "":
		m.Kind = Push
	}
	return m
}

// gitlab reads docs.gitlab.com/user/project/integrations/webhook_events. System
// hooks name the event in the body.
func gitlab(event string, read payload) Message {
	m := Message{Event: event}
	switch event {
	case "Push Hook", "Tag Push Hook":
		m.Kind, m.Refs = Push, refs(full(read.Ref))
	case "Release Hook", "":
		m.Kind = Push
	case "System Hook":
		m.Event = cmp.Or(read.EventName, event)
		switch read.EventName {
		case "push", "tag_push":
			m.Kind, m.Refs = Push, refs(full(read.Ref))
		case "repository_update", "":
			m.Kind = Push
		}
	}
	return m
}

// bitbucketCloud reads support.atlassian.com/bitbucket-cloud/docs/event-payloads:
// one push may change many refs, and a deleted one is only in old.
func bitbucketCloud(event string, read payload) Message {
	m := Message{Event: event}
	if event != "repo:push" && event != "" {
		return m
	}
	m.Kind = Push
	for _, change := range read.Push.Changes {
		ref := change.New
		if ref.Name == "" {
			ref = change.Old
		}
		m.Refs = append(m.Refs, short(ref.Type, ref.Name))
	}
	return m
}

// bitbucketServer reads
// confluence.atlassian.com/bitbucketserver/event-payload-938025882.html.
func bitbucketServer(event string, read payload) Message {
	m := Message{Event: cmp.Or(event, read.EventKey)}
	switch m.Event {
	case "diagnostics:ping":
		m.Kind = Ping
	case "repo:refs_changed", "mirror:repo_synchronized", "":
		m.Kind = Push
		for _, change := range read.Changes {
			m.Refs = append(m.Refs, full(cmp.Or(change.Ref.ID, change.RefID)))
		}
	}
	return m
}

// generic is a message of somebody who knows what a webhook of ours is for: all
// of them mean that the source may have changed.
func generic(read payload) Message {
	m := Message{Event: cmp.Or(read.Type, "delivery"), Kind: Push}
	if m.Event == "ping" {
		m.Kind = Ping
	}
	if ref := cmp.Or(read.Ref, read.Data.Ref); ref != "" {
		m.Refs = refs(full(ref))
	}
	return m
}

func refs(some ...Ref) []Ref { return some }

// full reads a name like refs/heads/main.
func full(name string) Ref {
	if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok && branch != "" {
		return Ref{Branch: branch, Text: clip(branch), Known: true}
	}
	return Ref{Text: clip(name), Known: strings.HasPrefix(name, "refs/tags/")}
}

// short reads a name like main whose kind stands beside it.
func short(kind, name string) Ref {
	switch {
	case kind == "branch" && name != "":
		return Ref{Branch: name, Text: clip(name), Known: true}
	case kind == "tag" && name != "":
		return Ref{Text: clip("refs/tags/" + name), Known: true}
	}
	return Ref{Text: clip(name)}
}

// deliveryID is the id that the provider gave to a delivery and keeps when it
// sends it again, or a hash of the body.
func deliveryID(p models.Provider, header http.Header, body []byte) (id string, named bool) {
	for _, name := range idHeaders(p) {
		id := header.Get(name)
		switch {
		case id == "":
		case len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
			return "sha256:" + digest([]byte(id)), true
		default:
			return id, true
		}
	}
	return "body:" + digest(body), false
}

func digest(text []byte) string {
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:])
}

// idHeaders names the headers with the id, the best first. GitLab's
// X-Gitlab-Event-UUID is none: hooks that call each other share it.
func idHeaders(p models.Provider) []string {
	switch p {
	case models.ProviderGitHub:
		return []string{"X-Github-Delivery"}
	case models.ProviderGitea:
		return []string{"X-Forgejo-Delivery", "X-Gitea-Delivery"}
	case models.ProviderGitLabToken:
		return []string{"Webhook-Id", "Idempotency-Key"}
	case models.ProviderBitbucket:
		return []string{"X-Request-Uuid"}
	case models.ProviderBitbucketServer:
		return []string{"X-Request-Id"}
	case models.ProviderSignature:
		return []string{"Webhook-Id", "X-Delivery-Id"}
	default: // the one that is signed
		return []string{"Webhook-Id"}
	}
}

// clip bounds what is kept of a text and takes out what nobody can read.
func clip(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxText)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}

// Claims gives the event and the id that the headers of a delivery claim, before
// anything is proven; both may be "".
func Claims(p models.Provider, header http.Header) (event, id string) {
	if text, named := deliveryID(p, header, nil); named {
		id = text
	}
	return clip(eventOf(p, header)), id
}

// eventOf is the event as the headers name it; some providers name it in the
// body.
func eventOf(p models.Provider, header http.Header) string {
	switch p {
	case models.ProviderGitHub:
		return header.Get("X-Github-Event")
	case models.ProviderGitea:
		return cmp.Or(header.Get("X-Forgejo-Event"), header.Get("X-Gitea-Event"))
	case models.ProviderGitLab, models.ProviderGitLabToken:
		return header.Get("X-Gitlab-Event")
	case models.ProviderBitbucket, models.ProviderBitbucketServer:
		return header.Get("X-Event-Key")
	default:
		return ""
	}
}
