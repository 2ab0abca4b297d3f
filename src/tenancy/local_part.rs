//! Local parts of automatic mailboxes: the requested and the reserved ones.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Names that are always reserved: those of RFC 2142 (sections 3 to 5), those that certificate authorities write to,
/// and those that look like the platform's own.
const RESERVED: [&str; 44] = [
    // RFC 2142: business, network operations, services.
    "info",
    "marketing",
    "sales",
    "support",
    "abuse",
    "noc",
    "security",
    "postmaster",
    "hostmaster",
    "usenet",
    "news",
    "webmaster",
    "www",
    "uucp",
    "ftp",
    // Whoever reads this mail can get certificates for the domain.
    "admin",
    "administrator",
    "root",
    "ssladmin",
    "ssl-admin",
    "ssladministrator",
    "sslwebmaster",
    "sysadmin",
    "is",
    "it",
    "mis",
    // Machines.
    "mailer-daemon",
    "daemon",
    "nobody",
    "noreply",
    "no-reply",
    "no_reply",
    "no.reply",
    "donotreply",
    "do-not-reply",
    "bounce",
    "bounces",
    "mail",
    "system",
    "autodiscover",
    "autoconfig",
    "dmarc",
    "tlsrpt",
    "mta-sts",
];

/// Reserved local parts.
#[derive(Clone, Debug)]
pub struct Reserved(BTreeSet<String>);

impl Reserved {
    /// The names that are always reserved, and these of the installation.
    pub fn with(more: &[String]) -> Self {
        let everywhere = RESERVED.into_iter().map(ToOwned::to_owned);
        Self(everywhere.chain(more.iter().map(|name| name.trim().to_ascii_lowercase())).collect())
    }

    /// Whether it is reserved for the namespace of the domain, so that a guest may not use it; also with a `+tag`,
    /// which is delivered to the same mailbox.
    pub fn is_kept_from_guests(&self, local_part: &str) -> bool {
        let lower = local_part.to_ascii_lowercase();
        self.has(lower.split('+').next().unwrap_or_default())
    }

    /// Whether this local part is reserved; in lower case.
    pub(super) fn has(&self, local_part: &str) -> bool {
        self.0.contains(local_part)
    }
}

/// The local part that a namespace requests, in lower case: its annotation, or its name if that is missing or empty.
pub fn asked(namespace: &ObjectMeta, annotation: &str) -> String {
    let said = namespace.annotations.as_ref().and_then(|all| all.get(annotation)).map(|text| text.trim());
    let name = namespace.name.as_deref().unwrap_or_default();
    said.filter(|text| !text.is_empty()).unwrap_or(name).to_lowercase()
}

/// Whether it can be the local part of a mailbox: as in `EmailMailbox`, but without `+`, because that begins a tag of
/// another address.
pub(super) fn is_usable(local_part: &str) -> bool {
    let is_taken = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._&'%/-".contains(&b);
    let has_dots_within = !local_part.split('.').any(str::is_empty);
    (1..=64).contains(&local_part.len()) && local_part.bytes().all(is_taken) && has_dots_within
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(annotation: Option<&str>) -> ObjectMeta {
        let annotations = annotation.map(|value| [("u".to_owned(), value.to_owned())].into());
        ObjectMeta { name: Some("team-a".into()), annotations, ..ObjectMeta::default() }
    }

    #[test]
    fn the_annotation_is_asked_for_and_else_the_name() {
        for (annotation, expected) in
            [(Some("Ada"), "ada"), (Some(" ada "), "ada"), (Some(""), "team-a"), (None, "team-a")]
        {
            assert_eq!(asked(&namespace(annotation), "u"), expected, "{annotation:?}");
        }
        assert_eq!(asked(&namespace(Some("ada")), "other"), "team-a");
    }

    #[test]
    fn only_what_a_mailbox_takes_is_usable() {
        let (longest, too_long) = ("x".repeat(64), "x".repeat(65));
        for good in ["ada", "a.b", "0", "a._&'%/-z", &longest] {
            assert!(is_usable(good), "{good}");
        }
        for bad in ["", ".a", "a.", "a..b", "a b", "a@b", "a+b", "ä", "A", "a\"b", &too_long] {
            assert!(!is_usable(bad), "{bad}");
        }
    }

    #[test]
    fn a_guest_gets_no_reserved_name_however_it_is_written_and_tagged() {
        let reserved = Reserved::with(&[]);
        for kept in ["postmaster", "Postmaster", "postmaster+x", "POSTMASTER+postmaster", "postmaster+x+y"] {
            assert!(reserved.is_kept_from_guests(kept), "{kept}");
        }
        for free in ["ada", "ada+postmaster", "postmasters", "post.master", "+postmaster", ""] {
            assert!(!reserved.is_kept_from_guests(free), "{free}");
        }
    }

    #[test]
    fn the_installation_adds_to_what_is_reserved_everywhere() {
        let reserved = Reserved::with(&["CEO".to_owned(), " legal ".to_owned()]);
        for name in ["postmaster", "abuse", "hostmaster", "webmaster", "root", "mailer-daemon", "ceo", "legal"] {
            assert!(reserved.has(name), "{name}");
        }
        assert!(!reserved.has("ada"));
    }
}
