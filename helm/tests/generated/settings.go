// Package generated makes what follows from something else: the chart's README from the comments of its values, and the part
// of its schema that is about settings from docs/configuration.md. It reads no files and writes none.
package generated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// What the chart decides itself, so that nobody has to keep two places alike.
var ownSettings = map[string]string{
	"listen":                       "bindAddress",
	"admin_listen":                 "bindAddress",
	"api_listen":                   "adminService",
	"tls_certificate_file":         "tls",
	"tls_key_file":                 "tls",
	"backplane":                    "redis.url",
	"redis_password_file":          "redis.password",
	"redis_sentinel_password_file": "redis.sentinelPassword",
	"redis_ca_file":                "redis.tls.ca",
	"redis_cert_file":              "redis.tls.client",
	"redis_key_file":               "redis.tls.client",
	"redis_functions":              "redis.functions",
	"jwt_hs256_secret":             "auth.hs256",
	"jwt_hs256_secret_file":        "auth.hs256",
	"jwt_public_key_file":          "auth.publicKeys",
	"api_keys":                     "apiKeys",
	"api_keys_file":                "apiKeys",
	"node_id":                      "the pod's name",
}

// Setting is one line of the tables in docs/configuration.md.
type Setting struct {
	Key, Variable, Unit, Meaning string
}

var settingLine = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| `(FANFARE_[A-Z0-9_]+)`<br>`--[a-z0-9-]+` \\| .*? \\| ([a-z ]+) \\| (.*) \\|$")

// Settings reads all settings of a node from the text of docs/configuration.md.
func Settings(page string) ([]Setting, error) {
	var all []Setting
	for _, found := range settingLine.FindAllStringSubmatch(page, -1) {
		meaning := strings.NewReplacer(`\|`, "|", `\*`, "*").Replace(found[4])
		all = append(all, Setting{Key: found[1], Variable: found[2], Unit: found[3], Meaning: meaning})
	}
	if len(all) < len(ownSettings) {
		return nil, fmt.Errorf("only %d settings are found in the tables of docs/configuration.md: have they another form now?", len(all))
	}
	return all, nil
}

// Schema returns the chart's schema with the settings of a node as the properties of `config`.
func Schema(schema []byte, page string) ([]byte, error) {
	settings, err := Settings(page)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(schema, &tree); err != nil {
		return nil, fmt.Errorf("values.schema.json is no JSON: %w", err)
	}
	properties := map[string]any{}
	for _, setting := range settings {
		if _, own := ownSettings[setting.Key]; own {
			continue
		}
		if properties[setting.Key], err = setting.schema(); err != nil {
			return nil, err
		}
	}
	tree["properties"].(map[string]any)["config"].(map[string]any)["properties"] = properties
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(tree)
	return out.Bytes(), err
}

// What a value of this setting may be; `null` leaves it to the node. The node itself judges the rest.
func (s Setting) schema() (map[string]any, error) {
	schema := map[string]any{"description": s.Meaning}
	switch s.Unit {
	case "s", "ms", "bytes", "number", "percent":
		schema["type"] = []string{"integer", "null"}
		schema["minimum"] = 0
	case "true or false":
		schema["type"] = []string{"boolean", "null"}
	case "rules":
		schema["type"] = []string{"array", "null"}
		schema["items"] = map[string]any{"$ref": "#/definitions/rule"}
	case "address", "file", "format", "level", "name", "text", "url", "word":
		schema["type"] = []string{"string", "null"}
	default:
		if !strings.HasPrefix(s.Unit, "list") {
			return nil, fmt.Errorf("%s has the unit %q: say here what its values look like", s.Key, s.Unit)
		}
		schema["type"] = []string{"string", "array", "null"}
		schema["items"] = map[string]any{"type": "string"}
	}
	return schema, nil
}
