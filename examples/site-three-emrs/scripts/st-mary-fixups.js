/// <reference path="tributary.d.ts" />
// What St Mary's messages need beyond the tables: wards by the names that the region knows, and how long a patient has
// been in, which no field says.

function transform(message, bundle) {
  const ward = message.get("PV1-3.1");
  if (!ward) return;

  const known = lookup("wards", ward);
  if (known === undefined) {
    // Kept with the message, for `tributary coverage`. The place says where to look; no value is needed.
    note("PV1-3.1", "the ward is not in codes/wards.csv");
    return;
  }

  for (const encounter of resources(bundle, "Encounter")) {
    encounter.serviceProvider = {
      identifier: { system: "urn:oid:2.16.840.1.113883.19.5.9", value: known.unit },
      display: known.display,
    };
  }
}
