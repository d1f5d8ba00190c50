package tests

// How nodes run: when they start, when they leave, and where their secrets are.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
)

func TestANodeHasTheTimeThatItsDrainTakes(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]int64{
		"":                              5 + 60 + 10,
		"config: {drain_s: 300}":        5 + 300 + 10,
		"config: {drain_delay_s: 0}":    0 + 60 + 10,
		"config: {drain_delay_s: null}": 5 + 60 + 10,
		"config: {drain_s: null, drain_delay_s: 15}": 30 + 15 + 10,
	} {
		spec := node(t, render(t, least, values)).Spec.Template.Spec
		if got := *spec.TerminationGracePeriodSeconds; got != want {
			t.Errorf("%s: %d s, not %d", values, got, want)
		}
		if spec.Containers[0].Lifecycle != nil {
			t.Error("the image has no shell that could sleep before the end")
		}
	}
}

func TestNodesAreReplacedOneByOne(t *testing.T) {
	t.Parallel()
	deployment := node(t, render(t, least))
	rolling := deployment.Spec.Strategy.RollingUpdate
	if rolling.MaxSurge.IntValue() != 1 || rolling.MaxUnavailable.IntValue() != 0 || deployment.Spec.MinReadySeconds != 30 {
		t.Errorf("%v, ready for %d s", rolling, deployment.Spec.MinReadySeconds)
	}
	if *deployment.Spec.Replicas != 3 {
		t.Errorf("%d nodes", *deployment.Spec.Replicas)
	}
}

// An outage of Redis must neither restart nodes nor take them all from the Service: /readyz would do that.
func TestProbesAskWhatAnOutageOfRedisDoesNotChange(t *testing.T) {
	t.Parallel()
	container := node(t, render(t, least)).Spec.Template.Spec.Containers[0]
	for path, probe := range map[string]*core.Probe{
		"/healthz": container.LivenessProbe, "/healthz ": container.StartupProbe, "/readyz/node": container.ReadinessProbe,
	} {
		if probe == nil || probe.HTTPGet.Path != strings.TrimSpace(path) || probe.HTTPGet.Port.StrVal != "admin" {
			t.Errorf("%s: %v", path, probe)
		}
	}
}

func TestAChangeOfTheConfigurationRestartsTheNodesAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	checksum := func(values string) string {
		return node(t, render(t, least, values)).Spec.Template.Annotations["checksum/config"]
	}
	before := checksum("")
	for _, values := range []string{
		"config: {drain_s: 31}", "redis: {url: 'redis://other'}", "apiKeys: {existingSecret: keys}",
		"config: {topics: [{pattern: tenant}]}",
	} {
		if checksum(values) == before {
			t.Errorf("%s changes nothing", values)
		}
	}
	for _, values := range []string{"service: {port: 80}", "replicaCount: 7", "auth: {hs256: {existingSecret: another}}"} {
		if checksum(values) != before {
			t.Errorf("%s changes the configuration", values)
		}
	}
	for label := range node(t, render(t, least)).Spec.Template.Labels {
		if label == "helm.sh/chart" || label == "app.kubernetes.io/version" {
			t.Errorf("with the label %s a new chart restarts nodes that it doesn't change", label)
		}
	}
}

