package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hefring/internal/sites/drupal"
	"hefring/internal/tidepool"
	"hefring/models"
)

// fresh is a site that is to be made on a platform; nothing of it is there yet.
func (s *server) fresh(t *testing.T, version string) *subject {
	t.Helper()
	p := s.platform(t, version)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &subject{T: t, server: s, from: p, site: s.newSite(p)}
	f.site.State = models.SiteInstalling
	return f
}

// made is what the fleet writes down once a site is made.
func (f *subject) made(db models.Database) {
	f.site.Database, f.site.State = db, models.SiteEnabled
}

// clone makes f from an origin.
func (f *subject) clone(from models.Origin) {
	f.Helper()
	log := &record{}
	db, err := f.host.Clone(f.Context(), from, f.site, f.from, log)
	if err != nil {
		f.Fatalf("clone: %v\n%s", err, log)
	}
	f.made(db)
}

// upload puts a file where the site's PHP would.
func (f *subject) upload(name, text string) string {
	f.Helper()
	path := filepath.Join(f.layout.Dir(f.site.ID), name)
	ok(f.T, os.MkdirAll(filepath.Dir(path), 0o755))
	ok(f.T, os.WriteFile(path, []byte(text), 0o644))
	ok(f.T, f.drupal.Give(f.site, filepath.Dir(path)))
	return path
}

func (f *subject) backup(id int64) models.Backup {
	f.Helper()
	log := &record{}
	b, err := f.host.Backup(f.Context(), f.site, f.from, models.Backup{ID: id, SiteID: f.site.ID, CreatedAt: time.Now().UTC()}, log)
	if err != nil {
		f.Fatalf("backup: %v\n%s", err, log)
	}
	return b
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	ok(t, err)
	return string(text)
}

func TestHost_Clone_OfASite_WhileItServes(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	original := f.upload("files/2026/picture.jpg", "picture")
	f.upload("private/letter.pdf", "letter")
	f.local("// own")
	f.post("before the copy")
	tr := f.traffic()
	c := f.fresh(t, tidepool.V1062)
	c.site.Title = "Second Harbour"
	c.clone(models.Origin{Site: &f.site})
	tr.check("10.5.8")
	if tr.refused > 0 {
		t.Errorf("%d writes to the origin were refused", tr.refused)
	}
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
	c.whole("10.6.2", []string{"site.sqlite"}, c.from)
	c.holds("before the copy")
	if a := c.get("/?name"); !strings.Contains(a.body, "Second Harbour") {
		t.Errorf("the new site does not bear its name:\n%.500s", a.body)
	}
	c.post("only in the copy")
	if a := f.get("/node/2?copy"); strings.Contains(a.body, "only in the copy") {
		t.Error("a write to the copy reached the origin")
	}
	if read(t, f.layout.Salt(f.site.ID)) == read(t, c.layout.Salt(c.site.ID)) {
		t.Error("both sites have one salt")
	}
	copied := filepath.Join(c.layout.Files(c.site.ID), "2026", "picture.jpg")
	ok(t, os.WriteFile(copied, []byte("PICTURE"), 0o644))
	if read(t, original) != "picture" {
		t.Error("writing into the copied file changed the original")
	}
	if got := read(t, filepath.Join(c.layout.Private(c.site.ID), "letter.pdf")); got != "letter" {
		t.Errorf("the private file is %q", got)
	}
	if got := read(t, drupal.LocalSettings(c.layout, c.site.ID)); !strings.Contains(got, "// own") {
		t.Errorf("the own settings are %q", got)
	}
	if web := c.runner.Identity(); web != nil {
		info, err := os.Stat(filepath.Dir(copied))
		ok(t, err)
		if info.Sys().(*syscall.Stat_t).Uid != web.UID {
			t.Error("the copied files are not the web user's")
		}
	}
}

