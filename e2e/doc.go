// Package e2e holds the end-to-end tests: the real binary with real git, PHP,
// nginx and databases, driven through a real browser. It has no code of its own.
//
// With HEFRING_SCREENSHOTS=<folder> the tests keep a picture of every page that
// they visit, wide and narrow, light and dark.
package e2e
