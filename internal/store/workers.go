package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

func webServerSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectWebServer, ID: id}
}

// on bounds a query to what is on one server; 0 is the control plane's host.
func on(column string, server int64) clause.Expression {
	if server == 0 {
		return clause.Eq{Column: column, Value: nil}
	}
	return clause.Eq{Column: column, Value: server}
}

// route says whose queue a task is in: that of the server on which its subject is.
func (s *Store) route(ctx context.Context, t *models.Task) error {
	if t.Kind == models.TaskRelocate { // of two servers, so it is the control plane's
		return nil
	}
	var query *gorm.DB
	switch t.Subject.Kind {
	case models.SubjectDelivery, models.SubjectServerTarget:
		query = s.with(ctx).Model(&models.ServerPlatform{})
	case models.SubjectDeparture, models.SubjectArrival:
		return s.routeRelocation(ctx, t)
	case models.SubjectSite, models.SubjectQuestion:
		query = s.with(ctx).Model(&models.Site{})
	default:
		return nil
	}
	var found []struct{ ServerID *int64 }
	if err := query.Select("server_id").Where("id = ?", t.Subject.ID).Find(&found).Error; err != nil {
		return fmt.Errorf("find the server of a task: %w", err)
	}
	if len(found) == 1 {
		t.ServerID = found[0].ServerID
	}
	return nil
}

// routeRelocation puts a task of a relocation into the queue of the side whose it is.
func (s *Store) routeRelocation(ctx context.Context, t *models.Task) error {
	r, err := s.Relocation(ctx, t.Subject.ID)
	if err != nil {
		return err
	}
	t.ServerID = r.FromID
	if t.Kind == models.TaskReceive {
		t.ServerID = r.ToID
	}
	return nil
}

// ServerRows lists the servers by name, without removed ones.
func (s *Store) ServerRows(ctx context.Context) ([]fleet.ServerRow, error) {
	var rows []fleet.ServerRow
	err := s.with(ctx).Model(&models.Server{}).
		Select(`servers.*,
			(SELECT COUNT(*) FROM sites WHERE sites.server_id = servers.id AND sites.state <> ?) AS sites,
			(SELECT COUNT(*) FROM server_platforms p WHERE p.server_id = servers.id AND p.state = ?) AS platforms`,
			models.SiteDeleted, models.PlatformDelivered).
		Where("state <> ?", models.ServerRemoved).Order("name").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("list servers: %w", err)
	}
	return rows, nil
}

// JoinedServers lists the servers whose worker has joined, by name.
func (s *Store) JoinedServers(ctx context.Context) ([]models.Server, error) {
	var list []models.Server
	if err := s.with(ctx).Where("state = ?", models.ServerJoined).Order("name").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list servers: %w", err)
	}
	return list, nil
}

// TakesServers is Unavailable unless workers can have roles of their own in the database.
func (s *Store) TakesServers() error {
	if s.engine.pool() != nil {
		return nil
	}
	return models.Errorf(models.Unavailable, "Several servers need a control plane on PostgreSQL, and this one is on SQLite. The operator guide says how to move it there (docs/backup.md) and what comes then (docs/servers-many.md).")
}

// Server loads one, removed or not.
func (s *Store) Server(ctx context.Context, id int64) (models.Server, error) {
	return get[models.Server](ctx, s, "server", id)
}

// ServerNamed loads the server with a name that is not removed.
func (s *Store) ServerNamed(ctx context.Context, name string) (models.Server, error) {
	return first[models.Server](s.with(ctx).Where("name = ? AND state <> ?", name, models.ServerRemoved), "server", name)
}

