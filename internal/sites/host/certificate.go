package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/models"
)

// A certificate is in files of the operator's, which a tool may renew. When a site goes
// to another server, what it is served with goes along, and is used there until the
// operator's files are there too.

// certificateFolder holds what came along with a site. Its name says for which files of
// the operator's it stands: where others are named it does not count.
func (h *Host) certificateFolder(site models.Site) string {
	sum := sha256.Sum256([]byte(site.Certificate + "\n" + site.CertificateKey))
	return filepath.Join(h.Layout.Dir(site.ID), "certificate", hex.EncodeToString(sum[:8]))
}

// carried is certificateFolder if there is one.
func (h *Host) carried(site models.Site) string {
	dir := h.certificateFolder(site)
	if site.HTTPS == models.HTTPSOff {
		return ""
	}
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// packCertificate has what HTTPS is served with go along.
func (h *Host) packCertificate(site models.Site, list *cargoList, log upgrade.Log) {
	if site.HTTPS == models.HTTPSOff {
		return
	}
	pair, err := h.Web.Served(h.vhost(site))
	if err != nil {
		log.Printf(models.LevelWarn, "The certificate cannot go along, so its files must be on the new server: %s", models.Explain(err))
		return
	}
	list.Chain, list.Key = pair.Chain, pair.Key
}

// takeCertificate keeps what came along, and fails unless the site can be served with
// HTTPS here, if it was so before.
func (h *Host) takeCertificate(site models.Site, list cargoList, log upgrade.Log) error {
	if site.HTTPS == models.HTTPSOff {
		return nil
	}
	if list.Chain != "" {
		if err := keepCertificate(h.certificateFolder(site), list); err != nil {
			return fmt.Errorf("keep certificate of %s: %w", site.URI, err)
		}
	}
	pair, err := webserver.Offered(h.vhost(site))
	if err != nil {
		return models.Wrapf(models.Conflict, err, "%s Bring the certificate and its key to this server under these names, or switch HTTPS off; then move the site again.", models.Explain(err))
	}
	if pair.Lacks == "" {
		log.Printf(models.LevelInfo, "HTTPS is served with %s of this server", site.Certificate)
		return nil
	}
	log.Printf(models.LevelWarn, "%s HTTPS is served with the certificate that came along, which ends on %s. Have your tool keep both files on this server: as soon as they can be read, they are used.",
		pair.Lacks, pair.NotAfter.Format(time.DateOnly))
	return nil
}

func keepCertificate(dir string, list cargoList) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, webserver.CarriedKey), []byte(list.Key), 0o600),
		os.WriteFile(filepath.Join(dir, webserver.CarriedChain), []byte(list.Chain), 0o600))
}
