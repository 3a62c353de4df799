package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// AuditIn narrows the record of changes.
type AuditIn struct {
	Caller

	Actor   string    `query:"actor" doc:"Who, exactly"`
	Verb    string    `query:"verb" doc:"Did what, exactly"`
	Kind    string    `query:"kind" enum:"site,distribution,platform,user,client,database-server,server,channel,queue,upstream,import,server-platform,departure,arrival,newcomer,target,server-target,question" doc:"What it is about, for example site"`
	ID      int64     `query:"id" minimum:"0" doc:"Number of what it is about; needs kind"`
	Name    string    `query:"name" doc:"Name of the site, distribution, platform, user, client or database server"`
	Door    string    `query:"door" enum:"page,api,command,webhook,schedule,task"`
	Address string    `query:"address" doc:"Network address, exactly"`
	Query   string    `query:"query" maxLength:"300" doc:"Part of the text or of what changed"`
	Since   time.Time `query:"since"`
	Until   time.Time `query:"until" doc:"Before this time"`
	Cursor  int64     `query:"cursor" minimum:"0" doc:"The next of the page before"`
	Limit   int       `query:"limit" default:"100" minimum:"1" maximum:"500"`
}

func (in AuditIn) filter() fleet.EventFilter {
	return fleet.EventFilter{
		Actor: in.Actor, Verb: in.Verb, Subject: models.Subject{Kind: models.SubjectKind(in.Kind), ID: in.ID}, Name: in.Name,
		Door: models.Door(in.Door), Address: in.Address, Query: in.Query, Since: in.Since, Until: in.Until, Before: in.Cursor, Limit: in.Limit,
	}
}

// Audit is one page of the record of changes.
type Audit struct {
	Items []fleet.EventLine `json:"items"`
	Next  int64             `json:"next,omitempty" doc:"The cursor of the next page. A search for text may give few items or none and a next page all the same"`
}

func (s *server) audit() {
	register(s, operation{get, "/audit", "list-audit", "The record of changes, newest first"}, func(ctx context.Context, f Fleet, in AuditIn) (Audit, error) {
		page, err := f.Events(ctx, in.filter())
		list := Audit{Items: make([]fleet.EventLine, 0, len(page.Rows)), Next: page.Next}
		for _, row := range page.Rows {
			list.Items = append(list.Items, row.Line())
		}
		return list, err
	})
}
