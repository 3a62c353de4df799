package web

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/webtest"
)

func sampleRecord() []fleet.EventRow {
	e := models.Event{
		ID: 7, At: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Actor: "ada", Verb: "change user", Text: "=cmd|'/c calc'!A0",
		Door: models.DoorPage, Address: "192.0.2.7", Token: "Deployment (viewer)", Subject: models.Subject{Kind: models.SubjectUser, ID: 3},
		Changes: models.Changes{{Field: "role", Before: "viewer", After: "<b>operator"}, {Field: "password hash", Secret: true}},
	}
	return []fleet.EventRow{{Event: e, Name: "eva"}}
}

func TestAudit_Page_ShowsAndNarrows(t *testing.T) {
	f := webtest.Sample()
	f.Recorded, f.Older = sampleRecord(), 7
	b := signedIn(t, f)
	a := b.get("/audit?actor=ada&kind=user&name=eva&door=page&since=2026-11-01&until=2026-11-22&q=role&before=99")
	wantPage(t, "record", a, http.StatusOK, "change user", "192.0.2.7", `href="/users/3"`, "viewer", "&lt;b&gt;operator", "a secret, not recorded", "with the token Deployment (viewer)", "Older", "before=7", "/audit/export.csv?", `value="2026-11-22"`)
	want := fleet.EventFilter{
		Actor: "ada", Subject: models.Subject{Kind: models.SubjectUser}, Name: "eva", Door: models.DoorPage, Query: "role", Before: 99, Limit: pageSize,
		Since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
	}
	if f.Asked != want {
		t.Errorf("asked for %+v, want %+v", f.Asked, want)
	}
	wantPage(t, "no day", b.get("/audit?since=yesterday"), http.StatusUnprocessableEntity, "Write a day", `value="yesterday"`)
	f.Fail = map[string]error{"Events": models.InvalidField("name", "Nothing has this name now.")}
	wantPage(t, "no name", b.get("/audit?name=gone"), http.StatusUnprocessableEntity, "Nothing has this name now.")
}

// A site and a user lead to their own lines, for those who may see them.
func TestAudit_Links_LeadToOwnLines(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	wantPage(t, "site", b.get("/sites/32"), http.StatusOK, `href="/audit?id=32&amp;kind=site"`)
	wantPage(t, "nothing of a site", b.get("/audit?kind=site&id=32"), http.StatusOK, "only about site 32")
	f.Recorded = sampleRecord()
	wantPage(t, "lines of a user", b.get("/audit?kind=user&id=3"), http.StatusOK, "only about eva")
	wantPage(t, "user", b.get("/users/1"), http.StatusOK, `href="/audit?id=1&amp;kind=user"`, `href="/audit?actor=`)
}

func TestAudit_Export_IsWholeAndHarmless(t *testing.T) {
	f := webtest.Sample()
	f.Recorded = sampleRecord()
	b := signedIn(t, f)
	a := b.get("/audit/export.csv?actor=ada")
	wantPage(t, "csv", a, http.StatusOK)
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][0] != "7" || rows[1][9] != "'=cmd|'/c calc'!A0" || rows[1][11] != "Deployment (viewer)" || f.Asked.Actor != "ada" {
		t.Errorf("%q: %v; asked for %+v", rows, err, f.Asked)
	}
	a = b.get("/audit/export.jsonl")
	wantPage(t, "json", a, http.StatusOK)
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	var line fleet.EventLine
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil || len(lines) != 2 || line.Subject != "eva" || len(line.Changes) != 2 || line.Door != models.DoorPage {
		t.Errorf("%q: %v", a.body, err)
	}
	wantPage(t, "no day", b.get("/audit/export.csv?until=x"), http.StatusUnprocessableEntity)
}

// A file that is cut short does not look like a whole one.
func TestAudit_Export_BreaksOff(t *testing.T) {
	f := webtest.Sample()
	f.Recorded = sampleRecord()
	b := signedIn(t, f)
	f.Fail = map[string]error{"EachEvent": errors.New("the database went away")}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+"/audit/export.jsonl", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.http.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the export ended as if it were whole")
	}
}
