package webserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hefring/models"
)

const lease = time.Minute

func TestGate_Close_RefusesWritesNotReads(t *testing.T) {
	f := serve(t)
	g := f.gate()
	f.must(g.Close(lease))
	if !g.Closed() {
		t.Error("gate is not closed")
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PROPFIND"} {
		a := f.send(method, "/node/1", "lost?")
		if a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "This site is being updated") || !strings.Contains(a.body, `<html lang="en">`) {
			t.Errorf("%s: got %d %s", method, a.status, a.body)
		}
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		if a := f.send(method, "/node/1", ""); a.status != 200 {
			t.Errorf("%s: got %d %s", method, a.status, a.body)
		}
	}
	f.must(g.Open())
	if g.Closed() {
		t.Error("gate is not open")
	}
	if a := f.send("POST", "/node/1", "kept"); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if got := f.written("v1"); got != "kept\n" {
		t.Errorf("written %q", got)
	}
	f.must(g.Open())
}

func TestGate_Close_ReadsThatWrite(t *testing.T) {
	f := serve(t)
	f.write(filepath.Join(f.docroot("v1"), "cron.php"), "<?php echo 'ran';")
	f.must(f.gate().Close(lease))
	for path, want := range map[string]int{
		"/cron/KEY": 503, "/de/cron/KEY": 503, "/%63ron/KEY": 503, "/cron.php?cron_key=1": 503, "/user/reset/1/2/3/login": 503,
		"/fr/user/logout": 503, "/user/logout?token=x": 503, "/?q=user/logout": 503, "/index.php?q=de/user/logout": 503,
		"/comment/1/approve?token=x": 503, "/batch?id=1&op=do_nojs": 503,
		"/": 200, "/cronicles": 200, "/user/1": 200, "/user/login": 200, "/a/b/cron/c": 200, "/search?q=cron": 200, "/user/resettled": 200,
	} {
		if a := f.send("GET", path, ""); a.status != want {
			t.Errorf("%s: got %d, want %d", path, a.status, want)
		}
	}
}

func TestGate_Close_ProbesPass(t *testing.T) {
	f := serve(t)
	f.must(f.gate().Close(lease))
	a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: "/cron/KEY"})
	f.must(err)
	if a.Status != 200 {
		t.Errorf("got %d", a.Status)
	}
	// It is the listener that tells a probe, nothing that a client says.
	forged, err := f.sendTo(f.prober.PublicAddr, "POST", host, "/", "x", map[string][]string{"Hefring-Probe": {"1"}, "Hefring_probe": {"1"}, "X-Hefring-Release": {"next"}})
	f.must(err)
	if forged.status != 503 {
		t.Errorf("got %d", forged.status)
	}
	posted, err := f.sendTo(f.prober.ProbeAddr, "POST", host, "/", "x", nil)
	f.must(err)
	if posted.status != 405 || f.written("v1") != "" {
		t.Errorf("got %d", posted.status)
	}
}

func TestGate_Close_ShortLease(t *testing.T) {
	f := prepare(t)
	if err := f.gate().Close(time.Second); err == nil {
		t.Error("was accepted")
	}
}

func TestGate_Close_TakesOver(t *testing.T) {
	f := prepare(t)
	first, second := f.gate(), f.gate()
	f.must(first.Close(lease))
	f.must(second.Close(lease))
	if err := first.Renew(); !errors.Is(err, ErrLapsed) {
		t.Errorf("first renews: %v", err)
	}
	if _, err := first.Seal(); !errors.Is(err, ErrLapsed) {
		t.Errorf("first seals: %v", err)
	}
	f.must(second.Renew())
	unlock, err := second.Seal()
	f.must(err)
	unlock()
}

