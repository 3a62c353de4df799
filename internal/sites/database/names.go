package database

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"hefring/internal/sites"
	"hefring/models"
)

// Servers finds a database server, with its Password open.
type Servers func(ctx context.Context, id int64) (models.DatabaseServer, error)

// maxName is how long a name may be: PostgreSQL takes 63 bytes, MySQL 64, and some
// room is left for a database that is being made.
const maxName = 59

var labelPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$`)

// Place is one database on a server, taken apart.
type Place struct {
	Server models.DatabaseServer
	SiteID int64
	Label  string
	Name   string // of the database
	User   string // of the site there
}

// Database is the place as it is stored.
func (p Place) Database() models.Database {
	return models.Database{Engine: p.Server.Engine, Name: p.Name, Server: p.Server.ID, User: p.User}
}

// UserOf names the one user that a site has on a server.
func UserOf(server models.DatabaseServer, siteID int64) string {
	return server.Prefix + "_" + strconv.FormatInt(siteID, 10)
}

// NewPlace names a database of a site after a label: <prefix>_<site>_<label>,
// hyphens of the label written as underscores.
func NewPlace(server models.DatabaseServer, siteID int64, label string) (Place, error) {
	p := Place{Server: server, SiteID: siteID, Label: label, User: UserOf(server, siteID)}
	p.Name = p.User + "_" + strings.ReplaceAll(label, "-", "_")
	if siteID <= 0 || !labelPattern.MatchString(label) || len(p.Name) > maxName {
		return Place{}, models.Errorf(models.Invalid,
			"%q cannot name a database. Use lower-case letters, digits and hyphens, not too many.", label)
	}
	return p, nil
}

// ParsePlace takes a stored database apart; one that NewPlace could not have
// named is refused.
func ParsePlace(server models.DatabaseServer, db models.Database) (Place, error) {
	rest, ok := strings.CutPrefix(db.Name, server.Prefix+"_")
	id, label, found := strings.Cut(rest, "_")
	siteID, err := strconv.ParseInt(id, 10, 64)
	if ok && found && err == nil {
		p, err := NewPlace(server, siteID, strings.ReplaceAll(label, "_", "-"))
		if err == nil && p.Database() == db {
			return p, nil
		}
	}
	return Place{}, models.Errorf(models.Invalid, "%q is not a database of a site on %s.", db.Name, server.Name)
}

// Find gives the place of a stored database of one engine.
func (s Servers) Find(ctx context.Context, engine string, db models.Database) (Place, error) {
	if db.Engine != engine {
		return Place{}, models.Errorf(models.Invalid, "A database of the kind %q is not one of the kind %s.", db.Engine, engine)
	}
	if db.Server <= 0 {
		return Place{}, models.Errorf(models.Invalid, "%q names no database server.", db.Name)
	}
	server, err := s.of(ctx, engine, db.Server)
	if err != nil {
		return Place{}, err
	}
	return ParsePlace(server, db)
}

// Of gives the server on which a site's databases are made.
func (s Servers) Of(ctx context.Context, engine string, site models.Site) (models.DatabaseServer, error) {
	switch {
	case site.ID <= 0:
		return models.DatabaseServer{}, models.Errorf(models.Invalid, "There is no site %d.", site.ID)
	case site.DatabaseServerID == nil:
		return models.DatabaseServer{}, models.Errorf(models.Invalid, "The site %s has no database server.", site.URI)
	}
	return s.of(ctx, engine, *site.DatabaseServerID)
}

func (s Servers) of(ctx context.Context, engine string, id int64) (models.DatabaseServer, error) {
	server, err := s(ctx, id)
	if err != nil {
		return server, fmt.Errorf("find database server %d: %w", id, err)
	}
	if server.Engine != engine {
		return server, models.Errorf(models.Invalid, "%s is not a server of the kind %s.", server.Name, engine)
	}
	return server, nil
}

// ReadPassword gives the password of a site's user; "" when there is none yet.
func ReadPassword(layout sites.Layout, siteID int64) (string, error) {
	data, err := os.ReadFile(layout.Password(siteID))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read password of site %d: %w", siteID, err)
	}
	return strings.TrimSpace(string(data)), nil
}

// NewPassword makes one that also passes the usual rules for passwords.
func NewPassword() string { return "h9-" + rand.Text() + strings.ToLower(rand.Text()[:6]) }

// KeepPassword writes the password of a site's user to its file, at once or not
// at all.
func KeepPassword(layout sites.Layout, siteID int64, password string) error {
	path := layout.Password(siteID)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // PHP is another user, and gets through
		return fmt.Errorf("keep password of site %d: %w", siteID, err)
	}
	temp := path + ".new" // of a fixed name, so that a kill leaves one at most
	if err := writeSecret(temp, password); err != nil {
		return fmt.Errorf("keep password of site %d: %w", siteID, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("keep password of site %d: %w", siteID, err)
	}
	return nil
}

func writeSecret(path, secret string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // in the site's folder, which is ours
	if err != nil {
		return err
	}
	_, err = file.WriteString(secret + "\n")
	return errors.Join(err, file.Sync(), file.Close())
}

// ForgetPassword removes the file.
func ForgetPassword(layout sites.Layout, siteID int64) error {
	path := layout.Password(siteID)
	for _, name := range []string{path + ".new", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove password of site %d: %w", siteID, err)
		}
	}
	return nil
}
