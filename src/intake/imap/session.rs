//! A session with a server. Each command has a time limit, and each answer is judged by what it holds, not by its OK.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imap_codec::fragmentizer::{FragmentInfo, Fragmentizer};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;
use super::connection::{Endpoint, Stream};
use super::wire::{self, Body, Code, Condition, Fetched, FolderStatus, Kind, Line};
use crate::intake::queue::ImapTls;

/// The largest response, in bytes: a whole message and some more.
const MOST_RESPONSE: u32 = 64 * 1024 * 1024;
/// Bytes to read at once. More only while a message is fetched.
const CHUNK: usize = 8 * 1024;
const LARGE_CHUNK: usize = 64 * 1024;
/// How much of a header is read to decide about a message, in bytes.
const MOST_HEADER: u32 = 32 * 1024;
/// The header fields that decide.
const FIELDS: &str = "FROM RETURN-PATH AUTO-SUBMITTED MESSAGE-ID IN-REPLY-TO REFERENCES";

/// A session after the login.
pub struct Session {
    stream: Box<dyn Stream>,
    fragmentizer: Fragmentizer,
    chunk: Vec<u8>,
    tag: u32,
    limit: Duration,
    capabilities: Vec<String>,
    selected: Option<(String, u32)>,
    /// An untagged NO came: what this session sees may be old (a folder that was deleted and made again).
    stale: Option<String>,
    uses_email_id: bool,
    /// Folders of which the server reported something while a command ran.
    changed: Vec<String>,
    /// Bytes that were received and not read yet.
    unread: usize,
    /// A large response was read, and its memory is still held.
    is_large: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("selected", &self.selected).finish_non_exhaustive()
    }
}

/// A folder that was selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Validity of its UIDs.
    pub uid_validity: u32,
    /// Its next UID; 0 when the server did not say.
    pub uid_next: u32,
    /// Its messages.
    pub messages: u32,
}

/// A message of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The UID.
    pub uid: u32,
    /// Flags and keywords.
    pub flags: Vec<String>,
    /// When it arrived, in seconds since 1970.
    pub arrived: i64,
    /// Its size in bytes.
    pub size: u32,
    /// Its mod-sequence.
    pub mod_seq: u64,
    /// Its stable id.
    pub stable_id: String,
}

/// Fields of a header, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The UID.
    pub uid: u32,
    /// The fields.
    pub bytes: Vec<u8>,
}

/// UIDs that this session claimed.
pub type Claimed = Vec<u32>;

/// Counts of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderCounts {
    /// Its messages.
    pub messages: u32,
    /// Its next UID.
    pub uid_next: u32,
}

/// What ended a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Something changed in this folder.
    Changed(String),
    /// Nothing, until the time was over.
    Quiet,
}

/// All that came before a command ended.
#[derive(Debug, Default)]
struct Answer {
    lines: Vec<Line>,
    /// The code of the end.
    code: Option<Code>,
}

impl Session {
    /// Connects, encrypts and logs in.
    ///
    /// # Errors
    /// [`Error`]; the session is then over.
    pub async fn open(
        endpoint: &Endpoint,
        login: &str,
        password: &SecretString,
        limit: Duration,
    ) -> Result<Self, Error> {
        let opening = Self::opened(endpoint, login, password, limit);
        timeout(limit, opening).await.map_err(|_| Error::Unreachable("it did not answer in time".to_owned()))?
    }

    async fn opened(endpoint: &Endpoint, login: &str, password: &SecretString, limit: Duration) -> Result<Self, Error> {
        let tcp = endpoint.tcp().await?;
        let mut session = match endpoint.server.tls {
            ImapTls::Implicit | ImapTls::Plaintext => Self::over(endpoint.encrypted(tcp).await?, limit),
            ImapTls::StartTls => {
                // The greeting and the answer are read byte by byte: nothing that came before TLS may be read after it.
                let mut tcp = tcp;
                plain_line(&mut tcp).await?;
                tcp.write_all(b"s STARTTLS\r\n").await.map_err(|error| broken(&error))?;
                let answer = plain_line(&mut tcp).await?;
                if !answer.to_ascii_uppercase().starts_with("S OK") {
                    return Err(Error::Unsupported("STARTTLS"));
                }
                Self::over(endpoint.encrypted(tcp).await?, limit)
            }
        };
        if endpoint.server.tls != ImapTls::StartTls {
            match session.line().await? {
                Line::Untagged(Condition { kind: Kind::Ok, .. }) => {}
                Line::Bye(text) => return Err(Error::Unreachable(text)),
                other => return Err(Error::Protocol(format!("its greeting is {other:?}"))),
            }
        }
        session.log_in(login, password).await?;
        session.check().await?;
        Ok(session)
    }

