{{/*
Valetkey beside an application, in the application's own pod: templates for the application's chart, which has this one as a dependency with
`mode: sidecar`.

    spec:
      template:
        spec:
          {{- include "valetkey.sidecar" (dict "valetkey" .Subcharts.valetkey "pod" (include "app.pod" .)) | nindent 10 }}

`pod` is the pod's spec, as text or as a map, of a Deployment, StatefulSet, Job or CronJob. Whoever can't hand it over whole puts
`valetkey.sidecar.initContainers`, `valetkey.sidecar.containers` and `valetkey.sidecar.volumes` into the three lists.
*/}}

{{- define "valetkey.sidecar" -}}
{{- $valetkey := required "valetkey.sidecar: hand in valetkey: .Subcharts.valetkey (or the alias that the dependency has)" .valetkey -}}
{{- $pod := kindIs "string" .pod | ternary (fromYaml (toString .pod)) .pod | deepCopy -}}
{{- if hasKey $pod "Error" -}}
{{- fail (printf "valetkey.sidecar: pod is no YAML: %s" $pod.Error) -}}
{{- end -}}
{{- include "valetkey.sidecar.fits" (dict "valetkey" $valetkey "pod" $pod) -}}
{{- $first := include "valetkey.sidecar.initContainers" $valetkey | fromYamlArray -}}
{{- $beside := include "valetkey.sidecar.containers" $valetkey | fromYamlArray -}}
{{- $volumes := include "valetkey.sidecar.volumes" $valetkey | fromYamlArray -}}
{{- $_ := set $pod "containers" (concat $beside (default (list) $pod.containers)) -}}
{{- $_ := set $pod "volumes" (concat (default (list) $pod.volumes) $volumes) -}}
{{- with concat $first (default (list) $pod.initContainers) -}}
{{- $_ := set $pod "initContainers" . -}}
{{- end -}}
{{- $pull := concat (default (list) $pod.imagePullSecrets) (include "valetkey.pullSecrets" $valetkey | fromYamlArray) -}}
{{- with $pull -}}
{{- $_ := set $pod "imagePullSecrets" (uniq .) -}}
{{- end -}}
{{- if $valetkey.Values.sidecar.socket -}}
{{- $mounts := include "valetkey.sidecar.volumeMounts" $valetkey | fromYamlArray -}}
{{- range $pod.containers -}}
{{- if ne .name "valetkey" -}}
{{- $_ := set . "volumeMounts" (concat (default (list) .volumeMounts) $mounts) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $pod -}}
{{- end -}}

{{/* Whether sidecars are native here (Kubernetes 1.29 and newer), as `true` or `false`. */}}
{{- define "valetkey.sidecar.isNative" -}}
{{- if kindIs "bool" .Values.sidecar.native -}}
{{- .Values.sidecar.native -}}
{{- else -}}
{{- semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version -}}
{{- end -}}
{{- end -}}

{{/* The native sidecar: an init container that stays. First in the list, so that other init containers can call it, too. */}}
{{- define "valetkey.sidecar.initContainers" -}}
{{- if eq (include "valetkey.sidecar.isNative" .) "true" -}}
- {{ include "valetkey.sidecar.container" . | nindent 2 | trim }}
  restartPolicy: Always
{{- end -}}
{{- end -}}

{{/*
The sidecar for clusters before 1.29: the first of the containers. The kubelet starts the next one when its postStart hook has ended, which asks for
no Redis, as a native sidecar's startup probe doesn't. In a Job, the application's container says when it is done: POST to `valetkey.sidecar.quitUrl`, or
`valetkey await --quit -- COMMAND`.
*/}}
{{- define "valetkey.sidecar.containers" -}}
{{- if eq (include "valetkey.sidecar.isNative" .) "false" -}}
- {{ include "valetkey.sidecar.container" . | nindent 2 | trim }}
  lifecycle:
    postStart:
      exec:
        command: [valetkey, await, --expect, listening{{ if ne (int .Values.listen.admin.port) 9090 }}, --address, {{ include "valetkey.adminAddress" . | quote }}{{ end }}]
{{- end -}}
{{- end -}}

