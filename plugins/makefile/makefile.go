// Package makefile is the update type that follows a Drush makefile: INI or YAML,
// at an address or in a git repository, with everything that it includes. spec
// reads makefiles, build makes trees of them.
package makefile

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
	"hefring/plugins/git"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

// Plugin is the makefile update type.
type Plugin struct {
	Options build.Options // limits of builds; what the settings say is added

	git git.Plugin
}

// New gives the makefile update type.
func New() Plugin { return Plugin{git: git.New()} }

// Info describes the type.
func (Plugin) Info() plugins.Info {
	return plugins.Info{
		ID:      "makefile",
		Name:    "Drush makefile",
		Summary: "Builds what a makefile lists, and builds again when the makefile or an unpinned project changes.",
		Icon:    "file-text",
	}
}

// Names of the settings.
const (
	fieldFrom         = "from"
	fieldURL          = "url"
	fieldRepository   = "repository"
	fieldRef          = "ref"
	fieldPath         = "path"
	fieldAuth         = "auth"
	fieldUser         = "user"
	fieldToken        = "token"
	fieldKey          = "ssh_key"
	fieldKnownHosts   = "known_hosts"
	fieldContribDest  = "contrib_destination"
	fieldNoCore       = "no_core"
	fieldNoPatchTxt   = "no_patch_txt"
	fieldNoGitInfo    = "no_gitinfofile"
	fieldNoRecursion  = "no_recursion"
	fieldWorkingCopy  = "working_copy"
	fieldPrepare      = "prepare_install"
	fieldTranslations = "translations"
	fieldLocation     = "location"
	fieldGitBase      = "git_base"
	fieldDocroot      = "docroot"
)

const (
	fromURL = "url"
	fromGit = "git"

	authNone  = "none"
	authToken = "token"
	authKey   = "key"
)

func when(field string, values ...string) *plugins.When {
	return &plugins.When{Field: field, Values: values}
}

// Fields are the settings of the type.
func (Plugin) Fields() []plugins.Field {
	return append(placeFields(), buildFields()...)
}

func placeFields() []plugins.Field {
	return []plugins.Field{
		{
			Name: fieldFrom, Label: "Makefile from", Kind: plugins.FieldChoice, Default: fromURL,
			Options: []plugins.Option{{Value: fromURL, Label: "An address"}, {Value: fromGit, Label: "A git repository"}},
		},
		{
			Name: fieldURL, Label: "Makefile URL", Kind: plugins.FieldText, Required: true, Wide: true, When: when(fieldFrom, fromURL),
			Placeholder: "https://example.org/site.make",
			Help:        "An https address of the file itself. Includes and patches with relative paths are looked for beside it.",
		},
		{
			Name: fieldRepository, Label: "Repository URL", Kind: plugins.FieldURL, Required: true, Wide: true, When: when(fieldFrom, fromGit),
			Placeholder: "https://git.example.org/team/makefiles.git",
		},
		{
			Name: fieldRef, Aside: true, Label: "Branch", Kind: plugins.FieldText, Placeholder: "main", When: when(fieldFrom, fromGit),
			Help: "Leave it empty for the repository's own default branch.",
		},
		{
			Name: fieldPath, Label: "Path", Kind: plugins.FieldPath, Required: true, Placeholder: "site.make", When: when(fieldFrom, fromGit),
			Help: "The makefile inside of the repository.",
		},
		{
			Name: fieldAuth, Aside: true, Label: "Credentials", Kind: plugins.FieldChoice, Default: authNone,
			Options: []plugins.Option{{Value: authNone, Label: "None"}, {Value: authToken, Label: "User and token"}, {Value: authKey, Label: "SSH key"}},
			Help:    "For makefiles that not everybody may read. What the makefile names is asked without them, except files beside it.",
		},
		{Name: fieldUser, Aside: true, Label: "User", Kind: plugins.FieldText, When: when(fieldAuth, authToken)},
		{Name: fieldToken, Label: "Token", Kind: plugins.FieldSecret, Required: true, When: when(fieldAuth, authToken)},
		{
			Name: fieldKey, Label: "Private SSH key", Kind: plugins.FieldSecretLines, Required: true, Wide: true, When: when(fieldAuth, authKey),
			Help: "A key without passphrase that may read the repository and nothing else.",
		},
		{
			Name: fieldKnownHosts, Aside: true, Label: "Known host keys", Kind: plugins.FieldLines, Required: true, Wide: true, When: when(fieldAuth, authKey),
			Help: "Lines as ssh-keyscan prints them.",
		},
	}
}

