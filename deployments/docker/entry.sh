#!/bin/sh
# Read secrets from files, as NAME_FILE says for NAME, then become the command: no secret stands in the compose file,
# in a manifest or in `docker inspect`.
set -eu

for name in PREFECT_SERVER_API_AUTH_STRING PREFECT_API_AUTH_STRING PREFECT_SERVER_DATABASE_PASSWORD; do
    eval "file=\${${name}_FILE:-}"
    [ -n "$file" ] || continue
    if ! value=$(cat "$file") || [ -z "$value" ]; then
        echo "entry: ${name}_FILE names $file, which is empty or cannot be read" >&2
        exit 3
    fi
    export "$name=$value"
    unset "${name}_FILE"
done
exec "$@"
