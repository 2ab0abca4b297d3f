//! Reading a message: what a task or a note needs of it.
//!
//! Text is every text part that is neither an attachment nor named (but the first), joined. HTML goes along, and as
//! text. Every other part with bytes is a file. A message inside the message is one file, and nothing of it becomes
//! ours. Mail that can't be read to its end gives what is known, and goes along as a file.

mod entity;
mod parameters;
mod text;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};

use entity::{Entity, MOST_DEPTH, MOST_PARTS};
use parameters::Value;

/// The longest text and HTML, in bytes. What is longer is cut, and goes along as a file.
const MOST_TEXT: usize = 1024 * 1024;

/// A message, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// All header fields in order: name, and value decoded.
    pub headers: Vec<(String, String)>,
    /// The subject.
    pub subject: String,
    /// `From`
    pub from: Vec<Person>,
    /// `To`
    pub to: Vec<Person>,
    /// `Cc`
    pub cc: Vec<Person>,
    /// `Bcc`
    pub bcc: Vec<Person>,
    /// `Date`, in seconds since 1970; `None` when it can't be read.
    pub date: Option<i64>,
    /// The text.
    pub text: String,
    /// The HTML; `None` when no part is HTML.
    pub html: Option<String>,
    /// The text without what it quotes at its end; empty when it quotes nothing.
    pub reply: String,
    /// The files.
    pub files: Vec<File>,
    /// Why not everything was read.
    pub incomplete: Option<String>,
}

/// Somebody with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name; may be empty.
    pub name: String,
    /// The address.
    pub email: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, without folders.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// Its Content-ID without brackets, for HTML that shows it.
    pub content_id: Option<String>,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Mail {
    /// The first field with a name; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Address of the sender, or the raw field when it can't be read.
    pub fn sender(&self) -> &str {
        self.from.first().map_or_else(|| self.header("from"), |person| person.email.as_str())
    }
}

/// Reads a message.
pub fn read(raw: &[u8]) -> Mail {
    let read = catch_unwind(AssertUnwindSafe(|| Reader::default().read(raw)));
    read.unwrap_or_else(|_| {
        let why = "it could not be read; it is attached as it came".to_owned();
        Mail { files: vec![whole(raw)], incomplete: Some(why), ..Mail::default() }
    })
}

/// Reads the header alone, of a message that is too large to fetch.
pub fn read_header(raw: &[u8]) -> Mail {
    let read = catch_unwind(AssertUnwindSafe(|| fields(&Entity::read(raw))));
    read.unwrap_or_default()
}

/// The message itself as a file.
fn whole(raw: &[u8]) -> File {
    File {
        name: "message.eml".to_owned(),
        content_type: "message/rfc822".to_owned(),
        content_id: None,
        content: raw.to_vec(),
    }
}

/// The fields of the header.
fn fields(message: &Entity<'_>) -> Mail {
    let people = |name: &str| {
        let of = message.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        of.flat_map(|field| words::addresses(&field.value)).collect()
    };
    let text = |name: &str| message.field(name).map(|field| words::decode(&field.value)).unwrap_or_default();
    Mail {
        headers: message.fields.iter().map(|field| (field.name.to_owned(), words::decode(&field.value))).collect(),
        subject: text("subject"),
        from: people("from"),
        to: people("to"),
        cc: people("cc"),
        bcc: people("bcc"),
        date: message.field("date").and_then(|field| words::date(&field.value)),
        ..Mail::default()
    }
}

/// A text part, or the alternatives of one.
#[derive(Default)]
struct Piece {
    text: String,
    html: Option<String>,
}

#[derive(Default)]
struct Reader {
    files: Vec<File>,
    parts: usize,
    has_text: bool,
    incomplete: Option<String>,
}

impl Reader {
    fn read(mut self, raw: &[u8]) -> Mail {
        let message = Entity::read(raw);
        let mut mail = fields(&message);
        let pieces = self.part(&message, 0);
        let texts = pieces.iter().map(|piece| piece.text.trim_matches('\n')).filter(|text| !text.trim().is_empty());
        mail.text = texts.collect::<Vec<_>>().join("\n\n");
        if pieces.iter().any(|piece| piece.html.is_some()) {
            let html = |piece: &Piece| piece.html.clone().unwrap_or_else(|| escaped(&piece.text));
            mail.html = Some(pieces.iter().map(html).collect::<Vec<_>>().join("\n"));
        }
        let is_cut = cut(&mut mail.text) | mail.html.as_mut().is_some_and(cut);
        if is_cut {
            self.incomplete.get_or_insert_with(|| "its text is very long; it is attached as it came".to_owned());
        }
        mail.reply = text::without_quote(&mail.text);
        if self.incomplete.is_some() {
            self.files.push(whole(raw));
        }
        mail.files = self.files;
        mail.incomplete = self.incomplete;
        mail
    }

