package main

import (
	"context"
	"os"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type noticeCmd struct {
	List   noticeListCmd   `cmd:"" help:"List the channels by which people are told of what needs them."`
	Show   noticeShowCmd   `cmd:"" help:"Print a channel with its last messages."`
	Add    noticeAddCmd    `cmd:"" help:"Add a channel. The URL of a slack or webhook channel is read from standard input, since it is half a secret."`
	Change noticeChangeCmd `cmd:"" help:"Change a channel. What is not named stays."`
	Pause  noticePauseCmd  `cmd:"" help:"Stop what a channel tells."`
	Resume noticeResumeCmd `cmd:"" help:"Let a channel go on."`
	Test   noticeTestCmd   `cmd:"" help:"Send a message now and print the real answer. Exit code 1: it was not delivered."`
	Rotate noticeRotateCmd `cmd:"" help:"Make a new secret for a webhook channel and print it, once. For a day the old one signs, too."`
	Resend noticeResendCmd `cmd:"" help:"Deliver a message after all that was given up."`
	Delete noticeDeleteCmd `cmd:"" help:"Delete a channel with its messages."`
}

type noticeListCmd struct{ act }

// Run prints the list.
func (c *noticeListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, err := f.Channels(ctx)
		if err != nil {
			return err
		}
		return c.table(each(rows, api.ChannelView), []string{"CHANNEL", "KIND", "TO", "ABOUT", "WHEN", "PAUSED", "PROBLEM"}, func(line func(...any)) {
			for _, row := range rows {
				line(row.Name, row.Kind, row.Target, scopeText(row), digestText(row.Every), yes(row.Paused), row.Reason)
			}
		})
	})
}

func scopeText(r fleet.ChannelRow) string {
	switch {
	case r.DistributionID != nil:
		return "distribution " + r.DistributionSlug
	case r.ClientID != nil:
		return "client " + r.ClientName
	}
	return "all"
}

func digestText(every time.Duration) string {
	if every == 0 {
		return "at once"
	}
	return "every " + every.String()
}

// channelArg names the channel of a command.
type channelArg struct {
	Name string `arg:"" name:"channel" help:"The channel's name."`
}

// onChannel does something with a channel by its name.
func (c *act) onChannel(ctx context.Context, name string, work func(f door, row fleet.ChannelRow) error) error {
	return c.reach(ctx, func(f door) error {
		row, err := f.ChannelNamed(ctx, name)
		if err != nil {
			return err
		}
		return work(f, row)
	})
}

type noticeShowCmd struct {
	act
	channelArg
	Limit int `default:"50" help:"At most so many messages."`
}

// Run prints it.
func (c *noticeShowCmd) Run(ctx context.Context) error {
	return c.onChannel(ctx, c.Name, func(f door, row fleet.ChannelRow) error {
		row, messages, err := f.Channel(ctx, row.ID, c.Limit)
		if err != nil {
			return err
		}
		list := each(messages, api.MessageView)
		if c.JSON {
			return printJSON(os.Stdout, struct {
				api.Channel

				Messages []api.NoticeMessage `json:"messages"`
			}{api.ChannelView(row), list})
		}
		causes := make([]string, 0, len(row.Causes))
		for _, cause := range row.Causes {
			causes = append(causes, string(cause))
		}
		err = c.facts(nil, []fact{
			{"channel", row.Name},
			{"kind", row.Kind},
			{"to", row.Target},
			{"about", scopeText(row)},
			{"causes", strings.Join(causes, " ")},
			{"when", digestText(row.Every)},
			{"paused", yes(row.Paused)},
			{"problem", row.Reason},
		})
		if err != nil {
			return err
		}
		return c.table(list, []string{"MESSAGE", "AT", "STATE", "ATTEMPTS", "ABOUT", "PROBLEM"}, func(line func(...any)) {
			for _, m := range list {
				line(m.ID, stamp(&m.Created), m.State, m.Attempts, strings.Join(m.Lines, "; "), m.Problem)
			}
		})
	})
}

// channelFlags are what a channel tells, and when.
type channelFlags struct {
	To           *string        `help:"Of an email channel: addresses, separated by commas."`
	Distribution *string        `help:"Tell of this distribution only, by its short name; an empty one for all."`
	Client       *string        `help:"Tell of this client's sites only; an empty one for all."`
	Cause        []string       `sep:"," enum:"broken,recovered,build,source,server,backup,risk,upgrade,well" help:"What it tells of: ${enum} (a new channel: all)."`
	Every        *time.Duration `help:"A digest every 1h to 24h; 0s for each cause at once."`
	Hour         *int           `help:"Hour in UTC of a digest that comes once a day."`
}

