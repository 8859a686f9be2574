//! Addresses of PostgreSQL, with the settings of TLS that libpq knows and the driver does not.

use mlops_core::{Error, Result};

/// An address as the driver takes it, and the file that its `sslrootcert` names.
pub(super) fn parse(address: &str) -> Result<(String, Option<String>)> {
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme));
    if is_url {
        let Some((place, query)) = address.split_once('?') else { return Ok((address.to_owned(), None)) };
        let (settings, root) = settings(query.split('&'))?;
        let query = settings.join("&");
        let address = if query.is_empty() { place.to_owned() } else { format!("{place}?{query}") };
        return Ok((address, root.map(|root| decoded(&root)).transpose()?));
    }
    if address.contains("ssl") && address.contains(['\'', '\\']) {
        return Err(Error::invalid(
            "the address has quotes beside settings of TLS: write it as postgres://user:password@host/database?sslmode=...",
        ));
    }
    let (settings, root) = settings(address.split_whitespace())?;
    Ok((if address.contains("ssl") { settings.join(" ") } else { address.to_owned() }, root))
}

/// The settings as the driver takes them, and `sslrootcert`.
fn settings<'a>(all: impl Iterator<Item = &'a str>) -> Result<(Vec<String>, Option<String>)> {
    let (mut kept, mut root) = (Vec::new(), None);
    for setting in all {
        match setting.split_once('=') {
            Some(("sslrootcert", path)) => root = Some(path.to_owned()),
            Some(("sslmode", mode)) => kept.push(format!("sslmode={}", driver_mode(mode)?)),
            _ => kept.push(setting.to_owned()),
        }
    }
    Ok((kept, root))
}

fn driver_mode(mode: &str) -> Result<&'static str> {
    match mode {
        "disable" => Ok("disable"),
        "require" | "verify-ca" | "verify-full" => Ok("require"),
        "prefer" | "allow" => Err(Error::invalid(format!(
            "`sslmode={mode}` lets the server choose plain text: say `sslmode=verify-full`, or `sslmode=disable` for none"
        ))),
        _ => Err(Error::invalid(format!(
            "`sslmode={}` is not known: want `verify-full` or `disable`",
            mode.escape_debug()
        ))),
    }
}

/// A value of a URL without its percent signs.
fn decoded(value: &str) -> Result<String> {
    let wrong = || {
        let shown = value.escape_debug();
        Error::invalid(format!(
            "`sslrootcert={shown}` has a `%` that no two hexadecimal digits follow, or is no UTF-8"
        ))
    };
    let mut bytes = Vec::with_capacity(value.len());
    let mut parts = value.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn settings_of_tls_mean_what_they_say() {
        for (address, want, root) in [
            ("postgres://h/d", "postgres://h/d", None),
            ("postgres://h/d?sslmode=verify-full", "postgres://h/d?sslmode=require", None),
            (
                "postgresql://h/d?sslrootcert=%2Fetc%2Fmy%20ca.pem&sslmode=verify-ca&connect_timeout=3",
                "postgresql://h/d?sslmode=require&connect_timeout=3",
                Some("/etc/my ca.pem"),
            ),
            ("postgres://h/d?sslrootcert=/ca.pem", "postgres://h/d", Some("/ca.pem")),
            ("host=h sslmode=require sslrootcert=/100%.pem", "host=h sslmode=require", Some("/100%.pem")),
            ("host=h password='a  b'", "host=h password='a  b'", None),
        ] {
            assert_eq!(parse(address).unwrap(), (want.to_owned(), root.map(str::to_owned)), "{address}");
        }
        for (address, why) in [
            ("postgres://h/d?sslmode=prefer", "lets the server choose plain text"),
            ("host=h sslmode=allow", "lets the server choose plain text"),
            ("postgres://h/d?sslmode=full", "`sslmode=full` is not known"),
            ("postgres://h/d?sslmode=require&sslrootcert=%2", "two hexadecimal digits"),
            ("postgres://h/d?sslmode=require&sslrootcert=%+1", "two hexadecimal digits"),
            ("host=h sslmode=require sslrootcert='/a b'", "has quotes beside settings of TLS"),
        ] {
            let error = parse(address).unwrap_err();
            assert!(error.to_string().contains(why), "{address}: {error}");
        }
    }
}
