package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

// UserRows lists users by name.
func (s *Store) UserRows(ctx context.Context, f fleet.Filter) ([]fleet.UserRow, int, error) {
	query := s.with(ctx).Model(&models.User{})
	if f.Query != "" {
		query = query.Where(`LOWER(name) LIKE ? ESCAPE '\'`, contains(f.Query))
	}
	if f.ClientID != 0 {
		query = query.Where("client_id = ?", f.ClientID)
	}
	list, total, err := page[models.User](query, f, "LOWER(name)")
	if err != nil {
		return nil, 0, fmt.Errorf("list users: %w", err)
	}
	names, err := s.clientsByID(ctx, collect(list, func(u models.User) *int64 { return u.ClientID }))
	if err != nil {
		return nil, 0, err
	}
	tokens, err := counts(s.with(ctx).Model(&models.Token{}).Where("user_id IN ?", collect(list, func(u models.User) *int64 { return &u.ID })).
		Select("user_id AS id, COUNT(*) AS n").Group("user_id"))
	if err != nil {
		return nil, 0, err
	}
	rows := make([]fleet.UserRow, 0, len(list))
	for _, u := range list {
		row := fleet.UserRow{User: u, Tokens: tokens[u.ID].N}
		if u.ClientID != nil {
			row.ClientName = names[*u.ClientID]
		}
		rows = append(rows, row)
	}
	return rows, total, nil
}

// clientsByID gives the names of clients.
func (s *Store) clientsByID(ctx context.Context, ids []int64) (map[int64]string, error) {
	names := map[int64]string{}
	if len(ids) == 0 {
		return names, nil
	}
	var clients []models.Client
	if err := s.with(ctx).Where("id IN ?", ids).Find(&clients).Error; err != nil {
		return nil, fmt.Errorf("load clients: %w", err)
	}
	for _, c := range clients {
		names[c.ID] = c.Name
	}
	return names, nil
}

// SaveUser stores a user's role and client, and whether the user may sign in.
func (s *Store) SaveUser(ctx context.Context, u models.User) error {
	done := s.with(ctx).Model(&models.User{}).Where("id = ?", u.ID).Select("role", "client_id", "disabled_at").Updates(&u)
	if done.Error != nil {
		return fmt.Errorf("save user %d: %w", u.ID, done.Error)
	}
	if done.RowsAffected == 0 {
		return missing("user", u.ID)
	}
	return nil
}

// LockUser makes others that change a user wait for this transaction, and gives the
// user as it is then. They wait also when it is about another one: each might be the
// last administrator but for the other.
func (s *Store) LockUser(ctx context.Context, id int64) (models.User, error) {
	var list []models.User
	err := s.with(ctx).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
		Where("id = ? OR role = ?", id, models.RoleAdministrator).Order("id").Find(&list).Error
	if err != nil {
		return models.User{}, fmt.Errorf("lock user %d: %w", id, err)
	}
	i := slices.IndexFunc(list, func(u models.User) bool { return u.ID == id })
	if i < 0 {
		return models.User{}, missing("user", id)
	}
	return list[i], nil
}

// Administrators counts the administrators who may sign in.
func (s *Store) Administrators(ctx context.Context) (int, error) {
	var n int64
	err := s.with(ctx).Model(&models.User{}).Where("role = ? AND client_id IS NULL AND disabled_at IS NULL", models.RoleAdministrator).Count(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count administrators: %w", err)
	}
	return int(n), nil
}

// Clients lists clients by name, with what they have.
func (s *Store) Clients(ctx context.Context) ([]fleet.ClientRow, error) {
	list, err := s.ClientNames(ctx)
	if err != nil {
		return nil, err
	}
	return s.clientRows(ctx, list, "client_id IS NOT NULL")
}

// ClientRows lists clients by name, with what they have, in parts.
func (s *Store) ClientRows(ctx context.Context, f fleet.Filter) ([]fleet.ClientRow, int, error) {
	query := s.with(ctx).Model(&models.Client{})
	if f.Query != "" {
		query = query.Where(`LOWER(name) LIKE ? ESCAPE '\'`, contains(f.Query))
	}
	list, total, err := page[models.Client](query, f, "LOWER(name)")
	if err != nil {
		return nil, 0, fmt.Errorf("list clients: %w", err)
	}
	rows, err := s.clientRows(ctx, list, "client_id IN ?", collect(list, func(c models.Client) *int64 { return &c.ID }))
	return rows, total, err
}

