package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// bom lists what the binary holds, as CycloneDX 1.6 in JSON. It comes from what Go
// wrote into the binary itself, not from go.mod, which also lists what only tests
// and tools need.
func (r Release) bom(built binary, parts []component) ([]byte, error) {
	digest := sha256.Sum256(built.data)
	root := "pkg:generic/hefring@" + r.Version + "?arch=" + built.arch + "&os=linux"
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + uuid(digest[:])
	bom.Metadata = &cdx.Metadata{
		Timestamp:  r.Time.Format(time.RFC3339),
		Lifecycles: &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhasePostBuild}},
		Component: &cdx.Component{
			BOMRef: root, Type: cdx.ComponentTypeApplication, Name: "hefring", Version: r.Version, PackageURL: root,
			Description: "Keeps a fleet of Drupal sites up to date",
			Licenses:    licences(r.ownLicence()),
			Hashes:      &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(digest[:])}},
			Properties:  buildSettings(built),
		},
	}
	var list []cdx.Component
	var needs []string
	for _, c := range parts {
		entry := cdx.Component{
			BOMRef: c.purl, Type: cdx.ComponentTypeLibrary, Name: c.name, Version: c.version, PackageURL: c.purl,
			Scope: cdx.ScopeRequired, Licenses: licences(c.licences),
		}
		if c.sum != "" {
			entry.Properties = &[]cdx.Property{{Name: "go:sum", Value: c.sum}}
		}
		list, needs = append(list, entry), append(needs, c.purl)
	}
	bom.Components, bom.Dependencies = &list, &[]cdx.Dependency{{Ref: root, Dependencies: &needs}}
	var out bytes.Buffer
	err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
	if err != nil {
		return nil, fmt.Errorf("write SBOM: %w", err)
	}
	return out.Bytes(), nil
}

// uuid makes one of version 8 (RFC 9562) from a digest, so that the same binary
// has the same.
func uuid(digest []byte) string {
	b := bytes.Clone(digest[:16])
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (r Release) ownLicence() []string {
	text, err := os.ReadFile(filepath.Join(r.Source, "LICENSE"))
	if err != nil {
		return nil // it is told as not known
	}
	return classify(string(text))
}

// licences is one identifier, or several that all hold.
func licences(ids []string) *cdx.Licenses {
	switch len(ids) {
	case 0:
		return nil
	case 1:
		return &cdx.Licenses{{License: &cdx.License{ID: ids[0]}}}
	}
	return &cdx.Licenses{{Expression: strings.Join(ids, " AND ")}}
}

// buildSettings are what Go says about how the binary was built.
func buildSettings(built binary) *[]cdx.Property {
	list := []cdx.Property{{Name: "go:version", Value: built.info.GoVersion}}
	for _, s := range built.info.Settings {
		list = append(list, cdx.Property{Name: "go:build:" + s.Key, Value: s.Value})
	}
	return &list
}
