// Package httpcode is the one table of how codes of errors and statuses of HTTP stand
// for each other, at every door.
package httpcode

import (
	"errors"
	"net"
	"net/http"

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

// Away tells whether a failure that nobody explained is one of the network: what
// Hefring needs does not answer, most likely its database, and does so later.
func Away(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

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
