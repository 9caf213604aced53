{{/* The volume of the trial: of the embedded store, or of the single Redis. Takes {context, component}. */}}
{{- define "valetkey.claim" -}}
{{- $storage := .context.Values.trial.storage -}}
- metadata:
    name: data
    labels:
      {{- include "valetkey.selector" . | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with $storage.className }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ $storage.size }}
{{- end -}}
