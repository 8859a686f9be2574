//! Names: checked once, where they come in.

use mlops_core::{Error, Result};

/// Checks the name of a model: 1 to 128 ASCII letters, digits, `-`, `_` and `.`, in parts split by `/`.
///
/// # Errors
/// `Invalid`, with the rule that the name breaks.
///
/// ```
/// use mlops_registry::name;
///
/// assert!(name::check_model("shop/ranker").is_ok());
/// assert!(name::check_model("../shop").is_err());
/// ```
pub fn check_model(name: &str) -> Result<()> {
    let parts_fit = name.len() <= MODEL_BYTES_MAX && name.split('/').all(plain);
    let last_is_number = name.rsplit('/').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
    if parts_fit && !(last_is_number && name.contains('/')) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` cannot name a model: want 1 to {MODEL_BYTES_MAX} letters, digits, `-`, `_` or `.`, in parts split by `/` \
         that start with a letter or digit, and the last part not a number alone",
        shown(name)
    )))
}

/// Checks the name of an alias: 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
///
/// # Errors
/// `Invalid`, with the rule that the name breaks.
pub fn check_alias(name: &str) -> Result<()> {
    if name.bytes().all(|c| c.is_ascii_digit()) && !name.is_empty() {
        return Err(Error::invalid(format!(
            "`{}` cannot name an alias: it reads as a version; add a letter",
            shown(name)
        )));
    }
    if name.len() <= ALIAS_BYTES_MAX && plain(name) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` cannot name an alias: want 1 to {ALIAS_BYTES_MAX} letters, digits, `-`, `_` or `.`, the first a letter or digit",
        shown(name)
    )))
}

/// Checks the name of a model's file: a relative path with `/` between its parts, the same on every system.
///
/// Refused are absolute paths, `.` and `..`, backslashes, colons and other characters that Windows forbids,
/// control characters, names that Windows reserves (`CON`, `nul.txt`), parts that end with a dot or a blank,
/// parts over 255 bytes, names over 1024 bytes and names of unfinished downloads (`.mlops-part-`).
///
/// # Errors
/// `Invalid`, with the rule that the name breaks.
///
/// ```
/// use mlops_registry::name;
///
/// assert!(name::check_file("weights/layer 1.bin").is_ok());
/// assert!(name::check_file("../../etc/passwd").is_err());
/// ```
pub fn check_file(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid(format!("`{}` cannot name a file: {why}", shown(name))));
    if name.is_empty() || name.len() > FILE_BYTES_MAX {
        return refuse("want 1 to 1024 bytes");
    }
    if name.get(..PART_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PART_PREFIX)) {
        return refuse("unfinished downloads are named so");
    }
    for part in name.split('/') {
        if part.is_empty() {
            return refuse("a part between two `/` is empty, or it is an absolute path");
        }
        if part == "." || part == ".." {
            return refuse("`.` and `..` lead out of the model's folder");
        }
        if part.len() > FILE_PART_BYTES_MAX {
            return refuse("a part is longer than 255 bytes");
        }
        if part.chars().any(|c| c.is_control() || r#"\:*?"<>|"#.contains(c)) {
            return refuse(r#"it has a control character or one of \ : * ? " < > |"#);
        }
        if part.ends_with(['.', ' ']) || part.starts_with(' ') {
            return refuse("a part starts with a blank, or ends with a dot or a blank");
        }
        let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_uppercase();
        let numbered = |device| stem.strip_prefix(device).is_some_and(|n: &str| n.len() == 1 && n != "0");
        if ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str())
            || ((numbered("COM") || numbered("LPT")) && stem.ends_with(|c: char| c.is_ascii_digit()))
        {
            return refuse("Windows reserves it for a device");
        }
    }
    Ok(())
}

/// Checks a text for people or a key of a tag or metric: not empty, no control characters but line breaks and tabs.
pub(crate) fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("the {what} is empty: say something")));
    }
    if text.len() > bytes_max {
        return Err(Error::invalid(format!("the {what} has {} bytes: the limit is {bytes_max}", text.len())));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Error::invalid(format!("the {what} `{}` has a control character", shown(text))));
    }
    Ok(())
}

/// One part of a model's or alias' name.
fn plain(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_alphanumeric())
        && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// A hostile name, safe to print: escaped and cut.
fn shown(name: &str) -> String {
    name.escape_debug().take(80).collect()
}

/// How the names of unfinished downloads start.
pub(crate) const PART_PREFIX: &str = ".mlops-part-";
const MODEL_BYTES_MAX: usize = 128;
const ALIAS_BYTES_MAX: usize = 64;
const FILE_BYTES_MAX: usize = 1024;
const FILE_PART_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_aliases() {
        for name in ["shop", "team/shop-2.1", "a", "7", &"x".repeat(128)] {
            assert!(check_model(name).is_ok(), "{name}");
        }
        for name in
            ["", "/", "a/", "/a", "..", "a/..", "a@b", "a b", "é", "a\0", "shop/3", ".git", &"x".repeat(129)]
        {
            let message = check_model(name).unwrap_err().to_string();
            assert!(message.contains("cannot name a model") && !message.contains('\0'), "{message}");
        }
        assert!(check_alias("champion").is_ok());
        for name in ["", "a/b", "a@b", "-x", &"x".repeat(65)] {
            assert!(check_alias(name).is_err(), "{name}");
        }
    }

    #[test]
    fn files() {
        for name in
            ["model.onnx", "a/b/c.bin", "größe.json", ".hidden", "COM0", "console.txt", "com1x", "a b"]
        {
            assert!(check_file(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a\\b",
            "C:x",
            "a\0b",
            "nul",
            "NUL.txt",
            "com1.bin",
            "aux /x",
            "a.",
            "a ",
            " a",
            "LPT9",
            "a\nb",
            "a|b",
        ] {
            assert!(check_file(name).is_err(), "{name}");
        }
        assert!(check_file(&"x".repeat(256)).is_err());
        assert!(check_file(&"x/".repeat(600)).is_err());
    }
}
