package drupal

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/internal/run"
	"hefring/internal/sites/database"
	"hefring/models"
)

//go:embed php/settings.php
var settingsReader string

//go:embed php/peek.php
var peeker string

// What a stranger's settings may use up.
const (
	settingsTime   = 5 * time.Second
	settingsMemory = 1 << 30 // bytes of address space; PHP itself gets less
	settingsOutput = 256 << 10
	codeBytes      = 512 << 10 // of a file that names the version
	peekBytes      = 256 << 20 // largest SQLite database that is looked into before it is adopted
	maxFolders     = 4000      // that are looked into for a docroot
	maxSites       = 2000      // of one docroot
)

var (
	constPattern  = regexp.MustCompile(`(?m)^\s*(?:public\s+)?const\s+VERSION\s*=\s*['"]([0-9][0-9A-Za-z.-]{0,30})['"]`)
	definePattern = regexp.MustCompile(`(?m)^\s*define\(\s*['"]VERSION['"]\s*,\s*['"](7\.[0-9A-Za-z.-]{0,30})['"]\s*\)`)
)

// CodeVersion is the version of Drupal whose code lies in a docroot, 7 or later;
// models.NotFound says that there is none.
func CodeVersion(docroot string) (string, error) {
	for _, place := range []struct {
		file    string
		pattern *regexp.Regexp
	}{{"core/lib/Drupal.php", constPattern}, {"includes/bootstrap.inc", definePattern}} {
		text, err := readHead(filepath.Join(docroot, place.file), codeBytes)
		if err != nil {
			continue
		}
		if found := place.pattern.FindSubmatch(text); found != nil {
			return string(found[1]), nil
		}
	}
	return "", models.Errorf(models.NotFound, "There is no Drupal in %s.", docroot)
}

func readHead(path string, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // what a person pointed at
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fs.ErrInvalid, err)
	}
	return io.ReadAll(io.LimitReader(file, limit))
}

// Docroots finds the folders in root, at most two levels down, that Drupal is
// served from; "" is root itself.
func Docroots(ctx context.Context, root string) ([]string, error) {
	var found []string
	level, looked := []string{""}, 0
	for depth := 0; depth <= 2; depth++ {
		var next []string
		for _, dir := range level {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if looked++; looked > maxFolders {
				return nil, models.Errorf(models.Invalid, "%s holds too many folders. Point at the folder of one code base.", root)
			}
			if there(filepath.Join(root, dir, "index.php")) {
				if _, err := CodeVersion(filepath.Join(root, dir)); err == nil {
					found = append(found, dir)
					continue // what lies in a docroot is part of it
				}
			}
			below, err := subfolders(filepath.Join(root, dir))
			if err != nil && dir == "" {
				return nil, models.Wrapf(models.Invalid, err, "The folder %s cannot be read. Check its path and its permissions.", root)
			}
			for _, name := range below {
				next = append(next, filepath.Join(dir, name))
			}
		}
		level = next
	}
	slices.Sort(found)
	return found, nil
}

