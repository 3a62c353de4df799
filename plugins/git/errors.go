package git

import (
	"errors"
	"fmt"
	"strings"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

// errNotOffered marks a server that has the repository and does not hand out the
// wanted commit in the wanted way.
var errNotOffered = errors.New("the server does not offer that commit")

// explain turns a failure of git with a server into an error for people.
func (c *client) explain(err error) error {
	host := c.source.host
	if errors.Is(err, run.ErrTimeout) {
		return models.Wrapf(models.Unavailable, err, "%s did not answer in time. Try again later; if it stays, check the address and the network.", host)
	}
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok {
		return fmt.Errorf("run git: %w", err)
	}
	if full := plugins.FullDisk(err, c.env.Cache); full != nil {
		return full
	}
	if refused := c.proxy.Refused(); refused != nil {
		return models.Wrapf(models.Forbidden, refused, "Hefring may not connect to %s. %s", host, models.Explain(refused))
	}
	if failed := c.proxy.Failed(); failed != nil {
		return models.Wrapf(models.Unavailable, failed, "The repository at %s cannot be reached. %s", host, models.Explain(failed))
	}
	return c.fromText(exit)
}

// fromText reads git's own words; LC_ALL=C keeps them English.
func (c *client) fromText(exit *run.ExitError) error {
	has := func(signs ...string) bool {
		for _, sign := range signs {
			if strings.Contains(exit.Tail, sign) {
				return true
			}
		}
		return false
	}
	host := c.source.host
	wrong := func(code models.Code, format string, args ...any) error {
		return fieldError(fieldURL, models.Wrapf(code, exit, format, args...))
	}
	switch {
	case has("not our ref", "unadvertised object", "shallow capabilities", "find remote ref", "no such remote ref", "does not support shallow"):
		return errors.Join(errNotOffered, exit)
	case has("could not read Username", "could not read Password", "Authentication failed", "error: 401", "error: 403"):
		return wrong(models.Forbidden, "%s wants a password for this repository, or it does not exist. Hefring keeps no passwords yet: make the repository readable for everyone, or correct the address.", host)
	case has("not found", "error: 404", "error: 410"):
		return wrong(models.Invalid, "There is no git repository at this address on %s. Correct the repository URL.", host)
	case has("is this a git repository", "does not appear to be a git repository", "invalid server response", "protocol error", "bad line length", "unexpected flush", "error: 400", "error: 405"):
		return wrong(models.Invalid, "What is at this address on %s is not a git repository. Correct the repository URL; it often ends in .git.", host)
	case has("redirect", "error: 301", "error: 302", "error: 307", "error: 308"):
		return wrong(models.Invalid, "%s sends this address on to another one, which is not followed. Use the address that it leads to; https instead of http, or .git at the end, often helps.", host)
	case has("error: 429"):
		return wrong(models.Unavailable, "%s asks for fewer requests. Lengthen the check interval.", host)
	case has("certificate", "SSL", "TLS"):
		return wrong(models.Unavailable, "The certificate of %s is not valid here. Its owner must renew it, or an administrator install the authority that signed it.", host)
	case has("Operation too slow", "timed out"):
		return models.Wrapf(models.Unavailable, exit, "%s is too slow. Try again later.", host)
	case has("error: 5"):
		return models.Wrapf(models.Unavailable, exit, "The repository at %s cannot be reached: the server answers with an error of its own. Try again later.", host)
	case has("fsck error", "Gitmodules", "gitmodules"):
		return models.Wrapf(models.Invalid, exit, "The repository holds objects that git refuses as malformed or dangerous. Run “git fsck” in it and repair what that reports.")
	case exit.Signal != 0:
		return models.Wrapf(models.Unavailable, exit, "The repository is larger than Hefring takes, or this server ran out of memory. Remove large files from it.")
	}
	return models.Wrapf(models.Unavailable, errors.Join(errCorrupt, exit), "Git could not read the repository at %s: %s", host, run.Clean(lastLine(exit.Tail)))
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }
