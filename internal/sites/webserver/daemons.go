package webserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hefring/models"
)

func (s *Server) nginx() *daemon {
	conf := tree{link: s.path("nginx")}
	return &daemon{
		name: "nginx", tree: conf, pidFile: s.path("run", "nginx.pid"), log: s.path("log", "nginx.log"),
		master: "nginx: master process ", worker: "nginx: worker process", conf: " -c " + conf.link + "/nginx.conf",
		reload: syscall.SIGHUP,
		runner: s.runner,
		program: func() (string, error) {
			if s.cfg.Nginx != "" {
				return s.cfg.Nginx, nil
			}
			return s.runner.LookPath("nginx")
		},
		args: func(folder string) []string {
			return []string{"-p", s.cfg.Dir, "-c", folder + "/" + s.mainFile("nginx"), "-e", s.path("log", "nginx.log")}
		},
		test:    []string{"-t", "-q"},
		ports:   []string{s.publicAddress(), s.probeAddress()},
		answers: s.nginxVersion,
		system:  s.systemNginx(),
	}
}

func (s *Server) php() *daemon {
	conf := tree{link: s.path("php")}
	return &daemon{
		name: "php-fpm", tree: conf, pidFile: s.path("run", "php-fpm.pid"), log: s.path("log", "php-fpm.log"),
		master: "php-fpm: master process ", worker: "php-fpm: pool ", conf: "(" + conf.link + "/php-fpm.conf)",
		reload:  syscall.SIGUSR2,
		runner:  s.runner,
		program: s.findFPM,
		args: func(folder string) []string {
			return []string{"--fpm-config", folder + "/" + s.mainFile("php-fpm"), "-c", folder + "/php.ini"}
		},
		test:    []string{"--test"},
		answers: s.phpVersion,
		system:  s.systemPHP(),
	}
}

// mainFile is the configuration that a daemon begins with. In system mode it only
// serves to test ours alone, and its name keeps it from being included.
func (s *Server) mainFile(name string) string {
	if s.cfg.Mode == ModeSystem {
		return name + ".test"
	}
	return name + ".conf"
}

// findFPM finds php-fpm, which Debian installs under its version's name; of
// several the newest.
func (s *Server) findFPM() (string, error) {
	if s.cfg.PHPFPM != "" {
		return s.cfg.PHPFPM, nil
	}
	versions, err := filepath.Glob("/usr/sbin/php-fpm[0-9]*.[0-9]*")
	if err != nil {
		return "", fmt.Errorf("find php-fpm: %w", err)
	}
	if len(versions) > 0 {
		return slices.MaxFunc(versions, func(a, b string) int {
			if len(a) != len(b) { // 8.10 is newer than 8.9
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		}), nil
	}
	return s.runner.LookPath("php-fpm")
}

// nginxVersion asks nginx which configuration it serves.
func (s *Server) nginxVersion(ctx context.Context) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true} // a kept connection would stay with an old worker
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.probeAddress()+"/.hefring/version", nil)
	if err != nil {
		return "", fmt.Errorf("ask nginx: %w", err)
	}
	request.Host = "_"
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("ask nginx: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return "", fmt.Errorf("ask nginx: %w", err)
	}
	return string(text), nil
}

// phpVersion asks php-fpm, past nginx, which configuration it runs with.
func (s *Server) phpVersion(ctx context.Context) (string, error) {
	answer, err := fastCGI(ctx, s.socket(), map[string]string{
		"REQUEST_METHOD":  http.MethodGet,
		"SCRIPT_NAME":     "/.hefring/version",
		"SCRIPT_FILENAME": "/.hefring/version",
	})
	if err != nil {
		return "", fmt.Errorf("ask php-fpm: %w", err)
	}
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	return strings.TrimSpace(body), nil
}

// checkPorts tells beforehand who cannot start, and why: another program has the
// port.
func (d *daemon) checkPorts(ctx context.Context) error {
	for _, address := range d.ports {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return models.Wrapf(models.Unavailable, err, "%s cannot start: another program already uses %s. Stop that program, or give Hefring another port.", d.name, address)
		}
		if errors.Is(err, syscall.EACCES) {
			return models.Wrapf(models.Unavailable, err, "%s cannot start: only root may use %s. Give Hefring a port above 1023.", d.name, address)
		}
		if err != nil {
			return models.Wrapf(models.Unavailable, err, "%s cannot start: this machine cannot listen on %s.", d.name, address)
		}
		if err := listener.Close(); err != nil {
			return fmt.Errorf("check port %s: %w", address, err)
		}
	}
	return nil
}
