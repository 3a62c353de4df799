package pages

import (
	"time"

	"hefring/plugins"
	"hefring/templates/components"
)

// units are what an interval is typed in.
func units() []plugins.Option {
	return []plugins.Option{
		{Value: "s", Label: "seconds"}, {Value: "m", Label: "minutes"}, {Value: "h", Label: "hours"}, {Value: "d", Label: "days"},
	}
}

// UnitLength is how long a unit of a form is; 0 for an unknown one.
func UnitLength(unit string) time.Duration {
	switch unit {
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return 24 * time.Hour
	default:
		return 0
	}
}

// SplitEvery writes an interval as a number of the largest unit that fits.
func SplitEvery(every time.Duration) (n int64, unit string) {
	for _, unit := range []string{"d", "h", "m"} {
		if length := UnitLength(unit); every >= length && every%length == 0 {
			return int64(every / length), unit
		}
	}
	return int64(every / time.Second), "s"
}

// EveryText is an interval for people: 5 min.
func EveryText(every time.Duration) string {
	n, unit := SplitEvery(every)
	switch unit {
	case "d":
		return components.Count(n, "day", "days")
	case "h":
		return components.Count(n, "hour", "hours")
	case "m":
		return components.Figure(n) + " min"
	default:
		return components.Figure(n) + " s"
	}
}
