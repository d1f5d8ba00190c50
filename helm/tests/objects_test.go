package tests

// What Helm renders, as the types of Kubernetes: an unknown field, a field of the wrong type or one that stands twice is refused.

import (
	"regexp"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

type objects []meta.Object

var makers = map[string]func() meta.Object{
	"v1 ConfigMap":                            func() meta.Object { return &core.ConfigMap{} },
	"v1 Pod":                                  func() meta.Object { return &core.Pod{} },
	"v1 Service":                              func() meta.Object { return &core.Service{} },
	"v1 ServiceAccount":                       func() meta.Object { return &core.ServiceAccount{} },
	"apps/v1 Deployment":                      func() meta.Object { return &apps.Deployment{} },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() meta.Object { return &autoscaling.HorizontalPodAutoscaler{} },
	"batch/v1 Job":                            func() meta.Object { return &batch.Job{} },
	"networking.k8s.io/v1 Ingress":            func() meta.Object { return &networking.Ingress{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() meta.Object { return &networking.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":           func() meta.Object { return &policy.PodDisruptionBudget{} },
	"gateway.networking.k8s.io/v1 HTTPRoute":  func() meta.Object { return &gateway.HTTPRoute{} },
	"monitoring.coreos.com/v1 ServiceMonitor": func() meta.Object { return &monitoring.ServiceMonitor{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() meta.Object { return &monitoring.PrometheusRule{} },
	"keda.sh/v1alpha1 ScaledObject":           func() meta.Object { return &scaledObject{} },
	"cloud.google.com/v1 BackendConfig":       func() meta.Object { return &backendConfig{} },
	"networking.gke.io/v1 GCPBackendPolicy":   func() meta.Object { return &gcpBackendPolicy{} },
	"networking.gke.io/v1 HealthCheckPolicy":  func() meta.Object { return &healthCheckPolicy{} },
	"traefik.io/v1alpha1 ServersTransport":    func() meta.Object { return &serversTransport{} },
}

var between = regexp.MustCompile(`(?m)^---\n`)

// Everything that Helm has rendered.
func decode(t *testing.T, rendered string) objects {
	t.Helper()
	var all objects
	for _, text := range between.Split(rendered, -1) {
		var kind meta.TypeMeta
		if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
			t.Fatalf("no YAML: %v\n%s", err, text)
		}
		if kind.Kind == "" {
			if content := strings.TrimSpace(comments.ReplaceAllString(text, "")); content != "" {
				t.Fatalf("something without a kind: %s", content)
			}
			continue
		}
		name := kind.APIVersion + " " + kind.Kind
		maker := makers[name]
		if maker == nil {
			t.Fatalf("nobody has said what a %s looks like", name)
		}
		object := maker()
		if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
			t.Fatalf("no %s: %v\n%s", name, err, text)
		}
		all = append(all, object)
	}
	return all
}

var comments = regexp.MustCompile(`(?m)^\s*#.*$`)

// All objects of a type.
func every[T meta.Object](all objects) []T {
	var found []T
	for _, object := range all {
		if object, ok := object.(T); ok {
			found = append(found, object)
		}
	}
	return found
}

// The object of a type with this name.
func named[T meta.Object](t *testing.T, all objects, name string) T {
	t.Helper()
	for _, object := range every[T](all) {
		if object.GetName() == name {
			return object
		}
	}
	var none T
	t.Fatalf("there is no %T called %s", none, name)
	return none
}

// The nodes: the Deployment that runs the program.
func node(t *testing.T, all objects) *apps.Deployment {
	t.Helper()
	for _, deployment := range every[*apps.Deployment](all) {
		if deployment.Spec.Template.Spec.Containers[0].Name == "fanfare" {
			return deployment
		}
	}
	t.Fatal("there are no nodes")
	return nil
}

// The configuration file of a node.
func settings(t *testing.T, all objects) string {
	t.Helper()
	for _, config := range every[*core.ConfigMap](all) {
		if file, has := config.Data["fanfare.toml"]; has {
			return file
		}
	}
	t.Fatal("there is no configuration file")
	return ""
}
