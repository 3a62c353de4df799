package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// User is a person who may sign in.
type User struct {
	Name     string      `json:"name"`
	Role     models.Role `json:"role" enum:",viewer,operator,manager,administrator"`
	Client   string      `json:"client,omitempty" doc:"Whose sites are all that the user sees"`
	Disabled bool        `json:"disabled,omitempty"`
	Created  time.Time   `json:"created_at"`
}

// UserView gives a user as programs read it.
func UserView(r fleet.UserRow) User {
	return User{r.Name, r.Role, r.ClientName, r.DisabledAt != nil, r.CreatedAt}
}

// UserIn names a user.
type UserIn struct {
	Caller

	Name string `path:"user" doc:"The user's name"`
}

func userNamed(ctx context.Context, f Fleet, in UserIn) (models.User, error) {
	return f.UserNamed(ctx, in.Name)
}

// clientID finds a client by its name; "" is none.
func clientID(ctx context.Context, f Fleet, name string) (int64, error) {
	if name == "" {
		return 0, nil
	}
	c, err := f.ClientNamed(ctx, name)
	return c.ID, unknown(err, "client")
}

// oneUser is a user with the client's name.
func oneUser(ctx context.Context, f Fleet, u models.User) (User, error) {
	row := fleet.UserRow{User: u}
	if u.ClientID != nil {
		c, err := f.Client(ctx, *u.ClientID)
		if err != nil {
			return User{}, err
		}
		row.ClientName = c.Name
	}
	return UserView(row), nil
}

func (s *server) users() {
	register(s, operation{get, "/users", "list-users", "List who may sign in, by name"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		Query string `query:"query" maxLength:"200" doc:"Part of the name"`
	},
	) (Page[User], error) {
		return listed(in.Steps, UserView, func(r fleet.UserRow) fleet.Position { return fleet.Position{Name: r.Name} }, func(filter fleet.Filter) ([]fleet.UserRow, int, error) {
			filter.Query = in.Query
			return f.UserRows(ctx, filter)
		})
	})
	about(s, operation{get, "/users/{user}", "get-user", "One user"}, userNamed, func(ctx context.Context, f Fleet, u models.User, _ UserIn) (User, error) {
		return oneUser(ctx, f, u)
	})
	register(s, operation{post, "/users", "add-user", "Add a user"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Body struct {
			Name     string      `json:"name"`
			Role     models.Role `json:"role" enum:"viewer,operator,manager,administrator"`
			Client   string      `json:"client,omitempty" doc:"Name of the client whose sites are all that the user sees"`
			Password string      `json:"password,omitempty" doc:"None allows one-time links only"`
		}
	},
	) (User, error) {
		if err := f.Actor().Needs(models.MayManageUsers); err != nil {
			return User{}, err
		}
		client, err := clientID(ctx, f, in.Body.Client)
		if err != nil {
			return User{}, err
		}
		u, err := f.AddUser(ctx, fleet.NewUser{Name: in.Body.Name, Role: in.Body.Role, ClientID: client, Password: in.Body.Password})
		if err != nil {
			return User{}, err
		}
		return oneUser(ctx, f, u)
	})
	s.oneUser()
}

func (s *server) oneUser() {
	type change struct {
		UserIn

		Body struct {
			Role     models.Role `json:"role" enum:"viewer,operator,manager,administrator"`
			Client   string      `json:"client,omitempty" doc:"Name of the client whose sites are all that the user sees"`
			Disabled bool        `json:"disabled,omitempty" doc:"May not sign in; sessions and tokens end at once"`
		}
	}
	about(s, operation{put, "/users/{user}", "change-user", "Replace what a user may do"},
		func(ctx context.Context, f Fleet, in change) (models.User, error) {
			return userNamed(ctx, f, in.UserIn)
		},
		func(ctx context.Context, f Fleet, u models.User, in change) (done, error) {
			client, err := clientID(ctx, f, in.Body.Client)
			if err != nil {
				return done{}, err
			}
			return done{true}, f.ChangeUser(ctx, u.ID, fleet.NewUser{Role: in.Body.Role, ClientID: client, Disabled: in.Body.Disabled})
		})
	register(s, operation{put, "/users/{user}/password", "set-password", "Give a user a new password; the user's sessions end"}, func(ctx context.Context, f Fleet, in struct {
		UserIn

		Body struct {
			Password string `json:"password"`
		}
	},
	) (done, error) {
		return done{true}, f.SetPassword(ctx, in.Name, in.Body.Password)
	})
	type loginLink struct {
		Path string `json:"path" doc:"Of the page that signs the user in, on the dashboard; a secret that is shown this once"`
	}
	about(s, operation{post, "/users/{user}/login-link", "make-login-link", "Make a one-time link that signs a user in"}, userNamed,
		func(ctx context.Context, f Fleet, u models.User, _ UserIn) (loginLink, error) {
			token, err := f.LoginLink(ctx, u.Name)
			return loginLink{LoginLinkPath + token}, err
		})
	about(s, operation{del, "/users/{user}/second-factor", "drop-second-factor", "Take a user's second factor away, for one who lost it"}, userNamed,
		func(ctx context.Context, f Fleet, u models.User, _ UserIn) (done, error) {
			return done{true}, f.DropSecondFactor(ctx, u.ID)
		})
}

