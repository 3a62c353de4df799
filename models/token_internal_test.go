package models

import (
	"testing"
	"time"
)

// A token allows the smaller of what its user may and of what it is narrowed to.
func TestToken_Actor_IsTheSmaller(t *testing.T) {
	ours, theirs, now := int64(1), int64(2), time.Now()
	for _, c := range []struct {
		user   User
		token  Token
		role   Role
		client int64
		narrow bool
	}{
		{User{Role: RoleManager}, Token{}, RoleManager, 0, false},
		{User{Role: RoleManager}, Token{Role: RoleViewer}, RoleViewer, 0, true},
		{User{Role: RoleManager}, Token{Role: RoleManager}, RoleManager, 0, true},
		{User{Role: RoleOperator}, Token{Role: RoleAdministrator}, RoleOperator, 0, true},
		{User{Role: RoleManager}, Token{Role: "king"}, "king", 0, true},
		{User{Role: RoleManager}, Token{ClientID: &ours}, RoleManager, 1, true},
		{User{Role: RoleManager, ClientID: &ours}, Token{}, RoleManager, 1, false},
		{User{Role: RoleManager, ClientID: &ours}, Token{ClientID: &ours, Role: RoleViewer}, RoleViewer, 1, true},
		{User{Role: RoleManager, ClientID: &ours}, Token{ClientID: &theirs}, "", 2, true},
		{User{Role: RoleManager, DisabledAt: &now}, Token{Role: RoleViewer}, "", 0, true},
		{User{}, Token{Role: RoleViewer}, "", 0, true},
	} {
		c.token.Name = "Deployment"
		got := c.token.Actor(c.user)
		if got.Role != c.role || got.ClientID != c.client || got.Narrowed != c.narrow || got.Token != "Deployment" {
			t.Errorf("%+v of %+v: %+v", c.token, c.user, got)
		}
		for _, p := range Permissions() {
			if got.May(p) && !c.user.Actor().May(p) {
				t.Errorf("%+v lets %+v %s", c.token, c.user, p)
			}
		}
	}
}
