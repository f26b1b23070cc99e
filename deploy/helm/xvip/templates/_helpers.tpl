{{- define "xvip.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "v%s" .Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{/* The agents' file: what is given, and who decides. */}}
{{- define "xvip.config" -}}
ownership: kubernetes
{{- with .Values.config }}
{{ toYaml . }}
{{- end }}
{{ end -}}

{{/* The node affinity: that of the values, and beside static Pods no control-plane node in any of
its terms. */}}
{{- define "xvip.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if .Values.controlPlane.enabled -}}
{{- $rule := dict "key" "node-role.kubernetes.io/control-plane" "operator" "DoesNotExist" -}}
{{- $node := dig "nodeAffinity" dict $affinity -}}
{{- $required := dig "requiredDuringSchedulingIgnoredDuringExecution" dict $node -}}
{{- $terms := list -}}
{{- range (dig "nodeSelectorTerms" (list dict) $required) -}}
{{- $rules := append (dig "matchExpressions" list .) $rule -}}
{{- $terms = append $terms (set (deepCopy .) "matchExpressions" $rules) -}}
{{- end -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- if $affinity -}}
{{ toYaml $affinity }}
{{- end -}}
{{- end -}}
