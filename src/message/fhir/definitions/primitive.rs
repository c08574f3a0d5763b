//! The primitive types.

/// The primitive types whose JSON form or syntax differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Primitive {
    /// `base64Binary`.
    Base64Binary,
    /// `boolean`.
    Boolean,
    /// `canonical`: a URI with perhaps `|version` behind it.
    Canonical,
    /// `code`: no blanks but single ones inside.
    Code,
    /// `date`: a year, a month or a day.
    Date,
    /// `dateTime`: with a zone wherever it has a time.
    DateTime,
    /// `decimal`: its digits are kept.
    Decimal,
    /// `id`: up to 64 letters, digits, `-` and `.`.
    Id,
    /// `instant`: to the second, with a zone.
    Instant,
    /// `integer`.
    Integer,
    /// `markdown`.
    Markdown,
    /// `oid`: a URI that begins with `urn:oid:`.
    Oid,
    /// `positiveInt`: 1 or more.
    PositiveInt,
    /// `string`.
    String,
    /// `time`.
    Time,
    /// `unsignedInt`: 0 or more.
    UnsignedInt,
    /// `uri`.
    Uri,
    /// `url`: a URI that can be opened.
    Url,
    /// `uuid`: a URI that begins with `urn:uuid:`.
    Uuid,
    /// `xhtml`.
    Xhtml,
}

impl Primitive {
    /// Its name in R4, such as `dateTime`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base64Binary => "base64Binary",
            Self::Boolean => "boolean",
            Self::Canonical => "canonical",
            Self::Code => "code",
            Self::Date => "date",
            Self::DateTime => "dateTime",
            Self::Decimal => "decimal",
            Self::Id => "id",
            Self::Instant => "instant",
            Self::Integer => "integer",
            Self::Markdown => "markdown",
            Self::Oid => "oid",
            Self::PositiveInt => "positiveInt",
            Self::String => "string",
            Self::Time => "time",
            Self::UnsignedInt => "unsignedInt",
            Self::Uri => "uri",
            Self::Url => "url",
            Self::Uuid => "uuid",
            Self::Xhtml => "xhtml",
        }
    }

    /// True where JSON writes it as a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt)
    }
}

/// The primitive type called `name`.
#[must_use]
pub fn primitive(name: &str) -> Option<Primitive> {
    const ALL: [Primitive; 20] = [
        Primitive::Base64Binary,
        Primitive::Boolean,
        Primitive::Canonical,
        Primitive::Code,
        Primitive::Date,
        Primitive::DateTime,
        Primitive::Decimal,
        Primitive::Id,
        Primitive::Instant,
        Primitive::Integer,
        Primitive::Markdown,
        Primitive::Oid,
        Primitive::PositiveInt,
        Primitive::String,
        Primitive::Time,
        Primitive::UnsignedInt,
        Primitive::Uri,
        Primitive::Url,
        Primitive::Uuid,
        Primitive::Xhtml,
    ];
    ALL.into_iter().find(|primitive| primitive.name() == name)
}
