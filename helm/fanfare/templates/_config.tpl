{{/*
The configuration file of a node, and what follows from it. A file is TOML: one flat table, and the rules for topics as an
array of tables. A JSON string is a TOML string as well.
*/}}

{{/* A value as people write it: Helm has the numbers of a file as fractions, and writes a million as 1e+06. */}}
{{- define "fanfare.plain" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- define "fanfare.tomlValue" -}}
{{- if kindIs "string" . -}}
{{- toJson . -}}
{{- else if kindIs "bool" . -}}
{{- . -}}
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "fanfare.tomlValue" .) }}{{ end -}}
[{{ join ", " $items }}]
{{- else -}}
{{- int64 . -}}
{{- end -}}
{{- end -}}

{{/* A table's keys and values; what is null is left out. */}}
{{- define "fanfare.tomlTable" -}}
{{- $table := . -}}
{{- range $key := keys $table | sortAlpha }}
{{- $value := get $table $key }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ include "fanfare.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fanfare.toml" -}}
{{- include "fanfare.tomlTable" (merge (include "fanfare.fileSettings" . | fromYaml) (omit .Values.config "topics")) | trim }}
{{- range .Values.config.topics }}
{{- $rule := . }}
{{- /* YAML takes off for false. */}}
{{- if eq (toString .presence) "false" }}{{ $rule = merge (dict "presence" "off") . }}{{ end }}

[[topics]]
{{ include "fanfare.tomlTable" $rule | trim }}
{{- end }}
{{ end -}}

{{/* Settings that follow from the chart's other values: where Redis is, and where secrets are mounted. */}}
{{- define "fanfare.fileSettings" -}}
backplane: {{ include "fanfare.redisUrl" . | quote }}
redis_functions: {{ .Values.redis.functions }}
{{- if .Values.redis.password.existingSecret }}
redis_password_file: /etc/fanfare/secrets/redis/password
{{- end }}
{{- if .Values.redis.sentinelPassword.existingSecret }}
redis_sentinel_password_file: /etc/fanfare/secrets/redis/sentinel-password
{{- end }}
{{- if or .Values.redis.tls.ca.existingSecret .Values.redis.tls.ca.existingConfigMap }}
redis_ca_file: /etc/fanfare/secrets/redis/ca.crt
{{- end }}
{{- if .Values.redis.tls.client.existingSecret }}
redis_cert_file: /etc/fanfare/secrets/redis/tls.crt
redis_key_file: /etc/fanfare/secrets/redis/tls.key
{{- end }}
{{- if .Values.auth.hs256.existingSecret }}
jwt_hs256_secret_file: /etc/fanfare/secrets/jwt/hs256
{{- end }}
{{- if .Values.auth.publicKeys.existingSecret }}
jwt_public_key_file:
  {{- range .Values.auth.publicKeys.keys }}
  - {{ printf "/etc/fanfare/secrets/jwt/keys/%s" . | quote }}
  {{- end }}
{{- end }}
{{- if .Values.apiKeys.existingSecret }}
api_keys_file: /etc/fanfare/secrets/api-keys/api-keys.toml
{{- end }}
{{- if .Values.tls.existingSecret }}
tls_certificate_file: /etc/fanfare/secrets/tls/tls.crt
tls_key_file: /etc/fanfare/secrets/tls/tls.key
{{- end }}
{{- end -}}

{{- define "fanfare.redisUrl" -}}
{{- if .Values.redis.trial.enabled -}}
redis://{{ include "fanfare.fullname" . }}-redis:6379
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{/* The ports of a backplane's address, as JSON. Sentinels name the servers, which have the usual port unless values say more. */}}
{{- define "fanfare.redisPorts" -}}
{{- $url := include "fanfare.redisUrl" . -}}
{{- $sentinel := contains "+sentinel://" $url -}}
{{- $hosts := regexReplaceAll "^[a-z+]+://([^@/]*@)?" $url "" | splitList "/" | first | splitList "," -}}
{{- $ports := list -}}
{{- range $hosts -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" | default (ternary "26379" "6379" $sentinel) -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{- if $sentinel }}{{ $ports = append $ports 6379 }}{{ end -}}
{{- toJson (uniq $ports) -}}
{{- end -}}

{{/* The port of an http(s) address. */}}
{{- define "fanfare.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* How long a node may take to leave: it still accepts, then sends its clients away, then tells Redis and the collector. */}}
{{- define "fanfare.terminationGracePeriodSeconds" -}}
{{- $delay := 5 -}}
{{- if hasKey .Values.config "drain_delay_s" }}{{ $delay = .Values.config.drain_delay_s }}{{ end -}}
{{- $drain := 30 -}}
{{- if hasKey .Values.config "drain_s" }}{{ $drain = .Values.config.drain_s }}{{ end -}}
{{- add (int64 $delay) (int64 $drain) 10 -}}
{{- end -}}
