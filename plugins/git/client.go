package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

const (
	fetchTimeout = 30 * time.Minute // one download
	localTimeout = 10 * time.Minute
)

// client is git for one call on one repository.
type client struct {
	env    plugins.Env
	remote remote
	answer time.Duration // a server's time to answer one question
	proxy  *egress.Proxy // nil before it is needed
	ssh    string        // folder of ssh's key and configuration, "" without
}

// open checks that the repository may be reached; close the client in the end.
func open(env plugins.Env, r remote, answer time.Duration) (*client, error) {
	if _, err := env.Egress.CheckGitURL(r.url); err != nil {
		return nil, fieldError(fieldURL, err)
	}
	return &client{env: env, remote: r, answer: answer}, nil
}

// connect prepares the way out for git, which most checks do without.
func (c *client) connect(ctx context.Context) (err error) {
	if c.proxy != nil {
		return nil
	}
	host, port := c.remote.host(), c.remote.port()
	if c.remote.isSSH() {
		if c.ssh, err = c.remote.login.keep(c.env); err != nil {
			return err
		}
	}
	c.proxy, err = plugins.OpenProxy(ctx, c.env, func(h string, p int) bool {
		return strings.EqualFold(strings.TrimSuffix(h, "."), host) && p == port
	})
	return err
}

// close removes what connect made, the SSH key above all.
func (c *client) close() {
	if c.proxy != nil {
		c.proxy.Close()
	}
	if c.ssh != "" {
		_ = os.RemoveAll(c.ssh)
	}
}

// fieldError makes the message of err appear at a field of the form as well.
func fieldError(field string, err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok {
		return err
	}
	shown := *e
	shown.Fields = map[string]string{field: e.Message}
	return &shown
}

// promisor is the name under which a partial copy knows where the rest is.
const promisor = "origin"

// partialProcesses is how many programs may run while a partial copy is asked
// for more. A server that is two-faced makes git look for missing objects by
// calling itself without end.
const partialProcesses = 300

// call is one run of git with the network.
type call struct {
	timeout  time.Duration
	output   int64 // bytes that are accepted
	writable []string
	partial  bool // on a partial mirror
	args     []string
}

// ask runs git with the network. Its errors are for people.
func (c *client) ask(ctx context.Context, call call) (run.Result, error) {
	if err := c.connect(ctx); err != nil {
		return run.Result{}, err
	}
	var more [][2]string
	if call.partial {
		more = append(more, [2]string{"remote." + promisor + ".url", c.remote.url}, [2]string{"remote." + promisor + ".promisor", "true"})
	}
	if header := c.remote.login.authorization(); header != "" {
		more = append(more, [2]string{"http." + c.remote.origin() + "/.extraHeader", "Authorization: " + header})
	}
	env := plugins.GitEnvironment(c.remote.address.Scheme, more...)
	sandbox := &run.Sandbox{Writable: call.writable, Network: run.NetworkProxy, Proxy: c.proxy.Socket()}
	if c.ssh != "" {
		env = append(env, "GIT_SSH_COMMAND="+sshCommand(c.ssh), "GIT_SSH_VARIANT=ssh")
		sandbox.ReadOnly = []string{c.ssh}
	}
	limits := run.Limits{OutputBytes: call.output}
	if call.partial {
		limits.Processes = partialProcesses
	}
	res, err := c.env.Run.Run(ctx, run.Cmd{
		Name: "git", Args: call.args, Env: env, Timeout: call.timeout, Limits: limits, Sandbox: sandbox,
	})
	if exit, ok := errors.AsType[*run.ExitError](err); ok {
		exit.Tail = c.remote.login.redact(exit.Tail)
	}
	if err != nil {
		return res, c.explain(err)
	}
	return res, nil
}

func (c *client) cacheDir() string { return filepath.Join(c.env.Cache, "git", c.remote.folder()) }