    /// A session over a stream that is not logged in yet.
    fn over(stream: Box<dyn Stream>, limit: Duration) -> Self {
        Self {
            stream,
            fragmentizer: Fragmentizer::new(MOST_RESPONSE),
            chunk: vec![0; CHUNK],
            tag: 0,
            limit,
            capabilities: Vec::new(),
            selected: None,
            stale: None,
            uses_email_id: false,
            changed: Vec::new(),
            unread: 0,
            is_large: false,
        }
    }

    async fn log_in(&mut self, login: &str, password: &SecretString) -> Result<(), Error> {
        // SASL PLAIN (RFC 4616) takes any characters but NUL; LOGIN would need quoting.
        if [login, password.expose_secret()].iter().any(|text| text.contains('\0')) {
            return Err(Error::Invalid("the login or the app password has a NUL character".to_owned()));
        }
        let response = STANDARD.encode(format!("\0{login}\0{}", password.expose_secret()));
        let tag = self.send("AUTHENTICATE PLAIN").await?;
        loop {
            match self.line().await? {
                Line::Continue => self.write(format!("{response}\r\n").as_bytes()).await?,
                Line::Capabilities(all) => self.capabilities = all,
                Line::Tagged { tag: ended, condition } if ended == tag => {
                    if condition.kind != Kind::Ok {
                        return Err(refused_login(&condition));
                    }
                    if let Code::Capabilities(all) = condition.code {
                        self.capabilities = all;
                    }
                    return Ok(());
                }
                Line::Bye(text) => return Err(Error::Unreachable(text)),
                _ => {}
            }
        }
    }

    /// The extensions that the promise rests on.
    async fn check(&mut self) -> Result<(), Error> {
        let answer = self.command("CAPABILITY", "CAPABILITY").await?;
        for line in answer.lines {
            if let Line::Capabilities(all) = line {
                self.capabilities = all;
            }
        }
        for needed in ["CONDSTORE", "MOVE", "UIDPLUS"] {
            if !self.has(needed) {
                return Err(Error::Unsupported(needed));
            }
        }
        Ok(())
    }

    /// Whether the server has an extension.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    /// Selects a folder anew, whatever was selected: only that shows whether the folder is still the same one.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no_folder` when it does not exist.
    pub async fn select(&mut self, folder: &str) -> Result<Selected, Error> {
        self.selected = None;
        let answer = self.command("SELECT", &format!("SELECT {} (CONDSTORE)", quoted(folder)?)).await?;
        let mut selected = Selected::default();
        for line in answer.lines {
            match line {
                Line::Exists(count) => selected.messages = count,
                Line::Untagged(Condition { code: Code::UidValidity(number), .. }) => selected.uid_validity = number,
                Line::Untagged(Condition { code: Code::UidNext(number), .. }) => selected.uid_next = number,
                Line::Untagged(Condition { code: Code::NoModSeq, .. }) => {
                    return Err(Error::Unsupported("CONDSTORE in this folder"));
                }
                _ => {}
            }
        }
        if selected.uid_validity == 0 {
            return Err(Error::Protocol("it selected a folder without UIDVALIDITY".to_owned()));
        }
        self.selected = Some((folder.to_owned(), selected.uid_validity));
        Ok(selected)
    }

    /// Whether what this session sees can be believed.
    ///
    /// # Errors
    /// [`Error::Stale`]: another session has to be opened.
    pub fn judge(&self) -> Result<(), Error> {
        self.stale.as_ref().map_or(Ok(()), |text| Err(Error::Stale(text.clone())))
    }

    /// The selected folder and the validity of its UIDs, unless its data may be old.
    pub fn selected(&self) -> Option<(&str, u32)> {
        self.selected
            .as_ref()
            .filter(|_| self.stale.is_none())
            .map(|(folder, uid_validity)| (folder.as_str(), *uid_validity))
    }

