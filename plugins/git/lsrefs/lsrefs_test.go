package lsrefs_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins/git/lsrefs"
)

func TestClient_List_Command(t *testing.T) {
	server := &fake{refs: pkt(one+" refs/heads/main\n", "0000")}
	var header http.Header
	var path string
	server.post = func(w http.ResponseWriter, r *http.Request) {
		header, path = r.Header.Clone(), r.URL.Path
		tell(w, server.refs)
	}
	url := strings.Replace(server.serve(t), "http://", "http://somebody@", 1)
	_, err := newClient(t, lsrefs.Limits{}).List(t.Context(), at(url+"/"), lsrefs.Query{
		Names: []string{"refs/heads/main", "HEAD"}, Prefixes: []string{"refs/tags/v1", "refs/tags/"}, Symrefs: true, Peel: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := pkt("command=ls-refs\n", "agent=git/2.0-(Hefring)\n", "object-format=sha1\n", "0001", "peel\n", "symrefs\n", "unborn\n",
		"ref-prefix HEAD\n", "ref-prefix refs/heads/main\n", "ref-prefix refs/tags/\n", "0000")
	if got := server.asked.Load(); got != want {
		t.Errorf("asked\n%s, want\n%s", got, want)
	}
	if header.Get("Git-Protocol") != "version=2" || !strings.HasPrefix(header.Get("User-Agent"), "git/2") || header.Get("Authorization") != "" {
		t.Errorf("header %v", header)
	}
	if path != "/site.git/git-upload-pack" {
		t.Errorf("path %s", path)
	}
}

func TestClient_List_OnlyWhatIsWanted(t *testing.T) {
	everything := pkt(one+" HEAD symref-target:refs/heads/main\n", one+" refs/heads/main\n", two+" refs/heads/main2\n",
		two+" refs/heads/feature/main\n", three+" refs/tags/v1 peeled:"+one+"\n", two+" refs/tags/v10\n", "0000")
	server := &fake{refs: everything}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	tests := map[string]struct {
		query lsrefs.Query
		want  string
	}{
		"all":          {lsrefs.Query{}, "HEAD refs/heads/feature/main refs/heads/main refs/heads/main2 refs/tags/v1 refs/tags/v10"},
		"name":         {lsrefs.Query{Names: []string{"refs/heads/main"}}, "refs/heads/main"},
		"names":        {lsrefs.Query{Names: []string{"refs/tags/v1", "HEAD", "refs/heads/none"}}, "HEAD refs/tags/v1"},
		"prefix":       {lsrefs.Query{Prefixes: []string{"refs/heads/main"}}, "refs/heads/main refs/heads/main2"},
		"prefixes":     {lsrefs.Query{Prefixes: []string{"refs/tags/v10", "refs/tags/", "refs/heads/f"}}, "refs/heads/feature/main refs/tags/v1 refs/tags/v10"},
		"both":         {lsrefs.Query{Names: []string{"HEAD"}, Prefixes: []string{"refs/tags/v10"}}, "HEAD refs/tags/v10"},
		"empty prefix": {lsrefs.Query{Names: []string{"HEAD"}, Prefixes: []string{""}}, "HEAD refs/heads/feature/main refs/heads/main refs/heads/main2 refs/tags/v1 refs/tags/v10"},
		"nothing":      {lsrefs.Query{Names: []string{"refs/heads/mai"}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := client.List(t.Context(), at(url), test.query)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, ref := range answer.Refs {
				names = append(names, ref.Name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	answer, err := list(t, client, url)
	if err != nil {
		t.Fatal(err)
	}
	head, _ := answer.Find("HEAD")
	tag, found := answer.Find("refs/tags/v1")
	if head.Target != "refs/heads/main" || !found || tag.Commit() != one || tag.OID != three || head.Commit() != one {
		t.Errorf("HEAD %+v, tag %+v", head, tag)
	}
	if _, found := answer.Find("refs/tags/v"); found {
		t.Error("found a tag that is not there")
	}
}

func TestClient_List_ManyPrefixes(t *testing.T) {
	server := &fake{refs: pkt(one+" refs/heads/b0\n", two+" refs/heads/c\n", "0000")}
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("refs/heads/b%d", i))
	}
	answer, err := newClient(t, lsrefs.Limits{}).List(t.Context(), at(server.serve(t)), lsrefs.Query{Names: names})
	if err != nil || len(answer.Refs) != 1 {
		t.Fatalf("got %+v, %v", answer, err)
	}
	if asked, _ := server.asked.Load().(string); len(asked) > 300<<10 {
		t.Errorf("the request has %d bytes", len(asked))
	}
}

func TestClient_List_RefusesNames(t *testing.T) {
	server := &fake{}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	for _, name := range []string{"refs/heads/a b", "refs/heads/a\nref-prefix b", "refs/\x00", strings.Repeat("x", 5000)} {
		for _, query := range []lsrefs.Query{{Names: []string{name}}, {Prefixes: []string{name}}} {
			_, err := client.List(t.Context(), at(url), query)
			wantReason(t, err, models.ReasonRefNotFound)
		}
	}
	if server.gets.Load() != 0 {
		t.Error("the server was asked")
	}
}

func TestClient_List_RefusesAddresses(t *testing.T) {
	client := newClient(t, lsrefs.Limits{})
	for _, url := range []string{"", "/srv/git", "ssh://git@example.org/x", "file:///etc", "https:///host/x", "https://127.0.0.1/x?y", "https://127.0.0.1/x#y", "http://[::1/x", "git@example.org:x"} {
		_, err := list(t, client, url)
		wantReason(t, err, models.ReasonURL)
	}
	server := &fake{}
	url := server.serve(t)
	closed := lsrefs.New(newGuard(t, egress.Config{}).HTTPClient(), lsrefs.Limits{})
	_, err := list(t, closed, url)
	wantReason(t, err, models.ReasonAddressBlocked, "127.0.0.1")
	if server.gets.Load() != 0 {
		t.Error("a blocked address was asked")
	}
}

func TestClient_List_Handshakes(t *testing.T) {
	refs := pkt(one+" refs/heads/main\n", "0000")
	tests := map[string]struct {
		greeting string
		reason   models.Reason // "" is success
		old      bool
	}{
		"plain":                {greeting: capabilities()},
		"with the service":     {greeting: pkt("# service=git-upload-pack\n", "0000") + capabilities()},
		"without line feeds":   {greeting: pkt("version 2", "ls-refs", "0000")},
		"unknown capabilities": {greeting: pkt("version 2\n", "frobnicate=1 2 3\n", "ls-refs=unborn new\n", "ERR=x\n", "0000")},
		"more after the end":   {greeting: capabilities() + "something"},
		"version 1":            {greeting: pkt("version 1\n", one+" HEAD\x00multi_ack\n", "0000"), old: true},
		"version 0":            {greeting: pkt("# service=git-upload-pack\n", "0000", one+" HEAD\x00multi_ack symref=HEAD:refs/heads/main\n", one+" refs/heads/main\n", "0000"), old: true},
		"version 0, empty":     {greeting: pkt("# service=git-upload-pack\n", "0000", strings.Repeat("0", 40)+" capabilities^{}\x00multi_ack\n", "0000"), old: true},
		"version 0, silent":    {greeting: pkt("# service=git-upload-pack\n", "0000", "0000"), old: true},
		"version 3":            {greeting: pkt("version 3\n", "0000"), reason: models.ReasonMalformed},
		"other service":        {greeting: pkt("# service=git-receive-pack\n", "0000"), reason: models.ReasonMalformed},
		"no flush":             {greeting: pkt("# service=git-upload-pack\n", "version 2\n", "0000"), reason: models.ReasonMalformed},
		"no ls-refs":           {greeting: pkt("version 2\n", "fetch\n", "0000"), reason: models.ReasonMalformed},
		"unknown names":        {greeting: pkt("version 2\n", "ls-refs\n", "object-format=md5\n", "0000"), reason: models.ReasonMalformed},
		"separator":            {greeting: pkt("version 2\n", "0001", "0000"), reason: models.ReasonMalformed},
		"separator first":      {greeting: "0001", reason: models.ReasonMalformed},
		"no length":            {greeting: "version 2\n", reason: models.ReasonMalformed},
		"length of three":      {greeting: "0003", reason: models.ReasonMalformed},
		"length too great":     {greeting: "ffff" + strings.Repeat("x", 0xffff), reason: models.ReasonMalformed},
		"sign before length":   {greeting: "+00aversion", reason: models.ReasonMalformed},
		"endless":              {greeting: pkt("version 2\n") + strings.Repeat(pkt("fetch\n"), 100_000), reason: models.ReasonMalformed},
		"nothing":              {greeting: pkt("0000") + "", old: true},
		"cut":                  {greeting: capabilities()[:60], reason: models.ReasonUnreachable},
		"cut in a length":      {greeting: "00", reason: models.ReasonUnreachable},
		"error":                {greeting: pkt("ERR Repository not found.\n"), reason: models.ReasonUnreachable},
		"error after service":  {greeting: pkt("# service=git-upload-pack\n", "0000", "ERR no\n"), reason: models.ReasonUnreachable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := list(t, newClient(t, lsrefs.Limits{}), (&fake{greeting: test.greeting, refs: refs}).serve(t))
			switch {
			case test.old && !isOld(err):
				t.Fatalf("got %v, want an old server", err)
			case test.old:
			case test.reason != "":
				wantReason(t, err, test.reason)
			case err != nil:
				t.Fatal(err)
			case len(answer.Refs) != 1 || answer.Requests != 2 || answer.Bytes < 50:
				t.Errorf("got %+v", answer)
			}
		})
	}
}

func TestClient_List_OtherServers(t *testing.T) {
	page := func(kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, text)
		}
	}
	for name, get := range map[string]http.HandlerFunc{
		"files":            page("text/plain", one+"\trefs/heads/main\n"),
		"files, no type":   page("application/octet-stream", one+"\trefs/heads/main\n"),
		"empty repository": page("text/plain; charset=utf-8", ""),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := list(t, newClient(t, lsrefs.Limits{}), (&fake{get: get}).serve(t)); !isOld(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, server := range map[string]*fake{
		"page":           {get: page("text/html", "<!doctype html><title>Welcome</title>"+strings.Repeat("x", 1000))},
		"short page":     {get: page("text/html", "hello")},
		"login page":     {post: page("text/html", "Please log in")},
		"wrong type":     {post: page("application/x-git-upload-pack-advertisement", "0000")},
		"like but not":   {get: page("text/plain", strings.Repeat("g", 40)+"\trefs/heads/main\n")},
		"invalid type":   {get: page(";;", "hello")},
		"receive-pack's": {get: page("application/x-git-receive-pack-advertisement", capabilities())},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := list(t, newClient(t, lsrefs.Limits{}), server.serve(t))
			wantReason(t, err, models.ReasonMalformed, "not a git repository")
		})
	}
}

func TestClient_List_Answers(t *testing.T) {
	tests := map[string]struct {
		refs   string
		reason models.Reason // "" is success
		want   string
	}{
		"empty":               {refs: pkt("0000")},
		"all kinds":           {refs: pkt(one+" HEAD symref-target:refs/heads/main\n", one+" refs/heads/main\n", two+" refs/tags/v1 peeled:"+one+"\n", "0000"), want: "ref: refs/heads/main\tHEAD\n" + one + "\tHEAD\n" + one + "\trefs/heads/main\n" + two + "\trefs/tags/v1\n" + one + "\trefs/tags/v1^{}\n"},
		"detached":            {refs: pkt(one+" HEAD\n", "0000"), want: one + "\tHEAD\n"},
		"out of order":        {refs: pkt(one+" refs/heads/b\n", two+" refs/heads/a\n", "0000"), want: two + "\trefs/heads/a\n" + one + "\trefs/heads/b\n"},
		"unknown attributes":  {refs: pkt(one+" refs/heads/a new:thing x  y\n", "0000"), want: one + "\trefs/heads/a\n"},
		"no line feed":        {refs: pkt(one+" refs/heads/a", "0000"), want: one + "\trefs/heads/a\n"},
		"not UTF-8":           {refs: pkt(one+" refs/heads/\xff\n", "0000"), want: one + "\trefs/heads/\xff\n"},
		"names git refuses":   {refs: pkt(one+" refs/heads/../x\n", one+" main\n", one+" refs/heads/.x\n", one+" refs/x.lock\n", one+" refs/a~1\n", one+" refs//a\n", one+" refs/a.\n", one+" refs/@{x\n", one+" refs/\n", "0000")},
		"target git refuses":  {refs: pkt(one+" HEAD symref-target:--upload-pack=x\n", "0000"), want: one + "\tHEAD\n"},
		"after the end":       {refs: pkt("0000") + "nonsense"},
		"twice":               {refs: pkt(one+" refs/heads/a\n", two+" refs/heads/b\n", two+" refs/heads/a\n", "0000"), reason: models.ReasonMalformed},
		"upper case":          {refs: pkt(strings.Repeat("A", 40)+" refs/heads/a\n", "0000"), reason: models.ReasonMalformed},
		"short name":          {refs: pkt(one[1:]+" refs/heads/a\n", "0000"), reason: models.ReasonMalformed},
		"of another format":   {refs: pkt(one+one[:24]+" refs/heads/a\n", "0000"), reason: models.ReasonMalformed},
		"zeros":               {refs: pkt(strings.Repeat("0", 40)+" refs/heads/a\n", "0000")},
		"peeled wrong":        {refs: pkt(one+" refs/heads/a peeled:x\n", "0000"), reason: models.ReasonMalformed},
		"no name":             {refs: pkt(one+"\n", "0000"), reason: models.ReasonMalformed},
		"empty line":          {refs: pkt("", "0000"), reason: models.ReasonMalformed},
		"control character":   {refs: pkt(one+" refs/heads/a\tb\n", "0000"), reason: models.ReasonMalformed},
		"NUL":                 {refs: pkt(one+" refs/heads/a\x00b\n", "0000"), reason: models.ReasonMalformed},
		"separator":           {refs: pkt(one+" refs/heads/a\n", "0001", "0000"), reason: models.ReasonMalformed},
		"end instead":         {refs: pkt("0002"), reason: models.ReasonMalformed},
		"wrong length":        {refs: "zzzz", reason: models.ReasonMalformed},
		"no flush":            {refs: pkt(one + " refs/heads/a\n"), reason: models.ReasonUnreachable},
		"cut in a line":       {refs: pkt(one + " refs/heads/a\n")[:30], reason: models.ReasonUnreachable},
		"error":               {refs: pkt("ERR upload-pack: not our ref\n"), reason: models.ReasonUnreachable},
		"error after a while": {refs: pkt(one+" refs/heads/a\n", "ERR out of memory"), reason: models.ReasonUnreachable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := list(t, newClient(t, lsrefs.Limits{}), (&fake{refs: test.refs}).serve(t))
			if test.reason != "" {
				wantReason(t, err, test.reason)
				if answer.Requests != 2 || len(answer.Refs) != 0 {
					t.Errorf("beside the error there is %+v", answer)
				}
				return
			}
			if err != nil || lines(answer) != test.want {
				t.Errorf("got %q, %v, want %q", lines(answer), err, test.want)
			}
		})
	}
}

func TestClient_List_Unborn(t *testing.T) {
	server := &fake{refs: pkt("unborn HEAD symref-target:refs/heads/main\n", "unborn refs/remotes/origin/HEAD symref-target:refs/x\n", "0000")}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	answer, err := list(t, client, url)
	if err != nil || answer.Unborn != "refs/heads/main" || len(answer.Refs) != 0 {
		t.Errorf("got %+v, %v", answer, err)
	}
	answer, err = client.List(t.Context(), at(url), lsrefs.Query{Names: []string{"refs/heads/main"}, Symrefs: true})
	if err != nil || answer.Unborn != "" {
		t.Errorf("not asked for HEAD: got %+v, %v", answer, err)
	}
}

func TestClient_List_SHA256(t *testing.T) {
	long := one + one[:24]
	server := &fake{greeting: pkt("version 2\n", "ls-refs\n", "object-format=sha256\n", "0000"), refs: pkt(long+" refs/heads/main peeled:"+long+"\n", "0000")}
	answer, err := list(t, newClient(t, lsrefs.Limits{}), server.serve(t))
	if err != nil || answer.ObjectFormat != "sha256" || len(answer.Refs) != 1 || answer.Refs[0].OID != long {
		t.Errorf("got %+v, %v", answer, err)
	}
	if asked, _ := server.asked.Load().(string); !strings.Contains(asked, "object-format=sha256") || strings.Contains(asked, "unborn") {
		t.Errorf("asked %q", asked)
	}
}

func TestClient_List_Limits(t *testing.T) {
	line := pkt(one + " refs/heads/a\n")
	endless := func(w http.ResponseWriter, text string) {
		for {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}
	zipped := func(w http.ResponseWriter, kind, text string) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		defer func() { _ = zip.Close() }()
		for {
			if _, err := io.WriteString(zip, text); err != nil {
				return
			}
		}
	}
	const megabyte = 1 << 20
	long := strings.Repeat(line, 5000)
	tests := map[string]struct {
		server *fake
		limits lsrefs.Limits
		reason models.Reason
		says   string
	}{
		"refs": {&fake{refs: strings.Repeat(line, 11) + "0000"}, lsrefs.Limits{Refs: 10}, models.ReasonTooLarge, "more than 10 refs"},
		"bytes": {&fake{post: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			endless(w, long)
		}}, lsrefs.Limits{Bytes: megabyte}, models.ReasonTooLarge, "more refs than the 1 MiB"},
		"bytes in one line": {&fake{refs: pkt(one + " refs/heads/" + strings.Repeat("x", 60_000))}, lsrefs.Limits{Bytes: 1000}, models.ReasonTooLarge, ""},
		"zipped refs": {&fake{post: func(w http.ResponseWriter, _ *http.Request) {
			zipped(w, "application/x-git-upload-pack-result", long)
		}}, lsrefs.Limits{Bytes: megabyte}, models.ReasonTooLarge, ""},
		"zipped capabilities": {&fake{get: func(w http.ResponseWriter, _ *http.Request) {
			zipped(w, "application/x-git-upload-pack-advertisement", strings.Repeat(pkt("version 2\n"), 5000))
		}}, lsrefs.Limits{}, models.ReasonMalformed, ""},
		"endless page": {&fake{get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			endless(w, "<p>")
		}}, lsrefs.Limits{}, models.ReasonMalformed, "not a git repository"},
		"not zipped at all": {&fake{get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			greet(w, "")
		}}, lsrefs.Limits{}, models.ReasonUnreachable, ""},
		"endless header": {&fake{get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", megabyte))
			greet(w, "")
		}}, lsrefs.Limits{}, models.ReasonUnreachable, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := list(t, newClient(t, test.limits), test.server.serve(t))
			wantReason(t, err, test.reason, test.says)
			if answer.Bytes > 2*megabyte {
				t.Errorf("read %d bytes", answer.Bytes)
			}
		})
	}
	exact := &fake{refs: pkt(one+" refs/heads/a\n", two+" refs/heads/b\n", "0000")}
	answer, err := list(t, newClient(t, lsrefs.Limits{Refs: 2, Bytes: int64(len(exact.refs))}), exact.serve(t))
	if err != nil || len(answer.Refs) != 2 {
		t.Errorf("exactly at the limits: got %+v, %v", answer, err)
	}
}

