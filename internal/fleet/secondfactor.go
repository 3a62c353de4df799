package fleet

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"hefring/models"
)

// How codes are made (RFC 6238), as every program for telephones expects it.
const (
	stepLength  = 30 // seconds
	stepDrift   = 1  // a code is good for one step before and after its own
	codeDigits  = otp.DigitsSix
	secretBytes = 20
	qrSize      = 264 // pixels; the code is drawn with whole ones
	qrMargin    = 20  // white ones around it, which readers need on a dark page
)

// How recovery codes are made: 80 random bits, in groups.
const (
	recoveryCount = 10
	recoveryBytes = 10
	recoveryGroup = 4
)

var (
	codePattern     = regexp.MustCompile(`^[0-9]{6}$`)
	recoveryPattern = regexp.MustCompile(`^[a-z2-7]{16}$`)
)

// SecondFactorState says what an account page shows.
type SecondFactorState struct {
	On     bool
	Since  time.Time // when it is on
	Codes  int       // recovery codes that are left
	Secret string    // of one that waits for its first code; "" when none does
	URL    string    // otpauth: address of the same
}

// SecondFactor tells whether a user has a second factor, or is setting one up.
func (f *Fleet) SecondFactor(ctx context.Context, userID int64) (SecondFactorState, error) {
	factor, err := f.store.SecondFactor(ctx, userID)
	if models.CodeOf(err) == models.NotFound {
		return SecondFactorState{}, nil
	}
	if err != nil {
		return SecondFactorState{}, err
	}
	if factor.ConfirmedAt != nil {
		left, err := f.store.RecoveryCodes(ctx, userID)
		return SecondFactorState{On: true, Since: *factor.ConfirmedAt, Codes: left}, err
	}
	key, err := f.key(ctx, factor)
	if err != nil {
		return SecondFactorState{}, err
	}
	return SecondFactorState{Secret: key.Secret(), URL: key.URL()}, nil
}

// AsksForCode tells whether a user must give a code after the password.
func (f *Fleet) AsksForCode(ctx context.Context, userID int64) (bool, error) {
	factor, err := f.store.SecondFactor(ctx, userID)
	if models.CodeOf(err) == models.NotFound {
		return false, nil
	}
	return factor.ConfirmedAt != nil, err
}

// SetUpSecondFactor makes a secret for a user, in place of one that was not
// confirmed. Conflict: the user has a second factor.
func (f *Fleet) SetUpSecondFactor(ctx context.Context, userID int64) error {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails
	sealed, err := f.cfg.Secrets.Seal(factorContext(userID), secret)
	if err != nil {
		return fmt.Errorf("encrypt second factor: %w", err)
	}
	return f.store.SetUpSecondFactor(ctx, models.SecondFactor{UserID: userID, Sealed: sealed, CreatedAt: f.cfg.Now()})
}

func factorContext(userID int64) string {
	return "the second factor of user " + strconv.FormatInt(userID, 10)
}

// key opens a second factor's secret.
func (f *Fleet) key(ctx context.Context, factor models.SecondFactor) (*otp.Key, error) {
	u, err := f.store.User(ctx, factor.UserID)
	if err != nil {
		return nil, err
	}
	secret, err := f.cfg.Secrets.Open(factorContext(factor.UserID), factor.Sealed)
	if err != nil {
		return nil, fmt.Errorf("decrypt second factor: %w", err)
	}
	issuer := strings.TrimSpace("Hefring " + f.cfg.Host)
	key, err := totp.Generate(totp.GenerateOpts{Issuer: strings.ReplaceAll(issuer, ":", " "), AccountName: u.Name, Secret: secret, Period: stepLength, Digits: codeDigits})
	if err != nil {
		return nil, fmt.Errorf("make key of second factor: %w", err)
	}
	return key, nil
}

