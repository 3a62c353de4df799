package pages

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// LoginCode asks for a second factor.
type LoginCode struct {
	layouts.Page
	Error string
}

// Continue is a page between Hefring and a provider.
type Continue struct {
	layouts.Page
	Provider, Address string
}

// Account is one's own account.
type Account struct {
	layouts.Page
	User        models.User
	HasPassword bool
	Factor      fleet.SecondFactorState
	Sessions    []models.SignIn
	Own         string // token of the session that asks
	Identities  []models.Identity
	Provider    string // whom one can be linked with; "" is nobody
	Tokens      []models.Token
	NewToken    string // shown this once

	Part        string // the form that was refused: password recovery remove token
	Error       string
	Errors      map[string]string
	TokenName   string
	TokenLife   string // days
	TokenRole   string
	TokenClient string          // number
	Clients     []models.Client // that a token can be bound to
}

// wrong is what is wrong with a field of a form.
func (v Account) wrong(form, field string) string {
	if v.Part != form {
		return ""
	}
	return v.Errors[field]
}

// over is the sentence over a form.
func (v Account) over(form string) string {
	if v.Part != form {
		return ""
	}
	return v.Error
}

func (v Account) field(form string, f components.Field) components.Field {
	if f.ID == "" {
		f.ID = form + "-" + f.Name
	}
	f.Error = v.wrong(form, f.Name)
	f.Focus = f.Error != "" && v.first() == f.Name
	return f
}

func (v Account) first() string {
	for _, name := range []string{"present", "password", "again", "code", "proof", "name", "life", "role", "client"} {
		if v.Errors[name] != "" {
			return name
		}
	}
	return ""
}

func (v Account) passwordFields() []components.Field {
	var fields []components.Field
	if v.HasPassword {
		fields = append(fields, components.Field{Name: "present", Label: "Present password", Kind: "password", Auto: "current-password", Width: "w12"})
	}
	return append(fields,
		components.Field{Name: "password", Label: "New password", Kind: "password", Auto: "new-password", Width: "w12", Help: "12 to 200 characters, such as four words that do not belong together. Passwords that others use much are refused."},
		components.Field{Name: "again", Label: "New password once more", Kind: "password", Auto: "new-password", Width: "w12"})
}

func (v Account) tokenFields() []components.Field {
	life := v.TokenLife
	if life == "" {
		life = "90"
	}
	fields := []components.Field{
		{Name: "name", Label: "What it is for", Value: v.TokenName, Placeholder: "Deployment"},
		{Name: "life", Label: "How long it is good", Kind: "choice", Value: life, Options: []plugins.Option{
			{Value: "1", Label: "A day"}, {Value: "7", Label: "A week"}, {Value: "30", Label: "30 days"}, {Value: "90", Label: "90 days"}, {Value: "365", Label: "A year"},
		}},
		{Name: "role", Label: "What programs may do with it", Kind: "choice", Value: v.TokenRole, Options: v.tokenRoles()},
	}
	if len(v.Clients) == 0 {
		return fields
	}
	clients := []plugins.Option{{Value: "0", Label: "every site"}}
	for _, c := range v.Clients {
		clients = append(clients, plugins.Option{Value: strconv.FormatInt(c.ID, 10), Label: "sites of " + c.Name})
	}
	return append(fields, components.Field{Name: "client", Label: "What they see", Kind: "choice", Value: cmp.Or(v.TokenClient, "0"), Options: clients})
}

// tokenRoles are the roles that a token can be narrowed to.
func (v Account) tokenRoles() []plugins.Option {
	roles := []plugins.Option{{Value: "", Label: "what I may"}}
	for _, r := range models.Roles() {
		if v.User.Role.AtLeast(r) {
			roles = append(roles, plugins.Option{Value: string(r), Label: "at most what a role may: " + RoleText(r)})
		}
	}
	return roles
}

// tokenMay says what a token is narrowed to.
func tokenMay(t models.Token) string {
	may := "what you may"
	if t.Role != "" {
		may = RoleText(t.Role)
	}
	if t.Client != "" {
		may += ", sites of " + t.Client
	}
	return may
}

// others tells whether the person is signed in elsewhere too.
func (v Account) others() bool { return len(v.Sessions) > 1 }

// codesLeft says how many recovery codes are left.
func (v Account) codesLeft() string {
	switch v.Factor.Codes {
	case 0:
		return "No recovery code is left: make new ones."
	case 1:
		return "One recovery code is left: make new ones soon."
	}
	return fmt.Sprintf("%d recovery codes are left.", v.Factor.Codes)
}

// SecondFactor is the page on which one is set up.
type SecondFactor struct {
	layouts.Page
	State fleet.SecondFactorState
	Error string
}

// secret is the secret in groups of four, to be typed.
func (v SecondFactor) secret() string {
	var groups []string
	for text := v.State.Secret; text != ""; {
		n := min(4, len(text))
		groups = append(groups, text[:n])
		text = text[n:]
	}
	return strings.Join(groups, " ")
}

// RecoveryCodes are shown once.
type RecoveryCodes struct {
	layouts.Page
	Codes []string
}

// hostName is the host of an address, or the address where it is none.
func hostName(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return address
}

// Browser says in few words what a browser says of itself in many. It is for people
// who know their own, and proves nothing.
func Browser(agent string) string {
	name := named(agent, [][2]string{
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chromium/", "Chromium"}, {"HeadlessChrome/", "Chrome without a window"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	})
	system := named(agent, [][2]string{
		{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	})
	switch {
	case name == "" && agent == "":
		return "A browser that does not say what it is"
	case name == "":
		return clip(agent)
	case system == "":
		return name
	}
	return name + " on " + system
}

func named(agent string, marks [][2]string) string {
	for _, mark := range marks {
		if strings.Contains(agent, mark[0]) {
			return mark[1]
		}
	}
	return ""
}

func clip(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return text
}
