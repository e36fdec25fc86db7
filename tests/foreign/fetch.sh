#!/bin/sh
# Fetches somebody else's web application from the npm registry, as its authors published it, to be
# delivered with `stead init` and `stead up` without touching its code.
#
#   tests/foreign/fetch.sh cors-anywhere DIR    has a Procfile:      web: node server.js
#   tests/foreign/fetch.sh peer DIR             has a start script:  node dist/bin/peerjs.js --port ${PORT:=9000}
#
# DIR must not exist yet; it becomes the application's folder, with what it depends on installed.
# Versions are fixed, so that a test means the same tomorrow. Install scripts are not run.

set -eu

name=${1:?"usage: fetch.sh cors-anywhere|peer DIR"}
dir=${2:?"usage: fetch.sh cors-anywhere|peer DIR"}
case $name in
cors-anywhere) version=0.4.4 ;;
peer) version=1.0.2 ;;
*) echo "error: \"$name\" is not one of cors-anywhere, peer" >&2; exit 2 ;;
esac
if [ -e "$dir" ]; then
    echo "error: $dir exists already" >&2
    exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$name@$version" >/dev/null)
tar -xzf "$work/$name-$version.tgz" -C "$work"
(cd "$work/package" && npm install --silent --omit=dev --ignore-scripts --no-audit --no-fund)
mkdir -p "$(dirname "$dir")"
mv "$work/package" "$dir"
echo "$name $version is in $dir"
