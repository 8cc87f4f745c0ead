use crate::proto::{
    kernel::Text,
    message::OwnedMessage,
    outbound::{Content, Outbound},
};
use alloc::string::String;
use core::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
};

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    #[inline]
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Text {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<str> for Text {
    #[inline]
    fn borrow(&self) -> &str {
        self
    }
}

/// Hashes as `str` does, so that a map with `Text` keys can be searched with a `&str`.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        str::hash(self, state);
    }
}

impl PartialEq<str> for Text {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        str::fmt(self, f)
    }
}

/// Shows the whole text, escaped, as `str` does.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Copies the text.
impl From<&str> for Text {
    fn from(text: &str) -> Self {
        String::from(text).into()
    }
}

impl From<Text> for OwnedMessage {
    #[inline]
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Text> for Outbound<'_> {
    #[inline]
    fn from(text: Text) -> Self {
        Content::Shared(text.into()).into()
    }
}
