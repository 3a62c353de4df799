package webtest

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"slices"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// What the sample's second factor takes.
const (
	SecondFactorSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP" //nolint:gosec // of nobody
	SecondFactorCode   = "123456"
	RecoveryCode       = "abcd-efgh-ijkl-mnop"
)

// People is who is signed in where. Whoever can sign in is user 1.
type People struct {
	SignIns  []models.SignIn   // of all
	names    map[string]string // token → name
	Factor   fleet.SecondFactorState
	Linked   []models.Identity
	External fleet.External    // of the last ExternalLogin or LinkIdentity
	Known    map[string]string // subject → name of the user
	Keys     []models.Token
	Password fleet.NewPassword // of the last ChangePassword
	Seen     []bool            // whether the last requests were those of a person
	enters   string            // who has shown to be one
}

// entering notes who is about to be signed in.
func (f *Fleet) entering(name string) models.User {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enters = name
	return models.User{ID: 1, Name: name}
}

// AsksForCode tells whether the second factor is on.
func (f *Fleet) AsksForCode(context.Context, int64) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Factor.On, f.Fail["AsksForCode"]
}

// CheckCode takes SecondFactorCode and RecoveryCode.
func (f *Fleet) CheckCode(_ context.Context, _ int64, code string) error {
	if err := f.called("CheckCode"); err != nil {
		return err
	}
	if code != SecondFactorCode && code != RecoveryCode {
		return models.InvalidField("code", "This code does not fit.")
	}
	return nil
}

// ExternalLogin knows the subjects of Known.
func (f *Fleet) ExternalLogin(_ context.Context, who fleet.External, _ fleet.Admission) (models.User, error) {
	if err := f.called("ExternalLogin"); err != nil {
		return models.User{}, err
	}
	f.mu.Lock()
	f.External = who
	name, ok := f.Known[who.Subject]
	f.mu.Unlock()
	if ok {
		return f.entering(name), nil
	}
	return models.User{}, models.Errorf(models.Forbidden, "No user of Hefring is linked to this account.")
}

// StartSession remembers who signed in.
func (f *Fleet) StartSession(_ context.Context, s models.SignIn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.CreatedAt = time.Now()
	s.SeenAt = s.CreatedAt
	f.SignIns = append(f.SignIns, s)
	if f.names == nil {
		f.names = map[string]string{}
	}
	f.names[s.Token] = f.enters
	return f.Fail["StartSession"]
}

// SessionUser gives who signed in: an administrator unless Roles says otherwise.
func (f *Fleet) SessionUser(_ context.Context, token string, active bool) (models.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Seen = append(f.Seen, active)
	if err := f.Fail["SessionUser"]; err != nil {
		return models.User{}, err
	}
	i := slices.IndexFunc(f.SignIns, func(s models.SignIn) bool { return s.Token == token })
	if i < 0 {
		return models.User{}, missing("session")
	}
	name := f.names[token]
	role, ok := f.Roles[name]
	if !ok {
		role = models.RoleAdministrator
	}
	u := models.User{ID: f.SignIns[i].UserID, Name: name, Role: role}
	if f.OfClient != 0 {
		u.ClientID = &f.OfClient
	}
	return u, nil
}

// SignOutAll ends every session, as somebody does elsewhere.
func (f *Fleet) SignOutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.SignIns = nil
}

// Demote gives a user another role.
func (f *Fleet) Demote(name string, role models.Role) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Roles == nil {
		f.Roles = map[string]models.Role{}
	}
	f.Roles[name] = role
}

// Sessions lists all.
func (f *Fleet) Sessions(context.Context, int64) ([]models.SignIn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.SignIns), f.Fail["Sessions"]
}

// EndSession removes one.
func (f *Fleet) EndSession(_ context.Context, _ int64, token string) error {
	if err := f.called("EndSession"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.SignIns)
	f.SignIns = slices.DeleteFunc(f.SignIns, func(s models.SignIn) bool { return s.Token == token })
	if len(f.SignIns) == before {
		return missing("session")
	}
	return nil
}

// EndOtherSessions keeps one.
func (f *Fleet) EndOtherSessions(_ context.Context, _ int64, session string) (int, error) {
	if err := f.called("EndOtherSessions"); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.SignIns)
	f.SignIns = slices.DeleteFunc(f.SignIns, func(s models.SignIn) bool { return s.Token != session })
	return before - len(f.SignIns), nil
}