func TestHost_Backup_Clone_BringsTheContentBack(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.upload("files/picture.jpg", "picture")
	tr := f.traffic()
	f.post("in the backup")
	b := f.backup(7)
	tr.check("10.5.8")
	if tr.refused > 0 {
		t.Errorf("%d writes were refused", tr.refused)
	}
	if b.Engine != models.EngineSQLite || b.DrupalVersion != "10.5.8" || b.Profile != "standard" || b.Tables < 5 || b.Files < 1 || b.Bytes == 0 || len(b.Digest) != 64 {
		t.Errorf("backup %+v", b)
	}
	f.clean([]string{"site.sqlite"}, f.from)
	f.post("after the backup")

	c := f.fresh(t, tidepool.V1058)
	c.clone(models.Origin{Backup: &b})
	c.whole("10.5.8", []string{"site.sqlite"}, c.from)
	c.holds("in the backup")
	if a := c.get("/node/2?late"); strings.Contains(a.body, "after the backup") {
		t.Error("the backup holds what was written after it")
	}
	if got := read(t, filepath.Join(c.layout.Files(c.site.ID), "picture.jpg")); got != "picture" {
		t.Errorf("the file is %q", got)
	}

	late := b
	late.Digest = strings.Repeat("0", 64)
	n := f.fresh(t, tidepool.V1058)
	if _, err := n.host.Clone(t.Context(), models.Origin{Backup: &late}, n.site, n.from, &record{}); models.CodeOf(err) != models.Invalid {
		t.Errorf("a backup that was changed gave %v", err)
	}
	late = b
	late.Path = "/etc/passwd"
	if err := f.host.DropBackup(t.Context(), late); models.CodeOf(err) != models.Invalid {
		t.Errorf("dropping %s gave %v", late.Path, err)
	}
	ok(t, f.host.DropBackup(t.Context(), b))
	ok(t, f.host.DropBackup(t.Context(), b))
	if _, err := n.host.Clone(t.Context(), models.Origin{Backup: &b}, n.site, n.from, &record{}); models.CodeOf(err) != models.NotFound {
		t.Errorf("a backup that is gone gave %v", err)
	}
	ok(t, f.host.DropBackup(t.Context(), models.Backup{ID: 99, SiteID: f.site.ID, URI: "x", CreatedAt: time.Now()}))
}

func TestHost_Clone_Refuses(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1062)
	for name, c := range map[string]struct {
		version string
		origin  func(to *subject) models.Origin
		reason  string
	}{
		"an older platform": {tidepool.V1058, func(*subject) models.Origin { return models.Origin{Site: &f.site} }, "older than the 10.6.2"},
		"a missing module":  {tidepool.MissingModule, func(*subject) models.Origin { return models.Origin{Site: &f.site} }, "tidepool_guestbook"},
		"itself":            {tidepool.V1062, func(to *subject) models.Origin { return models.Origin{Site: &to.site} }, "itself"},
		"nothing":           {tidepool.V1062, func(*subject) models.Origin { return models.Origin{} }, "which one"},
		"two":               {tidepool.V1062, func(*subject) models.Origin { return models.Origin{Site: &f.site, Backup: &models.Backup{}} }, "which one"},
		"a foreign file": {tidepool.V1062, func(*subject) models.Origin {
			return models.Origin{Backup: &models.Backup{SiteID: 1, Path: "/etc/passwd"}}
		}, "not a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			to := f.fresh(t, c.version)
			_, err := to.host.Clone(t.Context(), c.origin(to), to.site, to.from, &record{})
			if err == nil || !strings.Contains(err.Error(), c.reason) || models.CodeOf(err) != models.Invalid {
				t.Errorf("gave %v", err)
			}
			if _, err := os.Lstat(to.layout.Current(to.site.ID)); !errors.Is(err, fs.ErrNotExist) {
				t.Error("what could not be made is served")
			}
			ok(t, to.host.Delete(t.Context(), to.site, []models.Platform{to.from}, &record{}))
		})
	}
	g := site(t, tidepool.V1062)
	if _, err := g.host.Clone(t.Context(), models.Origin{Site: &f.site}, g.site, g.from, &record{}); models.CodeOf(err) != models.Conflict {
		t.Errorf("overwriting a site that serves gave %v", err)
	}
	g.whole("10.6.2", []string{"site.sqlite"}, g.from)
	f.whole("10.6.2", []string{"site.sqlite"}, f.from)
}

