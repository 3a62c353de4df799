//go:build bench

package webserver

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBenchPages prints how many pages a second are served with and without the
// limits on what PHP may open: go test -tags bench -run BenchPages -v.
func TestBenchPages(t *testing.T) {
	f := serve(t)
	f.link(filepath.Join(f.site, "current"), f.docroot("v2"))
	var code strings.Builder
	code.WriteString("<?php\n")
	for i := range 200 { // a page of Drupal loads several hundred classes
		name := "lib/Class" + string(rune('A'+i/26)) + string(rune('A'+i%26)) + ".php"
		f.write(filepath.Join(f.docroot("v2"), name), "<?php return "+string(rune('0'+i%10))+";")
		code.WriteString("require __DIR__ . '/" + name + "';\n")
	}
	code.WriteString("for ($i = 0; $i < 50; $i++) { is_file(__DIR__ . '/lib/ClassA' . chr(65 + $i % 26) . '.php'); }\necho '<html>page</html>';")
	f.write(filepath.Join(f.docroot("v2"), "index.php"), code.String())
	f.send("GET", "/", "")
	old := time.Now().Add(-time.Hour)
	f.must(filepath.Walk(f.docroot("v2"), func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	}))
	link := filepath.Join(f.config.Dir, "nginx")
	param := func(limited bool) {
		version, err := f.server.nginx().tree.current()
		f.must(err)
		path := filepath.Join(link, "php.inc")
		text, err := os.ReadFile(path)
		f.must(err)
		if !limited {
			without := strings.Replace(string(text), "HEFRING_LIMITS $hefring_limits", `HEFRING_LIMITS ""`, 1)
			f.must(os.WriteFile(path, []byte(without), 0o644))
		}
		if _, err := f.server.php().signal(f.server.php().reload); err != nil {
			t.Fatal(err)
		}
		workers, err := f.server.nginx().workers()
		f.must(err)
		_, err = f.server.nginx().signal(f.server.nginx().reload)
		f.must(err)
		f.eventually("reloaded", func() bool {
			done, err := f.server.nginx().settled(t.Context(), version, workers)
			return err == nil && done
		})
	}
	for _, limited := range []bool{true, false} {
		param(limited)
		t.Logf("limited %t: PHP %.0f/s, static %.0f/s", limited, f.rate("/"), f.rate("/core/misc/release.css"))
		t.Logf("limited %t: PHP %.0f/s, static %.0f/s", limited, f.rate("/"), f.rate("/core/misc/release.css"))
	}
}

// rate is how many requests a second two visitors get answered.
func (f *fixture) rate(path string) float64 {
	const span = 4 * time.Second
	var count atomic.Int64
	var group sync.WaitGroup
	end := time.Now().Add(span)
	for range 2 {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for time.Now().Before(end) {
				request, err := http.NewRequest(http.MethodGet, "http://"+f.prober.PublicAddr+path, nil)
				f.must(err)
				request.Host = host
				response, err := client.Do(request)
				if err != nil || response.StatusCode != http.StatusOK {
					f.Errorf("%v %v", response, err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				count.Add(1)
			}
		})
	}
	group.Wait()
	return float64(count.Load()) / span.Seconds()
}
