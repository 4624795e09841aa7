{{- define "castoff.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "castoff.selector" -}}
app.kubernetes.io/name: castoff
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "castoff.labels" -}}
{{ include "castoff.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "castoff.hasDatabase" -}}
{{- if or .Values.database.url .Values.database.existingSecret }}yes{{ end }}
{{- end }}

{{- define "castoff.databaseSecret" -}}
{{- default (printf "%s-database" (include "castoff.name" .)) .Values.database.existingSecret }}
{{- end }}

{{- /* Under which key of that Secret the URL past a pooler is. */ -}}
{{- define "castoff.directKey" -}}
{{- if .Values.database.existingSecret }}{{ .Values.database.existingSecretDirectKey }}
{{- else if .Values.database.directUrl }}directUrl
{{- end }}
{{- end }}

{{- /* Rows in a file, or packages in a folder. */ -}}
{{- define "castoff.hasVolume" -}}
{{- if not (and (include "castoff.hasDatabase" .) .Values.objectStore.url) }}yes{{ end }}
{{- end }}

{{- /* The Service with metrics and health. */ -}}
{{- define "castoff.opsService" -}}
{{- include "castoff.name" . }}{{ if ne .Values.service.type "ClusterIP" }}-ops{{ end }}
{{- end }}

{{- /* What it keeps goes with the release, and what opens that, too. */ -}}
{{- define "castoff.forgets" -}}
{{- if not (or .Values.persistence.keep .Values.persistence.existingClaim (include "castoff.hasDatabase" .)) }}yes{{ end }}
{{- end }}

{{- define "castoff.nodeUrl" -}}
{{- default (printf "https://%s.%s.svc:8401" (include "castoff.name" .) .Release.Namespace) .Values.nodeUrl }}
{{- end }}

{{- define "castoff.nodeHost" -}}
{{- include "castoff.nodeUrl" . | trimPrefix "https://" | regexFind "^[^:/]+" }}
{{- end }}

{{- define "castoff.httpSecret" -}}
{{- if .Values.http.exposed }}
{{- if .Values.http.tlsSecret }}{{ .Values.http.tlsSecret }}
{{- else if .Values.certManager.enabled }}{{ include "castoff.name" . }}-http-tls
{{- end }}
{{- end }}
{{- end }}

{{- define "castoff.nodesSecret" -}}
{{- if .Values.nodes.tlsSecret }}{{ .Values.nodes.tlsSecret }}
{{- else if and .Values.certManager.enabled .Values.certManager.nodes }}{{ include "castoff.name" . }}-nodes-tls
{{- end }}
{{- end }}

{{- /* What does not go together is said before anything is made. */ -}}
{{- define "castoff.check" -}}
{{- with .Values.database }}
{{- if and .directUrl .existingSecret }}
{{- fail "database.directUrl goes with database.url: put it into the Secret of database.existingSecret, and say under which key by database.existingSecretDirectKey" }}
{{- end }}
{{- if and .directUrl (not .url) }}
{{- fail "database.directUrl is the way past the pooler of database.url: set that, too" }}
{{- end }}
{{- if and .existingSecretDirectKey (not .existingSecret) }}
{{- fail "database.existingSecretDirectKey is a key of database.existingSecret: set that, too, or database.directUrl" }}
{{- end }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not (include "castoff.hasDatabase" .)) }}
{{- fail "replicas > 1 needs a PostgreSQL database: set database.url or database.existingSecret" }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (include "castoff.hasVolume" .) (not .Values.persistence.existingClaim) (ne .Values.persistence.accessMode "ReadWriteMany") }}
{{- fail "replicas > 1 needs a place for packages that all of them reach: set objectStore.url, or a volume that all of them can write by persistence.accessMode=ReadWriteMany or persistence.existingClaim" }}
{{- end }}
{{- if and (not .Values.objectStore.url) (or .Values.objectStore.endpoint .Values.objectStore.region .Values.objectStore.existingSecret .Values.objectStore.caSecret) }}
{{- fail "objectStore needs objectStore.url, such as s3://BUCKET" }}
{{- end }}
{{- if and (hasPrefix "http://" .Values.objectStore.endpoint) (not .Values.objectStore.insecureHttp) }}
{{- fail "objectStore.endpoint without TLS: models would travel in the clear; use https://, or set objectStore.insecureHttp=true" }}
{{- end }}
{{- if and .Values.http.exposed (not (include "castoff.httpSecret" .)) (not .Values.http.insecure) }}
{{- fail "http.exposed needs a certificate: set http.tlsSecret or certManager, or http.insecure=true behind something that has TLS" }}
{{- end }}
{{- if and .Values.certManager.enabled (not .Values.certManager.issuerRef.name) }}
{{- fail "certManager.enabled needs certManager.issuerRef.name" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.http.exposed) }}
{{- fail "ingress.enabled needs http.exposed=true" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.enabled needs ingress.host" }}
{{- end }}
{{- end }}
