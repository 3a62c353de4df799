package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/sites/backup"
	"hefring/internal/sites/database"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/internal/tree"
	"hefring/models"
)

// This file is the old server's part in moving a site to another one.

// Names of what goes from one server to the other.
const (
	cargoFolder  = "cargo"
	firstArchive = "first.tar.gz"
	firstList    = "first.json"
	lastArchive  = "last.tar.gz"
	lastList     = "last.json"
)

// listBytes bounds a list that is read: a million files have about 100 MB.
const listBytes = 1 << 30

// forGood is the lease of a gate that stays closed: nobody writes to a site where it
// is not any more.
const forGood = 20 * 365 * 24 * time.Hour

// cargoList goes beside an archive.
type cargoList struct {
	Listing  backup.Listing  `json:"listing"`
	Gone     []string        `json:"gone,omitempty"`     // since the first
	Password string          `json:"password,omitempty"` // of the site's user on its database server
	Backups  []models.Backup `json:"backups,omitempty"`
	Chain    string          `json:"chain,omitempty"` // what HTTPS is served with, in PEM
	Key      string          `json:"key,omitempty"`
}

// cargo is where the copies of a site lie that goes to another server, or comes from
// one.
func (h *Host) cargo(siteID int64) string {
	return filepath.Join(h.Layout.Dir(siteID), cargoFolder)
}

// CargoFolder makes the folder for what comes from another server.
func (h *Host) CargoFolder(siteID int64) (string, error) {
	dir := h.cargo(siteID)
	err := os.MkdirAll(filepath.Dir(dir), 0o755) //nolint:gosec // PHP is another user
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("make folder for what arrives: %w", err)
	}
	return dir, nil
}

// BackupFolder is where the backups of a site lie.
func (h *Host) BackupFolder(siteID int64) string { return h.backups(siteID) }

// Address is where visitors of a site are answered on this server, if name is the
// server's; "" when that cannot be found.
func (h *Host) Address(ctx context.Context, name string, site models.Site) string {
	if name == "" {
		return ""
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil || len(found) == 0 {
		return ""
	}
	return h.Web.Origin(preferred(found), site)
}

// preferred is an address that a host with IPv4 alone reaches, too.
func preferred(found []netip.Addr) netip.Addr {
	for _, a := range found {
		if a.Unmap().Is4() {
			return a.Unmap()
		}
	}
	return found[0]
}

// PackSite makes a first copy of a site that goes on serving and taking writes, and
// notes what it has, so that HandOver need not copy it once more.
func (h *Host) PackSite(ctx context.Context, site models.Site, platform models.Platform, backups []models.Backup, log upgrade.Log) (models.Cargo, error) {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return models.Cargo{}, err
	}
	defer unlock()
	log.Step("copy")
	dir := h.cargo(site.ID)
	if err := removeTree(dir); err != nil {
		return models.Cargo{}, fmt.Errorf("clear an earlier copy: %w", err)
	}
	source := h.cargoSource(site, platform)
	list := cargoList{}
	for _, b := range backups {
		list.Backups = append(list.Backups, models.Backup{ID: b.ID, Path: filepath.Base(b.Path), Digest: b.Digest})
	}
	if list.Password, err = database.ReadPassword(h.Layout, site.ID); err != nil {
		return models.Cargo{}, err
	}
	h.packCertificate(site, &list, log)
	if list.Listing, err = backup.List(ctx, source); err != nil {
		return models.Cargo{}, err
	}
	return h.packCargo(ctx, models.Cargo{Archive: filepath.Join(dir, firstArchive), List: filepath.Join(dir, firstList)}, source, list, log)
}

// cargoSource is what goes to another server: with the database only when that does not lie
// on a server of its own.
func (h *Host) cargoSource(site models.Site, platform models.Platform) backup.Source {
	folders := h.liveFolders(site.ID)
	s := backup.Source{
		Manifest: backup.Manifest{URI: site.URI, Platform: platform.Name, DrupalVersion: platform.DrupalVersion, Profile: site.Profile, Engine: site.Database.Engine, MadeAt: time.Now().UTC()},
		Files:    folders[backup.PartFiles], Private: folders[backup.PartPrivate], Config: folders[backup.PartConfig],
		Salt: h.Layout.Salt(site.ID), LocalSettings: drupal.LocalSettings(h.Layout, site.ID),
	}
	if site.Database.Server == 0 {
		s.Dump = func(ctx context.Context, w io.Writer) (int, error) {
			info, err := h.Databases.Dump(ctx, site.Database, w)
			return info.Tables, err
		}
	}
	return s
}

