//go:build race

package main

// raced tells whether the race detector looks, with which all takes several times as
// long.
const raced = true
