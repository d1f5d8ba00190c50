package tests

// Many ways to install: whatever the values, the manifests are what Kubernetes takes, and belong together.

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// Runs a test with the values of each file in matrix/.
func eachWay(t *testing.T, test func(t *testing.T, values string)) {
	t.Helper()
	files, err := filepath.Glob("matrix/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d ways to install in matrix/: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			values, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			test(t, string(values))
		})
	}
}

func TestEveryWayToInstallPassesTheLinter(t *testing.T) {
	eachWay(t, func(t *testing.T, values string) {
		if _, err := helm(t, append([]string{"lint", "--strict", "helm/fanfare"}, valuesFlags(t, values)...)...); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEveryWayToInstallBelongsTogether(t *testing.T) {
	eachWay(t, func(t *testing.T, values string) {
		all := render(t, values)
		for _, object := range all {
			if complaints := validation.IsDNS1123Label(object.GetName()); len(complaints) > 0 {
				t.Errorf("%T is called %s: %v", object, object.GetName(), complaints)
			}
			if namespace := object.GetNamespace(); namespace != "realtime" && !strings.HasSuffix(object.GetName(), "-dashboard") {
				t.Errorf("%T %s is in the namespace %q", object, object.GetName(), namespace)
			}
		}
		pods := podsOf(all)
		for _, pod := range pods {
			checkLabels(t, pod)
			checkMounts(t, pod)
			checkRights(t, pod)
		}
		checkSelectors(t, all, pods)
		checkPorts(t, all)
	})
}

// Helm takes a release's name of 53 characters, with dots; a Service takes no dots, and all that becomes a label 63 characters.
func TestALongNameOfTheReleaseFits(t *testing.T) {
	eachWay(t, func(t *testing.T, values string) {
		release := "live.example.com-" + strings.Repeat("release-", 4) + "long"
		all := renderAs(t, release, values, "image: {tag: "+strings.Repeat("1.0-", 20)+"}")
		for _, object := range all {
			complaints := validation.IsDNS1035Label(object.GetName())
			if strings.HasSuffix(object.GetName(), "-more") || len(complaints) == 0 {
				continue
			}
			t.Errorf("%T is called %s: %v", object, object.GetName(), complaints)
		}
		for _, object := range all {
			checkLabels(t, pod{name: object.GetName(), labels: object.GetLabels()})
		}
		for _, pod := range podsOf(all) {
			checkLabels(t, pod)
		}
	})
}

type pod struct {
	name   string
	labels map[string]string
	spec   core.PodSpec
}

func podsOf(all objects) []pod {
	var pods []pod
	for _, deployment := range every[*apps.Deployment](all) {
		pods = append(pods, pod{deployment.Name, deployment.Spec.Template.Labels, deployment.Spec.Template.Spec})
	}
	for _, job := range every[*batch.Job](all) {
		pods = append(pods, pod{job.Name, job.Spec.Template.Labels, job.Spec.Template.Spec})
	}
	for _, test := range every[*core.Pod](all) {
		pods = append(pods, pod{test.Name, test.Labels, test.Spec})
	}
	return pods
}

func (p pod) containers() []core.Container {
	return slices.Concat(p.spec.InitContainers, p.spec.Containers)
}

func checkLabels(t *testing.T, pod pod) {
	for key, value := range pod.labels {
		if complaints := slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)); len(complaints) > 0 {
			t.Errorf("%s has the label %s=%s: %v", pod.name, key, value, complaints)
		}
	}
}

// What is mounted is there, what is there is mounted, and all of it as a directory: a subPath would not be kept up to date.
func checkMounts(t *testing.T, pod pod) {
	volumes := map[string]bool{}
	for _, volume := range pod.spec.Volumes {
		volumes[volume.Name] = false
		paths := map[string]string{}
		for _, source := range projected(pod.spec, volume.Name) {
			from, path, _ := strings.Cut(source, ">")
			if before, taken := paths[path]; taken {
				t.Errorf("%s and %s are both %s of %s", before, from, path, volume.Name)
			}
			paths[path] = from
		}
	}
	for _, container := range pod.containers() {
		for _, mount := range container.VolumeMounts {
			if _, there := volumes[mount.Name]; !there {
				t.Errorf("%s mounts %s, which is not there", pod.name, mount.Name)
			}
			volumes[mount.Name] = true
			if mount.SubPath != "" || mount.SubPathExpr != "" {
				t.Errorf("%s mounts a part of %s", pod.name, mount.Name)
			}
		}
	}
	for name, mounted := range volumes {
		if !mounted {
			t.Errorf("%s has the volume %s, and mounts it nowhere", pod.name, name)
		}
	}
}

// The restricted profile of Kubernetes' pod security standards, and a file system that can't be written.
func checkRights(t *testing.T, pod pod) {
	context := pod.spec.SecurityContext
	if context == nil || !*context.RunAsNonRoot || context.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s may be root, or make any system call", pod.name)
	}
	if pod.spec.AutomountServiceAccountToken == nil || *pod.spec.AutomountServiceAccountToken {
		t.Errorf("%s is given a token for Kubernetes", pod.name)
	}
	for _, container := range pod.containers() {
		rights := container.SecurityContext
		if rights == nil || *rights.AllowPrivilegeEscalation || !*rights.ReadOnlyRootFilesystem ||
			!slices.Equal(rights.Capabilities.Drop, []core.Capability{"ALL"}) {
			t.Errorf("the container %s of %s has rights that it doesn't need", container.Name, pod.name)
		}
	}
}

