//! `check_host()` over the answers known so far (RFC 7208, sections 4 to 6).

use std::net::IpAddr;

use super::super::answer::{Answer, Kind, Outcome};
use super::super::known::{Known, Need};
use super::super::name;
use super::macros::{MacroString, Values};
use super::mechanism::{Mechanism, Prefixes, same_network};
use super::record::{Directive, Record, is_record};
use super::result::{Evaluation, Sender, SpfResult};

/// Terms that may look up in one evaluation (section 4.6.4).
pub(super) const MOST_LOOKUPS: usize = 10;
/// Lookups that may find nothing (section 4.6.4).
const MOST_VOIDS: usize = 2;
/// Names that an `mx` or `ptr` may look up (section 4.6.4).
const MOST_NAMES: usize = 10;

/// Why an evaluation ends early: a question to ask, no answer from DNS, or a broken record.
pub(super) enum Stop {
    Need(Need),
    Temporary(String),
    Permanent(String),
}

impl From<Need> for Stop {
    fn from(need: Need) -> Self {
        Self::Need(need)
    }
}

/// Evaluates the SPF record of the sender's domain.
///
/// # Errors
/// When something has to be asked first.
pub fn evaluate(sender: &Sender, known: &Known) -> Result<Evaluation, Need> {
    let (local, domain) = sender.address();
    let domain = name::canonical(domain);
    let mut walk = Walk {
        known,
        local,
        sender_domain: domain.clone(),
        sender,
        ip: sender.ip.to_canonical(),
        lookups: 0,
        voids: 0,
    };
    let ended = if name::labels(&domain) < 2 || domain.starts_with('[') || !name::is_askable(&domain) {
        Ok(Decision::of(SpfResult::None))
    } else {
        walk.check(&domain)
    };
    let mut evaluation = Evaluation { lookups: walk.lookups, voids: walk.voids, ..Evaluation::of(SpfResult::None) };
    match ended {
        Ok(decision) => {
            evaluation.explanation = walk.explain(&decision)?;
            evaluation.result = decision.result;
            evaluation.term = decision.term;
        }
        Err(Stop::Need(need)) => return Err(need),
        Err(Stop::Temporary(problem)) => {
            (evaluation.result, evaluation.problem) = (SpfResult::TempError, Some(problem));
        }
        Err(Stop::Permanent(problem)) => {
            (evaluation.result, evaluation.problem) = (SpfResult::PermError, Some(problem));
        }
    }
    Ok(evaluation)
}

/// The result of one record.
struct Decision {
    result: SpfResult,
    term: Option<String>,
    /// Where the explanation stands, and the domain that gives it.
    explanation: Option<(MacroString, String)>,
}

impl Decision {
    fn of(result: SpfResult) -> Self {
        Self { result, term: None, explanation: None }
    }
}

/// One evaluation on its way.
struct Walk<'a> {
    known: &'a Known,
    sender: &'a Sender,
    local: &'a str,
    sender_domain: String,
    ip: IpAddr,
    lookups: usize,
    voids: usize,
}

impl<'a> Walk<'a> {
    /// Section 4.4 to 4.7. The number of terms that look up bounds the depth.
    fn check(&mut self, domain: &str) -> Result<Decision, Stop> {
        let Some(text) = select(domain, self.known.ask(domain, Kind::Txt)?)? else {
            return Ok(Decision::of(SpfResult::None));
        };
        let record = Record::parse(text).map_err(|problem| Stop::Permanent(format!("in {domain}: {problem}")))?;
        for directive in &record.directives {
            if self.matches(directive, domain)? {
                let term = Some(format!("{} in {domain}", directive.text));
                let explanation = record.explanation.clone().map(|exp| (exp, domain.to_owned()));
                return Ok(Decision { result: directive.result, term, explanation });
            }
        }
        match &record.redirect {
            Some(target) => self.redirect(target, domain),
            None => Ok(Decision::of(SpfResult::Neutral)),
        }
    }

