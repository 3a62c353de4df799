package fleet

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/models"
)

// SignIns is the part of the store that signing in needs.
type SignIns interface {
	// StartSession makes a stored session a user's. NotFound: there is none.
	StartSession(ctx context.Context, s models.SignIn) error
	// SessionUser is NotFound for a session that is unknown, expired or nobody's.
	SessionUser(ctx context.Context, token string, now time.Time) (models.SignIn, models.User, error)
	SeeSession(ctx context.Context, token string, now time.Time) error
	SignIns(ctx context.Context, userID int64, now time.Time) ([]models.SignIn, error) // used last first
	EndSession(ctx context.Context, userID int64, token string) error                  // NotFound: not the user's
	EndSessions(ctx context.Context, userID int64, except string) (int, error)

	// Throttles locks counts of attempts and gives them in the order of their keys;
	// what was never counted is made.
	Throttles(ctx context.Context, keys ...string) ([]models.Throttle, error)
	SaveThrottle(ctx context.Context, t models.Throttle) error

	SecondFactor(ctx context.Context, userID int64) (models.SecondFactor, error)
	SetUpSecondFactor(ctx context.Context, factor models.SecondFactor) error // Conflict: there is a confirmed one
	// ConfirmSecondFactor is Conflict when it was confirmed or replaced meanwhile.
	ConfirmSecondFactor(ctx context.Context, factor models.SecondFactor, codes []models.RecoveryCode) error
	RemoveSecondFactor(ctx context.Context, userID int64) error // NotFound: there is none
	SaveRecoveryCodes(ctx context.Context, userID int64, codes []models.RecoveryCode) error
	UseStep(ctx context.Context, userID, step int64) (bool, error)                // false: used before
	UseRecoveryCode(ctx context.Context, userID int64, hash string) (bool, error) // false: none of that hash
	RecoveryCodes(ctx context.Context, userID int64) (int, error)                 // how many are left

	IdentityOf(ctx context.Context, issuer, subject string) (models.Identity, error)
	Identities(ctx context.Context, userID int64) ([]models.Identity, error)
	CreateIdentity(ctx context.Context, i *models.Identity) error // Conflict: it is linked to somebody
	MarkIdentity(ctx context.Context, i models.Identity) error    // its name and last use
	DeleteIdentity(ctx context.Context, userID, id int64) error   // NotFound: not the user's
}

// try is one thing that attempts are counted for.
type try struct {
	key      string
	patience models.Patience
	strange  bool // does not count for those who have signed in from the address of the first try
}

// passwordTries are what an attempt with a password counts for. They are always
// locked in this order.
func passwordTries(name, address string) []try {
	name = strings.ToLower(name)
	return []try{
		{key: tryKey("pair", name, address), patience: models.PatiencePair},
		{key: tryKey("account", name), patience: models.PatienceAccount, strange: true},
		{key: tryKey("address", address), patience: models.PatienceAddress},
	}
}

func codeTries(userID int64) []try {
	return []try{{key: tryKey("code", strconv.FormatInt(userID, 10)), patience: models.PatienceCode}}
}

func tryKey(parts ...string) string { return hashToken(strings.Join(parts, "\x00")) }

// count counts an attempt before it is made, so that many at once are no way around
// the wait. Forbidden with a RetryAfter: it is too early.
func (f *Fleet) count(ctx context.Context, tries []try) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		counts, err := tx.Throttles(ctx, keys(tries)...)
		if err != nil {
			return err
		}
		now, known := f.cfg.Now(), f.known(counts[0])
		var wait time.Duration
		for i, t := range counts {
			if !tries[i].strange || !known {
				wait = max(wait, t.OpenAt.Sub(now))
			}
		}
		if wait > 0 {
			return models.Errorf(models.Forbidden, "Too many attempts. Wait %s, then try again.", inWords(wait)).After(wait)
		}
		for i, t := range counts {
			if err := tx.SaveThrottle(ctx, tries[i].patience.Count(t, now)); err != nil {
				return err
			}
		}
		return nil
	})
}

