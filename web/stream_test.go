package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/models"
	"hefring/web/webtest"
)

func line(id int64, text string) models.TaskLine {
	return models.TaskLine{ID: id, TaskID: webtest.BuildTask, At: time.Now(), Level: models.LevelOut, Text: text}
}

func TestStream_Running_SendsEveryLineOnceInOrder(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	events, _ := b.follow(fmt.Sprintf("/tasks/%d/stream?after=1008", webtest.BuildTask), "")
	next(t, events, "state")
	for i := range int64(50) {
		f.Append(line(3000+i, fmt.Sprintf("line <%d>", i)))
	}
	f.Finish(webtest.BuildTask, models.TaskSucceeded, "Ready.")
	for i := range int64(50) {
		e := next(t, events, "line", "end")
		if e.id != strconv.FormatInt(3000+i, 10) || !strings.Contains(e.data, fmt.Sprintf("line &lt;%d&gt;", i)) {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
	if e := next(t, events, "state"); !strings.Contains(e.data, "Succeeded") || !strings.Contains(e.data, "Ready.") {
		t.Errorf("state: %s", e.data)
	}
	next(t, events, "end")
	if _, open := <-events; open {
		t.Error("the stream goes on after its end")
	}
}

// Who is signed out elsewhere, or may do something else by now, follows no more.
func TestStream_SessionEnds_SendsNothingMore(t *testing.T) {
	for name, end := range map[string]func(f *webtest.Fleet){
		"signed out": func(f *webtest.Fleet) { f.SignOutAll() },
		"demoted":    func(f *webtest.Fleet) { f.Demote("admin", models.RoleViewer) },
	} {
		t.Run(name, func(t *testing.T) {
			f := webtest.Sample()
			b := signedIn(t, f)
			events, _ := b.follow(fmt.Sprintf("/tasks/%d/stream?after=1008", webtest.BuildTask), "")
			next(t, events, "state")
			end(f)
			deadline := time.After(10 * time.Second)
			for {
				select {
				case _, open := <-events:
					if !open {
						return
					}
				case <-deadline:
					t.Fatal("the stream goes on")
				}
			}
		})
	}
}

func TestStream_Reconnected_GoesOnAfterTheLastLine(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	path := fmt.Sprintf("/tasks/%d/stream?after=0", webtest.BuildTask)
	events, drop := b.follow(path, "")
	var last string
	for range 3 {
		last = next(t, events, "line").id
	}
	drop()
	f.Append(line(3000, "while nobody looked"))
	f.Finish(webtest.BuildTask, models.TaskSucceeded, "Ready.")
	events, _ = b.follow(path, last) // the browser says Last-Event-ID, and asks for the same address
	var ids []string
	for {
		e := next(t, events, "line", "end")
		if e.name == "end" {
			break
		}
		ids = append(ids, e.id)
	}
	if got, want := strings.Join(ids, " "), "1003 1004 1005 1006 1007 1008 3000"; last != "1002" || got != want {
		t.Errorf("after %s came %s, want %s", last, got, want)
	}
}

func TestStream_BadLastEventID_StartsAtThePage(t *testing.T) {
	f := webtest.Sample()
	f.Finish(webtest.BuildTask, models.TaskSucceeded, "")
	b := signedIn(t, f)
	for _, id := range []string{"x", "-4", "99999999999999999999999"} {
		events, _ := b.follow(fmt.Sprintf("/tasks/%d/stream?after=1006", webtest.BuildTask), id)
		if e := next(t, events, "line"); e.id != "1007" {
			t.Errorf("Last-Event-ID %q: first line %s", id, e.id)
		}
	}
}

func TestStream_LineBreaksInText_StayInOneEvent(t *testing.T) {
	f := webtest.Sample()
	f.Log = append(f.Log, line(3000, "a\r\nevent: end\r\n\r\nid: 5\nb\x1b[31mred\x1b[0m"))
	f.Finish(webtest.BuildTask, models.TaskSucceeded, "")
	events, _ := signedIn(t, f).follow(fmt.Sprintf("/tasks/%d/stream?after=1008", webtest.BuildTask), "")
	e := next(t, events, "line", "end")
	if e.name != "line" || e.id != "3000" || !strings.Contains(e.data, "id: 5") || !strings.Contains(e.data, "bred") || strings.Contains(e.data, "\x1b") {
		t.Errorf("got %+v", e)
	}
}

func TestStream_Idle_SaysThatItLives(t *testing.T) {
	b := visitWithin(t, webtest.Sample(), 300*time.Millisecond, func(_ *Config, s *server) {
		if s != nil {
			s.beat = 20 * time.Millisecond
		}
	})
	b.signIn()
	events, _ := b.follow(fmt.Sprintf("/tasks/%d/stream", webtest.BuildTask), "")
	for range 30 { // twice as long as the server's limit for writing an answer
		next(t, events, "comment")
	}
}

func TestStream_BrowserGone_LeavesNothingBehind(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	events, drop := b.follow(fmt.Sprintf("/tasks/%d/stream", webtest.BuildTask), "")
	next(t, events, "line")
	if f.Followers(webtest.BuildTask) != 1 {
		t.Fatalf("%d followers", f.Followers(webtest.BuildTask))
	}
	drop()
	eventually(t, "the follower leaves", func() bool { return f.Followers(webtest.BuildTask) == 0 })
}

func TestStream_Upgrade_SendsStepsWhenTheyChange(t *testing.T) {
	f := webtest.Sample()
	events, _ := signedIn(t, f).follow(fmt.Sprintf("/tasks/%d/stream", webtest.RecoveredTask), "")
	if e := next(t, events, "steps"); !strings.Contains(e.data, `id="step-updatedb" data-s="failed"`) {
		t.Errorf("steps: %.300s", e.data)
	}
	if e := next(t, events, "state"); !strings.Contains(e.data, "Recovered: museum.example.org is serving 10.5.8") {
		t.Errorf("state: %s", e.data)
	}
	next(t, events, "end")
}

func TestStream_Parent_SendsItsChildren(t *testing.T) {
	events, _ := signedIn(t, webtest.Sample()).follow(fmt.Sprintf("/tasks/%d/stream", webtest.ParentTask), "")
	if e := next(t, events, "steps"); !strings.Contains(e.data, `id="children"`) || !strings.Contains(e.data, "1 of 3") {
		t.Errorf("steps: %.300s", e.data)
	}
}

func TestTask_Page_ShowsTheLogWithoutJavaScript(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/tasks/101").has(t, "Installing dependencies from lock file", `sse-connect="/tasks/101/stream?after=1008"`, `sse-close="end"`, "Cancel")
	page := b.get("/tasks/102")
	page.has(t, "Call to undefined method", "Update database", "the point of no return", "not reached", "Recovered: museum.example.org is serving 10.5.8 · c07d1e2 as before")
	page.hasNot(t, "sse-connect", `action="/tasks/102/cancel"`)
	if got := b.get("/tasks/101/log"); !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") || !strings.Contains(got.body, "Installing drupal/core") {
		t.Errorf("log: %v %.100s", got.header, got.body)
	}
}

func TestTask_HugeLog_ShowsItsEnd(t *testing.T) {
	f := webtest.Sample()
	for i := range int64(shownLines + 2*lineBatch) {
		f.Log = append(f.Log, line(10_000+i, fmt.Sprintf("line %d.", i)))
	}
	b := signedIn(t, f)
	got := b.get("/tasks/101")
	got.has(t, fmt.Sprintf("line %d.", shownLines+2*lineBatch-1), "Only the newest lines are shown.")
	got.hasNot(t, "line 0.")
	if n := strings.Count(got.body, `class="ln"`); n != shownLines {
		t.Errorf("%d lines shown", n)
	}
	if n := strings.Count(b.get("/tasks/101/log").body, "\n"); n < shownLines+2*lineBatch {
		t.Errorf("the full log has %d lines", n)
	}
}

func TestStatic_Names_CarryTheirHash(t *testing.T) {
	b := visit(t, webtest.Sample())
	page := b.get("/login").body
	for _, part := range []string{"hefring.", "htmx.min.", "htmx-ext-sse."} {
		at := strings.Index(page, "/static/"+part)
		if at < 0 {
			t.Fatalf("no %s", part)
		}
		path, _, _ := strings.Cut(page[at:], `"`)
		got := b.get(path)
		if got.status != http.StatusOK || !strings.Contains(got.header.Get("Cache-Control"), "immutable") || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
	}
	if got := b.get("/static/hefring.css"); got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("plain name: %d %q", got.status, got.header.Get("Cache-Control"))
	}
}
