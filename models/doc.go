// Package models is the language of the fleet: distributions, platforms, sites,
// upgrades and tasks, their states, which state may follow which, and the rules
// that need no look outside. It uses the standard library only and does no I/O;
// the gorm tags are strings.
package models