// Client is for whom sites are kept.
type Client struct {
	Name    string    `json:"name"`
	Note    string    `json:"note,omitempty"`
	Sites   int       `json:"sites"`
	Users   int       `json:"users"`
	Created time.Time `json:"created_at"`
}

// ClientView gives a client as programs read it.
func ClientView(r fleet.ClientRow) Client {
	return Client{r.Name, r.Note, r.Sites, r.Users, r.CreatedAt}
}

// ClientIn names a client.
type ClientIn struct {
	Caller

	Name string `path:"client" doc:"The client's name"`
}

type clientBody struct {
	Name string `json:"name"`
	Note string `json:"note,omitempty"`
}

func (s *server) clients() {
	register(s, operation{get, "/clients", "list-clients", "List clients by name"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		Query string `query:"query" maxLength:"200" doc:"Part of the name"`
	},
	) (Page[Client], error) {
		return listed(in.Steps, ClientView, func(r fleet.ClientRow) fleet.Position { return fleet.Position{Name: r.Name} }, func(filter fleet.Filter) ([]fleet.ClientRow, int, error) {
			filter.Query = in.Query
			return f.ClientRows(ctx, filter)
		})
	})
	register(s, operation{post, "/clients", "add-client", "Add a client"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Body clientBody
	},
	) (Client, error) {
		c, err := f.SaveClient(ctx, models.Client{Name: in.Body.Name, Note: in.Body.Note})
		return ClientView(fleet.ClientRow{Client: c}), err
	})
	type change struct {
		ClientIn

		Body clientBody
	}
	about(s, operation{put, "/clients/{client}", "change-client", "Change a client's name and note"},
		func(ctx context.Context, f Fleet, in change) (models.Client, error) {
			return f.ClientNamed(ctx, in.Name)
		},
		func(ctx context.Context, f Fleet, c models.Client, in change) (done, error) {
			_, err := f.SaveClient(ctx, models.Client{ID: c.ID, Name: in.Body.Name, Note: in.Body.Note})
			return done{true}, err
		})
	about(s, operation{del, "/clients/{client}", "delete-client", "Delete a client that has neither sites nor users"},
		func(ctx context.Context, f Fleet, in ClientIn) (models.Client, error) {
			return f.ClientNamed(ctx, in.Name)
		},
		func(ctx context.Context, f Fleet, c models.Client, _ ClientIn) (done, error) {
			return done{true}, f.DeleteClient(ctx, c.ID)
		})
	type owner struct {
		Client string `json:"client,omitempty" doc:"Name; none makes it nobody's"`
	}
	withSite(s, operation{put, "/sites/{site}/client", "give-site", "Say whose a site is"}, func(ctx context.Context, f Fleet, site models.Site, body owner) (done, error) {
		id, err := clientID(ctx, f, body.Client)
		if err != nil {
			return done{}, err
		}
		return done{true}, f.GiveSite(ctx, site.ID, id)
	})
}

// Token is one without what it is.
type Token struct {
	Name    string      `json:"name"`
	Role    models.Role `json:"role,omitempty" enum:",viewer,operator,manager,administrator" doc:"What programs may do with it at most; none is what the user may"`
	Client  string      `json:"client,omitempty" doc:"Whose sites are all that there is for them; none is as for the user"`
	Expires time.Time   `json:"expires_at"`
	UsedAt  *time.Time  `json:"used_at,omitempty" doc:"To the hour"`
	Created time.Time   `json:"created_at"`
}

// TokenView gives a token as programs read it.
func TokenView(t models.Token) Token {
	return Token{t.Name, t.Role, t.Client, t.ExpiresAt, t.UsedAt, t.CreatedAt}
}

func (s *server) tokens() {
	register(s, operation{get, "/users/{user}/tokens", "list-tokens", "List a user's tokens; one's own with one that is not narrowed"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		Name string `path:"user" doc:"The user's name"`
	},
	) (Page[Token], error) {
		list, err := f.Tokens(ctx, in.Name)
		return whole(in.Steps, list, err, TokenView, func(t models.Token) fleet.Position { return fleet.Position{Name: t.Name} })
	})
	type newToken struct {
		Token string `json:"token" doc:"Shown this once"`
	}
	register(s, operation{post, "/users/{user}/tokens", "add-token", "Make a token"}, func(ctx context.Context, f Fleet, in struct {
		UserIn

		Body struct {
			Name        string      `json:"name" doc:"What it is for"`
			LifeSeconds int64       `json:"life_seconds,omitempty" default:"7776000" minimum:"60" maximum:"31622400"`
			Role        models.Role `json:"role,omitempty" enum:",viewer,operator,manager,administrator" doc:"What programs may do with it at most"`
			Client      string      `json:"client,omitempty" doc:"Name of the client whose sites are all that they see"`
		}
	},
	) (newToken, error) {
		client, err := clientID(ctx, f, in.Body.Client)
		if err != nil {
			return newToken{}, err
		}
		token, err := f.CreateToken(ctx, fleet.NewToken{
			User: in.Name, Name: in.Body.Name, Life: time.Duration(in.Body.LifeSeconds) * time.Second, Role: in.Body.Role, ClientID: client,
		})
		return newToken{token}, err
	})
	register(s, operation{del, "/users/{user}/tokens/{token}", "revoke-token", "End a token"}, func(ctx context.Context, f Fleet, in struct {
		UserIn

		Token string `path:"token" doc:"The token's name"`
	},
	) (done, error) {
		return done{true}, f.RevokeToken(ctx, in.Name, in.Token)
	})
}
