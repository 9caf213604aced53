{{/* Names, labels and the image. Nothing here knows the configuration. */}}

{{/* The chart's name: what tells several of its kind in one release apart, such as aliases. */}}
{{- define "valetkey.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What the names of all objects begin with. */}}
{{- define "valetkey.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
A name with a suffix, never longer than `max` (63 where not given). What is cut off is stood for by a hash, so that two long names that
begin alike stay two. Takes {context, suffix, max}.
*/}}
{{- define "valetkey.object" -}}
{{- $full := include "valetkey.fullname" .context -}}
{{- $suffix := ternary (printf "-%s" .suffix) "" (ne .suffix "") -}}
{{- $max := int (default 63 .max) -}}
{{- if le (add (len $full) (len $suffix)) $max -}}
{{- printf "%s%s" $full $suffix -}}
{{- else -}}
{{- printf "%s-%s%s" ($full | trunc (int (sub (sub $max (len $suffix)) 7)) | trimSuffix "-") (sha256sum $full | trunc 6) $suffix -}}
{{- end -}}
{{- end -}}

{{/* A StatefulSet's pods bear its name and a hash in a label: it may have 52 characters. */}}
{{- define "valetkey.trialName" -}}
{{- include "valetkey.object" (dict "context" . "suffix" "" "max" 52) -}}
{{- end -}}

{{- define "valetkey.redisName" -}}
{{- include "valetkey.object" (dict "context" . "suffix" "trial-redis" "max" 52) -}}
{{- end -}}

{{- define "valetkey.connectName" -}}
{{- include "valetkey.object" (dict "context" . "suffix" "connect") -}}
{{- end -}}

{{- define "valetkey.metricsName" -}}
{{- include "valetkey.object" (dict "context" . "suffix" "metrics") -}}
{{- end -}}

{{- define "valetkey.dashboardName" -}}
{{- include "valetkey.object" (dict "context" . "suffix" "dashboard") -}}
{{- end -}}

{{- define "valetkey.configName" -}}
{{- include "valetkey.object" (dict "context" . "suffix" "config") -}}
{{- end -}}

{{- define "valetkey.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "valetkey.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects pods; it never changes. Takes {context, component}. */}}
{{- define "valetkey.selector" -}}
app.kubernetes.io/name: {{ include "valetkey.name" .context }}
app.kubernetes.io/instance: {{ .context.Release.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of a pod: no version of the chart, so that a new one that changes nothing restarts nothing. Takes {context, component}. */}}
{{- define "valetkey.podLabels" -}}
{{ include "valetkey.selector" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
{{- with .context.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of an object. Takes {context, component}. */}}
{{- define "valetkey.labels" -}}
{{ include "valetkey.podLabels" . }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Name, namespace, labels and annotations of an object. Takes {context, component, name, labels, annotations}. */}}
{{- define "valetkey.metadata" -}}
name: {{ .name }}
namespace: {{ .context.Release.Namespace }}
labels:
  {{- include "valetkey.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (dict) (default (dict) .annotations) .context.Values.commonAnnotations }}
{{- with $annotations }}
annotations:
  {{- include "valetkey.rendered" (dict "context" $.context "value" .) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A map or text whose templates are rendered. Takes {context, value}. */}}
{{- define "valetkey.rendered" -}}
{{- tpl (kindIs "string" .value | ternary .value (toYaml .value)) .context -}}
{{- end -}}

{{- define "valetkey.image" -}}
{{- $global := default (dict) .Values.global -}}
{{- $registry := default (dig "imageRegistry" "" $global) .Values.image.registry -}}
{{- $repository := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Secrets for the registry, each once: `global.imagePullSecrets` may hold names or maps with one. */}}
{{- define "valetkey.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (dig "imagePullSecrets" (list) (default (dict) .Values.global)) .Values.image.pullSecrets -}}
{{- $names = append $names (kindIs "map" . | ternary (get (kindIs "map" . | ternary . (dict)) "name") .) -}}
{{- end -}}
{{- range $names | uniq }}
- name: {{ . }}
{{- end -}}
{{- end -}}
