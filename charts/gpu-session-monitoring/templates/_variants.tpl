{{/*
The kinds of pods that measure, each for nodes of its own: where MIG instances are monitored by one call, those nodes'
are privileged and all others are not. A workload is made for each; its name ends in the suffix.
*/}}
{{- define "gsm.variants" -}}
{{- $v := .Values }}
{{- $standard := dict "name" "standard" "suffix" "" "privileged" false "nodeSelector" $v.nodeSelector "without" dict "completions" $v.collection.completions }}
{{- $variants := list $standard }}
{{- if $v.mig.monitor }}
{{- $_ := set $standard "without" $v.mig.nodeSelector }}
{{- $both := merge (dict) $v.mig.nodeSelector $v.nodeSelector }}
{{- $variants = append $variants (dict "name" "mig" "suffix" "-mig" "privileged" true "nodeSelector" $both "without" dict "completions" $v.mig.completions) }}
{{- end }}
{{- toYaml $variants }}
{{- end }}

{{/* Whether these labels are among those: (list labels these). */}}
{{- define "gsm.carries" -}}
{{- $labels := index . 0 }}
{{- $missing := "" }}
{{- range $key, $value := index . 1 }}
{{- if ne (get $labels $key | toString) $value }}{{ $missing = $key }}{{ end }}
{{- end }}
{{- if not $missing }}yes{{ end }}
{{- end }}

{{/* Number of nodes with the labels .nodeSelector but not all of .without; nothing where Helm cannot ask the cluster. */}}
{{- define "gsm.count" -}}
{{- $asked := . }}
{{- with (lookup "v1" "Node" "" "").items }}
{{- $count := 0 }}
{{- range . }}
{{- $labels := .metadata.labels | default dict }}
{{- if and (include "gsm.carries" (list $labels $asked.nodeSelector)) (not (and $asked.without (include "gsm.carries" (list $labels $asked.without)))) }}
{{- $count = add1 $count }}
{{- end }}
{{- end }}
{{- $count }}
{{- end }}
{{- end }}

{{/*
Pods of a run of .variant: as told, or as many as nodes, or 1 where Helm cannot ask. Without any node with GPUs one pod
waits, and shows that something is missing; where all of them are the other variant's, none does.
*/}}
{{- define "gsm.completions" -}}
{{- if .variant.completions }}{{ int .variant.completions }}
{{- else }}
{{- $all := include "gsm.count" (dict "nodeSelector" .Values.nodeSelector "without" dict) }}
{{- if has $all (list "" "0") }}1
{{- else }}{{ include "gsm.count" .variant }}
{{- end }}
{{- end }}
{{- end }}

{{/* Nodes with GPUs, of all variants: as told, or counted; 1 where Helm cannot ask. */}}
{{- define "gsm.nodes" -}}
{{- $told := int .Values.collection.completions }}
{{- if .Values.mig.monitor }}{{ $told = add $told (int .Values.mig.completions) | int }}{{ end }}
{{- if $told }}{{ $told }}
{{- else }}{{ include "gsm.count" (dict "nodeSelector" .Values.nodeSelector "without" dict) | default "1" }}
{{- end }}
{{- end }}

{{/*
On which nodes: the variant's; and of .apart, on none where another pod of this mode or of the removal runs, so that the
pods of a run stand on different nodes. Of the other mode are none: its pods, which keep off nobody, would not be placed
anew for minutes after one that keeps them off has gone.
*/}}
{{- define "gsm.affinity" -}}
{{- $without := dict }}
{{- with .variant }}{{ $without = .without }}{{ end }}
{{- if or $without .apart -}}
affinity:
  {{- with $without }}
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        {{- range $key, $value := . }}
        - matchExpressions:
            - key: {{ $key }}
              operator: NotIn
              values: [{{ $value | quote }}]
        {{- end }}
  {{- end }}
  {{- if .apart }}
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "gsm.identity" . | nindent 12 }}
          matchExpressions:
            - key: app.kubernetes.io/component
              operator: In
              values: [{{ include "gsm.measures" . }}, removal]
  {{- end }}
{{- end }}
{{- end }}
