{{/* From `config` to valetkey.yaml, and what follows from it: addresses, ports, seconds. */}}

{{/* Loopback as the pods have it. */}}
{{- define "valetkey.loopback" -}}
{{- if eq .Values.mode "sidecar" -}}
{{- .Values.sidecar.address -}}
{{- else -}}
{{- ternary "::1" "127.0.0.1" (eq (include "valetkey.family" .) "IPv6") -}}
{{- end -}}
{{- end -}}

{{/* `IPv4`, `IPv6` or `dual`. */}}
{{- define "valetkey.family" -}}
{{- $families := .Values.service.ipFamilies -}}
{{- if ne .Values.listen.family "auto" -}}
{{- .Values.listen.family -}}
{{- else if and (eq (len $families) 1) (has "IPv6" $families) (not (hasSuffix "DualStack" .Values.service.ipFamilyPolicy)) -}}
IPv6
{{- else if or (has "IPv6" $families) (hasSuffix "DualStack" .Values.service.ipFamilyPolicy) -}}
dual
{{- else -}}
IPv4
{{- end -}}
{{- end -}}

{{/* All of the pod's addresses. A socket for all of IPv6 takes IPv4, too. */}}
{{- define "valetkey.everywhere" -}}
{{- ternary "0.0.0.0" "::" (eq (include "valetkey.family" .) "IPv4") -}}
{{- end -}}

{{/* IP address and port. Takes {ip, port}. */}}
{{- define "valetkey.address" -}}
{{- printf (ternary "[%s]:%d" "%s:%d" (contains ":" .ip)) .ip (int .port) -}}
{{- end -}}

{{/* Where health is asked, in the pod itself. */}}
{{- define "valetkey.adminAddress" -}}
{{- include "valetkey.address" (dict "ip" (include "valetkey.loopback" .) "port" .Values.listen.admin.port) -}}
{{- end -}}

{{- define "valetkey.listeners" -}}
{{- $listen := .Values.listen -}}
{{- if eq .Values.mode "sidecar" -}}
{{- $serves := ternary (list "proxy" "connect") (list "proxy") .Values.sidecar.connect -}}
{{- if .Values.sidecar.socket -}}
{{- toYaml (list (dict "unix" .Values.sidecar.socket "mode" "0666" "serves" $serves)) }}
{{ else -}}
{{- $address := include "valetkey.address" (dict "ip" .Values.sidecar.address "port" $listen.proxy.port) -}}
{{- toYaml (list (dict "address" $address "serves" $serves)) }}
{{ end -}}
{{- else -}}
{{- range $role := list "proxy" "connect" -}}
{{- $own := index $listen $role -}}
{{- $address := include "valetkey.address" (dict "ip" (include "valetkey.everywhere" $) "port" $own.port) -}}
{{- $listener := dict "address" $address "serves" (list $role) -}}
{{- if $own.tls -}}{{- $_ := set $listener "tls" $own.tls -}}{{- end -}}
{{- toYaml (list $listener) }}
{{ end -}}
{{- end -}}
{{- $ip := ternary (include "valetkey.everywhere" .) (include "valetkey.loopback" .) .Values.monitoring.enabled -}}
{{- $address := include "valetkey.address" (dict "ip" $ip "port" $listen.admin.port) -}}
{{- toYaml (list (dict "address" $address "serves" (list "admin"))) }}
{{- end -}}

{{/* What the chart adds to `config`; where both say something, `config` counts. */}}
{{- define "valetkey.defaults" -}}
{{- if and (eq .Values.mode "trial") (not (hasKey .Values.config "store")) -}}
store:
  {{- if eq .Values.trial.store "redis" }}
  redis:
    url: redis://{{ include "valetkey.redisName" . }}:6379/0
    {{- with .Values.trial.redis.passwordFrom }}
    password_file: /etc/valetkey/secrets/{{ . }}/password
    {{- end }}
  {{- else }}
  embedded:
    path: /var/lib/valetkey/valetkey.redb
  {{- end }}
{{- else if eq .Values.mode "sidecar" }}
shutdown:
  {{- if eq (include "valetkey.sidecar.isNative" .) "true" }}
  # The kubelet ends a native sidecar after the application's containers: nobody calls any more.
  delay: 0s
  grace: 15s
  {{- else }}
  # Both get SIGTERM at once: the sidecar serves on while the application ends.
  delay: 10s
  grace: 10s
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The whole configuration. */}}
{{- define "valetkey.config" -}}
{{- $listeners := dict "listeners" (include "valetkey.listeners" . | fromYamlArray) -}}
{{- $defaults := include "valetkey.defaults" . | fromYaml -}}
{{- mergeOverwrite $defaults (deepCopy .Values.config) $listeners | toYaml -}}
{{- end -}}

