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

{{- define "gsm.serves" -}}
{{- if eq .Values.collection.mode "daemonset" }}yes{{ end }}
{{- end }}

{{/* Labels that all pods of the release have in common. */}}
{{- define "gsm.identity" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gsm.measures" -}}
{{ ternary "agent" "collector" (eq .Values.collection.mode "daemonset") }}
{{- end }}

{{/* Labels of the pods that measure, or of those of .component. */}}
{{- define "gsm.selector" -}}
{{ include "gsm.identity" . }}
app.kubernetes.io/component: {{ .component | default (include "gsm.measures" .) }}
{{- end }}

{{- define "gsm.labels" -}}
{{ include "gsm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Whether a rule of the users reads the namespace's labels or annotations. */}}
{{- define "gsm.readsNamespaces" -}}
{{- range (dig "users" "rules" list .Values.config) }}
{{- if hasPrefix "namespace_" (get . "from" | toString) }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "gsm.needsApi" -}}
{{- if or .Values.kubernetes.api (and (include "gsm.serves" .) .Values.web.kubernetesAuth) }}yes{{ end }}
{{- end }}

{{/* Whether there may be a textfile of ours on the nodes that a pod can remove. */}}
{{- define "gsm.hasTextfile" -}}
{{- if or (not (include "gsm.serves" .)) (include "gsm.removesFirst" .) }}yes{{ end }}
{{- end }}

{{/* Whether the agents' pods remove the textfile that the other mode has left. Others than root could not. */}}
{{- define "gsm.removesFirst" -}}
{{- if and (include "gsm.serves" .) .Values.rights.root .Values.textfile.hostPath }}yes{{ end }}
{{- end }}