    /// Section 6.1.
    fn redirect(&mut self, target: &MacroString, domain: &str) -> Result<Decision, Stop> {
        self.count_lookup(domain)?;
        let target = self.expand(target, domain)?;
        let decision = self.check(&target)?;
        if decision.result == SpfResult::None {
            return Err(Stop::Permanent(format!("in {domain}: redirect={target}, but {target} has no SPF record")));
        }
        Ok(decision)
    }

    fn matches(&mut self, directive: &Directive, domain: &str) -> Result<bool, Stop> {
        if directive.mechanism.looks_up() {
            self.count_lookup(domain)?;
        }
        match &directive.mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network, bits) => Ok(same_network(self.ip, *network, *bits)),
            Mechanism::Include(target) => self.include(target, domain),
            Mechanism::A(target, prefixes) => {
                let target = self.target(target.as_ref(), domain)?;
                self.has_address(&target, *prefixes)
            }
            Mechanism::Mx(target, prefixes) => {
                let target = self.target(target.as_ref(), domain)?;
                self.has_exchanger(&target, *prefixes)
            }
            Mechanism::Ptr(target) => {
                let target = self.target(target.as_ref(), domain)?;
                let names = self.validated_names(true)?;
                Ok(names.iter().any(|name| name::is_within(name, &target)))
            }
            Mechanism::Exists(target) => {
                let target = self.expand(target, domain)?;
                let answer = self.fetch(&target, Kind::A)?;
                Ok(!answer.addresses().is_empty())
            }
        }
    }

    /// Section 5.2.
    fn include(&mut self, target: &MacroString, domain: &str) -> Result<bool, Stop> {
        let target = self.expand(target, domain)?;
        match self.check(&target)?.result {
            SpfResult::Pass => Ok(true),
            SpfResult::None => {
                Err(Stop::Permanent(format!("in {domain}: include:{target}, but {target} has no SPF record")))
            }
            _ => Ok(false),
        }
    }

    /// Section 5.3.
    fn has_address(&mut self, host: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        let ip = self.ip;
        let answer = self.fetch(host, self.family())?;
        Ok(answer.addresses().iter().any(|address| prefixes.same_network(ip, *address)))
    }

    /// Section 5.4.
    fn has_exchanger(&mut self, domain: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        let answer = self.fetch(domain, Kind::Mx)?;
        let Outcome::Mx(records) = &answer.outcome else { return Ok(false) };
        if records.len() > MOST_NAMES {
            return Err(Stop::Permanent(format!("mx:{domain} has {} names, more than {MOST_NAMES}", records.len())));
        }
        let hosts = records.iter().map(|mx| mx.exchange.as_str()).filter(|host| !host.is_empty()).collect::<Vec<_>>();
        Need::all(hosts.iter().map(|host| self.known.ask(host, self.family())))?;
        for host in hosts {
            if self.has_address(host, prefixes)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The names of the client whose addresses lead back to it (section 5.5). Errors find nothing.
    fn validated_names(&mut self, counted: bool) -> Result<Vec<String>, Stop> {
        let answer = self.known.ask(&name::reverse(self.ip), Kind::Ptr)?;
        if counted && answer.is_void() {
            self.count_void("ptr")?;
        }
        let Outcome::Names(names) = &answer.outcome else { return Ok(Vec::new()) };
        let names = names.iter().take(MOST_NAMES).collect::<Vec<_>>();
        let answers = Need::all(names.iter().map(|name| self.known.ask(name, self.family())))?;
        let validated = names.into_iter().zip(answers).filter(|(_, answer)| answer.addresses().contains(&self.ip));
        Ok(validated.map(|(name, _)| name.clone()).collect())
    }

    /// An answer to a term's lookup, counted when it is void (section 4.6.4) and fatal when there is none (section 5).
    fn fetch(&mut self, name: &str, kind: Kind) -> Result<&'a Answer, Stop> {
        let answer = self.known.ask(name, kind)?;
        trusted(name, answer)?;
        if answer.is_void() {
            self.count_void(name)?;
        }
        Ok(answer)
    }

    fn count_void(&mut self, name: &str) -> Result<(), Stop> {
        self.voids += 1;
        if self.voids > MOST_VOIDS {
            return Err(Stop::Permanent(format!(
                "more than {MOST_VOIDS} lookups find nothing, the last one for {name}: remove terms whose names don't exist"
            )));
        }
        Ok(())
    }

    fn count_lookup(&mut self, domain: &str) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > MOST_LOOKUPS {
            return Err(Stop::Permanent(format!(
                "more than {MOST_LOOKUPS} terms need a lookup, the last one in {domain}"
            )));
        }
        Ok(())
    }

    fn family(&self) -> Kind {
        if self.ip.is_ipv4() { Kind::A } else { Kind::Aaaa }
    }

    fn target(&mut self, target: Option<&MacroString>, domain: &str) -> Result<String, Stop> {
        target.map_or_else(|| Ok(domain.to_owned()), |target| self.expand(target, domain))
    }

    fn expand(&mut self, text: &MacroString, domain: &str) -> Result<String, Stop> {
        let validated = self.best_name(text, domain)?;
        Ok(text.expand_name(&self.values(domain, &validated)))
    }

    fn values<'b>(&'b self, domain: &'b str, validated: &'b str) -> Values<'b> {
        let (helo, local, sender_domain) = (self.sender.helo.as_str(), self.local, self.sender_domain.as_str());
        Values { local, sender_domain, domain, helo, ip: self.ip, validated }
    }

    /// The value of `%{p}`: the domain itself, a name below it, or any (section 7.3).
    fn best_name(&mut self, text: &MacroString, domain: &str) -> Result<String, Stop> {
        if !text.uses('p') {
            return Ok("unknown".to_owned());
        }
        let names = self.validated_names(false)?;
        let best = names
            .iter()
            .find(|name| *name == domain)
            .or_else(|| names.iter().find(|name| name::is_within(name, domain)))
            .or_else(|| names.first());
        Ok(best.cloned().unwrap_or_else(|| "unknown".to_owned()))
    }

    /// The explanation of a `fail`; whatever goes wrong, there is none (section 6.2).
    fn explain(&mut self, decision: &Decision) -> Result<Option<String>, Need> {
        let (SpfResult::Fail, Some((target, domain))) = (decision.result, &decision.explanation) else {
            return Ok(None);
        };
        let found = match self.expand(target, domain) {
            Ok(name) => self.known.ask(&name, Kind::Txt)?,
            Err(Stop::Need(need)) => return Err(need),
            Err(_) => return Ok(None),
        };
        let [text] = found.texts() else { return Ok(None) };
        let Ok(text) = std::str::from_utf8(text) else { return Ok(None) };
        let Ok(explanation) = MacroString::parse(text, true) else { return Ok(None) };
        match self.best_name(&explanation, domain) {
            Ok(validated) => Ok(Some(explanation.expand(&self.values(domain, &validated)))),
            Err(Stop::Need(need)) => Err(need),
            Err(_) => Ok(None),
        }
    }
}

/// The one SPF record among the texts (section 4.5).
pub(super) fn select<'a>(domain: &str, answer: &'a Answer) -> Result<Option<&'a [u8]>, Stop> {
    trusted(domain, answer)?;
    let mut records = answer.texts().iter().map(Vec::as_slice).filter(|text| is_record(text));
    match (records.next(), records.next()) {
        (first, None) => Ok(first),
        _ => Err(Stop::Permanent(format!("{domain} has more than one SPF record"))),
    }
}

fn trusted(name: &str, answer: &Answer) -> Result<(), Stop> {
    match &answer.outcome {
        Outcome::Failed(why) => Err(Stop::Temporary(format!("no answer for {name}: {why}"))),
        Outcome::CnameLoop => Err(Stop::Temporary(format!("the CNAME records at {name} form a loop"))),
        _ => Ok(()),
    }
}
