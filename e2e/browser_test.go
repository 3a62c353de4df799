package e2e_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe.min.js
var axe string

// recorder notes what the page adds to logs and steps after it was drawn.
const recorder = `window.__added = [];
new MutationObserver((changes) => {
  if (document.readyState !== 'complete') return;
  const note = (kind, id, text) => window.__added.push({at: Date.now(), kind, id, text});
  for (const change of changes) {
    for (const node of change.addedNodes) {
      if (node.nodeType === 1 && node.matches('.ln')) note('line', node.id, node.innerText);
    }
    if (change.type === 'attributes' && change.target.matches('#steps > li')) note('step', change.target.id, change.target.dataset.s);
  }
}).observe(document, {childList: true, subtree: true, attributes: true, attributeFilter: ['data-s']});`

// browser is one person with a browser window of their own.
type browser struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // chromedp keeps the tab in it
	base    string
	scripts bool

	mu    sync.Mutex
	noise []string // what the browser complained about
	shots int
}

// browser opens a window that is wide enough for everything.
func (h *hefring) browser() *browser {
	h.t.Helper()
	ctx := h.window()
	b := &browser{t: h.t, ctx: ctx, base: h.url, scripts: true}
	chromedp.ListenTarget(ctx, b.listen)
	if err := chromedp.Run(ctx, log.Enable(), runtime.Enable(), emulation.SetDeviceMetricsOverride(1280, 900, 1, false),
		chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := cdppage.AddScriptToEvaluateOnNewDocument(recorder).Do(ctx)
			return err
		})); err != nil {
		h.t.Fatalf("open a browser window: %v", err)
	}
	h.t.Cleanup(b.complaints)
	return b
}

// window opens a window without anybody's cookies. chromedp cannot: it forgets
// that the first tab of a profile needs a window.
func (h *hefring) window() context.Context {
	h.t.Helper()
	executor := cdp.WithExecutor(shared.browser, chromedp.FromContext(shared.browser).Browser)
	profile, err := target.CreateBrowserContext().Do(executor)
	if err != nil {
		h.t.Fatalf("make a browser profile: %v", err)
	}
	tab, err := target.CreateTarget("about:blank").WithBrowserContextID(profile).WithNewWindow(true).Do(executor)
	if err != nil {
		h.t.Fatalf("open a browser window: %v", err)
	}
	ctx, cancel := chromedp.NewContext(shared.browser, chromedp.WithTargetID(tab))
	h.t.Cleanup(func() {
		cancel()
		if err := target.DisposeBrowserContext(profile).Do(executor); err != nil {
			h.t.Errorf("close the browser window: %v", err)
		}
	})
	return ctx
}

func (b *browser) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Error()
	case *log.EventEntryAdded:
		// What the server refused is on the page, and asserted there.
		if e.Entry.Level == log.LevelError && e.Entry.Source != log.SourceNetwork {
			complaint = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if complaint != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.noise = append(b.noise, complaint)
	}
}

func (b *browser) complaints() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.noise {
		b.t.Errorf("the browser complains: %s", complaint)
	}
	if b.t.Failed() {
		b.t.Logf("the browser shows %s", b.describe())
	}
}

// do runs actions within a time that is long for any of them.
func (b *browser) do(actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

// try evaluates an expression; while a page goes and another comes it may fail.
func (b *browser) try(expression string, into any) error {
	return b.do(chromedp.Evaluate(expression, into, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	}))
}

