package egress_test

import (
	"net/netip"
	"strings"
	"testing"

	"hefring/internal/egress"
	"hefring/models"
)

func TestGuard_CheckURL_Hostile(t *testing.T) {
	g := egress.New(egress.Config{})
	for raw, says := range map[string]string{
		"":                                  "Give an address",
		"-oProxyCommand=touch x":            "hyphen",
		"--upload-pack=touch x":             "hyphen",
		"https://example.org/a b":           "space",
		" https://example.org/a":            "space",
		"https://example.org/a\n":           "line break",
		"https://example.org/\u00a0":        "space",
		"https://example.org/\x00":          "invisible",
		"https://example.org/\x1b[31m":      "invisible",
		"https://example.org/\u202egpj":     "invisible",
		"https://example.org/\u200b":        "invisible",
		"https://example.org/\xff":          "not text",
		`https:\\example.org\x`:             "backslash",
		`https://example.org\@evil.test/`:   "backslash",
		"/etc":                              "Paths on this machine",
		"./x":                               "Paths on this machine",
		"../x":                              "Paths on this machine",
		"~/x":                               "Paths on this machine",
		"example.org/project.git":           "must begin with https://",
		"example.org:443/x":                 "not accepted here",
		"//example.org/x":                   "Paths on this machine",
		"file:///etc/passwd":                "file: are not accepted",
		"https:///host/x":                   "names no host",
		"https:host/x":                      "names no host",
		"https://":                          "names no host",
		"ext::sh -c touch":                  "space",
		"ext::sh":                           "helper",
		"fd::17":                            "helper",
		"git://example.org/x":               "git: are not accepted",
		"ftp://example.org/x":               "ftp: are not accepted",
		"javascript:alert(1)":               "not accepted",
		"data:text/html,x":                  "not accepted",
		"https://user:secret@example.org/x": "password",
		"https://user:@example.org/x":       "password",
		"https://:secret@example.org/x":     "password",
		"ssh://git:secret@example.org/x":    "password",
		"https://git@example.org:group/x":   "Did you mean https://git@example.org/group/x?",
		"https://example.org:group/x":       "Did you mean https://example.org/group/x?",
		"ssh://git@example.org:group/x":     "Did you mean ssh://git@example.org/group/x?",
		"git@example.org:group/x":           "short form",
		"https://example.org:/x":            "no port",
		"https://example.org:0/x":           "1 to 65535",
		"https://example.org:65536/x":       "1 to 65535",
		"https://example.org:99999999999/x": "1 to 65535",
		"ssh://-oProxyCommand=x/y":          "host name is not valid",
		"ssh://-oX@example.org/y":           "user name",
		"ssh://a%20b@example.org/y":         "user name",
		"ssh://a%0ab@example.org/y":         "user name",
		"https://ex ample.org/":             "space",
		"https://exa%6dple.org%2f/":         "not",
		"https://exämple.org/":              "xn--",
		"https://example..org/":             "host name is not valid",
		"https://-example.org/":             "host name is not valid",
		"https://.example.org/":             "host name is not valid",
		"https://example.org/%00":           "encoded control",
		"https://example.org/a%0d%0aX:y":    "encoded control",
		"https://example.org/?a=%0d%0aX":    "encoded control",
		"https://example.org/?a=%zz":        "after ?",
		"https://example.org/%zz":           "not a valid address",
		"https://example.org/a/../../b":     "..",
		"https://example.org/a/%2e%2e/b":    "..",
		"https://example.org/x#part":        "#",
		"https://127.0.0.1/x":               "127.0.0.0/8",
		"https://10.1.2.3/x":                "10.0.0.0/8",
		"https://[::1]/x":                   "::1/128",
		"https://[::ffff:10.0.0.1]/x":       "10.0.0.0/8",
		"https://[fe80::1%25eth0]/x":        "network interface",
		"https://[::1/x":                    "not a valid address",
		"https://169.254.169.254/latest":    "metadata",
		"https://example.org/" + strings.Repeat("a", egress.MaxURL): "longer than 2048",
		"https://" + strings.Repeat("a.", 130) + "org/":             "host name",
	} {
		u, err := g.CheckURL(raw, "https", "http", "ssh")
		if err == nil {
			t.Errorf("%.80q was accepted as %v", raw, u)
			continue
		}
		if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), says) {
			t.Errorf("%.80q: got %q (%s), want %q", raw, models.Explain(err), models.CodeOf(err), says)
		}
		if strings.Contains(models.Explain(err), "secret") {
			t.Errorf("%.80q: the message repeats the password", raw)
		}
	}
}

func TestGuard_CheckURL_Good(t *testing.T) {
	g := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, raw := range []string{
		"https://example.org", "https://example.org/", "https://example.org/group/project.git", "HTTPS://Example.org/x",
		"https://git@example.org/x", "https://example.org:8443/x", "https://example.org./x", "https://xn--exmple-cua.org/x",
		"https://example.org/a%20b", "https://example.org/ä", "https://example.org/x?y=z&w=%2F", "https://example.org/a..b/...",
		"https://93.184.216.34/x", "https://[2606:4700::1111]/x", "https://10.1.2.3/x", "http://localhost/x",
		"ssh://git@example.org/group/project.git", "ssh://git@example.org:2222/~user/x", "https://under_score.example.org/x",
	} {
		if _, err := g.CheckURL(raw, "https", "http", "ssh"); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if _, err := g.CheckURL("http://example.org/x"); err == nil {
		t.Error("without schemes only https is meant")
	}
}

func TestGuard_CheckGitURL(t *testing.T) {
	g := egress.New(egress.Config{})
	for raw, want := range map[string]string{
		"git@example.org:group/project.git": "ssh://git@example.org/group/project.git",
		"git@example.org:/abs/project.git":  "ssh://git@example.org/abs/project.git",
		"git@example.org:~user/x":           "ssh://git@example.org/~user/x",
		"git@[2606:4700::1111]:x":           "ssh://git@[2606:4700::1111]/x",
		"https://example.org/x":             "https://example.org/x",
		"ssh://git@example.org/x":           "ssh://git@example.org/x",
	} {
		u, err := g.CheckGitURL(raw)
		if err != nil || u.String() != want {
			t.Errorf("%q: got %v, %v; want %s", raw, u, err, want)
		}
	}
	for _, raw := range []string{
		"", "git@example.org:", "git@example.org:/", "git@example.org:-x", "git@example.org:../x", "git@example.org::x",
		"-x@example.org:y", "git@-oX:y", "git@example.org:a b", "git@127.0.0.1:x", "git@[::1]:x", "git@[1:2]:x",
		"C:/x", `C:\x`, "example.org:x", "https://example.org", "https://example.org/", "file:///x", "ext::x", "git@exa..mple:x",
	} {
		if u, err := g.CheckGitURL(raw); models.CodeOf(err) != models.Invalid {
			t.Errorf("%q: got %v, %v", raw, u, err)
		}
	}
}

func FuzzGuard_CheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://example.org/x", "git@example.org:x", "ssh://git@[::1]:22/~x", "https://a:b@c:d/e?f#g", "-x", "ext::x",
		"https://%41/%2e%2e/", "https://[fe80::1%25a]/", "https:///x", "http://0x7f.1/", "//x", "https://e:99999/", "git@h:\u202ex",
	} {
		f.Add(seed)
	}
	g := egress.New(egress.Config{})
	f.Fuzz(func(t *testing.T, raw string) {
		for _, check := range []func(string) (string, string, string, error){
			func(s string) (string, string, string, error) {
				u, err := g.CheckURL(s, "https", "http", "ssh")
				if err != nil {
					return "", "", "", err
				}
				again, err := g.CheckURL(u.String(), "https", "http", "ssh")
				if err != nil || again.Host != u.Host || again.Path != u.Path {
					t.Fatalf("%q reads as %v, and that as %v, %v", s, u, again, err)
				}
				return u.Host, u.Path, u.User.String(), nil
			},
			func(s string) (string, string, string, error) {
				u, err := g.CheckGitURL(s)
				if err != nil {
					return "", "", "", err
				}
				return u.Host, u.Path, u.User.String(), nil
			},
		} {
			host, path, user, err := check(raw)
			if err != nil {
				if models.CodeOf(err) != models.Invalid || models.Explain(err) == "" {
					t.Fatalf("%q: error without advice: %v", raw, err)
				}
				continue
			}
			if host == "" || strings.HasPrefix(host, "-") || strings.HasPrefix(raw, "-") || strings.HasPrefix(user, "-") ||
				strings.ContainsAny(raw, " \t\r\n\x00") || strings.Contains(path+"/", "/../") || strings.Contains(user, ":") {
				t.Fatalf("%q was accepted", raw)
			}
		}
	})
}
