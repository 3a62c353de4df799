// Command cmd makes a release from binaries that were built before; "make release"
// runs it.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"hefring/internal/release"
)

type options struct {
	Version  string   `required:"" help:"Version of the release, such as 1.4.0 or what git describe says."`
	Time     string   `required:"" name:"source-date-epoch" env:"SOURCE_DATE_EPOCH" help:"Time of everything inside, in seconds since 1970."`
	Source   string   `default:"." type:"existingdir" help:"The checkout."`
	Modules  string   `required:"" type:"existingdir" help:"Go's module cache."`
	GoRoot   string   `required:"" name:"goroot" type:"existingdir" help:"Go's own folder."`
	Extras   string   `type:"path" help:"Folder with man pages in man/man1 and so on, and completions in completions/."`
	Out      string   `required:"" type:"path" help:"Folder to make anew."`
	Binaries []string `arg:"" type:"existingfile" help:"Built binaries, one for each architecture."`
}

func main() {
	var o options
	command := kong.Parse(&o, kong.Name("release"), kong.Description("Makes archives, Debian packages, SBOMs and checksums from built binaries."))
	command.FatalIfErrorf(o.run())
}

func (o options) run() error {
	seconds, err := strconv.ParseInt(o.Time, 10, 64)
	if err != nil {
		return fmt.Errorf("read SOURCE_DATE_EPOCH: %w", err)
	}
	made, err := release.Release{
		Version: o.Version, Time: time.Unix(seconds, 0), Binaries: o.Binaries,
		Source: o.Source, Modules: o.Modules, GoRoot: o.GoRoot, Extras: o.Extras, Out: o.Out,
	}.Make()
	if err != nil {
		return err
	}
	for _, file := range made.Files {
		fmt.Fprintf(os.Stdout, "%9.1f MiB  %s  %s\n", float64(file.Size)/(1<<20), file.SHA256, file.Name)
	}
	for _, name := range made.Unlicensed {
		fmt.Fprintf(os.Stderr, "The licence of %s is not known.\n", name)
	}
	return nil
}
