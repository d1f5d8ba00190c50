{{/*
What the pods of nodes, of the job and of the test share: where their settings and secrets come from. Secrets are mounted
as whole directories, which the kubelet keeps up to date; a subPath would stay as it was when the pod began.
*/}}

{{/* Takes (list <name> <items>): a source of a projected volume, or nothing without a name. */}}
{{- define "fanfare.secretSource" -}}
{{- if index . 0 }}
- secret:
    name: {{ index . 0 }}
    items:
      {{- toYaml (index . 1) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* Takes (list <root> <name of the Secret with the password> <its key>). */}}
{{- define "fanfare.redisSources" -}}
{{- $root := index . 0 -}}
{{- $redis := $root.Values.redis -}}
{{- include "fanfare.secretSource" (list (index . 1) (list (dict "key" (index . 2) "path" "password"))) }}
{{- include "fanfare.secretSource" (list $redis.sentinelPassword.existingSecret (list (dict "key" $redis.sentinelPassword.key "path" "sentinel-password"))) }}
{{- include "fanfare.secretSource" (list $redis.tls.ca.existingSecret (list (dict "key" $redis.tls.ca.key "path" "ca.crt"))) }}
{{- if and $redis.tls.ca.existingConfigMap (not $redis.tls.ca.existingSecret) }}
- configMap:
    name: {{ $redis.tls.ca.existingConfigMap }}
    items:
      - key: {{ $redis.tls.ca.key }}
        path: ca.crt
{{- end }}
{{- include "fanfare.secretSource" (list $redis.tls.client.existingSecret (list (dict "key" "tls.crt" "path" "tls.crt") (dict "key" "tls.key" "path" "tls.key"))) }}
{{- end -}}

{{- define "fanfare.jwtSources" -}}
{{- $auth := .Values.auth -}}
{{- include "fanfare.secretSource" (list $auth.hs256.existingSecret (list (dict "key" $auth.hs256.key "path" "hs256"))) }}
{{- if $auth.publicKeys.existingSecret }}
{{- $items := list -}}
{{- range $auth.publicKeys.keys }}{{ $items = append $items (dict "key" . "path" (printf "keys/%s" .)) }}{{ end }}
{{- include "fanfare.secretSource" (list $auth.publicKeys.existingSecret $items) }}
{{- end }}
{{- end -}}

{{/* Takes (list <name> <sources>). 0440: the owner is root, the group is the pod's fsGroup. */}}
{{- define "fanfare.secretVolume" -}}
{{- if trim (index . 1) }}
- name: {{ index . 0 }}
  projected:
    defaultMode: 0440
    sources:
      {{- index . 1 | trim | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "fanfare.volumes" -}}
- name: config
  configMap:
    name: {{ include "fanfare.fullname" . }}
{{- $redis := .Values.redis }}
{{- include "fanfare.secretVolume" (list "jwt" (include "fanfare.jwtSources" .)) }}
{{- include "fanfare.secretVolume" (list "redis" (include "fanfare.redisSources" (list . $redis.password.existingSecret $redis.password.key))) }}
{{- include "fanfare.secretVolume" (list "api-keys" (include "fanfare.secretSource" (list .Values.apiKeys.existingSecret (list (dict "key" .Values.apiKeys.key "path" "api-keys.toml"))))) }}
{{- include "fanfare.secretVolume" (list "tls" (include "fanfare.secretSource" (list .Values.tls.existingSecret (list (dict "key" "tls.crt" "path" "tls.crt") (dict "key" "tls.key" "path" "tls.key"))))) }}
{{- end -}}

{{- define "fanfare.volumeMounts" -}}
- name: config
  mountPath: /etc/fanfare/config
  readOnly: true
{{- range $name := include "fanfare.volumes" . | fromYamlArray }}
{{- if ne .name "config" }}
- name: {{ .name }}
  mountPath: /etc/fanfare/secrets/{{ .name }}
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{/* Traces: only the variables of OpenTelemetry's specification. */}}
{{- define "fanfare.otelEnv" -}}
{{- $otel := .Values.otel -}}
{{- if $otel.endpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ $otel.endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: http/protobuf
- name: OTEL_SERVICE_NAME
  value: {{ $otel.serviceName | quote }}
- name: OTEL_TRACES_SAMPLER
  value: {{ $otel.sampler | quote }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $otel.samplerArg | toString | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "fanfare.otelAttributes" . | quote }}
{{- with $otel.headers.existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $otel.headers.key }}
{{- end }}
{{- range $name, $value := $otel.env }}
- name: {{ $name }}
  value: {{ include "fanfare.plain" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The variables that otel.env may not have, and what to set instead. */}}
{{- define "fanfare.otelOwn" -}}
OTEL_EXPORTER_OTLP_ENDPOINT: set otel.endpoint
OTEL_EXPORTER_OTLP_PROTOCOL: nodes speak http/protobuf only
OTEL_EXPORTER_OTLP_HEADERS: set otel.headers.existingSecret
OTEL_SERVICE_NAME: set otel.serviceName
OTEL_TRACES_SAMPLER: set otel.sampler
OTEL_TRACES_SAMPLER_ARG: set otel.samplerArg
OTEL_RESOURCE_ATTRIBUTES: set otel.resourceAttributes
{{- end -}}

{{- define "fanfare.otelAttributes" -}}
{{- $all := list "k8s.namespace.name=$(POD_NAMESPACE)" "k8s.pod.name=$(POD_NAME)" -}}
{{- range $name, $value := .Values.otel.resourceAttributes }}
{{- $all = append $all (printf "%s=%s" $name (include "fanfare.plain" $value)) }}
{{- end -}}
{{- join "," $all -}}
{{- end -}}

{{/* Where the image comes from, and on which machines it may run. */}}
{{- define "fanfare.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
