package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"hefring/internal/config"
	"hefring/internal/control"
	"hefring/internal/store"
	"hefring/internal/tasks"
	"hefring/internal/tree"
	"hefring/models"
)

// local is what both commands have in common. They work on the data folder and the
// database themselves, whoever is signed in.
type local struct {
	config.Config
	JSON bool `name:"json" help:"Print JSON."`
}

type backupCmd struct {
	local
	File    string `arg:"" help:"File to make; it must not be there yet. - writes to standard output."`
	WithKey bool   `name:"with-secret-key" help:"Put the key file in, too. Whoever has the backup can then read all stored credentials."`
}

// Run backs the control plane up; Hefring may run and write meanwhile.
func (c *backupCmd) Run(ctx context.Context) error { return commandError(c.backup(ctx)) }

func (c *backupCmd) backup(ctx context.Context) error {
	plane, err := c.plane()
	if err != nil {
		return err
	}
	if c.File == "-" {
		if c.JSON {
			plane.Log = silence{} // the answer stands alone on standard error
		}
		made, err := plane.Write(ctx, os.Stdout, c.WithKey)
		if err != nil {
			return err
		}
		return c.report(os.Stderr, made)
	}
	made, err := plane.Backup(ctx, c.File, c.WithKey)
	if err != nil {
		return err
	}
	return c.report(os.Stdout, made)
}

// backupJSON is a backup or a restore as scripts read it.
type backupJSON struct {
	File    string           `json:"file"`
	Bytes   int64            `json:"bytes,omitempty"`
	SHA256  string           `json:"sha256,omitempty"`
	Format  int              `json:"format"`
	Hefring string           `json:"hefring"`
	Schema  int64            `json:"schema"`
	Engine  string           `json:"engine"`
	MadeAt  time.Time        `json:"made_at"`
	Rows    int64            `json:"rows"`
	Tables  map[string]int64 `json:"tables"`
	Files   int              `json:"files"`
	Key     bool             `json:"secret_key"` // it is in the backup
	NoKey   bool             `json:"secret_key_missing,omitempty"`
}

func manifestJSON(file string, m control.Manifest) backupJSON {
	return backupJSON{
		File: file, Format: m.Format, Hefring: m.Hefring, Schema: m.Schema, Engine: m.Engine, MadeAt: m.MadeAt,
		Rows: m.Rows, Tables: m.Tables, Files: m.Parts[control.PartFiles].Entries, Key: m.HasKey(),
	}
}

func (c *backupCmd) report(out io.Writer, made control.Result) error {
	if c.JSON {
		answer := manifestJSON(c.File, made.Manifest)
		answer.Bytes, answer.SHA256 = made.Bytes, made.SHA256
		return printJSON(out, answer)
	}
	key := "without the key file"
	if made.HasKey() {
		key = "with the key file"
	}
	printTo(out, "%s: %s, %d tables with %d rows, schema %d, %s, SHA-256 %s", c.File, tree.Size(made.Bytes), len(made.Tables), made.Rows, made.Schema, key, made.SHA256)
	return nil
}

type restoreCmd struct {
	local
	File   string `arg:"" help:"The backup." type:"path"`
	SHA256 string `name:"sha256" help:"Refuse the file unless this is its SHA-256."`
}

// Run restores the control plane into an empty place. Hefring is started after it.
func (c *restoreCmd) Run(ctx context.Context) error { return commandError(c.restore(ctx)) }

func (c *restoreCmd) restore(ctx context.Context) error {
	plane, err := c.plane()
	if err != nil {
		return err
	}
	done, err := plane.Restore(ctx, c.File, c.SHA256, c.queue)
	if err != nil {
		return err
	}
	if c.JSON {
		answer := manifestJSON(c.File, done.Manifest)
		answer.NoKey = done.KeyMissing
		return printJSON(os.Stdout, answer)
	}
	printTo(os.Stdout, "Restored %d tables with %d rows from %s, made %s.", len(done.Tables), done.Rows, c.File, done.MadeAt.Local().Format(time.DateTime))
	if done.KeyMissing {
		printTo(os.Stderr, "The key file is not in the backup. Put your copy to %s before you start Hefring, or it makes a new key that opens none of the stored credentials.", plane.SecretKey)
	}
	return nil
}

// queue brings the queue's tables into the new database; nothing works on it yet.
func (c *restoreCmd) queue(ctx context.Context, access store.Access) (store.Enqueuer, error) {
	return tasks.New(ctx, nil, tasks.Access(access), tasks.Config{ID: "restore", Logger: newLogger(c.LogLevel)})
}

// plane is the control plane that the settings name. Neither newApp nor the
// programs that it looks for are needed, and nothing is brought up to date.
func (c *local) plane() (control.Plane, error) {
	if err := c.Validate(); err != nil {
		return control.Plane{}, err
	}
	return control.Plane{
		Database: c.Database, Folder: layout(c.Data).control, SecretKey: c.SecretKey, Version: version, Log: stderrLog{},
	}, nil
}

// stderrLog tells people on standard error how it goes.
type stderrLog struct{}

// Printf prints a line.
func (stderrLog) Printf(_ models.Level, format string, args ...any) {
	printTo(os.Stderr, "%s", fmt.Sprintf(format, args...))
}

type silence struct{}

// Printf says nothing.
func (silence) Printf(models.Level, string, ...any) {}
