// Package testcert gives tests a certificate that nobody trusts, with its key.
package testcert

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// Pair is a certificate for example.com and its key, in PEM: that of net/http/httptest.
func Pair(tb testing.TB) (chain, key []byte) {
	tb.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	pair := server.TLS.Certificates[0]
	secret, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// Write writes a Pair into two files.
func Write(tb testing.TB, chainFile, keyFile string) {
	tb.Helper()
	chain, key := Pair(tb)
	if err := errors.Join(os.WriteFile(chainFile, chain, 0o600), os.WriteFile(keyFile, key, 0o600)); err != nil {
		tb.Fatal(err)
	}
}
