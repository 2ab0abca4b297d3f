#!/usr/bin/env bash
# Dovecot 2.3.19.1 (Debian 12, Maildir): the GUID of a message that was moved back to an earlier folder is only in the
# file dovecot-uidlist.
#
# A GUID (IMAP: FETCH X-GUID; RFC 8474 has EMAILID for this) is meant to stay with a message. With Maildir it is the
# message's file name, and MOVE keeps the name. A folder does not use the same name twice, though: a message that comes
# back gets another file name, and dovecot-uidlist keeps the old GUID beside it. If that file is lost, the GUID becomes
# the new file name. A message that was moved only away keeps its GUID without the file.
# Seen: moved away and back, the GUID is the same; after dovecot-uidlist of that folder is removed, it is another.
#
# For a mail operator: removing dovecot-uidlist to repair a folder, and backups of Maildir that leave out dovecot*, change
# the GUIDs of such messages. Programs that recognise messages by GUID then take them for new ones. Back up the file, and
# repair folders with doveadm force-resync.
#
# Needs apt of Debian 12. Fails when Dovecot no longer does this.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download dovecot-core=1:2.3.19.1+dfsg1-2.1+deb12u7 >/dev/null 2>&1
dpkg-deb -x dovecot-core_*.deb root
mkdir mail
cat > dovecot.conf <<CONF
mail_location = maildir:$folder/mail
first_valid_uid = 1
base_dir = $folder/run
state_dir = $folder/run
log_path = /dev/stderr
ssl = no
namespace inbox {
  inbox = yes
}
CONF

# Dovecot opens no mail as root.
as=()
if [ "$(id -u)" = 0 ]; then
  chmod 755 "$folder"
  chown -R 65534:65534 "$folder"
  as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi
doveadm() {
  "${as[@]}" env HOME="$folder" USER=nobody LD_LIBRARY_PATH="$folder/root/usr/lib/dovecot" \
    "$folder/root/usr/bin/doveadm" -c "$folder/dovecot.conf" "$@"
}
guid() { doveadm fetch guid mailbox "$1" all | sed -n 's/^guid: //p'; }
lose_uidlist() {
  rm "mail/.$1/dovecot-uidlist"
  # Dovecot sees the change by a later time.
  sleep 2
}

doveadm mailbox create Queue
doveadm mailbox create Failed
printf 'Subject: one\r\n\r\nHello.\r\n' | doveadm save -m Queue
first="$(guid Queue)"
doveadm move Failed mailbox Queue all
lose_uidlist Failed
away="$(guid Failed)"
doveadm move Queue mailbox Failed all
back="$(guid Queue)"
lose_uidlist Queue
lost="$(guid Queue)"

same() { [ "$1" = "$first" ] && echo same || echo other; }
echo "moved away, uidlist lost: $(same "$away"); moved back: $(same "$back"); then uidlist lost: $(same "$lost")"
[ -n "$first" ] && [ "$away" = "$first" ] && [ "$back" = "$first" ] && [ -n "$lost" ] && [ "$lost" != "$first" ]
echo "as described"
