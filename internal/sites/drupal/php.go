package drupal

import (
	"fmt"
	"strconv"
	"strings"

	"hefring/internal/sites/database"
)

// literal writes a value as PHP source. Strings are single-quoted, where PHP
// knows only two escapes.
func literal(value any) (string, error) { return indented(value, "") }

// indented writes a value whose first line is indented already.
func indented(value any, indent string) (string, error) {
	switch v := value.(type) {
	case string:
		return quote(v), nil
	case bool:
		return strings.ToUpper(strconv.FormatBool(v)), nil
	case int:
		return strconv.Itoa(v), nil
	case []string:
		return list(v), nil
	case database.Settings:
		return array(v, indent)
	default:
		return "", fmt.Errorf("write %T as PHP: no such literal", value)
	}
}

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func list(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func array(settings database.Settings, indent string) (string, error) {
	var b strings.Builder
	b.WriteString("[\n")
	for _, s := range settings {
		text, err := indented(s.Value, indent+"  ")
		if err != nil {
			return "", fmt.Errorf("setting %s: %w", s.Key, err)
		}
		b.WriteString(indent + "  " + quote(s.Key) + " => " + text + ",\n")
	}
	b.WriteString(indent + "]")
	return b.String(), nil
}
