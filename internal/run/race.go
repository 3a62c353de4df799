//go:build race

package run

// instrumented keeps the race detector from having every bridge, which is a program
// like this one, wait for a second before it ends. See GORACE in
// https://go.dev/doc/articles/race_detector.
func instrumented() []string { return []string{"GORACE=atexit_sleep_ms=0"} }
