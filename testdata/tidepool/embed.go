// Package tidepool holds the files of the fixture distribution. Package hefring/internal/tidepool writes its versions.
package tidepool

import "embed"

// Files is the first version's tree below base/, and below versions/ the list of versions with their changed files.
//
//go:embed all:base all:versions
var Files embed.FS
