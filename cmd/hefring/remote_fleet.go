package main

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/web/api"
)

// Fleet counts what is there for the token's user.
func (r *farDoor) Fleet(ctx context.Context, _ fleet.Filter) (fleet.Counts, error) {
	var c api.Counts
	err := r.get(ctx, "/fleet", nil, &c)
	return fleet.Counts{
		Current: c.Current, Behind: c.Behind, Held: c.Held, Broken: c.Broken, Disabled: c.Disabled, Busy: c.Busy,
		Distributions: c.Distributions, Platforms: c.Platforms,
	}, err
}

// Decisions lists what needs a decision.
func (r *farDoor) Decisions(ctx context.Context, f fleet.Filter) ([]fleet.Decision, error) {
	list, _, err := listed[api.Decision](ctx, r, "/decisions", url.Values{}, f.Limit)
	return each(list, func(d api.Decision) fleet.Decision {
		return fleet.Decision{
			Kind: d.Kind, Subject: models.Subject{Kind: d.Subject}, Title: d.Title, Why: d.Why, TaskID: d.Task, PlatformName: d.Target, Sites: d.Sites, At: d.At,
		}
	}), err
}

// RunningTasks lists tasks that run or wait.
func (r *farDoor) RunningTasks(ctx context.Context, f fleet.Filter) ([]models.Task, error) {
	list, _, err := listed[api.Task](ctx, r, "/tasks/running", url.Values{}, f.Limit)
	return each(list, taskFrom), err
}

// RecentTasks lists tasks that ended.
func (r *farDoor) RecentTasks(ctx context.Context, f fleet.Filter) ([]models.Task, error) {
	list, _, err := listed[api.Task](ctx, r, "/tasks/recent", url.Values{}, f.Limit)
	return each(list, taskFrom), err
}

// Children lists the tasks that a task started.
func (r *farDoor) Children(ctx context.Context, id int64) ([]models.Task, error) {
	list, _, err := listed[api.Task](ctx, r, taskPath(id)+"/children", url.Values{}, maxChildren)
	return each(list, taskFrom), err
}

// UpgradeOfTask gives the move that a task carries out, and keeps its steps for
// UpgradeSteps.
func (r *farDoor) UpgradeOfTask(ctx context.Context, id int64) (models.Upgrade, error) {
	var u api.Upgrade
	if err := r.get(ctx, taskPath(id)+"/upgrade", nil, &u); err != nil {
		return models.Upgrade{}, err
	}
	r.steps[u.ID] = each(u.Steps, func(s api.UpgradeStep) models.UpgradeStep {
		return models.UpgradeStep{Name: s.Name, State: s.State, Message: s.Message, StartedAt: s.Started, EndedAt: s.Ended, UndoneAt: s.Undone}
	})
	return upgradeFrom(u), nil
}

// UpgradeSteps lists the steps of a move that was loaded by UpgradeOfTask.
func (r *farDoor) UpgradeSteps(_ context.Context, id int64) ([]models.UpgradeStep, error) {
	return r.steps[id], nil
}

