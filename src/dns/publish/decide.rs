//! Whether records may go to external-dns: records of others are not replaced without consent.

use std::collections::BTreeSet;

use super::super::answer::{Answer, Kind, Outcome, Question};
use super::super::known::{Known, Need};
use super::super::name;
use super::super::wanted::Wanted;
use super::endpoint::{Endpoint, Purpose};
use crate::crd::DnsRecordKind;

/// What happens to the records of a purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are published.
    Publish,
    /// They stay as they are; why, in words.
    Hold(String),
}

/// What we published for the purpose before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published<'a> {
    /// The sets in our object; empty when there is none.
    pub endpoints: &'a [Endpoint],
}

/// The questions before [`decide`]: who receives the domain's mail now, and what is at the names.
pub fn questions(wanted: &Wanted, purpose: &Purpose) -> Vec<Question> {
    let mx = Question::new(wanted.domain.as_str(), Kind::Mx);
    let here = purpose.endpoints.iter().flat_map(|e| kinds(e).iter().map(|kind| Question::new(&e.dns_name, *kind)));
    std::iter::once(mx).chain(here).collect()
}

/// Decides for the records of one purpose.
///
/// Records that steer mail or judge it (all but DKIM, which only adds a key) wait while the domain's MX points
/// elsewhere, unless `cutover`. Other records at the same name and type wait too: external-dns replaces the whole set.
/// Texts of another family at the same name are never replaced, not even by `cutover`.
///
/// # Errors
/// When something has to be asked first.
pub fn decide(wanted: &Wanted, purpose: &Purpose, published: Published<'_>, known: &Known) -> Result<Decision, Need> {
    let cutover = wanted.spec.cutover;
    if let (false, true, Some(why)) = (cutover, steers(purpose.kind), elsewhere(wanted, known)?) {
        return Ok(Decision::Hold(why));
    }
    for endpoint in &purpose.endpoints {
        let answers = Need::all(kinds(endpoint).iter().map(|kind| known.ask(&endpoint.dns_name, *kind)))?;
        let hindered = answers.into_iter().find_map(|answer| hindered(endpoint, published, answer, cutover));
        if let Some(why) = hindered {
            return Ok(Decision::Hold(why));
        }
    }
    Ok(Decision::Publish)
}

/// Why an answer about a set's name prevents its publication, if so.
fn hindered(endpoint: &Endpoint, published: Published<'_>, answer: &Answer, cutover: bool) -> Option<String> {
    let name = &endpoint.dns_name;
    if let Some(why) = answer.failure() {
        return Some(format!("no answer for {name}: {why}"));
    }
    let cname = answer.cnames.first().filter(|_| endpoint.record_type != "CNAME");
    if let Some(cname) = cname {
        // A record behind a CNAME belongs to another name; a wildcard looks the same.
        let why = format!("{name} is a CNAME for {cname}, which allows no other record at the name: remove it, or ");
        return (!cutover).then(|| why + "set spec.dns.cutover: true to publish anyway");
    }
    let ours = ours(endpoint, published);
    let others = values(endpoint, answer).into_iter().filter(|value| !ours.contains(value)).collect::<Vec<_>>();
    in_the_way(endpoint, &others, cutover)
}

fn steers(kind: DnsRecordKind) -> bool {
    kind != DnsRecordKind::Dkim
}

/// Why mail goes to another server now; `None` when it goes to Mailcow, or nowhere.
fn elsewhere(wanted: &Wanted, known: &Known) -> Result<Option<String>, Need> {
    let answer = known.ask(wanted.domain.as_str(), Kind::Mx)?;
    let foreign = match &answer.outcome {
        Outcome::Failed(why) => return Ok(Some(format!("no answer for the MX of {}: {why}", wanted.domain))),
        Outcome::Mx(all) => all,
        _ => return Ok(None),
    };
    if foreign.iter().any(|mx| mx.exchange == wanted.mail_host.as_str()) {
        return Ok(None);
    }
    let hosts = foreign.iter().map(|mx| if mx.exchange.is_empty() { "." } else { &mx.exchange }).collect::<Vec<_>>();
    let hosts = hosts.join(", ");
    Ok(Some(format!("the MX points to {hosts}: set spec.dns.cutover: true to publish anyway")))
}

/// Values of the set that are expected or that we published before.
fn ours(endpoint: &Endpoint, published: Published<'_>) -> BTreeSet<String> {
    let same = |e: &&Endpoint| e.dns_name == endpoint.dns_name && e.record_type == endpoint.record_type;
    let before = published.endpoints.iter().filter(same).flat_map(|e| &e.targets);
    before.chain(&endpoint.targets).map(|target| comparable(&endpoint.record_type, target)).collect()
}

