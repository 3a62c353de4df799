package models

import "time"

// How long a person stays signed in.
const (
	SessionLife = 7 * 24 * time.Hour // at most
	SessionIdle = 24 * time.Hour     // without doing anything
	SessionSeen = time.Minute        // how exactly the last use is noted: each note is a write
)

// SignIn is a browser's session in which somebody is signed in. It ends with the
// session.
type SignIn struct {
	Token     string    `gorm:"primaryKey" audit:"secret"` // hash of the browser's token; it lets nobody in
	UserID    int64     `audit:"-"`                        // who
	CreatedAt time.Time // when the person signed in
	SeenAt    time.Time // when the person last did something, see SessionSeen
	Address   string    // where the person signed in from
	Agent     string    // what the browser says it is
}

// SecondFactor is what a person's codes are made from, by RFC 6238: six digits
// every 30 seconds. It is asked for once it is confirmed.
type SecondFactor struct {
	UserID      int64  `gorm:"primaryKey"`
	Sealed      []byte // the secret, encrypted
	ConfirmedAt *time.Time
	LastStep    int64 // of the code that was used last: no code is good twice
	CreatedAt   time.Time
}

// RecoveryCode stands in for a second factor that was lost, once. Only its hash is
// kept.
type RecoveryCode struct {
	UserID int64  `gorm:"primaryKey" audit:"-"`
	Hash   string `gorm:"primaryKey" audit:"secret"` // SHA-256 in hex
}

// Identity is a user as an OpenID Connect provider knows it.
type Identity struct {
	ID        int64
	UserID    int64 `audit:"-"`
	Issuer    string
	Subject   string // never changes and is never given to another, says the provider
	Name      string // what the provider called the person last
	CreatedAt time.Time
	UsedAt    *time.Time `audit:"-"`
}

// Said is the identity as the record of changes names it.
func (i Identity) Said() string { return i.Name + " at " + i.Issuer }

// Throttle counts attempts of one kind, such as passwords for an account. Key is a
// hash: people type passwords where names belong.
type Throttle struct {
	Key       string `gorm:"primaryKey"`
	Count     int
	CountedAt time.Time
	OpenAt    time.Time  // the next attempt is heard from then on
	GoodAt    *time.Time // when an attempt last succeeded
}

// Patience says how many attempts are free, and how the wait after each further
// one grows: it doubles from First up to Most. After Forget without an attempt
// they are forgotten.
type Patience struct {
	Free                int
	First, Most, Forget time.Duration
}

// Count counts one more attempt at a time.
func (p Patience) Count(t Throttle, at time.Time) Throttle {
	if at.Sub(t.CountedAt) > p.Forget {
		t.Count = 0
	}
	t.Count, t.CountedAt, t.OpenAt = t.Count+1, at, at
	if over := t.Count - p.Free; over >= 0 {
		t.OpenAt = at.Add(p.wait(over))
	}
	return t
}

func (p Patience) wait(over int) time.Duration {
	wait := p.First
	for range min(over, 62) {
		if wait *= 2; wait >= p.Most {
			return p.Most
		}
	}
	return wait
}

// The patience with each kind of attempt. A stranger can make nobody else wait
// longer than PatienceAccount says, and never somebody who has signed in from the
// same address before.
var (
	// PatiencePair is for one account from one address.
	PatiencePair = Patience{Free: 10, First: 2 * time.Second, Most: 15 * time.Minute, Forget: 24 * time.Hour} //nolint:gochecknoglobals // a table
	// PatienceAccount is for one account from addresses that are new to it.
	PatienceAccount = Patience{Free: 30, First: time.Second, Most: 30 * time.Second, Forget: time.Hour} //nolint:gochecknoglobals // a table
	// PatienceAddress is for all accounts from one address.
	PatienceAddress = Patience{Free: 30, First: time.Second, Most: 5 * time.Minute, Forget: time.Hour} //nolint:gochecknoglobals // a table
	// PatienceCode is for the codes of one account, whose password is known.
	PatienceCode = Patience{Free: 5, First: 5 * time.Second, Most: 15 * time.Minute, Forget: 24 * time.Hour} //nolint:gochecknoglobals // a table
)

// KnownAddress is how long an address is known to an account after somebody signed
// in from it.
const KnownAddress = 30 * 24 * time.Hour
