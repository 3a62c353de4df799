// Package git is the update type that follows a branch of a git repository. It
// uses the real git, in a sandbox that reaches one host through the guarded
// proxy.
package git

import (
	"cmp"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

// Plugin is the git update type. Zero values mean the defaults.
type Plugin struct {
	Limits tree.Options  // what a build takes from a repository
	Answer time.Duration // a server's time to answer one question; a minute
}

// New gives the git update type.
func New() Plugin { return Plugin{} }

// Info describes the type.
func (Plugin) Info() plugins.Info {
	return plugins.Info{
		ID:      "git",
		Name:    "Git repository",
		Summary: "Every new commit on a branch becomes a platform.",
		Icon:    "git-branch",
	}
}

// Names of the settings.
const (
	fieldURL          = "url"
	fieldBranch       = "branch"
	fieldSubdirectory = "subdirectory"
	fieldDocroot      = "docroot"
	fieldComposer     = "composer"
)

// Fields are the settings of the type.
func (Plugin) Fields() []plugins.Field {
	return []plugins.Field{
		{
			Name: fieldURL, Label: "Repository URL", Kind: plugins.FieldURL, Required: true, Wide: true,
			Placeholder: "https://git.example.org/team/website.git",
			Help:        "An https or http address that can be read without a password.",
		},
		{
			Name: fieldBranch, Label: "Branch", Kind: plugins.FieldText, Placeholder: "main",
			Help: "Leave it empty for the repository's own default branch.",
		},
		{
			Name: fieldSubdirectory, Label: "Sub-directory", Kind: plugins.FieldPath, Placeholder: "drupal",
			Help: "Folder of the repository that holds the code base. Commits that do not touch it build nothing.",
		},
		{
			Name: fieldDocroot, Label: "Docroot", Kind: plugins.FieldPath, Placeholder: "web",
			Help: "Folder of index.php, relative to the code base. Leave it empty to have it found.",
		},
		{
			Name: fieldComposer, Label: "Run composer install", Kind: plugins.FieldBool,
			Help: "For repositories that hold composer.json without the vendor folder.",
		},
	}
}

// Open checks the settings.
func (p Plugin) Open(settings models.Settings) (plugins.Source, error) {
	values := plugins.Decode(p.Fields(), settings)
	s := source{
		url:          values.Text(fieldURL),
		branch:       values.Text(fieldBranch),
		subdirectory: values.Text(fieldSubdirectory),
		composer:     values.Bool(fieldComposer),
		limits:       p.Limits,
		answer:       cmp.Or(p.Answer, time.Minute),
	}
	values.Text(fieldDocroot) // the caller inspects what was built with it
	if s.url != "" {
		host, err := checkURL(s.url)
		if err != nil {
			values.Refuse(fieldURL, models.Explain(err))
		}
		s.host = host
	}
	if s.branch != "" && !validBranch(s.branch) {
		values.Refuse(fieldBranch, "This cannot be the name of a branch. Write it as git shows it, such as main or release/10.")
	}
	if err := values.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkURL looks at the form of an address only. Which hosts may be reached is
// decided when the source is used.
func checkURL(raw string) (host string, err error) {
	shape := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	u, err := shape.CheckGitURL(raw)
	switch {
	case err != nil:
		return "", err
	case u.Scheme == "ssh":
		return "", models.Errorf(models.Invalid, "SSH addresses need a key, and Hefring keeps no keys yet. Use the https address of the repository.")
	case u.RawQuery != "":
		return "", models.Errorf(models.Invalid, "The address has a part after ?. Leave that out.")
	}
	return u.Hostname(), nil
}

var branchCharacters = regexp.MustCompile(`^[^\x00-\x20\x7f~^:?*\[\\]+$`)

// validBranch follows git check-ref-format.
func validBranch(name string) bool {
	if len(name) > 250 || !branchCharacters.MatchString(name) || name == "@" ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasPrefix(part, "-") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}