func (c *channelFlags) into(ctx context.Context, f door, in *models.Channel) error {
	replace(&in.Target, c.To)
	replace(&in.Every, c.Every)
	replace(&in.Hour, c.Hour)
	if len(c.Cause) > 0 {
		in.Causes = nil
		for _, cause := range c.Cause {
			in.Causes = append(in.Causes, models.Cause(cause))
		}
	}
	if c.Distribution != nil {
		in.DistributionID = nil
		if *c.Distribution != "" {
			d, err := f.DistributionNamed(ctx, *c.Distribution)
			if err != nil {
				return err
			}
			in.DistributionID = &d.ID
		}
	}
	if c.Client != nil {
		in.ClientID = nil
		if *c.Client != "" {
			id, err := clientNamed(ctx, f, *c.Client)
			if err != nil {
				return err
			}
			in.ClientID = &id
		}
	}
	return nil
}

type noticeAddCmd struct {
	act
	channelFlags
	Name string `arg:"" help:"What people call it."`
	Kind string `required:"" enum:"email,slack,webhook" help:"How people are told: ${enum}."`
}

// Run adds it, and prints the secret that signs what a webhook channel sends.
func (c *noticeAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayChangeSettings); err != nil {
			return err // before anything is read
		}
		in := models.Channel{Name: c.Name, Kind: models.ChannelKind(c.Kind), Causes: models.Causes(), Hour: 7}
		if err := c.into(ctx, f, &in); err != nil {
			return err
		}
		if in.Kind != models.ChannelEmail {
			address, err := readOutlet()
			if err != nil {
				return err
			}
			in.URL = address
		}
		saved, secret, err := f.SaveChannel(ctx, in, "")
		if err != nil {
			return err
		}
		row, _, err := f.Channel(ctx, saved.ID, 0)
		if err != nil {
			return err
		}
		view := api.ChannelView(row)
		view.Secret = secret
		return c.facts(view, []fact{{"channel", view.Name}, {"to", view.Target}, {"secret", secret}})
	})
}

// readOutlet reads where a channel sends to.
func readOutlet() (string, error) {
	address, err := readPassword(os.Stdin)
	if err == nil && address == "" {
		err = models.Errorf(models.Invalid, "Give the channel's address on standard input, because it is half a secret: echo https://… | hefring notice add … (--url is the dashboard's).")
	}
	return address, err
}

type noticeChangeCmd struct {
	act
	channelArg
	channelFlags
	Rename *string `help:"What people call it from now on."`
	NewURL bool    `name:"new-url" help:"Read a new URL from standard input."`
}

// Run changes it.
func (c *noticeChangeCmd) Run(ctx context.Context) error {
	return c.onChannel(ctx, c.Name, func(f door, row fleet.ChannelRow) error {
		in := row.Channel
		replace(&in.Name, c.Rename)
		if err := c.into(ctx, f, &in); err != nil {
			return err
		}
		if c.NewURL {
			address, err := readOutlet()
			if err != nil {
				return err
			}
			in.URL = address
		}
		_, _, err := f.SaveChannel(ctx, in, "")
		return err
	})
}

type noticePauseCmd struct {
	act
	channelArg
}

// Run pauses it.
func (c *noticePauseCmd) Run(ctx context.Context) error {
	return c.onChannel(ctx, c.Name, func(f door, row fleet.ChannelRow) error { return f.PauseChannel(ctx, row.ID, true) })
}

type noticeResumeCmd struct {
	act
	channelArg
}

// Run resumes it.
func (c *noticeResumeCmd) Run(ctx context.Context) error {
	return c.onChannel(ctx, c.Name, func(f door, row fleet.ChannelRow) error { return f.PauseChannel(ctx, row.ID, false) })
}

type noticeTestCmd struct {
	act
	channelArg
}

// Run sends a message and prints what came of it.
func (c *noticeTestCmd) Run(ctx context.Context) error {
	return c.onChannel(ctx, c.Name, func(f door, row fleet.ChannelRow) error {
		a, err := f.TestChannel(ctx, row.ID)
		if err != nil {
			return err
		}
		err = c.facts(api.AttemptView(a), []fact{
			{"delivered", yes(a.Delivered)}, {"to", a.Recipient}, {"status", nonzero(a.Status)}, {"answer", a.Answer}, {"took", a.Took.Round(time.Millisecond)},
		})
		if err == nil && !a.Delivered {
			err = &exitError{exitFailed, "Not delivered. " + a.Problem}
		}
		return err
	})
}

type noticeRotateCmd struct {
	act
	channelArg
}

// Run makes the secret.
func (c *noticeRotateCmd) Run(ctx context.Context) error {
	return c.onChannel(ctx, c.Name, func(f door, row fleet.ChannelRow) error {
		secret, err := f.RotateChannelSecret(ctx, row.ID, "")
		if err != nil {
			return err
		}
		return c.single("secret", secret)
	})
}

type noticeResendCmd struct {
	act
	ID int64 `arg:"" name:"message" help:"The message's number; see hefring notice show."`
}

// Run has it delivered.
func (c *noticeResendCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		_, err := f.ResendMessage(ctx, c.ID)
		return err
	})
}

type noticeDeleteCmd struct {
	act
	channelArg
}

// Run deletes it.
func (c *noticeDeleteCmd) Run(ctx context.Context) error {
	return c.onChannel(ctx, c.Name, func(f door, row fleet.ChannelRow) error {
		_, err := f.DeleteChannel(ctx, row.ID)
		return err
	})
}
