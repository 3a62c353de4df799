// Package stock is the update type that follows the releases of a project on
// drupal.org: Drupal itself, or a distribution of it. Releases that drupal.org
// packs whole are built from their archive, the others with Composer.
package stock

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
)

// Plugin is the stock update type.
type Plugin struct{}

// New gives the stock update type.
func New() Plugin { return Plugin{} }

// Info describes the type.
func (Plugin) Info() plugins.Info {
	return plugins.Info{
		ID:      "stock",
		Name:    "Drupal.org project",
		Summary: "Every new release of Drupal, or of a distribution on drupal.org, becomes a platform.",
		Icon:    "droplet",
		Every:   time.Hour, // drupal.org asks for politeness
	}
}

// Names of the settings.
const (
	fieldProject    = "project"
	fieldCore       = "core"
	fieldChannel    = "channel"
	fieldMajor      = "major"
	fieldPackaging  = "packaging"
	fieldPackage    = "composer_package"
	fieldRepository = "composer_repository"
	fieldDocroot    = "docroot"
	fieldLocation   = "location"
)

// Values of the choices.
const (
	coreCurrent = "current"
	core7       = "7.x"
	core6       = "6.x"

	channelStable = "stable"
	channelEarly  = "prerelease"
	channelMajor  = "major"

	packagingAuto     = "auto"
	packagingArchive  = "archive"
	packagingComposer = "composer"
)

// Fields are the settings of the type.
func (Plugin) Fields() []plugins.Field {
	modern := &plugins.When{Field: fieldCore, Values: []string{coreCurrent}}
	composer := &plugins.When{Field: fieldPackaging, Values: []string{packagingAuto, packagingComposer}}
	return []plugins.Field{
		{
			Name: fieldProject, Label: "Project", Kind: plugins.FieldText, Default: "drupal", Placeholder: "drupal",
			Help: "Machine name on drupal.org: the last part of the project's address.",
		},
		{
			Name: fieldCore, Label: "Drupal", Kind: plugins.FieldChoice, Default: coreCurrent,
			Options: []plugins.Option{{Value: coreCurrent, Label: "Drupal 8 and later"}, {Value: core7, Label: "Drupal 7"}, {Value: core6, Label: "Drupal 6"}},
		},
		{
			Name: fieldChannel, Aside: true, Label: "Releases", Kind: plugins.FieldChoice, Default: channelStable,
			Options: []plugins.Option{
				{Value: channelStable, Label: "Full releases"},
				{Value: channelEarly, Label: "Full releases, candidates, betas and alphas"},
				{Value: channelMajor, Label: "Full releases of one major version"},
			},
			Help: "Only supported releases without known holes are taken.",
		},
		{
			Name: fieldMajor, Aside: true, Label: "Major version", Kind: plugins.FieldNumber, Placeholder: "10", Required: true,
			When: &plugins.When{Field: fieldChannel, Values: []string{channelMajor}},
		},
		{
			Name: fieldPackaging, Label: "Built from", Kind: plugins.FieldChoice, Default: packagingAuto, When: modern,
			Options: []plugins.Option{
				{Value: packagingAuto, Label: "The archive where it is whole, else Composer"},
				{Value: packagingArchive, Label: "The archive"},
				{Value: packagingComposer, Label: "The Composer project template"},
			},
			Help: "Since August 2023 drupal.org packs no distributions any more: newer ones are built with Composer.",
		},
		{
			Name: fieldPackage, Label: "Composer package", Kind: plugins.FieldText, When: composer, Placeholder: "drupal/recommended-project",
			Help: "The project template. Leave it empty for drupal/recommended-project for Drupal itself, and for the package of the same name for other projects.",
		},
		{
			Name: fieldRepository, Label: "Composer repository", Kind: plugins.FieldURL, When: composer, Wide: true, Placeholder: "https://packages.example.org",
			Help: "Where the template and what it requires come from in place of packagist.org. Repositories that the template names are used in any case.",
		},
		{
			Name: fieldDocroot, Label: "Docroot", Kind: plugins.FieldPath, Placeholder: "web",
			Help: "Folder of index.php, relative to the code base. Leave it empty to have it found.",
		},
		{
			Name: fieldLocation, Label: "Release history", Kind: plugins.FieldURL, Wide: true, Default: drupalorg.DefaultBase,
			Help: "Where the lists of releases are; change it only for a mirror.",
		},
	}
}

var packageName = regexp.MustCompile(`^[a-z0-9]([_.-]?[a-z0-9]+)*/[a-z0-9](([_.]|-{1,2})?[a-z0-9]+)*$`)

// Open checks the settings.
func (p Plugin) Open(settings models.Settings) (plugins.Source, error) {
	values := plugins.Decode(p.Fields(), settings)
	s := source{
		address: drupalorg.Address{
			Base:    strings.TrimRight(values.Text(fieldLocation), "/"),
			Project: strings.TrimPrefix(values.Text(fieldProject), "drupal/"),
			API:     values.Text(fieldCore),
		},
		channel: drupalorg.Channel{
			PreReleases: values.Text(fieldChannel) == channelEarly,
			Major:       values.Number(fieldMajor),
		},
		packaging:  values.Text(fieldPackaging),
		template:   values.Text(fieldPackage),
		repository: values.Text(fieldRepository),
	}
	values.Text(fieldDocroot) // the caller inspects what was built with it
	if s.packaging == "" {
		s.packaging = packagingArchive // all that there is for Drupal 7 and earlier
	}
	if !drupalorg.ValidProject(s.address.Project) {
		values.Refuse(fieldProject, "This is not a machine name. It looks like drupal or commerce_kickstart: letters, digits and underscores.")
	}
	if values.Text(fieldMajor) == "0" {
		values.Refuse(fieldMajor, "Use the first number of its versions, such as 10.")
	}
	if s.template != "" && (len(s.template) > 200 || !packageName.MatchString(s.template)) {
		values.Refuse(fieldPackage, "This is not the name of a Composer package. It looks like drupal/recommended-project.")
	}
	for _, name := range []string{fieldLocation, fieldRepository} {
		if text := values.Text(name); text != "" {
			if err := checkURL(text); err != nil {
				values.Refuse(name, models.Explain(err))
			}
		}
	}
	if err := values.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkURL looks at the form of an address only. Which hosts may be reached is
// decided when the source is used.
func checkURL(raw string) error {
	shape := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	u, err := shape.CheckURL(raw, "https", "http")
	switch {
	case err != nil:
		return err
	case u.RawQuery != "":
		return models.Errorf(models.Invalid, "The address has a part after ?. Leave that out.")
	case u.User != nil:
		return models.Errorf(models.Invalid, "The address holds a user or password. Leave that out.")
	}
	return nil
}

// upstreamOf brings an address into its one form.
func upstreamOf(a drupalorg.Address) plugins.Upstream {
	text, err := a.URL()
	if err != nil {
		return plugins.Upstream{}
	}
	u, err := url.Parse(text)
	if err != nil {
		return plugins.Upstream{}
	}
	u.Host = strings.ToLower(u.Host)
	return plugins.Upstream{Key: u.String(), Host: u.Hostname()}
}
