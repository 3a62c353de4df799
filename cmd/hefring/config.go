package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
	"hefring/models"
)

type configCmd struct {
	Show  configShowCmd  `cmd:"" default:"withargs" help:"Print every setting, its value and where that comes from. Secrets are masked."`
	Check configCheckCmd `cmd:"" help:"Look whether the settings fit. Every problem is told, with its place; the exit code is then 2."`
}

type configShowCmd struct {
	config.Config
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the settings that hold.
func (c *configShowCmd) Run(report *config.Report) error {
	if c.JSON {
		return printJSON(os.Stdout, report.Settings)
	}
	return printSettings(os.Stdout, report)
}

func printSettings(w io.Writer, report *config.Report) error {
	out := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	printTo(out, "SETTING\tVALUE\tFROM")
	for _, one := range report.Settings {
		printTo(out, "%s\t%s\t%s", one.Name, one.Value, one.From)
	}
	return out.Flush()
}

type configCheckCmd struct {
	config.Config
}

// Run is reached only when everything fits.
func (c *configCheckCmd) Run(report *config.Report) error {
	file := "There is no settings file."
	if report.File != "" {
		file = report.File + " was read."
	}
	_, err := fmt.Fprintln(os.Stdout, "The settings fit. "+file)
	return err
}

// newParser makes the command line of a *cli or a part of it, with settings from the environment and from
// the file in it.
func newParser(ctx context.Context, commands any, loader *config.Loader) (*kong.Kong, error) {
	return kong.New(commands,
		kong.Name("hefring"),
		kong.Description("Hefring keeps a fleet of Drupal sites up to date."),
		kong.Exit(func(code int) { os.Exit(usageCode(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.WithBeforeReset(loader.Load),
		kong.PostBuild(groupSettings),
	)
}

// groupSettings sets the settings apart in help texts, where a command's own
// flags come first.
func groupSettings(k *kong.Kong) error {
	group := &kong.Group{Key: "settings", Title: "Settings (hefring config shows what holds):"}
	names := map[string]bool{}
	for _, setting := range config.Settings() {
		names[setting.Env] = true
	}
	return kong.Visit(k.Model.Node, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && len(flag.Envs) > 0 && names[flag.Envs[0]] {
			flag.Group = group
		}
		return next(nil)
	})
}

// refuse ends the program over a command line or settings that do not fit.
func refuse(err error) {
	if e, ok := errors.AsType[*models.Error](err); ok {
		fmt.Fprintln(os.Stderr, "hefring:", e)
		os.Exit(exitSettings)
	}
	code, command := exitSettings, "hefring"
	if e, ok := errors.AsType[*kong.ParseError](err); ok {
		code, command = usageCode(e.ExitCode()), commandOf(e.Context)
	}
	// What may be left out has "" among its values, which nobody types.
	text := strings.Replace(err.Error(), `must be one of "",`, "must be one of ", 1)
	fmt.Fprintf(os.Stderr, "hefring: %s\nRun '%s --help' for all flags.\n", text, command)
	os.Exit(code)
}

// commandOf is the command as far as it was understood.
func commandOf(ctx *kong.Context) string {
	words := []string{"hefring"}
	for _, part := range ctx.Path {
		if part.Command != nil {
			words = append(words, part.Command.Name)
		}
	}
	return strings.Join(words, " ")
}
