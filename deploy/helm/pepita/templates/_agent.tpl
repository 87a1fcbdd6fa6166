{{- define "pepita.agent.name" -}}{{ .Release.Name }}-agent{{- end }}

{{- define "pepita.agent.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{/* What a node has, as pepita-cri and `pepita doctor` read it. */}}
{{- define "pepita.agent.configuration" -}}
{{- $agent := .Values.agent }}
{{- $made := dict "socket" $agent.cri.socket "state" (printf "%s/data/cri" $agent.prefix) "data" (printf "%s/data" $agent.prefix)
      "images" (printf "%s/data/images" $agent.prefix) "cni-config" $agent.cniConfig "memory" $agent.memory
      "host-namespaces" $agent.cri.hostNamespaces "seccomp" (printf "%s/current/share/seccomp-default.json" $agent.prefix) }}
{{- with $agent.cniPlugins }}{{ $_ := set $made "cni-plugins" . }}{{ end }}
{{- if $agent.podMonitor.enabled }}{{ $_ := set $made "metrics" (printf "0.0.0.0:%v" $agent.podMonitor.port) }}{{ end }}
{{- toPrettyJson $made }}
{{- end }}

{{/* What a handler's shim reads. */}}
{{- define "pepita.agent.shim" -}}
{{- $agent := .agent }}
{{- toPrettyJson (dict "data" (printf "%s/data" $agent.prefix) "vmm" (printf "%s/current/bin/pepita-vmm" $agent.prefix)
      "isolation" (.class.isolation | default "auto") "memory-mib" $agent.memory) }}
{{- end }}

{{- define "pepita.agent.environment" -}}
- {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: PEPITA_MODE, value: {{ .Values.agent.mode }}}
- {name: PEPITA_PREFIX, value: {{ .Values.agent.prefix | quote }}}
- {name: PEPITA_CONFIG, value: {{ .Values.agent.containerd.config | quote }}}
- {name: PEPITA_DROP_IN, value: {{ .Values.agent.containerd.dropIn | quote }}}
- {name: PEPITA_RESTART, value: {{ ternary .Values.agent.cri.restart .Values.agent.containerd.restart (eq .Values.agent.mode "cri") | quote }}}
- {name: PEPITA_STOP, value: {{ .Values.agent.cri.stop | quote }}}
- {name: PEPITA_FORCE, value: {{ ternary "1" "0" .Values.agent.force | quote }}}
{{- end }}
