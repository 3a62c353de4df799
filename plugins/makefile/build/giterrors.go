package build

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

// explain turns a failure of git with a server into an error for people.
func (r *repository) explain(err error, proxy *egress.Proxy) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, run.ErrTimeout) {
		return r.problem(models.Unavailable, models.ReasonTimeout, err, "the server did not answer in time. Try again later.")
	}
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok {
		return fmt.Errorf("run git: %w", err)
	}
	if full := plugins.FullDisk(err, r.b.dst, r.b.env.Cache); full != nil {
		return full
	}
	if cause := cmp.Or(proxy.Refused(), proxy.Failed()); cause != nil {
		return r.problem(models.Unavailable, models.ReasonOf(cause), cause, "%s", models.Explain(cause))
	}
	return r.fromText(exit)
}

func (r *repository) problem(code models.Code, reason models.Reason, cause error, format string, args ...any) error {
	return models.Wrapf(code, cause, "Unable to clone %s from %s: %s", r.name, r.url, fmt.Sprintf(format, args...)).Because(reason)
}

// fromText reads git's own words; LC_ALL=C keeps them English.
func (r *repository) fromText(exit *run.ExitError) error {
	has := func(signs ...string) bool {
		for _, sign := range signs {
			if strings.Contains(exit.Tail, sign) {
				return true
			}
		}
		return false
	}
	switch {
	case has("not our ref", "unadvertised object", "shallow capabilities", "find remote ref", "no such remote ref", "does not support shallow"):
		return errors.Join(errNotOffered, exit)
	case has("' not allowed"):
		return r.problem(models.Invalid, models.ReasonURL, exit, "a submodule has an address that is not fetched from. Give it one that begins with https://, or build without submodules.")
	case has("cannot fork", "Resource temporarily unavailable", "unable to create thread"):
		return r.problem(models.Unavailable, models.ReasonUnreachable, exit, "this server runs too many programs at the moment. Try again later.")
	case has("could not read Username", "could not read Password", "Authentication failed", "error: 401", "error: 403"):
		return r.problem(models.Forbidden, models.ReasonAuthentication, exit, "the server wants a password, or the repository does not exist. Makefiles reach public repositories only.")
	case has("not found", "error: 404", "error: 410"):
		return r.problem(models.Invalid, models.ReasonNotFound, exit, "there is no git repository. Correct the address, or the name of the project.")
	case has("redirect", "error: 301", "error: 302", "error: 307", "error: 308"):
		return r.problem(models.Invalid, models.ReasonURL, exit, "the server sends this address on to another one, which is not followed. Use the address it leads to.")
	case has("error: 429"):
		return r.problem(models.Unavailable, models.ReasonRateLimited, exit, "the server asks for fewer requests. Try again later.")
	case has("error: 5"):
		return r.problem(models.Unavailable, models.ReasonUnreachable, exit, "the server answers with an error of its own. Try again later.")
	case has("Operation too slow", "timed out"):
		return r.problem(models.Unavailable, models.ReasonTimeout, exit, "the server is too slow. Try again later.")
	case has("certificate", "SSL", "TLS"):
		return r.problem(models.Unavailable, models.ReasonTLS, exit, "the server's certificate is not valid here.")
	case has("fsck error", "itmodules"):
		return r.problem(models.Invalid, models.ReasonMalformed, exit, "it holds objects that git refuses as malformed or dangerous. Run “git fsck” in it and repair what that reports.")
	}
	return r.problem(models.Invalid, models.ReasonMalformed, exit, "%s", lastLine(reason(exit.Tail)))
}

// reason leaves out git's general advice after what it says went wrong.
func reason(text string) string {
	before, _, _ := strings.Cut(text, "fatal: Could not read from remote repository")
	return cmp.Or(strings.TrimSpace(before), text)
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return run.Clean(text[strings.LastIndexByte(text, '\n')+1:])
}