// InviteServer stores a new server, or lets the worker of one that is there join
// anew. Until that has joined, the one before goes on.
func (s *Store) InviteServer(ctx context.Context, by string, server *models.Server, tokenHash string, until time.Time) error {
	if err := s.TakesServers(); err != nil {
		return err
	}
	e := models.Event{Actor: by, Verb: "invite", Text: server.Name}.Replaced("token")
	return s.atomic(ctx, func(tx *Store) error {
		if server.ID == 0 {
			server.State = models.ServerInvited
			taken := fmt.Sprintf("There is a server %s already.", server.Name)
			if err := beside("name", create(ctx, tx, "server", server, taken)); err != nil {
				return err
			}
			e = e.With(nil, *server)
		}
		join := models.ServerJoin{ServerID: server.ID, TokenHash: tokenHash, ExpiresAt: until.UTC()}
		err := tx.with(ctx).Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "server_id"}}, DoUpdates: clause.AssignmentColumns([]string{"token_hash", "expires_at"}),
		}).Create(&join).Error
		if err != nil {
			return fmt.Errorf("invite server %s: %w", server.Name, err)
		}
		e.Subject = webServerSubject(server.ID)
		return tx.RecordEvent(ctx, e)
	})
}

// JoinServer uses a token up and makes the worker's role in the database, which
// takes the place of the one that it had before. All of it happens, or nothing.
func (s *Store) JoinServer(ctx context.Context, in fleet.Joining) (models.Server, error) {
	var server models.Server
	err := s.changingRoles(ctx, func(tx *Store) (err error) {
		if server, err = tx.ServerNamed(ctx, in.Name); err != nil {
			return refusedJoin(err)
		}
		used := tx.with(ctx).Model(&models.ServerJoin{}).
			Where("server_id = ? AND token_hash = ? AND token_hash <> '' AND expires_at > ?", server.ID, in.TokenHash, in.Now.UTC()).
			Updates(map[string]any{"token_hash": "", "key_hash": in.KeyHash})
		if used.Error != nil {
			return fmt.Errorf("use token of server %s: %w", server.Name, used.Error)
		}
		if used.RowsAffected == 0 {
			return refusedJoin(nil)
		}
		before := server
		if before.Role != "" {
			if err := tx.dropRole(ctx, before.Role); err != nil {
				return err
			}
		}
		if server.Role, err = tx.createRole(ctx, server.ID, in.Password); err != nil {
			return err
		}
		server.State, server.Recipient, server.Version, server.JoinedAt, server.SeenAt = models.ServerJoined, in.Recipient, in.Version, &in.Now, nil
		err = tx.with(ctx).Model(&models.Server{}).Where("id = ?", server.ID).
			Select("state", "role", "recipient", "version", "joined_at", "seen_at").Updates(server).Error
		if err != nil {
			return fmt.Errorf("join server %s: %w", server.Name, err)
		}
		// What was sealed for the key of before is of no use.
		if err := tx.with(ctx).Where("server_id = ?", server.ID).Delete(&models.ServerKey{}).Error; err != nil {
			return fmt.Errorf("forget keys of server %s: %w", server.Name, err)
		}
		e := models.Event{Actor: machine, Verb: "join", Subject: webServerSubject(server.ID), Text: server.Name + " as " + server.Role}
		return tx.RecordEvent(ctx, e.With(before, server))
	})
	return server, err
}

// refusedJoin tells nobody whether it was the name or the token.
func refusedJoin(cause error) error {
	if cause != nil && models.CodeOf(cause) != models.NotFound {
		return cause
	}
	return models.Errorf(models.NotFound, "This token lets no worker of that name join: it was used, its time is over, or it is another server's. Print a new one with: hefring server invite NAME")
}

