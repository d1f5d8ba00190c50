package tests

import (
	"strings"
	"testing"

	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Whoever goes sends clients to the others, so nodes go one at a time and only after a while.
func checkBehavior(t *testing.T, behavior *autoscaling.HorizontalPodAutoscalerBehavior) {
	t.Helper()
	down := behavior.ScaleDown
	if *down.StabilizationWindowSeconds != 300 || len(down.Policies) != 1 {
		t.Fatalf("%v", down)
	}
	if down.Policies[0] != (autoscaling.HPAScalingPolicy{Type: autoscaling.PodsScalingPolicy, Value: 1, PeriodSeconds: 300}) {
		t.Errorf("%v", down.Policies[0])
	}
	if *behavior.ScaleUp.StabilizationWindowSeconds != 0 {
		t.Errorf("%v", behavior.ScaleUp)
	}
}

func TestByCPU(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/autoscaling-cpu.yaml"))
	scaler := named[*autoscaling.HorizontalPodAutoscaler](t, all, "live-fanfare").Spec
	checkBehavior(t, scaler.Behavior)
	if scaler.ScaleTargetRef.Name != node(t, all).Name || *scaler.MinReplicas != 3 || scaler.MaxReplicas != 10 || len(scaler.Metrics) != 1 {
		t.Errorf("%v", scaler)
	}
	metric := scaler.Metrics[0].ContainerResource
	if metric.Name != core.ResourceCPU || metric.Container != node(t, all).Spec.Template.Spec.Containers[0].Name || *metric.Target.AverageUtilization != 65 {
		t.Errorf("%v", metric)
	}
}

// A number that an upgrade leaves out, and that the release before it had, becomes one; another number than that of now makes
// nodes leave all at once.
func TestAnUpgradeLeavesTheNumberOfNodesToTheAutoscaler(t *testing.T) {
	t.Parallel()
	nodes := func(live cluster, values ...string) int32 {
		t.Helper()
		manifest := renderIn(t, live, append([]string{least}, values...)...)["fanfare/templates/deployment.yaml"]
		return *node(t, decode(t, manifest)).Spec.Replicas
	}
	seven := cluster{objects: map[string]map[string]any{
		"realtime/Deployment/live-fanfare": {"spec": map[string]any{"replicas": int64(7)}},
	}}
	scaled := "autoscaling: {enabled: true, minReplicas: 4}"
	if got := nodes(seven, scaled); got != 7 {
		t.Errorf("an upgrade makes %d of seven nodes", got)
	}
	if got := nodes(cluster{}, scaled); got != 4 {
		t.Errorf("an install begins with %d nodes", got)
	}
	if got := nodes(seven, "replicaCount: 5"); got != 5 {
		t.Errorf("%d nodes without an autoscaler", got)
	}
}

func TestByTheAdapter(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/autoscaling-adapter.yaml"))
	scaler := named[*autoscaling.HorizontalPodAutoscaler](t, all, "live-fanfare").Spec
	checkBehavior(t, scaler.Behavior)
	if len(scaler.Metrics) != 2 {
		t.Fatalf("%v", scaler.Metrics)
	}
	pods := scaler.Metrics[1].Pods
	if pods.Target.AverageValue.MilliValue() != 650 {
		t.Errorf("a node shall be %s full", pods.Target.AverageValue)
	}
	var rule struct {
		Rules struct {
			Custom []struct {
				SeriesQuery, MetricsQuery string
				Resources                 struct {
					Overrides map[string]struct{ Resource string }
				}
				Name struct{ As string }
			}
		}
	}
	text := named[*core.ConfigMap](t, all, "live-fanfare-adapter-rule").Data["values.yaml"]
	if err := yaml.UnmarshalStrict([]byte(text), &rule); err != nil {
		t.Fatal(err)
	}
	custom := rule.Rules.Custom[0]
	if custom.Name.As != pods.Metric.Name || custom.Resources.Overrides["pod"].Resource != "pod" {
		t.Errorf("the autoscaler asks for %s, the rule makes %v", pods.Metric.Name, custom)
	}
	if !strings.Contains(custom.MetricsQuery, "fanfare_connections_max{<<.LabelMatchers>>}") {
		t.Error(custom.MetricsQuery)
	}
}

func TestByKeda(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/autoscaling-keda.yaml"))
	if len(every[*autoscaling.HorizontalPodAutoscaler](all)) != 0 {
		t.Error("KEDA makes its own")
	}
	scaled := named[*scaledObject](t, all, "live-fanfare").Spec
	checkBehavior(t, scaled.Advanced.HorizontalPodAutoscalerConfig.Behavior)
	if scaled.ScaleTargetRef.Name != node(t, all).Name || *scaled.MinReplicaCount != 3 || *scaled.MaxReplicaCount != 10 || len(scaled.Triggers) != 2 {
		t.Fatalf("%v", scaled)
	}
	trigger := scaled.Triggers[0]
	query := `sum({__name__=~"fanfare_connections|fanfare_connections_unauthenticated",namespace="realtime",pod=~"live-fanfare-[a-z0-9]+-[a-z0-9]+"})` +
		` / avg(fanfare_connections_max{namespace="realtime",pod=~"live-fanfare-[a-z0-9]+-[a-z0-9]+"})`
	if trigger.Metadata["threshold"] != "0.65" || trigger.MetricType != autoscaling.AverageValueMetricType || trigger.Metadata["query"] != query {
		t.Errorf("%v", trigger)
	}
	if trigger.AuthenticationRef == nil || trigger.AuthenticationRef.Name != "prometheus" {
		t.Errorf("%v", trigger.AuthenticationRef)
	}
	if cpu := scaled.Triggers[1]; cpu.Type != "cpu" || cpu.Metadata["value"] != "65" || cpu.MetricType != autoscaling.UtilizationMetricType {
		t.Errorf("%v", cpu)
	}
}
