{{- define "app.pod" -}}
restartPolicy: {{ .restartPolicy }}
terminationGracePeriodSeconds: {{ int .context.Values.gracePeriod }}
{{- if .context.Values.hostNetwork }}
hostNetwork: true
{{- end }}
securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: RuntimeDefault } }
initContainers:
  - name: migrate
    image: app:1
    args: [migrate]
containers:
  - name: app
    image: app:1
    {{- if and (ne .restartPolicy "Always") .context.Values.quit }}
    command: [sh, -c, "run-job; code=$?; {{ .context.Values.quit }}; exit $code"]
    {{- end }}
    env:
      - { name: GITHUB_API_URL, value: "{{ include "valetkey.sidecar.url" .context.Subcharts.valetkey }}/proxy/github" }
    volumeMounts:
      - { name: data, mountPath: /data }
volumes:
  - name: data
    emptyDir: {}
{{- end -}}
