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

{{/* The .rule as JSON with what prometheusRule (.values) says of it; nothing where it is left out. In expression and
annotations of an alert ${name} stands for its value of that name. */}}
{{- define "gsm.rule" -}}
{{- $rule := deepCopy .rule }}
{{- if not (hasKey $rule "alert") }}
{{- toJson $rule }}
{{- else }}
{{- $own := get .values.alerts $rule.alert }}
{{- $overQuota := include "gsm.overQuota" .values.quotas }}
{{- if and $own.enabled (or $overQuota (ne $rule.alert "GpuUserOverQuota")) }}
{{- range $name, $value := merge (dict "overQuota" $overQuota) $own }}
{{- $placeholder := printf "${%s}" $name }}
{{- $_ := set $rule "expr" (replace $placeholder (toString $value) $rule.expr) }}
{{- range $key, $text := $rule.annotations }}
{{- $_ := set $rule.annotations $key (replace $placeholder (toString $value) $text) }}
{{- end }}
{{- end }}
{{- $_ := set $rule "for" $own.for }}
{{- $_ := set $rule "labels" (dict "severity" $own.severity) }}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s.md" .values.runbookUrl $rule.alert) }}
{{- toJson $rule }}
{{- end }}
{{- end }}
{{- end }}
