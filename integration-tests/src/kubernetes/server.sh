# Runs an API server and its etcd as one: they end together, the etcd last.
#
# usage: sh server.sh ETCD ETCD_URL PEER_URL COMMAND…

"$1" --data-dir=etcd --listen-client-urls="$2" --advertise-client-urls="$2" --listen-peer-urls="$3" \
    --initial-advertise-peer-urls="$3" --initial-cluster="default=$3" --logger=zap --log-level=warn &
etcd=$!
shift 3
"$@" &
apiserver=$!

# It waits for its clients, whose watches would keep it for a minute.
trap 'kill -TERM $apiserver; { sleep 1; kill -KILL $apiserver; } & wait $apiserver; kill $!' TERM
wait $apiserver
kill -TERM $etcd
wait $etcd
