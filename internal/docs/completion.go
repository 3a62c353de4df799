package docs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"hefring/models"
)

// Shells are those that Completion writes for.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Completion writes a shell's script that completes commands, flags, the values
// of flags that take a few only, and files. It starts no program: everything
// stands in the script.
func Completion(shell string, app *kong.Application) (string, error) {
	c := newCompletion(app)
	switch shell {
	case "bash":
		return c.bash(), nil
	case "zsh":
		return c.zsh(), nil
	case "fish":
		return c.fish(), nil
	}
	return "", models.InvalidField("shell", "There is no completion for "+shell+". Use "+strings.Join(Shells(), ", ")+".")
}

// completion is what all three scripts are written from. A place is what was
// typed so far, flags and arguments left out: " site list", each word with a
// space before it.
type completion struct {
	program  string
	places   []completionPlace
	settings []*kong.Flag
	values   []flagValue
}

type completionPlace struct {
	place    string
	help     string
	below    []completionPlace // the next words
	flags    []*kong.Flag      // that are no settings
	settings bool              // takes the settings too
	files    bool              // takes the name of a file as an argument
}

// flagValue says what a flag takes at some places.
type flagValue struct {
	flag   string
	places []string // nil for all
	words  []string // the only values
	files  bool
}

func newCompletion(app *kong.Application) *completion {
	c := &completion{program: app.Name}
	known := settingVariables()
	var all []*kong.Flag
	of := map[*kong.Flag]string{}
	for _, node := range append([]*kong.Node{app.Node}, commands(app.Node)...) {
		place := placeOf(node)
		one := completionPlace{place: place, help: firstSentence(node.Help)}
		options := optionsOf(node, known)
		one.flags, one.settings = options.own, len(options.settings) > fewSettings
		if one.settings {
			c.settings = options.settings
		} else {
			one.flags = append(one.flags, options.settings...)
		}
		for _, argument := range node.Positional {
			one.files = one.files || isFile(argument)
		}
		for _, flag := range one.flags {
			all, of[flag] = append(all, flag), place
		}
		c.places = append(c.places, one)
	}
	for i := range c.places {
		for _, other := range c.places[1:] {
			if other.above() == c.places[i].place {
				c.places[i].below = append(c.places[i].below, other)
			}
		}
	}
	for _, flag := range c.settings {
		c.addValue(flag, "")
	}
	for _, flag := range all {
		c.addValue(flag, of[flag])
	}
	// What holds at some places only is looked at first.
	slices.SortStableFunc(c.values, func(a, b flagValue) int { return min(1, len(b.places)) - min(1, len(a.places)) })
	return c
}

func placeOf(node *kong.Node) string {
	return strings.TrimRight(" "+strings.Join(words(node), " "), " ")
}

func (p completionPlace) above() string { return p.place[:strings.LastIndex(p.place, " ")] }

func (p completionPlace) word() string { return p.place[strings.LastIndex(p.place, " ")+1:] }

func isFile(v *kong.Value) bool {
	return strings.HasSuffix(v.Tag.Type, "path") || v.Tag.Type == "existingfile"
}

// addValue notes what a flag takes; place is "" for settings, which are the same
// everywhere.
func (c *completion) addValue(flag *kong.Flag, place string) {
	if flag.IsBool() {
		return
	}
	one := flagValue{flag: "--" + flag.Name, files: isFile(flag.Value)}
	if flag.Enum != "" {
		one.words = flag.EnumSlice()
	}
	for i, other := range c.values {
		if other.flag == one.flag && other.files == one.files && slices.Equal(other.words, one.words) {
			if place == "" || other.places == nil {
				c.values[i].places = nil
			} else {
				c.values[i].places = append(c.values[i].places, place)
			}
			return
		}
	}
	if place != "" {
		one.places = []string{place}
	}
	c.values = append(c.values, one)
}

// patterns are those of a shell's case for “place flag”.
func (v flagValue) patterns() string {
	if v.places == nil {
		return "*' " + v.flag + "'"
	}
	list := make([]string, 0, len(v.places))
	for _, place := range v.places {
		list = append(list, shellQuote(place+" "+v.flag))
	}
	return strings.Join(list, "|")
}

func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// allPlaces are the patterns of every command.
func (c *completion) allPlaces() string {
	list := make([]string, 0, len(c.places))
	for _, p := range c.places[1:] {
		list = append(list, shellQuote(p.place))
	}
	return strings.Join(list, "|")
}

func flagWords(flags []*kong.Flag) []string {
	list := []string{"--help"}
	for _, flag := range flags {
		list = append(list, "--"+flag.Name)
	}
	return list
}

func (c *completion) bash() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion for %[1]s. Put it where your bash looks, for example:
#   %[1]s completion bash > /etc/bash_completion.d/%[1]s
_%[1]s() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at='' word words='' files=''
  # bash makes a word of each “=”.
  [[ $cur == = ]] && cur=''
  [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at $word" in
      %[2]s) at="$at $word" ;;
    esac
  done
  COMPREPLY=()
  case "$at $prev" in
