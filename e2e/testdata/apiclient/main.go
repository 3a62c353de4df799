// Command mainjob does the main job by a client that was generated from the document
// that Hefring serves. It is told what to do on its standard input, one word a line,
// and says "done" after each.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"mainjob/client"
)

const (
	patience = 3 * time.Minute
	slug     = "generated"
	site     = "generated.localhost"
)

type job struct {
	context.Context

	api *client.ClientWithResponses
	old string // the first platform
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	signed := client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("HEFRING_TOKEN"))
		return nil
	})
	api, err := client.NewClientWithResponses(os.Getenv("HEFRING_API"), signed)
	if err != nil {
		log.Fatal(err)
	}
	j := &job{Context: ctx, api: api}
	work := map[string]func(){"install": j.install, "upgrade": j.upgrade}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		work[lines.Text()]()
		fmt.Println("done")
	}
}

// install adds a distribution, waits for its first platform, and installs a site.
func (j *job) install() {
	key := "distribution"
	in := client.AddDistributionJSONRequestBody{
		Name: "Generated", Slug: new(slug), Type: "git", Settings: map[string]string{"url": os.Getenv("HEFRING_REPO"), "branch": "main"},
	}
	for range 2 { // the same key makes it once
		made, err := j.api.AddDistributionWithResponse(j, &client.AddDistributionParams{IdempotencyKey: &key}, in)
		check(err, made.Body, made.JSON200 != nil)
	}
	j.old = j.target("")
	key = "site"
	var tasks []int64
	for range 2 {
		started, err := j.api.InstallSiteWithResponse(j, &client.InstallSiteParams{IdempotencyKey: &key}, client.InstallSiteJSONRequestBody{Uri: site, Platform: j.old})
		check(err, started.Body, started.JSON202 != nil)
		tasks = append(tasks, started.JSON202.Task.Id)
	}
	if tasks[0] != tasks[1] {
		log.Fatalf("the same key started tasks %v", tasks)
	}
	j.await(tasks[0])
}

// upgrade has the source looked at, waits for the new platform, and moves the site.
func (j *job) upgrade() {
	looked, err := j.api.CheckDistributionWithResponse(j, slug, nil)
	check(err, looked.Body, looked.JSON202 != nil)
	target := j.target(j.old)
	moved, err := j.api.UpgradeSiteWithResponse(j, site, nil)
	check(err, moved.Body, moved.JSON202 != nil)
	j.await(moved.JSON202.Task.Id)
	found, err := j.api.ListSitesWithResponse(j, nil)
	check(err, found.Body, found.JSON200 != nil)
	if sites := found.JSON200.Items; len(sites) != 1 || sites[0].Platform != target {
		log.Fatalf("the sites are %+v", sites)
	}
}

// target waits until there is an upgrade target other than one, and gives it.
func (j *job) target(other string) string {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		d, err := j.api.GetDistributionWithResponse(j, slug)
		check(err, d.Body, d.JSON200 != nil)
		if name := d.JSON200.UpgradeTarget; name != nil && *name != other {
			return *name
		}
	}
	log.Fatal("no platform was built")
	return ""
}

// await waits until a task has succeeded.
func (j *job) await(id int64) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		t, err := j.api.GetTaskWithResponse(j, id)
		check(err, t.Body, t.JSON200 != nil)
		switch t.JSON200.State {
		case client.TaskStateQueued, client.TaskStateRunning:
		case client.TaskStateSucceeded:
			return
		default:
			log.Fatalf("task %d: %s %s", id, t.JSON200.State, t.JSON200.Message)
		}
	}
	log.Fatalf("task %d does not end", id)
}

// check ends the program when a request was not answered as the document says.
func check(err error, body []byte, fits bool) {
	if err != nil || !fits {
		log.Fatalf("%v %s", err, body)
	}
}