func buildFields() []plugins.Field {
	return []plugins.Field{
		{
			Name: fieldContribDest, Label: "Contrib destination", Kind: plugins.FieldText, Placeholder: "sites/all",
			Help: "Folder for modules, themes and libraries. Leave it empty for Drush's own: sites/all up to Drupal 7, and the top after it, which is also “.”.",
		},
		{
			Name: fieldTranslations, Label: "Translations", Kind: plugins.FieldText, Placeholder: "de, pt-br",
			Help: "Languages to add to those that the makefile names.",
		},
		{Name: fieldNoCore, Label: "Build without Drupal core", Kind: plugins.FieldBool, Help: "The result is no whole site."},
		{Name: fieldNoRecursion, Label: "Ignore makefiles inside of projects", Kind: plugins.FieldBool},
		{Name: fieldNoPatchTxt, Label: "Write no PATCHES.txt", Kind: plugins.FieldBool},
		{
			Name: fieldNoGitInfo, Label: "Leave .info files as they are", Kind: plugins.FieldBool,
			Help: "Otherwise versions are written into those of projects that come from drupal.org's git repositories.",
		},
		{Name: fieldWorkingCopy, Label: "Keep .git folders", Kind: plugins.FieldBool},
		{Name: fieldPrepare, Label: "Prepare for installation", Kind: plugins.FieldBool, Help: "Makes settings.php and the files folder of the default site."},
		{
			Name: fieldLocation, Label: "Release history", Kind: plugins.FieldURL, Placeholder: drupalorg.DefaultBase, Wide: true,
			Help: "Where the releases of projects without a download are listed.",
		},
		{
			Name: fieldGitBase, Label: "Repositories", Kind: plugins.FieldURL, Placeholder: strings.TrimSuffix(spec.DefaultRepository, "/"), Wide: true,
			Help: "Where the repositories of git projects without an address are.",
		},
		{
			Name: fieldDocroot, Label: "Docroot", Kind: plugins.FieldPath, Placeholder: "web",
			Help: "Folder of index.php, relative to the build. Leave it empty to have it found.",
		},
	}
}

