package tests

// Every example of the docs that installs the chart, rendered as it is written, with the files that stand beside it.

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var fence = regexp.MustCompile("(?ms)^```(\\w+)(?: (\\S+))?\\n(.*?)^```$")

func TestTheExamplesOfTheDocsCanBeInstalled(t *testing.T) {
	t.Parallel()
	for page, least := range map[string]int{"docs/kubernetes.md": 12, "helm/fanfare/README.md": 2} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			files := t.TempDir()
			var commands [][]string
			for _, block := range fence.FindAllStringSubmatch(read(t, "../../"+page), -1) {
				language, name, text := block[1], block[2], block[3]
				if language == "yaml" && name != "" {
					if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if language == "sh" {
					commands = append(commands, installs(t, text)...)
				}
			}
			if len(commands) < least {
				t.Errorf("only %d examples are found", len(commands))
			}
			for _, command := range commands {
				checkExample(t, files, command)
			}
		})
	}
}

// The commands of a block that render or install our chart, as `helm template` and its arguments.
func installs(t *testing.T, block string) [][]string {
	t.Helper()
	var found [][]string
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		words := words(line)
		if len(words) < 2 || words[0] != "helm" || !slices.Contains(words, "helm/fanfare") {
			continue
		}
		if !slices.Contains([]string{"install", "upgrade", "template"}, words[1]) {
			t.Errorf("nobody has said how to try out %q", line)
			continue
		}
		rest := slices.DeleteFunc(words[2:], func(word string) bool { return word == "--install" })
		found = append(found, append([]string{"template"}, rest...))
	}
	return found
}

// What a shell makes of a line: words, in single or double quotes where they need to be.
func words(line string) []string {
	var all []string
	for _, word := range word.FindAllString(line, -1) {
		all = append(all, strings.NewReplacer("'", "", `"`, "").Replace(word))
	}
	return all
}

var word = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)

func checkExample(t *testing.T, files string, command []string) {
	t.Helper()
	for i, word := range command {
		if command[max(i-1, 0)] == "--values" || command[max(i-1, 0)] == "-f" {
			command[i] = filepath.Join(files, word)
		}
	}
	out, err := helm(t, command...)
	if err != nil {
		t.Error(err)
		return
	}
	all := decode(t, out)
	spec := node(t, all).Spec.Template.Spec
	mounted := mount(t, all, spec, spec.Containers[0], nil)
	if _, said, err := fanfare(t, mounted.env, "config", "check"); err != nil {
		t.Errorf("%v: %v: %s", command, err, said)
	}
}
