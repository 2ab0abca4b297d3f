#!/usr/bin/env bash
# Radicale 3.9.0 (PyPI, with vobject 0.9.9) cuts a URI at its first comma and puts a backslash before its semicolons, in all
# properties it doesn't know, and answers the PUT with an ETag as if it had stored what it was given.
#
# A property with VALUE=URI holds a URI as it is, and commas and semicolons belong to it (RFC 5545, section 3.3.13). LINK
# (RFC 9253), CONFERENCE and IMAGE (RFC 7986) and X- properties are of that kind. A server that stores anything else than it
# was given must not answer with a strong ETag (RFC 4791, section 5.3.4).
# Seen: a task with "https://example.com/inbox;uid=1,2" in URL, ATTACH, LINK, CONFERENCE and X-MAIL. URL and ATTACH come back
# as they were, the others as "https://example.com/inbox\;uid=1". "geo:52.5,13.4" of X-APPLE-STRUCTURED-LOCATION comes back
# without its longitude. The PUT's ETag is the GET's. icalendar 7.3.2 reads the task that was sent with all of it.
#
# For a mail operator: links of tasks to their mails break without a word, and a client that trusts the ETag shows them whole
# until it syncs anew. Put such links into URL or ATTACH, or write %2C and %3B in them.
#
# Fails when Radicale no longer does this.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check radicale==3.9.0 vobject==0.9.9 icalendar==7.3.2

cd "$folder"
venv/bin/python - <<'PYTHON'
import base64
import io
import logging
import sys

import icalendar
from radicale import Application, config

logging.disable(logging.CRITICAL)
settings = config.load()
settings.update(
    {
        "auth": {"type": "none"},
        "storage": {"filesystem_folder": "calendars"},
    },
    "finding",
    privileged=True,
)
server = Application(settings)


def ask(method, path, body=""):
    """A request to Radicale as its WSGI server makes it."""
    answer = {}
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "5232",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "text/calendar",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": "Basic " + base64.b64encode(b"ann:secret").decode(),
        "wsgi.input": io.BytesIO(body.encode()),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    text = b"".join(server(environ, lambda status, headers: answer.update(status=status, **dict(headers)))).decode()
    return answer["status"], answer.get("ETag"), text


link = "https://example.com/inbox;uid=1,2"
sent = {
    "URL": link,
    "ATTACH": link,
    "LINK;VALUE=URI;LINKREL=alternate": link,
    "CONFERENCE;VALUE=URI": link,
    "X-MAIL;VALUE=URI": link,
    "X-APPLE-STRUCTURED-LOCATION;VALUE=URI": "geo:52.5,13.4",
}
lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example.com//finding//EN", "BEGIN:VTODO", "UID:1"]
lines += ["DTSTAMP:20260101T000000Z", "SUMMARY:Answer"] + [f"{name}:{value}" for name, value in sent.items()]
task = "".join(f"{line}\r\n" for line in [*lines, "END:VTODO", "END:VCALENDAR"])
(todo,) = icalendar.Calendar.from_ical(task).walk("VTODO")
read = {name.split(";")[0]: str(todo[name.split(";")[0]]) for name in sent}

ask("MKCALENDAR", "/ann/tasks/")
put, put_tag, _ = ask("PUT", "/ann/tasks/1.ics", task)
got, got_tag, text = ask("GET", "/ann/tasks/1.ics")
back = {}
for line in text.replace("\r\n ", "").split("\r\n"):
    names, _, value = line.partition(":")
    if names.split(";")[0] in read:
        back[names.split(";")[0]] = value
for name, value in read.items():
    print(f"{name}: icalendar {value}, Radicale {back[name]}")
print("PUT", put, "GET", got, "the same ETag" if put_tag == got_tag else "another ETag")
cut = "https://example.com/inbox\\;uid=1"
sys.exit(
    list(read.values()) != list(sent.values())
    or list(back[name] for name in read) != [link, link, cut, cut, cut, "geo:52.5"]
    or put != "201 Created"
    or put_tag is None
    or put_tag.startswith("W/")
    or put_tag != got_tag
)
PYTHON
echo "as described"
