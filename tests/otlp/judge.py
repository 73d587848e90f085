# SPDX-License-Identifier: EUPL-1.2
"""Judges bodies of OTLP/HTTP requests in JSON by the official messages: one line per problem, none when all is well.

Protobuf's reader knows the standard mapping; where OTLP deviates from it (ids in hexadecimal digits, enums only as
numbers, no original field names) this script looks itself, and hands the ids on as the reader wants them.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def prepare(value, problems):
    if isinstance(value, list):
        return [prepare(item, problems) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        if "_" in key:
            problems.append(f"{key}: not lowerCamelCase")
        if key in IDS:
            try:
                raw = bytes.fromhex(item)
            except ValueError:
                raw = b""
            if len(raw) != IDS[key] or not any(raw):
                problems.append(f"{key}: {item!r}")
            out[key] = base64.b64encode(raw).decode()
            continue
        if key in ("kind", "code") and not isinstance(item, int):
            problems.append(f"{key}: {item!r} is no number")
        out[key] = prepare(item, problems)
    return out


def judge(text):
    problems = []
    try:
        message = ExportTraceServiceRequest()
        json_format.Parse(json.dumps(prepare(json.loads(text), problems)), message, ignore_unknown_fields=False)
    except (json_format.ParseError, ValueError) as error:
        return problems + [" ".join(str(error).split())]
    spans = [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]
    if not spans:
        problems.append("no span")
    for span in spans:
        if not (span.name and span.trace_id and span.span_id and span.kind):
            problems.append(f"{span.name!r}: incomplete")
        if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
            problems.append(f"{span.name!r}: times")
    return problems


for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        for problem in judge(file.read()):
            print(f"{path}\t{problem}")
