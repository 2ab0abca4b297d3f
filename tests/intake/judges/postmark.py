"""Reads a webhook of Postmark's inbound JSON on standard input, and prints what django-anymail makes of it."""

import base64
import json
import sys

import django
from django.conf import settings

settings.configure(DEBUG=True, SECRET_KEY="x", ANYMAIL={}, DEFAULT_CHARSET="utf-8", ALLOWED_HOSTS=["*"])
django.setup()

from anymail.webhooks.postmark import PostmarkInboundWebhookView  # noqa: E402

event = PostmarkInboundWebhookView().esp_to_anymail_event(json.load(sys.stdin))
mail = event.message


def content(part):
    return base64.b64encode(part.get_content_bytes()).decode()


print(json.dumps({
    "event_id": event.event_id,
    "from": str(mail.from_email),
    "to": [str(to) for to in mail.to],
    "cc": [str(cc) for cc in mail.cc],
    "subject": mail.subject,
    "text": (mail.text or "").strip(),
    "html": (mail.html or "").strip(),
    "date": mail.date.isoformat(),
    "message_id": mail["Message-ID"],
    "envelope_recipient": mail.envelope_recipient,
    "attachments": [[part.get_filename(), part.get_content_type(), content(part)] for part in mail.attachments],
    "inline": [[cid, part.get_content_type(), content(part)] for cid, part in mail.content_id_map.items()],
}))
