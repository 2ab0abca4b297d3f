//! Where the libraries differ from the RFC, or from a choice that it leaves open. Each kind is a proof: every record that
//! fits is what we say it is.

/// A kind of difference.
pub(crate) struct Kind {
    /// Whose.
    pub(crate) judge: &'static str,
    /// The RFC's rule, and what the library does instead.
    pub(crate) rule: &'static str,
    /// What we say, and the RFC does.
    pub(crate) ours: &'static str,
    /// Whether a record is of this kind.
    pub(crate) is_it: fn(&str) -> bool,
}

const fn invalid(judge: &'static str, rule: &'static str, is_it: fn(&str) -> bool) -> Kind {
    Kind { judge, rule, ours: "invalid", is_it }
}

const fn valid(judge: &'static str, rule: &'static str, is_it: fn(&str) -> bool) -> Kind {
    Kind { judge, rule, ours: "valid", is_it }
}

/// All of them; the first that fits explains a difference.
pub(crate) const KINDS: &[Kind] = &[
    // checkdmarc 6.0.4
    invalid("checkdmarc dmarc", "RFC 9989, 4.8: nothing comes before dmarc-version; blanks are skipped", begins_blank),
    invalid("checkdmarc dmarc", "RFC 9989, 4.8: nothing comes before dmarc-version; quotes are stripped", is_quoted),
    invalid("checkdmarc dmarc", "RFC 9989, 4.8: WSP is space and tab; other white space is taken", has_other_blank),
    invalid(
        "checkdmarc dmarc",
        "RFC 9989, 4.8: a record MUST comply with the values of adkim, aspf and fo; defaults are put in their place. \
         Receivers do that too, so we name the policy in force beside the fault",
        |text| ["adkim", "aspf", "fo"].iter().any(|tag| !lawful_words(tag, value_of(text, tag))),
    ),
    invalid(
        "checkdmarc dmarc",
        "RFC 9989, 4.8: ! MUST be encoded but before a size; it is taken in addresses",
        |text| text.contains('!'),
    ),
    invalid("checkdmarc mta-sts", "RFC 8461, 3.1: a record begins with v=STSv1; blanks are skipped", begins_blank),
    invalid("checkdmarc mta-sts", "RFC 8461, 3.1: a record begins with v=STSv1; quotes are stripped", is_quoted),
    invalid("checkdmarc mta-sts", "RFC 8461, 3.1: WSP is space and tab; other white space is taken", has_other_blank),
    invalid("checkdmarc mta-sts", "RFC 8461, 3.1: blanks belong to a semicolon; they are taken at the end", ends_blank),
    invalid(
        "checkdmarc policy",
        "RFC 8461, 3.2: a line end comes before a field or the end; empty lines are skipped",
        |text| text.contains("\n\n"),
    ),
    invalid("checkdmarc tls-rpt", "RFC 8460, 3: a record begins with v=TLSRPTv1; blanks are stripped", begins_blank),
    invalid("checkdmarc tls-rpt", "RFC 8460, 3: a record begins with v=TLSRPTv1; quotes are stripped", is_quoted),
    invalid("checkdmarc tls-rpt", "RFC 8460, 3: WSP is space and tab; other white space is taken", has_other_blank),
    invalid(
        "checkdmarc tls-rpt",
        "RFC 8460, 3: blanks belong to a semicolon; they are stripped at the end",
        ends_blank,
    ),
    invalid("checkdmarc bimi", "BIMI draft, 4.3: a record begins with v; blanks are skipped", begins_blank),
    invalid("checkdmarc bimi", "BIMI draft, 4.3: a record begins with v; quotes are stripped", is_quoted),
    invalid(
        "checkdmarc bimi",
        "RFC 6376, 3.2: a line end is folding white space only after CR and before a blank",
        has_other_blank,
    ),
    invalid("checkdmarc bimi", "RFC 6376, 3.2: names of tags have their case; L= is taken for l=", |text| {
        exact_value_of(text, "l").is_none()
    }),
    invalid(
        "checkdmarc bimi",
        "BIMI draft, 4.3.2: the ending of another image is an error; it is not looked at",
        |text| {
            exact_value_of(text, "l")
                .is_some_and(|uri| std::path::Path::new(uri).extension().is_some_and(|e| e == "png"))
        },
    ),
    valid("checkdmarc bimi", "RFC 6376, 3.2: names of tags have their case; A= is taken for a=", |text| {
        exact_value_of(text, "A").is_some()
    }),
    valid("checkdmarc bimi", "BIMI draft, 4.3: other values of avp MUST be ignored; they are errors", |text| {
        text.to_lowercase().contains("avp")
    }),
    // dkimpy 1.1.8
    invalid("dkimpy dkim", "RFC 6376, 3.6.1: v= MUST be the first tag; its place is not looked at", |text| {
        text.trim_start().to_lowercase().starts_with('k')
    }),
    invalid("dkimpy dkim", "RFC 6376, 3.6.1: h= has to allow the hash; evaluate_pk does not look at it", |text| {
        exact_value_of(text, "h").is_some_and(|list| !list.split(':').any(|hash| hash.trim() == "sha256"))
    }),
    invalid("dkimpy dkim", "RFC 6376, 3.6.1: s=tlsrpt is not for mail; the key is for reports of RFC 8460", |text| {
        exact_value_of(text, "s") == Some("tlsrpt")
    }),
    invalid("dkimpy dkim", "RFC 6376, 3.2: tag-name is ALPHA *ALNUMPUNC; only its start is looked at", |text| {
        text.split(';').filter_map(|tag| tag.split_once('=')).any(|(name, _)| !is_tag_name(name.trim()))
    }),
    invalid(
        "dkimpy dkim",
        "RFC 6376, 3.2: a line end is folding white space only after CR and before a blank",
        has_other_blank,
    ),
    invalid("dkimpy dkim", "RFC 6376, 3.6.1: p= is base64; other characters are skipped", |text| {
        exact_value_of(text, "p").is_some_and(|key| key.contains(['\\', '"', ':']))
    }),
    valid("dkimpy dkim", "RFC 6376, 3.6.1: s= is a list with colons; it is read as one word", |text| {
        exact_value_of(text, "s")
            .is_some_and(|list| list.split(':').any(|service| ["email", "*"].contains(&service.trim())))
    }),
    // postfix-mta-sts-resolver 1.5.1
    invalid(
        "postfix mta-sts",
        "RFC 8461, 3.1: the grammar of fields and id; any text is taken, and fields without =",
        |text| !is_sts_record(text),
    ),
    invalid("postfix policy", "RFC 8461, 3.2: the grammar of lines; what is not key: value is skipped", |text| {
        !text.strip_suffix('\n').unwrap_or(text).split('\n').all(is_policy_line)
    }),
    invalid("postfix policy", "RFC 8461, 3.2: mx is [\"*.\"] Domain; any text is taken", |text| {
        policy_values(text, "mx").iter().any(|mx| !is_mx_pattern(mx))
    }),
    invalid("postfix policy", "RFC 8461, 3.2: max_age is 1*10(DIGIT); a sign is taken", |text| {
        policy_values(text, "max_age").first().is_some_and(|age| !age.bytes().all(|byte| byte.is_ascii_digit()))
    }),
    valid("postfix policy", "RFC 8461, 3.2: of a repeated field the first counts; the last one does", |text| {
        ["version", "mode", "max_age"].iter().any(|key| policy_values(text, key).len() > 1)
    }),
    // pyspf 2.0.14
    Kind {
        judge: "pyspf spf",
        rule: "RFC 7208, 4.6.1 and 12: names of modifiers have no case; REDIRECT= is an unknown one",
        ours: "pass",
        is_it: |text| text.contains("REDIRECT="),
    },
    Kind {
        judge: "pyspf spf",
        rule: "RFC 7208, 12: terms are separated by spaces; tabs are taken",
        ours: "permerror",
        is_it: |text| text.contains('\t'),
    },
];

