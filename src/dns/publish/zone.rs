//! Records as lines of a master file (RFC 1035, section 5.1), to be included into the domain's zone.

use std::fmt::Write as _;

use super::super::wanted::Expected;

/// The lines of the records: absolute names, no TTL (the zone's `$TTL` counts), TXT in quoted strings of at most 255
/// bytes. Within quotes `;` begins no comment, so that it needs no backslash.
pub fn zone(domain: &str, records: &[Expected]) -> String {
    let mut text = format!("; Records for mail of {domain}, for its zone. Names are absolute.\n");
    for record in records {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}", record.zone_line());
    }
    text
}
