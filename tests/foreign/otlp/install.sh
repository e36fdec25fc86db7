#!/bin/sh
# Installs the OpenTelemetry SDKs into DIR, at fixed versions, once.
#
#   tests/foreign/otlp/install.sh python DIR    a virtual environment from PyPI
#   tests/foreign/otlp/install.sh js DIR        node_modules from npm

set -eu

language=${1:?"usage: install.sh python|js DIR"}
dir=${2:?"usage: install.sh python|js DIR"}
if [ -e "$dir/complete" ]; then exit 0; fi
rm -rf "$dir"
mkdir -p "$dir"
case $language in
python)
    python3 -m venv "$dir/venv"
    "$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
        opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 \
        opentelemetry-exporter-otlp-proto-grpc==1.45.2
    ;;
js)
    cd "$dir"
    npm install --silent --no-audit --no-fund --prefix "$dir" \
        @opentelemetry/sdk-metrics@3.1.1 @opentelemetry/resources@3.1.1 \
        @opentelemetry/exporter-metrics-otlp-proto@0.301.0 @opentelemetry/exporter-metrics-otlp-http@0.301.0 \
        @opentelemetry/exporter-metrics-otlp-grpc@0.301.0
    ;;
*)
    echo "error: \"$language\" is not one of python, js" >&2
    exit 2
    ;;
esac
touch "$dir/complete"
