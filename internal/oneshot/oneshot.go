// Package oneshot checks and builds a source once, as the fleet does it but
// without a database: for the command line, where people find out what is wrong
// with a source.
package oneshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

// Config is what a Workshop may use.
type Config struct {
	Types     *plugins.Registry
	Run       *run.Runner
	Egress    *egress.Guard
	Tools     map[string]string // versions of tools that change what a build gives
	Log       io.Writer         // lines for people
	Forbidden []string          // folders of the control plane that no source may lie in or around
}

// Workshop checks and builds.
type Workshop struct{ config Config }

// New makes a Workshop.
func New(c Config) *Workshop { return &Workshop{c} }

// Request names a source.
type Request struct {
	Type     string
	Settings models.Settings // secrets included
	Folder   string          // what a plugins.Registrar registers
}

// ErrSettings is wrapped by errors about the request itself.
var ErrSettings = errors.New("wrong settings")

// Report is what a check found and, after a build, what was made.
type Report struct {
	Type     string           `json:"type"`
	Revision string           `json:"revision"`
	Content  string           `json:"content"`
	BuildKey string           `json:"build_key"`
	Label    string           `json:"label"`
	Note     string           `json:"note,omitempty"`
	Security bool             `json:"security,omitempty"`
	Facts    []models.Fact    `json:"facts,omitempty"`
	Hold     *Hold            `json:"hold,omitempty"`
	Findings []models.Finding `json:"findings,omitempty"`
	Cost     Cost             `json:"cost"`
	Built    *Built           `json:"built,omitempty"`
}

// Hold says why the fleet would ask a person before it builds the version.
type Hold struct {
	Reason  models.Reason `json:"reason"`
	Message string        `json:"message"`
}

// Cost is what the answer took.
type Cost struct {
	Requests int64   `json:"requests"`
	Bytes    int64   `json:"bytes"` // received
	Seconds  float64 `json:"seconds"`
}

// Check looks at the source as if for the first time.
func (w *Workshop) Check(ctx context.Context, r Request) (Report, error) {
	job, err := w.begin(r)
	if err != nil {
		return Report{}, err
	}
	box, err := os.MkdirTemp("", "hefring-check-")
	if err != nil {
		return Report{}, fmt.Errorf("make scratch folder: %w", err)
	}
	defer job.remove(box)
	if err := job.furnish(box); err != nil {
		return Report{}, err
	}
	if _, err := job.look(ctx); err != nil {
		return Report{}, err
	}
	if assessor, ok := job.source.(plugins.Assessor); ok {
		lists, err := assessor.Assess(ctx, job.env, []plugins.Version{job.version})
		if err != nil {
			return Report{}, err
		}
		for _, list := range lists {
			job.report.Findings = append(job.report.Findings, list...)
		}
	}
	return job.finish(), nil
}

// job is one request being served.
type job struct {
	workshop *Workshop
	request  Request
	source   plugins.Source
	meter    *egress.Meter
	start    time.Time
	env      plugins.Env
	version  plugins.Version
	report   Report
}

func (w *Workshop) begin(r Request) (*job, error) {
	plugin, err := w.config.Types.Get(r.Type)
	if err != nil {
		return nil, errors.Join(err, ErrSettings)
	}
	source, err := plugin.Open(r.Settings)
	if err != nil {
		return nil, errors.Join(err, ErrSettings)
	}
	if _, byHand := source.(plugins.Registrar); byHand != (r.Folder != "") {
		message := "This update type builds from its source. Leave out the folder."
		if byHand {
			message = "This update type registers folders. Name one with --folder."
		}
		return nil, errors.Join(models.InvalidField("folder", message), ErrSettings)
	}
	j := &job{workshop: w, request: r, source: source, meter: new(egress.Meter), start: time.Now()}
	j.report.Type = r.Type
	return j, nil
}

// furnish makes the folders of a source in box and hands them to the user that
// builds run as, who may pass through box.
func (j *job) furnish(box string) error {
	c := j.workshop.config
	j.env = plugins.Env{
		Run: c.Run, Egress: c.Egress.Metered(j.meter), Log: c.Log, Forbidden: c.Forbidden, Local: true,
		Scratch: filepath.Join(box, "scratch"), Cache: filepath.Join(box, "cache"), Answers: new(plugins.Answers),
	}
	if err := os.Chmod(box, 0o711); err != nil { //nolint:gosec // builds are another user
		return fmt.Errorf("make scratch folder: %w", err)
	}
	for _, dir := range []string{j.env.Scratch, j.env.Cache} {
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as in the data folder
			return fmt.Errorf("make scratch folder: %w", err)
		}
		if err := c.Run.Chown(dir); err != nil {
			return fmt.Errorf("hand over scratch folder: %w", err)
		}
	}
	return nil
}

func (j *job) remove(box string) {
	if err := os.RemoveAll(box); err != nil {
		plugins.Logf(j.env, "The folder %s could not be removed: %v", box, err)
	}
}

// look finds the version and describes it.
func (j *job) look(ctx context.Context) (plugins.Version, error) {
	var err error
	if registrar, byHand := j.source.(plugins.Registrar); byHand {
		j.version, err = registrar.Register(ctx, j.env, j.request.Folder)
	} else {
		j.version, err = j.source.Check(ctx, j.env, plugins.Version{})
	}
	if err != nil {
		return plugins.Version{}, err
	}
	v, r := j.version, &j.report
	r.Revision, r.Content, r.Label, r.Note = v.Revision, v.Content, v.Label, v.Note
	r.Security, r.Facts = v.Security, v.Facts
	if v.Hold != nil {
		r.Hold = &Hold{v.Hold.Reason, v.Hold.Message}
	}
	if r.BuildKey, err = j.buildKey(); err != nil {
		return plugins.Version{}, err
	}
	return v, nil
}

// buildKey is the one of a distribution with these settings.
func (j *job) buildKey() (string, error) {
	plugin, err := j.workshop.config.Types.Get(j.request.Type)
	if err != nil {
		return "", err
	}
	shaping := plugins.Shaping(plugin.Fields(), j.request.Settings)
	return models.BuildKey(j.request.Type, shaping, j.version.Content, j.workshop.config.Tools), nil
}

func (j *job) finish() Report {
	j.report.Cost = Cost{Requests: j.meter.Requests(), Bytes: j.meter.Received(), Seconds: time.Since(j.start).Seconds()}
	return j.report
}
