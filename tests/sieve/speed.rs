//! How long compiling takes, run by hand: `cargo test --release --test sieve -- --ignored --nocapture speed`.

use std::time::Instant;

use super::world::{compiled, rules};

#[test]
#[ignore = "a measurement, not a test"]
fn a_thousand_rules() {
    let one = |i: usize| {
        format!(
            "{{match: {{all: [{{field: Sender, operator: Equals, values: [a{i}@b.test]}}]}}, actions: [{{forward: {{to: [c{i}@d.test]}}}}]}}"
        )
    };
    let yaml = format!("[{}]", (0..1000).map(one).collect::<Vec<_>>().join(", "));
    let rules = rules(&yaml);
    let started = Instant::now();
    let compiled = compiled(&rules);
    let took = started.elapsed();
    let long = compiled.script.unwrap().text.len();
    println!("{} of 1000 rules in {long} bytes, compiled in {took:?}", compiled.placed.len());
}
