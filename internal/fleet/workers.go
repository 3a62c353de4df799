package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"hefring/models"
)

// joinLife is how long a token lets a worker join.
const joinLife = time.Hour

// Servers lists the web hosts with workers of their own.
func (f *Fleet) Servers(ctx context.Context) ([]ServerRow, error) {
	rows, err := f.store.ServerRows(ctx)
	for i := range rows {
		rows[i].Lives = rows[i].Alive(f.cfg.Now())
	}
	return rows, err
}

// ServerRow finds one by its name.
func (f *Fleet) ServerRow(ctx context.Context, name string) (ServerRow, error) {
	s, err := f.ServerNamed(ctx, name)
	if err != nil {
		return ServerRow{}, err
	}
	rows, err := f.Servers(ctx)
	if err != nil {
		return ServerRow{}, err
	}
	for _, row := range rows {
		if row.ID == s.ID {
			return row, nil
		}
	}
	return ServerRow{}, models.Errorf(models.NotFound, "There is no server %s.", s.Name) // it was removed meanwhile
}

// ServerChoices lists the servers that sites can be put on, by name: their worker has
// joined.
func (f *Fleet) ServerChoices(ctx context.Context) ([]models.Server, error) {
	return f.store.JoinedServers(ctx)
}

// CanAddServers fails with Unavailable, and says what it takes, where the control plane
// can have no server beside its own host.
func (f *Fleet) CanAddServers(context.Context) error { return f.store.TakesServers() }

// AddServer registers a web host. It gives the token with which its worker joins,
// once, within an hour. The token is a secret.
func (f *Fleet) AddServer(ctx context.Context, by, name, address string) (models.Server, string, error) {
	s := models.Server{Name: strings.ToLower(strings.TrimSpace(name)), Address: strings.TrimSpace(address)}
	if wrong := s.Validate(); len(wrong) > 0 {
		return s, "", models.InvalidFields(wrong)
	}
	return f.invite(ctx, by, s)
}

// InviteServer gives a new token for a server whose worker lost what it had, or never
// joined. The worker of before goes on until the new one joins.
func (f *Fleet) InviteServer(ctx context.Context, by string, id int64) (models.Server, string, error) {
	s, err := f.store.Server(ctx, id)
	if err != nil {
		return s, "", err
	}
	if s.State == models.ServerRemoved {
		return s, "", models.Errorf(models.Conflict, "%s is removed. Add it anew.", s.Name)
	}
	return f.invite(ctx, by, s)
}

func (f *Fleet) invite(ctx context.Context, by string, s models.Server) (models.Server, string, error) {
	token := tokenMark + "join_" + strings.ToLower(rand.Text())
	err := f.store.InviteServer(ctx, by, &s, hashToken(token), f.cfg.Now().Add(joinLife))
	return s, token, err
}

// RemoveServer takes a server that no site is on out of the fleet; its worker can do
// nothing from then on.
func (f *Fleet) RemoveServer(ctx context.Context, by string, id int64) error {
	s, err := f.store.Server(ctx, id)
	if err != nil {
		return err
	}
	return f.store.RemoveServer(ctx, by, s)
}

// JoinRequest is what a worker says to join.
type JoinRequest struct {
	Name      string `json:"name"`
	Token     string `json:"token"`
	Recipient string `json:"recipient"` // its public key
	Version   string `json:"version"`
}

// Credentials are what a worker has of its own. They are a secret.
type Credentials struct {
	Server   int64  `json:"server"`
	Name     string `json:"name"`
	Database string `json:"database"` // address of the control plane's database, with the worker's role
	Key      string `json:"key"`      // what it shows to be given platforms
}

// JoinContext ties the sealed credentials to the server that they are for.
func JoinContext(name string) string { return "credentials of the server " + name }

// JoinServer lets a worker join, once for each token, and gives its Credentials as
// JSON, sealed for the worker's key.
func (f *Fleet) JoinServer(ctx context.Context, in JoinRequest) ([]byte, error) {
	// A key that nothing can be sealed for must not use the token up.
	if _, err := f.cfg.SealFor(in.Recipient, JoinContext(in.Name), nil); err != nil {
		return nil, err
	}
	password, key := rand.Text(), tokenMark+"worker_"+strings.ToLower(rand.Text())
	s, err := f.store.JoinServer(ctx, Joining{
		Name: in.Name, TokenHash: hashToken(in.Token), Recipient: in.Recipient, Version: shortened(in.Version), Password: password,
		KeyHash: hashToken(key), Now: f.cfg.Now(),
	})
	if err != nil {
		return nil, err
	}
	address, err := withUser(f.cfg.WorkerDatabase, s.Role, password)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(Credentials{Server: s.ID, Name: s.Name, Database: address, Key: key})
	if err != nil {
		return nil, fmt.Errorf("write credentials: %w", err)
	}
	f.shareNow(ctx)
	return f.cfg.SealFor(in.Recipient, JoinContext(in.Name), text)
}

