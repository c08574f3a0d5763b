//! The names of character sets: table 0211, and what people write instead.

use std::fmt;
use std::str::FromStr;

use encoding_rs::Encoding;

use super::Charset;

/// A name that stands for no character set that we read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no character set that is read here; write it like \"UNICODE UTF-8\", \"8859/1\" or \"windows-1252\"")]
pub struct UnknownCharset(String);

impl FromStr for Charset {
    type Err = UnknownCharset;

    /// Letters and digits alone count: `UTF8`, `utf-8` and `UNICODE UTF-8` are the same.
    fn from_str(name: &str) -> Result<Self, UnknownCharset> {
        if name == "UNICODE UTF-8" {
            return Ok(Self::Utf8);
        }
        let unknown = || UnknownCharset(name.chars().take(40).collect());
        let key: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        let key = key.strip_prefix("UNICODEUTF").map_or(key.clone(), |number| format!("UTF{number}"));
        match key.as_str() {
            "ASCII" | "USASCII" | "ASCII7" | "7BIT" | "ISOIR6" | "ISO646" | "ISO646US" | "ANSIX341968" => {
                Ok(Self::Ascii)
            }
            "UTF8" | "ISOIR192" => Ok(Self::Utf8),
            "UNICODE" | "UTF16" | "UTF16LE" | "UTF16BE" | "UTF32" | "UTF32LE" | "UTF32BE" | "UCS2" | "UCS4" => {
                Ok(Self::Unicode)
            }
            "LATIN1" | "L1" | "ISOLATIN1" | "ISOIR100" => Ok(Self::Latin1),
            "LATIN5" | "L5" | "ISOIR148" => Ok(Self::Latin5),
            "ISOIR13" | "ISOIR14" | "ISOIR87" | "ISOIR159" | "ISO2022JP" | "JIS" => Ok(Self::Japanese),
            "GB18030" | "GB180302000" | "GB180302005" | "GB180302022" | "GB2312" | "GBK" => {
                Ok(Self::Other(encoding_rs::GB18030))
            }
            "KSX1001" | "KSC5601" | "ISOIR149" => Ok(Self::Other(encoding_rs::EUC_KR)),
            "BIG5" => Ok(Self::Other(encoding_rs::BIG5)),
            // CNS 11643 is not here: nothing we know reads it, and it is not BIG-5.
            "CNS11643" | "CNS116431992" => Err(unknown()),
            key => iso_8859(key).or_else(|| by_label(name, key)).ok_or_else(unknown),
        }
    }
}

/// `8859/15` by its digits, `88591` to `885916`.
fn iso_8859(key: &str) -> Option<Charset> {
    let part = key.strip_prefix("ISO").unwrap_or(key).strip_prefix("8859")?;
    match part {
        "1" => Some(Charset::Latin1),
        "9" => Some(Charset::Latin5),
        _ => Encoding::for_label(format!("iso-8859-{part}").as_bytes()).map(Charset::Other),
    }
}

/// A label of the Encoding Standard; what it calls `utf-16` or `replacement` is not meant by it here.
fn by_label(name: &str, key: &str) -> Option<Charset> {
    let windows = key.strip_prefix("WINDOWS").or(key.strip_prefix("WIN")).or(key.strip_prefix("CP"));
    let label = windows.map_or_else(|| name.trim().to_ascii_lowercase(), |page| format!("windows-{page}"));
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    encoding.is_ascii_compatible().then_some(Charset::Other(encoding))
}

/// As table 0211 names it, or the Encoding Standard.
impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ascii => "ASCII",
            Self::Latin1 => "8859/1",
            Self::Latin5 => "8859/9",
            Self::Utf8 => "UNICODE UTF-8",
            Self::Unicode => "UNICODE UTF-16",
            Self::Japanese => "ISO IR87",
            Self::Other(encoding) if *encoding == encoding_rs::GB18030 => "GB 18030-2000",
            Self::Other(encoding) if *encoding == encoding_rs::EUC_KR => "KS X 1001",
            Self::Other(encoding) if *encoding == encoding_rs::BIG5 => "BIG-5",
            Self::Other(encoding) => match encoding.name().strip_prefix("ISO-8859-") {
                Some(part) => return write!(f, "8859/{part}"),
                None => encoding.name(),
            },
        })
    }
}

impl TryFrom<String> for Charset {
    type Error = UnknownCharset;

    fn try_from(name: String) -> Result<Self, UnknownCharset> {
        name.parse()
    }
}

impl From<Charset> for String {
    fn from(charset: Charset) -> Self {
        charset.to_string()
    }
}