`, c.program, c.allPlaces())
	for _, value := range c.values {
		then := ""
		switch {
		case value.files:
			then = `compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); `
		case value.words != nil:
			then = "mapfile -t COMPREPLY < <(compgen -W " + shellQuote(strings.Join(value.words, " ")) + ` -- "$cur"); `
		}
		fmt.Fprintf(&b, "    %s) %sreturn ;;\n", value.patterns(), then)
	}
	b.WriteString("  esac\n  case \"$at\" in\n")
	for _, p := range c.places {
		fmt.Fprintf(&b, "    %s) words=%s", shellQuote(p.place), shellQuote(strings.Join(p.offers(), " ")))
		if p.settings {
			fmt.Fprintf(&b, `; words+=" $(_%s_settings)"`, c.program)
		}
		if p.files {
			b.WriteString("; files=yes")
		}
		b.WriteString(" ;;\n")
	}
	fmt.Fprintf(&b, `  esac
  if [[ $files && $cur != -* ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
_%[1]s_settings() {
  echo %[2]s
}
complete -F _%[1]s %[1]s
`, c.program, shellQuote(strings.Join(flagWords(c.settings)[1:], " ")))
	return b.String()
}

// offers are the words that can come next.
func (p completionPlace) offers() []string {
	list := make([]string, 0, len(p.below)+len(p.flags)+1)
	for _, next := range p.below {
		list = append(list, next.word())
	}
	return append(list, flagWords(p.flags)...)
}

func (c *completion) zsh() string {
	var b strings.Builder
	fmt.Fprintf(&b, `#compdef %[1]s
# zsh completion for %[1]s. Put it into a folder of your fpath, for example:
#   %[1]s completion zsh > /usr/local/share/zsh/site-functions/_%[1]s
_%[1]s() {
  local at='' prev=${words[CURRENT-1]} word
  local -a below flags settings
  for word in ${words[2,CURRENT-1]}; do
    case "$at $word" in
      (%[2]s) at="$at $word" ;;
    esac
  done
  if [[ $PREFIX == --*=* ]]; then
    prev=${PREFIX%%%%=*}
    compset -P '*='
  fi
  case "$at $prev" in
`, c.program, c.allPlaces())
	for _, value := range c.values {
		then := "_message value"
		switch {
		case value.files:
			then = "_files"
		case value.words != nil:
			then = "compadd -- " + strings.Join(value.words, " ")
		}
		fmt.Fprintf(&b, "    (%s) %s; return ;;\n", value.patterns(), then)
	}
	b.WriteString("  esac\n  settings=(\n" + zshFlags(c.settings) + "  )\n  case \"$at\" in\n")
	for _, p := range c.places {
		fmt.Fprintf(&b, "    (%s)\n", shellQuote(p.place))
		for _, next := range p.below {
			fmt.Fprintf(&b, "      below+=(%s)\n", shellQuote(next.word()+":"+next.help))
		}
		b.WriteString("      flags=('--help:Say what the command takes.'\n" + zshFlags(p.flags) + "      )\n")
		if p.settings {
			b.WriteString("      flags+=($settings)\n")
		}
		if p.files {
			b.WriteString("      [[ $PREFIX != -* ]] && _files\n")
		}
		b.WriteString("      ;;\n")
	}
	fmt.Fprintf(&b, `  esac
  (( $#below )) && _describe -t commands command below
  [[ $PREFIX == -* || $#below -eq 0 ]] && _describe -t options option flags
}
if [[ $funcstack[1] == _%[1]s ]]; then
  _%[1]s "$@"
else
  compdef _%[1]s %[1]s
fi
`, c.program)
	return b.String()
}

func zshFlags(flags []*kong.Flag) string {
	var b strings.Builder
	for _, flag := range flags {
		fmt.Fprintf(&b, "      %s\n", shellQuote("--"+flag.Name+":"+firstSentence(flag.Help)))
	}
	return b.String()
}

func (c *completion) fish() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# fish completion for %[1]s. Put it where fish looks, for example:
#   %[1]s completion fish > ~/.config/fish/completions/%[1]s.fish
function __%[1]s_at
    set -l at ''
    set -l typed (commandline -opc)
    for word in $typed[2..]
        switch "$at $word"
            case %[2]s
                set at "$at $word"
        end
    end
    contains -- "$at" $argv
end
function __%[1]s_takes_settings
    __%[1]s_at%[3]s
end
complete -c %[1]s -f
complete -c %[1]s -l help -d 'Say what the command takes.'
`, c.program, strings.ReplaceAll(c.allPlaces(), "|", " "), c.withSettings())
	for _, flag := range c.settings {
		fmt.Fprintf(&b, "complete -c %[1]s -n __%[1]s_takes_settings%[2]s -d %[3]s\n", c.program, fishFlag(flag), fishQuote(firstSentence(flag.Help)))
	}
	for _, p := range c.places {
		begin := fmt.Sprintf("complete -c %s -n %s", c.program, fishQuote("__"+c.program+"_at "+fishQuote(p.place)))
		for _, next := range p.below {
			fmt.Fprintf(&b, "%s -a %s -d %s\n", begin, next.word(), fishQuote(next.help))
		}
		if p.files {
			b.WriteString(begin + " -F\n")
		}
		for _, flag := range p.flags {
			fmt.Fprintf(&b, "%s%s -d %s\n", begin, fishFlag(flag), fishQuote(firstSentence(flag.Help)))
		}
	}
	return b.String()
}

func (c *completion) withSettings() string {
	var list strings.Builder
	for _, p := range c.places {
		if p.settings {
			list.WriteString(" " + fishQuote(p.place))
		}
	}
	return list.String()
}

func fishFlag(flag *kong.Flag) string {
	text := " -l " + flag.Name
	if flag.Short != 0 {
		text += " -s " + string(flag.Short)
	}
	switch {
	case flag.IsBool():
		return text
	case flag.Enum != "":
		return text + " -x -a " + fishQuote(strings.Join(flag.EnumSlice(), " "))
	case isFile(flag.Value):
		return text + " -r -F"
	}
	return text + " -x"
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
