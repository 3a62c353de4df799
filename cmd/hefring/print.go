package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// yes says yes or no.
func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// stamp is a moment as lists show it; "" for none.
func stamp(at *time.Time) string {
	if at == nil || at.IsZero() {
		return ""
	}
	return at.Format(time.DateTime)
}

// day is a moment's day; "" for none.
func day(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(time.DateOnly)
}

// nonzero leaves a zero out.
func nonzero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func days(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("after %d days", n)
}

// single prints a word that is all there is to say, as JSON an object with it alone.
func (c *act) single(name, text string) error {
	if c.JSON {
		return printJSON(os.Stdout, map[string]string{name: text})
	}
	printTo(os.Stdout, "%s", text)
	return nil
}

// fact is one line about something.
type fact struct {
	name  string
	value any
}

// facts prints lines about one thing, or all of it as JSON. What is empty is left
// out.
func (c *act) facts(whole any, lines []fact) error {
	if c.JSON {
		return printJSON(os.Stdout, whole)
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, one := range lines {
		if text := fmt.Sprint(one.value); text != "" {
			printTo(out, "%s\t%s", one.name, strings.ReplaceAll(text, "\n", " "))
		}
	}
	return out.Flush()
}
