#!/usr/bin/env bash
# go-msgauth 0.7.0 (Go, package authres) can't read the Authentication-Results of OpenDKIM 2.11.0~beta2 (Debian 12).
#
# OpenDKIM writes what DNSSEC says of the key into a comment, "(1024-bit key; unprotected)". A comment may hold semicolons
# (RFC 8601, section 2.2, with RFC 5322, section 3.2.2). go-msgauth cuts the header at every semicolon, those in comments
# too: it gives an error, a DKIM result without its domain, and nothing of what follows it. authres 1.2.0 (PyPI) reads it.
# Seen: OpenDKIM verifies a signed message and writes "mx.example.org; dkim=pass (1024-bit key; unprotected)
# header.d=example.com …". authres reads pass and example.com; go-msgauth "malformed authentication method and value", pass
# and no domain. Without "; unprotected" both read pass and example.com.
#
# For a mail operator: a program in Go that sorts or trusts mail by the results of a server with OpenDKIM knows no domain for
# any message that passed, and where it drops what gave an error, no result at all. An unreadable header is "unknown", not
# "failed"; and where there is a choice, let a filter write it that has no semicolons in comments.
#
# Needs apt of Debian 12 and Go. Fails when one of them changes.
set -euo pipefail

folder="$(mktemp -d)"
trap '[ -z "${milter:-}" ] || kill "$milter"; rm -rf "$folder"' EXIT
cd "$folder"
apt-get download {opendkim,libopendkim11,libvbr2,librbl1}=2.11.0~beta2-8+deb12u1 libmilter1.0.1 libopendbx1 liblua5.3-0 \
  libmemcached11 libhashkit2 libunbound8 libldap-2.5-0 libsasl2-2 libevent-2.1-7 libbsd0 libmd0 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check authres==1.2.0 dkimpy==1.1.8 dnspython==2.9.2 cryptography==50.0.2

# A signed message, and its key in the configuration of OpenDKIM's resolver.
venv/bin/python - <<'PYTHON'
import base64
import os

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# No longer, so that the record is one string.
key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
private = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
public = base64.b64encode(
    key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
message = b"From: ann@example.com\r\nSubject: hello\r\n\r\nHello.\r\n"
with open("message", "wb") as file:
    file.write(dkim.sign(message, b"sel", b"example.com", private, include_headers=[b"From", b"Subject"]) + message)
with open("resolver.conf", "w") as file:
    file.write(f"server:\n  local-data: 'sel._domainkey.example.com. TXT \"v=DKIM1; k=rsa; p={public}\"'\n")
with open("opendkim.conf", "w") as file:
    file.write(
        "Mode v\nAuthservID mx.example.org\nAlwaysAddARHeader yes\n"
        f"Socket local:{os.getcwd()}/socket\nResolverConfiguration {os.getcwd()}/resolver.conf\n"
    )
PYTHON
LD_LIBRARY_PATH="root/usr/lib/$(uname -m)-linux-gnu:root/usr/lib" root/usr/sbin/opendkim -f -x opendkim.conf &
milter=$!
for _ in $(seq 50); do
  [ -S socket ] && break
  sleep 0.1
done

# What a mail server says to a milter, and the header that comes back.
venv/bin/python - <<'PYTHON'
import socket
import struct

milter = socket.socket(socket.AF_UNIX)
milter.settimeout(30)
milter.connect("socket")
stream = milter.makefile("rb")


def say(command, data=b"", last=b"cadrtO"):
    milter.sendall(struct.pack("!I", len(data) + 1) + command + data)
    answers = []
    while not answers or answers[-1][:1] not in last:
        (size,) = struct.unpack("!I", stream.read(4))
        answers.append(stream.read(size))
    return answers


with open("message", newline="") as file:
    head, body = file.read().split("\r\n\r\n")
say(b"O", struct.pack("!III", 6, 0x1FF, 0))
say(b"C", b"mx.example.com\0" + b"4" + struct.pack("!H", 25) + b"192.0.2.1\0")
say(b"H", b"mx.example.com\0")
say(b"M", b"<ann@example.com>\0")
say(b"R", b"<bob@example.org>\0")
for field in head.replace("\r\n ", "\n ").split("\r\n"):
    name, value = field.split(":", 1)
    say(b"L", f"{name}\0{value.removeprefix(' ')}\0".encode())
say(b"N")
say(b"B", body.encode())
for answer in say(b"E"):
    if b"Authentication-Results" in answer:
        written = answer.rstrip(b"\0").split(b"\0")[-1].decode()
with open("header", "w") as file:
    file.write(" ".join(written.split()))
PYTHON
echo "OpenDKIM wrote: $(cat header)"
grep -q 'dkim=pass (1024-bit key; unprotected) header.d=example.com ' header
sed 's/; unprotected)/)/' header >plain

export GOPATH="$folder/go" GOFLAGS="-mod=mod -modcacherw"
cat >go.mod <<'MOD'
module finding

go 1.24

require github.com/emersion/go-msgauth v0.7.0
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/emersion/go-msgauth/authres"
)

func main() {
	header, _ := os.ReadFile(os.Args[1])
	_, results, err := authres.Parse(string(header))
	for _, result := range results {
		if dkim, ok := result.(*authres.DKIMResult); ok {
			fmt.Printf("%s %q, ", dkim.Value, dkim.Domain)
		}
	}
	fmt.Println("error:", err)
}
GO
go build -o read . 2>/dev/null
for file in plain header; do
  ./read "$file" >"$file.go"
  venv/bin/python -c '
import authres, sys
dkim, *_ = authres.AuthenticationResultsHeader.parse("Authentication-Results: " + open(sys.argv[1]).read()).results
print(dkim.result, dkim.header_d)' "$file" >"$file.authres"
  echo "$file: authres $(cat "$file.authres"); go-msgauth $(cat "$file.go")"
done
[ "$(cat plain.authres header.authres)" = "$(printf 'pass example.com\npass example.com')" ]
[ "$(cat plain.go)" = 'pass "example.com", error: <nil>' ]
[ "$(cat header.go)" = 'pass "", error: msgauth: malformed authentication method and value' ]
echo "as described"
