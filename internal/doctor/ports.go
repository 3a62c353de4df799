package doctor

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func (e *examination) ports() {
	if e.c.Web.Running {
		return
	}
	free := true
	for _, address := range e.c.Web.Addresses {
		free = e.port(address) && free
	}
	if !free || len(e.c.Web.Addresses) == 0 {
		return
	}
	state := " are free"
	if e.c.Web.System != nil {
		state = " are free, or the system's nginx has them"
	}
	e.say(OK, "ports", strings.Join(e.c.Web.Addresses, ", ")+state, "")
}

func (e *examination) port(address string) bool {
	var config net.ListenConfig
	listener, err := config.Listen(e.ctx, "tcp", address)
	switch {
	case err == nil:
		return listener.Close() == nil
	case errors.Is(err, syscall.EADDRINUSE):
		return e.taken(address)
	case errors.Is(err, syscall.EACCES):
		e.say(Fail, "ports", "Only root may use "+address+".", "run Hefring as root, or give it a port above 1023")
	default:
		e.say(Fail, "ports", fmt.Sprintf("This machine cannot listen on %s: %s.", address, err), "ip address; then name one of its addresses")
	}
	return false
}

// taken tells who has a port. That the system's nginx has it is as it should be
// in system mode; in private mode it is as much in the way as any other program.
func (e *examination) taken(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	fix := fmt.Sprintf("ss -ltnp 'sport = :%s' names it; stop it, or give Hefring another port", port)
	holders := e.holders(port)
	switch {
	case e.c.Web.System != nil && len(holders) > 0 && !slices.ContainsFunc(holders, notNginx):
		return true
	case e.c.Web.System != nil && len(holders) == 0:
		e.say(Warn, "ports", fmt.Sprintf("Something uses %s; only root can tell whether it is the system's nginx.", address), "run hefring doctor as root")
	default:
		e.say(Fail, "ports", fmt.Sprintf("%s uses %s, so nginx cannot start.", cmp.Or(strings.Join(holders, " and "), "Another program"), address), fix)
	}
	return false
}

func notNginx(program string) bool { return program != "nginx" }

// tcpListen is the state of a socket that listens, as /proc/net/tcp writes it
// (include/net/tcp_states.h of Linux).
const tcpListen = "0A"

// holders names the programs that listen on a port, each once; none where that
// cannot be known: the files of other users' programs are root's to see.
func (e *examination) holders(port string) []string {
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil
	}
	sockets := map[string]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		e.listening(filepath.Join(e.c.Proc, "net", table), fmt.Sprintf(":%04X", n), sockets)
	}
	if len(sockets) == 0 {
		return nil
	}
	var names []string
	links, _ := filepath.Glob(filepath.Join(e.c.Proc, "[0-9]*", "fd", "*"))
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || !sockets[target] {
			continue
		}
		if name, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "comm")); err == nil {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// listening notes the sockets of a table that listen on a port, as the links to
// them are written. Its columns are in proc(5): number, local and other address,
// state, and the inode as the tenth.
func (e *examination) listening(table, port string, sockets map[string]bool) {
	file, err := os.Open(table) //nolint:gosec // one of the kernel's
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		column := strings.Fields(lines.Text())
		if len(column) > 9 && strings.HasSuffix(column[1], port) && column[3] == tcpListen {
			sockets["socket:["+column[9]+"]"] = true
		}
	}
}
