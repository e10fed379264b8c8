#!/bin/sh
# The image as docs/docker.md builds it without a container engine; then, as its own user, the demo inside.
# Everything lies in one temporary folder, and is removed at the end. Needs root, buildah, debootstrap, a package index.
set -eu
skip() { echo "skipped: the image test needs $1; see docs/docker.md"; exit 0; }
[ "$(id -u)" = 0 ] || skip "root"
for tool in buildah debootstrap; do command -v "$tool" >/dev/null || skip "$tool"; done
cd "$(dirname "$0")/.."

work=$(mktemp -d)
container=
engine() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }
finish() { [ -z "$container" ] || engine rm "$container" >/dev/null || true; rm -rf "$work"; }
trap finish EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/rootfs" >"$work/log" \
    || { tail -n 5 "$work/log" >&2; exit 1; }
base=$(engine from scratch)
engine add --quiet "$base" "$work/rootfs" / >/dev/null
engine commit --quiet --rm "$base" localhost/base >/dev/null
rm -rf "$work/rootfs"

set -- --volume /etc/ssl/certs:/etc/ssl/certs:ro
if [ -f /etc/pip.conf ]; then set -- "$@" --volume /etc/pip.conf:/etc/pip.conf:ro; fi
engine build "$@" --build-arg BASE=localhost/base --build-arg EXTRAS=cluster --tag localhost/terrasketch .

mkdir "$work/data"
cp -r workflows sample_data "$work/data"
chown -R 10001:10001 "$work/data"
container=$(engine from localhost/terrasketch)
inside() { engine run --volume "$work/data:/data" "$container" -- "$@"; }
[ "$(inside id -u)" = 10001 ]
inside terrasketch run workflows/scene.yaml
inside terrasketch inspect out/demo/s2_18SVG_crop_10band_20m/scene.zarr --json >/dev/null
for output in scene.zarr/zarr.json features.tif item.json report.html receipt.json; do
    [ -s "$work/data/out/demo/s2_18SVG_crop_10band_20m/$output" ]
done
# Nothing of the build's settings, and nothing but the package, is in the image.
inside sh -c '! find / -xdev -name pip.conf -size +0 2>/dev/null | grep -q .'
inside sh -c 'cd /opt/terrasketch/lib/python3*/site-packages && ! ls -d tests benchmarks docs workflows 2>/dev/null'
engine images localhost/terrasketch
echo "the image runs the demo as uid 10001"
