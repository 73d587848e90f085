#!/usr/bin/env bash
# SPDX-License-Identifier: EUPL-1.2
# Throws mutated input at everything that reads foreign schemas, lists, archives and messages; ends with an error when
# anything panics, runs out of memory or takes too long. On a stable compiler, without a sanitizer: the code is safe Rust,
# what could go wrong are panics, endless loops and memory.
#
#   FUZZ_SECONDS   seconds per target (600)
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-600}
folder=fuzz/corpus
mkdir -p "$folder"/{xml,genericode,xsd,zip,wsdl} fuzz/artifacts

# Seeds of our own; a corpus that grew in earlier runs stays.
cp xoev-schemas/xdomea-3.1.0/*.xsd xoev-schemas/xbau-hochbau-2.6/*.xsd "$folder/xsd/"
cp mappings/vorgang-xdomea-ablegen/tests/ozg-cloud-gewerbe/erwartet.xml "$folder/xml/"
cat >"$folder/genericode/liste" <<'XML'
<gc:CodeList xmlns:gc="http://docs.oasis-open.org/codelist/ns/genericode/1.0/"><Identification><ShortName>l</ShortName>
<Version>1</Version><CanonicalUri>urn:x:l</CanonicalUri><CanonicalVersionUri>urn:x:l_1</CanonicalVersionUri></Identification>
<ColumnSet><Column Id="code" Use="required"><ShortName>code</ShortName><Data Type="string"/></Column>
<Key Id="k"><ShortName>k</ShortName><ColumnRef Ref="code"/></Key></ColumnSet>
<SimpleCodeList><Row><Value ColumnRef="code"><SimpleValue>01</SimpleValue></Value></Row></SimpleCodeList></gc:CodeList>
XML
cat >"$folder/wsdl/dienst" <<'XML'
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:o="urn:o" xmlns:t="urn:t" name="Probe-A2B"><documentation>
<t:categories><t:category>Amt</t:category></t:categories><![CDATA[<p>Der Präfix lautet "<b>amt</b>". Zulässige Dienstnutzer
sind Organisationen "<b>Portal</b>".</p>]]></documentation><import namespace="urn:x"/><types><schema><complexType name="v">
<choice><element name="a.0001"/><element ref="x:b.0002"/></choice></complexType></schema></types><message name="m">
<part name="p" type="t:v"/></message><portType name="i"><operation name="s"><input message="t:m"/><output message="t:m"/>
</operation></portType><binding name="b"><operation name="s"><o:operation communicationType="one-way-active"/><input>
<o:container signatureLevel="advanced" required="true"/></input></operation></binding></definitions>
XML
python3 - "$folder/zip/paket" <<'PY'
import glob, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as archive:
    for name in glob.glob("xoev-schemas/xbau-hochbau-2.6/*.xsd"):
        archive.write(name, "xsd/" + name.rsplit("/", 1)[1])
PY

# What cargo-fuzz passes, as flags that the stable compiler takes.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
target=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
cargo build --locked --release --manifest-path fuzz/Cargo.toml --target-dir "$target" --target "$(rustc -vV | sed -n 's/^host: //p')"
for name in xml genericode xsd zip wsdl; do
    echo "== Fuzz $name, $seconds s"
    binary=$(find "$target" -path '*/release/*' -maxdepth 3 -type f -name "$name" | head -n 1)
    log=$(mktemp)
    # On a memory file system: the store forces its files to the disk, which is not what is tested here.
    if ! TMPDIR=$([ -d /dev/shm ] && echo /dev/shm || echo /tmp) "$binary" "$folder/$name" -max_total_time="$seconds" \
        -timeout=20 -rss_limit_mb=2048 -max_len=65536 -artifact_prefix="fuzz/artifacts/$name-" -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "Gefunden: fuzz/artifacts/$name-*" >&2
        exit 1
    fi
    grep -E 'stat::number_of_executed_units|stat::peak_rss' "$log"
    rm -f "$log"
done
