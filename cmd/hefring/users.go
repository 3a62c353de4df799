package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"hefring/internal/config"
	"hefring/internal/fleet"
)

type loginLinkCmd struct {
	config.Config
	Name string `arg:"" default:"admin" help:"The user's name."`
}

// Run prints the link.
func (c *loginLinkCmd) Run(ctx context.Context) error {
	return withApp(ctx, &c.Config, func(a *app) error {
		link, err := a.loginLink(ctx, c.Name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(os.Stdout, link)
		return err
	})
}

// withApp runs one use case beside a dashboard that may be running.
func withApp(ctx context.Context, cfg *config.Config, use func(*app) error) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	a, err := newApp(ctx, *cfg)
	if err != nil {
		return err
	}
	defer a.close()
	return use(a)
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
	User string        `arg:"" help:"The user for whom programs act."`
	Name string        `arg:"" help:"What it is for."`
	Life time.Duration `default:"2160h" help:"How long it stays good, a year at most."`
}

// Run prints the token.
func (c *tokenAddCmd) Run(ctx context.Context) error {
	return c.do(ctx, func(f *fleet.Desk) error {
		token, err := f.CreateToken(ctx, c.User, c.Name, c.Life)
		if err != nil {
			return err
		}
		printTo(os.Stdout, "%s", token)
		return nil
	})
}

type tokenListCmd struct {
	act
	User string `arg:"" help:"The user's name."`
}

// Run prints the list, without the tokens themselves.
func (c *tokenListCmd) Run(ctx context.Context) error {
	return c.do(ctx, func(f *fleet.Desk) error {
		list, err := f.Tokens(ctx, c.User)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].Hash = ""
		}
		return c.table(list, []string{"TOKEN", "GOOD UNTIL", "LAST USED"}, func(line func(...any)) {
			for _, t := range list {
				used := "never"
				if t.UsedAt != nil {
					used = t.UsedAt.Format(time.DateTime)
				}
				line(t.Name, t.ExpiresAt.Format(time.DateTime), used)
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
	return c.do(ctx, func(f *fleet.Desk) error { return f.RevokeToken(ctx, c.User, c.Name) })
}
