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

# A key of this name and role: prints it, then its entry for PENSTOCK_API_KEYS.
mint() {
  "$engine" run --rm --network none "${IMAGE:-penstock:local}" \
    keys create "$1" --role "$2" --detached ${3:+--sees "$3"} 2>/dev/null
}

make_secrets() {
  [[ -e .env ]] && return
  say "making keys and passwords: deploy/.env, deploy/.secrets/admin.key"
  local admin page metrics
  { read -r admin_key; read -r admin; } < <(mint admin admin)
  { read -r page_key; read -r page; } < <(mint page submit)
  { read -r metrics_key; read -r metrics; } < <(mint metrics read)
  [[ $admin == *=* && $page == *=* && $metrics == *=* ]] || fail "no keys could be made with the image"
  mkdir -p .secrets
  printf '%s\n' "$admin_key" >.secrets/admin.key
  # Read by Prometheus, which is another user; the folder keeps others of this machine out.
  printf '%s' "$metrics_key" >.secrets/metrics.key
  chmod 644 .secrets/metrics.key
  cat >.env.new <<END
PENSTOCK_API_KEYS=${admin#*=},${page#*=},${metrics#*=}
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
