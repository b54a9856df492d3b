{{/* Arguments of every command. */}}
{{- define "gsm.arguments" -}}
{{- $v := .Values -}}
- --node=$(NODE_NAME)
{{- if $v.kubernetes.api }}
- --kubernetes-node=$(NODE_NAME)
{{- else }}
- --kubernetes-api=off
{{- end }}
{{- if $v.config }}
- --config=/etc/gpu-session-monitor/config.yaml
{{- end }}
{{- if eq $v.collection.mode "cronjob" }}
- --textfile=/host/textfile/gpu_sessions.prom
{{- end }}
- --state-dir=/var/lib/gpu-session-monitor{{ if not $v.state.hostPath }}/state{{ end }}
- --kubelet-socket={{ ternary "/host/pod-resources/kubelet.sock" "off" (and $v.kubelet.podResources $v.rights.root) }}
{{- if $v.users.passwd }}
- --users-passwd=/host/passwd
{{- end }}
{{- if $v.dcgm.url }}
- {{ printf "--dcgm-url=%s" $v.dcgm.url | quote }}
{{- end }}
{{- if $v.gpu.devices }}
{{- $devices := list }}
{{- range $v.gpu.devices }}{{ $devices = append $devices (kindIs "string" . | ternary . (int . | toString)) }}{{ end }}
- {{ printf "--device=%s" (join "," $devices) | quote }}
{{- end }}
{{- if $v.gpu.count }}
- --gpu-count={{ int $v.gpu.count }}
{{- end }}
{{- range $v.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* What every container has beside its name and arguments. */}}
{{- define "gsm.container" -}}
{{- $v := .Values -}}
image: {{ printf "%s:%s" $v.image.repository ($v.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ $v.image.pullPolicy }}
env:
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  - name: HOST_IP
    valueFrom:
      fieldRef:
        fieldPath: status.hostIP
  - name: NVIDIA_VISIBLE_DEVICES
    value: all
  - name: NVIDIA_DRIVER_CAPABILITIES
    value: utility
  {{- if $v.mig.monitor }}
  - name: NVIDIA_MIG_MONITOR_DEVICES
    value: all
  {{- end }}
{{- with $v.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  readOnlyRootFilesystem: true
  {{- if $v.mig.monitor }}
  privileged: true
  {{- else }}
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  {{- end }}
volumeMounts:
  {{- if $v.config }}
  - name: config
    mountPath: /etc/gpu-session-monitor
    readOnly: true
  {{- end }}
  {{- if eq $v.collection.mode "cronjob" }}
  - name: textfile
    mountPath: /host/textfile
  {{- else if $v.web.configSecret }}
  - name: web
    mountPath: /etc/gpu-session-monitor-web
    readOnly: true
  {{- end }}
  - name: state
    mountPath: /var/lib/gpu-session-monitor
  {{- if and $v.kubelet.podResources $v.rights.root }}
  - name: pod-resources
    mountPath: /host/pod-resources
    readOnly: true
  {{- end }}
  {{- if $v.users.passwd }}
  - name: passwd
    mountPath: /host/passwd
    readOnly: true
  {{- end }}
{{- end }}

{{- define "gsm.podMetadata" -}}
labels:
  {{- include "gsm.labels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := dict }}
{{- if and (eq .Values.collection.mode "daemonset") (eq .Values.metrics.scrape "annotations") }}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/path" "/metrics" "prometheus.io/port" (.Values.metrics.port | int | toString) "prometheus.io/scheme" (ternary "https" "http" .Values.web.tls) }}
{{- end }}
{{- with merge (deepCopy .Values.podAnnotations) $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The fields of a pod that are the same for all, without its containers. */}}
{{- define "gsm.pod" -}}
{{- $v := .Values -}}
serviceAccountName: {{ include "gsm.serviceAccount" . }}
automountServiceAccountToken: {{ eq (include "gsm.needsApi" .) "yes" }}
{{- with $v.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $v.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
# The driver names processes by the node's pids.
hostPID: true
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
{{- with $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  {{- if $v.config }}
  - name: config
    configMap:
      name: {{ include "gsm.fullname" . }}
  {{- end }}
  {{- if eq $v.collection.mode "cronjob" }}
  - name: textfile
    hostPath:
      path: {{ $v.textfile.hostPath | quote }}
      type: {{ ternary "DirectoryOrCreate" "Directory" $v.rights.root }}
  {{- else if $v.web.configSecret }}
  - name: web
    secret:
      secretName: {{ $v.web.configSecret }}
      defaultMode: {{ ternary 256 288 $v.rights.root }}
  {{- end }}
  - name: state
    {{- if $v.state.hostPath }}
    hostPath:
      path: {{ $v.state.hostPath | quote }}
      type: {{ ternary "DirectoryOrCreate" "Directory" $v.rights.root }}
    {{- else }}
    emptyDir: {}
    {{- end }}
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

{{/* Pods of a run stand on different nodes: they repel each other as long as they run. */}}
{{- define "gsm.apart" -}}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "gsm.selector" . | nindent 12 }}
{{- end }}
