package tests

import (
	"strings"
	"testing"
)

func TestTheNotesHaveTheNextCommand(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"":                                       "kubectl -n realtime port-forward service/live-fanfare 8080:8080",
		"replicaCount: 1":                        "kubectl -n realtime rollout status deployment/live-fanfare",
		"tests: {enabled: true}":                 "helm test live -n realtime --logs",
		"tests: {channel: other}":                "See an event go all the way:",
		"tls: {existingSecret: live}":            "the test needs tests.token (without auth.hs256) and\ntests.url (where nodes speak TLS)",
		"{service: {type: NodePort}, redis: {}}": "this port of a machine that runs a node",
		"service: {type: NodePort, externalTrafficPolicy: Cluster}":                               "this port of any machine:",
		"httpRoute: {enabled: true, parentRefs: [{name: public}]}":                                "config.trusted_proxies is not set",
		"service: {type: NodePort}":                                                               "-o jsonpath='{.spec.ports[0].nodePort}'",
		"apiKeys: {existingSecret: k}":                                                            "http://live-fanfare-admin.realtime:9090/v1",
		"ingress: {enabled: true, hosts: [live.example.com], tls: [{hosts: [live.example.com]}]}": "wss://live.example.com/ws",
		"ingress: {enabled: true, hosts: [live.example.com], paths: [/ws]}":                       "ws://live.example.com/ws",
		"httpRoute: {enabled: true, hostnames: [live.example.com], parentRefs: [{name: public}]}": "wss://live.example.com/ws",
		"autoscaling: {enabled: true, mode: adapter}":                                             "get configmap live-fanfare-adapter-rule",
		"redis: {functions: check, functionsJob: {enabled: false}}":                               "fanfare functions load --backplane redis://redis:6379",
		"{redis: {url: '', trial: {enabled: true}}}":                                              "Don't use it in production: set redis.url.",
	} {
		if got := notes(t, least, values); !strings.Contains(got, want) {
			t.Errorf("%s\nnothing of %q in\n%s", values, want, got)
		}
	}
	behind := notes(t, least, "{config: {trusted_proxies: [10.0.0.0/8]}, ingress: {enabled: true, hosts: [live.example.com]}}")
	if strings.Contains(behind, "trusted_proxies") {
		t.Errorf("the proxies are named:\n%s", behind)
	}
	if got := notes(t, least); strings.Contains(got, "WARNING") || strings.Contains(got, "trusted_proxies") {
		t.Errorf("a warning without a reason:\n%s", got)
	}
}
