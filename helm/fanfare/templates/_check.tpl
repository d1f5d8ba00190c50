{{/*
What the schema can't say: values that belong together. All that is wrong is told at once, each with what to set.
*/}}
{{- define "fanfare.check" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if not (or $v.auth.hs256.existingSecret $v.auth.publicKeys.existingSecret $v.config.jwt_jwks_url) -}}
{{- $wrong = append $wrong "no way to check tokens: set auth.hs256.existingSecret, auth.publicKeys.existingSecret or config.jwt_jwks_url" -}}
{{- end -}}
{{- if and $v.auth.publicKeys.existingSecret (not $v.auth.publicKeys.keys) -}}
{{- $wrong = append $wrong "auth.publicKeys.keys is empty: name the keys of the Secret that are PEM files, such as {issuer.pem}" -}}
{{- end -}}
{{- if and (not $v.redis.url) (not $v.redis.trial.enabled) -}}
{{- $wrong = append $wrong "no Redis: set redis.url, such as redis://redis:6379 (or redis.trial.enabled=true to try it out without one of your own)" -}}
{{- end -}}
{{- if and $v.redis.url $v.redis.trial.enabled -}}
{{- $wrong = append $wrong "redis.url and redis.trial.enabled exclude each other: leave one of them out" -}}
{{- end -}}
{{- range $name, $url := dict "redis.url" $v.redis.url "redis.functionsJob.url" $v.redis.functionsJob.url -}}
{{- if regexMatch "://.*:.*@" $url -}}
{{- $wrong = append $wrong (printf "%s has a password, which would stand in a ConfigMap or a Job: leave it out of the address and name its Secret in the password.existingSecret beside it" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.redis.trial.enabled (eq $v.redis.functions "check") -}}
{{- $wrong = append $wrong "redis.functions=check needs a Redis that is there before the nodes: it does not go with redis.trial.enabled" -}}
{{- end -}}
{{- if and $v.redis.tls.ca.existingSecret $v.redis.tls.ca.existingConfigMap -}}
{{- $wrong = append $wrong "redis.tls.ca has both existingSecret and existingConfigMap: leave one of them out" -}}
{{- end -}}
{{- if $v.autoscaling.enabled -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- $wrong = append $wrong "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $v.autoscaling.targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" ($v.resources | default dict))) -}}
{{- $wrong = append $wrong "autoscaling by CPU needs resources.requests.cpu: utilisation is a share of it" -}}
{{- end -}}
{{- if and (eq $v.autoscaling.mode "cpu") (not $v.autoscaling.targetCPUUtilizationPercentage) -}}
{{- $wrong = append $wrong "autoscaling.mode=cpu needs autoscaling.targetCPUUtilizationPercentage" -}}
{{- end -}}
{{- if and (eq $v.autoscaling.mode "keda") (not $v.autoscaling.keda.prometheusAddress) -}}
{{- $wrong = append $wrong "autoscaling.mode=keda needs autoscaling.keda.prometheusAddress, such as http://prometheus.monitoring:9090" -}}
{{- end -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- $wrong = append $wrong "ingress.enabled without ingress.hosts: name at least one host" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- $wrong = append $wrong "httpRoute.enabled without httpRoute.parentRefs: name the Gateway" -}}
{{- end -}}
{{- if and $v.podDisruptionBudget.enabled $v.podDisruptionBudget.minAvailable $v.podDisruptionBudget.maxUnavailable -}}
{{- $wrong = append $wrong "podDisruptionBudget has both minAvailable and maxUnavailable: set one of them to null" -}}
{{- end -}}
{{- if and $v.podDisruptionBudget.enabled (kindIs "invalid" $v.podDisruptionBudget.minAvailable) (kindIs "invalid" $v.podDisruptionBudget.maxUnavailable) -}}
{{- $wrong = append $wrong "podDisruptionBudget has neither minAvailable nor maxUnavailable: set one of them, or podDisruptionBudget.enabled=false" -}}
{{- end -}}
{{- if and $v.otel.env (not $v.otel.endpoint) -}}
{{- $wrong = append $wrong "otel.env without otel.endpoint: no traces go out until it is set" -}}
{{- end -}}
{{- range $name, $instead := include "fanfare.otelOwn" . | fromYaml -}}
{{- if hasKey ($v.otel.env | default dict) $name -}}
{{- $wrong = append $wrong (printf "otel.env.%s is set by the chart: %s" $name $instead) -}}
{{- end -}}
{{- end -}}
{{- with $wrong -}}
{{- fail (printf "these values can't be used, %d %s:\n  %s\n" (len .) (ternary "problem" "problems" (eq (len .) 1)) (join "\n  " .)) -}}
{{- end -}}
{{- end -}}