func (b *browser) text(expression string) string {
	b.t.Helper()
	var text string
	if err := b.try("String("+expression+")", &text); err != nil {
		b.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return text
}

func (b *browser) texts(expression string) []string {
	b.t.Helper()
	var list []string
	if err := b.try(expression, &list); err != nil {
		b.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return list
}

// until waits for a condition on the page.
func (b *browser) until(limit time.Duration, what, condition string) {
	b.t.Helper()
	for deadline := time.Now().Add(limit); ; <-time.After(50 * time.Millisecond) {
		var yes bool
		if err := b.try("Boolean("+condition+")", &yes); err == nil && yes {
			return
		}
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			b.t.Fatalf("waited %s in vain until %s; the browser shows %s", limit, what, b.describe())
		}
	}
}

func (b *browser) describe() string {
	var shown string
	if err := b.try(`location.href + "\n" + (document.body ? document.body.innerText : "")`, &shown); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%.4000s", shown)
}

// sees waits until a text can be read, in the dialog if one is open.
func (b *browser) sees(text string) {
	b.t.Helper()
	b.seesWithin(15*time.Second, text)
}

func (b *browser) seesWithin(limit time.Duration, text string) {
	b.t.Helper()
	b.until(limit, "“"+text+"” can be read", `(document.querySelector('dialog[open]') || document.body).innerText.replace(/\s+/g, ' ').includes(`+quote(text)+`)`)
}

// lands waits until the address of the page matches and gives it.
func (b *browser) lands(pattern string) string {
	b.t.Helper()
	b.until(15*time.Second, "the address matches "+pattern, `document.readyState === 'complete' && new RegExp(`+quote(pattern)+`).test(location.pathname + location.search)`)
	return b.text("location.pathname")
}

// open opens a page and looks at it closely.
func (b *browser) open(path string) {
	b.t.Helper()
	b.visit(path)
	b.examine("")
}

// visit opens a page of Hefring, or of a site by its whole address.
func (b *browser) visit(path string) {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.base + path
	}
	err := b.do(chromedp.Navigate(path))
	for range 5 { // the page before was just going elsewhere
		if err == nil || !strings.Contains(err.Error(), "ERR_ABORTED") {
			break
		}
		err = b.do(chromedp.Navigate(path))
	}
	if err != nil {
		b.t.Fatalf("open %s: %v", path, err)
	}
}

// controls is an expression for all buttons and links that can be seen and used.
const controls = `[...(document.querySelector('dialog[open]') || document).querySelectorAll('a[href],button,summary,label')].filter((el) => el.checkVisibility() && !el.disabled)`

// label is what a control is called.
const label = `((el) => (el.getAttribute('aria-label') || el.innerText || '').replace(/\s+/g, ' ').trim())`

// press clicks the button or link with this name, or whose name begins so.
func (b *browser) press(name string) {
	b.t.Helper()
	b.click("“"+name+"”", fmt.Sprintf(`(() => { const all = %s, label = %s, want = %s; return all.find((el) => label(el) === want) || all.find((el) => label(el).startsWith(want)); })()`, controls, label, quote(name)))
}

// pressOn clicks what a selector finds, in the dialog if one is open.
func (b *browser) pressOn(selector string) {
	b.t.Helper()
	b.click(selector, `(document.querySelector('dialog[open]') || document).querySelector(`+quote(selector)+`)`)
}

// click clicks the middle of an element with the mouse, once it is there and
// nothing lies over it.
func (b *browser) click(what, element string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	place := fmt.Sprintf(`(() => {
  const el = %s;
  if (!el || el.disabled || !el.checkVisibility()) return null;
  el.scrollIntoView({block: 'center', inline: 'nearest', behavior: 'instant'});
  const box = el.getBoundingClientRect(), x = box.left + box.width / 2, y = box.top + box.height / 2;
  const hit = document.elementFromPoint(x, y);
  return hit && (el.contains(hit) || hit.contains(el)) ? {X: x, Y: y} : null;
})()`, element)
	for deadline := time.Now().Add(15 * time.Second); ; <-time.After(50 * time.Millisecond) {
		var found *struct{ X, Y float64 }
		if err := b.try(place, &found); err == nil && found != nil {
			at = *found
			break
		}
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			b.t.Fatalf("%s cannot be pressed; the browser shows %s", what, b.describe())
		}
	}
	if err := b.do(chromedp.MouseClickXY(at.X, at.Y)); err != nil {
		b.t.Fatalf("press %s: %v", what, err)
	}
}

