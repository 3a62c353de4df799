package fleet

import (
	"context"
	"io"
	"time"

	"hefring/models"
)

// Servers is what the store knows of web hosts with workers of their own.
type Servers interface {
	ServerRows(ctx context.Context) ([]ServerRow, error)        // by name, without removed ones
	JoinedServers(ctx context.Context) ([]models.Server, error) // by name
	// TakesServers is Unavailable unless the database is a PostgreSQL.
	TakesServers() error
	Server(ctx context.Context, id int64) (models.Server, error)
	ServerNamed(ctx context.Context, name string) (models.Server, error)
	// InviteServer stores a new server, or lets the worker of one that is there
	// join anew, with a token of that hash. Unavailable: the database is no
	// PostgreSQL.
	InviteServer(ctx context.Context, by string, s *models.Server, tokenHash string, until time.Time) error
	// JoinServer uses a token up and makes the worker's role in the database.
	// NotFound: there is no such token, or its time is over.
	JoinServer(ctx context.Context, in Joining) (models.Server, error)
	// RemoveServer takes the worker's role away. Conflict: sites are on it.
	RemoveServer(ctx context.Context, by string, s models.Server) error
	ServerWithKey(ctx context.Context, keyHash string) (models.Server, error)
	// BeatServer notes that a server's worker lives, by the database's clock.
	BeatServer(ctx context.Context, id int64, version string) error
	// ServerNeeds lists the database servers that sites of servers use, with what
	// their workers have of them by now.
	ServerNeeds(ctx context.Context) ([]ServerNeed, error)
	SaveServerKey(ctx context.Context, k models.ServerKey) error
	ServerKey(ctx context.Context, serverID, databaseServerID int64) (models.ServerKey, error)

	Delivery(ctx context.Context, id int64) (models.ServerPlatform, error)
	// EnsureDelivery finds a platform on a server, or stores that it is wanted there.
	EnsureDelivery(ctx context.Context, serverID, platformID int64) (models.ServerPlatform, error)
	SaveDelivery(ctx context.Context, d models.ServerPlatform) error // state, digest, reason
	// DeliveriesTo lists what a server has; DeliveriesOf where a platform is.
	DeliveriesTo(ctx context.Context, serverID int64) ([]models.ServerPlatform, error)
	DeliveriesOf(ctx context.Context, platformID int64) ([]models.ServerPlatform, error)
	// DeliveryRows lists what a server has, or where a platform is; 0 is all of them.
	DeliveryRows(ctx context.Context, serverID, platformID int64) ([]ServerPlatformRow, error)
	DropDelivery(ctx context.Context, id int64) error
}

// ServerRow is a server with what is on it.
type ServerRow struct {
	models.Server

	Sites     int
	Platforms int  // delivered
	Lives     bool // its worker was heard lately, when this was asked
}

// ServerNeed is a database server that sites on a server use.
type ServerNeed struct {
	Server         models.Server
	DatabaseServer models.DatabaseServer
	Source         string // of the key that the worker has; "" for none
}

// Joining is a worker that wants to join.
type Joining struct {
	Name      string
	TokenHash string
	Recipient string // its public key
	Version   string
	Password  string // of its new role in the database
	KeyHash   string // of what it will show to be given platforms
	Now       time.Time
}

// Courier brings platforms from the control plane's host.
type Courier interface {
	// Fetch gives the archive of the wanted files of a platform, or of its manifest, as
	// platforms.Store.Pack writes it. The reader fails when the connection is lost.
	Fetch(ctx context.Context, platformID int64, wanted []byte) (io.ReadCloser, error)
}
