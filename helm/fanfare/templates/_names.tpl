{{/* The release's name, unless it says otherwise: at most 50 characters, since suffixes follow, and no dots: Services have none. */}}
{{- define "fanfare.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- include "fanfare.shortened" (list 50 ($full | replace "." "-")) -}}
{{- end -}}

{{/* Takes (list <characters> <text>): at most so many, and none at the end that names and labels must not end with. */}}
{{- define "fanfare.shortened" -}}
{{- regexReplaceAll "[-_.]+$" (index . 1 | trunc (index . 0)) "" -}}
{{- end -}}

{{/* What selects the nodes, and only them. Never changes, since a Deployment's selector can't. */}}
{{- define "fanfare.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{/* Labels of everything. Takes (list <root> <component>), and more labels as a third where there are any. */}}
{{- define "fanfare.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/version: {{ include "fanfare.shortened" (list 63 ($root.Values.image.tag | default $root.Chart.AppVersion)) | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ include "fanfare.shortened" (list 63 (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")) }}
{{ include "fanfare.podLabels" . }}
{{- end -}}

{{/* Labels of a pod, from the same list: none that changes when only the chart does, since that would restart the nodes. */}}
{{- define "fanfare.podLabels" -}}
{{- $root := index . 0 -}}
{{- $more := dict -}}
{{- if gt (len .) 2 }}{{ $more = index . 2 | default dict }}{{ end -}}
app.kubernetes.io/name: {{ $root.Values.nameOverride | default $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: fanfare
{{- with merge (dict) $more ($root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fanfare.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "fanfare.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "fanfare.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
