{{/* The rules of monitoring/rules.yaml, for this release: its namespace and job, and what `monitoring.rules` says of alerts. */}}

{{- define "valetkey.rules" -}}
{{- $values := .Values.monitoring.rules -}}
{{- $own := printf "namespace=%q, job=%q" .Release.Namespace (include "valetkey.name" .) -}}
{{- $groups := list -}}
{{- $known := list -}}
{{- range $group := (.Files.Get "monitoring/rules.yaml" | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $group.rules -}}
{{- $rule := set . "expr" (replace "job=\"valetkey\"" $own .expr) -}}
{{- if hasKey $rule "alert" -}}
{{- $known = append $known $rule.alert -}}
{{- $rule = set $rule "labels" (merge (dict) $rule.labels $values.alertLabels) -}}
{{- with $values.runbookUrl -}}
{{- $rule = set $rule "annotations" (set $rule.annotations "runbook_url" (printf "%s#%s" . (lower $rule.alert))) -}}
{{- end -}}
{{- end -}}
{{- if not (has (default "" $rule.alert) $values.leaveOut) -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- end -}}
{{- with $rules -}}
{{- $groups = append $groups (dict "name" $group.name "rules" .) -}}
{{- end -}}
{{- end -}}
{{- range $values.leaveOut -}}
{{- if not (has . $known) -}}
{{- fail (printf "monitoring.rules.leaveOut: there is no alert %q (but %s)" . (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "groups" $groups) -}}
{{- end -}}
