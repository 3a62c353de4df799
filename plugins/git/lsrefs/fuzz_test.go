package lsrefs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"hefring/models"
)

const (
	fuzzOne = "1111111111111111111111111111111111111111"
	fuzzTwo = "2222222222222222222222222222222222222222"
)

// lines makes data lines and a flush.
func fuzzLines(texts ...string) []byte {
	var b bytes.Buffer
	for _, text := range texts {
		writeLine(&b, text)
	}
	b.WriteString("0000")
	return b.Bytes()
}

// known says whether an error of the parsers is one of theirs.
func known(err error) bool {
	_, words := errors.AsType[said](err)
	return words || errors.Is(err, errBroken) || errors.Is(err, errCut) || errors.Is(err, errTooMany)
}

func FuzzReadCapabilities(f *testing.F) {
	f.Add(fuzzLines("version 2", "agent=git/2.39.5", "ls-refs=unborn", "fetch=shallow", "object-format=sha256"))
	f.Add(append(fuzzLines("# service=git-upload-pack"), fuzzLines("version 2", "ls-refs")...))
	f.Add(append(fuzzLines("# service=git-upload-pack"), fuzzLines(fuzzOne+" HEAD\x00multi_ack")...))
	f.Add(fuzzLines("version 1"))
	f.Add(fuzzLines("ERR Repository not found."))
	f.Add([]byte("0003"))
	f.Add([]byte("fff1"))
	f.Fuzz(func(t *testing.T, input []byte) {
		shaken, err := readCapabilities(bytes.NewReader(input))
		if err != nil {
			if !known(err) {
				t.Errorf("unknown error %v", err)
			}
			return
		}
		if !shaken.old && shaken.format != "sha1" && shaken.format != "sha256" {
			t.Errorf("got %+v", shaken)
		}
	})
}

func FuzzParseRefs(f *testing.F) {
	f.Add(fuzzLines(fuzzOne+" HEAD symref-target:refs/heads/main", fuzzOne+" refs/heads/main", fuzzTwo+" refs/tags/v1 peeled:"+fuzzOne), "refs/tags/", true)
	f.Add(fuzzLines("unborn HEAD symref-target:refs/heads/main"), "", true)
	f.Add(fuzzLines(fuzzOne+fuzzTwo[:24]+" refs/heads/main"), "refs/heads/main", false)
	f.Add(fuzzLines(fuzzOne+" refs/heads/b", fuzzTwo+" refs/heads/a", fuzzTwo+" refs/heads/b"), "refs/heads/b", true)
	f.Add(fuzzLines("ERR no"), "HEAD", true)
	f.Add([]byte("0002"), "", true)
	f.Fuzz(func(t *testing.T, input []byte, prefix string, short bool) {
		filter, err := newFilter(Query{Names: []string{"HEAD"}, Prefixes: []string{prefix}})
		if err != nil {
			return
		}
		format := "sha256"
		if short {
			format = "sha1"
		}
		answer, err := parseRefs(bytes.NewReader(input), format, filter, 50)
		if err != nil {
			if !known(err) {
				t.Errorf("unknown error %v", err)
			}
			return
		}
		checkRefs(t, answer, format, prefix)
		again, err := parseRefs(bytes.NewReader(encode(answer)), format, filter, 51)
		if err != nil || !slices.Equal(again.Refs, answer.Refs) || again.Unborn != answer.Unborn {
			t.Errorf("the answer %+v, written and read again, is %+v, %v", answer, again, err)
		}
	})
}

// checkRefs holds an answer to what List promises.
func checkRefs(t *testing.T, answer Answer, format, prefix string) {
	t.Helper()
	for i, ref := range answer.Refs {
		switch {
		case i > 0 && answer.Refs[i-1].Name >= ref.Name:
			t.Errorf("%q is not after %q", ref.Name, answer.Refs[i-1].Name)
		case ref.Name != "HEAD" && !strings.HasPrefix(ref.Name, prefix):
			t.Errorf("%q was not asked for", ref.Name)
		case !validName(ref.Name) || !isOID(ref.OID, format) || isZero(ref.OID) || ref.Peeled != "" && !isOID(ref.Peeled, format):
			t.Errorf("got %+v", ref)
		case ref.Target != "" && !validName(ref.Target):
			t.Errorf("got the target %q", ref.Target)
		}
	}
}

// encode writes an answer as a server would.
func encode(answer Answer) []byte {
	var list []string
	for _, ref := range answer.Refs {
		line := ref.OID + " " + ref.Name
		if ref.Target != "" {
			line += " symref-target:" + ref.Target
		}
		if ref.Peeled != "" {
			line += " peeled:" + ref.Peeled
		}
		list = append(list, line)
	}
	if answer.Unborn != "" {
		list = append(list, "unborn HEAD symref-target:"+answer.Unborn)
	}
	return fuzzLines(list...)
}

// canned is a server without a network.
type canned struct {
	status   int
	greeting []byte
	refs     []byte
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, ProtoMajor: 1, ProtoMinor: 1}
	resp.Header.Set("Content-Type", advertisement)
	text := c.greeting
	if r.Method == http.MethodPost {
		resp.StatusCode, text = c.status, c.refs
		resp.Header.Set("Content-Type", result)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

func FuzzClient_List(f *testing.F) {
	f.Add(200, fuzzLines("version 2", "ls-refs=unborn"), fuzzLines(fuzzOne+" refs/heads/main"))
	f.Add(200, append(fuzzLines("# service=git-upload-pack"), fuzzLines("version 2", "ls-refs", "object-format=sha256")...), []byte("0000"))
	f.Add(200, fuzzLines("version 2", "ls-refs"), fuzzLines("ERR canary \x1b[0m"))
	f.Add(404, fuzzLines("version 2", "ls-refs"), []byte(nil))
	f.Add(200, fuzzLines("version 1"), []byte(nil))
	f.Fuzz(func(t *testing.T, status int, greeting, refs []byte) {
		server := canned{status: max(100, min(status, 999)), greeting: greeting, refs: refs}
		client := New(&http.Client{Transport: server}, Limits{Refs: 50, Bytes: 4096})
		remote := Remote{URL: "https://example.org/x.git", Authorization: BasicAuth("me", "canary")}
		for range 2 { // the second time with the handshake remembered
			answer, err := client.List(context.Background(), remote, Query{Prefixes: []string{"refs/heads/"}, Symrefs: true, Peel: true})
			checkRefs(t, answer, answer.ObjectFormat, "refs/heads/")
			if err == nil || errors.Is(err, ErrOldServer) {
				continue
			}
			if models.ReasonOf(err) == "" || len(answer.Refs) > 0 {
				t.Errorf("got %+v with the error %v", answer, err)
			}
			if strings.Contains(models.Explain(err), "canary") || len(models.Explain(err)) > 2000 {
				t.Errorf("the message is %q", models.Explain(err))
			}
		}
	})
}
