// Package composer is the update type that follows a package of a Composer
// repository, such as drupal/recommended-project: it creates a project of the
// version that a constraint chooses, with exactly the dependencies that the check
// found. Composer itself runs in a sandbox.
package composer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/repository"
	"hefring/plugins/composer/version"
)

// Plugin is the composer update type. Zero values mean the defaults.
type Plugin struct {
	// Renew is the time after which dependencies are worked out anew although
	// nothing that was asked has changed: not everything can be asked. A day.
	Renew time.Duration
}

// New gives the composer update type.
func New() Plugin { return Plugin{} }

const packagist = "https://repo.packagist.org"

// Info describes the type.
func (Plugin) Info() plugins.Info {
	return plugins.Info{
		ID:      "composer",
		Name:    "Composer package",
		Summary: "Every new version of a project template, and of what it requires, becomes a platform.",
		Icon:    "package",
	}
}

// Names of the settings.
const (
	fieldPackage      = "package"
	fieldConstraint   = "constraint"
	fieldStability    = "stability"
	fieldRepository   = "repository"
	fieldRepositories = "repositories"
	fieldOnly         = "only"
	fieldUser         = "user"
	fieldToken        = "token"
	fieldDocroot      = "docroot"
)

// anyStability is the choice that leaves the stability to the constraint.
const anyStability = "constraint"

// Fields are the settings of the type.
func (Plugin) Fields() []plugins.Field {
	return []plugins.Field{
		{
			Name: fieldPackage, Label: "Package", Kind: plugins.FieldText, Required: true,
			Placeholder: "drupal/recommended-project",
			Help:        "A package that “composer create-project” can be used with.",
		},
		{
			Name: fieldConstraint, Aside: true, Label: "Version", Kind: plugins.FieldText, Placeholder: "^11",
			Help: "Which versions to follow, as Composer writes it: ^11.2, ~10.5.0, 11.1.3, ^3@beta. Empty: the newest one.",
		},
		{
			Name: fieldStability, Aside: true, Label: "Stability", Kind: plugins.FieldChoice, Default: anyStability,
			Options: []plugins.Option{
				{Value: anyStability, Label: "As the version says, else stable"},
				{Value: "stable", Label: "Stable only"},
				{Value: "RC", Label: "Release candidates too"},
				{Value: "beta", Label: "Betas too"},
				{Value: "alpha", Label: "Alphas too"},
				{Value: "dev", Label: "Development branches too"},
			},
			Help: "How unfinished a version may be.",
		},
		{
			Name: fieldRepository, Label: "Repository", Kind: plugins.FieldURL, Wide: true,
			Default: packagist, Placeholder: packagist,
			Help: "The Composer repository that has the package.",
		},
		{
			Name: fieldRepositories, Label: "More repositories", Kind: plugins.FieldLines, Wide: true,
			Placeholder: "https://packages.drupal.org/8",
			Help:        "Composer repositories for its dependencies, one address a line. Those that the package names itself are used in any case, and before these.",
		},
		{
			Name: fieldOnly, Label: "Leave out packagist.org", Kind: plugins.FieldBool,
			Help: "Take dependencies only from the repositories above and from those that the package names.",
		},
		{
			Name: fieldUser, Aside: true, Label: "User", Kind: plugins.FieldText,
			Help: "For a private repository. Leave it empty where a token alone is used (bearer).",
		},
		{
			Name: fieldToken, Label: "Password or token", Kind: plugins.FieldSecret,
			Help: "Sent to the host of the repository only, and never to code of a package.",
		},
		{
			Name: fieldDocroot, Label: "Docroot", Kind: plugins.FieldPath, Placeholder: "web",
			Help: "Folder of index.php, relative to the project. Leave it empty to have it found.",
		},
	}
}

