package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"hefring/internal/fleet"
	"hefring/models"
)

// Through gives the same store, whose changes are recorded as coming from there.
func (s *Store) Through(from models.Entrance) fleet.Store { return s.throughDoor(from) }

func (s *Store) throughDoor(from models.Entrance) *Store {
	through := *s
	through.entrance = from
	return &through
}

// RecordEvent adds a line to the record of changes. At is set when it is zero, and
// where it comes from is what Through said.
func (s *Store) RecordEvent(ctx context.Context, e models.Event) error {
	if e.At.IsZero() {
		e.At = now()
	}
	if e.Door == "" {
		e.Door, e.Address, e.Token = s.entrance.Door, s.entrance.Address, s.entrance.Token
	}
	if err := s.with(ctx).Create(&e).Error; err != nil {
		return fmt.Errorf("record event %s: %w", e.Verb, err)
	}
	return nil
}

// RecordEdit is RecordEvent for an edit, which is none when it leaves everything as it
// was: the record says nothing of who presses twice.
func (s *Store) RecordEdit(ctx context.Context, e models.Event) error {
	if len(e.Changes) == 0 {
		return nil
	}
	return s.RecordEvent(ctx, e)
}

func (s *Store) event(ctx context.Context, by, verb string, subject models.Subject, text string) error {
	return s.RecordEvent(ctx, models.Event{Actor: by, Verb: verb, Subject: subject, Text: text})
}

// eventOrder is that of the record: newest first.
const eventOrder = "at DESC, id DESC"

// searchedAtOnce is how many lines one page looks through, so that it answers soon
// however long the record is. SQLite goes through them half as fast.
func (s *Store) searchedAtOnce() int {
	if s.engine.pool() == nil {
		return 5_000
	}
	return 10_000
}

// Events gives one page of the record of changes, newest first.
func (s *Store) Events(ctx context.Context, f fleet.EventFilter) (fleet.EventPage, error) {
	query, err := s.events(ctx, f)
	if err != nil {
		return fleet.EventPage{}, err
	}
	ways := narrowings(f)
	if len(ways) > 0 && ways[0].indexed {
		query, ways = ways[0].of(query), ways[1:]
	}
	var edge int64
	if len(ways) > 0 {
		if query, edge, err = s.lookedThrough(query.Session(&gorm.Session{})); err != nil {
			return fleet.EventPage{}, err
		}
	}
	for _, way := range ways {
		query = way.of(query)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = fleet.DefaultRows
	}
	limit = min(limit, fleet.MaxEvents)
	var list []models.Event
	if err := query.Order(eventOrder).Limit(limit + 1).Find(&list).Error; err != nil {
		return fleet.EventPage{}, fmt.Errorf("list events: %w", err)
	}
	page := fleet.EventPage{Next: edge}
	if len(list) > limit {
		list = list[:limit]
		page.Next = list[limit-1].ID
	}
	page.Rows, err = s.nameEvents(ctx, list)
	return page, err
}

// narrowing is one condition that a filter sets.
type narrowing struct {
	where   string
	values  []any
	indexed bool // an index gives just these lines in the record's order
}

func (n narrowing) of(query *gorm.DB) *gorm.DB { return query.Where(n.where, n.values...) }

// narrowings are the conditions of a filter, which leave few lines first. An index
// gives what fits one of them; what fits the others, too, has to be looked for
// there, and conditions that are each common may together leave nothing.
func narrowings(f fleet.EventFilter) (list []narrowing) {
	kind, id := string(f.Subject.Kind), f.Subject.ID
	if id != 0 && kind != "" {
		list = append(list, narrowing{"subject_kind = ? AND subject_id = ?", []any{kind, id}, true})
		kind, id = "", 0
	}
	for _, column := range []struct{ name, value string }{
		{"address", f.Address}, {"verb", f.Verb}, {"actor", f.Actor}, {"subject_kind", kind}, {"door", string(f.Door)},
	} {
		if column.value != "" {
			list = append(list, narrowing{column.name + " = ?", []any{column.value}, true})
		}
	}
	if id != 0 {
		list = append(list, narrowing{"subject_id = ?", []any{id}, false})
	}
	if f.Query != "" {
		list = append(list, narrowing{`LOWER(text || ' ' || COALESCE(changes, '')) LIKE ? ESCAPE '\'`, []any{contains(f.Query)}, false})
	}
	return list
}

