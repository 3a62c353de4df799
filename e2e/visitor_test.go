package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// visitor looks at the sites that Hefring serves.
type visitor struct {
	t      *testing.T
	port   int
	client *http.Client
}

func (h *hefring) visitor() *visitor {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", h.sitesPort)) // whatever the name
	}}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: h.t, port: h.sitesPort, client: &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (v *visitor) url(uri, path string) string {
	return fmt.Sprintf("http://%s:%d%s", uri, v.port, path)
}

func (v *visitor) try(method, uri, path string, form url.Values) (page, error) {
	request, err := http.NewRequest(method, v.url(uri, path), strings.NewReader(form.Encode()))
	if err != nil {
		return page{}, err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := v.client.Do(request)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return page{url: path, status: response.StatusCode, body: string(body)}, err
}

// get opens a page of a site, which has to answer 200.
func (v *visitor) get(uri, path string) page {
	v.t.Helper()
	got, err := v.try(http.MethodGet, uri, path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	if got.status != http.StatusOK {
		v.t.Fatalf("GET %s: status %d\n%s", v.url(uri, path), got.status, got.text())
	}
	return got
}

// comment writes a line under the first article, which has to be taken.
func (v *visitor) comment(uri, text string) {
	v.t.Helper()
	got, err := v.post(uri, text)
	if err != nil || got != http.StatusSeeOther {
		v.t.Fatalf("write to %s: status %d, %v", uri, got, err)
	}
}

func (v *visitor) post(uri, text string) (status int, err error) {
	got, err := v.try(http.MethodPost, uri, "/node/1/comment", url.Values{"name": {"Ann"}, "body": {text}})
	return got.status, err
}

// serves fails unless a site's uncached page has all the wanted texts.
func (v *visitor) serves(uri string, want ...string) {
	v.t.Helper()
	got := v.get(uri, fmt.Sprintf("/node/1?x=%d", time.Now().UnixNano()))
	for _, text := range want {
		if !strings.Contains(got.body, text) {
			v.t.Fatalf("%s lacks %q:\n%s", uri, text, got.text())
		}
	}
}

// reader reads a site all the time.
type reader struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
	mu    sync.Mutex
	count int
	wrong []string
}

// read fetches the site's first article every 50 ms, uncached, until finish is
// called. Each answer has to be 200 with the text and one of the versions.
func (v *visitor) read(uri, text string, versions ...string) *reader {
	ctx, stop := context.WithCancel(context.Background())
	r := &reader{stop: stop}
	v.t.Cleanup(stop)
	r.ended.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			got, err := v.try(http.MethodGet, uri, fmt.Sprintf("/node/1?r=%d", n), nil)
			r.note(n+1, bad(got, err, text, versions))
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return r
}

func bad(got page, err error, text string, versions []string) string {
	switch {
	case err != nil:
		return err.Error()
	case got.status != http.StatusOK:
		return fmt.Sprintf("status %d: %.300s", got.status, got.text())
	case !strings.Contains(got.body, text):
		return fmt.Sprintf("without %q: %.300s", text, got.text())
	case !slices.ContainsFunc(versions, func(v string) bool { return strings.Contains(got.body, "tidepool "+v) }):
		return fmt.Sprintf("of another version than %v: %.300s", versions, got.text())
	}
	return ""
}

func (r *reader) note(count int, wrong string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = count
	if wrong != "" {
		r.wrong = append(r.wrong, time.Now().Format("15:04:05.000 ")+wrong)
	}
}

// finish fails the test if any answer was wrong.
func (r *reader) finish(t *testing.T) {
	t.Helper()
	r.stop()
	r.ended.Wait()
	if len(r.wrong) > 0 {
		t.Errorf("%d of %d reads were not answered as they should be, first and last:\n%s\n%s", len(r.wrong), r.count, r.wrong[0], r.wrong[len(r.wrong)-1])
	}
	if r.count < 3 {
		t.Errorf("only %d reads", r.count)
	}
}

// writer writes to a site all the time.
type writer struct {
	v        *visitor
	uri      string
	stop     context.CancelFunc
	ended    sync.WaitGroup
	accepted []string
	refused  map[int]int
	failures []string
}

// write leaves one line after the other under the first article until finish is
// called.
func (v *visitor) write(uri string) *writer {
	ctx, stop := context.WithCancel(context.Background())
	w := &writer{v: v, uri: uri, stop: stop, refused: map[int]int{}}
	v.t.Cleanup(stop)
	w.ended.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			text := fmt.Sprintf("written-%d-%05d-end", time.Now().Unix(), n)
			switch status, err := v.post(uri, text); {
			case err != nil:
				w.failures = append(w.failures, err.Error())
			case status == http.StatusSeeOther:
				w.accepted = append(w.accepted, text)
			default:
				w.refused[status]++
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return w
}

// finish stops writing and fails the test if one accepted line is lost, or a
// write was answered with anything but the allowed statuses.
func (w *writer) finish(t *testing.T, allowed ...int) {
	t.Helper()
	w.stop()
	w.ended.Wait()
	for status, n := range w.refused {
		if !slices.Contains(allowed, status) {
			t.Errorf("%d writes to %s were answered with status %d; %d were accepted", n, w.uri, status, len(w.accepted))
		}
	}
	if len(w.failures) > 0 {
		t.Errorf("%d writes to %s failed: %s", len(w.failures), w.uri, w.failures[0])
	}
	body := w.v.get(w.uri, fmt.Sprintf("/node/1?w=%d", time.Now().UnixNano())).body
	lost := 0
	for _, text := range w.accepted {
		if !strings.Contains(body, text) {
			lost++
		}
	}
	if lost > 0 || len(w.accepted) == 0 {
		t.Errorf("%d of %d accepted writes to %s are lost", lost, len(w.accepted), w.uri)
	}
}
