// Package git is the update type that follows a reference of a git repository.
// It uses the real git, in a sandbox that reaches one host through the guarded
// proxy, and asks servers for their refs itself where they speak its protocol.
package git

import (
	"cmp"
	"net/http"
	"time"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git/lsrefs"
)

// Plugin is the git update type. Zero values mean the defaults.
type Plugin struct {
	Limits tree.Options  // what a build takes from a repository
	Answer time.Duration // a server's time to answer one question; a minute

	native *lsrefs.Client // remembers what servers can do
}

// New gives the git update type.
func New() Plugin {
	// Each call sends through the guard that it is given.
	return Plugin{native: lsrefs.New(&http.Client{Timeout: time.Minute}, lsrefs.Limits{})}
}

// Info describes the type.
func (Plugin) Info() plugins.Info {
	return plugins.Info{
		ID:      "git",
		Name:    "Git repository",
		Summary: "Every new commit on a branch, or every new tag, becomes a platform.",
		Icon:    "git-branch",
	}
}

// Names of the settings.
const (
	fieldURL          = "url"
	fieldAuth         = "auth"
	fieldUser         = "user"
	fieldToken        = "token"
	fieldKey          = "ssh_key"
	fieldKnownHosts   = "known_hosts"
	fieldKind         = "ref_kind"
	fieldBranch       = "branch"
	fieldTag          = "tag"
	fieldPattern      = "tag_pattern"
	fieldRange        = "version_range"
	fieldPrefix       = "tag_prefix"
	fieldPreReleases  = "prereleases"
	fieldRef          = "ref"
	fieldCommit       = "commit"
	fieldRewrite      = "on_rewrite"
	fieldSubdirectory = "subdirectory"
	fieldDocroot      = "docroot"
	fieldComposer     = "composer"
	fieldSubmodules   = "submodules"
	fieldVerify       = "verify"
	fieldTrusted      = "trusted_keys"
)

const (
	rewriteBuild = "build"
	rewriteHold  = "hold"
)

func when(field string, values ...string) *plugins.When {
	return &plugins.When{Field: field, Values: values}
}

// Fields are the settings of the type.
func (Plugin) Fields() []plugins.Field {
	fields := []plugins.Field{{
		Name: fieldURL, Aside: true, Label: "Repository URL", Kind: plugins.FieldURL, Required: true, Wide: true,
		Placeholder: "https://git.example.org/team/website.git",
		Help:        "An https address, or an SSH address such as git@git.example.org:team/website.git.",
	}}
	fields = append(fields, credentialFields()...)
	fields = append(fields, referenceFields()...)
	fields = append(fields, contentFields()...)
	return append(fields, verificationFields()...)
}

func credentialFields() []plugins.Field {
	return []plugins.Field{
		{
			Name: fieldAuth, Aside: true, Label: "Credentials", Kind: plugins.FieldChoice, Default: authNone,
			Options: []plugins.Option{{Value: authNone, Label: "None"}, {Value: authToken, Label: "User and token"}, {Value: authKey, Label: "SSH key"}},
			Help:    "For repositories that not everybody may read.",
		},
		{
			Name: fieldUser, Aside: true, Label: "User", Kind: plugins.FieldText, When: when(fieldAuth, authToken), Placeholder: defaultUser,
			Help: "Leave it empty for an access token of GitHub, GitLab or Gitea.",
		},
		{
			Name: fieldToken, Label: "Token", Kind: plugins.FieldSecret, Required: true, When: when(fieldAuth, authToken),
			Help: "An access token that may read the repository and nothing else. It is sent to the repository's host only.",
		},
		{
			Name: fieldKey, Label: "Private SSH key", Kind: plugins.FieldSecretLines, Required: true, Wide: true, When: when(fieldAuth, authKey),
			Help: "A key without passphrase that may read the repository and nothing else.",
		},
		{
			Name: fieldKnownHosts, Aside: true, Label: "Known host keys", Kind: plugins.FieldLines, Required: true, Wide: true, When: when(fieldAuth, authKey),
			Placeholder: "git.example.org ssh-ed25519 AAAA…",
			Help:        "Lines as ssh-keyscan prints them. Compare the fingerprints with those that the host's owner publishes: no other key is accepted.",
		},
	}
}

