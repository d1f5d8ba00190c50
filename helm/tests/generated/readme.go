package generated

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	begin = "<!-- values: begin -->\n"
	end   = "<!-- values: end -->\n"
)

// Readme returns the chart's README with the table of its values between the two marks. Each value must have a comment of its
// own or stand below one that has.
func Readme(readme string, values []byte) (string, error) {
	before, rest, found := strings.Cut(readme, begin)
	_, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		return "", errors.New("README.md lacks the marks around the table of values")
	}
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return "", fmt.Errorf("values.yaml is no YAML: %w", err)
	}
	rows, err := rows("", document.Content[0])
	if err != nil {
		return "", err
	}
	table := "\n| value | default | meaning |\n|---|---|---|\n" + strings.Join(rows, "") + "\n"
	return before + begin + table + end + after, nil
}

// The lines of the table for what is in a mapping, in the order of the file.
func rows(path string, mapping *yaml.Node) ([]string, error) {
	var all []string
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		deeper := value.Kind == yaml.MappingNode && commented(value)
		switch {
		case key.HeadComment != "":
			row, err := row(name, key.HeadComment, value, deeper)
			if err != nil {
				return nil, err
			}
			all = append(all, row)
		case !deeper:
			return nil, fmt.Errorf("values.yaml:%d: %s has no comment", key.Line, name)
		}
		if deeper {
			below, err := rows(name, value)
			if err != nil {
				return nil, err
			}
			all = append(all, below...)
		}
	}
	return all, nil
}

// Whether something in a mapping has a comment, at any depth.
func commented(mapping *yaml.Node) bool {
	for i := 0; i < len(mapping.Content); i += 2 {
		value := mapping.Content[i+1]
		if mapping.Content[i].HeadComment != "" || value.Kind == yaml.MappingNode && commented(value) {
			return true
		}
	}
	return false
}

func row(name, comment string, value *yaml.Node, deeper bool) (string, error) {
	standard := ""
	if !deeper {
		var decoded any
		if err := value.Decode(&decoded); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		written, err := json.Marshal(decoded)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		standard = "`" + string(written) + "`"
	}
	var words []string
	for line := range strings.Lines(comment) {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	meaning := strings.ReplaceAll(strings.Join(words, " "), "|", "\\|")
	return fmt.Sprintf("| `%s` | %s | %s |\n", name, standard, meaning), nil
}