func TestClient_List_SlowDripEnds(t *testing.T) {
	drip := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			_, _ = io.WriteString(w, pkt(fmt.Sprintf("%s refs/heads/%d\n", one, i)))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, server := range map[string]*fake{"drip": {post: drip}, "silent refs": {post: silent}, "silent capabilities": {get: silent}} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := list(t, newClient(t, lsrefs.Limits{Timeout: 200 * time.Millisecond}), server.serve(t))
			wantReason(t, err, models.ReasonTimeout, "did not answer in time")
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestClient_List_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := &fake{post: func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}}
	_, err := newClient(t, lsrefs.Limits{}).List(ctx, at(server.serve(t)), lsrefs.Query{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestClient_List_Statuses(t *testing.T) {
	later := func(wait time.Duration) string { return time.Now().Add(wait).UTC().Format(http.TimeFormat) }
	tests := []struct {
		code   int
		after  string
		reason models.Reason
		kind   models.Code
		wait   time.Duration
		says   string
	}{
		{code: 401, reason: models.ReasonAuthentication, kind: models.Forbidden, says: "wants credentials"},
		{code: 403, reason: models.ReasonAuthentication, kind: models.Forbidden, says: "wants credentials"},
		{code: 404, reason: models.ReasonNotFound, kind: models.Invalid, says: "A private repository looks like this too"},
		{code: 410, reason: models.ReasonNotFound, kind: models.Invalid, says: "no git repository"},
		{code: 400, reason: models.ReasonMalformed, kind: models.Invalid, says: "not a git repository"},
		{code: 405, reason: models.ReasonMalformed, kind: models.Invalid, says: "not a git repository"},
		{code: 204, reason: models.ReasonMalformed, kind: models.Invalid, says: "not a git repository"},
		{code: 429, reason: models.ReasonRateLimited, kind: models.Unavailable, says: "fewer requests"},
		{code: 429, after: "120", reason: models.ReasonRateLimited, kind: models.Unavailable, wait: 2 * time.Minute},
		{code: 429, after: later(time.Hour), reason: models.ReasonRateLimited, kind: models.Unavailable, wait: time.Hour},
		{code: 503, after: "7", reason: models.ReasonRateLimited, kind: models.Unavailable, wait: 7 * time.Second},
		{code: 503, after: later(time.Minute), reason: models.ReasonRateLimited, kind: models.Unavailable, wait: time.Minute},
		{code: 503, reason: models.ReasonUnreachable, kind: models.Unavailable, says: "an error of its own (503)"},
		{code: 500, reason: models.ReasonUnreachable, kind: models.Unavailable, says: "an error of its own (500)"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.code, " ", test.after), func(t *testing.T) {
			answer := func(w http.ResponseWriter, _ *http.Request) {
				if test.after != "" {
					w.Header().Set("Retry-After", test.after)
				}
				w.WriteHeader(test.code)
			}
			for _, server := range []*fake{{get: answer}, {post: answer}} {
				_, err := list(t, newClient(t, lsrefs.Limits{}), server.serve(t))
				wantReason(t, err, test.reason, test.says)
				e, _ := errors.AsType[*models.Error](err)
				if e.Code != test.kind || (test.wait-e.RetryAfter).Abs() > 5*time.Second {
					t.Errorf("got code %s, wait %s", e.Code, e.RetryAfter)
				}
			}
		})
	}
}

func TestClient_List_RedirectsAreNotFollowed(t *testing.T) {
	var hits atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(other.Close)
	for name, test := range map[string]struct{ to, says string }{
		"other host": {other.URL + "/new.git/info/refs?service=git-upload-pack", other.URL + "/new.git, which is not followed"},
		"other path": {"/new.git/info/refs?service=git-upload-pack", "/new.git, which is not followed"},
		"login":      {"/login?token=canary", "another one, which is not followed"},
		"user":       {"http://a:canary@127.0.0.1/x/info/refs", "http://127.0.0.1/x, which"},
		"file":       {"file:///etc/info/refs", "another one"},
		"nowhere":    {"", "another one"},
	} {
		t.Run(name, func(t *testing.T) {
			send := func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", test.to)
				w.WriteHeader(http.StatusMovedPermanently)
			}
			for _, server := range []*fake{{get: send}, {post: send}} {
				remote := lsrefs.Remote{URL: server.serve(t), Authorization: lsrefs.BasicAuth("me", "canary")}
				_, err := newClient(t, lsrefs.Limits{}).List(t.Context(), remote, lsrefs.Query{})
				wantReason(t, err, models.ReasonURL, test.says)
				if strings.Contains(err.Error(), "canary") {
					t.Errorf("the error tells a secret: %v", err)
				}
				if server.gets.Load() != 1 || server.posts.Load() > 1 {
					t.Error("the server was asked again")
				}
			}
		})
	}
	if hits.Load() != 0 {
		t.Errorf("the other host got %d requests", hits.Load())
	}
}