    /// Reads a part and those inside it.
    fn part(&mut self, part: &Entity<'_>, depth: usize) -> Vec<Piece> {
        self.parts += 1;
        if depth > MOST_DEPTH || self.parts > MOST_PARTS {
            self.incomplete.get_or_insert_with(|| "it has too many parts; it is attached as it came".to_owned());
            return Vec::new();
        }
        let kind = part.content_type();
        let disposition = part.disposition();
        if kind.word.starts_with("multipart/") && disposition.word != "attachment" {
            return self.multipart(part, &kind, depth);
        }
        let name = disposition.parameter("filename").or_else(|| kind.parameter("name"));
        let is_text = self.is_text(&kind, &disposition, name);
        let body = text::decoded(part.body, &part.transfer_encoding());
        if is_text {
            self.has_text = true;
            return vec![piece(&kind, &body)];
        }
        if !body.is_empty() {
            self.file(part, &kind, name, body.into_owned());
        }
        Vec::new()
    }

    fn is_text(&self, kind: &Value, disposition: &Value, name: Option<&str>) -> bool {
        let is_data = ["text/calendar", "text/csv", "text/vcard", "text/x-vcard"].contains(&kind.word.as_str());
        let is_named = name.is_some_and(|name| !name.trim().is_empty());
        kind.word.starts_with("text/") && disposition.word != "attachment" && !is_data && !(is_named && self.has_text)
    }

    fn multipart(&mut self, part: &Entity<'_>, kind: &Value, depth: usize) -> Vec<Piece> {
        let inside =
            kind.parameter("boundary").map(|boundary| entity::between(part.body, boundary)).unwrap_or_default();
        if inside.is_empty() {
            if part.body.trim_ascii().is_empty() {
                return Vec::new();
            }
            self.incomplete.get_or_insert_with(|| "its parts could not be found; it is attached as it came".to_owned());
            self.has_text = true;
            return vec![piece(&Value::of("text/plain"), part.body)];
        }
        let mut all = Vec::new();
        for bytes in inside {
            all.push(self.part(&Entity::read(bytes), depth + 1));
            if self.parts > MOST_PARTS {
                break;
            }
        }
        if kind.word == "multipart/alternative" { alternative(&all) } else { all.into_iter().flatten().collect() }
    }

    fn file(&mut self, part: &Entity<'_>, kind: &Value, name: Option<&str>, content: Vec<u8>) {
        let name = match name.map(base_name).filter(|name| !name.is_empty()) {
            Some(name) => name,
            None if kind.word == "message/rfc822" => message_name(&content),
            None => format!("attachment-{}{}", self.files.len() + 1, extension(&kind.word)),
        };
        let content_id = part.field("content-id").map(|field| words::decode(&field.value));
        let content_id = content_id.map(|id| id.trim_matches(['<', '>', ' ']).to_owned()).filter(|id| !id.is_empty());
        self.files.push(File { name, content_type: kind.word.clone(), content_id, content });
    }
}

fn piece(kind: &Value, body: &[u8]) -> Piece {
    let decoded = words::in_charset(body, kind.parameter("charset").unwrap_or_default());
    if kind.word == "text/html" {
        return Piece { text: text::from_html(&decoded), html: Some(decoded) };
    }
    let plain = text::plain(&decoded);
    let is = |name: &str, value: &str| kind.parameter(name).is_some_and(|known| known.eq_ignore_ascii_case(value));
    let text = if is("format", "flowed") { text::unflowed(&plain, is("delsp", "yes")) } else { plain };
    Piece { text, html: None }
}

/// Of the forms of one text: the plain one as text, the HTML one as HTML.
fn alternative(forms: &[Vec<Piece>]) -> Vec<Piece> {
    let is_html = |form: &&Vec<Piece>| form.iter().any(|piece| piece.html.is_some());
    let has_text = |form: &&Vec<Piece>| form.iter().any(|piece| !piece.text.trim().is_empty());
    let plain = forms.iter().find(|form| !is_html(form) && has_text(form));
    let html = forms.iter().rev().find(is_html);
    let joined = |form: &Vec<Piece>| form.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join("\n\n");
    let Some(text) = plain.or(html).map(joined) else { return Vec::new() };
    let html = html.map(|form| form.iter().filter_map(|piece| piece.html.clone()).collect::<Vec<_>>().join("\n"));
    vec![Piece { text, html }]
}

fn escaped(text: &str) -> String {
    format!("<pre>{}</pre>", text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// Cuts a text to the limit; whether there was something to cut.
fn cut(text: &mut String) -> bool {
    let is_long = text.len() > MOST_TEXT;
    if is_long {
        text.truncate(text.floor_char_boundary(MOST_TEXT));
    }
    is_long
}

/// The last part of a path, of at most 200 characters.
fn base_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    last.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A message inside the message is named by its subject.
fn message_name(content: &[u8]) -> String {
    let subject = Entity::read(content).field("subject").map(|field| words::decode(&field.value)).unwrap_or_default();
    let name: String = subject.chars().map(|c| if "/\\:*?\"<>|".contains(c) { '_' } else { c }).take(120).collect();
    if name.trim().is_empty() { "message.eml".to_owned() } else { format!("{}.eml", name.trim()) }
}

fn extension(kind: &str) -> &'static str {
    match kind {
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "image/gif" => ".gif",
        "application/pdf" => ".pdf",
        "text/calendar" => ".ics",
        "text/csv" => ".csv",
        "text/vcard" | "text/x-vcard" => ".vcf",
        "message/delivery-status" | "text/rfc822-headers" => ".txt",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
