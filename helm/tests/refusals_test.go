package tests

// What can't work is refused before anything is installed, with the value's name and what to set.

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTyposAreRefusedWithTheirPath(t *testing.T) {
	t.Parallel()
	for values, path := range map[string]string{
		"replicaCuont: 3":                                     "at '': additional properties 'replicaCuont' not allowed",
		"config: {drain_dealy_s: 5}":                          "at '/config': additional properties 'drain_dealy_s' not allowed",
		"config: {topics: [{pattern: tenant, ttl: 1}]}":       "at '/config/topics/0': additional properties 'ttl' not allowed",
		"redis: {trial: {enable: true}}":                      "at '/redis/trial': additional properties 'enable' not allowed",
		"networkPolicy: {egress: {redis: {port: [1]}}}":       "at '/networkPolicy/egress/redis': additional properties 'port' not allowed",
		"networkPolicy: {adminFrom: [{podSelectr: {}}]}":      "at '/networkPolicy/adminFrom/0': additional properties 'podSelectr' not allowed",
		"ingress: {timeoutSeconds: 31536000}":                 "at '/ingress/timeoutSeconds': maximum: got 3.1536",
		"autoscaling: {mode: kedda}":                          "at '/autoscaling/mode': value must be one of 'cpu', 'adapter', 'keda'",
		"config: {drain_s: soon}":                             "at '/config/drain_s': got string, want",
		"config: null":                                        "at '': missing property 'config'",
		"otel: {env: {FANFARE_DRAIN_S: 1}}":                   "at '/otel/env': additional properties 'FANFARE_DRAIN_S' not allowed",
		"commonLabels: {app.kubernetes.io/part-of: platform}": "at '/commonLabels/app.kubernetes.io~1part-of': false schema",
		"podLabels: {app.kubernetes.io/name: live}":           "at '/podLabels/app.kubernetes.io~1name': false schema",
		"redis: {url: 'redis:6379'}":                          "at '/redis/url': 'redis:6379' does not match pattern",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			if why := refusal(t, least, values); !strings.Contains(why, path) {
				t.Errorf("not %q, but\n%s", path, why)
			}
		})
	}
}

func TestWhatDoesNotBelongTogetherIsRefusedWithWhatToSet(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, values, why string }{
		{"no keys for tokens", "auth: {hs256: {existingSecret: ''}}",
			"no way to check tokens: set auth.hs256.existingSecret, auth.publicKeys.existingSecret or config.jwt_jwks_url"},
		{"no Redis", "redis: {url: ''}", "no Redis: set redis.url, such as redis://redis:6379 (or redis.trial.enabled=true"},
		{"two Redis", "redis: {trial: {enabled: true}}", "redis.url and redis.trial.enabled exclude each other"},
		{"a password in the address", "redis: {url: 'redis://node:secret@redis'}", "redis.url has a password"},
		{"a password in the Job's address", "redis: {functionsJob: {url: 'redis://admin:secret@redis'}}", "redis.functionsJob.url has a password"},
		{"a password with a slash", "redis: {url: 'redis://node:se/cret/secret@redis'}", "redis.url has a password"},
		{"a password with an at sign", "redis: {url: 'redis://node:se@cret/secret@redis'}", "redis.url has a password"},
		{"a Job before its Redis", "redis: {url: '', functions: check, trial: {enabled: true}}", "redis.functions=check needs a Redis that is there before the nodes"},
		{"no names of public keys", "auth: {publicKeys: {existingSecret: issuer}}", "auth.publicKeys.keys is empty"},
		{"two sources of a CA", "redis: {tls: {ca: {existingSecret: a, existingConfigMap: b}}}", "redis.tls.ca has both"},
		{"too many nodes at least", "autoscaling: {enabled: true, minReplicas: 11}", "autoscaling.minReplicas is above autoscaling.maxReplicas"},
		{"utilisation of nothing", "{autoscaling: {enabled: true}, resources: {requests: {cpu: null}}}", "autoscaling by CPU needs resources.requests.cpu"},
		{"utilisation without resources", "{autoscaling: {enabled: true}, resources: null}", "autoscaling by CPU needs resources.requests.cpu"},
		{"CPU without CPU", "autoscaling: {enabled: true, targetCPUUtilizationPercentage: null}", "autoscaling.mode=cpu needs autoscaling.targetCPUUtilizationPercentage"},
		{"nobody to ask", "autoscaling: {enabled: true, mode: keda}", "autoscaling.mode=keda needs autoscaling.keda.prometheusAddress"},
		{"no host", "ingress: {enabled: true}", "ingress.enabled without ingress.hosts"},
		{"no gateway", "httpRoute: {enabled: true}", "httpRoute.enabled without httpRoute.parentRefs"},
		{"traces to nowhere", "otel: {env: {OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/v1/traces'}}", "otel.env without otel.endpoint"},
		{"two names of the service", "otel: {endpoint: 'http://collector:4318', env: {OTEL_SERVICE_NAME: live}}", "otel.env.OTEL_SERVICE_NAME is set by the chart: set otel.serviceName"},
		{"no budget", "podDisruptionBudget: {maxUnavailable: null}", "podDisruptionBudget has neither minAvailable nor maxUnavailable"},
		{"two budgets", "podDisruptionBudget: {minAvailable: 2}", "podDisruptionBudget has both"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			why := refusal(t, least, c.values)
			if !strings.Contains(why, c.why) {
				t.Errorf("not %q, but\n%s", c.why, why)
			}
			if strings.Contains(why, "secret@") {
				t.Errorf("the password is told:\n%s", why)
			}
		})
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	if why := refusal(t, "ingress: {enabled: true}"); !strings.Contains(why, "3 problems:") {
		t.Error(why)
	}
}

// A value that the schema doesn't describe in full is one whose typos nobody finds.
func TestTheSchemaIsClosedEverywhere(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal([]byte(read(t, chart+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	checkClosed(t, "", schema)
}

func checkClosed(t *testing.T, path string, schema map[string]any) {
	if _, has := schema["properties"]; has && schema["additionalProperties"] != false {
		t.Errorf("%s takes unknown values", path)
	}
	for _, word := range []string{"properties", "definitions"} {
		below, _ := schema[word].(map[string]any)
		for name, schema := range below {
			checkClosed(t, path+"/"+name, schema.(map[string]any))
		}
	}
	if items, has := schema["items"].(map[string]any); has {
		checkClosed(t, path+"/0", items)
	}
}