/// Why the set can't be replaced, if so.
fn in_the_way(endpoint: &Endpoint, others: &[String], cutover: bool) -> Option<String> {
    let name = &endpoint.dns_name;
    if endpoint.record_type == "TXT" {
        let strangers = others.iter().filter(|other| !endpoint.targets.iter().any(|t| is_family(other, t))).count();
        if strangers > 0 {
            return Some(format!(
                "there are other TXT records at {name} ({strangers}), and external-dns would replace them: list them in \
                 spec.dns.apexTxt if {name} is the domain itself, or add this record by hand"
            ));
        }
    }
    (!others.is_empty() && !cutover).then(|| {
        let kind = if endpoint.record_type == "CNAME" { "CNAME or address" } else { &endpoint.record_type };
        format!("there is another {kind} record at {name}: remove it, or set spec.dns.cutover: true to replace it")
    })
}

/// Whether two texts begin with the same version tag, such as `v=spf1`.
fn is_family(one: &str, other: &str) -> bool {
    let tag = |text: &str| text.split([' ', ';']).next().unwrap_or_default().to_ascii_lowercase();
    tag(one) == tag(other)
}

/// The types to ask about a set's name. A CNAME shows by its addresses, and addresses block a CNAME.
fn kinds(endpoint: &Endpoint) -> &'static [Kind] {
    match endpoint.record_type.as_str() {
        "MX" => &[Kind::Mx],
        "TXT" => &[Kind::Txt],
        "SRV" => &[Kind::Srv],
        _ => &[Kind::A, Kind::Aaaa],
    }
}

/// The values of an answer, in the form of targets, comparable.
fn values(endpoint: &Endpoint, answer: &Answer) -> Vec<String> {
    if let Some(cname) = answer.cnames.first().filter(|_| endpoint.record_type == "CNAME") {
        return vec![name::canonical(cname)];
    }
    match &answer.outcome {
        Outcome::Addresses(all) => all.iter().map(ToString::to_string).collect(),
        Outcome::Srv(all) => {
            all.iter().map(|srv| format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target)).collect()
        }
        Outcome::Mx(all) => all.iter().map(|mx| format!("{} {}", mx.preference, mx.exchange)).collect(),
        Outcome::Txt(texts) => texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect(),
        _ => Vec::new(),
    }
}

fn comparable(record_type: &str, target: &str) -> String {
    if record_type == "TXT" { target.to_owned() } else { name::canonical(target) }
}

#[cfg(test)]
mod tests {
    use super::super::super::answer::{Mx, Srv};
    use super::super::super::wanted::expected;
    use super::super::purposes;
    use super::*;
    use crate::crd::{DnsSource, DnsSpec};
    use crate::mail::DomainName;

    fn wanted(cutover: bool) -> Wanted {
        Wanted {
            domain: DomainName::parse("example.com").unwrap(),
            mail_host: DomainName::parse("mail.host.test").unwrap(),
            egress: Vec::new(),
            certificate_authority: String::new(),
            dkim: None,
            spec: DnsSpec { cutover, ..DnsSpec::default() },
        }
    }

    fn purpose(kind: DnsRecordKind, apex: &[&str]) -> Purpose {
        let apex = apex.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        purposes(&expected(&wanted(false)), &apex).into_iter().find(|p| p.kind == kind).unwrap()
    }

    /// What DNS holds: hosts of the MX, texts at the apex.
    fn known(mx: &[&str], texts: &[&str]) -> Known {
        let mut known = Known::default();
        let mx = mx.iter().map(|host| Mx { preference: 10, exchange: (*host).to_owned() }).collect::<Vec<_>>();
        let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let mx = if mx.is_empty() { Outcome::NoData } else { Outcome::Mx(mx) };
        let texts = if texts.is_empty() { Outcome::NoData } else { Outcome::Txt(texts) };
        for (kind, outcome) in [(Kind::Mx, mx), (Kind::Txt, texts)] {
            known.learn(Question::new("example.com", kind), vec![Answer::new(outcome, DnsSource::Authoritative)]);
        }
        known
    }

    fn decided(purpose: &Purpose, before: &[Endpoint], (cutover, known): (bool, &Known)) -> Decision {
        decide(&wanted(cutover), purpose, Published { endpoints: before }, known).unwrap()
    }

    fn held(decision: &Decision) -> &str {
        match decision {
            Decision::Hold(why) => why,
            Decision::Publish => "",
        }
    }

    #[test]
    fn an_empty_zone_gets_everything() {
        for kind in [DnsRecordKind::Mx, DnsRecordKind::Spf] {
            assert_eq!(decided(&purpose(kind, &[]), &[], (false, &known(&[], &[]))), Decision::Publish);
        }
    }

