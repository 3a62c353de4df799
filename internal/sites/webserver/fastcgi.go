package webserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
)

// Record types of FastCGI, version 1.
const (
	fcgiBegin  = 1
	fcgiEnd    = 3
	fcgiParams = 4
	fcgiStdin  = 5
	fcgiStdout = 6
)

// longestAnswer bounds what is read of an answer.
const longestAnswer = 64 << 10

// fastCGI sends one request without a body to a unix socket and gives the
// answer with its headers.
func fastCGI(ctx context.Context, socket string, params map[string]string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if deadline, limited := ctx.Deadline(); limited {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	var request bytes.Buffer
	record(&request, fcgiBegin, []byte{0, 1, 0, 0, 0, 0, 0, 0}) // a responder that closes the connection
	record(&request, fcgiParams, pairs(params))
	record(&request, fcgiParams, nil)
	record(&request, fcgiStdin, nil)
	if _, err := conn.Write(request.Bytes()); err != nil {
		return "", err
	}
	return readAnswer(conn)
}

func record(out *bytes.Buffer, kind byte, content []byte) {
	out.Write([]byte{1, kind, 0, 1})
	out.Write(binary.BigEndian.AppendUint16(nil, uint16(len(content)))) //nolint:gosec // our parameters are short
	out.Write([]byte{0, 0})
	out.Write(content)
}

// pairs encodes names and values shorter than 128 bytes.
func pairs(params map[string]string) []byte {
	var out []byte
	for _, name := range slices.Sorted(maps.Keys(params)) {
		out = append(out, byte(len(name)), byte(len(params[name]))) //nolint:gosec // see above
		out = append(out, name...)
		out = append(out, params[name]...)
	}
	return out
}

func readAnswer(in io.Reader) (string, error) {
	var answer bytes.Buffer
	for {
		var head struct {
			Version, Kind byte
			ID, Length    uint16
			Padding, _    byte
		}
		if err := binary.Read(in, binary.BigEndian, &head); err != nil {
			return "", fmt.Errorf("read FastCGI answer: %w", err)
		}
		content := make([]byte, int(head.Length)+int(head.Padding))
		if _, err := io.ReadFull(in, content); err != nil {
			return "", fmt.Errorf("read FastCGI answer: %w", err)
		}
		switch head.Kind {
		case fcgiStdout:
			answer.Write(content[:head.Length])
		case fcgiEnd:
			return answer.String(), nil
		}
		if answer.Len() > longestAnswer {
			return "", errors.New("read FastCGI answer: too long")
		}
	}
}
