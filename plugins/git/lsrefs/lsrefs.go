// Package lsrefs asks git servers over HTTP for some of their refs, with the
// ls-refs command of git's protocol version 2. Git's own ls-remote asks for all
// refs and chooses afterwards; this asks for those that are wanted.
//
// Source: git's Documentation/gitprotocol-v2.adoc, gitprotocol-http.adoc and
// gitprotocol-common.adoc.
package lsrefs

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ErrOldServer is a server that speaks no protocol version 2, or only serves
// files. Ask it with git's own command.
var ErrOldServer = errors.New("the server does not speak version 2 of git's protocol")

// Limits are what is accepted from one server. Zero values mean the defaults.
type Limits struct {
	Refs       int           // refs in one answer; 1,000,000
	Bytes      int64         // of one answer, after decompression; 64 MiB
	Timeout    time.Duration // of one List with all its requests; a minute
	Handshakes int           // servers' capabilities that are remembered; 16,384
}

// Client asks servers. It may be used by many goroutines.
type Client struct {
	http   *http.Client
	limits Limits
	memory *memory
}

// New gives a Client that sends through a copy of sender, which should be that of
// an egress.Guard. Redirects are never followed, whatever sender does.
func New(sender *http.Client, limits Limits) *Client {
	limits.Refs = cmp.Or(limits.Refs, 1_000_000)
	limits.Bytes = cmp.Or(limits.Bytes, 64<<20)
	limits.Timeout = cmp.Or(limits.Timeout, time.Minute)
	limits.Handshakes = cmp.Or(limits.Handshakes, 16<<10)
	memory := &memory{size: limits.Handshakes, known: map[string]handshake{}}
	return (&Client{limits: limits, memory: memory}).Through(sender)
}

// Through gives a Client with the same limits that shares what c remembers of
// servers, and sends through a copy of another sender.
func (c *Client) Through(sender *http.Client) *Client {
	own := *sender
	own.Jar = nil
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{http: &own, limits: c.limits, memory: c.memory}
}

// Remote is a repository on a server.
type Remote struct {
	URL           string // http or https; a user in it is not sent
	Authorization string // the header of this name; empty sends none
}

// BasicAuth is the Authorization for a user with a password or token.
func BasicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Query says which refs are wanted: those with one of the Names and those that
// begin with one of the Prefixes. When there are neither, all are. Names are
// complete: HEAD, refs/heads/main.
type Query struct {
	Names    []string
	Prefixes []string
	Symrefs  bool // also say which ref a symbolic one stands for
	Peel     bool // also say which object an annotated tag is for
}

// Ref is one ref.
type Ref struct {
	Name   string
	OID    string // hexadecimal, lower case
	Peeled string // what the annotated tag OID is for; "" when OID is something else, or Peel was not asked for
	Target string // ref that this one stands for; "" when it is not symbolic, or Symrefs was not asked for
}

// Commit is the object that the ref leads to: Peeled where there is one, else OID.
// It is a commit in all but odd repositories.
func (r Ref) Commit() string { return cmp.Or(r.Peeled, r.OID) }

// Answer is what a server said.
type Answer struct {
	Refs         []Ref  // sorted by name, each name once
	Unborn       string // branch that HEAD stands for while it has no commit; only with Symrefs, and not from old versions of git
	ObjectFormat string // sha1 or sha256
	Requests     int    // that were made
	Bytes        int64  // of their answers' bodies, after decompression
}

// Find gives the ref of a name.
func (a Answer) Find(name string) (Ref, bool) {
	at, found := slices.BinarySearchFunc(a.Refs, name, func(r Ref, name string) int { return strings.Compare(r.Name, name) })
	if !found {
		return Ref{}, false
	}
	return a.Refs[at], true
}

// List asks for refs. Errors that people can act on are models.Errors with a
// reason; the answer to an error says what it cost. ErrOldServer means that the
// server must be asked in another way. A server's capabilities are remembered, so
// that asking it again is one request.
func (c *Client) List(ctx context.Context, remote Remote, query Query) (Answer, error) {
	ctx, stop := context.WithTimeout(ctx, c.limits.Timeout)
	defer stop()
	filter, err := newFilter(query)
	if err != nil {
		return Answer{}, err
	}
	call, err := c.newCall(remote)
	if err != nil {
		return Answer{}, err
	}
	answer, err := c.list(ctx, call, query, filter)
	answer.Requests, answer.Bytes = call.requests, call.bytes
	return answer, err
}

func (c *Client) list(ctx context.Context, call *call, query Query, filter filter) (Answer, error) {
	if shaken, ok := c.memory.recall(call.base); ok {
		answer, err := call.listWith(ctx, shaken, query, filter)
		if err == nil || !call.refused {
			return answer, err
		}
		c.memory.forget(call.base)
	}
	shaken, err := call.discover(ctx)
	if err != nil {
		return Answer{}, err
	}
	c.memory.remember(call.base, shaken)
	answer, err := call.listWith(ctx, shaken, query, filter)
	if err != nil && call.refused {
		c.memory.forget(call.base)
	}
	return answer, err
}
