package drupalorg_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/models"
	"hefring/plugins/drupalorg"
)

// feedText writes a feed: head are elements of the project, each release is
// elements of a release.
func feedText(head string, releases ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n<project xmlns:dc=\"http://purl.org/dc/elements/1.1/\">\n" + head + "<releases>\n")
	for _, r := range releases {
		b.WriteString("<release>" + r + "</release>\n")
	}
	b.WriteString("</releases></project>")
	return b.String()
}

const modernHead = `<title>Sample</title><short_name>sample</short_name><dc:creator>x</dc:creator><type>project_module</type><project_status>published</project_status>`

// release writes the elements of a release with types of release.
func release(version string, types ...string) string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, `<version>%s</version><status>published</status><release_link>https://example.org/%[1]s</release_link><download_link>https://example.org/%[1]s.tar.gz</download_link><date>1700000000</date><terms>`, version)
	for _, t := range types {
		text.WriteString("<term><name>Release type</name><value>" + t + "</value></term>")
	}
	return text.String() + "</terms>"
}

func mustParse(t *testing.T, text string) drupalorg.Feed {
	t.Helper()
	feed, err := drupalorg.Parse([]byte(text))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return feed
}

func TestParse_EveryElement(t *testing.T) {
	feed := mustParse(t, feedText(`<title> Sample
 site </title><short_name>sample</short_name><dc:title>no</dc:title><type>project_distribution</type><api_version>7.x</api_version>
<recommended_major>2</recommended_major><supported_majors>2,3</supported_majors><default_major>2</default_major>
<project_status>published</project_status><link>https://example.org/sample</link><composer_namespace>drupal/sample</composer_namespace>
<terms><term><name>Projects</name><value>Distributions</value></term></terms>`,
		`<name>sample 7.x-2.1</name><version>7.x-2.1</version><tag>7.x-2.1</tag><version_major>2</version_major><version_patch>1</version_patch>
<status>published</status><release_link>https://example.org/n/1</release_link><download_link>https://example.org/a.tar.gz</download_link>
<date>1400000000</date><mdhash>13228d686338d4242808e6783a89d896</mdhash><filesize>12</filesize><core_compatibility>7.x</core_compatibility>
<files><file><url>https://example.org/a-core.tar.gz</url><archive_type>tar.gz</archive_type><variant>full</variant><md5>6959f89fe5aeb0bcb26acab54713ad1e</md5><size>9</size><filedate>1400000001</filedate></file>
<file><url>https://example.org/a.zip</url><archive_type>zip</archive_type><variant>profile-only</variant><md5>x</md5></file></files>
<terms><term><name>Release type</name><value>Security update</value></term><term><name>Other</name><value>Insecure</value></term></terms>
<security covered="1">Covered by the <b>policy</b></security>`))
	r := feed.Releases[0]
	got := fmt.Sprint(feed.Title, "|", feed.Name, "|", feed.Kind(), "|", feed.API, "|", feed.RecommendedMajor, feed.SupportedMajors, feed.DefaultMajor, "|",
		feed.ProjectStatus, feed.Link, feed.Composer, "|", feed.Legacy(), "|", r.Version, r.Tag, r.Status, r.Link, r.Download, r.MD5, r.Date, r.Size, r.Core,
		r.Types, r.Covered, "|", r.Archive("full"), r.Archive("projects"))
	want := "Sample site|sample|profile|7.x|2[2 3]2|publishedhttps://example.org/sampledrupal/sample|true|" +
		"7.x-2.17.x-2.1publishedhttps://example.org/n/1https://example.org/a.tar.gz13228d686338d4242808e6783a89d89614000000001" +
		"27.x[Security update]true|{https://example.org/a-core.tar.gz tar.gz full 6959f89fe5aeb0bcb26acab54713ad1e 9 1400000001}" +
		"{https://example.org/a.tar.gz tar.gz  13228d686338d4242808e6783a89d896 12 1400000000}"
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParse_ChecksumOfFiles(t *testing.T) {
	feed := mustParse(t, feedText(modernHead+"<supported_branches>1.0.</supported_branches>", release("1.0.0")+
		`<files><file><url>https://example.org/1.0.0.zip</url><archive_type>zip</archive_type><md5>aa</md5></file>
<file><url>https://example.org/1.0.0.tar.gz</url><archive_type>tar.gz</archive_type><md5>bb</md5></file></files>`))
	if got := feed.Releases[0].Archive(""); got.MD5 != "bb" {
		t.Errorf("got %+v", got)
	}
}

func TestParse_VersionTwice(t *testing.T) {
	feed := mustParse(t, feedText(modernHead, release("1.1.0"), release("1.0.0"), release("1.1.0", "Insecure")))
	if len(feed.Releases) != 2 || !feed.Releases[0].Insecure() {
		t.Errorf("got %+v", feed.Releases)
	}
}

func TestParse_ErrorDocument(t *testing.T) {
	for text, want := range map[string]string{
		`<?xml version="1.0"?><error>No release history was found for the requested project (x).</error>`: "No release history was found",
		`<error/>`: "no release history",
	} {
		_, err := drupalorg.Parse([]byte(text))
		if models.ReasonOf(err) != models.ReasonNotFound || models.CodeOf(err) != models.NotFound || !strings.Contains(models.Explain(err), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What no feed may hold ends in an error with a reason, soon and in little memory.
func TestParse_Hostile(t *testing.T) {
	laughs := `<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>`
	good := feedText(modernHead, release("1.0.0"))
	for name, text := range map[string]string{
		"empty":                 "",
		"blank":                 " \n",
		"no XML":                "Not found",
		"HTML":                  "<html><body>Sorry<br></body></html>",
		"other root":            "<rss/>",
		"no short name":         "<project><title>x</title></project>",
		"cut off":               good[:len(good)-20],
		"two roots":             good + "<project/>",
		"billion laughs":        strings.Replace(good, "<project", laughs+"<project", 1),
		"laughs used":           laughs + "<project><short_name>&c;</short_name></project>",
		"external entity":       `<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><project><short_name>&x;</short_name></project>`,
		"harmless doctype":      `<!DOCTYPE project>` + good,
		"unknown entity":        strings.Replace(good, "Sample", "&nbsp;", 1),
		"deep":                  strings.Repeat("<project>", 100_000),
		"deep in release":       feedText(modernHead, strings.Repeat("<a>", 50)+strings.Repeat("</a>", 50)),
		"NUL":                   strings.Replace(good, "Sample", "Sam\x00ple", 1),
		"control":               strings.Replace(good, "Sample", "Sam\x1bple", 1),
		"numeric NUL":           strings.Replace(good, "Sample", "Sam&#0;ple", 1),
		"no UTF-8":              strings.Replace(good, "Sample", "Sam\xff\xfeple", 1),
		"Latin 1":               strings.Replace(good, "utf-8", "iso-8859-1", 1),
		"UTF-16":                "\xff\xfe<\x00p\x00r\x00o\x00j\x00e\x00c\x00t\x00/\x00>\x00",
		"long value":            strings.Replace(good, "Sample", strings.Repeat("x", 5000), 1),
		"long text in releases": strings.Replace(good, "<releases>", "<releases>"+strings.Repeat("x", 5000), 1),
		"many releases":         feedText(modernHead, strings.Repeat("<version>1</version></release><release>", 30_000)),
		"many files":            feedText(modernHead, "<files>"+strings.Repeat("<file></file>", 200)+"</files>"),
		"many terms":            feedText(modernHead, "<terms>"+strings.Repeat("<term><name>Release type</name><value>x</value></term>", 200)+"</terms>"),
		"mismatched":            "<project><short_name>x</title></project>",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := drupalorg.Parse([]byte(text))
			if models.ReasonOf(err) != models.ReasonMalformed || models.Explain(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParse_TooLarge(t *testing.T) {
	_, err := drupalorg.Parse(make([]byte, drupalorg.MaxBytes+1))
	if models.ReasonOf(err) != models.ReasonTooLarge {
		t.Errorf("got %v", err)
	}
}

// Many releases, each of a major version of its own, are judged in no time.
func TestFeed_ManyMajorVersions(t *testing.T) {
	var list []string
	for i := range 5_000 {
		list = append(list, fmt.Sprintf("<version>%d.0.0</version><status>published</status><release_link>x</release_link><core_compatibility>^1</core_compatibility>", 5_000-i))
	}
	feed := mustParse(t, feedText(modernHead+"<supported_branches>"+strings.Repeat("x,", 2000)+",1.</supported_branches>", list...))
	start := time.Now()
	feed.Status("1.0.0", 0)
	_, _ = feed.PickDrush("7.x", "")
	_, _ = feed.PickDrush("8.x", "3")
	_, _ = feed.Newest(drupalorg.Channel{})
	_, _ = feed.Installable("")
	drupalorg.CoreRanges("^1 || ^2", feed, "1.0.0")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Much room between elements is no attack.
func TestParse_Whitespace(t *testing.T) {
	feed := mustParse(t, strings.ReplaceAll(feedText(modernHead, release("1.0.0")), "><", ">"+strings.Repeat(" \n", 3000)+"<"))
	if feed.Name != "sample" || len(feed.Releases) != 1 {
		t.Errorf("got %+v", feed)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(feedText(modernHead+"<supported_branches>8.x-1.,2.0.</supported_branches>", release("2.0.1", "Security update"), release("8.x-1.x-dev"), release("8.x-1.0-beta2", "Insecure"))), "8.x-1.0", "1.x", int64(1700000000))
	f.Add([]byte(feedText(`<short_name>drupal</short_name><project_status>published</project_status><api_version>7.x</api_version><recommended_major>7</recommended_major><supported_majors>7</supported_majors>`,
		release("7.103", "Security update")+`<version_major>7</version_major><version_patch>103</version_patch>`, release("7.x-dev")+`<version_major>7</version_major><version_extra>dev</version_extra>`)), "7.101", "7", int64(0))
	f.Add([]byte("<error>No release history</error>"), "", "", int64(-1))
	for _, name := range []string{"update/drupal.sec.10.5.0.xml", "update/aaa_update_test.sec.8.x-1.2_8.x-2.2.xml", "drupal7/drupal.2-sec.xml"} {
		if data, err := os.ReadFile(filepath.Join(fixturesFolder(f), name)); err == nil {
			f.Add(data, "10.4.0", "8.x", int64(0))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, installed, version string, datestamp int64) {
		feed, err := drupalorg.Parse(data)
		if err != nil {
			if e, ok := errors.AsType[*models.Error](err); !ok || e.Reason == "" || e.Message == "" {
				t.Fatalf("an error that says nothing: %v", err)
			}
			return
		}
		judge(t, feed, installed, version, datestamp)
	})
}

// FuzzStatus makes well-formed feeds: each line is a release, its fields are
// divided by semicolons.
func FuzzStatus(f *testing.F) {
	f.Add(false, "drupal", "10.4.,10.5.,11.0.", "11.0.0-rc1;p;S;9\n10.5.1;p;S;8\n10.5.0;p;I;7\n10.5.x-dev;p;;9\n10.4.9;u;;6\n10.4.8;p;U;5", "10.5.0", "10.x", int64(7))
	f.Add(false, "sample", "8.x-1.,2.0.", "2.0.1;p;S;9;;;;^9 || ^10\n8.x-1.x-dev;p;;8\n8.x-1.1-beta1;p;;7\n8.x-1.0;p;I;6", "8.x-1.0", "1", int64(0))
	f.Add(true, "views", "3,2", "7.x-4.0-beta1;p;;9;4;0;beta1\n7.x-3.25;p;S;8;3;25\n7.x-3.24;p;;7;3;24\n7.x-3.x-dev;p;;9;3;;dev\n7.x-2.0;u;;5;2;0", "7.x-3.24", "3.x", int64(6))
	f.Add(false, "drupal", "", "9.5.1;p;;1\n9.4.0;p;;1", "9.5.1", "8.8 - 9", int64(-1))
	f.Add(true, "drupal", "7", "7.103;p;S;9;7;103\n7.103;p;I;x;7;103\n7.x-dev;p;;9;7;;dev", "7.x-dev", "7.x", int64(1))
	f.Fuzz(func(t *testing.T, legacy bool, name, supported, lines, installed, version string, datestamp int64) {
		if len(lines) > 20_000 {
			return
		}
		head := element("short_name", name) + element("project_status", "published")
		if legacy {
			head += "<api_version>7.x</api_version>" + element("supported_majors", supported) + element("recommended_major", version)
		} else {
			head += element("supported_branches", supported)
		}
		var releases []string
		for line := range strings.Lines(lines) {
			releases = append(releases, releaseOf(strings.Split(strings.TrimSuffix(line, "\n"), ";")))
		}
		feed, err := drupalorg.Parse([]byte(feedText(head, releases...)))
		if err != nil {
			return // characters or lengths that no feed may hold
		}
		judge(t, feed, installed, version, datestamp)
	})
}

func element(name, text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return "<" + name + ">" + b.String() + "</" + name + ">"
}

// releaseOf writes a release with version, status, types, date, and what legacy
// feeds tell of the version.
func releaseOf(fields []string) string {
	var text strings.Builder
	text.WriteString("<release_link>https://example.org/</release_link>")
	for i, name := range []string{"version", "status", "terms", "date", "version_major", "version_patch", "version_extra", "core_compatibility"} {
		if i >= len(fields) || fields[i] == "" {
			continue
		}
		switch value := fields[i]; {
		case name == "status" && value == "p":
			text.WriteString("<status>published</status>")
		case name == "status" && value == "u":
			text.WriteString("<status>unpublished</status>")
		case name == "terms":
			for letter, word := range map[string]string{"S": "Security update", "I": "Insecure", "U": "Unsupported"} {
				if strings.Contains(value, letter) {
					text.WriteString("<terms><term><name>Release type</name>" + element("value", word) + "</term></terms>")
				}
			}
		default:
			text.WriteString(element(name, value))
		}
	}
	return text.String()
}

// judge asks everything that can be asked of a feed.
func judge(t *testing.T, feed drupalorg.Feed, installed, version string, datestamp int64) {
	t.Helper()
	for _, v := range append([]string{installed, version, ""}, versions(feed)...) {
		holds(t, feed, v, datestamp)
		for _, core := range []string{"7.x", "8.9.20", version} {
			if picked, err := feed.PickDrush(core, v); err == nil && !picked.Release.Published() {
				t.Fatalf("picked the unpublished %s", picked.Release.Version)
			}
		}
	}
	for _, c := range []drupalorg.Channel{{}, {PreReleases: true}, {Major: 9}} {
		if r, err := feed.Newest(c); err == nil && (!r.Published() || r.Insecure() || r.Unsupported()) {
			t.Fatalf("newest is %+v", r)
		}
	}
	drupalorg.CoreRanges(version, feed, installed)
}

func versions(feed drupalorg.Feed) []string {
	var list []string
	for _, r := range feed.Releases[:min(len(feed.Releases), 5)] {
		list = append(list, r.Version)
	}
	return list
}

// holds checks what every judgement must keep to.
func holds(t *testing.T, feed drupalorg.Feed, installed string, datestamp int64) {
	t.Helper()
	s := feed.Status(installed, datestamp)
	if s.State == "" || s.State == drupalorg.Unknown && s.Reason == "" {
		t.Fatalf("%q: no state: %+v", installed, s)
	}
	for _, version := range append([]string{s.Recommended, s.Latest, s.Snapshot, s.LatestOfAll}, s.Also...) {
		if r, ok := feed.Release(version); version != "" && (!ok || !r.Published() && version != installed) {
			t.Fatalf("%q: sends to %q", installed, version)
		}
	}
	list, err := feed.Installable(installed)
	if err != nil {
		return
	}
	for _, r := range list {
		if !r.Published() || r.Insecure() || r.Unsupported() {
			t.Fatalf("%q: %q is installable", installed, r.Version)
		}
	}
}