func (h *Host) packCargo(ctx context.Context, cargo models.Cargo, source backup.Source, list cargoList, log upgrade.Log) (models.Cargo, error) {
	result, err := backup.Write(ctx, cargo.Archive, source, log)
	if err != nil {
		return cargo, err
	}
	if err := prune(ctx, source, &list); err != nil {
		return cargo, err
	}
	text, err := json.Marshal(list) //nolint:gosec // the new server needs the password; the file is for Hefring alone
	if err != nil {
		return cargo, fmt.Errorf("write list of files: %w", err)
	}
	if err := os.WriteFile(cargo.List, text, 0o600); err != nil {
		return cargo, fmt.Errorf("write list of files: %w", err)
	}
	sum := sha256.Sum256(text)
	cargo.Digest = result.Digest + ":" + hex.EncodeToString(sum[:])
	log.Printf(models.LevelInfo, "%s to send", tree.Size(result.Bytes))
	return cargo, nil
}

// prune takes off a list what vanished while the archive was written: a page that is
// only read may clear generated files.
func prune(ctx context.Context, source backup.Source, list *cargoList) error {
	after, err := backup.List(ctx, source)
	if err != nil {
		return err
	}
	for path := range list.Listing {
		if _, there := after[path]; !there {
			delete(list.Listing, path)
			list.Gone = append(list.Gone, path)
		}
	}
	return nil
}

// HandOver refuses writes, copies what changed since PackSite, and goes through the
// steps. Once they say that the site is switched, writes stay refused here.
func (h *Host) HandOver(ctx context.Context, site models.Site, platform models.Platform, steps upgrade.HandOver, log upgrade.Log) (err error) {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	first, err := readList(filepath.Join(h.cargo(site.ID), firstList), "")
	if err != nil {
		return err
	}
	m := &mover{gate: &webserver.Gate{Run: h.Layout.Run(site.ID)}, release: func() {}}
	defer func() { m.release() }()
	log.Step("read-only")
	if _, err := m.readOnly(ctx); err != nil {
		return errors.Join(err, m.gate.Open())
	}
	sealed := false
	defer func() {
		if err != nil && !sealed && !h.Abandoned(context.Cause(ctx)) {
			m.release()
			err = errors.Join(err, m.gate.Open())
		}
	}()
	log.Step("copy")
	cargo, err := h.packLast(ctx, site, platform, first, log)
	if err != nil {
		return err
	}
	if err := steps.Closed(ctx, cargo); err != nil {
		return err
	}
	log.Step("prove")
	if err := steps.Proven(ctx); err != nil {
		return err
	}
	log.Step("switch")
	unseal, err := m.gate.Seal()
	if err != nil {
		return err
	}
	m.release()
	m.release = func() {}
	// From here on a dead worker must not let writes through: the site may be switched.
	sealed = true
	err = m.gate.Close(forGood)
	unseal()
	if err != nil {
		return err
	}
	return h.decided(ctx, m.gate, steps.Sealed)
}

// decided asks where the site is, and lets writes through if it is still here. What
// cannot be told now is asked by the next attempt.
func (h *Host) decided(ctx context.Context, gate *webserver.Gate, sealed func(ctx context.Context) (bool, error)) error {
	switched, err := sealed(context.WithoutCancel(ctx))
	if err != nil || switched {
		return err
	}
	return errors.Join(models.Errorf(models.Unavailable, "The site was not switched."), gate.Open())
}

// packLast copies what changed since the first copy.
func (h *Host) packLast(ctx context.Context, site models.Site, platform models.Platform, first cargoList, log upgrade.Log) (models.Cargo, error) {
	dir := h.cargo(site.ID)
	source := h.cargoSource(site, platform)
	now, err := backup.List(ctx, source)
	if err != nil {
		return models.Cargo{}, err
	}
	source.Only = func(part, path string) bool {
		_, listed := now[part+"/"+path]
		return listed && now.Changed(first.Listing, part+"/"+path)
	}
	list := cargoList{Listing: now, Gone: now.Gone(first.Listing)}
	return h.packCargo(ctx, models.Cargo{Archive: filepath.Join(dir, lastArchive), List: filepath.Join(dir, lastList)}, source, list, log)
}