func TestClient_List_ServersWords(t *testing.T) {
	const password = "canary&more"
	auth := lsrefs.BasicAuth("me", password)
	words := "ERR \x1b[31mno\u202e way, can\u202eary&more " + auth + " me:" + password + " canary%26more\r\n" + strings.Repeat("é", 5000)
	server := &fake{refs: pkt(words)}
	_, err := newClient(t, lsrefs.Limits{}).List(t.Context(), lsrefs.Remote{URL: server.serve(t), Authorization: auth}, lsrefs.Query{})
	wantReason(t, err, models.ReasonUnreachable, "answered: no way, *** *** ***")
	_, encoded, _ := strings.Cut(auth, " ")
	for _, secret := range []string{"canary", encoded, "\x1b", "\u202e", "\r"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds %q: %v", secret, err)
		}
	}
	if len(models.Explain(err)) > 1000 {
		t.Errorf("the message has %d bytes", len(models.Explain(err)))
	}
	_, err = list(t, newClient(t, lsrefs.Limits{}), (&fake{refs: pkt("ERR \n")}).serve(t))
	wantReason(t, err, models.ReasonUnreachable, "without a reason")
}

func TestClient_List_NeverTellsSecrets(t *testing.T) {
	auth := lsrefs.BasicAuth("me", "canary")
	_, encoded, _ := strings.Cut(auth, " ")
	echo := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, strings.NewReplacer("AUTH", r.Header.Get("Authorization"), "PASS", "canary").Replace(text))
		}
	}
	kind := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/x-git-upload-pack-"
	for _, text := range []string{
		"AUTH PASS\r\n\r\n", "HTTP/1.1 AUTH\r\n\r\n", "HTTP/1.1 200 OK\r\nPASS\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: PASS\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: PASS/AUTH\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 302 Found\r\nLocation: http://PASS/AUTH/info/refs\r\n\r\n",
		"HTTP/1.1 418 PASS AUTH\r\n\r\n", "HTTP/1.1 500 PASS AUTH\r\n\r\n",
		kind + "result\r\n\r\nPASS", kind + "result\r\n\r\n000fPASS AUTHxx", kind + "advertisement\r\n\r\n000fPASS AUTHxx", kind + "advertisement\r\n\r\nPASS",
	} {
		for _, server := range []*fake{{get: echo(text)}, {post: echo(text)}} {
			_, err := newClient(t, lsrefs.Limits{}).List(t.Context(), lsrefs.Remote{URL: server.serve(t), Authorization: auth}, lsrefs.Query{})
			if err == nil || models.ReasonOf(err) == "" {
				t.Errorf("%q: got %v", text, err)
				continue
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), encoded) {
				t.Errorf("%q: the error tells a secret: %v", text, err)
			}
		}
	}
}