// events asks for the part of the record that a filter speaks of, by time and page.
func (s *Store) events(ctx context.Context, f fleet.EventFilter) (*gorm.DB, error) {
	query := s.anew(ctx).Model(&models.Event{})
	if !f.Since.IsZero() {
		query = query.Where("at >= ?", f.Since.UTC())
	}
	if !f.Until.IsZero() {
		query = query.Where("at < ?", f.Until.UTC())
	}
	if f.Before == 0 {
		return query, nil
	}
	var last models.Event
	err := s.with(ctx).Select("id", "at").Where("id = ?", f.Before).Take(&last).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, models.InvalidField("before", "There is no such event. Begin with the first page.")
	}
	if err != nil {
		return nil, fmt.Errorf("load event %d: %w", f.Before, err)
	}
	return query.Where("(at, id) < (?, ?)", last.At.UTC(), last.ID), nil
}

// lookedThrough narrows a query to the lines that are looked through at once. edge is
// the last of these; 0: the record ends before.
func (s *Store) lookedThrough(query *gorm.DB) (narrowed *gorm.DB, edge int64, err error) {
	var last struct {
		ID int64
		At time.Time
	}
	err = query.Select("id", "at").Order(eventOrder).Offset(s.searchedAtOnce() - 1).Take(&last).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return query, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("search events: %w", err)
	}
	return query.Where("(at, id) >= (?, ?)", last.At.UTC(), last.ID), last.ID, nil
}

// named is where what an event speaks of has its name: table and column.
func named() map[models.SubjectKind][2]string {
	return map[models.SubjectKind][2]string{
		models.SubjectSite: {"sites", "uri"}, models.SubjectQuestion: {"sites", "uri"}, models.SubjectNewcomer: {"sites", "uri"}, models.SubjectDistribution: {"distributions", "name"}, models.SubjectTarget: {"distributions", "name"},
		models.SubjectPlatform: {"platforms", "name"}, models.SubjectUser: {"users", "name"}, models.SubjectClient: {"clients", "name"},
		models.SubjectServer: {"database_servers", "name"}, models.SubjectChannel: {"channels", "name"},
	}
}

// SubjectName is what people call a subject. NotFound: it is gone, or of a kind that
// has no names.
func (s *Store) SubjectName(ctx context.Context, subject models.Subject) (string, error) {
	names, err := s.names(ctx, map[models.SubjectKind][]int64{subject.Kind: {subject.ID}})
	if err != nil {
		return "", err
	}
	name, found := names[subject]
	if !found {
		return "", missing(string(subject.Kind), subject.ID)
	}
	return name, nil
}

// names gives the names of what has one, in one question.
func (s *Store) names(ctx context.Context, ids map[models.SubjectKind][]int64) (map[models.Subject]string, error) {
	var parts []string
	var args []any
	from := named()
	for _, kind := range slices.Sorted(maps.Keys(from)) {
		if len(ids[kind]) > 0 {
			parts = append(parts, "SELECT '"+string(kind)+"' AS kind, id, "+from[kind][1]+" AS name FROM "+from[kind][0]+" WHERE id IN ?")
			args = append(args, ids[kind])
		}
	}
	names := map[models.Subject]string{}
	if len(parts) == 0 {
		return names, nil
	}
	var found []struct {
		Kind models.SubjectKind
		ID   int64
		Name string
	}
	if err := s.with(ctx).Raw(strings.Join(parts, " UNION ALL "), args...).Scan(&found).Error; err != nil {
		return nil, fmt.Errorf("name subjects: %w", err)
	}
	for _, one := range found {
		names[models.Subject{Kind: one.Kind, ID: one.ID}] = one.Name
	}
	return names, nil
}

// nameEvents adds the names of what events speak of.
func (s *Store) nameEvents(ctx context.Context, list []models.Event) ([]fleet.EventRow, error) {
	ids := map[models.SubjectKind][]int64{}
	for _, e := range list {
		ids[e.Kind] = append(ids[e.Kind], e.Subject.ID)
	}
	names, err := s.names(ctx, ids)
	if err != nil {
		return nil, err
	}
	rows := make([]fleet.EventRow, len(list))
	for i, e := range list {
		rows[i] = fleet.EventRow{Event: e, Name: names[e.Subject]}
	}
	return rows, nil
}