// Open checks the settings.
func (p Plugin) Open(settings models.Settings) (plugins.Source, error) {
	values := plugins.Decode(p.Fields(), settings)
	s := source{
		name:       values.Text(fieldPackage),
		constraint: values.Text(fieldConstraint),
		only:       values.Bool(fieldOnly),
		user:       values.Text(fieldUser),
		token:      values.Text(fieldToken),
		renew:      cmp.Or(p.Renew, 24*time.Hour),
	}
	values.Text(fieldDocroot) // the caller inspects what was built with it
	if s.name != "" && !repository.ValidName(s.name) {
		values.Refuse(fieldPackage, "Write it as vendor/name in small letters, such as drupal/recommended-project.")
	}
	if _, err := version.ParseConstraint(s.constraint); s.constraint != "" && err != nil {
		values.Refuse(fieldConstraint, "Composer does not know this way to write versions. Use one such as ^11.2, ~10.5.0 or 11.1.3.")
	}
	if chosen := values.Text(fieldStability); chosen != anyStability {
		s.stability = chosen
	}
	if s.token == "" && s.user != "" {
		values.Refuse(fieldToken, "Give the password of the user, or leave the user empty.")
	}
	s.readAddresses(values)
	if s.only && s.repository == packagist {
		values.Refuse(fieldOnly, "The repository itself is packagist.org. Name another one, or do not leave it out.")
	}
	if err := values.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

const maxRepositories = 20

func (s *source) readAddresses(values *plugins.Values) {
	if text := values.Text(fieldRepository); text != "" {
		u, err := checkURL(text)
		if err != nil {
			values.Refuse(fieldRepository, models.Explain(err))
			return
		}
		s.repository, s.home = address(u), u
	}
	for line := range strings.Lines(values.Text(fieldRepositories)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		u, err := checkURL(line)
		if err != nil {
			values.Refuse(fieldRepositories, fmt.Sprintf("%.80s: %s", line, models.Explain(err)))
			return
		}
		s.more = append(s.more, address(u))
	}
	if len(s.more) > maxRepositories {
		values.Refuse(fieldRepositories, fmt.Sprintf("Use at most %d repositories.", maxRepositories))
	}
}

// checkURL looks at the form of an address only. Which hosts may be reached is
// decided when the source is used.
func checkURL(raw string) (*url.URL, error) {
	shape := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	u, err := shape.CheckURL(raw, "https", "http")
	switch {
	case err != nil:
		return nil, err
	case u.User != nil:
		return nil, models.Errorf(models.Invalid, "Leave the part before the @ out of the address. The user has a field of its own.")
	case u.RawQuery != "":
		return nil, models.Errorf(models.Invalid, "The address has a part after ?. Leave that out.")
	}
	return u, nil
}

// address is the one form of an address.
func address(u *url.URL) string {
	v := *u
	v.Host = strings.ToLower(v.Host)
	return strings.TrimRight(v.String(), "/")
}

// source is one package of one repository.
type source struct {
	name       string
	constraint string // "" for every version
	stability  string // "" for what the constraint says
	repository string
	home       *url.URL // repository
	more       []string // further repositories, for dependencies
	only       bool     // without packagist.org
	user       string
	token      string
	renew      time.Duration
}

var _ plugins.Assessor = source{}

// Upstream names the repository.
func (s source) Upstream() plugins.Upstream {
	key := repository.FileURL(s.repository)
	if s.token != "" {
		key += "#" + s.credential()
	}
	return plugins.Upstream{Key: key, Host: strings.ToLower(s.home.Hostname())}
}

// credential is a digest of user and token.
func (s source) credential() string {
	if s.token == "" {
		return ""
	}
	return digest("credential", s.user, s.token)[:16]
}

// key names what the answers to this source's questions depend on.
func (s source) key() string {
	return digest(append([]string{
		s.name, s.constraint, s.stability, s.repository, strconv.FormatBool(s.only), s.credential(),
	}, s.more...)...)[:32]
}

func digest(texts ...string) string {
	sum := sha256.New()
	for _, text := range texts {
		_, _ = fmt.Fprintf(sum, "%d:%s,", len(text), text)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// origin is the host of the repository, with its port where it is not the usual
// one: where the credential belongs.
func (s source) origin() string { return strings.ToLower(s.home.Host) }

// auth is the credential as Composer takes it from COMPOSER_AUTH.
func (s source) auth() string {
	if s.token == "" {
		return ""
	}
	type basic struct {
		User     string `json:"username"`
		Password string `json:"password"`
	}
	var value any = map[string]any{"bearer": map[string]string{s.origin(): s.token}}
	if s.user != "" {
		value = map[string]any{"http-basic": map[string]basic{s.origin(): {s.user, s.token}}}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "" // texts always marshal
	}
	return string(text)
}

// config is the config.json of Composer's home: the repositories that are used
// beside those of the package itself. suffix names the classes of the autoloader,
// which else get a random name with each build.
func (s source) config(suffix string) (string, error) {
	var list []any
	for _, at := range s.repositories() {
		list = append(list, map[string]string{"type": "composer", "url": at})
	}
	if s.only {
		list = append(list, map[string]bool{"packagist.org": false})
	}
	set := map[string]any{"secure-http": len(s.plainHosts()) == 0}
	if suffix != "" {
		set["autoloader-suffix"] = suffix
	}
	config := map[string]any{"config": set}
	if list != nil {
		config["repositories"] = list
	}
	text, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("configure composer: %w", err)
	}
	return string(text), nil
}

// repositories lists those of the settings, in the order in which they are asked;
// packagist.org, which Composer adds itself, is left out.
func (s source) repositories() []string {
	var list []string
	for _, at := range append([]string{s.repository}, s.more...) {
		if at != packagist {
			list = append(list, at)
		}
	}
	return list
}

// plainHosts are the hosts whose addresses a person wrote with http: nothing is
// taken from others without encryption.
func (s source) plainHosts() map[string]bool {
	hosts := map[string]bool{}
	for _, at := range s.repositories() {
		if u, err := url.Parse(at); err == nil && u.Scheme == "http" {
			hosts[strings.ToLower(u.Hostname())] = true
		}
	}
	return hosts
}
