package tests

// How clients come in, and what nodes may reach.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

func TestEachControllerLetsConnectionsLast(t *testing.T) {
	t.Parallel()
	ingress := func(values string) *networking.Ingress {
		return named[*networking.Ingress](t, render(t, least, "ingress: {enabled: true, hosts: [live.example.com]}", values), "live-fanfare")
	}
	for controller, want := range map[string]map[string]string{
		"nginx": {
			"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
			"nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
			"nginx.ingress.kubernetes.io/proxy-buffering":    "off",
			"nginx.ingress.kubernetes.io/backend-protocol":   "HTTP",
		},
		"haproxy": {
			"haproxy.org/load-balance":                    "leastconn",
			"haproxy.org/timeout-server":                  "3600s",
			"haproxy-ingress.github.io/balance-algorithm": "leastconn",
			"haproxy-ingress.github.io/timeout-tunnel":    "3600s",
			"haproxy-ingress.github.io/timeout-server":    "3600s",
		},
		"alb": {
			"alb.ingress.kubernetes.io/target-type":              "ip",
			"alb.ingress.kubernetes.io/load-balancer-attributes": "idle_timeout.timeout_seconds=3600",
			"alb.ingress.kubernetes.io/target-group-attributes":  "deregistration_delay.timeout_seconds=75,load_balancing.algorithm.type=least_outstanding_requests",
			"alb.ingress.kubernetes.io/healthcheck-port":         "9090",
			"alb.ingress.kubernetes.io/healthcheck-protocol":     "HTTP",
			"alb.ingress.kubernetes.io/healthcheck-path":         "/readyz/node",
			"alb.ingress.kubernetes.io/backend-protocol":         "HTTP",
		},
		"traefik": nil, "gce": nil, "none": nil,
	} {
		if got := ingress("ingress: {controller: " + controller + "}").Annotations; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, not %v", controller, got, want)
		}
	}
	if got := ingress("ingress: {controller: alb, timeoutSeconds: 86400}").Annotations["alb.ingress.kubernetes.io/load-balancer-attributes"]; got != "idle_timeout.timeout_seconds=4000" {
		t.Errorf("more than an ALB takes: %s", got)
	}
	own := ingress(`ingress: {controller: nginx, annotations: {nginx.ingress.kubernetes.io/proxy-read-timeout: "90"}}`).Annotations
	if own["nginx.ingress.kubernetes.io/proxy-read-timeout"] != "90" || own["nginx.ingress.kubernetes.io/proxy-send-timeout"] != "3600" {
		t.Errorf("own annotations count: %v", own)
	}
	if tls := ingress("{ingress: {controller: nginx}, tls: {existingSecret: live}}").Annotations; tls["nginx.ingress.kubernetes.io/backend-protocol"] != "HTTPS" {
		t.Errorf("the nodes speak TLS: %v", tls)
	}
}

func TestGooglesBalancerIsToldByABackendConfig(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/gce.yaml"), "config: {drain_s: 120}")
	config := named[*backendConfig](t, all, "live-fanfare").Spec
	if *config.TimeoutSec != 86400 || config.ConnectionDraining.DrainingTimeoutSec != 135 ||
		*config.HealthCheck.Port != 9090 || *config.HealthCheck.RequestPath != "/readyz/node" {
		t.Errorf("%v", config)
	}
	annotations := named[*core.Service](t, all, "live-fanfare").Annotations
	if annotations["cloud.google.com/backend-config"] != `{"default":"live-fanfare"}` || annotations["cloud.google.com/neg"] != `{"ingress":true}` {
		t.Errorf("%v", annotations)
	}
}

func TestARouteHasNoTimeoutUnlessItIsTold(t *testing.T) {
	t.Parallel()
	route := func(values string) gateway.HTTPRouteSpec {
		return named[*gateway.HTTPRoute](t, render(t, read(t, "matrix/gateway.yaml"), values), "live-fanfare").Spec
	}
	rule := route("").Rules[0]
	if *rule.Timeouts.Request != "0s" || *rule.Timeouts.BackendRequest != "0s" || len(rule.Matches) != 3 || *rule.Matches[0].Path.Value != "/ws" {
		t.Errorf("%v", rule)
	}
	if rule = route("httpRoute: {timeouts: null}").Rules[0]; rule.Timeouts != nil {
		t.Errorf("%v", rule.Timeouts)
	}
}

