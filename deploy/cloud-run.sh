#!/usr/bin/env bash
# Builds the image, pushes it, and deploys an API and workers to Cloud Run:
#   PROJECT_ID=my-project [REGION=europe-west1] [INSTANCES=2] [NETWORK=default SUBNET=default] deploy/cloud-run.sh
# `make deploy-all PROJECT_ID=…` calls it. DRY_RUN=1 prints every command and runs none. The broker's address, history's
# and the hashes of the API keys are secrets of the project; docs/guides/containers.md tells how they get there.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$@" >&2; }
fail() { say "$@"; exit 1; }

run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [[ -n ${DRY_RUN:-} ]] || "$@"
}

[[ -n ${PROJECT_ID:-} ]] || fail "Say which project: make deploy-all PROJECT_ID=my-project"
engine=$(command -v docker || command -v podman || true)
if [[ -z ${DRY_RUN:-} ]]; then
  command -v gcloud >/dev/null || fail "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
  [[ -n $engine ]] || fail "docker or podman is needed to build the image, and neither is here"
fi
engine=$(basename "${engine:-docker}")

region=${REGION:-europe-west1}
registry=$region-docker.pkg.dev
image=$registry/$PROJECT_ID/penstock/penstock:${TAG:-$(git rev-parse --short HEAD)}
project=(--project "$PROJECT_ID")
place=("${project[@]}" --region "$region")
secrets=(PENSTOCK_BROKER_URL=penstock-broker-url:latest PENSTOCK_DATABASE_URL=penstock-database-url:latest)
api_secrets=("${secrets[@]}" PENSTOCK_API_KEYS=penstock-api-keys:latest)
network=()
[[ -z ${NETWORK:-} ]] || network=(--network "$NETWORK" --subnet "${SUBNET:-$NETWORK}" --vpc-egress private-ranges-only)

joined() { local IFS=,; printf '%s' "$*"; }

need_secrets() {
  local each name
  for each in "${api_secrets[@]}"; do
    name=${each#*=} name=${name%:latest}
    run gcloud secrets describe "$name" "${project[@]}" --format 'value(name)' ||
      fail "The project has no secret $name, for ${each%%=*}. Make it from what you type:" \
        "  gcloud secrets create $name --project $PROJECT_ID --data-file=-"
  done
}

push_image() {
  local repository=("${project[@]}" --location "$region")
  if [[ -n ${DRY_RUN:-} ]] || ! gcloud artifacts repositories describe penstock "${repository[@]}" >/dev/null 2>&1; then
    run gcloud artifacts repositories create penstock "${repository[@]}" --repository-format docker
  fi
  run gcloud auth configure-docker "$registry" --quiet
  run env BUILDAH_FORMAT=docker "$engine" build --platform linux/amd64 -f deploy/Dockerfile -t "$image" .
  run "$engine" push "$image"
}

# Cloud Run asks for no identity, the API asks for a key. CPU all the time: history is written between requests.
# No PENSTOCK_TRUSTED_PROXIES: which hop of X-Forwarded-For could be believed is not documented, see the guide.
deploy_api() {
  run gcloud run deploy penstock-api "${place[@]}" --image "$image" --args api --port 8000 \
    --set-secrets "$(joined "${api_secrets[@]}")" --allow-unauthenticated \
    --no-cpu-throttling --min-instances 1 --max-instances 3 --cpu 1 --memory 512Mi --timeout 90 \
    --startup-probe httpGet.path=/livez,httpGet.port=8000 "${network[@]}"
}

# Cloud Run kills ten seconds after SIGTERM: what has not finished by then goes back to the queue before.
deploy_worker() {
  run gcloud beta run worker-pools deploy penstock-worker "${place[@]}" --image "$image" --args worker \
    --set-secrets "$(joined "${secrets[@]}")" --set-env-vars PENSTOCK_SLOTS=2,PENSTOCK_DRAIN=5s \
    --instances "${INSTANCES:-2}" --cpu 2 --memory 2Gi "${network[@]}"
}

need_secrets
push_image
deploy_worker
deploy_api