// Open checks the settings.
func (p Plugin) Open(settings models.Settings) (plugins.Source, error) {
	values := plugins.Decode(p.Fields(), settings)
	s := source{
		plugin:   p,
		login:    login{kind: values.Text(fieldAuth), user: values.Text(fieldUser), token: values.Text(fieldToken)},
		options:  p.options(values),
		location: values.Text(fieldLocation),
	}
	s.options.Location = s.location
	s.options.GitBase = strings.TrimRight(values.Text(fieldGitBase), "/")
	values.Text(fieldDocroot) // the caller inspects what was built with it
	if values.Text(fieldFrom) == fromGit {
		s.openGit(values)
	} else {
		s.openURL(values)
	}
	s.checkBases(values)
	if err := values.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (p Plugin) options(values *plugins.Values) build.Options {
	o := p.Options
	o.NoCore = values.Bool(fieldNoCore)
	o.NoPatchTxt = values.Bool(fieldNoPatchTxt)
	o.NoGitInfoFile = values.Bool(fieldNoGitInfo)
	o.NoRecursion = values.Bool(fieldNoRecursion)
	o.WorkingCopy = values.Bool(fieldWorkingCopy)
	o.PrepareInstall = values.Bool(fieldPrepare)
	if text := values.Text(fieldContribDest); text != "" {
		clean, message := spec.CleanPath(text)
		if message != "" {
			values.Refuse(fieldContribDest, "This cannot be used: "+message+".")
		}
		o.ContribDest, o.ContribDestGiven = clean, true
	}
	languages, message := spec.Languages(values.Text(fieldTranslations))
	if message != "" {
		values.Refuse(fieldTranslations, message)
	}
	o.Translations = languages
	return o
}

// shape looks at the form of addresses only. Which hosts may be reached is
// decided when a source is used.
func shape(raw string) (*url.URL, error) {
	all := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	return all.CheckURL(raw, "https", "http")
}

// checkBases looks at the addresses below which releases and repositories are. Of
// a makefile on this machine the repositories may be there as well.
func (s *source) checkBases(values *plugins.Values) {
	if text := values.Text(fieldLocation); text != "" {
		checkBase(values, fieldLocation, text)
	}
	text := values.Text(fieldGitBase)
	switch {
	case text == "":
	case s.local != "" && build.OnThisMachine(text):
		if _, err := build.LocalPath(text); err != nil {
			values.Refuse(fieldGitBase, models.Explain(err))
		}
	default:
		checkBase(values, fieldGitBase, text)
	}
}

func checkBase(values *plugins.Values, field, text string) {
	u, err := shape(text)
	switch {
	case err != nil:
		values.Refuse(field, models.Explain(err))
	case u.RawQuery != "" || u.User != nil:
		values.Refuse(field, "Leave out the part after ? and the part before @.")
	}
}

func (s *source) openURL(values *plugins.Values) {
	text := values.Text(fieldURL)
	if text == "" {
		return
	}
	if s.login.kind == authKey {
		values.Refuse(fieldAuth, "SSH keys are for git repositories. Choose a user and token, or none.")
	}
	if path, local := strings.CutPrefix(text, "file://"); local || filepath.IsAbs(text) {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			values.Refuse(fieldURL, "Give the absolute path of a makefile without “..”, doubled or trailing slashes.")
		}
		s.local = path
		return
	}
	u, err := shape(text)
	if err != nil {
		values.Refuse(fieldURL, models.Explain(err))
		return
	}
	switch {
	case u.User != nil:
		values.Refuse(fieldURL, "Leave out the user before @ and choose credentials below.")
	case s.login.kind == authToken && u.Scheme == "http" && !loopback(u.Hostname()):
		values.Refuse(fieldURL, "Over http everybody on the way could read the token. Use the https address of the makefile.")
	case strings.HasSuffix(u.Path, "/") || u.Path == "":
		values.Refuse(fieldURL, "This is the address of a folder. Give that of the makefile itself, such as https://example.org/site.make.")
	}
	s.url = u
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// openGit has the git update type look at the settings that it knows.
func (s *source) openGit(values *plugins.Values) {
	s.path = values.Text(fieldPath)
	if s.path == "" && values.Text(fieldRepository) != "" {
		values.Refuse(fieldPath, "Give the path of the makefile inside of the repository, such as site.make.")
	}
	settings := models.Settings{"url": values.Text(fieldRepository), "ref_kind": "default", "auth": s.login.kind}
	if ref := values.Text(fieldRef); ref != "" {
		settings["ref_kind"], settings["branch"] = "branch", ref
	}
	for _, name := range []string{fieldUser, fieldToken, fieldKey, fieldKnownHosts} {
		if value := values.Text(name); value != "" {
			settings[name] = value
		}
	}
	repository, err := s.plugin.git.Open(settings)
	for name, message := range fieldsOf(err) {
		values.Refuse(ownName(name), message)
	}
	s.repository = repository
}

// ownName is what a field of the git update type is called here.
func ownName(field string) string {
	switch field {
	case "url":
		return fieldRepository
	case "branch", "ref_kind":
		return fieldRef
	case fieldAuth, fieldUser, fieldToken, fieldKey, fieldKnownHosts:
		return field
	}
	return fieldRepository
}
