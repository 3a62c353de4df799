//go:build !release

package release

import "errors"

// deb needs nfpm, which only a build with the tag "release" has.
func (Release) deb(string, string, []content) error {
	return errors.New("built without the tag “release”")
}