func TestNoServiceKeepsClientsAtANode(t *testing.T) {
	t.Parallel()
	for _, service := range every[*core.Service](render(t, least)) {
		if service.Spec.SessionAffinity == core.ServiceAffinityClientIP {
			t.Errorf("%s has an affinity", service.Name)
		}
		if strings.HasSuffix(service.Name, "-admin") && service.Spec.Type != core.ServiceTypeClusterIP {
			t.Errorf("the admin port is open to the outside: %s", service.Spec.Type)
		}
	}
}

// The policy's rules in one direction, as `ports < or > how many peers`.
func TestNodesReachWhatTheyNeedAndNothingElse(t *testing.T) {
	t.Parallel()
	for values, want := range map[string][]string{
		least:                                         {"UDP/53 TCP/53 to 0", "TCP/6379 to 0"},
		read(t, "matrix/trial.yaml"):                  {"UDP/53 TCP/53 to 0", "TCP/6379 to 1"},
		read(t, "matrix/sentinel-tls.yaml"):           {"UDP/53 TCP/53 to 0", "TCP/26379 TCP/26380 TCP/6379 to 0"},
		read(t, "matrix/jwks-traces.yaml"):            {"UDP/53 TCP/53 to 1", "TCP/6379 to 0", "TCP/4318 to 0", "TCP/443 to 1"},
		read(t, "matrix/functions-plain.yaml"):        {"UDP/53 TCP/53 to 0", "TCP/6380 to 0"},
		read(t, "matrix/cluster-functions-hook.yaml"): {"UDP/53 TCP/53 to 0", "TCP/7000 TCP/7001 TCP/7002 TCP/7003 to 0"},
		least + "config: {jwt_jwks_url: 'https://issuer.example:8443/jwks'}\notel: {endpoint: 'https://collector.example'}": {
			"UDP/53 TCP/53 to 0", "TCP/6379 to 0", "TCP/443 to 0", "TCP/8443 to 0",
		},
		least + "networkPolicy: {egress: {dns: {enabled: false}, redis: {to: [{ipBlock: {cidr: 10.1.0.0/16}}]}, extra: [{ports: [{port: 8126}]}]}}": {
			"TCP/6379 to 1", "/8126 to 0",
		},
	} {
		policy := named[*networking.NetworkPolicy](t, render(t, values, "networkPolicy: {enabled: true}"), "live-fanfare").Spec
		var got []string
		for _, rule := range policy.Egress {
			got = append(got, fmt.Sprintf("%s to %d", portsOf(rule.Ports), len(rule.To)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\n%v, not %v", values, got, want)
		}
		if !slices.Equal(policy.PolicyTypes, []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress}) {
			t.Errorf("%v", policy.PolicyTypes)
		}
	}
}

func portsOf(ports []networking.NetworkPolicyPort) string {
	var all []string
	for _, port := range ports {
		protocol := core.Protocol("")
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		all = append(all, fmt.Sprintf("%s/%s", protocol, port.Port.String()))
	}
	return strings.Join(all, " ")
}

func TestPortsAreForThoseWhoAreNamedAndForTheTestThatNeedsThem(t *testing.T) {
	t.Parallel()
	all := render(t, least, "networkPolicy: {enabled: true}")
	rules := named[*networking.NetworkPolicy](t, all, "live-fanfare").Spec.Ingress
	if len(rules) != 1 || portsOf(rules[0].Ports) != "TCP/clients" || len(rules[0].From) != 0 {
		t.Errorf("unless somebody is named, clients come from anywhere, and nobody else comes: %v", rules)
	}
	all = render(t, read(t, "matrix/jwks-traces.yaml"))
	rules = named[*networking.NetworkPolicy](t, all, "live-fanfare").Spec.Ingress
	if len(rules) != 2 || portsOf(rules[1].Ports) != "TCP/admin" || len(rules[1].From) != 1 || len(rules[0].From) != 2 {
		t.Fatalf("%v", rules)
	}
	ours := labels.SelectorFromSet(rules[0].From[0].PodSelector.MatchLabels)
	for _, pod := range podsOf(all) {
		if ours.Matches(labels.Set(pod.labels)) != strings.HasSuffix(pod.name, "-test") {
			t.Errorf("%s is a client: %s", pod.name, ours)
		}
	}
	if len(every[*networking.NetworkPolicy](render(t, least))) != 0 {
		t.Error("nobody has asked for it")
	}
}