// chore is what a process gets to do that is killed in the middle.
type chore struct {
	Place    place
	Kind     string
	Site, To models.Site
	Platform models.Platform
	Backup   models.Backup
	Kill     int // at this line of the log
}

// fuse is a log that kills its process.
type fuse struct {
	*record
	left int
}

func (l *fuse) burn() {
	if l.left--; l.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}

func (l *fuse) Printf(level models.Level, format string, args ...any) {
	l.record.Printf(level, format, args...)
	l.burn()
}

func (l *fuse) Step(name string) {
	l.record.Step(name)
	l.burn()
}

func (l *fuse) Out() io.Writer { return burning{l.record.Out(), l} }

type burning struct {
	io.Writer
	fuse *fuse
}

func (w burning) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.fuse.burn()
	return n, err
}

func doChore(text string) int {
	var c chore
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	s, log := c.Place.open(), &fuse{record: &record{}, left: c.Kill}
	var err error
	switch c.Kind {
	case "clone":
		_, err = s.host.Clone(context.Background(), models.Origin{Site: &c.Site}, c.To, c.Platform, log)
	case "delete":
		err = s.host.Delete(context.Background(), c.Site, []models.Platform{c.Platform}, log)
	case "backup":
		_, err = s.host.Backup(context.Background(), c.Site, c.Platform, c.Backup, log)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// butcher has a chore done again and again, each time killed a few lines of the
// log later than before, until it is through. It gives how often it was killed.
func (f *subject) butcher(c chore, every int) (kills int) {
	f.Helper()
	c.Place = f.place
	for c.Kill = 1; c.Kill < 200; c.Kill += every {
		text, err := json.Marshal(c)
		ok(f.T, err)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), choreMark+"="+string(text))
		out, err := cmd.CombinedOutput()
		if err == nil {
			return kills
		}
		exit, exited := errors.AsType[*exec.ExitError](err)
		if !exited || !exit.Sys().(syscall.WaitStatus).Signaled() {
			f.Fatalf("%s, killed %d times before: %v\n%s", c.Kind, kills, err, out)
		}
		kills++
	}
	f.Fatal("it never came to its end")
	return kills
}

func TestHost_Clone_KilledAtEachLine_EndsWhole(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.upload("files/picture.jpg", "picture")
	f.post("before")
	c := f.fresh(t, tidepool.V1062)
	if kills := f.butcher(chore{Kind: "clone", Site: f.site, To: c.site, Platform: c.from}, 3); kills < 4 {
		t.Errorf("it was killed only %d times", kills)
	}
	c.made(models.Database{Engine: models.EngineSQLite, Name: filepath.Join(c.layout.Databases(c.site.ID), "site.sqlite")})
	c.whole("10.6.2", []string{"site.sqlite"}, c.from)
	c.holds("before")
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
}

func TestHost_Clone_Cancelled_MayBeRepeated(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	c := f.fresh(t, tidepool.V1062)
	for _, at := range []string{"copy", "update"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		log := &stopper{record: &record{}, at: at, stop: func() { cancel(errCancelled) }}
		if _, err := c.host.Clone(ctx, models.Origin{Site: &f.site}, c.site, c.from, log); !errors.Is(err, errCancelled) {
			t.Errorf("cancelled at %s it gave %v", at, err)
		}
		cancel(nil)
		if _, err := os.Lstat(c.layout.Current(c.site.ID)); !errors.Is(err, fs.ErrNotExist) {
			t.Error("half a site is served")
		}
	}
	c.clone(models.Origin{Site: &f.site})
	c.whole("10.6.2", []string{"site.sqlite"}, c.from)
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
}

// stopper is a log that calls stop at a step.
type stopper struct {
	*record
	at   string
	stop func()
}

func (l *stopper) Step(name string) {
	l.record.Step(name)
	if name == l.at {
		l.stop()
	}
}

func TestHost_Backup_KilledAtEachLine_LeavesOneFile(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.upload("files/picture.jpg", "picture")
	b := models.Backup{ID: 3, SiteID: f.site.ID, CreatedAt: time.Now().UTC()}
	if kills := f.butcher(chore{Kind: "backup", Site: f.site, Platform: f.from, Backup: b}, 1); kills < 4 {
		t.Errorf("it was killed only %d times", kills)
	}
	left := names(t, filepath.Join(f.Base, "backups", strconv.FormatInt(f.site.ID, 10)))
	if len(left) != 1 || strings.HasSuffix(left[0], ".part") {
		t.Errorf("left %v", left)
	}
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
}

