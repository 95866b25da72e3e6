#!/usr/bin/env bash
# Rotates a password as teams do it by hand: their commands, in their order. The
# environment names the places; a person would type them.
set -euo pipefail

NEW=$(openssl rand -hex 18)
export NEW

psql "$ADMIN_URL" --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv new NEW
\getenv role ROLE
SET log_statement = 'none'; -- else the server's log has the password
ALTER USER :"role" PASSWORD :'new';
SQL

kube() { kubectl --namespace "$NAMESPACE" "$@"; }
kube delete secret "$SECRET"
kube create secret generic "$SECRET" \
  --from-literal=username="$ROLE" --from-literal=password="$NEW" --from-literal=database="$DATABASE"

# In the browser this takes minutes; here it is as fast as it can be.
seal() {
  /usr/bin/python3 -c '
import base64, json, os, sys
from nacl import public

key = json.load(sys.stdin)
box = public.SealedBox(public.PublicKey(base64.b64decode(key["key"])))
value = base64.b64encode(box.encrypt(os.environ["NEW"].encode())).decode()
json.dump({"key_id": key["key_id"], "encrypted_value": value}, sys.stdout)'
}
github() {
  curl --silent --show-error --fail --header "Authorization: Bearer $GITHUB_TOKEN" \
    --header 'Accept: application/vnd.github+json' --header 'X-GitHub-Api-Version: 2022-11-28' "$@"
}
secrets="$GITHUB_URL/repos/$REPOSITORY/actions/secrets"
github "$secrets/public-key" | seal |
  github --request PUT --header 'Content-Type: application/json' --data @- "$secrets/$GITHUB_SECRET"

for name in $DEPLOYMENTS; do kube rollout restart "deployment/$name"; done
for name in $DEPLOYMENTS; do kube rollout status "deployment/$name" --timeout=5m; done
for name in $DEPLOYMENTS; do kube exec "deployment/$name" -- /healthcheck; done
