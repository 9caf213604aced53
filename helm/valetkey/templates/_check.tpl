{{/*
What is refused, each with a sentence that names the key and the way out. The schema refuses what a single value shows; here is what several
show together, and all that is secret in a ConfigMap.
*/}}

{{- define "valetkey.check" -}}
{{- include "valetkey.check.secrets" (dict "path" "config" "value" .Values.config) -}}
{{- include "valetkey.check.files" (dict "context" . "path" "config" "value" .Values.config) -}}
{{- include "valetkey.check.files" (dict "context" . "path" "listen" "value" .Values.listen) -}}
{{- include "valetkey.check.config" . -}}
{{- include "valetkey.check.image" . -}}
{{- include "valetkey.check.mode" . -}}
{{- include "valetkey.check.monitoring" . -}}
{{- include "valetkey.check.ports" . -}}
{{- include "valetkey.check.grace" . -}}
{{- include "valetkey.check.browsers" . -}}
{{- include "valetkey.check.network" . -}}
{{- end -}}

{{- define "valetkey.check.config" -}}
{{- if hasKey .Values.config "listeners" -}}
{{- fail "config.listeners is the chart's to write, so that Services and probes fit: set listen.proxy, listen.connect and listen.admin (with mode: sidecar, sidecar.address)" -}}
{{- end -}}
{{- if contains "${" .Values.config.public_url -}}
{{- fail "config.public_url must be written out: routes and callback URLs follow from it" -}}
{{- end -}}
{{- $store := dig "store" (dict) (include "valetkey.config" . | fromYaml) -}}
{{- if not (or (hasKey $store "redis") (hasKey $store "embedded")) -}}
{{- fail "config.store is missing: name a Redis (config.store.redis), or try Valetkey out with mode: trial" -}}
{{- end -}}
{{- end -}}

