{{- define "gsm.podMetadata" -}}
labels:
  {{- include "gsm.labels" . | nindent 2 }}
  {{- with .variant }}
  gpu-session-monitoring/variant: {{ .name }}
  {{- end }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := dict }}
{{- if and .variant (include "gsm.serves" .) (eq .Values.metrics.scrape "annotations") }}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/path" "/metrics" "prometheus.io/port" (.Values.metrics.port | int | toString) "prometheus.io/scheme" (ternary "https" "http" .Values.web.tls) }}
{{- end }}
{{- with merge (deepCopy .Values.podAnnotations) $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What all pods have: as whom, and where. */}}
{{- define "gsm.place" -}}
{{- $v := .Values -}}
{{- with $v.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- if $v.rights.root }}
  runAsUser: 0
  runAsGroup: 0
  {{- else }}
  runAsNonRoot: true
  runAsUser: {{ int $v.rights.uid }}
  runAsGroup: {{ int $v.rights.uid }}
  fsGroup: {{ int $v.rights.uid }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- $nodeSelector := $v.nodeSelector }}
{{- with .variant }}{{ $nodeSelector = .nodeSelector }}{{ end }}
{{- with $nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "gsm.affinity" . }}
{{ . }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "gsm.textfileVolume" -}}
- name: textfile
  hostPath:
    path: {{ .Values.textfile.hostPath | quote }}
    type: {{ ternary "DirectoryOrCreate" "Directory" .Values.rights.root }}
{{- end }}

{{- define "gsm.stateVolume" -}}
- name: state
  {{- if .Values.state.hostPath }}
  hostPath:
    path: {{ .Values.state.hostPath | quote }}
    type: {{ ternary "DirectoryOrCreate" "Directory" .Values.rights.root }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}

{{/* The fields of a pod that measures, without its containers. */}}
{{- define "gsm.pod" -}}
{{- $v := .Values -}}
serviceAccountName: {{ include "gsm.serviceAccount" . }}
automountServiceAccountToken: {{ eq (include "gsm.needsApi" .) "yes" }}
{{- with $v.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
# The driver names processes by the node's pids.
hostPID: true
{{- if $v.processEvents }}
# The kernel tells of processes in the node's network only.
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{ include "gsm.place" . | trim }}
volumes:
  {{- if $v.config }}
  - name: config
    configMap:
      name: {{ include "gsm.fullname" . }}
  {{- end }}
  {{- if include "gsm.hasTextfile" . }}
  {{- include "gsm.textfileVolume" . | nindent 2 }}
  {{- end }}
  {{- if and (include "gsm.serves" .) $v.web.configSecret }}
  - name: web
    secret:
      secretName: {{ $v.web.configSecret }}
      defaultMode: {{ ternary 256 288 $v.rights.root }}
  {{- end }}
  {{- include "gsm.stateVolume" . | nindent 2 }}
  {{- if and $v.kubelet.podResources $v.rights.root }}
  - name: pod-resources
    hostPath:
      path: {{ $v.kubelet.hostPath | quote }}
      type: Directory
  {{- end }}
  {{- if $v.users.passwd }}
  - name: passwd
    hostPath:
      path: {{ $v.users.passwd | quote }}
      type: File
  {{- end }}
{{- end }}
