package composer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/repository"
)

// seen is how a page looked: enough to ask whether it is still the same.
type seen struct {
	validator string // e: and its ETag, or m: and its time of change; "" for none
	digest    string // of its text; absent when there is no such page
}

const absent = "-"

// MarshalJSON keeps many of them short.
func (s seen) MarshalJSON() ([]byte, error) { return json.Marshal([2]string{s.validator, s.digest}) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *seen) UnmarshalJSON(text []byte) error {
	var pair [2]string
	err := json.Unmarshal(text, &pair)
	s.validator, s.digest = pair[0], pair[1]
	return err
}

// pages are the pages that an answer rests on: by the template of their
// addresses, then by the text in the place of %package%.
type pages map[string]map[string]seen

func (p pages) count() int {
	n := 0
	for _, names := range p {
		n += len(names)
	}
	return n
}

// page is one answer.
type page struct {
	seen seen
	date time.Time // by the server's clock; zero when it tells none
	body []byte    // only of what was read, and not when absent
}

// asker asks repositories and notes what it saw.
type asker struct {
	env    plugins.Env
	source source
	mu     sync.Mutex
	pages  pages
	feeds  map[string]feed // by template
}

func newAsker(env plugins.Env, s source) *asker {
	return &asker{env: env, source: s, pages: pages{}, feeds: map[string]feed{}}
}

// read gives a page with its text. A missing page is no error.
func (a *asker) read(ctx context.Context, template, name string) (page, error) {
	return a.get(ctx, question{template: template, name: name}, true)
}

// get asks for a page, with its text or only for how it looks. A missing page is
// no error.
func (a *asker) get(ctx context.Context, q question, text bool) (page, error) {
	at := strings.ReplaceAll(q.template, "%package%", q.name)
	key := digest("composer page", at, q.before.validator, q.before.digest, strconv.FormatBool(text), a.source.credential())
	p, err := plugins.Ask(a.env.Answers, key, func() (page, error) {
		p, err := a.fetch(ctx, at, q.before)
		if !text {
			p.body = nil // there may be thousands
		}
		return p, err
	})
	if err != nil {
		return page{}, err
	}
	a.note(q.template, q.name, p.seen)
	return p, nil
}

func (a *asker) note(template, name string, s seen) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pages[template] == nil {
		a.pages[template] = map[string]seen{}
	}
	a.pages[template][name] = s
}

func (a *asker) fetch(ctx context.Context, at string, before seen) (page, error) {
	header := http.Header{"Accept": {"application/json"}}
	a.source.authorize(at, header)
	if before.digest != absent {
		before.ask(header)
	}
	got, err := a.env.Egress.Fetch(ctx, at, repository.MaxPage, header)
	if models.ReasonOf(err) == models.ReasonNotFound {
		return page{seen: seen{digest: absent}}, nil
	}
	if err != nil {
		return page{}, fmt.Errorf("ask Composer repository: %w", err)
	}
	if got.Status == http.StatusNotModified {
		if before.validator == "" {
			return page{}, models.Errorf(models.Unavailable, "%s said “not modified” although nothing was there to compare with. Try again later.", hostOf(at)).
				Because(models.ReasonMalformed)
		}
		return page{seen: before}, nil
	}
	now := look(got)
	if now.digest == before.digest { // a new validator alone is no change
		return page{seen: now}, nil
	}
	return page{seen: now, body: got.Body, date: serverDate(got.Header)}, nil
}

// ask makes a request conditional.
func (s seen) ask(header http.Header) {
	if tag, ok := strings.CutPrefix(s.validator, "e:"); ok {
		header.Set("If-None-Match", tag)
	}
	if date, ok := strings.CutPrefix(s.validator, "m:"); ok {
		header.Set("If-Modified-Since", date)
	}
}

// maxValidator is the length in bytes of the longest validator that is kept.
const maxValidator = 160

