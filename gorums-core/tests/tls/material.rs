//! Errors in certificates and keys say what is wrong, and where.

use gorums_core::{ClientTls, ServerTls, TlsError};

use crate::pki::Ca;

fn server_error(certificates: &str, key: &str) -> TlsError {
    ServerTls::from_pem(certificates, key).unwrap_err()
}

#[test]
fn what_is_wrong_and_where() {
    let ca = Ca::new("ca");
    let (one, two) = (ca.issue(&["one"]), ca.issue(&["two"]));
    let damaged = one.certificate.replacen("MII", "!!!", 1);
    let cut = one.certificate.replace("-----END CERTIFICATE-----", "");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let encrypted = one.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (error, expected) in [
        (server_error("", &one.key), "the PEM given as certificate holds no certificate"),
        (server_error(&one.key, &one.key), "the PEM given as certificate holds no certificate"),
        (server_error(&damaged, &one.key), "the PEM given as certificate is not valid PEM: its base64"),
        (server_error(&cut, &one.key), "the PEM given as certificate is not valid PEM: missing section end"),
        (
            server_error(no_certificate, &one.key),
            "a certificate in the PEM given as certificate cannot be used",
        ),
        (server_error(&one.certificate, ""), "the PEM given as private key holds no private key"),
        (server_error(&one.certificate, &encrypted), "the PEM given as private key holds no private key"),
        (
            server_error(&one.certificate, bad_key),
            "the private key in the PEM given as private key cannot be used",
        ),
        (server_error(&one.certificate, &two.key), "does not belong to the first certificate"),
        (one.server().client_ca_pem("").unwrap_err(), "the PEM given as client CA holds no certificate"),
        (
            one.server().client_ca_pem(no_certificate).unwrap_err(),
            "a certificate in the PEM given as client CA cannot be used",
        ),
        (ClientTls::from_ca_pem("").unwrap_err(), "the PEM given as CA holds no certificate"),
        (ca.client().identity_pem(&one.certificate, &two.key).unwrap_err(), "does not belong"),
        (ca.client().server_name("no name").unwrap_err(), "\"no name\" cannot be the name of a server"),
        (ServerTls::from_files("/nowhere/a.pem", "b.key").unwrap_err(), "cannot read /nowhere/a.pem"),
        (ClientTls::from_ca_file("/nowhere/ca.pem").unwrap_err(), "cannot read /nowhere/ca.pem"),
    ] {
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn keys_are_not_shown() {
    let ca = Ca::new("ca");
    let issued = ca.issue(&["one"]);
    let secret = issued.key.lines().nth(1).unwrap();
    let damaged = issued.key.replacen(&secret[..4], "!!!!", 1);
    let spoiled = issued.key.replace("-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY");
    for key in [&damaged, &spoiled] {
        let error = server_error(&issued.certificate, key);
        assert!(!format!("{error} {error:?}").contains(&secret[8..24]), "{error:?}");
    }
    let (server, client) = (issued.server(), ca.client_as(&issued));
    assert!(!format!("{server:?} {client:?}").contains(&secret[8..24]));
}