// RemoveServer forgets a server without sites and takes its worker's role away.
func (s *Store) RemoveServer(ctx context.Context, by string, server models.Server) error {
	return s.changingRoles(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Server{}).Where("id = ? AND state <> ?", server.ID, models.ServerRemoved).
			Where("NOT EXISTS (SELECT 1 FROM sites WHERE sites.server_id = servers.id AND sites.state <> ?)", models.SiteDeleted).
			Where("NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.server_id = servers.id AND tasks.state IN ?)", unfinished()).
			Updates(map[string]any{"state": models.ServerRemoved, "role": "", "recipient": ""})
		if done.Error != nil {
			return fmt.Errorf("remove server %s: %w", server.Name, done.Error)
		}
		if done.RowsAffected == 0 {
			return models.Errorf(models.Conflict, "There are sites on %s, or tasks in its queue, or it is removed already. Delete its sites and cancel its tasks first.", server.Name)
		}
		for _, of := range []any{&models.ServerJoin{}, &models.ServerKey{}, &models.ServerPlatform{}} {
			if err := tx.with(ctx).Where("server_id = ?", server.ID).Delete(of).Error; err != nil {
				return fmt.Errorf("remove server %s: %w", server.Name, err)
			}
		}
		if server.Role != "" {
			if err := tx.dropRole(ctx, server.Role); err != nil {
				return err
			}
		}
		return tx.RecordEvent(ctx, models.Event{Actor: by, Verb: "remove", Subject: webServerSubject(server.ID), Text: server.Name}.With(server, nil))
	})
}

// ServerWithKey finds the joined server whose worker shows what has this hash.
func (s *Store) ServerWithKey(ctx context.Context, keyHash string) (models.Server, error) {
	query := s.with(ctx).Joins("JOIN server_joins j ON j.server_id = servers.id").
		Where("j.key_hash = ? AND j.key_hash <> '' AND servers.state = ?", keyHash, models.ServerJoined)
	return first[models.Server](query, "server", "with this key")
}

// BeatServer notes that a server's worker lives.
func (s *Store) BeatServer(ctx context.Context, id int64, version string) error {
	done := s.with(ctx).Model(&models.Server{}).Where("id = ? AND state = ?", id, models.ServerJoined).
		UpdateColumns(map[string]any{"seen_at": gorm.Expr("clock_timestamp()"), "version": version})
	if done.Error != nil {
		return fmt.Errorf("note that the worker lives: %w", done.Error)
	}
	if done.RowsAffected == 0 {
		return models.Errorf(models.Forbidden, "This server was removed from the fleet.")
	}
	return nil
}

// ServerNeeds lists the database servers that sites of servers use.
func (s *Store) ServerNeeds(ctx context.Context) ([]fleet.ServerNeed, error) {
	var pairs []struct{ ServerID, DatabaseServerID int64 }
	// A site that is on its way to a server is used there before it is there.
	err := s.with(ctx).Raw(`SELECT DISTINCT used.server_id, sites.database_server_id
		FROM (SELECT id AS site_id, server_id FROM sites UNION SELECT site_id, to_id FROM relocations WHERE state NOT IN ?) AS used
		JOIN sites ON sites.id = used.site_id AND sites.database_server_id IS NOT NULL AND sites.state <> ?
		JOIN servers ON servers.id = used.server_id AND servers.state = ?`,
		[]models.RelocationState{models.RelocationDone, models.RelocationFailed}, models.SiteDeleted, models.ServerJoined).
		Scan(&pairs).Error
	if err != nil {
		return nil, fmt.Errorf("list what servers need: %w", err)
	}
	needs := make([]fleet.ServerNeed, 0, len(pairs))
	for _, pair := range pairs {
		need := fleet.ServerNeed{}
		if need.Server, err = s.Server(ctx, pair.ServerID); err != nil {
			return nil, err
		}
		if need.DatabaseServer, err = s.DatabaseServer(ctx, pair.DatabaseServerID); err != nil {
			return nil, err
		}
		key, err := s.ServerKey(ctx, pair.ServerID, pair.DatabaseServerID)
		if err != nil && models.CodeOf(err) != models.NotFound {
			return nil, err
		}
		need.Source = key.Source
		needs = append(needs, need)
	}
	return needs, nil
}

