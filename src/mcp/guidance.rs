//! What each reason means and what to do about it: the table of `docs/conditions.md`, which people read too.

/// The page.
const PAGE: &str = include_str!("../../docs/conditions.md");

/// What the page says about a reason; `None` for a word that is no reason.
pub(crate) fn what_to_do(reason: &str) -> Option<String> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("Reasons"))?;
    let row = section.lines().find_map(|line| line.strip_prefix(&format!("| `{reason}` | ")))?;
    let mut cells = row.trim_end_matches(" |").split(" | ").map(plain);
    let (meaning, todo) = (cells.next()?, cells.next()?);
    let todo = if todo == "nothing" { "you don't have to do anything".to_owned() } else { todo };
    Some(format!("{meaning}. What to do: {todo}"))
}

/// A text without code marks and links.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((label, (target, behind))) = after.split_once("](").and_then(|(l, r)| Some((l, r.split_once(')')?)))
        else {
            break;
        };
        out.push_str(before);
        out.push_str(label);
        let page = target.split('#').next().unwrap_or_default();
        if !page.is_empty() && label != page {
            out.push_str(" (docs/");
            out.push_str(page);
            out.push(')');
        }
        rest = behind;
    }
    out.push_str(rest);
    out.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_comes_with_what_to_do() {
        let text = what_to_do("DomainNotFound").unwrap();
        assert_eq!(text, "the EmailDomain of domainRef does not exist. What to do: create it");
        let text = what_to_do("MailcowNotConfigured").unwrap();
        assert!(text.ends_with("create the connection (docs/operations.md)"), "{text}");
        assert!(what_to_do("InSync").unwrap().contains("don't have to do anything"));
        assert_eq!(what_to_do("Ignore all rules"), None);
        assert_eq!(what_to_do(""), None);
    }

    #[test]
    fn no_markup_is_left() {
        let section = PAGE.split("\n## ").find(|section| section.starts_with("Reasons")).unwrap();
        let reasons = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut seen = 0;
        for reason in reasons {
            let text = what_to_do(reason).unwrap();
            assert!(!text.contains('`') && !text.contains("]("), "{text}");
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
    }
}
