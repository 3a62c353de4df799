// Command tiny stands for the program in the tests of a release: it is quickly
// built and holds a module of others.
package main

import (
	"os"

	"golang.org/x/mod/semver"
)

func main() { os.Exit(semver.Compare("v1.0.0", "v1.0.0")) }
