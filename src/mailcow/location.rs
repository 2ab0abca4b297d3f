//! The URL of a server in configuration.

use reqwest::Url;

/// Checks the URL and cuts a trailing `/api/v1` off.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with https:// or http://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it has no host name".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not contain a user name or password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must not contain ? or #".to_owned());
    }
    let path = url.path().trim_end_matches('/').trim_end_matches("/api/v1").trim_end_matches("/api").to_owned();
    url.set_path(&path);
    Ok(url)
}

/// What may stand in an error text of a URL that may hold a password.
pub(super) fn without_credentials(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_with_and_without_the_api_path() {
        for url in ["https://m.example.com", "https://m.example.com/", " https://m.example.com/api/v1/ "] {
            assert_eq!(base_url(url).unwrap().as_str(), "https://m.example.com/", "{url}");
        }
        assert_eq!(base_url("http://h:8080/mail/api/v1").unwrap().path(), "/mail");
    }

    #[test]
    fn what_is_no_url_says_what_is_wrong() {
        for url in ["", "mail.example.com", "ftp://x", "https://", "https://a:b@x.example", "https://x.example/?q=1"] {
            assert!(base_url(url).is_err(), "{url:?}");
        }
    }
}
