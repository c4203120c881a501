#!/usr/bin/env bash
# The system of deploy/compose.yaml on this machine, by docker or podman:
#   deploy/local.sh up [--no-build] | down [--volumes] | logs [SERVICE…] | redis-cli [WORD…] | compose WORD…
# `make local-up` and the like call it. WORKERS=5 says how many workers (3), PROFILE=monitoring adds Prometheus and
# Grafana, ENGINE=podman chooses. Keys and passwords are made once, into deploy/.env and deploy/.secrets.
set -euo pipefail
cd "$(dirname "$0")"
umask 077

say() { printf '%s\n' "$@" >&2; }
fail() { say "$@"; exit 1; }

# Sets engine and compose to what is there.
find_engine() {
  local wanted=${ENGINE:-}
  if [[ ${wanted:-docker} == docker ]] && docker compose version >/dev/null 2>&1; then
    engine=docker compose=(docker compose)
  elif [[ ${wanted:-podman} == podman ]] && command -v podman >/dev/null && command -v podman-compose >/dev/null; then
    engine=podman compose=(podman-compose)
  else
    fail "Containers need docker with its compose plugin, or podman with podman-compose${wanted:+ (ENGINE=$wanted)}; neither is here." \
      "Without containers: penstock up, see docs/guides/running-a-node.md."
  fi
}

compose() { "${compose[@]}" -f compose.yaml ${PROFILE:+--profile "$PROFILE"} "$@"; }

# BUILDAH_FORMAT: podman leaves the health check out of its own format.
build() { BUILDAH_FORMAT=docker "$engine" build -f Dockerfile --build-arg "REQUIREMENTS=$1" -t "$2" ..; }

build_images() {
  build base "${IMAGE:-penstock:local}"
  build page "${PAGE_IMAGE:-penstock-page:local}"
}

password() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# Sets key, and entry for PENSTOCK_API_KEYS, to a new one of this name and role.
mint() {
  local told
  told=$("$engine" run --rm --network none "${IMAGE:-penstock:local}" keys create "$1" --role "$2" --detached) ||
    fail "the image could make no key"
  key=${told%%$'\n'*} entry=${told##*=}
}

make_secrets() {
  [[ -e .env ]] && return
  say "making keys and passwords: deploy/.env, deploy/.secrets/admin.key"
  local key entry entries page_key
  mkdir -p .secrets
  mint admin admin
  entries=$entry
  printf '%s\n' "$key" >.secrets/admin.key
  mint page submit
  entries+=,$entry page_key=$key
  mint metrics read
  entries+=,$entry
  # Read by Prometheus, which is another user; the folder keeps others of this machine out.
  printf '%s' "$key" >.secrets/metrics.key
  chmod 644 .secrets/metrics.key
  cat >.env.new <<END
PENSTOCK_API_KEYS=$entries
PAGE_KEY=$page_key
REDIS_PASSWORD=$(password)
POSTGRES_PASSWORD=$(password)
GRAFANA_PASSWORD=$(password)
WORKER_CPUS=$(nproc)
END
  mv .env.new .env
}

# Until the front door lets jobs in, for two minutes.
wait_until_ready() {
  local door="http://127.0.0.1:${PORT:-8080}" end=$((SECONDS + 120))
  until curl --silent --fail --max-time 5 --output /dev/null "$door/healthz"; do
    ((SECONDS < end)) || fail "$door does not take jobs after two minutes; see: make local-logs"
    sleep 0.5
  done
  say "ready: $door (API and console), http://127.0.0.1:${PAGE_PORT:-8501} (optimiser)" \
    "key: export PENSTOCK_API_KEY=\$(cat deploy/.secrets/admin.key) PENSTOCK_URL=$door"
}

# What deploy/.env says and the environment does not, for this script as for compose.
read_env() {
  local name value
  while IFS='=' read -r name value; do
    [[ ! $name =~ ^[A-Z_]+$ || -n ${!name+told} ]] || export "$name=$value"
  done <.env
}

# podman-compose only ever adds workers; those that are too many would go on with the settings of their day.
remove_surplus() {
  local number=$((${WORKERS:-3} + 1))
  while [[ $engine == podman ]] && podman container exists "penstock_worker_$number"; do
    podman stop --time 40 "penstock_worker_$number" && podman rm "penstock_worker_$number"
    number=$((number + 1))
  done
}

up() {
  [[ ${1:-} == --no-build ]] || build_images
  make_secrets
  remove_surplus
  compose up -d --no-build
  wait_until_ready
}

find_engine
[[ ! -e .env ]] || read_env
verb=${1:-}
[[ $# -gt 0 ]] && shift
case $verb in
  up) up "$@" ;;
  down) PROFILE=monitoring compose down --remove-orphans "$@" ;;
  logs) compose logs --follow --tail 100 "$@" ;;
  redis-cli) compose exec redis redis-cli "$@" ;;
  compose) compose "$@" ;;
  *) fail "usage: deploy/local.sh up|down|logs|redis-cli|compose" ;;
esac
