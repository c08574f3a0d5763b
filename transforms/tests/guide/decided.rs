//! What the conversion does otherwise than the guide's rows say, each for its reason: see "Decisions" and "Traps of the
//! guide" in docs/mapping.md.

/// Table, source and target of a row as the guide writes them (a target by its beginning), and why.
pub(crate) const DECIDED: &[(&str, &str, &str, &str)] = &[
    ("AIP[Appointment]", "AIP-4", "participant.type[1]", "the page of a value set is no type"),
    ("AIP[Appointment]", "AIP-12", "participant.status", "R4's own codes, by a table of ours"),
    ("AIS[Appointment]", "AIS-10", "status", "R4's own codes, by a table of ours"),
    ("DG1[Condition]", "DG1-19", "extension[1].url", "the extension's URL, not that of its page"),
    ("DG1[Condition]", "DG1-21", "verificationStatus", "entered in error only where DG1-21 is D"),
    ("DG1[Encounter]", "DG1-4", "diagnosis.condition", "the code's own text (DG1-3.9) comes first"),
    ("DG1[Encounter]", "DG1-21", "diagnosis.condition", "entered in error only where DG1-21 is D"),
    ("DG1[Encounter]", "DG1-22", "diagnosis.condition", "the Condition's own row says it"),
    ("DG1[EpisodeOfCare]", "", "", "PV1-54 makes the EpisodeOfCare; a diagnosis alone is none"),
    ("EVN[Provenance]", "", "activity.coding.display", "the display of no code: the text"),
    ("EVN[Provenance]", "EVN-4", "reason.extension[1]", "a reason that is unknown is left out"),
    ("HD[Identifier]", "HD.2", "value[2]", "an OID and a UUID as the URIs that they are"),
    ("EI[Identifier-Organization]", "EI.2", "assigner", "the assigner's name stands as display"),
    ("EI[Identifier-Organization]", "EI.3", "assigner", "the universal id is the system"),
    ("EI[Identifier-Organization]", "EI.4", "assigner", "the universal id is the system"),
    ("IAM[AllergyIntolerance]", "IAM-14", "recorder.reference(Patient", "the patient's name is PID-5's"),
    ("MSA[MessageHeader]", "MSA-1", "response.code", "R4's own codes, by a table of ours"),
    ("HD[MessageHeader.source-endpoint]", "HD.2", "endpoint", "a URI as it stands, without `urn:uri:`"),
    ("MSH[MessageHeader]", "MSH-25", "destination[1]", "the name is MSH-5's where there is one"),
    ("MSH[MessageHeader]", "MSH-5", "destination[1].endpoint", "the table gives the name beside the endpoint"),
    ("MSH[Provenance-Operator]", "MSH-22", "agent.who", "an XON is an organisation by its own table"),
    ("NDL[PractitionerRole]", "", "", "rows of PL, misplaced: a role has one location"),
    ("NTE[Appointment-Comment]", "NTE-4", "extension[2]", "the annotation's own extension"),
    ("OBX[Observation]", "OBX-11", "dataAbsentReason", "obs-6: only where there is no value"),
    ("OBX[Observation-Component]", "OBX-11", "dataAbsentReason", "obs-6: only where there is no value"),
    ("OBR[ServiceRequest]", "OBR-27", "$this", "occurrence[x] is one: OBR-6 and TQ1 stand before"),
    ("ORC[MedicationAdministration]", "ORC-1", "extension", "the code within its extension"),
    ("ORC[Provenance]", "ORC-21", "location", "the first type of an identifier stays"),
    ("PID[Appointment]", "", "extension", "a URL without a value; the patient is a participant"),
    ("PR1[Procedure]", "PR1-16", "code[1].value", "a procedure's code is PR1-3's"),
    ("PR1[Procedure]", "PR1-23", "location", "a point of care has no type of its own"),
    ("PRT[Observation-Location]", "PRT-14", "extension[2]", "an address is a Location's, not the Location"),
    ("PRT[PractitionerRole]", "PRT-23", "telecom", "preferred is a telecom that is there"),
    ("PRT[RelatedPerson]", "PRT-23", "telecom", "preferred is a telecom that is there"),
    ("PV1[Basic-EncounterHistory]", "PV1-43", "extension[2]", "a URL without a value"),
    ("PV1[Encounter]", "PV1-8", "participant[2].individual", "the system of the participation type, misplaced"),
    ("PV1[Encounter]", "PV1-42", "location[4]", "`reserved` is the status, not the location"),
    ("ROL[CareTeam]", "ROL-10", "participant.onBehalfOf", "an Organization has no codings: its number and name"),
    ("ROL[CareTeam]", "ROL-14", "participant.onBehalfOf", "the name of ROL-10 comes first"),
    ("RPT[Timing]", "RPT.6", "repeat.periodUnit", "R4's own codes"),
    ("RPT[Timing]", "RPT.8", "repeat.when", "R4's own codes"),
    ("SCH[ServiceRequest]", "SCH-25", "status", "R4's own codes, by a table of ours"),
    ("SPM[Specimen]", "SPM-3", "parent[1]", "a reference has one identifier: the placer's"),
    ("SPM[Specimen]", "SPM-32", "identifier[3].type", "a number is no type"),
    ("TQ1[MedicationRequest]", "TQ1-13", "dosageInstruction", "R4's own units"),
    ("TQ1[ServiceRequest]", "TQ1-4", "occurrenceTiming.repeat", "tim-10: no times of a day beside meals"),
    ("TQ1[ServiceRequest]", "TQ1-6", "occurrenceTiming.bounds", "bounds[x] is one: start and end stand before"),
    ("TQ1[ServiceRequest]", "TQ1-13", "occurrenceTiming", "R4 has the duration under repeat, in its own units"),
    ("TXA[DocumentReference]", "TXA-3", "content.attachment", "the type of the data itself comes first"),
    ("TXA[DocumentReference]", "TXA-6", "", "a date alone is no instant"),
    ("TXA[DocumentReference]", "TXA-17", "docStatus", "R4's own codes, by a table of ours"),
    ("XAD[Address]", "XAD.12", "period", "XAD.13 and XAD.14 stand in its place since version 2.7"),
    ("XTN[ContactPoint]", "XTN.3", "system", "an address beside a telephone number is not its system"),
    ("XTN[ContactPoint]", "XTN.12", "value", "the number in parts comes first"),
];

/// True if one of `rows` is among them.
pub(crate) fn is_decided(rows: &[(String, String, String)]) -> bool {
    rows.iter().any(|(table, from, to)| {
        DECIDED.iter().any(|(of, source, target, _)| {
            table == of && (source.is_empty() || from == source) && to.starts_with(target)
        })
    })
}