fn begins_blank(text: &str) -> bool {
    text.starts_with(char::is_whitespace)
}

fn ends_blank(text: &str) -> bool {
    text.ends_with([' ', '\t']) && !text.trim_end().ends_with(';')
}

fn is_quoted(text: &str) -> bool {
    text.starts_with('"')
}

fn has_other_blank(text: &str) -> bool {
    text.contains(|c: char| c.is_whitespace() && c != ' ' && c != '\t')
}

/// The value of a tag, its name in any case.
fn value_of<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let pairs = text.split(';').filter_map(|piece| piece.split_once('='));
    pairs
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(name, _)| name.eq_ignore_ascii_case(tag))
        .map(|(_, v)| v)
}

/// The value of a tag by its exact name.
fn exact_value_of<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let pairs = text.split(';').filter_map(|piece| piece.split_once('='));
    pairs.map(|(name, value)| (name.trim(), value.trim())).find(|(name, _)| *name == tag).map(|(_, value)| value)
}

fn lawful_words(tag: &str, value: Option<&str>) -> bool {
    let Some(value) = value.map(str::to_lowercase) else { return true };
    if tag != "fo" {
        return value == "r" || value == "s";
    }
    let options: Vec<&str> = value.split(':').collect();
    let once = options.iter().all(|option| options.iter().filter(|other| *other == option).count() == 1);
    let known = options.iter().all(|option| ["0", "1", "d", "s"].contains(option));
    known && once && !(options.contains(&"0") && options.contains(&"1"))
}

fn is_tag_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// RFC 8461, 3.1, by its letters; a second opinion on ours too.
fn is_sts_record(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("v=STSv1") else { return false };
    let mut fields: Vec<&str> = rest.split(';').collect();
    if fields.len() < 2 || !fields.remove(0).chars().all(|c| c == ' ' || c == '\t') {
        return false;
    }
    let delimited = fields.last().is_some_and(|last| last.trim_matches([' ', '\t']).is_empty());
    if delimited {
        fields.pop();
    }
    let count = fields.len();
    let trimmed = fields.iter().enumerate().map(|(place, field)| {
        let field = field.trim_start_matches([' ', '\t']);
        if place + 1 < count || delimited { field.trim_end_matches([' ', '\t']) } else { field }
    });
    let fields: Vec<&str> = trimmed.collect();
    let is_field = |field: &&str| match field.split_once('=') {
        Some(("id", id)) => (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        Some((name, value)) => {
            let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
            let others = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            let characters = value.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'=');
            first && others && name.len() <= 32 && characters && !value.is_empty()
        }
        None => false,
    };
    fields.iter().all(is_field) && fields.iter().any(|field| field.starts_with("id="))
}

fn is_policy_line(line: &str) -> bool {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let Some((key, value)) = line.split_once(':') else { return false };
    let first = key.starts_with(|c: char| c.is_ascii_alphanumeric());
    let others = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let value = value.trim_matches([' ', '\t']);
    first && others && key.len() <= 32 && !value.is_empty() && !value.contains(char::is_control)
}

fn policy_values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(|(found, _)| *found == key).map(|(_, value)| value.trim()).collect()
}

fn is_mx_pattern(text: &str) -> bool {
    let domain = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        letters && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.split('.').all(label)
}