func subfolders(dir string) ([]string, error) {
	file, err := os.Open(dir) //nolint:gosec // what a person pointed at
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	entries, err := file.ReadDir(maxFolders)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "vendor" && e.Name() != "node_modules" {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// SiteFolders lists the folders below a docroot's sites/ that have settings. A
// link to such a folder is another name of it and is left out when its target is
// among them.
func SiteFolders(docroot string) ([]string, error) {
	file, err := os.Open(filepath.Join(docroot, "sites")) //nolint:gosec // what a person pointed at
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for sites: %w", err)
	}
	defer func() { _ = file.Close() }()
	entries, err := file.ReadDir(maxSites)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("look for sites: %w", err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { // true folders first
		return strings.Compare(kind(a)+a.Name(), kind(b)+b.Name())
	})
	var names []string
	seen := map[string]bool{}
	for _, e := range entries {
		dir := filepath.Join(docroot, "sites", e.Name())
		if e.Name() == "all" || e.Name() == "simpletest" || !there(filepath.Join(dir, "settings.php")) {
			continue
		}
		target, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[target] {
			continue
		}
		seen[target] = true
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

func kind(e fs.DirEntry) string {
	if e.IsDir() {
		return "0"
	}
	return "1"
}

// Outside is what the settings of a site say that Hefring does not own. It holds
// the password of its database: it is not stored and not logged.
type Outside struct {
	Database                database.Foreign
	Public, Private, Config string // absolute folders; "" for none
	Hosts                   []string
}

// said is what the reader prints.
type said struct {
	Error    string         `json:"error"`
	Database map[string]any `json:"database"`
	Public   string         `json:"public"`
	Private  string         `json:"private"`
	Sync     string         `json:"sync"`
	BaseURL  string         `json:"base_url"`
	Sites    map[string]any `json:"sites"`
}

// ReadSettings reads what a found site's settings.php and the docroot's sites.php
// say. They are a stranger's programs: PHP runs them as the web user, where
// nothing but the code base is to be seen, nothing can be written and no network
// is there, for a few seconds at most. An Error says why they cannot be used.
func (d *Drupal) ReadSettings(ctx context.Context, site models.FoundSite) (Outside, error) {
	docroot := filepath.Join(site.Root, site.Docroot)
	res, err := d.programs.Run(ctx, run.Cmd{
		Name: "php",
		Args: []string{
			"-d", "display_errors=0", "-d", "log_errors=0", "-d", "memory_limit=128M", "-d", "allow_url_fopen=0", "-d", "auto_prepend_file=",
			"-d", "auto_append_file=", "-d", "opcache.enable_cli=0", "-d", "ffi.enable=0", "-r", strings.TrimPrefix(settingsReader, "<?php"), "--", docroot, site.Folder,
		},
		Dir: docroot, Timeout: settingsTime,
		Limits:  run.Limits{MemoryBytes: settingsMemory, FileBytes: 1 << 20, Processes: 64, OutputBytes: settingsOutput},
		Sandbox: &run.Sandbox{ReadOnly: []string{site.Root}, Network: run.NetworkNone},
	})
	if ctx.Err() != nil {
		return Outside{}, context.Cause(ctx)
	}
	where := filepath.Join(site.Docroot, "sites", site.Folder, "settings.php")
	if err != nil {
		return Outside{}, settingsFailed(where, err)
	}
	var s said
	raw, err := findJSON(res.Stdout)
	if err == nil && raw == nil {
		err = errors.New("no answer")
	}
	if err == nil {
		err = decode(raw, &s)
	}
	if err != nil {
		return Outside{}, models.Wrapf(models.Invalid, err, "%s ends PHP before its settings can be read.", where)
	}
	if s.Error != "" {
		return Outside{}, models.Errorf(models.Invalid, "%s cannot be read: %s", where, run.Clean(s.Error))
	}
	return s.outside(docroot, site.Folder)
}

func settingsFailed(where string, err error) error {
	switch {
	case errors.Is(err, run.ErrTimeout):
		return models.Wrapf(models.Invalid, err, "%s does not end within %s. It may wait for another machine, which it cannot reach from here.", where, settingsTime)
	case errors.Is(err, run.ErrOutputLimit):
		return models.Wrapf(models.Invalid, err, "%s prints without end.", where)
	}
	if _, exited := errors.AsType[*run.ExitError](err); exited {
		return models.Wrapf(models.Invalid, err, "%s fails when it is read alone, without the rest of its machine.", where)
	}
	return fmt.Errorf("read %s: %w", where, err)
}

func (s said) outside(docroot, folder string) (Outside, error) {
	db, err := s.foreign(docroot)
	if err != nil {
		return Outside{}, err
	}
	o := Outside{Database: db, Public: s.Public, Private: s.Private, Config: s.Sync}
	if o.Public == "" {
		o.Public = filepath.Join("sites", folder, "files")
	}
	for _, path := range []*string{&o.Public, &o.Private, &o.Config} {
		if strings.ContainsRune(*path, 0) {
			return Outside{}, models.Errorf(models.Invalid, "The settings name a folder that cannot be.")
		}
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(docroot, *path)
		}
	}
	o.Hosts = s.hosts(folder)
	return o, nil
}

// hosts lists the names by which the site is known, the best first.
func (s said) hosts(folder string) []string {
	var hosts []string
	add := func(name string) {
		name = strings.ToLower(name)
		if strings.Contains(name, ".") && (&models.Site{URI: name}).Validate()["uri"] == "" && !slices.Contains(hosts, name) {
			hosts = append(hosts, name)
		}
	}
	add(folder)
	base := strings.TrimPrefix(strings.TrimPrefix(s.BaseURL, "https://"), "http://")
	base, _, _ = strings.Cut(base, "/")
	base, _, _ = strings.Cut(base, ":")
	add(base)
	var aliases []string
	for name, target := range s.Sites {
		if target == folder {
			aliases = append(aliases, name)
		}
	}
	slices.Sort(aliases)
	for _, name := range aliases {
		add(name)
	}
	return hosts[:min(len(hosts), 50)]
}

func (s said) text(key string) string {
	switch v := s.Database[key].(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return ""
	}
}

func (s said) foreign(docroot string) (database.Foreign, error) {
	f := database.Foreign{Name: s.text("database"), User: s.text("username"), Password: s.text("password"), Prefix: s.text("prefix")}
	switch driver := s.text("driver"); driver {
	case "":
		return f, models.Errorf(models.Invalid, "The settings name no database. They may take it from the environment of the web server, which is not there when they are read.")
	case "sqlite":
		f.Engine, f.File, f.Name, f.User, f.Password = models.EngineSQLite, f.Name, "", "", ""
		if f.File != "" && !filepath.IsAbs(f.File) {
			f.File = filepath.Join(docroot, f.File)
		}
	case "mysql":
		f.Engine = models.EngineMySQL
	case "pgsql":
		f.Engine = models.EnginePostgres
	default:
		return f, models.Errorf(models.Invalid, "Its database is of the kind %q, which Hefring does not know.", run.Clean(driver))
	}
	if f.Name == "" && f.File == "" {
		return f, models.Errorf(models.Invalid, "The settings do not say which database it is.")
	}
	if f.Engine == models.EngineSQLite {
		return f, prefixed(f)
	}
	f.Host = s.text("host")
	if socket := s.text("unix_socket"); socket != "" {
		f.Host = socket
	}
	if f.Host == "" {
		f.Host = "localhost"
	}
	if port := s.text("port"); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 0 || n > 65535 {
			return f, models.Errorf(models.Invalid, "The settings name the port %q for the database.", run.Clean(port))
		}
		f.Port = n
	}
	return f, prefixed(f)
}

func prefixed(f database.Foreign) error {
	if f.Prefix != "" {
		return models.Errorf(models.Invalid, "The tables of its database have the prefix %q. Hefring adopts only sites with a database of their own, without a prefix.", run.Clean(f.Prefix))
	}
	return nil
}

// Peeked is what the database of a site says of it.
type Peeked struct {
	Error   string `json:"error"`
	Profile string `json:"profile"`
	Title   string `json:"title"`
	Skipped bool   `json:"-"` // the database is too large to be looked into
}

// Peek asks the database of a site that Hefring does not own for its install
// profile and its name. Of an SQLite file it looks at a copy.
func (d *Drupal) Peek(ctx context.Context, from database.Foreign) (Peeked, error) {
	question := map[string]any{
		"engine": from.Engine, "host": from.Host, "port": from.Port, "name": from.Name, "user": from.User, "password": from.Password,
	}
	sandbox := &run.Sandbox{Network: run.NetworkHost}
	if filepath.IsAbs(from.Host) {
		sandbox.ReadOnly = []string{socketFolder(from.Host)}
	}
	var files []string
	if from.Engine == models.EngineSQLite {
		sandbox.Network = run.NetworkNone
		files = []string{from.File, from.File + "-wal"}
	}
	in, done, err := peekInput(question, files)
	if errors.Is(err, errTooLarge) {
		return Peeked{Skipped: true}, nil
	}
	if err != nil {
		return Peeked{}, err
	}
	defer done()
	res, err := d.programs.Run(ctx, run.Cmd{
		Name: "php", Args: []string{"-d", "display_errors=0", "-d", "log_errors=0", "-r", strings.TrimPrefix(peeker, "<?php")},
		Stdin: in, Timeout: 30 * time.Second, Sandbox: sandbox, Limits: run.Limits{OutputBytes: settingsOutput},
	})
	if ctx.Err() != nil {
		return Peeked{}, context.Cause(ctx)
	}
	var p Peeked
	if err == nil {
		raw, failed := findJSON(res.Stdout)
		if failed == nil && raw != nil {
			failed = decode(raw, &p)
		}
		err = failed
	}
	switch {
	case err != nil:
		return p, models.Wrapf(models.Unavailable, err, "Its database cannot be looked into.")
	case p.Error != "":
		return p, models.Errorf(models.Unavailable, "Its database cannot be read: %s", strings.TrimSpace(run.Clean(hidden(p.Error, from.Password))))
	}
	return p, nil
}

func hidden(text, password string) string {
	if password == "" {
		return text
	}
	return strings.ReplaceAll(text, password, "[hidden]")
}

func socketFolder(host string) string {
	if info, err := os.Stat(host); err == nil && info.IsDir() {
		return host
	}
	return filepath.Dir(host)
}

var errTooLarge = errors.New("too large")

// peekInput is the question, and after it each file, all with their length in
// front.
func peekInput(question map[string]any, files []string) (in io.Reader, done func(), err error) {
	text, err := json.Marshal(question)
	if err != nil {
		return nil, nil, err
	}
	parts := []io.Reader{framed(int64(len(text))), bytes.NewReader(text)}
	var opened []*os.File
	done = func() {
		for _, f := range opened {
			_ = f.Close()
		}
	}
	var total int64
	for _, name := range files {
		file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0) //nolint:gosec // found in the code base
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, "-wal") {
			parts = append(parts, framed(0))
			continue
		}
		if err != nil {
			done()
			return nil, nil, models.Wrapf(models.Unavailable, err, "Its database %s cannot be opened.", name)
		}
		opened = append(opened, file)
		info, err := file.Stat()
		if err != nil || !info.Mode().IsRegular() {
			done()
			return nil, nil, models.Wrapf(models.Invalid, err, "Its database %s is not a plain file.", name)
		}
		if total += info.Size(); total > peekBytes {
			done()
			return nil, nil, errTooLarge
		}
		parts = append(parts, framed(info.Size()), io.LimitReader(file, info.Size()))
	}
	return io.MultiReader(parts...), done, nil
}

func framed(n int64) io.Reader {
	return bytes.NewReader(binary.BigEndian.AppendUint64(nil, uint64(n))) //nolint:gosec // a length
}
