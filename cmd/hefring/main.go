// Command hefring keeps a fleet of Drupal sites up to date.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"hefring/internal/config"
	"hefring/internal/run"
)

// version is set by the linker of a release.
var version = "dev"

// cli is every command with its flags.
type cli struct {
	Serve        serveCmd        `cmd:"" help:"Run the dashboard, the queues and the workers."`
	Web          webCmd          `cmd:"" help:"Answer people at one more address: pages, API and webhooks. It shares PostgreSQL and keys with hefring serve, which does the work."`
	Worker       workerCmd       `cmd:"" help:"Run the worker of a web host that is not the control plane's: it takes that server's tasks."`
	Server       serverCmd       `cmd:"" help:"Web hosts with workers of their own."`
	Overview     overviewCmd     `cmd:"" help:"What needs a decision, what runs, and how the fleet stands."`
	Distribution distributionCmd `cmd:"" help:"Distributions: add, change, check, approve …"`
	Site         siteCmd         `cmd:"" help:"Sites: install, upgrade, roll back, back up, restore, clone, delete …"`
	Platform     platformCmd     `cmd:"" help:"Platforms: verify, lock, compare, delete …"`
	Database     databaseCmd     `cmd:"" help:"Database servers for sites."`
	Queue        queueCmd        `cmd:"" help:"Queues of checks: run, pause, resume, set."`
	Webhook      webhookCmd      `cmd:"" help:"Webhooks: where a provider says that a source has changed."`
	Notice       noticeCmd       `cmd:"" help:"Notices: by which channels people are told of what."`
	Task         taskCmd         `cmd:"" help:"Tasks: list, follow, cancel, retry."`
	User         userCmd         `cmd:"" help:"People who may sign in."`
	Client       clientCmd       `cmd:"" help:"Clients: for whom sites are kept."`
	Token        tokenCmd        `cmd:"" help:"Tokens with which programs act for a user by the JSON API."`
	Audit        auditCmd        `cmd:"" help:"The record of changes: who changed what, when, from where."`
	Source       sourceCmd       `cmd:"" help:"Check and build sources from the command line, without a database. Exit codes: 1 it failed, 2 wrong settings, 3 something outside does not answer."`
	Doctor       doctorCmd       `cmd:"" help:"Say what is missing on this machine, and the command that mends it."`
	Config       configCmd       `cmd:"" help:"The settings: what holds, where it comes from, and whether it fits."`
	Backup       backupCmd       `cmd:"" help:"Back the control plane up into one file, while it runs. Sites have backups of their own."`
	Restore      restoreCmd      `cmd:"" help:"Restore the control plane from a backup, into an empty data folder or database."`
	Secret       secretCmd       `cmd:"" help:"The keys that stored credentials are encrypted with."`
	LoginLink    loginLinkCmd    `cmd:"" help:"Print a one-time link that signs a user in."`
	Demo         demoCmd         `cmd:"" help:"A demo fleet on this machine."`
	Dev          devCmd          `cmd:"" hidden:"" help:"For those who work on Hefring itself."`
	Completion   completionCmd   `cmd:"" help:"Print a script that completes commands, flags and files in your shell."`
	Man          manCmd          `cmd:"" help:"Write the man pages into a folder."`
	Version      versionCmd      `cmd:"" help:"Print the version."`
}

func main() {
	if code, isBridge := run.Bridge(os.Args); isBridge {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	loader := &config.Loader{Environ: os.Environ(), File: config.DefaultFile}
	parser, err := newParser(ctx, only(os.Args[1:]), loader)
	if err != nil {
		panic(err) // a mistake in the tags, which the tests find
	}
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		refuse(loader.Explain(err))
	}
	if err := command.Run(); err != nil && !toldToStop(ctx, command.Command(), err) {
		fmt.Fprintln(os.Stderr, "hefring:", err)
		stop()
		code := 1
		if e, ok := errors.AsType[*exitError](err); ok {
			code = e.code
		}
		os.Exit(code) //nolint:gocritic // stop was called
	}
}

// toldToStop tells whether a service ended because it was told to. While it starts, too,
// that is no failure.
func toldToStop(ctx context.Context, command string, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled) && slices.Contains([]string{"serve", "web", "worker"}, command)
}

// only is the command line with nothing but the command that args begin with: each
// command takes all settings, and to describe those of all commands takes longer
// than most of them work. What is about all commands gets all.
func only(args []string) any {
	if len(args) == 0 || slices.Contains([]string{"completion", "man"}, args[0]) {
		return new(cli)
	}
	for field := range reflect.TypeFor[cli]().Fields() {
		if strings.EqualFold(field.Name, strings.ReplaceAll(args[0], "-", "")) {
			return reflect.New(reflect.StructOf([]reflect.StructField{field})).Interface()
		}
	}
	return new(cli)
}

// usageCode is 2 for arguments that do not fit, as everywhere; kong has 80.
func usageCode(code int) int {
	if code == 80 {
		return exitSettings
	}
	return code
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run() error {
	_, err := fmt.Println(version) //nolint:forbidigo // it is what the command is for
	return err
}

type serveCmd struct {
	config.Config
}

// Run serves until it is told to stop.
func (c *serveCmd) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return serve(ctx, c.Config)
}

func serve(ctx context.Context, cfg config.Config) error {
	a, err := newApp(ctx, cfg)
	if err != nil {
		return err
	}
	defer a.close()
	return a.serve(ctx)
}