// A worker that takes a killed one's upgrade over goes on with its gate.
func TestGate_Adopt_GoesOn(t *testing.T) {
	f := prepare(t)
	f.must(f.gate().Close(lease))
	g := f.gate()
	f.must(g.Adopt())
	f.must(g.Renew())
	unlock, err := g.Seal()
	f.must(err)
	unlock()
	f.must(g.Open())
	if err := f.gate().Adopt(); !errors.Is(err, ErrLapsed) {
		t.Errorf("adopts an open gate: %v", err)
	}
}

func TestGate_Drain_WaitsForWriteInFlight(t *testing.T) {
	f := serve(t)
	g := f.gate()
	finish := f.slowWrite("in flight")
	f.must(g.Close(lease))
	if err := g.Drain(t.Context(), 100*time.Millisecond); models.CodeOf(err) != models.Unavailable {
		t.Fatalf("drained while a write is under way: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Drain(ctx, patience); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- g.Drain(t.Context(), patience) }()
	if a := f.send("POST", "/", "refused"); a.status != 503 {
		t.Errorf("got %d", a.status)
	}
	answered := finish()
	f.must(<-drained)
	if got := f.written("v1"); got != "in flight\n" {
		t.Errorf("written %q", got)
	}
	if a := <-answered; a.status != 200 {
		t.Errorf("got %d", a.status)
	}
}

// slowWrite begins a write that lasts until the function that it gives is called.
func (f *fixture) slowWrite(text string) (finish func() <-chan answer) {
	f.Helper()
	return f.slow("POST", text)
}

// slow begins a request that lasts until the function that it gives is called.
func (f *fixture) slow(method, text string) (finish func() <-chan answer) {
	f.Helper()
	path := filepath.Join(f.site, "pipe")
	f.must(syscall.Mkfifo(path, 0o644))
	f.must(runner().Chown(path))
	answers := make(chan answer, 1)
	go func() {
		a, err := f.try(method, host, "/slow", text)
		if err != nil {
			a.body = err.Error()
		}
		answers <- a
	}()
	var pipe *os.File
	f.eventually("PHP opens the pipe", func() bool {
		var err error
		pipe, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails without a reader
		return err == nil
	})
	return func() <-chan answer {
		f.must(pipe.Close())
		return answers
	}
}

// Every write that was answered with success is there when Drain returns, and
// none comes after.
func TestGate_Drain_MissesNoWrite(t *testing.T) {
	f := serve(t)
	for round := range 5 {
		g := f.gate()
		var mutex sync.Mutex
		kept := map[string]bool{}
		refused := 0
		var group sync.WaitGroup
		for client := range 4 {
			group.Go(func() {
				for i := 0; ; i++ {
					text := fmt.Sprintf("%d-%d-%d", round, client, i)
					a, err := f.try("POST", host, "/", text)
					mutex.Lock()
					if err != nil || (a.status != 200 && a.status != 503) {
						t.Errorf("got %d, %v", a.status, err)
					}
					if a.status == 200 {
						kept[text] = true
					} else {
						refused++
					}
					done := refused > 20
					mutex.Unlock()
					if done {
						return
					}
				}
			})
		}
		f.eventually("some are written", func() bool {
			mutex.Lock()
			defer mutex.Unlock()
			return len(kept) > 20
		})
		f.must(g.Close(lease))
		f.must(g.Drain(t.Context(), patience))
		copied := f.written("v1")
		group.Wait()
		if after := f.written("v1"); after != copied {
			t.Errorf("written after Drain: %q", strings.TrimPrefix(after, copied))
		}
		for text := range kept {
			if !strings.Contains("\n"+copied, "\n"+text+"\n") {
				t.Errorf("%s was acknowledged and is not there", text)
			}
		}
		f.must(g.Open())
	}
}

func TestGate_Renew_KeepsClosed(t *testing.T) {
	f := serve(t)
	g := f.gate()
	f.must(g.Close(lease))
	flag := filepath.Join(g.Run, flagFile)
	f.age(flag, 30*time.Second)
	ctx, stop := context.WithCancel(t.Context())
	lapsed := g.KeepClosed(ctx, pollEvery)
	f.eventually("the flag is touched", func() bool {
		info, err := os.Stat(flag)
		return err == nil && time.Since(info.ModTime()) < 10*time.Second
	})
	stop()
	if err, told := <-lapsed; told {
		t.Errorf("got %v", err)
	}
	unlock, err := g.Seal()
	f.must(err)
	unlock()
}

func (f *fixture) age(path string, by time.Duration) {
	f.Helper()
	then := time.Now().Add(-by)
	f.must(os.Chtimes(path, then, then))
}

// An upgrade that died must not keep a site read-only; one that only thought it
// lived must learn that a write came through.
func TestGate_Lapsed_OpensAndTells(t *testing.T) {
	f := serve(t)
	g := f.gate()
	f.must(g.Close(lease))
	f.age(filepath.Join(g.Run, flagFile), 2*lease)
	if g.Closed() {
		t.Error("gate is closed")
	}
	f.send("GET", "/", "")
	if _, err := os.Stat(filepath.Join(g.Run, flagFile)); err != nil {
		t.Errorf("a read touched the flag: %v", err)
	}
	if a := f.send("POST", "/", "let through"); a.status != 200 {
		t.Fatalf("got %d", a.status)
	}
	lapsed, told := <-g.KeepClosed(t.Context(), pollEvery)
	if !told || !errors.Is(lapsed, ErrLapsed) {
		t.Errorf("KeepClosed: got %v", lapsed)
	}
	for name, err := range map[string]error{"Renew": g.Renew(), "Drain": g.Drain(t.Context(), patience)} {
		if !errors.Is(err, ErrLapsed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := g.Seal(); !errors.Is(err, ErrLapsed) {
		t.Errorf("Seal: got %v", err)
	}
	if a := f.send("POST", "/", "again"); a.status != 200 {
		t.Errorf("the lock was kept: %d", a.status)
	}
}

// Renewed in time after all: as long as no write came through, nothing was lost.
func TestGate_Lapsed_WithoutAWriteIsHarmless(t *testing.T) {
	f := serve(t)
	g := f.gate()
	f.must(g.Close(lease))
	f.age(filepath.Join(g.Run, flagFile), 2*lease)
	f.must(g.Renew())
	if a := f.send("POST", "/", "refused"); a.status != 503 {
		t.Errorf("got %d", a.status)
	}
	unlock, err := g.Seal()
	f.must(err)
	unlock()
}

func TestGate_Seal_KeepsWritersWaiting(t *testing.T) {
	f := serve(t)
	g := f.gate()
	f.must(g.Close(lease))
	unlock, err := g.Seal()
	f.must(err)
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("a read waits: %d", a.status)
	}
	f.must(g.Open()) // too early: the lock still holds writers
	answers := make(chan answer, 1)
	text := strings.Repeat("for the new release", 10_000) // nginx keeps it in a file
	go func() {
		a, err := f.try("POST", host, "/", text)
		if err != nil {
			a.body = err.Error()
		}
		answers <- a
	}()
	f.eventually("a writer waits", func() bool { return waiting(f, filepath.Join(g.Run, lockFile)) })
	f.link(filepath.Join(f.site, "current"), f.docroot("v2"))
	unlock()
	// Meant for the old release when it came, it must not be written there.
	if a := <-answers; a.status != 200 || !strings.Contains(a.body, "release=v2") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if old, got := f.written("v1"), f.written("v2"); old != "" || got != text+"\n" {
		t.Errorf("written %d bytes to the old release and %d to the new one", len(old), len(got))
	}
}

// waiting tells from the kernel's table of locks whether a process waits for one.
func waiting(f *fixture, path string) bool {
	f.Helper()
	var stat syscall.Stat_t
	f.must(syscall.Stat(path, &stat))
	table, err := os.ReadFile("/proc/locks")
	f.must(err)
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, "->") && strings.Contains(line, fmt.Sprintf(":%d ", stat.Ino)) {
			return true
		}
	}
	return false
}

// What a page began to read stays until it has ended, whoever comes meanwhile, and a
// page that came too late is served by the release that is right now.
func TestGate_DrainReads_WaitsForReadsInFlight(t *testing.T) {
	f := serve(t)
	g := f.gate()
	f.must(g.DrainReads(t.Context(), patience)) // nobody there
	finish := f.slow("GET", "")
	f.link(filepath.Join(f.site, "current"), f.docroot("v2"))
	for range 2 { // the second finds what the first left, as after a kill
		if err := g.DrainReads(t.Context(), 100*time.Millisecond); models.CodeOf(err) != models.Unavailable {
			t.Fatalf("drained while a page is loading: %v", err)
		}
	}
	drained := make(chan error, 1)
	go func() { drained <- g.DrainReads(t.Context(), patience) }()
	for range 3 {
		if a := f.send("GET", "/", ""); a.status != 200 || !strings.Contains(a.body, "release=v2") {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	select {
	case err := <-drained:
		t.Fatalf("drained while a page is loading: %v", err)
	default:
	}
	answered := finish()
	f.must(<-drained)
	if a := <-answered; a.status != 200 || !strings.Contains(a.body, "release=v1") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	// Readers who never pause do not keep it waiting.
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a, err := f.try("GET", host, "/", ""); err != nil || a.status != 200 {
					t.Errorf("got %d, %v", a.status, err)
				}
			}
		})
	}
	for range 5 {
		f.must(g.DrainReads(t.Context(), patience))
	}
	close(stop)
	readers.Wait()
}

