package e2e_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A part of the torture that make torture does in full: each victim and each
// database at least once, the rest as the seed wills.
func TestTorture_Sample(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("HEFRING_TORTURE_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("HEFRING_TORTURE_SEED=%d", seed)
	b := &book{from: time.Now()}
	t.Run("lanes", func(t *testing.T) {
		for lane, list := range sample(rand.New(rand.NewPCG(seed, 4))) {
			t.Run(lane, func(t *testing.T) {
				t.Parallel()
				b.add(newLane(t, list[0].engine, list[0].mode, 1).torture(t, list, seed, time.Now().Add(time.Hour)))
			})
		}
	})
	t.Log("\n" + b.table())
}

// sample chooses runs by lane: three lanes, in which every victim falls.
func sample(random *rand.Rand) map[string][]ordeal {
	chosen := map[string][]ordeal{}
	for i, engine := range []string{sqliteSites, mariadbSites, postgresSites} {
		mode := []string{databaseMode, codeMode}[random.IntN(2)]
		wanted := [][]string{{victimHefring, victimNginx, victimPHP}, {victimDatabase, victimHefring}, {victimDatabase, victimFPM}}[i]
		all := ordeals(engine, mode)
		for _, victim := range wanted {
			fitting := slices.DeleteFunc(slices.Clone(all), func(o ordeal) bool { return o.victim != victim })
			chosen[engine] = append(chosen[engine], fitting[random.IntN(len(fitting))])
		}
	}
	return chosen
}
