{{- define "gsm.stateDir" -}}
--state-dir=/var/lib/gpu-session-monitor{{ if not .Values.state.hostPath }}/state{{ end }}
{{- end }}

{{/* Arguments of every command that measures. */}}
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
{{- if not (include "gsm.serves" .) }}
- --textfile=/host/textfile/gpu_sessions.prom
{{- end }}
- {{ include "gsm.stateDir" . }}
{{- if $v.processEvents }}
- --process-events=true
{{- end }}
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
  - {{ include "gsm.stateDir" . }}
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