{{/* Secret text anywhere in the configuration. Takes {path, value}. */}}
{{- define "valetkey.check.secrets" -}}
{{- $path := .path -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $at := printf "%s.%s" $path $key -}}
{{- $secret := or (has $key (list "token" "read_token" "secret" "password" "client_secret" "secret_id" "slack_webhook")) (and (eq $key "key") (regexMatch "\\.keys\\[[0-9]+\\]$" $path)) -}}
{{- $named := regexMatch "\\.(headers|token_params|authorize_params)$" $path | ternary (regexMatch "(?i)^(authorization|cookie|.*(secret|password|api[-_]?key|token))$" $key) $secret -}}
{{- /* Whatever a collector's headers are called: they are there to prove who sends. */ -}}
{{- $collectors := and (eq $key "headers") (hasSuffix ".otlp" $path) -}}
{{- if or $collectors (and $named (kindIs "string" $value)) -}}
{{- fail (printf "%s would stand in a ConfigMap for all to read: put it into a Secret, name that under secrets, and write %s_file: /etc/valetkey/secrets/<name>/<file>" $at $at) -}}
{{- end -}}
{{- if not (regexMatch "\\.(claims|scope_titles|scope_includes|scope_aliases)$" $at) -}}
{{- include "valetkey.check.secrets" (dict "path" $at "value" $value) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $at, $value := .value -}}
{{- include "valetkey.check.secrets" (dict "path" (printf "%s[%d]" $path $at) "value" $value) -}}
{{- end -}}
{{- else if kindIs "string" .value -}}
{{- if regexMatch "^[a-z]+://[^/@]*:[^/@]+@" .value -}}
{{- fail (printf "%s has a password in its URL, which would stand in a ConfigMap: take it out and use password_file" $path) -}}
{{- end -}}
{{- if regexMatch "PRIVATE KEY-----|^whsec_|^gh[oprsu]_|^github_pat_|^xox[a-z]-|^sk_live_|^ey[A-Za-z0-9_-]+\\.ey" .value -}}
{{- fail (printf "%s looks like a secret, which would stand in a ConfigMap: put it into a Secret and use the key's _file form" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Each `*_file` must be mounted, and what is secret from a Secret. Takes {context, path, value}. */}}
{{- define "valetkey.check.files" -}}
{{- $context := .context -}}
{{- $path := .path -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $at := printf "%s.%s" $path $key -}}
{{- if and (kindIs "string" $value) (hasSuffix "_file" $key) -}}
{{- include "valetkey.check.file" (dict "context" $context "path" $at "file" $value) -}}
{{- else -}}
{{- include "valetkey.check.files" (dict "context" $context "path" $at "value" $value) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $at, $value := .value -}}
{{- include "valetkey.check.files" (dict "context" $context "path" (printf "%s[%d]" $path $at) "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes {context, path, file}. */}}
{{- define "valetkey.check.file" -}}
{{- $parts := splitList "/" .file -}}
{{- $known := list -}}
{{- $what := "" -}}
{{- if hasPrefix "/etc/valetkey/secrets/" .file -}}
{{- $what = "secrets" -}}
{{- else if hasPrefix "/etc/valetkey/files/" .file -}}
{{- $what = "files" -}}
{{- if regexMatch "\\.(token|secret|password|client_secret|key|client_key|secret_id|headers|slack_webhook)_file$" .path -}}
{{- fail (printf "%s names a file of a ConfigMap: what is secret belongs into a Secret, named under secrets" .path) -}}
{{- end -}}
{{- else if and (hasPrefix "/" .file) .context.Values.extraVolumeMounts -}}
{{- else if and (hasPrefix "/var/run/secrets/valetkey/" .file) .context.Values.serviceAccount.tokens -}}
{{- else -}}
{{- fail (printf "%s: nothing is mounted at %s: name a Secret under secrets and write /etc/valetkey/secrets/<name>/<file>, or a ConfigMap under files and write /etc/valetkey/files/<name>/<file>" .path .file) -}}
{{- end -}}
{{- if $what -}}
{{- $all := index .context.Values $what -}}
{{- $name := index $parts 4 -}}
{{- if or (ne (len $parts) 6) (not (hasKey $all $name)) -}}
{{- fail (printf "%s: %s is not a file of an entry of %s (there: %s)" .path .file $what (keys $all | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- $files := dig "files" (dict) (index $all $name) -}}
{{- if and $files (not (hasKey $files (index $parts 5))) -}}
{{- fail (printf "%s: %s.%s.files has no file %s (but %s)" .path $what $name (index $parts 5) (keys $files | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.check.image" -}}
{{- if and .Values.image.tag .Values.image.digest -}}
{{- fail "image.tag and image.digest are both set, and only one of them can say which image is meant: leave one empty" -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.check.mode" -}}
{{- $mode := .Values.mode -}}
{{- $embedded := hasKey (dig "store" (dict) (include "valetkey.config" . | fromYaml)) "embedded" -}}
{{- if and $embedded (ne $mode "trial") -}}
{{- $many := ternary (printf "up to %d" (int .Values.autoscaling.maxReplicas)) (printf "%d" (int (default 2 .Values.replicas))) .Values.autoscaling.enabled -}}
{{- $why := ternary "each pod of the application would have a store of its own, and lose it" (printf "the embedded store is one process's file, and this gateway has %s replicas" $many) (eq $mode "sidecar") -}}
{{- fail (printf "config.store.embedded with mode: %s: %s: use Redis (config.store.redis), or mode: trial" $mode $why) -}}
{{- end -}}
{{- if eq $mode "trial" -}}
{{- if or (gt (int (default 1 .Values.replicas)) 1) .Values.autoscaling.enabled -}}
{{- fail "mode: trial has one replica with the embedded store (or one Redis without replicas): leave replicas and autoscaling out, or use mode: gateway with a Redis of your own" -}}
{{- end -}}
{{- if and $embedded (eq .Values.trial.store "redis") -}}
{{- fail "config.store.embedded and trial.store: redis contradict each other: leave config.store out" -}}
{{- end -}}
{{- with .Values.trial.redis.passwordFrom -}}
{{- if not (hasKey (dig "files" (dict) (default (dict) (get $.Values.secrets .))) "password") -}}
{{- fail (printf "trial.redis.passwordFrom: secrets.%s.files needs a file named password" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $mode "sidecar" -}}
{{- if not (regexMatch "^(127\\.[0-9]+\\.[0-9]+\\.[0-9]+|::1)$" .Values.sidecar.address) -}}
{{- fail (printf "sidecar.address: %s is not on loopback, and the sidecar is for its own pod only: use 127.0.0.1, ::1 or sidecar.socket" .Values.sidecar.address) -}}
{{- end -}}
{{- range $key := list "ingress" "httpRoute" "autoscaling" "monitoring" -}}
{{- if (index $.Values $key).enabled -}}
{{- fail (printf "%s.enabled with mode: sidecar: a sidecar is reached from its own pod only; install a gateway beside it" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.check.monitoring" -}}
{{- range $key := list "rules" "dashboards" -}}
{{- if and (index $.Values.monitoring $key).enabled (not $.Values.monitoring.enabled) -}}
{{- fail (printf "monitoring.%s.enabled without monitoring.enabled: nothing would be scraped, and so nothing shown: set monitoring.enabled, too" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.check.ports" -}}
{{- $listen := .Values.listen -}}
{{- $ports := list (int $listen.proxy.port) (int $listen.connect.port) (int $listen.admin.port) -}}
{{- if ne (len (uniq $ports)) 3 -}}
{{- fail (printf "listen: proxy (%d), connect (%d) and admin (%d) need three ports: the admin port, above all, may be in no Ingress" (index $ports 0) (index $ports 1) (index $ports 2)) -}}
{{- end -}}
{{- $own := list (include "valetkey.fullname" .) (include "valetkey.connectName" .) (include "valetkey.metricsName" .) -}}
{{- $admin := list "admin" "metrics" (toString (int $listen.admin.port)) -}}
{{- range $at, $object := .Values.extraObjects -}}
{{- range splitList "\n---" (include "valetkey.rendered" (dict "context" $ "value" $object)) -}}
{{- $object := fromYaml . -}}
{{- $path := printf "extraObjects[%d] (%s)" $at (default "no kind" $object.kind) -}}
{{- $spec := default (dict) $object.spec -}}
{{- if eq (toString $object.kind) "Service" -}}
{{- if ne (default "ClusterIP" $spec.type) "ClusterIP" -}}
{{- range $spec.ports -}}
{{- if has (toString (default .port .targetPort)) $admin -}}{{- include "valetkey.check.exposed" $path -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- else if ne (toString $object.kind) "NetworkPolicy" -}}
{{- include "valetkey.check.backend" (dict "own" $own "admin" $admin "value" $spec "path" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Whether a route of whatever kind leads to the admin port: wherever a Service of ours is named, with that port beside it, or the one that has no other.
Takes {own, admin, value, path}.
*/}}
{{- define "valetkey.check.backend" -}}
{{- $all := . -}}
{{- if kindIs "map" .value -}}
{{- $host := (splitList "." (toString (default "" .value.host))) | first -}}
{{- $service := has (toString (default $host .value.name)) .own | ternary (toString (default $host .value.name)) "" -}}
{{- $port := .value.port -}}
{{- $ports := kindIs "map" $port | ternary (list (dig "number" "" (kindIs "map" $port | ternary $port (dict))) (dig "name" "" (kindIs "map" $port | ternary $port (dict)))) (list $port) -}}
{{- range $ports -}}
{{- if and $service (has (toString .) $all.admin) -}}{{- include "valetkey.check.exposed" $all.path -}}{{- end -}}
{{- end -}}
{{- if and $service (eq $service (last .own)) -}}{{- include "valetkey.check.exposed" .path -}}{{- end -}}
{{- range .value -}}
{{- include "valetkey.check.backend" (dict "own" $all.own "admin" $all.admin "value" . "path" $all.path) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range .value -}}
{{- include "valetkey.check.backend" (dict "own" $all.own "admin" $all.admin "value" . "path" $all.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.check.exposed" -}}
{{- fail (printf "%s leads to the admin port, which is never exposed: it has metrics and /admin. Use `kubectl port-forward`, or monitoring.enabled for Prometheus" .) -}}
{{- end -}}

{{- define "valetkey.check.grace" -}}
{{- $drain := int (include "valetkey.drainSeconds" .) -}}
{{- $given := int (include "valetkey.gracePeriod" .) -}}
{{- if lt $given $drain -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is too short: config.shutdown.delay and grace, and notices that are due, take up to %d seconds, and the kubelet would kill calls in flight: leave it out, or shorten config.shutdown" $given $drain) -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.check.browsers" -}}
{{- range $key := list "ingress" "httpRoute" -}}
{{- $route := index $.Values $key -}}
{{- if $route.enabled -}}
{{- range $route.paths -}}
{{- if not (regexMatch "^/(connect|oauth|dashboard)(/[A-Za-z0-9._~/-]*)?$" .) -}}
{{- fail (printf "%s.paths: %q is not for browsers: only /connect, /oauth and /dashboard, and what lies below them, may be exposed; the proxy is reached inside the cluster" $key .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is empty: name the Gateway that takes the route, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (include "valetkey.basePath" .) -}}
{{- fail (printf "ingress.enabled: config.public_url has the path %s, which an Ingress can't take off in a way that all controllers understand: use a host name of its own, or httpRoute" (include "valetkey.basePath" .)) -}}
{{- end -}}
{{- end -}}

{{/* Peers that the operator wrote may not bring the metadata services back in. */}}
{{- define "valetkey.check.network" -}}
{{- $policy := .Values.networkPolicy -}}
{{- range $key := list "redis" "upstreams" "dns" -}}
{{- include "valetkey.check.peers" (dict "path" $key "peers" (index $policy $key)) -}}
{{- end -}}
{{- range $at, $rule := $policy.extraEgress -}}
{{- if not $rule.to -}}
{{- fail (printf "networkPolicy.extraEgress[%d] has no `to`, and so lets pods reach the cloud's metadata service: name peers" $at) -}}
{{- end -}}
{{- include "valetkey.check.peers" (dict "path" (printf "extraEgress[%d]" $at) "peers" $rule.to) -}}
{{- end -}}
{{- end -}}

{{/* Takes {path, peers}. */}}
{{- define "valetkey.check.peers" -}}
{{- range .peers -}}
{{- $cidr := dig "ipBlock" "cidr" "" . -}}
{{- $open := eq (include "valetkey.check.metadata" $cidr) "true" -}}
{{- range dig "ipBlock" "except" (list) . -}}
{{- if eq (include "valetkey.check.metadata" .) "true" -}}{{- $open = false -}}{{- end -}}
{{- end -}}
{{- if $open -}}
{{- fail (printf "networkPolicy.%s: %s lets pods reach the cloud's metadata service, which gives out credentials: add except: [169.254.0.0/16] (for IPv6: [fd00:ec2::254/128]), or leave it to the chart" $.path $cidr) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether a block has the address of a metadata service in it: 169.254.169.254, or AWS's in IPv6, as `true` or nothing. */}}
{{- define "valetkey.check.metadata" -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+){3}/[0-9]+$" . -}}
{{- $parts := splitList "/" . -}}
{{- $number := 0 -}}
{{- range splitList "." (first $parts) -}}{{- $number = add (mul $number 256) (int64 .) -}}{{- end -}}
{{- $size := 1 -}}
{{- range until (int (sub 32 (int (last $parts)))) -}}{{- $size = mul $size 2 -}}{{- end -}}
{{- if eq (div $number $size) (div 2852039166 $size) -}}true{{- end -}}
{{- else if regexMatch "(?i)^(::|f[cd]00::|fd00:ec2:.*)/[0-9]+$" . -}}true
{{- end -}}
{{- end -}}
