#!/bin/sh
# A scheduler and workers on plain hosts, one run on them, and all of it stopped in the end.
#
#   workflows/cluster/hosts.sh workflows/scene.yaml --out out/demo                         this host, on its loopback
#   HOSTS="node1 node2" workflows/cluster/hosts.sh workflows/scene.yaml --out out/demo     workers on others, by ssh
#
# Every host must see this folder, the scenes and the outputs under the same paths, and the same environment at BIN.
# The scheduler listens on this host's first address, without a password: on a network of yours alone.
set -eu
HOSTS="${HOSTS:-}"                                          # edit: names for ssh; none: this host
BIN="${BIN:-$(dirname "$(command -v terrasketch)")}"        # edit: where terrasketch and dask are installed
THREADS="${THREADS:-$(getconf _NPROCESSORS_ONLN)}"          # of each worker
export DASK_LOGGING__DISTRIBUTED="${DASK_LOGGING__DISTRIBUTED:-warning}"

if [ -z "$HOSTS" ]; then here=127.0.0.1; else here=$(hostname -I | cut -d ' ' -f 1); fi
folder=$(mktemp -d)
started="" # the scheduler last: it is stopped after its workers
stop_all() {
    for pid in $started; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap stop_all EXIT

# In sessions of their own: Ctrl-C is for the run, which finishes its tiles on them.
setsid "$BIN/dask" scheduler --host "$here" --port 0 --dashboard-address 127.0.0.1:0 \
    --scheduler-file "$folder/scheduler.json" &
started="$! $started"
while [ ! -s "$folder/scheduler.json" ]; do
    kill -0 $started || exit 1
    sleep 0.2
done
address=$(sed -n 's/.*"address": "\([^"]*\)".*/\1/p' "$folder/scheduler.json")
worker="$BIN/dask worker $address --nthreads $THREADS --dashboard-address 127.0.0.1:0 --death-timeout 60"
if [ -z "$HOSTS" ]; then
    setsid $worker --host 127.0.0.1 --local-directory "$folder" &
    started="$! $started"
fi
for name in $HOSTS; do # they end when the scheduler ends
    setsid ssh -o BatchMode=yes "$name" "cd '$PWD' && exec $worker" &
    started="$! $started"
done

"$BIN/terrasketch" run "$@" --scheduler "$address" &
client=$!
trap 'kill -TERM "$client"' TERM
trap : INT
code=0
wait "$client" || code=$?
while kill -0 "$client" 2>/dev/null; do # a signal ended the waiting, not the run
    code=0
    wait "$client" || code=$?
done
exit "$code"