// User is admin, who has a password.
func (f *Fleet) User(_ context.Context, id int64) (models.User, error) {
	return models.User{ID: id, Name: "admin", Role: models.RoleAdministrator, PasswordHash: "hash"}, f.failing("User")
}

// ChangePassword wants the present one, and no short one.
func (f *Fleet) ChangePassword(_ context.Context, _ int64, in fleet.NewPassword, _ string) error {
	if err := f.called("ChangePassword"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Password = in
	switch {
	case in.Present != f.Users["admin"]:
		return models.InvalidField("present", "This is not your password.")
	case len(in.Password) < 12:
		return models.InvalidField("password", "Use 12 to 200 characters.")
	}
	return nil
}

// SecondFactor gives Factor.
func (f *Fleet) SecondFactor(context.Context, int64) (fleet.SecondFactorState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Factor, f.Fail["SecondFactor"]
}

// SetUpSecondFactor begins.
func (f *Fleet) SetUpSecondFactor(context.Context, int64) error {
	if err := f.called("SetUpSecondFactor"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Factor = fleet.SecondFactorState{Secret: SecondFactorSecret, URL: "otpauth://totp/Hefring:admin?secret=" + SecondFactorSecret}
	return nil
}

// SecondFactorPicture is one pixel.
func (f *Fleet) SecondFactorPicture(context.Context, int64) ([]byte, error) {
	var out bytes.Buffer
	err := png.Encode(&out, image.NewGray(image.Rect(0, 0, 1, 1)))
	return out.Bytes(), err
}

// ConfirmSecondFactor takes SecondFactorCode.
func (f *Fleet) ConfirmSecondFactor(_ context.Context, _ int64, code string) ([]string, error) {
	if err := f.called("ConfirmSecondFactor"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if code != SecondFactorCode {
		return nil, models.InvalidField("code", "This code does not fit.")
	}
	f.Factor = fleet.SecondFactorState{On: true, Since: time.Now(), Codes: 10}
	return []string{RecoveryCode}, nil
}

// NewRecoveryCodes takes SecondFactorCode.
func (f *Fleet) NewRecoveryCodes(ctx context.Context, userID int64, code string) ([]string, error) {
	if err := f.CheckCode(ctx, userID, code); err != nil {
		return nil, err
	}
	return []string{strings.ToUpper(RecoveryCode)}, nil
}

// RemoveSecondFactor takes a code or the password.
func (f *Fleet) RemoveSecondFactor(_ context.Context, _ int64, proof, _ string) error {
	if err := f.called("RemoveSecondFactor"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if proof != SecondFactorCode && proof != f.Users["admin"] {
		return models.InvalidField("proof", "This is not your password.")
	}
	f.Factor = fleet.SecondFactorState{}
	return nil
}

// Identities lists Linked.
func (f *Fleet) Identities(context.Context, int64) ([]models.Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Linked), f.Fail["Identities"]
}

// LinkIdentity adds to Linked.
func (f *Fleet) LinkIdentity(_ context.Context, userID int64, who fleet.External) error {
	if err := f.called("LinkIdentity"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.External = who
	f.Linked = append(f.Linked, models.Identity{ID: f.nextID(), UserID: userID, Issuer: who.Issuer, Subject: who.Subject, Name: who.Name})
	return nil
}

// UnlinkIdentity removes from Linked.
func (f *Fleet) UnlinkIdentity(_ context.Context, _, id int64) error {
	if err := f.called("UnlinkIdentity"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Linked = slices.DeleteFunc(f.Linked, func(i models.Identity) bool { return i.ID == id })
	return nil
}

// CreateToken wants a name.
func (f *Fleet) CreateToken(_ context.Context, in fleet.NewToken) (string, error) {
	if err := f.called("CreateToken"); err != nil {
		return "", err
	}
	if in.Name == "" || in.Life <= 0 {
		return "", models.InvalidField("name", "Say what it is for.")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Keys = append(f.Keys, models.Token{ID: f.nextID(), Name: in.Name, ExpiresAt: time.Now().Add(in.Life), Role: in.Role})
	return "hefring_" + in.Name, nil
}

// Tokens lists Keys.
func (f *Fleet) Tokens(context.Context, string) ([]models.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Keys), f.Fail["Tokens"]
}

// RevokeToken removes from Keys.
func (f *Fleet) RevokeToken(_ context.Context, _, name string) error {
	if err := f.called("RevokeToken"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Keys = slices.DeleteFunc(f.Keys, func(t models.Token) bool { return t.Name == name })
	return nil
}
