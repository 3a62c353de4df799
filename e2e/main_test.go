package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// watchdogVar makes the test program a watchdog over the folder that it names.
const watchdogVar = "HEFRING_E2E_WATCHDOG"

// shared is what all tests use: the program under test and one browser.
var shared struct {
	binary  string
	browser context.Context //nolint:containedctx // chromedp keeps the browser in it
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(watchdogVar); dir != "" {
		watch(dir)
		return
	}
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "hefring-e2e-shared-")
	if err != nil {
		return 1, err
	}
	release, err := guard(dir)
	if err != nil {
		return 1, errors.Join(err, os.RemoveAll(dir))
	}
	defer func() { err = errors.Join(err, release()) }()
	// The web user runs the program too, as the last link to its sandboxes.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	shared.binary = filepath.Join(dir, "hefring")
	build := exec.Command("go", "build", "-trimpath", "-o", shared.binary, "hefring/cmd/hefring")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build hefring: %w\n%s", err, out)
	}
	stop, err := startBrowser(filepath.Join(dir, "profile"))
	if err != nil {
		return 1, err
	}
	defer stop()
	return m.Run(), nil
}

// startBrowser starts Chromium, which the kernel ends with this process.
func startBrowser(profile string) (stop func(), err error) {
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		return nil, errors.New("there is no Chromium on this machine; install the package chromium")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.Headless, chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.WindowSize(1280, 900),
		chromedp.WSURLReadTimeout(time.Minute),
	}
	for _, name := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(name, true))
	}
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	browser, cancelBrowser := chromedp.NewContext(allocator, chromedp.WithErrorf(complain))
	stop = func() {
		_ = chromedp.Cancel(browser) // waits until it is gone
		cancelBrowser()
		cancelAllocator()
	}
	if err := chromedp.Run(browser); err != nil {
		stop()
		return nil, fmt.Errorf("start Chromium: %w", err)
	}
	shared.browser = browser //nolint:fatcontext // set once
	return stop, nil
}

// complain passes on what chromedp does not understand, apart from the one event
// that is newer than it.
func complain(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !strings.Contains(text, "EventTopLayerElementsUpdated") {
		fmt.Fprintln(os.Stderr, "chromedp:", text)
	}
}

// watch waits until the test process closes our standard input, which the kernel
// does for it when it dies, and then ends what runs in the folder and removes it.
func watch(dir string) {
	signal.Ignore(os.Interrupt)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := errors.Join(reap(dir), os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, "clean up", dir, err)
		os.Exit(1)
	}
}