// SecondFactorPicture draws the QR code of a second factor that waits for its first
// code, as PNG. NotFound: none waits.
func (f *Fleet) SecondFactorPicture(ctx context.Context, userID int64) ([]byte, error) {
	factor, err := f.unconfirmed(ctx, userID)
	if err != nil {
		return nil, err
	}
	key, err := f.key(ctx, factor)
	if err != nil {
		return nil, err
	}
	picture, err := key.Image(qrSize, qrSize)
	if err != nil {
		return nil, fmt.Errorf("draw QR code: %w", err)
	}
	whole := image.NewGray(image.Rect(0, 0, qrSize+2*qrMargin, qrSize+2*qrMargin))
	draw.Draw(whole, whole.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(whole, picture.Bounds().Add(image.Pt(qrMargin, qrMargin)), picture, image.Point{}, draw.Src)
	var out strings.Builder
	if err := png.Encode(&out, whole); err != nil {
		return nil, fmt.Errorf("draw QR code: %w", err)
	}
	return []byte(out.String()), nil
}

// unconfirmed loads a second factor that is not confirmed.
func (f *Fleet) unconfirmed(ctx context.Context, userID int64) (models.SecondFactor, error) {
	factor, err := f.store.SecondFactor(ctx, userID)
	if err == nil && factor.ConfirmedAt != nil {
		return factor, models.Errorf(models.NotFound, "There is no second factor to be set up. Go back to your account.")
	}
	return factor, err
}

// ConfirmSecondFactor turns a second factor on, after a first code has shown that
// the user can make them. The recovery codes are shown this once.
func (f *Fleet) ConfirmSecondFactor(ctx context.Context, userID int64, code string) ([]string, error) {
	factor, err := f.unconfirmed(ctx, userID)
	if err != nil {
		return nil, err
	}
	tries := codeTries(userID)
	if err := f.count(ctx, tries); err != nil {
		return nil, err
	}
	step, err := f.step(ctx, factor, tidyCode(code))
	if err != nil {
		return nil, err
	}
	if step == 0 {
		return nil, models.InvalidField("code", "This code does not fit. Is the clock of the telephone right? Take the next code and try again.")
	}
	now := f.cfg.Now()
	factor.ConfirmedAt, factor.LastStep = &now, step
	shown, hashed := newRecoveryCodes(userID)
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.ConfirmSecondFactor(ctx, factor, hashed); err != nil {
			return err
		}
		return f.recordFor(ctx, tx, userID, models.Event{Verb: "set up second factor"}.Changed("second factor", "off", "on"))
	})
	if err != nil {
		return nil, err
	}
	return shown, f.forgive(ctx, tries)
}

// recordFor records what a user does with what is the user's own.
func (f *Fleet) recordFor(ctx context.Context, tx Tx, userID int64, e models.Event) error {
	u, err := tx.User(ctx, userID)
	if err != nil {
		return err
	}
	e.At, e.Actor, e.Subject = f.cfg.Now(), u.Name, userSubject(userID)
	return tx.RecordEvent(ctx, e)
}

// step gives the time step that a code belongs to; 0 when it fits none.
func (f *Fleet) step(ctx context.Context, factor models.SecondFactor, code string) (int64, error) {
	key, err := f.key(ctx, factor)
	if err != nil {
		return 0, err
	}
	now := f.cfg.Now().Unix() / stepLength
	found := int64(0)
	for step := now - stepDrift; step <= now+stepDrift; step++ {
		want, err := totp.GenerateCodeCustom(key.Secret(), time.Unix(step*stepLength, 0), totp.ValidateOpts{Period: stepLength, Digits: codeDigits})
		if err != nil {
			return 0, fmt.Errorf("make code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			found = step
		}
	}
	return found, nil
}

// newRecoveryCodes makes codes as they are shown, and as they are kept.
func newRecoveryCodes(userID int64) (shown []string, kept []models.RecoveryCode) {
	for range recoveryCount {
		random := make([]byte, recoveryBytes)
		_, _ = rand.Read(random) // never fails
		code := strings.ToLower(base32.StdEncoding.EncodeToString(random))
		kept = append(kept, models.RecoveryCode{UserID: userID, Hash: hashToken(code)})
		var groups []string
		for ; len(code) > 0; code = code[recoveryGroup:] {
			groups = append(groups, code[:recoveryGroup])
		}
		shown = append(shown, strings.Join(groups, "-"))
	}
	return shown, kept
}

// tidyCode takes out what people type between digits and groups.
func tidyCode(code string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "\u00a0", "").Replace(strings.TrimSpace(code)))
}

