package main

import (
	"fmt"
	"os"

	"hefring/internal/config"
	"hefring/internal/secret"
)

type secretCmd struct {
	Rotate secretRotateCmd `cmd:"" help:"Add a new key to the key file. Credentials are encrypted with it from now on; the older keys still open what they sealed."`
}

type secretRotateCmd struct {
	config.Config
}

// Run adds the key; a Hefring that runs takes it up by itself.
func (c *secretRotateCmd) Run() error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := secret.Rotate(c.SecretKey); err != nil {
		return err
	}
	n, err := secret.Count(c.SecretKey)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s holds %d keys. Copy it to your safe place again.\n", c.SecretKey, n)
	return err
}
