package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"hefring/internal/config"
	"hefring/internal/doctor"
	"hefring/internal/run"
	"hefring/internal/store"
)

type doctorCmd struct {
	config.Config

	JSON bool `name:"json" help:"Print JSON."`
}

// Run looks at this machine and fails when something that is needed is missing.
func (c *doctorCmd) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	allowed, err := c.Allowed()
	if err != nil {
		return err
	}
	list := doctor.Examine(ctx, doctor.Config{
		// It must say what is wrong also where nothing can be contained; these
		// programs are the system's own.
		Programs: run.New(run.Config{Uncontained: true}), Sandbox: run.New(run.Config{}),
		Users: []string{c.WebUser, c.BuildUser}, Data: c.Data, Control: layout(c.Data).control, KeyFile: c.SecretKey,
		Allow: allowed, Unsandboxed: c.Unsandboxed, Database: c.probe,
	})
	if c.JSON {
		err = printJSON(os.Stdout, list)
	} else {
		err = printFindings(os.Stdout, list)
	}
	if err == nil && !doctor.Healthy(list) {
		err = &exitError{code: 1, text: "Something that is needed is missing; the lines that begin with FAIL say what mends it."}
	}
	return err
}

func (c *doctorCmd) probe(ctx context.Context) (doctor.Database, error) {
	name, now, err := store.Probe(ctx, c.Database)
	if errors.Is(err, fs.ErrNotExist) {
		return doctor.Database{Name: "SQLite, made at the first start,"}, nil
	}
	return doctor.Database{Name: name, Time: now}, err
}

func printFindings(w io.Writer, list []doctor.Finding) error {
	var b strings.Builder
	for _, f := range list {
		state := strings.ToLower(string(f.State))
		if f.State == doctor.Fail {
			state = "FAIL"
		}
		fmt.Fprintf(&b, "%-5s %-12s %s\n", state, f.Name, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(&b, "%-18s mend it with: %s\n", "", f.Fix)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
