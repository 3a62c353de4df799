package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"hefring/internal/config"
	"hefring/models"
)

// webCmd is one more process that answers people beside hefring serve. Any number of
// them behave as one: what they share is in the database.
type webCmd struct {
	config.Config
}

// Run answers until it is told to stop.
func (c *webCmd) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if strings.HasPrefix(c.Database, "sqlite:") {
		return models.InvalidField("database", "Replicas share a control plane on PostgreSQL. Say where that is, as for hefring serve.")
	}
	// A key of its own would open nothing that is stored.
	if _, err := os.Stat(c.SecretKey); errors.Is(err, fs.ErrNotExist) {
		return models.InvalidField("secret-key-file", "There is no "+c.SecretKey+". Replicas share the keys of hefring serve: copy its control/secret.key here and name it.")
	} else if err != nil {
		return fmt.Errorf("look for keys: %w", err)
	}
	a, err := assemble(ctx, c.Config, true)
	if err != nil {
		return err
	}
	defer a.close()
	return a.replicate(ctx)
}

// replicate answers people and keeps the schedule until ctx ends. Tasks are left to
// the processes of the servers that they are for.
func (a *app) replicate(ctx context.Context) error {
	a.logger.InfoContext(ctx, "hefring answers beside others")
	return a.answer(ctx, nil)
}