func look(got *egress.Page) seen {
	sum := sha256.Sum256(got.Body)
	s := seen{digest: base64.RawURLEncoding.EncodeToString(sum[:12])}
	switch tag, date := got.Header.Get("ETag"), got.Header.Get("Last-Modified"); {
	case tag != "" && len(tag) <= maxValidator: // times are no finer than a second
		s.validator = "e:" + tag
	case date != "" && len(date) <= maxValidator:
		s.validator = "m:" + date
	}
	return s
}

func hostOf(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return "The repository"
	}
	return u.Host
}

// authorize adds the credential to questions to the repository's own origin.
func (s source) authorize(at string, header http.Header) {
	u, err := url.Parse(at)
	if s.token == "" || err != nil || !strings.EqualFold(u.Host, s.home.Host) || u.Scheme != s.home.Scheme {
		return
	}
	if s.user == "" {
		header.Set("Authorization", "Bearer "+s.token)
		return
	}
	header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(s.user+":"+s.token)))
}

// atOnce is how many pages are asked for at the same time.
const atOnce = 4

// question is one page to look at; before is how it was seen, or empty to have it
// in any case.
type question struct {
	template, name string
	before         seen
}

// each asks all questions, a few at a time; visit, which may be nil, gets the
// answers one by one. The first error, also of visit, ends it.
func (a *asker) each(ctx context.Context, list []question, visit func(question, page) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work := make(chan question)
	var workers sync.WaitGroup
	var mu sync.Mutex
	for range min(atOnce, len(list)) {
		workers.Go(func() {
			for q := range work {
				p, err := a.get(ctx, q, false)
				mu.Lock()
				if err == nil && visit != nil && ctx.Err() == nil {
					err = visit(q, p)
				}
				mu.Unlock()
				if err != nil {
					stop(err)
				}
			}
		})
	}
	for _, q := range list {
		select {
		case work <- q:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// unchanged tells whether all pages are as they were seen. It looks at all of
// them in any case: how they are before dependencies are worked out is what the
// next check compares with.
func (a *asker) unchanged(ctx context.Context, m memo) (bool, error) {
	var list []question
	for template, names := range m.Pages {
		changed, next, quiet := a.changes(ctx, m.Feeds[template])
		if quiet {
			a.feeds[template] = next
		}
		for name, was := range names {
			if quiet && !changed[name] {
				a.note(template, name, was)
				continue
			}
			list = append(list, question{template, name, was})
		}
	}
	same := true
	err := a.each(ctx, list, func(q question, p page) error {
		same = same && p.seen.digest == q.before.digest
		return nil
	})
	return same && err == nil, err
}

// known gives how a page was seen by this asker, if it was.
func (a *asker) known(template, name string) (seen, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.pages[template][name]
	return s, ok
}

// seenOf gives how the same pages were seen now.
func (a *asker) seenOf(before pages) pages {
	now := pages{}
	for template, names := range before {
		now[template] = map[string]seen{}
		for name := range names {
			now[template][name], _ = a.known(template, name)
		}
	}
	return now
}

// feedsOf gives the feeds that stand for the pages from now on.
func (a *asker) feedsOf(p pages) map[string]feed {
	feeds := map[string]feed{}
	for template, f := range a.feeds {
		if p[template] != nil {
			feeds[template] = f
		}
	}
	return feeds
}

// open reads a repository's packages.json.
func (a *asker) open(ctx context.Context, at string) (*repository.Repository, error) {
	file := repository.FileURL(at)
	p, err := a.read(ctx, file, "")
	if err != nil {
		return nil, err
	}
	if p.seen.digest == absent {
		return nil, models.Errorf(models.Invalid, "There is no Composer repository at %s: it has no packages.json. Correct the address; some servers say so, too, when a login is missing.", hostOf(file)).
			Because(models.ReasonNotFound)
	}
	r, err := repository.Parse(file, p.body)
	if err != nil {
		return nil, err
	}
	if f, ok := newFeed(r, p.date); ok {
		a.feeds[r.Template()] = f
	}
	return r, nil
}
