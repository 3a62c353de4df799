package composer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins/composer/repository"
)

const (
	maxManifest = 1 << 20  // bytes of composer.json
	maxLock     = 16 << 20 // bytes of composer.lock
	maxLocked   = 2000     // packages in composer.lock
)

// lock is what counts of a composer.lock.
type lock struct {
	Packages  []locked        `json:"packages"`
	Minimum   string          `json:"minimum-stability"`
	RawFlags  json.RawMessage `json:"stability-flags"` // [] when empty, as PHP writes it
	ForDev    []locked        `json:"packages-dev"`
	unstable  map[string]int  // RawFlags: 20 for dev
	encoded   []byte          // the file
	canonical string          // digest of what a build takes from it
}

// locked is one package of a composer.lock.
type locked struct {
	Name      string           `json:"name"`
	Version   string           `json:"version"`
	Type      string           `json:"type"`
	Dist      *repository.Dist `json:"dist"`
	Source    *repository.Dist `json:"source"`
	Bin       json.RawMessage  `json:"bin"`
	Abandoned any              `json:"abandoned"`
}

func (l locked) dist() repository.Dist {
	if l.Dist == nil {
		return repository.Dist{}
	}
	return *l.Dist
}

func (l locked) source() repository.Dist {
	if l.Source == nil {
		return repository.Dist{}
	}
	return *l.Source
}

// abandoned tells whether nobody cares for the package any more, and what its
// makers name instead.
func (l locked) abandoned() (replacement string, is bool) {
	switch value := l.Abandoned.(type) {
	case bool:
		return "", value
	case string:
		return value, value != ""
	}
	return "", false
}

// readLock reads a composer.lock and refuses what reaches out of the project.
// Everything in it was written by others.
func readLock(text []byte, plain map[string]bool) (*lock, error) {
	l := &lock{encoded: text}
	if err := json.Unmarshal(text, l); err != nil {
		return nil, models.Wrapf(models.Invalid, err, "composer.lock is not valid. Its package must be mended by its makers.").Because(models.ReasonMalformed)
	}
	if len(l.Packages)+len(l.ForDev) > maxLocked {
		return nil, models.Errorf(models.Invalid, "The project needs %d packages, and at most %d are accepted.", len(l.Packages)+len(l.ForDev), maxLocked).
			Because(models.ReasonTooLarge)
	}
	if strings.HasPrefix(strings.TrimSpace(string(l.RawFlags)), "{") {
		if err := json.Unmarshal(l.RawFlags, &l.unstable); err != nil {
			return nil, models.Wrapf(models.Invalid, err, "composer.lock is not valid.").Because(models.ReasonMalformed)
		}
	}
	for _, p := range slices.Concat(l.Packages, l.ForDev) {
		if err := p.check(plain); err != nil {
			return nil, models.Wrapf(models.Invalid, err, "The package %.100s %.60s is not accepted: %s.", run.Clean(p.Name), run.Clean(p.Version), err.Error()).
				Because(models.ReasonVerification)
		}
	}
	slices.SortFunc(l.Packages, func(a, b locked) int { return strings.Compare(a.Name, b.Name) })
	l.canonical = l.digest()
	return l, nil
}

// digest covers exactly what is installed.
func (l *lock) digest() string {
	var texts []string
	for _, p := range l.Packages {
		d, s := p.dist(), p.source()
		texts = append(texts, p.Name, p.Version, d.Type, d.URL, d.Reference, d.Shasum, s.Type, s.URL, s.Reference)
	}
	return digest(texts...)
}

// check refuses a package that would take code from elsewhere than a web server
// or the project itself, or put programs elsewhere than into the project.
func (l locked) check(plain map[string]bool) error {
	if !repository.ValidName(strings.ToLower(l.Name)) {
		return errors.New("its name is not one of a package")
	}
	if l.Type == "metapackage" {
		return nil
	}
	if l.Dist == nil && l.Source == nil {
		return errors.New("it says nowhere where its code is")
	}
	if err := checkCode(l.dist(), plain); err != nil {
		return err
	}
	if err := checkCode(l.source(), plain); err != nil {
		return err
	}
	return checkPrograms(l.Bin)
}