    /// Makes a folder if it is not there.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn create(&mut self, folder: &str) -> Result<(), Error> {
        match self.command("CREATE", &format!("CREATE {}", quoted(folder)?)).await {
            Ok(_) => Ok(()),
            // Another session made it a moment ago, or it was there all the time.
            Err(Error::Refused { text, .. }) if text.to_ascii_lowercase().contains("exists") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lists messages of the selected folder by sequence numbers, both included. A number above the count of messages
    /// is an error for the server.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn list(&mut self, first: u32, last: u32) -> Result<Vec<Listed>, Error> {
        self.listed(&format!("FETCH {first}:{last}")).await
    }

    /// Lists messages of the selected folder from a UID on.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn list_from(&mut self, uid: u32) -> Result<Vec<Listed>, Error> {
        let listed = self.listed(&format!("UID FETCH {uid}:*")).await?;
        // `5:*` also names the last message when its UID is below 5 (RFC 9051, section 9, seq-range).
        Ok(listed.into_iter().filter(|message| message.uid >= uid).collect())
    }

    async fn listed(&mut self, fetch: &str) -> Result<Vec<Listed>, Error> {
        let id = if self.uses_email_id { "EMAILID" } else { "X-GUID" };
        let items = format!("(UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ {id})");
        match self.command("FETCH", &format!("{fetch} {items}")).await {
            Ok(answer) => Ok(merged(answer.lines).into_iter().filter_map(listed).collect()),
            Err(Error::Refused { not_understood: true, .. }) if !self.uses_email_id && self.has("OBJECTID") => {
                self.uses_email_id = true;
                Box::pin(self.listed(fetch)).await
            }
            Err(error) => Err(error),
        }
    }

    /// The header fields that decide about messages.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn headers(&mut self, uids: &[u32]) -> Result<Vec<Header>, Error> {
        let command = format!("UID FETCH {} (UID BODY.PEEK[HEADER.FIELDS ({FIELDS})]<0.{MOST_HEADER}>)", set(uids));
        let answer = self.command("FETCH", &command).await?;
        let header = |fetched: Fetched| match (fetched.uid, fetched.body) {
            (Some(uid), Some(Body::Bytes(bytes))) => Some(Header { uid, bytes }),
            _ => None,
        };
        Ok(merged(answer.lines).into_iter().filter_map(header).collect())
    }

    /// Claims messages by a keyword, on the condition that nobody changed them since `mod_seq`. A message is claimed
    /// when the server shows it with the keyword and a new mod-sequence, and does not name it as modified: an OK alone
    /// also comes for a message that is not there any more.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn claim(&mut self, uids: &[u32], keyword: &str, mod_seq: u64) -> Result<Claimed, Error> {
        let command = format!("UID STORE {} (UNCHANGEDSINCE {mod_seq}) +FLAGS ({keyword})", set(uids));
        let answer = self.command("STORE", &command).await?;
        let modified = match &answer.code {
            Some(Code::Modified(modified)) => modified.clone(),
            _ => Vec::new(),
        };
        let is_won = |fetched: &Fetched| {
            let has_keyword = fetched.flags.iter().flatten().any(|flag| flag.eq_ignore_ascii_case(keyword));
            has_keyword && fetched.mod_seq.is_some_and(|new| new > mod_seq)
        };
        let won = merged(answer.lines).into_iter().filter(is_won).filter_map(|fetched| fetched.uid);
        Ok(won.filter(|uid| uids.contains(uid) && !modified.contains(uid)).collect())
    }

    /// Fetches messages, or their beginnings. A message that is gone is not in the answer: the server may send an empty
    /// one of 1970 for it, and NIL is not an empty literal.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn bodies(&mut self, uids: &[u32], most: Option<u32>) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
        let partial = most.map(|most| format!("<0.{most}>")).unwrap_or_default();
        let command = format!("UID FETCH {} (UID RFC822.SIZE BODY.PEEK[]{partial})", set(uids));
        let answer = self.command("FETCH", &command).await?;
        let body = |fetched: Fetched| match (fetched.uid, fetched.body) {
            (Some(uid), Some(Body::Bytes(bytes))) if fetched.size != Some(0) && !bytes.is_empty() => Some((uid, bytes)),
            _ => None,
        };
        Ok(merged(answer.lines).into_iter().filter_map(body).filter(|(uid, _)| uids.contains(uid)).collect())
    }

    /// Adds a keyword; what is gone is left out silently.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn add_keyword(&mut self, uids: &[u32], keyword: &str) -> Result<(), Error> {
        let command = format!("UID STORE {} +FLAGS.SILENT ({keyword})", set(uids));
        self.command("STORE", &command).await.map(|_| ())
    }

    /// Takes keywords away.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn remove_keywords(&mut self, uids: &[u32], keywords: &[String]) -> Result<(), Error> {
        let command = format!("UID STORE {} -FLAGS.SILENT ({})", set(uids), keywords.join(" "));
        self.command("STORE", &command).await.map(|_| ())
    }

    /// Moves messages, and makes the folder when it is not there. What is gone does not count as an error: the next
    /// scan shows what is left.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn move_to(&mut self, uids: &[u32], folder: &str) -> Result<Vec<u32>, Error> {
        let command = format!("UID MOVE {} {}", set(uids), quoted(folder)?);
        let answer = match self.command("MOVE", &command).await {
            Err(Error::Refused { no_folder: true, .. }) => {
                self.create(folder).await?;
                self.command("MOVE", &command).await?
            }
            other => other?,
        };
        let copied = |line: &Line| match line {
            Line::Untagged(Condition { code: Code::Copied(uids), .. }) => uids.clone(),
            _ => Vec::new(),
        };
        Ok(answer.lines.iter().flat_map(copied).collect())
    }

    /// Which of these messages are still in the selected folder.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn existing(&mut self, uids: &[u32]) -> Result<Vec<u32>, Error> {
        let found = self.found(&format!("UID {}", set(uids))).await?;
        Ok(found.into_iter().filter(|uid| uids.contains(uid)).collect())
    }

    /// Counts of a folder that is not selected; `None` when it does not exist.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn counts(&mut self, folder: &str) -> Result<Option<FolderCounts>, Error> {
        let command = format!("STATUS {} (MESSAGES UIDNEXT)", quoted(folder)?);
        let answer = match self.command("STATUS", &command).await {
            Err(Error::Refused { .. }) => return Ok(None),
            other => other?,
        };
        let counts = |line: Line| match line {
            Line::FolderStatus(FolderStatus { folder: name, messages, uid_next }) if name == folder => {
                Some(FolderCounts { messages: messages?, uid_next: uid_next? })
            }
            _ => None,
        };
        Ok(answer.lines.into_iter().find_map(counts))
    }

    /// Names of the folders below one, at every depth.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn folders_below(&mut self, folder: &str) -> Result<Vec<String>, Error> {
        let answer = self.command("LIST", &format!("LIST \"\" {}", quoted(&format!("{folder}/*"))?)).await?;
        let name = |line: Line| if let Line::Folder(name) = line { Some(name) } else { None };
        Ok(answer.lines.into_iter().filter_map(name).collect())
    }

    /// UIDs of the selected folder, all or those that arrived before a day (`1-Jan-2026`).
    ///
    /// # Errors
    /// [`Error`]
    pub async fn search(&mut self, before: Option<&str>) -> Result<Vec<u32>, Error> {
        self.found(&before.map_or_else(|| "ALL".to_owned(), |day| format!("BEFORE {day}"))).await
    }

    /// UIDs of the messages of the selected folder that have a keyword.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn search_keyword(&mut self, keyword: &str) -> Result<Vec<u32>, Error> {
        self.found(&format!("KEYWORD {keyword}")).await
    }

    async fn found(&mut self, key: &str) -> Result<Vec<u32>, Error> {
        let answer = self.command("SEARCH", &format!("UID SEARCH {key}")).await?;
        let found = |line: Line| if let Line::Search(found) = line { found } else { Vec::new() };
        Ok(answer.lines.into_iter().flat_map(found).collect())
    }

    /// Deletes messages of the selected folder.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete(&mut self, uids: &[u32]) -> Result<(), Error> {
        self.command("STORE", &format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", set(uids))).await?;
        self.command("EXPUNGE", &format!("UID EXPUNGE {}", set(uids))).await.map(|_| ())
    }

    /// Asks for news of folders that are not selected (RFC 5465). False when the server can't.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn notify(&mut self, folders: &[&str]) -> Result<bool, Error> {
        if !self.has("NOTIFY") || folders.is_empty() {
            return Ok(false);
        }
        let names: Vec<String> = folders.iter().map(|folder| quoted(folder)).collect::<Result<_, _>>()?;
        let command = format!(
            "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) (mailboxes ({}) (MessageNew MessageExpunge))",
            names.join(" ")
        );
        match self.command("NOTIFY", &command).await {
            Ok(_) => Ok(true),
            Err(Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Starts to wait for news (RFC 2177). Only [`Self::news`] and [`Self::stop_idle`] may follow.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn start_idle(&mut self) -> Result<(), Error> {
        if !self.has("IDLE") {
            return Ok(());
        }
        self.send("IDLE").await?;
        let until = Instant::now() + self.limit;
        loop {
            match self.line_until(until).await? {
                Line::Continue => return Ok(()),
                Line::Tagged { condition, .. } => return Err(refused("IDLE", &condition)),
                Line::Bye(text) => return Err(Error::Unreachable(text)),
                // A change that is reported now is seen at the next scan, which begins with SELECT.
                _ => {}
            }
        }
    }

    /// Waits for news after [`Self::start_idle`]. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn news(&mut self, until: Instant) -> Result<Idle, Error> {
        loop {
            let line = match timeout_at(until, self.line()).await {
                Err(_) => return Ok(Idle::Quiet),
                Ok(line) => line?,
            };
            let name = self.selected.as_ref().map(|(folder, _)| folder.clone()).unwrap_or_default();
            let selected = || Ok(Idle::Changed(name.clone()));
            match line {
                Line::Exists(_) => return selected(),
                Line::FolderStatus(status) => return Ok(Idle::Changed(status.folder)),
                line @ Line::Untagged(Condition { kind: Kind::No | Kind::Bad, .. }) => {
                    self.learn("IDLE", &line);
                    return selected();
                }
                Line::Bye(text) => return Err(Error::Unreachable(text)),
                Line::Tagged { condition, .. } => return Err(refused("IDLE", &condition)),
                _ => {}
            }
        }
    }

    /// Ends a wait. What changed meanwhile is in [`Self::take_changed`].
    ///
    /// # Errors
    /// [`Error`]
    pub async fn stop_idle(&mut self) -> Result<(), Error> {
        if !self.has("IDLE") {
            return Ok(());
        }
        let tag = self.last_tag();
        self.write(b"DONE\r\n").await?;
        self.answer("IDLE", &tag).await.map(|_| ())
    }

    /// Ends the session politely; nothing depends on it.
    pub async fn close(mut self) {
        if self.send("LOGOUT").await.is_ok() {
            let _ = timeout(Duration::from_secs(1), self.line()).await;
        }
    }

    async fn command(&mut self, name: &'static str, text: &str) -> Result<Answer, Error> {
        let tag = self.send(text).await?;
        self.answer(name, &tag).await
    }

    /// Reads until a command ends. A message that can't be read is left out: it must not stop the others.
    async fn answer(&mut self, name: &'static str, tag: &str) -> Result<Answer, Error> {
        let mut answer = Answer::default();
        loop {
            // The limit is for each line: a large folder takes long, a silent server does not.
            let until = Instant::now() + self.limit;
            match self.line_until(until).await? {
                Line::Tagged { tag: ended, condition } if ended == tag => {
                    if condition.kind != Kind::Ok {
                        return Err(refused(name, &condition));
                    }
                    answer.code = Some(condition.code);
                    return Ok(answer);
                }
                Line::Tagged { tag: other, .. } => {
                    return Err(Error::Protocol(format!("it ended the command {other:?} instead of {tag:?}")));
                }
                Line::Bye(text) => return Err(Error::Unreachable(text)),
                Line::Continue => return Err(Error::Protocol(format!("it waits for more of {name}"))),
                Line::Unreadable(text) if text.starts_with("* ") => {
                    tracing::warn!(command = name, line = text, "a response of the IMAP server can't be read");
                }
                Line::Unreadable(text) => return Err(Error::Protocol(format!("its answer begins with {text:?}"))),
                line => {
                    self.learn(name, &line);
                    answer.lines.push(line);
                }
            }
        }
    }

    /// Learns from a response what the command did not ask for.
    fn learn(&mut self, command: &str, line: &Line) {
        match line {
            // A word to the person who reads is no problem with a folder.
            Line::Untagged(Condition { code: Code::Other(code), .. }) if code == "ALERT" || code == "OVERQUOTA" => {}
            Line::Untagged(Condition { kind: Kind::No | Kind::Bad, text, .. }) => self.stale = Some(cut(text)),
            Line::Exists(_) if command != "SELECT" => {
                self.changed.extend(self.selected.as_ref().map(|(folder, _)| folder.clone()));
            }
            Line::FolderStatus(status) if command != "STATUS" => self.changed.push(status.folder.clone()),
            _ => {}
        }
    }

    /// Folders that changed while commands ran.
    pub fn take_changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed)
    }

    async fn send(&mut self, text: &str) -> Result<String, Error> {
        self.tag = self.tag.wrapping_add(1);
        let tag = self.last_tag();
        self.write(format!("{tag} {text}\r\n").as_bytes()).await?;
        Ok(tag)
    }

    fn last_tag(&self) -> String {
        format!("m{}", self.tag)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let stream = &mut self.stream;
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let written = timeout(self.limit, writing).await;
        written.map_err(|_| silent())?.map_err(|error| broken(&error))
    }

    async fn line_until(&mut self, until: Instant) -> Result<Line, Error> {
        timeout_at(until, self.line()).await.map_err(|_| silent())?
    }

    /// Reads one response. Dropping the future loses nothing: what was read stays in the fragmentizer.
    async fn line(&mut self) -> Result<Line, Error> {
        loop {
            while let Some(fragment) = self.fragmentizer.progress() {
                if let FragmentInfo::Line { announcement: Some(literal), .. } = fragment
                    && usize::try_from(literal.length).is_ok_and(|length| length > CHUNK)
                {
                    self.chunk.resize(LARGE_CHUNK, 0);
                }
                if !self.fragmentizer.is_message_complete() {
                    continue;
                }
                if self.fragmentizer.is_max_message_size_exceeded() {
                    return Err(Error::Protocol("a response is too long".to_owned()));
                }
                return Ok(self.read());
            }
            let count = self.stream.read(&mut self.chunk).await.map_err(|error| broken(&error))?;
            if count == 0 {
                return Err(Error::Unreachable("it closed the connection".to_owned()));
            }
            self.unread += count;
            self.fragmentizer.enqueue_bytes(&self.chunk[..count]);
        }
    }

    /// Reads the complete response. After a large one its memory is given back: a session mostly waits.
    fn read(&mut self) -> Line {
        let bytes = self.fragmentizer.message_bytes();
        self.unread = self.unread.saturating_sub(bytes.len());
        self.is_large |= bytes.len() > LARGE_CHUNK;
        let line = wire::read(bytes);
        if self.is_large && self.unread == 0 {
            self.is_large = false;
            self.fragmentizer = Fragmentizer::new(MOST_RESPONSE);
            self.chunk = vec![0; CHUNK];
        }
        line
    }
}

