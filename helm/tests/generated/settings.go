// Package generated makes what follows from something else: the chart's README from the comments of its values, and the part
// of its schema that is about settings from docs/configuration.md. It reads no files and writes none.
package generated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// What the chart decides itself, and by which of its values.
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

// One line of the tables in docs/configuration.md.
type setting struct {
	key, unit string
}

var settingLine = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| `FANFARE_[A-Z0-9_]+`<br>`--[a-z0-9-]+` \\| .*? \\| ([a-z ]+) \\| .* \\|$")

// All settings of a node but those that the chart decides, from the text of docs/configuration.md.
func settings(page string) ([]setting, error) {
	own := maps.Clone(ownSettings)
	var others []setting
	for _, found := range settingLine.FindAllStringSubmatch(page, -1) {
		if _, is := own[found[1]]; is {
			delete(own, found[1])
		} else {
			others = append(others, setting{key: found[1], unit: found[2]})
		}
	}
	if len(own) > 0 {
		return nil, fmt.Errorf("docs/configuration.md doesn't have these settings of the chart any more: %v", own)
	}
	return others, nil
}

// Schema returns the chart's schema with the settings of a node as the properties of `config`.
func Schema(schema []byte, page string) ([]byte, error) {
	settings, err := settings(page)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(schema, &tree); err != nil {
		return nil, fmt.Errorf("values.schema.json is no JSON: %w", err)
	}
	properties := map[string]any{}
	for _, setting := range settings {
		if properties[setting.key], err = setting.schema(); err != nil {
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
func (s setting) schema() (map[string]any, error) {
	schema := map[string]any{}
	switch s.unit {
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
		if !strings.HasPrefix(s.unit, "list") {
			return nil, fmt.Errorf("%s has the unit %q: say here what its values look like", s.key, s.unit)
		}
		schema["type"] = []string{"string", "array", "null"}
		schema["items"] = map[string]any{"type": "string"}
	}
	return schema, nil
}
