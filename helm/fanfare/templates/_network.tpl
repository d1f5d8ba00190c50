{{/* Takes a list of ports. */}}
{{- define "fanfare.tcpPorts" -}}
{{- range . }}
- port: {{ int . }}
  protocol: TCP
{{- end }}
{{- end -}}

{{/*
How long a connection may stay silent at the balancer. Nodes ping after ping_ms (25 s) of silence, so any timeout above a
minute would do; where a controller counts the age of a connection instead, long is right.
*/}}
{{- define "fanfare.ingressAnnotations" -}}
{{- $seconds := int64 .Values.ingress.timeoutSeconds -}}
{{- $tls := .Values.tls.existingSecret -}}
{{- if eq .Values.ingress.controller "nginx" }}
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ $seconds | quote }}
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ $seconds | quote }}
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/backend-protocol: {{ ternary "HTTPS" "HTTP" (not (empty $tls)) }}
{{- else if eq .Values.ingress.controller "haproxy" }}
haproxy.org/load-balance: leastconn
haproxy.org/timeout-server: {{ printf "%ds" $seconds | quote }}
haproxy-ingress.github.io/balance-algorithm: leastconn
haproxy-ingress.github.io/timeout-tunnel: {{ printf "%ds" $seconds | quote }}
haproxy-ingress.github.io/timeout-server: {{ printf "%ds" $seconds | quote }}
{{- if $tls }}
haproxy.org/server-ssl: "true"
haproxy-ingress.github.io/secure-backends: "true"
{{- end }}
{{- else if eq .Values.ingress.controller "alb" }}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/load-balancer-attributes: {{ printf "idle_timeout.timeout_seconds=%d" (min 4000 $seconds) | quote }}
alb.ingress.kubernetes.io/target-group-attributes: {{ printf "deregistration_delay.timeout_seconds=%s,load_balancing.algorithm.type=least_outstanding_requests" (include "fanfare.terminationGracePeriodSeconds" .) | quote }}
alb.ingress.kubernetes.io/healthcheck-port: "9090"
alb.ingress.kubernetes.io/healthcheck-protocol: HTTP
alb.ingress.kubernetes.io/healthcheck-path: /readyz/node
alb.ingress.kubernetes.io/backend-protocol: {{ ternary "HTTPS" "HTTP" (not (empty $tls)) }}
{{- end }}
{{- end -}}

{{/* Some controllers look at the Service. What values say counts. */}}
{{- define "fanfare.serviceAnnotations" -}}
{{- $all := dict -}}
{{- if .Values.ingress.enabled -}}
{{- if eq .Values.ingress.controller "gce" -}}
{{- $_ := set $all "cloud.google.com/neg" (dict "ingress" true | toJson) -}}
{{- $_ := set $all "cloud.google.com/backend-config" (dict "default" (include "fanfare.fullname" .) | toJson) -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $all "cloud.google.com/app-protocols" (dict "clients" "HTTPS" | toJson) -}}
{{- end -}}
{{- else if and (eq .Values.ingress.controller "traefik") .Values.tls.existingSecret -}}
{{- $_ := set $all "traefik.ingress.kubernetes.io/service.serversscheme" "https" -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge (deepCopy (.Values.service.annotations | default dict)) $all) -}}
{{- end -}}
