// Package layouts holds the frame around every page.
package layouts

import (
	"slices"

	"hefring/templates/components"
)

// Page is what the frame shows.
type Page struct {
	Title     string // of the window
	Section   string // of the main navigation: decisions distributions platforms sites tasks settings, or a key of Settings
	User      string // "" when nobody is signed in
	CSRF      string
	Theme     string // light, dark, or "" to follow the system
	Here      string // path and query of this page, to come back to
	Query     string // what the search box holds
	Decisions int    // how many wait; -1 when it was not asked
	Version   string // of Hefring, may be ""
	Notice    *components.Notice
	// Allows tells whether the person may ask for an address; nil: for all.
	Allows func(url string) bool
	// SeesURL tells the same of reading it alone.
	SeesURL func(url string) bool
}

// May tells whether a button or link to an address belongs on the page.
func (p Page) May(url string) bool { return p.Allows == nil || p.Allows(url) }

// Sees tells whether a section of the navigation belongs to the person. Sections
// are seen by GET, whatever it takes to post there.
func (p Page) Sees(url string) bool { return p.SeesURL == nil || p.SeesURL(url) }

// Form gives the tokens of a form that may be posted twice without harm.
func (p Page) Form() components.Form {
	return components.Form{CSRF: p.CSRF, Allows: p.Allows, SeesURL: p.SeesURL}
}

// OnceForm gives the tokens of a form that makes something.
func (p Page) OnceForm(once string) components.Form {
	return components.Form{CSRF: p.CSRF, Once: once, Allows: p.Allows, SeesURL: p.SeesURL}
}

// section is one entry of the main navigation.
type section struct{ key, label, url string }

func sections() []section {
	return []section{
		{"decisions", "Decisions", "/"},
		{"distributions", "Distributions", "/distributions"},
		{"platforms", "Platforms", "/platforms"},
		{"sites", "Sites", "/sites"},
		{"tasks", "Tasks", "/tasks"},
		{"settings", "Settings", "/settings"},
	}
}

// Setting is one page of those that are gathered at Settings.
type Setting struct{ Key, Label, URL, Icon, Text string }

// Settings lists the pages that a fleet is set up on.
func Settings() []Setting {
	return []Setting{
		{"queues", "Queues", "/queues", "clock", "How often sources are checked, and how gently each host is asked."},
		{"servers", "Servers", "/servers", "server", "Web hosts that serve sites beside this one."},
		{"databases", "Database servers", "/databases", "database", "Where sites keep their content."},
		{"clients", "Clients", "/clients", "briefcase", "For whom sites are kept. Their users see their sites and nothing else."},
		{"users", "Users", "/users", "user", "Who may sign in, and what each may do."},
		{"notices", "Notices", "/notices", "bell", "Who is told when something needs a decision, by mail, chat or webhook."},
		{"audit", "Record of changes", "/audit", "file-text", "Who changed what, from where, and what it was before."},
	}
}

// current tells whether a section of the navigation is the page's.
func (p Page) current(s section) bool {
	if s.key != "settings" {
		return s.key == p.Section
	}
	return slices.ContainsFunc(Settings(), func(one Setting) bool { return one.Key == p.Section }) || p.Section == s.key
}

// htmxConfig forbids what the content security policy forbids, keeps no pages in
// the browser's storage, and lets forms that were refused be shown.
const htmxConfig = `{"allowEval":false,"includeIndicatorStyles":false,"selfRequestsOnly":true,"historyCacheSize":0,` +
	`"responseHandling":[{"code":"204","swap":false},{"code":"[23]..","swap":true},{"code":"422","swap":true},` +
	`{"code":"[45]..","swap":false,"error":true}]}`

// Crumb is one step of the way to a page; the last one has no address.
type Crumb struct{ Label, URL string }