// Whoever selects nodes selects them all and nothing else.
func checkSelectors(t *testing.T, all objects, pods []pod) {
	selected := func(who string, selector map[string]string, want string) {
		for _, pod := range pods {
			if got := labels.SelectorFromSet(selector).Matches(labels.Set(pod.labels)); got != (pod.name == want) {
				t.Errorf("%s selects %s: %v", who, pod.name, got)
			}
		}
	}
	for _, deployment := range every[*apps.Deployment](all) {
		selected("the Deployment "+deployment.Name, deployment.Spec.Selector.MatchLabels, deployment.Name)
		for _, spread := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
			selected("the topology spread", spread.LabelSelector.MatchLabels, deployment.Name)
		}
	}
	for _, service := range every[*core.Service](all) {
		selected("the Service "+service.Name, service.Spec.Selector, strings.TrimSuffix(service.Name, "-admin"))
	}
	for _, budget := range every[*policy.PodDisruptionBudget](all) {
		selected("the disruption budget", budget.Spec.Selector.MatchLabels, "live-fanfare")
	}
	for _, policy := range every[*networking.NetworkPolicy](all) {
		selected("the network policy", policy.Spec.PodSelector.MatchLabels, "live-fanfare")
	}
	for _, monitor := range every[*monitoring.ServiceMonitor](all) {
		for _, service := range every[*core.Service](all) {
			selector, err := meta.LabelSelectorAsSelector(&monitor.Spec.Selector)
			if got := err == nil && selector.Matches(labels.Set(service.Labels)); got != (service.Name == "live-fanfare-admin") {
				t.Errorf("the ServiceMonitor selects the Service %s: %v", service.Name, got)
			}
		}
	}
}

// Ports that somebody names are there.
func checkPorts(t *testing.T, all objects) {
	open := map[string]bool{}
	for _, deployment := range every[*apps.Deployment](all) {
		for _, port := range deployment.Spec.Template.Spec.Containers[0].Ports {
			open[port.Name] = true
		}
	}
	for _, service := range every[*core.Service](all) {
		for _, port := range service.Spec.Ports {
			if !open[port.TargetPort.String()] {
				t.Errorf("the Service %s leads to the port %s, which no pod has", service.Name, port.TargetPort.String())
			}
		}
	}
	clients := named[*core.Service](t, all, "live-fanfare")
	for _, ingress := range every[*networking.Ingress](all) {
		for _, rule := range ingress.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				backend := path.Backend.Service
				if backend.Name != clients.Name || backend.Port.Name != clients.Spec.Ports[0].Name {
					t.Errorf("the Ingress leads from %s to %s, port %s", path.Path, backend.Name, backend.Port.Name)
				}
			}
		}
	}
	for _, route := range every[*gateway.HTTPRoute](all) {
		backend := route.Spec.Rules[0].BackendRefs[0]
		if string(backend.Name) != clients.Name || *backend.Port != clients.Spec.Ports[0].Port {
			t.Errorf("the HTTPRoute leads to %s, port %d", backend.Name, *backend.Port)
		}
	}
}
