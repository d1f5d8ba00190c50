{{/* Nodes spread over zones and machines; those of one version among themselves, so that a rolling deploy ends spread, too. */}}
{{- define "fanfare.topologySpread" -}}
{{- $root := . -}}
{{- $spread := list -}}
{{- range $key, $topology := dict "zone" "topology.kubernetes.io/zone" "host" "kubernetes.io/hostname" -}}
{{- $when := get $root.Values.topologySpread $key -}}
{{- /* YAML takes off for false. */}}
{{- if and $when (ne $when "off") -}}
{{- $spread = append $spread (dict "topologyKey" $topology "whenUnsatisfiable" $when) -}}
{{- end -}}
{{- end -}}
{{- with $spread -}}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: 1
    topologyKey: {{ .topologyKey }}
    whenUnsatisfiable: {{ .whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "fanfare.selectorLabels" $root | nindent 8 }}
    matchLabelKeys:
      - pod-template-hash
  {{- end }}
{{- end -}}
{{- end -}}
