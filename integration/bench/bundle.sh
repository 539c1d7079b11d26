#!/bin/bash
# bundle.sh DIR: a bundle as Docker makes one by default, but for seccomp and
# resources (RESOURCES=FILE and SECCOMP=FILE add those): its config.json, the files that it binds, and a root with busybox.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
dir=$1

mkdir -p "$dir"/rootfs/{bin,dev,etc,proc,root,sys,tmp}
cp "$(command -v busybox)" "$dir/rootfs/bin/busybox"
for applet in true sleep sh; do
    ln -f "$dir/rootfs/bin/busybox" "$dir/rootfs/bin/$applet"
done
touch "$dir"/rootfs/etc/{resolv.conf,hostname,hosts} "$dir/resolv.conf"
echo floor >"$dir/hostname"
echo '127.0.0.1 localhost' >"$dir/hosts"
# The sources of binds are absolute, as Docker writes them.
sed -E -e "s#\"source\": \"(resolv.conf|hostname|hosts)\"#\"type\": \"bind\", \"source\": \"$dir/\1\"#" \
    -e "s#\"path\": \"rootfs\"#\"path\": \"$dir/rootfs\"#" "$here/config.json" >"$dir/config.json"
if [ -n "${RESOURCES:-}" ]; then
    jq --slurpfile resources "$RESOURCES" '.linux.resources = $resources[0]' "$dir/config.json" >"$dir/config.json.new"
    mv "$dir/config.json.new" "$dir/config.json"
fi
if [ -n "${SECCOMP:-}" ]; then
    jq --slurpfile seccomp "$SECCOMP" '.linux.seccomp = $seccomp[0]' "$dir/config.json" >"$dir/config.json.new"
    mv "$dir/config.json.new" "$dir/config.json"
fi