    #[test]
    fn mail_that_goes_elsewhere_stays_there_until_cutover() {
        let elsewhere = known(&["mx.other.test"], &[]);
        for kind in [DnsRecordKind::Mx, DnsRecordKind::Spf, DnsRecordKind::Dmarc] {
            let decision = decided(&purpose(kind, &[]), &[], (false, &elsewhere));
            assert!(held(&decision).contains("mx.other.test"), "{kind:?}: {decision:?}");
        }
        for kind in [DnsRecordKind::Mx, DnsRecordKind::Spf] {
            assert_eq!(decided(&purpose(kind, &[]), &[], (true, &elsewhere)), Decision::Publish);
        }
    }

    #[test]
    fn foreign_texts_are_never_replaced_but_published_along_where_listed() {
        let site = known(&["mail.host.test"], &["site-verification=1"]);
        for cutover in [false, true] {
            let decision = decided(&purpose(DnsRecordKind::Spf, &[]), &[], (cutover, &site));
            assert!(held(&decision).contains("apexTxt"), "{decision:?}");
        }
        let listed = purpose(DnsRecordKind::Spf, &["site-verification=1"]);
        assert_eq!(decided(&listed, &[], (false, &site)), Decision::Publish);
    }

    #[test]
    fn another_spf_record_waits_for_cutover_and_our_old_one_does_not() {
        let old = known(&["mail.host.test"], &["v=spf1 mx ip4:192.0.2.1 -all"]);
        let spf = purpose(DnsRecordKind::Spf, &[]);
        assert!(held(&decided(&spf, &[], (false, &old))).contains("cutover"));
        assert_eq!(decided(&spf, &[], (true, &old)), Decision::Publish);
        let targets = vec!["v=spf1 mx ip4:192.0.2.1 -all".to_owned()];
        let before = Endpoint { targets, ..spf.endpoints[0].clone() };
        assert_eq!(decided(&spf, &[before], (false, &old)), Decision::Publish);
    }

    /// Decides on one record of this type at a name of which DNS says this.
    fn of_type(record_type: &str, target: &str, (answer, cutover): (Answer, bool)) -> Decision {
        let endpoint = Endpoint {
            dns_name: "x.example.com".into(),
            record_type: record_type.into(),
            targets: vec![target.to_owned()],
        };
        let mut known = known(&["mail.host.test"], &[]);
        for kind in kinds(&endpoint) {
            known.learn(Question::new("x.example.com", *kind), vec![answer.clone()]);
        }
        let purpose = Purpose { kind: DnsRecordKind::Autodiscover, endpoints: vec![endpoint] };
        decided(&purpose, &[], (cutover, &known))
    }

    #[test]
    fn another_cname_address_or_service_waits_for_cutover_and_our_own_does_not() {
        let of = |outcome: Outcome| Answer::new(outcome, DnsSource::Authoritative);
        let cname = |to: &str| Answer { cnames: vec![to.into()], ..of(Outcome::NxDomain) };
        let srv =
            |target: &str| of(Outcome::Srv(vec![Srv { priority: 0, weight: 1, port: 443, target: target.into() }]));
        let address = of(Outcome::Addresses(vec!["192.0.2.1".parse().unwrap()]));
        let (host, service) = ("mail.host.test", "0 1 443 mail.host.test.");
        for (record_type, target, foreign) in [
            ("CNAME", host, cname("other.test")),
            ("CNAME", host, address),
            ("SRV", service, srv("other.test")),
            ("TXT", "v=TLSRPTv1", cname("other.test")),
        ] {
            let held = of_type(record_type, target, (foreign.clone(), false));
            assert!(matches!(&held, Decision::Hold(why) if why.contains("cutover")), "{foreign:?}: {held:?}");
            assert_eq!(of_type(record_type, target, (foreign, true)), Decision::Publish);
        }
        assert_eq!(of_type("CNAME", host, (cname("Mail.Host.test"), false)), Decision::Publish);
        assert_eq!(of_type("SRV", service, (srv(host), false)), Decision::Publish);
        assert_eq!(of_type("CNAME", host, (of(Outcome::NxDomain), false)), Decision::Publish);
    }

    #[test]
    fn without_an_answer_nothing_is_published() {
        let mut known = known(&[], &[]);
        let failed = Answer::new(Outcome::Failed("timeout".into()), DnsSource::Authoritative);
        known.learn(Question::new("example.com", Kind::Mx), vec![failed]);
        assert!(held(&decided(&purpose(DnsRecordKind::Spf, &[]), &[], (true, &self::known(&[], &[])))).is_empty());
        assert!(held(&decided(&purpose(DnsRecordKind::Mx, &[]), &[], (true, &known))).contains("no answer"));
        assert!(
            decide(&wanted(false), &purpose(DnsRecordKind::Mx, &[]), Published { endpoints: &[] }, &Known::default())
                .is_err()
        );
    }

    #[test]
    fn what_is_asked_is_what_is_decided_on() {
        let spf = purpose(DnsRecordKind::Spf, &[]);
        let asked = questions(&wanted(false), &spf);
        assert_eq!(asked, [Question::new("example.com", Kind::Mx), Question::new("example.com", Kind::Txt)]);
    }
}
