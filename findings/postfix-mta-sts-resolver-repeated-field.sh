#!/usr/bin/env bash
# postfix-mta-sts-resolver 1.5.1 (PyPI) takes the last of a repeated field in an MTA-STS policy; the RFC wants the first.
#
# "If any non-repeated field -- that is, all fields excepting "mx" -- is duplicated, all entries except for the first
# SHALL be ignored" (RFC 8461, section 3.2). checkdmarc 6.0.4 does so. The resolver keeps the last value of a key, so
# that a policy with "mode: enforce" and a later "mode: none" is none for Postfix and enforced for others, and one whose
# second mode is no word of the RFC is no policy at all.
# Seen: "enforce" by checkdmarc; "none" and, with an unknown second mode, a fetch error by the resolver.
#
# For a mail operator: two files put together, or a template that appends its defaults, make senders disagree about the
# same policy. Serve each field once, and don't take one sender's TLS reports for all.
#
# Fails when one of them changes.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check checkdmarc==6.0.4 postfix-mta-sts-resolver==1.5.1

"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import logging
import sys

import postfix_mta_sts_resolver.resolver as postfix
from checkdmarc.mta_sts import parse_mta_sts_policy

logging.disable(logging.CRITICAL)


class Texts:
    """The TXT record at _mta-sts.example.com."""

    async def query(self, name, kind):
        return [type("Text", (), {"text": b"v=STSv1; id=1"})]


class Session:
    """The HTTPS server of the policy."""

    def __init__(self, **kwargs):
        self.status, self.headers, self.charset, self.content = 200, {"Content-Type": "text/plain"}, "utf-8", self
        self.body = policy.encode()

    def get(self, url, **kwargs):
        return self

    async def read(self, size):
        body, self.body = self.body, b""
        return body

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return False


postfix.aiohttp.ClientSession = Session


async def resolve():
    resolver = postfix.STSResolver(loop=asyncio.get_running_loop())
    resolver._resolver = Texts()
    result, found = await resolver.resolve("example.com")
    return found[1]["mode"] if found else result.name


seen = []
for second in ["none", "mandatory"]:
    policy = f"version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 604800\nmode: {second}\n"
    seen.append((parse_mta_sts_policy(policy)["policy"]["mode"], asyncio.run(resolve())))
print("checkdmarc, postfix-mta-sts-resolver:", seen)
sys.exit(seen != [("enforce", "none"), ("enforce", "FETCH_ERROR")])
PYTHON
echo "as described"
