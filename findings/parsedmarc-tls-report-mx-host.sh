#!/usr/bin/env bash
# parsedmarc 11.1.0 (PyPI) loses the MX hosts of a TLS report: it looks for them under "mx-host-pattern", a name that no
# report has.
#
# In the report format the key is "mx-host"; "mx-host-pattern" is only what its value is called there (RFC 8460, section 4.4),
# and Google writes "mx-host".
# Seen: of a report with "mx-host" parsedmarc's result has no MX hosts, and its CSV an empty column, without a warning. With
# the key renamed to "mx-host-pattern" both have them.
#
# For a mail operator: the field mx_host_patterns of parsedmarc's outputs, and every panel or alarm over it, is empty for all
# senders, so it can't show which of them still hold an old MTA-STS policy. The lines "mx:" in policy_strings can.
#
# Fails when parsedmarc no longer does this.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check parsedmarc==11.1.0

"$folder/venv/bin/python" - <<'PYTHON'
import csv
import io
import json
import sys

import parsedmarc


def report(key):
    policies = []
    for host, count in [("mx.example.com", 5), ("old.example.com", 7)]:
        policy = ["version: STSv1", "mode: enforce", f"mx: {host}", "max_age: 604800"]
        policies.append({
            "policy": {"policy-type": "sts", "policy-domain": "example.com", "policy-string": policy, key: [host]},
            "summary": {"total-successful-session-count": count, "total-failure-session-count": 0},
        })
    return json.dumps({
        "organization-name": "Example",
        "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"},
        "contact-info": "tls-reports@example.org",
        "report-id": "2026-01-01-example.com",
        "policies": policies,
    })


seen = {}
for key in ["mx-host", "mx-host-pattern"]:
    parsed = parsedmarc.parse_smtp_tls_report_json(report(key))
    rows = csv.DictReader(io.StringIO(parsedmarc.parsed_smtp_tls_reports_to_csv(parsed)))
    seen[key] = [policy.get("mx_host_patterns") for policy in parsed["policies"]], [row["mx_host_patterns"] for row in rows]
    print(key, *seen[key])
sys.exit(seen != {
    "mx-host": ([None, None], ["", ""]),
    "mx-host-pattern": ([["mx.example.com"], ["old.example.com"]], ["mx.example.com", "old.example.com"]),
})
PYTHON
echo "as described"
