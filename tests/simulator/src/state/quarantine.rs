//! Mails held back, and what is needed to release them.

/// A mail held back.
#[derive(Clone, Debug, PartialEq)]
pub struct QuarantineItem {
    /// Its id.
    pub id: i64,
    /// Postfix's queue id.
    pub qid: String,
    /// The subject.
    pub subject: String,
    /// The spam score.
    pub score: f64,
    /// The sender's address on the network.
    pub ip: String,
    /// What Rspamd did.
    pub action: String,
    /// Rspamd's symbols, a text of JSON.
    pub symbols: String,
    /// Sender.
    pub sender: String,
    /// Recipient.
    pub rcpt: String,
    /// The whole mail.
    pub msg: String,
    /// The domain as stored.
    pub domain: String,
    /// When it came, in seconds since 1970.
    pub created: i64,
    /// The hash in notification links.
    pub qhash: String,
}

/// What takes part in a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// How Postfix is doing.
    pub postfix: Postfix,
    /// How Rspamd is doing.
    pub rspamd: Rspamd,
    /// How mails are sent; `None` on a server where Redis does not hold the setting.
    pub format: Option<ReleaseFormat>,
    /// The mails that were sent: recipient and text.
    pub sent: Vec<(String, String)>,
}

impl Default for Release {
    fn default() -> Self {
        Self { postfix: Postfix::Unknown, rspamd: Rspamd::Down, format: Some(ReleaseFormat::Raw), sent: Vec::new() }
    }
}

/// How Postfix is doing, as a release sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Postfix {
    /// Its name cannot be resolved.
    Unknown,
    /// Nobody listens.
    Down,
    /// It refuses a recipient with this line.
    Refuses(String),
    /// It takes everything.
    Up,
}

/// How Rspamd is doing, as a release sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rspamd {
    /// Nobody listens.
    Down,
    /// It learns everything.
    Up,
    /// It answers every request to learn with this error.
    Fails(String),
}

/// How a released mail is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseFormat {
    /// As it came.
    Raw,
    /// Attached to another.
    Attachment,
}