// CheckCode proves a user's second factor by a code, which is good once, or by a
// recovery code, which is used up.
func (f *Fleet) CheckCode(ctx context.Context, userID int64, code string) error {
	tries := codeTries(userID)
	if err := f.count(ctx, tries); err != nil {
		return err
	}
	code = tidyCode(code)
	var good bool
	var err error
	switch {
	case codePattern.MatchString(code):
		good, err = f.useCode(ctx, userID, code)
	case recoveryPattern.MatchString(code):
		good, err = f.useRecoveryCode(ctx, userID, code)
	}
	if err != nil {
		return err
	}
	if !good {
		u, err := f.store.User(ctx, userID)
		if err != nil {
			return err
		}
		if err := f.failedSignIn(ctx, u, "A code did not fit."); err != nil {
			return err
		}
		return models.InvalidField("code", "This code does not fit, or was used before. Take the next one.")
	}
	return f.forgive(ctx, tries)
}

func (f *Fleet) useCode(ctx context.Context, userID int64, code string) (bool, error) {
	factor, err := f.store.SecondFactor(ctx, userID)
	if err != nil {
		return false, err
	}
	step, err := f.step(ctx, factor, code)
	if err != nil || step == 0 {
		return false, err
	}
	return f.store.UseStep(ctx, userID, step)
}

func (f *Fleet) useRecoveryCode(ctx context.Context, userID int64, code string) (used bool, err error) {
	err = f.store.InTx(ctx, func(tx Tx) error {
		if used, err = tx.UseRecoveryCode(ctx, userID, hashToken(code)); err != nil || !used {
			return err
		}
		return f.recordFor(ctx, tx, userID, models.Event{Verb: "use recovery code"}.Replaced("recovery code"))
	})
	return used, err
}

// NewRecoveryCodes replaces a user's recovery codes, for a code.
func (f *Fleet) NewRecoveryCodes(ctx context.Context, userID int64, code string) ([]string, error) {
	if on, err := f.AsksForCode(ctx, userID); err != nil || !on {
		return nil, orElse(err, models.Errorf(models.Conflict, "There is no second factor. Set one up first."))
	}
	if err := f.CheckCode(ctx, userID, code); err != nil {
		return nil, err
	}
	shown, kept := newRecoveryCodes(userID)
	return shown, f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.SaveRecoveryCodes(ctx, userID, kept); err != nil {
			return err
		}
		return f.recordFor(ctx, tx, userID, models.Event{Verb: "renew recovery codes"}.Replaced("recovery codes"))
	})
}

// RemoveSecondFactor turns a user's own second factor off, for a password, a code or
// a recovery code.
func (f *Fleet) RemoveSecondFactor(ctx context.Context, userID int64, proof, address string) error {
	u, err := f.store.User(ctx, userID)
	if err != nil {
		return err
	}
	if err := f.proven(ctx, u, proof, address); err != nil {
		return err
	}
	return f.dropSecondFactor(ctx, u.Name, userID)
}

func (f *Fleet) proven(ctx context.Context, u models.User, proof, address string) error {
	code := tidyCode(proof)
	if u.PasswordHash != "" && !codePattern.MatchString(code) && !recoveryPattern.MatchString(code) {
		return f.knows(ctx, u, proof, address, "proof")
	}
	err := f.CheckCode(ctx, u.ID, proof)
	if models.CodeOf(err) != models.Invalid {
		return err
	}
	if u.PasswordHash != "" && recoveryPattern.MatchString(code) {
		return f.knows(ctx, u, proof, address, "proof")
	}
	return models.InvalidField("proof", "This code does not fit, or was used before. Take the next one.")
}

// DropSecondFactor turns off the second factor of somebody who has lost it, and ends
// that person's sessions. It takes MayManageUsers.
func (f *Fleet) DropSecondFactor(ctx context.Context, by string, userID int64) error {
	if err := f.dropSecondFactor(ctx, by, userID); err != nil {
		return err
	}
	_, err := f.store.EndSessions(ctx, userID, "")
	return err
}

func (f *Fleet) dropSecondFactor(ctx context.Context, by string, userID int64) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		u, err := tx.User(ctx, userID)
		if err != nil {
			return err
		}
		if err := tx.RemoveSecondFactor(ctx, userID); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "remove second factor", userSubject(userID), u.Name).Changed("second factor", "on", "off"))
	})
}
