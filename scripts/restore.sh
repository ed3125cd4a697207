#!/bin/sh
# `make restore FILE=…`: the database as it was when the dump was made; all of it, or nothing changes.
# Who reads and writes it is stopped meanwhile. Then whatever traded since is found out at the exchange.
set -eu
cd "$(dirname "$0")/.."
file=${1:-}
if [ -z "$file" ] || [ ! -s "$file" ]; then
  echo "usage: make restore FILE=backups/….dump (${file:-no file} is not there, or empty)" >&2
  exit 2
fi
compose=${COMPOSE:-docker compose}
# Whatever becomes of it: nobody is left unwatched. A restore that fails changes nothing.
trap '$compose up --detach' EXIT
$compose stop backend monitor
$compose exec -T postgres pg_restore --username=tradebox --dbname=tradebox --clean --if-exists \
  --single-transaction --exit-on-error <"$file"
$compose run --rm migrate # a dump of an older version
