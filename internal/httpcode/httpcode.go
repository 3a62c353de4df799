// Package httpcode is the one table of how codes of errors and statuses of HTTP stand
// for each other, at every door.
package httpcode

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"hefring/models"
)

// Of gives the status that answers a failure; 500 for one that is nobody's business.
func Of(code models.Code) int {
	switch code {
	case models.Invalid:
		return http.StatusUnprocessableEntity
	case models.NotFound:
		return http.StatusNotFound
	case models.Conflict:
		return http.StatusConflict
	case models.Forbidden:
		return http.StatusForbidden
	case models.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// How long people and programs wait for an answer at most. A database that keeps its
// connections and says nothing must not keep them, and who comes after them, for ever.
const (
	// AnswerTime is for what needs the database alone.
	AnswerTime = 15 * time.Second
	// PatientTime is for what also asks somebody else, who has less time than this. No
	// answer is sent that takes a minute.
	PatientTime = 50 * time.Second
)

// Away tells whether a request's failure that nobody explained is one of the network:
// what Hefring needs does not answer, most likely its database, and does so later. ctx
// is the request's.
func Away(ctx context.Context, err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// AwayRetry is for the header Retry-After, in seconds.
const AwayRetry = "10"

// AwayText says so.
const AwayText = "Hefring cannot reach its database. Its log has the details; try again in a moment."

// Meant gives what a status of 400 or more means that another Hefring, or something
// before it, answers with.
func Meant(status int) models.Code {
	for _, code := range []models.Code{models.NotFound, models.Conflict, models.Forbidden} {
		if Of(code) == status {
			return code
		}
	}
	switch {
	case status == http.StatusUnauthorized:
		return models.Forbidden
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return models.Unavailable
	}
	return models.Invalid
}
