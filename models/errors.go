package models

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Code says what kind of failure an Error is. The doors (web, CLI, API)
// translate it once each.
type Code string

// The codes that a person or a program can act on.
const (
	Invalid     Code = "invalid"     // what was sent is wrong; Fields says where
	NotFound    Code = "not_found"   // no such thing
	Conflict    Code = "conflict"    // it is in another state than the request supposes
	Forbidden   Code = "forbidden"   // not for this person
	Unavailable Code = "unavailable" // something outside does not answer; trying again may help
)

// Error is a failure that a person can act on. Its Message says what happened
// and what to do next, without the secrets of addresses; every other error is shown as an internal one and logged.
type Error struct {
	Code    Code
	Message string
	Fields  map[string]string // field name -> what is wrong with it and what would be right
	Err     error             // the cause, for the log

	Reason     Reason        // of a source's failure; "" for others
	RetryAfter time.Duration // what the other side asked for; 0 when it did not
}

// Reason is one word for why a source cannot be followed.
type Reason string

// Reasons. Those of Upstream hold for every source at the same place.
const (
	ReasonAuthentication Reason = "AuthenticationFailed"
	ReasonRateLimited    Reason = "RateLimited"
	ReasonTLS            Reason = "TLSInvalid"
	ReasonHostKey        Reason = "HostKeyMismatch"
	ReasonDNS            Reason = "DNSFailed"
	ReasonAddressBlocked Reason = "AddressBlocked"
	ReasonTimeout        Reason = "Timeout"
	ReasonUnreachable    Reason = "Unreachable" // refused, broken off, or answered with an error
	ReasonTooLarge       Reason = "TooLarge"
	ReasonMalformed      Reason = "Malformed" // it answered nonsense
	ReasonRefNotFound    Reason = "RefNotFound"
	ReasonNotFound       Reason = "NotFound" // nothing at that address, or no such release
	ReasonTagMoved       Reason = "TagMoved"
	ReasonRewritten      Reason = "HistoryRewritten"
	ReasonLower          Reason = "VersionLower" // the highest version is lower than before
	ReasonVerification   Reason = "VerificationFailed"
	ReasonURL            Reason = "URLInvalid" // the settings cannot be used
	ReasonBuild          Reason = "BuildFailed"
)

// Because sets the reason and gives the same error.
func (e *Error) Because(reason Reason) *Error {
	e.Reason = reason
	return e
}

// After sets how long to wait, as the other side asked, and gives the same error.
func (e *Error) After(wait time.Duration) *Error {
	e.RetryAfter = wait
	return e
}

// ReasonOf finds the first reason in err's chain; "" when there is none.
func ReasonOf(err error) Reason {
	return firstOf(err, func(e *Error) Reason { return e.Reason })
}

// RetryAfterOf finds the first pause in err's chain that the other side asked
// for; 0 when there is none.
func RetryAfterOf(err error) time.Duration {
	return firstOf(err, func(e *Error) time.Duration { return e.RetryAfter })
}

// firstOf gives the first value that an Error in err's chain has.
func firstOf[T comparable](err error, get func(*Error) T) T {
	var none T
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return none
		}
		if value := get(e); value != none {
			return value
		}
		err = e.Err
	}
	return none
}

// Error is the text for logs and the command line, where no field is marked.
func (e *Error) Error() string {
	var parts []string
	if len(e.Fields) == 0 || e.Message != marked(e.Fields) {
		parts = append(parts, e.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		parts = append(parts, name+": "+e.Fields[name])
	}
	text := strings.Join(parts, "; ")
	if e.Err == nil {
		return text
	}
	return text + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error from a format.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: Blot(fmt.Sprintf(format, args...))}
}

// Wrapf makes an Error from a format and keeps its cause for the log.
func Wrapf(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: Blot(fmt.Sprintf(format, args...)), Err: cause}
}

// InvalidField is the Error for one wrong field of a form.
func InvalidField(name, message string) *Error {
	return InvalidFields(map[string]string{name: message})
}

// InvalidFields is the Error for wrong fields of a form, by their names.
func InvalidFields(fields map[string]string) *Error {
	return &Error{Code: Invalid, Message: marked(fields), Fields: fields}
}

func marked(fields map[string]string) string {
	if len(fields) == 1 {
		return "Please check the marked field."
	}
	return "Please check the marked fields."
}

// CodeOf finds the code of the first Error in err's chain; "" means that the
// error is internal and its text is not for users.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// Explain gives the message of the first Error in err's chain, or a sentence
// that sends the reader to the log.
func Explain(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	return "Something went wrong inside Hefring. Its log has the details."
}