func referenceFields() []plugins.Field {
	return []plugins.Field{
		{
			Name: fieldKind, Aside: true, Label: "Follow", Kind: plugins.FieldChoice,
			Options: []plugins.Option{
				{Value: kindBranch, Label: "A branch"},
				{Value: kindDefault, Label: "The repository's default branch"},
				{Value: kindRange, Label: "The highest version in a range"},
				{Value: kindPattern, Label: "The highest tag of a pattern"},
				{Value: kindTag, Label: "One tag"},
				{Value: kindRef, Label: "A ref by its full name"},
				{Value: kindCommit, Label: "One commit"},
			},
			Help: "A tag or commit stays as it is; everything else brings updates.",
		},
		{
			Name: fieldBranch, Aside: true, Label: "Branch", Kind: plugins.FieldText, Placeholder: "main", When: when(fieldKind, "", kindBranch),
			Help: "Leave it empty for the repository's own default branch.",
		},
		{
			Name: fieldRange, Aside: true, Label: "Versions", Kind: plugins.FieldText, Required: true, Placeholder: "^10.2", When: when(fieldKind, kindRange),
			Help: "A range as Composer has them: ^10.2, ~1.4, >=1.0 <2, 10.x, 7.x-2.x. Tags that are no versions are left out.",
		},
		{
			Name: fieldPrefix, Aside: true, Label: "Before the version", Kind: plugins.FieldText, Placeholder: "component/v", When: when(fieldKind, kindRange),
			Help: "What stands before the version in the tags' names; a v alone need not be named. Or a regular expression between slashes whose group is the version: /component-(.+)/.",
		},
		{
			Name: fieldPattern, Aside: true, Label: "Pattern", Kind: plugins.FieldText, Required: true, Placeholder: "release-*", When: when(fieldKind, kindPattern),
			Help: "* is any text without a slash, ? one character. Or a regular expression (RE2) between slashes for the whole name, whose group decides the order: /release-([0-9]+)/.",
		},
		{
			Name: fieldPreReleases, Aside: true, Label: "Take pre-releases, too", Kind: plugins.FieldBool, When: when(fieldKind, kindRange, kindPattern),
			Help: "Such as 10.4.0-rc1.",
		},
		{
			Name: fieldTag, Aside: true, Label: "Tag", Kind: plugins.FieldText, Required: true, Placeholder: "v10.2.0", When: when(fieldKind, kindTag),
			Help: "If it is moved to another commit, a person is asked.",
		},
		{
			Name: fieldRef, Aside: true, Label: "Ref", Kind: plugins.FieldText, Required: true, Placeholder: "refs/pull/12/head", When: when(fieldKind, kindRef),
			Help: "In full, beginning with refs/.",
		},
		{
			Name: fieldCommit, Aside: true, Label: "Commit", Kind: plugins.FieldText, Required: true, Wide: true, When: when(fieldKind, kindCommit),
			Help: "Its whole name of 40 digits.",
		},
		{
			Name: fieldRewrite, Aside: true, Label: "When history is rewritten", Kind: plugins.FieldChoice, Default: rewriteBuild,
			When:    when(fieldKind, "", kindBranch, kindDefault, kindRef),
			Options: []plugins.Option{{Value: rewriteBuild, Label: "Build, and say so"}, {Value: rewriteHold, Label: "Ask a person first"}},
			Help:    "After a force-push the new commits do not follow the ones before.",
		},
	}
}

func contentFields() []plugins.Field {
	return []plugins.Field{
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
		{
			Name: fieldSubmodules, Label: "Fetch submodules", Kind: plugins.FieldBool,
			Help: "Also submodules of submodules. Those on the repository's own host are read with the same credentials, others with none.",
		},
	}
}

func verificationFields() []plugins.Field {
	return []plugins.Field{
		{
			Name: fieldVerify, Aside: true, Label: "Required signature", Kind: plugins.FieldChoice, Default: verifyNone,
			Options: []plugins.Option{
				{Value: verifyNone, Label: "None"},
				{Value: verifyCommit, Label: "Of the commit"},
				{Value: verifyTag, Label: "Of the tag"},
				{Value: verifyBoth, Label: "Of both"},
			},
			Help: "What is not signed with a trusted key is not built.",
		},
		{
			Name: fieldTrusted, Aside: true, Label: "Trusted keys", Kind: plugins.FieldLines, Required: true, Wide: true,
			When: when(fieldVerify, verifyCommit, verifyTag, verifyBoth), Placeholder: "ssh-ed25519 AAAA… maintainer",
			Help: "OpenPGP public keys in armor, SSH public keys, or lines of an allowed signers file. A key that has expired is no longer accepted.",
		},
	}
}

// Open checks the settings.
func (p Plugin) Open(settings models.Settings) (plugins.Source, error) {
	values := plugins.Decode(p.Fields(), settings)
	s := source{
		reference:    readReference(values),
		holdRewrites: values.Text(fieldRewrite) == rewriteHold,
		subdirectory: values.Text(fieldSubdirectory),
		composer:     values.Bool(fieldComposer),
		submodules:   values.Bool(fieldSubmodules),
		limits:       p.Limits,
		answer:       cmp.Or(p.Answer, time.Minute),
		native:       p.native,
	}
	values.Text(fieldDocroot) // the caller inspects what was built with it
	if address := values.Text(fieldURL); address != "" {
		var err error
		if s.remote, err = readRemote(address); err != nil {
			values.Refuse(fieldURL, models.Explain(err))
		}
	}
	s.remote.login = readCredentials(values, s.remote)
	s.verify = readVerification(values, s.reference)
	if err := values.Err(); err != nil {
		return nil, err
	}
	return s, nil
}
