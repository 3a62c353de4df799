//go:build bench

package lsrefs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

const (
	manyChecks  = 10_000
	manyHosts   = 1_000
	manyWorkers = 32
	latency     = 60 * time.Millisecond
)

// many checks 10,000 repositories on 1,000 hosts with real names, each behind
// TLS, whose answers to each request take the latency.
func (b *bench) many(gitCPU time.Duration) {
	b.t.Helper()
	ca, certificate := authority(b.t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(slowly))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	client := startClient(b.t, task{
		Hosts: manyHosts, Each: manyChecks / manyHosts, Pattern: "https://host%d.bench.test:" + port + "/team/site%d.git",
		Branch: "refs/heads/main", Workers: manyWorkers, CA: ca, Resolver: nameServer(b.t),
	})
	b.line("")
	b.line("%d checks of as many repositories on %d hosts over TLS and HTTP/2, %d workers, each request answered after %s; every name is resolved, every address checked.",
		manyChecks, manyHosts, manyWorkers, latency)
	first := client.step(b.t)
	again := client.step(b.t)
	client.stop(b.t)
	b.report("the first time", first)
	b.report("once more, servers known", again)
	b.line("git ls-remote would use %.0f s of CPU for as many checks of repositories with 100 refs, the native client %.1f s.",
		(gitCPU * manyChecks).Seconds(), first.CPU.Seconds())
	b.goal(first.Wall <= manyWall, "%d checks the first time take %.1f s (goal %.0f s)", first.Checks, first.Wall.Seconds(), manyWall.Seconds())
	b.goal(again.Memory <= manyMemory, "At most %s were resident (goal %s)", size(again.Memory), size(manyMemory))
}

func (b *bench) report(name string, d done) {
	b.line("%s: %d checks with %d requests, %.1f s wall, %.1f s client CPU, %s resident at most",
		name, d.Checks, d.Requests, d.Wall.Seconds(), d.CPU.Seconds(), size(d.Memory))
}

// slowly answers as git does.
func slowly(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	select {
	case <-time.After(latency):
	case <-r.Context().Done():
		return
	}
	if r.Method == http.MethodGet {
		greet(w, pkt("# service=git-upload-pack\n", "0000")+capabilities())
		return
	}
	tell(w, pkt(one+" refs/heads/main\n", "0000"))
}

// authority makes a certificate authority, and a certificate of it for all hosts.
func authority(t *testing.T) (ca []byte, certificate tls.Certificate) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sign := func(template, parent *x509.Certificate, public *ecdsa.PublicKey, by *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	caKey, hostKey := key(), key()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	host := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"*.bench.test"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sign(root, root, &caKey.PublicKey, caKey)})
	return ca, tls.Certificate{Certificate: [][]byte{sign(host, root, &hostKey.PublicKey, caKey)}, PrivateKey: hostKey}
}

// nameServer knows every host at 127.0.0.1, and gives its own address.
func nameServer(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		packet := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(resolve(packet[:n]), from)
		}
	}()
	return conn.LocalAddr().String()
}

// resolve answers a question of the resolver's own making (RFC 1035, section 4).
func resolve(query []byte) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end+5]...)
	if binary.BigEndian.Uint16(query[end+1:]) != 1 {
		return reply // no address of version 6
	}
	reply[7] = 1
	return append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
}
