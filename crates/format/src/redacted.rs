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
        let pair = ContextPair { key: "canary".into(), value: "canary".into() };
        let body = AuditBody {
            principal_name: "canary".into(),
            source_address: "canary".into(),
            context: vec![pair.clone()],
            ..AuditBody::default()
        };
        let key =
            KeyRow { account: "canary".into(), description: "canary".into(), ..KeyRow::default() };
        let principal = PrincipalRow {
            account: "canary".into(),
            name: "canary".into(),
            ..PrincipalRow::default()
        };
        let shown = [
            format!("{pair:?}"),
            format!("{body:?}"),
            format!("{key:?}"),
            format!("{principal:?}"),
        ];
        let names = ["ContextPair", "AuditBody", "KeyRow", "PrincipalRow"];
        assert_eq!(shown, names.map(|name| format!("{name} {{ .. }}")));
    }
}
