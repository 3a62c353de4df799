package models

import (
	"slices"
	"strings"
	"time"
)

// Provider says who sends to a webhook and how it proves who it is. A webhook
// has one, so that a sender cannot choose a weaker proof.
type Provider string

// Providers.
const (
	ProviderGitHub          Provider = "github"
	ProviderGitLab          Provider = "gitlab"           // signed
	ProviderGitLabToken     Provider = "gitlab-token"     // older ones, which send the secret itself
	ProviderGitea           Provider = "gitea"            // and Forgejo
	ProviderBitbucket       Provider = "bitbucket"        // Cloud
	ProviderBitbucketServer Provider = "bitbucket-server" // and Data Center
	ProviderStandard        Provider = "standard"         // anything that follows standardwebhooks.com
	ProviderSignature       Provider = "signature"        // a script: X-Signature is the HMAC of the body
)

// Providers lists them as a form does.
func Providers() []Provider {
	return []Provider{
		ProviderGitHub, ProviderGitLab, ProviderGitLabToken, ProviderGitea,
		ProviderBitbucket, ProviderBitbucketServer, ProviderStandard, ProviderSignature,
	}
}

// Known tells whether p is one of Providers.
func (p Provider) Known() bool { return slices.Contains(Providers(), p) }

// Webhook is an address where a provider says that a distribution's source has
// changed. Whatever it says, the distribution is looked at and nothing else.
type Webhook struct {
	ID             int64
	DistributionID int64
	Address        string `audit:"secret"` // the random part of its path: 128 bits in hex
	Provider       Provider
	Branch         string // what is said of other branches and of tags counts for nothing; "" listens to all

	HookAt    *time.Time `audit:"-"` // when the last delivery came that proved where it is from
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Validate checks what a person typed.
func (h *Webhook) Validate() map[string]string {
	wrong := map[string]string{}
	if !h.Provider.Known() {
		wrong["provider"] = "Choose who sends to this webhook."
	}
	if !validBranch(h.Branch) {
		wrong["branch"] = "Write the branch as git shows it, for example main, without refs/heads/ and without spaces."
	}
	return wrong
}

// validBranch holds a branch to git's rules as far as a typing error goes.
func validBranch(branch string) bool {
	if branch == "" {
		return true
	}
	odd := strings.ContainsFunc(branch, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
	return !odd && len(branch) <= 250 && !strings.HasPrefix(branch, "refs/") && !strings.HasPrefix(branch, "-") &&
		!strings.HasPrefix(branch, "/") && !strings.HasSuffix(branch, "/") && !strings.Contains(branch, "..")
}

// WebhookSecret is a secret that a webhook's provider may sign with. A webhook
// has one, or two while it changes over from one to the next.
type WebhookSecret struct {
	ID        int64
	WebhookID int64
	Sealed    []byte // encrypted
	CreatedAt time.Time
	UsedAt    *time.Time // when a delivery was last proved by it
}

// DeliveryOutcome is what became of a delivery.
type DeliveryOutcome string

// Outcomes of a delivery.
const (
	DeliveryAccepted  DeliveryOutcome = "accepted"  // the source is looked at
	DeliveryPing      DeliveryOutcome = "ping"      // the provider tried the address
	DeliveryIgnored   DeliveryOutcome = "ignored"   // proven, but it says nothing about this source
	DeliveryDuplicate DeliveryOutcome = "duplicate" // it came before
	DeliveryRefused   DeliveryOutcome = "refused"   // not proven, or not to be understood
)

// DeliveryOutcomes lists them.
func DeliveryOutcomes() []DeliveryOutcome {
	return []DeliveryOutcome{DeliveryAccepted, DeliveryPing, DeliveryIgnored, DeliveryDuplicate, DeliveryRefused}
}

// Delivery is one message that came to a webhook. Duplicates of one delivery,
// and refusals for one reason, are one row with Times > 1.
type Delivery struct {
	ID        int64
	WebhookID int64
	Key       string // the provider's id of it, or a hash of its body; unique among fresh ones
	Fresh     bool   // proven, and the first with its key
	Event     string
	Ref       string // the first ref that it speaks of
	Outcome   DeliveryOutcome
	Reason    string // why it was refused or ignored
	Sender    string // the network address that it came from
	Times     int
	At        time.Time // of the last time
}

// Limits of what a webhook takes.
const (
	MaxWebhooks         = 10  // of a distribution
	MaxWebhookSecrets   = 2   // of a webhook that are good at the same time
	MaxDeliveriesHourly = 600 // proven ones of a webhook; those beyond are not listed
	KeepRefused         = 50  // newest refusals and duplicates of a webhook that are remembered
)

// How long deliveries are remembered.
const (
	KeepDeliveries = 7 * 24 * time.Hour
	// RepeatWindow is for deliveries without an id of their own, which are known
	// by their body: within it the same body is the same delivery. Two pushes may
	// well have the same body, if not so soon.
	RepeatWindow = 10 * time.Minute
)
