package store

import (
	"context"
	"fmt"

	"hefring/internal/fleet"
	"hefring/models"
)

func serverSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectServer, ID: id}
}

// DatabaseServers lists the servers by name, with how many sites use each.
func (s *Store) DatabaseServers(ctx context.Context) ([]fleet.DatabaseServerRow, error) {
	var rows []fleet.DatabaseServerRow
	err := s.with(ctx).Model(&models.DatabaseServer{}).
		Select("database_servers.*, (SELECT COUNT(*) FROM sites WHERE sites.database_server_id = database_servers.id AND sites.state <> ?) AS sites", models.SiteDeleted).
		Order("LOWER(name), id").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("list database servers: %w", err)
	}
	return rows, nil
}

// DatabaseServerChoices lists the servers by name, whose sites are not counted.
func (s *Store) DatabaseServerChoices(ctx context.Context) ([]fleet.DatabaseServerRow, error) {
	var list []models.DatabaseServer
	if err := s.with(ctx).Order("LOWER(name), id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list database servers to choose from: %w", err)
	}
	rows := make([]fleet.DatabaseServerRow, len(list))
	for i, server := range list {
		rows[i].DatabaseServer = server
	}
	return rows, nil
}

// DatabaseServer loads one.
func (s *Store) DatabaseServer(ctx context.Context, id int64) (models.DatabaseServer, error) {
	return get[models.DatabaseServer](ctx, s, "database server", id)
}

// SaveDatabaseServer stores a new server or changes one. At most one is the
// default.
func (s *Store) SaveDatabaseServer(ctx context.Context, by string, server *models.DatabaseServer) error {
	return s.atomic(ctx, func(tx *Store) error {
		if server.Default {
			err := tx.with(ctx).Model(&models.DatabaseServer{}).Where("id <> ?", server.ID).UpdateColumn("default", false).Error
			if err != nil {
				return fmt.Errorf("choose default database server: %w", err)
			}
		}
		taken := fmt.Sprintf("There is a database server with the name %s already. Choose another.", server.Name)
		if server.ID == 0 {
			if err := beside("name", create(ctx, tx, "database server", server, taken)); err != nil {
				return err
			}
			return tx.RecordEvent(ctx, models.Event{Actor: by, Verb: "create", Subject: serverSubject(server.ID), Text: server.Name}.With(nil, *server))
		}
		old, err := locked[models.DatabaseServer](ctx, tx, "database server", server.ID)
		if err != nil {
			return err
		}
		done := tx.with(ctx).Model(&models.DatabaseServer{}).Where("id = ?", server.ID).
			Select("*").Omit("id", "created_at").Updates(server)
		if done.Error != nil {
			return fmt.Errorf("save database server %d: %w", server.ID, done.Error)
		}
		if done.RowsAffected == 0 {
			return missing("database server", server.ID)
		}
		return tx.RecordEdit(ctx, models.Event{Actor: by, Verb: "edit", Subject: serverSubject(server.ID), Text: server.Name}.With(old, *server))
	})
}

// MarkDatabaseServer stores what the last test of a server said.
func (s *Store) MarkDatabaseServer(ctx context.Context, server models.DatabaseServer) error {
	err := s.with(ctx).Model(&models.DatabaseServer{}).Where("id = ?", server.ID).
		Select("version", "reason", "tested_at").Updates(server).Error
	if err != nil {
		return fmt.Errorf("mark database server %d: %w", server.ID, err)
	}
	return nil
}

// DeleteDatabaseServer forgets a server that no site uses or used.
func (s *Store) DeleteDatabaseServer(ctx context.Context, by string, id int64) error {
	return s.atomic(ctx, func(tx *Store) error {
		server, err := locked[models.DatabaseServer](ctx, tx, "database server", id)
		if err != nil {
			return err
		}
		err = tx.with(ctx).Model(&models.Site{}).Where("database_server_id = ? AND state = ?", id, models.SiteDeleted).
			UpdateColumn("database_server_id", nil).Error
		if err != nil {
			return fmt.Errorf("let go of database server %d: %w", id, err)
		}
		if err := tx.with(ctx).Delete(&models.DatabaseServer{}, id).Error; err != nil {
			return fmt.Errorf("delete database server %d: %w", id, err)
		}
		return tx.RecordEvent(ctx, models.Event{Actor: by, Verb: "delete", Subject: serverSubject(id), Text: server.Name}.With(server, nil))
	})
}

// SitesUsing lists the sites whose databases are on a server, without deleted
// ones.
func (s *Store) SitesUsing(ctx context.Context, serverID int64) ([]models.Site, error) {
	var list []models.Site
	err := s.with(ctx).Where("database_server_id = ? AND state <> ?", serverID, models.SiteDeleted).Order("uri").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list sites on database server %d: %w", serverID, err)
	}
	return list, nil
}
