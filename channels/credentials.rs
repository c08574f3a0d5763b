//! How a client shows a server who it is: basic or bearer.

use axum::http::HeaderValue;
use base64::Engine as _;
use message::Sha256;
use serde::Deserialize;

use crate::setting::Secret;

/// What goes into `Authorization`: `{ basic = { user = "…", password = "…" } }` (RFC 7617) or
/// `{ bearer = { token = "…" } }` (RFC 6750). Never prints its secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Credentials {
    scheme: Scheme,
    /// Marked as sensitive, so that it prints as such.
    authorization: HeaderValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Basic,
    Bearer,
}

/// As a site's file has it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Basic { user: String, password: Secret },
    Bearer { token: Secret },
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Bearer => "Bearer",
        }
    }
}

impl TryFrom<Written> for Credentials {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Basic { user, .. } if user.contains(':') => Err("the user of basic credentials cannot have a `:`"),
            Written::Basic { user, password } => {
                let pair = format!("{user}:{}", password.reveal());
                Self::new(Scheme::Basic, &base64::engine::general_purpose::STANDARD.encode(pair))
            }
            Written::Bearer { token } => Self::new(Scheme::Bearer, token.reveal()),
        }
    }
}

impl Credentials {
    fn new(scheme: Scheme, secret: &str) -> Result<Self, &'static str> {
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is one word of visible ASCII: look for a blank or line end in it");
        }
        let mut authorization =
            HeaderValue::try_from(format!("{} {secret}", scheme.as_str())).map_err(|_| "no legal header")?;
        authorization.set_sensitive(true);
        Ok(Self { scheme, authorization })
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// The scheme, as `WWW-Authenticate` names it.
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme.as_str()
    }

    /// True if `given`, a request's `Authorization`, shows the same secret. Takes as long for a near
    /// miss as for a far one.
    pub(crate) fn admits(&self, given: Option<&HeaderValue>) -> bool {
        let secret_of = |value: &HeaderValue| {
            let (scheme, secret) = value.as_bytes().split_at_checked(self.scheme().len())?;
            let same_scheme = scheme.eq_ignore_ascii_case(self.scheme().as_bytes()) && secret.starts_with(b" ");
            same_scheme.then(|| Sha256::of(secret.trim_ascii()))
        };
        given.and_then(secret_of).is_some_and(|given| secret_of(&self.authorization) == Some(given))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn read(toml: &str) -> Result<Credentials, toml::de::Error> {
        #[derive(Deserialize)]
        struct Site {
            credentials: Credentials,
        }
        toml::from_str::<Site>(toml).map(|site| site.credentials)
    }

    #[track_caller]
    fn check_admits(written: &str, given: &str, admitted: bool) {
        let credentials = read(written).unwrap();
        assert_eq!(credentials.admits(Some(&HeaderValue::from_str(given).unwrap())), admitted, "{given}");
    }

    #[track_caller]
    fn check_wrong(written: &str, expected: Expect) {
        expected.assert_eq(read(written).unwrap_err().message());
    }

    const BEARER: &str = r#"credentials = { bearer = { token = "s3cret" } }"#;
    const BASIC: &str = r#"credentials = { basic = { user = "emr", password = "pä:ss" } }"#;

    #[test]
    fn admits_the_same_secret_only() {
        check_admits(BEARER, "Bearer s3cret", true);
        check_admits(BEARER, "bearer  s3cret", true);
        check_admits(BEARER, "Bearer s3cre", false);
        check_admits(BEARER, "Bearers3cret", false);
        check_admits(BEARER, "Basic s3cret", false);
        check_admits(BEARER, "", false);
        check_admits(BASIC, "Basic ZW1yOnDDpDpzcw==", true);
        check_admits(BASIC, "Basic ZW1yOnDDpDpzcwo=", false);
    }

    #[test]
    fn admits_nobody_without_authorization() {
        assert!(!read(BEARER).unwrap().admits(None));
    }

    #[test]
    fn says_what_is_wrong_without_the_secret() {
        check_wrong(
            r#"credentials = { bearer = { token = "s3cret\n" } }"#,
            expect!["a token is one word of visible ASCII: look for a blank or line end in it"],
        );
        check_wrong(
            r#"credentials = { basic = { user = "a:b", password = "s3cret" } }"#,
            expect!["the user of basic credentials cannot have a `:`"],
        );
        check_wrong(
            r#"credentials = { digest = { user = "a" } }"#,
            expect!["unknown variant `digest`, expected `basic` or `bearer`"],
        );
    }

    #[test]
    fn never_prints_its_secret() {
        let printed = format!("{:?} {:?}", read(BEARER).unwrap(), read(BASIC).unwrap());
        assert!(!printed.contains("s3cret") && !printed.contains("ZW1y"), "{printed}");
    }
}