/// Reads a line before TLS, byte by byte.
async fn plain_line(tcp: &mut TcpStream) -> Result<String, Error> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() > 8_192 {
            return Err(Error::Protocol("a line before TLS is too long".to_owned()));
        }
        line.push(tcp.read_u8().await.map_err(|error| broken(&error))?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A folder's name as a quoted string. The worker's folders are ASCII.
fn quoted(folder: &str) -> Result<String, Error> {
    let is_plain = folder.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !is_plain || folder.is_empty() || folder.contains('&') {
        return Err(Error::Invalid(format!("{folder:?} can't be the name of a queue folder")));
    }
    Ok(format!("\"{}\"", folder.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// UIDs as a sequence set.
fn set(uids: &[u32]) -> String {
    let mut sorted = uids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for uid in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == uid => *last = uid,
            _ => ranges.push((uid, uid)),
        }
    }
    let text = |(from, to): &(u32, u32)| if from == to { from.to_string() } else { format!("{from}:{to}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// The data of each message: a server may send it in several responses.
fn merged(lines: Vec<Line>) -> Vec<Fetched> {
    let mut messages: BTreeMap<u32, Fetched> = BTreeMap::new();
    for line in lines {
        let Line::Fetch(fetched) = line else { continue };
        let Some(uid) = fetched.uid else { continue };
        let known = messages.entry(uid).or_default();
        known.uid = Some(uid);
        known.flags = fetched.flags.or(known.flags.take());
        known.arrived = fetched.arrived.or(known.arrived);
        known.size = fetched.size.or(known.size);
        known.mod_seq = fetched.mod_seq.or(known.mod_seq);
        known.guid = fetched.guid.or(known.guid.take());
        known.body = fetched.body.or(known.body.take());
    }
    messages.into_values().collect()
}

/// A message that is gone comes with size 0 and no more.
fn listed(fetched: Fetched) -> Option<Listed> {
    Some(Listed {
        uid: fetched.uid?,
        flags: fetched.flags?,
        arrived: fetched.arrived?,
        size: fetched.size.filter(|size| *size > 0)?,
        mod_seq: fetched.mod_seq?,
        stable_id: fetched.guid?,
    })
}

fn refused(command: &'static str, condition: &Condition) -> Error {
    let is_code = |code: &str| matches!(&condition.code, Code::Other(known) if known == code);
    let no_folder = condition.code == Code::TryCreate
        || is_code("NONEXISTENT")
        || condition.text.to_ascii_lowercase().contains("doesn't exist");
    let text = cut(&condition.text);
    Error::Refused { command, text, no_folder, not_understood: condition.kind == Kind::Bad }
}

fn refused_login(condition: &Condition) -> Error {
    match &condition.code {
        // The server itself has a problem, the password does not (RFC 5530).
        Code::Other(code) if code == "UNAVAILABLE" => Error::Unreachable(cut(&condition.text)),
        _ => Error::Login(cut(&condition.text)),
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn broken(error: &std::io::Error) -> Error {
    Error::Unreachable(error.to_string())
}

fn silent() -> Error {
    Error::Unreachable("it did not answer in time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_or_refused() {
        assert_eq!(quoted("Ops/Tasks/a \"b\" \\").unwrap(), r#""Ops/Tasks/a \"b\" \\""#);
        for bad in ["", "a\r\nb", "ä", "a&b"] {
            assert!(quoted(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn uids_become_a_short_set() {
        assert_eq!(set(&[9, 1, 2, 3, 7, 2]), "1:3,7,9");
        assert_eq!(set(&[5]), "5");
    }

    /// A server that answers each command with the next text; `@` stands for the command's tag.
    async fn scripted<T>(answers: &[&str], run: impl AsyncFnOnce(&mut Session) -> T) -> T {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            let (read, mut write) = tokio::io::split(theirs);
            let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(read));
            for answer in answers {
                let Ok(Some(line)) = lines.next_line().await else { return };
                let tag = line.split(' ').next().unwrap_or_default();
                let _ = write.write_all(answer.replace('@', tag).replace('\n', "\r\n").as_bytes()).await;
            }
            // The connection stays open.
            let _ = lines.next_line().await;
        });
        let mut session = Session::over(Box::new(ours), Duration::from_millis(300));
        session.capabilities = ["IDLE", "MOVE", "CONDSTORE", "OBJECTID"].map(str::to_owned).into();
        run(&mut session).await
    }

    #[tokio::test]
    async fn a_claim_counts_only_with_keyword_and_new_mod_sequence() {
        let answers = [
            "* 1 FETCH (UID 1 MODSEQ (9) FLAGS ($IntakeTry1))\n@ OK done\n",
            "@ OK nothing was there\n",
            "* 1 FETCH (UID 1 MODSEQ (5) FLAGS ($IntakeTry1))\n@ OK done\n",
            "* 1 FETCH (UID 1 MODSEQ (9) FLAGS (other))\n@ OK done\n",
            "* 1 FETCH (UID 1 MODSEQ (9) FLAGS ($IntakeTry1))\n@ OK [MODIFIED 1] failed\n",
            "* 1 FETCH (UID 2 MODSEQ (9) FLAGS ($IntakeTry1))\n@ OK done\n",
            "@ NO [MODIFIED 1] failed\n",
            "@ BAD what?\n",
        ];
        scripted(&answers, async |session| {
            assert_eq!(session.claim(&[1], "$IntakeTry1", 5).await.unwrap(), [1]);
            for answer in &answers[1..6] {
                let claimed = session.claim(&[1], "$IntakeTry1", 5).await;
                assert!(claimed.as_ref().is_ok_and(Vec::is_empty), "{answer}: {claimed:?}");
            }
            for _ in 0..2 {
                assert!(matches!(session.claim(&[1], "$IntakeTry1", 5).await, Err(Error::Refused { .. })));
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_message_that_is_gone_has_no_body() {
        let answers = [
            "* 1 FETCH (UID 3 RFC822.SIZE 0 BODY[] NIL)\n@ OK [EXPUNGEISSUED] gone\n",
            "* 1 FETCH (UID 3 RFC822.SIZE 0 BODY[] {0}\n)\n@ OK done\n",
            "@ OK [EXPUNGEISSUED] gone\n",
            "* 1 FETCH (UID 3 RFC822.SIZE 5 BODY[] {5}\nhello)\n@ OK done\n",
        ];
        scripted(&answers, async |session| {
            for _ in 0..3 {
                assert_eq!(session.bodies(&[3], None).await.unwrap(), BTreeMap::new());
            }
            assert_eq!(session.bodies(&[3], None).await.unwrap(), BTreeMap::from([(3, b"hello".to_vec())]));
        })
        .await;
    }

    #[tokio::test]
    async fn a_response_that_cannot_be_read_stops_no_other() {
        let answer = "* 1 FETCH (UID 1 NEW-ITEM 5)\n* 2 FETCH (UID 2 FLAGS () INTERNALDATE \"28-Nov-2026 12:00:00 +0100\" \
                      RFC822.SIZE 5 MODSEQ (3) X-GUID g)\n@ OK done\n";
        let listed = scripted(&[answer], async |session| session.list(1, 10).await).await.unwrap();
        assert_eq!(listed.iter().map(|message| message.uid).collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn a_server_without_x_guid_is_asked_for_emailid() {
        let line = "* 2 FETCH (UID 2 FLAGS () INTERNALDATE \"28-Nov-2026 12:00:00 +0100\" RFC822.SIZE 5 MODSEQ (3) EMAILID (e))\n";
        let answers = ["@ BAD unknown item\n".to_owned(), format!("{line}@ OK done\n")];
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let listed = scripted(&answers, async |session| session.list(1, 10).await).await.unwrap();
        assert_eq!(listed[0].stable_id, "e");
    }

    #[tokio::test]
    async fn an_untagged_no_means_another_session() {
        let select = "* 1 EXISTS\n* OK [UIDVALIDITY 5] x\n* OK [UIDNEXT 7] x\n@ OK [READ-WRITE] done\n";
        let answers = [select, "* NO [ALERT] Be good\n@ OK done\n", "* NO Internal error\n@ OK done\n", select];
        scripted(&answers, async |session| {
            assert_eq!(session.select("f").await.unwrap(), Selected { uid_validity: 5, uid_next: 7, messages: 1 });
            session.list(1, 1).await.unwrap();
            assert_eq!((session.selected(), session.judge()), (Some(("f", 5)), Ok(())));
            session.list(1, 1).await.unwrap();
            session.select("f").await.unwrap();
            assert_eq!((session.selected(), session.judge()), (None, Err(Error::Stale("Internal error".into()))));
        })
        .await;
    }

    #[tokio::test]
    async fn a_server_that_is_silent_or_lost_ends_the_session() {
        scripted(&[], async |session| {
            let error = session.list(1, 10).await.unwrap_err();
            assert!(matches!(&error, Error::Unreachable(_)) && error.ends_session(), "{error}");
        })
        .await;
        scripted(&["x9 OK what\n"], async |session| {
            assert!(matches!(session.list(1, 10).await, Err(Error::Protocol(_))));
        })
        .await;
        scripted(&["* BYE restarting\n"], async |session| {
            assert_eq!(session.list(1, 10).await, Err(Error::Unreachable("restarting".into())));
        })
        .await;
    }

    #[tokio::test]
    async fn news_come_while_idling() {
        let answers = ["+ idling\n* 2 EXISTS\n* STATUS \"other\" (MESSAGES 1 UIDNEXT 2)\n", "m1 OK done\n"];
        scripted(&answers, async |session| {
            session.selected = Some(("f".into(), 5));
            session.start_idle().await.unwrap();
            let until = Instant::now() + Duration::from_millis(200);
            assert_eq!(session.news(until).await.unwrap(), Idle::Changed("f".into()));
            assert_eq!(session.news(until).await.unwrap(), Idle::Changed("other".into()));
            assert_eq!(session.news(until).await.unwrap(), Idle::Quiet);
            session.stop_idle().await.unwrap();
            assert_eq!(session.take_changed(), Vec::<String>::new());
        })
        .await;
    }

    #[tokio::test]
    async fn the_memory_of_a_large_message_is_given_back() {
        let body = "x".repeat(500_000);
        let answer = format!("* 1 FETCH (UID 3 RFC822.SIZE 5 BODY[] {{{}}}\n{body})\n@ OK done\n", body.len());
        scripted(&[&answer], async |session| {
            assert_eq!(session.bodies(&[3], None).await.unwrap(), BTreeMap::from([(3, body.clone().into_bytes())]));
            assert_eq!((session.chunk.len(), session.unread, session.is_large), (CHUNK, 0, false));
        })
        .await;
    }
}
