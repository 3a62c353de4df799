package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

	"hefring/internal/config"
	"hefring/internal/doctor"
	"hefring/internal/fleet"
	"hefring/internal/run"
	"hefring/internal/secret"
	"hefring/internal/sites"
	"hefring/internal/sites/database/engines"
	"hefring/internal/sites/database/mysql"
	"hefring/internal/sites/database/postgres"
	"hefring/internal/sites/webserver"
	"hefring/internal/store"
	"hefring/models"
)

type doctorCmd struct {
	config.Config

	JSON bool `name:"json" help:"Print JSON."`
}

// Run looks at this machine and fails when something that is needed is missing.
func (c *doctorCmd) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	allowed, err := c.Allowed()
	if err != nil {
		return err
	}
	list := doctor.Examine(ctx, doctor.Config{
		// It must say what is wrong also where nothing can be contained; these
		// programs are the system's own.
		Programs: run.New(run.Config{Uncontained: true}), Sandbox: run.New(run.Config{}),
		Users: []string{c.WebUser, c.BuildUser}, Data: c.Data, Control: layout(c.Data).control, KeyFile: c.SecretKey,
		Allow: allowed, Unsandboxed: c.Unsandboxed, Database: c.probe, Web: c.web(ctx), Probes: c.servers(ctx),
	})
	if c.JSON {
		err = printJSON(os.Stdout, list)
	} else {
		err = printFindings(os.Stdout, list)
	}
	if err == nil && !doctor.Healthy(list) {
		err = &exitError{code: 1, text: "Something that is needed is missing; the lines that begin with FAIL say what mends it."}
	}
	return err
}

// web says what serves the sites.
func (c *doctorCmd) web(ctx context.Context) *doctor.Web {
	programs := run.New(run.Config{Uncontained: true})
	settings := webConfig(c.Config, layout(c.Data))
	server := webserver.New(settings, programs)
	address := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	w := &doctor.Web{
		Dir: settings.Dir, FirstUser: c.SiteUsers,
		Addresses: []string{address(c.SitesListen, c.SitesPort), address(c.SitesListen, c.TLSPort), address("127.0.0.1", c.ProbePort)},
		Certificates: func() ([]doctor.Certificate, error) {
			found, err := server.Certificates()
			list := make([]doctor.Certificate, 0, len(found))
			for _, one := range found {
				list = append(list, doctor.Certificate{Site: one.URI, NotAfter: one.NotAfter, Trouble: one.Trouble})
			}
			return list, err
		},
	}
	if status, err := server.Status(ctx); err == nil {
		w.Running = status.Nginx.PID != 0 || status.PHP.PID != 0
	}
	if settings.Mode == webserver.ModeSystem {
		w.System = &doctor.System{
			NginxInclude: server.NginxInclude(), PHPInclude: server.PHPInclude(),
			ReloadNginx: settings.System.ReloadNginx, ReloadPHP: settings.System.ReloadPHP, Test: server.TestSystem,
		}
	}
	return w
}

// servers are the registered database servers. One that cannot be listed is told
// by the look at the database itself.
func (c *doctorCmd) servers(ctx context.Context) []doctor.Probe {
	list, err := store.Peek(ctx, c.Database)
	if err != nil || len(list) == 0 {
		return nil
	}
	ours := run.New(run.Config{Uncontained: true})
	where := sites.Layout{Root: layout(c.Data).sites}
	none := func(context.Context, int64) (models.DatabaseServer, error) {
		return models.DatabaseServer{}, errors.New("no database is asked for")
	}
	all := engines.New(none, nil, mysql.New(where, ours, none), postgres.New(where, ours, none))
	probes := make([]doctor.Probe, 0, len(list))
	for _, server := range list {
		probes = append(probes, doctor.Probe{
			Name: server.Name, Engine: server.Engine, Fix: "hefring database test '" + server.Name + "', once it is mended",
			Ask: func(ctx context.Context) (string, error) {
				box, err := secret.Load(c.SecretKey)
				if err != nil {
					return "", err
				}
				open, err := fleet.WithPassword(box, server)
				if err != nil {
					return "", err
				}
				return all.Test(ctx, open)
			},
		})
	}
	return probes
}

func (c *doctorCmd) probe(ctx context.Context) (doctor.Database, error) {
	name, now, err := store.Probe(ctx, c.Database)
	if errors.Is(err, fs.ErrNotExist) {
		return doctor.Database{Name: "SQLite, made at the first start,"}, nil
	}
	return doctor.Database{Name: name, Time: now}, err
}

func printFindings(w io.Writer, list []doctor.Finding) error {
	var b strings.Builder
	for _, f := range list {
		state := strings.ToLower(string(f.State))
		if f.State == doctor.Fail {
			state = "FAIL"
		}
		fmt.Fprintf(&b, "%-5s %-12s %s\n", state, f.Name, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(&b, "%-18s mend it with: %s\n", "", f.Fix)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
