package models

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiff_Changed_SaysFieldsInWords(t *testing.T) {
	day, client := 24*time.Hour, int64(7)
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	before := Distribution{ID: 1, Name: "Thunder", Settings: Settings{"url": "https://ada:pw@example.org/x.git", "branch": "main"}, UpdatedAt: at}
	after := before
	after.ID, after.UpdatedAt = 2, at.Add(day)
	after.CheckEvery, after.Settings = &day, Settings{"url": "https://example.org/x.git", "branch": "main"}
	after.Secrets = []byte("sealed")
	want := Changes{
		{Field: "check every", After: "24h0m0s"},
		{Field: "secrets", Secret: true},
		{Field: "settings url", Before: "https://…@example.org/x.git", After: "https://example.org/x.git"},
	}
	if got := Diff(before, after); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := Diff(before, before); got != nil {
		t.Errorf("nothing changed, but %+v", got)
	}
	want = Changes{{Field: "client", After: "7"}, {Field: "disabled at", After: "2026-11-22T10:00:00Z"}, {Field: "name", After: "ada"}, {Field: "role", After: "viewer"}}
	if got := Diff(nil, User{Name: "ada", Role: RoleViewer, ClientID: &client, DisabledAt: &at}); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	want = Changes{{Field: "aliases", Before: "a, b"}, {Field: "database engine", Before: "mysql"}, {Field: "held", Before: "yes"}}
	if got := Diff(&Site{Aliases: []string{"a", "b"}, Held: true, Database: Database{Engine: "mysql"}}, nil); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	want = Changes{{Field: "held", Before: "no", After: "yes"}, {Field: "held reason", After: "A fair is on."}}
	if got := Diff(Site{}, Site{Held: true, HeldReason: "A fair is on."}); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestDiff_Addresses_LoseTheirSecrets(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.org/a.make?private_token=s3cr3t":            "https://example.org/a.make?private_token=…",
		"https://example.org/a.make?ref=main&X-Amz-Signature=s3cr3t": "https://example.org/a.make?ref=main&X-Amz-Signature=…",
		"https://example.org/?APIKEY=s3cr3t&ref=main#top":            "https://example.org/?APIKEY=…&ref=main#top",
		"ssh://git:s3cr3t@example.org/a.git?pass=x":                  "ssh://…@example.org/a.git?pass=x",
		"https://example.org/a.make?ref=main":                        "https://example.org/a.make?ref=main",
	} {
		got := Diff(nil, Distribution{Settings: Settings{"url": address}})
		if len(got) != 1 || got[0].After != want {
			t.Errorf("%s: %+v, want %s", address, got, want)
		}
	}
}

func TestDiff_Huge_IsBounded(t *testing.T) {
	settings := Settings{}
	for i := range 500 {
		settings[strings.Repeat("k", i%30+1)+string(rune('a'+i%26))] = strings.Repeat("é\xff", 100_000)
	}
	text, err := json.Marshal(Diff(nil, Distribution{Settings: settings}))
	if err != nil || len(text) > 128<<10 {
		t.Errorf("%d bytes: %v", len(text), err)
	}
}

// secretName are names of fields that hold secrets, or what gives one away.
var secretName = regexp.MustCompile(`(?i)(password|passphrase|secret|token|credential|hash|sealed|otp|keys)`)

// harmlessFields have such names and hold none.
var harmlessFields = []string{"Host.Tokens"} // of a bucket of checks

// Whoever adds a field with a secret to a model says so beside it, or this fails: no
// value of such a field gets into the record of changes.
func TestDiff_EverySecretField_IsNeverShown(t *testing.T) {
	const planted = "planted-secret"
	looked := 0
	for _, model := range []any{
		Backup{},
		Channel{},
		Check{},
		Client{},
		Comparison{},
		DatabaseServer{},
		Delivery{},
		Distribution{},
		Event{},
		Host{},
		Identity{},
		LoginLink{},
		Notice{},
		NoticeAttempt{},
		NoticeMessage{},
		Outlet{},
		Platform{},
		Queue{},
		RecoveryCode{},
		SecondFactor{},
		SignIn{},
		Site{},
		SourceState{},
		Task{},
		TaskLine{},
		Throttle{},
		Token{},
		Upgrade{},
		UpgradeStep{},
		Upstream{},
		User{},
		Webhook{},
		WebhookSecret{},
	} {
		kind := reflect.TypeOf(model)
		for f := range kind.Fields() {
			bytes := f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint8
			if !f.IsExported() || !bytes && (!secretName.MatchString(f.Name) || slices.Contains(harmlessFields, kind.Name()+"."+f.Name)) {
				continue
			}
			looked++
			filled := reflect.New(kind).Elem()
			switch value := filled.FieldByIndex(f.Index); {
			case value.Kind() == reflect.String:
				value.SetString(planted)
			case bytes:
				value.SetBytes([]byte(planted))
			case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.String:
				value.Set(reflect.ValueOf([]string{planted}).Convert(value.Type()))
			default:
				continue
			}
			for _, changes := range []Changes{Diff(nil, filled.Interface()), Diff(filled.Interface(), model)} {
				text, err := json.Marshal(changes)
				if err != nil || strings.Contains(string(text), planted) || strings.Contains(string(text), "cGxhbnRlZC") {
					t.Errorf("%s.%s is shown: %s %v; give the field the tag audit:\"secret\"", kind.Name(), f.Name, text, err)
				}
			}
		}
	}
	if looked < 12 {
		t.Errorf("only %d fields were looked at", looked)
	}
}

func TestBlot_TakesSecretsOutOfTexts(t *testing.T) {
	for text, want := range map[string]string{
		`Get "https://example.org/a?access_token=s3cr3t": EOF`:     `Get "https://example.org/a?access_token=…": EOF`,
		"fatal: https://ada:s3cr3t@example.org/a.git has no main":  "fatal: https://ada:…@example.org/a.git has no main",
		"Write ssh://git@example.org:22/a.git, see a@b:c@d":        "Write ssh://git@example.org:22/a.git, see a@b:c@d",
		"https://example.org:8080/a@b?ref=main&page=2 is no token": "https://example.org:8080/a@b?ref=main&page=2 is no token",
	} {
		if got := Blot(text); got != want || Blot(got) != got {
			t.Errorf("got %q, want %q", got, want)
		}
		if Blotted(text) || Blotted(want) != (text != want) {
			t.Errorf("%q: what is blotted is not known", text)
		}
		if said := Explain(Wrapf(Unavailable, nil, "Unable to download %s", text)); said != "Unable to download "+want {
			t.Errorf("an error says %q", said)
		}
	}
}