// SaveServerKey stores a password that was sealed for a server's worker.
func (s *Store) SaveServerKey(ctx context.Context, k models.ServerKey) error {
	if err := s.with(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&k).Error; err != nil {
		return fmt.Errorf("save key of server %d: %w", k.ServerID, err)
	}
	return nil
}

// ServerKey loads one.
func (s *Store) ServerKey(ctx context.Context, serverID, databaseServerID int64) (models.ServerKey, error) {
	query := s.with(ctx).Where("server_id = ? AND database_server_id = ?", serverID, databaseServerID)
	return first[models.ServerKey](query, "password of database server", databaseServerID)
}

// Delivery loads one.
func (s *Store) Delivery(ctx context.Context, id int64) (models.ServerPlatform, error) {
	return get[models.ServerPlatform](ctx, s, "delivery", id)
}

// EnsureDelivery finds a platform on a server, or stores that it is wanted there.
func (s *Store) EnsureDelivery(ctx context.Context, serverID, platformID int64) (models.ServerPlatform, error) {
	d := models.ServerPlatform{ServerID: serverID, PlatformID: platformID, State: models.PlatformOnItsWay}
	err := s.with(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&d).Error
	if err != nil {
		return d, fmt.Errorf("want platform %d on server %d: %w", platformID, serverID, err)
	}
	query := s.with(ctx).Where("server_id = ? AND platform_id = ?", serverID, platformID)
	return first[models.ServerPlatform](query, "delivery of platform", platformID)
}

// SaveDelivery stores how far a delivery has come.
func (s *Store) SaveDelivery(ctx context.Context, d models.ServerPlatform) error {
	done := s.with(ctx).Model(&models.ServerPlatform{}).Where("id = ?", d.ID).Select("state", "digest", "reason", "updated_at").Updates(d)
	if done.Error != nil {
		return fmt.Errorf("save delivery %d: %w", d.ID, done.Error)
	}
	if done.RowsAffected == 0 {
		return missing("delivery", d.ID)
	}
	return nil
}

// DeliveriesTo lists the platforms on a server.
func (s *Store) DeliveriesTo(ctx context.Context, serverID int64) ([]models.ServerPlatform, error) {
	return s.deliveries(ctx, "server_id", serverID)
}

// DeliveriesOf lists the servers that a platform is on.
func (s *Store) DeliveriesOf(ctx context.Context, platformID int64) ([]models.ServerPlatform, error) {
	return s.deliveries(ctx, "platform_id", platformID)
}

func (s *Store) deliveries(ctx context.Context, column string, id int64) ([]models.ServerPlatform, error) {
	var list []models.ServerPlatform
	if err := s.with(ctx).Where(clause.Eq{Column: column, Value: id}).Order("id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return list, nil
}

// DeliveryRows lists the platforms on a server, newest first, or the servers that a
// platform is on; 0 is all of them.
func (s *Store) DeliveryRows(ctx context.Context, serverID, platformID int64) ([]fleet.ServerPlatformRow, error) {
	query := s.with(ctx).Table("server_platforms d").
		Select("d.*, s.name AS server, p.name AS platform").
		Joins("JOIN servers s ON s.id = d.server_id").Joins("JOIN platforms p ON p.id = d.platform_id AND p.state <> ?", models.PlatformDeleted)
	if serverID != 0 {
		query = query.Where("d.server_id = ?", serverID)
	}
	if platformID != 0 {
		query = query.Where("d.platform_id = ?", platformID)
	}
	var rows []fleet.ServerPlatformRow
	if err := query.Order("d.id DESC").Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return rows, nil
}

// DropDelivery forgets a platform on a server.
func (s *Store) DropDelivery(ctx context.Context, id int64) error {
	if err := s.with(ctx).Where("id = ?", id).Delete(&models.ServerPlatform{}).Error; err != nil {
		return fmt.Errorf("drop delivery %d: %w", id, err)
	}
	return nil
}
