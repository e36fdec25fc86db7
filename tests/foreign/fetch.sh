#!/bin/sh
# Fetches somebody else's web application from the npm registry, as its authors published it, to be
# delivered with `stead init` and `stead up` without touching its code.
#
#   tests/foreign/fetch.sh cors-anywhere DIR    has a Procfile:      web: node server.js
#   tests/foreign/fetch.sh http-server DIR      has a start script:  node ./bin/http-server
#
# DIR must not exist yet; it becomes the application's folder, without what it depends on: to install
# that is the build's part. Both honour PORT. cors-anywhere listens on 0.0.0.0 unless HOST says
# otherwise, so give it HOST=127.0.0.1: it is a proxy to anywhere. Versions are fixed, so that a test
# means the same tomorrow.

set -eu

name=${1:?"usage: fetch.sh cors-anywhere|http-server DIR"}
dir=${2:?"usage: fetch.sh cors-anywhere|http-server DIR"}
case $name in
cors-anywhere) version=0.4.4 ;;
http-server) version=14.1.1 ;;
*) echo "error: \"$name\" is not one of cors-anywhere, http-server" >&2; exit 2 ;;
esac
if [ -e "$dir" ]; then
    echo "error: $dir exists already" >&2
    exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$name@$version" >/dev/null)
tar -xzf "$work/$name-$version.tgz" -C "$work"
mkdir -p "$(dirname "$dir")"
mv "$work/package" "$dir"
echo "$name $version is in $dir"
