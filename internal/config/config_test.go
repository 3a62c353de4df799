package config_test

import (
	"errors"
	"testing"

	"hefring/internal/config"
	"hefring/models"
)

func valid() config.Config {
	return config.Config{Data: "/srv/hefring", Listen: "127.0.0.1:8080", SitesListen: "127.0.0.1", SitesPort: 8081, ProbePort: 8082, WebUser: "www-data", BuildUser: "nobody"}
}

func TestConfig_Validate_Defaults(t *testing.T) {
	c := valid()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.SecretKey != "/srv/hefring/control/secret.key" || c.Database != "sqlite:/srv/hefring/control/hefring.db" || c.URL != "http://127.0.0.1:8080" {
		t.Errorf("got %+v", c)
	}
}

func TestConfig_Validate_SaysWhere(t *testing.T) {
	c := valid()
	c.Data, c.SecretKey, c.BuildUser, c.EgressAllow, c.ProbePort = "data", "secret.key", c.WebUser, []string{"everything"}, c.SitesPort
	var e *models.Error
	if err := c.Validate(); !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"data", "secret-key-file", "build-user", "egress-allow", "probe-port"} {
		if e.Fields[name] == "" {
			t.Errorf("nothing about %s in %v", name, e.Fields)
		}
	}
}
