"""Judges DNS records by the libraries that mail operators use.

Reads one JSON object per line and answers each with one: {"judge": name, "text": record, …} with {"valid": bool, "why":
words} (for spf {"result": word}). Nothing is asked over the network: what the libraries would look up is given.
"""

import asyncio
import json
import logging
import sys

import checkdmarc.bimi
import checkdmarc.dmarc
import checkdmarc.mta_sts
import checkdmarc.smtp_tls_reporting
import dkim
import postfix_mta_sts_resolver.resolver as postfix
import spf

logging.disable(logging.CRITICAL)

# Whether other organizations take reports, and where logos are, is no question of the record's form.
checkdmarc.dmarc.verify_dmarc_report_destination = lambda *args, **kwargs: True
checkdmarc.dmarc.get_mx_records = lambda *args, **kwargs: ["mx"]


def no_network(*args, **kwargs):
    raise checkdmarc.bimi.requests.exceptions.ConnectionError("no network")


checkdmarc.bimi.requests.Session.get = no_network


def checkdmarc_dmarc(case):
    checkdmarc.dmarc.parse_dmarc_record(case["text"], "example.test")


def checkdmarc_mta_sts(case):
    checkdmarc.mta_sts.parse_mta_sts_record(case["text"])


def checkdmarc_policy(case):
    checkdmarc.mta_sts.parse_mta_sts_policy(case["text"])


def checkdmarc_tls_rpt(case):
    checkdmarc.smtp_tls_reporting.parse_smtp_tls_reporting_record(case["text"])


def checkdmarc_bimi(case):
    checkdmarc.bimi.parse_bimi_record(case["text"])


def dkimpy(case):
    key, _, _, _ = dkim.evaluate_pk("name", case["text"].encode("utf-8"))
    if key is None:
        raise ValueError("no key")


class Record:
    def __init__(self, text):
        self.text = text


class Texts:
    """The TXT records at _mta-sts of a domain."""

    def __init__(self, text):
        self.text = text

    async def query(self, name, kind):
        return [Record(self.text.encode("utf-8"))]


class Body:
    def __init__(self, data):
        self.data = data

    async def read(self, size):
        data, self.data = self.data[:size], self.data[size:]
        return data


class Session:
    """An HTTPS server that sends one policy."""

    policy = ""

    def __init__(self, **kwargs):
        self.status = 200
        self.headers = {"Content-Type": "text/plain"}
        self.charset = "utf-8"
        self.content = Body(Session.policy.encode("utf-8"))

    def get(self, url, **kwargs):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return False


postfix.aiohttp.ClientSession = Session
GOOD_RECORD = "v=STSv1; id=1"
GOOD_POLICY = "version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 86400\n"


def postfix_resolve(text, policy):
    async def resolve():
        resolver = postfix.STSResolver(loop=asyncio.get_running_loop())
        resolver._resolver = Texts(text)
        return await resolver.resolve("example.test")

    Session.policy = policy
    result, _ = asyncio.run(resolve())
    if result != postfix.STSFetchResult.VALID:
        raise ValueError(result.name)


def postfix_mta_sts(case):
    postfix_resolve(case["text"], GOOD_POLICY)


def postfix_policy(case):
    postfix_resolve(GOOD_RECORD, case["text"])


def pyspf(case):
    """The zone is {name: {type: [values]}}; MX values are [preference, host]."""

    def lookup(name, kind, *args, **kwargs):
        name = name.rstrip(".").lower()
        values = case["zone"].get(name, {}).get(kind, [])
        wrap = {"TXT": lambda v: (v.encode("utf-8"),), "MX": tuple}.get(kind, lambda v: v)
        return [((name, kind), wrap(value)) for value in values]

    spf.DNSLookup = lookup
    result, _ = spf.check2(case["ip"], "postmaster@example.test", "mail.host.test")
    return result


JUDGES = {
    "checkdmarc dmarc": checkdmarc_dmarc,
    "checkdmarc mta-sts": checkdmarc_mta_sts,
    "checkdmarc policy": checkdmarc_policy,
    "checkdmarc tls-rpt": checkdmarc_tls_rpt,
    "checkdmarc bimi": checkdmarc_bimi,
    "dkimpy dkim": dkimpy,
    "postfix mta-sts": postfix_mta_sts,
    "postfix policy": postfix_policy,
    "pyspf spf": pyspf,
}


def main():
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = {"valid": True, "why": "", "result": JUDGES[case["judge"]](case)}
        except Exception as error:
            answer = {"valid": False, "why": f"{type(error).__name__}: {error}", "result": None}
        print(json.dumps(answer), flush=True)


main()
