package main

import (
	"context"
	"errors"
	"os"
	"time"

	"hefring/internal/config"
	"hefring/internal/store"
	"hefring/models"
)

// devCmd is what those who work on Hefring itself need.
type devCmd struct {
	Seed devSeedCmd `cmd:"" help:"Fill an empty control-plane database with an invented fleet, to see how pages do at size. Nothing of it is on disk."`
}

type devSeedCmd struct {
	config.Config
	Sites         int    `help:"How many sites." default:"100000"`
	Platforms     int    `help:"How many platforms." default:"2000"`
	Distributions int    `help:"How many distributions." default:"10000"`
	Tasks         int    `help:"How many tasks." default:"400000"`
	Events        int    `help:"How many lines of the record of changes." default:"600000"`
	Seed          uint64 `help:"Another number makes another fleet." default:"1"`
}

// Run fills the database and says how long that took.
func (c *devSeedCmd) Run(ctx context.Context) (err error) {
	if err := c.Validate(); err != nil {
		return err
	}
	if min(c.Sites, c.Platforms, c.Distributions) < 1 || min(c.Tasks, c.Events) < 0 {
		return models.Errorf(models.Invalid, "A fleet has at least one site, platform and distribution.")
	}
	s, err := store.Open(ctx, c.Database, newLogger(c.LogLevel))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	began := time.Now()
	size := store.SeedSize{
		Distributions: c.Distributions, Platforms: c.Platforms, Sites: c.Sites, Tasks: c.Tasks, Events: c.Events, Random: c.Seed,
	}
	if err := s.Seed(ctx, size); err != nil {
		return err
	}
	printTo(os.Stdout, "%d distributions, %d platforms, %d sites, %d tasks and %d events in %s.",
		c.Distributions, c.Platforms, c.Sites, c.Tasks, c.Events, time.Since(began).Round(time.Millisecond))
	return nil
}
