package run_test
import ("testing";"time";"hefring/internal/run")
func TestDbg(t *testing.T){
 for _, s := range []string{"trap '' TERM; sleep 5; :", "trap '' TERM; sleep 5 & sleep 5; :", "trap '' TERM; while :; do read x </dev/null; done"} {
 c := sh(s); c.Timeout=300*time.Millisecond
 res, err := run.New(run.Config{}).Run(t.Context(), c)
 t.Log(res.Took, err, string(res.Stderr))
 }
}