// checkCode refuses places of code that are not on a web server; "path" is a
// folder of the project.
func checkCode(d repository.Dist, plain map[string]bool) error {
	switch d.Type {
	case "":
		return nil
	case "path":
		if !inside(d.URL) {
			return errors.New("its code is in a folder outside of the project")
		}
		return nil
	case "zip", "tar", "gzip", "xz", "rar", "phar", "file", "git":
	default:
		return fmt.Errorf("its code comes by way of %.20q, which is not supported", d.Type)
	}
	u, err := url.Parse(d.URL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return errors.New("its code is at an address that is neither https nor http")
	case u.Scheme == "http" && !plain[strings.ToLower(u.Hostname())]:
		return fmt.Errorf("its code is at http://%s, where nothing protects it on the way", run.Clean(u.Host))
	case u.User != nil:
		return errors.New("the address of its code has a user or a password in it")
	}
	return nil
}

// checkPrograms looks at “bin”: Composer links to these files and makes them
// executable.
func checkPrograms(text json.RawMessage) error {
	var list []string
	var one string
	switch {
	case len(text) == 0 || string(text) == "null":
		return nil
	case json.Unmarshal(text, &one) == nil:
		list = []string{one}
	case json.Unmarshal(text, &list) != nil:
		return errors.New("its list of programs (bin) is malformed")
	}
	for _, program := range list {
		if !inside(program) {
			return fmt.Errorf("it names a program outside of itself (bin: %.60q)", program)
		}
	}
	return nil
}

// inside tells whether a path stays where it is relative to.
func inside(name string) bool {
	if name == "" || path.IsAbs(name) || strings.ContainsAny(name, "\\\x00") || strings.Contains(name, "://") {
		return false
	}
	return !slices.Contains(strings.Split(name, "/"), "..")
}

// manifest is what counts of a composer.json.
type manifest struct {
	Repositories json.RawMessage `json:"repositories"`
	Minimum      string          `json:"minimum-stability"`
	Config       json.RawMessage `json:"config"`

	composers []string // addresses of its Composer repositories
	hosts     []string // of its other repositories
	packagist bool     // it does not leave packagist.org out
	weak      bool     // it changes how connections are protected
	vendor    string   // folder of the packages
}

// readManifest reads a composer.json and refuses repositories that are no web
// servers.
func readManifest(text []byte) (*manifest, error) {
	m := &manifest{packagist: true, vendor: "vendor"}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, models.Wrapf(models.Invalid, err, "composer.json is not valid. Its package must be mended by its makers.").Because(models.ReasonMalformed)
	}
	if err := m.readConfig(); err != nil {
		return nil, err
	}
	if !inside(m.vendor) {
		return nil, refused("vendor-dir leads out of the project")
	}
	list, err := repositoryList(m.Repositories)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if err := m.add(r); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *manifest) readConfig() error {
	if !strings.HasPrefix(strings.TrimSpace(string(m.Config)), "{") { // absent, or an empty list as PHP writes it
		return nil
	}
	var config map[string]any
	if err := json.Unmarshal(m.Config, &config); err != nil {
		return refused("its config is malformed")
	}
	if vendor, ok := config["vendor-dir"]; ok {
		if m.vendor, ok = vendor.(string); !ok {
			return refused("vendor-dir is malformed")
		}
	}
	for _, name := range []string{"secure-http", "disable-tls", "cafile", "capath"} {
		if _, set := config[name]; set {
			m.weak = true
		}
	}
	return nil
}

func refused(format string, args ...any) error {
	return models.Errorf(models.Invalid, "The composer.json of the project is not accepted: %s.", fmt.Sprintf(format, args...)).
		Because(models.ReasonVerification)
}

