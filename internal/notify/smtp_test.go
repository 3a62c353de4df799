package notify_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// mailServer is a small SMTP server (RFC 5321) that keeps what it takes.
type mailServer struct {
	tls   *tls.Config       // offers STARTTLS
	user  string            // demands AUTH PLAIN with user and password, as base64
	reply map[string]string // command -> what it answers instead
	slow  bool              // says nothing at all

	listener net.Listener
	open     sync.WaitGroup
	mu       sync.Mutex
	mails    []received
	conns    []net.Conn
}

type received struct {
	from, data string
	to         []string
	encrypted  bool
}

func serveMail(t *testing.T, m *mailServer) *mailServer {
	t.Helper()
	var err error
	if m.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m.open.Go(func() {
		for {
			conn, err := m.listener.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns = append(m.conns, conn)
			m.mu.Unlock()
			m.open.Go(func() {
				defer func() { _ = conn.Close() }()
				if !m.slow {
					m.talk(conn)
				} else {
					_, _ = conn.Read(make([]byte, 1)) // until the client goes
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = m.listener.Close()
		m.mu.Lock()
		for _, conn := range m.conns {
			_ = conn.Close()
		}
		m.mu.Unlock()
		m.open.Wait()
	})
	return m
}

func (m *mailServer) port() int { return m.listener.Addr().(*net.TCPAddr).Port }

func (m *mailServer) taken() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mails
}

func (m *mailServer) talk(conn net.Conn) {
	in, mail := bufio.NewReader(conn), received{}
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 mail.example.org ready")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		command, rest, _ := strings.Cut(line, " ")
		command = strings.ToUpper(command)
		if answer := m.reply[command]; answer != "" {
			say(answer)
			continue
		}
		switch command {
		case "EHLO":
			say("250-mail.example.org")
			if m.tls != nil && !mail.encrypted {
				say("250-STARTTLS")
			}
			if m.user != "" {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go on")
			secured := tls.Server(conn, m.tls)
			conn, in, mail = secured, bufio.NewReader(secured), received{encrypted: true}
		case "AUTH":
			if rest == "PLAIN "+m.user {
				say("235 welcome")
			} else {
				say("535 5.7.8 wrong user or password")
			}
		case "MAIL":
			mail.from = rest
			say("250 ok")
		case "RCPT":
			mail.to = append(mail.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.data += strings.TrimPrefix(line, ".")
			}
			m.mu.Lock()
			m.mails = append(m.mails, mail)
			m.mu.Unlock()
			say("250 2.0.0 queued as 4F2A91C03B")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
