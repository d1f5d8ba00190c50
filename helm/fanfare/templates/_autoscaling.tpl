{{/*
With an autoscaler, as many nodes as there are: left out, the number that an earlier manifest had would be taken away, which
Kubernetes reads as one node.
*/}}
{{- define "fanfare.replicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "fanfare.fullname" .) | default dict -}}
{{- dig "spec" "replicas" .Values.autoscaling.minReplicas $live | int64 -}}
{{- else -}}
{{- .Values.replicaCount | int64 -}}
{{- end -}}
{{- end -}}

{{/*
How fast nodes come and go, the same for every mode. Clients of a node that goes come back on the others, so nodes go one at
a time, and only after five quiet minutes.
*/}}
{{- define "fanfare.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - type: Percent
      value: 100
      periodSeconds: 60
    - type: Pods
      value: 2
      periodSeconds: 60
scaleDown:
  stabilizationWindowSeconds: {{ int64 .Values.autoscaling.scaleDown.stabilizationSeconds }}
  selectPolicy: Max
  policies:
    - type: Pods
      value: {{ int64 .Values.autoscaling.scaleDown.pods }}
      periodSeconds: {{ int64 .Values.autoscaling.scaleDown.periodSeconds }}
{{- end -}}

{{/*
All connections, in units of what one node takes: 3.2 says that 3.2 nodes would be full. Both series are summed, since those
that have not shown a token yet take a place, too, and a node without any tenant has the second one alone.
*/}}
{{- define "fanfare.connectionsInNodes" -}}
{{- $of := printf `namespace="%s",pod=~"%s-[a-z0-9]+-[a-z0-9]+"` .Release.Namespace (include "fanfare.fullname" .) -}}
sum({__name__=~"fanfare_connections|fanfare_connections_unauthenticated",{{ $of }}}) / avg(fanfare_connections_max{ {{- $of -}} })
{{- end -}}
