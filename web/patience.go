package web

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/httpcode"
)

// patience is how long a request to a route may take; 0 for those that see to that
// themselves, part by part. Who is not named here needs the database alone.
func patience(method, route string) time.Duration {
	switch method + " " + route {
	case "GET /tasks/:id/stream", "GET /audit/export.csv", "GET /audit/export.jsonl":
		return 0
	case "GET /login/oidc", "GET " + callbackPath, "POST /account/identities/link", // ask the provider
		"POST /sites/:id/login", "GET /sites/:id/rollback", "POST /sites/:id/rollback", "POST /backups/:id/delete", // ask the site's server
		"POST /databases", "POST /databases/:id", "POST /databases/:id/test", // ask that database server
		"POST /notices/:id/test": // asks who takes the notices
		return httpcode.PatientTime
	default:
		return httpcode.AnswerTime
	}
}

// bounded ends what a request waits for when it has taken too long, so that a database
// which does not answer cannot gather requests without limit.
func (s *server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.router.NewContext(r, w)
		s.router.Router().Find(r.Method, echo.GetPath(r), c)
		limit := patience(r.Method, c.Path())
		if limit == 0 {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
