// Package engines is all kinds of databases in one: it sends each call to the
// engine of the database, or of the server on which a site keeps its databases.
package engines

import (
	"context"
	"errors"
	"fmt"
	"io"

	"hefring/internal/sites/database"
	"hefring/models"
)

// Server is the engine of one kind of server.
type Server interface {
	database.Engine
	// Test connects to a server, makes a database and a user, uses them and
	// removes them. It gives the server's version, also where it refuses it.
	Test(ctx context.Context, server models.DatabaseServer) (version string, err error)
}

// Engine is the database.Engine for all kinds.
type Engine struct {
	servers  database.Servers
	sqlite   database.Engine
	mysql    Server
	postgres Server
}

var _ database.Engine = (*Engine)(nil)

// New puts the engines together.
func New(servers database.Servers, sqlite database.Engine, mysql, postgres Server) *Engine {
	return &Engine{servers: servers, sqlite: sqlite, mysql: mysql, postgres: postgres}
}

// Test tests a server with the engine of its kind.
func (e *Engine) Test(ctx context.Context, server models.DatabaseServer) (string, error) {
	engine, err := e.server(server.Engine)
	if err != nil {
		return "", err
	}
	return engine.Test(ctx, server)
}

func (e *Engine) server(kind string) (Server, error) {
	switch kind {
	case models.EngineMySQL:
		return e.mysql, nil
	case models.EnginePostgres:
		return e.postgres, nil
	}
	return nil, models.Errorf(models.Invalid, "Hefring knows no database servers of the kind %q.", kind)
}

// of is the engine of a database.
func (e *Engine) of(db models.Database) (database.Engine, error) {
	if db.Engine == models.EngineSQLite {
		return e.sqlite, nil
	}
	return e.server(db.Engine)
}

// where is the engine with which a site makes its databases.
func (e *Engine) where(ctx context.Context, site models.Site) (database.Engine, error) {
	if site.DatabaseServerID == nil {
		return e.sqlite, nil
	}
	server, err := e.servers(ctx, *site.DatabaseServerID)
	if err != nil {
		return nil, fmt.Errorf("find database server %d: %w", *site.DatabaseServerID, err)
	}
	return e.server(server.Engine)
}

// all are the engines that may have databases of a site.
func (e *Engine) all(ctx context.Context, site models.Site) ([]database.Engine, error) {
	all := []database.Engine{e.sqlite}
	if site.DatabaseServerID == nil {
		return all, nil
	}
	engine, err := e.where(ctx, site)
	return append(all, engine), err
}

// Create makes a database on the site's server, a file where it has none.
func (e *Engine) Create(ctx context.Context, site models.Site, label string) (models.Database, error) {
	engine, err := e.where(ctx, site)
	if err != nil {
		return models.Database{}, err
	}
	return engine.Create(ctx, site, label)
}

// Copy copies within one kind.
func (e *Engine) Copy(ctx context.Context, from, to models.Database) (database.CopyInfo, error) {
	if from.Engine != to.Engine {
		return database.CopyInfo{}, models.Errorf(models.Invalid,
			"A database of the kind %s cannot be copied to one of the kind %s. Choose a database server of the same kind.", from.Engine, to.Engine)
	}
	engine, err := e.of(from)
	if err != nil {
		return database.CopyInfo{}, err
	}
	return engine.Copy(ctx, from, to)
}

// Drop removes a database.
func (e *Engine) Drop(ctx context.Context, db models.Database) error {
	engine, err := e.of(db)
	if err != nil {
		return err
	}
	return engine.Drop(ctx, db)
}

// Check tells why the site could not use the database.
func (e *Engine) Check(ctx context.Context, db models.Database) error {
	engine, err := e.of(db)
	if err != nil {
		return err
	}
	return engine.Check(ctx, db)
}

// PHP is Drupal's array.
func (e *Engine) PHP(ctx context.Context, db models.Database) (database.Settings, error) {
	engine, err := e.of(db)
	if err != nil {
		return nil, err
	}
	return engine.PHP(ctx, db)
}

// Dump writes all that the database held at one moment.
func (e *Engine) Dump(ctx context.Context, db models.Database, w io.Writer) (database.CopyInfo, error) {
	engine, err := e.of(db)
	if err != nil {
		return database.CopyInfo{}, err
	}
	return engine.Dump(ctx, db, w)
}

// Load puts a dump in the place of what a database holds.
func (e *Engine) Load(ctx context.Context, db models.Database, r io.Reader) (database.CopyInfo, error) {
	engine, err := e.of(db)
	if err != nil {
		return database.CopyInfo{}, err
	}
	return engine.Load(ctx, db, r)
}

// Adopt copies a foreign database of the same kind.
func (e *Engine) Adopt(ctx context.Context, from database.Foreign, to models.Database) (database.CopyInfo, error) {
	if from.Engine != to.Engine {
		return database.CopyInfo{}, models.Errorf(models.Invalid,
			"A database of the kind %s cannot be adopted into one of the kind %s. Choose a database server of the same kind.", from.Engine, to.Engine)
	}
	engine, err := e.of(to)
	if err != nil {
		return database.CopyInfo{}, err
	}
	return engine.Adopt(ctx, from, to)
}

// Databases lists what there is of a site, files and on its server.
func (e *Engine) Databases(ctx context.Context, site models.Site) ([]models.Database, error) {
	engines, err := e.all(ctx, site)
	if err != nil {
		return nil, err
	}
	var all []models.Database
	for _, engine := range engines {
		dbs, err := engine.Databases(ctx, site)
		if err != nil {
			return nil, err
		}
		all = append(all, dbs...)
	}
	return all, nil
}

// Remove drops all databases of a site, and its user. What can be removed is, also
// when something else fails.
func (e *Engine) Remove(ctx context.Context, site models.Site) error {
	engines, err := e.all(ctx, site)
	if err != nil {
		return err
	}
	var errs []error
	for _, engine := range engines {
		errs = append(errs, engine.Remove(ctx, site))
	}
	return errors.Join(errs...)
}

// Marks notes how each table is now.
func (e *Engine) Marks(ctx context.Context, db models.Database) ([]models.TableMark, error) {
	engine, err := e.of(db)
	if err != nil {
		return nil, err
	}
	return engine.Marks(ctx, db)
}

// Loss tells what was written since the marks were taken.
func (e *Engine) Loss(ctx context.Context, db models.Database, marks []models.TableMark) ([]models.TableLoss, error) {
	engine, err := e.of(db)
	if err != nil {
		return nil, err
	}
	return engine.Loss(ctx, db, marks)
}
