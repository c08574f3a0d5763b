//! Where a condition looks: in HL7 v2, in a value at hand, in a resource.

use super::Expression;
use crate::hl7v2::Path;

/// Where a test looks.
#[derive(Clone, Debug)]
pub enum Place {
    /// `PID-3[1].4`: in an HL7 v2 message. Where the path names no segment or repetition, all count.
    Hl7v2(Path),
    /// `CWE.1`: in the value at hand, in data type maps.
    Component(ComponentPath),
    /// `Patient.name.where(use = 'official')`: in a resource.
    Fhir(FhirPath),
}

/// A component of a value, by its data type: `CX.4.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentPath {
    /// The data type, such as `CX`.
    pub data_type: String,
    /// The component, counted from 1; the whole value where `None`.
    pub component: Option<usize>,
    /// The subcomponent, counted from 1.
    pub subcomponent: Option<usize>,
}

/// A path in a resource.
#[derive(Clone, Debug)]
pub struct FhirPath {
    /// The resource type that it begins with: the resource itself if it is one, or each entry of a Bundle that is.
    pub resource_type: Option<String>,
    /// What follows.
    pub steps: Vec<Step>,
}

/// One step of a path in a resource.
#[derive(Clone, Debug)]
pub enum Step {
    /// `.name`: the elements of that name; `value` also finds `valueQuantity` and its like.
    Child(String),
    /// `[n]`: the item with this number, counted from 0.
    Index(usize),
    /// `.last()`: the last item.
    Last,
    /// `.ofType(…)`: the resources of this type.
    OfType(String),
    /// `.resolve()`: what the references refer to, where it stands in the Bundle.
    Resolve,
    /// `.where(…)`: the items that it holds for, paths beginning at each.
    Where(Box<Expression>),
    /// `.all(…)`: `true` if it holds for each item, also where there is none.
    All(Box<Expression>),
    /// `.exists()`: `true` or `false`.
    Exists,
    /// `.empty()`: the opposite.
    Empty,
    /// `.count()`: how many there are.
    Count,
    /// `.not()`: `true` for `false`, and the other way round; nothing where there is nothing.
    Not,
}

impl Step {
    /// True if it gives a truth or a number, after which no element stands.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::All(_) | Self::Exists | Self::Empty | Self::Count | Self::Not)
    }
}

/// True for the name of an HL7 v2 data type (v2.1 to v2.9.1), such as `CWE`. No segment has such a name.
#[must_use]
pub fn is_data_type(name: &str) -> bool {
    DATA_TYPES.binary_search(&name).is_ok()
}

/// HL7 v2.9.1 chapter 2.A and what earlier versions had besides; sorted.
const DATA_TYPES: [&str; 96] = [
    "AD", "AUI", "CCD", "CCP", "CD", "CE", "CF", "CK", "CM", "CN", "CNE", "CNN", "CP", "CQ", "CSU", "CWE", "CX", "DDI",
    "DIN", "DLD", "DLN", "DLT", "DR", "DT", "DTM", "DTN", "ED", "EI", "EIP", "ELD", "ERL", "FC", "FN", "FT", "GTS",
    "HD", "ICD", "ID", "IS", "JCC", "LA1", "LA2", "MA", "MO", "MOC", "MOP", "MSG", "NA", "NDL", "NM", "NR", "OCD",
    "OSD", "OSP", "PIP", "PL", "PLN", "PN", "PPN", "PRL", "PT", "PTA", "QIP", "QSC", "RCD", "RFR", "RI", "RMC", "RP",
    "RPT", "SAD", "SCV", "SI", "SN", "SNM", "SPD", "SPS", "SRT", "ST", "TM", "TN", "TQ", "TS", "TX", "UVC", "VARIES",
    "VH", "VID", "VR", "WVI", "WVS", "XAD", "XCN", "XON", "XPN", "XTN",
];