// gone checks that nothing of a site is left.
func (f *subject) gone() {
	f.Helper()
	if _, err := os.Lstat(f.layout.Dir(f.site.ID)); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("the site's folder is left: %v", err)
	}
	if a := f.get("/"); a.status == http.StatusOK {
		f.Error("the web server still serves it")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.built {
		if slices.Contains(names(f.T, filepath.Join(p.Root, "web", "sites")), f.site.URI) {
			f.Errorf("a link to it is left on %s", p.Name)
		}
	}
}

func TestHost_Delete_KilledAtEachLine_LeavesNothing(t *testing.T) {
	t.Parallel()
	f, other := site(t, tidepool.V1058), site(t, tidepool.V1058)
	outside := filepath.Join(t.TempDir(), "outside")
	ok(t, os.WriteFile(outside, []byte("kept"), 0o600))
	ok(t, os.MkdirAll(filepath.Join(f.layout.Files(f.site.ID), "a"), 0o755))
	ok(t, os.Symlink(filepath.Dir(outside), filepath.Join(f.layout.Files(f.site.ID), "a", "away")))
	ok(t, os.Symlink(other.layout.Dir(other.site.ID), filepath.Join(f.layout.Files(f.site.ID), "neighbour")))
	ok(t, os.Link(outside, filepath.Join(f.layout.Files(f.site.ID), "second-name")))
	// What a comparison and an upgrade that were killed have left.
	ok(t, os.Symlink(f.layout.Release(f.site.ID, f.from.ID)+"-compare", filepath.Join(f.from.Root, "web", "sites", fmt.Sprintf("_compare.site%d", f.site.ID))))
	_, err := f.engine.Create(t.Context(), f.site, "upgrade-9")
	ok(t, err)
	f.butcher(chore{Kind: "delete", Site: f.site, Platform: f.from}, 1)
	f.gone()
	ok(t, f.host.Delete(t.Context(), f.site, []models.Platform{f.from, {Name: "never published"}}, &record{}))
	f.gone()
	if read(t, outside) != "kept" {
		t.Error("it reached out of the site's folder")
	}
	other.whole("10.5.8", []string{"site.sqlite"}, other.from)
}

func TestHost_Delete_FolderIsALink_Refuses(t *testing.T) {
	t.Parallel()
	s := serve(t)
	f := s.fresh(t, tidepool.V1058)
	victim := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(victim, "file"), nil, 0o600))
	ok(t, os.MkdirAll(f.layout.Root, 0o755))
	ok(t, os.Symlink(victim, f.layout.Dir(f.site.ID)))
	if err := f.host.Delete(t.Context(), f.site, nil, &record{}); models.CodeOf(err) != models.Conflict {
		t.Errorf("gave %v", err)
	}
	if len(names(t, victim)) != 1 {
		t.Error("it reached out")
	}
	ok(t, os.Remove(f.layout.Dir(f.site.ID)))
	if err := f.host.Delete(t.Context(), models.Site{}, nil, &record{}); models.CodeOf(err) != models.Invalid {
		t.Errorf("a site without a number gave %v", err)
	}
}

func TestHost_Verify_MendsAndFinds(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	verify := func() error { return f.host.Verify(t.Context(), f.site, f.from, &record{}) }
	ok(t, verify())
	ok(t, os.Remove(filepath.Join(f.from.Root, "web", "sites", f.site.URI)))
	ok(t, os.Remove(filepath.Join(f.layout.Release(f.site.ID, f.from.ID), "settings.php")))
	ok(t, os.Remove(f.layout.Current(f.site.ID)))
	if os.Geteuid() == 0 {
		ok(t, os.Chown(f.layout.Files(f.site.ID), 0, 0))
	}
	ok(t, f.web.RemoveSite(t.Context(), f.site.ID))
	ok(t, verify())
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)

	other := f.platform(t, tidepool.V1062)
	if err := f.host.Verify(t.Context(), f.site, other, &record{}); models.CodeOf(err) != models.Conflict {
		t.Errorf("a site on another platform gave %v", err)
	}
	ok(t, f.drupal.RemoveRelease(t.Context(), drupal.Release{Site: f.site, Platform: other}))
	ok(t, os.Rename(f.site.Database.Name, f.site.Database.Name+".away"))
	if err := verify(); models.CodeOf(err) != models.NotFound {
		t.Errorf("a missing database gave %v", err)
	}
	ok(t, os.Rename(f.site.Database.Name+".away", f.site.Database.Name))
	ok(t, verify())
}

