package pages

import (
	"fmt"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// Webhooks is the page with the webhooks of a distribution.
type Webhooks struct {
	layouts.Page
	Distribution models.Distribution
	Info         plugins.Info
	Rows         []fleet.WebhookRow

	Once     string
	Provider models.Provider // as typed
	Branch   string
	Error    string
	Errors   map[string]string
}

func (w Webhooks) url() string { return fmt.Sprintf("/distributions/%d/webhooks", w.Distribution.ID) }

func (w Webhooks) first(name string) bool {
	if w.Errors["provider"] != "" {
		return name == "provider"
	}
	return w.Errors[name] != ""
}

// Webhook is the page of one webhook.
type Webhook struct {
	layouts.Page
	Row     fleet.WebhookRow
	Address string // where the provider delivers
	Secret  string // that was just made; shown this once
	Once    string
}

func (w Webhook) url(rest string) string { return fmt.Sprintf("/webhooks/%d%s", w.Row.ID, rest) }

// insecure tells whether deliveries travel in the clear.
func (w Webhook) insecure() bool { return strings.HasPrefix(w.Address, "http://") }

// newest tells whether a secret is the newest of two.
func (w Webhook) newest(secret models.WebhookSecret) bool {
	return secret.ID == w.Row.Secrets[len(w.Row.Secrets)-1].ID
}

// secretName tells two secrets apart.
func (w Webhook) secretName(secret models.WebhookSecret) string {
	switch {
	case len(w.Row.Secrets) == 1:
		return "The secret"
	case w.newest(secret):
		return "New secret"
	default:
		return "Old secret"
	}
}

// handover says how far the change from one secret to the next is.
func (w Webhook) handover() string {
	if len(w.Row.Secrets) < 2 {
		return ""
	}
	last := w.Row.Secrets[len(w.Row.Secrets)-1]
	if last.UsedAt == nil {
		return "Two secrets are good. Paste the new one at the sender; once a delivery has proved itself with it, retire the old one."
	}
	return "The sender uses the new secret. Retire the old one."
}

// ProviderName is what people call a provider.
func ProviderName(p models.Provider) string {
	switch p {
	case models.ProviderGitHub:
		return "GitHub"
	case models.ProviderGitLab:
		return "GitLab, signed"
	case models.ProviderGitLabToken:
		return "GitLab, secret token"
	case models.ProviderGitea:
		return "Gitea or Forgejo"
	case models.ProviderBitbucket:
		return "Bitbucket Cloud"
	case models.ProviderBitbucketServer:
		return "Bitbucket Server or Data Center"
	case models.ProviderStandard:
		return "Other, Standard Webhooks"
	case models.ProviderSignature:
		return "Other, a script"
	default:
		return string(p)
	}
}

func providerOptions() []plugins.Option {
	var options []plugins.Option
	for _, p := range models.Providers() {
		options = append(options, plugins.Option{Value: string(p), Label: ProviderName(p)})
	}
	return options
}

// entry is one field of the provider's own form.
type entry struct{ field, value string }

// setUp says what to do at the provider, in its own words.
type setUp struct {
	where   string
	entries []entry
	after   string
}

// addressValue and secretValue stand for what the page shows elsewhere.
const (
	addressValue = "the address above"
	secretValue  = "the secret"
)

// setUpAt gives the words of a provider.
func setUpAt(p models.Provider) setUp {
	switch p {
	case models.ProviderGitHub:
		return setUp{
			where: "In the repository: Settings, Webhooks, Add webhook.",
			entries: []entry{
				{"Payload URL", addressValue},
				{"Content type", "application/json"},
				{"Secret", secretValue},
				{"SSL verification", "Enable"},
				{"Which events", "Just the push event"},
			},
			after: "GitHub sends a ping at once; it appears below.",
		}
	case models.ProviderGitLab:
		return setUp{
			where: "In the project: Settings, Webhooks, Add new webhook. For versions that have the field Signing token.",
			entries: []entry{
				{"URL", addressValue},
				{"Signing token", secretValue},
				{"Secret token", "leave empty"},
				{"Trigger", "Push events, Tag push events"},
				{"SSL verification", "Enable"},
			},
			after: "Test, Push events shows whether it works.",
		}
	case models.ProviderGitLabToken:
		return setUp{
			where: "In the project: Settings, Webhooks, Add new webhook.",
			entries: []entry{
				{"URL", addressValue},
				{"Secret token", secretValue},
				{"Trigger", "Push events, Tag push events"},
				{"SSL verification", "Enable"},
			},
			after: "The token itself travels with every delivery: who sees one can send others. They could only make Hefring look at the source.",
		}
	case models.ProviderGitea:
		return setUp{
			where: "In the repository: Settings, Webhooks, Add webhook, Gitea or Forgejo.",
			entries: []entry{
				{"Target URL", addressValue},
				{"HTTP method", "POST"},
				{"POST content type", "application/json"},
				{"Secret", secretValue},
				{"Trigger on", "Custom events: Push, Create, Delete"},
			},
			after: "Test delivery shows whether it works. The instance must allow Hefring’s host (webhook ALLOWED_HOST_LIST).",
		}
	default:
		return setUpElsewhere(p)
	}
}

func setUpElsewhere(p models.Provider) setUp {
	switch p {
	case models.ProviderBitbucket:
		return setUp{
			where: "In the repository: Repository settings, Webhooks, Add webhook.",
			entries: []entry{
				{"Title", "Hefring"},
				{"URL", addressValue},
				{"Secret", secretValue},
				{"Status", "Active"},
				{"Triggers", "Repository push"},
			},
			after: "The first push shows whether it works.",
		}
	case models.ProviderBitbucketServer:
		return setUp{
			where: "In the repository: Repository settings, Webhooks, Create webhook.",
			entries: []entry{
				{"Name", "Hefring"},
				{"URL", addressValue},
				{"Secret", secretValue},
				{"Events", "Repository: Push"},
				{"Active", "yes"},
			},
			after: "Test connection is not signed, so it shows only that the address is reached.",
		}
	case models.ProviderStandard:
		return setUp{
			where: "Anything that follows standardwebhooks.com.",
			entries: []entry{
				{"Endpoint", addressValue},
				{"Signing secret", secretValue},
				{"Content-Type", "application/json"},
				{"Headers", "webhook-id, webhook-timestamp, webhook-signature"},
				{"Body", `a JSON object; "ref" may name what moved`},
			},
			after: "A message of the type ping tries the address without a look at the source.",
		}
	default:
		return setUp{
			where: "A script, where a push or a release ends.",
			entries: []entry{
				{"Method", "POST"},
				{"Content-Type", "application/json"},
				{"X-Signature", "sha256= and the HMAC-SHA256 of the body, in hexadecimal digits"},
				{"X-Delivery-Id", "different for each delivery; may be left out"},
				{"Body", `a JSON object; "ref" may name what moved`},
			},
			after: "",
		}
	}
}

// script is an example for a shell.
func (w Webhook) script() string {
	return `body='{"ref": "refs/heads/main"}'
sum=$(printf %s "$body" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d' ' -f1)
curl --fail --data "$body" --header 'Content-Type: application/json' \
  --header "X-Signature: sha256=$sum" --header "X-Delivery-Id: $(date +%s)" \
  ` + w.Address
}

// deliveryStatus shows what became of a delivery.
func deliveryStatus(d models.Delivery) components.Status {
	switch d.Outcome {
	case models.DeliveryAccepted:
		return components.Status{Key: "succeeded", Word: "Accepted"}
	case models.DeliveryPing:
		return components.Status{Key: "done", Word: "Ping"}
	case models.DeliveryIgnored:
		return components.Status{Key: "skipped", Word: "Not needed"}
	case models.DeliveryDuplicate:
		return components.Status{Key: "unchanged", Word: "Duplicate"}
	case models.DeliveryRefused:
		return components.Status{Key: "failed", Word: "Refused"}
	default:
		return components.Status{Key: "queued", Word: string(d.Outcome)}
	}
}

// hookStatus is how a webhook stands.
func hookStatus(at *time.Time) components.Status {
	if at == nil {
		return components.Status{Key: "queued", Word: "Nothing proven yet"}
	}
	return components.Status{Key: "ready", Word: "Works"}
}

func listensTo(h models.Webhook) string {
	if h.Branch == "" {
		return "all branches and tags"
	}
	return h.Branch
}

// webhooks is the link from a distribution's page to its webhooks.
func (d Distribution) webhooks() string {
	if d.Row.Upstream.HookAt == nil {
		return "Add a webhook"
	}
	return "See deliveries"
}
