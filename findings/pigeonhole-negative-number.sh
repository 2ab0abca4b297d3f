#!/usr/bin/env bash
# Pigeonhole 0.5.19 (Debian 12): a negative number is greater than every other one, so that "spam score at least 5" takes the
# best mail for spam.
#
# The comparator i;ascii-numeric knows digits only. A value that doesn't begin with one, "-2.5" among them, is positive
# infinity (RFC 4790, section 9.1.1); of "5.9" it reads "5". Filters such as amavisd write scores below zero for good mail.
# Nothing warns: the script compiles, and with a test message of 2.5 and one of 12 it does what it should.
# Seen: header :value "ge" :comparator "i;ascii-numeric" "X-Spam-Score" "5" is false for 0 and 2.5, true for 5.9 and 12, and
# true for -2.5 and for "unknown". With a second test, not header :matches "X-Spam-Score" "-*", it is false for -2.5.
#
# For a mail operator: a rule that compares a score in Sieve needs a second test that the value has no "-" in front (and one
# for words); better is a rule by X-Spam-Flag, or by spamtest, whose numbers are never negative.
#
# Needs apt of Debian 12. Fails when Pigeonhole no longer does this.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download {dovecot-core,dovecot-sieve}=1:2.3.19.1+dfsg1-2.1+deb12u7 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
cat >dovecot.conf <<CONF
mail_location = maildir:$folder/mail
base_dir = $folder/run
state_dir = $folder/run
ssl = no
mail_plugin_dir = $folder/root/usr/lib/dovecot/modules
plugin {
  sieve_plugin_dir = $folder/root/usr/lib/dovecot/modules/sieve
}
CONF
cat >plain.sieve <<'SIEVE'
require ["fileinto", "relational", "comparator-i;ascii-numeric"];
if header :value "ge" :comparator "i;ascii-numeric" "X-Spam-Score" "5" {
  fileinto "Junk";
}
SIEVE
cat >guarded.sieve <<'SIEVE'
require ["fileinto", "relational", "comparator-i;ascii-numeric"];
if allof (
  not header :matches "X-Spam-Score" "-*",
  header :value "ge" :comparator "i;ascii-numeric" "X-Spam-Score" "5"
) {
  fileinto "Junk";
}
SIEVE

# sieve-test refuses root.
as=()
if [ "$(id -u)" = 0 ]; then
  chmod 755 "$folder"
  chown -R 65534:65534 "$folder"
  as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi
lib="$folder/root/usr/lib/dovecot"
seen=""
for case in "plain 0" "plain 2.5" "plain 5.9" "plain 12" "plain -2.5" "plain unknown" "guarded -2.5" "guarded 12"; do
  read -r script score <<<"$case"
  printf 'From: ann@example.com\r\nX-Spam-Score: %s\r\nSubject: hello\r\n\r\nHello.\r\n' "$score" >message
  into="$("${as[@]}" env HOME="$folder" LD_LIBRARY_PATH="$lib:$lib/sieve" \
    root/usr/bin/sieve-test -c dovecot.conf "$script.sieve" message 2>/dev/null | sed -n 's/.*store message in folder: //p')"
  echo "$case: $into"
  seen="$seen $into"
done
[ "$seen" = " INBOX INBOX Junk Junk Junk Junk INBOX Junk" ]
echo "as described"
