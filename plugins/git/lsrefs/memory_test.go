package lsrefs

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func newMemory(size int) *memory { return &memory{size: size, known: map[string]handshake{}} }

func TestMemory_Recall_Ages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(10)
		m.remember("new", handshake{format: "sha1"})
		m.remember("old", handshake{old: true})
		has := func(base string) bool { _, ok := m.recall(base); return ok }
		if !has("new") || !has("old") || has("other") {
			t.Fatal("what was remembered is not recalled")
		}
		time.Sleep(rememberOld + time.Second) // the clock of synctest
		if !has("new") || has("old") {
			t.Error("an old server is asked again after an hour")
		}
		time.Sleep(rememberNew)
		if has("new") {
			t.Error("every server is asked again after a day")
		}
	})
}

func TestMemory_Remember_MakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(3)
		for i := range 10 {
			m.remember(strconv.Itoa(i), handshake{})
			if len(m.known) > 3 {
				t.Fatalf("%d entries", len(m.known))
			}
			if _, ok := m.recall(strconv.Itoa(i)); !ok {
				t.Fatalf("%d is not remembered", i)
			}
		}
		time.Sleep(2 * rememberNew) // the clock of synctest
		m.remember("x", handshake{})
		if len(m.known) != 1 {
			t.Errorf("%d entries, of which only one is young", len(m.known))
		}
		m.forget("x")
		if len(m.known) != 0 {
			t.Error("not forgotten")
		}
	})
}
