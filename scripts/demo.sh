#!/usr/bin/env bash
# SPDX-License-Identifier: EUPL-1.2
# Shows the main path: two applications in two vendors' real formats come in over HTTP, are mapped, checked and
# delivered into a folder. Works on a copy of the example; ends with an exit code other than 0 when anything fails.
#
#   KOP_DEMO_BEISPIEL   name of the example (musterstadt)
#   KOP_DEMO_MANDANT    tenant id (musterstadt)
#   KOP_DEMO_BEHALTEN=1 keep the folder afterwards
set -euo pipefail
cd "$(dirname "$0")/.."

example=${KOP_DEMO_BEISPIEL:-musterstadt}
tenant=${KOP_DEMO_MANDANT:-musterstadt}
shared=${KOP_SHARED:-$PWD/../shared}
inputs=examples/$example/eingaenge
wait_seconds=60
export KOP_AFM_PASSWORT=${KOP_AFM_PASSWORT:-nur-zum-testen}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { printf '\n✗ %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d)
server=
tidy() {
    local status=$?
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ "$status" -ne 0 ] && [ -s "$work/serve.log" ]; then
        echo "Letzte Zeilen des Dienstes:" >&2
        tail -n 30 "$work/serve.log" >&2
    fi
    if [ -n "${KOP_DEMO_BEHALTEN:-}" ]; then echo "Ordner: $work"; else rm -rf "$work"; fi
}
trap tidy EXIT
trap 'exit 130' INT TERM

