package plugins

import (
	"fmt"
	"io"
)

// Logf writes one line for people to the live log. A log that fails does not
// stop the work.
func Logf(env Env, format string, args ...any) {
	if env.Log != nil {
		_, _ = io.WriteString(env.Log, fmt.Sprintf(format, args...)+"\n")
	}
}