// clientRows counts what clients have; which says whose.
func (s *Store) clientRows(ctx context.Context, list []models.Client, which string, args ...any) ([]fleet.ClientRow, error) {
	sites, err := counts(s.living(ctx).Where(which, args...).
		Select("client_id AS id, COUNT(*) AS n").Group("client_id"))
	if err != nil {
		return nil, err
	}
	users, err := counts(s.with(ctx).Model(&models.User{}).Where(which, args...).Select("client_id AS id, COUNT(*) AS n").Group("client_id"))
	if err != nil {
		return nil, err
	}
	rows := make([]fleet.ClientRow, 0, len(list))
	for _, c := range list {
		rows = append(rows, fleet.ClientRow{Client: c, Sites: sites[c.ID].N, Users: users[c.ID].N})
	}
	return rows, nil
}

// ClientNames lists clients by name.
func (s *Store) ClientNames(ctx context.Context) ([]models.Client, error) {
	var list []models.Client
	if err := s.with(ctx).Order("LOWER(name), id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	return list, nil
}

// Client loads one.
func (s *Store) Client(ctx context.Context, id int64) (models.Client, error) {
	return get[models.Client](ctx, s, "client", id)
}

// LockClient makes others that change a client wait for this transaction, and gives it
// as it is then.
func (s *Store) LockClient(ctx context.Context, id int64) (models.Client, error) {
	return locked[models.Client](ctx, s, "client", id)
}

// ClientNamed finds a client by its name.
func (s *Store) ClientNamed(ctx context.Context, name string) (models.Client, error) {
	return first[models.Client](s.with(ctx).Where("LOWER(name) = LOWER(?)", name), "client", name)
}

// SaveClient makes a client or changes it. Conflict: name taken.
func (s *Store) SaveClient(ctx context.Context, c *models.Client) error {
	taken := fmt.Sprintf("There is a client with the name %s already. Choose another.", c.Name)
	if c.ID == 0 {
		return s.atomic(ctx, func(tx *Store) error { return create(ctx, tx, "client", c, taken) })
	}
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Client{}).Where("id = ?", c.ID).Select("name", "note").Updates(c)
		if errors.Is(done.Error, gorm.ErrDuplicatedKey) {
			return models.Wrapf(models.Conflict, done.Error, "%s", taken)
		}
		if done.Error != nil {
			return fmt.Errorf("save client %d: %w", c.ID, done.Error)
		}
		if done.RowsAffected == 0 {
			return missing("client", c.ID)
		}
		return nil
	})
}

// DeleteClient removes a client without sites and users, and the channels that are
// about it alone.
func (s *Store) DeleteClient(ctx context.Context, by string, id int64) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.holdScope(ctx, nil, &id); err != nil {
			return err
		}
		var n int64
		err := tx.with(ctx).Raw("SELECT (SELECT COUNT(*) FROM sites WHERE client_id = ? AND state <> 'deleted') + (SELECT COUNT(*) FROM users WHERE client_id = ?)", id, id).Scan(&n).Error
		if err != nil {
			return fmt.Errorf("count what client %d has: %w", id, err)
		}
		if n > 0 {
			return models.Errorf(models.Conflict, "This client has %d sites and users. Give them to somebody else first.", n)
		}
		// Sites that are deleted keep their row for the record.
		if err := tx.with(ctx).Model(&models.Site{}).Where("client_id = ?", id).UpdateColumn("client_id", nil).Error; err != nil {
			return fmt.Errorf("free deleted sites of client %d: %w", id, err)
		}
		if err := tx.deleteChannels(ctx, by, "client_id", id); err != nil {
			return err
		}
		err = tx.with(ctx).Delete(&models.Client{}, id).Error
		if errors.Is(err, gorm.ErrForeignKeyViolated) {
			return models.Wrapf(models.Conflict, err, "This client was given a site or a user just now. Reload the page and look again.")
		}
		if err != nil {
			return fmt.Errorf("delete client %d: %w", id, err)
		}
		return nil
	})
}

// SetClient says whose a site is, and gives the site as it was.
func (s *Store) SetClient(ctx context.Context, siteID int64, clientID *int64) (models.Site, error) {
	old, err := locked[models.Site](ctx, s, "site", siteID)
	if err != nil {
		return old, err
	}
	done := s.with(ctx).Model(&models.Site{}).Where("id = ? AND state <> ?", siteID, models.SiteDeleted).Update("client_id", clientID)
	if done.Error != nil {
		return old, fmt.Errorf("give site %d to its client: %w", siteID, done.Error)
	}
	if done.RowsAffected == 0 {
		return old, missing("site", siteID)
	}
	return old, nil
}