// KeepClosed goes on with HandOver where a killed worker had sealed the site.
func (h *Host) KeepClosed(ctx context.Context, site models.Site, sealed func(ctx context.Context) (bool, error)) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	return h.decided(ctx, &webserver.Gate{Run: h.Layout.Run(site.ID)}, sealed)
}

// StayHere undoes PackSite and HandOver of a site that was not switched: writes are let
// through again.
func (h *Host) StayHere(ctx context.Context, site models.Site, sure func(ctx context.Context) (bool, error)) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	if yes, err := sure(ctx); err != nil || !yes {
		return err
	}
	if err := h.dropCargo(site); err != nil {
		return err
	}
	return (&webserver.Gate{Run: h.Layout.Run(site.ID)}).Open()
}

// dropCargo removes what was packed of a site.
func (h *Host) dropCargo(site models.Site) error {
	if err := removeTree(h.cargo(site.ID)); err != nil {
		return fmt.Errorf("remove copy of %s: %w", site.URI, err)
	}
	return nil
}

// SendOn has the web server send visitors on to where the site is now; with "" they
// are told to come back later.
func (h *Host) SendOn(ctx context.Context, site models.Site, target string, log upgrade.Log) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	log.Step("send on")
	if err := h.dropCargo(site); err != nil {
		return err
	}
	v := h.vhost(site)
	v.Away, v.Elsewhere = true, target
	if err := h.Web.AddSite(ctx, v); err != nil {
		return err
	}
	if target == "" {
		log.Printf(models.LevelWarn, "It is not known where visitors reach the new server, so those who still come here are told to come back later. Say it with the server's address, and point the site's name to the new server.")
		return nil
	}
	log.Printf(models.LevelInfo, "Visitors who still come here are sent on to %s", target)
	return nil
}

// Leave removes all that this server has of a site that is on another one. Its
// databases on database servers stay: they are in use.
func (h *Host) Leave(ctx context.Context, site models.Site, platforms []models.Platform, sure func(ctx context.Context) (bool, error)) error {
	if err := h.ownFolder(site); err != nil {
		return err
	}
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	if yes, err := sure(ctx); err != nil || !yes {
		return err
	}
	if err := h.Web.RemoveSite(ctx, site.ID); err != nil {
		return err
	}
	if err := h.offPlatforms(site, platforms); err != nil {
		return err
	}
	for _, dir := range []string{h.backups(site.ID), h.Layout.Dir(site.ID)} {
		if err := removeTree(dir); err != nil {
			return fmt.Errorf("remove what %s left: %w", site.URI, err)
		}
	}
	return tree.SyncDir(h.Layout.Root)
}

// readList reads a list of a cargo, whose digest must be the one given; "" is any.
func readList(path, want string) (list cargoList, err error) {
	file, err := os.Open(path) //nolint:gosec // in the site's own folder
	if errors.Is(err, fs.ErrNotExist) {
		return list, models.Errorf(models.Conflict, "The first copy of the site is gone. Move it again.")
	}
	if err != nil {
		return list, fmt.Errorf("open list of files: %w", err)
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	decoder := json.NewDecoder(io.TeeReader(io.LimitReader(file, listBytes), sum))
	if err := decoder.Decode(&list); err != nil {
		return list, models.Wrapf(models.Unavailable, err, "The list of the site's files cannot be read. Move the site again.")
	}
	if _, err := io.Copy(sum, file); err != nil {
		return list, fmt.Errorf("read list of files: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); want != "" && got != want {
		return list, models.Errorf(models.Unavailable, "What arrived is not what the other server sent. Move the site again.")
	}
	return list, nil
}

// digests takes a cargo's digest apart.
func digests(cargo models.Cargo) (archive, list string, err error) {
	archive, list, both := strings.Cut(cargo.Digest, ":")
	if !both {
		return "", "", models.Errorf(models.Unavailable, "It is not known what the other server sent. Move the site again.")
	}
	return archive, list, nil
}
