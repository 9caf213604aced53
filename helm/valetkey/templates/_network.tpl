{{/* Peers and ports of the NetworkPolicy. */}}

{{/*
Anywhere but where clouds have their metadata services, which give out the node's credentials: link-local addresses, and those that AWS, Google, Azure, Alibaba
and Oracle have beside them.
*/}}
{{- define "valetkey.anywhere" -}}
- namespaceSelector: {}
- ipBlock:
    cidr: 0.0.0.0/0
    except: [169.254.0.0/16, 168.63.129.16/32, 100.100.100.200/32, 192.0.0.192/32]
- ipBlock:
    cidr: ::/0
    except: ["fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"]
{{- end -}}

{{/* Ports, a line each, as a policy has them. */}}
{{- define "valetkey.policyPorts" -}}
{{- range splitList "\n" . -}}
- { port: {{ . }}, protocol: TCP }
{{ end -}}
{{- end -}}
