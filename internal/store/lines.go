package store

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"hefring/models"
)

// Limits of a task's log. What is beyond them is not stored, and the log says
// so.
const (
	MaxLines     = 20_000   // of one task
	MaxLineBytes = 8 * 1024 // of one line
)

const (
	cutMark  = " … (line cut)"
	cutLines = "The log ends here: a task keeps 20,000 lines. The task itself goes on."
)

// AppendLines adds lines to the logs of their tasks, in order, and wakes those
// who follow them.
func (s *Store) AppendLines(ctx context.Context, lines []models.TaskLine) error {
	return s.atomic(ctx, func(tx *Store) error {
		for len(lines) > 0 {
			n := 1
			for n < len(lines) && lines[n].TaskID == lines[0].TaskID {
				n++
			}
			if err := tx.appendTo(ctx, lines[0].TaskID, lines[:n]); err != nil {
				return err
			}
			lines = lines[n:]
		}
		return nil
	})
}

// appendTo adds lines of one task. Counting them first locks the task's row, so
// that the ids of two writers' lines rise in the order of their commits and a
// follower misses none.
func (s *Store) appendTo(ctx context.Context, taskID int64, lines []models.TaskLine) error {
	var counts []int
	err := s.with(ctx).Raw("UPDATE tasks SET line_count = line_count + ? WHERE id = ? RETURNING line_count", len(lines), taskID).
		Scan(&counts).Error
	if err != nil {
		return fmt.Errorf("count lines of task %d: %w", taskID, err)
	}
	if len(counts) == 0 {
		return missing("task", taskID)
	}
	before := counts[0] - len(lines)
	if before > MaxLines {
		return nil
	}
	kept := make([]models.TaskLine, 0, len(lines)+1)
	for _, line := range lines[:min(len(lines), MaxLines-before)] {
		kept = append(kept, tidyLine(line))
	}
	if len(kept) < len(lines) {
		last := tidyLine(lines[len(kept)])
		last.Level, last.Text = models.LevelWarn, cutLines
		kept = append(kept, last)
	}
	if err := s.with(ctx).CreateInBatches(&kept, 500).Error; err != nil {
		return fmt.Errorf("store lines of task %d: %w", taskID, err)
	}
	return s.wake(ctx, taskID)
}

// tidyLine makes one line fit: valid, without an end of line, not too long.
func tidyLine(line models.TaskLine) models.TaskLine {
	line.ID = 0
	if line.At.IsZero() {
		line.At = now()
	}
	if line.Level == "" {
		line.Level = models.LevelInfo
	}
	text := strings.TrimRight(tidyText(line.Text), "\r\n")
	if len(text) > MaxLineBytes {
		cut := MaxLineBytes - len(cutMark)
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + cutMark
	}
	line.Text = text
	return line
}

// Lines gives at most limit lines of a task's log that come after the line with
// id after, oldest first.
func (s *Store) Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error) {
	var lines []models.TaskLine
	err := s.with(ctx).Where("task_id = ? AND id > ?", taskID, after).Order("id").Limit(limit).Find(&lines).Error
	if err != nil {
		return nil, fmt.Errorf("read log of task %d: %w", taskID, err)
	}
	return lines, nil
}