// Kubernetes keeps a mounted directory up to date, and nothing that came by the environment: rotation needs the former.
func TestSecretsAreDirectoriesAndNeverInTheEnvironment(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/sentinel-tls.yaml"), `
auth: {hs256: {existingSecret: fanfare-jwt, key: keys}}
apiKeys: {existingSecret: fanfare-api-keys, key: fanfare.toml}
tls: {existingSecret: live-example-com}
`)
	spec := node(t, all).Spec.Template.Spec
	want := map[string]string{
		"jwt":      "fanfare-jwt:keys>hs256 issuer:new.pem>keys/new.pem issuer:old.pem>keys/old.pem",
		"redis":    "redis:node-password>password sentinel:password>sentinel-password ca:ca.crt>ca.crt redis-client:tls.crt>tls.crt redis-client:tls.key>tls.key",
		"api-keys": "fanfare-api-keys:fanfare.toml>api-keys.toml",
		"tls":      "live-example-com:tls.crt>tls.crt live-example-com:tls.key>tls.key",
	}
	for name, sources := range want {
		if got := strings.Join(projected(spec, name), " "); got != sources {
			t.Errorf("%s: %s, not %s", name, got, sources)
		}
		at := slices.IndexFunc(spec.Containers[0].VolumeMounts, func(mount core.VolumeMount) bool {
			return mount.Name == name && mount.MountPath == "/etc/fanfare/secrets/"+name && mount.ReadOnly
		})
		if at < 0 {
			t.Errorf("%s is not mounted", name)
		}
	}
	for _, variable := range spec.Containers[0].Env {
		if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
			t.Errorf("%s is a secret", variable.Name)
		}
	}
	if *spec.SecurityContext.FSGroup != 65532 || *spec.SecurityContext.RunAsUser != 65532 {
		t.Error("the node can't read its secrets")
	}
}

// What a volume is made of, as `object:key>path`. The files are for root and the pod's group.
func projected(spec core.PodSpec, name string) []string {
	var sources []string
	for _, volume := range spec.Volumes {
		if volume.Name != name || volume.Projected == nil {
			continue
		}
		if *volume.Projected.DefaultMode != 0o440 {
			return []string{fmt.Sprintf("mode %o", *volume.Projected.DefaultMode)}
		}
		for _, source := range volume.Projected.Sources {
			var object string
			var items []core.KeyToPath
			if source.Secret != nil {
				object, items = source.Secret.Name, source.Secret.Items
			} else {
				object, items = source.ConfigMap.Name, source.ConfigMap.Items
			}
			for _, item := range items {
				sources = append(sources, object+":"+item.Key+">"+item.Path)
			}
		}
	}
	return sources
}

func TestTracesGoOutByTheStandardVariables(t *testing.T) {
	t.Parallel()
	environment := func(values string) map[string]string {
		found := map[string]string{}
		for _, variable := range node(t, render(t, least, values)).Spec.Template.Spec.Containers[0].Env {
			if strings.HasPrefix(variable.Name, "OTEL_") {
				found[variable.Name] = variable.Value
			}
		}
		return found
	}
	if none := environment(""); len(none) > 0 {
		t.Errorf("without an endpoint: %v", none)
	}
	got := environment(`otel: {endpoint: "http://collector:4318", samplerArg: 0.05, resourceAttributes: {cloud.region: eu}, env: {OTEL_BSP_MAX_QUEUE_SIZE: 1024}}`)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
		"OTEL_SERVICE_NAME":           "fanfare",
		"OTEL_TRACES_SAMPLER":         "parentbased_traceidratio",
		"OTEL_TRACES_SAMPLER_ARG":     "0.05",
		"OTEL_BSP_MAX_QUEUE_SIZE":     "1024",
		"OTEL_RESOURCE_ATTRIBUTES":    "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),cloud.region=eu",
	} {
		if got[name] != value {
			t.Errorf("%s is %q, not %q", name, got[name], value)
		}
	}
}

func TestNodesSpreadAndMaintenanceTakesOneAtATime(t *testing.T) {
	t.Parallel()
	all := render(t, least)
	spread := node(t, all).Spec.Template.Spec.TopologySpreadConstraints
	if len(spread) != 2 || spread[0].TopologyKey != "kubernetes.io/hostname" || spread[1].TopologyKey != "topology.kubernetes.io/zone" {
		t.Fatalf("%v", spread)
	}
	for _, constraint := range spread {
		if constraint.WhenUnsatisfiable != core.ScheduleAnyway || !slices.Equal(constraint.MatchLabelKeys, []string{"pod-template-hash"}) {
			t.Errorf("%v", constraint)
		}
	}
	budget := named[*policy.PodDisruptionBudget](t, all, "live-fanfare").Spec
	if budget.MaxUnavailable.IntValue() != 1 || budget.MinAvailable != nil || *budget.UnhealthyPodEvictionPolicy != policy.AlwaysAllow {
		t.Errorf("%v", budget)
	}
	all = render(t, read(t, "matrix/no-functions.yaml"))
	budget = named[*policy.PodDisruptionBudget](t, all, "live-fanfare").Spec
	if budget.MinAvailable.StrVal != "50%" || budget.MaxUnavailable != nil {
		t.Errorf("%v", budget)
	}
	spread = node(t, all).Spec.Template.Spec.TopologySpreadConstraints
	if len(spread) != 1 || spread[0].WhenUnsatisfiable != core.DoNotSchedule {
		t.Errorf("%v", spread)
	}
}

func TestLargeNumbersStayNumbers(t *testing.T) {
	t.Parallel()
	// Strict decoding refuses 1e+06 where Kubernetes wants a whole number; in a text it would stay unnoticed.
	all := render(t, least, `
minReadySeconds: 1000000
revisionHistoryLimit: 1000000
ingress: {enabled: true, controller: nginx, hosts: [live.example.com], timeoutSeconds: 1000000}
autoscaling: {enabled: true, minReplicas: 1000000, maxReplicas: 2000000}
otel: {endpoint: "http://collector:4318", env: {OTEL_BSP_MAX_QUEUE_SIZE: 1000000}, resourceAttributes: {shard: 1000000}}
tests: {activeDeadlineSeconds: 1000000}
`)
	deployment := node(t, all)
	if deployment.Spec.MinReadySeconds != 1_000_000 || *deployment.Spec.ProgressDeadlineSeconds <= 1_000_000 || *deployment.Spec.Replicas != 1_000_000 {
		t.Errorf("%v", deployment.Spec)
	}
	environment := environmentOf(deployment.Spec.Template.Spec.Containers[0])
	if environment["OTEL_BSP_MAX_QUEUE_SIZE"] != "1000000" || !strings.HasSuffix(environment["OTEL_RESOURCE_ATTRIBUTES"], ",shard=1000000") {
		t.Errorf("%v", environment)
	}
	for name, value := range named[*networking.Ingress](t, all, "live-fanfare").Annotations {
		if strings.HasSuffix(name, "-timeout") && value != "1000000" {
			t.Errorf("%s: %s", name, value)
		}
	}
}

// `null` takes away what values.yaml has, and leaves templates nothing to look into.
func TestATableMayBeNull(t *testing.T) {
	t.Parallel()
	render(t, least, `
commonLabels: null
podLabels: null
resources: null
otel: {endpoint: "http://collector:4318", env: null, resourceAttributes: null}
ingress: {enabled: true, hosts: [live.example.com], annotations: null}
service: {annotations: null}
tests: {resources: null}
serviceMonitor: {enabled: true, labels: null}
`)
}

// Without quotes, YAML takes off for false.
func TestOffNeedsNoQuotes(t *testing.T) {
	t.Parallel()
	all := render(t, least, "topologySpread: {zone: off, host: off}\nconfig: {topics: [{pattern: tenant, presence: off}]}")
	if spread := node(t, all).Spec.Template.Spec.TopologySpreadConstraints; len(spread) != 0 {
		t.Errorf("%v", spread)
	}
	if got := settings(t, all); !strings.Contains(got, "presence = \"off\"\n") {
		t.Error(got)
	}
}

func TestWhateverRunsTheImageRunsWhereNodesMay(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/cluster-functions-hook.yaml"), `
image: {pullSecrets: [registry]}
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{key: realtime, operator: Exists}]
podLabels: {sidecar.istio.io/inject: "false"}
`)
	pods := podsOf(all)
	if len(pods) != 3 {
		t.Errorf("%d pods: not node, Job and test", len(pods))
	}
	for _, pod := range pods {
		if len(pod.spec.ImagePullSecrets) != 1 || pod.spec.NodeSelector["kubernetes.io/arch"] != "arm64" || len(pod.spec.Tolerations) != 1 ||
			pod.labels["sidecar.istio.io/inject"] != "false" {
			t.Errorf("%s: %v %v", pod.name, pod.spec, pod.labels)
		}
	}
}
