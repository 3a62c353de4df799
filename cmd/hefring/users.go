package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"hefring/internal/config"
	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type loginLinkCmd struct {
	act
	Name string `arg:"" default:"admin" help:"The user's name."`
}

// Run prints the link. On the data folder it works also where nobody can sign in any
// more; from elsewhere it takes the token of an administrator.
func (c *loginLinkCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		token, err := f.LoginLink(ctx, c.Name)
		if err != nil {
			return err
		}
		return c.single("url", linkFor(c.URL, token))
	})
}

// linkFor is the address that signs a user in once, on the dashboard at base.
func linkFor(base, token string) string {
	return strings.TrimRight(base, "/") + api.LoginLinkPath + token
}

// withApp runs one use case beside a dashboard that may be running. A data folder
// that is none is left alone: it is mostly one that was mistyped.
func withApp(ctx context.Context, cfg *config.Config, use func(*app) error) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := settled(cfg); err != nil {
		return commandError(err)
	}
	cfg.URL = servedAt(cfg)
	a, err := newApp(ctx, *cfg)
	if err != nil {
		return err
	}
	defer a.close()
	return use(a)
}

// settled fails unless Hefring was started with this data folder before.
func settled(cfg *config.Config) error {
	place := layout(cfg.Data).control
	if file, is := strings.CutPrefix(cfg.Database, "sqlite:"); is {
		place = file
	}
	switch _, err := os.Stat(place); {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return models.Errorf(models.Invalid, "There is no Hefring in %s: %s is missing. Name its data folder with --data, start a new one there with hefring serve, or reach one elsewhere with --url and --token-file.", cfg.Data, place)
	default:
		return models.Wrapf(models.Invalid, err, "The data folder %s cannot be looked into: %v. Run this as the user that Hefring runs as.", cfg.Data, err)
	}
}

// readPassword reads one line; secrets never stand in arguments.
func readPassword(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

type tokenCmd struct {
	Add    tokenAddCmd    `cmd:"" help:"Make a token and print it, once."`
	List   tokenListCmd   `cmd:"" help:"List a user's tokens."`
	Revoke tokenRevokeCmd `cmd:"" help:"End a token."`
}

type tokenAddCmd struct {
	act
	User   string        `arg:"" help:"The user for whom programs act."`
	Name   string        `arg:"" help:"What it is for."`
	Life   time.Duration `default:"2160h" help:"How long it stays good, a year at most."`
	Role   string        `enum:",viewer,operator,manager,administrator" default:"" help:"What programs may do with it at most (default: what the user may)."`
	Client string        `help:"Name of the client whose sites are all that they see (default: what the user sees)."`
}

// Run prints the token.
func (c *tokenAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		client, err := clientNamed(ctx, f, c.Client)
		if err != nil {
			return err
		}
		token, err := f.CreateToken(ctx, fleet.NewToken{User: c.User, Name: c.Name, Life: c.Life, Role: models.Role(c.Role), ClientID: client})
		if err != nil {
			return err
		}
		return c.single("token", token)
	})
}

type tokenListCmd struct {
	act
	User string `arg:"" help:"The user's name."`
}

// Run prints the list, without the tokens themselves.
func (c *tokenListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		list, err := f.Tokens(ctx, c.User)
		if err != nil {
			return err
		}
		return c.table(each(list, api.TokenView), []string{"TOKEN", "MAY", "SITES", "GOOD UNTIL", "LAST USED"}, func(line func(...any)) {
			for _, t := range list {
				used := "never"
				if t.UsedAt != nil {
					used = t.UsedAt.Format(time.DateTime)
				}
				line(t.Name, cmp.Or(string(t.Role), "what the user may"), cmp.Or(t.Client, "the user's"), t.ExpiresAt.Format(time.DateTime), used)
			}
		})
	})
}

type tokenRevokeCmd struct {
	act
	User string `arg:"" help:"The user's name."`
	Name string `arg:"" help:"The token's name."`
}

// Run ends the token.
func (c *tokenRevokeCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error { return f.RevokeToken(ctx, c.User, c.Name) })
}
