//! The text of an MTA-STS policy (RFC 8461, section 3.2).

use super::super::name;

/// The longest time that a policy may be kept, in seconds.
const LONGEST_AGE: u32 = 31_557_600;

/// What senders do when TLS fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They don't deliver.
    Enforce,
    /// They deliver, and report.
    Testing,
    /// As if there were no policy.
    None,
}

impl Mode {
    /// The word of the policy.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What senders do when TLS fails.
    pub mode: Mode,
    /// Patterns of the mail servers, canonical: a name, or `*.` and a name.
    pub mx: Vec<String>,
    /// How long senders keep it, in seconds.
    pub max_age: u32,
}

impl Policy {
    /// Reads a policy; unknown keys are passed over.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "it is no text in UTF-8")?;
        let mut lines = Vec::new();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is not of the form key: value"))?;
            lines.push((key.trim(), value.trim()));
        }
        let all = |key: &'static str| lines.iter().filter(move |(found, _)| *found == key).map(|(_, value)| *value);
        // Of a key that stands in it twice the first counts (section 3.2).
        let first = |key: &'static str| all(key).next().ok_or_else(|| format!("the line {key}: is missing"));
        if first("version")? != "STSv1" {
            return Err("version must be STSv1".to_owned());
        }
        let mode = first("mode")?;
        let modes = [Mode::Enforce, Mode::Testing, Mode::None];
        let mode =
            modes.into_iter().find(|known| known.word() == mode).ok_or_else(|| format!("unknown mode {mode:?}"))?;
        let age = first("max_age")?;
        let max_age = age.parse().ok().filter(|age| *age <= LONGEST_AGE);
        let max_age = max_age.ok_or_else(|| format!("max_age {age:?} is not a number of at most {LONGEST_AGE}"))?;
        let mx = all("mx").map(pattern).collect::<Result<Vec<_>, _>>()?;
        if mx.is_empty() && mode != Mode::None {
            return Err("the line mx: is missing".to_owned());
        }
        Ok(Self { mode, mx, max_age })
    }

    /// Whether a mail server matches one of the patterns (section 4.1).
    pub fn covers(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => name::parent(host) == parent && host.len() > parent.len() + 1,
            None => pattern == host,
        })
    }
}

fn pattern(text: &str) -> Result<String, String> {
    let canonical = name::canonical(text);
    let rest = canonical.strip_prefix("*.").unwrap_or(&canonical);
    let allowed = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if name::is_askable(rest) && allowed { Ok(canonical) } else { Err(format!("mx: {text:?} is no host name")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: Mail.example.net\r\nmx: *.example.org\r\nmax_age: 604800\r\n";

    #[test]
    fn patterns_cover_one_label() {
        let policy = Policy::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
        assert!(policy.covers("mail.example.net") && policy.covers("a.example.org"));
        for other in ["example.org", "a.b.example.org", "other.test", ".example.org"] {
            assert!(!policy.covers(other), "{other}");
        }
    }

    #[test]
    fn line_ends_and_unknown_keys_are_free() {
        assert!(Policy::parse(format!("{}extra: 1", GOOD.replace("\r\n", "\n")).as_bytes()).is_ok());
        assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 0").unwrap().mx.is_empty());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (from, to) in [
            ("STSv1", "STSv2"),
            ("version", "v"),
            ("enforce", "strict"),
            ("604800", "31557601"),
            ("604800", "-1"),
            ("Mail.example.net", "a..b"),
            ("mode: enforce", "mode enforce"),
            ("Mail", "\u{e4}"),
        ] {
            assert!(Policy::parse(GOOD.replace(from, to).as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(Policy::parse(b"\xff").is_err() && Policy::parse(b"").is_err());
        assert!(Policy::parse(b"version: STSv1\nmode: testing\nmax_age: 1").is_err());
    }
}