// repositoryList reads “repositories”, which is a list, or a map of names.
func repositoryList(text json.RawMessage) ([]json.RawMessage, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(text, &list) == nil {
		return list, nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	if brace, err := decoder.Token(); err != nil || brace != json.Delim('{') {
		return nil, refused("its repositories are malformed")
	}
	for decoder.More() {
		name, err := decoder.Token()
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			return nil, refused("its repositories are malformed")
		}
		if string(value) == "false" {
			text, err := json.Marshal(map[string]any{fmt.Sprint(name): false})
			if err != nil {
				return nil, refused("its repositories are malformed")
			}
			value = text
		}
		list = append(list, value)
	}
	return list, nil
}

func (m *manifest) add(text json.RawMessage) error {
	var r map[string]any
	if err := json.Unmarshal(text, &r); err != nil {
		return refused("its repositories are malformed")
	}
	if r["packagist.org"] == false || r["packagist"] == false {
		m.packagist = false
		return nil
	}
	m.weak = m.weak || r["options"] != nil
	kind, _ := r["type"].(string)
	at, _ := r["url"].(string)
	switch kind {
	case "package": // what it names is looked at in composer.lock
		return nil
	case "path", "artifact":
		if !inside(at) {
			return refused("it names the folder %.60q, which is not in the project, as a repository", at)
		}
		return nil
	case "composer", "vcs", "git", "github", "gitlab", "bitbucket", "git-bitbucket", "forgejo":
	default:
		return refused("repositories of type %.20q are not supported", kind)
	}
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return refused("the repository %.80q is not on a web server", at)
	}
	if kind == "composer" {
		m.composers = append(m.composers, address(u))
	} else {
		m.hosts = append(m.hosts, strings.ToLower(u.Hostname()))
	}
	return nil
}

// onlyArchives takes the repositories out of a composer.lock where there is an
// archive as well: when that cannot be had, Composer would try git instead.
func onlyArchives(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var file map[string]any
	if err := decoder.Decode(&file); err != nil {
		return text, nil //nolint:nilerr // readLock says what is wrong
	}
	for _, key := range []string{"packages", "packages-dev"} {
		list, _ := file[key].([]any)
		for _, one := range list {
			if p, ok := one.(map[string]any); ok && p["dist"] != nil {
				delete(p, "source")
			}
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(file); err != nil {
		return nil, fmt.Errorf("write composer.lock: %w", err)
	}
	return out.Bytes(), nil
}

// checkCredential refuses what would give the credential away: changed protection
// of connections, and code that only git could fetch with it. Composer puts it into
// git's arguments, where every user of this machine could read it.
func (s source) checkCredential(m *manifest, packages []locked) error {
	if s.token == "" {
		return nil
	}
	host := strings.ToLower(s.home.Hostname())
	if m != nil && m.weak {
		return refused("it changes how connections are protected (secure-http, disable-tls, cafile, capath or options of a repository), which is not allowed where a credential is used")
	}
	if m != nil && slices.Contains(m.hosts, host) {
		return refused("it names a git repository on %s. With a credential only archives are fetched from there: have the Composer repository offer the package", host)
	}
	for _, p := range packages {
		u, err := url.Parse(p.source().URL)
		if p.Dist == nil && p.Source != nil && (err != nil || strings.EqualFold(u.Hostname(), host)) {
			return models.Errorf(models.Invalid, "%s has no archive, and with a credential Hefring fetches only archives from %s. Have the Composer repository offer one.", p.Name, host).
				Because(models.ReasonVerification)
		}
	}
	return nil
}

// readFile reads a file of the project, which others wrote; nil when there is
// none.
func readFile(dir, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open project: %w", err)
	}
	defer func() { _ = root.Close() }()
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, models.Errorf(models.Invalid, "%s of the project is no ordinary file of at most %d bytes.", name, limit).Because(models.ReasonTooLarge)
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil || int64(len(text)) > limit {
		return nil, fmt.Errorf("read %s: %w", name, errors.Join(err, errors.New("it changed meanwhile")))
	}
	return text, nil
}
