//! `Debug` of messages whose content must not reach a trace: the name alone.

use std::fmt;

use crate::store::{AuditBody, ContextPair, KeyRow, PrincipalRow};

macro_rules! redacted {
    ($($message:ident),*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($message), " { .. }"))
            }
        }
    )*};
}

redacted!(AuditBody, ContextPair, KeyRow, PrincipalRow);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_content_is_not_printed() {
        let pair = ContextPair { key: "project".into(), value: "canary".into() };
        let body = AuditBody { principal_name: "canary".into(), ..AuditBody::default() };
        assert!(!format!("{pair:?} {body:?}").contains("canary"));
    }
}
