#!/usr/bin/env bash
# dkimpy 1.1.8 (PyPI) refuses a DKIM key whose s= names two services.
#
# s= is a list with colons (RFC 6376, section 3.6.1), so "s=email:tlsrpt" is one key for mail and for the signed TLS
# reports of RFC 8460. dkimpy compares the whole value with "*", "email" and "tlsrpt": it takes none of them for it, has
# no key, and every message signed with that key fails. "s=*:email", which allows everything, fails in the same way.
# Seen: "s=email" passes; "s=email:tlsrpt" and "s=*:email" do not.
#
# For a mail operator: receivers behind dkimpy (its milter among them) treat such mail as unsigned, and DMARC may reject
# it. Publish "s=email" or no s= at all, and a second selector for reports.
#
# Fails when dkimpy no longer does this.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dkimpy==1.1.8 dnspython==2.9.2 cryptography==50.0.2

"$folder/venv/bin/python" - <<'PYTHON'
import base64
import sys

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
private = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
public = base64.b64encode(
    key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
message = b"From: ann@example.com\r\nTo: bob@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"
signed = dkim.sign(message, b"sel", b"example.com", private, include_headers=[b"From", b"Subject"]) + message


def verifies(service):
    record = f"v=DKIM1; k=rsa; s={service}; p={public}".encode()
    return dkim.verify(signed, dnsfunc=lambda name, timeout=5: record)


seen = {service: verifies(service) for service in ["email", "*", "email:tlsrpt", "*:email"]}
print("dkimpy", seen)
sys.exit(seen != {"email": True, "*": True, "email:tlsrpt": False, "*:email": False})
PYTHON
echo "as described"
