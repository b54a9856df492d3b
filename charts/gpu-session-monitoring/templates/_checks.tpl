{{/* What a schema cannot say: values that do not go together. */}}
{{- define "gsm.checks" -}}
{{- $v := .Values }}
{{- if and $v.mig.monitor (not $v.rights.root) }}
{{- fail "mig.monitor: true makes the container privileged, which rights.root: false rules out; choose one" }}
{{- end }}
{{- if $v.mig.monitor }}
{{- range $key, $value := $v.mig.nodeSelector }}
{{- if and (hasKey $v.nodeSelector $key) (ne (get $v.nodeSelector $key) $value) }}
{{- fail (printf "mig.nodeSelector: %s=%s chooses no node with GPUs, for nodeSelector wants %s; name labels that some of them have" $key $value (get $v.nodeSelector $key)) }}
{{- end }}
{{- end }}
{{- if ne (eq 0 (int $v.collection.completions)) (eq 0 (int $v.mig.completions)) }}
{{- fail "mig.completions: with mig.monitor nodes with MIG have a run of their own, and collection.completions is of the others; give both, or neither" }}
{{- end }}
{{- end }}
{{- range $kind := list "requests" "limits" }}
{{- range $name, $amount := (get $v.resources $kind | default dict) }}
{{- if hasPrefix "nvidia.com/" $name }}
{{- fail (printf "resources.%s: %s would take a GPU from somebody; the monitor sees all GPUs without one: remove it" $kind $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq $v.collection.mode "daemonset" }}
{{- if hasKey $v.config "textfile" }}
{{- fail "config.textfile: with collection.mode daemonset Prometheus would have every series twice, from /metrics and from node_exporter; remove it" }}
{{- end }}
{{- if and $v.processEvents (not $v.rights.root) }}
{{- fail "processEvents: true needs a capability, which rights.root: false rules out; choose one" }}
{{- end }}
{{- else }}
{{- if $v.processEvents }}
{{- fail "processEvents: a run of collection.mode cronjob begins after the processes that it should hear of; choose daemonset, or leave it off" }}
{{- end }}
{{- if not $v.textfile.hostPath }}
{{- fail "textfile.hostPath: with collection.mode cronjob the metrics are written there; name the folder that node_exporter reads" }}
{{- end }}
{{- if not $v.state.hostPath }}
{{- fail "state.hostPath: with collection.mode cronjob the counters live in this folder between runs; name one" }}
{{- end }}
{{- $window := trimSuffix "s" $v.collection.window | int }}
{{- $deadline := int $v.collection.activeDeadlineSeconds }}
{{- if lt $deadline (add $window 10 | int) }}
{{- fail (printf "collection.activeDeadlineSeconds: %d ends a run of the window %s before it has written; at least %d is needed" $deadline $v.collection.window (add $window 10)) }}
{{- end }}
{{- $schedule := $v.collection.schedule }}
{{- if eq $schedule "* * * * *" }}{{ $schedule = "*/1 * * * *" }}{{ end }}
{{- if regexMatch "^\\*/[0-9]+ \\* \\* \\* \\*$" $schedule }}
{{- $minutes := regexFind "[0-9]+" $schedule | int }}
{{- $period := mul 60 $minutes }}
{{- if ge $deadline ($period | int) }}
{{- fail (printf "collection.activeDeadlineSeconds: %d must be less than the %d s between two runs of collection.schedule %q" $deadline $period $v.collection.schedule) }}
{{- end }}
{{- if and $v.prometheusRule.enabled (lt (int $v.prometheusRule.sampleMinutes) (mul 2 $minutes | int)) }}
{{- fail (printf "prometheusRule.sampleMinutes: %d is too few for runs every %d minutes, of which no alert would know whether they are of now; at least %d is needed" (int $v.prometheusRule.sampleMinutes) $minutes (mul 2 $minutes)) }}
{{- end }}
{{- end }}
{{- if and $v.removal.enabled (lt (int $v.removal.activeDeadlineSeconds) (add $deadline 60 | int)) }}
{{- fail (printf "removal.activeDeadlineSeconds: %d ends the removal while it waits for a run, which may take %d s; at least %d is needed" (int $v.removal.activeDeadlineSeconds) $deadline (add $deadline 60)) }}
{{- end }}
{{- end }}
{{- end }}
