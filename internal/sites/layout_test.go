package sites_test

import (
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites"
)

func TestLayout_Owner(t *testing.T) {
	web := &run.Identity{UID: 33, GID: 33}
	shared := sites.Layout{Root: "/data/sites"}
	if shared.User(7) != 0 || shared.Owner(7, web) != web || shared.Owner(7, nil) != nil {
		t.Error("without users per site, sites are the web user's")
	}
	own := sites.Layout{Root: "/data/sites", FirstUser: 200000}
	if id := own.Owner(7, web); own.User(7) != 200007 || id.UID != 200007 || id.GID != 200007 {
		t.Errorf("got %d and %+v", own.User(7), id)
	}
}