func TestGate_Drain_BeforeClose(t *testing.T) {
	f := prepare(t)
	if err := f.gate().Drain(t.Context(), patience); !errors.Is(err, ErrLapsed) {
		t.Errorf("got %v", err)
	}
}

// Without a lock no write is safe; reads do not need it.
func TestGate_WithoutRunFolder_RefusesWrites(t *testing.T) {
	f := serve(t)
	f.must(os.RemoveAll(filepath.Join(f.site, "run")))
	if a := f.send("POST", "/", "unsafe"); a.status != 503 {
		t.Errorf("got %d", a.status)
	}
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if err := f.gate().Close(lease); err == nil {
		t.Error("closed nothing")
	}
	// To serve the site again mends it.
	f.must(f.server.AddSite(t.Context(), f.vhost()))
	if a := f.send("POST", "/", "safe"); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
}

// The run folder belongs to the sites' user, who must not lead us elsewhere.
func TestGate_HostileRunFolder(t *testing.T) {
	f := prepare(t)
	g := f.gate()
	outside := filepath.Join(f.base, "outside")
	f.write(outside, "untouched")
	then := time.Now().Add(-time.Hour).Truncate(time.Second)
	f.must(os.Chtimes(outside, then, then))
	lock, flag := filepath.Join(g.Run, lockFile), filepath.Join(g.Run, flagFile)

	f.must(os.Symlink(outside, flag))
	if g.Closed() {
		t.Error("believes a link")
	}
	f.must(g.Close(lease))
	f.must(os.Remove(flag))
	f.must(os.Symlink(outside, flag))
	if err := g.Renew(); err == nil {
		t.Error("renews a link")
	}
	f.must(os.Symlink(outside, lock))
	if err := g.Drain(t.Context(), patience); err == nil {
		t.Error("locks a link")
	}
	f.must(os.Remove(lock))
	f.must(syscall.Mkfifo(lock, 0o644))
	if err := g.Drain(t.Context(), patience); err == nil {
		t.Error("locks a pipe")
	}
	info, err := os.Stat(outside)
	f.must(err)
	text, err := os.ReadFile(outside)
	f.must(err)
	if string(text) != "untouched" || !info.ModTime().Equal(then) {
		t.Errorf("changed to %q at %s", text, info.ModTime())
	}
}
