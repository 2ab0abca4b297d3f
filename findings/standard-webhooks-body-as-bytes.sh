#!/usr/bin/env bash
# Standard Webhooks' own libraries sign different things when a body isn't UTF-8, as raw mail needn't be, and two of three
# refuse a rightly signed body that isn't JSON.
#
# What is signed is id, timestamp and the body as it is sent; any content type is allowed. Go (libraries v0.0.1) signs the
# bytes. JavaScript (standardwebhooks 1.1.1, npm) takes a Buffer and turns it into text first, by which each byte that isn't
# UTF-8 becomes U+FFFD, and signs that. Python (standardwebhooks 1.1.0, PyPI) can't decode it. After the signature is found
# good, JavaScript and Python parse the body as JSON, unless told not to (jsonParse, json_parse).
# Seen: a message with one byte of ISO 8859-1, signed by Go, is verified by Go; JavaScript says "No matching signature found",
# Python raises UnicodeDecodeError. The same message in ASCII is verified by Go; JavaScript raises SyntaxError and Python
# JSONDecodeError, none of them a WebhookVerificationError; with the parsing off both verify it.
#
# For a mail operator: don't post raw messages (message/rfc822) as such; put them into JSON as base64. A receiver that must
# take them should verify with code that hashes bytes, and not read every error but WebhookVerificationError as its own.
#
# Needs Node and Go. Fails when one of them changes.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . standardwebhooks@1.1.1
export GOPATH="$folder/go" GOFLAGS="-mod=mod -modcacherw"

cat >go.mod <<'MOD'
module finding

go 1.24

require github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	body, err := os.ReadFile(os.Args[1])
	check(err)
	webhook, err := webhooks.NewWebhook("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")
	check(err)
	now := time.Now()
	signature, err := webhook.Sign("msg_1", now, body)
	check(err)
	headers := http.Header{}
	headers.Set("webhook-id", "msg_1")
	headers.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
	headers.Set("webhook-signature", signature)
	check(webhook.Verify(body, headers))
	fmt.Println(now.Unix(), signature)
}
GO
cat >verify.js <<'JS'
const [, , file, timestamp, signature, parse] = process.argv;
const { Webhook } = require("standardwebhooks");
try {
  const headers = { "webhook-id": "msg_1", "webhook-timestamp": timestamp, "webhook-signature": signature };
  const webhook = new Webhook("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz");
  webhook.verify(require("fs").readFileSync(file), headers, { jsonParse: parse === "parse" });
  console.log("verified");
} catch (error) {
  console.log(error.name);
}
JS
cat >verify.py <<'PYTHON'
import sys

import standardwebhooks

file, timestamp, signature, parse = sys.argv[1:]
headers = {"webhook-id": "msg_1", "webhook-timestamp": timestamp, "webhook-signature": signature}
try:
    webhook = standardwebhooks.Webhook("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")
    webhook.verify(open(file, "rb").read(), headers, json_parse=parse == "parse")
    print("verified")
except Exception as error:
    print(type(error).__name__)
PYTHON
go build -o sign . 2>/dev/null

printf 'Subject: cafe\r\n\r\nHello.\r\n' >ascii
printf 'Subject: caf\351\r\n\r\nHello.\r\n' >latin
seen=""
for case in "ascii parse" "ascii no" "latin no"; do
  read -r file parse <<<"$case"
  # The Go library verifies here what it signed.
  read -r timestamp signature <<<"$(./sign "$file")"
  line="$case: JavaScript $(node verify.js "$file" "$timestamp" "$signature" "$parse"),"
  line="$line Python $(venv/bin/python verify.py "$file" "$timestamp" "$signature" "$parse")"
  echo "$line"
  seen="$seen$line;"
done
[ "$seen" = "ascii parse: JavaScript SyntaxError, Python JSONDecodeError;ascii no: JavaScript verified, Python verified;latin \
no: JavaScript WebhookVerificationError, Python UnicodeDecodeError;" ]
echo "as described"
