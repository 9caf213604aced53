{{/* Families of a Service's addresses; the cluster's own where nothing is said. */}}
{{- define "valetkey.ipFamilies" -}}
{{- with .Values.service.ipFamilyPolicy -}}
ipFamilyPolicy: {{ . }}
{{ end -}}
{{- with .Values.service.ipFamilies -}}
ipFamilies: {{ toJson . }}
{{ end -}}
{{- end -}}
