{{/* The expression of those who have more GPUs than their quota; empty without quotas. Seven sevenths may add up to a
trifle more than 1. */}}
{{- define "gsm.overQuota" -}}
{{- $held := "user:gpu_device_compute_fraction:sum" }}
{{- $cases := list }}
{{- $others := "user!=\"_other\"" }}
{{- range $user, $gpus := .users }}
{{- $cases = append $cases (printf "%s{user=%s} > %v + 0.001" $held ($user | toJson) $gpus) }}
{{- $others = printf "%s, user!=%s" $others ($user | toJson) }}
{{- end }}
{{- with .default }}
{{- $cases = append $cases (printf "%s{%s} > %v + 0.001" $held $others .) }}
{{- end }}
{{- join "\nor\n" $cases }}
{{- end }}

{{/* Nodes whose newest sample is recent, by (cluster, node), though a scrape failed. .: prometheusRule.sampleMinutes. */}}
{{- define "gsm.recent" -}}
{{- $series := "gpu_session_collector_last_sample_timestamp_seconds" -}}
(time() - last_over_time({{ $series }}[{{ int . }}m]) < 60 * {{ int . }})
{{- end }}

{{/* The .rule as JSON with what prometheusRule (.values) says of it; nothing where it is left out. In its expression, and
in the annotations of an alert, ${name} stands for its value of that name. */}}
{{- define "gsm.rule" -}}
{{- $rule := deepCopy .rule }}
{{- $minutes := .values.sampleMinutes }}
{{- $known := dict "sampleMinutes" $minutes "recent" (include "gsm.recent" $minutes) }}
{{- $overQuota := include "gsm.overQuota" .values.quotas }}
{{- $made := true }}
{{- with $rule.alert }}
{{- $own := get $.values.alerts . }}
{{- $known = merge $known (dict "overQuota" $overQuota) $own }}
{{- $made = and $own.enabled (or $overQuota (ne . "GpuUserOverQuota")) }}
{{- $_ := set $rule "for" ($own.for | default (printf "%dm" (int $minutes))) }}
{{- with $.values.keepFiringFor }}
{{- $_ := set $rule "keep_firing_for" . }}
{{- end }}
{{- $_ := set $rule "labels" (dict "severity" $own.severity) }}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s.md" $.values.runbookUrl .) }}
{{- end }}
{{- range $name, $value := $known }}
{{- $placeholder := printf "${%s}" $name }}
{{- $_ := set $rule "expr" (replace $placeholder (toString $value) $rule.expr) }}
{{- range $key, $text := $rule.annotations }}
{{- $_ := set $rule.annotations $key (replace $placeholder (toString $value) $text) }}
{{- end }}
{{- end }}
{{- if $made }}{{ toJson $rule }}{{ end }}
{{- end }}
