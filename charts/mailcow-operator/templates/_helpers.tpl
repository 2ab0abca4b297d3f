{{- define "mailcow-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mailcow-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mailcow-operator.labels" -}}
{{ include "mailcow-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "mailcow-operator.serviceAccountName" -}}
{{- default (include "mailcow-operator.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "mailcow-operator.connectionSecret" -}}
{{- default (printf "%s-mailcow" (include "mailcow-operator.fullname" . | trunc 55 | trimSuffix "-")) .Values.mailcow.existingSecret -}}
{{- end -}}

{{- /* Whether a TXT record has to prove every domain: as said, else where tenants write EmailDomain objects. */}}
{{- define "mailcow-operator.requireOwnership" -}}
{{- if kindIs "bool" .Values.dns.requireOwnership }}{{ if .Values.dns.requireOwnership }}true{{ end }}{{ else if eq .Values.tenancy "Shared" }}true{{ end }}
{{- end }}

{{- /* Whether the admission policies are on: as said, else where tenants write EmailDomain objects. */}}
{{- define "mailcow-operator.admissionPolicies" -}}
{{- if kindIs "bool" .Values.admissionPolicies.enabled }}{{ if .Values.admissionPolicies.enabled }}true{{ end }}{{ else if eq .Values.tenancy "Shared" }}true{{ end }}
{{- end }}