// shortened bounds what a worker says of itself.
func shortened(text string) string { return strings.ToValidUTF8(text[:min(len(text), 100)], "") }

// withUser puts a role's name and password into a database's address.
func withUser(database, role, password string) (string, error) {
	u, err := url.Parse(database)
	if err != nil || u.Scheme == "" {
		return "", models.Errorf(models.Unavailable, "The address of the control plane's database does not say where it is.")
	}
	u.User = url.UserPassword(role, password)
	return u.String(), nil
}

// WorkerWithKey gives the server whose worker shows this key.
func (f *Fleet) WorkerWithKey(ctx context.Context, key string) (models.Server, error) {
	s, err := f.store.ServerWithKey(ctx, hashToken(key))
	if models.CodeOf(err) == models.NotFound {
		err = models.Errorf(models.Forbidden, "This worker's key is not known: its server was removed or joined anew.")
	}
	return s, err
}

// PackPlatform writes the archive of the wanted files of a platform that is on its way
// to a server, or of its manifest.
func (f *Fleet) PackPlatform(ctx context.Context, s models.Server, platformID int64, wanted []byte, w io.Writer) error {
	list, err := f.store.DeliveriesOf(ctx, platformID)
	if err != nil {
		return err
	}
	for _, d := range list {
		if d.ServerID != s.ID {
			continue
		}
		p, err := f.store.Platform(ctx, platformID)
		if err != nil {
			return err
		}
		if p.State != models.PlatformReady {
			return models.Errorf(models.Conflict, "%s is %s.", p.Name, p.State)
		}
		root := f.cfg.Platforms.RootOf(p.Root)
		if !f.cfg.Platforms.Holds(root) {
			return models.Errorf(models.Unavailable, "%s is not on this host. Let workers ask the host that hefring serve runs on; --url of hefring worker says where that is.", p.Name)
		}
		return f.cfg.Platforms.Pack(ctx, root, p.ManifestDigest, wanted, w)
	}
	return models.Errorf(models.NotFound, "No platform %d is wanted on %s.", platformID, s.Name)
}

// ShareKeys seals the passwords of database servers for the workers whose sites use
// them, and for nobody else.
func (f *Fleet) ShareKeys(ctx context.Context) error {
	needs, err := f.store.ServerNeeds(ctx)
	if err != nil {
		return err
	}
	for _, need := range needs {
		of := sha256.Sum256(append([]byte(need.Server.Recipient+"\n"+serverContext(need.DatabaseServer)+"\n"), need.DatabaseServer.Secret...))
		source := hex.EncodeToString(of[:])
		if source == need.Source || len(need.DatabaseServer.Secret) == 0 {
			continue
		}
		open, err := WithPassword(f.cfg.Secrets, need.DatabaseServer)
		if err != nil {
			return err
		}
		sealed, err := f.cfg.SealFor(need.Server.Recipient, serverContext(open), []byte(open.Password))
		if err != nil {
			return fmt.Errorf("seal password of %s for %s: %w", open.Name, need.Server.Name, err)
		}
		key := models.ServerKey{ServerID: need.Server.ID, DatabaseServerID: open.ID, Sealed: sealed, Source: source}
		if err := f.store.SaveServerKey(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// shareNow is ShareKeys after something that people did; the schedule tries again.
func (f *Fleet) shareNow(ctx context.Context) {
	if err := f.ShareKeys(ctx); err != nil {
		f.logger.WarnContext(ctx, "share passwords of database servers with workers", slog.Any("error", err))
	}
}

// keyTime is how long a new site waits for the password of its database server.
const keyTime = 3 * time.Minute

// keyed fails with Waiting until this server's worker has the password that a new site
// needs.
func (f *Fleet) keyed(ctx context.Context, t models.Task, s models.Site) error {
	if f.cfg.Server <= 0 || s.DatabaseServerID == nil || ctx.Err() != nil {
		return nil //nolint:nilerr // what was stopped says so itself
	}
	_, err := f.store.ServerKey(ctx, f.cfg.Server, *s.DatabaseServerID)
	if models.CodeOf(err) == models.NotFound && f.cfg.Now().Sub(t.CreatedAt) < keyTime {
		return Waiting{For: deliveryPoll}
	}
	return err
}

// Beat notes that this server's worker lives.
func (f *Fleet) Beat(ctx context.Context, version string) error {
	return f.store.BeatServer(ctx, f.cfg.Server, shortened(version))
}

// placeOn says on which server a new site is made, and why not.
func (f *Fleet) placeOn(ctx context.Context, s *models.Site, serverID int64) string {
	if serverID == 0 {
		return ""
	}
	server, err := f.store.Server(ctx, serverID)
	if err != nil || server.State == models.ServerRemoved {
		return "Choose one of the servers."
	}
	if server.State != models.ServerJoined {
		return server.Name + "'s worker has not joined yet. Start it there first."
	}
	s.Server, s.ServerID = server.Name, &server.ID
	return ""
}

// here tells whether a site is on this process's server.
func (f *Fleet) here(s models.Site) bool { return s.Home() == f.cfg.Server }
