#!/bin/sh
# `make backup`: a dump of the database in its container, whole or not at all.
set -eu
cd "$(dirname "$0")/.."
umask 077 # alerts and trades are in it
mkdir -p backups
file=backups/tradebox-$(date -u +%Y%m%dT%H%M%SZ).dump
trap 'rm -f "$file.part"' EXIT
${COMPOSE:-docker compose} exec -T postgres pg_dump --username=tradebox --format=custom tradebox >"$file.part"
mv "$file.part" "$file"
echo "$file: $(wc -c <"$file") bytes"
