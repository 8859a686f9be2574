//! The name of one request, by which its late label finds it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Result};

/// 128 bits that name one request. Prints and serialises as 32 hexadecimal digits.
///
/// Take it from an id that the host already has: a UUID or ULID as it is ([`from_u128`](Self::from_u128)), any
/// other key through [`from_key`](Self::from_key). Nothing here makes up ids, since that needs chance.
///
/// ```
/// use mlops_core::RequestId;
///
/// let id = RequestId::from_u128(0x2a);
/// assert_eq!(id.to_string(), "0000000000000000000000000000002a");
/// assert_eq!(id.to_string().parse::<RequestId>()?, id);
/// assert_ne!(RequestId::from_key("session-1"), RequestId::from_key("session-2"));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RequestId(u128);

impl RequestId {
    /// The id with these bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The id of a key of any length: the first half of its SHA-256.
    pub fn from_key(key: impl AsRef<[u8]>) -> Self {
        let mut head = [0; 16];
        head.copy_from_slice(&Digest::of(key).as_bytes()[..16]);
        Self(u128::from_be_bytes(head))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for RequestId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(Error::invalid(format!("`{text}` is not a request id: want 32 hexadecimal digits"))),
        }
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RequestId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}
