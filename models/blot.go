package models

import (
	"regexp"
	"strings"
)

// Where addresses carry secrets: before the host, and in a query under such names.
var (
	urlPassword = regexp.MustCompile(`(://[^/@:\s"]*:)[^/@\s"]+@`)
	urlSecret   = regexp.MustCompile(`(?i)([?&][^=&#\s"]*(?:token|secret|passw|key|sig|auth)[^=&#\s"]*=)[^&#\s"]+`)
	urlBlot     = regexp.MustCompile(`[?&][^=&#\s"]*=…|://[^/@:\s"]*:…@`)
)

// Blot takes the secrets out of the addresses in a text: what is shown, logged or sent
// must not hand them on.
func Blot(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return urlSecret.ReplaceAllString(urlPassword.ReplaceAllString(text, "${1}…@"), "${1}…")
}

// Blotted tells whether a text holds what Blot left of a secret.
func Blotted(text string) bool { return urlBlot.MatchString(text) }

// Blotted gives settings as they are shown.
func (s Settings) Blotted() Settings {
	if s == nil {
		return nil
	}
	shown := make(Settings, len(s))
	for name, value := range s {
		shown[name] = Blot(value)
	}
	return shown
}