func TestHost_Cron_RunsAndRespectsTheGate(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	log := &record{}
	ok(t, f.host.Cron(t.Context(), f.site, f.from, log))
	if !strings.Contains(log.String(), "Cron run successful") {
		t.Errorf("log:\n%s", log)
	}
	ok(t, os.WriteFile(f.layout.ReadOnly(f.site.ID), []byte("60\nsomebody\n"), 0o644))
	if err := f.host.Cron(t.Context(), f.site, f.from, log); models.CodeOf(err) != models.Conflict {
		t.Errorf("cron of a read-only site gave %v", err)
	}
	ok(t, os.Remove(f.layout.ReadOnly(f.site.ID)))
}

func TestHost_LoginLink_LetsIn(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	link, err := f.host.LoginLink(t.Context(), f.site, f.from)
	ok(t, err)
	if !strings.HasPrefix(link, strings.TrimSuffix(f.host.URL(f.site), "/")+"/user/reset/") {
		t.Errorf("link %q of %s", link, f.host.URL(f.site))
	}
}

func TestHost_Configure_AliasesAndDisabled(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	main := f.site.URI
	f.site.Aliases = []string{"www." + main}
	ok(t, f.host.Configure(t.Context(), f.site, &record{}))
	as := func(uri string) answer {
		f.site.URI = uri
		defer func() { f.site.URI = main }()
		return f.get("/user/login")
	}
	if a := as("www." + main); a.status != http.StatusOK || a.version() != "10.5.8" {
		t.Errorf("the alias answers %d: %.300s", a.status, a.body)
	}
	f.site.Redirect = true
	ok(t, f.host.Configure(t.Context(), f.site, &record{}))
	if a := as("www." + main); a.status != http.StatusMovedPermanently || !strings.Contains(a.header.Get("Location"), "//"+main) {
		t.Errorf("the alias answers %d to %q", a.status, a.header.Get("Location"))
	}
	f.site.State = models.SiteDisabled
	ok(t, f.host.Configure(t.Context(), f.site, &record{}))
	if a := f.get("/user/login"); a.status != http.StatusServiceUnavailable {
		t.Errorf("a disabled site answers %d", a.status)
	}
	ok(t, f.host.Verify(t.Context(), f.site, f.from, &record{}))
	f.site.State, f.site.Aliases, f.site.Redirect = models.SiteEnabled, nil, false
	ok(t, f.host.Configure(t.Context(), f.site, &record{}))
	ok(t, f.host.Verify(t.Context(), f.site, f.from, &record{}))
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
	if a := as("www." + main); a.status == http.StatusOK {
		t.Error("an alias that was taken away still answers")
	}
}

func TestHost_Install_InAnotherLanguage(t *testing.T) {
	t.Parallel()
	s := serve(t)
	f := s.fresh(t, tidepool.V1058)
	f.site.Language = "de"
	log := &record{}
	db, err := f.host.Install(t.Context(), f.site, f.from, log)
	ok(t, err)
	f.made(db)
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
	d, err := f.drupal.Drush(drupal.Release{Site: f.site, Platform: f.from, Database: db}, io.Discard, io.Discard)
	ok(t, err)
	if got, err := d.Language(t.Context()); err != nil || got != "de" {
		t.Errorf("the language is %q: %v", got, err)
	}
	bad := s.fresh(t, tidepool.V1058)
	bad.site.Language = "--root=/"
	if _, err := bad.host.Install(t.Context(), bad.site, bad.from, &record{}); models.CodeOf(err) != models.Invalid {
		t.Errorf("a language that is none gave %v", err)
	}
}