func TestClient_List_Credentials(t *testing.T) {
	const token = "canary"
	guarded := func(next func(http.ResponseWriter, string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if _, password, _ := r.BasicAuth(); password != token {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next(w, "")
		}
	}
	server := &fake{get: guarded(greet), post: guarded(tell)}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	if _, err := client.List(t.Context(), lsrefs.Remote{URL: url, Authorization: lsrefs.BasicAuth("me", token)}, lsrefs.Query{}); err != nil {
		t.Fatal(err)
	}
	gets := server.gets.Load()
	for _, auth := range []string{"", lsrefs.BasicAuth("me", "wrong"), "Bearer wrong"} {
		answer, err := client.List(t.Context(), lsrefs.Remote{URL: url, Authorization: auth}, lsrefs.Query{})
		wantReason(t, err, models.ReasonAuthentication)
		if answer.Requests != 1 {
			t.Errorf("a wrong password was sent %d times", answer.Requests)
		}
	}
	if server.gets.Load() != gets {
		t.Error("the handshake was repeated with a wrong password")
	}
}

func TestClient_List_RemembersHandshakes(t *testing.T) {
	server := &fake{}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	for i, want := range []int{2, 1, 1} {
		answer, err := list(t, client, url)
		if err != nil || answer.Requests != want {
			t.Fatalf("%d: got %d requests, %v", i, answer.Requests, err)
		}
	}
	again := client.Through(newGuard(t, egress.Config{Allow: loopback()}).HTTPClient())
	if answer, err := list(t, again, url+"/"); err != nil || answer.Requests != 1 {
		t.Errorf("through another sender: got %d requests, %v", answer.Requests, err)
	}
	if server.gets.Load() != 1 {
		t.Errorf("the server was asked %d times what it can do", server.gets.Load())
	}
}

func TestClient_List_RefusedHandshakeIsRepeated(t *testing.T) {
	refusals := map[string]http.HandlerFunc{
		"status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"gone":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"error":    func(w http.ResponseWriter, _ *http.Request) { tell(w, pkt("ERR mismatched object format")) },
		"cut":      func(w http.ResponseWriter, _ *http.Request) { tell(w, "0") },
		"page":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
	}
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			server := &fake{}
			url, client := server.serve(t), newClient(t, lsrefs.Limits{})
			if _, err := list(t, client, url); err != nil {
				t.Fatal(err)
			}
			// The repository is made anew with other object names.
			server.greeting = pkt("version 2\n", "ls-refs\n", "object-format=sha256\n", "0000")
			server.post = func(w http.ResponseWriter, r *http.Request) {
				if asked, _ := server.asked.Load().(string); strings.Contains(asked, "sha256") {
					tell(w, pkt(one+one[:24]+" refs/heads/main\n", "0000"))
					return
				}
				refuse(w, r)
			}
			answer, err := list(t, client, url)
			if err != nil || answer.ObjectFormat != "sha256" || answer.Requests != 3 {
				t.Errorf("got %+v, %v", answer, err)
			}
		})
	}
}

