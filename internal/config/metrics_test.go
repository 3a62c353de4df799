package config_test

import (
	"errors"
	"testing"

	"hefring/models"
)

func TestConfig_Validate_MetricsListen(t *testing.T) {
	for address, fits := range map[string]bool{
		"": true, "127.0.0.1:9420": true, "[::1]:9420": true, ":9420": true, "10.0.0.1:0": true,
		"9420": false, "127.0.0.1": false, "127.0.0.1:x": false, "127.0.0.1:99999": false, "127.0.0.1:8080": false,
	} {
		c := valid()
		c.MetricsListen = address
		err := c.Validate()
		e, _ := errors.AsType[*models.Error](err)
		if fits != (err == nil) || e != nil && (len(e.Fields) != 1 || e.Fields["metrics-listen"] == "") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
