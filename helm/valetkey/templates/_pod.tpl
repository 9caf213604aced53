{{/* What every pod with Valetkey in it has: the container and its volumes, wherever it stands. */}}

{{/* The container, but for its ports, probes and kind of life. Takes {context, name, args, resources, mounts}. */}}
{{- define "valetkey.container" -}}
{{- $values := .context.Values -}}
name: {{ .name }}
image: {{ include "valetkey.image" .context | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
command: [valetkey]
args: {{ default (list "serve" "--config" "/etc/valetkey/config/valetkey.yaml") .args | toJson }}
{{- with $values.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "valetkey.securityContext" .context | nindent 2 }}
{{- with .resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "valetkey.mounts" .context | nindent 2 }}
  {{- with .mounts }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What Pod Security `restricted` asks of a container. No user: the image's is a number, OpenShift gives one. */}}
{{- define "valetkey.securityContext" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "runAsNonRoot" true "capabilities" (dict "drop" (list "ALL")) "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- include "valetkey.over" (dict "base" $restricted "over" .Values.securityContext) -}}
{{- end -}}

{{/* A map with the operator's keys over it, `false` among them, which `merge` would take for none. Takes {base, over}. */}}
{{- define "valetkey.over" -}}
{{- $out := .base -}}
{{- range $key, $value := .over -}}
{{- $_ := set $out $key $value -}}
{{- end -}}
{{- toYaml $out -}}
{{- end -}}

{{/* A probe: `valetkey health` in the container, so that the admin port can stay on loopback. Takes {context, timing, expect}. */}}
{{- define "valetkey.probe" -}}
exec:
  command: [valetkey, health, --address, {{ include "valetkey.adminAddress" .context | quote }}, --expect, {{ .expect }}, --timeout, {{ printf "%ds" (int .timing.timeoutSeconds) }}]
{{ toYaml .timing }}
{{- end -}}

{{/* Directories, each whole and without subPath: the kubelet swaps what is in them when ConfigMap or Secret change. */}}
{{- define "valetkey.mounts" -}}
- name: {{ include "valetkey.volume" (list "config" "") }}
  mountPath: /etc/valetkey/config
  readOnly: true
{{- range $name, $_ := .Values.secrets }}
- name: {{ include "valetkey.volume" (list "secret" $name) }}
  mountPath: /etc/valetkey/secrets/{{ $name }}
  readOnly: true
{{- end }}
{{- range $name, $_ := .Values.files }}
- name: {{ include "valetkey.volume" (list "file" $name) }}
  mountPath: /etc/valetkey/files/{{ $name }}
  readOnly: true
{{- end }}
{{- if .Values.serviceAccount.tokens }}
- name: {{ include "valetkey.volume" (list "tokens" "") }}
  mountPath: /var/run/secrets/valetkey
  readOnly: true
{{- end }}
{{- if include "valetkey.asksCluster" . }}
- name: {{ include "valetkey.volume" (list "cluster" "") }}
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A volume's name, which no volume of the application has. Takes [kind, name]. */}}
{{- define "valetkey.volume" -}}
{{- printf "valetkey-%s-%s" (index . 0) (index . 1) | trimSuffix "-" -}}
{{- end -}}

{{- define "valetkey.volumes" -}}
- name: {{ include "valetkey.volume" (list "config" "") }}
  configMap:
    name: {{ include "valetkey.configName" . }}
{{- range $name, $secret := .Values.secrets }}
- name: {{ include "valetkey.volume" (list "secret" $name) }}
  secret:
    secretName: {{ include "valetkey.rendered" (dict "context" $ "value" $secret.secretName) }}
    {{- include "valetkey.items" $secret | nindent 4 }}
{{- end }}
{{- range $name, $file := .Values.files }}
- name: {{ include "valetkey.volume" (list "file" $name) }}
  configMap:
    name: {{ include "valetkey.rendered" (dict "context" $ "value" $file.configMapName) }}
    {{- include "valetkey.items" $file | nindent 4 }}
{{- end }}
{{- with .Values.serviceAccount.tokens }}
- name: {{ include "valetkey.volume" (list "tokens" "") }}
  projected:
    sources:
      {{- range . }}
      - serviceAccountToken:
          path: {{ .name }}
          audience: {{ .audience | quote }}
          expirationSeconds: {{ int (default 3600 .expirationSeconds) }}
      {{- end }}
{{- end }}
{{- if include "valetkey.asksCluster" . }}
- name: {{ include "valetkey.volume" (list "cluster" "") }}
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Which keys become which files; all of them, as they are called, where none is named. */}}
{{- define "valetkey.items" -}}
optional: {{ default false .optional }}
{{- with .files }}
items:
  {{- range $file, $key := . }}
  - key: {{ $key | quote }}
    path: {{ $file | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The pod of gateway and trial. Takes {context, component, volumes, mounts, fsGroup}. */}}
{{- define "valetkey.pod" -}}
{{- $values := .context.Values -}}
metadata:
  labels:
    {{- include "valetkey.podLabels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- include "valetkey.rendered" (dict "context" $.context "value" .) | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "valetkey.serviceAccountName" .context }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "valetkey.gracePeriod" .context }}
  securityContext:
    {{- $restricted := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
    {{- if .fsGroup }}
    {{- $_ := set $restricted "fsGroup" (int .fsGroup) }}
    {{- $_ := set $restricted "fsGroupChangePolicy" "OnRootMismatch" }}
    {{- end }}
    {{- include "valetkey.over" (dict "base" $restricted "over" $values.podSecurityContext) | nindent 4 }}
  {{- with include "valetkey.pullSecrets" .context }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  {{- include "valetkey.placement" . | nindent 2 }}
  containers:
    - {{ include "valetkey.container" (dict "context" .context "name" "valetkey" "resources" $values.resources "mounts" .mounts) | nindent 6 | trim }}
      ports:
        - { name: proxy, containerPort: {{ int $values.listen.proxy.port }}, protocol: TCP }
        - { name: connect, containerPort: {{ int $values.listen.connect.port }}, protocol: TCP }
        {{- if $values.monitoring.enabled }}
        - { name: admin, containerPort: {{ int $values.listen.admin.port }}, protocol: TCP }
        {{- end }}
      startupProbe:
        {{- include "valetkey.probe" (dict "context" .context "timing" $values.probes.startup "expect" "listening") | nindent 8 }}
      readinessProbe:
        {{- include "valetkey.probe" (dict "context" .context "timing" $values.probes.readiness "expect" "ready") | nindent 8 }}
      livenessProbe:
        {{- include "valetkey.probe" (dict "context" .context "timing" $values.probes.liveness "expect" "listening") | nindent 8 }}
  volumes:
    {{- include "valetkey.volumes" .context | nindent 4 }}
    {{- with .volumes }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Where the pod may run. Takes {context, component}. */}}
{{- define "valetkey.placement" -}}
{{- $values := .context.Values -}}
{{- $selector := dict "matchLabels" (include "valetkey.selector" . | fromYaml) -}}
{{- $spread := $values.topologySpreadConstraints -}}
{{- if not $spread -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $spread = append $spread (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- end -}}
topologySpreadConstraints:
{{- range $spread }}
  - {{ merge (dict) . (dict "labelSelector" $selector) | toYaml | nindent 4 | trim }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end -}}