say "1. KOP engine bauen (beim ersten Mal einige Minuten)"
cargo build --locked --release --package kop-cli
target=$(cargo metadata --locked --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
kop=$target/release/kop

# The example lies as deep in the copy as here, so that its relative paths to the library still hold.
mkdir -p "$work/examples"
cp -R "examples/$example" "$work/examples/"
rm -rf "$work/examples/$example/daten" "$work/examples/$example/ausgang"
ln -s "$PWD/mappings" "$work/mappings"
ln -s "$PWD/xoev-schemas" "$work/xoev-schemas"
instance=$work/examples/$example
run() { "$kop" --instanz "$instance" "$@"; }

say "2. Konfiguration prüfen"
run check

say "3. Dienst starten"
# A port that is free right now; when another program is faster, the next try takes another one.
base=
for _ in 1 2 3; do
    port=$((20000 + RANDOM % 20000))
    "$kop" --instanz "$instance" serve --adresse "127.0.0.1:$port" >"$work/serve.log" 2>&1 &
    server=$!
    for _ in $(seq 200); do
        kill -0 "$server" 2>/dev/null || break
        # Another program's answer on this port would not do: our process has to be alive as well.
        if curl --silent --fail --noproxy '*' --max-time 2 "http://127.0.0.1:$port/healthz" >/dev/null &&
            kill -0 "$server" 2>/dev/null; then
            base=http://127.0.0.1:$port
            break 2
        fi
        sleep 0.1
    done
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
done
[ -n "$base" ] || fail "Der Dienst ist nicht gestartet."
echo "läuft unter $base"

send() { curl --silent --show-error --fail-with-body --noproxy '*' --max-time 60 "$@"; }

say "4. Bauantrag einreichen (OZG-Cloud: multipart)"
form_data=$inputs/ozg-cloud/formData.json
[ -f "$form_data" ] || fail "$form_data fehlt."
parts=(--form-string "formData=$(cat "$form_data")")
for file in "$inputs"/ozg-cloud/representation/*; do
    if [ -f "$file" ]; then parts+=(--form "representation=@$file"); fi
done
for file in "$inputs"/ozg-cloud/anlagen/*; do
    if [ -f "$file" ]; then parts+=(--form "attachment=@$file"); fi
done
send "${parts[@]}" "$base/$tenant/antrag" || fail "Der Bauantrag wurde nicht angenommen."
echo

say "5. Antrag einreichen (intelliForm / AFM: SOAP)"
deposit=$inputs/intelliform/deposit.xml
[ -f "$deposit" ] || fail "$deposit fehlt."
send --user "afm:$KOP_AFM_PASSWORT" --header 'Content-Type: text/xml; charset=utf-8' --header 'SOAPAction: ""' \
    --data-binary "@$deposit" "$base/$tenant/${KOP_DEMO_AFM_PFAD:-deposit}" ||
    fail "Der Antrag über intelliForm wurde nicht angenommen."
echo

say "6. Auf die Zustellung warten (höchstens $wait_seconds Sekunden)"
# ids and states, one message a line: id, state
states() {
    run messages list --json | python3 -c '
import json, sys
for message in json.load(sys.stdin):
    print(message["id"], message["zustand"])'
}
deadline=$((SECONDS + wait_seconds))
while :; do
    list=$(states) || fail "kop messages list schlug fehl."
    open=$(grep --count --invert-match --extended-regexp ' (zugestellt|klaerungsfall|abgewiesen)$' <<<"$list" || true)
    if [ -n "$list" ] && [ "$open" -eq 0 ] && [ "$(wc -l <<<"$list")" -ge 2 ]; then break; fi
    [ "$SECONDS" -lt "$deadline" ] || { echo "$list"; fail "Nicht alles wurde rechtzeitig zugestellt."; }
    sleep 0.3
done
echo "$list"
if grep --quiet --invert-match ' zugestellt$' <<<"$list"; then bad=1; else bad=0; fi

say "7. Was geschah (kop messages show)"
while read -r id _; do run messages show "$id"; done <<<"$list"
[ "$bad" -eq 0 ] || fail "Nicht alle Nachrichten sind zugestellt."

say "8. Was ankam"
delivered=$(find "$instance" -path '*/ausgang/*' -type f | sort)
[ -n "$delivered" ] || fail "Im Ausgang liegt nichts."
sed "s|^$instance/||" <<<"$delivered"

say "9. Urteil: xmllint"
# namespace of a file's root element
namespace() { xmllint --nonet --xpath 'namespace-uri(/*)' "$1" 2>/dev/null; }
root_name() { xmllint --nonet --xpath 'local-name(/*)' "$1" 2>/dev/null; }
# Every schema below a folder whose target namespace fits and that declares the root element.
schemas_for() {
    local space=$1 root=$2 folder=$3
    grep --recursive --files-with-matches --fixed-strings --include='*.xsd' "targetNamespace=\"$space\"" "$folder" |
        sort | while read -r schema; do
            if grep --quiet --fixed-strings "element name=\"$root\"" "$schema"; then echo "$schema"; fi
        done
}
judge() { # judge LABEL FILE SCHEMA
    if xmllint --nonet --noout --schema "$3" "$2" 2>"$work/xmllint.log"; then
        echo "✓ $1: $(basename "$2")"
    else
        cat "$work/xmllint.log" >&2
        fail "$1: $(basename "$2") ist nicht gültig."
    fi
}
if [ -f "$shared/xoev/catalog.xml" ]; then
    export XML_CATALOG_FILES=$shared/xoev/catalog.xml
fi
judged=0
while read -r file; do
    case "$file" in *.xml) ;; *) continue ;; esac
    space=$(namespace "$file")
    [ -n "$space" ] || continue
    root=$(root_name "$file")
    profile=$(schemas_for "$space" "$root" xoev-schemas | head -n 1)
    if [ -n "$profile" ]; then judge "Profilschema" "$file" "$profile"; judged=$((judged + 1)); fi
    if [ -d "$shared/xoev" ]; then
        # The variant "xsd" is the published one; "xsd_dev" lies beside it in some packages.
        official=$(schemas_for "$space" "$root" "$shared/xoev" | grep --invert-match xsd_dev | head -n 1 || true)
        [ -n "$official" ] || fail "Kein offizielles Schema für $root gefunden."
        judge "offizielles Schema" "$file" "$official"
        judged=$((judged + 1))
    fi
done <<<"$delivered"
[ "$judged" -gt 0 ] || fail "Es gab kein XÖV-Dokument zu prüfen."
[ -d "$shared/xoev" ] || echo "(offizielle Schemata nicht vorhanden: nur gegen die Profilschemata geprüft)"

say "✓ Fertig: angenommen, umgesetzt, geprüft und zugestellt."
