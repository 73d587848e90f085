#!/usr/bin/env bash
# SPDX-License-Identifier: EUPL-1.2
# Brings the Debian packages that building, the demo and the tests need. Silent when all is there.
#
#   scripts/deps.sh          for building, demo and tests
#   scripts/deps.sh --build  for building alone (no Java)
set -euo pipefail

# libclang: bindgen reads libxml2's headers with it. Java and Maven: only the Schematron judge of the tests; venv: only
# their OTLP judge. Xerces: a validator of other make, for `kop schema selftest`. ClamAV and c-icap: the virus scanners of
# the tests. PostgreSQL and RabbitMQ: several machines, in tests.
build_packages=(build-essential ca-certificates curl libclang-common-14-dev libclang1-14 libxml2-dev libxml2-utils pkg-config python3 time)
test_packages=(c-icap clamav-daemon default-jre-headless libc-icap-mod-virus-scan libxerces-c-samples maven postgresql python3-venv rabbitmq-server)
packages=("${build_packages[@]}")
[ "${1:-}" = --build ] || packages+=("${test_packages[@]}")

have() {
    # A working tool counts, whatever package it came from.
    case "$1" in
        build-essential) command -v cc >/dev/null && command -v make >/dev/null && return ;;
        curl) command -v curl >/dev/null && return ;;
        default-jre-headless) command -v java >/dev/null && return ;;
        libclang1-14 | libclang-common-14-dev) [ -n "${LIBCLANG_PATH:-}" ] && return ;;
        libxerces-c-samples) command -v SAX2Count >/dev/null && return ;;
        libxml2-dev) pkg-config --exists libxml-2.0 2>/dev/null && return ;;
        libxml2-utils) command -v xmllint >/dev/null && return ;;
        maven) command -v mvn >/dev/null && return ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return ;;
        pkg-config) command -v pkg-config >/dev/null && return ;;
        python3) command -v python3 >/dev/null && return ;;
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && return ;;
        time) [ -x /usr/bin/time ] && return ;;
    esac
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${packages[@]}"; do
    have "$package" || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "Es fehlen Pakete. Bitte als root: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    echo "Installiere: ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # The tests start servers of their own; no cluster, no service.
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
        sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "Rust fehlt: bitte rustup einrichten (https://rustup.rs), mindestens Rust 1.89." >&2
    exit 1
fi
