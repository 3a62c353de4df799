// Package builtin lists the update types that come with Hefring. A new type adds
// its folder and one line here, and nothing else.
package builtin

import (
	"hefring/plugins"
	"hefring/plugins/composer"
	"hefring/plugins/git"
	"hefring/plugins/makefile"
	"hefring/plugins/manual"
	"hefring/plugins/stock"
)

// All gives every update type, in the order in which forms offer them.
func All() []plugins.Plugin {
	return []plugins.Plugin{
		git.New(),
		stock.New(),
		composer.New(),
		makefile.New(),
		manual.New(),
	}
}
