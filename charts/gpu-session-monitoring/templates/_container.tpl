{{- define "gsm.stateDir" -}}
/var/lib/gpu-session-monitor{{ if not .Values.state.hostPath }}/state{{ end }}
{{- end }}

{{- define "gsm.setting" -}}
- name: GPU_SESSION_MONITOR_{{ index . 0 }}
  value: {{ index . 1 | toString | quote }}
{{ end }}

{{/*
Settings of every command that measures. In the environment, so that they hold for what is run in the container by hand
too: kubectl exec … gpu-session-monitor doctor.
*/}}
{{- define "gsm.settings" -}}
{{- $v := .Values -}}
{{ include "gsm.setting" (list "NODE" "$(NODE_NAME)") }}
{{- if $v.kubernetes.api }}
{{- include "gsm.setting" (list "KUBERNETES_NODE" "$(NODE_NAME)") }}
{{- else }}
{{- include "gsm.setting" (list "KUBERNETES_API" "off") }}
{{- end }}
{{- if $v.config }}
{{- include "gsm.setting" (list "CONFIG" "/etc/gpu-session-monitor/config.yaml") }}
{{- end }}
{{- if not (include "gsm.serves" .) }}
{{- include "gsm.setting" (list "TEXTFILE" "/host/textfile/gpu_sessions.prom") }}
{{- else }}
{{- include "gsm.setting" (list "LISTEN" (printf "0.0.0.0:%d" (int $v.metrics.port))) }}
{{- include "gsm.setting" (list "INTERVAL" $v.collection.interval) }}
{{- include "gsm.setting" (list "SCRAPE_INTERVAL" $v.metrics.scrapeInterval) }}
{{- if $v.web.configSecret }}
{{- include "gsm.setting" (list "WEB_CONFIG_FILE" "/etc/gpu-session-monitor-web/web.yaml") }}
{{- end }}
{{- if $v.web.kubernetesAuth }}
{{- include "gsm.setting" (list "WEB_KUBERNETES_AUTH" true) }}
{{- end }}
{{- end }}
{{- include "gsm.setting" (list "STATE_DIR" (include "gsm.stateDir" .)) }}
{{- if $v.processEvents }}
{{- include "gsm.setting" (list "PROCESS_EVENTS" true) }}
{{- end }}
{{- include "gsm.setting" (list "KUBELET_SOCKET" (ternary "/host/pod-resources/kubelet.sock" "off" (and $v.kubelet.podResources $v.rights.root))) }}
{{- if $v.users.passwd }}
{{- include "gsm.setting" (list "USERS_PASSWD" "/host/passwd") }}
{{- end }}
{{- if $v.dcgm.url }}
{{- include "gsm.setting" (list "DCGM_URL" $v.dcgm.url) }}
{{- end }}
{{- if $v.gpu.devices }}
{{- $devices := list }}
{{- range $v.gpu.devices }}{{ $devices = append $devices (kindIs "string" . | ternary . (int . | toString)) }}{{ end }}
{{- include "gsm.setting" (list "DEVICE" (join "," $devices)) }}
{{- end }}
{{- if $v.gpu.count }}
{{- include "gsm.setting" (list "GPU_COUNT" (int $v.gpu.count)) }}
{{- end }}
{{- end }}

{{/* Further arguments of every command that measures. */}}
{{- define "gsm.arguments" -}}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* What all containers have: the image, and what they may take. */}}
{{- define "gsm.image" -}}
{{- $v := .Values -}}
image: {{ printf "%s:%s" $v.image.repository ($v.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ $v.image.pullPolicy }}
{{- with $v.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container that measures has beside its name and arguments. */}}
{{- define "gsm.container" -}}
{{- $v := .Values -}}
{{ include "gsm.image" . }}
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
  {{- if .variant.privileged }}
  - name: NVIDIA_MIG_MONITOR_DEVICES
    value: all
  {{- end }}
  {{- include "gsm.settings" . | trim | nindent 2 }}
securityContext:
  readOnlyRootFilesystem: true
  {{- if .variant.privileged }}
  privileged: true
  {{- else }}
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
    {{- if $v.processEvents }}
    # Kernels before 6.6 tell of processes to no one else.
    add: [NET_ADMIN]
    {{- end }}
  {{- end }}
volumeMounts:
  {{- if $v.config }}
  - name: config
    mountPath: /etc/gpu-session-monitor
    readOnly: true
  {{- end }}
  {{- if not (include "gsm.serves" .) }}
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

{{/* The container that removes the textfile, without its name: no driver, no kubelet, no API. .stays is a hook's. */}}
{{- define "gsm.remover" -}}
args:
  - collect
  - --remove
  {{- if .stays }}
  # As the window of a sample: pods of one Job are to stand on different nodes.
  - --stay=15s
  {{- end }}
  {{- if include "gsm.hasTextfile" . }}
  - --textfile=/host/textfile/gpu_sessions.prom
  {{- end }}
  - --state-dir={{ include "gsm.stateDir" . }}
  - --kubelet-socket=off
  - --kubernetes-api=off
{{ include "gsm.image" . }}
{{- if .stays }}
env:
  - name: GPU_SESSION_MONITOR_PURGE
    valueFrom:
      configMapKeyRef:
        # Whoever makes it before he uninstalls wants the counters and the ledger gone, too.
        name: gpu-session-monitoring-removal
        key: purge
        optional: true
{{- end }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
volumeMounts:
  {{- if include "gsm.hasTextfile" . }}
  - name: textfile
    mountPath: /host/textfile
  {{- end }}
  - name: state
    mountPath: /var/lib/gpu-session-monitor
{{- end }}
