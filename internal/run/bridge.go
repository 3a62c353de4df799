package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// The verbs look like options so that a program that does not call Bridge stops
// at an unknown option instead of doing its own work inside of a sandbox.
const (
	bridgeVerb  = "--run-bridge"
	connectVerb = "--run-connect"
)

// SSHProxyCommand is the value of ssh's ProxyCommand option that leads an ssh
// inside of a NetworkProxy sandbox through the proxy.
const SSHProxyCommand = sandboxBridge + " " + connectVerb + " %h %p"

// Exit codes of a bridge that fails itself, as shells have them.
const (
	exitBridgeFailed = 125
	exitCannotStart  = 126
)

// Bridge does the work of our binary inside of a sandbox, where Runner starts
// it between the sandbox and the program to lead HTTP to the proxy's socket.
// main and every TestMain whose tests use NetworkProxy call it first:
//
//	if code, ok := run.Bridge(os.Args); ok {
//		os.Exit(code)
//	}
func Bridge(args []string) (exit int, isBridge bool) {
	if len(args) < 2 {
		return 0, false
	}
	var err error
	switch args[1] {
	case bridgeVerb:
		exit, err = bridge(args[2:])
	case connectVerb:
		err = connect(args[2:], os.Stdin, os.Stdout)
	default:
		return 0, false
	}
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "hefring: %v\n", err)
		if exit == 0 {
			exit = exitBridgeFailed
		}
	}
	return exit, true
}

func bridge(args []string) (int, error) {
	if len(args) < 3 || args[1] != "--" {
		return exitBridgeFailed, errors.New("bridge: want SOCKET -- PROGRAM ARGS")
	}
	var config net.ListenConfig
	ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return exitBridgeFailed, fmt.Errorf("bridge: %w", err)
	}
	defer func() { _ = ln.Close() }()
	go forward(ln, args[0])
	return supervise(args[2:], proxyEnv("http://"+ln.Addr().String()))
}

func proxyEnv(address string) []string {
	env := os.Environ()
	for _, key := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		env = append(env, key+"="+address)
	}
	return append(env, "no_proxy=", "NO_PROXY=")
}

// supervise runs the program as our child and ends as it does.
func supervise(argv, env []string) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...) //nolint:gosec // the Runner chose the program
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	// Outside of a sandbox nothing else ends it with us. The signal is bound to
	// the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return exitCannotStart, fmt.Errorf("bridge: %w", err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case sig := <-signals:
				_ = cmd.Process.Signal(sig)
			case <-done:
				return
			}
		}
	}()
	code, err := exitCode(cmd.Wait())
	if err != nil {
		return exitBridgeFailed, fmt.Errorf("bridge: %w", err)
	}
	return code, nil
}

func forward(ln net.Listener, socket string) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			var dialer net.Dialer
			proxy, err := dialer.DialContext(context.Background(), "unix", socket)
			if err != nil {
				_, _ = fmt.Fprintf(os.Stderr, "hefring: reach proxy: %v\n", err)
				return
			}
			defer func() { _ = proxy.Close() }()
			splice(conn, proxy)
		}()
	}
}

// splice copies both ways until both have ended; the end of one direction is
// passed on.
func splice(a, b net.Conn) {
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			if half, ok := pair[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

const connectTimeout = 30 * time.Second

// connect joins stdin and stdout with HOST PORT through the proxy.
func connect(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("connect: want HOST PORT")
	}
	proxy, err := url.Parse(os.Getenv("https_proxy"))
	if err != nil || proxy.Host == "" {
		return errors.New("connect: no proxy in the environment")
	}
	target := net.JoinHostPort(args[0], args[1])
	dialer := net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(context.Background(), "tcp", proxy.Host)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	reader, err := openTunnel(conn, target)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(conn, stdin)
		if half, ok := conn.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	_, err = io.Copy(stdout, reader)
	return err
}

func openTunnel(conn net.Conn, target string) (io.Reader, error) {
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return nil, fmt.Errorf("connect %s: %w", target, err)
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return nil, fmt.Errorf("connect %s: %w", target, err)
	}
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the body is the tunnel
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", target, err)
	}
	if resp.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return nil, fmt.Errorf("connect %s: %s: %s", target, resp.Status, reason)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("connect %s: %w", target, err)
	}
	return reader, nil
}
