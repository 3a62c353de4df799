package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/webserver"
	"hefring/internal/testcert"
	"hefring/models"
)

// said keeps what a step says.
type said struct{ strings.Builder }

func (s *said) Step(string)    {}
func (s *said) Out() io.Writer { return s }
func (s *said) Err() io.Writer { return s }
func (s *said) Printf(level models.Level, format string, args ...any) {
	fmt.Fprintf(s, string(level)+" "+format+"\n", args...)
}

// HTTPS is never lost on the way to another server without a word: what it was served
// with goes along, the operator's files on the new server go before it, and where there
// is neither the site is refused.
func TestHost_Certificate_GoesAlong(t *testing.T) {
	t.Parallel()
	place := func() *Host {
		dir := t.TempDir()
		return &Host{
			Layout: sites.Layout{Root: filepath.Join(dir, "sites")},
			Web:    webserver.New(webserver.Config{Dir: filepath.Join(dir, "web")}, run.New(run.Config{})),
		}
	}
	old, fresh := place(), place()
	files := t.TempDir()
	site := models.Site{ID: 7, URI: "museum.example.org", HTTPS: models.HTTPSRequired, Certificate: filepath.Join(files, "site.crt"), CertificateKey: filepath.Join(files, "site.key")}
	chain, key := testcert.Pair(t)
	arrives := func(list cargoList) (string, error) {
		log := &said{}
		err := fresh.takeCertificate(site, list, log)
		return log.String(), err
	}

	// The old server has none that could go along, nor has the new one.
	log, list := &said{}, cargoList{}
	old.packCertificate(site, &list, log)
	if !strings.Contains(log.String(), "warn The certificate cannot go along") || list.Chain != "" {
		t.Errorf("it says %q and sends %q", log, list.Chain)
	}
	if _, err := arrives(list); models.CodeOf(err) != models.Conflict || !strings.Contains(models.Explain(err), "switch HTTPS off") {
		t.Errorf("it is taken in all the same: %v", err)
	}

	testcert.Write(t, site.Certificate, site.CertificateKey)
	old.packCertificate(site, &list, &said{})
	if list.Chain != string(chain) || list.Key != string(key) {
		t.Fatalf("it sends %q", list.Chain)
	}
	if text, err := arrives(list); err != nil || !strings.Contains(text, "of this server") {
		t.Errorf("it says %q: %v", text, err)
	}
	if err := errors.Join(os.Remove(site.Certificate), os.Remove(site.CertificateKey)); err != nil {
		t.Fatal(err)
	}
	if text, err := arrives(list); err != nil || !strings.Contains(text, "HTTPS is served with the certificate that came along") || !strings.Contains(text, "warn The file "+site.Certificate) {
		t.Errorf("it says %q: %v", text, err)
	}
	dir := fresh.vhost(site).Carried
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, webserver.CarriedKey): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}

	// It stands for the files that were named, and goes on to the next server.
	again := cargoList{}
	fresh.packCertificate(site, &again, &said{})
	if again.Chain != string(chain) {
		t.Error("it does not go on")
	}
	other := site
	other.Certificate += ".new"
	if got := fresh.vhost(other).Carried; got != "" {
		t.Errorf("it stands for others: %s", got)
	}
	other = site
	other.HTTPS = models.HTTPSOff
	if got := fresh.vhost(other).Carried; got != "" {
		t.Errorf("it is used without HTTPS: %s", got)
	}
	none := cargoList{}
	old.packCertificate(other, &none, &said{})
	if none.Chain != "" {
		t.Error("what nobody is served with goes along")
	}
	if err := fresh.takeCertificate(other, list, &said{}); err != nil {
		t.Error(err)
	}
}