// inWords rounds up, so that whoever waits so long has waited long enough.
func inWords(wait time.Duration) string {
	n, unit := int64((wait+time.Second-1)/time.Second), "second"
	if wait > 2*time.Minute {
		n, unit = int64((wait+time.Minute-1)/time.Minute), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// known tells whether an attempt of this kind succeeded lately.
func (f *Fleet) known(t models.Throttle) bool {
	return t.GoodAt != nil && f.cfg.Now().Sub(*t.GoodAt) < models.KnownAddress
}

// forgive takes an attempt back that succeeded. Of the first try it forgets the
// earlier ones too: they were made by somebody who knew it in the end.
func (f *Fleet) forgive(ctx context.Context, tries []try) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		counts, err := tx.Throttles(ctx, keys(tries)...)
		if err != nil {
			return err
		}
		now := f.cfg.Now()
		for i, t := range counts {
			t.Count, t.OpenAt = max(t.Count-1, 0), now
			if i == 0 {
				t.Count, t.GoodAt = 0, &now
			}
			if err := tx.SaveThrottle(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

func keys(tries []try) []string {
	list := make([]string, len(tries))
	for i, t := range tries {
		list[i] = t.key
	}
	return list
}

// maxAgent bounds what is kept of what a browser says it is.
const maxAgent = 300

// StartSession signs a user in: the stored session with this token is the user's
// from now on.
func (f *Fleet) StartSession(ctx context.Context, s models.SignIn) error {
	s.CreatedAt = f.cfg.Now()
	s.SeenAt = s.CreatedAt
	if len(s.Agent) > maxAgent {
		s.Agent = strings.ToValidUTF8(s.Agent[:maxAgent], "")
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.StartSession(ctx, s); err != nil {
			return err
		}
		u, err := tx.User(ctx, s.UserID)
		if err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(u.Name, "sign in", userSubject(u.ID), "From "+s.Address+"."))
	})
}

// SessionUser gives the user of a session, as of now. active is false for what a
// page asks by itself: an open page keeps nobody signed in. NotFound: the session
// has ended, was idle for too long, or its user may not sign in any more.
func (f *Fleet) SessionUser(ctx context.Context, token string, active bool) (models.User, error) {
	now := f.cfg.Now()
	s, u, err := f.store.SessionUser(ctx, token, now)
	if err != nil {
		return models.User{}, err
	}
	idle := now.Sub(s.SeenAt)
	if u.DisabledAt != nil || idle > models.SessionIdle {
		return models.User{}, ended(f.store.EndSession(ctx, u.ID, token))
	}
	if active && idle >= models.SessionSeen {
		return u, f.store.SeeSession(ctx, token, now)
	}
	return u, nil
}

func ended(err error) error {
	if err != nil {
		return err
	}
	return models.Errorf(models.NotFound, "You are not signed in any more. Sign in again.")
}

// Sessions lists where a user is signed in, the one that was used last first.
func (f *Fleet) Sessions(ctx context.Context, userID int64) ([]models.SignIn, error) {
	now := f.cfg.Now()
	list, err := f.store.SignIns(ctx, userID, now)
	return slices.DeleteFunc(list, func(s models.SignIn) bool { return now.Sub(s.SeenAt) > models.SessionIdle }), err
}

// EndSession signs a user out somewhere.
func (f *Fleet) EndSession(ctx context.Context, userID int64, token string) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		list, err := tx.SignIns(ctx, userID, f.cfg.Now())
		if err != nil {
			return err
		}
		if err := tx.EndSession(ctx, userID, token); err != nil {
			return err
		}
		u, err := tx.User(ctx, userID)
		if err != nil {
			return err
		}
		e := f.event(u.Name, "end session", userSubject(userID), "")
		if i := slices.IndexFunc(list, func(s models.SignIn) bool { return s.Token == token }); i >= 0 {
			e = e.With(list[i], nil)
		}
		return tx.RecordEvent(ctx, e)
	})
}

// EndOtherSessions signs a user out everywhere but in one session, and tells in how
// many.
func (f *Fleet) EndOtherSessions(ctx context.Context, userID int64, session string) (n int, err error) {
	err = f.store.InTx(ctx, func(tx Tx) error {
		u, err := tx.User(ctx, userID)
		if err != nil {
			return err
		}
		if n, err = tx.EndSessions(ctx, userID, session); err != nil || n == 0 {
			return err
		}
		return tx.RecordEvent(ctx, f.event(u.Name, "end session", userSubject(userID), "All others.").Changed("other sessions", strconv.Itoa(n), ""))
	})
	return n, err
}
