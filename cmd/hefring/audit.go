package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

type auditCmd struct {
	act
	Actor   string    `help:"Only changes by this one, named exactly as in the record."`
	Verb    string    `help:"Only changes of this kind, for example edit."`
	Kind    string    `placeholder:"KIND" enum:",site,distribution,platform,user,client,database-server,server,channel,queue,upstream,import,server-platform,departure,arrival,newcomer,target,server-target,question" default:"" help:"Only changes of such things, for example: site, distribution, platform, user, client, queue, database-server, server, channel."`
	Name    string    `help:"Only changes of what has this name."`
	Door    string    `enum:",page,api,command,webhook,schedule,task" default:"" help:"Only changes from there: page, api, command, webhook, schedule or task."`
	Address string    `help:"Only changes from this network address."`
	Query   string    `help:"Only changes with this in their text or in what changed."`
	Since   time.Time `help:"Only changes at this time or later, for example 2026-11-22T00:00:00Z."`
	Until   time.Time `help:"Only changes before this time."`
	Limit   int       `default:"100" help:"How many at most; 0 for all."`
}

func (c *auditCmd) filter() fleet.EventFilter {
	return fleet.EventFilter{
		Actor: c.Actor, Verb: c.Verb, Subject: models.Subject{Kind: models.SubjectKind(c.Kind)}, Name: c.Name, Door: models.Door(c.Door),
		Address: c.Address, Query: c.Query, Since: c.Since, Until: c.Until, Limit: c.Limit,
	}
}

// Run prints the record, newest first: a table, or a line of JSON for each change.
func (c *auditCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if c.JSON {
			lines := json.NewEncoder(os.Stdout)
			return c.each(ctx, f, func(row fleet.EventRow) error { return lines.Encode(row.Line()) })
		}
		var rows []fleet.EventRow
		if err := c.each(ctx, f, func(row fleet.EventRow) error { rows = append(rows, row); return nil }); err != nil {
			return err
		}
		return c.table(nil, []string{"WHEN", "WHO", "DID", "ABOUT", "FROM", "WHAT CHANGED"}, func(line func(...any)) {
			for _, row := range rows {
				about := strings.TrimSpace(string(row.Kind) + " " + row.Name)
				line(row.At.UTC().Format(time.RFC3339), who(row), row.Verb, about, strings.TrimSpace(string(row.Door)+" "+row.Address), whatChanged(row))
			}
		})
	})
}

// each hands over what is asked for, up to the limit.
func (c *auditCmd) each(ctx context.Context, f door, do func(fleet.EventRow) error) error {
	n := 0
	err := f.EachEvent(ctx, c.filter(), func(rows []fleet.EventRow) error {
		for _, row := range rows {
			if n++; c.Limit > 0 && n > c.Limit {
				return errEnough
			}
			if err := do(row); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a walk through the record.
var errEnough = errors.New("enough")

// who is whoever did it, with the token of a program.
func who(row fleet.EventRow) string {
	if row.Token == "" {
		return row.Actor
	}
	return row.Actor + " with the token " + row.Token
}

func whatChanged(row fleet.EventRow) string {
	parts := []string{row.Text}
	for _, one := range row.Changes {
		if one.Secret {
			parts = append(parts, one.Field+" (secret)")
			continue
		}
		parts = append(parts, one.Field+": "+one.Before+" → "+one.After)
	}
	return strings.Join(strings.Fields(strings.Join(parts, " · ")), " ")
}