{{/* Milliseconds of a duration such as `1h 30m`. Takes {path, text}. */}}
{{- define "valetkey.milliseconds" -}}
{{- if not (regexMatch "^[0-9]{1,9}(ms|s|m|h|d)( ?[0-9]{1,9}(ms|s|m|h|d))*$" .text) -}}
{{- fail (printf "config.%s: %q is no duration that the chart can read, and the pods' grace period follows from it: write it out, such as 30s" .path .text) -}}
{{- end -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" .text -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $sum = add $sum (mul (int64 (trimSuffix $unit .)) (get $units $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Seconds that a drain may take: `shutdown.delay` and `grace`, five for notices that are due, rounded up. */}}
{{- define "valetkey.drainSeconds" -}}
{{- $shutdown := dig "shutdown" (dict) (include "valetkey.config" . | fromYaml) -}}
{{- $delay := include "valetkey.milliseconds" (dict "path" "shutdown.delay" "text" (default "5s" $shutdown.delay)) -}}
{{- $grace := include "valetkey.milliseconds" (dict "path" "shutdown.grace" "text" (default "30s" $shutdown.grace)) -}}
{{- div (add (int64 $delay) (int64 $grace) 5999) 1000 -}}
{{- end -}}

{{/* `terminationGracePeriodSeconds`: the drain, and five seconds to spare. */}}
{{- define "valetkey.gracePeriod" -}}
{{- $drain := int (include "valetkey.drainSeconds" .) -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add $drain 5 -}}
{{- else -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.host" -}}
{{- (urlParse .Values.config.public_url).hostname -}}
{{- end -}}

{{/* The path of `public_url`, without a slash at its end. */}}
{{- define "valetkey.basePath" -}}
{{- (urlParse .Values.config.public_url).path | trimSuffix "/" -}}
{{- end -}}

{{/* The port in a URL or `host:port`, or its scheme's. Nothing where it can't be told. */}}
{{- define "valetkey.portOf" -}}
{{- $rest := regexReplaceAll "^[a-z]+://" . "" -}}
{{- $authority := regexReplaceAll "^.*@" (regexFind "^[^/?#]*" $rest) "" -}}
{{- $port := trimPrefix ":" (regexFind ":[0-9]+$" $authority) -}}
{{- $scheme := trimSuffix "://" (regexFind "^[a-z]+://" .) -}}
{{- default (get (dict "https" "443" "http" "80" "redis" "6379" "rediss" "6379" "smtps" "465" "smtp" "587") $scheme) $port -}}
{{- end -}}

{{/* Ports of Redis and of Sentinels, a line each. */}}
{{- define "valetkey.redisPorts" -}}
{{- $redis := dig "store" "redis" (dict) (include "valetkey.config" . | fromYaml) -}}
{{- $ports := list -}}
{{- range concat (compact (list (default "" $redis.url))) (dig "sentinel" "addresses" (list) $redis) (dig "cluster" "addresses" (list) $redis) -}}
{{- $ports = append $ports (include "valetkey.portOf" .) -}}
{{- end -}}
{{- if hasKey $redis "sentinel" -}}{{- $ports = append $ports "6379" -}}{{- end -}}
{{- $ports | compact | uniq | sortAlpha | join "\n" -}}
{{- end -}}

{{/* Ports of issuers, providers, webhooks and mail servers, a line each: of whatever URL Valetkey itself asks. */}}
{{- define "valetkey.upstreamPorts" -}}
{{- $ports := concat (list "443") (splitList "\n" (include "valetkey.urlPorts" (omit .Values.config "store" "connect" "application" "public_url"))) -}}
{{- $check := dig "connect" "session" "check_url" "" .Values.config -}}
{{- if $check -}}{{- $ports = append $ports (include "valetkey.portOf" $check) -}}{{- end -}}
{{- if include "valetkey.asksCluster" . -}}{{- $ports = append $ports "6443" -}}{{- end -}}
{{- range .Values.networkPolicy.extraPorts -}}{{- $ports = append $ports (printf "%d" (int .)) -}}{{- end -}}
{{- $ports | compact | uniq | sortAlpha | join "\n" -}}
{{- end -}}

{{/* Whether callers are pods whose keys are fetched from the cluster as a pod finds it: then Valetkey's pod needs a token, and
the cluster's authority. Not empty: yes. */}}
{{- define "valetkey.asksCluster" -}}
{{- range .Values.config.callers -}}
{{- with .kubernetes -}}{{- if not (or .jwks_file .jwks_url) }}yes{{ end -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.urlPorts" -}}
{{- if kindIs "map" . -}}
{{- range $key, $value := . -}}
{{- if and (kindIs "string" $value) (or (eq $key "url") (hasSuffix "_url" $key)) -}}
{{- include "valetkey.portOf" $value }}
{{ else -}}
{{- include "valetkey.urlPorts" $value -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . -}}{{- include "valetkey.urlPorts" . -}}{{- end -}}
{{- end -}}
{{- end -}}
