{{/* Names. */}}
{{- define "catchment.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "catchment.cluster" -}}
{{ .Values.clusterName | default .Release.Name }}
{{- end }}

{{- define "catchment.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Labels of everything in the release. */}}
{{- define "catchment.release" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of one component: (list $ "node"). */}}
{{- define "catchment.selector" -}}
{{ include "catchment.release" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "catchment.labels" -}}
{{- $root := index . 0 -}}
{{ include "catchment.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* What a list, or a string with commas, holds: with commas. */}}
{{- define "catchment.list" -}}
{{- if kindIs "string" . }}{{ . | nospace }}{{ else }}{{ join "," . }}{{ end }}
{{- end }}

{{/* The same as YAML. */}}
{{- define "catchment.yaml-list" -}}
{{ splitList "," . | toJson }}
{{- end }}

{{/* Where coordinators are. */}}
{{- define "catchment.coordinator.host" -}}
{{ include "catchment.name" . }}-coordinator
{{- end }}

{{- define "catchment.coordinator.url" -}}
{{ ternary "https" "http" .Values.tls.enabled }}://{{ include "catchment.coordinator.host" . }}:7400
{{- end }}

{{- define "catchment.etcd.endpoints" -}}
{{- if .Values.etcd.bundled.enabled -}}
http://{{ include "catchment.name" . }}-etcd:2379
{{- else -}}
{{ include "catchment.list" .Values.etcd.endpoints }}
{{- end }}
{{- end }}

{{- define "catchment.tls.secret" -}}
{{- if .Values.tls.secretName }}{{ .Values.tls.secretName }}
{{- else if .Values.tls.certManager.enabled }}{{ include "catchment.name" . }}-grpc
{{- else }}{{ fail "tls.enabled needs a certificate: set tls.secretName to a Secret with tls.crt, tls.key and ca.crt, or tls.certManager.enabled and tls.certManager.issuerRef.name" }}
{{- end }}
{{- end }}

{{/* The gRPC port's certificate, and that of connections from here. */}}
{{- define "catchment.tls.server" -}}
cert_file: /etc/catchment/tls/tls.crt
key_file: /etc/catchment/tls/tls.key
client_ca_file: /etc/catchment/tls/ca.crt
{{- end }}

{{- define "catchment.tls.client" -}}
ca_file: /etc/catchment/tls/ca.crt
cert_file: /etc/catchment/tls/tls.crt
key_file: /etc/catchment/tls/tls.key
server_name: {{ include "catchment.coordinator.host" . }}
{{- end }}

{{/* ingest-node's configuration. */}}
{{- define "catchment.node.config" -}}
output: {{ .Values.output }}
node:
  http: "[::]:8081"
  grpc: "[::]:7401"
  shutdown_timeout: {{ .Values.node.shutdownTimeout }}
health:
  listen: "[::]:8083"
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
coordinator:
  endpoints: [{{ include "catchment.coordinator.url" . }}]
  cluster: {{ include "catchment.cluster" . }}
  {{- if .Values.tls.enabled }}
  tls: {{- include "catchment.tls.client" . | nindent 4 }}
  {{- end }}
{{- if .Values.tls.enabled }}
tls: {{- include "catchment.tls.server" . | nindent 2 }}
{{- end }}
{{- if eq .Values.output "kafka" }}
kafka:
  brokers: {{ include "catchment.list" .Values.kafka.brokers | include "catchment.yaml-list" }}
  topic: {{ .Values.kafka.topic }}
  {{- if .Values.kafka.tls.enabled }}
  tls:
    enabled: true
    {{- if .Values.kafka.tls.secretName }}
    ca_file: /etc/catchment/kafka-tls/ca.crt
    {{- if .Values.kafka.tls.clientCertificate }}
    cert_file: /etc/catchment/kafka-tls/tls.crt
    key_file: /etc/catchment/kafka-tls/tls.key
    {{- end }}
    {{- end }}
  {{- end }}
  {{- if .Values.kafka.sasl.mechanism }}
  sasl:
    mechanism: {{ .Values.kafka.sasl.mechanism }}
    username: {{ .Values.kafka.sasl.username | quote }}
    password_file: /etc/catchment/kafka-sasl/password
  {{- end }}
{{- end }}
{{- end }}

{{/* coordinator's configuration. */}}
{{- define "catchment.coordinator.config" -}}
cluster: {{ include "catchment.cluster" . }}
grpc: "[::]:7400"
http: "[::]:8082"
health:
  listen: "[::]:8083"
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
{{- with include "catchment.etcd.endpoints" . }}
store: etcd
etcd:
  endpoints: {{ include "catchment.yaml-list" . }}
  {{- if not $.Values.etcd.bundled.enabled }}
  {{- if $.Values.etcd.username }}
  username: {{ $.Values.etcd.username | quote }}
  password_file: /etc/catchment/etcd-password/password
  {{- end }}
  {{- if $.Values.etcd.tlsSecretName }}
  tls:
    ca_file: /etc/catchment/etcd-tls/ca.crt
    {{- if $.Values.etcd.clientCertificate }}
    cert_file: /etc/catchment/etcd-tls/tls.crt
    key_file: /etc/catchment/etcd-tls/tls.key
    {{- end }}
  {{- end }}
  {{- end }}
{{- else }}
store: memory
{{- end }}
{{- if .Values.tls.enabled }}
tls: {{- include "catchment.tls.server" . | nindent 2 }}
peers:
  tls: {{- include "catchment.tls.client" . | nindent 4 }}
{{- end }}
{{- end }}

{{/* How catchctl in a coordinator's pod finds its cluster. */}}
{{- define "catchment.catchctl.context" -}}
current: {{ include "catchment.cluster" . }}
contexts:
  - name: {{ include "catchment.cluster" . }}
    endpoints: [{{ include "catchment.coordinator.url" . }}]
    {{- if .Values.tls.enabled }}
    tls: {{- include "catchment.tls.client" . | nindent 6 }}
    {{- end }}
{{- end }}

{{/* What a configuration file holds: (list own more). */}}
{{- define "catchment.merged" -}}
{{- toYaml (mergeOverwrite (fromYaml (index . 0)) (index . 1)) }}
{{- end }}

{{/* Parts of every pod. */}}
{{- define "catchment.pod.security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "catchment.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Plain-text probes: kubelet's carry no certificate. Readiness asks each second, so that a pod that drains is left at once. */}}
{{- define "catchment.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 1
{{- end }}

{{/* Before SIGTERM, so that who balances loads has noticed that the pod goes. Kubernetes has this without a shell from 1.30 on. */}}
{{- define "catchment.lifecycle" -}}
{{- if and (index . 1) (semverCompare ">=1.30.0-0" (index . 0).Capabilities.KubeVersion.Version) -}}
lifecycle:
  preStop:
    sleep: {seconds: {{ index . 1 }}}
{{- end }}
{{- end }}

{{/* Where pods of a component go: (list $ "node" .Values.node). */}}
{{- define "catchment.placement" -}}
{{- $values := index . 2 -}}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
{{- if $values.topologySpreadConstraints }}
{{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "catchment.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{/* Refuses what cannot work, with what to set. */}}
{{- define "catchment.check" -}}
{{- if and (eq .Values.output "kafka") (not (include "catchment.list" .Values.kafka.brokers)) }}
{{- fail "kafka.brokers is not set: where should records go? Set it (--set kafka.brokers=kafka-1:9092), or output=stdout to see records in the nodes' logs" }}
{{- end }}
{{- if and (not (include "catchment.etcd.endpoints" .)) (gt (int .Values.coordinator.replicas) 1) }}
{{- fail (printf "coordinator.replicas is %d, but there is no etcd for what they share: set etcd.endpoints, or etcd.bundled.enabled=true for a trial, or coordinator.replicas=1 for one that keeps everything in memory" (int .Values.coordinator.replicas)) }}
{{- end }}
{{- if and .Values.etcd.bundled.enabled (include "catchment.list" .Values.etcd.endpoints) }}
{{- fail "etcd.endpoints and etcd.bundled.enabled are both set: which etcd is it to be?" }}
{{- end }}
{{- if and .Values.kafka.sasl.mechanism (not .Values.kafka.sasl.secretName) }}
{{- fail "kafka.sasl.mechanism is set without kafka.sasl.secretName: name a Secret with the key `password`" }}
{{- end }}
{{- if and .Values.etcd.username (not .Values.etcd.passwordSecretName) }}
{{- fail "etcd.username is set without etcd.passwordSecretName: name a Secret with the key `password`" }}
{{- end }}
{{- end }}

{{/* Who may ask a pod for metrics and call its gRPC port. */}}
{{- define "catchment.policy.control" -}}
- ports:
    - {port: http}
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    # `helm test` reads ledgers.
    - podSelector:
        matchLabels: {{- include "catchment.release" $ | nindent 10 }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
- ports:
    - {port: grpc}
  from:
    - podSelector:
        matchLabels: {{- include "catchment.release" . | nindent 10 }}
    {{- if .Values.networkPolicy.controlFrom }}
    {{- toYaml .Values.networkPolicy.controlFrom | nindent 4 }}
    {{- else }}
    - podSelector: {}
    {{- end }}
{{- end }}