// field finds a form's field by its name, or by its id after #.
func field(name string) string {
	if strings.HasPrefix(name, "#") {
		return `document.querySelector(` + quote(name) + `)`
	}
	return `(document.querySelector('dialog[open]') || document).querySelector('[name=` + quote(name) + `]')`
}

// fill types into a field, over what is there.
func (b *browser) fill(name, value string) {
	b.t.Helper()
	b.until(10*time.Second, "there is a field "+name, field(name))
	if b.text(`(() => { const el = `+field(name)+`; el.focus(); if (el.select) el.select(); return document.activeElement === el })()`) != "true" {
		b.t.Fatalf("nobody can type into %s", name)
	}
	actions := []chromedp.Action{input.InsertText(value)}
	if value == "" {
		actions = []chromedp.Action{chromedp.KeyEvent("\b")}
	}
	if err := b.do(actions...); err != nil {
		b.t.Fatalf("type into %s: %v", name, err)
	}
	if got := b.value(name); got != value {
		b.t.Fatalf("typed %q into %s, which holds %q", value, name, got)
	}
}

// choose picks an option of a list.
func (b *browser) choose(name, value string) {
	b.t.Helper()
	if got := b.text(`(() => { const el = ` + field(name) + `; el.value = ` + quote(value) + `; el.dispatchEvent(new Event('change', {bubbles: true})); return el.value })()`); got != value {
		b.t.Fatalf("%s does not offer %q", name, value)
	}
}

// options lists what a list offers, as people read it.
func (b *browser) options(name string) []string {
	b.t.Helper()
	return b.texts(`[...` + field(name) + `.options].map((o) => o.label)`)
}

func (b *browser) value(name string) string { return b.text(field(name) + ".value") }

// wrong is what stands beside a field.
func (b *browser) wrong(id string) string {
	b.t.Helper()
	return b.text(`(document.getElementById(` + quote(id+"-e") + `) || {innerText: ''}).innerText`)
}

// signIn comes in by a one-time link.
func (b *browser) signIn(h *hefring) {
	b.t.Helper()
	link := h.run("", "login-link", "admin")
	b.visit(link)
	b.press("Sign in")
	b.lands("^/$")
}

// added lists what the recorder noted since the page was drawn.
type added struct {
	At             int64 // milliseconds
	Kind, ID, Text string
}

func (b *browser) added(kind string) []added {
	b.t.Helper()
	var list []added
	if err := b.try(`window.__added.filter((a) => a.kind === `+quote(kind)+`)`, &list); err != nil {
		b.t.Fatal(err)
	}
	return list
}

// scripting switches JavaScript on or off, from the next page on.
func (b *browser) scripting(on bool) {
	b.t.Helper()
	if err := b.do(emulation.SetScriptExecutionDisabled(!on)); err != nil {
		b.t.Fatal(err)
	}
	b.scripts = on
}

var (
	notName  = regexp.MustCompile(`[^a-z0-9]+`)
	onceOnly = regexp.MustCompile(`^/login/link/.*`) // names of pictures stay the same from run to run
)

// examine has axe look at the page in light and dark, and keeps pictures of it if
// that is wanted. what tells states of one page apart.
func (b *browser) examine(what string) {
	b.t.Helper()
	address := b.text("location.pathname + location.search")
	for _, theme := range []string{"light", "dark"} {
		if err := b.do(theming(theme)); err != nil {
			b.t.Fatal(err)
		}
		b.audit(address, theme)
		b.picture(address, what, theme)
	}
	if err := b.do(theming("light"), emulation.SetDeviceMetricsOverride(390, 900, 1, true)); err != nil {
		b.t.Fatal(err)
	}
	if wide := b.text(`document.documentElement.scrollWidth`); wide != "390" {
		b.t.Errorf("%s is %s px wide on a window of 390", address, wide)
	}
	if err := b.do(emulation.SetDeviceMetricsOverride(1280, 900, 1, false)); err != nil {
		b.t.Fatal(err)
	}
}

