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

{{- /* Whatever the overrides of names: kubectl email finds the operator by its component and what it is part of. */}}
{{- define "mailcow-operator.labels" -}}
{{ include "mailcow-operator.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: mailcow-operator
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

{{- /* Whether this release serves a Mailcow server, as (list . name). */}}
{{- define "mailcow-operator.serves" -}}
{{- $serve := (index . 0).Values.serve }}{{ if or (not $serve) (has (index . 1) $serve) }}true{{ end }}
{{- end }}

{{- /* The name of the operator's Lease. Releases with servers of their own have the same, so that no two serve one server. */}}
{{- define "mailcow-operator.leaseName" -}}
{{- $known := list "default" }}
{{- range .Values.mailcow.servers }}{{ $known = append $known .name }}{{ end }}
{{- range .Values.serve }}
{{- if not (has . $known) }}
{{- fail (printf "serve: the server %s is not in mailcow.servers, which every release lists in full" .) }}
{{- end }}
{{- end }}
{{- if and .Values.serve (not .Values.leaseName) }}
{{- fail "serve needs leaseName, the same in every release. If a release without serve is installed already, its Lease has its full name: kubectl get lease" }}
{{- end }}
{{- default (include "mailcow-operator.fullname" .) .Values.leaseName -}}
{{- end }}

{{- /* The names of the Leases, as the program makes them: one for each server that this release serves. */}}
{{- define "mailcow-operator.leases" -}}
{{- $name := include "mailcow-operator.leaseName" . | trim }}
{{- if include "mailcow-operator.serves" (list . "default") }}
- {{ $name }}
{{- end }}
{{- range .Values.mailcow.servers }}
{{- if include "mailcow-operator.serves" (list $ .name) }}
- {{ $name }}-{{ .name }}-server
{{- end }}
{{- end }}
{{- end }}

{{- /* Whether a TXT record has to prove every domain: as said, else where tenants write EmailDomain objects. */}}
{{- define "mailcow-operator.requireOwnership" -}}
{{- if kindIs "bool" .Values.dns.requireOwnership }}{{ if .Values.dns.requireOwnership }}true{{ end }}{{ else if eq .Values.tenancy "Shared" }}true{{ end }}
{{- end }}

{{- /* Whether the admission policies are on: as said, else where tenants write EmailDomain objects. */}}
{{- define "mailcow-operator.admissionPolicies" -}}
{{- if kindIs "bool" .Values.admissionPolicies.enabled }}{{ if .Values.admissionPolicies.enabled }}true{{ end }}{{ else if eq .Values.tenancy "Shared" }}true{{ end }}
{{- end }}

{{- /* Whether the worker of task delivery is installed. */}}
{{- define "mailcow-operator.intake" -}}
{{- with .Values.featureGates }}{{ if and .EmailHosting .ForwardingRules .TaskDelivery }}true{{ end }}{{ end }}
{{- end }}

{{- define "mailcow-operator.intakeName" -}}
{{- printf "%s-intake" (include "mailcow-operator.fullname" . | trunc 56 | trimSuffix "-") -}}
{{- end -}}

{{- define "mailcow-operator.intakeSelectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 56 | trimSuffix "-" }}-intake
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mailcow-operator.intakeLabels" -}}
{{ include "mailcow-operator.intakeSelectorLabels" . }}
app.kubernetes.io/component: intake
app.kubernetes.io/part-of: mailcow-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "mailcow-operator.appPasswordSecret" -}}
{{- printf "%s-app-passwords" (include "mailcow-operator.fullname" .) -}}
{{- end -}}

{{- /* The Secrets with app passwords; their number is fixed in the program. */}}
{{- define "mailcow-operator.appPasswordSecrets" -}}
{{- range $n := until 8 }}
- {{ include "mailcow-operator.appPasswordSecret" $ }}-{{ $n }}
{{- end }}
{{- end }}

{{- /* Names of the Secrets that sinks need, as a JSON list. */}}
{{- define "mailcow-operator.sinkSecrets" -}}
{{- $names := list }}
{{- range .Values.sinks }}
{{- $sink := default (dict) (default .caldav .webhook) }}
{{- range $sink.signingKeys }}{{ $names = append $names .secretName }}{{ end }}
{{- range compact (list $sink.basicAuth $sink.bearerToken $sink.ca) }}{{ $names = append $names .secretName }}{{ end }}
{{- end }}
{{- $names | uniq | sortAlpha | toJson }}
{{- end }}

{{- /* Any address but link-local ones, where clouds have their metadata services. */}}
{{- define "mailcow-operator.anywhere" -}}
- ipBlock: {cidr: 0.0.0.0/0, except: [168.63.129.16/32, 169.254.0.0/16]}
- ipBlock: {cidr: '::/0', except: ['fe80::/10', 'fd00:ec2::254/128']}
{{- end }}
