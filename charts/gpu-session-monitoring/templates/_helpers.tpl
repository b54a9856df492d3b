{{- define "gsm.enabled" -}}
{{- if and .Values.enabled (index .Values "gpu-session-monitoring" "enabled") }}yes{{ end }}
{{- end }}

{{- define "gsm.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gsm.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}{{ include "gsm.fullname" . }}
{{- else }}default{{ end }}
{{- end }}

{{- define "gsm.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ ternary "agent" "collector" (eq .Values.collection.mode "daemonset") }}
{{- end }}

{{- define "gsm.labels" -}}
{{ include "gsm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Pods of a run: as told, or the nodes that match nodeSelector, or 1 where the cluster cannot be asked. */}}
{{- define "gsm.completions" -}}
{{- $count := int .Values.collection.completions }}
{{- if not $count }}
{{- $selector := .Values.nodeSelector }}
{{- range (lookup "v1" "Node" "" "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- $matches := true }}
{{- range $key, $value := $selector }}
{{- if ne (get $labels $key | toString) $value }}{{ $matches = false }}{{ end }}
{{- end }}
{{- if $matches }}{{ $count = add1 $count }}{{ end }}
{{- end }}
{{- end }}
{{- max 1 $count }}
{{- end }}

{{/* Whether a rule of the users reads the namespace's labels or annotations. */}}
{{- define "gsm.readsNamespaces" -}}
{{- range (dig "users" "rules" list .Values.config) }}
{{- if hasPrefix "namespace_" (get . "from" | toString) }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "gsm.needsApi" -}}
{{- if or .Values.kubernetes.api (and (eq .Values.collection.mode "daemonset") .Values.web.kubernetesAuth) }}yes{{ end }}
{{- end }}