{{- define "valetkey.sidecar.container" -}}
{{- include "valetkey.sidecar.mustBe" . -}}
{{- $mounts := ternary (include "valetkey.sidecar.volumeMounts" .) "" (ne .Values.sidecar.socket "") -}}
{{ include "valetkey.container" (dict "context" . "name" "valetkey" "resources" .Values.sidecar.resources "mounts" $mounts) }}
startupProbe:
  {{- include "valetkey.probe" (dict "context" . "timing" .Values.probes.startup "expect" "listening") | nindent 2 }}
readinessProbe:
  {{- include "valetkey.probe" (dict "context" . "timing" .Values.probes.readiness "expect" .Values.sidecar.readiness) | nindent 2 }}
livenessProbe:
  {{- include "valetkey.probe" (dict "context" . "timing" .Values.probes.liveness "expect" "listening") | nindent 2 }}
{{- end -}}

{{- define "valetkey.sidecar.volumes" -}}
{{ include "valetkey.volumes" . }}
{{- if .Values.sidecar.socket }}
- name: {{ include "valetkey.volume" (list "socket" "") }}
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}
{{- end -}}

{{/* The directory of the Unix socket, for containers that call over it. */}}
{{- define "valetkey.sidecar.volumeMounts" -}}
- name: {{ include "valetkey.volume" (list "socket" "") }}
  mountPath: {{ dir .Values.sidecar.socket }}
{{- end -}}

{{/* Where the application reaches the proxy: `<this>/proxy/<service>`. */}}
{{- define "valetkey.sidecar.url" -}}
{{- printf "http://%s" (include "valetkey.address" (dict "ip" .Values.sidecar.address "port" .Values.listen.proxy.port)) -}}
{{- end -}}

{{/* Where a Job on a cluster before 1.29 says that it is done. */}}
{{- define "valetkey.sidecar.quitUrl" -}}
{{- printf "http://%s/quitquitquit" (include "valetkey.adminAddress" .) -}}
{{- end -}}

{{- define "valetkey.sidecar.mustBe" -}}
{{- if ne .Values.mode "sidecar" -}}
{{- fail (printf "valetkey.sidecar: the dependency %s has mode: %s: set %s.mode: sidecar in the application's values" .Chart.Name .Values.mode .Chart.Name) -}}
{{- end -}}
{{- end -}}

{{/* What of the application's pod doesn't go with a sidecar. Takes {valetkey, pod}. */}}
{{- define "valetkey.sidecar.fits" -}}
{{- include "valetkey.sidecar.mustBe" .valetkey -}}
{{- include "valetkey.check" .valetkey -}}
{{- $drain := int (include "valetkey.drainSeconds" .valetkey) -}}
{{- $given := int (dig "terminationGracePeriodSeconds" 30 .pod) -}}
{{- if lt $given $drain -}}
{{- fail (printf "terminationGracePeriodSeconds: %d of the pod is too short for its sidecar, which may take %d: raise it, or shorten config.shutdown" $given $drain) -}}
{{- end -}}
{{- if .pod.hostNetwork -}}
{{- fail "hostNetwork: true: the sidecar's loopback would be the node's, and its processes could all call it: leave hostNetwork out, or use a gateway" -}}
{{- end -}}
{{- $ends := has (default "Always" .pod.restartPolicy) (list "Never" "OnFailure") -}}
{{- if and $ends (eq (include "valetkey.sidecar.isNative" .valetkey) "false") (not (regexMatch "/quitquitquit|--quit" (toJson .pod.containers))) -}}
{{- fail (printf "on a cluster before 1.29 this Job would never end, for its sidecar doesn't: let a container end with `curl -X POST %s`, or run its program by `valetkey await --quit -- …`" (include "valetkey.sidecar.quitUrl" .valetkey)) -}}
{{- end -}}
{{- end -}}
