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
    /// Reads a policy; unknown keys are ignored.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8 text")?;
        let lines = fields(text)?;
        let all = |key: &'static str| lines.iter().filter(move |(found, _)| *found == key).map(|(_, value)| *value);
        // Of a duplicate key the first applies (section 3.2).
        let first = |key: &'static str| all(key).next().ok_or_else(|| format!("the line {key}: is missing"));
        if first("version")? != "STSv1" {
            return Err("version must be STSv1".to_owned());
        }
        let mode = first("mode")?;
        let modes = [Mode::Enforce, Mode::Testing, Mode::None];
        let known = modes.into_iter().find(|known| known.word() == mode);
        let mode = known.ok_or_else(|| format!("mode {mode:?} is not one of enforce, testing, none"))?;
        let age = first("max_age")?;
        let digits = (1..=10).contains(&age.len()) && age.bytes().all(|byte| byte.is_ascii_digit());
        let max_age = age.parse().ok().filter(|age| digits && *age <= LONGEST_AGE);
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

/// The lines of a policy as keys and values: `sts-policy-field *WSP *(sts-policy-term sts-policy-field *WSP)
/// [sts-policy-term]`, where a term is LF or CRLF.
fn fields(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut lines = text.split('\n').collect::<Vec<_>>();
    let unterminated = lines.pop().filter(|rest| !rest.is_empty());
    let terminated = lines.into_iter().map(|line| line.strip_suffix('\r').unwrap_or(line));
    let numbered = terminated.chain(unterminated).enumerate();
    numbered.map(|(place, line)| field(line).map_err(|problem| format!("line {}: {problem}", place + 1))).collect()
}

const BLANKS: [char; 2] = [' ', '\t'];

fn field(line: &str) -> Result<(&str, &str), String> {
    if line.trim_matches(BLANKS).is_empty() {
        return Err("it is empty".to_owned());
    }
    // The line itself is not repeated, because a host that serves another page may not want it in a status.
    let (key, value) = line.split_once(':').ok_or("it does not have the form key: value")?;
    if key.trim_matches(BLANKS) != key {
        return Err("there is a blank before the key or the colon".to_owned());
    }
    let letters = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !letters || key.len() > 32 || !key.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err("its key has other characters than letters, digits, _, - and .".to_owned());
    }
    let value = value.trim_matches(BLANKS);
    if value.is_empty() || value.contains(char::is_control) {
        return Err(format!("the value of {key} is empty, or has a control character"));
    }
    Ok((key, value))
}

/// `["*."] Domain` (RFC 5321, section 4.1.2).
fn pattern(text: &str) -> Result<String, String> {
    let canonical = text.to_ascii_lowercase();
    let rest = canonical.strip_prefix("*.").unwrap_or(&canonical);
    let label = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        letters && !label.starts_with('-') && !label.ends_with('-')
    };
    if name::is_askable(rest) && rest.split('.').all(label) {
        return Ok(canonical);
    }
    Err(match text.strip_suffix('.') {
        Some(bare) => format!("mx: {text} ends with a dot: write mx: {bare}"),
        None => format!("mx: {text:?} is not a host name"),
    })
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

    /// RFC 8461, section 3.2, production by production.
    #[test]
    fn policies_are_read_as_the_grammar_has_them() {
        for good in [
            // sts-policy-record: blanks after a value, LF and CRLF, a last line end or none
            "version: STSv1 \nmode: enforce\t\r\nmx: a.test\nmax_age: 1",
            // sts-policy-field-delim = ":" *WSP
            "version:STSv1\nmode:\tenforce\nmx:   a.test\nmax_age:1\n",
            // any order
            "max_age: 1\nmx: a.test\nmode: testing\nversion: STSv1\n",
            // sts-policy-extension, with UTF-8 and colons
            "version: STSv1\nmode: none\nmax_age: 1\n9.a-b_c: x: \u{e4} y\n",
            // of a key that is there twice the first counts
            "version: STSv1\nmode: none\nmode: what\nmax_age: 1\nmax_age: x\n",
            "version: STSv1\nmode: none\nmax_age: 0000000001\n",
        ] {
            assert!(Policy::parse(good.as_bytes()).is_ok(), "{good:?}: {:?}", Policy::parse(good.as_bytes()));
        }
        for (bad, words) in [
            ("version: STSv1\n\nmode: none\nmax_age: 1\n", "line 2: it is empty"),
            ("version: STSv1\nmode: none\nmax_age: 1\n\n", "line 4: it is empty"),
            (" version: STSv1\nmode: none\nmax_age: 1\n", "line 1: there is a blank before the key or the colon"),
            ("version : STSv1\nmode: none\nmax_age: 1\n", "a blank before the key or the colon"),
            ("version: STSv1\nmode: none\nmax_age: 1\nbad key: x\n", "line 4: its key has other characters"),
            ("version: STSv1\nmode: none\nmax_age: 1\nx:\n", "the value of x is empty"),
            ("version: STSv1\rmode: none\rmax_age: 1\r", "control character"),
            ("Version: STSv1\nmode: none\nmax_age: 1\n", "the line version: is missing"),
            ("version: stsv1\nmode: none\nmax_age: 1\n", "version must be STSv1"),
            ("version: STSv1\nmode: None\nmax_age: 1\n", "mode \"None\" is not one of"),
            ("version: STSv1\nmode: none\nmax_age: +1\n", "max_age"),
            ("version: STSv1\nmode: none\nmax_age: 00000000001\n", "max_age"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: a.test.\n", "write mx: a.test"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: *.*.test\n", "not a host name"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: a_b.test\n", "not a host name"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: -a.test\n", "not a host name"),
            ("\u{feff}version: STSv1\nmode: none\nmax_age: 1\n", "line 1: its key has other characters"),
        ] {
            let problem = Policy::parse(bad.as_bytes()).unwrap_err();
            assert!(problem.contains(words), "{bad:?}: {problem}");
        }
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
