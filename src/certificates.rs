//! Certificate authorities as users write them: PEM text.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Reads certificates in PEM form, one after the other (RFC 7468, section 5).
///
/// # Errors
/// In words, what is wrong with the text: without this check what can't be read would be left out, and every connection
/// refused for another reason.
pub(crate) fn read(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut store = RootCertStore::empty();
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der =
            der.map_err(|error| format!("ca.crt is invalid: {error}; give the complete certificate as PEM text"))?;
        let read = store.add(der.clone()).map_err(|error| error.to_string());
        read.map_err(|why| format!("ca.crt is invalid: {why}; give the complete certificate as PEM text"))?;
        found.push(der);
    }
    if found.is_empty() {
        let why =
            "ca.crt has no certificate; give PEM text that begins with -----BEGIN CERTIFICATE-----, or remove ca.crt";
        return Err(why.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let certified = rcgen::generate_simple_self_signed(vec!["m.example.com".to_owned()]).unwrap();
        let good = certified.cert.pem();
        assert_eq!(read(&format!("{good}\n{good}")).unwrap().len(), 2);
        let cut = &good[..good.len() / 2];
        for (pem, words) in [
            ("", "has no certificate"),
            ("hello", "has no certificate"),
            (&certified.signing_key.serialize_pem(), "has no certificate"),
            (cut, "is invalid"),
            ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "is invalid"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is invalid"),
        ] {
            let why = read(pem).unwrap_err();
            assert!(why.contains(words), "{pem:?}: {why}");
        }
    }
}
