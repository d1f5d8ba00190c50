// Generate writes helm/fanfare/README.md and helm/fanfare/values.schema.json anew, after a change of values.yaml or of
// docs/configuration.md: `go -C helm/tests run ./generate`.
package main

import (
	"fmt"
	"os"

	"fanfare.dev/helm-tests/generated"
)

const (
	chart = "../fanfare/"
	page  = "../../docs/configuration.md"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	values, err := os.ReadFile(chart + "values.yaml")
	if err != nil {
		return err
	}
	readme, err := os.ReadFile(chart + "README.md")
	if err != nil {
		return err
	}
	made, err := generated.Readme(string(readme), values)
	if err != nil {
		return err
	}
	settings, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	schema, err := os.ReadFile(chart + "values.schema.json")
	if err != nil {
		return err
	}
	if schema, err = generated.Schema(schema, string(settings)); err != nil {
		return err
	}
	if err := os.WriteFile(chart+"README.md", []byte(made), 0o644); err != nil {
		return err
	}
	return os.WriteFile(chart+"values.schema.json", schema, 0o644)
}
