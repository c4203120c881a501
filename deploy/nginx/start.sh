#!/bin/sh
# nginx in a container, in the foreground. Its folder is /tmp, in memory; the access log goes where the container's
# output goes.
set -eu

any_node_answers() {
  sed -n 's/^server \([^ ]*\) .*/\1/p' /etc/penstock/upstream.conf | while read -r node; do
    curl --silent --fail --max-time 2 --output /dev/null "http://$node/livez" && echo "$node"
  done | grep -q .
}

# A node that fails while it starts would be left alone for 30 s, so nginx begins when the first one answers.
until any_node_answers; do
  sleep 0.5
done
ln -sf /dev/stdout /tmp/access.log
exec nginx -p /tmp/ -c /etc/penstock/nginx.conf -e stderr
