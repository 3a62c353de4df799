package fleet

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hefring/models"
)

// testLimit bounds the test of a database server.
const testLimit = 30 * time.Second

// serverContext ties a server's password to its address: a password that was
// kept never goes to another host.
func serverContext(s models.DatabaseServer) string {
	return "database server " + s.Engine + " " + s.User + "@" + s.Host + ":" + strconv.Itoa(s.Port)
}

// OpenDatabaseServer gives a server with its password.
func (f *Fleet) OpenDatabaseServer(ctx context.Context, id int64) (models.DatabaseServer, error) {
	s, err := f.store.DatabaseServer(ctx, id)
	if err != nil {
		return s, err
	}
	if f.cfg.Server > 0 {
		key, err := f.store.ServerKey(ctx, f.cfg.Server, id)
		if err != nil {
			return s, err
		}
		s.Secret = key.Sealed
	}
	return WithPassword(f.cfg.Secrets, s)
}

// WithPassword opens the password of a server as it is stored.
func WithPassword(secrets Sealer, s models.DatabaseServer) (models.DatabaseServer, error) {
	if len(s.Secret) == 0 {
		return s, nil
	}
	password, err := secrets.Open(serverContext(s), s.Secret)
	if err != nil {
		return s, fmt.Errorf("open password of %s: %w", s.Name, err)
	}
	s.Password = string(password)
	return s, nil
}

// SaveDatabaseServer registers a server, or changes one, once it has shown that
// it can do what is asked of it. An empty password keeps the one that is stored,
// unless the address changed.
func (f *Fleet) SaveDatabaseServer(ctx context.Context, by string, s models.DatabaseServer) (models.DatabaseServer, error) {
	s.Name, s.Host, s.User = strings.TrimSpace(s.Name), strings.TrimSpace(s.Host), strings.TrimSpace(s.User)
	wrong := s.Validate()
	var sealed []byte // with the same password as s
	if s.ID != 0 {
		old, err := f.OpenDatabaseServer(ctx, s.ID)
		if err != nil {
			return s, err
		}
		sites, err := f.store.SitesUsing(ctx, s.ID)
		if err != nil {
			return s, err
		}
		if len(sites) > 0 && (old.Engine != s.Engine || old.Prefix != s.Prefix) {
			wrong["engine"] = sites[0].URI + " and others have their databases there. Register another server instead."
		}
		if s.Password == "" && serverContext(old) == serverContext(s) {
			s.Password = old.Password
		} else if s.Password == "" && old.Password != "" {
			wrong["password"] = "Type the password again: a stored one does not follow to another address."
		}
		if s.Password == old.Password && serverContext(old) == serverContext(s) {
			sealed = old.Secret // the same is never sealed the same way, and the record would say that it changed
		}
		s.CreatedAt = old.CreatedAt
	}
	if len(wrong) > 0 {
		return s, models.InvalidFields(wrong)
	}
	if err := f.test(ctx, &s); err != nil {
		return s, err
	}
	if s.Secret = sealed; s.Secret == nil && s.Password != "" {
		sealed, err := f.cfg.Secrets.Seal(serverContext(s), []byte(s.Password))
		if err != nil {
			return s, fmt.Errorf("seal password of %s: %w", s.Name, err)
		}
		s.Secret = sealed
	}
	if err := f.store.SaveDatabaseServer(ctx, by, &s); err != nil {
		return s, err
	}
	s.Password = ""
	f.shareNow(ctx)
	return s, nil
}

// test asks a server to do all that Hefring will ask of it, and notes the answer.
func (f *Fleet) test(ctx context.Context, s *models.DatabaseServer) error {
	ctx, stop := context.WithTimeout(ctx, testLimit)
	defer stop()
	version, err := f.cfg.Hosting.TestDatabaseServer(ctx, *s)
	now := f.cfg.Now()
	s.TestedAt, s.Reason = &now, ""
	if err != nil {
		s.Reason = models.Explain(err)
		return err
	}
	s.Version = version
	return nil
}

// TestDatabaseServer asks a registered server again.
func (f *Fleet) TestDatabaseServer(ctx context.Context, by string, id int64) error {
	s, err := f.OpenDatabaseServer(ctx, id)
	if err != nil {
		return err
	}
	failed := f.test(ctx, &s)
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), testLimit)
	defer stop()
	if err := f.store.MarkDatabaseServer(ctx, s); err != nil {
		return err
	}
	said := "It can be used."
	if failed != nil {
		said = s.Reason
	}
	if err := f.store.RecordEvent(ctx, f.event(by, "test", models.Subject{Kind: models.SubjectServer, ID: id}, said)); err != nil {
		return err
	}
	return failed
}

// DeleteDatabaseServer forgets a server that no site uses. Nothing on it is
// changed.
func (f *Fleet) DeleteDatabaseServer(ctx context.Context, by string, id int64) error {
	sites, err := f.store.SitesUsing(ctx, id)
	if err != nil {
		return err
	}
	if len(sites) > 0 {
		return models.Errorf(models.Conflict, "The databases of %s are on it. Delete these sites first.", nameSome(sites))
	}
	return f.store.DeleteDatabaseServer(ctx, by, id)
}

// nameSome names the first few sites of a list.
func nameSome(sites []models.Site) string {
	const most = 5
	names := make([]string, 0, most)
	for _, s := range sites[:min(len(sites), most)] {
		names = append(names, s.URI)
	}
	text := strings.Join(names, ", ")
	if more := len(sites) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
