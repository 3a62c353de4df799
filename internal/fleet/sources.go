package fleet

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"

	"hefring/models"
	"hefring/plugins"
)

// Sealer encrypts what must not be read from the database. The context is bound
// to what is sealed: it opens with the same context only.
type Sealer interface {
	Seal(context string, plain []byte) ([]byte, error)
	Open(context string, sealed []byte) ([]byte, error)
}

// sealContext ties secrets to their distribution; its short name never changes.
func sealContext(d models.Distribution) string { return "distribution " + d.Slug }

// open gives the source of a distribution.
func (f *Fleet) open(d models.Distribution) (plugins.Source, error) {
	plugin, err := f.cfg.Types.Get(d.UpdateType)
	if err != nil {
		return nil, err
	}
	secrets, err := f.secrets(d)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(d.Settings)
	if all == nil {
		all = models.Settings{}
	}
	maps.Copy(all, secrets)
	return plugin.Open(all)
}

func (f *Fleet) secrets(d models.Distribution) (models.Settings, error) {
	if len(d.Secrets) == 0 {
		return nil, nil
	}
	plain, err := f.cfg.Secrets.Open(sealContext(d), d.Secrets)
	if err != nil {
		return nil, fmt.Errorf("open secrets of %s: %w", d.Name, err)
	}
	var secrets models.Settings
	if err := json.Unmarshal(plain, &secrets); err != nil {
		return nil, fmt.Errorf("read secrets of %s: the text is damaged", d.Name)
	}
	return secrets, nil
}

// takeSecrets moves the secret settings of a form from in to d, encrypted. A
// secret that was left empty stays as it was, unless the source is now at
// another host: whoever may edit the address must not thereby learn the secret.
func (f *Fleet) takeSecrets(d *models.Distribution, in models.Settings, oldHost string) error {
	plugin, err := f.cfg.Types.Get(d.UpdateType)
	if err != nil {
		return err
	}
	kept, err := f.secrets(*d)
	if err != nil {
		// A lost key: what is typed now replaces what nobody can read.
		f.logger.Warn("forget unreadable secrets", slog.String("distribution", d.Slug))
	}
	open, secret := models.Settings{}, models.Settings{}
	names := map[string]bool{}
	for _, field := range plugin.Fields() {
		names[field.Name] = field.Kind.Secret()
	}
	var reused []string
	for name, value := range in {
		if names[name] {
			if value != "" {
				secret[name] = value
			}
		} else if open[name], err = unblotted(name, value, d.Settings[name]); err != nil {
			return err
		}
	}
	for name, value := range kept {
		if names[name] && secret[name] == "" {
			secret[name] = value
			reused = append(reused, name)
		}
	}
	d.Settings = open
	return f.seal(d, plugin, secret, reused, oldHost)
}

// unblotted gives a setting as it is meant that came back as it is shown: with its
// secrets, as long as nothing else of it was changed. Whoever may edit an address must
// not thereby send its secret elsewhere.
func unblotted(name, typed, stored string) (string, error) {
	switch {
	case !models.Blotted(typed):
		return typed, nil
	case models.Blot(stored) == typed:
		return stored, nil
	}
	return "", models.InvalidField(name, "The part of the address that stands as … is not kept for another address: type it anew.")
}

// seal drops the secrets that the other settings leave no use for, and encrypts
// the others.
func (f *Fleet) seal(d *models.Distribution, plugin plugins.Plugin, secret models.Settings, reused []string, oldHost string) error {
	all := maps.Clone(d.Settings)
	maps.Copy(all, secret)
	wanted := plugins.Wanted(plugin.Fields(), all)
	maps.DeleteFunc(secret, func(name, _ string) bool { return !wanted[name] })
	d.Secrets = nil
	if len(secret) == 0 {
		return nil
	}
	if source, err := plugin.Open(all); err == nil && oldHost != "" && source.Upstream().Host != oldHost {
		for _, name := range reused {
			if wanted[name] {
				return models.InvalidField(name, "The source is at another host now: type this anew.")
			}
		}
	}
	plain, err := json.Marshal(secret)
	if err != nil {
		return fmt.Errorf("encode secrets: %w", err)
	}
	d.Secrets, err = f.cfg.Secrets.Seal(sealContext(*d), plain)
	if err != nil {
		return fmt.Errorf("seal secrets of %s: %w", d.Name, err)
	}
	return nil
}

// SecretsSet tells which secret settings of a distribution are there; their
// values are never shown.
func (f *Fleet) SecretsSet(d models.Distribution) map[string]bool {
	set := map[string]bool{}
	secrets, err := f.secrets(d)
	if err != nil {
		return set
	}
	for name := range secrets {
		set[name] = true
	}
	return set
}

// decodeVersion reads what was remembered; what cannot be read was never seen.
func decodeVersion(text string) plugins.Version {
	var v plugins.Version
	if text == "" || json.Unmarshal([]byte(text), &v) != nil {
		return plugins.Version{}
	}
	return v
}

func encodeVersion(v plugins.Version) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode version: %w", err)
	}
	return string(text), nil
}
