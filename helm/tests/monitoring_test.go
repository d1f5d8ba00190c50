package tests

import (
	"encoding/json"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestMonitoringIsMadeOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	all := render(t, least)
	if len(every[*monitoring.ServiceMonitor](all))+len(every[*monitoring.PrometheusRule](all)) != 0 {
		t.Error("a cluster without the operator's definitions refuses them")
	}
}

func TestPrometheusScrapesTheAdminPort(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/monitoring.yaml"))
	monitor := named[*monitoring.ServiceMonitor](t, all, "live-fanfare")
	endpoint := monitor.Spec.Endpoints[0]
	if endpoint.Port != named[*core.Service](t, all, "live-fanfare-admin").Spec.Ports[0].Name || endpoint.Path != "/metrics" {
		t.Errorf("%v", endpoint)
	}
	if len(endpoint.RelabelConfigs) != 2 || endpoint.RelabelConfigs[0].TargetLabel != "instance" || endpoint.RelabelConfigs[1].TargetLabel != "cluster" {
		t.Errorf("%v", endpoint.RelabelConfigs)
	}
	if monitor.Labels["release"] != "prometheus" {
		t.Errorf("%v", monitor.Labels)
	}
}

// The rules and the dashboard reach the cluster as they are in their files: what they quote in braces is not Helm's.
func TestAlertsAndDashboardAreThoseOfTheFiles(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/monitoring.yaml"))
	var file monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, chart+"/files/alerts.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	rule := named[*monitoring.PrometheusRule](t, all, "live-fanfare").Spec
	got, _ := json.Marshal(rule)
	want, _ := json.Marshal(file)
	if string(got) != string(want) || len(file.Groups) == 0 {
		t.Error("other rules than in files/alerts.yaml")
	}
	dashboard := named[*core.ConfigMap](t, all, "live-fanfare-dashboard")
	if strings.TrimSpace(dashboard.Data["fanfare.json"]) != strings.TrimSpace(read(t, chart+"/files/dashboard.json")) {
		t.Error("another dashboard than in files/dashboard.json")
	}
	if dashboard.Labels["grafana_dashboard"] != "1" || dashboard.Namespace != "monitoring" || dashboard.Annotations["grafana_folder"] != "Fanfare" {
		t.Errorf("%v", dashboard.ObjectMeta)
	}
}
