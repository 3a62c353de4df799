package models

import (
	"regexp"
	"time"
)

// ServerState says how a server stands to Hefring.
type ServerState string

// States of a server. Whether its worker lives is told by when it was seen.
const (
	ServerInvited ServerState = "invited" // its worker has not joined yet
	ServerJoined  ServerState = "joined"
	ServerRemoved ServerState = "removed"
)

// ServerStates lists the states.
func ServerStates() []ServerState { return []ServerState{ServerInvited, ServerJoined, ServerRemoved} }

// Server is a web host with a worker of its own. The host that the control plane
// runs on is none: what has no server is there.
type Server struct {
	ID        int64
	Name      string // never changed
	Address   string // where visitors reach its sites: a host name or an IP address; "" when it was not said
	State     ServerState
	Role      string // of its worker in the database; "" before it joined
	Recipient string // the public key that its secrets are sealed for
	Version   string // of its worker
	CreatedAt time.Time
	JoinedAt  *time.Time
	SeenAt    *time.Time `audit:"-"` // when its worker last said that it lives
}

// ServerLost is after how much silence a worker is taken for lost.
const ServerLost = 30 * time.Second

// Alive tells whether the worker was heard lately.
func (s Server) Alive(now time.Time) bool {
	return s.State == ServerJoined && s.SeenAt != nil && now.Sub(*s.SeenAt) < ServerLost
}

var serverPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// LocalServer is what the host of the control plane is called.
const LocalServer = "local"

// Validate checks what a person typed for a new server.
func (s Server) Validate() map[string]string {
	wrong := map[string]string{}
	if !serverPattern.MatchString(s.Name) || s.Name == LocalServer {
		wrong["name"] = "Use up to 40 lower-case letters, digits and hyphens, such as web2; the name local is taken."
	}
	if len(s.Address) > 253 || s.Address != "" && !addressPattern.MatchString(s.Address) {
		wrong["address"] = "Use a host name or an IP address without a port, or leave it empty."
	}
	return wrong
}

var addressPattern = regexp.MustCompile(`^[a-zA-Z0-9.:-]+$`)

// ServerJoin is what a server's worker proves itself with. Only hashes are kept,
// and no worker may read them.
type ServerJoin struct {
	ServerID  int64  `gorm:"primaryKey;autoIncrement:false"`
	TokenHash string // of the one-time token; "" once it was used
	ExpiresAt time.Time
	KeyHash   string // of what the worker shows to be given platforms; "" before it joined
}

// ServerKey is the password of a database server, sealed for one server's worker.
type ServerKey struct {
	ServerID         int64 `gorm:"primaryKey;autoIncrement:false"`
	DatabaseServerID int64 `gorm:"primaryKey;autoIncrement:false"`
	Sealed           []byte
	// Source tells what it was made from, so that a change of it is seen.
	Source string
}

// DeliveryState says how far a platform has come on its way to a server.
type DeliveryState string

// States of a delivered platform.
const (
	PlatformOnItsWay  DeliveryState = "delivering"
	PlatformDelivered DeliveryState = "ready"
	PlatformNotThere  DeliveryState = "failed"
)

// DeliveryStates lists the states.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{PlatformOnItsWay, PlatformDelivered, PlatformNotThere}
}

// ServerPlatform is a platform on a server.
type ServerPlatform struct {
	ID         int64
	ServerID   int64
	PlatformID int64
	Digest     string // of the manifest that it was verified with; "" before
	State      DeliveryState
	Reason     string // why it failed
	CreatedAt  time.Time
	UpdatedAt  time.Time
}
