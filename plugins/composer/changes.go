package composer

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hefring/plugins"
	"hefring/plugins/composer/repository"
)

// feed is where a repository tells which packages changed, and from when on. One
// question to it stands for one about each package
// (https://packagist.org/apidoc#track-package-updates).
type feed struct {
	URL   string `json:"url"`
	Since int64  `json:"since"` // tenths of milliseconds since 1970, by the repository's clock
}

const (
	tick = 100 * time.Microsecond // what Since counts
	// overlap is how much earlier than the pages were seen a feed is read, for
	// feeds that lag behind.
	overlap = 30 * time.Minute
	// retention is how far back feeds are trusted; packagist.org keeps a day.
	retention = 20 * time.Hour
)

// newFeed gives the feed of a repository, from shortly before it gave the page
// with these headers; nothing when there is none or the server tells no time.
func newFeed(r *repository.Repository, date time.Time) (feed, bool) {
	if r.ChangesURL == "" || date.IsZero() {
		return feed{}, false
	}
	return feed{URL: r.ChangesURL, Since: date.Add(-overlap).UnixNano() / int64(tick)}, true
}

func serverDate(header http.Header) time.Time {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return date
}

// changes asks a feed. ok is false when it cannot stand for the pages
// themselves; next is the feed from now on.
func (a *asker) changes(ctx context.Context, f feed) (names map[string]bool, next feed, ok bool) {
	if f.URL == "" || time.Since(time.Unix(0, f.Since*int64(tick))) > retention {
		return nil, feed{}, false
	}
	at, err := url.Parse(f.URL)
	if err != nil {
		return nil, feed{}, false
	}
	query := at.Query()
	query.Set("since", strconv.FormatInt(f.Since, 10))
	at.RawQuery = query.Encode()
	text, err := plugins.Ask(a.env.Answers, digest("composer changes", at.String(), a.source.credential()), func() ([]byte, error) {
		header := http.Header{"Accept": {"application/json"}}
		a.source.authorize(f.URL, header)
		page, err := a.env.Egress.Fetch(ctx, at.String(), repository.MaxPage, header)
		if err != nil {
			return nil, err
		}
		return page.Body, nil
	})
	if err != nil {
		return nil, feed{}, false // then the pages themselves tell
	}
	return readChanges(text, f)
}

func readChanges(text []byte, f feed) (names map[string]bool, next feed, ok bool) {
	var answer struct {
		Actions   []struct{ Type, Package string }
		Timestamp int64
	}
	if json.Unmarshal(text, &answer) != nil || answer.Timestamp < f.Since {
		return nil, feed{}, false
	}
	names = map[string]bool{}
	for _, action := range answer.Actions {
		if action.Type != "update" && action.Type != "delete" { // such as resync: it has lost count
			return nil, feed{}, false
		}
		names[action.Package] = true
	}
	return names, feed{URL: f.URL, Since: answer.Timestamp}, true
}
