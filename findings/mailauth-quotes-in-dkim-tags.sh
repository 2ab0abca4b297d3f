#!/usr/bin/env bash
# mailauth 4.13.3 and 5.0.3 (npm) take an apostrophe, a quotation mark or a parenthesis in a DKIM tag for the start of a
# quotation or a comment, and lose every tag up to the end of it.
#
# A tag list has neither quotations nor comments (RFC 6376, section 3.2). "n=" (section 3.6.1) is free text for people, and
# "z=" (section 3.5; OpenDKIM writes it with "Diagnostics yes") holds a copy of the message's headers. A single one of
# these characters in them makes mailauth miss the tags that follow: "p=" of the key, "bh=" and "b=" of the signature.
# dkimpy 1.1.8 verifies the same messages with the same keys.
# Seen: with "n=Ann's key", n=5" disk and "n=key (old" there is no valid key. With z=, a message whose subject is "Ann's
# budget" has no valid body hash; "Budget" passes, and so does "Ann's budget" without z=. Version 7.1.0 passes them all, but
# needs Node 22: with Node 20 "npm install mailauth" gives 4.13.3.
#
# For a mail operator: receivers behind these take such mail for unsigned, all of it or only what has a certain subject,
# and DMARC may reject it. Publish keys without n= (or plain words before p=), and leave Diagnostics off.
#
# Needs Node. Fails when mailauth 4.13.3 no longer does this.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dkimpy==1.1.8 dnspython==2.9.2 cryptography==50.0.2
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" mailauth@4.13.3

"$folder/venv/bin/python" - >"$folder/messages.json" <<'PYTHON'
import base64
import hashlib
import json

import dkim
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
public = base64.b64encode(
    key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
body = "Hello.\r\n"


def signed(subject, copied):
    headers = f"From: ann@example.com\r\nSubject: {subject}\r\n"
    copies = f"z=From:ann@example.com|Subject:{subject.replace(' ', '=20')}; " if copied else ""
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    tags = f"v=1; a=rsa-sha256; c=simple/simple; d=example.com; s=sel; h=From:Subject; {copies}bh={digest}; b="
    signature = key.sign(f"{headers}DKIM-Signature: {tags}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"DKIM-Signature: {tags}{base64.b64encode(signature).decode()}\r\n{headers}\r\n{body}"


messages = []
for note, subject, copied in [
    ("n=a key; ", "Budget", False),
    ("n=Ann's key; ", "Budget", False),
    ('n=5" disk; ', "Budget", False),
    ("n=key (old; ", "Budget", False),
    ("", "Budget", True),
    ("", "Ann's budget", False),
    ("", "Ann's budget", True),
]:
    record, message = f"v=DKIM1; k=rsa; {note}p={public}", signed(subject, copied)
    passes = dkim.verify(message.encode(), dnsfunc=lambda name, timeout=5: record.encode())
    messages.append([note, subject, copied, record, message, passes])
print(json.dumps(messages))
PYTHON

cd "$folder"
node - <<'NODE'
const { dkimVerify } = require("mailauth/lib/dkim/verify");

(async () => {
  const seen = [];
  for (const [note, subject, copied, record, message, dkimpy] of require("./messages.json")) {
    const { results } = await dkimVerify(message, { resolver: async () => [[record]] });
    const mailauth = results[0].status;
    seen.push(`${dkimpy} ${mailauth.result}`);
    console.log(`${note}subject ${subject}${copied ? ", z=" : ""}: dkimpy ${dkimpy}, mailauth ${mailauth.result} ${mailauth.comment || ""}`);
  }
  const wanted = ["true pass", "true neutral", "true neutral", "true neutral", "true pass", "true pass", "true neutral"];
  process.exit(String(seen) === String(wanted) ? 0 : 1);
})();
NODE
echo "as described"
