package main

import (
	"io"
	"os"

	"github.com/alecthomas/kong"

	"hefring/internal/docs"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Which shell: bash, zsh or fish."`
}

// Run prints the script.
func (c *completionCmd) Run(parsed *kong.Context) error {
	script, err := docs.Completion(c.Shell, parsed.Model)
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, script)
	return err
}