func theming(theme string) chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	})
}

func (b *browser) audit(address, theme string) {
	b.t.Helper()
	if !b.scripts { // axe needs them; the page's own have not run and do not run now
		b.scripting(true)
		defer b.scripting(false)
	}
	const check = `(async () => {
  await new Promise((done) => setTimeout(done, 30)); // until colours have changed
  const found = await axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']});
  return found.violations.map((v) => v.id + ': ' + v.help + v.nodes.map((n) => '\n    ' + n.target.join(' ') + ': ' + n.failureSummary.replace(/\s+/g, ' ')).join(''));
})()`
	var violations []string
	var err error
	for range 3 { // the page may be drawn anew meanwhile
		if err = b.try("window.axe ? 1 : (() => {"+axe+"})(); 1", nil); err == nil {
			if err = b.try(check, &violations); err == nil {
				break
			}
		}
	}
	if err != nil {
		b.t.Fatalf("run axe on %s: %v", address, err)
	}
	for _, violation := range violations {
		b.t.Errorf("axe on %s (%s): %s", address, theme, violation)
	}
}

// picture keeps pictures of the page, wide and narrow.
func (b *browser) picture(address, what, theme string) {
	b.t.Helper()
	folder := os.Getenv("HEFRING_SCREENSHOTS")
	if folder == "" {
		return
	}
	address = onceOnly.ReplaceAllString(address, "/login/link")
	name := strings.Trim(notName.ReplaceAllString(strings.ToLower(address+" "+what), "-"), "-")
	if name == "" {
		name = "dashboard"
	}
	folder = filepath.Join(folder, b.t.Name())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if theme == "light" {
		b.shots++
	}
	for _, width := range []int64{1280, 390} {
		var picture []byte
		file := filepath.Join(folder, fmt.Sprintf("%02d-%.60s-%d-%s.png", b.shots, name, width, theme))
		if err := b.do(
			emulation.SetDeviceMetricsOverride(width, 900, 1, width < 600),
			chromedp.ActionFunc(func(ctx context.Context) (err error) {
				picture, err = cdppage.CaptureScreenshot().WithCaptureBeyondViewport(true).WithFromSurface(true).WithClip(b.clip(ctx, width)).Do(ctx)
				return err
			})); err != nil {
			b.t.Fatalf("take a picture of %s: %v", address, err)
		}
		if err := os.WriteFile(file, picture, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.do(emulation.SetDeviceMetricsOverride(1280, 900, 1, false)); err != nil {
		b.t.Fatal(err)
	}
}

// show keeps a picture for the documents, where HEFRING_GUIDE says.
func (b *browser) show(name string) {
	b.t.Helper()
	folder := os.Getenv("HEFRING_GUIDE")
	if folder == "" {
		return
	}
	var picture []byte
	if err := b.do(theming("light"), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		view := b.clip(ctx, 1280)
		view.Height = min(view.Height, 1100)
		picture, err = cdppage.CaptureScreenshot().WithCaptureBeyondViewport(true).WithFromSurface(true).WithClip(view).Do(ctx)
		return err
	})); err != nil {
		b.t.Fatalf("take a picture of %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// clip is the whole page, within reason.
func (b *browser) clip(ctx context.Context, width int64) *cdppage.Viewport {
	height := 900.0
	if _, _, _, _, _, size, err := cdppage.GetLayoutMetrics().Do(ctx); err == nil {
		height = min(max(size.Height, 600), 4000)
	}
	return &cdppage.Viewport{Width: float64(width), Height: height, Scale: 1}
}

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(quoted)
}
