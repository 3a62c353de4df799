package drupal

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// Status is how a site stands.
type Status struct {
	DrupalVersion string `json:"drupal-version"`
	DrushVersion  string `json:"drush-version"`
	Bootstrap     string `json:"bootstrap"`
	Site          string `json:"site"`    // sites/<uri>
	Database      string `json:"db-name"` // for SQLite the path of the file
	Profile       string `json:"install-profile"`
}

// Status asks how the site stands, and fails unless Drupal boots, on this very
// site and this very database.
//
// Drush's exit code says nothing about that: it is 0 also for an unknown site,
// for a wrong password and, with sites/default installed, for another site.
// Nor does it load the modules' code, hence the second question.
func (d *Drush) Status(ctx context.Context) (Status, error) {
	var s Status
	if err := d.must(ctx, call{command: "status", options: []string{"--format=json"}}, &s); err != nil {
		return s, err
	}
	if err := d.boots(ctx, s); err != nil {
		return s, err
	}
	var ready struct{ Ready bool }
	if err := d.eval(ctx, d.dialect.php(`print "\n" . json_encode(["ready" => TRUE]) . "\n";`, ready7), &ready); err != nil {
		return s, err
	}
	return s, nil
}

func (d *Drush) boots(ctx context.Context, s Status) error {
	uri := d.release.URI()
	if s.Bootstrap != "Successful" {
		return models.Errorf(models.Unavailable,
			"Drupal does not start for %s: Drush reports no successful bootstrap. Its database may be empty, damaged or out of reach.", uri)
	}
	if s.Site != "sites/"+uri {
		return models.Errorf(models.Unavailable,
			"Drush answered for %q instead of sites/%s. Look at sites/sites.php in the platform's source: it must not send %s elsewhere.", s.Site, uri, uri)
	}
	connection, err := d.drupal.engine.PHP(ctx, d.release.Database)
	if err != nil {
		return err
	}
	if want, _ := connection.Get("database").(string); s.Database != want {
		return models.Errorf(models.Unavailable,
			"%s uses the database %q instead of %q. Remove $databases from %s in the site's folder.", uri, s.Database, want, localSettings)
	}
	return nil
}

// Install installs Drupal with an install profile into the release's database,
// which loses what it held. The administrator's password is made up by Drush
// and hidden from the log: people sign in by LoginLink.
func (d *Drush) Install(ctx context.Context, profile, title, adminName string) error {
	site := models.Site{URI: d.release.Site.URI, Profile: profile, Title: title}
	if wrong := site.Validate(); len(wrong) > 0 {
		return &models.Error{Code: models.Invalid, Message: "The site cannot be installed.", Fields: wrong}
	}
	out, errs := redacted(d.out), redacted(d.err)
	err := d.install(ctx, profile, []string{"--site-name=" + title, "--account-name=" + adminName}, out, errs)
	_, _ = out.Close(), errs.Close()
	// The installer changes modes and may have touched settings.php.
	if mending := d.drupal.WriteRelease(context.WithoutCancel(ctx), d.release); err == nil {
		err = mending
	}
	if err != nil {
		return withoutOutput(err)
	}
	_, err = d.Status(ctx)
	return err
}

// withoutOutput drops the cause of a failed command: it quotes the program's
// last words, among which the new password may be.
func withoutOutput(err error) error {
	failed, ok := errors.AsType[*models.Error](err)
	if _, exited := errors.AsType[*run.ExitError](err); !ok || !exited {
		return err
	}
	return &models.Error{Code: failed.Code, Message: failed.Message}
}

// Rebuild clears all caches and rebuilds the container.
func (d *Drush) Rebuild(ctx context.Context) error {
	_, err := d.run(ctx, call{command: rebuildCommand, limit: d.Times.Rebuild, out: d.out, err: d.err})
	return err
}

const maintenanceKey = "system.maintenance_mode"

// Maintenance tells whether the site is in maintenance mode.
func (d *Drush) Maintenance(ctx context.Context) (bool, error) {
	var answer json.RawMessage
	q := maintenanceQuestion()
	if err := d.eval(ctx, d.dialect.php(q.eight, q.seven), &answer); err != nil {
		return false, err
	}
	return d.maintenanceIn(map[string]json.RawMessage{askMaintenance: answer})
}

func (d *Drush) maintenanceIn(answers map[string]json.RawMessage) (bool, error) {
	var state map[string]any
	if err := d.part(answers, askMaintenance, &state); err != nil {
		return false, err
	}
	switch v := state[maintenanceKey].(type) {
	case nil: // never set
		return false, nil
	case bool:
		return v, nil
	case float64:
		return v != 0, nil
	case string:
		return v != "" && v != "0", nil
	default:
		return false, d.unreadable(evalCommand, run.Result{}, errors.New("maintenance mode is neither on nor off"))
	}
}

// SetMaintenance puts maintenance mode on or off.
func (d *Drush) SetMaintenance(ctx context.Context, on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	order := call{command: "state:set", options: []string{"--input-format=integer"}, values: []string{maintenanceKey, value}}
	if d.dialect.seven {
		order = call{command: evalCommand, values: []string{setMaintenance7 + value + ");"}}
	}
	order.limit = d.Times.Ask
	_, err := d.run(ctx, order)
	return err
}

// LoginLink makes a link that signs one person in, once, as the site's first
// user. base is the address at which people reach the site, such as
// http://museum.example.org:8080. The link is a secret and is not logged.
func (d *Drush) LoginLink(ctx context.Context, base string) (string, error) {
	address, err := url.Parse(base)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" {
		return "", models.Errorf(models.Invalid, "%q is not the address of a site.", base)
	}
	res, err := d.run(ctx, call{command: "user:login", options: []string{"--no-browser"}, uri: base, limit: d.Times.Ask})
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(res.Stdout)) {
		link, err := url.Parse(strings.TrimSpace(line))
		if err == nil && link.Host == address.Host && strings.Contains(link.Path, "/user/reset/") {
			return link.String(), nil
		}
	}
	return "", models.Errorf(models.Unavailable, "Drush gave no login link for %s.", base)
}