func TestClient_List_LimitsAreNoRefusal(t *testing.T) {
	server := &fake{}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	if _, err := list(t, client, url); err != nil {
		t.Fatal(err)
	}
	server.post = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }
	answer, err := list(t, client, url)
	wantReason(t, err, models.ReasonRateLimited)
	if answer.Requests != 1 {
		t.Errorf("asked %d times", answer.Requests)
	}
}

func TestClient_List_ClosedConnectionIsReplaced(t *testing.T) {
	var broke atomic.Bool
	server := &fake{}
	server.post = func(w http.ResponseWriter, r *http.Request) {
		if r.Header["Idempotency-Key"] != nil {
			t.Error("the server is told something for http.Transport")
		}
		if server.posts.Load() != 2 {
			tell(w, "")
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		broke.Store(true)
		_ = conn.Close()
	}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	for range 2 {
		if _, err := list(t, client, url); err != nil {
			t.Fatal(err)
		}
	}
	if !broke.Load() || server.posts.Load() != 3 {
		t.Errorf("the server was asked %d times", server.posts.Load())
	}
}

func TestClient_List_OldServerIsRemembered(t *testing.T) {
	server := &fake{greeting: pkt("version 1\n", "0000")}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{})
	for i, want := range []int{1, 0} {
		answer, err := list(t, client, url)
		if !isOld(err) || answer.Requests != want {
			t.Errorf("%d: got %d requests, %v", i, answer.Requests, err)
		}
	}
}

func TestClient_List_MemoryIsBounded(t *testing.T) {
	server := &fake{}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{Handshakes: 2})
	for i := range 5 {
		if _, err := list(t, client, fmt.Sprint(url, i)); err != nil {
			t.Fatal(err)
		}
	}
	server.gets.Store(0)
	for i := range 5 {
		if _, err := list(t, client, fmt.Sprint(url, i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.gets.Load(); got < 3 {
		t.Errorf("%d of 5 handshakes were repeated, although 2 may be remembered", got)
	}
}

func TestClient_List_ManyAtOnce(t *testing.T) {
	server := &fake{refs: pkt(one+" refs/heads/main\n", "0000")}
	url, client := server.serve(t), newClient(t, lsrefs.Limits{Handshakes: 4})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 25 {
				answer, err := client.List(t.Context(), at(fmt.Sprint(url, (worker+i)%6)), lsrefs.Query{Names: []string{"refs/heads/main"}})
				if err != nil || len(answer.Refs) != 1 {
					t.Errorf("got %+v, %v", answer, err)
					return
				}
			}
		})
	}
	group.Wait()
}
