#!/usr/bin/env bash
# Stand in for a Docker engine on a Debian machine that has none: podman answers on a socket, the images
# that would come from a registry are made here. Needs root, debootstrap, podman, buildah, docker-compose.
#   tests/compose/podman-standin.sh start    then DOCKER_HOST is what it prints
#   tests/compose/podman-standin.sh stop
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
run=/run/tradebox-podman
socket=$run/docker.sock

make_base() {
  local root
  root=$(mktemp -d)
  debootstrap --variant=minbase bookworm "$root" >/dev/null
  # This machine's way to packages: sources, certificates.
  : >"$root/etc/apt/sources.list"
  cp -r /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"
  cp /etc/apt/apt.conf.d/99* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
  mkdir -p "$root/usr/local/share/ca-certificates" "$root/etc/ssl/certs"
  cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
  rm -rf "$root"/var/cache/apt/archives/*.deb
  tar -C "$root" -c . | podman import --quiet - docker.io/library/debian:bookworm-slim >/dev/null
  rm -rf "$root"
}

check_health_for_ever() { # podman starts its checks by systemd's timers, and here may be no systemd
  while sleep 3; do
    for name in $(podman ps --quiet); do podman healthcheck run "$name" >/dev/null 2>&1 || true; done
  done
}

case "${1:-}" in
  start)
    mkdir -p "$run"
    cat >"$run/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
    export CONTAINERS_CONF=$run/containers.conf BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker
    podman image exists docker.io/library/debian:bookworm-slim || make_base
    podman image exists docker.io/library/postgres:17-bookworm ||
      buildah bud --quiet --format docker --tag docker.io/library/postgres:17-bookworm \
        --file "$here/postgres-standin.Dockerfile" "$here" >/dev/null
    setsid podman system service --time 0 "unix://$socket" >"$run/service.log" 2>&1 </dev/null &
    echo $! >"$run/service.pid"
    check_health_for_ever >/dev/null 2>&1 </dev/null &
    echo $! >"$run/health.pid"
    echo "unix://$socket"
    ;;
  stop)
    for name in service health; do
      kill "$(cat "$run/$name.pid" 2>/dev/null)" 2>/dev/null || true
      rm -f "$run/$name.pid"
    done
    ;;
  *)
    sed -n 2,5p "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