// EachEvent hands over what a filter leaves of the record of changes.
func (r *farDoor) EachEvent(ctx context.Context, f fleet.EventFilter, do func([]fleet.EventRow) error) error {
	query := url.Values{"limit": {strconv.Itoa(min(cmp.Or(f.Limit, fleet.MaxEvents), fleet.MaxEvents))}}
	for name, value := range map[string]string{
		"actor": f.Actor, "verb": f.Verb, "kind": string(f.Subject.Kind), "name": f.Name, "door": string(f.Door), "address": f.Address, "query": f.Query,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			query.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	for {
		var page api.Audit
		if err := r.get(ctx, "/audit", query, &page); err != nil {
			return err
		}
		if err := do(each(page.Items, fleet.EventLine.Row)); err != nil || page.Next == 0 {
			return err
		}
		query.Set("cursor", strconv.FormatInt(page.Next, 10))
	}
}

// PlatformRow loads one platform with everything about it.
func (r *farDoor) PlatformRow(ctx context.Context, id int64) (fleet.PlatformRow, error) {
	var p api.PlatformDetails
	if err := r.get(ctx, r.path(id), nil, &p); err != nil {
		return fleet.PlatformRow{}, err
	}
	row := r.platformRowFrom(p.Platform)
	row.PHPVersion, row.BuildKey, row.Note, row.Root, row.ManifestDigest = p.PHPVersion, p.BuildKey, p.Note, p.Folder, p.Digest
	row.Files, row.Bytes, row.BuiltAt, row.Profiles, row.Packages, row.Audit = p.Files, p.Bytes, p.Built, p.Profiles, p.Packages, p.Findings
	return row, nil
}

// Platform loads one.
func (r *farDoor) Platform(ctx context.Context, id int64) (models.Platform, error) {
	row, err := r.PlatformRow(ctx, id)
	return row.Platform, err
}

// PlatformPlan says what upgrading all sites of a platform would do. Of the sites
// their number alone is known here.
func (r *farDoor) PlatformPlan(ctx context.Context, id int64) (fleet.PlatformPlan, error) {
	var p api.PlatformPlan
	err := r.get(ctx, r.path(id, "upgrade"), nil, &p)
	return fleet.PlatformPlan{
		From: models.Platform{Name: p.From}, To: models.Platform{Name: p.To}, Changes: p.Changes, Sites: make([]fleet.SiteRow, max(0, p.Sites)),
		Compared: p.Compared, Updates: p.Updates, Blocked: p.Blocked, RunningTask: p.RunningTask,
	}, err
}

// DiffPlatforms compares two platforms. Of database updates their number alone is known
// here.
func (r *farDoor) DiffPlatforms(ctx context.Context, fromID, toID int64) (fleet.PlatformDiff, error) {
	var d api.PlatformDiff
	err := r.get(ctx, r.path(fromID, "diff", url.PathEscape(r.name(toID))), nil, &d)
	return fleet.PlatformDiff{Packages: d.Packages, Sites: each(d.Sites, func(s api.SiteDiff) fleet.SiteDiff {
		one := fleet.SiteDiff{Site: &models.Site{URI: s.Site}}
		if s.Asked {
			one.Comparison = &models.Comparison{Updates: make([]models.PendingUpdate, max(0, s.Updates)), Blockers: s.Blockers}
		}
		return one
	})}, err
}

// UpgradePlatform moves a platform's sites to another one.
func (r *farDoor) UpgradePlatform(ctx context.Context, id, targetID int64) (models.Task, error) {
	return r.moveTo(ctx, id, targetID)
}

// UpgradeSite moves a site to a platform.
func (r *farDoor) UpgradeSite(ctx context.Context, id, targetID int64) (models.Task, error) {
	return r.moveTo(ctx, id, targetID)
}

func (r *farDoor) moveTo(ctx context.Context, id, targetID int64) (models.Task, error) {
	return r.start(ctx, http.MethodPost, r.path(id, "upgrade"), url.Values{"to": {r.name(targetID)}}, nil)
}

// DistributionPlatforms lists a distribution's platforms.
func (r *farDoor) DistributionPlatforms(ctx context.Context, id int64) ([]fleet.PlatformRow, error) {
	list, _, err := listed[api.Platform](ctx, r, "/platforms", url.Values{"distribution": {r.name(id)}}, maxChildren)
	return each(list, r.platformRowFrom), err
}

// SecretsSet tells which secret settings a distribution has that was loaded before.
func (r *farDoor) SecretsSet(d models.Distribution) map[string]bool { return r.secrets[d.ID] }

// sourceBody is a distribution as the API takes it.
func sourceBody(in fleet.NewDistribution) api.SourceBody {
	return api.SourceBody{Name: in.Name, Settings: in.Settings, CheckSeconds: secondsOf(in.CheckEvery), RebuildDays: in.RebuildDays, KeepPlatforms: in.KeepPlatforms}
}

func secondsOf(every *time.Duration) *int64 {
	if every == nil {
		return nil
	}
	return new(int64(*every / time.Second))
}

// CreateDistribution adds a distribution.
func (r *farDoor) CreateDistribution(ctx context.Context, in fleet.NewDistribution) (models.Distribution, error) {
	var made api.Looked
	err := r.post(ctx, "/distributions", struct {
		api.SourceBody

		Type string `json:"type"`
		Slug string `json:"slug,omitempty"`
	}{sourceBody(in), in.UpdateType, in.Slug}, &made)
	return r.lookedFrom(made), err
}

// DeleteDistribution deletes a distribution with its platforms.
func (r *farDoor) DeleteDistribution(ctx context.Context, id int64) error {
	return r.ask(ctx, http.MethodDelete, r.path(id), nil, nil, nil)
}

// UpdateDistribution changes a distribution.
func (r *farDoor) UpdateDistribution(ctx context.Context, id int64, in fleet.NewDistribution) (models.Distribution, error) {
	var changed api.Looked
	err := r.ask(ctx, http.MethodPut, r.path(id), nil, sourceBody(in), &changed)
	return r.lookedFrom(changed), err
}

// lookedFrom remembers the look at its source, for SubjectTasks.
func (r *farDoor) lookedFrom(l api.Looked) models.Distribution {
	d := r.distributionFrom(l.Distribution).Distribution
	if l.Check != nil {
		d.UpstreamID = new(r.number(models.SubjectUpstream, d.Slug))
		r.made[models.Subject{Kind: models.SubjectUpstream, ID: *d.UpstreamID}] = taskFrom(*l.Check)
	}
	return d
}

// farType is an update type as the other side has it. Nothing is opened here.
type farType struct{ api.UpdateType }

// Info names it.
func (t farType) Info() plugins.Info {
	return plugins.Info{ID: t.Type, Name: t.Name, Summary: t.Summary}
}

// Fields describes its settings.
func (t farType) Fields() []plugins.Field {
	return each(t.Settings, func(s api.UpdateSetting) plugins.Field {
		field := plugins.Field{Name: s.Key, Kind: plugins.FieldKind(s.Kind), Label: s.Label, Help: s.Help, Required: s.Required, Default: s.Default}
		for _, one := range s.Choices {
			field.Options = append(field.Options, plugins.Option{Value: one})
		}
		return field
	})
}

// Open is for where the sources are looked at.
func (t farType) Open(models.Settings) (plugins.Source, error) {
	return nil, errors.New("sources are opened where they are looked at")
}

func (r *farDoor) updateTypes(ctx context.Context) ([]plugins.Plugin, error) {
	list, _, err := listed[api.UpdateType](ctx, r, "/update-types", url.Values{}, remotePage)
	return each(list, func(t api.UpdateType) plugins.Plugin { return farType{t} }), err
}

func (r *farDoor) databaseFrom(d api.Database) fleet.DatabaseServerRow {
	return fleet.DatabaseServerRow{Sites: d.Sites, DatabaseServer: models.DatabaseServer{
		ID: r.number(subjectDatabase, d.Name), Name: d.Name, Engine: d.Engine, Host: d.Host, Port: d.Port, User: d.User, TLS: d.TLS, Clients: d.Clients, Prefix: d.Prefix,
		Default: d.Default, Version: d.Version, Reason: d.Problem, TestedAt: d.Tested,
	}}
}

// DatabaseServers lists the servers for sites' databases.
func (r *farDoor) DatabaseServers(ctx context.Context) ([]fleet.DatabaseServerRow, error) {
	list, _, err := listed[api.Database](ctx, r, "/databases", url.Values{}, maxChildren)
	return each(list, r.databaseFrom), err
}

// DatabaseServerNamed finds a server by its name; 0 for "" and sqlite, which name none.
func (r *farDoor) DatabaseServerNamed(ctx context.Context, name string) (int64, error) {
	if name == "" || name == models.EngineSQLite {
		return 0, nil
	}
	row, err := r.DatabaseServerRow(ctx, name)
	return row.ID, err
}

// DatabaseServerRow finds one by its name.
func (r *farDoor) DatabaseServerRow(ctx context.Context, name string) (fleet.DatabaseServerRow, error) {
	var d api.Database
	if err := r.get(ctx, "/databases/"+url.PathEscape(name), nil, &d); err != nil {
		return fleet.DatabaseServerRow{}, err
	}
	return r.databaseFrom(d), nil
}

// SaveDatabaseServer registers a server, or changes one.
func (r *farDoor) SaveDatabaseServer(ctx context.Context, s models.DatabaseServer) (models.DatabaseServer, error) {
	body := struct {
		api.DatabaseBody

		Name string `json:"name"`
	}{api.DatabaseBody{
		Engine: s.Engine, Host: s.Host, Port: s.Port, User: s.User, Password: s.Password, TLS: s.TLS, Clients: s.Clients, Prefix: s.Prefix, Default: s.Default,
	}, s.Name}
	method, path := http.MethodPost, "/databases"
	if s.ID != 0 {
		method, path = http.MethodPut, r.path(s.ID)
	}
	var saved api.Database
	err := r.ask(ctx, method, path, nil, body, &saved)
	return r.databaseFrom(saved).DatabaseServer, err
}

func (r *farDoor) channelFrom(c api.Channel) fleet.ChannelRow {
	row := fleet.ChannelRow{DistributionSlug: c.Distribution, ClientName: c.Client, Waiting: c.Waiting, Queued: c.Queued, Channel: models.Channel{
		ID: r.number(models.SubjectChannel, c.Name), Name: c.Name, Kind: c.Kind, Target: c.Target, Causes: c.Causes, Every: time.Duration(c.EverySeconds) * time.Second,
		Hour: c.Hour, Paused: c.Paused, Reason: c.Problem, SentAt: c.SentAt,
	}}
	if c.Distribution != "" {
		row.DistributionID = new(r.number(models.SubjectDistribution, c.Distribution))
	}
	if c.Client != "" {
		row.ClientID = new(r.number(models.SubjectClient, c.Client))
	}
	return row
}

// channelPath is where the API has a channel.
func (r *farDoor) channelPath(id int64) string { return "/notices/" + url.PathEscape(r.name(id)) }

// Channels lists the channels.
func (r *farDoor) Channels(ctx context.Context) ([]fleet.ChannelRow, error) {
	list, _, err := listed[api.Channel](ctx, r, "/notices", url.Values{}, maxChildren)
	return each(list, r.channelFrom), err
}

// ChannelNamed finds a channel by its name.
func (r *farDoor) ChannelNamed(ctx context.Context, name string) (fleet.ChannelRow, error) {
	var c api.Channel
	if err := r.get(ctx, "/notices/"+url.PathEscape(name), nil, &c); err != nil {
		return fleet.ChannelRow{}, err
	}
	return r.channelFrom(c), nil
}

// Channel loads one with its last messages.
func (r *farDoor) Channel(ctx context.Context, id int64, messages int) (fleet.ChannelRow, []fleet.NoticeMessageRow, error) {
	var c api.Channel
	if err := r.get(ctx, r.channelPath(id), nil, &c); err != nil || messages <= 0 {
		return r.channelFrom(c), nil, err
	}
	list, _, err := listed[api.NoticeMessage](ctx, r, r.channelPath(id)+"/messages", url.Values{}, messages)
	return r.channelFrom(c), each(list, messageFrom), err
}

func messageFrom(m api.NoticeMessage) fleet.NoticeMessageRow {
	row := fleet.NoticeMessageRow{NoticeMessage: models.NoticeMessage{ID: m.ID, State: m.State, Attempts: m.Attempts, CreatedAt: m.Created}}
	for _, title := range m.Lines {
		row.Letter.Lines = append(row.Letter.Lines, models.LetterLine{Title: title})
	}
	if m.Problem != "" {
		row.Tries = []models.NoticeAttempt{{Problem: m.Problem}}
	}
	return row
}

// SaveChannel adds a channel or changes one.
func (r *farDoor) SaveChannel(ctx context.Context, c models.Channel, _ string) (models.Channel, string, error) {
	body := api.ChannelBody{Name: c.Name, Target: c.Target, URL: c.URL, Causes: c.Causes, EverySeconds: int64(c.Every / time.Second), Hour: c.Hour}
	if c.DistributionID != nil {
		body.Distribution = r.name(*c.DistributionID)
	}
	if c.ClientID != nil {
		body.Client = r.name(*c.ClientID)
	}
	var saved api.Channel
	if c.ID != 0 {
		err := r.ask(ctx, http.MethodPut, r.channelPath(c.ID), nil, body, &saved)
		return r.channelFrom(saved).Channel, "", err
	}
	err := r.post(ctx, "/notices", struct {
		api.ChannelBody

		Kind models.ChannelKind `json:"kind"`
	}{body, c.Kind}, &saved)
	return r.channelFrom(saved).Channel, saved.Secret, err
}

// RotateChannelSecret makes a new secret.
func (r *farDoor) RotateChannelSecret(ctx context.Context, id int64, _ string) (string, error) {
	var made api.Secret
	err := r.post(ctx, r.channelPath(id)+"/rotate", nil, &made)
	return made.Secret, err
}

// PauseChannel stops or resumes a channel.
func (r *farDoor) PauseChannel(ctx context.Context, id int64, paused bool) error {
	return r.post(ctx, r.channelPath(id)+pausing(paused), nil, nil)
}

// pausing is the verb that stops something or lets it go on.
func pausing(paused bool) string {
	return map[bool]string{true: "/pause", false: "/resume"}[paused]
}

// DeleteChannel deletes a channel.
func (r *farDoor) DeleteChannel(ctx context.Context, id int64) (models.Channel, error) {
	return models.Channel{ID: id}, r.ask(ctx, http.MethodDelete, r.channelPath(id), nil, nil, nil)
}

// TestChannel sends a message now.
func (r *farDoor) TestChannel(ctx context.Context, id int64) (models.NoticeAttempt, error) {
	var a api.Attempt
	err := r.post(ctx, r.channelPath(id)+"/test", nil, &a)
	return models.NoticeAttempt{
		Delivered: a.Delivered, Recipient: a.Recipient, Status: a.Status, Answer: a.Answer, Problem: a.Problem, Took: time.Duration(a.Seconds * float64(time.Second)),
	}, err
}

// ResendMessage has a message delivered after all.
func (r *farDoor) ResendMessage(ctx context.Context, id int64) (models.NoticeMessage, error) {
	return models.NoticeMessage{ID: id}, r.post(ctx, "/messages/"+strconv.FormatInt(id, 10)+"/resend", nil, nil)
}
