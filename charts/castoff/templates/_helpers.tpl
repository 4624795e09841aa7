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

{{- define "castoff.claim" -}}
{{- default (include "castoff.name" .) .Values.persistence.existingClaim }}
{{- end }}

{{- /* How the claim that is there already may be mounted. Nothing is there for `helm template`, which asks no cluster. */ -}}
{{- define "castoff.claimModes" -}}
{{- with lookup "v1" "PersistentVolumeClaim" .Release.Namespace (include "castoff.claim" .) }}{{ join "," .spec.accessModes }}{{ end }}
{{- end }}

{{- /* How the volume is mounted: a claim that is there cannot change. */ -}}
{{- define "castoff.accessMode" -}}
{{- $there := include "castoff.claimModes" . }}
{{- $own := and .Values.persistence.accessMode (not .Values.persistence.existingClaim) }}
{{- if $own }}{{ .Values.persistence.accessMode }}
{{- else if $there }}{{ $there }}
{{- else if gt (int .Values.replicas) 1 }}ReadWriteMany
{{- else }}{{ default "ReadWriteOnce" .Values.persistence.accessMode }}
{{- end }}
{{- end }}

{{- /* Two pods may run at once, on whichever machines: rows and packages are where both reach them. */ -}}
{{- define "castoff.rolls" -}}
{{- if include "castoff.hasDatabase" . }}
{{- if not (include "castoff.hasVolume" .) }}yes
{{- else if contains "ReadWriteMany" (include "castoff.accessMode" .) }}yes
{{- end }}
{{- end }}
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

{{- /* Whether the control plane makes the certificate of REST itself. */ -}}
{{- define "castoff.ownTls" -}}
{{- if and .Values.http.exposed (not (include "castoff.httpSecret" .)) (not .Values.http.insecure) }}yes{{ end }}
{{- end }}

{{- /* Which Secret says whom callers of REST are to trust; none where it has no TLS. */ -}}
{{- define "castoff.trusted" -}}
{{- if include "castoff.ownTls" . }}{{ include "castoff.name" . }}{{ else }}{{ include "castoff.httpSecret" . }}{{ end }}
{{- end }}

{{- define "castoff.scheme" -}}
{{- if include "castoff.trusted" . }}https{{ else }}http{{ end }}
{{- end }}

{{- /* By what REST is called, in its own certificate; the control plane adds this machine's own names. */ -}}
{{- define "castoff.httpNames" -}}
{{- $name := include "castoff.name" . }}
{{- $service := printf "%s.%s" $name .Release.Namespace }}
{{- $names := list $name $service (printf "%s.svc" $service) (printf "%s.svc.cluster.local" $service) }}
{{- $names = concat $names (compact (list .Values.ingress.host)) (default list .Values.http.hosts) }}
{{- $names | uniq | join "," }}
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
{{- if include "castoff.hasVolume" . }}
{{- $claim := include "castoff.claim" . }}
{{- $there := include "castoff.claimModes" . }}
{{- $mode := include "castoff.accessMode" . }}
{{- $shared := contains "ReadWriteMany" (default $mode $there) }}
{{- if and (gt (int .Values.replicas) 1) (not $shared) $there }}
{{- fail (printf "replicas > 1 would share the claim %s, which is %s for good: copy its packages to a claim with ReadWriteMany and name that by persistence.existingClaim, or to a bucket and set objectStore.url; or stay with replicas=1" $claim $there) }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not $shared) }}
{{- fail (printf "replicas > 1 needs a place for packages that all of them reach, and persistence.accessMode=%s is none: leave it empty, which is ReadWriteMany then, or set objectStore.url" .Values.persistence.accessMode) }}
{{- end }}
{{- if and $there (not .Values.persistence.existingClaim) (ne $mode $there) }}
{{- fail (printf "the claim %s is there, and is %s for good: persistence.accessMode=%s would change it; leave that empty to go on with it" $claim $there $mode) }}
{{- end }}
{{- end }}
{{- if and (not .Values.objectStore.url) (or .Values.objectStore.endpoint .Values.objectStore.region .Values.objectStore.existingSecret .Values.objectStore.caSecret) }}
{{- fail "objectStore needs objectStore.url, such as s3://BUCKET" }}
{{- end }}
{{- if and (hasPrefix "http://" .Values.objectStore.endpoint) (not .Values.objectStore.insecureHttp) }}
{{- fail "objectStore.endpoint without TLS: models would travel in the clear; use https://, or set objectStore.insecureHttp=true" }}
{{- end }}
{{- if and .Values.http.hosts (not (include "castoff.ownTls" .)) }}
{{- fail "http.hosts are names of the certificate that Castoff makes for an exposed REST: those of http.tlsSecret are in it, those of cert-manager in certManager.hosts" }}
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
