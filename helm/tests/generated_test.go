package tests

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"fanfare.dev/helm-tests/generated"
)

const again = "is out of date: run `go -C helm/tests run ./generate`"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheReadmeHasEveryValueAsItIs(t *testing.T) {
	readme := read(t, chart+"/README.md")
	made, err := generated.Readme(readme, []byte(read(t, chart+"/values.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if made != readme {
		t.Fatal("helm/fanfare/README.md " + again)
	}
}

func TestAValueWithoutACommentIsRefused(t *testing.T) {
	_, err := generated.Readme(read(t, chart+"/README.md"), []byte("# Why.\na: 1\nb:\n  c: 2\n"))
	if err == nil || err.Error() != "values.yaml:3: b has no comment" {
		t.Fatal(err)
	}
}

func TestTheSchemaKnowsEverySettingOfANode(t *testing.T) {
	schema := read(t, chart+"/values.schema.json")
	made, err := generated.Schema([]byte(schema), read(t, "../../docs/configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(made) != schema {
		t.Fatal("helm/fanfare/values.schema.json " + again)
	}
}

func TestTheChartInstallsTheVersionThatItIsBesides(t *testing.T) {
	workspace := regexp.MustCompile(`(?m)^version = "(.*)"$`).FindStringSubmatch(read(t, "../../Cargo.toml"))
	if workspace == nil || !strings.Contains(read(t, chart+"/Chart.yaml"), "appVersion: \""+workspace[1]+"\"\n") {
		t.Fatalf("Cargo.toml has version %v, Chart.yaml another appVersion", workspace)
	}
}
