package tests

// Types whose own modules are large, with the fields that the chart and its docs use. Sources: keda's
// apis/keda/v1alpha1/scaledobject_types.go; ingress-gce's pkg/apis/backendconfig/v1/types.go; Google's reference of
// GCPBackendPolicy and HealthCheckPolicy (networking.gke.io/v1); Traefik's of ServersTransport.

import (
	autoscaling "k8s.io/api/autoscaling/v2"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type scaledObject struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		PollingInterval *int32 `json:"pollingInterval"`
		MinReplicaCount *int32 `json:"minReplicaCount"`
		MaxReplicaCount *int32 `json:"maxReplicaCount"`
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior *autoscaling.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type              string                       `json:"type"`
			MetricType        autoscaling.MetricTargetType `json:"metricType"`
			Metadata          map[string]string            `json:"metadata"`
			AuthenticationRef *struct {
				Name string `json:"name"`
			} `json:"authenticationRef"`
		} `json:"triggers"`
	} `json:"spec"`
}

type backendConfig struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		TimeoutSec         *int64 `json:"timeoutSec"`
		ConnectionDraining struct {
			DrainingTimeoutSec int64 `json:"drainingTimeoutSec"`
		} `json:"connectionDraining"`
		HealthCheck struct {
			CheckIntervalSec   *int64  `json:"checkIntervalSec"`
			TimeoutSec         *int64  `json:"timeoutSec"`
			HealthyThreshold   *int64  `json:"healthyThreshold"`
			UnhealthyThreshold *int64  `json:"unhealthyThreshold"`
			Type               *string `json:"type"`
			Port               *int64  `json:"port"`
			RequestPath        *string `json:"requestPath"`
		} `json:"healthCheck"`
	} `json:"spec"`
}

type targetRef struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

type gcpBackendPolicy struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Default struct {
			TimeoutSec         int64 `json:"timeoutSec"`
			ConnectionDraining struct {
				DrainingTimeoutSec int64 `json:"drainingTimeoutSec"`
			} `json:"connectionDraining"`
		} `json:"default"`
		TargetRef targetRef `json:"targetRef"`
	} `json:"spec"`
}

type serversTransport struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		ServerName string `json:"serverName"`
	} `json:"spec"`
}

type healthCheckPolicy struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Default struct {
			CheckIntervalSec int64 `json:"checkIntervalSec"`
			Config           struct {
				Type            string `json:"type"`
				HTTPHealthCheck struct {
					Port        int64  `json:"port"`
					RequestPath string `json:"requestPath"`
				} `json:"httpHealthCheck"`
			} `json:"config"`
		} `json:"default"`
		TargetRef targetRef `json:"targetRef"`
	} `json:"spec"`
}
