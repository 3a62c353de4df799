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

// errNoFilter marks a server that does not make partial copies of that kind.
var errNoFilter = errors.New("the server does not leave out what is not wanted")

// explain turns a failure of git with a server into an error for people.
func (c *client) explain(err error) error {
	host := c.remote.host()
	if errors.Is(err, run.ErrTimeout) {
		return models.Wrapf(models.Unavailable, err, "%s did not answer in time. Try again later; if it stays, check the address and the network.", host).
			Because(models.ReasonTimeout)
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
	words := said{exit.Tail}
	if c.remote.isSSH() {
		if err := c.fromSSH(exit, words); err != nil {
			return err
		}
	}
	return c.fromText(exit, words)
}

// said is what a program wrote; LC_ALL=C keeps it English.
type said struct{ text string }

func (s said) any(signs ...string) bool {
	for _, sign := range signs {
		if strings.Contains(s.text, sign) {
			return true
		}
	}
	return false
}

// fromSSH reads ssh's own words; nil when it is not ssh that failed.
func (c *client) fromSSH(exit *run.ExitError, says said) error {
	host := c.remote.host()
	wrong := func(field string, reason models.Reason, format string, args ...any) error {
		return fieldError(field, models.Wrapf(models.Forbidden, exit, format, args...).Because(reason))
	}
	switch {
	case says.any("HOST IDENTIFICATION HAS CHANGED", "REVOKED HOST KEY"):
		return wrong(fieldKnownHosts, models.ReasonHostKey,
			"%s shows another host key than the one that is pinned. Ask its owner whether the key was changed. If so, put the new one under “Known host keys”, as “ssh-keyscan %s” prints it; if not, somebody may be posing as %[1]s.", host, host)
	case says.any("host key is known for", "Host key verification failed"):
		return wrong(fieldKnownHosts, models.ReasonHostKey,
			"No host key of %s is pinned. Put it under “Known host keys”, as “ssh-keyscan %s” prints it, after comparing its fingerprint with the one that the owner publishes.", host, host)
	case says.any("error in libcrypto", "invalid format"):
		return wrong(fieldKey, models.ReasonAuthentication, "ssh cannot read the private key. Paste the whole file, from -----BEGIN to the last line.")
	case says.any("Permission denied", "Too many authentication failures", "no mutual signature"):
		return wrong(fieldKey, models.ReasonAuthentication,
			"%s does not accept this SSH key. Add its public half there as a key that may read the repository, or correct the user before the @ of the address.", host)
	case says.any("could not be found", "not found", "does not exist", "does not appear to be a git repository"):
		return wrong(fieldURL, models.ReasonNotFound,
			"There is no git repository at this address on %s that this SSH key may read. Correct the repository URL, or let the key read it.", host)
	case says.any("Connection closed", "Connection reset", "Broken pipe", "kex_exchange_identification", "banner", "Connection timed out", "not responding"):
		return models.Wrapf(models.Unavailable, exit, "%s broke off the connection before git could begin. Check that SSH answers at this port, and try again later.", host).
			Because(models.ReasonUnreachable)
	}
	return nil
}

// fromText reads git's own words.
func (c *client) fromText(exit *run.ExitError, says said) error {
	host := c.remote.host()
	wrong := func(code models.Code, reason models.Reason, format string, args ...any) error {
		return fieldError(fieldURL, models.Wrapf(code, exit, format, args...).Because(reason))
	}
	switch {
	case says.any("not our ref", "unadvertised object", "shallow capabilities", "find remote ref", "no such remote ref", "does not support shallow"):
		return errors.Join(errNotOffered, exit)
	case says.any("filter '", "tree filter allows", "invalid filter-spec"):
		return errors.Join(errNoFilter, exit)
	case says.any("could not read Username", "could not read Password", "Authentication failed", "error: 401", "error: 403"):
		return c.notAllowed(exit)
	case says.any("not found", "error: 404", "error: 410"):
		return wrong(models.Invalid, models.ReasonNotFound, "There is no git repository at this address on %s. Correct the repository URL.", host)
	case says.any("is this a git repository", "does not appear to be a git repository", "invalid server response", "protocol error", "bad line length", "unexpected flush", "error: 400", "error: 405"):
		return wrong(models.Invalid, models.ReasonMalformed, "What is at this address on %s is not a git repository. Correct the repository URL; it often ends in .git.", host)
	case says.any("redirect", "error: 301", "error: 302", "error: 307", "error: 308"):
		return wrong(models.Invalid, models.ReasonURL, "%s sends this address on to another one, which is not followed. Use the address that it leads to; https instead of http, or .git at the end, often helps.", host)
	case says.any("error: 429"):
		return wrong(models.Unavailable, models.ReasonRateLimited, "%s asks for fewer requests. Lengthen the check interval.", host)
	case says.any("certificate", "SSL", "TLS"):
		return wrong(models.Unavailable, models.ReasonTLS, "The certificate of %s is not valid here. Its owner must renew it, or an administrator make the authority that signed it known with --ca-file.", host)
	case says.any("Operation too slow", "timed out"):
		return models.Wrapf(models.Unavailable, exit, "%s is too slow. Try again later.", host).Because(models.ReasonTimeout)
	case says.any("error: 5"):
		return models.Wrapf(models.Unavailable, exit, "The repository at %s cannot be reached: the server answers with an error of its own. Try again later.", host).
			Because(models.ReasonUnreachable)
	case says.any("fsck error", "Gitmodules", "gitmodules"):
		return models.Wrapf(models.Invalid, exit, "The repository holds objects that git refuses as malformed or dangerous. Run “git fsck” in it and repair what that reports.").
			Because(models.ReasonMalformed)
	case exit.Signal != 0:
		return models.Wrapf(models.Unavailable, exit, "The repository is larger than Hefring takes, or this server ran out of memory. Remove large files from it.").
			Because(models.ReasonTooLarge)
	}
	return models.Wrapf(models.Unavailable, errors.Join(errCorrupt, exit), "Git could not read the repository at %s: %s", host, run.Clean(lastLine(exit.Tail))).
		Because(models.ReasonUnreachable)
}

func (c *client) notAllowed(cause error) error {
	host, field := c.remote.host(), fieldToken
	message := "%s does not let these credentials read the repository. Give others, let them read it, or correct the address."
	if c.remote.login == (credentials{}) {
		field = fieldURL
		message = "%s wants credentials for this repository, or it does not exist. Give credentials that may read it, or correct the address."
	}
	return fieldError(field, models.Wrapf(models.Forbidden, cause, message, host).Because(models.ReasonAuthentication))
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }
