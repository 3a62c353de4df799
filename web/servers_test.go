package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hefring/models"
	"hefring/web/webtest"
)

// mariadb is a form that passes.
func mariadb() url.Values {
	return url.Values{
		"name": {" New one "}, "engine": {"mysql"}, "host": {" db2.example.org "}, "port": {"3307"}, "user": {"root"}, "password": {"pa ss"}, "tls": {"require"},
		"clients": {"%"}, "prefix": {"hef"}, "default": {"1"},
	}
}

func TestDatabases_List_SaysHowTheyAre(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/databases").has(t, "Main database", "11.4.5-MariaDB", "db1.example.org:3306", "Default", "Works", "Cannot be used", "ALTER ROLE hefring CREATEDB CREATEROLE", "/run/postgresql", `aria-current="page"`)
	f.Databases = nil
	b.get("/databases").has(t, "No database server is registered.")
}

func TestDatabaseForm_New_IsTestedAndSaved(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/databases/new").has(t, `name="prefix" value="hefring"`, `name="clients" value="%"`, "drops both again")
	got := b.post("/databases", mariadb())
	if got.status != http.StatusSeeOther || !strings.HasPrefix(got.location(), "/databases/9") {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	want := models.DatabaseServer{Name: "New one", Engine: "mysql", Host: "db2.example.org", Port: 3307, User: "root", Password: "pa ss", TLS: models.TLSRequire, Clients: "%", Prefix: "hef", Default: true}
	if in := f.Server1; in.Name != want.Name || in.Host != want.Host || in.Port != want.Port || in.Password != want.Password || in.TLS != want.TLS || in.Prefix != want.Prefix || !in.Default || in.ID != 0 {
		t.Errorf("the fleet got %+v", in)
	}
	page := b.get(got.location())
	page.has(t, "New one works and is saved", `value="3307"`, "kept as it is; type to replace it")
	page.hasNot(t, "pa ss")
}

func TestDatabaseForm_Wrong_KeepsWhatWasTypedButThePassword(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	for _, port := range []string{"x", "0", "-1", "70000", "99999999999999999999"} {
		form := mariadb()
		form.Set("port", port)
		got := b.post("/databases", form)
		if got.status != http.StatusUnprocessableEntity {
			t.Errorf("port %s: status %d", port, got.status)
		}
		got.has(t, "Use a port from 1 to 65535", `value="`+port+`"`, `value="New one"`, `aria-describedby="port-e"`)
		got.hasNot(t, "pa ss")
	}
	f.Fail["SaveDatabaseServer"] = models.Errorf(models.Unavailable, "db2.example.org refused the password of root (1045).")
	got := b.post("/databases", mariadb())
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "refused the password of root (1045)", `value="db2.example.org"`)
	got.hasNot(t, "pa ss")
}

func TestDatabaseForm_Edit_KeepsThePassword(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	form := mariadb()
	form.Del("password")
	form.Del("default")
	if got := b.post("/databases/1", form); got.location() != "/databases/1" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	if f.Server1.ID != 1 || f.Server1.Password != "" || f.Server1.Default {
		t.Errorf("the fleet got %+v", f.Server1)
	}
	form.Set("host", "no host!")
	got := b.post("/databases/1", form)
	got.has(t, "Use a host name, an address", `value="no host!"`, `action="/databases/1"`, "<h1>New one</h1>")
	if got := b.post("/databases/99", form); got.status != http.StatusNotFound {
		t.Errorf("no such server: %d", got.status)
	}
}

func TestDatabase_TestAndDelete_ShowTheRealAnswer(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/databases/2").has(t, "ALTER ROLE hefring", "Cannot be used", "Test")
	b.post("/databases/2/test", nil)
	b.get("/databases/2").has(t, "It works: a database and a user were made there")
	f.Fail["TestDatabaseServer"] = models.Errorf(models.Unavailable, "FATAL: role hefring does not exist")
	if got := b.post("/databases/2/test", nil); got.location() != "/databases/2" {
		t.Errorf("led to %q", got.location())
	}
	b.get("/databases/2").has(t, "FATAL: role hefring does not exist")
	f.Fail["DeleteDatabaseServer"] = models.Errorf(models.Conflict, "gallery.example.org has its database there.")
	if got := b.post("/databases/1/delete", nil); got.location() != "/databases/1" {
		t.Errorf("refused: to %q", got.location())
	}
	b.get("/databases/1").has(t, "gallery.example.org has its database there.")
	delete(f.Fail, "DeleteDatabaseServer")
	if got := b.post("/databases/2/delete", nil); got.location() != "/databases" {
		t.Errorf("led to %q", got.location())
	}
	b.get("/databases").hasNot(t, "Reports")
}
