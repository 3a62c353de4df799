package egress

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hefring/models"
)

// systemBundles are where distributions of Linux keep the certificate
// authorities that they trust, as crypto/x509 looks for them.
func systemBundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	}
}

// LoadAuthorities gives the system's certificate authorities and those of the
// PEM file extra, for Config.RootCAs, and writes both to the file bundle, for
// Config.CAFile: programs of others know only one file. Everybody may read it.
func LoadAuthorities(extra, bundle string) (*x509.CertPool, error) {
	text, err := os.ReadFile(extra) //nolint:gosec // the operator's choice
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "The certificates in %s cannot be read. Correct --ca-file.", extra)
	}
	certificates, err := onlyCertificates(text)
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "%s is no PEM file of certificates (%s). Correct --ca-file.", extra, err.Error())
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("load certificate authorities: %w", err)
	}
	pool.AppendCertsFromPEM(certificates)
	for _, file := range systemBundles() {
		if system, err := os.ReadFile(file); err == nil { //nolint:gosec // a fixed list
			certificates = append(append(certificates, '\n'), system...)
			break
		}
	}
	return pool, replace(bundle, certificates)
}

// onlyCertificates leaves out whatever else stands in the file: a private key
// must not get to where everybody reads.
func onlyCertificates(text []byte) ([]byte, error) {
	var out bytes.Buffer
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
		if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("it holds no certificate")
	}
	return out.Bytes(), nil
}

const publicFile fs.FileMode = 0o644

func replace(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".ca-*")
	if err != nil {
		return fmt.Errorf("write certificate authorities: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(text)
	if err := errors.Join(err, file.Chmod(publicFile), file.Close()); err != nil {
		return fmt.Errorf("write certificate authorities: %w", err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write certificate authorities: %w", err)
	}
	return nil
}
